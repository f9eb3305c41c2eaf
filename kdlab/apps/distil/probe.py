"""For the engineer: a linear probe, from a teacher's features to answers about your classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, optim

GRID = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # L2 penalties, the strongest first
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Probe:
    """Multinomial logistic regression on standardised features."""

    mean: Tensor  # [D], of the features it was fitted to
    std: Tensor  # [D]
    weight: Tensor  # [K, D]
    bias: Tensor  # [K]
    l2: float  # chosen by the log loss on held-out folds
    log_loss: float  # there, in nats a photo

    def logits(self, features: Tensor) -> Tensor:
        """[N, D] -> [N, K]."""
        return F.linear((features - self.mean) / self.std, self.weight, self.bias)


def fit_probe(
    features: Tensor, labels: Tensor, classes: int, *, grid: Sequence[float] = GRID, seed: int = 0
) -> Probe:
    """A probe of features [N, D] and labels [N]. Its L2 penalty is chosen by cross-validated log
    loss and not by accuracy, which many penalties share: only the log loss sees a probe that is too
    sure of itself, and soft targets are made of how sure it is."""
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
    inputs, folds = (features - mean) / std, assign_folds(labels, classes, seed)
    losses = []
    for l2 in grid:
        loss = 0.0
        for fold in range(FOLDS):
            held_out = folds == fold
            weight, bias = regress(inputs[~held_out], labels[~held_out], classes, l2)
            logits = F.linear(inputs[held_out], weight, bias)
            loss += float(F.cross_entropy(logits, labels[held_out], reduction="sum"))
        losses.append(loss / len(labels))
    best = min(range(len(grid)), key=losses.__getitem__)
    weight, bias = regress(inputs, labels, classes, grid[best])
    return Probe(mean, std, weight, bias, grid[best], losses[best])


def assign_folds(labels: Tensor, classes: int, seed: int) -> Tensor:
    """The fold of each label, int64 [N]; every class is spread evenly over the folds."""
    generator, folds = torch.Generator().manual_seed(seed), torch.empty_like(labels)
    for kind in range(classes):
        places = (labels == kind).nonzero().flatten()
        order = places[torch.randperm(len(places), generator=generator)]
        folds[order] = (torch.arange(len(places)) + kind) % FOLDS
    return folds


def regress(inputs: Tensor, labels: Tensor, classes: int, l2: float) -> tuple[Tensor, Tensor]:
    """Weight [K, D] and bias [K] that minimise the mean cross-entropy + l2 / 2 * |weight|^2."""
    weight = torch.zeros(classes, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    newton = optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        newton.zero_grad()
        penalty = l2 / 2 * weight.square().sum()
        value = F.cross_entropy(F.linear(inputs, weight, bias), labels) + penalty
        value.backward()
        return value

    newton.step(loss)
    return weight.detach(), bias.detach()
