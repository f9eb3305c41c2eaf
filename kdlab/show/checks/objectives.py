"""Checks of losses and what they are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab import losses, metrics
from kdlab.show.checks.exercise import exercise, labelled_cases, logit_cases

soft_target = losses.soft_target_loss


@exercise("soften", [
    *((z, t) for z, _, t in logit_cases(0.5, 1.0, 20.0)), (torch.tensor([[1e4, 0.0]]), 2.0),
], [
    ("the temperature has no effect: divide the logits by it", lambda z, t: z.softmax(1)),
    ("multiplies by T: divide the logits by T, so that T > 1 flattens",
     lambda z, t: (z * t).softmax(1)),
    ("normalises over the batch: the softmax goes over the classes, dim=1",
     lambda z, t: (z / t).softmax(0)),
    ("returns log-probabilities: use softmax", lambda z, t: (z / t).log_softmax(1)),
])  # fmt: skip
def check_soften(logits: Tensor, temperature: float) -> Tensor:
    """`soften(logits [B, K], temperature) -> probabilities [B, K]`."""
    return losses.soften(logits, temperature)


@exercise("entropy", [*((z.softmax(1),) for z, _, _ in logit_cases(1.0)), (torch.eye(3),)], [
    ("in bits: use the natural logarithm", lambda p: losses.entropy(p) / torch.tensor(2).log()),
    ("negative: entropy is minus the sum of p log p", lambda p: -losses.entropy(p)),
])  # fmt: skip
def check_entropy(probabilities: Tensor) -> Tensor:
    """`entropy(probabilities [B, K]) -> [B]` in nats, with 0 log 0 = 0."""
    return losses.entropy(probabilities)


def kl(z: Tensor, v: Tensor, t: float, reduction: str = "batchmean") -> Tensor:
    """KL(teacher || student) of softened outputs, as PyTorch has it."""
    return F.kl_div((z / t).log_softmax(1), (v / t).softmax(1), reduction=reduction)


@exercise("soft_target_loss", logit_cases(1.0, 4.0), [
    ("the factor T² is missing", kl),
    ("multiplies by T: the factor is T²", lambda z, v, t: t * kl(z, v, t)),
    ("reduction='mean' divides by the classes too: use 'batchmean'",
     lambda z, v, t: t**2 * kl(z, v, t, "none").mean()),
    ("the sum over the batch: divide by the number of images",
     lambda z, v, t: t**2 * kl(z, v, t, "sum")),
    ("student and teacher are swapped: it must be KL(teacher || student)",
     lambda z, v, t: soft_target(v, z, t)),
    ("kl_div's first argument must be log-probabilities: use log_softmax", lambda z, v, t:
     t**2 * F.kl_div((z / t).softmax(1), (v / t).softmax(1), reduction="batchmean")),
    ("this is the cross-entropy: subtract the teacher's entropy", lambda z, v, t:
     soft_target(z, v, t) + t**2 * losses.entropy(losses.soften(v, t)).mean()),
])  # fmt: skip
def check_soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`loss(student_logits, teacher_logits, temperature) -> scalar`: T² KL(teacher || student)."""
    return soft_target(student, teacher, temperature)


@exercise("distillation_loss", labelled_cases(), [
    ("the soft term lacks T²", lambda z, v, y, temperature, soft_weight, hard_weight:
     hard_weight * F.cross_entropy(z, y) + soft_weight * kl(z, v, temperature)),
    ("the hard term must be at T = 1: give cross_entropy the plain logits",
     lambda z, v, y, temperature, soft_weight, hard_weight:
     hard_weight * F.cross_entropy(z / temperature, y)
     + soft_weight * soft_target(z, v, temperature)),
    ("student and teacher are swapped in the soft term",
     lambda z, v, y, temperature, soft_weight, hard_weight:
     hard_weight * F.cross_entropy(z, y) + soft_weight * soft_target(v, z, temperature)),
    ("the two weights are swapped", lambda z, v, y, temperature, soft_weight, hard_weight:
     losses.distillation_loss(z, v, y, temperature=temperature, soft_weight=hard_weight,
                              hard_weight=soft_weight)),
], temperature=4.0, soft_weight=0.7, hard_weight=0.2)  # fmt: skip
def check_distillation_loss(student: Tensor, teacher: Tensor, labels: Tensor, **weights) -> Tensor:
    """`loss(student_logits, teacher_logits, labels, *, temperature, soft_weight, hard_weight)`."""
    return losses.distillation_loss(student, teacher, labels, **weights)


