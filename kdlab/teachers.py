"""Trained teachers: load them, save them with a card, and answer for many students at once.

A teacher is two files in data/teachers (a deployed student: data/students): float16 weights, and a
card that says how it was made, on what, and how good it is. Nothing is unpickled.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from kdlab.data import NO_VIEWS, Images, Views, augment, normalise
from kdlab.files import EMBEDDED, atomically, cache_dir, data_dir, digest, write_json
from kdlab.machine import arithmetic, autocast
from kdlab.models import build, forward


def teacher_files(name: str) -> tuple[Path, Path]:
    """Weights and card of a teacher or a deployed student, from $KDLAB_DATA or from the clone."""
    for root in (data_dir(), EMBEDDED):
        for kind in ("teachers", "students"):
            weights = root / kind / f"{name}.safetensors"
            if weights.is_file() and weights.with_suffix(".json").is_file():
                return weights, weights.with_suffix(".json")
    raise FileNotFoundError(
        f"no teacher {name!r}: there are {', '.join(trained_teachers()) or 'none'}; "
        f"make it with `python -m kdlab train {name}`"
    )


def trained_teachers() -> list[str]:
    """Names of the teachers that are here."""
    folders = {data_dir() / "teachers", EMBEDDED / "teachers"}
    return sorted({f.stem for folder in folders for f in folder.glob("*.safetensors")})


def card(name: str) -> dict:
    """How a teacher was made and how good it is."""
    return current(teacher_files(name)[0])


def current(weights: Path) -> dict:
    """The card of these weights; where saving new ones was cut off between both files, the old."""
    about = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    before = about.pop("before", None)
    return before if before and digest(weights.read_bytes()) == before["sha256"] else about


@cache
def load_teacher(name: str) -> nn.Module:
    """A frozen teacher in eval mode. Errors say how to restore a missing or damaged file."""
    weights = teacher_files(name)[0]
    try:
        about = card(name)
        model = build(about["model"])
        if digest(weights.read_bytes()) != about["sha256"]:
            raise ValueError("its digest is not the card's")
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise ValueError(
            f"the teacher file {weights.name} or its card is damaged ({str(error).splitlines()[0]})"
            f": restore it with `git checkout data/{weights.parent.name}` or "
            f"`python -m kdlab train {name}`"
        ) from error
    return freeze(model.float())


def freeze(model: nn.Module) -> nn.Module:
    """Eval mode and no gradients: what a teacher must be before it is asked anything."""
    return model.eval().requires_grad_(False)


def save_teacher(name: str, model: nn.Module, about: dict, folder: Path | None = None) -> Path:
    """Write weights (float16, where they are floats) and card; a failure leaves the old ones.

    Two files cannot be replaced at once, so in between the new card has the old one in it:
    whichever weights a kill leaves behind, their card is there (see `current`).
    """
    path = (folder or data_dir() / "teachers") / f"{name}.safetensors"
    state = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    weights = save({k: v.half() if v.is_floating_point() else v for k, v in state.items()})
    about, before = about | {"sha256": digest(weights)}, {}
    with suppress(OSError, ValueError):
        before = {"before": current(path)}

    def write(target: str) -> None:
        Path(target).write_bytes(weights)
        write_json(path.with_suffix(".json"), about | before)

    atomically(path, write)
    write_json(path.with_suffix(".json"), about)
    return path


class Answers(NamedTuple):
    """A teacher's logits for exactly the views that students will see, by (epoch, image)."""

    logits: Tensor  # float16 [E, N, K]; E is the views' period, if they have one
    index: Tensor  # int64 [N], sorted: which image each row answers for
    pixels: Tensor  # int64 [N]: the `checksums` of these images
    key: dict[str, str]  # teacher digest, data, views and their period, view seed, code, device

    def for_images(self, index: Tensor, epoch: int) -> Tensor:
        """Logits [len(index), K] for these images in this epoch. KeyError for a stranger."""
        period = int(self.key["period"])
        return self.logits[epoch % period if period else epoch][self.rows(index)]

    def rows(self, index: Tensor) -> Tensor:
        """Where these images stand, int64 [len(index)]. KeyError for a stranger."""
        rows = torch.searchsorted(self.index, index).clamp(max=len(self.index) - 1)
        if not torch.equal(self.index[rows], index):
            raise KeyError("the cache holds no answer for some of these images")
        return rows


