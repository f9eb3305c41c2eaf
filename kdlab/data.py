"""MNIST and CIFAR-10 as tensors in memory: load, select, split, normalise, draw random views.

The clone holds all of MNIST, the first official training batch of CIFAR-10 (10,000 images) and its
whole test batch; `python -m kdlab data cifar10` fetches the rest. Which files they come from, and
how those are checked, is the affair of `kdlab.sources`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdlab.sources import BATCH, SOURCES, DataError, read_parts

__all__ = [
    "CIFAR_VIEWS", "MNIST_JITTER", "NO_VIEWS", "DataError", "Images", "Views", "augment",
    "balanced", "load", "normalise", "select", "split",
]  # fmt: skip


class Images(NamedTuple):
    """A labelled image set held in memory."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor  # int64 [N]
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
        split: "train" or "test". The tests of "cifar10-10k" and "cifar10" are the same 10,000.
            "cifar10-10k" has a "validation", too: the second training batch, which neither its
            students nor its teachers have seen (after `python -m kdlab data cifar10`).

    Files are looked for in `$KDLAB_DATA` (a folder laid out as `data/`, or the root folder of
    torchvision's own CIFAR10) and then in the clone. Nothing is unpickled, with one
    exception: torchvision's `cifar-10-batches-py`, which torchvision reads itself after it has
    checked the md5 of every file.

    Raises:
        ValueError: unknown name or split.
        DataError: a file is missing, truncated or altered.
    """
    if (name, split) not in PARTS:
        known = ", ".join(f"{n!r} {s!r}" for n, s in PARTS)
        raise ValueError(f"no data set {name!r} with split {split!r}; there are {known}")
    family = name.removesuffix("-10k")
    source = SOURCES[family]
    parts = read_parts(family, PARTS[name, split])
    images = torch.from_numpy(np.concatenate([images for images, _ in parts]))
    labels = torch.from_numpy(np.concatenate([labels for _, labels in parts])).long()
    label = f"{family}/test" if split == "test" else f"{name}/{split}"
    index = torch.arange(len(labels)) + BATCH * (split == "validation")
    return Images(images, labels, index, label, source.classes, source.mean, source.std)


def select(data: Images, positions: Tensor) -> Images:
    """The images at `positions` (bool mask [N] or int64 [n]); each keeps its index."""
    mask = positions.dtype == torch.bool and positions.shape == data.labels.shape
    if not mask and (positions.dtype != torch.int64 or positions.ndim != 1):
        raise ValueError(
            f"positions must be a bool mask [{len(data.labels)}] or int64 [n], "
            f"not {positions.dtype} {list(positions.shape)}"
        )
    return data._replace(
        images=data.images[positions], labels=data.labels[positions], index=data.index[positions]
    )


def split(data: Images, n: int, seed: int = 0) -> tuple[Images, Images]:
    """Two disjoint sets (train, validation), the second of `n` images drawn at random."""
    if not 0 < n < len(data.labels):
        raise ValueError(f"n must be between 1 and {len(data.labels) - 1}, not {n}")
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(len(order), dtype=torch.bool)
    held_out[order[:n]] = True
    return select(data, ~held_out), select(data, held_out)


def balanced(data: Images, n: int, seed: int = 0) -> Images:
    """`n` images drawn at random, as many of each class (to within one); a smaller draw with the
    same seed is part of a larger one. ValueError if a class has too few."""
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    kinds = len(data.classes)
    of_class = [order[data.labels[order] == c] for c in range(kinds)]
    shares = [n // kinds + (c < n % kinds) for c in range(kinds)]
    if n < 1 or any(len(o) < share for o, share in zip(of_class, shares, strict=True)):
        fewest = min(map(len, of_class))
        raise ValueError(f"{n} images, as many of each class: the rarest of them has {fewest}")
    chosen = torch.cat([o[:share] for o, share in zip(of_class, shares, strict=True)])
    return select(data, chosen.sort().values)


def normalise(images: Tensor, data: Images) -> Tensor:
    """uint8 [N, C, H, W] -> float32 of the same shape, (x / 255 - mean) / std, on any device."""
    if images.dtype != torch.uint8:
        raise ValueError(f"normalise takes uint8 images, not {images.dtype}: is it done already?")
    mean, std = (
        torch.tensor(v, device=images.device).view(1, -1, 1, 1) for v in (data.mean, data.std)
    )
    return images.float().sub_(255 * mean).div_(255 * std)


# ---- random views ------------------------------------------------------------------------------


class Views(NamedTuple):
    """Which random views of an image are drawn."""

    shift: int = 0  # both axes move by up to this many pixels
    flip: bool = False  # mirror every image in every other epoch
    padding: str = "reflect"  # what fills the edge: "reflect" or "constant" (black)

    @property
    def period(self) -> int:
        """After how many epochs the views repeat: flips alone alternate; 0 if they never do."""
        return 0 if self.shift else 1 + self.flip


NO_VIEWS = Views()
CIFAR_VIEWS = Views(shift=4, flip=True)
MNIST_JITTER = Views(shift=2, padding="constant")


def augment(images: Tensor, index: Tensor, views: Views, *, epoch: int, seed: int) -> Tensor:
    """One random view of each image: a pure function of (seed, epoch, index).

    An image gets the same view in whatever batch, order, subset or device it comes, so a teacher's
    answers to the views of an epoch can be computed once and looked up later. Flips alternate (as
    in airbench, Jordan 2024, arXiv:2404.00498): a coin per image says in which of each two epochs
    it is mirrored. Draws are raw Philox words, which NumPy promises never to change.

    Args:
        images: uint8 [N, C, H, W]; index: int64 [N], as in `Images`.

    Returns:
        uint8 [N, C, H, W] on the same device; `images` itself if `views` is `NO_VIEWS`.

    Raises:
        ValueError: wrong dtype or shape, a shift as large as the image, unknown padding.
    """
    _check_views(images, index, views)
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed and epoch must not be negative, but are {seed} and {epoch}")
    height, width = images.shape[2:]
    if views.flip:
        mirrored = (_draws(seed, _COIN, index) + epoch) % 2 == 1
        columns = torch.arange(width, device=index.device)
        columns = torch.where(mirrored[:, None], columns.flip(0), columns)  # [N, W]
        images = images.gather(3, columns[:, None, None].expand(images.shape))
    if views.shift:
        side = 2 * views.shift + 1
        draws = _draws(seed, epoch, index) % side**2
        windows = _pad(images, views).unfold(2, height, 1).unfold(3, width, 1)
        rows, columns = draws // side, draws % side  # [N, C, side, side, H, W] -> [N, C, H, W]
        images = windows[torch.arange(len(index), device=index.device), :, rows, columns]
    return images


_COIN = 2**64 - 1  # a stream of its own, which no epoch uses


def _draws(seed: int, stream: int, index: Tensor) -> Tensor:
    """A number below 2**32 for each index [N], from a table that only grows with the index."""
    count = int(index.max()) + 1 if len(index) else 0
    words = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(count) >> 32
    return torch.from_numpy(words.astype(np.int64)).to(index.device)[index]


def _pad(images: Tensor, views: Views) -> Tensor:
    """`images` with `views.shift` more pixels on each side, on any device."""
    s, (n, c, height, width) = views.shift, images.shape
    padded = images.new_zeros(n, c, height + 2 * s, width + 2 * s)
    padded[:, :, s:-s, s:-s] = images
    if views.padding == "reflect":  # F.pad reflects bytes on some devices only
        for p in (padded, padded.transpose(2, 3)):
            p[..., :s] = p[..., s + 1 : 2 * s + 1].flip(3)
            p[..., -s:] = p[..., -2 * s - 1 : -s - 1].flip(3)
    return padded


def _check_views(images: Tensor, index: Tensor, views: Views) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(
            "augment takes uint8 images [N, C, H, W] (normalise comes after it), "
            f"not {images.dtype} {list(images.shape)}"
        )
    if index.dtype != torch.int64 or index.shape != images.shape[:1]:
        raise ValueError(
            f"index must be int64 [{len(images)}], one number per image, "
            f"not {index.dtype} {list(index.shape)}"
        )
    if views.padding not in ("reflect", "constant"):
        raise ValueError(f"padding must be 'reflect' or 'constant', not {views.padding!r}")
    if not 0 <= views.shift < min(images.shape[2:]):
        raise ValueError(f"shift must be at least 0 and smaller than the image, not {views.shift}")
