"""Run the chapters from top to bottom, and clean a notebook so that it can be committed.

Nothing here knows about distillation, and nothing imports torch.
"""

import ast
import base64
import copy
import io
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image, ImageChops, ImageStat

from kdlab import files
from kdlab.apps.classroom import ledger
from kdlab.apps.i18n import translate
from kdlab.apps.markdown import MIME
from kdlab.files import NOTEBOOKS, ROOT

MAX_BYTES = 600_000  # of a committed notebook
NOTICE = r"\*\*(What to notice|观察要点)\*\*"  # begins the paragraph after a figure
INLINE = "module://matplotlib_inline.backend_inline"  # where a kernel draws
LINK = re.compile(  # to a file of the course, in Markdown, in HTML, in a notebook's JSON
    r"""(?:(?<=\]\()|(?<=src=")|(?<=href=")|(?<=src=\\")|(?<=href=\\"))(?!\w+:|//|#)[^\s)"#\\]+"""
)
LONG = 80  # bytes: a socket's path has at most 103, and "/tmp12345678/k-5" comes on top
WRITTEN = ".kdlab-written.json"  # in a folder: digests of the notebooks written into it
WIDGET = "application/vnd.jupyter.widget-view+json"
READING = {"word": 0.4, "line": 4, "figure": 45, "table": 30}  # of a first reading
SECTIONS = {
    "Exercises": "exercises",
    "The seed's question": "cards",
    "Interview corner": "cards",
    "References": "",  # for looking up
}
HIDDEN = re.compile(r"<details>.*?</details>", re.DOTALL)


@dataclass(frozen=True)
class Chapter:
    """What one run of a chapter showed. `error` is None where everything ran."""

    name: str
    seconds: float
    claims: int  # `assert` statements that held; 0 for a chapter that failed
    headline: str  # the last printed line "Headline: ..."
    error: str | None


