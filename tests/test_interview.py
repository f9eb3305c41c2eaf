"""The interview bank: schema, anchors, machine checks, and how a page renders."""

import ast
import importlib
import itertools
import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import cache

import jsonschema  # comes with Jupyter
import pytest
import seal_translations as seals
import torch
import torch.nn.functional as F
from helpers import CODE, words

from kdlab import losses
from kdlab.apps import interview
from kdlab.apps.classroom import translations
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.interview import bank, scheduling
from kdlab.apps.markdown import Page
from kdlab.files import NOTEBOOKS

CHECKED = [name for name, item in bank.items().items() if "check" in item]
AT_LEAST = {"derivation": 20, "bug": 20, "estimate": 15, "design": 15}  # of 150 items
HAN = re.compile("[\u4e00-\u9fff]")


def problems() -> list[str]:
    """What is wrong with the bank, a sentence each: schema, ids, anchors, functions."""
    schema = json.loads((bank.BANK / "schema.json").read_text(encoding="utf-8"))
    found, seen = [], set()
    for name in bank.chapters():
        for error in jsonschema.Draft202012Validator(schema).iter_errors(bank.chapter_bank(name)):
            place = "/".join(map(str, error.absolute_path))
            found.append(f"{name}.yaml, {place}: {error.message}")
    if found:  # the checks below rely on the schema
        return found
    for name in bank.chapters():
        for item in bank.chapter_bank(name)["items"]:
            found += [f"{name}.yaml: the id {item['id']} is used twice"] * (item["id"] in seen)
            seen.add(item["id"])
            asked = {f["item"] for f in item["follow_ups"] if "item" in f} - bank.items().keys()
            found += [f"{item['id']}: no item {other} to follow up" for other in asked]
        found += [f"{name}.yaml: {trouble}" for trouble in _unresolved(bank.chapter_bank(name))]
    return found


def _unresolved(chapter: dict) -> Iterator[str]:
    """Anchors that are not exactly one cell of their notebook, functions that do not exist."""
    entries = chapter["items"] + chapter.get("seed", {}).get("corrections", [])
    for place in (place for entry in entries for place in entry["shown_in"]):
        if (count := len(anchored(place))) != 1:
            yield f"{place['notebook']} has {count} cells tagged {place['anchor']}, not one"
        if "function" in place:
            module, _, function = place["function"].rpartition(".")
            if not hasattr(importlib.import_module(module), function):
                yield f"there is no {place['function']}"


def anchored(place: dict) -> list[str]:
    """The sources of the cells that carry this anchor; none where there is no such notebook."""
    cells = cells_of(place["notebook"])
    tagged = [c for c in cells if place["anchor"] in c["metadata"].get("tags", [])]
    return ["".join(cell["source"]) for cell in tagged]


@cache
def cells_of(notebook: str) -> list[dict]:
    path = NOTEBOOKS / f"{notebook}.ipynb"
    return json.loads(path.read_text("utf-8"))["cells"] if path.exists() else []


def test_the_bank_has_no_problems():
    assert problems() == []


@pytest.mark.parametrize("chapter", bank.chapters())
def test_each_corner_has_six_to_twelve_cards_of_every_level(chapter):
    items = bank.chapter_bank(chapter)["items"]
    page = interview.corner(chapter, "en")
    cards = page.markdown.count("<details>")
    assert 6 <= cards <= 12 and cards == min(12, len(items)) and f"({cards})" in repr(page)
    assert {item["level"] for item in items[:12]} == {1, 2, 3}
    shown = [bank.laid_out("question", item, "en") in page.markdown for item in items]
    assert shown == [True] * cards + [False] * (len(items) - cards)  # the first ones


@pytest.mark.parametrize("name", CHECKED)
def test_what_an_item_claims_is_true(name):
    names = {"math": math, "torch": torch, "F": F, "losses": losses}
    assert eval(bank.items()[name]["check"], names), name


@pytest.mark.parametrize("name", bank.items())
def test_the_short_answer_is_spoken_in_a_minute(name):
    short = bank.items()[name]["short"]
    assert len(short["en"].split()) <= 120
    assert len(HAN.findall(short["zh"])) <= 200


def test_no_question_has_bold_words_within_its_bold_print():
    asked = {name: item["question"].values() for name, item in bank.items().items()}
    bold = {n: [t for t in texts if "**" in t.partition("\n\n")[0]] for n, texts in asked.items()}
    assert not any(bold.values()), bold


