"""Other ways to match logits: regression, hard labels, decoupled, correlated, standardised."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.losses.soft import check_labels, check_same_shape, log_soften, soft_target_loss, soften


def logit_matching_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """``||z - v||^2 / 2``, mean over the batch (Ba & Caruana 2014, eq. 1; weight 1).

    K times the limit of `soft_target_loss` for T -> inf when both logits have mean zero; unlike
    that limit it also matches a constant shift of all logits, which no probability depends on.
    """
    check_same_shape(student_logits, teacher_logits)
    gap = student_logits.float() - teacher_logits.detach().float()
    return gap.square().sum(dim=1).mean() / 2


def jensen_shannon_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0
) -> Tensor:
    """``T^2 (KL(p || m) + KL(q || m)) / 2`` with m the mean of p and q, mean over the batch:
    symmetric, at T = 1 never above log 2 (Cui et al. 2021, SSLD; weight 1).

    Near student = teacher it is a quarter of `soft_target_loss`: 4 times the weight is fair.
    """
    check_same_shape(student_logits, teacher_logits)
    q, p = (log_soften(x, temperature) for x in (student_logits, teacher_logits.detach()))
    m = torch.logaddexp(q, p) - math.log(2)
    both = sum(F.kl_div(m, x, reduction="batchmean", log_target=True) for x in (p, q))
    return temperature**2 * both / 2


def hard_distillation_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy with the teacher's first guess (Touvron et al. 2021, DeiT, eq. 3; weight 1/2):
    no temperature, no dark knowledge, the teacher only relabels the view that both see."""
    check_same_shape(student_logits, teacher_logits)
    return F.cross_entropy(student_logits.float(), teacher_logits.argmax(dim=1))


def target_divergence(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """TCKD [B]: KL between (p_y, 1 - p_y) and (q_y, 1 - q_y), y the label, without T^2.

    How sure the teacher is (Zhao et al. 2022, eq. 6). Computed from logarithms, so a saturated net
    gives a large number and not infinity.
    """
    nets = _checked(student_logits, teacher_logits, labels)
    student, teacher = (_target_or_not(logits, labels, temperature) for logits in nets)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)


def non_target_divergence(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """NCKD [B]: KL between the distributions over the K - 1 other classes, without T^2.

    What the teacher knows about the classes that it is not (Zhao et al. 2022, eq. 6). With K = 2
    there is one other class, and the loss is identically zero.
    """
    nets = _checked(student_logits, teacher_logits, labels)
    student, teacher = (log_soften(_others(logits, labels), temperature) for logits in nets)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)


def decoupled_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    non_target_weight: float = 8.0,
) -> Tensor:
    """DKD: ``T^2 (alpha TCKD + beta NCKD)``, mean over the batch (Zhao et al. 2022, eq. 8).

    Soft targets are the special case alpha = 1, beta = 1 - p_y, an image at a time: a confident
    teacher mutes its own dark knowledge. The paper takes alpha = 1, beta = 2 to 8, T = 4.
    """
    given = student_logits, teacher_logits, labels, temperature
    target, others = target_divergence(*given), non_target_divergence(*given)
    return temperature**2 * (target_weight * target + non_target_weight * others).mean()


def dist_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """DIST: one minus Pearson's correlation of q and p (Huang et al. 2022, eqs. 8 to 10), x T^2.

    Over the classes of an image plus over the images of a class (their beta = gamma is the weight,
    2): the teacher's order and proportions count, not its scale. Zero at student = teacher; a batch
    of one image has no correlation over images (loss 1).
    """
    check_same_shape(student_logits, teacher_logits)
    q, p = (soften(x, temperature) for x in (student_logits, teacher_logits.detach()))
    classes, images = 1 - _correlation(q, p).mean(), 1 - _correlation(q.T, p.T).mean()
    return temperature**2 * (classes + images)


def standardise(logits: Tensor) -> Tensor:
    """Each image's logits with mean 0 and (unbiased) standard deviation 1, [B, K] -> [B, K].

    No logit is then more than sqrt(K) above the mean of the others: at T = 2 a teacher of 10
    classes is never surer than 35%, of 100 classes 60%.
    """
    logits = logits.float()
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + 1e-7)


def standardised_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Soft targets of `standardise`d logits (Sun et al. 2024, Logit Standardization; weight 9):
    scale and shift of both nets' logits are free. The paper's T = 2 is for 100 classes."""
    check_same_shape(student_logits, teacher_logits)
    return soft_target_loss(standardise(student_logits), standardise(teacher_logits), temperature)


def mixture_loss(student_logits: Tensor, teachers: Sequence[Tensor], temperature: float) -> Tensor:
    """``T^2 KL(mean of the teachers' p || q)``, teachers' logits [B, K] each: the arithmetic mean
    of Hinton et al. 2015, section 3; the mean of the logits would be the geometric one."""
    each = torch.stack([log_soften(v.detach(), temperature) for v in teachers])
    mean = torch.logsumexp(each, dim=0) - torch.tensor(len(teachers)).log()
    return soft_target_loss(student_logits, temperature * mean, temperature)


def mutual_loss(peers: Tensor, labels: Tensor, weight: float = 1.0) -> Tensor:
    """Deep mutual learning, the sum over peers of ``CE + weight * mean of KL(other || this)``.

    `peers` [P, B, K] are the logits of P >= 2 students, T = 1. In each KL the other peer is a
    constant, as a teacher is (Zhang et al. 2018, eqs. 5 and 10).
    """
    loss = torch.zeros((), device=peers.device)
    for this, logits in enumerate(peers):
        check_labels(labels, *logits.shape)
        others = [soft_target_loss(logits, v, 1.0) for n, v in enumerate(peers) if n != this]
        loss = loss + F.cross_entropy(logits.float(), labels) + weight * sum(others) / len(others)
    return loss


def _checked(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> tuple:
    check_same_shape(student_logits, teacher_logits)
    check_labels(labels, *student_logits.shape)
    return student_logits, teacher_logits.detach()


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """[B, K - 1]: the logits of all classes but the label."""
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, columns + (columns >= labels[:, None]))


def _target_or_not(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """[B, 2]: log probability of the label, and of all other classes together."""
    logs = log_soften(logits, temperature)
    label = logs.gather(1, labels[:, None])
    return torch.cat([label, _others(logs, labels).logsumexp(dim=1, keepdim=True)], dim=1)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of matching rows."""
    return F.cosine_similarity(a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True))
