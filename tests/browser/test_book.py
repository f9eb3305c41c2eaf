"""The book in Chromium, from the file system and with the network off."""

import re
from html import unescape
from urllib.parse import unquote

import pytest
from helpers import drag
from pages import AXE, BARRIERS, FAULTS

from kdlab.apps.i18n import LANGUAGES

pytest.importorskip("sphinx", reason="the book's builder is not installed")
from kdlab.apps.classroom.book.build import write_book

MOST_BYTES = 60_000_000
PAGES = (
    *("index", "chapters/00_start_here", "chapters/02_objective", "chapters/06_improvements"),
    *("bank/index", "bank/02_objective", "methods/index", "methods/contrastive"),
    *("records/index", "records/leaderboard", "guide/sheet", "guide/glossary", "guide/lecturers"),
    *("source/kdlab/losses/soft.py", "search"),
)
PANELS = "01_principle", "02_objective", "03_advantages", "04_scenarios", "05_challenges"
PANELS += "06_improvements", "07_real_world", "09_frontier"
SOUGHT = {  # language -> a term, and a page that has it
    "en": {
        "dark knowledge": "chapters/01_principle", "temperature": "chapters/02_objective",
        "quantisation": "chapters/04_scenarios", "capacity gap": "chapters/05_challenges",
        "projector": "chapters/06_improvements", "label smoothing": "records/leaderboard",
        "verification": "chapters/07_real_world", "contrastive": "methods/contrastive",
        "syllabi": "guide/lecturers", "暗知识": "bank/01_principle",
    },
    "zh": {
        "暗知识": "bank/01_principle", "软目标": "bank/02_objective",
        "教师模型": "bank/03_advantages", "温度": "bank/02_objective", "量化": "bank/04_scenarios",
        "容量差距": "bank/05_challenges", "投影层": "bank/06_improvements",
        "互学习": "methods/mutual-learning", "教学安排": "guide/lecturers",
        "contrastive": "methods/contrastive",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of the whole book, built once."""
    return write_book(tmp_path_factory.mktemp("build") / "book").parent


@pytest.fixture
def opened(browse, book):
    """Open a page of the book without a network; all that it asked for and that failed is kept."""

    def show(name: str, width: int = 1280, theme: str = "light"):
        name, _, query = name.partition("?")
        address = f"{book.as_uri()}/{name}.html?{query}"
        options = {"width": width, "height": 900, "color_scheme": theme, "offline": True}
        return browse(address, console=(), **options)

    return show


def test_every_link_leads_somewhere_and_nothing_is_outside(book):
    texts = {path: path.read_text(encoding="utf-8") for path in book.rglob("*.html")}
    ids = {path: {*re.findall(r'\s(?:id|name)="([^"]+)"', text)} for path, text in texts.items()}
    assert sum(file.stat().st_size for file in book.rglob("*") if file.is_file()) < MOST_BYTES
    for path, text in texts.items():
        text = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
        assert not re.search(r'<(?:link|img|iframe)[^>]*(?:src|href)="https?:', text), path
        assert not re.search(r'<img(?![^>]*alt="[^"]{3})', text), path
        for link in map(unescape, re.findall(r'<a\b[^>]*?\shref="([^"]*)"', text)):
            if not re.match("https?:|mailto:", link):
                file, anchor = map(unquote, link.partition("#")[::2])
                target = (path.parent / file).resolve() if file else path
                assert target.is_file() and (not anchor or anchor in ids[target]), f"{path}: {link}"


def test_both_editions_have_the_same_pages_and_chapters_the_same_anchors(book):
    folders = [book / code for code in LANGUAGES]
    pages = [{path.relative_to(folder) for path in folder.rglob("*.html")} for folder in folders]
    assert pages[0] == pages[1] and len(pages[0]) > 80
    for page in (page for page in pages[0] if page.parent.name == "chapters"):
        texts = [(folder / page).read_text("utf-8") for folder in folders]
        anchors = [{*re.findall(r'<(?:section|div)[^>]* id="([\w-]+)"', text)} for text in texts]
        assert anchors[0] ^ anchors[1] <= {"untranslated"}, page


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_on_a_phone(opened, language, name):
    page = opened(f"{language}/{name}", width=390)
    page.wait_for_load_state()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".katex-error").count() == 0
    assert page.troubles == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_serious_barrier(opened, name, theme):
    page = opened(f"en/{name}", theme=theme)
    page.wait_for_load_state()
    page.evaluate("document.querySelectorAll('article details').forEach(d => { d.open = true })")
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(BARRIERS) == []


@pytest.mark.parametrize(
    ("language", "term"), [(code, term) for code in SOUGHT for term in SOUGHT[code]]
)
def test_search_finds(opened, language, term):
    page = opened(f"{language}/search?q={term}")
    page.locator(f"#search-results a[href*='{SOUGHT[language][term]}']").first.wait_for()
    assert page.troubles == []


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_alive_and_whole(opened, name):
    page = opened(f"en/chapters/{name}")
    panel = page.locator(".kdlab-panel").first
    slider = panel.locator("input[type=range]").first
    moved = "([panel, before]) => panel.innerText !== before"
    for move in (lambda: drag(page, slider, to=0.9), lambda: slider.press("ArrowLeft")):
        before = panel.inner_text()
        move()
        page.wait_for_function(moved, arg=[panel.element_handle(), before])
    assert page.evaluate(FAULTS) == page.troubles == []


@pytest.mark.parametrize("name", ["index", "chapters/01_principle"])
def test_a_student_learns_in_the_page(opened, name):
    page = opened(f"zh/{name}")
    panel = page.locator(".kdlab-panel:has(button:text('种子'))")
    panel.scroll_into_view_if_needed()
    page.wait_for_function("panel => panel.state.done", arg=panel.element_handle())
    assert "不靠" not in panel.inner_text() and "打乱错误类别" in panel.inner_text()
    panel.locator("select").nth(1).select_option(index=1)
    panel.get_by_text("不靠相似性").wait_for()
    assert page.evaluate(FAULTS) == page.troubles == []


def test_what_it_learns_from_lies_in_the_book_once(book):
    (file,) = book.rglob("live-student.js")
    start = file.read_text("utf-8")[400:500]
    assert [page for page in book.rglob("*.html") if start in page.read_text("utf-8")] == []


def test_the_switch_leads_to_the_same_place(opened):
    page = opened("en/chapters/02_objective")
    page.goto(page.url + "#t-squared-law")
    page.locator(".book-language").first.click()
    page.wait_for_url("**/zh/chapters/02_objective.html#t-squared-law")
    assert page.locator("#t-squared-law").count() == 1


def test_questions_are_filtered_and_shown_in_both_languages(opened):
    page = opened("en/bank/index")
    rows, count = page.locator("tbody tr:visible"), page.locator(".book-filter output b")
    every = rows.count()
    page.fill("[name=words]", "logit MATCHING")  # words of an answer, too
    assert 0 < rows.count() < every and count.inner_text() == str(rows.count())
    page.fill("[name=words]", "")
    page.select_option("[name=level]", "level-3")
    page.select_option("[name=kind]", "kind-derivation")
    assert 0 < rows.count() < every and count.inner_text() == str(rows.count())
    assert not page.locator(".said[lang=zh]").first.is_visible()
    rows.first.locator("a:visible").click()
    card = page.locator("section.book-card:target")
    assert not card.locator("details").first.evaluate("answer => answer.open")
    assert page.locator(".said[lang=zh]:visible").count() == 0
    page.select_option("[name=languages]", "both")
    assert page.locator(".said[lang=zh]:visible").count() > 10
    page.get_by_label("Show all answers").check()
    assert card.locator("details[open]").count() == 2


def test_a_table_is_sorted(opened):
    page = opened("en/records/leaderboard")
    names = page.locator("table.sortable").first.locator("tbody td:first-child")
    head = page.get_by_role("button", name="accuracy").first
    head.click()
    lowest = names.first.inner_text()
    head.click()
    assert lowest == "random teacher" and names.first.inner_text() == "soft targets, equal seconds"
    assert page.locator("th[aria-sort=descending]").count() == 1
