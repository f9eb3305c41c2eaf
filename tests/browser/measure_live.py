"""How fast the student in the page learns, and what comes out over 20 seeds; run by hand:

    taskset -c 0 python -m pytest -s tests/browser/measure_live.py

From file://, with the network off. The first table: seconds from a change of a control until all
students have learnt, those of them that the page's threads had a processor (whatever else the
machine does), and how long frames are meanwhile (ms), by the clock and by what the main thread ran.
The second: 20 seeds. With `taskset` all share one core with a process that only counts.
`KDLAB_LIVE=slices` forbids the page a Worker.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import DONE, HEAD, STATE, WITHOUT_WORKERS
from specimens import bundle

from kdlab.apps.chapters.panels import base
from kdlab.apps.chapters.panels.live_student import live_student_panel as PANEL
from kdlab.lab import stats

ROUNDS = 10  # of each change
BUSY = [sys.executable, "-c", "n = 0\nwhile True: n += 1"]
CHANGE = """([kind, n]) => new Promise(told => {  // a control moves; seconds until all have learnt
    const panel = document.querySelector('.kdlab-panel'), frames = [];
    const [digit, labels, temperature, targets] =
        panel.querySelectorAll('.kdlab-control :is(select, input)');
    const [again, many] = [panel.querySelector('.kdlab-control > button'),
        panel.querySelector('[type=checkbox]')];
    const inputs = {digit, labels, temperature, targets, many};
    const start = performance.now(), least = kind === 'nothing' ? 1000 : 0;
    let before = 0;
    if (kind === 'seed') again.click();
    else if (kind === 'many') inputs.many.click();
    else if (kind in inputs) {
        const input = inputs[kind], select = input.tagName === 'SELECT';
        input[select ? 'selectedIndex' : 'value'] = n;
        input.dispatchEvent(new Event(select ? 'change' : 'input'));
    }
    requestAnimationFrame(function tick(now) {
        if (before) frames.push(now - before);
        before = now;
        if (!panel.state.done || now < start + least) {
            return requestAnimationFrame(tick);
        }
        told({seconds: (performance.now() - start) / 1000, frames});
    });
})"""
PLACES = {  # a control -> its places, each new when it is reached; at first, a second's rest
    "nothing": range(5),
    "temperature": [0, 1, 2, 3, 4, 6, 7, 8, 9, 10],
    "seed": range(ROUNDS),
    "targets": [1, 2, 0],
    "digit": [0, 1, 2, 4, 5, 6, 7, 8, 9, 10],
    "labels": [0, 1, 2, 3, 4],
}


@pytest.fixture
def page(browse, tmp_path):
    """The panel in a page, all having learnt."""
    file = tmp_path / "page.html"
    head = WITHOUT_WORKERS if os.environ.get("KDLAB_LIVE") == "slices" else HEAD
    file.write_text(head + base.standalone(bundle(PANEL())), encoding="utf-8")
    page = browse(file.as_uri(), (file.as_uri(),), console=(), offline=True)
    page.wait_for_function(DONE)
    page.set_default_timeout(600_000)
    return page


@pytest.fixture
def busy():
    """Another process that never rests."""
    process = subprocess.Popen(BUSY)
    yield
    process.kill()
    process.wait()


def renderer(chromium) -> int:
    """The process of the page."""
    session = chromium.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    renderers = [process for process in processes if process["type"] == "renderer"]
    return max(renderers, key=lambda process: process["cpuTime"])["id"]


def ran(process: int) -> tuple[float, float]:
    """Seconds that all threads of a process have run, and its main thread."""
    threads = {task.name: task / "schedstat" for task in Path(f"/proc/{process}/task").iterdir()}
    spent = {name: int(stat.read_text().split()[0]) / 1e9 for name, stat in threads.items()}
    return sum(spent.values()), spent[str(process)]


def test_seconds_and_frames(page, busy, chromium):
    process, rows = renderer(chromium), {}
    for kind, places in PLACES.items():
        rows[kind] = []
        for place in places:
            before = ran(process)
            change = page.evaluate(CHANGE, [kind, place])
            change["ran"], change["main"] = np.subtract(ran(process), before)
            rows[kind].append(change)
    rows["all"] = [change for kind in rows if kind != "nothing" for change in rows[kind]]
    print(f"\n{len(os.sched_getaffinity(0))} core(s), another process busy")
    print(pd.DataFrame({kind: told(changes) for kind, changes in rows.items()}).T.to_string())


def told(changes) -> dict:
    seconds, processor = ([change[key] for change in changes] for key in ("seconds", "ran"))
    frames = np.concatenate([change["frames"] for change in changes])
    main = sum(change["main"] for change in changes) / len(frames)
    numbers = {
        **dict(zip(("s p50", "s p95"), np.percentile(seconds, [50, 95]), strict=True)),
        **dict(zip(("ran p50", "ran p95"), np.percentile(processor, [50, 95]), strict=True)),
        **{"frame p95": np.percentile(frames, 95), "frame max": frames.max()},
        **{"main a frame": 1000 * main, "frames": len(frames), "over 32": sum(frames > 32)},
    }
    return {key: round(float(number), 2) for key, number in numbers.items()}


def test_twenty_seeds(page):
    """With 3 left out, and with 10 labels a digit: students' means, and paired intervals."""
    for digit, labels in ((3, 5), (10, 1)):
        for kind, place in (("digit", digit), ("labels", labels), ("targets", 1), ("many", 0)):
            page.evaluate(CHANGE, [kind, place])
        state = page.evaluate(STATE)
        scores = {}
        for name, each in state["students"].items():
            ends = [looks[-1]["after"] for looks in each]
            scores[name] = [end[3] if state["digit"] == 3 else sum(end) / 10 for end in ends]
        print(f"\nleft out: {state['digit']}, labels a digit: {state['labels']}")
        for name, values in scores.items():
            print(f"{name:9} {np.mean(values):5.1f}")
        for other in ("labels", "shuffled"):
            gap = stats.paired(scores["soft"], scores[other])
            wins = sum(a > b for a, b in zip(scores["soft"], scores[other], strict=True))
            print(
                f"soft - {other}: {gap.mean:+.1f} ({gap.low:+.1f} to {gap.high:+.1f}), "
                f"{wins} of {gap.pairs}"
            )
        page.evaluate(CHANGE, ["many", 0])
