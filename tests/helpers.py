"""What several test files do alike."""

import re
from datetime import datetime, timedelta, timezone

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)  # of the clock that a test sets
DAY = timedelta(days=1)

CODE = re.compile(r"(?s)```python\n(.*?)```")
SMALL = {*"a an the is are and or of to in on it its you your what how does do with for".split()}

DAMAGE = {  # what can have happened to the bytes of a file
    "empty": lambda raw: b"",
    "half": lambda raw: raw[: len(raw) // 2],
    "a byte short": lambda raw: raw[:-1],
    "a byte more": lambda raw: raw + b"x",
    "a bit in the middle": lambda raw: flip(raw, len(raw) // 2),
    "a bit at the end": lambda raw: flip(raw, len(raw) - 1),
    "another file": lambda raw: b"<html>Please log in</html>",
}


def flip(raw, place):
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def drag(page, slider, to=1.0):
    """Drag a slider with the mouse from its middle to this share of its width."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + to * box["width"], y, steps=4)
    page.mouse.up()


def words(question: str) -> set[str]:
    """A question as a set of words (Chinese: pairs of characters), without code and small words."""
    text = re.sub("`[^`]*`", " ", CODE.sub(" ", question.lower()))
    return {*re.findall(r"[a-z0-9]+", text), *re.findall("(?=([\u4e00-\u9fff]{2}))", text)} - SMALL
