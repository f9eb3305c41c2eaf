"""The Chinese edition: cell by cell that of the English one, from one execution of both."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdlab.desk import course, editions
from kdlab.files import NOTEBOOKS

CHINESE = sorted((NOTEBOOKS / "zh").glob("*.ipynb"))
each_chapter = pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.stem)
BLOCK = re.compile("```.*?```", re.DOTALL)
EXACT = re.compile(r"\$\$?[^$]+\$\$?|`[^`]+`|arXiv:[\d.]+\d|\d+[.,]\d+%?|\d+%")


def pairs(path: Path) -> list[tuple]:
    """The Markdown cells of both editions side by side."""
    english, chinese = (nbformat.read(place, 4) for place in (NOTEBOOKS / path.name, path))
    there = {cell.id: cell for cell in chinese.cells}
    return [(c, there[c.id]) for c in english.cells if c.cell_type == "markdown" and c.id in there]


def exact(text: str) -> set[str]:
    """Formulas, code, and numbers that are written in digits."""
    return set(BLOCK.findall(text)) | set(EXACT.findall(BLOCK.sub("", text)))


@each_chapter
def test_every_cell_has_its_chinese(path):
    both = [nbformat.read(place, 4) for place in (NOTEBOOKS / path.name, path)]
    assert list(editions.unlike(*both, path.stem)) == []


@each_chapter
def test_formulas_code_and_numbers_are_those_of_the_english_text(path):
    for english, chinese in pairs(path):
        one, other = (exact(cell.source) for cell in (english, chinese))
        assert one == other, f"{english.id}: only English {one - other}, only Chinese {other - one}"


@each_chapter
def test_the_minutes_are_those_of_the_english_edition(path):
    english, chinese = (
        [re.findall(r"\d+", line) for cell in cells for line in re.findall(word, cell.source)]
        for word, cells in zip(
            (r"\*\*Time:.*", r"\*\*用时：.*"), zip(*pairs(path), strict=True), strict=True
        )
    )
    assert english == chinese != []


@each_chapter
def test_links_lead_where_the_english_ones_lead(path):
    headings = [line for _, c in pairs(path) for line in re.findall("(?m)^#+ (.+)$", c.source)]
    anchors = {"#" + heading.replace(" ", "-") for heading in headings}
    for english, chinese in pairs(path):
        one, other = (re.findall(r"\]\(([^)\s]+)\)", c.source) for c in (english, chinese))
        here, there = ([link for link in links if link[0] == "#"] for links in (one, other))
        assert len(here) == len(there) and set(there) <= anchors, english.id
        rest = {link for link in other if link[0] != "#"}
        files = {link for link in rest if "://" not in link}
        plain = [{re.sub(r"^((\.\./)+|zh/)", "", link) for link in some if link[0] != "#"}
                 for some in (one, rest)]  # fmt: skip
        assert plain[0] == plain[1], english.id
        for link in files:
            assert (path.parent / link.split("#")[0]).exists(), f"{english.id}: {link}"


@each_chapter
def test_punctuation_is_full_width_beside_chinese(path):
    for _, cell in pairs(path):
        prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$|\]\([^)]*\)", "", cell.source, flags=re.DOTALL)
        assert not re.search(r"[\u4e00-\u9fff][,;:?!](?!\w)", prose), cell.id


def test_one_execution_shows_both_languages(tmp_path):
    sources = {
        "setup": "import random\nfrom kdlab.words import say\nruns = []",
        "train": "runs.append(random.random())\nprint(len(runs))",
        "verdict": "found = say('verdict.better')\nr = random.random()\nprint(found, r)",
        "other": "print('better' in found, len(runs))",
        "plain": "found = 'better'\nprint(r == r)",
        "later": "print('better' in found)",
    }
    cells = [new_code_cell(source, id=name) for name, source in sources.items()]
    notebook = new_notebook(cells=[*cells, new_markdown_cell("Done.", id="end")])
    path = tmp_path / "01_two.ipynb"
    nbformat.write(notebook, path)
    shown = {}
    ran, chapter = course.run_notebook(path, chinese=shown)
    assert chapter.error is None
    said = {c.id: c.outputs[0].text.split() for c in ran.cells if c.get("outputs")}
    again = {name: outputs[0].text.split() for name, outputs in shown.items()}
    assert set(again) == {"verdict", "other"}  # what speaks, and what uses what it said
    assert "better" in said["verdict"][0] != again["verdict"][0]
    assert said["verdict"][-1] == again["verdict"][-1]  # the same draw
    assert said["other"] == ["True", "1"] and again["other"] == ["False", "1"]
    chinese = new_notebook(cells=[new_markdown_cell("完。", id="end")])
    made = editions.chinese_edition(ran, chinese, shown)
    assert [cell.source for cell in made.cells] == [*sources.values(), "完。"]
    assert list(editions.unlike(ran, made)) == []
    assert list(editions.unlike(ran, chinese))[0] == "setup: missing"
    assert [cell.execution_count for cell in made.cells[:-1]] == [1, 2, 3, 4, 5, 6]


def test_an_english_text_that_changed_alone_makes_its_chinese_stale(tmp_path, monkeypatch):
    seals = tmp_path / "seals.json"
    monkeypatch.setattr(editions, "SEALS", seals)
    seals.write_text(json.dumps({"01_two#end": editions.seal({"en": "Done.", "zh": "完。"})}))

    def told(english: str, chinese: str) -> list[str]:
        both = [new_notebook(cells=[new_markdown_cell(x, id="end")]) for x in (english, chinese)]
        return list(editions.unlike(*both, "01_two"))

    assert told("Not done.", "完。") == ["end: its English has changed since"]
    assert told("Do\nne.", "完。") == told("Done.", "完了。") == told("Not done.", "没完。") == []


def test_words_in_a_cell_that_trains_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(editions, "MOST_SECONDS", 0)
    path = tmp_path / "01_slow.ipynb"
    cell = new_code_cell("from kdlab.words import say\nsay('verdict.better')", id="slow")
    nbformat.write(new_notebook(cells=[cell]), path)
    _, chapter = course.run_notebook(path, chinese={})
    assert "cell slow took 0 s once more for its words" in chapter.error
