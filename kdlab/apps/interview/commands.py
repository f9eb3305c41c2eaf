"""For the candidate: the commands that practise, or take the bank along."""

from pathlib import Path
from time import time_ns
from typing import Annotated

import typer
from typer import Argument, Option

Language = Annotated[str, Option("--language", "-l", help="en, zh or both")]
MODES = ("cards", "choice", "find", "mock", "stats", "tomorrow")


def quiz(
    mode: Annotated[str, Argument(help=", ".join(MODES))] = "cards",
    words: Annotated[
        list[str] | None, Argument(help="that the questions have, in either language")
    ] = None,
    language: Language = "en",
    chapter: Annotated[list[int] | None, Option(help="again for several")] = None,
    level: Annotated[list[int] | None, Option(help="1, 2 or 3; again for several")] = None,
    topic: Annotated[list[str] | None, Option(help="a tag of the bank")] = None,
    minutes: Annotated[int, Option(min=1, help="of a mock interview")] = 30,
    hours: Annotated[float, Option(help="of the evening before")] = 3.0,
    by: Annotated[str, Option(help="stats by chapter, level, kind or topic")] = "chapter",
    seed: Annotated[int | None, Option(help="the same mock interview again")] = None,
) -> None:
    """Practise by cards, choices, a mock interview or a plan for tonight."""
    from kdlab.apps.interview import bank, quiz, scheduling, sessions

    if mode not in MODES:
        raise ValueError(f"no mode {mode!r}; there are {', '.join(MODES)}")
    if mode == "stats":
        sitting = sessions.readiness_sitting(by)
    elif mode == "tomorrow":
        sitting = sessions.evening_sitting(hours, chapter or ())
    else:
        pool = bank.find_items(chapter or (), level or (), topic or (), " ".join(words or []))
        seed = time_ns() if seed is None else seed
        if mode == "mock":
            levels = dict.fromkeys(level, 1) if level else scheduling.LEVELS
            sitting = sessions.mock_sitting(
                scheduling.mock(minutes, pool, levels=levels, seed=seed)
            )
        elif mode == "choice":
            sitting = sessions.choice_sitting(pool, seed)
        elif mode == "find":
            sitting = sessions.search_sitting(pool, " ".join(words or []))
        else:
            sitting = sessions.card_sitting(pool)
    quiz.play(sitting, language)


def export(
    form: Annotated[str, Argument(help="anki, booklet, csv or json")],
    language: Language = "both",
    folder: Annotated[Path | None, Option(help="default: build")] = None,
) -> None:
    """Write the questions for Anki, as a booklet, CSV or JSON."""
    from kdlab.apps.interview import exports

    paths = exports.write_bank(form, language, folder)
    typer.echo("\n".join(map(str, paths)))
    if form == "booklet" and len(paths) == 1:
        typer.echo("For a PDF open it in a browser and print; with Chromium here it comes along.")


COMMANDS = {"interview": [quiz, export]}
