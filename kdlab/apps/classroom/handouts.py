"""For lecturers: chapters without solutions, answers and outputs, and a second set with them.

A chapter is read by the grammar of tests/test_notebooks.py: a stub tagged `exercise` ends in the
call of its check, and its solution is the one Python block of the <details> that follows.
"""

import base64
import copy
import mimetypes
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import unquote

import nbformat
from nbformat import NotebookNode

from kdlab.apps.classroom.runner import LINK, save_beside
from kdlab.apps.i18n import text
from kdlab.apps.interview.bank import CORNER, chapter_bank, laid_out

SOLUTION = re.compile(
    r"<details>\s*<summary>[^\n]*</summary>\s*```python\n(.*?)```\s*</details>", re.DOTALL
)
CHECK = re.compile(r"^(?:\w+\.)*(check_\w+)\((\w+)\)$", re.MULTILINE)
ANSWERS = re.compile(r"\binterview\.(seed_question|corner)\((\d+)\)|\bmock_page\(")


def write_handouts(chapters: Sequence[Path], folder: Path) -> list[Path]:
    """Write the chapters into `folder`/students and `folder`/solutions: these two folders.

    A notebook there that was not written by this, or was edited since, is kept beside it.
    """
    targets = [folder / "students", folder / "solutions"]
    names = {path.name for path in chapters}
    for path in chapters:
        notebook = nbformat.read(path, as_version=4)
        for target in targets:
            copied = handout(notebook, solved=target.name == "solutions")
            for cell in copied.cells:
                if cell.cell_type == "markdown":
                    rebase(cell, path.parent, target, names)
            save_beside(copied, target / path.name)
    return targets


def handout(notebook: NotebookNode, *, solved: bool) -> NotebookNode:
    """A chapter for the students; or, `solved`, with answers, outputs and every stub filled."""
    notebook, cells, stubs = copy.deepcopy(notebook), [], []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if "exercise" in cell.metadata.get("tags", ()):
                stubs.append(cell)
            if not solved or cell in stubs:
                cell.outputs, cell.execution_count = [], None
            if not solved and (answers := ANSWERS.search(cell.source)):
                cell = nbformat.v4.new_markdown_cell(questions(*answers.groups()), id=cell.id)
        elif solution := SOLUTION.search(cell.source):
            cell.source = SOLUTION.sub("", cell.source).strip()
            stub = stubs.pop()
            if solved:
                stub.source = filled(stub.source, solution[1])
        if cell.source:
            cells.append(cell)
    if stubs:
        raise ValueError(f"exercise {stubs[0].id} has no solution in <details> below it; add one")
    notebook.cells = cells
    return notebook


def check_of(source: str) -> tuple[str, str]:
    """The check that an exercise cell calls and whom it checks: ("check_soften", "my_soften")."""
    if not (call := CHECK.search(source)):
        raise ValueError("an exercise cell must end in the call of its check, check_...(function)")
    return call[1], call[2]


def filled(stub: str, solution: str) -> str:
    """The solution in place of the stub, with the stub's check below it."""
    call = CHECK.search(stub)[0]
    return CHECK.sub("", solution).strip() + f"\n\n\n{call}"


def questions(kind: str | None, chapter: str | None) -> str:
    """What stands in place of a cell that shows answers: its questions, and where to find them."""
    if kind is None:
        return "*Its questions, and their answers:* `python -m kdlab quiz mock`"
    bank = chapter_bank(int(chapter))
    asked = [laid_out("question", item, "both") for item in bank["items"][:CORNER]]
    if kind == "seed_question":
        seed = laid_out("both", bank["seed"]["question"], "both")
        asked = [f"### {text(bank['title'], 'both')}", seed]
    where = f"*The answers are in the course:* `python -m kdlab quiz --chapter {chapter}`"
    return "\n\n".join([*asked, where])


def rebase(cell: NotebookNode, home: Path, folder: Path, names: Collection[str]) -> None:
    """Let a cell written in `home` be read in `folder`: pictures travel in it, links lead back."""

    def moved(match: re.Match) -> str:
        link = match[0]
        target, (kind, _) = home / unquote(link), mimetypes.guess_type(link)
        if link in names or not target.exists():
            return link
        if kind and kind.startswith("image/"):
            picture = base64.b64encode(target.read_bytes()).decode()
            cell.setdefault("attachments", {})[target.name] = {kind: picture}
            return f"attachment:{target.name}"
        return Path(os.path.relpath(target, folder)).as_posix()

    cell.source = LINK.sub(moved, cell.source)
