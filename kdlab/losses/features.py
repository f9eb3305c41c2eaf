"""Matching what happens inside the nets: features [B, C, H, W] of chosen stages."""

import torch.nn.functional as F
from torch import Tensor

from kdlab.losses.soft import check_one_shape


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two features of the same shape (Romero et al. 2015, eq. 3).

    The paper's 1/2 and sum are constants, taken up by the weight (RepDistiller: 100). A student of
    another width goes through a projector first, which is trained with it and thrown away.
    """
    check_one_shape(student, teacher, "a hint needs features of one shape")
    return F.mse_loss(student.float(), teacher.detach().float())


def attention_map(feature: Tensor) -> Tensor:
    """Where a stage looks: [B, C, H, W] -> [B, H * W], the sum over channels of squared
    activations, as a unit vector (Zagoruyko & Komodakis 2017, eq. 1 with p = 2)."""
    return F.normalize(feature.float().square().sum(dim=1).flatten(1), dim=1)


def attention_transfer_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two attention maps; their channels may differ.

    The form of the authors' code (weight 1000); their eq. 2 has the norm in place of its square.
    """
    if (len(student), *student.shape[2:]) != (len(teacher), *teacher.shape[2:]):
        shapes = f"{list(student.shape)} and {list(teacher.shape)}: choose stages that match"
        raise ValueError(f"attention maps need one batch and resolution, got {shapes}")
    return F.mse_loss(attention_map(student), attention_map(teacher.detach()))


def fsp_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Flow between two stages, [B, C1, H, W] and [B, C2, h, w] -> [B, C1, C2]: the mean over space
    of channel products (Yim et al. 2017, eq. 1); the larger map is max-pooled to the smaller."""
    size = min(first.shape[2:], second.shape[2:])
    first, second = (F.adaptive_max_pool2d(f.float(), size).flatten(2) for f in (first, second))
    return first @ second.transpose(1, 2) / first.shape[2]


def fsp_loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared difference of student's and teacher's `fsp_matrix` (Yim et al. 2017, eq. 2;
    RepDistiller's weight is 50). Both nets need the same channels in both stages."""
    ours, theirs = fsp_matrix(*student), fsp_matrix(*teacher)
    check_one_shape(ours, theirs, "FSP matrices must agree")
    return F.mse_loss(ours, theirs.detach())
