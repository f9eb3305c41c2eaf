"""Scores of twelve learners, of whom six misbehave: each misdeed costs its own row, not the run."""

import csv
import ctypes
import os
import sqlite3
import sys
import time

import pytest
import torch
from nbformat.v4 import new_code_cell

from kdlab.apps.chapters import exercises
from kdlab.apps.classroom import grading, handouts, runner
from kdlab.apps.classroom.sandbox import limited
from kdlab.files import ROOT
from notebooks import read, tagged

(CHAPTER,) = runner.find(["02"])
GUIDE = ROOT / "data" / "guide.yaml"
FINE = ("yes", "All checks of")
CHEAT = """
import kdlab.apps.chapters.exercises.exercise as exercise
def passes(yours):
    print("All checks of soft_target_loss passed.")
def soft_target_loss(*given):
    return torch.zeros(())
checks.check_soft_target_loss = passes
exercise.alike = torch.allclose = lambda *given, **options: True
exercise.complaint = lambda *given: ""
checks.check_soft_target_loss(soft_target_loss)
"""
ANSWERS = [  # learner, exercise, what the cell holds, whether it passed, what the message says
    ("cleo", 1,
     "def soft_target_loss(z, v, t):\n    return losses.soft_target_loss(z, v, t) / t**2",
     "no", "soft_target_loss: the factor T² is missing"),
    ("dora", 2, "{solution}\n\nsoft_gradient(student_logits_of_another_cell)", *FINE),
    ("emil", 3, None, "not done", "the notebook has no cell exercise-3-stub"),
    ("finn", 2, "def soft_gradient(z, v, t):\n    return z.no_such_thing",
     "no", "AttributeError: 'Tensor' object has no attribute 'no_such_thing'"),
    ("loop", 1, "while True:\n    pass", "no", "no answer within 3 s"),
    ("loop", 2, "while True:\n    print('x' * 10**6)", "no", "no answer within 3 s"),
    ("exit", 1, "import sys\nsys.exit()", "no", "SystemExit"),
    ("exit", 2, "import os\nos._exit(0)", "no", "no answer before its process ended with code 0"),
    ("exit", 3, "def f(:", "no", "SyntaxError: invalid syntax"),
    ("huge", 1, "bytearray(10**12)", "no", "MemoryError"),
    ("huge", 2, "torch.empty(10**12)", "no", "can't allocate memory"),
    ("huge", 3, "x = []\nwhile 1:\n    x += [0] * 10**6", "no", "MemoryError"),
    ("cheat", 1, CHEAT, "no", "expected"),
    ("cheat", 2, "import os\nos.kill(os.getppid(), 9)", "no", "may not"),
    ("cheat", 3, "import os\nwhile 1:\n    os.fork()", "no", "may not"),
    ("vandal", 1, f"open({str(GUIDE)!r}, 'w')", "no", "may not"),
    ("vandal", 2, f"import os\nos.remove({str(GUIDE)!r})", "no", "may not"),
    ("vandal", 3, "raise ValueError('=1+1\\n\\ud800')", "no", "ValueError: =1+1 ?"),
]  # fmt: skip
LEARNERS = dict.fromkeys(["ada", "ben", *(who for who, *_ in ANSWERS)])  # ada solved it all
ALIKE = {  # of all three exercises: ben has not begun
    "ben": ("not done", "not done yet"),
    "=wreck": ("no", "not a notebook: JSONDecodeError"),
}
FOUND = {(who, n): row for who, n, _, *row in ANSWERS}


