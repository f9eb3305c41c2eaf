"""Figures: they carry the numbers given, labelled axes and one colour per role."""

import io
import math

import matplotlib.colors
import numpy as np
import pytest
import torch
from PIL import Image

from kdlab.records import summarise
from kdlab.show import figures, panels, style
from kdlab.show.panels import objective as objectives
from kdlab.show.panels import robustness, temperature

CLASSES = tuple("0123456789")
DRAW = torch.Generator().manual_seed(0)
TEACHER, STUDENT = 4 * torch.randn(10, generator=DRAW), 3 * torch.randn(10, generator=DRAW)
IMAGE = torch.randint(256, (1, 28, 28), generator=DRAW, dtype=torch.uint8)
COLOUR_IMAGE = torch.randint(256, (3, 32, 32), generator=DRAW, dtype=torch.uint8)


def softened(t):
    return panels.temperature_state(TEACHER, STUDENT, t, 3)


def objective(t, squared=True, weight=1.0):
    return panels.objective_state(
        STUDENT, TEACHER, 3, temperature=t, weight=weight, with_t_squared=squared
    )


def grid_of_objectives():
    pairs = [(objective(t, False), objective(t)) for t in (1, 4, 20)]
    return panels.temperature_lambda_grid(pairs, CLASSES, title="finding")


def runs():
    """Three seeds: "b" is better than the control "a" in each, "c" worse, "d" within noise."""
    means = {"a": 70.0, "b": 73.0, "c": 66.0, "d": 70.0}
    wobble = {"d": (1.0, -1.2, 0.3)}
    return [
        {
            "arm": arm,
            "seed": seed,
            "accuracy": mean + 0.1 * seed + wobble.get(arm, (0, 0.1, 0))[seed],
        }
        for arm, mean in means.items()
        for seed in range(3)
    ]


def attacked(level, image=0):
    """A state as `panels.robustness_state` gives it."""
    draw = torch.Generator().manual_seed(level)
    shown = torch.randint(256, (2, 4, 3, 32, 32), generator=draw, dtype=torch.uint8)
    said = torch.randn(2, 4, 10, generator=draw).softmax(2)
    nets = {r: robustness.Attacked((level,), shown[i : i + 1], said[i : i + 1])
            for i, r in enumerate(("student", "teacher"))}  # fmt: skip
    return panels.robustness_state(nets, torch.arange(4), epsilon=level, image=image)


def few_labels(kind="CNN", n=None):
    labels = {100: [20.0, 24.0], 1000: [45.0, 47.0], 10_000: [66.0, 66.0]}
    own = {m: [a + 4 for a in v] for m, v in labels.items()}
    free = dict.fromkeys(labels, [60.0, 62.0])
    return panels.label_state(kind, {"labels": labels, "own": own, "free": free}, n)


def verified(threshold):
    """A state as `panels.verification_state` gives it, of four pairs."""
    return panels.verification_state(
        torch.linspace(0, 1, 40), torch.linspace(-1, 0.5, 60), torch.tensor([0.1, 0.9, 0.2, -0.5]),
        torch.tensor([True, True, False, False]), threshold=threshold,
    )  # fmt: skip


ROCS = {f"{role}: {role} net": ([0.001, 0.01, 1.0], [0.1, 0.4, 1.0]) for role in
        ("teacher", "student", "distilled")}  # fmt: skip
PAIRS = torch.randint(256, (4, 2, 3, 32, 32), generator=DRAW, dtype=torch.uint8)


def downloads(*bandwidths):
    models = {"teacher": (8_000_000, "teacher"), "student": (100_000, "distilled")}
    return [panels.download_state(models, bandwidth) for bandwidth in bandwidths]


