"""Trained teachers: load them, save them with a card, ask them for logits and features.

A teacher is two files in data/teachers (a deployed student: data/students): float16 weights, and a
card that says how it was made, on what, and how good it is. Nothing is unpickled.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from kdlab.files import EMBEDDED, atomically, data_dir, digest, write_json
from kdlab.models import autocast, build, forward


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


@torch.no_grad()
def teacher_forward(
    teacher: nn.Module, images: Tensor, stages: Sequence[str] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The teacher's float32 logits for a batch and its features, in the precision that pays."""
    with autocast(images.device.type):
        images = images.contiguous(memory_format=torch.channels_last)
        logits, features = forward(teacher, images, stages)
    return logits.float(), features
