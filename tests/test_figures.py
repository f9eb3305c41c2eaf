"""Figures: they carry the numbers given, labelled axes and one colour per role."""

import io
import math

import matplotlib.colors
import numpy as np
import pytest
import torch
from PIL import Image
from test_panels import CLASSES, MODELS, attacks, few_labels

from kdlab.records import summarise
from kdlab.show import figures, panels, style

DRAW = torch.Generator().manual_seed(0)
TEACHER, STUDENT = 4 * torch.randn(10, generator=DRAW), 3 * torch.randn(10, generator=DRAW)
IMAGE = torch.randint(256, (1, 28, 28), generator=DRAW, dtype=torch.uint8)
COLOUR_IMAGE = torch.randint(256, (3, 32, 32), generator=DRAW, dtype=torch.uint8)


def softened(t):
    return panels.temperature_state(TEACHER, STUDENT, t, 3)


def objective(t, squared=True):
    settings = {"temperature": t, "weight": 1.0, "with_t_squared": squared}
    return panels.objective_state(STUDENT, TEACHER, 3, **settings)


def runs():
    """Three seeds: "b" is better than the control "a" in each, "c" worse, "d" within noise."""
    means = {"a": 70.0, "b": 73.0, "c": 66.0, "d": 70.0}
    wobble = {"d": (1.0, -1.2, 0.3)}
    return [
        {"arm": arm, "seed": seed, "accuracy": mean + 0.1 * seed + of_arm[seed]}
        for arm, mean in means.items()
        for of_arm in [wobble.get(arm, (0, 0.1, 0))]
        for seed in range(3)
    ]


def attacked(level):
    """A state as `panels.robustness_state` gives it."""
    nets, data = attacks(levels=(level,))
    return panels.robustness_state(nets, data.labels, epsilon=level, image=0)


def verified(threshold):
    """A state as `panels.verification_state` gives it, of four pairs."""
    return panels.verification_state(
        torch.linspace(0, 1, 40), torch.linspace(-1, 0.5, 60), torch.tensor([0.1, 0.9, 0.2, -0.5]),
        torch.tensor([True, True, False, False]), threshold=threshold,
    )  # fmt: skip


def drafted(draft):
    state = panels.acceptance_state(TEACHER, STUDENT, 2.0, 3)
    return state | {"draft": draft}


ROCS = {f"{role}: {role} net": ([0.001, 0.01, 1.0], [0.1, 0.4, 1.0]) for role in
        ("teacher", "student", "distilled")}  # fmt: skip
PAIRS = torch.randint(256, (4, 2, 3, 32, 32), generator=DRAW, dtype=torch.uint8)


