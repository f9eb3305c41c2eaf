"""Few labels alone, beside a teacher of these labels and one of 50,000."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdlab.apps.chapters.panels import base
from kdlab.apps.style import COLOURS, figure, log_ticks

WAYS = {  # of learning: colour and marker of its curve
    "labels": (COLOURS["student"], "o-"),
    "own": (COLOURS["distilled"], "o-"),
    "free": (COLOURS["distilled"], "--"),
}


def few_labels_state(
    kind: str, runs: Mapping[str, Mapping[int, Sequence[float]]], n: int | None = None
) -> dict:
    """A student with few labels and, taught, with none.

    `runs`: "labels", "own" (without a label, from a teacher of the same labels) and "free" (from a
    teacher of 50,000) -> number of labels -> accuracies (%), one a seed. In the state each is a
    list of (lowest, mean, highest). At `n` labels (default: the fewest), `own_gain` is what a
    teacher of the same labels adds, `more` what more labels and longer training of it add.
    """
    counts = sorted(runs["labels"])
    n = n or counts[0]
    labels, own, free = (fmean(runs[way][n]) for way in WAYS)
    return {
        "kind": kind,
        "counts": counts,
        **{
            way: [(min(of[m]), fmean(of[m]), max(of[m])) for m in counts]
            for way, of in runs.items()
        },
        "seeds": len(runs["labels"][n]),
        "n": n,
        "labels_only": labels,
        "own_gain": own - labels,
        "more": free - own,
    }


def few_labels_figure(states: Sequence[Mapping], *, title: str = "") -> Figure:
    """Static twin of the label panel: accuracy against the number of labels, an axis a state.

    Orange: labels only, with a band from the worst to the best seed; green: without a label, taught
    by a teacher of these labels and (dashed) by one of 50,000.
    """
    columns = 2 if len(states) == 4 else min(3, len(states))
    rows = math.ceil(len(states) / columns)
    drawing = figure(0.6 + 4.6 * columns, 0.7 + 3.1 * rows, title)
    axes = drawing.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for n, (axis, state) in enumerate(zip(axes, states, strict=False)):
        _curves(axis, state)
        lowest = n >= len(states) - columns
        axis.set_xlabel(base.spoken("labelled", "few_labels") if lowest else "")
        axis.set_ylabel(base.spoken("accuracy", "few_labels") if n % columns == 0 else "")
        axis.tick_params(labelbottom=lowest)
    for axis in axes[len(states) :]:
        axis.set_axis_off()
    axes[0].legend(loc="lower right", fontsize=10)
    return drawing


def _curves(axis: Axes, state: Mapping) -> None:
    for way, (colour, line) in WAYS.items():
        low, mean, high = zip(*state[way], strict=True)
        label = base.spoken(way, "few_labels")
        axis.plot(state["counts"], mean, line, color=colour, linewidth=2.5, label=label)
        axis.fill_between(state["counts"], low, high, color=colour, alpha=0.2, linewidth=0)
    log_ticks(axis, state["counts"], "{:,}")
    axis.set_ylim(10, 80)
    axis.set_title(base.spoken(state["kind"]))


def few_labels_panel(runs: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> base.Panel:
    """Few labels against none and a teacher, for a kind of student and a number of labels.

    `runs` maps a kind to what `few_labels_state` takes. Controls: `.kind`, `.labelled`.
    """
    counts = sorted(next(iter(runs.values()))["labels"])
    return base.Panel(
        "few_labels",
        lambda kind, labelled: few_labels_state(kind, runs[kind], labelled),
        controls={
            "kind": base.choice([(kind, base.named(kind)) for kind in runs]),
            "labelled": base.choice([(n, base.named(f"{n:,}")) for n in counts], ordered=True),
        },
        counts=counts,
        runs={
            kind: {way: [list(of[n]) for n in counts] for way, of in ways.items()}
            for kind, ways in runs.items()
        },
    )
