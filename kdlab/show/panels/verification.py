"""What a threshold on the similarity accepts: true and false accept rates, and pairs of images."""

import math
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from kdlab import metrics
from kdlab.show.panels.base import Moving, Panel, State
from kdlab.show.style import COLOURS, PIXELS, figure, pixels_of


def verification_state(
    genuine: Tensor, impostor: Tensor, scores: Tensor, same: Tensor, *, threshold: float
) -> dict:
    """What a threshold on the similarity does to all pairs, and to the P pairs that are shown.

    genuine and impostor are scores of all pairs (`metrics.pair_scores`); scores [P], same bool [P].
    """
    tar, far = metrics.rates(genuine, impostor, threshold)
    return {
        "threshold": threshold,
        "tar": tar,
        "far": far,
        "genuine": len(genuine),
        "impostor": len(impostor),
        "scores": scores.tolist(),
        "same": same.tolist(),
        "accepted": (scores > threshold).tolist(),
    }


def verification_figure(
    states: Sequence[State], curves: Mapping[str, Sequence], pairs, *, title: str = ""
) -> Moving:
    """ROC curves with a dot a state, beside pairs of images and what is decided; and move(state).

    States are from `verification_state`; `curves` maps a role (of `COLOURS`) and its name,
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
    moves = [
        _decided(axes, state, pairs, 13 if alone else 10)
        for axes, state in zip(rows, states, strict=True)
    ]
    if not alone:
        for letter, axes, state in zip("ABCDEF", grid, states, strict=False):
            axes[0].set_ylabel(f"{letter}\nFAR {state['far']:.2g}", rotation=0, ha="right", size=12)

    def move(state: State) -> list:
        dots[0].set_data([max(state["far"], 1e-3)], [state["tar"]])
        return [dots[0], *moves[0](state)]

    return drawing, move


def _decided(axes: Sequence[Axes], state: State, pairs, size: int) -> Callable[[State], list]:
    captions = []
    for axis, pair, same in zip(axes, pairs, state["same"], strict=True):
        side = 1 if size > 12 else 0  # beside each other, or one below the other
        axis.imshow(np.concatenate([pixels_of(image) for image in pair], axis=side), **PIXELS)
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


def verification_panel(
    genuine: Tensor,
    impostor: Tensor,
    curves: Mapping[str, Sequence],
    pairs: Tensor,
    scores: Tensor,
    same: Tensor,
) -> Panel:
    """ROC curves and shown pairs, uint8 [P, 2, C, H, W], under a slider for the threshold.

    The rest as `verification_state` and `verification_figure`. Control: `.threshold`.
    """
    if not 0 < len(pairs) == len(scores) == len(same):
        raise ValueError(
            f"a panel needs a score and a truth for each shown pair, and at least one, got "
            f"{len(pairs)} pairs, {len(scores)} scores, {len(same)} truths"
        )
    slider = ipywidgets.FloatSlider(
        value=0.5, min=-1.0, max=1.0, step=0.01, layout={"width": "32em"}
    )

    def compute() -> dict:
        return verification_state(genuine, impostor, scores, same, threshold=slider.value)

    picture = verification_figure([compute()], curves, pairs)
    return Panel({"threshold": slider}, compute, picture, "verified")
