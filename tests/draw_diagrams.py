"""Draw the course's diagrams: data/diagrams.yaml -> places -> SVG whose text stays text.

python tests/draw_diagrams.py
writes data/diagrams/NAME.LANGUAGE.svg; tests/test_diagrams.py fails where a file is stale.

A box has a place on the diagram's grid, a role (its colour) and words, the first line being its
head. An arrow goes along the grid: straight where two boxes face each other, else round corners.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import yaml

from kdlab.apps.chapters.diagrams import FOLDER
from kdlab.apps.i18n import LANGUAGES, text
from kdlab.apps.style import COLOURS
from kdlab.files import EMBEDDED, write_text

WIDTH, MARGIN, TOP = 960, 28, 74
HEAD, LINE, LEADING, BARS = 17, 15, 21, 54  # sizes of text, of a line, of a bar chart
INK = "#1F2328"
LOOKS = {**COLOURS, "plain": "#98A2AC", "note": "#FFFFFF"}  # the last two: no net, no label
PAGE = f"""<svg xmlns="http://www.w3.org/2000/svg" role="img" lang="{{0.language}}" width="{WIDTH}"
 height="{{0.height:g}}" viewBox="0 0 {WIDTH} {{0.height:g}}" style="max-width:100%;height:auto"
 font-family="Arial,Helvetica,'Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif"
 font-size="{LINE}" text-anchor="middle" fill="{INK}" stroke-width="2">
