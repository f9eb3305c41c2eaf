"""For the book: where the course's links lead in it: pages, cells of chapters, lines of source.

Every page but the first lies in a folder of its edition, so that "../" leads from each to all.
"""

import inspect
import json
import pkgutil
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import nbformat

from kdlab.apps.classroom.runner import find
from kdlab.files import ROOT

FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)
FILE = r"((?:[\w./-]+\.(?:ipynb|md|py|yaml|json|png|toml))?(?:#[^\s)\"]+)?)"
TARGET = re.compile(rf"""(?<=\]\()(?=[^)]){FILE}(?=\))|(?<=href=")(?=[^"]){FILE}(?=")""")
CODE = r"((?:\d\d|A\d)_\w+#[\w-]+|kdlab(?:\.\w+)+)"  # a cell, or what is defined somewhere
NAMED = re.compile(rf"(?<!\[)`{CODE}`|<code>{CODE}</code>")


def relink(text: str, chapter: str = "") -> str:
    """Markdown or HTML of the course with its links as the book has them; cells and functions that
    are only named (`02_objective#panel`, `kdlab.losses.soften`) become links."""

    def named(match: re.Match) -> str:
        name = match[1] or match[2]
        target = address(name.replace("#", ".ipynb#")) if "#" in name else definition(name)
        if not target:
            return match[0]
        return f"[{match[0]}]({target})" if match[1] else f'<a href="{target}">{match[0]}</a>'

    parts = FENCE.split(text)
    for n in range(0, len(parts), 2):
        parts[n] = TARGET.sub(lambda match: address(match[0], chapter), parts[n])
        parts[n] = NAMED.sub(named, parts[n])
    return "".join(parts)


def address(target: str, chapter: str = "") -> str:
    """A link as written in a chapter or guide, as one from a page of the book. ValueError where it
    leads nowhere."""
    path, _, anchor = target.partition("#")
    name = path.rpartition("/")[2]
    if not path or name.endswith(".ipynb"):
        stem = name.removesuffix(".ipynb") or chapter
        page, cell = f"../chapters/{stem}.html", _anchors(stem).get(unquote(anchor))
        if anchor and not cell:
            raise ValueError(f"{chapter or 'a page'} links to {target}: no such cell; name another")
        return f"{page}#{cell}" if anchor else page
    if name.startswith("for_lecturers"):
        return "../guide/lecturers.html"
    file = path.replace("../", "")
    if not (ROOT / file).is_file():
        raise ValueError(f"{chapter or 'a page'} links to {target}: no such file; name another")
    return f"../{file}" if file.endswith((".png", ".json")) else f"../source/{file}.html"


@cache
def _anchors(stem: str) -> dict[str, str]:
    """What leads to a cell of a chapter (its id, its tags, JupyterLab's headings in either
    language), and its id."""
    path, anchors = find([stem])[0], {}
    for edition in filter(Path.is_file, (path, path.parent / "zh" / path.name)):
        for cell in nbformat.read(edition, as_version=4).cells:
            text = cell.source if cell.cell_type == "markdown" else ""
            heads = [h.replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
            for name in (cell.id, *cell.metadata.get("tags", ()), *heads):
                anchors.setdefault(name, cell.id)
    return anchors


@cache
def definition(name: str) -> str:
    """`kdlab.losses.soften` -> its line on a page of source; "" for what has none of its own."""
    try:
        value = pkgutil.resolve_name(name)
        file = Path(inspect.getsourcefile(value)).relative_to(ROOT).as_posix()
        return f"../source/{file}.html#L-{max(1, inspect.getsourcelines(value)[1])}"
    except (ImportError, AttributeError, TypeError, ValueError):
        return ""


def line_of(file: str, start: str) -> str:
    """Where the line that starts so stands on the page of a source file; ValueError for none."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip().startswith(start):
            return f"../source/{file}.html#L-{number}"
    raise ValueError(f"no line of {file} starts with {start}; correct methods.yaml")


def mark(name: str, *classes: str) -> str:
    """A comment in Markdown by which the next block gets this id and these classes."""
    return f"% kd:{json.dumps([name, *classes])}\n\n"
