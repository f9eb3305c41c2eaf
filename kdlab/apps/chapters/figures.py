"""The figures of the chapters: numbers in, a `Figure` out, without pyplot's global state.

The pictures of the sliders stand with their panels (`kdlab.apps.chapters.panels`).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from kdlab.apps.i18n import display_name
from kdlab.apps.style import (
    COLOURS,
    PIXELS,
    ROLES,
    figure,
    log_ticks,
    pixels_of,
    speaks,
    word,
)


def image_grid(images: Sequence, labels: Sequence, *, columns: int = 10, title: str = "") -> Figure:
    """Images, uint8 [N, C, H, W], in rows of `columns` with a label above each."""
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    lines = 1 + max(label.count("\n") for label in labels)
    drawing = figure(1.1 * columns, (1.0 + 0.25 * lines) * rows + (0.4 if title else 0), title)
    axes = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, picture, label in zip(axes, images, labels, strict=False):
        axis.imshow(pixels_of(picture), **PIXELS)
        label = display_name(label, speaks())
        axis.set_title(label, fontsize=12, loc="center", pad=3)
    return drawing


def paired_dots(
    values: Mapping[str, Sequence[float]],
    *,
    ylabel: str,
    title: str = "",
    decimals: int = 2,
    roles: Sequence[str] = ("student", "distilled", "other"),
) -> Figure:
    """Two or three arms over the same seeds: a dot a run, a line joining the runs of one seed.

    `values` maps an arm to one number a seed, in the same order of seeds in every arm.
    """
    drawing = figure(2.6 + 1.9 * len(values), 4.6, title)
    axis = drawing.subplots()
    table, names = np.array(list(values.values()), dtype=float), []
    axis.plot(range(len(values)), table, color="0.7", linewidth=1.2, zorder=1)
    for column, (arm, numbers, role) in enumerate(zip(values, table, roles, strict=False)):
        axis.scatter([column] * len(numbers), numbers, s=80, color=COLOURS[role], zorder=2)
        spread = numbers.std(ddof=1) if len(numbers) > 1 else 0
        names.append(
            f"{display_name(arm, speaks())}\n{numbers.mean():.{decimals}f} ± {spread:.{decimals}f}"
        )
    axis.set_xticks(range(len(values)), names)
    axis.set(xlim=(-0.5, len(values) - 0.5), ylabel=ylabel)
    axis.set_xlabel(word("mean and deviation", seeds=table.shape[1]), fontsize=12)
    axis.grid(axis="x", visible=False)
    return drawing


def heat_map(
    values: ArrayLike,
    temperatures: Sequence,
    weights: Sequence,
    *,
    unit: str,
    weight_name: str,
    temperature_name: str = "",
    title: str = "",
) -> Figure:
    """A number for each temperature (columns) and weight (rows), the largest framed."""
    table = np.asarray(values, dtype=float)
    drawing = figure(2.6 + 1.0 * table.shape[1], 1.8 + 0.7 * table.shape[0], title)
    axis = drawing.subplots()
    sns.heatmap(table, ax=axis, annot=True, fmt=".2f", cmap="cividis", cbar_kws={"label": unit})
    row, column = np.unravel_index(np.nanargmax(table), table.shape)
    frame = Rectangle((column, row), 1, 1, fill=False, edgecolor=COLOURS["accent"], linewidth=4)
    axis.add_patch(frame)
    axis.set_xticklabels(temperatures)
    axis.set_yticklabels(weights, rotation=0)
    axis.set(xlabel=temperature_name or word("temperature"), ylabel=weight_name)
    return drawing


def forest(tables: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """Paired differences in points, of which more is better, with their 95% intervals.

    `tables`: from `stats.summarise`, of the same arms, by their panels' names; the first sets the
    order. Green is better and orange-red worse, beyond noise; a ring at zero is the control.
    """
    arms = next(iter(tables.values()))["difference"].fillna(0.0).sort_values().index
    drawing = figure(4.2 + 3.6 * len(tables), 1.5 + 0.36 * len(arms), title)
    axes = drawing.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for axis, (name, table) in zip(axes, tables.items(), strict=True):
        rows = []
        for arm, row in table.loc[arms].iterrows():
            verdict = "better" if row["difference"] > 0 else "worse"
            ends = row["difference"], row["95% low"], row["95% high"]
            rows.append((arm, *ends, verdict if row["beyond"] else "noise"))
        _intervals(axis, rows, word("difference", unit=word("points")), name)
    return drawing


def _intervals(axis: Axes, rows: Sequence[tuple], unit: str, name: str, width: float = 3) -> None:
    """(arm, mean, low, high, verdict) from below upwards; a mean of NaN is the control."""
    axis.axvline(0, color="0.3", linewidth=1.2)
    for n, (_, mean, low, high, verdict) in enumerate(rows):
        if math.isnan(mean):
            axis.plot(0, n, "o", color="0.3", markerfacecolor="white", markersize=8)
            continue
        colour = COLOURS[ROLES.get(verdict, "label")]
        axis.plot([low, high], [n, n], color=colour, linewidth=width)
        axis.plot(mean, n, "o", color=colour, markersize=2.3 * width)
    axis.set_yticks(range(len(rows)), [display_name(row[0], speaks()) for row in rows])
    axis.set(ylim=(-0.6, len(rows) - 0.4), xlabel=unit)
    axis.set_title(display_name(name, speaks()))
    axis.grid(axis="y", visible=False)


def load_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    roles: Mapping[str, str],
    *,
    title: str = "",
) -> Figure:
    """p99 latency against the rate of requests: name -> (requests a second, ms), any order.

    An infinite latency (requests were lost) is a cross at the upper edge.
    """
    drawing, top, limit = figure(8, 4.6, title), 2000.0, 50.0
    axis, red = drawing.subplots(), COLOURS["accent"]
    for name, points in curves.items():
        (rates, latencies), colour = np.array(sorted(points)).T, COLOURS[roles[name]]
        shown = latencies.clip(max=top)
        axis.plot(
            rates,
            shown,
            "o-",
            label=display_name(name, speaks()),
            color=colour,
            linewidth=2.5,
            markersize=7,
        )
        lost, edge = rates[latencies > top], shown[latencies > top]
        axis.plot(lost, edge, "x", color=colour, linewidth=2.5, markersize=12, markeredgewidth=3)
    axis.axhline(limit, linewidth=2, color=red)
    place = {"ha": "right", "va": "bottom", "transform": axis.get_yaxis_transform()}
    axis.text(0.99, 1.05 * limit, f"{limit:g} ms", color=red, **place)
    axis.set(yscale="log", xlabel=word("requests"), ylabel=word("latency"))
    axis.set_ylim(top=1.3 * top)
    log_ticks(axis, sorted({rate for points in curves.values() for rate, _ in points}))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(loc="best")
    return drawing


def agreement_line(
    shares: Sequence[float], threshold: float, *, changed: int, rang: int, title: str = ""
) -> Figure:
    """Agreement of a model and its shadow over a sliding window, with the alarm's threshold.

    `changed`: from which image on the images are other; `rang`: where the alarm rang.
    """
    drawing, percent = figure(9, 4.2, title), 100 * np.asarray(shares, float)
    axis, red = drawing.subplots(), COLOURS["accent"]
    axis.plot(percent, color=COLOURS["distilled"], linewidth=2.5)
    axis.axhline(100 * threshold, color=red, linewidth=2, label=word("alarm below"))
    axis.axvline(changed, color="0.3", linestyle="--", label=word("change"))
    axis.plot(rang, percent[rang], "o", color=red, markersize=11, label=word("alarm"))
    axis.set(xlabel=word("answered"), ylabel=word("agreement"))
    axis.legend(loc="lower left")
    return drawing


def dashboard(
    panels: Mapping[str, Sequence[tuple]], units: Mapping[str, str], *, title: str = ""
) -> Figure:
    """All experiments at once, a panel each: (arm, mean, low, high, verdict) a row.

    Panels fill three columns, each as high as its rows; more than 32 arms are a grid of settings,
    drawn without their names.
    """
    many = {name: len(rows) > 32 for name, rows in panels.items()}
    heights = {n: 2.2 + (0.13 if many[n] else 0.46) * len(rows) for n, rows in panels.items()}
    columns, filled = [[], [], []], [0.0, 0.0, 0.0]
    for name in sorted(panels, key=heights.get, reverse=True):
        shortest = int(np.argmin(filled))
        columns[shortest].append(name)
        filled[shortest] += heights[name]
    columns = [column for column in columns if column]
    height = 0.57 * max(filled) + 0.6
    drawing = figure(6.4 * len(columns), height, title, dpi=80)  # the largest of the course
    parts = np.ravel(drawing.subfigures(1, len(columns)))
    for part, column, height in zip(parts, columns, filled, strict=False):
        blank = max(filled) - height
        ratios = [heights[name] for name in column] + [blank] * (blank > 0.5)
        axes = np.ravel(part.subplots(len(ratios), 1, height_ratios=ratios))
        for name, axis in zip(column, axes, strict=False):
            rows = sorted(panels[name], key=lambda row: row[1])
            _intervals(axis, rows, units[name], name, width=1.2 if many[name] else 2.5)
            if len(name) > 36:  # it begins above the rows' names
                axis.set_title("")
                axis.set_title(display_name(name, speaks()), loc="right")
            axis.tick_params(axis="y", labelsize=12)
            axis.xaxis.label.set_size(12)
            if many[name]:
                axis.set_yticks([])
                axis.set_ylabel(word("settings", n=len(rows)), fontsize=12)
        for axis in axes[len(column) :]:
            axis.set_axis_off()
    return drawing