def test_the_bank_is_large_and_of_every_kind():
    items = bank.items().values()
    kinds = Counter(item["kind"] for item in items)
    assert len(items) >= 150
    assert {kind: kinds[kind] for kind, least in AT_LEAST.items() if kinds[kind] < least} == {}
    counts = Counter(item["chapter"] for item in items)
    for chapter in bank.chapters():  # every item of each is there
        whole = bank.chapter_bank(chapter)
        assert counts.pop(whole["chapter"]) == len(whole["items"]) >= 12, chapter
    assert not counts


def test_mathematics_code_and_arithmetic_are_checked_by_a_machine():
    """What has a formula or is to be computed has a `check`, or a cell with an assert shows it."""
    unchecked = [
        name
        for name, item in bank.items().items()
        if (item["kind"] in ("derivation", "bug", "estimate") or "$" in item["full"]["en"])
        and "check" not in item
        and not any("assert " in cell for place in item["shown_in"] for cell in anchored(place))
    ]
    assert unchecked == []


@pytest.mark.parametrize("name", bank.items())
def test_code_is_short_parses_and_is_the_same_in_both_languages(name):
    for place, text in seals.texts(bank.items()[name], name):
        english, chinese = (CODE.findall(text[language]) for language in LANGUAGES)
        parsed = [[ast.dump(ast.parse(code)) for code in some] for some in (english, chinese)]
        assert parsed[0] == parsed[1], place
        assert all(len(re.findall(r"(?m)^.*\S", code)) <= 12 for code in english), place


def months_old(read: str, today: date) -> int:
    """Months since a fact was read ("2026-12")."""
    year, month = map(int, read.split("-"))
    return 12 * (today.year - year) + today.month - month


def outdated(items: dict[str, dict], today: date) -> list[str]:
    """The dated facts of the bank that were read more than six months ago, a line each."""
    facts = [(name, fact) for name, item in items.items() for fact in item.get("dated", ())]
    old = [(name, fact) for name, fact in facts if months_old(fact["read"], today) > 6]
    return [f"{name}: {f['fact']} ({f['version']}, read {f['read']})" for name, f in old]


def test_facts_older_than_six_months_are_listed():
    """A warning and no failure: a fact does not become false by itself."""
    fact = {"fact": "a trainer is stable", "version": "1.0", "read": "2026-06"}
    some = {"one": {"dated": [fact]}, "two": {}}
    assert outdated(some, date(2026, 12, 31)) == []
    assert outdated(some, date(2027, 1, 1)) == ["one: a trainer is stable (1.0, read 2026-06)"]
    for line in outdated(bank.items(), date.today()):
        warnings.warn(f"read again: {line}", stacklevel=1)


def alike(questions: dict[str, str], limit: float = 0.5) -> list[tuple[str, str]]:
    """Pairs of questions that share at least `limit` of all their words."""
    said = {name: words(question) for name, question in questions.items()}
    pairs = itertools.combinations(said, 2)
    return [(a, b) for a, b in pairs if len(said[a] & said[b]) >= limit * len(said[a] | said[b])]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_questions_are_nearly_the_same(language):
    asked = {name: item["question"][language] for name, item in bank.items().items()}
    assert alike(asked) == []


def test_a_repeated_question_is_found():
    one = "What is the role of the temperature in distillation?"
    again = "In distillation, what role does the temperature play?"
    asked = {"one": one, "again": again, "other": "What is dark knowledge?"}
    assert alike(asked) == [("one", "again")]


def test_every_text_is_sealed_and_its_translation_is_fresh():
    old, new = seals.sealed(), seals.current()
    names = sorted(old.keys() ^ new.keys())[:3]
    assert not names, f"run: python tests/seal_translations.py ({names} ...)"
    assert seals.stale(old, new) == []


