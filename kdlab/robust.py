"""Adversarial examples: projected gradient descent, robust accuracy, robust distillation.

Images are float32 pixels in 0..1 here, [B, C, H, W], and epsilon is in the same unit: 8 / 255 are
8 of 255 grey levels. `on_pixels` turns a net on normalised images into one on pixels.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.data import Images
from kdlab.losses import soft_target_loss
from kdlab.models import autocast, evaluating

EPSILON = 8 / 255  # of the CIFAR-10 literature


def on_pixels(model: nn.Module, data: Images) -> Callable[[Tensor], Tensor]:
    """pixels in 0..1 -> float32 logits, by `data`'s own mean and standard deviation."""

    def logits(pixels: Tensor) -> Tensor:
        mean, std = _statistics(data, pixels)
        images = (pixels - mean) / std
        with autocast(pixels.device.type):
            return model(images.contiguous(memory_format=torch.channels_last)).float()

    return logits


def to_pixels(images: Tensor, data: Images) -> Tensor:
    """Normalised images back to pixels in 0..1."""
    mean, std = _statistics(data, images)
    return (images * std + mean).clamp(0, 1)


def _statistics(data: Images, like: Tensor) -> list[Tensor]:
    return [torch.tensor(v).view(1, -1, 1, 1).to(like) for v in (data.mean, data.std)]


def pgd(
    logits: Callable[[Tensor], Tensor],
    pixels: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    epsilon: float = EPSILON,
    steps: int = 10,
    step_size: float | None = None,
    random_start: bool = True,
) -> Tensor:
    """Pixels within `epsilon` of these (L-infinity, and in 0..1) that raise ``loss(logits(x))``.

    Steps along the sign of the gradient, each put back into the allowed box (Madry et al. 2018,
    section 2.1); `step_size` is by default 2.5 epsilon / steps. One step of size epsilon without a
    random start is FGSM (Goodfellow et al. 2015). No weight gets a gradient; a net with batch norm
    has to be in eval mode. ValueError unless pixels are in 0..1.
    """
    if pixels.min() < 0 or pixels.max() > 1:
        raise ValueError("pgd takes pixels in 0..1: are these images normalised already?")
    if epsilon < 0 or steps < 1:
        raise ValueError(f"need epsilon >= 0 and steps >= 1, got {epsilon} and {steps}")
    step_size = 2.5 * epsilon / steps if step_size is None else step_size
    low, high = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
    attacked = pixels.clone()
    if random_start:
        attacked = (attacked + epsilon * (2 * torch.rand_like(attacked) - 1)).clamp(low, high)
    for _ in range(steps):
        attacked.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(logits(attacked)), attacked)
        attacked = (attacked.detach() + step_size * gradient.sign()).clamp(low, high)
    return attacked


def attack(model: nn.Module, data: Images, *, seed: int = 0, **settings) -> Tensor:
    """uint8 images -> pixels [N, C, H, W] that PGD finds against the labels, the net in eval mode.

    `settings` are those of `pgd`. Attacking 20 steps and counting is the field's "PGD-20".
    """
    torch.manual_seed(seed)
    net, attacked, device = on_pixels(model, data), [], next(model.parameters()).device
    with evaluating(model):
        for images, labels in zip(data.images.split(500), data.labels.split(500), strict=True):
            loss = partial(F.cross_entropy, target=labels.to(device))
            attacked.append(pgd(net, images.to(device) / 255, loss, **settings))
    return torch.cat(attacked).cpu()


def robust_accuracy(model: nn.Module, data: Images, **settings) -> float:
    """Accuracy in percent on `attack`ed images."""
    attacked = attack(model, data, **settings)
    net, device = on_pixels(model, data), next(model.parameters()).device
    with evaluating(model), torch.no_grad():
        guesses = torch.cat([net(part.to(device)).argmax(1).cpu() for part in attacked.split(1000)])
    return 100 * float((guesses == data.labels).float().mean())


def adversarial_logits(
    student: nn.Module, pixels: Tensor, loss: Callable[[Tensor], Tensor], data: Images, **settings
) -> Tensor:
    """The student's logits, in train mode, on images that PGD attacked against it in eval mode."""
    net = on_pixels(student, data)
    with evaluating(student):
        attacked = pgd(net, pixels, loss, **settings)
    return net(attacked)


def ard_loss(
    attacked_logits: Tensor,
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 30.0,
    soft_weight: float = 1.0,
) -> Tensor:
    """ARD: on attacked images what the teacher says of the clean ones, and the labels there
    (Goldblum et al. 2020, eq. 6): ``a T^2 KL(p || q_attacked) + (1 - a) CE(y, q)``."""
    soft = soft_target_loss(attacked_logits, teacher_logits, temperature)
    if soft_weight == 1:
        return soft
    return soft_weight * soft + (1 - soft_weight) * F.cross_entropy(student_logits.float(), labels)


def rslad_loss(attacked_logits: Tensor, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """RSLAD: the clean teacher's soft labels (T = 1) on attacked and clean images, 5/6 and 1/6
    (Zi et al. 2021, eq. 7; the weights of their code). Their attack raises this KL, too."""
    on_attacked = soft_target_loss(attacked_logits, teacher_logits, 1.0)
    return 5 / 6 * on_attacked + 1 / 6 * soft_target_loss(student_logits, teacher_logits, 1.0)
