"""The published methods as objectives for `fit`, by name: what the leaderboard compares.

Every one is ``hard_weight * CE + soft_weight * T^2 KL + weight * term``; `METHODS` holds the terms.
A term with weights of its own (projector, discriminator, extra head) is an `nn.Module`: they are
trained with the student and thrown away with the objective, so a deployed student has none.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab import losses, robust
from kdlab.data import Images
from kdlab.machine import autocast
from kdlab.models import forward
from kdlab.training import Batch, Objective, distil

EMBEDDING = "flatten"  # the stage in front of the classifier, [B, D]


class Setting(NamedTuple):
    """What a term may need to know before training starts."""

    student: nn.Module
    teacher: nn.Module | None
    data: Images
    temperature: float


class Method(NamedTuple):
    """A published method: its term, where it is from, and the weight that its paper or code has."""

    make: Callable[[Setting], Objective]
    function: str
    reference: str
    weight: float


class Combined(nn.Module):
    """``hard_weight * CE + soft_weight * T^2 KL + weight * term``; a weight of 0 drops its part."""

    def __init__(self, base: Objective | None, term: Objective, weight: float):
        super().__init__()
        self.base, self.term, self.weight = base, term, weight
        self.stages = getattr(term, "stages", ()) if weight else ()

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        loss = self.weight * self.term(logits, batch) if self.weight else 0.0
        return loss + self.base(logits, batch) if self.base else loss


def objective(
    method: str,
    *,
    student: nn.Module,
    teacher: nn.Module | None,
    data: Images,
    temperature: float = 4.0,
    soft_weight: float = 0.0,
    hard_weight: float = 1.0,
    weight: float = 1.0,
) -> Objective:
    """An objective for `fit`: "" is labels and soft targets alone. ValueError lists the names."""
    base = None
    if soft_weight:
        base = distil(temperature, soft_weight, hard_weight)
    elif hard_weight:
        base = lambda logits, batch: hard_weight * F.cross_entropy(logits.float(), batch.labels)  # noqa: E731
    if not method:
        return base
    if method not in METHODS:
        raise ValueError(f"no method {method!r}: there are {', '.join(METHODS)}")
    setting = Setting(student, teacher, data, temperature)
    return Combined(base, METHODS[method].make(setting), weight)


# ---------------------------------------------------------------- terms with weights of their own


class Match(nn.Module):
    """A loss between the same stages of both nets; with projectors where the widths differ.

    `loss` takes two lists of features and the batch.
    """

    def __init__(self, loss: Callable, stages: Sequence[str], projectors: Sequence = ()):
        super().__init__()
        self.loss, self.stages = loss, tuple(stages)
        self.projectors = nn.ModuleList(projectors)

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        ours = [batch.features[stage].float() for stage in self.stages]
        theirs = [batch.teacher_features[stage].float() for stage in self.stages]
        if self.projectors:
            ours = [project(f) for project, f in zip(self.projectors, ours, strict=True)]
        return self.loss(ours, theirs, batch)


def projected(loss: Callable, *stages: str) -> Callable[[Setting], Match]:
    """A `Match` whose student features go through 1x1 convolutions (or linear layers)."""

    def make(setting: Setting) -> Match:
        widths = zip(channels(setting.student, setting.data, stages),
                     channels(setting.teacher, setting.data, stages), strict=True)  # fmt: skip
        flat = stages == (EMBEDDING,)
        layers = [nn.Linear(*w) if flat else nn.Conv2d(*w, 1, bias=False) for w in widths]
        return Match(loss, stages, layers)

    return make


@torch.no_grad()
def channels(model: nn.Module, data: Images, stages: Sequence[str]) -> list[int]:
    """The number of channels of each stage."""
    was_training = model.training
    nothing = torch.zeros(1, *data.images.shape[1:], device=next(model.parameters()).device)
    features = forward(model.eval(), nothing, stages)[1]
    model.train(was_training)
    return [features[stage].shape[1] for stage in stages]


class Reverse(torch.autograd.Function):
    """The identity, but the gradient comes back with its sign turned (Ganin & Lempitsky 2015)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return -gradient


