"""For the engineer: a student of any kind: fresh, for your classes and your size of photo."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from kdlab.apps.distil.sources import SourceError, brief, load_function
from kdlab.files import digest
from kdlab.models import MODELS, build, evaluating

Make = Callable[[int], nn.Module]  # of so many classes, freshly initialised


@dataclass(frozen=True, eq=False)
class Student:
    """What is trained."""

    name: str
    make: Make
    digest: str  # of the code that makes it


def open_student(source: str | Make, size: int) -> Student:
    """A student by its source: a net of the course by name, `file.py:function` (it gets the number
    of classes), `torchvision:NAME` without weights, or a function. SourceError where it does not
    give one number a class for photos of this size."""
    code = ""
    if callable(source):
        name, make = getattr(source, "__qualname__", type(source).__name__), source
        with suppress(OSError, TypeError):
            code = inspect.getsource(source)
    else:
        name = source
        file, _, function = source.rpartition(":")
        if file == "torchvision":
            make = of_torchvision(function)
        elif file.endswith(".py"):
            make, code = load_function(Path(file), function), digest(Path(file).read_bytes())
        elif source in MODELS:
            make = partial(build, source)
        else:
            raise SourceError(
                f"no model {source!r}: name file.py:function, torchvision:NAME or one of "
                f"{', '.join(MODELS)}"
            )
    check(name, make, size)
    return Student(name, make, digest(f"{name} {code}".encode()))


def of_torchvision(name: str) -> Make:
    """A net of torchvision with fresh weights."""
    from torchvision import models

    if name not in models.list_models():
        raise SourceError(
            f"torchvision has no model {name!r}: see torchvision.models.list_models()"
        )
    return lambda classes: models.get_model(name, weights=None, num_classes=classes)


def check(name: str, make: Make, size: int, classes: int = 3) -> None:
    """SourceError unless `make` gives a net from [N, 3, size, size] to [N, classes]."""
    try:
        with torch.random.fork_rng([]), torch.no_grad():
            net = make(classes)
            with evaluating(net):
                shape = net(torch.zeros(2, 3, size, size)).shape
    except Exception as error:  # anything can happen in somebody's net
        raise SourceError(
            f"the student {name} does not take photos of {size} x {size} pixels "
            f"({brief(error)}): choose another --size or --student"
        ) from error
    if tuple(shape) != (2, classes):
        raise SourceError(
            f"the student {name} gives {list(shape)} for 2 photos and {classes} classes, not "
            f"[2, {classes}]: its function gets the number of classes"
        )
