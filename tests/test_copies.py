"""A learner's chapters: put back, copied, brought up to date; nothing that was written is lost."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from kdlab import files
from kdlab.__main__ import app
from kdlab.apps.classroom import copies
from kdlab.files import ROOT, environment

NAMES = "00_start_here.ipynb", "01_principle.ipynb", "02_objective.ipynb"


def notebook(*sources: str, output: str = "") -> str:
    """A chapter of code cells; each has printed `output`."""
    make = nbformat.v4
    printed = [make.new_output("stream", text=output)] if output else []
    cells = [make.new_code_cell(s, id=f"c{n}", outputs=printed) for n, s in enumerate(sources)]
    return nbformat.writes(make.new_notebook(cells=cells))


def write(path: Path, *sources: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook(*sources), "utf-8")
    return path


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A small course under git, in both languages, that stands for the clone."""
    root = tmp_path / "clone"
    for folder in ("notebooks", "notebooks/zh"):
        for name in NAMES:
            write(root / folder / name, f"'{folder} {name}'")
    (root / "data").mkdir()
    (root / "data/page.png").write_bytes(b"\x89PNG")
    (root / "notebooks/guide.md").write_text("[home](../README.md)", "utf-8")
    (root / "README.md").write_text("[first](notebooks/00_start_here.ipynb) [gone](x.md)", "utf-8")
    links = "'![p](../data/page.png) [g](guide.md) [w](https://example.org/a.md)'"
    write(root / "notebooks" / NAMES[0], links)
    monkeypatch.setattr(files, "ROOT", root)
    monkeypatch.setattr(files, "NOTEBOOKS", root / "notebooks")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return commit(root)


@pytest.fixture
def kd(clone, tmp_path):
    """Where the chapters of a working copy are; there is none yet."""
    return tmp_path / "kd" / "notebooks"