CURVES = {"teacher": [(50, 20.0), (100, math.inf)], "student": [(100, 5.0), (400, 60.0)]}
ROLES = {"teacher": "teacher", "student": "distilled"}
FIGURES = {
    "label panel": lambda: panels.label_curves_figure([few_labels(n=1000)])[0],
    "label curves": lambda: panels.label_curves_figure(
        [few_labels(kind) for kind in "abcd"], title="finding"
    )[0],
    "verification panel": lambda: panels.verification_figure([verified(0.3)], ROCS, PAIRS)[0],
    "verification twin": lambda: panels.verification_figure(
        [verified(t) for t in (0.45, 0.15)], ROCS, PAIRS, title="finding"
    )[0],
    "download panel": lambda: panels.download_figure(downloads(1))[0],
    "downloads": lambda: panels.download_figure(downloads(0.1, 1, 10), title="finding")[0],
    "load curves": lambda: figures.load_curves(
        CURVES, {"teacher": "teacher", "student": "distilled"}
    ),
    "agreement": lambda: figures.agreement_line(
        [0.9, 0.9, 0.8, 0.5], 0.7, changed=2, rang=3, title="finding"
    ),
    "forest": lambda: figures.forest(summarise(runs()), title="finding"),
    "two forests": lambda: figures.forest(
        {f"against {arm}": summarise(runs(), control=arm) for arm in "ab"}
    ),
    "robustness panel": lambda: panels.robustness_figure([attacked(8)], CLASSES)[0],
    "robustness grid": lambda: panels.robustness_figure(
        [attacked(e) for e in (0, 4, 8)], CLASSES, title="finding"
    )[0],
    "image grid": lambda: figures.image_grid([IMAGE] * 7, ["a"] * 7, columns=3, title="finding"),
    "colour grid": lambda: figures.image_grid([COLOUR_IMAGE] * 2, title="finding"),
    "temperature panel": lambda: temperature.temperature_figure(
        [softened(4)], CLASSES, IMAGE[None]
    )[0],
    "small multiples": lambda: panels.temperature_small_multiples(
        [softened(t) for t in (0.5, 1, 4, 20)], CLASSES, COLOUR_IMAGE, title="finding"
    ),
    "ladder": lambda: panels.temperature_small_multiples(
        [softened(4) | {"name": n} for n in ("small", "large")], CLASSES, COLOUR_IMAGE, title="f"
    ),
    "objective panel": lambda: objectives.objective_figure(objective(4), CLASSES)[0],
    "objective grid": grid_of_objectives,
    "paired dots": lambda: figures.paired_dots(
        {"labels only": [71.0, 72.0], "distilled": [74.0, 75.0]}, ylabel="%", title="finding"
    ),
    "one seed": lambda: figures.paired_dots({"a": [1.0], "b": [2.0], "c": [3.0]}, ylabel="%"),
    "heat map": lambda: figures.heat_map([[1, 2], [4, 3]], [1, 4], [0.1, 9], unit="%"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_renders_without_pyplot(name):
    figure = FIGURES[name]()
    out = io.BytesIO()
    figure.savefig(out)
    picture = Image.open(out)
    assert picture.size == tuple((100 * figure.get_size_inches()).round().astype(int))
    assert np.asarray(picture.convert("L")).std() > 5  # not blank
    plt = pytest.importorskip("matplotlib.pyplot")
    assert not plt.get_fignums()  # nothing to close


@pytest.mark.parametrize("name", FIGURES)
def test_axes_with_ticks_are_labelled(name):
    figure = FIGURES[name]()
    for axis in figure.axes:
        if axis.axison and axis.get_label() != "<colorbar>" and axis.xaxis.get_visible():
            if any(label.get_text() for label in axis.get_xticklabels()):
                assert axis.get_xlabel() or not axis.get_subplotspec().is_last_row()


def test_a_notebook_shows_a_picture_with_alternative_text():
    png, metadata = FIGURES["small multiples"]()._repr_png_()
    assert png[:4] == b"\x89PNG" and metadata == {"alt": "finding"}


def test_bars_show_the_softened_probabilities_and_move():
    drawing, move = temperature.temperature_figure([softened(1)], CLASSES, IMAGE[None])
    state = softened(8)
    move(state | {"image": 0})
    bars = drawing.axes[1].containers
    for container, role in zip(bars, ("teacher", "student"), strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in container], state[role])
        assert matplotlib.colors.to_hex(container[0].get_facecolor()) == style.COLOURS[role].lower()
    assert f"{state['teacher_entropy']:.2f}" in drawing.axes[1].get_title(loc="left")


def test_frames_equal_a_whole_drawing():
    drawing, move = objectives.objective_figure(objective(1), CLASSES)
    frames = style.Frames(drawing, dpi=100)
    for state in (objective(1), objective(4), objective(30, False, 7.0), objective(2)):
        png = frames.png(move(state))
    fresh, move = objectives.objective_figure(objective(1), CLASSES)  # for the same layout
    fresh.canvas.draw()
    fresh.set_layout_engine("none")
    move(objective(2))
    fresh.canvas.draw()
    want = np.asarray(fresh.canvas.buffer_rgba(), dtype=float)[..., :3]
    given = np.asarray(Image.open(io.BytesIO(png)), dtype=float)
    assert (abs(given - want).max(axis=2) > 30).mean() < 0.01  # bars over grid and legend order


def test_the_best_cell_is_framed():
    for best, corner in (("max", (1, 0)), ("min", (0, 1))):
        figure = figures.heat_map([[2, 9], [1, np.nan]], [1, 4], [0.1, 9], unit="%", best=best)
        assert figure.axes[0].patches[-1].get_xy() == (corner if best == "max" else (0, 1))


def test_unequal_seeds_are_refused():
    with pytest.raises(ValueError, match="one value for each seed"):
        figures.paired_dots({"a": [1, 2], "b": [1]}, ylabel="%")


def test_colours_are_distinct_for_colour_blind_readers():
    """Machado et al. 2009, severity 1: teacher, student and distilled stay apart."""
    deuteranopia = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    roles = [np.array(matplotlib.colors.to_rgb(style.COLOURS[role])) for role in
             ("teacher", "student", "distilled")]  # fmt: skip
    seen = [np.clip(deuteranopia @ colour, 0, 1) for colour in roles]
    for first in range(3):
        for second in range(first):
            assert np.linalg.norm(seen[first] - seen[second]) > 0.25


def test_a_forest_shows_each_interval_in_the_colour_of_its_verdict():
    table = summarise(runs())
    figure = figures.forest(table)
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["c", "a", "d", "b"]
    drawn = {}
    for line in axis.lines:
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 3:
            drawn[round(line.get_ydata()[0])] = (tuple(line.get_xdata()), line.get_color())
    for row, (arm, role) in enumerate(
        [("c", "accent"), ("a", ""), ("d", "label"), ("b", "distilled")]
    ):
        if arm != "a":
            wanted = tuple(table.loc[arm, ["95% low", "95% high"]])
            assert drawn[row] == (wanted, style.COLOURS[role])
    assert len(drawn) == 3  # the control has no interval with itself


def test_a_forest_of_errors_is_green_where_there_are_fewer():
    table = summarise(runs())
    assert table.loc["b", "difference"] > 0
    colours = {
        lower: [
            line.get_color() for line in figures.forest(table, lower_is_better=lower).axes[0].lines
        ]
        for lower in (False, True)
    }
    good, bad = style.COLOURS["distilled"], style.COLOURS["accent"]
    swap = {good: bad, bad: good}
    assert colours[True] == [swap.get(colour, colour) for colour in colours[False]]
    assert good in colours[True]


def test_a_forest_calls_noise_what_holm_calls_noise():
    table = summarise(runs())
    table["beyond"] = False
    colours = {line.get_color() for line in figures.forest(table).axes[0].lines}
    assert not colours & {style.COLOURS["distilled"], style.COLOURS["accent"]}


def test_the_verification_panel_marks_wrong_decisions_and_the_point_on_the_curve():
    drawing, move = panels.verification_figure([verified(0.9)], ROCS, PAIRS)
    state = verified(0.15)
    move(state)
    curve, *pairs = drawing.axes
    assert [line.get_color() for line in curve.lines[:3]] == [style.COLOURS[r.split(":")[0]]
                                                              for r in ROCS]  # fmt: skip
    assert curve.lines[3].get_xydata().tolist() == [[state["far"], state["tar"]]]
    said = [(axis.title.get_text(), axis.title.get_color()) for axis in pairs]
    assert said == [
        ("0.10\nrefused", style.COLOURS["accent"]), ("0.90\naccepted", "black"),
        ("0.20\naccepted", style.COLOURS["accent"]), ("-0.50\nrefused", "black"),
    ]  # fmt: skip
    shown = np.asarray(pairs[0].images[0].get_array())
    assert (shown[:, :32] == PAIRS[0, 0].permute(1, 2, 0).numpy()).all()
    assert (shown[:, 32:] == PAIRS[0, 1].permute(1, 2, 0).numpy()).all()


def test_the_robustness_panel_shows_what_its_state_says():
    drawing, move = panels.robustness_figure([attacked(8)], CLASSES)
    state = attacked(4, image=2)
    move(state)
    axes = {axis.get_label(): axis for axis in drawing.axes}
    for container, role in zip(axes["bars"].containers, ("student", "teacher"), strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in container], state[role])
        shown = np.asarray(axes[role].images[0].get_array())
        assert (shown.transpose(2, 0, 1) == np.asarray(state["images"][role])).all()
    assert "ε = 4/255\nlabel: 2" in axes["bars"].get_title(loc="left")


def test_a_label_curve_carries_mean_and_band_and_moves():
    figure, move = panels.label_curves_figure([few_labels()])
    line, own, free, dots = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[100, 22], [1000, 46], [10_000, 66]]
    assert set(free.get_ydata()) == {61.0} and not dots.get_visible()
    corners = figure.axes[0].collections[0].get_paths()[0].vertices.tolist()
    assert [100, 20] in corners and [100, 24] in corners and [1000, 47] in corners
    assert own.get_xydata().tolist() == [[100, 26], [1000, 50], [10_000, 70]]
    moved = few_labels(n=1000) | {"labels": [(0, 1.0, 2), (1, 2.0, 3), (2, 3.0, 4)]}
    assert line in move(moved) and list(line.get_ydata()) == [1, 2, 3]
    assert dots.get_visible() and dots.get_xydata().tolist() == [[1000, 2], [1000, 50], [1000, 61]]
