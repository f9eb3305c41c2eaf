"""Exports: every item is in each, in the right language; Anki updates instead of duplicating."""

import copy
import csv
import html
import json
import re
import sqlite3
import time
import zipfile

import pytest
from typer.testing import CliRunner

from kdlab.__main__ import app
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.interview import bank, exports

HAN = re.compile("[\u4e00-\u9fff]")
ITEMS = bank.items()
EDITIONS = (*LANGUAGES, "both")


def notes(package, tmp_path) -> dict[str, list]:
    """guid -> fields, from the SQLite in an .apkg."""
    with zipfile.ZipFile(package) as archive:
        archive.extract("collection.anki2", tmp_path)
    with sqlite3.connect(tmp_path / "collection.anki2") as db:
        rows = db.execute("SELECT guid, flds FROM notes").fetchall()
    return {guid: fields.split("\x1f") for guid, fields in rows}


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decks")
    return {code: exports.write_bank("anki", code, folder)[0] for code in EDITIONS}


@pytest.mark.parametrize("code", EDITIONS)
def test_a_deck_has_every_item_once_in_its_language(decks, tmp_path, code):
    found = notes(decks[code], tmp_path)
    assert sorted(fields[0] for fields in found.values()) == sorted(ITEMS)
    for text in (text for _, *texts in found.values() for text in texts):
        plain = re.sub(r"(?s)<code.*?</code>", "", text)
        assert plain and "$" not in plain and bool(HAN.search(plain)) == (code != "en"), text
        assert text.count(r"\(") == text.count(r"\)") and text.count(r"\[") == text.count(r"\]")
        assert "<script" not in text and 'class="math"' not in text


def test_the_answer_does_not_repeat_the_short_one(decks, tmp_path):
    for name, *fields in notes(decks["both"], tmp_path).values():
        for short in ITEMS[name]["short"].values():
            if not re.search("[$`*_]", short):
                assert html.unescape("".join(fields)).count(short.strip()) == 1, name


def test_ids_and_guids_never_change(decks, tmp_path):
    """These are in the hands of learners: another value would double their cards."""
    import genanki

    guid = genanki.guid_for("kdlab", "en", "dark-knowledge")
    assert notes(decks["en"], tmp_path)[guid][0] == "dark-knowledge" and guid == "e+WZ0TCqAT"
    assert exports.lasting_id("model en") == 1816806000
    assert exports.lasting_id("deck zh 1") == 1793446393
    numbers = [exports.lasting_id(f"deck {c} {n}") for c in EDITIONS for n in range(10)]
    assert len(set(numbers)) == 30 and all(0 < n < 2**31 for n in numbers)


def test_anki_imports_the_deck_and_updates_it(decks, tmp_path, monkeypatch):
    """By Anki itself: a second import of a newer deck changes notes and makes none."""
    pytest.importorskip("anki.collection", reason="the anki library is not installed")
    from anki.collection import Collection, ImportAnkiPackageRequest

    col = Collection(str(tmp_path / "learner.anki2"))

    def counted_after(deck):
        col.import_anki_package(ImportAnkiPackageRequest(package_path=str(deck)))
        return col.note_count()

    try:
        assert counted_after(decks["en"]) == col.card_count() == len(ITEMS)
        names = [deck.name for deck in col.decks.all_names_and_ids()]
        assert sum(name.startswith("kdlab en::") for name in names) == len(bank.chapter_titles())
        card = col.get_card(col.find_cards("Id:dark-knowledge")[0])
        assert "dark knowledge" in card.question() and "chapter-01" in card.note().tags
        assert r"\(" in card.answer() or "math" in card.answer()
        col.sched.get_queued_cards()
        card.due, card.ivl, card.type, card.queue = 30, 12, 2, 2  # learnt for twelve days
        col.update_card(card)
        assert counted_after(decks["en"]) == len(ITEMS)  # the same again: nothing new
        newer = copy.deepcopy(ITEMS)
        newer["dark-knowledge"]["full"]["en"] = "Rewritten since the last export."
        monkeypatch.setattr(exports, "items", lambda: newer)
        time.sleep(1.1)  # Anki compares whole seconds
        deck = exports.write_bank("anki", "en", tmp_path)[0]
        assert counted_after(deck) == col.card_count() == len(ITEMS)
        assert "Rewritten since" in col.get_card(card.id).note()["Answer"]
        assert col.get_card(card.id).ivl == 12  # what was learnt stays
        assert counted_after(decks["zh"]) == 2 * len(ITEMS)  # another language is another deck
    finally:
        col.close()


