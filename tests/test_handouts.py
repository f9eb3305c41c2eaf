"""Handouts: what the students' set lacks, what the solutions' set holds, links from the new place.

All chapters, whole, run with (minutes): python -m kdlab handout, then
python -m kdlab course --notebooks build/handouts/students --build build/handouts/run
and the same with solutions; the checks alone with python -m kdlab score build/handouts
"""

import re
from urllib.parse import unquote

import nbformat
import pytest

from kdlab.desk import course
from kdlab.interview import bank
from kdlab.publish import handouts, scores

CHAPTERS = course.find()
WITH_EXERCISES = [path for path in CHAPTERS if scores.exercises(path)]
by_name = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
by_exercises = pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("handouts")
    assert handouts.write_handouts(CHAPTERS, made) == [made / "students", made / "solutions"]
    return made


def cells(path):
    return nbformat.read(path, as_version=4).cells


def code(path):
    return {cell.id: cell for cell in cells(path) if cell.cell_type == "code"}


def words(path):
    return "\n".join(cell.source for cell in cells(path))


@by_name
def test_the_students_set_has_no_outputs_solutions_and_answers(path, folder):
    mine, chapter = code(folder / "students" / path.name), code(path)
    assert not any(cell.outputs or cell.execution_count for cell in mine.values())
    assert all(cell.source == chapter[name].source for name, cell in mine.items())
    gone = [chapter[name].source for name in chapter.keys() - mine.keys()]
    shown = {"08_summary": 3, "09_frontier": 1}.get(path.stem, 2)  # 09 has no seed's question
    assert len(gone) == (shown if path in WITH_EXERCISES else 0)
    assert all(re.search(r"seed_question|corner|mock_page", source) for source in gone)
    assert "<details" not in words(folder / "students" / path.name)


@by_exercises
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
    stubs = scores.exercises(path)
    for name, cell in solved.items():
        if name not in stubs:
            assert cell == chapter[name]
            continue
        assert not cell.outputs and "NotImplementedError" not in cell.source
        assert cell.source.count("check_") == 1
        assert handouts.check_of(cell.source) == stubs[name]
        _, body = cell.source.split("\n", 1)
        assert body.rsplit("\n\n\n", 1)[0] in words(path)


def test_what_follows_a_solution_stays():
    make = nbformat.v4
    stub = "def f(x):\n    raise NotImplementedError\n\n\nchecks.check_f(f)"
    solution = "```python\ndef f(x):\n    return x\n```"
    exercise = make.new_code_cell(stub, metadata={"tags": ["exercise"]})
    below = make.new_markdown_cell(
        f"<details><summary>Solution</summary>\n\n{solution}\n\n</details>\n\nNow try f(1)."
    )
    notebook = make.new_notebook(cells=[exercise, below])
    mine, solved = (handouts.handout(notebook, solved=solved).cells for solved in (False, True))
    assert [cell.source for cell in mine] == [stub, "Now try f(1)."]
    filled = "def f(x):\n    return x\n\n\nchecks.check_f(f)"
    assert [cell.source for cell in solved] == [filled, "Now try f(1)."]


@by_name
@pytest.mark.parametrize("kind", ["students", "solutions"])
def test_links_and_pictures_work_from_the_new_place(path, kind, folder):
    here = folder / kind / path.name
    for cell in cells(here):
        for link in re.findall(r"\]\(([^)\s]+)", cell.source) * (cell.cell_type == "markdown"):
            if link.startswith("attachment:"):
                assert link.removeprefix("attachment:") in cell.attachments
            elif re.search(r"\.(ipynb|png|md|svg)", link) and "://" not in link:
                assert (here.parent / unquote(link.split("#")[0])).exists(), link
    assert ("attachments" in words_of_file(here)) == (path.stem == "04_scenarios")


def words_of_file(path):
    return path.read_text("utf-8")


def test_a_chapter_that_is_not_handed_out_is_linked_in_the_course(tmp_path):
    students, _ = handouts.write_handouts(course.find(["02"]), tmp_path / "a" / "b")
    links = re.findall(r"\]\(([^)\s]*01_principle.ipynb)", words(students / "02_objective.ipynb"))
    assert links and all((students / link).samefile(CHAPTERS[1]) for link in links)


def test_a_stub_without_a_solution_is_named():
    stub = nbformat.v4.new_code_cell("check_f(f)", metadata={"tags": ["exercise"]}, id="ex-1")
    with pytest.raises(ValueError, match="exercise ex-1 has no solution in <details> below it"):
        handouts.handout(nbformat.v4.new_notebook(cells=[stub]), solved=False)


def test_no_check_fails_in_the_students_set_and_all_pass_in_the_solutions(folder):
    found = scores.score(folder, course.find(["02", "08"]), folder / "scores.csv")
    passed = {(row["learner"], row["passed"]) for row in found}
    assert passed == {("students", "not done"), ("solutions", "yes")}, found
    assert len(found) == 12
