"""The commands that run chapters, for who learns, and publish them, for who teaches."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from kdlab import files

Language = Annotated[str, Option("--language", "-l", help="en, zh or both")]


def lab(
    arguments: Annotated[list[str] | None, Argument(help="options for JupyterLab")] = None,
    copy: Annotated[
        Path | None, Option(help="work in a copy of the chapters, in this folder")
    ] = None,
) -> None:
    """Open the course in JupyterLab. With --copy the clone stays as it is."""
    from kdlab.apps.classroom import copies
    from kdlab.apps.classroom.runner import INLINE

    root = copy.expanduser().resolve() if copy else files.ROOT
    told = copies.update(root) if copy else {}
    for kind in ("new", "updated"):
        names = [name for name, done in told.items() if done == kind]
        if names:
            listed = ", ".join(names) if len(names) < 6 else f"{len(names)} files"
            typer.echo(f"{kind} in {root}: {listed}")
    for name in (name for name, done in told.items() if done == "kept"):
        beside = f"{Path(name).stem}.new{Path(name).suffix}"
        typer.echo(f"{name} has your changes and stays; the course's version is now {beside}")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", "--allow-root"]
    command += ["--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb", *(arguments or [])]
    status = subprocess.run(command, cwd=root, env=files.environment(MPLBACKEND=INLINE))
    raise typer.Exit(status.returncode)


def course(
    chapters: Annotated[list[str] | None, Argument(help="01, principle, ...; default: all")] = None,
    language: Language = "en",
    write: Annotated[bool, Option("--write", help="also update the committed notebooks")] = False,
    notebooks: Annotated[Path | None, Option(help="another folder of chapters")] = None,
    build: Annotated[Path | None, Option(help="where the executed notebooks go")] = None,
    profile: Annotated[bool, Option("--profile", help="also say where the seconds go")] = False,
) -> None:
    """Run chapters from top to bottom and print what each showed."""
    from kdlab.apps.classroom import ledger, runner

    folder, build = notebooks or files.NOTEBOOKS, build or files.BUILD / "notebooks"
    editions = {"en": [folder], "zh": [folder / "zh"], "both": [folder, folder / "zh"]}
    if language not in editions:
        raise ValueError(f"the language is {', '.join(editions)}, got {language!r}")
    paths = [
        path for edition in editions[language] for path in runner.find(chapters or [], edition)
    ]
    spent = [] if profile else None
    results = runner.run_chapters(paths, build=build, write=write, spent=spent)
    typer.echo("\n" + runner.chapter_table(results))
    if profile:
        ledger.keep(spent, build / "ledger.csv")
        typer.echo(f"\n{ledger.table(spent)}\nEach cell's seconds are in {build / 'ledger.csv'}")
    typer.echo(f"The executed notebooks are in {build}")
    failed = [result.error for result in results if result.error]
    for error in failed:
        typer.echo(f"kdlab: failed: {error}", err=True)
    raise typer.Exit(1 if failed else 0)


def fresh(
    chapters: Annotated[list[str], Argument(help="01, principle, ...")],
    language: Annotated[str, Option("--language", "-l", help="en or zh")] = "en",
    copy: Annotated[Path | None, Option(help="in the working copy that `lab --copy` made")] = None,
) -> None:
    """Put a chapter back as it was. What you wrote is kept as NN_words.mine.ipynb."""
    from kdlab.apps.classroom import copies

    root = copy.expanduser().resolve() if copy else files.ROOT
    if copy and not (root / copies.GIVEN).is_file():
        raise ValueError(f"no working copy in {root}; this makes one: python -m kdlab lab --copy")
    for source in copies.find_chapters(chapters, language):
        given = copies.original(source) if copy else copies.committed(source)
        mine = copies.put_back(root / source.relative_to(files.ROOT), given)
        kept = f"; what you wrote is in {mine}" if mine else ""
        typer.echo(f"{source.name} is as the course has it{kept}")


def handout(
    chapters: Annotated[list[str] | None, Argument(help="01, principle, ...; default: all")] = None,
    to: Annotated[Path | None, Option(help="default: build/handouts")] = None,
) -> None:
    """Write chapters without solutions, answers and outputs. A second set has all."""
    from kdlab.apps.classroom.handouts import write_handouts
    from kdlab.apps.classroom.runner import find

    for folder in write_handouts(find(chapters or []), to or files.BUILD / "handouts"):
        typer.echo(f"The {folder.name}' set is in {folder}")


def score(
    folder: Annotated[Path, Argument(help="of LEARNER.ipynb, or of LEARNER/NN_words.ipynb")],
    chapter: Annotated[
        list[str] | None, Option(help="02, objective, ...; again for several")
    ] = None,
    seconds: Annotated[int, Option(min=1, help="of processor time for one exercise")] = 20,
    memory: Annotated[int, Option(min=100, help="MB for one exercise")] = 2000,
    to: Annotated[Path | None, Option(help="the CSV file; default: build/scores.csv")] = None,
) -> None:
    """Score collected handouts by the course's checks. This runs the learners' code: see README."""
    from kdlab.apps.classroom import grading
    from kdlab.apps.classroom.runner import find

    to, limits = to or files.BUILD / "scores.csv", {"seconds": seconds, "memory": memory}
    rows = grading.score(folder, find(chapter or []), to, **limits)
    for learner in dict.fromkeys(row["learner"] for row in rows):
        passed = [row["passed"] == "yes" for row in rows if row["learner"] == learner]
        typer.echo(f"{learner:<24} {sum(passed)} of {len(passed)}")
    typer.echo(f"Each exercise is in {to}")


def deck(
    chapters: Annotated[list[str], Argument(help="01, principle, ...")],
    language: Language = "en",
    to: Annotated[Path | None, Option(help="a folder; default: build/decks")] = None,
    mark: Annotated[bool, Option("--mark", help="write slide types into the notebooks")] = False,
) -> None:
    """Write the lecture of a chapter as slides. It is one file, which needs no network."""
    from kdlab.apps.classroom import decks, lectures
    from kdlab.apps.classroom.runner import find

    for path in find(chapters):
        if mark:
            lectures.mark_slides(path)
            typer.echo(f"The slides are marked in {path}")
            continue
        for made in decks.write_decks(path, to or files.BUILD / "decks", language):
            typer.echo(f"The lecture is in {made}: open it in a browser; S opens your notes")


def book(to: Annotated[Path | None, Option(help="default: build/book")] = None) -> None:
    """Build the course as a static site in both languages. It shows the saved outputs."""
    from kdlab.apps.classroom.book.build import write_book

    first = write_book((to or files.BUILD / "book").resolve())
    typer.echo(f"The book is in {first}: open it in a browser")


def sync(chapters: Annotated[list[str], Argument(help="01, principle, ...")]) -> None:
    """Bring the Chinese edition's code up to date; list what is left to translate."""
    import nbformat

    from kdlab.apps.classroom import copies, runner, translations

    for path in runner.find(chapters):
        other = path.parent / "zh" / path.name
        before = nbformat.reads(copies.committed(path).decode(), as_version=4)
        english, chinese = (nbformat.read(edition, as_version=4) for edition in (path, other))
        notebook, left = translations.synchronised(english, chinese, before)
        runner.save(notebook, other)
        typer.echo("\n".join([f"{other.name}: {len(left)} left to translate", *left]))


COMMANDS = {"learn": [lab, course, fresh], "classroom": [handout, score, deck, book, sync]}
