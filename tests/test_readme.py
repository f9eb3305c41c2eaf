"""The READMEs: what they say about chapters, teachers and results is what the files say."""

import re

import pytest
import render_readme as readme
from PIL import Image

from kdlab.files import ROOT


@pytest.mark.parametrize("path", readme.READMES, ids=lambda path: path.parent.name)
def test_blocks_are_what_the_records_say(path):
    text = path.read_text("utf-8")
    assert "<!-- " in text
    assert readme.render(text) == text, "run: python tests/render_readme.py"


def test_the_picture_is_there_small_and_described():
    assert readme.PICTURE.stat().st_size < 100_000
    with Image.open(readme.PICTURE) as picture:
        assert picture.width > 400
    name = readme.PICTURE.relative_to(ROOT).as_posix()
    assert re.search(rf"!\[.{{20,}}\]\({name}\)", (ROOT / "README.md").read_text("utf-8"))


def test_every_chapter_is_linked_from_the_first():
    first = (ROOT / "notebooks" / "00_start_here.ipynb").read_text("utf-8")
    for path in readme.find()[1:]:
        assert f"({path.name})" in first, f"00_start_here does not link {path.name}"
