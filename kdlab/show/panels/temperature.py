"""Softened outputs of teacher and student under a temperature, for one teacher or a ladder."""

import math
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from kdlab import losses
from kdlab.show.panels.base import (
    Moving,
    Panel,
    State,
    check_images,
    image_choice,
    temperature_slider,
)
from kdlab.show.style import PIXELS, figure, paired_bars, pixels_of


def temperature_state(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float, label: int
) -> dict:
    """Softened outputs of one image and their entropies; logits [K] each.

    Raises ValueError for T <= 0, a NaN, or logits of different shapes.
    """
    student, teacher = student_logits[None], teacher_logits[None]
    kl = losses.soft_divergence(student, teacher, temperature).item()
    p, q = losses.soften(teacher, temperature)[0], losses.soften(student, temperature)[0]
    state = {"temperature": temperature, "label": int(label)}
    for role, probabilities in (("teacher", p), ("student", q)):
        nats = losses.entropy(probabilities).item()
        state |= {role: probabilities.tolist(), f"{role}_entropy": nats}
        state[f"{role}_bits"] = nats / math.log(2)
    return state | {"kl": kl, "uniform": math.log(len(p))}


def soften_bars(axis: Axes, state: State, classes: Sequence[str]) -> Callable[[State], list]:
    """Teacher's and student's softened probabilities of one image, a pair of bars a class.

    Gives back move(state), which redraws nothing: it moves bars and title and returns these.
    """
    bars = paired_bars(axis, classes, [(state[r], r, r) for r in ("teacher", "student")])
    axis.set(xlim=(0, 1), xlabel="probability", xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"))
    title = axis.set_title("\n\n")

    def move(state: State) -> list:
        for bar, value in zip(bars, [*state["teacher"], *state["student"]], strict=True):
            bar.set_width(value)
        title.set_text(
            (f"{state['name']}\n" if "name" in state else "")
            + f"T = {state['temperature']:.3g}, entropy of\nteacher "
            f"{state['teacher_entropy']:.2f} nats\nstudent {state['student_entropy']:.2f} nats"
        )
        return [*bars, title]

    move(state)
    return move


def temperature_figure(
    states: Sequence[State], classes: Sequence[str], images: Tensor, *, title: str = ""
) -> Moving:
    """The states' image, of [N, C, H, W], beside its softened bars in each; and move(state)."""
    drawing = figure(2.4 + (6.6 if len(states) == 1 else 2.6 * len(states)), 4.8, title)
    ratios = [1] + [2.6 if len(states) == 1 else 1.6] * len(states)
    left, *axes = drawing.subplots(1, len(ratios), width_ratios=ratios)
    left.set_axis_off()
    picture = left.imshow(pixels_of(images[states[0].get("image", 0)]), **PIXELS)
    caption = left.set_title(f"label: {classes[states[0]['label']]}", loc="center")
    moves = [soften_bars(axis, state, classes) for axis, state in zip(axes, states, strict=True)]
    for axis in axes[1:]:
        axis.set_yticklabels([])
    entries = axes[0].get_legend_handles_labels()
    left.legend(*entries, loc="upper center", bbox_to_anchor=(0.5, -0.03), frameon=False)

    def move(state: State) -> list:
        picture.set_data(pixels_of(images[state["image"]]))
        caption.set_text(f"label: {classes[state['label']]}")
        return [picture, caption, *moves[0](state)]

    return drawing, move


def temperature_small_multiples(
    states: Sequence[State], classes: Sequence[str], image, *, title: str = ""
) -> Figure:
    """Static twin of the temperature panel: the same bars at several temperatures, side by side."""
    return temperature_figure(states, classes, image[None], title=title)[0]


def temperature_panel(
    images: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    classes: Sequence[str],
) -> Panel:
    """Softened outputs of teacher and student under a temperature slider.

    images uint8 [N, C, H, W], labels [N], logits [N, K]. Controls: `.temperature`, `.image`.
    """
    check_images(len(images), labels, teacher_logits, student_logits)
    controls = {"temperature": temperature_slider(), "image": image_choice(labels, classes)}

    def compute() -> dict:
        n, temperature = controls["image"].value, controls["temperature"].value
        state = temperature_state(teacher_logits[n], student_logits[n], temperature, labels[n])
        return state | {"image": n}

    picture = temperature_figure([compute()], classes, images)
    return Panel(controls, compute, picture, "softened")


def ladder_panel(
    images: Tensor,
    labels: Tensor,
    teachers: Mapping[str, Tensor],
    student_logits: Tensor,
    classes: Sequence[str],
) -> Panel:
    """The panel of `temperature_panel` for several teachers, name -> logits [N, K], in order of
    their strength. Controls: `.teacher`, `.temperature`, `.image`.
    """
    for logits in teachers.values():
        check_images(len(images), labels, logits, student_logits)
    controls = {
        "teacher": ipywidgets.SelectionSlider(options=list(teachers), layout={"width": "26em"}),
        "temperature": temperature_slider(),
        "image": image_choice(labels, classes),
    }

    def compute() -> dict:
        name, t, n = (control.value for control in controls.values())
        state = temperature_state(teachers[name][n], student_logits[n], t, labels[n])
        return state | {"name": name, "image": n}

    picture = temperature_figure([compute()], classes, images)
    return Panel(controls, compute, picture, "softened")