def find(wanted: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of `folder` whose number or words are in `wanted`; all of them when empty.

    Chapters (NN_words) come first, then appendices (AN_words). Raises ValueError, naming them all,
    for one that does not exist.
    """
    names = {}
    for path in sorted(folder.glob("[0-9A]*_*.ipynb")):
        if "." in path.stem:  # kept by a learner: NN_words.mine.ipynb
            continue
        number, words = path.stem.split("_", 1)
        names[path] = {number, number.lstrip("0") or "0", words, path.stem, path.name}
    if not names:
        raise FileNotFoundError(f"no chapters (NN_words.ipynb) in {folder}")
    for word in sorted(set(wanted).difference(*names.values())):
        there = ", ".join(path.stem for path in names)
        raise ValueError(f"no chapter {word!r}; the chapters are {there}")
    return [path for path in names if not wanted or names[path] & set(wanted)]


def title(path: Path) -> str:
    """A notebook's name without its ending; "zh/NN_words" of the Chinese edition."""
    return f"zh/{path.stem}" if path.parent.name == "zh" else path.stem


class _ThisInterpreter(AsyncKernelManager):
    """Every kernel name means the Python that runs this; the kernel is no port on the network.

    It listens on sockets in a folder of its own, so that no two kernels race for a port. On
    Windows, or where temporary folders have names too long for a socket, it listens on ports.
    """

    kernel_spec = property(lambda self: KernelSpec(**get_kernel_dict()))

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        if os.name == "posix" and len(os.fsencode(tempfile.gettempdir())) < LONG:
            self._sockets = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            self.transport, self.ip = "ipc", f"{self._sockets.name}/k"


def run_notebook(
    path: Path, *, timeout: int = 1800, spent: list[dict] | None = None, **variables: str
) -> tuple[NotebookNode, Chapter]:
    """Run one notebook in its folder; a failing cell ends it and is named in `Chapter.error`.

    In a terminal, one line counts the cells. `variables` are the kernel's environment; to `spent`
    come the seconds of each cell (see `ledger`).
    """
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    begun = []

    def started(cell: NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "code" and cell not in begun[-1:]:
            begun.append(cell)
            if sys.stdout.isatty():
                print(f"\r{title(path):<24} cell {len(begun):>2}/{len(code)} ", end="", flush=True)

    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_manager_class=_ThisInterpreter,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors, not remarks on the transport
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=started,
    )
    rows = [] if spent is None else ledger.watch(client)
    error, clock = None, time.perf_counter()
    try:
        client.execute(env=files.environment(MPLBACKEND=INLINE, **variables))
    except Exception as failure:  # a dead kernel and a time-out are told like a failing cell
        kind = getattr(failure, "ename", type(failure).__name__)
        told = str(getattr(failure, "evalue", failure)).strip().split("\n")[0]
        where = f", code cell {len(begun)} (id {begun[-1].get('id')})" if begun else ""
        error = f"{path.name}{where}: {kind}: {told}"
    seconds = time.perf_counter() - clock
    if spent is not None:
        spent += [{"chapter": title(path), **row} for row in rows]
    claims = sum(map(_asserts, code)) if error is None else 0
    return notebook, Chapter(title(path), seconds, claims, _headline(code), error)


def minutes(notebook: NotebookNode) -> dict[str, int]:
    """Minutes of a chapter's parts; what is not there is left out.

    `read` is a first reading: every cell up to the exercises, and the summary. Cells tagged
    `optional` count as `optional` instead. `exercises` and `cards` take what they say of
    themselves, `cards` also the reading of the seed's question.
    """
    spent, part = Counter(), "read"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^## (.+)$", cell.source, flags=re.MULTILINE):
                named = (kind for start, kind in SECTIONS.items() if heading.startswith(start))
                part = next(named, "read")
        if part == "read":
            kind = "optional" if "optional" in cell.metadata.get("tags", ()) else "read"
            spent[kind] += reading_seconds(cell)
        elif part == "exercises":
            spent[part] += 60 * _numbers(r"^Difficulty .+? · (\d+) minutes", cell.source)
        elif part == "cards":
            page = re.sub("<[^>]+>", " ", "".join(_shown(cell, "text/html")))
            cards = 60 * _numbers(r"level \d, (\d+) min", page)
            spent[part] += cards or len(re.findall("[A-Za-z]+", page)) * READING["word"]
    return {kind: max(1, round(seconds / 60)) for kind, seconds in spent.items() if seconds}


def reading_seconds(cell: NotebookNode) -> float:
    """What a first reading of a cell takes: its words, or its lines of code, figures and tables."""
    if cell.cell_type == "markdown":
        return len(HIDDEN.sub("", cell.source).split()) * READING["word"]
    lines = sum(bool(line.strip()) for line in cell.source.splitlines())
    figures = len([*_shown(cell, "image/png"), *_shown(cell, MIME)])
    figures += "diagram" in cell.metadata.get("tags", ())
    tables = sum("<table" in page for page in _shown(cell, "text/html"))
    tables += sum(page.startswith("|") for page in _shown(cell, "text/markdown"))
    return lines * READING["line"] + figures * READING["figure"] + tables * READING["table"]


def _shown(cell: NotebookNode, kind: str) -> list[str]:
    """What the outputs of a cell hold of one MIME type."""
    return [out.data[kind] for out in cell.get("outputs", ()) if kind in out.get("data", ())]


def _numbers(pattern: str, text: str) -> int:
    return sum(map(int, re.findall(pattern, text, flags=re.MULTILINE)))


def _asserts(cell: NotebookNode) -> int:
    with suppress(SyntaxError):  # a cell with %magic
        return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))
    return 0


def _headline(cells: Sequence[NotebookNode]) -> str:
    outputs = (output for cell in cells for output in cell.outputs)
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    lines = re.findall(r"^Headline: *(.+)$", printed, flags=re.MULTILINE)
    return lines[-1].strip() if lines else ""


def clean(notebook: NotebookNode, language: str = "en") -> NotebookNode:
    """An executed notebook as it is committed: the same on every machine but for its results.

    Goes: widget state and views, stderr, kernel metadata, addresses, paths of this machine,
    the library's frames of a traceback, picture formats other than PNG. Comes: alt text of each
    figure, from the paragraph "What to notice" that follows it.
    """
    notebook = copy.deepcopy(notebook)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for position, cell in enumerate(notebook.cells):
        cell.metadata = {k: cell.metadata[k] for k in ("tags", "slideshow") if k in cell.metadata}
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            alt = notice(notebook.cells[position + 1 :])
            outputs = (_clean_output(output, alt, language) for output in cell.outputs)
            cell.outputs = [output for output in outputs if output is not None]
    return nbformat.from_dict(notebook)


def notice(cells: Sequence[NotebookNode]) -> str:
    """What the text after a figure says of it: its alternative text."""
    text = next((cell.source for cell in cells if cell.cell_type == "markdown"), "")
    _, _, told = re.sub(NOTICE, "\0", text, count=1).partition("\0")
    return " ".join(told.replace("*", "").split()).lstrip(".:： -")


