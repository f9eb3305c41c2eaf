"""Diagrams: their files are current; words fit their boxes, nothing overlaps, arrows join boxes."""

import base64
import itertools
import re
import xml.etree.ElementTree as ElementTree

import draw_diagrams
import pytest

from kdlab.apps.chapters import diagrams
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.style import COLOURS

NAMES = list(itertools.product(draw_diagrams.described(), LANGUAGES))


@pytest.fixture(params=NAMES, ids="-".join)
def drawn(request):
    return draw_diagrams.draw(*request.param)


def width(words, size, latin=0.56):
    """About how wide: a Chinese character is 1 em, a Latin one 0.56 (0.6 in bold)."""
    return size * sum(1 if ord(c) > 0x2E7F else latin for c in words)


def overlap(a, b, room=0):
    """Whether two rectangles (x, y, w, h) are nearer to each other than `room`."""
    return all(a[i] < b[i] + b[i + 2] + room and b[i] < a[i] + a[i + 2] + room for i in (0, 1))


def stretches(arrow):
    for (x1, y1), (x2, y2) in itertools.pairwise(arrow.points):
        yield min(x1, x2), min(y1, y2), abs(x1 - x2), abs(y1 - y2)  # one of the two is 0


def test_every_file_is_what_the_description_draws():
    drawings = draw_diagrams.drawings()
    committed = {path: path.read_text("utf-8") for path in diagrams.FOLDER.iterdir()}
    stale = [path.name for path, svg in drawings.items() if committed.get(path) != svg]
    assert not stale, f"{stale} are stale: redraw them with `python tests/draw_diagrams.py`"
    assert committed.keys() == drawings.keys(), "a file that data/diagrams.yaml does not describe"


@pytest.mark.parametrize(("name", "language"), NAMES)
def test_a_notebook_shows_the_committed_picture_with_its_title_and_alt_text(name, language):
    shown, drawn = diagrams.draw(name, language), draw_diagrams.draw(name, language)
    image = ElementTree.fromstring(shown._repr_html_().removesuffix(">") + "/>")
    source = image.get("src").removeprefix("data:image/svg+xml;base64,")
    assert (base64.b64decode(source).decode(), image.get("alt")) == (drawn.svg(), drawn.alt)
    assert repr(shown) == f"Diagram(title={drawn.title!r}, alt={drawn.alt!r})"


def test_the_picture_stands_alone_and_says_what_it_shows(drawn):
    svg = drawn.svg()
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert (root.findtext("{*}title"), root.findtext("{*}desc")) == (drawn.title, drawn.alt)
    assert not re.search("<script|<style|class=|id=|href|var[(]", svg)
    assert min(int(e.get("font-size", 99)) for e in root.iter()) >= 14  # seen from the last row
    roles = {box.role for box in drawn.boxes.values()} - {"plain", "note"}
    assert all(f'stroke="{COLOURS[role]}"' in svg for role in roles)


def test_words_fit_their_boxes_and_no_boxes_overlap(drawn):
    assert sum(box.role != "note" for box in drawn.boxes.values()) <= 12
    assert width(drawn.title, 23, 0.6) <= draw_diagrams.WIDTH - 2 * draw_diagrams.MARGIN
    for a, b in itertools.combinations(drawn.boxes.values(), 2):
        assert not overlap(a, b, room=12)
    for box in drawn.boxes.values():
        assert len(re.findall("[A-Za-z][A-Za-z-]+", " ".join(box.lines))) <= 6
        assert draw_diagrams.LEADING * len(box.lines) + draw_diagrams.BARS * bool(box.bars) < box.h
        for i, line in enumerate(box.lines):
            assert (
                width(line, *((draw_diagrams.LINE,) if i else (draw_diagrams.HEAD, 0.6))) + 12
                <= box.w
            )


def test_arrows_begin_and_end_at_boxes_and_cross_nothing(drawn):
    for arrow in drawn.arrows:
        w, (x, y, anchor) = width(arrow.words, draw_diagrams.LINE), arrow.at
        words = (x - w / 2 if anchor == "middle" else x, y - 12, w, 15)
        lines = [line for other in drawn.arrows if other != arrow for line in stretches(other)]
        assert not any(overlap(words, it) for it in [*drawn.boxes.values(), *lines] if w)
        assert not any(overlap(it, b) for it in stretches(arrow) for b in drawn.boxes.values())
        for (x, y), end in zip((arrow.points[0], arrow.points[-1]), arrow.ends, strict=True):
            assert overlap((x, y, 0, 0), drawn.boxes[end], room=1e-6)  # and not inside: see above


def test_a_wrong_name_is_told_with_the_names():
    with pytest.raises(ValueError, match="'distilation'; there are: answers, course, deployment"):
        diagrams.draw("distilation")
