"""axe-core finds no serious barrier in a deck; panels, too: tests/test_panels_browser.py."""

import pytest
from pages import AXE, BARRIERS

from kdlab.apps.classroom import decks
from kdlab.apps.classroom.runner import find
from kdlab.apps.i18n import LANGUAGES

KINDS = ".ask", ".kdlab-panel", "table"  # a slide of each
FAINT = "<html lang='en'><title>T</title><main><h1 style='color: #999; background: #fff'>faint"


@pytest.fixture
def opened(browse, tmp_path):
    """Open a page's HTML with axe-core in it."""

    def show(html: str, **options):
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        page = browse(file.as_uri(), **options)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        return page

    return show


def test_a_barrier_is_seen(opened):
    page = opened(FAINT)
    assert ["color-contrast" in found for found in page.evaluate(BARRIERS)] == [True]


@pytest.mark.parametrize("language", LANGUAGES)
def test_three_slides_of_a_deck(opened, language):
    page = opened(decks.make_deck(find(["01"])[0], language))
    page.wait_for_function("Reveal.isReady()")
    slides = page.locator(".slides > section")
    for kind in KINDS:
        with_it = f"all => all.findIndex(slide => slide.querySelector('{kind}'))"
        assert (number := slides.evaluate_all(with_it)) >= 0
        page.evaluate(f"Reveal.slide({number})")
        page.locator(f"section.present {kind}").first.wait_for()
        assert page.evaluate(BARRIERS) == [], kind
