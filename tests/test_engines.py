"""kdlab.engines: the same results from processes and from Ray; a killed worker or caller."""

import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest

from kdlab import records
from kdlab.engines import ENGINES
from kdlab.experiments import run_all
from kdlab.files import ROOT
from kdlab.recipes import MLP

NO_RAY = importlib.util.find_spec("ray") is None
needs_ray = pytest.mark.skipif(NO_RAY, reason="Ray is not installed (it is optional)")
TINY = MLP._replace(student="mlp-30", epochs=1, hold_out=59_800, batch_size=50)
TAUGHT = TINY._replace(teacher="mnist-mlp-1200", temperature=20.0, soft_weight=1.0, hard_weight=0.0)


def square(number, folder=""):
    """A job; the first to come to a given folder is killed."""
    if folder and not os.path.exists(folder):
        os.mkdir(folder)
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    # Ray's workers import `square` from here
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))


@pytest.mark.parametrize("name", ["local", pytest.param("ray", marks=needs_ray)])
def test_every_job_is_done_once(name):
    jobs = [(n,) for n in range(5)]
    assert sorted(ENGINES[name](square, jobs, 2, "")) == [((n,), n**2) for n in range(5)]


@needs_ray
def test_ray_gives_what_processes_give():
    arms = {"labels": TINY, "taught": TAUGHT}
    results = []
    for engine in ("local", "ray"):
        runs = run_all(arms, [0, 1], workers=2, engine=engine)
        results.append([{k: r[k] for k in r if k not in ("seconds", "memory")} for r in runs])
    assert results[0] == results[1]


@needs_ray
def test_a_killed_ray_worker_loses_nothing(tmp_path):
    jobs = [(n, str(tmp_path / "killed") if n == 2 else "") for n in range(4)]
    assert sorted(ENGINES["ray"](square, jobs, 2, "")) == [(job, job[0] ** 2) for job in jobs]
    assert (tmp_path / "killed").is_dir()


def test_without_ray_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install .*ray"):
        next(ENGINES["ray"](square, [(1,)], 1, ""))


def test_killed_in_the_middle_nothing_finished_is_lost_or_repeated(tmp_path):
    """kill -9 of `run` after its first finished run, then the same command again."""
    script = f"""
import sys
from kdlab import experiments, records
from kdlab.plans import EXPERIMENTS, Experiment
from tests.test_engines import TINY
from pathlib import Path
records.results_dir = lambda: Path({str(tmp_path)!r})
records.commit = lambda: "0123456789ab"
if __name__ == "__main__":
    arms = {{"one": TINY, "two": TINY._replace(lr=1e-3)}}
    EXPERIMENTS["killed"] = Experiment("Killed", arms)
    experiments.run("killed", seeds=2, workers=1)
"""
    file, record = tmp_path / "script.py", tmp_path / "killed.json"
    file.write_text(script)

    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    options = {"env": settings, "stdout": subprocess.PIPE, "start_new_session": True}
    command = [sys.executable, file]
    first = subprocess.Popen(command, **options)
    first.stdout.readline()  # the first run is finished and said
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = json.loads(record.read_text())["runs"]
    assert 1 <= len(kept) < 4
    second = subprocess.Popen(command, **options)
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0
    runs = json.loads(record.read_text())["runs"]
    assert len(runs) == 4 and len(said.splitlines()) == 4 - len(kept)
    assert all(run in runs for run in kept), "a finished run was done again"
    assert records.summarise(runs, "errors").loc["one", "seeds"] == 2
