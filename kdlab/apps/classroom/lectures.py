"""For lecturers: the plan of a lecture, `data/decks/NN.yaml`, read and checked for its deck."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from kdlab.apps.classroom.runner import save
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.interview.bank import unwrap
from kdlab.apps.markdown import MIME
from kdlab.files import EMBEDDED

PLANS = EMBEDDED / "decks"
KEYS = "title text cells show lines rows columns ask notes minutes".split()
HOW = {"show": "output", "lines": (1, None), "rows": (1, None), "columns": ()}  # of a cell, too
SHOW = "output", "code", "both"
MINUTES, SPARE, MOST_LINES, MOST_WORDS = 45, 3, 12, 45
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
Cells = Mapping[str, NotebookNode]  # of a chapter, by their ids


def read_lecture(chapter: Path) -> tuple[list[dict], Cells]:
    """The slides that are planned for a chapter, and its cells; ValueError for what is amiss."""
    cells = {cell.id: cell for cell in nbformat.read(chapter, as_version=4).cells}
    path = PLANS / f"{chapter.stem[:2]}.yaml"
    if not path.exists():
        planned = ", ".join(plan.stem for plan in sorted(PLANS.glob("*.yaml")))
        raise ValueError(f"no deck is planned for {chapter.stem}; there are: {planned}")
    slides = unwrap(yaml.safe_load(path.read_text(encoding="utf-8"))["slides"])
    for number, slide in enumerate(slides, 1):
        if fault := next(faults(slide, cells), None):
            raise ValueError(f"{path.name}, slide {number}: {fault}")
    if abs(MINUTES - (total := sum(slide["minutes"] for slide in slides))) > SPARE:
        raise ValueError(f"{path.name}: {total:g} minutes; a lecture has {MINUTES} ± {SPARE}")
    return slides, cells


def parts(slide: Mapping) -> Iterator[tuple[str, dict]]:
    """The cells of a slide: each one's id, and how it is shown, by its own keys or the slide's."""
    common = {key: slide.get(key, usual) for key, usual in HOW.items()}
    for cell in slide.get("cells", ()):
        name, own = (cell, {}) if isinstance(cell, str) else next(iter(cell.items()))
        yield name, common | own


def span(pair: Sequence[int | None]) -> slice:
    """[first, last], counted from one, as a slice."""
    return slice(pair[0] - 1, pair[1])


def faults(slide: dict, cells: Cells) -> Iterator[str]:
    """What is wrong with a planned slide, each in a sentence."""
    for key in slide.keys() - set(KEYS):
        yield f"no key is named {key!r}; the keys are {', '.join(KEYS)}"
    for key in {"title", "notes"} | slide.keys() & {"text", "ask"}:
        if not all((slide.get(key) or {}).get(code) for code in LANGUAGES):
            yield f"its {key} is not there in {' and '.join(LANGUAGES)}; write both"
    words = len(re.sub(r"\$[^$]+\$", "x", slide.get("text", {}).get("en", "")).split())
    if words > MOST_WORDS:
        yield f"its text has {words} words; say at most {MOST_WORDS}, and the rest in the notes"
    if not words and not slide.get("cells"):
        yield "it holds only a heading; add text or cells"
    if not isinstance(slide.get("minutes"), int | float) or slide["minutes"] <= 0:
        yield "its minutes are no number above 0; say how long it takes"
    for name, how in parts(slide):
        for key in how.keys() - HOW.keys():
            yield f"cell {name} has no key {key!r}; the keys are {', '.join(HOW)}"
        if (show := how["show"]) not in SHOW:
            yield f"it shows {show!r}; say one of {', '.join(SHOW)}"
        if name not in cells:
            yield f"the chapter has no cell {name!r}; name one that it has"
            continue
        cell = cells[name]
        if show != "output" and not 0 < len(source(cell, how).splitlines()) <= MOST_LINES:
            yield f"cell {name} shows no code or over {MOST_LINES} lines; say lines: [first, last]"
        if show != "code" and not cell.get("outputs"):
            yield f"cell {name} has no output; run the chapter with --write, or show its code"
        alive = any(MIME in output.get("data", ()) for output in cell.get("outputs", ()))
        if "panel" in cell.metadata.get("tags", ()) and not alive:
            yield f"cell {name} has no live panel; run the chapter with --write"


def slide_types(slides: Sequence[dict], cells: Cells) -> dict[str, str]:
    """JupyterLab's type of each cell: "slide" begins one, "-" belongs to it, "skip" to none."""
    first = {}  # of each cell that is shown, its first slide
    for number, slide in enumerate(slides):
        for name, _ in parts(slide):
            first.setdefault(name, number)
    types, last = dict.fromkeys(cells, "skip"), None
    for name in (name for name in cells if name in first):
        types[name] = "-" if first[name] == last else "slide"
        last = first[name]
    return types


def mark_slides(chapter: Path) -> None:
    """Write the slide types of a chapter's plan into its notebook."""
    types = slide_types(*read_lecture(chapter))
    notebook = nbformat.read(chapter, as_version=4)
    for cell in notebook.cells:
        cell.metadata["slideshow"] = {"slide_type": types[cell.id]}
    save(notebook, chapter)


def source(cell: NotebookNode, how: Mapping) -> str:
    """The lines of a cell's code that a slide shows; of a text cell, of its first Python block."""
    code = cell.source
    if cell.cell_type == "markdown":
        block = PYTHON_BLOCK.search(code)
        code = block[1] if block else ""
    return "\n".join(code.splitlines()[span(how["lines"])])
