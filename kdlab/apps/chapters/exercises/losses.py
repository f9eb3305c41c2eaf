"""Checks of losses and what they are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import matrix_power

from kdlab import losses, metrics
from kdlab.apps.chapters.exercises.exercise import (
    Solved,
    exercise,
    labelled_cases,
    logit_cases,
    noise,
)
from kdlab.losses import entropy
from kdlab.losses import soft_target_loss as soft_loss

LARGE = torch.tensor([[1e4, 0.0]])


@exercise([*((z, t) for z, _, t in logit_cases(0.5, 1.0, 20.0)), (LARGE, 2.0)])
def check_soften(z: Tensor, t: float) -> Solved:
    """`soften(logits [B, K], temperature) -> probabilities [B, K]`."""
    return losses.soften(z, t), {
        "the temperature has no effect: divide the logits by it": z.softmax(1),
        "multiplies by T: divide the logits by T, so that T > 1 flattens": (z * t).softmax(1),
        "normalises over the batch: the softmax goes over the classes, dim=1": (z / t).softmax(0),
        "returns log-probabilities: use softmax": (z / t).log_softmax(1),
    }


@exercise([*((z.softmax(1),) for z, _, _ in logit_cases(1.0)), (torch.eye(3),)])
def check_entropy(p: Tensor) -> Solved:
    """`entropy(probabilities [B, K]) -> [B]` in nats, with 0 log 0 = 0."""
    right = entropy(p)
    return right, {
        "in bits: use the natural logarithm": right / torch.tensor(2).log(),
        "negative: entropy is minus the sum of p log p": -right,
    }


@exercise(logit_cases(1.0, 4.0))
def check_soft_target_loss(z: Tensor, v: Tensor, t: float) -> Solved:
    """`loss(student_logits, teacher_logits, temperature) -> scalar`: T² KL(teacher || student)."""
    right, (q, p) = soft_loss(z, v, t), ((logits / t).softmax(1) for logits in (z, v))
    return right, {
        "the factor T² is missing": right / t**2,
        "multiplies by T: the factor is T²": right / t,
        "reduction='mean' divides by the classes too: use 'batchmean'": right / z.shape[1],
        "the sum over the batch: divide by the number of images": right * len(z),
        "student and teacher are swapped: it must be KL(teacher || student)": soft_loss(v, z, t),
        "kl_div's first argument must be log-probabilities: use log_softmax":
            t**2 * F.kl_div(q, p, reduction="batchmean"),
        "this is the cross-entropy: subtract the teacher's entropy":
            right + t**2 * entropy(p).mean(),
    }  # fmt: skip


@exercise(labelled_cases(), temperature=4.0, soft_weight=0.7, hard_weight=0.2)
def check_distillation_loss(z: Tensor, v: Tensor, y: Tensor, **options: float) -> Solved:
    """`loss(student_logits, teacher_logits, labels, *, temperature, soft_weight, hard_weight)`."""
    t, a, b = options.values()
    soft, hard = soft_loss(z, v, t), F.cross_entropy(z, y)
    return losses.distillation_loss(z, v, y, **options), {
        "the soft term lacks T²": a * soft / t**2 + b * hard,
        "the hard term must be at T = 1: give cross_entropy the plain logits":
            a * soft + b * F.cross_entropy(z / t, y),
        "student and teacher are swapped in the soft term":
            a * soft_loss(v, z, t) + b * hard,
        "the two weights are swapped": b * soft + a * hard,
    }  # fmt: skip


@exercise(logit_cases(1.0, 4.0))
def check_soft_gradient(z: Tensor, v: Tensor, t: float) -> Solved:
    """`gradient(student_logits, teacher_logits, temperature) -> [B, K]`: of each image's KL by z,
    KL(teacher || student) of the softened outputs, without T² and without the batch mean."""
    right = (losses.soften(z, t) - losses.soften(v, t)) / t
    return right, {
        "the sign is turned: student minus teacher": -right,
        "the chain rule through z / T gives one more factor 1 / T": t * right,
        "without the factor T² here": t**2 * right,
        "each image on its own: no division by the batch": right / len(z),
    }


@exercise([(z, v, [0]) for z, v, _ in logit_cases(1.0)])
def check_mass_matching_shift(z: Tensor, v: Tensor, classes: list[int]) -> Solved:
    """`shift(student_logits, teacher_logits, classes) -> float`: what to add to these logits."""
    right, own = (metrics.mass_matching_shift(z, wanted, classes) for wanted in (v, z))
    return right, {
        "the sign is turned: it is added to the student's logits": -right,
        "it matches the student to itself: the wanted probability is the teacher's": own,
    }


@exercise([(noise(2, 5, 3, 4),), (noise(3, 1, 2, 2),)])
def check_attention_map(feature: Tensor) -> Solved:
    """`attention_map(feature [B, C, H, W]) -> [B, H * W]`, each row of length 1."""
    x = feature.flatten(2)
    squares, signed, sizes = (values.sum(dim=1) for values in (x**2, x, x.abs()))
    return losses.attention_map(feature), {
        "not normalised: divide each row by its length": squares,
        "absolute values: it is the sum of squares": F.normalize(sizes),
        "signs cancel: square before you sum": F.normalize(signed),
        "rows that sum to one: divide by the length (L2), not by the sum": F.normalize(squares, 1),
        "normalised over the batch: each image on its own, dim=1": F.normalize(squares, dim=0),
    }


@exercise(labelled_cases()[1:], temperature=4.0, target_weight=0.5, non_target_weight=6.0)
def check_decoupled_loss(z: Tensor, v: Tensor, y: Tensor, **options: float) -> Solved:
    """`loss(student_logits, teacher_logits, labels, *, temperature, target_weight,
    non_target_weight) -> scalar`: DKD with T², mean over the images."""
    t, a, b = options.values()
    right = losses.decoupled_loss(z, v, y, **options)
    target = t**2 * losses.target_divergence(z, v, y, t).mean()
    others = (right - a * target) / b
    return right, {
        "the factor T² is missing": right / t**2,
        "the second part still carries 1 - p_y: that is what DKD drops":
            a * target + b * (soft_loss(z, v, t) - target),
        "the two weights are swapped": b * target + a * others,
        "student and teacher are swapped": losses.decoupled_loss(v, z, y, **options),
        "the sum over the batch: take the mean": len(z) * right,
    }  # fmt: skip


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of probabilities [B, K] -> [B]."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=1)


@exercise([(z, v) for z, v, _ in logit_cases(1.0)])
def check_jensen_shannon(z: Tensor, v: Tensor) -> Solved:
    """`loss(student_logits, teacher_logits) -> scalar`: Jensen-Shannon divergence at T = 1."""
    q, p, of_logits = (x.softmax(1) for x in (z, v, (z + v) / 2))
    right, middle = losses.jensen_shannon_loss(z, v), (p + q) / 2
    return right, {
        "twice too large: it is the mean of two KLs": 2 * right,
        "this is KL(teacher || student): both are compared with their mean":
            divergence(p, q).mean(),
        "the mean of the logits: average the probabilities":
            (divergence(p, of_logits) + divergence(q, of_logits)).mean() / 2,
        "the sum over the batch: divide by the number of images": len(z) * right,
        "the mean over the classes: sum over them": right / z.shape[1],
        "the other way round: KL(teacher || middle), not KL(middle || teacher)":
            (divergence(middle, p) + divergence(middle, q)).mean() / 2,
    }  # fmt: skip


def text_kl(p: Tensor, q: Tensor, length: int, writer: Tensor) -> Tensor:
    """The divergence of each step, after prefixes that the bigram model `writer` wrote: summed."""
    step = divergence(p.softmax(1), q.softmax(1))
    return sum(matrix_power(writer.softmax(1), n)[0] @ step for n in range(length))


@exercise([(2 * noise(v, v), 2 * noise(v, v, seed=1), n) for v, n in ((2, 1), (3, 4), (4, 3))])
def check_sequence_kl(p: Tensor, q: Tensor, length: int) -> Solved:
    """`sequence_kl(teacher, student, length) -> scalar`: KL(teacher || student) of whole texts,
    all V ** length. Both are bigram models, logits [V, V] of the next token (columns) after each
    token (rows); a text starts after token 0."""
    right = text_kl(p, q, length, writer=p)
    return right, {
        "the divergence of one step: sum over all positions of the text": text_kl(p, q, 1, p),
        "the student's prefixes: the texts are the teacher's": text_kl(p, q, length, writer=q),
        "student and teacher are swapped": text_kl(q, p, length, writer=q),
        "the mean over positions: the divergence of a text is their sum": right / length,
    }


@exercise(logit_cases(0.5, 1.0, 4.0))
def check_acceptance(target: Tensor, draft: Tensor, t: float) -> Solved:
    """`acceptance(target [N, K], draft [N, K], T) -> scalar`: the mean share of drafted tokens that
    speculative decoding accepts (Leviathan et al. 2023)."""
    p, q = (losses.soften(logits, t) for logits in (target, draft))
    apart = (p - q).abs().sum(dim=1).mean() / 2
    sharp, other = (logits.softmax(dim=1) for logits in (target, draft))
    return torch.minimum(p, q).sum(dim=1).mean(), {
        "the temperature has no effect: soften both by it":
            torch.minimum(sharp, other).sum(dim=1).mean(),
        "this is the total variation: accepted is what the two have in common": apart,
        "the chance that two draws agree: a token is accepted with min(1, p / q)":
            (p * q).sum(dim=1).mean(),
        "the mean over tokens, too: sum over them": torch.minimum(p, q).mean(),
        "an expectation under the draft: weigh min(1, p / q) with q":
            (p / q).clamp(max=1).mean(dim=1).mean(),
    }  # fmt: skip


def ridge_fit(x: Tensor, y: Tensor, lam: float) -> Tensor:
    """What a ridge regression says on its own training images, [N, K]."""
    return x @ torch.linalg.solve(x.T @ x + lam * torch.eye(x.shape[1]), x.T @ y)


@exercise([(noise(12, 4), noise(12, 3, seed=1), lam, n) for lam in (0.5, 5.0) for n in (2, 5)])
def check_ridge_rounds(x: Tensor, y: Tensor, lam: float, rounds: int) -> Solved:
    """`ridge_rounds(x [N, D], y [N, K], lam, rounds) -> [N, K]`: outputs on `x` after rounds of
    self-distillation (Mobahi et al. 2020)."""
    outputs = [y]
    for _ in range(rounds + 1):
        outputs.append(ridge_fit(x, outputs[-1], lam))
    return outputs[rounds], {
        "a single fit: a round's outputs are the next round's targets": outputs[1],
        "one round too many: the plain fit is the first": outputs[rounds + 1],
        "one round too few: the plain fit is the first": outputs[rounds - 1],
        "a larger penalty is not another round: it shrinks otherwise":
            ridge_fit(x, y, lam * rounds),
    }  # fmt: skip


@exercise([(noise(*shape), noise(*shape, seed=1)) for shape in ((4, 3), (2, 6))])
def check_reward_to_go(s: Tensor, p: Tensor) -> Solved:
    """`reward_to_go(student [N, L], teacher [N, L]) -> [N, L]`: of log-probabilities of the written
    tokens, the cost of reverse KL from each token on (Tang and Munos 2025)."""
    cost = s - p
    right = cost.flip(1).cumsum(1).flip(1)
    return right, {
        "the token's own cost only: an early token also decides what later ones cost": cost,
        "the cost so far: sum from this token to the end": cost.cumsum(1),
        "the cost after this token: its own belongs to it": right - cost,
        "the whole text's cost at each token: what came before is not this token's doing":
            cost.sum(1, keepdim=True).expand_as(cost),
        "the sign is turned: the cost is student minus teacher": -right,
        "summed over the texts: each text on its own": cost.flip(0).cumsum(0).flip(0),
    }  # fmt: skip


@exercise([(0.55, 0.4, 10), (0.5, 0.3, 4), (0.9, 0.1, 100)])
def check_true_share(agreement: float, wrong: float, classes: int) -> Solved:
    """`true_share(agreement, wrong, classes) -> float`: the share of right answers of a net that
    agrees with `agreement` of labels, of which a share `wrong` was replaced by another class."""
    chance = wrong / (classes - 1)
    right = (agreement - chance) / (1 - wrong - chance)
    return right, {
        "wrong answers may agree with wrong labels: subtract what agrees by chance":
            agreement / (1 - wrong),
        "agreement is no accuracy: a right answer disagrees with a wrong label": agreement,
        "a wrong label is one of the other classes: divide by classes - 1":
            (agreement - wrong / classes) / (1 - wrong - wrong / classes),
        "chance agreement falls as accuracy rises: subtract it in the denominator, too":
            (agreement - chance) / (1 - wrong),
    }  # fmt: skip


@exercise([(noise(4, 3), torch.tensor([90.0, 9, 1])), (noise(2, 5), torch.arange(1.0, 6))])
def check_balanced(z: Tensor, counts: Tensor) -> Solved:
    """`balanced(logits [N, K], counts [K]) -> [N, K]`: probabilities for a test that has as many
    images of each class (Menon et al. 2021)."""
    prior = counts / counts.sum()
    return (z - prior.log()).softmax(1), {
        "the sign is turned: after training the logits contain the log prior, so subtract it":
            (z + prior.log()).softmax(1),
        "the prior itself is subtracted: logits contain its logarithm": (z - prior).softmax(1),
        "the prior has no effect: subtract its logarithm from the logits": z.softmax(1),
        "divided by the prior, but not normalised again": z.softmax(1) / prior,
        "these are logits: return probabilities": z - prior.log(),
    }  # fmt: skip


@exercise([(noise(5, 3, 8), noise(8, seed=1)), (noise(2, 2, 6), noise(6, seed=2))])
def check_pull(jacobian: Tensor, delta: Tensor) -> Solved:
    """`pull(jacobian [N, O, P], delta [P]) -> scalar`: the cosine between the teacher's change of
    weights and the step that imitation of the outputs takes (Cloud et al. 2025)."""
    apart = jacobian @ delta
    step = torch.einsum("nop,no->p", jacobian, apart)
    return F.cosine_similarity(step, delta, dim=0), {
        "the sign is turned: imitation moves the student towards its teacher":
            -F.cosine_similarity(step, delta, dim=0),
        "the inner product: divide by both lengths": step @ delta,
        "the derivatives are summed over images first: sum the steps of the images":
            F.cosine_similarity(jacobian.sum(0).T @ (jacobian.sum(0) @ delta), delta, dim=0),
        "J is applied once: the step is J transposed times J delta":
            F.cosine_similarity(jacobian.sum((0, 1)), delta, dim=0),
    }  # fmt: skip
