"""kdlab.lab.executors: the same results from processes and from Ray; a killed worker or caller."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from toys import TAUGHT, TINY

from kdlab.files import ROOT
from kdlab.lab import executors, stats
from kdlab.lab.executors import ENGINES
from kdlab.lab.experiments import run_all

NO_RAY = importlib.util.find_spec("ray") is None
needs_ray = pytest.mark.skipif(NO_RAY, reason="Ray is not installed (it is optional)")


def square(number, folder=""):
    """A job; the first to come to a given folder is killed."""
    if folder and not os.path.exists(folder):
        os.mkdir(folder)
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    # other processes import this file and `test_experiments`
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))


@pytest.mark.parametrize(("system", "most"), [("win32", 61), ("linux", 96)])
def test_windows_has_no_more_workers_than_a_process_can_wait_for(monkeypatch, system, most):
    asked = []
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(
        executors, "ProcessPoolExecutor", lambda n, *_: asked.append(n) or ThreadPoolExecutor(1)
    )
    assert list(ENGINES["local"](square, [(3,)], 96)) == [((3,), 9)]
    assert asked == [most]


@needs_ray
def test_ray_gives_what_processes_give():
    results = []
    for engine in ("local", "ray"):
        runs = run_all({"labels": TINY, "taught": TAUGHT}, [0, 1], workers=2, engine=engine)
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
from pathlib import Path
from dataclasses import replace
from kdlab.lab import experiments, results
from kdlab.lab.catalogue import EXPERIMENTS, Experiment
from toys import TINY
results.results_dir = lambda: Path({str(tmp_path)!r})
results.commit = lambda: "0123456789ab"
if __name__ == "__main__":
    EXPERIMENTS["killed"] = Experiment("Killed", {{"one": TINY, "two": replace(TINY, lr=2e-3)}})
    experiments.run("killed", seeds=2, workers=1)
"""
    file, record = tmp_path / "script.py", tmp_path / "killed.json"
    file.write_text(script)
    process = partial(
        subprocess.Popen, [sys.executable, file], stdout=subprocess.PIPE, start_new_session=True
    )
    first = process()
    first.stdout.readline()  # the first run is finished and said
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = json.loads(record.read_text())["runs"]
    assert 1 <= len(kept) < 4
    second = process()
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0
    runs = json.loads(record.read_text())["runs"]
    assert len(runs) == 4 and len(said.splitlines()) == 4 - len(kept)
    assert all(run in runs for run in kept), "a finished run was done again"
    assert stats.summarise(runs, "errors").loc["one", "seeds"] == 2
