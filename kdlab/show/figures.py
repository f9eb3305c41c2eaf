"""The figures of the chapters: numbers in, a `Figure` out.

Figures are built without pyplot's global state: a cell that ends in one shows it once. The pictures
of the sliders stand with their panels (`kdlab.show.panels`).
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib.text
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdlab.show.style import COLOURS, PIXELS, ROLES, chinese_font, figure, pixels_of


def image_grid(
    images, labels: Sequence[str] = (), *, columns: int = 10, title: str = "", marked=()
) -> Figure:
    """Images, uint8 [N, C, H, W], in rows of `columns` with a label above each.

    `marked` are positions whose label is drawn in the accent colour (say, the wrong answers).
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    lines = 1 + max((str(label).count("\n") for label in labels), default=-1)
    drawing = figure(1.1 * columns, (1.0 + 0.25 * lines) * rows + (0.4 if title else 0), title)
    axes = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for position, (axis, picture) in enumerate(zip(axes, images, strict=False)):
        axis.imshow(pixels_of(picture), **PIXELS)
        if len(labels):
            colour = COLOURS["accent"] if position in marked else "black"
            axis.set_title(labels[position], fontsize=12, loc="center", color=colour, pad=3)
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
    if len({len(numbers) for numbers in values.values()}) != 1:
        raise ValueError("paired arms need one value for each seed in every arm")
    drawing = figure(2.6 + 1.9 * len(values), 4.6, title)
    axis = drawing.subplots()
    table = np.array(list(values.values()), dtype=float)
    axis.plot(range(len(values)), table, color="0.7", linewidth=1.2, zorder=1)
    names = []
    for column, (arm, numbers, role) in enumerate(zip(values, table, roles, strict=False)):
        axis.scatter([column] * len(numbers), numbers, s=80, color=COLOURS[role], zorder=2)
        spread = numbers.std(ddof=1) if len(numbers) > 1 else 0
        names.append(f"{arm}\n{numbers.mean():.{decimals}f} ± {spread:.{decimals}f}")
    axis.set_xticks(range(len(values)), names)
    axis.set(xlim=(-0.5, len(values) - 0.5), ylabel=ylabel)
    axis.set_xlabel(f"mean ± standard deviation of {table.shape[1]} seeds", fontsize=12)
    axis.grid(axis="x", visible=False)
    return drawing


def heat_map(
    values,
    temperatures: Sequence[float],
    weights: Sequence[float],
    *,
    unit: str,
    title: str = "",
    best: str = "max",
    decimals: int = 2,
    weight_name: str = "soft weight λ",
    temperature_name: str = "temperature T",
) -> Figure:
    """A number for each temperature (columns) and weight (rows), the best cell framed."""
    table = np.asarray(values, dtype=float)
    drawing = figure(2.6 + 1.0 * table.shape[1], 1.8 + 0.7 * table.shape[0], title)
    axis = drawing.subplots()
    sns.heatmap(
        table,
        ax=axis,
        annot=True,
        fmt=f".{decimals}f",
        cmap="cividis",
        cbar_kws={"label": unit},
        xticklabels=list(temperatures),
        yticklabels=list(weights),
    )
    flat = np.nanargmax(table) if best == "max" else np.nanargmin(table)
    row, column = np.unravel_index(flat, table.shape)
    frame = {"fill": False, "edgecolor": COLOURS["accent"], "linewidth": 4}
    axis.add_patch(Rectangle((column, row), 1, 1, **frame))
    axis.set(xlabel=temperature_name, ylabel=weight_name)
    axis.tick_params(axis="y", rotation=0)
    return drawing


