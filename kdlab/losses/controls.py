"""Teachers robbed of something: what remains of the gain tells what it came from.

Both take teacher logits [B, K] and give logits of the same shape, to be distilled as before.
"""

import torch
from torch import Tensor

from kdlab.losses.soft import check_labels, entropy, soften


def permute_dark_knowledge(teacher_logits: Tensor) -> Tensor:
    """Shuffle the logits of all classes but the teacher's first, an image at a time (Furlanello et
    al. 2018, DKPP): confidence and entropy stay, which class resembles which is gone."""
    order = torch.rand(teacher_logits.shape).to(teacher_logits.device)
    ranks = teacher_logits.argsort(dim=1, descending=True)
    order.scatter_(1, ranks[:, :1], -1.0)  # the first guess sorts first, the others at random
    shuffled = order.argsort(dim=1)
    return torch.empty_like(teacher_logits).scatter_(1, shuffled, teacher_logits.gather(1, ranks))


def same_entropy_smoothing(teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Label smoothing with, for each image, the entropy of the teacher's soft target at T.

    ``(1 - e) one-hot + e / K``, e by bisection: as soft as the teacher, but every wrong class
    alike. As logits, so that `soften(..., T)` gives back these targets.
    """
    check_labels(labels, *teacher_logits.shape)
    wanted = entropy(soften(teacher_logits, temperature))
    classes = teacher_logits.shape[1]
    hard = torch.nn.functional.one_hot(labels, classes).float()
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(40):
        middle = (low + high) / 2
        too_sure = entropy(_smooth(hard, middle)) < wanted
        low, high = torch.where(too_sure, middle, low), torch.where(too_sure, high, middle)
    return temperature * _smooth(hard, high).clamp(min=1e-30).log()


def _smooth(hard: Tensor, amount: Tensor) -> Tensor:
    return (1 - amount[:, None]) * hard + amount[:, None] / hard.shape[1]
