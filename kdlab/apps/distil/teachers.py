"""For the engineer: a teacher of any kind, asked once about each photo, at its own size.

A module of a Python file (`mine.py:make_model`), an ONNX file, a file of torch.export (.pt2), a net
of torchvision (`torchvision:resnet18`), the pretrained backbone that the set-up brings along, or a
teacher of the course by its name.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from kdlab import teachers
from kdlab.apps.distil import backbone
from kdlab.apps.distil.sources import SourceError, brief, existing, load_function
from kdlab.apps.pixels import fit_pixels
from kdlab.data import Images, Views, augment
from kdlab.dataset_files import SOURCES
from kdlab.files import digest
from kdlab.metrics import parameters
from kdlab.models import OwnNormalisation, autocast, forward

BATCH = 32  # photos in memory at once, at the teacher's size
Call = Callable[[Tensor], Tensor]  # normalised float32 [B, C, S, S] -> [B, D]


@dataclass(frozen=True, eq=False)
class Teacher:
    """What is asked, and how a photo is brought to it."""

    name: str
    call: Call
    size: int  # pixels a side
    mean: tuple[float, ...]  # per channel, on the 0..1 scale
    std: tuple[float, ...]
    digest: str  # of its weights and of how it is asked
    stage: str = ""  # whose output is taken in place of logits
    weights: int | None = None  # how many, where that is known
    net: nn.Module | None = None  # where it is one


def open_teacher(
    source: str | nn.Module,
    *,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    stage: str = "",
) -> Teacher:
    """A teacher by its source, or a net itself; `stage` names a submodule whose output is taken in
    place of logits.

    SourceError where size, mean or std are neither given nor known of the net: a wrong one spoils
    every answer silently, so none is assumed.
    """
    net = None
    if isinstance(source, str) and source.endswith((".onnx", ".pt2")):
        if stage:
            raise SourceError(f"{source} has no submodules to name: leave out --teacher-stage")
        content = existing(Path(source)).read_bytes()
        call = open_onnx(source) if source.endswith(".onnx") else open_exported(source)
        known = {}
    else:
        net, known = open_module(source) if isinstance(source, str) else (source, hints(source))
        stage = stage or known.get("stage", "")
        net = teachers.freeze(net.float())
        values = (value.cpu().numpy().tobytes() for value in net.state_dict().values())
        content = repr(net).encode() + b"".join(values)
        call = of_module(net, stage)
    name = source if isinstance(source, str) else type(source).__name__
    settings = {
        "size": size or known.get("size"),
        "mean": mean or known.get("mean"),
        "std": std or known.get("std"),
    }
    for part, value in settings.items():
        if value is None:
            raise SourceError(
                f"the {part} that {name} was trained with is not known: say it with "
                f"--teacher-{part} (a wrong one spoils every answer, so none is assumed)"
            )
    return Teacher(
        name=name,
        call=call,
        size=int(settings["size"]),
        mean=tuple(map(float, settings["mean"])),
        std=tuple(map(float, settings["std"])),
        digest=digest(content + f"{settings} {stage}".encode()),
        stage=stage,
        weights=parameters(net) if net else None,
        net=net,
    )


def open_onnx(source: str) -> Call:
    """An ONNX file, by ONNX Runtime."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(source)
    except Exception as error:  # of the runtime's own kinds
        raise SourceError(f"{source} can't be opened: {str(error).splitlines()[0]}") from error
    (given, *_) = session.get_inputs()
    return lambda images: torch.from_numpy(session.run(None, {given.name: images.numpy()})[0])


def open_exported(source: str) -> Call:
    """A file of `torch.export.save`."""
    try:
        return torch.export.load(source).module()
    except Exception as error:
        raise SourceError(f"{source} can't be opened: {str(error).splitlines()[0]}") from error


def open_module(source: str) -> tuple[nn.Module, dict]:
    """The net of a Python file, of torchvision or of the course, and what is known of its input."""
    file, _, name = source.rpartition(":")
    if file == "torchvision":
        return open_torchvision(name)
    if file.endswith(".py"):
        return open_python(Path(file), name)
    if source == backbone.NAME:
        return backbone.load_backbone(), backbone.INPUT
    if source in teachers.trained_teachers():
        data = SOURCES[source.partition("-")[0]]
        side = {"mnist": 28, "cifar10": 32}[source.partition("-")[0]]
        return teachers.load_teacher(source), {"size": side, "mean": data.mean, "std": data.std}
    raise SourceError(
        f"no teacher {source!r}: name file.py:function, a .onnx, a .pt2, torchvision:NAME or one "
        f"of {', '.join([backbone.NAME, *teachers.trained_teachers()])}"
    )


