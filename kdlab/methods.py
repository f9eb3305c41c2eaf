"""What is minimised: labels alone, soft targets, and the published methods by name, for `fit`.

Every method is ``hard_weight * CE + soft_weight * T^2 KL + weight * term``. Weights of a term's own
(projector, discriminator, extra head) are trained with the student and thrown away with the
objective, so a deployed student has none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab import losses, robust
from kdlab.data import Images
from kdlab.models import autocast, feature_shapes, forward

EMBEDDING = "flatten"  # the stage in front of the classifier, [B, D]; `mlp` has none


@dataclass(frozen=True, eq=False)
class Batch:
    """What an objective may look at besides the student's output."""

    images: Tensor  # float32 [B, C, H, W], augmented and normalised
    labels: Tensor  # int64 [B]
    index: Tensor  # int64 [B], the images' places in the official split
    epoch: int
    teacher_logits: Tensor | None  # [B, K], for these very views; None without a teacher
    ensemble_logits: Tensor | None = None  # [M, B, K], in place of the above from M teachers
    features: Mapping[str, Tensor] = field(default_factory=dict)  # of the objective's `stages`
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)
    student: nn.Module | None = None  # for objectives that show it other images
    teacher: nn.Module | None = None  # where the net itself was given, not its cached logits


Objective = Callable[[Tensor, Batch], Tensor]
Stages = Mapping[str, Sequence[str]]  # {"student": [...], "teacher": [...]}, names of submodules


def labels_only(logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the labels: the student without a teacher."""
    return F.cross_entropy(logits.float(), batch.labels, label_smoothing=smoothing)


def distil(temperature: float, soft_weight: float = 1.0, hard_weight: float = 0.0) -> Objective:
    """Hinton's objective with its settings filled in; the default uses no label at all."""
    settings = {"temperature": temperature, "soft_weight": soft_weight, "hard_weight": hard_weight}

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        if batch.teacher_logits is None:
            raise ValueError("this objective needs a teacher: fit(..., teacher=...)")
        return losses.distillation_loss(logits, batch.teacher_logits, batch.labels, **settings)

    objective.label_free = not hard_weight  # `fit` then takes images without a label
    return objective


@dataclass(frozen=True, eq=False)
class Setting:
    """What a term may need to know before training starts."""

    student: nn.Module
    teacher: nn.Module | None
    data: Images
    temperature: float
    stages: Stages = field(default_factory=dict)  # whose features are matched
    projectors: Sequence[nn.Module] = ()  # of the student's features to the teacher's widths


@dataclass(frozen=True)
class Method:
    """A published method: its term, where it is from, and the weight that its paper or code has."""

    term: Callable  # (logits, batch, setting) -> loss; a module: of a setting, then the first two
    reference: str
    paper_weight: float = 1.0  # for the reader and the pages; a run has its own
    stages: Sequence[str] = ()  # of the course's nets; for others see `objective`
    project: bool = False  # the student's features, by layers of their own, to the teacher's width
    label_free: bool = False  # its term looks at no label


METHODS: dict[str, Method] = {}


def method(name: str, *about, **options) -> Callable:
    """Put the term below, a function or a module made of a `Setting`, on the list: `Method`."""

    def listed(term: Callable) -> Callable:
        METHODS[name] = Method(term, *about, **options)
        return term

    return listed


class Combined(nn.Module):
    """``hard_weight * CE + soft_weight * T^2 KL + weight * term``; a weight of 0 drops its part."""

    def __init__(
        self, base: Objective | None, term: Objective, weight: float, label_free: bool = False
    ) -> None:
        super().__init__()
        self.base, self.term, self.weight = base, term, weight
        self.label_free = label_free  # `fit` then takes images without a label
        self.stages: Stages = getattr(term, "stages", {}) if weight else {}

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
    stages: Stages | None = None,
) -> Objective:
    """An objective for `fit`: "" is labels and soft targets alone.

    `stages` names the submodules of each net whose features are matched, in pairs; by default those
    that the course's nets have. ValueError lists the methods' names, and says where nothing has a
    weight or the stages are not in pairs.
    """
    base = None
    if soft_weight:
        base = distil(temperature, soft_weight, hard_weight)
    elif hard_weight:
        base = Combined(None, labels_only, hard_weight)
    if method and method not in METHODS:
        raise ValueError(f"no method {method!r}: there are {', '.join(METHODS)}")
    if not base and not (method and weight):
        raise ValueError("nothing is minimised: every part of this objective has the weight 0")
    if not method:
        return base
    known = METHODS[method]
    names = known.stages
    stages = stages or ({"student": names, "teacher": names} if names else {})
    if bool(stages) != bool(names) or len({len(part) for part in stages.values()}) > 1:
        raise ValueError(f"{method!r} matches {len(names)} stages of each net, not {stages}")
    setting = Setting(student, teacher, data, temperature, stages)
    if isinstance(known.term, type):
        term = known.term(setting)
    elif names:
        term = OfStages(known.term, setting, known.project)
    else:
        term = partial(known.term, setting=setting)
    return Combined(base, term, weight, label_free=known.label_free and not hard_weight)