class Discriminator(nn.Module):
    """A judge learns to tell teacher embeddings from projected student ones, the student to deceive
    it: one minimax game (Goodfellow et al. 2014), in one optimiser by a reversed gradient."""

    stages = (EMBEDDING,)

    def __init__(self, setting: Setting):
        super().__init__()
        nets = setting.student, setting.teacher
        ours, theirs = (channels(net, setting.data, self.stages)[0] for net in nets)
        self.project = nn.Linear(ours, theirs)
        self.judge = nn.Sequential(nn.Linear(theirs, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        ours = Reverse.apply(self.project(batch.features[EMBEDDING].float()))
        scores = self.judge(torch.cat([batch.teacher_features[EMBEDDING].float(), ours]))
        truth = (torch.arange(len(scores), device=scores.device) < len(ours)).float()
        return F.binary_cross_entropy_with_logits(scores.squeeze(1), truth)


class Rotation(nn.Module):
    """An extra head names the quarter turn of a rotated image (Gidaris et al. 2018): multi-task
    learning, with no teacher in it."""

    def __init__(self, setting: Setting):
        super().__init__()
        self.head = nn.Linear(*channels(setting.student, setting.data, [EMBEDDING]), 4)

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        turned, turns = rotate(batch.images)
        return F.cross_entropy(self.head(embed(batch.student, turned)), turns)


class TurnedViews(nn.Module):
    """The teacher's own similarities between rotated and plain images, after SSKD (Xu et al. 2020),
    but without their self-supervised training of the teacher's head."""

    stages = (EMBEDDING,)

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        turned = rotate(batch.images)[0]
        ours = batch.features[EMBEDDING], embed(batch.student, turned)
        with torch.no_grad():
            theirs = batch.teacher_features[EMBEDDING], embed(batch.teacher, turned)
        return losses.view_similarity_loss(ours, theirs)


def rotate(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each image turned by 0, 90, 180 or 270 degrees at random, and the number of turns [B]."""
    turns = torch.randint(4, (len(images),)).to(images.device)
    turned = torch.stack([images.rot90(k, dims=(2, 3)) for k in range(4)])
    return turned[turns, torch.arange(len(images), device=images.device)], turns


def embed(model: nn.Module, images: Tensor) -> Tensor:
    """float32 [B, D], with the gradient."""
    with autocast(images.device.type):
        images = images.contiguous(memory_format=torch.channels_last)
        return forward(model, images, [EMBEDDING])[1][EMBEDDING].float()


# ---------------------------------------------------------------- terms that are functions


def soft_control(rob: Callable[[Tensor, Batch, float], Tensor]) -> Callable[[Setting], Objective]:
    """Soft targets from a teacher that has been robbed of something."""

    def make(setting: Setting) -> Objective:
        t = setting.temperature
        return lambda z, b: losses.soft_target_loss(z, rob(b.teacher_logits, b, t), t)

    return make


def several(mix: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Setting], Objective]:
    """Soft targets from several teachers, logits [M, B, K]."""
    return lambda s: lambda z, b: mix(z, b.teacher_logits, s.temperature)


def switched_loss(student_logits: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Soft targets of one of M teachers [M, B, K], drawn for each batch (Fukuda et al. 2017)."""
    one = teachers[int(torch.randint(len(teachers), ()))]
    return losses.soft_target_loss(student_logits, one, temperature)


def robustly(kind: str) -> Callable[[Setting], Objective]:
    """Adversarial training, ARD or RSLAD: the whole objective, on images attacked in each step.

    PGD-5 where the papers take 10 steps: half their cost. The loop has seen the clean images, too,
    in train mode: batch norm's running statistics are a mixture of both, in all three alike."""

    def make(setting: Setting) -> Objective:
        data = setting.data
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (data.mean, data.std))

        def term(logits: Tensor, b: Batch) -> Tensor:
            pixels = (b.images * std.to(b.images) + mean.to(b.images)).clamp(0, 1)

            def inner(z: Tensor) -> Tensor:  # what the attack raises
                if kind == "rslad":
                    return losses.soft_target_loss(z, b.teacher_logits, 1.0)
                return F.cross_entropy(z, b.labels)

            attacked = robust.hostile(b.student, pixels, inner, data, steps=5)
            if kind == "ard":
                return robust.ard_loss(attacked, logits, b.teacher_logits, b.labels)
            if kind == "rslad":
                return robust.rslad_loss(attacked, logits, b.teacher_logits)
            return robust.adversarial_training_loss(attacked, b.labels)

        return term

    return make


def on_logits(loss: Callable[..., Tensor]) -> Callable[[Setting], Objective]:
    """A loss of (student logits, teacher logits) alone."""
    return lambda s: lambda z, b: loss(z, b.teacher_logits)


def on_stages(loss: Callable, *stages: str) -> Callable[[Setting], Objective]:
    """A loss of one stage of both nets, summed over the stages."""

    def total(ours: list[Tensor], theirs: list[Tensor], batch: Batch) -> Tensor:
        return sum(loss(s, t) for s, t in zip(ours, theirs, strict=True))

    return lambda s: Match(total, stages)


def _rkd(s: Tensor, t: Tensor) -> Tensor:
    return 25 * losses.rkd_distance_loss(s, t) + 50 * losses.rkd_angle_loss(s, t)


METHODS: dict[str, Method] = {
    "logit matching": Method(
        on_logits(losses.logit_matching_loss), "logit_matching_loss", "Ba & Caruana 2014", 1.0
    ),
    "hard distillation": Method(
        on_logits(losses.hard_distillation_loss),
        "hard_distillation_loss", "Touvron et al. 2021 (DeiT)", 0.5,
    ),
    "DKD": Method(
        lambda s: lambda z, b: losses.decoupled_loss(
            z, b.teacher_logits, b.labels, temperature=s.temperature
        ),
        "decoupled_loss", "Zhao et al. 2022", 1.0,
    ),
    "DIST": Method(
        lambda s: lambda z, b: losses.dist_loss(z, b.teacher_logits, temperature=s.temperature),
        "dist_loss", "Huang et al. 2022", 2.0,
    ),
    "logit standardisation": Method(
        lambda s: lambda z, b: losses.standardised_loss(z, b.teacher_logits, s.temperature),
        "standardised_loss", "Sun et al. 2024", 9.0,
    ),
    "hint": Method(
        projected(lambda s, t, _: losses.hint_loss(s[0], t[0]), "stage2"),
        "hint_loss", "Romero et al. 2015 (FitNets)", 100.0,
    ),
    "attention transfer": Method(
        on_stages(losses.attention_transfer_loss, "stage1", "stage2", "stage3"),
        "attention_transfer_loss", "Zagoruyko & Komodakis 2017", 1000.0,
    ),
    "FSP": Method(
        projected(lambda s, t, _: losses.fsp_loss(tuple(s), tuple(t)), "stage2", "stage3"),
        "fsp_loss", "Yim et al. 2017", 50.0,
    ),
    "similarity preserving": Method(
        on_stages(losses.similarity_preserving_loss, "stage3"),
        "similarity_preserving_loss", "Tung & Mori 2019", 3000.0,
    ),
    "RKD": Method(
        on_stages(_rkd, EMBEDDING), "rkd_distance_loss, rkd_angle_loss", "Park et al. 2019", 1.0
    ),
    "PKT": Method(
        on_stages(losses.pkt_loss, EMBEDDING), "pkt_loss", "Passalis & Tefas 2018", 30000.0
    ),
    "contrastive": Method(
        projected(
            lambda s, t, b: losses.contrastive_loss(s[0], t[0], labels=b.labels), EMBEDDING
        ),
        "contrastive_loss", "after Tian et al. 2020 (CRD)", 0.8,
    ),
    "discriminator": Method(Discriminator, "Discriminator", "after Goodfellow et al. 2014", 1.0),
    "rotation task": Method(Rotation, "Rotation", "Gidaris et al. 2018", 1.0),
    "turned views": Method(
        lambda s: TurnedViews(), "view_similarity_loss", "after Xu et al. 2020 (SSKD)", 1.0
    ),
    "mutual learning": Method(
        lambda s: lambda z, b: losses.mutual_loss(z, b.labels), "mutual_loss",
        "Zhang et al. 2018 (DML)", 1.0,
    ),
    "mean of teachers": Method(
        several(losses.mixture_loss), "mixture_loss", "Hinton et al. 2015", 1.0
    ),
    "switched teachers": Method(several(switched_loss), "switched_loss", "Fukuda et al. 2017", 1.0),
    "permuted dark knowledge": Method(
        soft_control(lambda v, b, t: losses.permute_dark_knowledge(v)),
        "permute_dark_knowledge", "Furlanello et al. 2018 (DKPP)", 1.0,
    ),
    "same-entropy smoothing": Method(
        soft_control(lambda v, b, t: losses.same_entropy_smoothing(v, b.labels, t)),
        "same_entropy_smoothing", "control", 1.0,
    ),
    "Jensen-Shannon": Method(
        lambda s: lambda z, b: losses.jensen_shannon_loss(z, b.teacher_logits, s.temperature),
        "jensen_shannon_loss", "Cui et al. 2021 (SSLD)", 1.0,
    ),
    "adversarial training": Method(
        robustly("plain"), "adversarial_training_loss", "Madry et al. 2018", 1.0
    ),
    "ARD": Method(robustly("ard"), "ard_loss", "Goldblum et al. 2020", 1.0),
    "RSLAD": Method(robustly("rslad"), "rslad_loss", "Zi et al. 2021", 1.0),
}  # fmt: skip


class Peers(nn.Module):
    """Students that learn together: images -> logits [P, B, K]. One of them is deployed."""

    def __init__(self, *nets: nn.Module):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([net(images) for net in self.nets])