def _clean_output(output: NotebookNode, alt: str, language: str) -> NotebookNode | None:
    if output.output_type == "stream":
        output.text = _portable(output.text)
        return output if output.name == "stdout" and output.text else None
    if output.output_type == "error":
        frames = output.traceback  # a rule, a title, then a frame each, the cell's own first
        output.traceback = [_portable(frame) for frame in [*frames[:3], *frames[-1:]]]
        output.evalue = _portable(output.evalue)
        return output
    if WIDGET in output.data:
        alive = {kind: data for kind, data in output.data.items() if kind == MIME}
        plain = {"text/plain": translate("panel.plain", language)}
        return nbformat.v4.new_output("display_data", plain | alive)
    shown = {k: _portable(v) if k.startswith("text/") else v for k, v in output.data.items()}
    if picture := shown.get("image/png"):
        png = base64.b64encode(fewer_colours(base64.b64decode(picture))).decode()
        shown = {k: v for k, v in shown.items() if k.startswith("text/")} | {"image/png": png}
    output.data, output.metadata = shown, {"image/png": {"alt": alt}} if picture and alt else {}
    return output


def fewer_colours(png: bytes) -> bytes:
    """The same picture in few colours: 48 or 96 do for a drawing, a photograph gets 256."""
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (48, 96, 256):
        fewer = picture.quantize(colours, method=Image.Quantize.MEDIANCUT)
        change = ImageChops.difference(fewer.convert("RGB"), picture)
        if max(ImageStat.Stat(change).mean) < 0.3:  # of 255
            break
    fewer.save(out, "PNG", optimize=True)
    return out.getvalue()


def _portable(text: str) -> str:
    text = text.replace(str(ROOT) + os.sep, "").replace(str(ROOT), ".")
    text = text.replace(sys.prefix, "<python>").replace(sys.base_prefix, "<python>")
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def save(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook atomically."""
    files.write_text(path, nbformat.writes(notebook).rstrip() + "\n")


def save_beside(notebook: NotebookNode, path: Path) -> None:
    """`save`, but what kdlab did not write there is kept as NAME.mine.ipynb, which is told.

    What it wrote is known by its digest, kept in the folder. In build/ it replaces anything.
    """
    if path.resolve().is_relative_to(files.BUILD):
        save(notebook, path)
    else:
        record = path.parent / WRITTEN
        digests = json.loads(record.read_text("utf-8")) if record.is_file() else {}
        if path.is_file() and files.digest(path.read_bytes()) != digests.get(path.name):
            print(f"kdlab did not write {path}: it is kept as {files.keep(path).name}")
        save(notebook, path)
        files.write_json(record, digests | {path.name: files.digest(path.read_bytes())})


def run_chapters(
    paths: Sequence[Path], *, build: Path, write: bool = False, spent: list[dict] | None = None
) -> list[Chapter]:
    """Run the chapters one after another, a progress line each; all run, whatever fails.

    The executed notebooks go to `build`; with `write`, those without an error also replace,
    cleaned, the notebooks they came from. To `spent` come the seconds of each cell.
    """
    # what is committed shows the course to a newcomer, not the answers of whoever writes it
    newcomer = {"KDLAB_PROGRESS": str(build / "no-answers-yet.sqlite3")} if write else {}
    chapters = []
    for path in paths:
        language = "zh" if title(path).startswith("zh/") else "en"
        notebook, chapter = run_notebook(path, spent=spent, **newcomer)
        save_beside(notebook, build / f"{title(path)}.ipynb")
        if write and chapter.error is None:
            cleaned = clean(notebook, language)
            size = len(nbformat.writes(cleaned).encode())
            if size <= MAX_BYTES:
                save(cleaned, path)
            else:
                message = f"{size // 1000} KB, more than {MAX_BYTES // 1000}: it is not written"
                chapter = replace(chapter, error=f"{path.name} has {message}")
        result = f"FAILED: {chapter.error}" if chapter.error else "ok"
        if sys.stdout.isatty():
            print("\r", end="")  # over the line that counted the cells
        print(f"{title(path):<24} {chapter.seconds:4.0f} s  {result}", flush=True)
        chapters.append(chapter)
    return chapters


def chapter_table(chapters: Sequence[Chapter]) -> str:
    """Chapter, time, claims checked and headline, as text; a total at the end."""
    good = [chapter for chapter in chapters if chapter.error is None]
    rows = [(c.name, c.seconds, c.claims, c.headline if c in good else "FAILED") for c in chapters]
    seconds, claims = sum(c.seconds for c in chapters), sum(c.claims for c in good)
    rows.append((f"{len(good)} of {len(chapters)}", seconds, claims, ""))
    lines = ["{:<24}{:>5.0f} s{:>8}  {}".format(*row).rstrip() for row in rows]
    head = f"{'chapter':<24}{'time':>7}{'claims':>8}  headline"
    rule = "-" * max(map(len, [head, *lines]))
    return "\n".join([head, rule, *lines[:-1], rule, lines[-1]])
