"""Decks: the plans hold against their chapters, and a page has all that it needs."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kdlab.apps.chapters.panels.base import MIME
from kdlab.apps.classroom import decks, lectures
from kdlab.apps.classroom.runner import find
from kdlab.apps.i18n import LANGUAGES
from kdlab.files import ROOT

PLANNED = [path.stem for path in sorted(lectures.PLANS.glob("*.yaml"))]
OUTSIDE = re.compile(r"""(?:src|href)=["']?https?:|url\(["']?(?!data:)|@import""")
BOTH = {"en": "word", "zh": "字"}
SOME = {"title": BOTH, "notes": BOTH, "minutes": 45}


@pytest.fixture(scope="module", params=PLANNED)
def chapter(request, tmp_path_factory):
    """A copy of a chapter that a lecture is planned of."""
    (path,) = find([request.param])
    return Path(shutil.copy(path, tmp_path_factory.mktemp("chapters")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_deck_needs_nothing_else(chapter, language):
    slides, cells = lectures.read_lecture(chapter)
    page = decks.make_deck(chapter, language)
    style, _, rest = page.partition("<body>")
    body = rest.partition("</div></div>\n<script>")[0]
    assert body.count("<section") == len(slides) >= 18
    assert not OUTSIDE.search(body) and not OUTSIDE.search(style)
    assert 'class="math">' in body and style.count("@font-face") == 10
    shown = [cells[name] for slide in slides for name, _ in lectures.parts(slide)]
    alive = [MIME in output.get("data", {}) for c in shown for output in c.get("outputs", ())]
    assert body.count('type="application/json"') == sum(alive) > 0
    assert all(alt for alt in re.findall(r'<img alt="([^"]*)"', body)) and "<img src" not in body
    assert f'"language":"{language}"' in body and str(ROOT) not in page


def test_first_and_last_slides(chapter):
    slides, cells = lectures.read_lecture(chapter)
    assert "diagram" in cells[next(lectures.parts(slides[0]))[0]].metadata.tags
    assert slides[0]["title"]["en"].startswith(f"{chapter.stem[:2]} · ")
    assert slides[-2]["ask"] and "cells" not in slides[-1]


def test_slide_types_follow_the_plan(chapter):
    slides, cells = lectures.read_lecture(chapter)
    types = lectures.slide_types(slides, cells)
    assert list(types) == list(cells) and set(types.values()) <= {"slide", "-", "skip"}
    shown = {name for slide in slides for name, _ in lectures.parts(slide)}
    assert {name for name, kind in types.items() if kind != "skip"} == shown
    lectures.mark_slides(chapter)
    marked = nbformat.read(chapter, as_version=4).cells
    assert {cell.id: cell.metadata.slideshow.slide_type for cell in marked} == types
    assert [cell.source for cell in marked] == [cell.source for cell in cells.values()]
    two = [{"cells": ["a", "b"]}, {"cells": ["d", "b"]}]
    assert [*lectures.slide_types(two, "abcd").values()] == ["slide", "-", "skip", "slide"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"cells": ["no-such"]}, "no cell 'no-such'"),
        ({"cells": ["silent"]}, "has no output"),
        ({"cells": ["long"], "show": "code"}, "over 12 lines"),
        ({"cells": ["text"], "show": "code"}, "shows no code"),
        ({"cells": ["panel"]}, "no live panel"),
        ({}, "only a heading"),
        ({"text": {"en": "word " * 46, "zh": "字"}}, "46 words"),
        ({"text": {"en": "word"}}, "not there in en and zh"),
        ({"text": BOTH, "minutes": "2"}, "minutes"),
        ({"cells": ["silent"], "show": "all"}, "one of output, code, both"),
        ({"cells": [{"long": {"show": "code", "lines": [1, 13]}}]}, "over 12 lines"),
        ({"cells": [{"long": {"row": [1, 2]}}]}, "cell long has no key 'row'"),
        ({"tile": {}}, "no key is named 'tile'"),
        ({"text": BOTH, "minutes": 30}, "30 minutes"),
    ],
)
def test_what_is_amiss_is_told_in_a_sentence(change, fault, tmp_path, monkeypatch):
    plain = new_output("display_data", {"text/plain": "a live panel"})
    cells = [
        new_code_cell("x = 1", id="silent"),
        new_code_cell("x\n" * 13, id="long"),
        new_markdown_cell("words", id="text"),
        new_code_cell("p", id="panel", metadata={"tags": ["panel"]}, outputs=[plain]),
    ]
    path = tmp_path / "09_some.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    monkeypatch.setattr(lectures, "PLANS", tmp_path)
    (tmp_path / "09.yaml").write_text(json.dumps({"slides": [SOME | change]}), encoding="utf-8")
    with pytest.raises(ValueError, match="^09.yaml[^\n]*" + re.escape(fault) + "[^\n]*$"):
        lectures.read_lecture(path)
    with pytest.raises(ValueError, match="no deck is planned for 08_other; there are: 09"):
        lectures.read_lecture(path.rename(tmp_path / "08_other.ipynb"))


def words(html):
    return " ".join(re.sub("<.*?>", " ", html).replace("&nbsp;", "").split())


@pytest.mark.parametrize("styled", [False, True])
def test_a_table_is_cut_to_its_rows_and_columns(styled):
    frame = pd.DataFrame(
        {"mean": [1.5, 2.5], "std": [float("nan")] * 2, "p": [0.1, 0.2]},
        index=pd.Index(["a", "b"], name="arm"),
    )
    html = frame.style.format("{:.1f}", na_rep="–").to_html() if styled else frame._repr_html_()
    table = decks.html_table(html, lectures.span([2, 2]), ["mean", "std"])
    assert words(table) == "mean std b 2.5 –" and " id=" not in table
    assert table.count("<tr") == 2 and decks.html_table(html).count("<tr") == 3
    merged = pd.concat({"labels": frame["p"], "distilled": frame["mean"]}).to_frame("x")
    cut = words(decks.html_table(merged._repr_html_()))
    assert cut == "x labels a 0.1 b 0.2 distilled a 1.5 b 2.5"


@pytest.mark.parametrize("number", PLANNED)
def test_what_is_cut_is_there(number):
    slides, cells = lectures.read_lecture(find([number])[0])
    for name, how in (part for slide in slides for part in lectures.parts(slide)):
        if how["rows"] != lectures.HOW["rows"]:
            *_, cut = decks.outputs(cells[name], how, "en")
            lines = cut.count("<tr") - 1 if "<tr" in cut else cut.count("\n") + 1
            assert lines == how["rows"][1] - how["rows"][0] + 1, name
