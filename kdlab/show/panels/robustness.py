"""Attacked images, and what a plain student and a robust teacher say of them, under an epsilon."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import ipywidgets
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from kdlab import losses, robust
from kdlab.data import Images
from kdlab.models import evaluating
from kdlab.show.panels.base import Moving, Panel, State, image_choice
from kdlab.show.style import COLOURS, PIXELS, figure, paired_bars, pixels_of


class Attacked(NamedTuple):
    """What one net is shown, and what it says, at each epsilon: E of them, N images, K classes."""

    epsilons: tuple[int, ...]  # grey levels
    images: Tensor  # uint8 [E, N, C, H, W], rounded to be shown
    probabilities: Tensor  # [E, N, K], for the unrounded pixels


def under_attack(
    model: nn.Module, data: Images, epsilons: Sequence[int] = range(0, 17, 2), steps: int = 10
) -> Attacked:
    """PGD against this net at each epsilon, beforehand, so that a slider only looks up."""
    found = [robust.attack(model, data, epsilon=e / 255, steps=steps) for e in epsilons]
    with evaluating(model), torch.no_grad():
        net = robust.on_pixels(model, data)
        said = torch.stack([losses.soften(net(pixels), 1.0) for pixels in found])
    return Attacked(tuple(epsilons), (255 * torch.stack(found)).round().byte(), said)


def robustness_state(
    nets: Mapping[str, Attacked], labels: Tensor, *, epsilon: int, image: int
) -> dict:
    """One image under the attacks on "student" and "teacher" at `epsilon` grey levels.

    ValueError for an epsilon that was not attacked beforehand.
    """
    label = int(labels[image])
    state = {"epsilon": epsilon, "label": label, "count": len(labels), "images": {}}
    for role, (epsilons, images, probabilities) in nets.items():
        if epsilon not in epsilons:
            raise ValueError(f"no attack with epsilon {epsilon}: there are {epsilons}")
        said = probabilities[epsilons.index(epsilon)]
        state["images"][role] = images[epsilons.index(epsilon), image]
        state[role], state[f"{role}_label"] = said[image].tolist(), float(said[image, label])
        state[f"{role}_right"] = int((said.argmax(dim=1) == labels).sum())
    return state


def robustness_figure(
    states: Sequence[State], classes: Sequence[str], *, title: str = ""
) -> Moving:
    """Attacked images above (or beside) two nets' probabilities for them; and move(state).

    States are from `robustness_state`. Each net sees the attack that was made against it.
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
    bars = paired_bars(axes["bars"], classes, [(state[r], r, names[r]) for r in names])
    axes["bars"].set(xlim=(0, 1), xlabel="probability", xticks=(0, 0.5, 1))
    axes["bars"].set_xticklabels(("0", "0.5", "1"))
    heading, pictures, captions = axes["bars"].set_title("\n"), {}, {}
    for role in names:
        axes[role].set_axis_off()
        pictures[role] = axes[role].imshow(pixels_of(state["images"][role]), **PIXELS)
        captions[role] = axes[role].set_title("\n", loc="center", fontsize=size)

    def move(state: State) -> list:
        for bar, value in zip(bars, [*state["student"], *state["teacher"]], strict=True):
            bar.set_width(value)
        heading.set_text(f"ε = {state['epsilon']}/255\nlabel: {classes[state['label']]}")
        for role in names:
            pictures[role].set_data(pixels_of(state["images"][role]))
            guess = max(range(len(classes)), key=state[role].__getitem__)
            captions[role].set_text(f"{names[role]}\nsays {classes[guess]}")
            captions[role].set_color("black" if guess == state["label"] else COLOURS["accent"])
        return [*bars, heading, *pictures.values(), *captions.values()]

    move(state)
    return move


def robustness_panel(nets: Mapping[str, Attacked], labels: Tensor, classes: Sequence[str]) -> Panel:
    """Attacked images and what a plain "student" and a robust "teacher" say, under an ε slider.

    `nets` come from `under_attack`, labels [N]. Controls: `.epsilon`, `.image`.
    """
    epsilons = nets["student"].epsilons
    if not 0 < len(labels) == len(nets["student"].images[0]) == len(nets["teacher"].images[0]):
        raise ValueError(f"a panel needs as many labels as attacked images, got {len(labels)}")
    controls = {
        "epsilon": ipywidgets.SelectionSlider(options=epsilons, layout={"width": "26em"}),
        "image": image_choice(labels, classes),
    }

    def compute() -> dict:
        settings = {name: control.value for name, control in controls.items()}
        return robustness_state(nets, labels, **settings)

    return Panel(controls, compute, robustness_figure([compute()], classes), "attacked")
