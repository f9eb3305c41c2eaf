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
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import fsrs

AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4
MIGRATIONS = (  # step n makes version n + 1 of the file; never edit one, append
    """CREATE TABLE answers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        item TEXT NOT NULL,
        at TEXT NOT NULL,
        grade INTEGER NOT NULL CHECK (grade BETWEEN 1 AND 4)
    )""",
    "ALTER TABLE answers ADD COLUMN mode TEXT NOT NULL DEFAULT 'card'",
    """CREATE TABLE interviews (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        minutes REAL NOT NULL,
        score REAL NOT NULL,
        rubric TEXT NOT NULL
    )""",
)


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


def file() -> Path:
    """Where the progress is kept: $KDLAB_PROGRESS, or kdlab/progress.sqlite3 in the user's data."""
    import platformdirs

    if chosen := os.environ.get("KDLAB_PROGRESS"):
        return Path(chosen).expanduser()
    return Path(platformdirs.user_data_dir("kdlab", appauthor=False)) / "progress.sqlite3"


def record(item: str, grade: int, mode: str = "card", *, now: datetime | None = None) -> None:
    """Keep one answer, on the disk when this returns. ValueError for a grade outside 1 to 4."""
    if grade not in (AGAIN, HARD, GOOD, EASY):
        raise ValueError(f"a grade is 1 (again), 2 (hard), 3 (good) or 4 (easy), got {grade!r}")
    with _opened() as db:
        values = (item, _moment(now).isoformat(), int(grade), mode)
        db.execute("INSERT INTO answers (item, at, grade, mode) VALUES (?, ?, ?, ?)", values)


def record_interview(
    minutes: float, score: float, rubric: dict[str, int], *, now: datetime | None = None
) -> None:
    """Keep the outcome of one mock interview."""
    with _opened() as db:
        values = (_moment(now).isoformat(), minutes, score, json.dumps(rubric))
        db.execute("INSERT INTO interviews (at, minutes, score, rubric) VALUES (?,?,?,?)", values)


def answers() -> list[Answer]:
    """Every answer ever given, in order; none where there is no file yet."""
    rows = _read("SELECT item, at, grade, mode FROM answers ORDER BY id")
    return [Answer(item, datetime.fromisoformat(at), *rest) for item, at, *rest in rows]


def interviews() -> list[Interview]:
    """Every mock interview that was carried to its end, in order."""
    rows = _read("SELECT at, minutes, score, rubric FROM interviews ORDER BY id")
    return [Interview(datetime.fromisoformat(r[0]), r[1], r[2], json.loads(r[3])) for r in rows]


def cards(given: Iterable[Answer] | None = None) -> dict[str, "fsrs.Card"]:
    """The FSRS card of each item that was ever answered: its `due`, `state`, `stability`."""
    found = {}
    for answer in answers() if given is None else given:
        found[answer.item] = after(found.get(answer.item), answer.grade, answer.at)
    return found


def after(card: "fsrs.Card | None", grade: int, now: datetime) -> "fsrs.Card":
    """The card after one more answer (None: a new one). A clock that was set back is ignored."""
    import fsrs

    now = now.astimezone(timezone.utc)
    if card is None:
        card = fsrs.Card(card_id=0, due=now)
    elif card.last_review:
        now = max(now, card.last_review)
    return _scheduler().review_card(card, fsrs.Rating(grade), now)[0]


def recall(card: "fsrs.Card | None", now: datetime | None = None) -> float:
    """The probability, by FSRS in whole days, that a card is remembered; 0 for one never seen."""
    return _scheduler().get_card_retrievability(card, _moment(now)) if card else 0.0


@cache
def _scheduler() -> "fsrs.Scheduler":
    import fsrs

    return fsrs.Scheduler(enable_fuzzing=False)  # the same answers, the same schedule


def _moment(now: datetime | None) -> datetime:
    return (now or datetime.now(timezone.utc)).astimezone(timezone.utc)


def _read(query: str) -> list[tuple]:
    if not file().exists():
        return []
    with _opened() as db:
        return db.execute(query).fetchall()


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    """The file, made or brought to the newest version first; each statement commits itself."""
    path = file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            _migrate(db, path)
            yield db
    except (sqlite3.Error, OSError) as error:
        raise ProgressError(
            f"the progress file {path} cannot be used ({error}); free the disk or its lock, "
            "move a damaged file away, or name another in KDLAB_PROGRESS: what it holds is kept"
        ) from error


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version = "PRAGMA user_version"
    if db.execute(version).fetchone()[0] == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")  # one process migrates, the others find it done
    try:
        done = db.execute(version).fetchone()[0]
        if done > len(MIGRATIONS):
            raise ProgressError(
                f"the progress file {path} has version {done}, this kdlab knows up to "
                f"{len(MIGRATIONS)}; update the clone (git pull), the file is untouched"
            )
        for step in MIGRATIONS[done:]:
            db.execute(step)
        db.execute(f"{version} = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
