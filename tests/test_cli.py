"""The command line: `course` on toy chapters, quick help, and one sentence for what goes wrong."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import nbformat
import pytest
from typer.testing import CliRunner

from kdlab.__main__ import app
from kdlab.apps.classroom import runner
from kdlab.apps.i18n import LANGUAGES, translate
from kdlab.files import ROOT
from kdlab.lab import experiments


def write_chapter(folder: Path, name: str, *sources: str) -> Path:
    """A toy chapter; a source that starts with `**` is text, `raises: ` tags an intended error."""
    make, cells = nbformat.v4, []
    for source in sources:
        code, tags = source.removeprefix("raises: "), {"tags": ["raises-exception"]}
        cell = make.new_markdown_cell if source.startswith("**") else make.new_code_cell
        cells.append(cell(code, metadata=tags if source != code else {}))
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / name)
    return folder / name


GOOD = (
    "import sys; import kdlab; print(kdlab.__file__)",
    "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()",
    "**What to notice** The line *rises*.",
    "import ipywidgets; ipywidgets.FloatSlider()",
    "raises: import json; json.loads('{')",
    "print('no' + 'ise', file=sys.stderr); print('Headline: one is one')\nassert 1 == 1",
)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Two chapters, the second failing, run once by the real command with --write."""
    folder = tmp_path_factory.mktemp("toy")
    good = write_chapter(folder, "01_good.ipynb", *GOOD)
    bad = write_chapter(folder, "02_bad.ipynb", "x = 1", "assert x == 2, 'x is one'", "assert x")
    before = bad.read_bytes()
    done = kdlab("course", "--write", "--notebooks", str(folder), "--build", str(folder / "build"))
    return SimpleNamespace(done=done, folder=folder, good=good, bad=bad, before=before)


