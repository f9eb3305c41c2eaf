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
from kdlab.apps.style import COLOURS, PIXELS, figure, paired_bars, pixels_of, word
from kdlab.data import Images
from kdlab.models import evaluating

SHOWN = 32_000  # bytes of the attacked images in a panel
ROBUST_ROLES = "student", "teacher"  # the plain one, the robust one


class Attacked(NamedTuple):
    """What one net is shown, and what it says, at each epsilon: E of them, N images, K classes."""

    epsilons: tuple[int, ...]  # grey levels
    images: Tensor  # uint8 [E, N, C, H, W], rounded to be shown
    probabilities: Tensor  # [E, N, K], for the unrounded pixels


def under_attack(
    model: nn.Module, data: Images, epsilons: Sequence[int] = range(0, 17, 2)
) -> Attacked:
    """PGD against this net at each epsilon, beforehand, so that a slider only looks up."""
    found = [robust.attack(model, data, epsilon=e / 255) for e in epsilons]
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


def robustness_figure(states: Sequence[Mapping], classes: Sequence, *, title: str = "") -> Figure:
    """Static twin of the robustness panel: attacked images above two nets' probabilities for them.

    States are from `robustness_state`. Each net sees the attack that was made against it.
    """
    drawing = figure(1.2 + 2.9 * len(states), 6.6, title)
    rows, widths = [["student", "teacher"], ["bars"] * 2], [4.1, *[2.9] * (len(states) - 1)]
    parts = np.ravel(drawing.subfigures(1, len(states), width_ratios=widths))
    for n, (part, state) in enumerate(zip(parts, states, strict=True)):
        axes = part.subplot_mosaic(rows, height_ratios=(1, 2.1))
        _draw(axes, state, classes)
        if n:
            axes["bars"].set_yticklabels([])
    entries = axes["bars"].get_legend_handles_labels()
    drawing.legend(*entries, loc="outside lower center", ncols=2, frameon=False)
    return drawing


def _draw(axes: Mapping[str, Axes], state: Mapping, classes: Sequence[str]) -> None:
    names, bars = [*map(base.spoken, classes)], axes["bars"]
    paired_bars(bars, names, [(state[r], r, base.spoken(r, "robustness")) for r in ROBUST_ROLES])
    base.probability_axis(bars)
    told = f"{base.spoken('label')}{names[state['label']]}"
    bars.set_title(f"ε = {state['epsilon']}/255\n{told}")
    for role in ROBUST_ROLES:
        guess = max(range(len(classes)), key=state[role].__getitem__)
        colour = "black" if guess == state["label"] else COLOURS["accent"]
        axes[role].imshow(pixels_of(state["images"][role]), **PIXELS)
        title = f"{base.spoken(role, 'robustness')}\n{word('says', guess=names[guess])}"
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
    controls = {
        "epsilon": base.Choice([(e, base.named(str(e))) for e in epsilons], ordered=True),
        "image": base.image_choice(labels, classes),
    }
    shown = torch.cat([net.images.flatten(0, 1) for net in nets.values()])
    data = {
        "epsilons": epsilons,
        "labels": labels.tolist(),
        "classes": list(classes),
        "nets": {role: base.packed(net.probabilities) for role, net in nets.items()},
        "images": base.contact_sheet(shown, SHOWN),
    }
    return base.Panel("robustness", controls, data, partial(robustness_state, nets, labels))
