"""The images of the live student's panel, and what a teacher says of them: one file for all pages.

python tests/pack_live_student.py
MNIST's middle 20 x 20 pixels as means of 2 x 2, with 16 grey levels: 2,000 training images and
1,000 test images, drawn at random; image i shows the digit i % 10. The teacher sees them whole.
"""

import base64

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab import data, metrics
from kdlab.apps.chapters.panels.live_student import SHARED
from kdlab.data import Images
from kdlab.files import EMBEDDED, write_json
from kdlab.teachers import load_teacher

TEACHER = "mnist-mlp-1200"
PER_DIGIT = {"train": 200, "test": 100}
LEVELS = 15  # above black
LARGEST = 127  # of a logit in eight bits


def interleaved(images: Images, per_digit: int) -> Images:
    """As many random images of each digit, in turn: 0, 1, ..., 9, 0, 1, ..."""
    order = torch.randperm(len(images.labels), generator=torch.Generator().manual_seed(0))
    each = [order[images.labels[order] == digit][:per_digit] for digit in range(10)]
    return data.select(images, torch.stack(each, dim=1).flatten())


def small(images: Tensor) -> Tensor:
    """uint8 [N, 1, 28, 28] -> grey levels uint8 [N, 100]."""
    middle = F.avg_pool2d(images[:, :, 4:24, 4:24].float(), 2)
    return (middle * LEVELS / 255).round().byte().flatten(1)


def two_a_byte(levels: Tensor) -> str:
    """Grey levels in base64, the first of each two in the low four bits."""
    first, second = levels.flatten().view(-1, 2).T
    return text(first | second << 4)


def text(numbers: Tensor) -> str:
    return base64.b64encode(numbers.numpy().tobytes()).decode()


def pack() -> dict:
    """The file's content. A logit is `step` times its number; the mean of a row is taken off."""
    sets = {s: interleaved(data.load("mnist", s), count) for s, count in PER_DIGIT.items()}
    logits = metrics.predict(load_teacher(TEACHER), sets["train"])
    logits = logits - logits.mean(dim=1, keepdim=True)
    step = logits.abs().max().item() / LARGEST
    return {
        "side": 10,
        "levels": LEVELS,
        "teacher": {"name": TEACHER, "labels": len(data.load("mnist").labels), "side": 28},
        **{name: two_a_byte(small(images.images)) for name, images in sets.items()},
        "step": round(step, 6),
        "logits": text((logits / step).round().to(torch.int8)),
    }


if __name__ == "__main__":
    write_json(EMBEDDED / f"{SHARED}.json", pack())
