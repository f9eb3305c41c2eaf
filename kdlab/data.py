"""MNIST and CIFAR-10 as tensors in memory: load, select, split, normalise, draw random views.

Which files they come from, and how those are checked, is the affair of `kdlab.dataset_files`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.dataset_files import BATCH, SOURCES, read_parts


@dataclass(frozen=True, eq=False)
class Images:
    """A labelled image set held in memory."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor  # int64 [N]; UNLABELLED where there is none
    index: Tensor  # int64 [N]: position in the official split; it names the image for ever
    name: str  # which set and split, such as "mnist/train"
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, of all official training images, on the 0..1 scale
    std: tuple[float, ...]


# (name, split) -> the parts that make it up, in the official order
PARTS = {
    ("mnist", "train"): ["train"],
    ("mnist", "test"): ["t10k"],
    ("cifar10", "train"): ["train-1", "train-2", "train-3", "train-4", "train-5"],
    ("cifar10", "test"): ["test"],
    ("cifar10-10k", "train"): ["train-1"],
    ("cifar10-10k", "validation"): ["train-2"],  # of the training images outside the clone
    ("cifar10-10k", "test"): ["test"],
}


def load(name: str, split: str = "train") -> Images:
    """A whole split as tensors, checked against its digests.

    Args:
        name: "mnist"; "cifar10-10k" (the first official training batch of CIFAR-10, embedded in the
            clone); or "cifar10" (all 50,000, after `python -m kdlab data cifar10`).
        split: "train"; "test" (the same 10,000 of both CIFAR-10); for "cifar10-10k" "validation":
            the second training batch, which no net of the first has seen (after the same download).

    Files are looked for in `$KDLAB_DATA` (laid out as `data/`, or the root folder of torchvision's
    own CIFAR10, which torchvision unpickles after an md5 check) and then in the clone. ValueError
    for an unknown name or split; DataError for a file that is missing, truncated or altered.
    """
    if (name, split) not in PARTS:
        known = ", ".join(f"{n!r} {s!r}" for n, s in PARTS)
        raise ValueError(f"no data set {name!r} with split {split!r}; there are {known}")
    family = name.removesuffix("-10k")
    source = SOURCES[family]
    parts = read_parts(family, PARTS[name, split])
    images, labels = (torch.from_numpy(np.concatenate(c)) for c in zip(*parts, strict=True))
    label = f"{family}/test" if split == "test" else f"{name}/{split}"
    index = torch.arange(len(labels)) + BATCH * (split == "validation")
    return Images(images, labels.long(), index, label, source.classes, source.mean, source.std)


def select(data: Images, positions: Tensor) -> Images:
    """The images at `positions` (bool mask [N] or int64 [n]); each keeps its index."""
    images, labels, index = (of[positions] for of in (data.images, data.labels, data.index))
    return replace(data, images=images, labels=labels, index=index)


def split(data: Images, n: int, seed: int = 0) -> tuple[Images, Images]:
    """Two disjoint sets (train, validation), the second of `n` images drawn at random."""
    if not 0 < n < len(data.labels):
        raise ValueError(f"n must be between 1 and {len(data.labels) - 1}, not {n}")
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    return select(data, order[n:].sort().values), select(data, order[:n].sort().values)


