"""The progress file: kills, writers at once, other versions, damage; and the schedule of FSRS."""

import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import platformdirs
import pytest
from helpers import DAY, NOON

from kdlab.apps.interview import progress
from kdlab.files import ROOT, environment

pytestmark = pytest.mark.usefixtures("file")


def python(code: str) -> subprocess.Popen:
    command = [sys.executable, "-u", "-c", f"from kdlab.apps.interview import progress\n{code}"]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)


def test_answers_come_back_as_they_were_given_and_reading_makes_no_file(file, at):
    assert progress.answer_log() == progress.interviews() == [] and progress.cards() == {}
    assert not file.parent.exists()
    at(NOON)
    progress.record_answer("a", 3)
    progress.record_interview(30, 0.5, {"correct": 2})
    at(NOON + DAY)
    progress.record_answer("b", 1, "choice")
    assert progress.answer_log() == [("a", NOON, 3, "card"), ("b", NOON + DAY, 1, "choice")]
    assert progress.interviews() == [(NOON, 30.0, 0.5, {"correct": 2})]


@pytest.mark.parametrize("grade", [0, 5, None, "good"])
def test_a_grade_out_of_range_is_refused_and_nothing_is_written(grade):
    with pytest.raises(progress.ProgressError, match="constraint failed"):
        progress.record_answer("a", grade)
    assert progress.answer_log() == []


def test_the_file_is_in_the_users_data_folder(monkeypatch):
    monkeypatch.delenv("KDLAB_PROGRESS")
    path = progress.progress_file()
    assert path.parent == Path(platformdirs.user_data_dir("kdlab", appauthor=False))
    assert ROOT not in path.parents  # an upgrade of the clone leaves it alone


@pytest.mark.parametrize("pause", [0.0, 0.013, 0.031])
def test_kill_9_in_the_middle_of_writing_loses_at_most_the_last_answer(pause):
    writer = python("for n in range(100000): progress.record_answer(f'card-{n}', 3); print(n)")
    seen = [int(writer.stdout.readline()) for _ in range(20)]
    time.sleep(pause)
    writer.kill()
    seen += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    kept = [answer.item for answer in progress.answer_log()]
    assert kept[: len(seen)] == [f"card-{n}" for n in seen]  # what was acknowledged is there
    assert len(kept) <= len(seen) + 1
    progress.record_answer("after", 3)  # and the file goes on
    assert progress.answer_log()[-1].item == "after"
    with sqlite3.connect(progress.progress_file()) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_processes_write_at_once(file):
    code = "for n in range(150): progress.record_answer('{}', 1 + n % 4)"
    writers = [python(code.format(name)) for name in "xy"]  # both make the file, too
    assert [writer.wait(60) for writer in writers] == [0, 0]
    grades = [[a.grade for a in progress.answer_log() if a.item == name] for name in "xy"]
    assert grades == [[1 + n % 4 for n in range(150)]] * 2


def old_file(path: Path, version: int) -> None:
    """As kdlab 0.1.0 wrote it, in its own words."""
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as db:
        db.executescript(f"""
            CREATE TABLE answers (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL,
                at TEXT NOT NULL, grade INTEGER NOT NULL CHECK (grade BETWEEN 1 AND 4));
            ALTER TABLE answers ADD COLUMN mode TEXT NOT NULL DEFAULT 'card';
            CREATE TABLE interviews (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL,
                minutes REAL NOT NULL, score REAL NOT NULL, rubric TEXT NOT NULL);
            INSERT INTO answers (item, at, grade, mode) VALUES
                ('a', '2026-03-01T12:00:00+00:00', 3, 'card'),
                ('b', '2026-03-01T12:00:00.000500+00:00', 1, 'mock');
            INSERT INTO interviews (at, minutes, score, rubric) VALUES
                ('2026-03-01T12:00:00+00:00', 30.0, 0.5, '{{"clear": 3}}');
            PRAGMA user_version = {version}""")


def test_a_file_of_the_last_version_is_read_as_it_is_and_goes_on(file):
    old_file(file, 3)
    later, before = NOON + timedelta(microseconds=500), file.read_bytes()
    assert progress.answer_log() == [("a", NOON, 3, "card"), ("b", later, 1, "mock")]
    assert progress.interviews() == [(NOON, 30.0, 0.5, {"clear": 3})]
    assert progress.cards()["b"] == progress.reschedule(None, 1, later)
    assert file.read_bytes() == before
    progress.record_interview(20, 1.0, {})
    progress.record_answer("c", 2, "mock")
    assert len(progress.answer_log()) == 3 and len(progress.interviews()) == 2


@pytest.mark.parametrize("version", [1, 2, 4, 99])
def test_a_file_of_another_version_is_refused_in_one_sentence_and_not_touched(file, version):
    old_file(file, version)
    before = file.read_bytes()
    for use in (progress.answer_log, lambda: progress.record_answer("a", 3)):
        with pytest.raises(progress.ProgressError, match=f"version {version}.*update the clone"):
            use()
    assert file.read_bytes() == before


def test_what_is_no_database_is_one_clear_sentence_and_stays(file):
    file.mkdir(parents=True)
    with pytest.raises(progress.ProgressError, match="cannot be used"):
        progress.answer_log()
    file.rmdir()
    file.write_text("my notes, " * 200)
    with pytest.raises(progress.ProgressError, match="cannot be used .*KDLAB_PROGRESS"):
        progress.record_answer("a", 3)
    assert file.read_text().startswith("my notes")


def due_in(grades, gap=timedelta(0)):
    """Days until a card comes back after these answers, each given when it was due."""
    card, now = None, NOON
    for grade in grades:
        card = progress.reschedule(card, grade, now)
        last, now = now, card.due + gap
    return (card.due - last) / DAY


def test_the_schedule_moves_as_it_should():
    assert due_in([1]) < due_in([2]) < due_in([3]) < 1 / 24 < due_in([4])
    steps = [due_in([3] * n) for n in range(2, 6)]
    assert steps == sorted(steps) and steps[0] >= 1 and steps[-1] > 20  # each success: further
    assert due_in([3, 3, 3, 1]) < 1 / 24  # forgotten: again within the hour
    assert due_in([3, 3, 3, 1, 3, 3]) < due_in([3, 3, 3, 3, 3, 3]) / 4


def test_cards_are_replayed_from_the_log(at):
    card = None
    for day, grade in enumerate([3, 3, 1, 3, 4]):
        at(NOON + day * DAY)
        progress.record_answer("a", grade)
        card = progress.reschedule(card, grade, NOON + day * DAY)
    assert progress.cards() == {"a": card}


def test_recall_falls_with_time_and_is_zero_for_the_unseen(at):
    card, values = progress.reschedule(progress.reschedule(None, 3, NOON), 3, NOON + DAY), []
    for days in (0, 2, 9, 99):
        at(NOON + days * DAY)
        values.append(progress.recall(card))  # a day later
    assert values[0] == 1 and values == sorted(values, reverse=True) and 0 < values[-1] < 0.9
    assert progress.recall(None) == 0


def test_a_clock_set_back_changes_no_order():
    card = progress.reschedule(progress.reschedule(None, 3, NOON), 3, NOON - 5 * DAY)
    assert card.last_review == NOON and card.due > NOON