<title>{{1}}</title><desc>{{2}}</desc>
<rect width="100%" height="100%" rx="16" fill="#FFFFFF" stroke="#D0D7DE"/>
<text x="{MARGIN}" y="46" font-size="23" font-weight="bold" text-anchor="start">{{1}}</text>
{{3}}
</svg>"""  # a white card, so that it reads on a dark page, too


class Box(NamedTuple):
    x: float
    y: float
    w: float
    h: float
    role: str
    lines: list[str]
    bars: list[float]  # a distribution over classes, drawn under the words


class Arrow(NamedTuple):
    ends: tuple[str, str]
    points: list[tuple[float, float]]
    role: str  # "plain", or "accent" for a gradient's way, which is dashed
    words: str
    at: tuple[float, float, str]  # of the words: the anchor, and what of them is anchored there


class Diagram(NamedTuple):
    """A diagram, in pixels of a picture 960 wide."""

    title: str
    alt: str
    language: str
    height: float
    boxes: dict[str, Box]
    arrows: list[Arrow]

    def svg(self) -> str:
        parts = [part for box in self.boxes.values() for part in _drawn_box(box)]
        parts += [part for arrow in self.arrows for part in _drawn_arrow(arrow)]
        return PAGE.format(self, escape(self.title), escape(self.alt), "\n".join(parts))


@cache
def described() -> dict[str, dict]:
    """Every diagram as data: name -> title, alt, columns, rows, boxes, arrows."""
    return yaml.safe_load((EMBEDDED / "diagrams.yaml").read_text(encoding="utf-8"))


def draw(name: str, language: str) -> Diagram:
    """The diagram of this name, in one language."""
    plan = described()[name]
    columns, rows, gap = plan["columns"], plan["rows"], plan["gap"]
    spare = (WIDTH - 2 * MARGIN - sum(columns)) / (len(columns) - 1)
    boxes = {}
    for key, box in plan["boxes"].items():
        (column, row), (wide, high) = box["at"], box.get("size", (1, 1))
        x, w = _span(columns, spare, column, wide)
        y, h = _span(rows, gap, row, high)
        powers = [math.exp(v / box["T"]) for v in box.get("logits", [])]
        bars = [p / sum(powers) for p in powers]
        lines = text(box["words"], language).split("\n")
        boxes[key] = Box(MARGIN + x, TOP + y, w, h, box.get("role", "plain"), lines, bars)
    arrows = [_arrow(arrow, boxes, language) for arrow in plan["arrows"]]
    height = TOP + _span(rows, gap, 0, len(rows))[1] + plan.get("below", 0) + MARGIN
    title, alt = (text(plan[key], language) for key in ("title", "alt"))
    return Diagram(title, alt, language, height, boxes, arrows)


def _span(sizes: list[float], gap: float, first: int, count: int) -> tuple[float, float]:
    """Where `count` cells begin and how long they are, the gaps between them included."""
    return sum(sizes[:first]) + gap * first, sum(sizes[first : first + count]) + gap * (count - 1)


def _arrow(arrow: dict, boxes: dict[str, Box], language: str) -> Arrow:
    a, b = boxes[arrow["from"]], boxes[arrow["to"]]
    x, y = _shared(a.x, a.w, b.x, b.w), _shared(a.y, a.h, b.y, b.h)
    x1, x2 = x or a.x + a.w / 2, x or b.x + b.w / 2
    y1, y2 = (a.y + a.h, b.y) if a.y < b.y else (a.y, b.y + b.h)
    level = (y1 + y2) / 2
    if "under" in arrow or "over" in arrow:
        y1, y2 = (a.y + a.h, b.y + b.h) if "under" in arrow else (a.y, b.y)
        level = max(y1, y2) + arrow["under"] if "under" in arrow else min(y1, y2) - arrow["over"]
    elif y:
        y1 = y2 = level = y
        x1, x2 = (a.x + a.w, b.x) if a.x < b.x else (a.x, b.x + b.w)
    bends = [(x1, level), (x2, level)] if x1 != x2 and level not in (y1, y2) else []
    points = [(x1, y1), *bends, (x2, y2)]
    at = ((x1 + x2) / 2, level - 8, "middle") if x1 != x2 else (x1 + 10, level + 5, "start")
    words = text(arrow["words"], language) if "words" in arrow else ""
    return Arrow((arrow["from"], arrow["to"]), points, arrow.get("role", "plain"), words, at)


def _shared(a: float, a_length: float, b: float, b_length: float) -> float | None:
    """The middle of what two stretches have in common, if they have."""
    low, high = max(a, b), min(a + a_length, b + b_length)
    return (low + high) / 2 if low < high else None


def _drawn_box(box: Box) -> Iterator[str]:
    colour, middle = LOOKS[box.role], box.x + box.w / 2
    tint = 0 if box.role in ("plain", "note") else 0.14
    place = f'x="{box.x:.1f}" y="{box.y:g}" width="{box.w:.1f}" height="{box.h:g}" rx="10"'
    yield f'<rect {place} fill="{colour}" fill-opacity="{tint}" stroke="{colour}"/>'
    y = box.y + (box.h - LEADING * (len(box.lines) - 1) - BARS * bool(box.bars)) / 2 + 6
    for i, line in enumerate(box.lines):
        font = "" if i else f' font-size="{HEAD}" font-weight="bold"'
        yield f'<text x="{middle:.1f}" y="{y + LEADING * i:g}"{font}>{escape(line)}</text>'
    for i, share in enumerate(box.bars):
        x, h = middle + 24 * (i - len(box.bars) / 2) + 3, 1 + share * (BARS - 12)
        place = f'x="{x:.1f}" y="{box.y + box.h - 10 - h:.1f}" width="18" height="{h:.1f}"'
        yield f'<rect {place} fill="{colour}"/>'


def _drawn_arrow(arrow: Arrow) -> Iterator[str]:
    colour, dashes = (INK, "none") if arrow.role == "plain" else (LOOKS[arrow.role], "7 5")
    *before, (x0, y0), (x, y) = arrow.points
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)  # which way it arrives
    line = [*before, (x0, y0), (x - 9 * dx, y - 9 * dy)]
    head = [(x - dx, y - dy), *((x - 10 * dx + s * dy, y - 10 * dy + s * dx) for s in (-5, 5))]
    line, head = (" ".join(f"{x:.1f},{y:.1f}" for x, y in points) for points in (line, head))
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-dasharray="{dashes}"/>'
    yield f'<polygon points="{head}" fill="{colour}"/>'
    if arrow.words:
        place = 'x="{:.1f}" y="{:.1f}" text-anchor="{}"'.format(*arrow.at)
        yield f"<text {place}>{escape(arrow.words)}</text>"


def drawings() -> dict[Path, str]:
    """Every SVG file, and what it must hold."""
    return {
        FOLDER / f"{name}.{code}.svg": draw(name, code).svg()
        for name in described()
        for code in LANGUAGES
    }


if __name__ == "__main__":
    for path, svg in drawings().items():
        write_text(path, svg)