@pytest.fixture(scope="module")
def booklets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("booklets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "browser", lambda: None)
        paths = {code: exports.write_bank("booklet", code, folder) for code in EDITIONS}
    return {code: path.read_text(encoding="utf-8") for code, (path,) in paths.items()}


@pytest.mark.parametrize("code", EDITIONS)
def test_the_booklet_has_every_question_and_its_answer_at_the_end(booklets, code):
    page = booklets[code]
    assert page.index('id="questions"') < page.index('id="answers"')
    for name, item in ITEMS.items():
        for part in "qa":
            assert page.count(f'id="{part}-{name}"') == page.count(f'href="#{part}-{name}"') == 1
        question, answer = (page.index(f'id="{part}-{name}"') for part in "qa")
        assert question < page.index('id="answers"') < answer
        assert html.escape(item["sources"][0].split(",")[0], quote=False) in page
        for language in LANGUAGES:
            begins = re.split(r"[$`*\n_<\\\"'\u201c]", item["short"][language].strip())[0]
            if len(begins) > 20:
                assert (html.escape(begins) in page) == (code in (language, "both")), name


def test_the_booklet_needs_nothing_beside_itself(booklets):
    page, outside = booklets["both"], r"https?://(?!www\.w3\.org)[^\s<]*\.(js|css)"
    assert not re.search(rf"<script|<link|src=|url\(|{outside}", page)
    assert page.count("<math") > len(ITEMS)
    text = re.sub(r"(?s)<style.*?</style>|<(code|annotation).*?</\1>", "", page)
    assert "$" not in text and r"\mathrm" not in text and "<merror" not in page


def test_the_pdf_is_printed_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "browser", lambda: None)
    assert [p.suffix for p in exports.write_bank("booklet", "en", tmp_path)] == [".html"]
    broken = tmp_path / "browser"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(exports, "browser", lambda: str(broken))
    with pytest.raises(OSError, match="could not print .*no display.*print it yourself"):
        exports.write_bank("booklet", "en", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"browser", "kdlab-interview-en.html"}


@pytest.mark.parametrize("code", EDITIONS)
def test_csv_reads_back(tmp_path, code):
    (path,) = exports.write_bank("csv", code, tmp_path)
    assert path.read_bytes()[:3] == b"\xef\xbb\xbf"  # or Excel takes the Chinese for Latin-1
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(ITEMS)
    for name, row in rows.items():
        for language in LANGUAGES if code == "both" else (code,):
            assert row[f"full_{language}"] == ITEMS[name]["full"][language].strip()
        assert int(row["level"]) == ITEMS[name]["level"]
        assert ("question_zh" in row) == (code != "en")


def test_json_reads_back(tmp_path):
    paths = [exports.write_bank("json", code, tmp_path)[0] for code in ("both", "zh")]
    both, chinese = (json.loads(path.read_text(encoding="utf-8"))["items"] for path in paths)
    assert both == json.loads(json.dumps(list(ITEMS.values())))
    assert all(HAN.search(i["question"] + i["wrong_answers"][0]["why"]) for i in chinese)


def test_the_command_says_where_the_export_is(tmp_path):
    done = CliRunner().invoke(app, ["export", "json", "-l", "zh", "--folder", str(tmp_path)])
    assert done.exit_code == 0 and "kdlab-interview-zh.json" in done.output
