"""For the book's builder: the chapters with committed outputs, panels alive, links turned."""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from kdlab.apps.classroom.book.links import FENCE, mark, relink
from kdlab.apps.classroom.decks import live_panel
from kdlab.apps.classroom.translations import unlike
from kdlab.apps.i18n import translate
from kdlab.apps.markdown import MIME

HEADING = re.compile(r"^(?=#{1,6} )", re.MULTILINE)


def chapter(path: Path, language: str) -> NotebookNode:
    """One chapter for the book; ValueError for one that was not run or whose Chinese is stale."""
    notebook, translated = read_executed(path), path.parent / "zh" / path.name
    if language == "zh" and translated.is_file():
        english, notebook = notebook, read_executed(translated)
        if fault := next(unlike(english, notebook, path.stem), None):
            stale = f"the Chinese edition of {path.name} has gone stale ({fault})"
            raise ValueError(f"{stale}: bring notebooks/zh/{path.name} up to date")
    elif language == "zh":
        remark = f"*{translate('book.untranslated', 'zh')}*"
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(remark, id="untranslated"))
    for cell in notebook.cells:
        prepare(cell, path.stem, language)
    return notebook


def read_executed(path: Path) -> NotebookNode:
    """A notebook; ValueError unless some of its code has put something out."""
    notebook = nbformat.read(path, as_version=4)
    if not any(cell.get("outputs") for cell in notebook.cells):
        number = path.stem[:2]
        raise ValueError(f"{path.name} was not run: `python -m kdlab course {number} --write`")
    return notebook


def prepare(cell: NotebookNode, stem: str, language: str) -> None:
    """Make a cell fit for the book: its id as an anchor, its links, its outputs."""
    if cell.cell_type == "markdown":
        cell.source = anchored(relink(cell.source, stem), cell.id)
        return
    cell.metadata["kd"] = cell.id
    if "setup" in cell.metadata.get("tags", ()):
        cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        for kind in data.keys() & {"text/html", "text/markdown"}:
            data[kind] = relink(data[kind], stem)
        if MIME in data:
            data["text/html"] = live_panel(data.pop(MIME), language, folder="../..")
        if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
            cell.metadata["mystnb"] = {"image": {"alt": re.sub("[$`]", "", alt)}}


def anchored(text: str, name: str) -> str:
    """Markdown whose first block has this id, and each further heading `name-2`, `name-3`, ..."""
    parts = FENCE.split(text)
    marks = (mark(f"{name}-{n}" if n else name) for n in (0, *range(2, 100)))
    first = "" if text.startswith("#") else next(marks)
    for n in range(0, len(parts), 2):
        parts[n] = HEADING.sub(lambda _: next(marks), parts[n])
    return first + "".join(parts)
