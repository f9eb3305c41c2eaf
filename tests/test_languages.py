"""Every text that is there in both languages: each in its own, and in the terms of the course."""

import re

import nbformat
import pytest
import yaml
from seal_translations import texts

from kdlab.apps.i18n import LANGUAGES
from kdlab.files import EMBEDDED, NOTEBOOKS, ROOT

DATA = sorted(EMBEDDED.rglob("*.yaml"))
PROSE = [*NOTEBOOKS.glob("zh/*.ipynb"), NOTEBOOKS / "for_lecturers.zh.md", ROOT / "README.zh.md"]
HAN = re.compile("[\u4e00-\u9fff]")
NAMES = {"softmax", "logits", "Transformer", "TCKD", "NCKD", "English"}  # the same in Chinese
SWITCH = ["quiz/keys", "book/other", "book/both languages"]  # each names the other language
TERMS = yaml.safe_load((EMBEDDED / "interview/terminology.yaml").read_text("utf-8"))


def wrong_terms(text):
    """Renderings of a term that the course does not use, each with its own."""
    return [(bad, term["zh"]) for term in TERMS for bad in term["not"] if bad in text]


def left_in_english(text):
    """Words outside formulas and fields, where no character is Chinese."""
    words = re.findall("[A-Za-z]{4,}", re.sub(r"(?s)\$.*\$|{.*?}", "", text))
    return [] if HAN.search(text) else [word for word in words if word not in NAMES]


@pytest.mark.parametrize("path", DATA, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_text_is_in_its_language(path):
    for name, both in texts(yaml.safe_load(path.read_text("utf-8")), path.stem):
        english, chinese = (str(both[code]).strip() for code in LANGUAGES)
        assert (english or name == "words/book/untranslated") and chinese, name
        if name.removeprefix("words/") not in SWITCH:
            assert not HAN.search(re.sub("`[^`]*`", "", english)), name
        assert not left_in_english(chinese) and not wrong_terms(chinese), name
        if path.stem == "words":
            fields = [sorted(re.findall(r"{(\w+)", text)) for text in (english, chinese)]
            assert fields[0] == fields[1], name


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.stem)
def test_the_chinese_uses_the_terms_of_the_course(path):
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":  # the glossary's output names those renderings
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert wrong_terms(text) == []


def test_another_term_and_a_text_left_in_english_are_seen():
    assert wrong_terms("什么是黑暗知识？") == [("黑暗知识", "暗知识")]
    assert left_in_english("Soft targets, {n}") == ["Soft", "targets"] != left_in_english("软 Soft")
