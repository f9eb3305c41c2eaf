"""Every deck in Chromium at 1280 x 720, slide by slide: all of it is seen, nothing is asked for."""

import itertools

import pytest
from helpers import drag

from kdlab.apps.classroom import decks, lectures
from kdlab.apps.classroom.runner import find
from kdlab.apps.i18n import LANGUAGES

PLANNED = [path.stem for path in sorted(lectures.PLANS.glob("*.yaml"))]
FAULTS = """() => {  // what reaches out of the slide or is covered by what stands below it
    const slide = Reveal.getCurrentSlide();
    const body = slide.querySelector('.body').getBoundingClientRect();
    const parts = [...slide.querySelectorAll('*')].filter(one => one.getClientRects().length)
        .filter(one => !one.closest('.katex-mathml, .katex-html, script, style'))
        .filter(one => !one.parentElement.closest('.kdlab-advice'));  // it scrolls
    return parts.filter(one => {
        const {left, right, top, bottom} = one.getBoundingClientRect();
        const low = one.closest('.body') ? body.bottom : innerHeight;
        const cut = getComputedStyle(one).overflowY === 'hidden';
        return left < 0 || top < 0 || right > innerWidth || bottom > low + 1
            || (cut && one.scrollHeight > one.clientHeight + 2);
    }).map(one => `${Reveal.getIndices().h + 1}: ${one.tagName} ${one.className}`);
}"""
SMALL = """() => [...document.querySelectorAll('.text, .ask, .body pre, td, .record')].filter(
    one => parseFloat(getComputedStyle(one).fontSize) < 18).map(one => one.textContent)"""
PANEL = "Reveal.getCurrentSlide().querySelector('.kdlab-panel')"


@pytest.fixture(params=itertools.product(PLANNED, LANGUAGES), ids="-".join)
def deck(request, browse, tmp_path):
    """A deck that is open; in the end nothing was asked for outside it, or complained of."""
    (path,) = find(request.param[:1])
    (file,) = decks.write_decks(path, tmp_path, request.param[1])
    page = browse(file.as_uri())
    page.wait_for_function("Reveal.isReady()")
    yield page, lectures.read_lecture(path)[0], "-".join(request.param)
    assert not page.troubles


def test_slide_by_slide(deck, shot):
    page, slides, name = deck
    dragged = 0
    for number in range(len(slides)):
        assert page.evaluate("Reveal.getIndices().h") == number
        if page.evaluate(f"!!{PANEL}"):
            page.wait_for_function(f"{PANEL}.querySelector('.kdlab-figure > *')")
            dragged += move(page)
        assert page.evaluate(FAULTS) == []
        shot(page, f"deck-{name}-{number + 1}")
        page.keyboard.press("PageDown")  # a clicker's key, wherever the focus is
    assert dragged and page.evaluate(SMALL) == []
    assert page.locator(".math").count() == page.locator(".math:has(math)").count() > 0


def move(page) -> bool:
    """Move the panel's first slider to its end, or choose another option; the picture follows."""
    before = page.evaluate(f"JSON.stringify({PANEL}.state)")
    slider = page.locator("section.present input[type=range]").first
    if slider.count():
        drag(page, slider)
        page.keyboard.press("ArrowLeft")  # moves the slider, and not the deck
    else:
        page.locator("section.present .kdlab-panel select").first.select_option(index=1)
    return page.evaluate(f"JSON.stringify({PANEL}.state)") != before


def test_speaker_view_and_paper(deck):
    page, slides, _ = deck
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    speaker = opened.value
    speaker.wait_for_selector(".speaker-controls-notes .value strong")
    assert f"{slides[0]['minutes']} " in speaker.inner_text(".speaker-controls-notes .value")
    speaker.close()
    page.goto(page.url.split("#")[0] + "?view=print")
    page.wait_for_selector(".pdf-page")
    assert page.locator(".pdf-page").count() == len(slides)
