"""Figures: they carry the numbers given, labelled axes and one colour per role."""

import io
import itertools
import math
import re

import matplotlib.colors
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image
from specimens import CLASSES, CURVE, MODELS, attacks, few_labels

from kdlab.apps import style
from kdlab.apps.chapters import figures, panels
from kdlab.lab.stats import summarise

NETS = "teacher", "student", "distilled"
DRAW = torch.Generator().manual_seed(0)
TEACHER, STUDENT = 4 * torch.randn(10, generator=DRAW), 3 * torch.randn(10, generator=DRAW)
IMAGE = torch.randint(256, (1, 28, 28), generator=DRAW, dtype=torch.uint8)
COLOUR_IMAGE = torch.randint(256, (3, 32, 32), generator=DRAW, dtype=torch.uint8)


PAIRS = torch.randint(256, (4, 2, 3, 32, 32), generator=DRAW, dtype=torch.uint8)
ATTACKED, ATTACKS = attacks()
# states as their functions give them
SOFTENED = {t: panels.temperature_state(TEACHER, STUDENT, t, 3) for t in (0.5, 1, 4, 20)}
ROBUST = {
    e: panels.robustness_state(ATTACKED, ATTACKS.labels, epsilon=e, image=0) for e in (0, 4, 8)
}
DRAFTED = [
    panels.acceptance_state(TEACHER, STUDENT, 2.0, 3) | {"draft": draft}
    for draft in ("labels", "distilled")
]
VERIFIED = panels.verification_state(
    torch.linspace(0, 1, 40), torch.linspace(-1, 0.5, 60), torch.tensor([0.1, 0.9, 0.2, -0.5]),
    torch.tensor([True, True, False, False]), threshold=0.15,
)  # fmt: skip
LABELS = [panels.few_labels_state(kind, few_labels()) for kind in "abcd"]
ACCURACIES = {  # of three seeds; beside "a", "b" is better in each, "c" worse, "d" within noise
    "a": (70.0, 70.2, 70.2), "b": (73.0, 73.3, 73.2),
    "c": (66.0, 66.1, 66.2), "d": (71.0, 68.9, 70.5),
}  # fmt: skip
RUNS = [
    {"arm": arm, "seed": seed, "accuracy": accuracy}
    for arm, found in ACCURACIES.items()
    for seed, accuracy in enumerate(found)
]
ROCS = {f"{role}: {role} net": ([0.001, 0.01, 1.0], [0.1, 0.4, 1.0]) for role in NETS}
CURVES = {"teacher": [(50, 20.0), (100, math.inf)], "student": [(100, 5.0), (400, 60.0)]}
ROLES = {"teacher": "teacher", "student": "distilled"}
FINDING, NAMES = {"title": "finding"}, {"unit": "%", "weight_name": "weight"}


def objective(t, squared):
    settings = {"temperature": t, "weight": 1.0, "with_t_squared": squared}
    return panels.objective_state(STUDENT, TEACHER, 3, **settings)


