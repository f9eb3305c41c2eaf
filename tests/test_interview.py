"""The interview bank: schema, terms, anchors, machine checks, and how a page renders."""

import importlib
import json
import math
import re
from collections.abc import Iterator

import jsonschema  # comes with Jupyter
import pytest
import torch
import torch.nn.functional as F
import yaml

from kdlab import interview, losses

CHECKED = [name for name, item in interview.items().items() if "check" in item]


def problems() -> list[str]:
    """What is wrong with the bank, a sentence each: schema, ids, terms, anchors, functions."""
    schema = json.loads((interview.BANK / "schema.json").read_text(encoding="utf-8"))
    terms = yaml.safe_load((interview.BANK / "terminology.yaml").read_text(encoding="utf-8"))
    found, seen = [], set()
    for name in interview.chapters():
        for error in jsonschema.Draft202012Validator(schema).iter_errors(interview.load(name)):
            place = "/".join(map(str, error.absolute_path))
            found.append(f"{name}.yaml, {place}: {error.message}")
    if found:  # the checks below rely on the schema
        return found
    for name in interview.chapters():
        for item in interview.load(name)["items"]:
            found += [f"{name}.yaml: the id {item['id']} is used twice"] * (item["id"] in seen)
            seen.add(item["id"])
            asked = [f["item"] for f in item["follow_ups"] if "item" in f]
            found += [
                f"{item['id']}: no item {other} to follow up"
                for other in asked
                if other not in interview.items()
            ]
        for text, term in ((t, term) for t in _texts(interview.load(name)) for term in terms):
            found += [
                f"{name}.yaml: {bad} instead of {term['zh']} in {text[:40]!r}"
                for bad in term["not"]
                if bad in text
            ]
        found += [f"{name}.yaml: {trouble}" for trouble in _unresolved(interview.load(name))]
    return found


def _texts(node) -> Iterator[str]:
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _texts(child)
    elif isinstance(node, str):
        yield node


def _unresolved(bank: dict) -> Iterator[str]:
    """Anchors that no cell of an existing notebook carries exactly once, functions that are not."""
    for place in (p for e in bank["items"] + bank["seed"]["corrections"] for p in e["shown_in"]):
        notebook = interview.ROOT / "notebooks" / f"{place['notebook']}.ipynb"
        if notebook.exists():
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            tags = [tag for cell in cells for tag in cell["metadata"].get("tags", [])]
            count = tags.count(place["anchor"])
            if count != 1:
                yield f"{place['notebook']} has {count} cells tagged {place['anchor']}, not one"
        if "function" in place:
            module, _, function = place["function"].rpartition(".")
            if not hasattr(importlib.import_module(module), function):
                yield f"there is no {place['function']}"


def test_the_bank_has_no_problems():
    assert problems() == []


@pytest.mark.parametrize("chapter", [1, 2])
def test_each_chapter_has_six_to_twelve_cards_of_every_level(chapter):
    items = interview.load(chapter)["items"]
    assert 6 <= len(items) <= 12
    assert {item["level"] for item in items} == {1, 2, 3}


@pytest.mark.parametrize("name", CHECKED)
def test_what_an_item_claims_is_true(name):
    names = {"math": math, "torch": torch, "F": F, "losses": losses}
    assert eval(interview.items()[name]["check"], names), name


@pytest.mark.parametrize("name", interview.items())
def test_the_short_answer_fits_thirty_seconds(name):
    short = interview.items()[name]["short"]
    assert len(short["en"].split()) <= 90
    assert len(re.findall("[\u4e00-\u9fff]", short["zh"])) <= 150


@pytest.mark.parametrize("name", interview.items())
def test_no_text_is_left_in_the_other_language(name):
    item = interview.items()[name]
    for field in ("question", "short", "full"):
        english = re.sub("`[^`]*`", "", item[field]["en"])
        assert not re.search("[\u4e00-\u9fff]", english), (name, field)
        assert re.search("[\u4e00-\u9fff]", item[field]["zh"]), (name, field)


