"""What is said while a comparison runs."""

import pytest

from kdlab.apps.distil import progress as said
from kdlab.apps.distil.arms import Plan
from kdlab.apps.distil.words import words


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(said.time, "perf_counter", lambda: now[0])
    return now


def test_progress_is_told_once_in_a_while_whatever_the_steps(clock):
    lines = []
    report = said.progress(lambda key, **values: lines.append(values["done"]), "read")
    for done in (*range(32, 1200, 32), 1200):
        report(done, 1200)
    assert lines == [512, 1024, 1200]


@pytest.mark.parametrize(("seconds", "line"), [
    (30, "read 500 of 1000 photos"),
    (180, "read 500 of 1000 photos, about 3 min left"),
])  # fmt: skip
def test_the_time_left_is_said_from_a_minute_on(clock, seconds, line):
    lines = []
    report = said.progress(lambda key, **values: lines.append(words(key, "en", **values)), "read")
    clock[0] = seconds
    report(500, 1000)
    assert lines == [line]


def test_a_run_that_is_twice_as_long_counts_twice(clock):
    record, lines = {"trials": [], "runs": []}, []
    report = said.teller(record, Plan("cnn3-8"), lambda key, **values: lines.append(values["left"]))
    clock[0] = 60  # a minute each; 9 at most of each arm, one arm twice as long: 36
    report({"arm": "labels", "number": 0, "validation": 50.0})
    assert lines[-1]("en") == ", about 35 min left"
    clock[0] = 180
    report({"arm": "labels, twice as long", "number": 0, "validation": 50.0})
    assert lines[-1]("zh") == "，约剩 33 分钟"