FIGURES = {
    "label curves": lambda: panels.few_labels_figure(LABELS, **FINDING),
    "verification": lambda: panels.verification_figure([VERIFIED], ROCS, PAIRS, **FINDING),
    "downloads": lambda: panels.download_figure(
        [panels.download_state(MODELS, bandwidth) for bandwidth in (0.1, 1, 10)], **FINDING
    ),
    "load curves": lambda: figures.load_curves(CURVES, ROLES),
    "agreement": lambda: figures.agreement_line([0.9, 0.9, 0.8, 0.5], 0.7, changed=2, rang=3),
    "forest": lambda: figures.forest({"": summarise(RUNS)}, **FINDING),
    "two forests": lambda: figures.forest({a: summarise(RUNS, control=a) for a in "ab"}),
    "robustness": lambda: panels.robustness_figure([*ROBUST.values()], CLASSES),
    "image grid": lambda: figures.image_grid([IMAGE] * 7, ["a\nb"] * 7, columns=3, **FINDING),
    "colour grid": lambda: figures.image_grid([COLOUR_IMAGE] * 2, "ab", **FINDING),
    "small multiples": lambda: panels.temperature_figure(
        [*SOFTENED.values()], CLASSES, COLOUR_IMAGE, **FINDING
    ),
    "ladder": lambda: panels.temperature_figure(
        [SOFTENED[4] | {"name": n} for n in ("small", "large")], CLASSES, IMAGE
    ),
    "objective grid": lambda: panels.objective_figure(
        [(objective(t, False), objective(t, True)) for t in (1, 4, 20)], CLASSES, **FINDING
    ),
    "paired dots": lambda: figures.paired_dots(
        {"labels only": [71.0, 72.0], "distilled": [74.0, 75.0]}, ylabel="%", **FINDING
    ),
    "one seed": lambda: figures.paired_dots({"a": [1.0], "b": [2.0], "c": [3.0]}, ylabel="%"),
    "acceptance": lambda: panels.acceptance_figure(DRAFTED, CLASSES, IMAGE, **FINDING),
    "heat map": lambda: figures.heat_map([[1, 2], [4, 3]], [1, 4], [0.1, 9], **NAMES),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_renders_without_pyplot(name):
    figure, out = FIGURES[name](), io.BytesIO()
    figure.savefig(out)
    picture = Image.open(out)
    assert picture.size == tuple((100 * figure.get_size_inches()).round().astype(int))
    assert np.asarray(picture.convert("L")).std() > 5  # not blank
    assert not pytest.importorskip("matplotlib.pyplot").get_fignums()  # nothing to close


@pytest.mark.parametrize("name", FIGURES)
def test_axes_with_ticks_are_labelled(name):
    for axis in FIGURES[name]().axes:
        shown = axis.axison and axis.get_label() != "<colorbar>" and axis.xaxis.get_visible()
        if shown and any(label.get_text() for label in axis.get_xticklabels()):
            assert axis.get_xlabel() or not axis.get_subplotspec().is_last_row()


def test_a_notebook_shows_a_picture_with_alternative_text():
    png, metadata = FIGURES["small multiples"]()._repr_png_()
    assert png[:4] == b"\x89PNG" and metadata == {"alt": "finding"}


def test_bars_show_the_softened_probabilities():
    _, axis, _, _, hot = FIGURES["small multiples"]().axes
    for drawn, state in ((axis, SOFTENED[0.5]), (hot, SOFTENED[20])):
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
    colours = [np.array(matplotlib.colors.to_rgb(style.COLOURS[role])) for role in NETS]
    seen = [np.clip(deuteranopia @ colour, 0, 1) for colour in colours]
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(one - other) > 0.25


def test_a_forest_shows_each_interval_in_the_colour_of_its_verdict():
    table = summarise(RUNS)
    axis = figures.forest({"": table}).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["c", "a", "d", "b"]
    drawn = {
        round(line.get_ydata()[0]): (tuple(line.get_xdata()), line.get_color())
        for line in axis.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 3
    }
    assert len(drawn) == 3  # the control has no interval with itself
    for row, arm, role in ((0, "c", "accent"), (2, "d", "label"), (3, "b", "distilled")):
        ends = tuple(table.loc[arm, ["95% low", "95% high"]])
        assert drawn[row] == (ends, style.COLOURS[role])


def test_a_forest_calls_noise_what_holm_calls_noise():
    table = summarise(RUNS).assign(beyond=False)
    colours = {line.get_color() for line in figures.forest({"": table}).axes[0].lines}
    assert not colours & {style.COLOURS["distilled"], style.COLOURS["accent"]}


def test_the_verification_twin_marks_wrong_decisions_and_the_point_on_the_curve():
    drawing = FIGURES["verification"]()
    curve, *pairs = [axis for part in drawing.subfigs for axis in part.axes]
    colours = [style.COLOURS[name.split(":")[0]] for name in ROCS]
    assert [line.get_color() for line in curve.lines[:3]] == colours
    assert curve.lines[3].get_xydata().tolist() == [[VERIFIED["far"], VERIFIED["tar"]]]
    said = [(axis.title.get_text(), axis.title.get_color()) for axis in pairs]
    assert said == [
        ("0.10\nrefused", style.COLOURS["accent"]), ("0.90\naccepted", "black"),
        ("0.20\naccepted", style.COLOURS["accent"]), ("-0.50\nrefused", "black"),
    ]  # fmt: skip
    shown = np.asarray(pairs[0].images[0].get_array())
    assert (shown == torch.cat(list(PAIRS[0]), dim=1).permute(1, 2, 0).numpy()).all()


def test_the_robustness_twin_shows_what_its_states_say():
    for part, state in zip(FIGURES["robustness"]().subfigs, ROBUST.values(), strict=True):
        axes = {axis.get_label(): axis for axis in part.axes}
        for container, role in zip(axes["bars"].containers, ("student", "teacher"), strict=True):
            np.testing.assert_allclose([bar.get_width() for bar in container], state[role])
            shown = np.asarray(axes[role].images[0].get_array())
            assert (shown.transpose(2, 0, 1) == np.asarray(state["images"][role])).all()
        assert f"ε = {state['epsilon']}/255\nLabel: 0" in axes["bars"].get_title(loc="left")


def test_a_label_curve_carries_mean_and_band():
    axis = FIGURES["label curves"]().axes[0]
    curves = [line.get_xydata().tolist() for line in axis.lines]
    for means in ((22, 46, 66), (26, 50, 70), (61, 61, 61)):
        assert [[n, mean] for n, mean in zip(CURVE, means, strict=True)] in curves
    corners = axis.collections[0].get_paths()[0].vertices.tolist()
    assert [100, 20] in corners and [100, 24] in corners and [1000, 47] in corners


def test_the_common_part_of_target_and_draft_is_what_is_accepted():
    drawing = panels.acceptance_figure(DRAFTED[:1], CLASSES, IMAGE)
    axis = drawing.axes[-1]
    target, draft, both = ([bar.get_width() for bar in bars] for bars in axis.containers)
    assert both == pytest.approx([min(pair) for pair in zip(target, draft, strict=True)])
    assert f"accepted {sum(both):.0%}" in axis.get_title("left")
    assert drawing.legends[0].get_texts()[1].get_text() == "Student trained on labels"


TWINS = ["acceptance", "downloads", "label curves", "objective grid", "robustness"]
TWINS += ["small multiples", "verification"]


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_of_a_panel_speaks_the_language_of_the_edition(name, monkeypatch):
    monkeypatch.setenv("KDLAB_LANGUAGE", "zh")
    spoken = [axis.get_xlabel() for axis in FIGURES[name]().findobj(Axes)]
    chinese = [bool(re.search("[\u4e00-\u9fff]", told)) for told in spoken if told]
    assert chinese and all(chinese) == bool(style.chinese_font())
