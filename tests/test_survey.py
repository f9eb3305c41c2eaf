"""The survey of real questions: its form, its size, its two halves, and what the bank answers."""

from collections import Counter
from urllib.parse import urlsplit

import pytest
import yaml
from helpers import words

from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.interview import bank

HALVES = ("open", "sealed")
FORM = {"asked", "source", "date", "language", "kind", "field"}
VALUES = {
    "language": {"en", "zh"},
    "kind": {"interview", "issue", "forum", "quiz"},
    "field": {"images", "language", "both"},
}
RATED = {"before", "now", "item", "cited", "worded"}
RATINGS = ("full", "part", "none")  # how far the item answers the question


def survey(half: str) -> list[dict]:
    path = bank.BANK / "survey" / f"{half}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("half", HALVES)
def test_each_question_is_one_line_with_its_source_and_date(half):
    for entry in survey(half):
        assert FORM <= entry.keys() <= FORM | RATED, entry
        assert all(entry[field] in known for field, known in VALUES.items()), entry
        assert "\n" not in entry["asked"] and 6 <= len(entry["asked"]) <= 160, entry
        assert urlsplit(entry["source"]).netloc, entry
        year = entry["date"][:4]
        assert entry["date"] == "undated" or 2015 <= int(year) <= 2026, entry


def test_the_survey_is_large_recent_and_of_both_fields():
    entries = [entry for half in HALVES for entry in survey(half)]
    assert len(entries) >= 200 and abs(len(survey("open")) - len(survey("sealed"))) <= 1
    assert len({entry["asked"] for entry in entries}) == len(entries)
    recent = sum("2023" <= entry["date"][:4] <= "2026" for entry in entries)
    assert 2 * recent >= len(entries)
    fields = Counter(entry["field"] for entry in entries)
    assert min(fields["images"], fields["language"]) >= 0.4 * len(entries)


def test_every_open_question_is_rated_and_names_the_item_that_answers_it():
    for entry in survey("open"):
        assert entry["before"] in RATINGS and entry["now"] in RATINGS, entry
        assert ("item" in entry) == (entry["now"] != "none"), entry
    items = {entry["item"] for half in HALVES for entry in survey(half) if "item" in entry}
    assert items <= bank.items().keys()


def repeats(asked: str, wording: str, limit: float = 0.6) -> bool:
    """Whether two lines share at least `limit` of all their words."""
    one, other = words(asked), words(wording)
    return len(one & other) >= limit * len(one | other)


def test_sealed_questions_that_an_item_repeats_are_marked():
    """An item's `also_asked` in a sealed question's words: it is no test of that item any more."""
    wordings = [
        wording[language]
        for item in bank.items().values()
        for wording in item.get("also_asked", ())
        for language in LANGUAGES
    ]
    for entry in survey("sealed"):
        repeated = any(repeats(entry["asked"], wording) for wording in wordings)
        assert entry.get("worded", False) == repeated, entry