CURVES = {"teacher": [(50, 20.0), (100, math.inf)], "student": [(100, 5.0), (400, 60.0)]}
ROLES = {"teacher": "teacher", "student": "distilled"}
LABELS = [panels.few_labels_state(kind, few_labels()) for kind in "abcd"]
FINDING, NAMES = {"title": "finding"}, {"unit": "%", "weight_name": "weight"}
FIGURES = {
    "label curves": lambda: panels.few_labels_figure(LABELS, **FINDING),
    "verification": lambda: panels.verification_figure([verified(0.15)], ROCS, PAIRS, **FINDING),
    "downloads": lambda: panels.download_figure(
        [panels.download_state(MODELS, bandwidth) for bandwidth in (0.1, 1, 10)], **FINDING
    ),
    "load curves": lambda: figures.load_curves(CURVES, ROLES),
    "agreement": lambda: figures.agreement_line([0.9, 0.9, 0.8, 0.5], 0.7, changed=2, rang=3),
    "forest": lambda: figures.forest({"": summarise(runs())}, **FINDING),
    "two forests": lambda: figures.forest({a: summarise(runs(), control=a) for a in "ab"}),
    "robustness": lambda: panels.robustness_figure([attacked(e) for e in (0, 4, 8)], CLASSES),
    "image grid": lambda: figures.image_grid([IMAGE] * 7, ["a\nb"] * 7, columns=3, **FINDING),
    "colour grid": lambda: figures.image_grid([COLOUR_IMAGE] * 2, "ab", **FINDING),
    "small multiples": lambda: panels.temperature_figure(
        [softened(t) for t in (0.5, 1, 4, 20)], CLASSES, COLOUR_IMAGE, **FINDING
    ),
    "ladder": lambda: panels.temperature_figure(
        [softened(4) | {"name": n} for n in ("small", "large")], CLASSES, IMAGE
    ),
    "objective grid": lambda: panels.objective_figure(
        [(objective(t, False), objective(t)) for t in (1, 4, 20)], CLASSES, **FINDING
    ),
    "paired dots": lambda: figures.paired_dots(
        {"labels only": [71.0, 72.0], "distilled": [74.0, 75.0]}, ylabel="%", **FINDING
    ),
    "one seed": lambda: figures.paired_dots({"a": [1.0], "b": [2.0], "c": [3.0]}, ylabel="%"),
    "acceptance": lambda: panels.acceptance_figure(
        [drafted("labels"), drafted("distilled")], CLASSES, IMAGE, **FINDING
    ),
    "heat map": lambda: figures.heat_map([[1, 2], [4, 3]], [1, 4], [0.1, 9], **NAMES),
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


def test_bars_show_the_softened_probabilities():
    _, axis, _, _, hot = FIGURES["small multiples"]().axes
    for drawn, state in ((axis, softened(0.5)), (hot, softened(20))):
        for container, role in zip(drawn.containers, ("teacher", "student"), strict=True):
            np.testing.assert_allclose([bar.get_width() for bar in container], state[role])
            colour = matplotlib.colors.to_hex(container[0].get_facecolor())
            assert colour == style.COLOURS[role].lower()
        assert f"{state['teacher_entropy']:.2f}" in drawn.get_title(loc="left")


def test_the_best_cell_is_framed():
    figure = figures.heat_map([[2, 9], [1, np.nan]], [1, 4], [0.1, 9], **NAMES)
    assert figure.axes[0].patches[-1].get_xy() == (1, 0)


def test_unequal_seeds_are_refused():
    with pytest.raises(ValueError, match="inhomogeneous"):
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
    figure = figures.forest({"": table})
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["c", "a", "d", "b"]
    drawn = {
        round(line.get_ydata()[0]): (tuple(line.get_xdata()), line.get_color())
        for line in axis.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 3
    }
    assert len(drawn) == 3  # the control has no interval with itself
    for row, arm, role in ((0, "c", "accent"), (2, "d", "label"), (3, "b", "distilled")):
        wanted = tuple(table.loc[arm, ["95% low", "95% high"]])
        assert drawn[row] == (wanted, style.COLOURS[role])


def test_a_forest_calls_noise_what_holm_calls_noise():
    table = summarise(runs())
    table["beyond"] = False
    colours = {line.get_color() for line in figures.forest({"": table}).axes[0].lines}
    assert not colours & {style.COLOURS["distilled"], style.COLOURS["accent"]}


def test_the_verification_twin_marks_wrong_decisions_and_the_point_on_the_curve():
    drawing, state = FIGURES["verification"](), verified(0.15)
    curve, *pairs = [axis for part in drawing.subfigs for axis in part.axes]
    colours = [style.COLOURS[name.split(":")[0]] for name in ROCS]
    assert [line.get_color() for line in curve.lines[:3]] == colours
    assert curve.lines[3].get_xydata().tolist() == [[state["far"], state["tar"]]]
    said = [(axis.title.get_text(), axis.title.get_color()) for axis in pairs]
    assert said == [
        ("0.10\nrefused", style.COLOURS["accent"]), ("0.90\naccepted", "black"),
        ("0.20\naccepted", style.COLOURS["accent"]), ("-0.50\nrefused", "black"),
    ]  # fmt: skip
    shown = np.asarray(pairs[0].images[0].get_array())
    assert (shown == torch.cat(list(PAIRS[0]), dim=1).permute(1, 2, 0).numpy()).all()


def test_the_robustness_twin_shows_what_its_states_say():
    for part, epsilon in zip(FIGURES["robustness"]().subfigs, (0, 4, 8), strict=True):
        axes, state = {axis.get_label(): axis for axis in part.axes}, attacked(epsilon)
        for container, role in zip(axes["bars"].containers, ("student", "teacher"), strict=True):
            np.testing.assert_allclose([bar.get_width() for bar in container], state[role])
            shown = np.asarray(axes[role].images[0].get_array())
            assert (shown.transpose(2, 0, 1) == np.asarray(state["images"][role])).all()
        assert f"ε = {epsilon}/255\nLabel: 0" in axes["bars"].get_title(loc="left")


def test_a_label_curve_carries_mean_and_band():
    axis = FIGURES["label curves"]().axes[0]
    curves = [line.get_xydata().tolist() for line in axis.lines]
    assert [[100, 22], [1000, 46], [10_000, 66]] in curves
    assert [[100, 26], [1000, 50], [10_000, 70]] in curves
    assert [[100, 61], [1000, 61], [10_000, 61]] in curves
    corners = axis.collections[0].get_paths()[0].vertices.tolist()
    assert [100, 20] in corners and [100, 24] in corners and [1000, 47] in corners


def test_the_common_part_of_target_and_draft_is_what_is_accepted():
    state = drafted("labels")
    drawing = panels.acceptance_figure([state], CLASSES, IMAGE)
    axis = drawing.axes[-1]
    target, draft, both = ([bar.get_width() for bar in bars] for bars in axis.containers)
    assert both == pytest.approx([min(pair) for pair in zip(target, draft, strict=True)])
    assert f"accepted {sum(both):.0%}" in axis.get_title("left")
    assert drawing.legends[0].get_texts()[1].get_text() == "Student trained on labels"
