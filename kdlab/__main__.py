"""The command line, `python -m kdlab`: thin, and quick to start (no torch before it is needed)."""

import os
import subprocess
import sys
from pathlib import Path
from time import time_ns
from typing import Annotated

import typer
from typer import Argument, Option

from kdlab import files


class OneSentence(typer.core.TyperGroup):
    """What a user can put right ends in one sentence and exit code 1, never in a traceback.

    KDLAB_TRACEBACK=1 shows the traceback all the same.
    """

    def invoke(self, context: typer.Context) -> None:
        try:
            super().invoke(context)
        except Exception as error:
            ours = type(error).__module__.startswith("kdlab.")
            expected = ours or isinstance(error, ValueError | OSError | ModuleNotFoundError)
            if not expected or os.environ.get("KDLAB_TRACEBACK"):
                raise
            sentence = str(error) or type(error).__name__
            if isinstance(error, ModuleNotFoundError):
                sentence += "; install what is needed: python -m pip install -r requirements.txt"
            typer.echo(f"kdlab: {sentence}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=OneSentence,
    help="Knowledge distillation, taught by running it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Words, Numbers, Paths = (list[kind] | None for kind in (str, int, Path))
Number, Folder = int | None, Path | None
Name = Annotated[str, Argument(help="a name; a wrong one lists them all")]
Device = Annotated[str, Option(help="cpu or cuda")]
Language = Annotated[str, Option("--language", "-l", help="en, zh or both")]
Record = Annotated[bool, Option("--record", help="keep it in data/results")]


def check_device(device: str) -> None:
    """A ValueError that says what to do where torch cannot use `device` here."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("torch finds no CUDA device here; leave --device out to use the CPU")


@app.command(context_settings={"ignore_unknown_options": True})
def lab(
    arguments: Annotated[Words, Argument(help="options for JupyterLab")] = None,
    copy: Annotated[Folder, Option(help="work in a copy of the chapters, in this folder")] = None,
) -> None:
    """Open the course in JupyterLab, at 00_start_here; with --copy, leave the clone as it is."""
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


@app.command()
def course(
    chapters: Annotated[Words, Argument(help="01, principle, ...; default: all")] = None,
    write: Annotated[bool, Option("--write", help="also update the committed notebooks")] = False,
    notebooks: Annotated[Folder, Option(help="another folder of chapters")] = None,
    build: Annotated[Folder, Option(help="where the executed notebooks go")] = None,
) -> None:
    """Run chapters from top to bottom and print what each showed."""
    from kdlab.apps.classroom import runner

    paths = runner.find(chapters or [], notebooks or files.NOTEBOOKS)
    build = build or files.BUILD / "notebooks"
    results = runner.run_chapters(paths, build=build, write=write)
    typer.echo("\n" + runner.chapter_table(results))
    typer.echo(f"The executed notebooks are in {build}")
    failed = [result.error for result in results if result.error]
    for error in failed:
        typer.echo(f"kdlab: failed: {error}", err=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def data(name: Annotated[str, Argument(help="cifar10")]) -> None:
    """Fetch a data set that a clone does not carry whole."""
    from kdlab.sources import download

    typer.echo(f"{name} is in {download(name)}")


@app.command()
def train(teacher: Name, device: Device = "cpu") -> None:
    """Train a teacher by its recipe and write its weights and its card."""
    check_device(device)
    from kdlab.lab import experiments

    typer.echo(f"{teacher} is in {experiments.train_teacher(teacher, device=device)}")


@app.command()
def run(
    experiment: Name,
    seeds: Annotated[int, Option(min=1, help="how many seeds")] = 3,
    device: Device = "cpu",
    workers: Annotated[Number, Option(min=1, help="processes at once; default: one a core")] = None,
    engine: Annotated[str, Option(help="local, or ray for several machines")] = "local",
    address: Annotated[str, Option(help="a Ray cluster; default: one on this machine")] = "",
    keep_seeds: Annotated[
        bool, Option("--keep-seeds", help="keep finished seeds of another machine or other code")
    ] = False,
) -> None:
    """Run an experiment, record it in data/results, and print its table."""
    check_device(device)
    from kdlab.lab import experiments, results

    where = {"workers": workers, "engine": engine, "address": address}
    experiments.run(experiment, seeds=seeds, device=device, keep_seeds=keep_seeds, **where)
    typer.echo(results.table(experiment).to_string())


@app.command()
def bench(
    epochs: Annotated[int, Option(min=1, help="fewer for a quick try")] = 10,
    seeds: Annotated[int, Option(min=1, help="how many trainings of each side")] = 1,
    record: Record = False,
) -> None:
    """A plain distillation loop against kdlab, side by side on the same work."""
    from kdlab.apps.bench import run_bench

    run_bench(epochs=epochs, seeds=seeds, record=record)


@app.command()
def deploy(
    record: Record = False,
    seconds: Annotated[float, Option(min=0.2, help="of each load that is offered")] = 2.0,
    soak: Annotated[float, Option(help="seconds of load at 80% of the highest rate")] = 60.0,
) -> None:
    """Export the deployed models to ONNX and int8, then measure size, latency, memory and load."""
    from kdlab.apps.serving.benchmark import measure_deployment

    measure_deployment(record=record, seconds=seconds, soak=soak)


@app.command()
def serve(
    host: Annotated[str, Option(help="0.0.0.0: phones in this network, too")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: one that is free")] = 8000,
    model: Annotated[Paths, Option(help="exported models; default: those of the course")] = None,
    shadow: Annotated[Words, Option(help="NAME:SHADOW:SHARE:IMAGES, a model in shadow")] = None,
) -> None:
    """Serve the page (draw a digit) and the models over HTTP, on this machine alone."""
    from kdlab.apps.serving import service

    listening = service.listen(host, port)
    if not model:
        command = [sys.executable, "-m", "kdlab.apps.serving.export"]
        made = subprocess.run(command, capture_output=True, text=True)  # torch stays over there
        if made.returncode:
            raise ValueError(made.stderr.strip().splitlines()[-1])
        model = [Path(line) for line in made.stdout.splitlines()]
    app = service.create_app(service.Service(model, service.read_shadows(shadow or [])))
    typer.echo(
        f"open {service.url_of(listening)}"
    )  # who comes before the service runs waits for it
    service.serve(app, listening)


@app.command()
def sheet(folder: Annotated[Folder, Argument(help="where to; default: build")] = None) -> None:
    """Write the cheat sheet, one page in English and one in Chinese, to be printed."""
    from kdlab.apps.chapters import cheat_sheet

    for path in cheat_sheet.write_sheets(folder or files.BUILD):
        typer.echo(f"The cheat sheet is in {path}: open it in a browser and print it")


MODES = ("cards", "choice", "find", "mock", "stats", "tomorrow")


@app.command()
def quiz(
    mode: Annotated[str, Argument(help=", ".join(MODES))] = "cards",
    words: Annotated[Words, Argument(help="that the questions have, in either language")] = None,
    language: Language = "en",
    chapter: Annotated[Numbers, Option(help="again for several")] = None,
    level: Annotated[Numbers, Option(help="1, 2 or 3; again for several")] = None,
    topic: Annotated[Words, Option(help="a tag of the bank")] = None,
    minutes: Annotated[int, Option(min=1, help="of a mock interview")] = 30,
    hours: Annotated[float, Option(help="of the evening before")] = 3.0,
    by: Annotated[str, Option(help="stats by chapter, level, kind or topic")] = "chapter",
    seed: Annotated[Number, Option(help="the same mock interview again")] = None,
) -> None:
    """Interview questions by spaced repetition, a mock interview, a plan for tonight."""
    from kdlab.apps.interview import bank, quiz, scheduling, sessions

    where = {"chapters": chapter or (), "topics": topic or (), "words": " ".join(words or [])}
    seed = time_ns() if seed is None else seed
    if mode == "stats":
        sitting = sessions.readiness_sitting(by)
    elif mode == "tomorrow":
        sitting = sessions.evening_sitting(hours, chapter or ())
    elif mode == "mock":
        levels = dict.fromkeys(level, 1) if level else None
        sitting = sessions.mock_sitting(scheduling.mock(minutes, levels=levels, seed=seed, **where))
    elif mode == "choice":
        sitting = sessions.choice_sitting(bank.find_items(levels=level or (), **where), seed)
    elif mode == "find":
        sitting = sessions.search_sitting(bank.find_items(levels=level or (), **where))
    elif mode == "cards":
        sitting = sessions.card_sitting(bank.find_items(levels=level or (), **where))
    else:
        raise ValueError(f"no mode {mode!r}; there are {', '.join(MODES)}")
    quiz.play(sitting, language)


@app.command()
def export(
    form: Annotated[str, Argument(help="anki, booklet, csv or json")],
    language: Language = "both",
    folder: Annotated[Folder, Option(help="default: build")] = None,
) -> None:
    """Write the interview bank as an Anki deck, a printable booklet, CSV or JSON."""
    from kdlab.apps.interview import exports

    paths = exports.write_bank(form, language, folder)
    typer.echo("\n".join(map(str, paths)))
    if form == "booklet" and len(paths) == 1:
        typer.echo("For a PDF open it in a browser and print; with Chromium here it comes along.")


@app.command()
def handout(
    chapters: Annotated[Words, Argument(help="01, principle, ...; default: all")] = None,
    to: Annotated[Folder, Option(help="default: build/handouts")] = None,
) -> None:
    """Write chapters without solutions, answers and outputs; beside them a set that has all."""
    from kdlab.apps.classroom.handouts import write_handouts
    from kdlab.apps.classroom.runner import find

    for folder in write_handouts(find(chapters or []), to or files.BUILD / "handouts"):
        typer.echo(f"The {folder.name}' set is in {folder}")


@app.command()
def score(
    folder: Annotated[Path, Argument(help="of LEARNER.ipynb, or of LEARNER/NN_words.ipynb")],
    chapter: Annotated[Words, Option(help="02, objective, ...; again for several")] = None,
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


@app.command()
def deck(
    chapters: Annotated[list[str], Argument(help="01, principle, ...")],
    language: Language = "en",
    to: Annotated[Folder, Option(help="a folder; default: build/decks")] = None,
    mark: Annotated[bool, Option("--mark", help="write slide types into the notebooks")] = False,
) -> None:
    """Write the lecture of each chapter as slides: one file, which needs no network."""
    from kdlab.apps.classroom import decks, lectures
    from kdlab.apps.classroom.runner import find

    for path in find(chapters):
        if mark:
            lectures.mark_slides(path)
            typer.echo(f"The slides are marked in {path}")
            continue
        for made in decks.write_decks(path, to or files.BUILD / "decks", language):
            typer.echo(f"The lecture is in {made}: open it in a browser; S opens your notes")


@app.command()
def fresh(
    chapters: Annotated[list[str], Argument(help="01, principle, ...")],
    language: Annotated[str, Option("--language", "-l", help="en or zh")] = "en",
    copy: Annotated[Folder, Option(help="in the working copy that `lab --copy` made")] = None,
) -> None:
    """Put a chapter back as it was; what you wrote is kept beside it as NN_words.mine.ipynb."""
    from kdlab.apps.classroom import copies

    root = copy.expanduser().resolve() if copy else files.ROOT
    if copy and not (root / copies.GIVEN).is_file():
        raise ValueError(f"no working copy in {root}; this makes one: python -m kdlab lab --copy")
    for source in copies.find_chapters(chapters, language):
        given = copies.original(source) if copy else copies.committed(source)
        mine = copies.put_back(root / source.relative_to(files.ROOT), given)
        kept = f"; what you wrote is in {mine}" if mine else ""
        typer.echo(f"{source.name} is as the course has it{kept}")


@app.command()
def book(to: Annotated[Folder, Option(help="default: build/book")] = None) -> None:
    """Build the course as a static site in both languages, from its saved outputs."""
    from kdlab.apps.classroom.book.build import write_book

    first = write_book((to or files.BUILD / "book").resolve())
    typer.echo(f"The book is in {first}: open it in a browser")


if __name__ == "__main__":
    app(prog_name="python -m kdlab")