@exercise("soft_gradient", logit_cases(1.0, 4.0), [
    ("the sign is turned: student minus teacher", lambda *c: -losses.soft_gradient(*c)),
    ("the chain rule through z / T gives one more factor 1 / T",
     lambda z, v, t: t * losses.soft_gradient(z, v, t)),
    ("without the factor T² here", lambda z, v, t: t**2 * losses.soft_gradient(z, v, t)),
    ("each image on its own: no division by the batch",
     lambda z, v, t: losses.soft_gradient(z, v, t) / len(z)),
])  # fmt: skip
def check_soft_gradient(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`gradient(student_logits, teacher_logits, temperature) -> [B, K]`: of each image's KL by z.

    KL(teacher || student) of the softened outputs, without T² and without the batch mean.
    """
    return losses.soft_gradient(student, teacher, temperature)


@exercise("mass_matching_shift", [(z, v, [0]) for z, v, _ in logit_cases(1.0)], [
    ("the sign is turned: it is added to the student's logits",
     lambda *c: -metrics.mass_matching_shift(*c)),
    ("it matches the student to itself: the wanted probability is the teacher's",
     lambda z, v, c: metrics.mass_matching_shift(z, z, c)),
])  # fmt: skip
def check_mass_matching_shift(student: Tensor, teacher: Tensor, classes: list[int]) -> float:
    """`shift(student_logits, teacher_logits, classes) -> float`: what to add to these logits."""
    return metrics.mass_matching_shift(student, teacher, classes)


def rows(x: Tensor, power: int = 2) -> Tensor:
    """[B, C, H, W] -> [B, H * W]: sums over the channels."""
    return x.abs().pow(power).sum(dim=1).flatten(1)


def features(*shape: int, seed: int) -> tuple[Tensor]:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)),)


@exercise("attention_map", [features(2, 5, 3, 4, seed=0), features(3, 1, 2, 2, seed=1)], [
    ("not normalised: divide each row by its length", rows),
    ("absolute values: it is the sum of squares", lambda x: F.normalize(rows(x, 1), dim=1)),
    ("signs cancel: square before you sum", lambda x: F.normalize(x.sum(1).flatten(1), dim=1)),
    ("rows that sum to one: divide by the length (L2), not by the sum",
     lambda x: F.normalize(rows(x), p=1, dim=1)),
    ("normalised over the batch: each image on its own, dim=1",
     lambda x: F.normalize(rows(x), dim=0)),
])  # fmt: skip
def check_attention_map(feature: Tensor) -> Tensor:
    """`attention_map(feature [B, C, H, W]) -> [B, H * W]`, each row of length 1."""
    return losses.attention_map(feature)


def coupled(z: Tensor, v: Tensor, y: Tensor, **weights: float) -> Tensor:
    """DKD whose second part still carries 1 - p_y."""
    t = weights["temperature"]
    rest = 1 - losses.soften(v, t).gather(1, y[:, None])[:, 0]
    target = weights["target_weight"] * losses.target_divergence(z, v, y, t)
    others = weights["non_target_weight"] * losses.non_target_divergence(z, v, y, t)
    return t**2 * (target + rest * others).mean()


@exercise("decoupled_loss", labelled_cases()[1:], [
    ("the factor T² is missing", lambda *c, temperature, **w:
     losses.decoupled_loss(*c, temperature=temperature, **w) / temperature**2),
    ("the second part still carries 1 - p_y: that is what DKD drops", coupled),
    ("the two weights are swapped", lambda *c, temperature, target_weight, non_target_weight:
     losses.decoupled_loss(*c, temperature=temperature, target_weight=non_target_weight,
                           non_target_weight=target_weight)),
    ("student and teacher are swapped", lambda z, v, y, **w: losses.decoupled_loss(v, z, y, **w)),
    ("the sum over the batch: take the mean", lambda z, v, y, **w:
     len(z) * losses.decoupled_loss(z, v, y, **w)),
], temperature=4.0, target_weight=0.5, non_target_weight=6.0)  # fmt: skip
def check_decoupled_loss(student: Tensor, teacher: Tensor, labels: Tensor, **weights) -> Tensor:
    """`loss(student_logits, teacher_logits, labels, *, temperature, target_weight,
    non_target_weight) -> scalar`: DKD with T², mean over the images."""
    return losses.decoupled_loss(student, teacher, labels, **weights)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of probabilities [B, K] -> [B]."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=1)


def mean_of_logits(z: Tensor, v: Tensor) -> Tensor:
    middle = ((z + v) / 2).softmax(1)
    return (divergence(v.softmax(1), middle) + divergence(z.softmax(1), middle)).mean() / 2


@exercise("jensen_shannon", [(z, v) for z, v, _ in logit_cases(1.0)], [
    ("twice too large: it is the mean of two KLs",
     lambda z, v: 2 * losses.jensen_shannon_loss(z, v)),
    ("this is KL(teacher || student): both are compared with their mean",
     lambda z, v: soft_target(z, v, 1.0)),
    ("the mean of the logits: average the probabilities", mean_of_logits),
    ("the sum over the batch: divide by the number of images",
     lambda z, v: len(z) * losses.jensen_shannon_loss(z, v)),
    ("the mean over the classes: sum over them",
     lambda z, v: losses.jensen_shannon_loss(z, v) / z.shape[1]),
    ("the other way round: KL(teacher || middle), not KL(middle || teacher)", lambda z, v: sum(
        divergence((z.softmax(1) + v.softmax(1)) / 2, x.softmax(1)).mean() for x in (z, v)) / 2),
])  # fmt: skip
def check_jensen_shannon(student: Tensor, teacher: Tensor) -> Tensor:
    """`loss(student_logits, teacher_logits) -> scalar`: Jensen-Shannon divergence at T = 1."""
    return losses.jensen_shannon_loss(student, teacher)


def texts(model: Tensor, length: int) -> Tensor:
    """The log-probability of every text of a bigram model, logits [V, V], after token 0."""
    steps, words = model.log_softmax(1), torch.arange(len(model))
    every = torch.cartesian_prod(*[words] * length).view(-1, length)
    before = torch.cat([torch.zeros(len(every), 1, dtype=torch.long), every[:, :-1]], dim=1)
    return steps[before, every].sum(dim=1)


def sequence_kl(teacher: Tensor, student: Tensor, length: int) -> Tensor:
    """The sum over all V ** length texts."""
    p, q = texts(teacher, length), texts(student, length)
    return (p.exp() * (p - q)).sum()


def kl_after_student(teacher: Tensor, student: Tensor, length: int) -> Tensor:
    """The divergence of each step, after prefixes that the student wrote."""
    p, q = teacher.log_softmax(1), student.log_softmax(1)
    now, total = torch.eye(len(p))[0], torch.zeros(())
    for _ in range(length):
        total = total + (now * (p.exp() * (p - q)).sum(dim=1)).sum()
        now = now @ q.exp()
    return total


def bigrams(vocabulary: int, length: int) -> tuple[Tensor, Tensor, int]:
    draw = torch.Generator().manual_seed(vocabulary)
    return (*(2 * torch.randn(2, vocabulary, vocabulary, generator=draw)).unbind(), length)


@exercise("sequence_kl", [bigrams(2, 1), bigrams(3, 4), bigrams(4, 3)], [
    ("the divergence of one step: sum over all positions of the text",
     lambda p, q, n: sequence_kl(p, q, 1)),
    ("the student's prefixes: the texts are the teacher's", kl_after_student),
    ("student and teacher are swapped", lambda p, q, n: sequence_kl(q, p, n)),
    ("the mean over positions: the divergence of a text is their sum",
     lambda p, q, n: sequence_kl(p, q, n) / n),
])  # fmt: skip
def check_sequence_kl(teacher: Tensor, student: Tensor, length: int) -> Tensor:
    """`sequence_kl(teacher, student, length) -> scalar`: KL(teacher || student) of whole texts.

    Both are bigram models, logits [V, V] of the next token (columns) after each token (rows); a
    text starts after token 0. Compared with the sum over all V ** length texts.
    """
    return sequence_kl(teacher, student, length)
