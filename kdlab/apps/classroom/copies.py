"""For learners: put a chapter back as it was, or keep all of them in a folder of one's own.

What a learner wrote is never lost: it stays where it is, or is kept in a file beside it. No torch.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kdlab import files
from kdlab.apps.classroom.runner import LINK, find
from kdlab.apps.i18n import LANGUAGES

GIVEN = ".kdlab.json"  # in a working copy: the digests of what the course gave


def find_chapters(wanted: Sequence[str] = (), language: str = "en") -> list[Path]:
    """Chapters of the clone in one language; ValueError for "both" or an unknown one."""
    if language not in LANGUAGES:
        raise ValueError(f"a chapter's language is {' or '.join(LANGUAGES)}, got {language!r}")
    return find(wanted, files.NOTEBOOKS if language == "en" else files.NOTEBOOKS / language)


def committed(path: Path) -> bytes:
    """A file of the clone as its last commit has it; FileNotFoundError where git cannot say."""
    git, name = shutil.which("git"), path.relative_to(files.ROOT).as_posix()
    command = [git, "cat-file", "--filters", f"HEAD:./{name}"]  # with a checkout's line ends
    process = subprocess.run(command, cwd=files.ROOT, capture_output=True) if git else None
    if process is None or process.returncode:
        why = "git does not know it here" if git else "git is not installed"
        raise FileNotFoundError(f"{path.name} stays as it is ({why}): copy it from a new clone")
    return process.stdout


def original(path: Path) -> bytes:
    """A file of the course as committed; as it lies there where git cannot say."""
    try:
        return committed(path)
    except FileNotFoundError:
        return path.read_bytes()


def put_back(path: Path, content: bytes) -> Path | None:
    """Write what the course gave; where `path` differed, what was there is kept, where is returned.

    How it is named: see `files.keep`.
    """
    mine = files.keep(path) if path.is_file() and path.read_bytes() != content else None
    _write(path, content)
    return mine


def update(folder: Path) -> dict[str, str]:
    """Make a working copy of the chapters in `folder`, or bring it up to date with the clone.

    Says what was done, path by path: "new", "updated" or, where learner and course have both
    changed its cells, "kept": then the course's version lies beside it as NN_words.new.ipynb.
    A chapter that was only run counts as unchanged. ValueError for a folder inside the clone.
    """
    if folder.resolve().is_relative_to(files.ROOT):
        raise ValueError(f"{folder} is inside the course; name a folder outside {files.ROOT}")
    record = folder / GIVEN
    digests = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    changes = {}
    for source in _with_links(find_chapters() + find_chapters(language="zh")):
        name = source.relative_to(files.ROOT).as_posix()
        changes |= _update_file(folder, name, original(source), digests)
    files.write_json(record, digests)
    return changes


def _update_file(folder: Path, name: str, content: bytes, digests: dict) -> dict[str, str]:
    """Bring one file of the copy up to date: {name: what was done}, empty where nothing was."""
    path = folder / name
    mine = path.read_bytes() if path.is_file() else None
    old = digests.get(name, {"file": "", "cells": ""})
    new = digests[name] = {"file": files.digest(content), "cells": _cells(content)}
    if mine is None or (old != new and mine != content and _cells(mine) == old["cells"]):
        _write(path, content)
        return {name: "new" if mine is None else "updated"}
    if mine == content or old["cells"] == new["cells"]:  # a changed chapter keeps its outputs
        return {}
    beside = Path(name).with_suffix(f".new{path.suffix}").as_posix()
    _update_file(folder, beside, content, digests)
    return {name: "kept"}


def _cells(content: bytes) -> str:
    """The digest of a notebook's cells without their outputs; of another file, of all of it."""
    try:
        cells = [(c["cell_type"], "".join(c["source"])) for c in json.loads(content)["cells"]]
    except (ValueError, KeyError, TypeError):
        return files.digest(content)
    return files.digest(json.dumps(cells).encode())


def _with_links(paths: Sequence[Path]) -> list[Path]:
    """These files, and all of the clone that their links lead to, but for code."""
    paths = [*paths]
    for path in paths:  # which grows
        text = path.read_text("utf-8") if path.suffix in (".ipynb", ".md") else ""
        for link in LINK.findall(text):
            target = (path.parent / link).resolve()
            inside = target.is_file() and target.is_relative_to(files.ROOT)
            if inside and target.suffix != ".py" and target not in paths:
                paths.append(target)
    return paths


def _write(path: Path, content: bytes) -> None:
    files.atomically(path, lambda target: Path(target).write_bytes(content))
