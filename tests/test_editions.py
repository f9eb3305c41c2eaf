"""The Chinese edition: cell by cell that of the English one, from one execution of both."""

import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdlab.apps.classroom import runner, translations
from kdlab.files import NOTEBOOKS

CHINESE = sorted((NOTEBOOKS / "zh").glob("*.ipynb"))
each_chapter = pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.stem)
BLOCK = re.compile("```.*?```", re.DOTALL)
EXACT = re.compile(r"\$\$?[^$]+\$\$?|`[^`]+`|arXiv:[\d.]+\d|\d+[.,]\d+%?|\d+%")


def editions_of(path):
    return [nbformat.read(place, 4) for place in (NOTEBOOKS / path.name, path)]


def pairs(path):
    """The Markdown cells of both editions side by side."""
    english, chinese = ({c.id: c for c in made.cells} for made in editions_of(path))
    shared = [name for name in english if name in chinese]
    return [(english[n], chinese[n]) for n in shared if english[n].cell_type == "markdown"]


def exact(text):
    """Formulas, code, and numbers that are written in digits."""
    return set(BLOCK.findall(text)) | set(EXACT.findall(BLOCK.sub("", text)))


@each_chapter
def test_every_cell_has_its_chinese(path):
    assert list(translations.unlike(*editions_of(path), path.stem)) == []


@each_chapter
def test_formulas_code_and_numbers_are_those_of_the_english_text(path):
    for english, chinese in pairs(path):
        one, other = (exact(cell.source) for cell in (english, chinese))
        assert one == other, f"{english.id}: only English {one - other}, only Chinese {other - one}"


@each_chapter
def test_the_minutes_are_those_of_the_english_edition(path):
    told = []
    for cells, word in zip(zip(*pairs(path), strict=True), ("Time:", "用时："), strict=True):
        lines = re.findall(rf"\*\*{word}.*", "\n".join(cell.source for cell in cells))
        told.append([re.findall(r"\d+", line) for line in lines])
    assert told[0] == told[1] != []


@each_chapter
def test_links_lead_where_the_english_ones_lead(path):
    headings = [line for _, c in pairs(path) for line in re.findall("(?m)^#+ (.+)$", c.source)]
    anchors = {"#" + heading.replace(" ", "-") for heading in headings}
    for english, chinese in pairs(path):
        one, other = (re.findall(r"\]\(([^)\s]+)\)", c.source) for c in (english, chinese))
        here, there = ([link for link in links if link[0] == "#"] for links in (one, other))
        assert len(here) == len(there) and set(there) <= anchors, english.id
        here, there = ({link for link in links if link[0] != "#"} for links in (one, other))
        plain = [{re.sub(r"^((\.\./)+|zh/)", "", link) for link in some} for some in (here, there)]
        assert plain[0] == plain[1], english.id
        for link in (link for link in there if "://" not in link):
            assert (path.parent / link.split("#")[0]).exists(), f"{english.id}: {link}"


@each_chapter
def test_punctuation_is_full_width_beside_chinese(path):
    for _, cell in pairs(path):
        prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$|\]\([^)]*\)", "", cell.source, flags=re.DOTALL)
        assert not re.search(r"[\u4e00-\u9fff][,;:?!](?!\w)", prose), cell.id


def test_one_execution_shows_both_languages(tmp_path):
    sources = {
        "setup": "import random\nfrom kdlab.apps.i18n import translate\nruns = []",
        "train": "runs.append(random.random())\nprint(len(runs))",
        "verdict": "found = translate('verdict.better')\nr = random.random()\nprint(found, r)",
        "other": "print('better' in found, len(runs))",
        "plain": "found = 'better'\nprint(r == r)",
        "later": "print('better' in found)",
    }
    cells = [new_code_cell(source, id=name) for name, source in sources.items()]
    cells.append(new_markdown_cell("Done.", id="end"))
    nbformat.write(new_notebook(cells=cells), tmp_path / "01_two.ipynb")
    shown = {}
    ran, chapter = runner.run_notebook(tmp_path / "01_two.ipynb", chinese=shown)
    assert chapter.error is None
    said = {c.id: c.outputs[0].text.split() for c in ran.cells if c.get("outputs")}
    again = {name: outputs[0].text.split() for name, outputs in shown.items()}
    assert set(again) == {"verdict", "other"}  # what speaks, and what uses what it said
    assert "better" in said["verdict"][0] != again["verdict"][0]
    assert said["verdict"][-1] == again["verdict"][-1]  # the same draw
    assert said["other"] == ["True", "1"] and again["other"] == ["False", "1"]
    chinese = new_notebook(cells=[new_markdown_cell("完。", id="end")])
    made = translations.chinese_edition(ran, chinese, shown)
    assert [cell.source for cell in made.cells] == [*sources.values(), "完。"]
    assert list(translations.unlike(ran, made)) == []
    assert list(translations.unlike(ran, chinese))[0] == "setup: missing"
    assert [cell.execution_count for cell in made.cells[:-1]] == [1, 2, 3, 4, 5, 6]


def test_an_english_text_that_changed_alone_makes_its_chinese_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(translations, "SEALS", tmp_path / "seals.json")
    before = {"01_two#end": translations.seal({"en": "Done.", "zh": "完。"})}
    translations.SEALS.write_text(json.dumps(before))

    def told(english, chinese):
        both = [new_notebook(cells=[new_markdown_cell(x, id="end")]) for x in (english, chinese)]
        return list(translations.unlike(*both, "01_two"))

    assert told("Not done.", "完。") == ["end: its English has changed since"]
    assert told("Do\nne.", "完。") == told("Done.", "完了。") == told("Not done.", "没完。") == []


def test_words_in_a_cell_that_trains_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(translations, "MOST_SECONDS", 0)
    cell = new_code_cell(
        "from kdlab.apps.i18n import translate\ntranslate('verdict.better')", id="slow"
    )
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "01_slow.ipynb")
    _, chapter = runner.run_notebook(tmp_path / "01_slow.ipynb", chinese={})
    assert "cell slow took 0 s once more for its words" in chapter.error
