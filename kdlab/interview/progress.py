"""What a learner has answered, in one SQLite file, and the FSRS schedule that follows from it.

The log of answers is the only truth: cards are replayed from it, so two notebooks cannot disagree,
and a new version of `fsrs` reads old answers. An answer is one INSERT, a transaction of its own: a
kill loses at most the one being written, and processes that write at once wait for each other.
(The ordinary rollback journal: WAL does not work in a home directory on a network disk.)
Reading makes no file. $KDLAB_PROGRESS names another file than the one in the user's data folder.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fsrs import Card, Scheduler

AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4
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
    import platformdirs

    folder = Path(platformdirs.user_data_dir("kdlab", appauthor=False))
    return Path(os.environ.get("KDLAB_PROGRESS") or folder / "progress.sqlite3").expanduser()


def record(item: str, grade: int, mode: str = "card", *, now: datetime | None = None) -> None:
    """Keep one answer, on the disk when this returns. ValueError for a grade outside 1 to 4."""
    if grade not in (AGAIN, HARD, GOOD, EASY):
        raise ValueError(f"a grade is 1 (again), 2 (hard), 3 (good) or 4 (easy), got {grade!r}")
    values = (item, utc(now).isoformat(), int(grade), mode)
    with _opened() as db:
        db.execute("INSERT INTO answers (item, at, grade, mode) VALUES (?, ?, ?, ?)", values)


def record_interview(
    minutes: float, score: float, rubric: dict[str, int], *, now: datetime | None = None
) -> None:
    """Keep the outcome of one mock interview."""
    values = (utc(now).isoformat(), minutes, score, json.dumps(rubric))
    with _opened() as db:
        db.execute("INSERT INTO interviews (at, minutes, score, rubric) VALUES (?,?,?,?)", values)


def answer_log() -> list[Answer]:
    """Every answer ever given, in order; none where there is no file yet."""
    rows = _read("SELECT item, at, grade, mode FROM answers ORDER BY id")
    return [Answer(item, datetime.fromisoformat(at), *rest) for item, at, *rest in rows]


def interviews() -> list[Interview]:
    """Every mock interview that was carried to its end, in order."""
    rows = _read("SELECT at, minutes, score, rubric FROM interviews ORDER BY id")
    return [Interview(datetime.fromisoformat(r[0]), r[1], r[2], json.loads(r[3])) for r in rows]


def cards(given: Iterable[Answer] | None = None) -> dict[str, "Card"]:
    """The FSRS card of each item that was ever answered: its `due`, `state`, `stability`."""
    found = {}
    for answer in answer_log() if given is None else given:
        found[answer.item] = reschedule(found.get(answer.item), answer.grade, answer.at)
    return found


def reschedule(card: "Card | None", grade: int, now: datetime) -> "Card":
    """The card after one more answer (None: a new one). A clock that was set back is ignored."""
    import fsrs

    card = card or fsrs.Card(card_id=0, due=utc(now))
    now = max(utc(now), card.last_review or utc(now))
    return _scheduler().review_card(card, fsrs.Rating(grade), now)[0]


def recall(card: "Card | None", now: datetime | None = None, days: float = 0) -> float:
    """The probability, by FSRS, that a card is remembered some days from now; 0 for one unseen."""
    moment = utc(now) + timedelta(days)
    return _scheduler().get_card_retrievability(card, moment) if card else 0.0


def utc(moment: datetime | None = None) -> datetime:
    """A moment in UTC; None is now."""
    return (moment or datetime.now(timezone.utc)).astimezone(timezone.utc)


@cache
def _scheduler() -> "Scheduler":
    import fsrs

    return fsrs.Scheduler(enable_fuzzing=False)  # the same answers, the same schedule


def _read(query: str) -> list[tuple]:
    if not progress_file().exists():
        return []
    with _opened() as db:
        return db.execute(query).fetchall()


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    """The file, made first where there is none; each statement commits itself."""
    path = progress_file()
    kept = "or name another in KDLAB_PROGRESS: this one is kept as it is"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:  # of several processes that find it so, one makes the tables
                db.executescript(SCHEMA)
            elif version != VERSION:
                told = f"the progress file {path} has version {version}, this kdlab reads {VERSION}"
                raise ProgressError(f"{told}; update the clone (git pull), {kept}")
            yield db
    except (sqlite3.Error, OSError) as error:
        told = f"the progress file {path} cannot be used ({error})"
        raise ProgressError(
            f"{told}; free the disk or its lock, move a damaged file, {kept}"
        ) from error
