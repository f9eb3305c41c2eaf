"""Scores of collected handouts: each exercise cell against the course's own check, as a CSV file.

This runs the learners' code on this machine, with your rights: use an account or a container of its
own. For each notebook a fresh process runs the chapter's own set-up cells and holds the checks. A
fork of it, with limits, runs one cell of the learner and answers the cases of its check. Only these
answers come back, as data, and the check judges them where no learner's code ever ran: what a cell
redefines or patches is gone with the fork. (A function that calls kdlab's own passes, of course.)
"""

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kdlab.apps.classroom.handouts import check_of
from kdlab.apps.classroom.sandbox import CLOCK, limited
from kdlab.files import ROOT, environment, write_csv

SETUP = 600  # seconds for importing the course and running a chapter's set-up
COLUMNS = "learner", "chapter", "exercise", "passed", "message", "seconds"
Verdict = tuple[str, str, float]  # passed ("yes", "no", "not done"), message, seconds


def score(
    folder: Path, chapters: Sequence[Path], to: Path, *, seconds: int = 20, memory: int = 2000
) -> list[dict]:
    """Score `folder`/LEARNER/NN_words.ipynb, or `folder`/LEARNER.ipynb of the only chapter.

    The rows, which `to` then holds as CSV. Two notebooks at once; for one check a learner's code
    has `seconds` of processor time and `memory` MB. OSError where nothing can limit it, ValueError
    where `to` is a file of another kind or a learner has handed in two files of a chapter.
    """
    if not hasattr(os, "fork"):
        raise OSError("Windows cannot limit what a learner's code takes; score under Linux or WSL")
    check_target(to)
    jobs = collect(folder, chapters)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda job: _score_apart(*job[1:], seconds, memory), jobs)
        rows = [
            dict(zip(COLUMNS, (one_line(who), chapter.name[:2], n, passed, *told), strict=True))
            for (who, chapter, _), verdicts in zip(jobs, found, strict=True)
            for n, (passed, message, took) in enumerate(verdicts, 1)
            for told in [(one_line(message), round(took, 1))]
        ]
    write_csv(to, rows)
    return rows


def collect(folder: Path, chapters: Sequence[Path]) -> list[tuple[str, Path, Path | None]]:
    """Learner, the course's chapter, and what was handed in; no chapter that nobody handed in."""
    chapters, jobs = [path for path in chapters if exercises(path)], []
    for there in sorted(folder.glob("[!.]*")):
        if there.is_dir():
            jobs += [(there.name, path, handed_in(there, path)) for path in chapters]
        elif there.suffix == ".ipynb":
            if len(chapters) != 1:
                raise ValueError(f"say with --chapter NN of which chapter {there.name} is")
            jobs.append((there.stem, chapters[0], there))
    begun = {chapter for _, chapter, handed in jobs if handed}
    if not begun:
        raise ValueError(f"no LEARNER.ipynb and no LEARNER/NN_words.ipynb to score in {folder}")
    return [job for job in jobs if job[1] in begun]


def handed_in(folder: Path, chapter: Path) -> Path | None:
    """A learner's file of a chapter: that of its name, or else the only one of its number.

    NN_words.mine.ipynb and .new.ipynb lie beside a learner's file and are none. ValueError for two.
    """
    found = [p for p in sorted(folder.glob(f"{chapter.name[:2]}_*.ipynb")) if "." not in p.stem]
    if folder / chapter.name in found:
        return folder / chapter.name
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ValueError(f"{folder} holds {names}: name the one to score {chapter.name}")
    return found[0] if found else None


def check_target(to: Path) -> None:
    """ValueError where `to` is there and does not begin like a file of `score`."""
    if to.exists():
        with contextlib.suppress(OSError), to.open(encoding="utf-8-sig", errors="replace") as file:
            if file.readline().split(",") == [*COLUMNS[:-1], f"{COLUMNS[-1]}\n"]:
                return
        raise ValueError(f"{to} is no file of scores and stays as it is: name another with --to")


def code_of(path: Path) -> list[tuple[str, str, list[str]]]:
    """Id, source and tags of the code cells of a notebook."""
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if "outputs" in cell]
    return [(c.get("id", ""), "".join(c["source"]), c["metadata"].get("tags", [])) for c in cells]


