"""Every figure of the course: one style, one colour per role, numbers in, a `Figure` out.

Figures are built without pyplot's global state: a cell that ends in one shows it once.
`soften_bars`, `term_lines` and `gradient_bars` draw on given axes and return a function that moves
the same artists to another state: the sliders (`kdlab.widgets`) and the static twins share them.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import matplotlib
import matplotlib.font_manager
import matplotlib.text
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from PIL import Image

# Okabe & Ito's colours, safe for colour-blind readers. One role, one colour, in every figure.
COLOURS = {
    "teacher": "#0072B2",
    "student": "#E69F00",  # trained on the labels only
    "distilled": "#009E73",
    "label": "#666666",  # the hard label and its loss term
    "accent": "#D55E00",  # a marker that must be seen
    "other": "#CC79A7",
}
PIXELS = {"cmap": "gray_r", "vmin": 0, "vmax": 255, "interpolation": "nearest"}
State = Mapping[str, object]  # from `kdlab.widgets`: `temperature_state` or `objective_state`


def style() -> None:
    """The course's look, legible from the back of a lecture room. Every figure here calls it."""
    sns.set_theme(context="notebook", style="whitegrid", font_scale=1.2)
    sns.set_style({"axes.edgecolor": "0.3", "grid.color": "0.88"})
    sns.set_palette(list(COLOURS.values()))
    matplotlib.rcParams.update({"axes.titlelocation": "left", "axes.titlesize": "medium"})


class Picture(Figure):
    """A figure that a notebook shows without pyplot, its title as the alternative text."""

    def _repr_png_(self) -> tuple[bytes, dict]:
        titles = [self.get_suptitle(), *(axis.get_title(loc="left") for axis in self.axes)]
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue(), {"alt": next((" ".join(t.split()) for t in titles if t), "figure")}


def figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure in the course's style; `title` states the finding."""
    style()
    made = Picture(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(made)
    if title:
        made.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return made


class Frames:
    """PNG frames of a figure in which only some artists move: the rest is drawn once, then kept.

    A whole drawing takes 50-100 ms, the moving parts 10. 140 `dpi` stay sharp on a projector.
    """

    def __init__(self, drawing: Figure, dpi: int = 140):
        self.drawing, self.background, self.scale = drawing, None, None
        drawing.set_dpi(dpi)
        drawing.canvas.draw()
        drawing.set_layout_engine("none")

    def png(self, moving: Sequence[Artist] = ()) -> bytes:
        canvas, scale = self.drawing.canvas, [axis.axis() for axis in self.drawing.axes]
        if scale != self.scale:  # new ticks: the background has changed
            for artist in moving:
                artist.set_animated(True)
            canvas.draw()
            self.background, self.scale = canvas.copy_from_bbox(self.drawing.bbox), scale
        canvas.restore_region(self.background)
        for artist in moving:
            artist.axes.draw_artist(artist)
        out = io.BytesIO()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        pixels.save(out, format="png", compress_level=1, compress_type=3)  # fast, not small
        return out.getvalue()


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
        axis.imshow(_pixels(picture), **PIXELS)
        if len(labels):
            colour = COLOURS["accent"] if position in marked else "black"
            axis.set_title(labels[position], fontsize=12, loc="center", color=colour, pad=3)
    return drawing


def _pixels(image) -> np.ndarray:
    """uint8 [C, H, W] as matplotlib wants it: [H, W] or [H, W, 3]."""
    return np.asarray(image).transpose(1, 2, 0).squeeze()


def soften_bars(axis: Axes, state: State, classes: Sequence[str]) -> Callable[[State], list]:
    """Teacher's and student's softened probabilities of one image, a pair of bars a class.

    Gives back move(state), which redraws nothing: it moves bars and title and returns these.
    """
    bars = _paired_bars(axis, classes, [(state[r], r, r) for r in ("teacher", "student")])
    axis.set(xlim=(0, 1), xlabel="probability", xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"))
    title = axis.set_title("\n\n")

    def move(state: State) -> list:
        for bar, value in zip(bars, [*state["teacher"], *state["student"]], strict=True):
            bar.set_width(value)
        title.set_text(
            (f"{state['name']}\n" if "name" in state else "")
            + f"T = {state['temperature']:.3g}, entropy of\nteacher "
            f"{state['teacher_entropy']:.2f} nats\nstudent {state['student_entropy']:.2f} nats"
        )
        return [*bars, title]

    move(state)
    return move


def _paired_bars(axis: Axes, classes: Sequence[str], series) -> list:
    """Two horizontal bars a class; series: two of (values, role, name). The bars in that order."""
    rows = np.arange(len(classes))
    bars = []
    for offset, (values, role, name) in zip((-0.2, 0.2), series, strict=True):
        bars += axis.barh(rows + offset, values, 0.4, color=COLOURS[role], linewidth=0, label=name)
    axis.set_yticks(rows, classes)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    return bars


def temperature_figure(
    states: Sequence[State], classes: Sequence[str], image, *, title: str = ""
) -> tuple[Figure, Callable[[State, object], list]]:
    """One image, [C, H, W], beside its softened bars in each state; and move(state, image)."""
    drawing = figure(2.4 + (6.6 if len(states) == 1 else 2.6 * len(states)), 4.8, title)
    ratios = [1] + [2.6 if len(states) == 1 else 1.6] * len(states)
    left, *axes = drawing.subplots(1, len(ratios), width_ratios=ratios)
    left.set_axis_off()
    picture = left.imshow(_pixels(image), **PIXELS)
    caption = left.set_title(f"label: {classes[states[0]['label']]}", loc="center")
    moves = [soften_bars(axis, state, classes) for axis, state in zip(axes, states, strict=True)]
    for axis in axes[1:]:
        axis.set_yticklabels([])
    entries = axes[0].get_legend_handles_labels()
    left.legend(*entries, loc="upper center", bbox_to_anchor=(0.5, -0.03), frameon=False)

    def move(state: State, image) -> list:
        picture.set_data(_pixels(image))
        caption.set_text(f"label: {classes[state['label']]}")
        return [picture, caption, *moves[0](state)]

    return drawing, move


def temperature_small_multiples(
    states: Sequence[State], classes: Sequence[str], image, *, title: str = ""
) -> Figure:
    """Static twin of the temperature panel: the same bars at several temperatures, side by side."""
    return temperature_figure(states, classes, image, title=title)[0]


def term_lines(axis: Axes, state: State) -> Callable[[State], list]:
    """The hard term and the weighted soft term, with and without T², against the temperature.

    The variant in force is drawn thick, the other thin; dots mark the temperature in force.
    """
    lines = {}
    for name, dash, role, label in (
        ("hard", "-", "label", "hard term"),
        ("with", "-", "teacher", "soft term with T²"),
        ("without", "--", "teacher", "soft term without T²"),
    ):
        lines[name] = axis.plot([], [], dash, color=COLOURS[role], label=label)[0]
    dots = axis.plot([], [], "o", color=COLOURS["accent"], markersize=9)[0]
    axis.set(xscale="log", yscale="log", xlabel="temperature T", ylabel="loss (nats)")
    axis.set_xticks((0.25, 1, 4, 20, 50), ("0.25", "1", "4", "20", "50"))
    axis.minorticks_off()

    def move(state: State) -> list:
        curve, force = state["curve"], "with" if state["with_t_squared"] else "without"
        for name, line in lines.items():
            line.set_data(curve["temperature"], curve[name])
            line.set_linewidth(3.5 if name == force else 2 if name == "hard" else 1.2)
        dots.set_data([state["temperature"]] * 2, [state["hard"], state["soft"]])
        values = [value for name in lines for value in curve[name] if value > 0] or [1]
        low, high = (math.floor(math.log10(end(values))) for end in (min, max))
        axis.set_ylim(10.0**low, 10.0 ** (high + 1))
        return [*lines.values(), dots]

    move(state)
    return move


def gradient_bars(axis: Axes, state: State, classes: Sequence[str], limit: float | None = None):
    """What the hard and the soft term do to each of the student's logits: (move, title artist).

    Without a `limit` the scale follows the larger term in steps of 1, 2, 5.
    """
    terms = (("hard", "label"), ("soft", "teacher"))
    series = [(state[f"{term}_gradient"], role, f"{term} term") for term, role in terms]
    bars = _paired_bars(axis, classes, series)
    axis.axvline(0, color="0.3", linewidth=1)
    axis.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("gradient ∂L/∂z (nats)")
    title = axis.set_title("\n")

    def move(state: State) -> list:
        values = [*state["hard_gradient"], *state["soft_gradient"]]
        for bar, value in zip(bars, values, strict=True):
            bar.set_width(value)
        reach = limit or _round_up(max(map(abs, values)))
        axis.set_xlim(-reach, reach)
        factor = "with T²" if state["with_t_squared"] else "no T²"
        title.set_text(
            f"T = {state['temperature']:.3g}, λ = {state['weight']:.3g}, {factor}\n"
            f"soft : hard = {state['ratio']:.2g}"
        )
        return [*bars, title]

    move(state)
    return move


def _round_up(value: float) -> float:
    """The next of ... 0.1, 0.2, 0.5, 1, 2, 5 ... so that an axis does not twitch."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-6)))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * 1.0001)


def objective_figure(state: State, classes: Sequence[str]) -> tuple[Figure, Callable]:
    """Loss terms against T beside the gradients: the panel's figure and its move(state)."""
    drawing = figure(11, 4.6)
    left, right = drawing.subplots(1, 2)
    moves = term_lines(left, state), gradient_bars(right, state, classes)
    left.set_title("Hard term and λ × soft term\n")
    left.legend(loc="best", fontsize=12)
    right.legend(loc="lower right", fontsize=12)
    return drawing, lambda state: [*moves[0](state), *moves[1](state)]


def temperature_lambda_grid(
    pairs: Sequence[tuple[State, State]], classes: Sequence[str], *, title: str = ""
) -> Figure:
    """Static twin of the T × λ panel: (without T², with T²) states for a few temperatures.

    Left the loss terms against T, right the gradients, without T² above and with it below.
    """
    drawing = figure(4.4 + 3.0 * len(pairs), 8.2, title)
    left, right = drawing.subfigures(1, 2, width_ratios=(4.4, 3.0 * len(pairs)))
    terms = left.subplots()
    term_lines(terms, pairs[0][1])
    terms.lines[-1].remove()  # no slider, no dots
    terms.set_title("Hard term and λ × soft term")
    terms.legend(loc="best", fontsize=12)
    axes = right.subplots(2, len(pairs), sharex=True, sharey=True, squeeze=False)
    states = [state for pair in pairs for state in pair]
    reach = max(abs(g) for s in states for g in (*s["hard_gradient"], *s["soft_gradient"]))
    for column, pair in zip(axes.T, pairs, strict=True):
        for axis, state in zip(column, pair, strict=True):
            gradient_bars(axis, state, classes, _round_up(reach))
            axis.label_outer()
    axes[0, -1].legend(loc="best", fontsize=12)
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


def learning_curves(
    curves: Mapping[str, Sequence],
    *,
    ylabel: str,
    title: str = "",
    roles: Sequence[str] = ("student", "distilled", "teacher", "other"),
) -> Figure:
    """One line an arm, [epochs] or [seeds, epochs] (then the mean, in a band from min to max)."""
    drawing = figure(8, 4.4, title)
    axis = drawing.subplots()
    for (name, values), role in zip(curves.items(), roles, strict=False):
        table, colour = np.atleast_2d(np.asarray(values, dtype=float)), COLOURS[role]
        epochs = np.arange(1, table.shape[1] + 1)
        axis.plot(epochs, table.mean(axis=0), color=colour, linewidth=2.5, label=name)
        axis.fill_between(epochs, table.min(axis=0), table.max(axis=0), color=colour, alpha=0.2)
    axis.set(xlabel="epoch", ylabel=ylabel)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend()
    return drawing


def heat_map(
    values, temperatures: Sequence[float], weights: Sequence[float], *, unit: str, title: str = "",
    best: str = "max", decimals: int = 2, weight_name: str = "soft weight λ",
    temperature_name: str = "temperature T",
) -> Figure:  # fmt: skip
    """A number for each temperature (columns) and weight (rows), the best cell framed."""
    table = np.asarray(values, dtype=float)
    drawing = figure(2.6 + 1.0 * table.shape[1], 1.8 + 0.7 * table.shape[0], title)
    axis = drawing.subplots()
    sns.heatmap(
        table, ax=axis, annot=True, fmt=f".{decimals}f", cmap="cividis", cbar_kws={"label": unit},
        xticklabels=list(temperatures), yticklabels=list(weights),
    )  # fmt: skip
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
    """Paired differences with their 95% intervals, a row an arm: from `experiments.summarise`.

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


def robustness_figure(
    states: Sequence[State], classes: Sequence[str], *, title: str = ""
) -> tuple[Figure, Callable[[State], list]]:
    """Attacked images above (or beside) two nets' probabilities for them; and move(state).

    States are from `widgets.robustness_state`. Each net sees the attack that was made against it.
    """
    alone = len(states) == 1
    drawing = figure(11 if alone else 1.2 + 2.9 * len(states), 4.6 if alone else 6.6, title)
    rows = [["student", "teacher", "bars"]] if alone else [["student", "teacher"], ["bars"] * 2]
    shape = {"width_ratios": (1, 1, 1.9)} if alone else {"height_ratios": (1, 2.1)}
    moves, widths = [], (4.1, *[2.9] * (len(states) - 1))  # the first has the classes' names
    for part in np.ravel(drawing.subfigures(1, len(states), width_ratios=widths)):
        axes = part.subplot_mosaic(rows, **shape)
        moves.append(_robustness(axes, states[len(moves)], classes, 14 if alone else 11))
        if len(moves) > 1:
            axes["bars"].set_yticklabels([])
    entries = axes["bars"].get_legend_handles_labels()
    drawing.legend(*entries, loc="outside lower center", ncols=2, frameon=False)
    return drawing, moves[0]


def _robustness(
    axes: Mapping[str, Axes], state: State, classes: Sequence[str], size: int
) -> Callable[[State], list]:
    names = {"student": "plain student", "teacher": "robust teacher"}
    bars = _paired_bars(axes["bars"], classes, [(state[r], r, names[r]) for r in names])
    axes["bars"].set(xlim=(0, 1), xlabel="probability", xticks=(0, 0.5, 1))
    axes["bars"].set_xticklabels(("0", "0.5", "1"))
    heading, pictures, captions = axes["bars"].set_title("\n"), {}, {}
    for role in names:
        axes[role].set_axis_off()
        pictures[role] = axes[role].imshow(_pixels(state["images"][role]), **PIXELS)
        captions[role] = axes[role].set_title("\n", loc="center", fontsize=size)

    def move(state: State) -> list:
        for bar, value in zip(bars, [*state["student"], *state["teacher"]], strict=True):
            bar.set_width(value)
        heading.set_text(f"ε = {state['epsilon']}/255\nlabel: {classes[state['label']]}")
        for role in names:
            pictures[role].set_data(_pixels(state["images"][role]))
            guess = max(range(len(classes)), key=state[role].__getitem__)
            captions[role].set_text(f"{names[role]}\nsays {classes[guess]}")
            captions[role].set_color("black" if guess == state["label"] else COLOURS["accent"])
        return [*bars, heading, *pictures.values(), *captions.values()]

    move(state)
    return move


def label_curves_figure(
    states: Sequence[State], *, title: str = ""
) -> tuple[Figure, Callable[[State], list]]:
    """Accuracy against the number of labels, an axis a state of `widgets.label_state`; and
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
    counts, looks = state["counts"], {
        "labels": {"color": COLOURS["student"], "marker": "o", "label": "that many labels"},
        "own": {"color": COLOURS["distilled"], "marker": "o", "label": "a teacher of these labels"},
        "free": {"color": COLOURS["distilled"], "ls": "--", "label": "a teacher of 50,000 labels"},
    }  # fmt: skip
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


def download_figure(
    states: Sequence[State], *, title: str = ""
) -> tuple[Figure, Callable[[State], list]]:
    """Seconds until each model is on the device, a panel a bandwidth; and move(state).

    States are from `widgets.download_state`. The line is the time that one is willing to wait.
    """
    names = list(states[0]["seconds"])
    width = 9 if len(states) == 1 else 3.4 + 2.5 * len(states)
    drawing = figure(width, 1.7 + 0.42 * len(names), title)
    axes = drawing.subplots(1, len(states), sharey=True, squeeze=False)[0]
    moves = [_download_bars(axis, state, names) for axis, state in zip(axes, states, strict=True)]
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    return drawing, moves[0]


def _download_bars(axis: Axes, state: State, names: Sequence[str]) -> Callable[[State], list]:
    colours = [COLOURS[state["roles"][name]] for name in names]
    bars = axis.barh(names, [1] * len(names), color=colours, left=1e-4, linewidth=0)
    line = axis.axvline(1, color=COLOURS["accent"], linewidth=2.5)
    axis.set(xscale="log", xlim=(1e-4, 1e4), xlabel="seconds")
    axis.set_xticks((1e-3, 1, 1e3), ("0.001", "1", "1000"))
    axis.minorticks_off()
    axis.grid(axis="y", visible=False)
    heading = axis.set_title("\n")

    def move(state: State) -> list:
        for bar, name in zip(bars, names, strict=True):
            bar.set_width(state["seconds"][name] - 1e-4)
        line.set_xdata([state["patience"]] * 2)
        heading.set_text(
            f"{state['bandwidth']:.3g} Mbit/s\n{state['count']} of {state['models']} in time"
        )
        return [*bars, line, heading]

    move(state)
    return move


def verification_figure(
    states: Sequence[State], curves: Mapping[str, Sequence], pairs, *, title: str = ""
) -> tuple[Figure, Callable[[State], list]]:
    """ROC curves with a dot a state, beside pairs of images and what is decided; and move(state).

    States are from `widgets.verification_state`; `curves` maps a role (of `COLOURS`) and its name,
    "role: name", to (FAR, TAR), both in 0..1; `pairs` are uint8 [P, 2, C, H, W].
    """
    alone = len(states) == 1
    drawing = figure(11, 4.6 if alone else 0.9 + 2.2 * len(states), title)
    left, right = drawing.subfigures(1, 2, width_ratios=(1, 1.25))
    axis, dots = left.subplots(), []
    for name, (far, tar) in curves.items():
        role, label = name.split(": ")
        axis.plot(far, tar, color=COLOURS[role], linewidth=2.5, label=label)
    for letter, state in zip("ABCDEF", states, strict=False):
        dots += axis.plot(state["far"], state["tar"], "o", color=COLOURS["accent"], markersize=10)
        if not alone:
            place = {"xytext": (9, -14), "textcoords": "offset points", "fontweight": "bold"}
            axis.annotate(letter, (max(state["far"], 1e-3), state["tar"]), **place)
    axis.set(xscale="log", xlim=(1e-3, 1), ylim=(0, 1.02))
    axis.set(xlabel="false accept rate (FAR)", ylabel="true accept rate (TAR)")
    axis.set_xticks((0.001, 0.01, 0.1, 1), ("0.001", "0.01", "0.1", "1"))
    axis.minorticks_off()
    axis.legend(loc="upper left", fontsize=12)
    shape = (2, math.ceil(len(pairs) / 2)) if alone else (len(states), len(pairs))
    grid = right.subplots(*shape, squeeze=False)
    rows = [grid.ravel()] if alone else grid
    moves = [_decided(axes, state, pairs, 13 if alone else 10)
             for axes, state in zip(rows, states, strict=True)]  # fmt: skip
    if not alone:
        for letter, axes, state in zip("ABCDEF", grid, states, strict=False):
            axes[0].set_ylabel(f"{letter}\nFAR {state['far']:.2g}", rotation=0, ha="right", size=12)

    def move(state: State) -> list:
        dots[0].set_data([max(state["far"], 1e-3)], [state["tar"]])
        return [dots[0], *moves[0](state)]

    return drawing, move


ROLES = {"better": "distilled", "worse": "accent"}  # of a verdict; others are grey


def evidence_rows(rows: Sequence[Mapping], *, title: str = "") -> tuple[Figure, Callable]:
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


def _decided(axes: Sequence[Axes], state: State, pairs, size: int) -> Callable[[State], list]:
    captions = []
    for axis, pair, same in zip(axes, pairs, state["same"], strict=True):
        side = 1 if size > 12 else 0  # beside each other, or one below the other
        axis.imshow(np.concatenate([_pixels(image) for image in pair], axis=side), **PIXELS)
        axis.set(xticks=[], yticks=[])
        axis.set_xlabel("same class" if same else "two classes", fontsize=size)
        captions.append(axis.set_title("", loc="center", fontsize=size, pad=4))

    def move(state: State) -> list:
        for caption, accepted, same, score in zip(
            captions, state["accepted"], state["same"], state["scores"], strict=True
        ):
            caption.set_text(f"{score:.2f}\n{'accepted' if accepted else 'refused'}")
            caption.set_color("black" if accepted == same else COLOURS["accent"])
        return captions

    move(state)
    return move


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
    axis.annotate(f"{limit:g} ms", (1, limit), (-4, 4), xycoords=("axes fraction", "data"),
                  textcoords="offset points", color=COLOURS["accent"], ha="right")  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="requests a second", ylabel=ylabel)
    axis.set_ylim(top=1.3 * top)
    offered = sorted({rate for points in curves.values() for rate, _ in points})
    axis.set_xticks(offered, [f"{rate:g}" for rate in offered])
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(loc="best")
    return drawing


def agreement_line(
    shares: Sequence[float], threshold: float, *, changed: int = 0, rang: int | None = None,
    title: str = "",
) -> Figure:  # fmt: skip
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
        axis.plot(rang, 100 * shares[rang], "o", color=COLOURS["accent"], markersize=11,
                  label="the alarm rings")  # fmt: skip
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


CHINESE_FONTS = (  # simplified forms first; a CJK collection may only be known by its first face
    "Noto Sans CJK SC", "Source Han Sans SC", "Noto Sans SC", "Microsoft YaHei", "PingFang SC",
    "Hiragino Sans GB", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Noto Sans CJK JP",
)  # fmt: skip


def progress_bars(table: pd.DataFrame, names: Sequence[str], language: str = "en") -> Figure:
    """What a learner has seen and will know tomorrow, a bar for each row of `trainer.statistics`.

    Without a font for Chinese, the words are English and the bars have the table's keys.
    """
    chinese = _chinese_font()
    if language == "zh" and not chinese:
        language, names = "en", [str(key) for key in table.index]
    known = (table["ready"] * table["items"]).sum() / table["items"].sum()
    title, seen, ready, axis_label = {
        "en": ("{:.0%} of the items known tomorrow", "seen", "known tomorrow (FSRS)",
               "share of the items, %"),
        "zh": ("明天预计还记得 {:.0%} 的题", "已学", "明天还记得（FSRS 预测）", "题目占比（%）"),
    }[language]  # fmt: skip
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


@cache
def _chinese_font() -> str | None:
    """The best font here that has Chinese, also one that was installed after matplotlib looked."""
    manager = matplotlib.font_manager.fontManager

    def found() -> str | None:
        installed = {font.name for font in manager.ttflist}
        return next((name for name in CHINESE_FONTS if name in installed), None)

    if found() is None:
        for path in matplotlib.font_manager.findSystemFonts():
            if re.search("CJK|msyh|PingFang|Hiragino|wqy|simhei", path, re.IGNORECASE):
                manager.addfont(path)
    return found()
