"""Run the chapters from top to bottom, and clean a notebook so that it can be committed.

Each chapter runs in a fresh kernel of *this* interpreter, whatever kernels are installed on the
machine. Nothing here knows about distillation, and nothing imports torch.
"""

import ast
import copy
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat
import psutil
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets import Type

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
MAX_BYTES = 600_000  # of a committed notebook
WIDGET = "application/vnd.jupyter.widget-view+json"
PANEL_TEXT = "A live panel: run the notebook to move its sliders. Its static twin stands below."


class Chapter(NamedTuple):
    """What one run of a chapter showed. `error` is None where everything ran."""

    name: str
    seconds: float
    peak_bytes: int
    claims: int  # `assert` statements that held; 0 for a chapter that failed
    headline: str  # the last printed line "Headline: ..."
    error: str | None


def find(wanted: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of `folder` whose number or words are in `wanted`; all of them when empty.

    Raises ValueError, naming the chapters, for one that does not exist.
    """
    chapters = sorted(folder.glob("[0-9]*_*.ipynb"))
    if not chapters:
        raise FileNotFoundError(f"no chapters (NN_words.ipynb) in {folder}")

    def matches(path: Path, word: str) -> bool:
        number, words = path.stem.split("_", 1)
        return (word.isdigit() and int(word) == int(number)) or word in (
            path.stem,
            words,
            path.name,
        )

    for word in wanted:
        if not any(matches(path, word) for path in chapters):
            names = ", ".join(path.stem for path in chapters)
            raise ValueError(f"no chapter {word!r}; the chapters are {names}")
    return [path for path in chapters if not wanted or any(matches(path, w) for w in wanted)]


class _ThisInterpreter(KernelSpecManager):
    """Every kernel name means the Python that runs this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


class _Kernel(AsyncKernelManager):
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _ThisInterpreter()


class _Client(NotebookClient):
    kernel_manager_class = Type(default_value=_Kernel, klass=AsyncKernelManager)


class _PeakMemory(threading.Thread):
    """Largest resident memory of the processes below this one, sampled ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._stop_sampling = 0, threading.Event()

    def run(self) -> None:
        while not self._stop_sampling.wait(0.1):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # ended between the two calls
                    continue
            self.peak = max(self.peak, total)

    def __enter__(self) -> "_PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_sampling.set()
        self.join()


def environment() -> dict[str, str]:
    """The environment for kernels: kdlab is importable though not installed, figures are inline."""
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    inline = "module://matplotlib_inline.backend_inline"
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MPLBACKEND": inline}


def execute(
    path: Path, *, timeout: int = 600, on_cell: Callable[[int, int], None] = lambda done, of: None
) -> tuple[nbformat.NotebookNode, Chapter]:
    """Run one notebook in its folder; a failing cell ends it and is told in `Chapter.error`."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    running = 0

    def started(cell: nbformat.NotebookNode, cell_index: int) -> None:
        nonlocal running
        running = cell_index
        on_cell(sum(c.cell_type == "code" for c in notebook.cells[: cell_index + 1]), len(code))

    client = _Client(
        notebook,
        timeout=timeout,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors, not remarks about the transport
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=started,
    )
    error, clock = None, time.perf_counter()
    with _PeakMemory() as memory:
        try:
            client.execute(env=environment())
        except CellExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
        except Exception as failure:  # a dead kernel, a time-out: told like any other failure
            error = f"{type(failure).__name__}: {failure}"
    if error is not None:
        cell = notebook.cells[running]
        number = sum(c.cell_type == "code" for c in notebook.cells[: running + 1])
        first_line = (error.strip().splitlines() or [""])[0]
        error = f"{path.name}, code cell {number} (id {cell.get('id', '?')}): {first_line}"
    chapter = Chapter(
        path.stem,
        time.perf_counter() - clock,
        memory.peak,
        sum(map(_asserts, code)) if error is None else 0,
        _headline(code),
        error,
    )
    return notebook, chapter


def _asserts(cell: nbformat.NotebookNode) -> int:
    try:
        return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))
    except SyntaxError:  # a cell with %magic
        return 0


def _headline(cells: Iterable[nbformat.NotebookNode]) -> str:
    printed = "".join(
        output.text for cell in cells for output in cell.outputs if output.get("name") == "stdout"
    )
    lines = re.findall(r"^Headline: *(.+)$", printed, flags=re.MULTILINE)
    return lines[-1].strip() if lines else ""


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An executed notebook as it is committed: the same on every machine but for its results.

    Goes: widget state and views, stderr, kernel metadata, addresses, paths of this machine,
    the library's frames of a traceback, picture formats other than PNG. Comes: alt text of each
    figure, from the paragraph "What to notice" that follows it.
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    for position, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict(
            {k: v for k, v in sorted(cell.metadata.items()) if k in ("tags", "slideshow", "kdlab")}
        )
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            alt = _notice(notebook.cells[position + 1 :])
            outputs = (_clean_output(output, alt) for output in cell.outputs)
            cell.outputs = [output for output in outputs if output is not None]
    return notebook


