"""What the book's builder is given: cells with their ids, links that lead somewhere, every part."""

import html
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kdlab.apps.classroom import runner
from kdlab.apps.classroom.book import build, chapters, links, pages, tables
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.interview import bank
from kdlab.files import NOTEBOOKS, ROOT, write_text
from kdlab.lab import results
from kdlab.methods import METHODS

MARK = re.compile(r"^% kd:(\[.*\])$", re.MULTILINE)
FIRST = NOTEBOOKS / "01_principle.ipynb"


def ids(text):
    return [json.loads(mark)[0] for mark in MARK.findall(text)]


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("02_objective.ipynb", "../chapters/02_objective.html"),
        ("02_objective.ipynb#t-squared-law", "../chapters/02_objective.html#t-squared-law"),
        ("#panel", "../chapters/01_principle.html#panel"),
        ("#Summary", "../chapters/01_principle.html#summary"),  # as JupyterLab names a heading
        ("../data/results/page.png", "../data/results/page.png"),
        ("../README.md#chapters", "../source/README.md.html"),
        ("for_lecturers.zh.md", "../guide/lecturers.html"),
    ],
)
def test_an_address(target, address):
    assert links.address(target, "01_principle") == address


@pytest.mark.parametrize("target", ["01_principle.ipynb#nowhere", "10_none.ipynb", "../none.py"])
def test_a_link_that_leads_nowhere_is_named(target):
    with pytest.raises(ValueError, match="none|nowhere"):
        links.address(target, "01_principle")


def test_links_in_text_and_not_in_code():
    fenced = "```python\nlosses[name](a)\n`01_principle#panel`\n```"
    text = f"[one](02_objective.ipynb) [two](https://arxiv.org) `01_principle#panel`\n{fenced}"
    turned = links.relink(text)
    assert turned.endswith(fenced)
    assert "[one](../chapters/02_objective.html) [two](https://arxiv.org)" in turned
    assert "[`01_principle#panel`](../chapters/01_principle.html#panel)" in turned
    assert links.relink("<code>kdlab.losses.soften</code>").startswith('<a href="../source/kdlab')


def test_a_function_is_linked_to_its_line():
    page, _, line = links.definition("kdlab.losses.soft_target_loss").partition("#L-")
    text = (ROOT / "kdlab/losses/soft.py").read_text(encoding="utf-8").splitlines()
    assert page == "../source/kdlab/losses/soft.py.html"
    assert text[int(line) - 1].startswith("def soft_target_loss(")
    assert links.definition("kdlab.no_such.name") == ""


def test_each_block_of_a_cell_has_an_id():
    text = "A word.\n\n## One\n\n```python\n# no heading\n```\n\n## Two\n"
    assert ids(chapters.anchored(text, "cell")) == ["cell", "cell-2", "cell-3"]
    assert ids(chapters.anchored("# Title\n", "cell")) == ["cell"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_chapter_keeps_its_cells_and_its_panel_is_alive(language):
    chapter = chapters.chapter(FIRST, language)
    anchors = [name for cell in chapter.cells for name in ids(cell.source)]
    anchors += [cell.metadata.kd for cell in chapter.cells if cell.cell_type == "code"]
    cells = [cell.id for cell in nbformat.read(FIRST, as_version=4).cells]
    assert {*cells} <= {*anchors} and len(anchors) == len({*anchors})
    shown = [o.data for c in chapter.cells for o in c.get("outputs", ()) if "data" in o]
    alive = [data["text/html"] for data in shown if "kdlab-panel" in data.get("text/html", "")]
    assert len(alive) == 2 and all(f'"language":"{language}"' in panel for panel in alive)
    drawn = [
        c for c in chapter.cells for o in c.get("outputs", ()) if "image/png" in o.get("data", ())
    ]
    assert len(drawn) > 3 and all(len(c.metadata.mystnb.image.alt) > 20 for c in drawn)


def test_a_chapter_that_was_not_run_is_named(tmp_path):
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), tmp_path / "01_new.ipynb")
    with pytest.raises(ValueError, match=r"01_new.ipynb was not run: .*course 01 --write"):
        chapters.chapter(tmp_path / "01_new.ipynb", "en")


def test_a_stale_edition_is_named_and_a_missing_one_told(tmp_path):
    """What makes one stale: tests/test_translations.py."""

    def write(place, title, source):
        sum_ = new_code_cell(source, id="sum", outputs=[new_output("stream", text="2\n")])
        notebook = new_notebook(cells=[new_markdown_cell(title, id="title"), sum_])
        nbformat.write(notebook, place / "01_new.ipynb")

    path, zh = tmp_path / "01_new.ipynb", tmp_path / "zh"
    write(tmp_path, "# 01", "print(1 + 1)")
    assert "暂时还没有中文版" in chapters.chapter(path, "zh").cells[1].source
    zh.mkdir()
    write(zh, "# 01 中文", "print(1 + 1)")
    assert len(chapters.chapter(path, "zh").cells) == 2
    write(zh, "# 01 中文", "print(2)")
    with pytest.raises(ValueError, match="gone stale"):
        chapters.chapter(path, "zh")


@pytest.fixture(scope="module", params=LANGUAGES)
def edition(request):
    texts = pages.pages(request.param, [path.stem for path in runner.find()])
    return request.param, {name: links.relink(text) for name, text in texts}


