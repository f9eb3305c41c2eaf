"""Soft targets: what Hinton et al. 2015 match, and the checks that all losses share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Soft targets ``softmax(logits / T)``, [B, K] -> [B, K] (Hinton et al. 2015, eq. 1).

    T = 1 is the plain softmax; T -> 0 puts all mass on the largest logit; T -> inf is uniform.
    Raises ValueError unless 0 < T < inf, and FloatingPointError for NaN or infinite logits.
    """
    return log_soften(logits, temperature).exp()


def log_soften(logits: Tensor, temperature: float) -> Tensor:
    """``log softmax(logits / T)`` in float32, exact even where the probability underflows.

    On a GPU NaN passes, for to look would wait for the device; `fit` looks once an epoch.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"the temperature must be positive and finite, got {temperature}")
    if logits.device.type == "cpu" and not torch.isfinite(logits).all():
        raise FloatingPointError(
            "the logits contain NaN or infinity: look for a diverged model before this loss"
        )
    return F.log_softmax(logits.float() / temperature, dim=-1)


def entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy of each distribution in nats, [..., K] -> [...]; 0 log 0 counts as 0."""
    return -torch.xlogy(probabilities, probabilities).sum(dim=-1)


def soft_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """``KL(p || q)`` of the softened outputs: summed over the K classes, mean over the B images.

    The teacher gets no gradient. Raises ValueError for logits of different shapes, and as `soften`.
    """
    check_same_shape(student_logits, teacher_logits)
    log_q = log_soften(student_logits, temperature)
    log_p = log_soften(teacher_logits.detach(), temperature)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """``T^2 * KL(p || q)``, the mean over the B images (Hinton et al. 2015, section 2).

    Zero exactly when both nets agree up to a constant shift of the logits. Its gradient with
    respect to z is ``T * (q - p) / B``; as T grows the loss tends to ``||z - v||^2 / (2K)`` for
    zero-mean logits. T^2 keeps that gradient's size when T changes. Raises as `soft_divergence`.
    """
    return temperature**2 * soft_divergence(student_logits, teacher_logits, temperature)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    soft_weight: float,
    hard_weight: float,
) -> Tensor:
    """``hard_weight * CE(labels, softmax(z)) + soft_weight * T^2 * KL(p || q)``.

    Hinton's objective. The hard term is at T = 1, the temperature at which the student is used.
    ``(hard, soft) = (1, lambda)`` is the seed's convention and ``(1 - a, a)`` the common one; they
    differ by a factor of the whole loss, that is, in the learning rate. ``hard_weight=0`` needs no
    label. Raises as `soft_target_loss`, and ValueError for labels that are not B of 0..K-1.
    """
    loss = soft_weight * soft_target_loss(student_logits, teacher_logits, temperature)
    if hard_weight:
        check_labels(labels, *student_logits.shape)
        loss = loss + hard_weight * F.cross_entropy(student_logits.float(), labels)
    return loss


def check_same_shape(student: Tensor, teacher: Tensor) -> None:
    """Refuse a silent broadcast: student and teacher must be [B, K] alike."""
    if student.ndim != 2 or student.shape != teacher.shape:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"student and teacher logits must both be [batch, classes], got {shapes}")


def check_one_shape(student: Tensor, teacher: Tensor, need: str) -> None:
    """Refuse features of two shapes, which a projector makes one."""
    if student.shape != teacher.shape:
        shapes = f"{list(student.shape)} and {list(teacher.shape)}"
        raise ValueError(f"{need}, got {shapes}: project the student's")


def check_labels(labels: Tensor, batch: int, classes: int) -> None:
    """Refuse what cross-entropy broadcasts, ignores (-100) or crashes a GPU with (too large)."""
    shape, dtype = tuple(labels.shape), labels.dtype
    if shape != (batch,) or dtype != torch.int64:
        raise ValueError(f"expected {batch} labels of int64, got {dtype} {shape}")
    on_cpu = labels.device.type == "cpu"  # a GPU would have to be waited for, in each step
    if on_cpu and ((labels < 0) | (labels >= classes)).any():
        low, high = labels.aminmax()
        raise ValueError(f"labels must be 0..{classes - 1}, got {low}..{high}")
