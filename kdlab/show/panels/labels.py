"""Few labels alone, beside a teacher of these labels and one of 50,000."""

import math
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib.axes import Axes

from kdlab.show.panels.base import Moving, Panel, State
from kdlab.show.style import COLOURS, figure


def label_state(
    kind: str, runs: Mapping[str, Mapping[int, Sequence[float]]], n: int | None = None
) -> dict:
    """A student with few labels and, taught, with none.

    `runs`: "labels", "own" (without a label, from a teacher of the same labels) and "free" (from a
    teacher of 50,000) -> number of labels -> accuracies (%), one a seed. In the state each is a
    list of (lowest, mean, highest). `own_gain` is what a teacher of the same labels adds, `more`
    what more labels and a longer training of the teacher add. `n` marks a number of labels.
    """
    counts = sorted(runs["labels"])
    if not counts or (n is not None and n not in counts):
        raise ValueError(f"no run with {n} labels: there are {counts}")
    if any(sorted(of) != counts for of in runs.values()):
        raise ValueError(f"all runs need the same numbers of labels: {counts}")
    found = {
        way: [(min(of[m]), sum(of[m]) / len(of[m]), max(of[m])) for m in counts]
        for way, of in runs.items()
    }
    at = counts.index(n) if n else 0
    labels, own, free = (found[way][at][1] for way in ("labels", "own", "free"))
    return {
        "kind": kind,
        "counts": counts,
        **found,
        "seeds": len(runs["labels"][counts[at]]),
        "n": counts[at],
        "marked": n is not None,
        "labels_only": labels,
        "own_teacher": own,
        "own_gain": own - labels,
        "more": free - own,
        "gain": free - labels,
    }


def label_curves_figure(states: Sequence[State], *, title: str = "") -> Moving:
    """Accuracy against the number of labels, an axis a state of `label_state`; and
    move(state) for the first axis.

    Orange: labels only, with a band from the worst to the best seed; green: without a label, taught
    by a teacher of these labels and (dashed) by one of 50,000.
    """
    alone = len(states) == 1
    columns = 2 if len(states) == 4 else min(3, len(states))
    rows = math.ceil(len(states) / columns)
    size = (10, 5) if alone else (0.6 + 4.6 * columns, 0.7 + 3.1 * rows)
    drawing = figure(*size, title)
    axes = drawing.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    moves = [_label_curve(axis, state) for axis, state in zip(axes, states, strict=False)]
    for axis in axes[len(states) :]:
        axis.set_axis_off()
    for n, axis in enumerate(axes[: len(states)]):
        axis.set_xlabel("labelled images" if n >= len(states) - columns else "")
        axis.set_ylabel("test accuracy (%)" if n % columns == 0 else "")
        axis.tick_params(labelbottom=n >= len(states) - columns)
    axes[0].legend(loc="lower right", fontsize=13 if alone else 10)
    return drawing, moves[0]


def _label_curve(axis: Axes, state: State) -> Callable[[State], list]:
    counts, looks = (
        state["counts"],
        {
            "labels": {"color": COLOURS["student"], "marker": "o", "label": "that many labels"},
            "own": {
                "color": COLOURS["distilled"],
                "marker": "o",
                "label": "a teacher of these labels",
            },
            "free": {
                "color": COLOURS["distilled"],
                "ls": "--",
                "label": "a teacher of 50,000 labels",
            },
        },
    )
    lines = {name: axis.plot(counts, counts, lw=2.5, **look)[0] for name, look in looks.items()}
    bands = {
        name: axis.fill_between(counts, counts, counts, color=look["color"], alpha=0.2, lw=0)
        for name, look in looks.items()
    }
    (dots,) = axis.plot([], [], "o", color=COLOURS["accent"], markersize=10, zorder=3)
    axis.set(xscale="log", ylim=(10, 80))
    axis.set_xticks(counts, [f"{n:,}" for n in counts])
    axis.minorticks_off()
    heading = axis.set_title("")

    def move(state: State) -> list:
        for name, line in lines.items():
            low, mean, high = zip(*state[name], strict=True)
            line.set_data(counts, mean)
            corners = np.concatenate([np.c_[counts, low], np.c_[counts, high][::-1]])
            bands[name].set_verts([np.vstack([corners, corners[:1]])])
        at = counts.index(state["n"])
        dots.set_data([state["n"]] * 3, [state[name][at][1] for name in lines])
        dots.set_visible(bool(state["marked"]))
        heading.set_text(state["kind"])
        return [*lines.values(), *bands.values(), dots, heading]

    move(state)
    return move


def label_panel(runs: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> Panel:
    """Few labels against none and a teacher, for a kind of student and a number of labels.

    `runs` maps a kind to what `label_state` takes. Controls: `.kind`, `.labelled`.
    """
    counts = sorted(next(iter(runs.values()))["labels"])
    controls = {
        "kind": ipywidgets.Dropdown(options=list(runs), layout={"width": "20em"}),
        "labelled": ipywidgets.SelectionSlider(
            options=[(f"{n:,}", n) for n in counts], layout={"width": "26em"}
        ),
    }

    def compute() -> dict:
        kind = controls["kind"].value
        return label_state(kind, runs[kind], controls["labelled"].value)

    return Panel(controls, compute, label_curves_figure([compute()]), "few_labels")
