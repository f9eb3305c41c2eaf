"""Inside a kernel: run a cell once more in Chinese, with the random draws and names of its run.

`kdlab.apps.classroom.translations` drives it from outside. No torch of its own.
"""

import ast
import io
import os
import pickle
import random
import sys
from contextlib import suppress

import numpy as np
from IPython import get_ipython

from kdlab.apps import i18n

LANGUAGE = "KDLAB_LANGUAGE"
own: dict[str, object] = {}  # names whose value differs in the Chinese edition
before: dict[str, object] = {}  # the state in which the last cell began, and its return


def watch() -> None:
    """From now on, remember the state in which each cell begins."""
    get_ipython().events.register("pre_run_cell", _begin)


def _begin(info: object) -> None:
    if LANGUAGE not in os.environ:
        before.update(source=info.raw_cell, draws=_draws())
        i18n.asked.clear()


def wanted() -> bool:
    """Whether the cell that just ran shows words, or uses a name that has a value of its own."""
    read, made = _names(before["source"])
    again = bool(i18n.asked or read & own.keys())
    for name in () if again else made & own.keys():  # its value is the English one again
        del own[name]
    return again


def _names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell takes from earlier cells, and those that it makes."""
    read, made = set(), set()
    with suppress(SyntaxError):  # a cell with %magic
        for statement in ast.parse(source).body:
            names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            read |= {name.id for name in names if isinstance(name.ctx, ast.Load)} - made
            made |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    return read, made


def enter() -> None:
    """Turn Chinese: the language, the names, and the generators as the cell found them."""
    space = get_ipython().user_ns
    before.update(names=dict(space), after=_draws())
    _redraw(before["draws"])
    space.update(own)
    os.environ[LANGUAGE] = "zh"


def leave() -> None:
    """Turn English again, and keep apart what the Chinese run made otherwise."""
    space, names = get_ipython().user_ns, before["names"]
    for name in [n for n in space if not n.startswith("_") and n not in ("In", "Out")]:
        if space[name] is not names.get(name):
            own.pop(name, None)
            if not _alike(space[name], names.get(name)):
                own[name] = space[name]
    space.clear()
    space.update(names)
    _redraw(before["after"])
    del os.environ[LANGUAGE]


def _alike(one: object, other: object) -> bool:
    """Whether two values are the same to the byte; those that cannot be pickled are not."""
    try:
        return _bytes(one) == _bytes(other)
    except Exception:
        return False


def _bytes(value: object) -> bytes:
    out = io.BytesIO()
    _Values(out).dump(value)
    return out.getvalue()


class _Values(pickle.Pickler):
    """Tensors by their numbers alone, not by where these are kept."""

    def reducer_override(self, value: object) -> object:
        if hasattr(value, "untyped_storage"):
            return bytes, (value.detach().cpu().numpy().tobytes(),)
        return NotImplemented


def _draws() -> tuple:
    torch = sys.modules.get("torch")
    return random.getstate(), np.random.get_state(), torch and torch.get_rng_state()


def _redraw(state: tuple) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
    if state[2] is not None:
        sys.modules["torch"].set_rng_state(state[2])
