"""For lecturers: build both editions of the book with Sphinx, and swap them in when all is well."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

import nbformat

from kdlab.apps.chapters import cheat_sheet
from kdlab.apps.chapters.panels.base import shared_script
from kdlab.apps.chapters.panels.live_student import SHARED
from kdlab.apps.classroom.book.chapters import chapter
from kdlab.apps.classroom.book.links import relink
from kdlab.apps.classroom.book.pages import pages, source_page
from kdlab.apps.classroom.runner import find
from kdlab.apps.i18n import LANGUAGES
from kdlab.files import ROOT, environment, results_dir, write_text

HERE = Path(__file__).parent
NEEDED = "sphinx", "myst_nb", "pydata_sphinx_theme"
MARKER = ".kdlab-book"  # in every book, with the names of its files
LINKED = re.compile(r"\.\./source/([\w./-]+?)\.html")


def write_book(folder: Path) -> Path:
    """Build both editions in `folder`, which changes only if all went well; its first page.

    ValueError where `folder` holds anything that no earlier call has written.
    """
    check_builder()
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".book-") as temporary:
        work = Path(temporary)
        site = work / "site"
        for language in LANGUAGES:
            write_sources(work / "sources" / language, language)
        run_sphinx(work)
        names = sorted(path.relative_to(site).as_posix() for path in leaves(site))
        write_text(site / MARKER, "\n".join(names) + "\n")
        check_folder(folder)  # again: building takes minutes
        swap(site, folder, work / "last")
    return folder / "index.html"


def leaves(folder: Path) -> Iterator[Path]:
    """All within a folder, links too, but for the folders in it and what macOS leaves there."""
    for path in folder.rglob("*"):
        if path.name != ".DS_Store" and (path.is_symlink() or not path.is_dir()):
            yield path


def check_folder(folder: Path) -> None:
    """ValueError unless a book may take the place of `folder`: absent, empty, or a book alone."""
    advice = "and stays as it is: name an empty or a new folder, or move what is there"
    if folder.is_symlink() or folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is no folder {advice}")
    marker = folder / MARKER
    ours = {MARKER, *(marker.read_text("utf-8").splitlines() if marker.is_file() else ())}
    for path in leaves(folder):
        if (name := path.relative_to(folder).as_posix()) not in ours:
            raise ValueError(f"{folder} holds {name}, which is not of a book by kdlab, {advice}")


def swap(site: Path, folder: Path, last: Path) -> None:
    """Put `site` where `folder` is, and that at `last`; where it fails, `folder` is back."""
    if folder.exists():
        folder.rename(last)
    try:
        site.rename(folder)
    except BaseException:
        if last.exists():
            last.rename(folder)
        raise


def check_builder() -> None:
    """ValueError, in one sentence, where the book cannot be built."""
    if sys.version_info < (3, 11):
        raise ValueError("the book needs Python 3.11 or newer; the last one built stays as it is")
    if missing := [name for name in NEEDED if not find_spec(name)]:
        names = ", ".join(missing)
        advice = "run `python -m pip install -e '.[book]'`"
        raise ValueError(f"the book's builder is not installed ({names}): {advice}")


def write_sources(folder: Path, language: str) -> None:
    """All that Sphinx reads of an edition, and what it copies."""
    chapters = {path.stem: nbformat.writes(chapter(path, language)) for path in find()}
    sources = {f"chapters/{name}.ipynb": text for name, text in chapters.items()}
    sources |= {f"{name}.md": relink(text) for name, text in pages(language, [*chapters])}
    for file in set(LINKED.findall("\n".join(sources.values()))):
        sources[f"source/{file}.md"] = source_page(file)
    for name, text in sources.items():
        write_text(folder / name, text)
    copy_katex(folder / "_static")
    for file in (HERE / "book.css", HERE / "book.js"):
        shutil.copy(file, folder / "_static")
    cheat_sheet.write_sheets(folder / "_static")
    for place in (folder, folder / "_extra"):  # pictures for Sphinx, records as they are
        shutil.copytree(results_dir(), place / "data" / "results")


def copy_katex(static: Path) -> None:
    """KaTeX and its fonts, each with its licence."""
    vendor = HERE.parent / "vendor"
    shutil.copytree(vendor / "fonts", static / "fonts")
    for name in ("katex.min.js", "katex.min.css", "LICENSE.katex.txt"):
        shutil.copy(vendor / name, static)


def run_sphinx(work: Path) -> None:
    """Both editions at once, a process each; a warning is an error."""
    builders = []
    for language in LANGUAGES:
        sources = work / "sources" / language
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", HERE]
        command += ["-d", work / "doctrees" / language, sources, work / "site" / language]
        env = environment(KDLAB_BOOK=str(sources))
        builders.append(Popen(command, cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT, text=True))
    messages = "\n".join(builder.communicate()[0] for builder in builders)
    if any(builder.returncode for builder in builders):
        raise ValueError("the book was not built; its builder says:\n" + messages)
    site = work / "site"
    shutil.rmtree(site / "jupyter_execute", ignore_errors=True)
    for pattern in ("*.map", "webpack-macros.html"):  # for the theme's makers
        for file in site.rglob(pattern):
            file.unlink()
    shutil.copy(HERE / "templates" / "first.html", site / "index.html")
    write_text(site / f"{SHARED}.js", shared_script(SHARED))  # once, for all pages
