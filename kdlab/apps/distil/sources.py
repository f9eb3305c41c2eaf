"""For the engineer: nets from elsewhere: a function of a Python file, torchvision."""

import importlib.util
from collections.abc import Callable
from pathlib import Path


class SourceError(ValueError):
    """A teacher or a student that can't be had; the message says what to do."""


def existing(path: Path) -> Path:
    if not path.is_file():
        raise SourceError(f"there is no file {path}")
    return path


def load_function(file: Path, name: str) -> Callable:
    """A function of a Python file, which is run for it."""
    spec = importlib.util.spec_from_file_location(file.stem, existing(file))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # anything can happen in somebody's file
        raise SourceError(f"{file} can't be run: {brief(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise SourceError(f"{file} has no function {name!r} that makes a model")
    return function


def brief(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