def exercises(chapter: Path) -> dict[str, tuple[str, str]]:
    """Of each exercise cell of the course, by its id: its check and the function it is to check."""
    return {name: check_of(source) for name, source, tags in code_of(chapter) if "exercise" in tags}


def one_line(said: object) -> str:
    """One short line that any program can write, and that no spreadsheet takes for a formula."""
    text = " ".join(str(said).encode("utf-8", "replace").decode().split())[:300]
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _score_apart(chapter: Path, handed: Path | None, *limits: int) -> list[Verdict]:
    """`score_notebook` in a process of its own: whatever happens to it, a verdict an exercise."""
    count = len(exercises(chapter))
    if not handed:
        return [("not done", "not handed in", 0.0)] * count
    quiet = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg"}
    options = {"cwd": ROOT, "env": environment(**quiet, PYTHONWARNINGS="ignore")}
    command = [
        sys.executable,
        "-m",
        "kdlab.apps.classroom.grading",
        chapter.resolve(),
        handed.resolve(),
    ]
    try:
        wait = SETUP + CLOCK * limits[0] * count
        told = subprocess.check_output([*command, *map(str, limits)], timeout=wait, **options)
        return json.loads(told)
    except (ValueError, subprocess.SubprocessError) as error:
        kind = type(error).__name__
        return [("no", f"scoring this notebook failed ({kind}); see the terminal", 0.0)] * count


def score_notebook(chapter: Path, handed: Path, seconds: int, memory: int) -> list[Verdict]:
    """A verdict for each exercise of the course's chapter. Its set-up runs in this process."""
    from kdlab.apps.chapters import exercises

    wanted, space, found = exercises(chapter), {"__name__": "__main__"}, []
    try:
        cells = {name: source for name, source, _ in code_of(handed)}
    except Exception as error:  # whatever it is, it is no notebook
        return [("no", f"not a notebook: {error!r}", 0.0)] * len(wanted)
    with contextlib.redirect_stdout(io.StringIO()):
        for _, source, tags in code_of(chapter):
            exec(source if "setup" in tags else "", space)
    for name, (called, function) in wanted.items():
        clock, verdict = time.monotonic(), ("not done", f"the notebook has no cell {name}")
        if name in cells:
            check = getattr(exercises, called)
            task = functools.partial(answers_of, check, cells[name], function, space)
            verdict = judge(check, limited(task, seconds, memory))
        found.append((*verdict, time.monotonic() - clock))
    return found


def answers_of(check: Callable, source: str, function: str, space: dict[str, object]) -> dict:
    """Run a learner's cell in `space`, and let its function answer the cases of the check.

    {"answers": those that it gave, "error": what ended them}; ended without an error: not done.
    """
    from kdlab.apps.chapters.exercises.exercise import plain

    told = {"answers": []}

    def record(*case: object, **options: object) -> object:
        given = plain(yours(*case, **options))
        words = given is None or isinstance(given, str)
        told["answers"].append(given if words else [list(given.shape), given.flatten().tolist()])
        return given

    space.pop(function, None)
    try:
        try:
            exec(source, space)
        except Exception:  # what stands below the function may need cells that did not run here
            if function not in space:
                raise
        yours = eval(function, space)
        check(record)
    except BaseException as error:  # SystemExit, too
        told["error"] = f"{type(error).__name__}: {error}".removesuffix(": ")[:1000]
    return told


def judge(check: Callable, told: dict) -> tuple[str, str]:
    """Whether a function that gives these answers passes the check, and what the check says."""
    import torch

    def replay(*case: object, **options: object) -> object:
        given = next(answers, told)
        if given is told:
            raise RuntimeError(told["error"]) if "error" in told else NotImplementedError
        return torch.tensor(given[1]).reshape(given[0]) if isinstance(given, list) else given

    said = io.StringIO()
    try:
        answers = iter(told.get("answers", []))
        with contextlib.redirect_stdout(said):
            check(replay)
    except Exception as error:  # the check's own AssertionError, or what came is no answer
        return "no", str(error) or type(error).__name__
    return "not done" if "not done" in said.getvalue() else "yes", said.getvalue()


if __name__ == "__main__":
    notebooks, limits = map(Path, sys.argv[1:3]), map(int, sys.argv[3:])
    print(json.dumps(score_notebook(*notebooks, *limits)))
