"""How many tokens of a draft a target accepts: the part that two distributions have in common."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from kdlab import losses
from kdlab.apps.chapters.panels import base
from kdlab.apps.style import COLOURS, figure, name_rows, word

DRAFT_ROLES = {"labels": "student", "distilled": "distilled"}  # of a draft: its colour
RUN = 4  # tokens that are drafted before the target looks


def acceptance_state(
    target_logits: Tensor, draft_logits: Tensor, temperature: float, label: int
) -> dict:
    """Target p, draft q and ``min(p, q)`` of one image, logits [K] each; `accepted` is the sum of
    the last (Leviathan et al. 2023), `tokens` what a run of 4 drafts brings if all are as likely.

    Raises ValueError for T <= 0, a NaN, or logits of different shapes.
    """
    losses.check_same_shape(draft_logits[None], target_logits[None])
    p, q = (base.log_soften(v, temperature).exp() for v in (target_logits, draft_logits))
    both = torch.minimum(p, q)
    accepted = both.sum().item()
    return {
        "temperature": temperature,
        "label": int(label),
        "p": p.tolist(),
        "q": q.tolist(),
        "both": both.tolist(),
        "accepted": accepted,
        "tokens": sum(accepted**n for n in range(RUN + 1)),
    }


def acceptance_figure(
    states: Sequence[Mapping], classes: Sequence[str], image: Tensor, *, title: str = ""
) -> Figure:
    """Static twin of the acceptance panel: states with a `draft`, side by side."""
    drawing = figure(2.4 + 2.9 * len(states), 4.8, title)
    left, *axes = drawing.subplots(1, 1 + len(states), width_ratios=[1] + [1.7] * len(states))
    base.labelled_image(left, image, classes[states[0]["label"]], between="\n")
    bars = {}  # by their names: each stands once in the legend
    for axis, state in zip(axes, states, strict=True):
        _common_part(axis, state)
        name_rows(axis, [base.spoken(name) if axis is axes[0] else "" for name in classes])
        handles, names = axis.get_legend_handles_labels()
        bars |= zip(names, handles, strict=True)
    drawing.legend(bars.values(), bars, loc="outside lower center", ncols=2, frameon=False)
    return drawing


def _common_part(axis: Axes, state: Mapping) -> None:
    draft, rows = base.spoken(state["draft"], "acceptance"), range(len(state["p"]))
    roles = {"p": "teacher", "q": DRAFT_ROLES[state["draft"]], "both": "label"}
    for part, role in roles.items():  # the common part lies over the longer bar
        name = draft if part == "q" else base.spoken(part, "acceptance")
        axis.barh(rows, state[part], 0.66, color=COLOURS[role], linewidth=0, label=name)
    base.probability_axis(axis)
    accepted = word("accepted", share=state["accepted"])
    axis.set_title(f"{draft}\nT = {state['temperature']:.3g}, {accepted}")


def acceptance_panel(
    images: Tensor,
    labels: Tensor,
    target_logits: Tensor,
    drafts: Mapping[str, Tensor],
    classes: Sequence[str],
) -> base.Panel:
    """What a target accepts of a draft, under a temperature slider.

    images uint8 [N, C, H, W], labels [N], logits [N, K]; `drafts` are "labels" and "distilled".
    Controls: `.draft`, `.temperature`, `.image`.
    """
    base.check_lengths(images, labels, target_logits, *drafts.values())

    def compute(draft: str, temperature: float, image: int) -> dict:
        logits = target_logits[image], drafts[draft][image]
        return acceptance_state(*logits, temperature, labels[image]) | {"draft": draft}

    return base.Panel(
        "acceptance",
        compute,
        controls={
            "draft": base.choice([(name, base.named(f"acceptance.{name}")) for name in drafts]),
            "temperature": base.temperature_slider(1.0),
            "image": base.image_choice(labels, classes),
        },
        target=base.packed(target_logits),
        drafts={name: base.packed(logits) for name, logits in drafts.items()},
        roles={name: DRAFT_ROLES[name] for name in drafts},
        labels=labels.tolist(),
        classes=list(classes),
        images=base.contact_sheet(images),
    )