# ---------------------------------------------------------------- logits
@method("logit matching", "Ba & Caruana 2014", label_free=True)
def logit_matching(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.logit_matching_loss(logits, batch.teacher_logits)


@method("hard distillation", "Touvron et al. 2021 (DeiT)", 0.5, label_free=True)
def hard_distillation(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.hard_distillation_loss(logits, batch.teacher_logits)


@method("distillation token", "Touvron et al. 2021 (DeiT)")
def distillation_token(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    """Of the two outputs [2, B, K] the first learns the label, the second the teacher's class."""
    by_class, by_token = logits
    hard = losses.hard_distillation_loss(by_token, batch.teacher_logits)
    return (labels_only(by_class, batch) + hard) / 2


@method("soft distillation token", "Touvron et al. 2021 (DeiT)")
def soft_distillation_token(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    by_class, by_token = logits
    soft = losses.soft_target_loss(by_token, batch.teacher_logits, setting.temperature)
    return (labels_only(by_class, batch) + soft) / 2


@method("DKD", "Zhao et al. 2022")
def dkd(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    known = batch.teacher_logits, batch.labels
    return losses.decoupled_loss(logits, *known, temperature=setting.temperature)


@method("DIST", "Huang et al. 2022", 2.0, label_free=True)
def dist(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.dist_loss(logits, batch.teacher_logits, setting.temperature)


@method("logit standardisation", "Sun et al. 2024", 9.0, label_free=True)
def logit_standardisation(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.standardised_loss(logits, batch.teacher_logits, setting.temperature)


@method("Jensen-Shannon", "Cui et al. 2021 (SSLD)", label_free=True)
def jensen_shannon(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.jensen_shannon_loss(logits, batch.teacher_logits, setting.temperature)


# ---------------------------------------------------------------- features of stages
class OfStages(nn.Module):
    """A term that matches features, as a module: it owns what projects the student's."""

    def __init__(self, term: Callable, setting: Setting, project: bool) -> None:
        super().__init__()
        self.projectors = nn.ModuleList(projectors(setting) if project else ())
        self.term, self.stages = term, setting.stages
        self.setting = replace(setting, projectors=self.projectors)

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        return self.term(logits, batch, self.setting)


def matched(batch: Batch, setting: Setting) -> tuple[list[Tensor], list[Tensor]]:
    """Features of both nets, float32, in pairs: the student's projected where the method does it;
    a teacher's pooled map [B, D, 1, 1] beside an embedding [B, D] is one, too."""
    ours = [batch.features[name].float() for name in setting.stages["student"]]
    theirs = [batch.teacher_features[name].float() for name in setting.stages["teacher"]]
    if ours[0].ndim == 2:
        theirs = [feature.flatten(1) for feature in theirs]
    if setting.projectors:
        ours = [project(f) for project, f in zip(setting.projectors, ours, strict=True)]
    return ours, theirs


def projectors(setting: Setting) -> list[nn.Module]:
    """From the student's width to the teacher's: 1x1 convolutions for maps, linear for vectors."""
    shape = setting.data.images.shape[1:]
    ours = feature_shapes(setting.student, shape, setting.stages["student"])
    theirs = feature_shapes(setting.teacher, shape, setting.stages["teacher"])
    return [
        nn.Conv2d(mine[0], goal[0], 1, bias=False)
        if len(mine) == 3
        else nn.Linear(mine.numel(), goal.numel())
        for mine, goal in zip(ours, theirs, strict=True)
    ]


@method(
    "hint",
    "Romero et al. 2015 (FitNets)",
    100.0,
    stages=["stage2"],
    project=True,
    label_free=True,
)
def hint(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    (ours,), (theirs,) = matched(batch, setting)
    return losses.hint_loss(ours, theirs)


@method(
    "attention transfer",
    "Zagoruyko & Komodakis 2017",
    1000.0,
    stages=["stage1", "stage2", "stage3"],
    label_free=True,
)
def attention_transfer(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return sum(map(losses.attention_transfer_loss, *matched(batch, setting)))


@method("FSP", "Yim et al. 2017", 50.0, stages=["stage2", "stage3"], project=True, label_free=True)
def fsp(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.fsp_loss(*matched(batch, setting))


@method("similarity preserving", "Tung & Mori 2019", 3000.0, stages=["stage3"], label_free=True)
def similarity_preserving(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    (ours,), (theirs,) = matched(batch, setting)
    return losses.similarity_preserving_loss(ours, theirs)


@method("RKD", "Park et al. 2019", stages=[EMBEDDING], label_free=True)
def rkd(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    (ours,), (theirs,) = matched(batch, setting)
    return 25 * losses.rkd_distance_loss(ours, theirs) + 50 * losses.rkd_angle_loss(ours, theirs)


@method("PKT", "Passalis & Tefas 2018", 30000.0, stages=[EMBEDDING], label_free=True)
def pkt(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    (ours,), (theirs,) = matched(batch, setting)
    return losses.pkt_loss(ours, theirs)


@method("contrastive", "after Tian et al. 2020 (CRD)", 0.8, stages=[EMBEDDING], project=True)
def contrastive(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    (ours,), (theirs,) = matched(batch, setting)
    return losses.contrastive_loss(ours, theirs, labels=batch.labels)


# ---------------------------------------------------------------- a game, and turned images
@method("discriminator", "after Goodfellow et al. 2014", stages=[EMBEDDING])
class Discriminator(nn.Module):
    """It learns to tell teacher embeddings from projected student ones, the student to deceive it:
    one minimax game (Goodfellow et al. 2014), in one optimiser, for the gradient of what comes
    before the score is reversed (Ganin & Lempitsky 2015)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.stages, (self.project,) = setting.stages, projectors(setting)
        self.setting = setting
        width = self.project.out_features
        self.score = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        (ours,), (theirs,) = matched(batch, self.setting)
        ours = self.project(ours)
        ours.register_hook(torch.neg)
        scores = self.score(torch.cat([theirs, ours]))
        truth = (torch.arange(len(scores), device=scores.device) < len(ours)).float()
        return F.binary_cross_entropy_with_logits(scores.squeeze(1), truth)


@method("rotation task", "Gidaris et al. 2018")
class Rotation(nn.Module):
    """An extra head names the quarter turn of a rotated image (Gidaris et al. 2018): multi-task
    learning, with no teacher in it."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        shape = setting.data.images.shape[1:]
        ((width,),) = feature_shapes(setting.student, shape, [EMBEDDING])
        self.head = nn.Linear(width, 4)

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        turned, turns = rotate(batch.images)
        return F.cross_entropy(self.head(embed(batch.student, turned)), turns)


@method("turned views", "after Xu et al. 2020 (SSKD)", stages=[EMBEDDING])
def turned_views(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    """The teacher's own similarities between rotated and plain images, but without SSKD's
    self-supervised training of the teacher's head."""
    turned = rotate(batch.images)[0]
    (ours,), (theirs,) = matched(batch, setting)
    with torch.no_grad():
        known = theirs, embed(batch.teacher, turned, setting.stages["teacher"])
    seen = ours, embed(batch.student, turned, setting.stages["student"])
    return losses.view_similarity_loss(seen, known)


def rotate(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each image turned by 0, 90, 180 or 270 degrees at random, and the number of turns [B]."""
    turns = torch.randint(4, (len(images),)).to(images.device)
    turned = torch.stack([images.rot90(k, dims=(2, 3)) for k in range(4)])
    return turned[turns, torch.arange(len(images), device=images.device)], turns


def embed(model: nn.Module, images: Tensor, stages: Sequence[str] = (EMBEDDING,)) -> Tensor:
    """Of the first stage, float32 [B, D], with the gradient."""
    with autocast(images.device.type):
        images = images.contiguous(memory_format=torch.channels_last)
        return forward(model, images, stages)[1][stages[0]].flatten(1).float()


# ---------------------------------------------------------------- several nets
@method("mutual learning", "Zhang et al. 2018 (DML)")
def mutual_learning(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.mutual_loss(logits, batch.labels)


@method("mean of teachers", "Hinton et al. 2015")
def mean_of_teachers(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    return losses.mixture_loss(logits, batch.ensemble_logits, setting.temperature)


@method("switched teachers", "Fukuda et al. 2017")
def switched_teachers(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    """Soft targets of one of M teachers, drawn for each batch."""
    one = batch.ensemble_logits[int(torch.randint(len(batch.ensemble_logits), ()))]
    return losses.soft_target_loss(logits, one, setting.temperature)


# ---------------------------------------------------------------- controls
@method("permuted dark knowledge", "Furlanello et al. 2018 (DKPP)")
def permuted_dark_knowledge(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    permuted = losses.permute_dark_knowledge(batch.teacher_logits)
    return losses.soft_target_loss(logits, permuted, setting.temperature)


@method("same-entropy smoothing", "control")
def same_entropy(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    t = setting.temperature
    smoothed = losses.same_entropy_smoothing(batch.teacher_logits, batch.labels, t)
    return losses.soft_target_loss(logits, smoothed, t)


# ---------------------------------------------------------------- adversarial images
def attacked_logits(batch: Batch, loss: Callable[[Tensor], Tensor], setting: Setting) -> Tensor:
    """The student's logits on images that raise `loss`: PGD-5, where the papers take 10 steps.

    The loop has seen the clean images, too: batch norm's running statistics are of both.
    """
    pixels = robust.to_pixels(batch.images, setting.data)
    return robust.adversarial_logits(batch.student, pixels, loss, setting.data, steps=5)


@method("adversarial training", "Madry et al. 2018")
def adversarial_training(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    """Cross-entropy on the attacked images alone (eq. 2.1): no teacher."""
    loss = partial(F.cross_entropy, target=batch.labels)
    return labels_only(attacked_logits(batch, loss, setting), batch)


@method("ARD", "Goldblum et al. 2020")
def ard(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    attacked = attacked_logits(batch, partial(F.cross_entropy, target=batch.labels), setting)
    return robust.ard_loss(attacked, logits, batch.teacher_logits, batch.labels)


@method("RSLAD", "Zi et al. 2021")
def rslad(logits: Tensor, batch: Batch, setting: Setting) -> Tensor:
    soft = partial(losses.soft_target_loss, teacher_logits=batch.teacher_logits, temperature=1.0)
    attacked = attacked_logits(batch, soft, setting)
    return robust.rslad_loss(attacked, logits, batch.teacher_logits)
