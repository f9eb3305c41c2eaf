"""The panels' script in Chromium, without a kernel: its numbers are Python's at every position."""

import itertools
import json
import math

import pytest
from helpers import drag
from pages import AXE, BARRIERS, FAULTS
from specimens import PANELS, bundle

MOVE = """places => {  // puts each control of the first panel where it is told; the state
    const inputs = document.querySelectorAll('.kdlab-control :is(input, select)');
    inputs.forEach((input, n) => {
        const kind = {range: 'value', checkbox: 'checked'}[input.type] ?? 'selectedIndex';
        if (input[kind] == places[n]) return;
        input[kind] = places[n];
        input.dispatchEvent(new Event(input.type === 'range' ? 'input' : 'change'));
    });
    return document.querySelector('.kdlab-panel').state;
}"""
STATE = "() => document.querySelector('.kdlab-panel').state"


def positions(control):
    """Some places of a control, as the browser counts them, and their values in Python."""
    if control["kind"] == "switch":
        return [(True, True), (False, False)]
    if control["kind"] == "choice":
        values = [value for value, _ in control["options"]]
        return [(n, values[n]) for n in sorted({0, len(values) // 2, len(values) - 1})]
    low, high, step, base = (control[key] for key in ("low", "high", "step", "base"))
    ends = [round(math.log(end, base), 9) if base else end for end in (low, high)]
    count = math.floor((ends[1] - ends[0]) / step + 1e-9)
    places = [ends[0] + step * n for n in sorted({0, count // 3, count // 2, count})]
    return [(place, min(max(base**place if base else place, low), high)) for place in places]


def close(number):
    return pytest.approx(float(number), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", PANELS)
def test_the_script_computes_what_python_computes(show, name):
    panel = PANELS[name]()
    page, controls = show(bundle(panel)), bundle(panel)["controls"]
    grid = list(itertools.product(*map(positions, controls)))
    for chosen in grid[:: math.ceil(len(grid) / 40)] + grid[-1:]:
        for control, (_, value) in zip(controls, chosen, strict=True):
            setattr(panel, control["name"], value)
        wanted = {key: told for key, told in panel.state.items() if key != "images"}
        found = page.evaluate(MOVE, [place for place, _ in chosen])
        wanted = json.loads(json.dumps(wanted), parse_float=close)
        assert {key: found.get(key) for key in wanted} == wanted, chosen
    assert page.locator(".kdlab-panel").bounding_box()["height"] <= 600  # below Lab's menus


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PANELS)
def test_on_a_telephone_nothing_is_cut_off_or_a_serious_barrier(show, name, theme):
    page = show(bundle(PANELS[name]()), width=320, color_scheme=theme)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for language in ("English", "中文"):
        page.get_by_role("button", name=language).click()
        assert page.evaluate(FAULTS) == page.evaluate(BARRIERS) == [], language


def test_several_panels_on_a_page_do_not_touch_each_other(show):
    page = show(*(bundle(PANELS[name]()) for name in ("temperature", "temperature", "downloads")))
    first, second, _ = page.locator(".kdlab-panel").all()
    numbers = second.locator(".kdlab-numbers").inner_text()
    first.get_by_role("slider").first.press("ArrowRight")
    assert first.get_by_role("slider").first.get_attribute("aria-valuetext") == "4.11"
    assert second.locator(".kdlab-numbers").inner_text() == numbers
    second.get_by_role("button", name="中文").click()
    assert "温度 T" in second.inner_text() and "Temperature T" in first.inner_text()
    assert "熵" in second.get_by_role("img").first.get_attribute("aria-label")


def test_mouse_keys_and_finger(show):
    page = show(bundle(PANELS["temperature"]()), has_touch=True)
    slider = page.get_by_role("slider", name="Temperature T")
    drag(page, slider)
    assert page.evaluate(STATE)["temperature"] > 40
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + 12, box["y"] + box["height"] / 2)
    assert page.evaluate(STATE)["temperature"] < 0.4
    page.keyboard.press("Home")
    assert page.evaluate(STATE)["temperature"] == 0.25
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(STATE)["image"] == 1
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