def forest(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    unit: str = "points",
    title: str = "",
    lower_is_better: bool = False,
) -> Figure:
    """Paired differences with their 95% intervals, a row an arm: from `records.summarise`.

    `tables` is one table, or a mapping from what a panel says to a table of the same arms. The
    first sets the order. Green: better, beyond noise (by the column `beyond`, or without it by the
    interval); orange-red: worse, beyond noise; grey: neither. A control is a ring at zero. Say
    `lower_is_better` for errors, calibration errors, seconds.
    """
    tables = {"": tables} if isinstance(tables, pd.DataFrame) else dict(tables)
    first = next(iter(tables.values()))
    arms = list(first["difference"].fillna(0.0).sort_values().index)
    drawing = figure(4.2 + 3.6 * len(tables), 1.5 + 0.36 * len(arms), title)
    axes = drawing.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for axis, (name, table) in zip(axes, tables.items(), strict=True):
        axis.axvline(0, color="0.3", linewidth=1.2)
        for row, arm in enumerate(arms):
            middle, low, high = table.loc[arm, ["difference", "95% low", "95% high"]]
            if math.isnan(middle):
                axis.plot(0, row, "o", color="0.3", markerfacecolor="white", markersize=8)
                continue
            better = (middle > 0) != lower_is_better
            beyond = table.loc[arm, "beyond"] if "beyond" in table else low > 0 or high < 0
            role = ("distilled" if better else "accent") if beyond else "label"
            axis.plot([low, high], [row, row], color=COLOURS[role], linewidth=3)
            axis.plot(middle, row, "o", color=COLOURS[role], markersize=7)
        axis.set_title(name)
        axis.set_xlabel(f"difference ({unit}, 95% interval)")
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].set_ylim(-0.6, len(arms) - 0.4)
    return drawing


