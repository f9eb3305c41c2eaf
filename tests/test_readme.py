"""The READMEs: what they say about chapters, teachers and results is what the files say."""

import io

import numpy as np
import pytest
import render_picture
import render_readme as readme
from PIL import Image

from kdlab.apps.style import chinese_font
from kdlab.files import ROOT


@pytest.mark.parametrize("name", readme.PAGES)
def test_blocks_are_what_the_records_say(name):
    text = (ROOT / name).read_text("utf-8")
    assert "<!-- " in text
    assert readme.render(text, readme.PAGES[name]) == text, "run: python tests/render_readme.py"


@pytest.mark.parametrize("language", render_picture.FILES)
def test_the_picture_is_small_and_drawn_again_shows_the_same(language):
    path, told = ROOT / render_picture.FILES[language], render_picture.story()
    assert path.stat().st_size < 150_000
    with Image.open(path) as picture:
        assert picture.width >= 1000
        assert picture.info["Description"] == render_picture.describe(told, language)
        committed = np.asarray(picture.convert("L").resize((120, 54)), float)
    if language == "zh" and not chinese_font():
        pytest.skip("no Chinese font here")
    again = Image.open(io.BytesIO(render_picture.draw(told, language))).convert("L")
    drawn = np.asarray(again.resize((120, 54)), float)
    assert np.abs(drawn - committed).mean() < 4  # of 255: another matplotlib, another font


def test_each_language_links_the_other():
    assert "(README.zh.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "(README.md)" in (ROOT / "README.zh.md").read_text("utf-8")


def test_every_chapter_is_linked_from_the_first():
    first = (ROOT / "notebooks" / "00_start_here.ipynb").read_text("utf-8")
    for path in readme.find()[1:]:
        if path.stem[0] == "A":  # an appendix: its chapter leads there
            continue
        assert f"({path.name})" in first, f"00_start_here does not link {path.name}"
