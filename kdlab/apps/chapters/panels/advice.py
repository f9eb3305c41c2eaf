"""The decision guide under dropdowns: every rule's evidence, and the advice that fires."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure

from kdlab.apps.chapters import decision_guide
from kdlab.apps.chapters.panels import base
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.style import COLOURS, ROLES, figure

TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)


def evidence_rows(rows: Sequence[Mapping], *, title: str = "") -> Figure:
    """A row a comparison: its name, how far it is from zero, its number.

    Whatever its unit, a dot outside the grey band is beyond noise, to the right it is better. A row
    has `name`, `number`, `strength` (NaN: nothing recorded) and `verdict`.
    """
    drawing = figure(12.5, 1.6 + 0.38 * len(rows), title)
    axis, (left, right) = drawing.subplots(), _reach(rows)
    axis.axvspan(-1, 1, color="0.9", zorder=0)
    axis.set_xscale("symlog", linthresh=1, linscale=0.6)
    side = {"va": "center", "fontsize": 13, "transform": axis.get_yaxis_transform()}
    for n, row in enumerate(rows):
        colour, x = COLOURS[ROLES.get(row["verdict"], "label")], row["strength"]
        axis.plot([0, x], [n, n], color=colour, linewidth=2.5)
        axis.plot(x, n, "o", color=colour, markersize=9)
        axis.text(-0.01, n, row["name"], ha="right", **side)
        axis.text(1.01, n, row["number"], color=colour, **side)
    axis.set(xlim=(left, right), ylim=(len(rows) - 0.4, -0.6), yticks=[])
    ticks = [tick for tick in TICKS if left <= tick <= right]
    axis.set_xticks(ticks, map(str, ticks))
    axis.minorticks_off()
    axis.set_xlabel(base.spoken("scale", "advice"))
    return drawing


def _reach(rows: Sequence[Mapping]) -> tuple[float, float]:
    strengths = [1.4 * row["strength"] for row in rows if not math.isnan(row["strength"])]
    return min([-1.5, *strengths]), max([10.0, *strengths])


def advice_state(rules: Sequence[Mapping], **settings: str) -> dict:
    """The positions of the rules that fire under these settings: `lit`."""
    return {"lit": [n for n, rule in enumerate(rules) if decision_guide.fires(rule, settings)]}


def advice_panel() -> base.Panel:
    """The decision guide under dropdowns: every rule's evidence, and the advice that fires.

    Controls: one for each of `decision_guide.choices()`, by its name. The state is `advice_state`.
    """
    constraints = decision_guide.rulebook()["constraints"]
    rules = decision_guide.every_rule()  # the records are read once
    rows = [decision_guide.row(advice) for advice in rules]
    return base.Panel(
        "advice",
        partial(advice_state, [advice.rule for advice in rules]),
        controls={name: base.choice([*c["choices"].items()]) for name, c in constraints.items()},
        words={name: c["words"] for name, c in constraints.items()},
        rules=[
            {
                "when": advice.rule["when"],
                "strength": None if math.isnan(row["strength"]) else round(row["strength"], 3),
                "role": ROLES.get(row["verdict"], "label"),
                "page": {code: advice.page(code) for code in LANGUAGES},
                "name": advice.rule["name"],
            }
            for advice, row in zip(rules, rows, strict=True)
        ],
        reach=_reach(rows),
        ticks=TICKS,
    )
