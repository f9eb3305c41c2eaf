"""Where the files of the course are, and how one is written: whole, or not at all. No torch."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED, NOTEBOOKS, BUILD = ROOT / "data", ROOT / "notebooks", ROOT / "build"


def data_dir() -> Path:
    """The folder that holds the data: $KDLAB_DATA if set, otherwise data/ of the clone."""
    return Path(os.environ.get("KDLAB_DATA") or EMBEDDED).expanduser()


def cache_dir() -> Path:
    """Where things that can be made again are kept: $KDLAB_CACHE, or build/cache in the clone."""
    return Path(os.environ.get("KDLAB_CACHE") or BUILD / "cache")


def results_dir() -> Path:
    """Where the records of the experiments are."""
    return EMBEDDED / "results"


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def atomically(path: Path, write: Callable[[str], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def keep(path: Path) -> Path:
    """Copy a file beside itself, NAME.txt as NAME.mine.txt, then .mine-2 and so on; where it is."""
    words = "mine", *(f"mine-{number}" for number in range(2, 1000))
    free = (path.with_name(f"{path.stem}.{word}{path.suffix}") for word in words)
    mine = next(name for name in free if not name.exists())
    content = path.read_bytes()
    atomically(mine, lambda target: Path(target).write_bytes(content))
    return mine


def write_text(path: Path, text: str) -> Path:
    """A text file, atomically, with the same bytes on every system; gives back its path."""
    atomically(path, lambda target: Path(target).write_bytes(text.encode()))
    return path


def write_json(path: Path, content: dict) -> Path:
    """A card or a record, atomically: a run or a setting is one line."""
    text = json.dumps(content, indent=1)
    return write_text(path, re.sub(r"\n( {3,}|  (?=[}\]]))", "", text) + "\n")


def write_csv(path: Path, rows: list[dict]) -> Path:
    """A row a dict, atomically; Excel reads the Chinese, too."""
    import pandas as pd

    form = {"index": False, "encoding": "utf-8-sig", "lineterminator": "\r\n"}
    atomically(path, lambda target: pd.DataFrame(rows).to_csv(target, **form))
    return path


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process in which kdlab can be imported, and `more` is set."""
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}
