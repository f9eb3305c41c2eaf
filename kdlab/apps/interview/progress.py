"""For the learner's trainer: the log of answers in one SQLite file, and what follows from it.

The log is the only truth: FSRS cards and readiness are replayed from it, so two notebooks cannot
disagree, and a new version of `fsrs` reads old answers. An answer is one INSERT, a transaction of
its own: a kill loses at most the one being written, and processes that write at once wait for each
other. (The ordinary rollback journal: WAL does not work in a home directory on a network disk.)
"""

import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import platformdirs

from kdlab.apps.interview.bank import items

if TYPE_CHECKING:
    import pandas as pd
    from fsrs import Card, Scheduler

AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4
KNOWN = 0.9  # what FSRS schedules for: more needs no repetition before tomorrow
GROUPINGS = ("chapter", "level", "kind", "topic")
COUNTED = ["items", "seen", "due", "answers", "right", "ready"]
VERSION = 3  # of the file, its PRAGMA user_version
SCHEMA = f"""BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS answers (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL,
        at TEXT NOT NULL, grade INTEGER NOT NULL CHECK (grade BETWEEN 1 AND 4),
        mode TEXT NOT NULL DEFAULT 'card');
    CREATE TABLE IF NOT EXISTS interviews (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL,
        minutes REAL NOT NULL, score REAL NOT NULL, rubric TEXT NOT NULL);
    PRAGMA user_version = {VERSION};
    COMMIT"""


class ProgressError(Exception):
    """The progress file cannot be used; the message says what to do."""


class Answer(NamedTuple):
    item: str  # an id of the bank
    at: datetime  # UTC
    grade: int  # 1 again, 2 hard, 3 good, 4 easy
    mode: str  # "card", "choice" or "mock"


class Interview(NamedTuple):
    at: datetime  # UTC
    minutes: float
    score: float  # 0 to 1
    rubric: dict[str, int]  # criterion -> mark


def progress_file() -> Path:
    """Where the progress is kept: $KDLAB_PROGRESS, or kdlab/progress.sqlite3 in the user's data."""
    folder = Path(platformdirs.user_data_dir("kdlab", appauthor=False))
    return Path(os.environ.get("KDLAB_PROGRESS") or folder / "progress.sqlite3").expanduser()


def record_answer(item: str, grade: int, mode: str = "card") -> None:
    """Keep one answer, its grade 1 (again) to 4 (easy), on the disk when this returns."""
    values = (item, now().isoformat(), grade, mode)
    _execute("INSERT INTO answers (item, at, grade, mode) VALUES (?, ?, ?, ?)", values)


def record_interview(minutes: float, score: float, rubric: dict[str, int]) -> None:
    """Keep the outcome of one mock interview."""
    values = (now().isoformat(), minutes, score, json.dumps(rubric))
    _execute("INSERT INTO interviews (at, minutes, score, rubric) VALUES (?, ?, ?, ?)", values)


def answer_log() -> list[Answer]:
    """Every answer ever given, in order; none where there is no file yet."""
    rows = _read("SELECT item, at, grade, mode FROM answers ORDER BY id")
    return [Answer(item, datetime.fromisoformat(at), *rest) for item, at, *rest in rows]


def interviews() -> list[Interview]:
    """Every mock interview that was carried to its end, in order."""
    rows = _read("SELECT at, minutes, score, rubric FROM interviews ORDER BY id")
    return [Interview(datetime.fromisoformat(r[0]), r[1], r[2], json.loads(r[3])) for r in rows]


def cards(answers: Iterable[Answer] | None = None) -> dict[str, "Card"]:
    """The FSRS card of each item that was answered, from these answers, else from the whole log."""
    latest = {}
    for answer in answer_log() if answers is None else answers:
        latest[answer.item] = reschedule(latest.get(answer.item), answer.grade, answer.at)
    return latest


def reschedule(card: "Card | None", grade: int, at: datetime) -> "Card":
    """The card after one more answer (None: a new one). A clock that was set back is ignored."""
    import fsrs

    card = card or fsrs.Card(card_id=0, due=at)
    return _scheduler().review_card(card, fsrs.Rating(grade), max(at, card.last_review or at))[0]


def recall(card: "Card | None") -> float:
    """The probability, by FSRS, that a card is remembered a day from now; 0 for one unseen."""
    return _scheduler().get_card_retrievability(card, now() + timedelta(1)) if card else 0.0


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(timezone.utc)


def readiness_table(by: str = "chapter") -> "pd.DataFrame":
    """Items, seen, due, answers, right and ready, per chapter, level, kind or topic (or "all").

    `right` is the share of answers above "again" (NaN without one); `ready` the mean probability,
    by FSRS, to know an item a day from now, an item never seen counting 0. ValueError for another
    grouping.
    """
    if by not in (*GROUPINGS, "all"):
        raise ValueError(f"statistics go by {', '.join(GROUPINGS)}, not by {by!r}")
    sums = _item_table().explode(by).groupby(by)[COUNTED].sum()
    sums["right"] /= sums["answers"].where(sums["answers"] > 0)
    sums["ready"] /= sums["items"]
    return sums


def weak_topics() -> list[str]:
    """Up to five tags whose seen items will be known worst tomorrow, the worst first."""
    table = _item_table()
    means = table[table["seen"] > 0].explode("topic").groupby("topic")["ready"].mean()
    return list(means[means < KNOWN].sort_values(kind="stable").index[:5])


def _item_table() -> "pd.DataFrame":
    """A row for each item: its groups, then the columns to be summed, from one reading of the log.

    `right` counts the answers above "again", `ready` is the probability to know it tomorrow.
    """
    import pandas as pd

    answers, rows = answer_log(), []
    known, moment = cards(answers), now()
    for name, item in items().items():
        card = known.get(name)
        grades = [answer.grade for answer in answers if answer.item == name]
        due = card is not None and card.due <= moment
        right = sum(grade > AGAIN for grade in grades)
        groups = item["chapter"], item["level"], item["kind"], item["tags"], "all"
        rows.append((*groups, 1, int(name in known), int(due), len(grades), right, recall(card)))
    return pd.DataFrame(rows, columns=[*GROUPINGS, "all", *COUNTED])


@cache
def _scheduler() -> "Scheduler":
    import fsrs

    return fsrs.Scheduler(enable_fuzzing=False)  # the same answers, the same schedule


def _read(query: str) -> list[tuple]:
    """What the file has; reading makes none."""
    return _execute(query) if progress_file().exists() else []


def _execute(statement: str, values: tuple = ()) -> list[tuple]:
    """Carry out one statement, which commits itself; where there is no file, it is made first."""
    path = progress_file()
    file = f"the progress file {path}"
    advice = "or name another in KDLAB_PROGRESS: this one is kept as it is"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:  # of several processes that find it so, one makes the tables
                db.executescript(SCHEMA)
            elif version != VERSION:
                problem = f"has version {version}, this kdlab reads {VERSION}"
                raise ProgressError(f"{file} {problem}; update the clone (git pull), {advice}")
            return db.execute(statement, values).fetchall()
    except (sqlite3.Error, OSError) as error:
        advice = f"free the disk or its lock, move a damaged file, {advice}"
        raise ProgressError(f"{file} cannot be used ({error}); {advice}") from error