def test_every_item_method_and_record_has_its_place(edition):
    _, texts = edition
    asked = [name for page in texts if page.startswith("bank/") for name in ids(texts[page])]
    assert sorted(set(asked) - {"bank"}) == sorted(bank.items())
    assert len([page for page in texts if page.startswith("methods/")]) == len(METHODS) + 2
    assert {f"records/{name}" for name in results.names()} < texts.keys()
    assert {"guide/sheet", "guide/glossary", "guide/lecturers"} < texts.keys()


def test_answers_are_hidden_in_both_languages(edition):
    page = edition[1]["bank/01_principle"]
    shown = [page.count(f'<div class="said" lang="{code}">') for code in LANGUAGES]
    assert shown == 2 * [len(ids(page)) - 1] and page.count("<details><summary>") == sum(shown)


def test_a_method_says_where_it_is_from_and_how_it_did(edition):
    language, texts = edition
    page = texts["methods/dist"]
    for words in ("Huang et al. 2022", "dist_loss", "#L-", "Pearson", "records/leaderboard.html"):
        assert words in page
    board = dict(zip(pages.ROW, next(tables.method_rows("DIST", language)), strict=True))
    assert (board["arm"], board["seeds"], board["control"]) == ("DIST", 10, "labels")
    assert board["mean"] in page and board["difference"] in page


def test_every_method_is_checked_somewhere(edition):
    methods = {name: page for name, page in edition[1].items() if name.startswith("methods/")}
    assert all("source/tests/" in methods[name] for name in methods.keys() - {"methods/index"})


def test_a_record_says_how_it_was_made(edition):
    page, record = edition[1]["records/leaderboard"], results.read("leaderboard")
    for words in (record["command"], record["commit"], record["date"], results.chip(record), "±"):
        assert words in page


def test_a_source_page_has_every_line():
    page = pages.source_page("kdlab/apps/i18n.py")
    lines = (ROOT / "kdlab/apps/i18n.py").read_text(encoding="utf-8").splitlines()
    assert page.count('id="L-') == len(lines) and "nosearch: true" in page


def test_search_splits_both_languages():
    hooks = pytest.importorskip(
        "kdlab.apps.classroom.book.hooks", reason="the builder is not installed"
    )
    pieces = hooks.Search({}).split("暗知识 is dark_knowledge，温 T2")
    assert pieces == ["暗知", "知识", "is", "dark_knowledge", "温", "T2"]


def test_without_its_builder_the_last_book_stays(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "book/index.html").write_text("the last one")
    monkeypatch.setattr(build, "NEEDED", ("no_such_package",))
    with pytest.raises(ValueError, match=r"not installed \(no_such_package\)"):
        build.write_book(tmp_path / "book")
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    with pytest.raises(ValueError, match=r"Python 3\.11"):
        build.write_book(tmp_path / "book")
    assert (tmp_path / "book/index.html").read_text() == "the last one"


@pytest.fixture
def quick(monkeypatch):
    """A builder that makes a book of one page at once."""

    def run(here):
        for name in ("index.html", "en/first.html"):
            write_text(here / "site" / name, "new")

    monkeypatch.setattr(build, "check_builder", lambda: None)
    monkeypatch.setattr(build, "write_sources", lambda *_: None)
    monkeypatch.setattr(build, "run_sphinx", run)


def held(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in build.leaves(folder)}


@pytest.mark.parametrize("foreign", ["thesis.tex", ".git/HEAD", "index.html"])
def test_a_folder_that_is_no_book_stays_as_it_is(tmp_path, quick, foreign):
    folder = tmp_path / "mine"
    write_text(folder / foreign, "my own")
    with pytest.raises(ValueError, match=r"holds .*, which is not of a book .* stays as it is"):
        build.write_book(folder)
    assert held(tmp_path) == {f"mine/{foreign}": "my own"}


def test_a_book_takes_the_place_of_a_book_alone(tmp_path, quick):
    folder = tmp_path / "book"
    folder.mkdir()
    for _ in range(2):  # an empty folder, then a book
        assert build.write_book(folder).read_text() == "new"
    (folder / "CNAME").write_text("my own")
    with pytest.raises(ValueError, match="holds CNAME"):
        build.write_book(folder)
    assert held(folder)["CNAME"] == "my own" and [p.name for p in tmp_path.iterdir()] == ["book"]


def test_where_the_swap_fails_the_last_book_is_back(tmp_path, quick, monkeypatch):
    folder, rename = tmp_path / "book", Path.rename
    build.write_book(folder)
    (folder / "index.html").write_text("the last one")

    def fails(path, target):
        if path.name == "site":
            raise OSError("disk")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="disk"):
        build.write_book(folder)
    assert (folder / "index.html").read_text() == "the last one"


def test_a_text_has_the_same_bytes_on_every_system(tmp_path, monkeypatch):
    """As on Windows, where a text file opened without `newline` turns each line's end."""
    plain = Path.write_text

    def windows(path, text, *given, newline="\r\n", **options):
        return plain(path, text, *given, newline=newline, **options)

    monkeypatch.setattr(Path, "write_text", windows)
    assert write_text(tmp_path / "a.txt", "一\nb\n").read_bytes() == "一\nb\n".encode()


def test_a_question_is_found_in_the_book_by_its_follow_ups_and_its_body():
    item = bank.items()["high-temperature-limit"]
    page = pages.macros("en").bank_index({item["chapter"]: "02_objective"}, [item])
    said = re.search('data-words="([^"]*)"', page)
    said = html.unescape(said[1])
    asked = next(one["question"] for one in item["follow_ups"] if "question" in one)
    for text in (asked["en"], asked["zh"], item["full"]["en"].split()[0]):
        assert text.strip().casefold() in said
