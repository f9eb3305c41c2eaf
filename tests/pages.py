"""What a page of panels is asked in the browser: barriers, what is cut off, has it learnt."""

from pathlib import Path

HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A panel</title>
<style>:root { color-scheme: light dark } body { background: Canvas; color: CanvasText }</style>
<main><h1>A panel</h1>"""
AXE = Path(__file__).parent / "browser" / "vendor" / "axe.min.js"
BARRIERS = """() => axe.run({resultTypes: ['violations']}).then(found => found.violations
    .filter(({impact}) => ['serious', 'critical'].includes(impact))
    .flatMap(({id, nodes}) => nodes.map(node => `${id}: ${node.html.slice(0, 120)}`)))"""
FAULTS = """() => {  // texts that are too small or reach out of the panel, and sideways scroll
    const box = document.querySelector('.kdlab-panel').getBoundingClientRect();
    const wrong = [...document.querySelectorAll('.kdlab-panel :is(text, label, p, li, canvas)')];
    const faults = wrong.filter(one => {
        const {left, right} = one.getBoundingClientRect();
        const size = parseFloat(getComputedStyle(one).fontSize);
        return left < box.left - 1 || right > box.right + 1 || size < 11;
    }).filter(one => one.getClientRects().length).map(one => one.textContent);
    const root = document.documentElement;
    return root.scrollWidth > root.clientWidth ? [...faults, 'sideways scroll'] : faults;
}"""
POLICY = '<meta http-equiv="Content-Security-Policy" content="worker-src \'none\'">'
WITHOUT_WORKERS = HEAD.replace("<title>", f"{POLICY}<title>")  # it counts in the head alone
STATE = "document.querySelector('.kdlab-panel').state"
DONE = f"() => {STATE}?.done"