def bank(**changes):
    """The first chapter with one item changed."""
    chapter = dict(interview.load(1))
    first = {**chapter["items"][0], **changes}
    return {**chapter, "items": [first, *chapter["items"][1:]]}


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({"level": 4}, "4 is not one of"),
        ({"id": "Dark Knowledge"}, "does not match"),
        ({"id": "dark-knowledge"}, "used twice"),
        ({"short": {"en": "only English"}}, "'zh' is a required property"),
        ({"short": {"en": "same", "zh": "same"}}, "does not match"),
        ({"wrong_answers": []}, "non-empty|too short"),
        ({"follow_ups": [{"item": "no-such-item"}]}, "no item no-such-item"),
        ({"question": {"en": "q", "zh": "什么是黑暗知识？"}}, "黑暗知识 instead of 暗知识"),
        (
            {
                "shown_in": [
                    {"notebook": "01_principle", "anchor": "a", "function": "kdlab.losses.x"}
                ]
            },
            "no kdlab.losses.x",
        ),
    ],
)
def test_a_mistake_in_the_bank_is_named(monkeypatch, changes, trouble):
    real = interview.load
    monkeypatch.setattr(interview, "load", lambda n: bank(**changes) if "01" in str(n) else real(n))
    assert any(re.search(trouble, found) for found in problems()), problems()


def test_a_missing_anchor_is_named(monkeypatch, tmp_path):
    (tmp_path / "notebooks").mkdir()
    cells = '{"cells": [{"metadata": {"tags": ["dark-knowledge"]}}, {"metadata": {}}]}'
    (tmp_path / "notebooks" / "01_principle.ipynb").write_text(cells)
    monkeypatch.setattr(interview, "ROOT", tmp_path)
    found = "\n".join(problems())
    assert "01_principle has 0 cells tagged mnist-trio" in found
    assert "tagged dark-knowledge" not in found


@pytest.mark.parametrize("language", [None, "en", "zh"])
def test_pages_render(language):
    for page in (interview.corner(1, language), interview.seed_question(2, language),
                 interview.card("dark-knowledge", language)):  # fmt: skip
        html = page._repr_html_()
        assert html.count("<details>") == html.count("</details>") > 0
        assert "<script" not in html and "style=" not in html
        assert "**" not in re.sub(r"(?s)<code.*?</code>", "", html), "Markdown left in the HTML"
        assert "<em>" not in "".join(re.findall(r'(?s)<span class="math">.*?</span>', html))
        assert "details" not in str(page) and repr(page)
        han = re.search("[\u4e00-\u9fff]", page.markdown)
        assert bool(han) == (language != "en")


def test_both_languages_of_a_card_have_their_own_hidden_answer():
    page = interview.card("dark-knowledge")
    assert page.markdown.count("<details>") == 2
    assert page.markdown.index("<details>") > page.markdown.index("什么是暗知识")


def test_the_seed_form():
    page = interview.seed_question(1).markdown
    for word in ("题目", "答案", "举例", "解析", "Question", "Answer", "Example", "Analysis"):
        assert word in page
    assert "Where the seed is imprecise" in page


def test_unknown_names_are_one_clear_sentence():
    with pytest.raises(ValueError, match="no interview questions for chapter 99"):
        interview.corner(99)
    with pytest.raises(ValueError, match="no item"):
        interview.card("nothing")
    with pytest.raises(ValueError, match="'en', 'zh' or None"):
        interview.corner(1, "fr")


@pytest.mark.parametrize("language", [None, "en", "zh"])
def test_code_in_a_question_stays_code(language):
    """The words are bold, the code below is a block; a follow-up repeats only the words."""
    page = interview.card("bug-teacher-train-mode", language)
    html = page._repr_html_()
    assert "**" not in html and html.count("<pre><code") == (2 if language is None else 1)
    assert "\n" not in page.title and "no_grad():" not in page.title
