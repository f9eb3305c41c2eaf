"""The lecturers' guide: both languages agree, saved numbers are found."""

import re
from functools import cache

import nbformat
import pytest

from kdlab.apps.i18n import LANGUAGES
from kdlab.files import NOTEBOOKS

GUIDES = {"en": NOTEBOOKS / "for_lecturers.md", "zh": NOTEBOOKS / "for_lecturers.zh.md"}
LINK = re.compile(r"\]\((?!for_lecturers)([^)\s]+)\)")  # but those to the other language
LONG = re.compile(r"\d+(?:[.,]\d+)+|\d\d+")  # a single digit may be a word in the other language
SAVED = re.compile(r"^\| \[\d+\]\((.+?)#(.+?)\).*(?:saved: |存档：)(.+?) \|$", re.MULTILINE)
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")


@cache
def printed(name: str) -> dict[str, str]:
    """The cells of a notebook by their ids: the text that each has put out, with an ASCII minus."""
    texts = {}
    for cell in nbformat.read(NOTEBOOKS / name, as_version=4).cells:
        parts = [output.get("text", "") for output in cell.get("outputs", ())]
        for data in (output.get("data", {}) for output in cell.get("outputs", ())):
            parts += [data.get("text/plain", ""), data.get("text/markdown", "")]
        texts[cell.id] = "\n".join(parts).replace("−", "-")
    return texts


def test_both_languages_have_the_same_links_and_numbers():
    pages = [GUIDES[code].read_text(encoding="utf-8").splitlines() for code in LANGUAGES]
    for english, chinese in zip(*pages, strict=True):
        for kind in (LINK, LONG):
            assert sorted(kind.findall(english)) == sorted(kind.findall(chinese)), english


@pytest.mark.parametrize("language", LANGUAGES)
def test_saved_numbers_stand_in_the_saved_output(language):
    rows = SAVED.findall(GUIDES[language].read_text(encoding="utf-8"))
    assert len(rows) > 30
    for name, cell, saved in rows:
        for number in NUMBER.findall(saved.replace("−", "-")):
            whole = rf"(?<![\d.,]){re.escape(number)}(?![\d]|[.,]\d)"
            assert re.search(whole, printed(name)[cell]), f"{number} of {name}#{cell}"