def answer_key(
    teacher: nn.Module, data: Images, views: Views, view_seed: int, device: str = "cpu"
) -> dict[str, str]:
    """What a cache of answers is for: any other teacher, data, view or seed is refused, and so are
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
    files = (Path(__file__).with_name(name) for name in ("data.py", "models.py", "teachers.py"))
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


def answer(
    teacher: nn.Module,
    data: Images,
    *,
    epochs: int = 1,
    views: Views = NO_VIEWS,
    view_seed: int = 0,
    device: str = "cpu",
    keep: bool = True,
) -> Answers:
    """Ask the teacher once about each view of each epoch; with `keep`, remember it on disk.

    Answers for E epochs serve any run of at most E epochs on the same images and views.
    """
    freeze(teacher)
    key = answer_key(teacher, data, views, view_seed, device)
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
        seen = augment(images, index, views, epoch=epoch, seed=view_seed)
        parts = [answer_batch(teacher, normalise(part, data))[0] for part in seen.split(500)]
        logits.append(torch.cat(parts))
    teacher.to(home)
    tensors = {"logits": torch.stack(logits).half().cpu(), "index": index.cpu()}
    tensors["pixels"] = checksums(images).cpu()
    if keep:
        about = {**key, "sha256": digest(content(*tensors.values()))}
        with suppress(OSError, SafetensorError):  # a full disk must not cost this run its result
            atomically(path, lambda target: save_file(tensors, target, metadata=about))
    return Answers(**tensors, key=key)


def _kept(path: Path, key: dict[str, str]) -> Answers | None:
    """Answers from disk if they are there, whole, and for this very key."""
    with suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in Answers._fields[:3]}
        if file.metadata() == {**key, "sha256": digest(content(*tensors.values()))}:
            return Answers(**tensors, key=key)
    return None


@torch.no_grad()
def answer_batch(
    teacher: nn.Module, images: Tensor, stages: Sequence[str] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The teacher's float32 logits for a batch and its features, in the precision that pays."""
    with autocast(images.device.type):
        images = images.contiguous(memory_format=torch.channels_last)
        logits, features = forward(teacher, images, stages)
    return logits.float(), features


def answering(
    teacher: nn.Module | Answers | Sequence[Answers] | None,
    data: Images,
    views: Views,
    view_seed: int,
    epochs: int,
    device: str,
    stages: Sequence[str] = (),
) -> Callable[[Tensor, Tensor, int], tuple[Tensor | None, dict[str, Tensor]]]:
    """The function (images, places in `data`, epoch) -> (teacher logits, features) for the loop."""
    if teacher is None:
        return lambda images, picks, epoch: (None, {})
    if isinstance(teacher, nn.Module):
        freeze(teacher).to(device, memory_format=torch.channels_last)
        return lambda images, picks, epoch: answer_batch(teacher, images, stages)
    if stages:
        raise ValueError(f"the stages {stages} need the teacher itself, not its cached answers")
    if isinstance(teacher, Answers):
        row = _rows(teacher, data, views, view_seed, epochs, device)
        return lambda images, picks, epoch: (row(epoch)[picks], {})
    rows = [_rows(one, data, views, view_seed, epochs, device) for one in teacher]
    return lambda images, picks, epoch: (torch.stack([r(epoch)[picks] for r in rows]), {})


def _rows(
    answers: Answers, data: Images, views: Views, view_seed: int, epochs: int, device: str
) -> Callable[[int], Tensor]:
    """The function epoch -> [N, K] in the order of `data`; ValueError for answers of others."""
    made = f"{answers.key['data'].rsplit(' ', 1)[0]} seen as {answers.key['views']}"
    wanted = f"{data.name} seen as {name_views(views, view_seed)}"
    if made != wanted:
        raise ValueError(f"these answers are for {made}, not for {wanted}: ask the teacher again")
    if len(answers.logits) < min(epochs, views.period or epochs):
        raise ValueError(f"these answers cover {len(answers.logits)} epochs, not {epochs}")
    here = Answers(*(tensor.to(device) for tensor in answers[:3]), answers.key)
    if not torch.equal(here.pixels[here.rows(data.index)], checksums(data.images)):
        raise ValueError(
            f"these answers are for other pixels of {data.name}: ask the teacher again"
        )
    # one epoch at a time: float32 for 100 epochs of 50,000 images would be 200 MB
    return lru_cache(maxsize=1)(lambda epoch: here.for_images(data.index, epoch).float())
