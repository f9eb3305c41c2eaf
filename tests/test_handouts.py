"""Handouts: what the students' set lacks, what the solutions' set holds, links from the new place.

All chapters, whole, run with (minutes): python -m kdlab handout, then
python -m kdlab course --notebooks build/handouts/students --build build/handouts/run
and the same with solutions; the checks alone with python -m kdlab score build/handouts
"""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdlab.apps.classroom import grading, handouts, runner
from kdlab.apps.interview import bank
from notebooks import of_kind, read, relative_links, resolves

CHAPTERS = runner.find()
WITH_EXERCISES = [path for path in CHAPTERS if grading.exercises(path)]
by_name = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
by_exercises = pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
WITH_CARDS = [path for path in WITH_EXERCISES if path.stem in bank.chapters()]  # no appendix
by_cards = pytest.mark.parametrize("path", WITH_CARDS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handouts")
    assert handouts.write_handouts(CHAPTERS, folder) == [folder / "students", folder / "solutions"]
    return folder


def code(path):
    return {cell.id: cell for cell in of_kind(read(path), "code")}


def words(path):
    return "\n".join(cell.source for cell in read(path).cells)


def exercise(source, *below):
    """A chapter of one exercise cell and Markdown."""
    stub = new_code_cell(source, metadata={"tags": ["exercise"]}, id="ex-1")
    return new_notebook(cells=[stub, *map(new_markdown_cell, below)])


@by_name
def test_the_students_set_has_no_outputs_solutions_and_answers(path, folder):
    mine, chapter = code(folder / "students" / path.name), code(path)
    assert not any(cell.outputs or cell.execution_count for cell in mine.values())
    assert all(cell.source == chapter[name].source for name, cell in mine.items())
    gone = [chapter[name].source for name in chapter.keys() - mine.keys()]
    alone = {"09_frontier": 1, "10_your_own_model": 1}  # no seed's question
    shown = ({"08_summary": 3} | alone).get(path.stem, 2)
    assert len(gone) == (shown if path in WITH_CARDS else 0)
    assert all(re.search(r"seed_question|corner|mock_page", source) for source in gone)
    assert "<details" not in words(folder / "students" / path.name)


@by_cards
def test_the_students_set_asks_what_the_chapter_answers(path, folder):
    text, asked = words(folder / "students" / path.name), bank.chapter_bank(path.stem)
    assert "seed" not in asked or asked["seed"]["question"]["zh"].strip() in text
    for item in asked["items"][: bank.CORNER]:
        assert item["question"]["en"].strip().partition("\n\n")[0] in text
        assert item["short"]["en"].strip() not in text
    assert f"quiz --chapter {int(path.stem[:2])}" in text


@by_exercises
def test_the_solutions_set_has_every_stub_filled_and_all_outputs(path, folder):
    solved, chapter = code(folder / "solutions" / path.name), code(path)
    assert solved.keys() == chapter.keys()
    stubs = grading.exercises(path)
    for name, cell in solved.items():
        if name in stubs:
            assert not cell.outputs and "NotImplementedError" not in cell.source
            assert cell.source.count("check_") == 1
            assert handouts.check_of(cell.source) == stubs[name]
            assert cell.source.split("\n", 1)[1].rsplit("\n\n\n", 1)[0] in words(path)
        else:
            assert cell == chapter[name]


def test_what_follows_a_solution_stays():
    stub, solution = "def f(x):\n    raise NotImplementedError", "def f(x):\n    return x"
    call, block = "\n\n\nchecks.check_f(f)", f"\n\n```python\n{solution}\n```\n\n"
    below = f"<details><summary>Solution</summary>{block}</details>\n\nNow try f(1)."
    for solved, first in ((False, stub), (True, solution)):
        notebook = handouts.handout(exercise(stub + call, below), solved=solved)
        assert [cell.source for cell in notebook.cells] == [first + call, "Now try f(1)."]


@by_name
@pytest.mark.parametrize("kind", ["students", "solutions"])
def test_links_and_pictures_work_from_the_new_place(path, kind, folder):
    here = folder / kind / path.name
    for cell in of_kind(read(here), "markdown"):
        assert all(resolves(link, here) for link in relative_links(cell.source)), cell.id
        attached = re.findall(r"\]\(attachment:([^)\s]+)", cell.source)
        assert {*attached} == {*cell.get("attachments", ())}
    assert ("attachments" in here.read_text("utf-8")) == (path.stem == "04_scenarios")


def test_a_chapter_that_is_not_handed_out_is_linked_in_the_course(tmp_path):
    students, _ = handouts.write_handouts(runner.find(["02"]), tmp_path / "a" / "b")
    links = re.findall(r"\]\(([^)\s]*01_principle.ipynb)", words(students / "02_objective.ipynb"))
    assert links and all((students / link).samefile(CHAPTERS[1]) for link in links)


def test_an_edited_handout_is_kept_and_an_unedited_one_is_replaced(tmp_path, capsys):
    students, solutions = handouts.write_handouts(runner.find(["02"]), tmp_path)
    mine = students / "02_objective.ipynb"
    mine.write_text("edited")
    handouts.write_handouts(runner.find(["02"]), tmp_path)
    kept = students / "02_objective.mine.ipynb"
    assert kept.read_text() == "edited" and kept.name in capsys.readouterr().out
    assert {path.name for path in students.glob("*.ipynb")} == {mine.name, kept.name}
    assert len([*solutions.glob("*.ipynb")]) == 1 and read(mine).cells


def test_a_stub_without_a_solution_is_named():
    with pytest.raises(ValueError, match="exercise ex-1 has no solution in <details> below it"):
        handouts.handout(exercise("check_f(f)"), solved=False)
