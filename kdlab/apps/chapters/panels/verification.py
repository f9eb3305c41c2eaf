"""What a threshold on the similarity accepts: true and false accept rates, and pairs of images."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from kdlab import metrics
from kdlab.apps.chapters.panels import base
from kdlab.apps.style import COLOURS, PIXELS, figure, log_ticks, pixels_of

LOWEST, STEP = -1.0, 0.005  # of the slider


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
    states: Sequence[Mapping], curves: Mapping[str, Sequence], pairs: Tensor, *, title: str = ""
) -> Figure:
    """Static twin of the verification panel: ROC curves with a lettered dot a state, and a row of
    decided pairs a state.

    States are from `verification_state`; `curves` maps a role (of `COLOURS`) and its name,
    "role: name", to (FAR, TAR), both in 0..1; `pairs` are uint8 [P, 2, C, H, W].
    """
    drawing = figure(11, 0.9 + 2.2 * len(states), title)
    left, right = drawing.subfigures(1, 2, width_ratios=(1, 1.25))
    axis, grid = left.subplots(), right.subplots(len(states), len(pairs), squeeze=False)
    for name, (far, tar) in curves.items():
        role, label = name.split(": ")
        label = base.spoken(label, "verification")
        axis.plot(far, tar, color=COLOURS[role], linewidth=2.5, label=label)
    for letter, row, state in zip("ABCDEF", grid, states, strict=False):
        axis.plot(state["far"], state["tar"], "o", color=COLOURS["accent"], markersize=10)
        place = max(state["far"], 1e-3), state["tar"]
        axis.annotate(letter, place, (9, -14), textcoords="offset points", fontweight="bold")
        _decided(row, state, pairs)
        row[0].set_ylabel(f"{letter}\nFAR {state['far']:.2g}", rotation=0, ha="right", size=12)
    log_ticks(axis, (0.001, 0.01, 0.1, 1))
    axis.set(xlim=(1e-3, 1), ylim=(0, 1.02))
    axis.set_xlabel(base.spoken("far", "verification"))
    axis.set_ylabel(base.spoken("tar", "verification"))
    axis.legend(loc="upper left", fontsize=12)
    return drawing


def _decided(axes: Sequence[Axes], state: Mapping, pairs: Tensor) -> None:
    decided = zip(axes, pairs, state["same"], state["accepted"], state["scores"], strict=True)
    for axis, pair, same, accepted, score in decided:
        axis.imshow(np.concatenate([pixels_of(image) for image in pair]), **PIXELS)
        axis.set(xticks=[], yticks=[])
        axis.set_xlabel(base.spoken("same" if same else "different", "verification"), fontsize=10)
        colour = "black" if accepted == same else COLOURS["accent"]
        verdict = base.spoken("accepted" if accepted else "refused", "verification")
        axis.set_title(f"{score:.2f}\n{verdict}", loc="center", fontsize=10, pad=4, color=colour)


def verification_panel(
    genuine: Tensor,
    impostor: Tensor,
    curves: Mapping[str, Sequence],
    pairs: Tensor,
    scores: Tensor,
    same: Tensor,
) -> base.Panel:
    """ROC curves and shown pairs, uint8 [P, 2, C, H, W], under a slider for the threshold.

    The rest as `verification_state` and `verification_figure`. Control: `.threshold`, which keeps
    to steps of 0.005, so that the script need not have the scores of all pairs.
    """
    base.check_lengths(pairs, scores, same)
    steps = torch.tensor([LOWEST + n * STEP for n in range(round(2 / STEP) + 1)])
    return base.Panel(
        "verification",
        partial(verification_state, genuine, impostor, scores, same),
        controls={"threshold": base.slider(0.5, LOWEST, 1.0, STEP, ".3f").tag(snap=True)},
        curves=[
            (*name.split(": "), base.packed(far), base.packed(tar))
            for name, (far, tar) in curves.items()
        ],
        counts={
            "genuine": [int((genuine > step).sum()) for step in steps],
            "impostor": [int((impostor > step).sum()) for step in steps],
        },
        genuine=len(genuine),
        impostor=len(impostor),
        scores=base.packed(scores),
        same=same.tolist(),
        images=base.contact_sheet(pairs.flatten(0, 1)),
        step=STEP,
        lowest=LOWEST,
    )