def open_python(file: Path, function: str) -> tuple[nn.Module, dict]:
    """What a function of a Python file returns. A net of timm says its own size, mean and std."""
    try:
        net = load_function(file, function)()
    except SourceError:
        raise
    except Exception as error:  # anything can happen in somebody's function
        raise SourceError(f"{function} of {file} fails: {brief(error)}") from error
    if not isinstance(net, nn.Module):
        raise SourceError(f"{function} of {file} gave {type(net).__name__}, no torch.nn.Module")
    return net, hints(net)


def hints(net: nn.Module) -> dict:
    """What a net of timm says of its own input."""
    config = getattr(net, "pretrained_cfg", None) or {}
    size = (config.get("input_size") or [None])[-1]
    return {"size": size, "mean": config.get("mean"), "std": config.get("std")}


def open_torchvision(name: str) -> tuple[nn.Module, dict]:
    """A net of torchvision with its best weights, which torchvision fetches where they are not."""
    from torchvision import models

    try:
        weights = models.get_model_weights(name).DEFAULT
        net, view = models.get_model(name, weights=weights), weights.transforms()
    except ValueError as error:
        raise SourceError(f"torchvision has no model {name!r}: {error}") from error
    except OSError as error:
        raise SourceError(f"the weights of {name} can't be fetched ({error}): go online") from error
    return net, {"size": view.crop_size[0], "mean": view.mean, "std": view.std}


def of_module(net: nn.Module, stage: str) -> Call:
    """The logits of a net, or the output of one of its submodules, [B, D]; an output of several
    values counts as its `logits` or its first."""
    if stage:
        try:
            net.get_submodule(stage)
        except AttributeError:
            names = ", ".join(name for name, _ in net.named_children())
            raise SourceError(
                f"the teacher has no submodule {stage!r}; the outermost are {names}"
            ) from None

    def call(images: Tensor) -> Tensor:
        output, features = forward(net, images, [stage] if stage else [])
        output = features[stage] if stage else output
        if isinstance(output, dict):
            output = output.get("logits", next(iter(output.values())))
        output = getattr(output, "logits", output)
        return (output[0] if isinstance(output, tuple | list) else output).flatten(1)

    return call


def ask(
    teacher: Teacher,
    paths: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """What the teacher answers to each photo, read at its own size: float32 [N, D]."""
    answers = []
    for photos in batches(teacher, paths):
        answers.append(answer(teacher, photos))
        if progress:
            done = sum(map(len, answers))
            progress(done, len(paths))
    return torch.cat(answers)


def ask_views(
    teacher: Teacher,
    paths: Sequence[Path],
    read: Call,
    views: Views,
    *,
    size: int,
    epochs: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """What the teacher answers to the very views that a student of `size` pixels will see of the
    photos 0, 1, ... in each epoch, and `read` makes of it: float16 [E, N, K]."""
    answers, done = [], 0
    for photos in batches(teacher, paths):
        index = torch.arange(done, done + len(photos))
        how = {"seed": seed, "scale": teacher.size / size}
        seen = (augment(photos, index, views, epoch=epoch, **how) for epoch in range(epochs))
        answers.append(torch.stack([read(answer(teacher, images)).half() for images in seen]))
        done += len(photos)
        if progress:
            progress(done, len(paths))
    return torch.cat(answers, dim=1)


def batches(teacher: Teacher, paths: Sequence[Path]) -> Iterator[Tensor]:
    """The photos as the teacher's squares, uint8 [B, C, S, S], few at a time."""
    shape = len(teacher.mean), teacher.size, teacher.size
    for start in range(0, len(paths), BATCH):
        photos = []
        for path in paths[start : start + BATCH]:
            with Image.open(path) as image:
                photos.append(fit_pixels(image, shape))
        yield torch.from_numpy(np.stack(photos))


@torch.no_grad()
def answer(teacher: Teacher, photos: Tensor) -> Tensor:
    """What it says of uint8 [B, C, S, S]: float32 [B, D]."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (teacher.mean, teacher.std))
    with autocast("cpu"):
        return teacher.call((photos.float() / 255 - mean) / std).float()


class OnStudentsImages(nn.Module):
    """A teacher that is handed the student's images [B, 3, s, s]: enlarged to its own size and
    normalised its own way. Its answers are about our classes, its stages keep their names."""

    def __init__(self, teacher: Teacher, read: Call, data: Images) -> None:
        super().__init__()
        if teacher.net is None or len(teacher.mean) != 3:
            raise SourceError(f"{teacher.name} has no stages to match: leave out --arm features")
        theirs = {"data_mean": data.mean, "data_std": data.std}
        self.net = OwnNormalisation(teacher.net, teacher.mean, teacher.std, **theirs)
        self.size, self.read, self.call = teacher.size, read, of_module(self.net, teacher.stage)

    def forward(self, images: Tensor) -> Tensor:
        square = (self.size, self.size)
        images = F.interpolate(images, square, mode="bilinear", align_corners=False)
        return self.read(self.call(images).float())

    def get_submodule(self, name: str) -> nn.Module:
        return self.net.get_submodule(name)