def kdlab(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "kdlab", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")


def test_course_runs_every_chapter_and_ends_with_a_table(toy_run):
    assert toy_run.done.returncode == 1
    for row in ("01_good .* one is one", "02_bad .*FAILED", "1 of 2 .*"):
        assert re.search(f"(?m)^{row}$", toy_run.done.stdout), row


def test_course_names_notebook_cell_and_error_in_one_sentence(toy_run):
    [error] = toy_run.done.stderr.splitlines()
    assert "02_bad.ipynb, code cell 2" in error and "AssertionError: x is one" in error


@pytest.mark.skipif(os.name != "posix", reason="Windows has no sockets in the file system")
def test_kernels_share_no_ports_and_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    for folder, transport in ((tmp_path / ("x" * 90), "tcp"), (Path("/tmp"), "ipc")):
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        assert runner._ThisInterpreter().transport == transport
    one, two = runner._ThisInterpreter(), runner._ThisInterpreter()
    folders = [Path(manager.ip).parent for manager in (one, two)]
    assert folders[0] != folders[1] and all(folder.is_dir() for folder in folders)
    assert len(f"{one.ip}-5".encode()) <= 103
    code = "from ipykernel.kernelapp import IPKernelApp as App"
    code += "\nprint('Headline:', App.instance().transport)"
    path = write_chapter(tmp_path, "01_ipc.ipynb", code)
    before = {*Path("/tmp").glob("tmp*/k-*")}
    assert runner.run_notebook(path)[1].headline == "ipc"
    assert not {*Path("/tmp").glob("tmp*/k-*")} - before


def test_a_failed_chapter_stays_as_it_was_and_is_kept_in_build(toy_run):
    built = {path.name for path in (toy_run.folder / "build").glob("*.ipynb")}
    assert built == {"01_good.ipynb", "02_bad.ipynb"}
    assert toy_run.bad.read_bytes() == toy_run.before


def test_write_cleans_what_it_commits(toy_run):
    text = toy_run.good.read_text("utf-8")
    notebook = nbformat.read(toy_run.good, as_version=4)
    nbformat.validate(notebook)
    assert [c.execution_count for c in notebook.cells if c.cell_type == "code"] == [1, 2, 3, 4, 5]
    here = str(ROOT), sys.prefix
    for unwanted in ("noise", runner.WIDGET, '"widgets"', *here, " at 0x", "<module"):
        assert unwanted not in text, unwanted
    assert translate("panel.plain", "en") in text
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    figure = notebook.cells[1].outputs[-1]
    assert figure.metadata["image/png"]["alt"] == "The line rises."
    assert list(figure.data) == ["image/png", "text/plain"]


def test_a_notebook_that_kdlab_did_not_write_is_kept_where_executed_ones_go(tmp_path):
    path = write_chapter(tmp_path, "01_toy.ipynb", "x = 1")
    build = tmp_path / "build"
    build.mkdir()
    (build / path.name).write_text("a learner's")
    for _ in range(2):  # the second time it replaces its own
        runner.run_chapters([path], build=build)
    kept = build / "01_toy.mine.ipynb"
    assert {*build.glob("*.ipynb")} == {build / path.name, kept}
    assert kept.read_text() == "a learner's"


def test_a_large_notebook_is_not_written(tmp_path):
    path = write_chapter(tmp_path, "01_large.ipynb", f"print('x' * {runner.MAX_BYTES})")
    before = path.read_bytes()
    [chapter] = runner.run_chapters([path], build=tmp_path / "build", write=True)
    assert "more than 600" in chapter.error and path.read_bytes() == before


@pytest.mark.parametrize(
    ("code", "told"),
    [("import time; time.sleep(60)", "CellTimeoutError"), ("os._exit(1)", "DeadKernelError")],
)
def test_a_cell_that_takes_too_long_or_kills_its_kernel_ends_its_chapter(tmp_path, code, told):
    path = write_chapter(tmp_path, "01_ends.ipynb", f"import os; {code}")
    _, chapter = runner.run_notebook(path, timeout=5)
    assert "01_ends.ipynb, code cell 1" in chapter.error and told in chapter.error
    assert chapter.seconds < 40


def test_chapters_are_found_by_number_or_words_and_appendices_come_last(tmp_path):
    names = ["A1_museum", "01_principle", "00_start_here"]
    museum, first, start = (write_chapter(tmp_path, f"{name}.ipynb") for name in names)
    for word in ("1", "01", "principle", "01_principle", "01_principle.ipynb"):
        assert runner.find([word], tmp_path) == [first], word
    assert runner.find(["A1"], tmp_path) == [museum]
    assert runner.find([], tmp_path) == [start, first, museum]


MISTAKES = {
    "course 77": ["no chapter '77'; the chapters are 00_start_here, 01_principle"],
    "train nonsense": ["nonsense", *experiments.TEACHERS],
    "run nonsense": ["nonsense", *experiments.EXPERIMENTS],
    "run trio --device cuda": ["CUDA"],
    "data nonsense": ["nonsense", "cifar10"],
    "quiz dance": ["no mode 'dance'"],
    "quiz -l fr": ["the language is 'en', 'zh' or 'both'"],
    "quiz --chapter 42": ["no question of the bank fits chapter [42] of [1, 2"],
    "quiz --topic x": ["no question of the bank fits tags ['x'] of ['", "'temperature'"],
    "quiz find no-such-word": ["no question of the bank has 'no-such-word'"],
    "quiz mock --minutes 1 --level 3": ["no question fits into 1 minutes: the shortest takes 3"],
    "quiz tomorrow --hours 0.1": ["between half an hour and 12 hours"],
    "quiz tomorrow --hours 99": ["between half an hour and 12 hours"],
    "export pdf": ["no export 'pdf'"],
    "export csv -l fr": ["the language is 'en', 'zh' or 'both'"],
    f"export csv --folder {__file__}": [__file__],
}


@pytest.mark.parametrize("command", MISTAKES)
def test_what_a_user_can_put_right_is_told_in_one_sentence(command, file, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = CliRunner().invoke(app, command.split())
    [sentence] = done.output.splitlines()
    assert done.exit_code == 1 and sentence.startswith("kdlab: ")
    assert all(told in sentence for told in MISTAKES[command]), sentence


def test_help_is_quick():
    """By processor time, which other processes lengthen less than they do time by the clock."""
    seconds = []
    for _ in range(3):
        before = os.times()
        assert "course" in kdlab("--help").stdout
        spent = os.times()
        seconds.append(sum(spent[2:4]) - sum(before[2:4]))  # user and system, of the children
    assert min(seconds) < 1.0  # 0.15 s alone


HEAVY = "torch genanki fsrs pandas rich ipywidgets latex2mathml matplotlib pylatexenc".split()


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        ("kdlab, kdlab.__main__", HEAVY),
        ("kdlab.apps.interview.exports, kdlab.apps.interview.quiz", HEAVY),
        ("kdlab.apps.interview.sessions", HEAVY),
        ("kdlab.apps.classroom.runner, kdlab.apps.serving.service", ["torch"]),
        ("kdlab.apps.serving.load_test", ["torch"]),
    ],
)
def test_what_is_large_is_imported_when_it_is_needed(modules, without):
    code = f"import sys, {modules}; print({{*{without}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_what_the_package_raises_is_one_sentence_and_a_bug_keeps_its_traceback(monkeypatch):
    class DataError(RuntimeError):
        __module__ = "kdlab.data"

    def fails(error):
        monkeypatch.setattr(runner, "find", Mock(side_effect=error))
        return CliRunner().invoke(app, ["course"])

    for error in (ValueError("so"), FileNotFoundError("so"), DataError("so")):
        done = fails(error)
        assert (done.exit_code, done.output) == (1, "kdlab: so\n")
    assert isinstance(fails(KeyError("bug")).exception, KeyError)
    monkeypatch.setenv("KDLAB_TRACEBACK", "1")
    assert isinstance(fails(ValueError("so")).exception, ValueError)


def test_lab_starts_jupyterlab_on_the_first_chapter(monkeypatch):
    run = Mock(return_value=SimpleNamespace(returncode=0))
    monkeypatch.setattr(subprocess, "run", run)
    assert CliRunner().invoke(app, ["lab", "--no-browser", "--port=9999"]).exit_code == 0
    [command], options = run.call_args
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in command
    assert command[-2:] == ["--no-browser", "--port=9999"]
    assert options["env"]["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


def test_the_cheat_sheet_is_written_where_asked(tmp_path):
    done = CliRunner().invoke(app, ["sheet", str(tmp_path)])
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_text("utf-8")[:15] for path in tmp_path.iterdir()}
    assert written == {f"cheat-sheet.{code}.html": "<!doctype html>" for code in LANGUAGES}