def test_sealing_refuses_a_change_of_one_language_until_vouched_for(monkeypatch, tmp_path, capsys):
    old = {"x/short": "e1 c1", "x/full": "e1 c1", "gone": "e c", "y": "e c"}
    new = {"x/short": "e2 c1", "x/full": "e2 c2", "new": "e c", "y": "e c2"}
    monkeypatch.setattr(translations, "SEALS", tmp_path / "translations.json")
    monkeypatch.setattr(seals, "current", lambda: old)
    seals.main([])
    monkeypatch.setattr(seals, "current", lambda: new)
    for arguments, refusal in (
        ([], "nothing sealed\nx/short: en changed .* --same x/short\ny: zh changed [^\n]*$"),
        (["--same", "x"], "nothing sealed\ny: zh changed [^\n]*$"),
        (["--same", "x", "z"], "no text of one changed language is called z$"),
    ):
        with pytest.raises(SystemExit, match=f"^{refusal}"):
            seals.main(arguments)
    assert seals.sealed() == old and seals.stale(old, new, ("x/short", "y")) == []
    seals.main(["--same", "x", "y"])
    assert seals.sealed() == new and "4 sealed anew, 1 gone" in capsys.readouterr().out


NOWHERE = {"notebook": "01_principle", "anchor": "nowhere", "function": "kdlab.losses.x"}


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
        ({"shown_in": [NOWHERE]}, "no kdlab.losses.x"),
        ({"shown_in": [NOWHERE]}, "01_principle has 0 cells tagged nowhere, not one"),
    ],
)
def test_a_mistake_in_the_bank_is_named(monkeypatch, changes, trouble):
    """Of the first item of the first chapter."""
    real, chapter = bank.chapter_bank, bank.chapter_bank(1)
    first, *rest = chapter["items"]
    wrong = {**chapter, "items": [{**first, **changes}, *rest]}
    monkeypatch.setattr(bank, "chapter_bank", lambda n: wrong if "01" in str(n) else real(n))
    assert any(re.search(trouble, found) for found in problems()), problems()


@pytest.mark.parametrize("language", ["both", "en", "zh"])
def test_pages_render(language):
    chapters = interview.corner(1, language), interview.seed_question(2, language)
    for page in (*chapters, scheduling.mock_page(scheduling.mock(15), language)):
        html = page._repr_html_()
        assert html.count("<details>") == html.count("</details>") > 0
        assert "<script" not in html and "style=" not in html.partition("<table")[0]
        assert "**" not in re.sub(r"(?s)<code.*?</code>", "", html), "Markdown left in the HTML"
        assert "<em>" not in "".join(re.findall(r'(?s)<span class="math">.*?</span>', html))
        assert "details>" not in str(page) and repr(page)
        assert bool(HAN.search(page.markdown)) == (language != "en")


def test_the_seed_form():
    page = interview.seed_question(1, "both").markdown
    parts = "题目 答案 举例 解析 Question Answer Example Analysis".split()
    assert all(part in page for part in [*parts, "Where the seed is imprecise"])


def test_unknown_names_are_one_clear_sentence(monkeypatch):
    with pytest.raises(ValueError, match="no interview questions for chapter 99"):
        interview.corner(99)
    monkeypatch.setattr(bank, "chapter_bank", lambda n: {"title": {"en": "x", "zh": "某"}})
    with pytest.raises(ValueError, match="chapter 9 has no question of the seed"):
        interview.seed_question(9)
    with pytest.raises(ValueError, match="'en', 'zh' or 'both'"):
        interview.corner(1, "fr")


@pytest.mark.parametrize("language", ["both", "en", "zh"])
def test_code_in_a_question_stays_code(language):
    """The words are bold, the code below is a block; a follow-up repeats only the words.

    Each language has its own answer, hidden below both questions.
    """
    item = bank.items()["bug-class-order"]
    page = Page(bank.title_of(item, language), bank.laid_out("card", item, language))
    html, count = page._repr_html_(), 2 if language == "both" else 1
    assert "**" not in html and html.count("<pre><code") == count == html.count("<details>")
    assert html.rindex("<pre><code") < html.index("<details>")
    assert "\n" not in page.title and "listdir" not in page.title


def test_items_are_found_by_what_they_are_and_begin_with_the_basic_ones():
    assert {i["chapter"] for i in bank.find_items(chapters=[2])} == {2}
    assert {i["level"] for i in bank.find_items(levels=[1, 3], chapters=[2, 5])} == {1, 3}
    found = bank.find_items(topics=["temperature"])
    assert found and all("temperature" in i["tags"] for i in found)
    levels = [i["level"] for i in bank.find_items()]
    assert levels == sorted(levels) and len(levels) == len(bank.items())
    chapters = [i["chapter"] for i in bank.find_items()[: len(bank.chapter_titles())]]
    assert len(set(chapters)) > 1  # they take turns
