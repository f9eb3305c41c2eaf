"""A teacher's logits for the very views that students will see: computed once, kept on disk.

A file of them is for one teacher, data, views, seed, code and arithmetic, and for no other.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kdlab.data import NO_VIEWS, Images, Views, augment, normalise
from kdlab.files import atomically, cache_dir, digest
from kdlab.models import arithmetic
from kdlab.teachers import freeze, teacher_forward

ANY_VIEW = "any view"


@dataclass(frozen=True, eq=False)
class CachedLogits:
    """A teacher's logits for exactly the views that students will see, by (epoch, image)."""

    logits: Tensor  # float16 [E, N, K]; E is the views' period, if they have one
    index: Tensor  # int64 [N], sorted: which image each row belongs to
    pixels: Tensor  # int64 [N]: the `checksums` of these images
    key: dict[str, str]  # teacher digest, data, views and their period, view seed, code, device

    def for_images(self, index: Tensor, epoch: int) -> Tensor:
        """Logits [len(index), K] for these images in this epoch. KeyError for a stranger."""
        period = int(self.key["period"])
        return self.logits[epoch % period if period else epoch][self.rows(index)]

    def covers(self, epochs: int) -> bool:
        """Whether there is a row for each of so many epochs."""
        return len(self.logits) >= min(epochs, int(self.key["period"]) or epochs)

    def rows(self, index: Tensor) -> Tensor:
        """Where these images stand, int64 [len(index)]. KeyError for a stranger."""
        rows = torch.searchsorted(self.index, index).clamp(max=len(self.index) - 1)
        if not torch.equal(self.index[rows], index):
            raise KeyError("the cache holds no answer for some of these images")
        return rows


def cache_key(
    teacher: nn.Module, data: Images, views: Views, view_seed: int, device: str = "cpu"
) -> dict[str, str]:
    """What cached logits are for: any other teacher, data, view or seed is refused, and so are
    other code and another arithmetic."""
    order = data.index.argsort()
    return {
        "code": _code(),
        "arithmetic": arithmetic(device),
        "teacher": digest(repr(teacher).encode() + content(*teacher.state_dict().values())),
        "data": f"{data.name} {digest(content(data.index[order], data.images[order]))[:16]}",
        "views": name_views(views, view_seed),
        "period": str(views.period),
        "dtype": "float16",
    }


@cache
def _code() -> str:
    """A digest of the code that draws views, computes logits and keeps them."""
    files = (
        Path(__file__).with_name(name)
        for name in ("data.py", "models.py", "teachers.py", "logit_cache.py")
    )
    return digest(b"".join(file.read_bytes() for file in files))[:16]


def checksums(images: Tensor) -> Tensor:
    """A number for the pixels of each image, uint8 [N, C, H, W] -> int64 [N], on any device.

    The pixels' sum, each times an odd number of its own, modulo 2^64: an image that differs in one
    pixel always has another number, and one that differs in more all but surely (1 - 2^-56).
    """
    words = np.random.Philox(key=0).random_raw(images.shape[1:].numel()) | 1
    weights = torch.from_numpy(words.view(np.int64)).to(images.device)
    parts = images.flatten(1).split(50)  # as int64 all of CIFAR-10 would be 1.2 GB
    return torch.cat([(part * weights).sum(dim=1) for part in parts])


def name_views(views: Views, view_seed: int) -> str:
    """Which views a cache answers for; without random views the seed says nothing."""
    return "one" if views == NO_VIEWS else f"{tuple(views)} seed {view_seed}"


def content(*tensors: Tensor) -> bytes:
    """The tensors' own bytes, one after the other."""
    return b"".join(t.detach().cpu().numpy().tobytes() for t in tensors)