def balanced(data: Images, n: int, seed: int = 0) -> Images:
    """`n` images drawn at random, as many of each class (to within one); a smaller draw with the
    same seed is part of a larger one. ValueError if a class has too few."""
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    kinds = len(data.classes)
    of_class = [order[data.labels[order] == c] for c in range(kinds)]
    shares = [n // kinds + (c < n % kinds) for c in range(kinds)]
    chosen = torch.cat([o[:share] for o, share in zip(of_class, shares, strict=True)])
    if n < 1 or len(chosen) < n:
        fewest = min(map(len, of_class))
        raise ValueError(f"{n} images, as many of each class: the rarest of them has {fewest}")
    return select(data, chosen.sort().values)


def normalise(images: Tensor, data: Images) -> Tensor:
    """uint8 [N, C, H, W] -> float32 of the same shape, (x / 255 - mean) / std, on any device."""
    if images.dtype != torch.uint8:
        raise ValueError(f"normalise takes uint8 images, not {images.dtype}: is it done already?")
    per_channel = torch.tensor((data.mean, data.std), device=images.device)[:, :, None, None]
    mean, std = 255 * per_channel
    return images.float().sub_(mean).div_(std)


class Views(NamedTuple):
    """Which random views of an image are drawn."""

    shift: int = 0  # both axes move by up to this many pixels
    flip: bool = False  # mirror every image in every other epoch
    padding: str = "reflect"  # what fills the edge: "reflect" or "constant" (black)

    @property
    def period(self) -> int:
        """After how many epochs the views repeat: flips alone alternate; 0 if they never do."""
        return 0 if self.shift else 1 + self.flip


UNLABELLED = -1  # in place of a label that nobody knows
NO_VIEWS = Views()
CIFAR_VIEWS = Views(shift=4, flip=True)
MNIST_JITTER = Views(shift=2, padding="constant")


def augment(
    images: Tensor, index: Tensor, views: Views, *, epoch: int, seed: int, scale: float = 1.0
) -> Tensor:
    """One random view of each image: a pure function of (seed, epoch, index).

    With a `scale` the images are so many times as large as those whose views they show, as a
    teacher may see them: the same view to the nearest pixel.

    An image gets the same view in whatever batch, order, subset or device it comes, so a teacher's
    answers to the views of an epoch can be computed once and looked up later. Flips alternate (as
    in airbench, Jordan 2024, arXiv:2404.00498): a coin per image says in which of each two epochs
    it is mirrored. Draws are raw Philox words, which NumPy promises never to change.

    Takes uint8 [N, C, H, W] and int64 [N], as in `Images`; returns the same shape on the same
    device, and `images` itself for `NO_VIEWS`. ValueError for a wrong dtype or shape, a shift as
    large as the image, an unknown padding.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        wanted = "uint8 images [N, C, H, W] (normalise comes after it)"
        raise ValueError(f"augment takes {wanted}, not {images.dtype} {list(images.shape)}")
    if index.dtype != torch.int64 or index.shape != images.shape[:1]:
        wanted = f"int64 [{len(images)}], one number per image"
        raise ValueError(f"index must be {wanted}, not {index.dtype} {list(index.shape)}")
    if views.padding not in ("reflect", "constant"):
        raise ValueError(f"padding must be 'reflect' or 'constant', not {views.padding!r}")
    if not 0 <= views.shift * scale < min(images.shape[2:]):
        raise ValueError(f"shift must be at least 0 and smaller than the image, not {views.shift}")
    if views.flip:
        coin = _draws(seed, 2**64 - 1, index)  # a stream of its own, which no epoch uses
        mirrored = (coin + epoch) % 2 == 1
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if views.shift:
        side = 2 * views.shift + 1
        draws = _draws(seed, epoch, index) % side**2
        padded = views._replace(shift=round(views.shift * scale))
        height, width = images.shape[2:]
        windows = _pad(images, padded).unfold(2, height, 1).unfold(3, width, 1)
        steps = (torch.arange(side, device=index.device) * (2 * padded.shift / (side - 1))).round()
        rows, columns = (steps.long()[d] for d in (draws // side, draws % side))
        # [N, C, side, side, H, W] -> [N, C, H, W]
        images = windows[torch.arange(len(index), device=index.device), :, rows, columns]
    return images


def _draws(seed: int, stream: int, index: Tensor) -> Tensor:
    """A number below 2**32 for each index [N], from a table that only grows with the index."""
    count = int(index.max()) + 1 if len(index) else 0
    words = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(count) >> 32
    return torch.from_numpy(words.astype(np.int64)).to(index.device)[index]


def _pad(images: Tensor, views: Views) -> Tensor:
    """`images` with `views.shift` more pixels on each side, on any device."""
    s = views.shift
    if views.padding == "constant":
        return F.pad(images, (s, s, s, s))
    for axis in (2, 3):  # F.pad reflects bytes on some devices only
        first, last = images.narrow(axis, 1, s), images.narrow(axis, -s - 1, s)
        images = torch.cat([first.flip(axis), images, last.flip(axis)], axis)
    return images
