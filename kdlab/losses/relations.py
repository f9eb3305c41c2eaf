"""Matching relations between the images of a batch: embeddings [B, D], of any two widths D."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.losses.soft import check_labels, check_one_shape, soft_target_loss


def similarity_preserving_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """``||G_s - G_t||_F^2 / B^2``, G the Gram matrix with rows of unit L2 norm (Tung & Mori 2019,
    eqs. 1 to 4; weight 3000). Features of more axes are flattened first."""
    ours, theirs = (_units(f @ f.T, 1e-12) for f in _rows(student, teacher))
    return (ours - theirs).square().mean()


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of all pair distances, each in units of its net's mean (Park et al. 2019, eqs. 5
    to 7; weight 25)."""
    ours, theirs = (_distances(f) for f in _rows(student, teacher))
    return F.smooth_l1_loss(ours, theirs)


def rkd_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the cosines of all angles i-j-k (Park et al. 2019, eqs. 8 to 10; weight 50).

    Two equal rows have no direction and count as zero, with gradient zero, where a plain
    normalisation would send back one of 1e10. Memory grows as B^3.
    """
    units = (_units(rows - rows[:, None]) for rows in _rows(student, teacher))
    ours, theirs = (u @ u.transpose(1, 2) for u in units)  # [B, B, B], by corner
    return F.smooth_l1_loss(ours, theirs)


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of the batch's neighbour probabilities, cosine similarities scaled to sum to one in each
    row (Passalis & Tefas 2018, eqs. 5 to 8); mean over B^2 pairs (weight 30000)."""
    units = map(_units, _rows(student, teacher))
    scaled = [(u @ u.T + 1) / 2 for u in units]  # from -1..1 to 0..1
    ours, theirs = (s / s.sum(dim=1, keepdim=True) for s in scaled)
    return (theirs * ((theirs + 1e-7).log() - (ours + 1e-7).log())).mean()


def contrastive_loss(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
    """Which of the batch's teacher embeddings is this image's? InfoNCE at T = 0.1; one width D.

    Negatives are the other images of the batch, with `labels` only those of other classes (after
    Tian et al. 2020, eq. 18, without their memory bank; weight 0.8). Its floor is not zero: at
    student = teacher it is what the teacher's own neighbours leave.
    """
    ours, theirs = map(_units, _rows(student, teacher))
    check_one_shape(ours, theirs, "embeddings must have one shape")
    scores, own = ours @ theirs.T / 0.1, torch.arange(len(ours), device=ours.device)
    if labels is not None:
        check_labels(labels, len(ours), int(labels.max()) + 1)
        same = (labels[:, None] == labels) & (own[:, None] != own)
        scores = scores.masked_fill(same, -torch.inf)
    return F.cross_entropy(scores, own)


def view_similarity_loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """How a transformed image resembles the batch's plain ones, from (plain, transformed)
    embeddings: KL of rows of cosine similarities at T = 0.5 (Xu et al. 2020, SSKD, eqs. 5 to 7)."""
    plain, turned = map(_rows, student, teacher)  # each of student and teacher
    ours, theirs = (_units(b) @ _units(a).T for a, b in zip(plain, turned, strict=True))
    return soft_target_loss(ours, theirs, 0.5)


def _rows(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 [B, D]; ValueError for batches of other sizes."""
    if len(student) != len(teacher) or min(student.ndim, teacher.ndim) < 2:
        shapes = f"{list(student.shape)} and {list(teacher.shape)}"
        raise ValueError(f"need one row an image from both nets, got {shapes}")
    return student.flatten(1).float(), teacher.detach().flatten(1).float()


def _units(vectors: Tensor, least: float = 1e-6) -> Tensor:
    """Each vector (last axis) with length one; a zero vector stays zero and has no gradient, where
    `F.normalize` sends back one of 1e12: a dead row must not end a training."""
    lengths = vectors.norm(dim=-1, keepdim=True)
    return torch.where(lengths > least, vectors / lengths.clamp(min=least), 0.0)


def _distances(rows: Tensor) -> Tensor:
    """[B, B] Euclidean distances over their mean; the diagonal is zero and has no gradient."""
    squares = (rows[:, None] - rows).square().sum(dim=2)
    distances = torch.where(squares > 1e-12, squares.clamp(min=1e-12).sqrt(), 0.0)
    positive = (distances > 0).sum().clamp(min=1)
    return distances / (distances.sum() / positive).clamp(min=1e-12)