def cache_logits(
    teacher: nn.Module,
    data: Images,
    *,
    epochs: int = 1,
    views: Views = NO_VIEWS,
    view_seed: int = 0,
    device: str = "cpu",
    keep: bool = True,
) -> CachedLogits:
    """The teacher's logits for each view of each epoch; with `keep`, from disk and to disk.

    Logits for E epochs serve any run of at most E epochs on the same images and views.
    """
    freeze(teacher)
    key = cache_key(teacher, data, views, view_seed, device)
    epochs = min(epochs, views.period or epochs)
    path = cache_dir() / "answers" / f"{digest(repr(key).encode())[:24]}.safetensors"
    if keep and (known := _kept(path, key)) and len(known.logits) >= epochs:
        return known
    order = data.index.argsort()
    images, index = data.images[order].to(device), data.index[order].to(device)
    home = next(teacher.parameters()).device
    teacher.to(device, memory_format=torch.channels_last)
    logits = []
    for epoch in range(epochs):
        parts = []
        for part, places in zip(images.split(500), index.split(500), strict=True):
            seen = augment(part, places, views, epoch=epoch, seed=view_seed)
            parts.append(teacher_forward(teacher, normalise(seen, data))[0])
        logits.append(torch.cat(parts))
    teacher.to(home)
    tensors = {"logits": torch.stack(logits).half().cpu(), "index": index.cpu()}
    tensors["pixels"] = checksums(images).cpu()
    if keep:
        about = {**key, "sha256": digest(content(*tensors.values()))}
        with suppress(OSError, SafetensorError):  # a full disk must not cost this run its result
            atomically(path, lambda target: save_file(tensors, target, metadata=about))
    return CachedLogits(**tensors, key=key)


def asked_once(logits: Tensor, data: Images) -> CachedLogits:
    """Logits [N, K] of the plain images, to be used for every view of them.

    It costs one answer an image in place of one a view. The teacher then speaks of another view
    than the student sees, which `fit` refuses unless it is asked for, as here.
    """
    order = data.index.argsort()
    key = {"data": f"{data.name} -", "views": ANY_VIEW, "period": "1"}
    pixels = checksums(data.images)[order]  # not of a copy: the photos may be more than memory
    return CachedLogits(logits[order].half()[None], data.index[order], pixels, key)


def _kept(path: Path, key: dict[str, str]) -> CachedLogits | None:
    """Logits from disk if they are there, whole, and for this very key."""
    with suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in ("logits", "index", "pixels")}
        if file.metadata() == {**key, "sha256": digest(content(*tensors.values()))}:
            return CachedLogits(**tensors, key=key)
    return None


def teacher_source(
    teacher: nn.Module | CachedLogits | Sequence[CachedLogits] | None,
    data: Images,
    views: Views,
    view_seed: int,
    epochs: int,
    device: str,
    stages: Sequence[str] = (),
) -> Callable[[Tensor, Tensor, int], dict[str, object]]:
    """The function (images, places in `data`, epoch) -> what a `Batch` has of the teacher."""
    if teacher is None:
        return lambda images, picks, epoch: {"teacher_logits": None}
    if isinstance(teacher, nn.Module):
        freeze(teacher).to(device, memory_format=torch.channels_last)

        def ask(images: Tensor, picks: Tensor, epoch: int) -> dict[str, object]:
            logits, features = teacher_forward(teacher, images, stages)
            return {"teacher_logits": logits, "teacher_features": features}

        return ask
    if stages:
        raise ValueError(f"the stages {stages} need the teacher itself, not its cached answers")
    if isinstance(teacher, CachedLogits):
        row = _rows(teacher, data, views, view_seed, epochs, device)
        return lambda images, picks, epoch: {"teacher_logits": row(epoch)[picks]}
    rows = [_rows(one, data, views, view_seed, epochs, device) for one in teacher]
    return lambda images, picks, epoch: {
        "teacher_logits": None,
        "ensemble_logits": torch.stack([row(epoch)[picks] for row in rows]),
    }


def _rows(
    known: CachedLogits, data: Images, views: Views, view_seed: int, epochs: int, device: str
) -> Callable[[int], Tensor]:
    """The function epoch -> [N, K] in the order of `data`; ValueError for logits of others."""
    cached = f"{known.key['data'].rsplit(' ', 1)[0]} seen as {known.key['views']}"
    wanted = f"{data.name} seen as {name_views(views, view_seed)}"
    if cached not in (wanted, f"{data.name} seen as {ANY_VIEW}"):
        raise ValueError(f"these answers are for {cached}, not for {wanted}: ask the teacher again")
    if not known.covers(epochs):
        raise ValueError(f"these answers cover {len(known.logits)} epochs, not {epochs}")
    here = replace(
        known,
        logits=known.logits.to(device),
        index=known.index.to(device),
        pixels=known.pixels.to(device),
    )
    if not torch.equal(here.pixels[here.rows(data.index)], checksums(data.images)):
        raise ValueError(
            f"these answers are for other pixels of {data.name}: ask the teacher again"
        )
    # one epoch at a time: float32 for 100 epochs of 50,000 images would be 200 MB
    return lru_cache(maxsize=1)(lambda epoch: here.for_images(data.index, epoch).float())