def commit(root: Path) -> Path:
    """The course as it is now, as a `git pull` would bring it."""
    who = "-c", "user.name=a", "-c", "user.email=a@example.org"
    for words in (["add", "."], [*who, "commit", "-q", "--allow-empty", "-m", "course"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


def fresh(*arguments: object):
    return CliRunner().invoke(app, ["fresh", *map(str, arguments)])


def test_fresh_puts_a_chapter_back_and_keeps_what_was_written(clone):
    path = clone / "notebooks" / NAMES[1]
    original = path.read_bytes()
    for attempt in ("mine", "mine-2"):
        write(path, f"'my {attempt}'")
        done = fresh("01")
        assert done.exit_code == 0 and f"01_principle.{attempt}.ipynb" in done.output
        assert path.read_bytes() == original
        assert sources(path.with_name(f"01_principle.{attempt}.ipynb")) == [f"'my {attempt}'"]
    assert "as the course has it\n" in fresh("01").output
    assert len([*path.parent.glob("01_*")]) == 3
    assert subprocess.check_output(["git", "diff", "--stat"], cwd=clone) == b""


def test_fresh_knows_the_chinese_edition_and_a_wrong_name(clone):
    path = write(clone / "notebooks" / "zh" / NAMES[2], "'mine'")
    assert fresh("02", "--language", "zh").exit_code == 0
    assert sources(path) == [f"'notebooks/zh {NAMES[2]}'"]
    assert "no chapter '7'" in fresh("7").output


@pytest.mark.parametrize("language", ["both", "fr"])
def test_fresh_refuses_what_is_no_edition_in_one_sentence(clone, language):
    path = write(clone / "notebooks" / NAMES[1], "'mine'")
    done = fresh("01", "--language", language)
    assert done.exit_code == 1 and sources(path) == ["'mine'"]
    assert done.output == f"kdlab: a chapter's language is en or zh, got {language!r}\n"


@pytest.mark.parametrize("git", ["here", "missing"])
def test_without_a_clone_fresh_says_so_and_touches_nothing(clone, monkeypatch, git):
    path = write(clone / "notebooks" / NAMES[1], "'mine'")
    (clone / ".git").rename(clone / "no-git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(clone.parent))
    if git == "missing":
        monkeypatch.setattr(copies.shutil, "which", lambda name: None)
    done = fresh("01")
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert "new clone" in done.output and sources(path) == ["'mine'"]


def test_a_copy_has_both_editions_and_what_they_link_to(clone, tmp_path):
    done = copies.update(tmp_path / "kd")
    expected = {f"notebooks/{name}" for name in NAMES} | {f"notebooks/zh/{name}" for name in NAMES}
    assert set(done) == expected | {"data/page.png", "notebooks/guide.md", "README.md"}
    assert set(done.values()) == {"new"}
    for name in done:
        assert (tmp_path / "kd" / name).read_bytes() == (clone / name).read_bytes()
    assert copies.update(tmp_path / "kd") == {}


GIVEN = f"'notebooks {NAMES[1]}'"
ANSWER, SECOND = notebook("'my answer'", output="mine"), notebook("'second'")
RUN, RUN_AGAIN = (notebook(GIVEN, output=output) for output in ("only run", "run again"))


@pytest.mark.parametrize(
    ("mine", "course", "change"),
    [
        (notebook(GIVEN), SECOND, "updated"),
        (notebook(GIVEN), RUN_AGAIN, "updated"),
        (RUN, SECOND, "updated"),
        (ANSWER, SECOND, "kept"),
        (ANSWER, RUN_AGAIN, None),
        ("{ no notebook", SECOND, "kept"),
        (None, SECOND, "new"),
        (None, notebook(GIVEN), "new"),
    ],
)
def test_the_course_reaches_a_copy_unless_the_learner_changed_it(clone, kd, mine, course, change):
    path = kd / NAMES[1]
    copies.update(kd.parent)
    path.unlink() if mine is None else path.write_text(mine, "utf-8")
    (clone / "notebooks" / NAMES[1]).write_text(course, "utf-8")
    commit(clone)
    assert copies.update(kd.parent) == ({f"notebooks/{NAMES[1]}": change} if change else {})
    assert path.read_text("utf-8") == (course if change in ("new", "updated") else mine)
    assert [p.read_text("utf-8") for p in kd.glob("*.new*")] == [course] * (change == "kept")
    assert copies.update(kd.parent) == {}  # said once


def test_what_is_beside_a_changed_chapter_is_kept_as_well(clone, kd):
    first = write(kd / NAMES[1], "'written before'")
    own = write(kd / "my_notes.ipynb", "'notes'")
    assert copies.update(kd.parent)[f"notebooks/{NAMES[1]}"] == "kept"
    beside = write(kd / "01_principle.new.ipynb", "'I went on here'")
    write(clone / "notebooks" / NAMES[1], "'third edition'")
    write(clone / "notebooks/03_advantages.ipynb", "'a new chapter'")
    commit(clone)
    new = {f"notebooks/{NAMES[1]}": "kept", "notebooks/03_advantages.ipynb": "new"}
    assert copies.update(kd.parent) == new
    for path, said in ((first, "written before"), (beside, "I went on here"), (own, "notes")):
        assert sources(path) == [f"'{said}'"]
    assert sources(kd / "01_principle.new.new.ipynb") == ["'third edition'"]


@pytest.mark.parametrize("git", [True, False])
def test_what_a_learner_wrote_in_the_clone_is_not_taken_for_the_course(clone, tmp_path, git):
    write(clone / "notebooks" / "01_principle.mine.ipynb", "'mine'")
    write(clone / "notebooks" / NAMES[2], "'mine'")
    if not git:  # a downloaded folder: nobody can tell
        (clone / ".git").rename(clone / "no-git")
    assert not [name for name in copies.update(tmp_path / "kd") if "mine" in name]
    copied = sources(tmp_path / "kd" / "notebooks" / NAMES[2])
    assert (copied == ["'mine'"]) != git


@pytest.mark.parametrize("inside", ["", "build/kd"])
def test_a_copy_inside_the_clone_is_refused(clone, inside):
    with pytest.raises(ValueError, match="outside"):
        copies.update(clone / inside)


def test_fresh_in_a_copy(clone, tmp_path):
    copies.update(tmp_path / "kd")
    path = write(tmp_path / "kd" / "notebooks" / NAMES[1], "'mine'")
    assert fresh("01", "--copy", tmp_path / "kd").exit_code == 0
    assert path.read_bytes() == (clone / "notebooks" / NAMES[1]).read_bytes()
    assert sources(path.with_name("01_principle.mine.ipynb")) == ["'mine'"]
    assert "no working copy" in fresh("01", "--copy", tmp_path / "elsewhere").output


def test_lab_opens_the_copy_and_says_what_was_kept(clone, kd, tmp_path, monkeypatch):
    copies.update(kd.parent)
    write(kd / NAMES[1], "'mine'")
    write(clone / "notebooks" / NAMES[1], "'second edition'")
    commit(clone)
    seen, run = [], subprocess.run

    def fake(command, **options):
        seen.append((command, options))
        return run([sys.executable, "-c", ""] if "jupyterlab" in command else command, **options)

    monkeypatch.setattr(subprocess, "run", fake)
    done = CliRunner().invoke(app, ["lab", "--copy", str(tmp_path / "kd"), "--no-browser"])
    assert done.exit_code == 0, done.output
    [sentence] = done.output.splitlines()
    assert "has your changes and stays" in sentence and "01_principle.new.ipynb" in sentence
    command, options = seen[-1]
    assert f"--ServerApp.root_dir={tmp_path / 'kd'}" in command
    assert command[-1] == "--no-browser" and options["cwd"] == tmp_path / "kd"


def test_the_copy_of_this_course_has_no_broken_link_and_imports_kdlab(tmp_path):
    copies.update(tmp_path)
    assert json.loads((tmp_path / copies.GIVEN).read_text("utf-8"))
    for path in tmp_path.glob("notebooks/**/*.ipynb"):
        for link in copies.LINK.findall(path.read_text("utf-8")):
            if (ROOT / path.relative_to(tmp_path)).parent.joinpath(link).is_file():
                assert (path.parent / link).is_file(), f"{path.name}: {link}"
    code = "import kdlab.files; print(kdlab.files.ROOT)"
    here = {"cwd": tmp_path / "notebooks", "env": environment(), "text": True}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, **here)
    assert Path(done.stdout.strip()) == ROOT
