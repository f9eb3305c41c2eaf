"""Softened outputs of teacher and student under a temperature, for one teacher or a ladder."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from kdlab import losses
from kdlab.apps.chapters.panels import base
from kdlab.apps.style import figure, word


def temperature_state(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float, label: int
) -> dict:
    """Softened outputs of one image and their entropies; logits [K] each.

    Raises ValueError for T <= 0, a NaN, or logits of different shapes.
    """
    losses.check_same_shape(student_logits[None], teacher_logits[None])
    p, q = (base.log_soften(logits, temperature) for logits in (teacher_logits, student_logits))
    state = {"temperature": temperature, "label": int(label)}
    for role, logs in (("teacher", p), ("student", q)):
        nats = losses.entropy(logs.exp()).item()
        state |= {role: logs.exp().tolist(), f"{role}_entropy": nats}
        state[f"{role}_bits"] = nats / math.log(2)
    return state | {"kl": base.kl(p, q), "uniform": math.log(len(p))}


def temperature_figure(
    states: Sequence[Mapping], classes: Sequence[str], image: Tensor, *, title: str = ""
) -> Figure:
    """Static twin of the temperature panel: the bars of several states, side by side."""
    drawing = figure(2.4 + 2.6 * len(states), 4.8, title)
    left, *axes = drawing.subplots(1, 1 + len(states), width_ratios=[1] + [1.6] * len(states))
    base.labelled_image(left, image, classes[states[0]["label"]])
    for axis, state in zip(axes, states, strict=True):
        base.probability_bars(axis, classes, state, roles=("teacher", "student"))
        entropies = {role: state[f"{role}_entropy"] for role in ("teacher", "student")}
        name = f"{state['name']}\n" if "name" in state else ""
        axis.set_title(name + word("entropies", t=state["temperature"], **entropies))
    for axis in axes[1:]:
        axis.set_yticklabels([])
    entries = axes[0].get_legend_handles_labels()
    left.legend(*entries, loc="upper center", bbox_to_anchor=(0.5, -0.03), frameon=False)
    return drawing


def temperature_panel(
    images: Tensor,
    labels: Tensor,
    teacher_logits: Tensor | Mapping[str, Tensor],
    student_logits: Tensor,
    classes: Sequence[str],
) -> base.Panel:
    """Softened outputs of teacher and student under a temperature slider.

    images uint8 [N, C, H, W], labels [N], logits [N, K]; those of several teachers by their names,
    in order of their strength. Controls: `.temperature`, `.image`, of several teachers `.teacher`.
    """
    teachers = teacher_logits if isinstance(teacher_logits, Mapping) else {"": teacher_logits}
    base.check_lengths(images, labels, student_logits, *teachers.values())
    controls, several = {}, len(teachers) > 1
    if several:
        names = [(name, base.named(name)) for name in teachers]
        controls["teacher"] = base.choice(names, ordered=True)
    controls["temperature"] = base.temperature_slider()
    controls["image"] = base.image_choice(labels, classes)

    def compute(temperature: float, image: int, teacher: str = next(iter(teachers))) -> dict:
        logits = teachers[teacher][image], student_logits[image]
        state = temperature_state(*logits, temperature, labels[image])
        return state | {"name": teacher} if several else state

    return base.Panel(
        "temperature",
        compute,
        controls,
        teachers=[(name, base.packed(logits)) for name, logits in teachers.items()],
        student=base.packed(student_logits),
        labels=labels.tolist(),
        classes=list(classes),
        images=base.contact_sheet(images),
    )


ladder_panel = temperature_panel  # as a chapter calls that of several teachers
