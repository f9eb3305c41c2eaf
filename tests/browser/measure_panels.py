"""How fast panels draw in JupyterLab, with an idle and with a busy kernel; run by hand:

    python -m pytest -s tests/browser/measure_panels.py

Prints a table: milliseconds of a frame from the change of a control to after it is painted (p50 and
p95), and p95 of what the page's main thread ran for it, whatever else the machine does (Linux); and
whether the keyboard and the Chinese words work. Pictures go to build/browser.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from specimens import PANELS

TIMES = "p50", "p95", "ran"
FRAMES = 80
TESTS = Path(__file__).parents[1]
SETUP = f"""
import sys; sys.path.insert(0, {str(TESTS)!r})
import torch; torch.set_num_threads(1)
from specimens import PANELS, bundle
made = {{}}
"""
FRAME = """root => new Promise(done => {  // the next position of the first control
    const input = root.querySelector('input[type=range], select'), after = new MessageChannel();
    requestAnimationFrame(() => {
        const start = performance.now();
        if (input.tagName === 'SELECT') {
            input.selectedIndex = (input.selectedIndex + 1) % input.options.length;
            input.dispatchEvent(new Event('change'));
        } else {
            const span = input.max - input.min, step = Math.max(input.step, span / 40);
            const next = Number(input.value) + step;
            input.value = next > input.max ? input.min : next;
            input.dispatchEvent(new Event('input'));
        }
        after.port1.onmessage = () => done(performance.now() - start);
        after.port2.postMessage('');  // comes after the frame is painted
    });
})"""
KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
SLEEP = f"""() => {{  // comm messages may run beside it and end as 'idle': ask the execution itself
    window.asleep = true;
    {KERNEL}.requestExecute({{code: 'import time; time.sleep(3000)'}})
        .done.finally(() => {{ window.asleep = false; }});
}}"""


def frames(browser, panel) -> tuple[float, float, float]:
    """p50 and p95 of a frame, and p95 of what the main thread ran for it, in milliseconds."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [process for process in processes if process["type"] == "renderer"]
    main = max(renderers, key=lambda process: process["cpuTime"])["id"]

    def ran() -> float:
        return int(Path(f"/proc/{main}/task/{main}/schedstat").read_text().split()[0]) / 1e6

    seen, work = [], []
    for _ in range(FRAMES):
        before = ran()
        seen.append(panel.evaluate(FRAME))
        work.append(ran() - before)
    session.detach()
    return *np.percentile(seen, [50, 95]), np.percentile(work, 95)


def scroll(page, number: int, milliseconds: int):
    """The panel of this cell, in sight and at rest."""
    there = f"jupyterapp.shell.currentWidget.content.scrollToItem({number}, 'start')"
    page.evaluate(f"() => {there}")
    panel = page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}'] .kdlab-panel")
    panel.wait_for()
    page.wait_for_timeout(milliseconds)
    return panel


def keys_work(page, panel) -> bool:
    """Whether keys move the first control, and leave the focus within the panel."""
    first, states = panel.locator("input[type=range], select").first, set()
    first.focus()
    for key in ("Home", "ArrowRight" if first.get_attribute("type") else "ArrowDown"):
        page.keyboard.press(key)
        states.add(panel.evaluate("root => JSON.stringify(root.state)"))
    kept = page.evaluate("() => document.activeElement.closest('.kdlab-panel') != null")
    return len(states) == 2 and kept


def test_benchmark(run, shot, chromium):
    cells = [f"made[{name!r}] = PANELS[{name!r}]()\nmade[{name!r}]" for name in PANELS]
    page = run("panels", SETUP, *cells, width=1280, height=720)
    page.set_default_timeout(500_000)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.wait_for_function(f"() => {KERNEL}.status === 'idle'")
    rows = {name: {} for name in PANELS}
    for state in ("idle", "busy"):
        if state == "busy":
            page.evaluate(SLEEP)
            page.wait_for_function(f"() => {KERNEL}.status === 'busy'")
        for n, (name, row) in enumerate(rows.items(), 1):
            panel = scroll(page, n, 300)
            took = frames(chromium, panel.element_handle())
            row |= {f"{state} {what}": round(ms, 1) for what, ms in zip(TIMES, took, strict=True)}
            row["keys"] = keys_work(page, panel) and row.get("keys", True)
            panel.get_by_role("button", name="中文").click()
            row["zh"] = "zh" in panel.get_attribute("lang")
            if state == "busy":
                shot(page, f"panel-{name}-lab")
                assert page.evaluate("() => window.asleep")
    command = "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    page.evaluate(f"() => {command}")
    page.wait_for_timeout(5000)
    for n, name in enumerate(PANELS, 1):
        scroll(page, n, 800)
        shot(page, f"panel-{name}-lab-dark")
    table = pd.DataFrame(rows).T
    print("\n" + table[sorted(table, key=lambda name: " " not in name)].to_string())
    assert not wrong and table["keys"].all() and table["zh"].all()