def _notice(cells: Sequence[nbformat.NotebookNode]) -> str:
    text = next((cell.source for cell in cells if cell.cell_type == "markdown"), "")
    if "**What to notice**" not in text:
        return ""
    return " ".join(text.split("**What to notice**", 1)[1].replace("*", "").split()).lstrip(".: -")


def _clean_output(output: nbformat.NotebookNode, alt: str) -> nbformat.NotebookNode | None:
    if output.output_type == "stream":
        output.text = _portable(output.text)
        return output if output.name == "stdout" and output.text else None
    if output.output_type == "error":
        frames = output.traceback  # a rule, a title, then a frame each, the cell's own first
        output.traceback = [_portable(frame) for frame in [*frames[:3], *frames[-1:]]]
        output.evalue = _portable(output.evalue)
        return output
    if WIDGET in output.data:
        return nbformat.v4.new_output("display_data", {"text/plain": PANEL_TEXT})
    has_png = "image/png" in output.data
    for kind in list(output.data):
        if kind.startswith("text/"):
            output.data[kind] = _portable(output.data[kind])
        elif has_png and kind != "image/png":
            del output.data[kind]
    output.metadata = nbformat.from_dict({"image/png": {"alt": alt}} if has_png and alt else {})
    return output


def _portable(text: str) -> str:
    text = text.replace(str(ROOT) + os.sep, "").replace(str(ROOT), ".")
    text = text.replace(sys.prefix, "<python>").replace(sys.base_prefix, "<python>")
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook atomically, the folder being made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = nbformat.writes(notebook).rstrip() + "\n"
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def run(
    paths: Sequence[Path],
    *,
    build: Path = ROOT / "build" / "notebooks",
    write: bool = False,
    timeout: int = 600,
    say: Callable[[str], None] = print,
) -> list[Chapter]:
    """Run the chapters one after another, a progress line each; all run, whatever fails.

    The executed notebooks go to `build`; with `write`, those without an error also replace,
    cleaned, the notebooks they came from.
    """
    live = sys.stdout.isatty()
    chapters = []
    for path in paths:
        clock = time.perf_counter()

        def progress(done: int, of: int, name: str = path.stem, clock: float = clock) -> None:
            if live:
                seconds = time.perf_counter() - clock
                print(f"\r{name:<24} cell {done:>2}/{of}  {seconds:4.0f} s ", end="", flush=True)

        notebook, chapter = execute(path, timeout=timeout, on_cell=progress)
        save(notebook, build / path.name)
        if write and chapter.error is None:
            chapter = _write_back(notebook, path, chapter)
        cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        state = "ok" if chapter.error is None else f"FAILED: {chapter.error}"
        say(
            ("\r" if live else "")
            + f"{path.stem:<24} {cells} cells  {chapter.seconds:4.0f} s  {state}"
        )
        chapters.append(chapter)
    return chapters


def _write_back(notebook: nbformat.NotebookNode, path: Path, chapter: Chapter) -> Chapter:
    cleaned = clean(notebook)
    size = len(nbformat.writes(cleaned).encode())
    if size > MAX_BYTES:
        error = (
            f"{path.name} has {size // 1000} KB, more than {MAX_BYTES // 1000}; it is not written"
        )
        return chapter._replace(error=error)
    save(cleaned, path)
    return chapter


def table(chapters: Sequence[Chapter]) -> str:
    """Chapter, seconds, peak memory, claims checked and headline, as text; a total at the end."""
    head = ("chapter", "seconds", "memory", "claims", "headline")
    rows = [
        (
            chapter.name,
            f"{chapter.seconds:.0f}",
            f"{chapter.peak_bytes / 1e9:.1f} GB",
            str(chapter.claims) if chapter.error is None else "-",
            chapter.headline if chapter.error is None else "FAILED",
        )
        for chapter in chapters
    ]
    good = [chapter for chapter in chapters if chapter.error is None]
    total = (
        f"{len(good)} of {len(chapters)}",
        f"{sum(chapter.seconds for chapter in chapters):.0f}",
        f"{max(chapter.peak_bytes for chapter in chapters) / 1e9:.1f} GB",
        str(sum(chapter.claims for chapter in good)),
        "",
    )
    widths = [max(len(row[i]) for row in [head, *rows, total]) for i in range(4)]

    def line(row: Sequence[str]) -> str:
        middle = "  ".join(
            cell.rjust(width) for cell, width in zip(row[1:4], widths[1:], strict=True)
        )
        return f"{row[0]:<{widths[0]}}  {middle}  {row[4]}".rstrip()

    rule = "-" * max(len(line(row)) for row in [head, *rows])
    return "\n".join([line(head), rule, *map(line, rows), rule, line(total)])
