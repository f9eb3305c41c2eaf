"""One training loop for every student and every teacher: it reads like the algorithm."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from kdlab.data import NO_VIEWS, UNLABELLED, Images, Views, augment, normalise
from kdlab.logit_cache import CachedLogits, teacher_source
from kdlab.losses import check_labels
from kdlab.methods import Batch, Objective
from kdlab.metrics import accuracy, predict
from kdlab.models import autocast, forward


@dataclass(frozen=True)
class Optimizer:
    """How the weights follow the gradient."""

    name: str = "sgd"  # or "adam"
    lr: float = 0.1  # the highest of the schedule
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"  # or "constant"


def fit(
    student: nn.Module,
    data: Images,
    objective: Objective,
    *,
    epochs: int,
    teacher: nn.Module | CachedLogits | Sequence[CachedLogits] | None = None,
    views: Views = NO_VIEWS,
    view_seed: int = 0,
    seed: int = 0,
    batch_size: int = 128,
    optimizer: Optimizer = Optimizer(),
    validation: Images | None = None,
    device: str = "cpu",
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train `student` in place and return its history, one dict an epoch; `report` gets each.

    `teacher` is a frozen net, asked in each step, or its `CachedLogits` (several: `Batch` holds
    them stacked); either way it answers for the very views that the student sees (Beyer et al.
    2022). An objective that matches features names them in its `stages` and needs the net.
    A label of -1 is none: images without one serve objectives that are `label_free`.
    `seed` orders the batches (and drives dropout), `view_seed` draws the views.
    Raises ValueError for labels out of range, for a cache of another split, of other pixels, other
    views or too few epochs, or in place of a net; KeyError for one that lacks some of the images;
    and FloatingPointError if the loss stops being a number.
    """
    free = getattr(objective, "label_free", False)
    labels = data.labels[data.labels != UNLABELLED] if free else data.labels
    check_labels(labels, len(labels), len(data.classes))
    torch.manual_seed(seed)
    student.to(device, memory_format=torch.channels_last)
    if isinstance(objective, nn.Module):
        objective.to(device).train()
    net = teacher if isinstance(teacher, nn.Module) else None
    stages = getattr(objective, "stages", {})
    data = replace(data, **{k: getattr(data, k).to(device) for k in ("images", "labels", "index")})
    ask = teacher_source(teacher, data, views, view_seed, epochs, device, stages.get("teacher", ()))
    steps = math.ceil(len(data.labels) / batch_size)
    descent = make_optimizer(student, objective, optimizer)
    rate = make_schedule(descent, optimizer.schedule, epochs * steps)
    history = []
    for epoch in range(epochs):
        start, total = time.perf_counter(), torch.zeros((), device=device)
        student.train()
        for picks in shuffled(len(data.labels), steps, seed=seed, epoch=epoch):
            picks = picks.to(device)
            seen, index = data.images[picks], data.index[picks]
            seen = augment(seen, index, views, epoch=epoch, seed=view_seed)
            images = normalise(seen, data).contiguous(memory_format=torch.channels_last)
            with autocast(device):
                logits, features = forward(student, images, stages.get("student", ()))
            batch = Batch(
                images=images,
                labels=data.labels[picks],
                index=index,
                epoch=epoch,
                features=features,
                student=student,
                teacher=net,
                **ask(images, picks, epoch),
            )
            loss = objective(logits, batch)
            descent.zero_grad()
            loss.backward()
            descent.step()
            rate.step()
            total += loss.detach()
        row = {"epoch": epoch + 1, "loss": float(total) / steps}
        if not math.isfinite(row["loss"]):
            raise FloatingPointError(f"the loss is {row['loss']} in epoch {epoch + 1}: lower lr")
        if validation is not None:
            row["validation"] = accuracy(predict(student, validation), validation.labels)
        row["seconds"] = time.perf_counter() - start
        history.append(row)
        if report:
            report(row)
    return history


def shuffled(n: int, steps: int, *, seed: int, epoch: int) -> Iterator[Tensor]:
    """The epoch's batches: a permutation of 0..n-1 cut into `steps` near-equal parts."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
    return iter(torch.randperm(n, generator=generator).tensor_split(steps))


def make_optimizer(student: nn.Module, objective: Objective, given: Optimizer) -> optim.Optimizer:
    """SGD with Nesterov momentum ("sgd"), or AdamW ("adam"; Adam where weight_decay is 0), of the
    student's parameters and those of an objective that has some (a projector)."""
    nets = [net for net in (student, objective) if isinstance(net, nn.Module)]
    weights = [w for net in nets for w in net.parameters() if w.requires_grad]
    rate, decay = given.lr, given.weight_decay
    if given.name == "sgd":
        return optim.SGD(weights, rate, momentum=0.9, nesterov=True, weight_decay=decay)
    if given.name == "adam":
        return optim.AdamW(weights, rate, weight_decay=decay, fused=True)
    raise ValueError(f"optimizer is 'sgd' or 'adam', got {given.name!r}")


def make_schedule(optimizer: optim.Optimizer, name: str, steps: int) -> lr_scheduler.LRScheduler:
    """The learning rate: up to the optimizer's in the first quarter, then to zero; or constant."""
    if name == "one-cycle":
        top = optimizer.param_groups[0]["lr"]
        quarter = 0.25 if steps != 3 else math.nextafter(0.25, 0)  # a rise of no step is 0 / 0
        fixed = {"pct_start": quarter, "cycle_momentum": False}
        return lr_scheduler.OneCycleLR(optimizer, top, total_steps=steps + 1, **fixed)
    if name == "constant":
        return lr_scheduler.ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"schedule is 'one-cycle' or 'constant', got {name!r}")
