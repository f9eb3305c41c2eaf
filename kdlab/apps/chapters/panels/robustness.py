"""Attacked images, and what a plain student and a robust teacher say of them, under an epsilon."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from kdlab import losses, robust
from kdlab.apps.chapters.panels import base
from kdlab.apps.style import COLOURS, PIXELS, figure, pixels_of, word
from kdlab.data import Images
from kdlab.models import evaluating

MAX_BYTES = 32_000  # of the attacked images in a panel
ROLES = "student", "teacher"  # the plain one, the robust one


class Attacked(NamedTuple):
    """What one net is shown, and what it says, at each epsilon: E of them, N images, K classes."""

    epsilons: tuple[int, ...]  # grey levels
    images: Tensor  # uint8 [E, N, C, H, W], rounded to be shown
    probabilities: Tensor  # [E, N, K], for the unrounded pixels


def under_attack(
    model: nn.Module, data: Images, epsilons: Sequence[int] = range(0, 17, 2)
) -> Attacked:
    """PGD against this net at each epsilon, beforehand, so that a slider only looks up."""
    attacked = [robust.attack(model, data, epsilon=e / 255) for e in epsilons]
    with evaluating(model), torch.no_grad():
        net = robust.on_pixels(model, data)
        probabilities = torch.stack([losses.soften(net(pixels), 1.0) for pixels in attacked])
    return Attacked(tuple(epsilons), (255 * torch.stack(attacked)).round().byte(), probabilities)


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
        level = epsilons.index(epsilon)
        state["images"][role] = images[level, image]
        state[role] = probabilities[level, image].tolist()
        state[f"{role}_label"] = state[role][label]
        state[f"{role}_right"] = int((probabilities[level].argmax(dim=1) == labels).sum())
    return state


def robustness_figure(states: Sequence[Mapping], classes: Sequence, *, title: str = "") -> Figure:
    """Static twin of the robustness panel: attacked images above two nets' probabilities for them.

    States are from `robustness_state`. Each net sees the attack that was made against it.
    """
    drawing = figure(1.2 + 2.9 * len(states), 6.6, title)
    widths = [4.1, *[2.9] * (len(states) - 1)]  # the first has the names of the classes
    parts = np.ravel(drawing.subfigures(1, len(states), width_ratios=widths))
    for part, state in zip(parts, states, strict=True):
        axes = part.subplot_mosaic([[*ROLES], ["bars", "bars"]], height_ratios=(1, 2.1))
        _draw(axes, state, classes)
        if part is not parts[0]:
            axes["bars"].set_yticklabels([])
    entries = axes["bars"].get_legend_handles_labels()
    drawing.legend(*entries, loc="outside lower center", ncols=2, frameon=False)
    return drawing


def _draw(axes: Mapping[str, Axes], state: Mapping, classes: Sequence[str]) -> None:
    base.probability_bars(axes["bars"], classes, state, ROLES, "robustness")
    label = f"{base.spoken('label')}{base.spoken(classes[state['label']])}"
    axes["bars"].set_title(f"ε = {state['epsilon']}/255\n{label}")
    for role in ROLES:
        guess = int(np.argmax(state[role]))
        colour = "black" if guess == state["label"] else COLOURS["accent"]
        says = word("says", guess=base.spoken(classes[guess]))
        title = f"{base.spoken(role, 'robustness')}\n{says}"
        axes[role].imshow(pixels_of(state["images"][role]), **PIXELS)
        axes[role].set_title(title, loc="center", fontsize=11, color=colour)
        axes[role].set_axis_off()


def robustness_panel(
    nets: Mapping[str, Attacked], labels: Tensor, classes: Sequence[str]
) -> base.Panel:
    """Attacked images and what a plain "student" and a robust "teacher" say, under an ε slider.

    `nets` come from `under_attack`, labels [N]. Controls: `.epsilon`, `.image`.
    """
    epsilons = nets["student"].epsilons
    base.check_lengths(labels, *(net.images[0] for net in nets.values()))
    return base.Panel(
        "robustness",
        partial(robustness_state, nets, labels),
        controls={
            "epsilon": base.choice([(e, base.named(str(e))) for e in epsilons], ordered=True),
            "image": base.image_choice(labels, classes),
        },
        epsilons=epsilons,
        labels=labels.tolist(),
        classes=list(classes),
        nets={role: base.packed(net.probabilities) for role, net in nets.items()},
        images=base.contact_sheet(
            torch.cat([net.images.flatten(0, 1) for net in nets.values()]), MAX_BYTES
        ),
    )