def load_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    roles: Mapping[str, str],
    *,
    limit: float = 50.0,
    ylabel: str = "p99 latency (ms)",
    title: str = "",
) -> Figure:
    """Latency against the rate of requests: name -> (requests a second, ms), any order.

    An infinite latency (requests were lost) is a cross at the upper edge.
    """
    drawing = figure(8, 4.6, title)
    axis = drawing.subplots()
    top = 2000.0
    for name, points in curves.items():
        points = sorted(points)
        rates, shown = [p[0] for p in points], [min(p[1], top) for p in points]
        colour = COLOURS[roles[name]]
        axis.plot(rates, shown, "o-", color=colour, linewidth=2.5, markersize=7, label=name)
        lost = [rate for rate, ms in points if ms > top]
        axis.plot(lost, [top] * len(lost), "x", color=colour, markersize=12, markeredgewidth=3)
    axis.axhline(limit, color=COLOURS["accent"], linewidth=2)
    axis.annotate(
        f"{limit:g} ms",
        (1, limit),
        (-4, 4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        color=COLOURS["accent"],
        ha="right",
    )
    axis.set(xscale="log", yscale="log", xlabel="requests a second", ylabel=ylabel)
    axis.set_ylim(top=1.3 * top)
    offered = sorted({rate for points in curves.values() for rate, _ in points})
    axis.set_xticks(offered, [f"{rate:g}" for rate in offered])
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(loc="best")
    return drawing


def agreement_line(
    shares: Sequence[float],
    threshold: float,
    *,
    changed: int = 0,
    rang: int | None = None,
    title: str = "",
) -> Figure:
    """Agreement of a model and its shadow over a sliding window, with the alarm's threshold.

    `changed`: from which image on the images are other; `rang`: where the alarm rang.
    """
    drawing = figure(9, 4.2, title)
    axis = drawing.subplots()
    axis.plot(100 * np.asarray(shares, float), color=COLOURS["distilled"], linewidth=2.5)
    axis.axhline(100 * threshold, color=COLOURS["accent"], linewidth=2, label="alarm below")
    if changed:
        axis.axvline(changed, color="0.3", linestyle="--", label="the images change")
    if rang is not None:
        axis.plot(
            rang,
            100 * shares[rang],
            "o",
            color=COLOURS["accent"],
            markersize=11,
            label="the alarm rings",
        )
    axis.set(xlabel="images answered", ylabel="agreement (%)\nof the window")
    axis.legend(loc="lower left")
    return drawing


def dashboard(
    panels: Mapping[str, Sequence[tuple]], units: Mapping[str, str], *, title: str = ""
) -> Figure:
    """All experiments at once, a panel each: (arm, mean, low, high, verdict) a row.

    Panels fill three columns, each as high as its rows; more than 32 arms are a grid of settings,
    drawn without their names.
    """
    heights = {
        name: 2.2 + (0.13 if len(rows) > 32 else 0.46) * len(rows) for name, rows in panels.items()
    }
    columns: list[list[str]] = [[], [], []]
    for name in sorted(panels, key=lambda n: -heights[n]):
        min(columns, key=lambda c: sum(heights[n] for n in c)).append(name)
    columns = [column for column in columns if column]
    tall = max(sum(heights[n] for n in column) for column in columns)
    drawing = figure(6.4 * len(columns), 0.5 * tall + 0.6, title)
    for part, column in zip(np.ravel(drawing.subfigures(1, len(columns))), columns, strict=True):
        left = tall - sum(heights[n] for n in column)
        ratios = [heights[n] for n in column] + [left] * (left > 0.5)
        axes = np.ravel(part.subplots(len(ratios), 1, height_ratios=ratios))
        for name, axis in zip(column, axes, strict=False):
            _differences(axis, panels[name], units[name], name)
        for axis in axes[len(column) :]:
            axis.set_axis_off()
    return drawing


def _differences(axis: Axes, rows: Sequence[tuple], unit: str, name: str) -> None:
    rows, named = sorted(rows, key=lambda row: row[1]), len(rows) <= 32
    axis.axvline(0, color="0.3", linewidth=1.2)
    for n, (_, mean, low, high, verdict) in enumerate(rows):
        colour = COLOURS[ROLES.get(verdict, "label")]
        axis.plot([low, high], [n, n], color=colour, linewidth=2.5 if named else 1.2)
        axis.plot(mean, n, "o", color=colour, markersize=6 if named else 2.5)
    axis.set_yticks(range(len(rows)) if named else [], [r[0] for r in rows] if named else [])
    axis.tick_params(axis="y", labelsize=12)
    if not named:
        axis.set_ylabel(f"{len(rows)} settings", fontsize=12)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_title(name)
    axis.set_xlabel(unit, fontsize=12)
    axis.grid(axis="y", visible=False)


def progress_bars(table: pd.DataFrame, names: Sequence[str], language: str = "en") -> Figure:
    """What a learner has seen and will know tomorrow, a bar a row of `readiness.readiness_table`.

    Without a font for Chinese, the words are English and the bars have the table's keys.
    """
    chinese = chinese_font()
    if language == "zh" and not chinese:
        language, names = "en", [str(key) for key in table.index]
    known = (table["ready"] * table["items"]).sum() / table["items"].sum()
    title, seen, ready, axis_label = {
        "en": (
            "{:.0%} of the items known tomorrow",
            "seen",
            "known tomorrow (FSRS)",
            "share of the items, %",
        ),
        "zh": ("明天预计还记得 {:.0%} 的题", "已学", "明天还记得（FSRS 预测）", "题目占比（%）"),
    }[language]
    made = figure(11, 1.6 + 0.45 * len(table), title.format(known))
    axis, places = made.subplots(), range(len(table))
    axis.barh(places, 100 * table["seen"] / table["items"], color="0.85", label=seen)
    axis.barh(places, 100 * table["ready"], 0.5, color=COLOURS["distilled"], label=ready)
    axis.set_yticks(places, names)
    axis.set(xlim=(0, 100), xlabel=axis_label)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    made.legend(loc="outside upper right", ncols=2, frameon=False)
    if chinese and language == "zh":
        for text in made.findobj(matplotlib.text.Text):
            text.set_fontfamily(["DejaVu Sans", chinese])
    return made
