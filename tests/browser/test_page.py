"""The page in headless Chromium: ten drawn digits, temperature, photo, keyboard, screen sizes."""

import math
from types import SimpleNamespace

import pytest
from PIL import Image

from kdlab.apps.onnx_file import write_onnx
from kdlab.apps.serving import export, load_test
from kdlab.models import cnn3

playwright = pytest.importorskip("playwright.sync_api", reason="needs the test extra's Playwright")

FITS = "document.documentElement.scrollWidth <= window.innerWidth"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


def arc(cx, cy, rx, ry, start, end, steps=24):
    """Points of an ellipse's arc, angles in degrees, clockwise from the right as on a screen."""
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


DIGITS = {  # strokes on a pad of 280 x 280, written as one writes by hand
    0: [arc(140, 140, 55, 85, -90, 270)],
    1: [[(120, 80), (150, 50), (150, 230)]],
    2: [[*arc(140, 100, 55, 50, -170, 40), (90, 220), (200, 220)]],
    3: [[*arc(135, 95, 50, 45, -160, 90), *arc(135, 185, 58, 45, -90, 160)]],
    4: [[(110, 55), (85, 150), (190, 150)], [(170, 60), (165, 235)]],
    5: [[(185, 60), (110, 60), (103, 130), *arc(135, 170, 55, 50, -110, 150)]],
    6: [[(170, 50), (115, 110), *arc(140, 180, 48, 48, 200, 560)]],
    7: [[(85, 65), (190, 65), (125, 230)]],
    8: [arc(140, 95, 40, 42, 90, 450) + arc(140, 185, 50, 48, -90, 270)],
    9: [[*arc(140, 100, 45, 45, 0, -360), (180, 230)]],
}


@pytest.fixture(scope="module")
def site():
    """The real service with the models of MNIST and CIFAR-10."""
    paths = export.exported_models(int8=False)
    with load_test.serving(models=[p for n, p in paths.items() if "labels" not in n]) as (url, _):
        yield url


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request, site, browse):
    """The page, loaded; a request to any other address, or an error in the console, fails it."""
    options = {"has_touch": request.param is PHONE, "device_scale_factor": 2, **request.param}
    page = browse(site, (site,), console=("error",), **options)
    page.wait_for_selector("body[data-ready=mnist]")
    yield page
    assert not page.troubles


def draw(page, digit):
    """Write a digit with the mouse."""
    page.click("#clear")
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()

    def at(point):
        return [box[k] + v * box["width"] / 280 for k, v in zip("xy", point, strict=True)]

    for stroke in DIGITS[digit]:
        page.mouse.move(*at(stroke[0]))
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*at(point), steps=3)
        page.mouse.up()


def wait_for(page, label, role="distilled"):
    """Wait until this model's answer is `label`; False if it is another."""
    try:
        answer = f"#{role}[data-label='{label}']"
        return bool(page.wait_for_selector(answer, state="attached", timeout=20_000))
    except playwright.TimeoutError:
        return False


def shares(page, role="distilled"):
    """The probabilities shown, in percent."""
    return [float(w.rstrip("%")) for w in page.locator(f"#{role} .share").all_inner_texts()]


def test_ten_of_ten_drawn_digits_are_read(page, shot):
    wrong = []
    for digit in DIGITS:
        draw(page, digit)
        wrong += [digit] * (not wait_for(page, str(digit)))
        if digit == 3:
            shot(page, f"draw-{page.viewport_size['width']}", full_page=True)
    assert not wrong and sum(shares(page)) == pytest.approx(100, abs=1)


def test_the_temperature_flattens_and_sharpens_both_answers(page):
    draw(page, 4)
    assert wait_for(page, "4") and wait_for(page, "4", "teacher")
    before = {role: max(shares(page, role)) for role in ("distilled", "teacher")}
    page.locator("#temperature").fill("4")
    assert all(max(shares(page, role)) < top for role, top in before.items())
    page.locator("#temperature").fill("-2")
    assert min(map(max, (shares(page), shares(page, "teacher")))) >= 99


def test_the_keyboard_draws_and_clears(page):
    page.focus("#pad")
    for key in [*["ArrowUp"] * 8, "Space", *["ArrowDown"] * 15, "Space"]:
        page.keyboard.press(key)
    assert wait_for(page, "1")
    page.keyboard.press("Delete")
    assert wait_for(page, "")


def test_a_photo_is_classified_and_a_text_file_refused(page, shot, tmp_path):
    page.click("#show-photo")
    page.wait_for_selector("body[data-ready=cifar10]")
    page.locator("#samples button").nth(8).click()
    assert wait_for(page, "ship", "teacher")
    assert sum(shares(page, "teacher")) == pytest.approx(100, abs=1)
    shot(page, f"photo-{page.viewport_size['width']}", full_page=True)
    text = tmp_path / "not-a-photo.png"
    text.write_text("no")
    page.set_input_files("#file", text)
    page.wait_for_selector("#status.failed")
    assert "not an image" in page.inner_text("#status")
    assert page.evaluate(FITS)


def test_it_fits_the_screen_and_speaks_two_languages(page):
    assert page.evaluate(FITS)
    page.click("#language")
    assert "蒸馏" in page.inner_text("h1") and page.evaluate(FITS)
    assert page.evaluate("document.documentElement.lang") == "zh"
    buttons = "[...document.querySelectorAll('button')].filter(b => b.offsetParent)"
    assert page.evaluate(f"{buttons}.filter(b => b.offsetHeight < 40).map(b => b.id)") == []


def test_somebodys_own_student_is_asked_about_a_photo(browse, tmp_path):
    """A file as `kdlab distil` writes it: other classes, another size, no digit and no teacher."""
    about = SimpleNamespace(mean=(0.5,) * 3, std=(0.25,) * 3, classes=("小猫", "big dog"))
    notes = {"name": "runs-student", "role": "distilled", "data": "photos/train"}
    path = write_onnx(cnn3(8, 2), about, (3, 48, 48), tmp_path / "student.onnx", **notes)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (200, 150), (200, 80, 30)).save(photo)
    with load_test.serving(models=[path]) as (url, _):
        page = browse(url, (url,), console=("error",))
        page.wait_for_selector("body[data-ready='photos/train']")
        assert not page.locator("#show-draw").is_visible()
        assert not page.locator("#teacher").is_visible() and not page.locator("#ten").is_visible()
        page.set_input_files("#file", photo)
        page.wait_for_selector("#distilled[data-label]:not([data-label=''])")
        assert page.locator("#distilled li").all_inner_texts()[0].startswith("小猫")
        assert page.locator("#distilled").get_attribute("data-label") in about.classes
        assert page.troubles == []
