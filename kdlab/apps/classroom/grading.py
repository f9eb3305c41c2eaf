"""For lecturers: scores of collected handouts, each exercise by the course's own check, as CSV.

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
        verdicts = [*pool.map(lambda job: _score_apart(*job[1:], seconds, memory), jobs)]
    rows = []
    for (learner, chapter, _), of_notebook in zip(jobs, verdicts, strict=True):
        for number, (passed, message, took) in enumerate(of_notebook, 1):
            exercise = one_line(learner), chapter.name[:2], number
            row = *exercise, passed, one_line(message), round(took, 1)
            rows.append(dict(zip(COLUMNS, row, strict=True)))
    write_csv(to, rows)
    return rows


def collect(folder: Path, chapters: Sequence[Path]) -> list[tuple[str, Path, Path | None]]:
    """Learner, the course's chapter, and what was handed in; no chapter that nobody handed in."""
    chapters, jobs = [path for path in chapters if exercises(path)], []
    for path in sorted(folder.glob("[!.]*")):
        if path.is_dir():
            jobs += [(path.name, chapter, handed_in(path, chapter)) for chapter in chapters]
        elif path.suffix == ".ipynb":
            if len(chapters) != 1:
                raise ValueError(f"say with --chapter NN of which chapter {path.name} is")
            jobs.append((path.stem, chapters[0], path))
    begun = {chapter for _, chapter, notebook in jobs if notebook}
    if not begun:
        raise ValueError(f"no LEARNER.ipynb and no LEARNER/NN_words.ipynb to score in {folder}")
    return [job for job in jobs if job[1] in begun]


def handed_in(folder: Path, chapter: Path) -> Path | None:
    """A learner's file of a chapter: that of its name, or else the only one of its number.

    NN_words.mine.ipynb and .new.ipynb lie beside a learner's file and are none. ValueError for two.
    """
    files = [p for p in sorted(folder.glob(f"{chapter.name[:2]}_*.ipynb")) if "." not in p.stem]
    if folder / chapter.name in files:
        return folder / chapter.name
    if len(files) > 1:
        names = " and ".join(path.name for path in files)
        raise ValueError(f"{folder} holds {names}: name the one to score {chapter.name}")
    return files[0] if files else None


def check_target(to: Path) -> None:
    """ValueError where `to` is there and does not begin like a file of `score`."""
    head = to.read_text("utf-8-sig", "replace").partition("\n")[0] if to.is_file() else ""
    if to.exists() and head != ",".join(COLUMNS):
        raise ValueError(f"{to} is no file of scores and stays as it is: name another with --to")


def code_of(path: Path) -> list[tuple[str, str, list[str]]]:
    """Id, source and tags of the code cells of a notebook."""
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if "outputs" in cell]
    return [(c.get("id", ""), "".join(c["source"]), c["metadata"].get("tags", [])) for c in cells]


def exercises(chapter: Path) -> dict[str, tuple[str, str]]:
    """Of each exercise cell of the course, by its id: its check and the function it is to check."""
    return {name: check_of(source) for name, source, tags in code_of(chapter) if "exercise" in tags}


def one_line(text: str) -> str:
    """One short line that any program can write, and that no spreadsheet takes for a formula."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())[:300]
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def _score_apart(chapter: Path, notebook: Path | None, seconds: int, memory: int) -> list[Verdict]:
    """`score_notebook` in a process of its own: whatever happens to it, a verdict an exercise."""
    count = len(exercises(chapter))
    if not notebook:
        return [("not done", "not handed in", 0.0)] * count
    variables = environment(
        OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", MPLBACKEND="agg", PYTHONWARNINGS="ignore"
    )
    command = [sys.executable, "-m", __name__, chapter.resolve(), notebook.resolve()]
    command += [str(seconds), str(memory)]
    wait = SETUP + CLOCK * seconds * count
    try:
        verdicts = subprocess.check_output(command, timeout=wait, cwd=ROOT, env=variables)
        return json.loads(verdicts)
    except (ValueError, subprocess.SubprocessError) as error:
        kind = type(error).__name__
        return [("no", f"scoring this notebook failed ({kind}); see the terminal", 0.0)] * count


def score_notebook(chapter: Path, notebook: Path, seconds: int, memory: int) -> list[Verdict]:
    """A verdict for each exercise of the course's chapter. Its set-up runs in this process."""
    from kdlab.apps.chapters import exercises as checks

    wanted, space, verdicts = exercises(chapter), {"__name__": "__main__"}, []
    try:
        cells = {name: source for name, source, _ in code_of(notebook)}
    except Exception as error:  # whatever it is, it is no notebook
        return [("no", f"not a notebook: {error!r}", 0.0)] * len(wanted)
    with contextlib.redirect_stdout(io.StringIO()):
        for _, source, tags in code_of(chapter):
            if "setup" in tags:
                exec(source, space)
    for name, (check_name, function) in wanted.items():
        clock, verdict = time.monotonic(), ("not done", f"the notebook has no cell {name}")
        if name in cells:
            check = getattr(checks, check_name)
            task = functools.partial(answers_of, check, cells[name], function, space)
            verdict = judge(check, limited(task, seconds, memory))
        verdicts.append((*verdict, time.monotonic() - clock))
    return verdicts


def answers_of(check: Callable, source: str, function: str, space: dict[str, object]) -> dict:
    """Run a learner's cell in `space`, and let its function answer the cases of the check.

    {"answers": those that it gave, "error": what ended them}; ended without an error: not done.
    """
    from kdlab.apps.chapters.exercises.exercise import plain

    result = {"answers": []}

    def record(*case: object, **options: object) -> object:
        answer = plain(yours(*case, **options))
        if answer is None or isinstance(answer, str):
            result["answers"].append(answer)
        else:
            result["answers"].append([list(answer.shape), answer.flatten().tolist()])
        return answer

    space.pop(function, None)
    try:
        try:
            exec(source, space)
        except Exception:  # what stands below the function may need cells that did not run here
            if function not in space:
                raise
        yours = eval(function, space)  # which names a function that is missing
        check(record)
    except BaseException as error:  # SystemExit, too
        result["error"] = f"{type(error).__name__}: {error}".removesuffix(": ")[:1000]
    return result


def judge(check: Callable, result: dict) -> tuple[str, str]:
    """Whether a function that gives these answers passes the check, and what the check says."""
    import torch

    answers, printed = [], io.StringIO()

    def replay(*case: object, **options: object) -> object:
        if not answers:
            raise RuntimeError(result["error"]) if "error" in result else NotImplementedError
        answer = answers.pop(0)
        return torch.tensor(answer[1]).reshape(answer[0]) if isinstance(answer, list) else answer

    try:
        answers.extend(result.get("answers", []))
        with contextlib.redirect_stdout(printed):
            check(replay)
    except Exception as error:  # the check's own AssertionError, or what came is no answer
        return "no", str(error) or type(error).__name__
    return "not done" if "not done" in printed.getvalue() else "yes", printed.getvalue()


if __name__ == "__main__":
    print(json.dumps(score_notebook(*map(Path, sys.argv[1:3]), *map(int, sys.argv[3:]))))