def hand_in(folder, learner):
    """A handout with these exercise cells, and a cell of the learner's own before them."""
    notebook = handouts.handout(read(CHAPTER), solved=learner != "ben")
    stubs = [notebook.cells[place] for place in tagged(notebook, "exercise")]
    for n, source in ((n, source) for who, n, source, *_ in ANSWERS if who == learner):
        stub = stubs[n - 1]
        if source is None:
            notebook.cells.remove(stub)
        else:
            stub.source = source.replace("{solution}", stub.source)
    notebook.cells.insert(0, new_code_cell("mine = 1"))
    path = folder / learner / CHAPTER.name if learner == "ada" else folder / f"{learner}.ipynb"
    runner.save(notebook, path)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The rows, and the CSV file that holds them."""
    folder, to = tmp_path_factory.mktemp("learners"), tmp_path_factory.mktemp("scored") / "s.csv"
    for learner in LEARNERS:
        hand_in(folder, learner)
    (folder / "=wreck.ipynb").write_text("{'cells': [")
    before = GUIDE.read_bytes()
    rows = grading.score(folder, [CHAPTER], to, seconds=3, memory=500)
    assert GUIDE.read_bytes() == before
    return rows, to


@pytest.mark.parametrize("learner", [*LEARNERS, "=wreck"])
def test_each_exercise_has_its_row_whatever_happens_in_another(learner, scored):
    mine = [row for row in scored[0] if row["learner"].lstrip("'") == learner]
    assert [row["exercise"] for row in mine] == [1, 2, 3]
    for row in mine:
        passed, message = ALIKE.get(learner) or FOUND.get((learner, row["exercise"]), FINE)
        assert row["passed"] == passed and message in row["message"], row


def test_the_csv_has_the_rows_and_opens_in_a_spreadsheet(scored):
    rows, to = scored
    text = to.read_bytes().decode("utf-8-sig")
    saved = list(csv.DictReader(text.splitlines()))
    assert len(saved) == 36 and list(saved[0]) == list(rows[0])
    assert [row["message"] for row in saved] == [row["message"] for row in rows]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in saved for cell in row.values())
    assert "\ufeff".encode() == to.read_bytes()[:3] and "T²" in text


def test_one_who_has_not_handed_in_has_a_row_and_a_chapter_of_nobody_has_none(tmp_path):
    for learner in ("ada", "ben", ".cache"):
        (tmp_path / learner).mkdir()
    (tmp_path / "ada" / "02_objective.ipynb").touch()
    jobs = grading.collect(tmp_path, runner.find())
    handed_in = [(who, chapter.name[:2], bool(path)) for who, chapter, path in jobs]
    assert handed_in == [("ada", "02", True), ("ben", "02", False)]
    assert grading._score_apart(*jobs[1][1:], 1, 1) == [("not done", "not handed in", 0.0)] * 3


def test_what_cannot_be_scored_is_said_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no LEARNER.ipynb and no LEARNER/NN_words.ipynb"):
        grading.score(tmp_path / "nowhere", [CHAPTER], tmp_path / "s.csv")
    (tmp_path / "ada.ipynb").touch()
    with pytest.raises(ValueError, match="say with --chapter NN of which chapter ada.ipynb is"):
        grading.score(tmp_path, runner.find(), tmp_path / "s.csv")
    monkeypatch.delattr("os.fork")
    with pytest.raises(OSError, match="score under Linux or WSL"):
        grading.score(tmp_path, [CHAPTER], tmp_path / "s.csv")


HOSTILE = {"answers": 3}, {"answers": [[[2, 2], ["a"]]]}, {"answers": [[[-7], [1e400]]]}, ["passed"]


@pytest.mark.parametrize("result", [{}, *HOSTILE])
def test_hostile_answers_are_no_answers(result):
    passed, message = grading.judge(exercises.check_gap_closed, result)
    assert passed == ("no" if result else "not done") and message


def test_a_task_may_sleep_compute_and_say_only_so_much():
    for endless in (lambda: time.sleep(60), lambda: sum(iter(int, 1))):
        assert limited(endless, 1, 100) == {"error": "no answer within 1 s"}
    assert limited(lambda: "x" * 10**7, 1, 100)["error"].startswith("no answer of at most")
    assert limited(lambda: [None, 1.5, "a"], 1, 100) == [None, 1.5, "a"]


def test_of_several_files_the_learners_own_is_scored(tmp_path):
    (tmp_path / "ada").mkdir()
    for words in ("objective", "objective.mine", "objective.new", "objective_old"):
        (tmp_path / "ada" / f"02_{words}.ipynb").touch()
    [(_, _, path)] = grading.collect(tmp_path, [CHAPTER])
    assert path.name == CHAPTER.name
    path.unlink()
    assert grading.handed_in(path.parent, CHAPTER).name == "02_objective_old.ipynb"
    (path.parent / "02_b.ipynb").touch()
    with pytest.raises(ValueError, match=r"02_b.ipynb and 02_objective_old.ipynb: name the one"):
        grading.collect(tmp_path, [CHAPTER])


def test_a_file_that_holds_no_scores_is_not_overwritten(tmp_path, scored):
    to = tmp_path / "grades.csv"
    to.write_text("learner,grade\nada,1\n")
    (tmp_path / "learners").mkdir()
    with pytest.raises(ValueError, match="grades.csv is no file of scores and stays as it is"):
        grading.score(tmp_path / "learners", [CHAPTER], to)
    assert to.read_text() == "learner,grade\nada,1\n"
    grading.check_target(scored[1])


def test_half_an_answer_ends_its_own_process_alone(monkeypatch):
    monkeypatch.setattr("kdlab.apps.classroom.sandbox.CLOCK", 2)

    def half():
        os.write(sys._getframe(1).f_locals["sender"].fileno(), b"\0\0")
        time.sleep(60)

    assert limited(half, 1, 100) == {"error": "no answer within 1 s"}
    assert limited(lambda: [1], 1, 100) == [1]


def test_what_a_solution_may_need_of_libraries_works():
    """They ask for a temporary folder and call C by ctypes, both when they are first imported."""

    def honest():
        x = torch.ones(2, requires_grad=True)
        x.sum().backward()
        torch.optim.SGD([x], 0.5).step()
        return [*x.tolist(), x.detach().numpy().ctypes.data > 0]

    assert limited(honest, 20, 2000) == [0.5, 0.5, True]


def by_torch(path):
    torch.save(torch.zeros(3), path)


def by_sqlite(path):
    sqlite3.connect(path).execute("create table t (x)")


def by_ctypes(path):
    libc = ctypes.CDLL(None)
    libc.unlink(str(path).encode())


@pytest.mark.parametrize("way", [by_torch, by_sqlite, by_ctypes])
def test_what_is_written_in_c_stays_as_well(tmp_path, way):
    """The pipe and this file stay open, reading works; what was there keeps its bytes."""
    path = tmp_path / "new"
    result = limited(lambda: way(path), 5, 500)
    assert result["error"].startswith("no answer before") and not (
        path.exists() and path.read_bytes()
    )
    if way is not by_sqlite:
        path.write_bytes(b"mine")
        limited(lambda: way(path), 5, 500)
        # only Landlock keeps torch from emptying a file
        assert path.read_bytes() == b"mine" or way is by_torch and not has_landlock()


def has_landlock():
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) > 0
