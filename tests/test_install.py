"""The set-up by make: a line a step, the rest in a log; what is there is never deleted."""

import shutil
import subprocess

import pytest

from kdlab.files import ROOT, write_text

# stands for Python: it makes an environment of itself, and installs unless there is `no-network`
PYTHON = """#!/bin/sh
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin; cp python .venv/bin; echo "packages = true" >.venv/pyvenv.cfg;;
  *torchvision*) exit 1;;
  *version_info*) test ! -e old;;
  *"pip install"*) echo four hundred lines; test ! -e no-network || { echo no network; exit 1; };;
esac
"""


@pytest.fixture
def make(tmp_path):
    """`make STAMP` in a clone without .venv, by a Python that does nothing at once."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    write_text(tmp_path / "python", PYTHON)

    def run(stamp="learner", python="./python"):
        (tmp_path / "python").chmod(0o755)
        command = ["make", f"PYTHON={python}", f".venv/{stamp}.stamp"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_a_step_is_one_line_and_the_rest_goes_to_the_log(make, tmp_path):
    for stamp, steps in (("learner", 2), ("test", 1), ("book", 1)):
        run = make(stamp)
        assert run.returncode == 0, run.stderr
        shown = run.stdout + run.stderr
        assert shown.count("kdlab: ") == steps + (stamp == "learner") and "hundred" not in shown
        assert (tmp_path / f".venv/{stamp}.stamp").exists()
    assert "four hundred lines" in (tmp_path / "build/setup.log").read_text("utf-8")
    assert "up to date" in make().stdout


def test_a_failure_shows_its_reason_and_says_what_to_do(make, tmp_path):
    (tmp_path / "no-network").touch()
    run = make()
    assert run.returncode and "no network" in run.stderr
    assert "run the same command again" in run.stderr
    (tmp_path / "no-network").unlink()
    assert make().returncode == 0


@pytest.mark.parametrize("python", ["./python", "no-such-python"])
def test_an_old_or_missing_python_is_told_what_to_do(make, tmp_path, python):
    (tmp_path / "old").touch()
    run = make(python=python)
    assert run.returncode and "needs Python 3.10 or newer" in run.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_environment_that_is_there_is_never_deleted(make, tmp_path):
    write_text(tmp_path / ".venv" / "mine.txt", "mine")
    run = make()
    assert run.returncode and "stays as it is" in run.stderr and "make clean" in run.stderr
    assert (tmp_path / ".venv" / "mine.txt").read_text() == "mine"
