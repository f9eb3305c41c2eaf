"""What is measured of a net: accuracy, agreement, calibration, verification, cost."""

import itertools
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdlab.data import Images, normalise
from kdlab.losses import soften
from kdlab.models import evaluating, forward


@torch.no_grad()
def predict(model: nn.Module, data: Images, batch_size: int = 1000) -> Tensor:
    """Logits [N, K] in float32 on the CPU; in eval mode."""
    device = next(model.parameters()).device
    parts = data.images.split(batch_size)
    with evaluating(model):
        logits = [model(normalise(part.to(device), data)).float().cpu() for part in parts]
    return torch.cat(logits)


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Which images have their largest logit at the label, bool [N]."""
    if logits.shape[:1] != labels.shape:
        raise ValueError(f"{len(logits)} predictions but {tuple(labels.shape)} labels")
    return logits.argmax(dim=1) == labels


def errors(logits: Tensor, labels: Tensor) -> int:
    """Number of images whose largest logit is not the label's."""
    return int((~correct(logits, labels)).sum())


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images classified right, in percent."""
    return 100 * (1 - errors(logits, labels) / len(labels))


def agreement(logits: Tensor, others: Tensor) -> float:
    """Share of images on which two nets name the same class, in percent (fidelity, top-1)."""
    return accuracy(logits, others.argmax(dim=1))


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """ECE in percent: mean |confidence - accuracy| over equal bins (Guo et al. 2017, eq. 3)."""
    confidence = soften(logits, 1.0).max(dim=1).values
    which = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins).index_add_(0, which, confidence - correct(logits, labels).float())
    return 100 * float(gap.abs().sum() / len(labels))


def cka(first: Tensor, second: Tensor) -> float:
    """Linear CKA of two nets' features of the same N images, [N, ...] each, in 0..1: 1 where a
    rotation and a scaling turn one into the other (Kornblith et al. 2019, eq. 4)."""
    x, y = (f.flatten(1).double() for f in (first, second))
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    gram_x, gram_y = x @ x.T, y @ y.T
    return float((gram_x * gram_y).sum() / (gram_x.norm() * gram_y.norm()))


@torch.no_grad()
def embeddings(model: nn.Module, data: Images) -> Tensor:
    """What stands before the classifier (not in an MLP), float32 [N, D] on the CPU."""
    device = next(model.parameters()).device
    parts = data.images.split(1000)
    with evaluating(model):
        seen = [forward(model, normalise(p.to(device), data), ["flatten"])[1] for p in parts]
    return torch.cat([features["flatten"] for features in seen]).float().cpu()


def pair_scores(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine similarities of all pairs of N images: of one class ("genuine"), and of two
    ("impostor"). embeddings [N, D], labels [N]; each pair once, no image with itself."""
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    groups = [unit[labels == c] for c in labels.unique()]
    above = [torch.triu_indices(len(g), len(g), 1).unbind() for g in groups]
    genuine = [(g @ g.T)[rows, columns] for g, (rows, columns) in zip(groups, above, strict=True)]
    impostor = [(a @ b.T).flatten() for a, b in itertools.combinations(groups, 2)]
    return torch.cat(genuine), torch.cat(impostor)


def threshold_at(impostor: Tensor, far: float) -> float:
    """The score above which (and not at which) at most the share `far` of impostors lies;
    ValueError for a `far` so small that these impostors can't show it."""
    allowed = math.floor(far * len(impostor) + 1e-9)
    if not 0 <= far < 1 or not allowed:
        raise ValueError(
            f"a false accept rate of {far:g} needs at least {1 / max(far, 1e-9):.0f} impostor "
            f"pairs and must be in 0..1, there are {len(impostor)}"
        )
    return float(impostor.kthvalue(len(impostor) - allowed).values)


def rates(genuine: Tensor, impostor: Tensor, threshold: float) -> tuple[float, float]:
    """(TAR, FAR) in 0..1: the shares of genuine and impostor pairs above the threshold."""
    return tuple(float((s > threshold).double().mean()) for s in (genuine, impostor))


def tar_at_far(genuine: Tensor, impostor: Tensor, far: float) -> float:
    """True accept rate in percent at a threshold that lets through the share `far` of impostors."""
    return 100 * rates(genuine, impostor, threshold_at(impostor, far))[0]


def roc(genuine: Tensor, impostor: Tensor, fars: Sequence[float]) -> list[float]:
    """TAR in percent at each FAR: the ROC curve, read off at these points."""
    return [tar_at_far(genuine, impostor, far) for far in fars]


def auroc(genuine: Tensor, impostor: Tensor) -> float:
    """The area under the ROC curve: how often a genuine pair scores above an impostor, ties half
    (Mann & Whitney 1947)."""
    ordered = impostor.sort().values
    below = torch.searchsorted(ordered, genuine).double()
    not_above = torch.searchsorted(ordered, genuine, right=True).double()
    return float((below + not_above).mean() / (2 * len(impostor)))


def mass_matching_shift(student: Tensor, teacher: Tensor, classes: Sequence[int]) -> float:
    """The number to add to the logits of `classes` so that their mean probability is the teacher's,
    by bisection. Both logits [N, K] are of the same *unlabelled* images: no label and no test image
    is used, unlike the shift of Hinton et al. 2015, section 3, chosen on the test set."""
    columns = list(classes)
    wanted = soften(teacher, 1.0)[:, columns].sum(dim=1).mean()
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        shifted = student.float().clone()
        shifted[:, columns] += middle
        too_low = soften(shifted, 1.0)[:, columns].sum(dim=1).mean() < wanted
        low, high = (middle, high) if too_low else (low, middle)
    return (low + high) / 2


def parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(p.numel() for p in model.parameters())


def flops(model: nn.Module, shape: Sequence[int]) -> int:
    """Floating-point operations of one image's forward pass (a multiply-add counts as two)."""
    device = next(model.parameters()).device
    with evaluating(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape, device=device))
    return counter.get_total_flops()


def stored_bytes(model: nn.Module) -> int:
    """Size of the net as a safetensors file: its weights and buffers as they are."""
    return len(save({name: value.contiguous() for name, value in model.state_dict().items()}))


class Latency(NamedTuple):
    """How long a forward pass takes: its median and its 95th percentile."""

    p50: float  # milliseconds
    p95: float


def latency(
    model: nn.Module, shape: Sequence[int], batch_size: int = 1, *, runs: int = 50, warm_up: int = 5
) -> Latency:
    """Forward passes on one thread of the CPU, float32, eval mode, after some that don't count;
    `shape` is one image's, [C, H, W]. Mode and number of threads stay as they were."""
    threads, times = torch.get_num_threads(), []
    images = torch.zeros(batch_size, *shape)
    torch.set_num_threads(1)
    try:
        with evaluating(model), torch.inference_mode():
            for _ in range(warm_up + runs):
                start = time.perf_counter()
                model(images)
                times.append(1000 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    return Latency(*np.quantile(times[warm_up:], [0.5, 0.95]).tolist())
