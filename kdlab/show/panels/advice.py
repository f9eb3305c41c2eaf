"""The decision guide under dropdowns: every rule's evidence, and the advice that fires."""

import math
from collections.abc import Mapping, Sequence

import ipywidgets
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory

from kdlab.show import guide
from kdlab.show.page import Page
from kdlab.show.panels.base import Moving, Panel
from kdlab.show.style import COLOURS, ROLES, figure
from kdlab.words import LANGUAGES


def evidence_rows(rows: Sequence[Mapping], *, title: str = "") -> Moving:
    """A row a comparison: its name, how far it is from zero, its number.

    Whatever its unit, a dot outside the grey band is beyond noise, to the right it is better. A row
    has `name`, `number`, `strength` (NaN: nothing recorded) and `verdict`. Gives back move(lit),
    which dims all rows but those at the positions in `lit`, and returns the curtains that do it.
    """
    drawing = figure(12.5, 1.6 + 0.38 * len(rows), title)
    axis, curtains = drawing.subplots(), []
    axis.axvspan(-1, 1, color="0.9", zorder=0)
    found = [row["strength"] for row in rows if not math.isnan(row["strength"])]
    left, right = min([-1.5, *(1.4 * x for x in found)]), max([10.0, *(1.4 * x for x in found)])
    axis.set_xscale("symlog", linthresh=1, linscale=0.6)
    side = {"va": "center", "fontsize": 13, "transform": axis.get_yaxis_transform()}
    across = blended_transform_factory(drawing.transFigure, axis.transData)
    for n, row in enumerate(rows):
        colour, x = COLOURS[ROLES.get(row["verdict"], "label")], row["strength"]
        axis.plot([0, x], [n, n], color=colour, linewidth=2.5)
        axis.plot(x, n, "o", color=colour, markersize=9)
        axis.text(-0.01, n, row["name"], ha="right", **side)
        axis.text(1.01, n, row["number"], color=colour, **side)
        curtain = Rectangle((0, n - 0.5), 1, 1, transform=across, color="white", alpha=0.82, lw=0)
        curtain.set(clip_on=False, visible=False, zorder=9, in_layout=False)
        curtains.append(axis.add_artist(curtain))
    axis.set(xlim=(left, right), ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticks([])
    ticks = [t for t in (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100) if left <= t <= right]
    axis.set_xticks(ticks, [f"{t}" for t in ticks])
    axis.minorticks_off()
    axis.set_xlabel("t after Holm's correction / its 95% quantile (grey: noise; right: better)")

    def move(lit: Sequence[int]) -> list:
        for n, curtain in enumerate(curtains):
            curtain.set_visible(n not in lit)
        return curtains

    return drawing, move


def advice_panel() -> Panel:
    """The decision guide under dropdowns: every rule's evidence, and the advice that fires.

    Controls: one for each of `guide.choices()`, by its name. `.state` has the positions of the
    rules that fire (`lit`) and the advice as HTML (`en`, `zh`).
    """
    asked, rules = (guide.rulebook()[part] for part in ("constraints", "rules"))
    said = {
        code: {n: [(w[code], v) for v, w in s["choices"].items()] for n, s in asked.items()}
        for code in LANGUAGES
    }
    controls = {
        name: ipywidgets.Dropdown(options=options, layout={"width": "20em"})
        for name, options in said["en"].items()
    }
    known = [guide.weigh(rule) for rule in rules]  # the records are read once
    told = {
        code: [Page("", advice.page(code))._repr_html_() for advice in known] for code in LANGUAGES
    }
    drawing, dim = evidence_rows([guide.row(advice) for advice in known])

    def compute() -> dict:
        settings = {name: control.value for name, control in controls.items()}
        lit = [n for n, rule in enumerate(rules) if guide.fires(rule, settings)]
        return {"lit": lit} | {code: "".join(told[code][n] for n in lit) for code in told}

    def relabel(change: dict) -> None:
        for name, options in said[change["new"]].items():
            index = controls[name].index  # new options choose the first
            controls[name].options = options
            controls[name].index = index

    def name(control: str, language: str) -> str:
        return asked[control]["words"][language]

    picture = drawing, lambda state: dim(state["lit"])
    panel = Panel(controls, compute, picture, "advice", name, dpi=110)
    panel.language.observe(relabel, names="value")
    return panel
