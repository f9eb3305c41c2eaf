"""The terms of the objective and their gradients under T and λ, with and without T²."""

import math
from collections.abc import Callable, Sequence

import ipywidgets
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from kdlab import losses
from kdlab.show.panels.base import (
    HIGH,
    LOW,
    Moving,
    Panel,
    State,
    check_images,
    image_choice,
    temperature_slider,
)
from kdlab.show.style import COLOURS, figure, paired_bars

CURVE = [LOW * (HIGH / LOW) ** (step / 40) for step in range(41)]


def objective_state(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: int,
    *,
    temperature: float,
    weight: float,
    with_t_squared: bool = True,
) -> dict:
    """Terms of L = CE + λ [T²] KL for one image, logits [K], and their gradients.

    The gradients are closed forms with respect to the student's logits: q - y for the hard term
    (at T = 1) and λ [T²] (q - p) / T for the soft one; `ratio` compares their lengths. `curve`
    holds both terms over the slider's temperatures. Raises ValueError as `temperature_state`.
    """
    student, teacher, truth = student_logits[None], teacher_logits[None], torch.tensor([int(label)])
    hard = F.cross_entropy(student.float(), truth).item()
    *kls, kl = (losses.soft_divergence(student, teacher, t).item() for t in (*CURVE, temperature))
    factor = weight * (temperature**2 if with_t_squared else 1)
    hard_gradient = losses.hard_gradient(student, truth)[0]
    soft_gradient = factor * losses.soft_gradient(student, teacher, temperature)[0]
    lengths = [gradient.norm().item() for gradient in (soft_gradient, hard_gradient)]
    return {
        "temperature": temperature,
        "weight": weight,
        "alpha": weight / (1 + weight),
        "with_t_squared": with_t_squared,
        "label": int(label),
        "kl": kl,
        "hard": hard,
        "soft": factor * kl,
        "total": hard + factor * kl,
        "hard_gradient": hard_gradient.tolist(),
        "soft_gradient": soft_gradient.tolist(),
        "ratio": lengths[0] / lengths[1] if lengths[1] else math.inf,
        "curve": {
            "temperature": CURVE,
            "hard": [hard] * len(CURVE),
            "with": [weight * t**2 * kl for t, kl in zip(CURVE, kls, strict=True)],
            "without": [weight * kl for kl in kls],
        },
    }


def term_lines(axis: Axes, state: State) -> Callable[[State], list]:
    """The hard term and the weighted soft term, with and without T², against the temperature.

    The variant in force is drawn thick, the other thin; dots mark the temperature in force.
    """
    lines = {}
    for name, dash, role, label in (
        ("hard", "-", "label", "hard term"),
        ("with", "-", "teacher", "soft term with T²"),
        ("without", "--", "teacher", "soft term without T²"),
    ):
        lines[name] = axis.plot([], [], dash, color=COLOURS[role], label=label)[0]
    dots = axis.plot([], [], "o", color=COLOURS["accent"], markersize=9)[0]
    axis.set(xscale="log", yscale="log", xlabel="temperature T", ylabel="loss (nats)")
    axis.set_xticks((0.25, 1, 4, 20, 50), ("0.25", "1", "4", "20", "50"))
    axis.minorticks_off()

    def move(state: State) -> list:
        curve, force = state["curve"], "with" if state["with_t_squared"] else "without"
        for name, line in lines.items():
            line.set_data(curve["temperature"], curve[name])
            line.set_linewidth(3.5 if name == force else 2 if name == "hard" else 1.2)
        dots.set_data([state["temperature"]] * 2, [state["hard"], state["soft"]])
        values = [value for name in lines for value in curve[name] if value > 0] or [1]
        low, high = (math.floor(math.log10(end(values))) for end in (min, max))
        axis.set_ylim(10.0**low, 10.0 ** (high + 1))
        return [*lines.values(), dots]

    move(state)
    return move


def gradient_bars(
    axis: Axes, state: State, classes: Sequence[str], limit: float | None = None
) -> Callable[[State], list]:
    """What the hard and the soft term do to each of the student's logits: (move, title artist).

    Without a `limit` the scale follows the larger term in steps of 1, 2, 5.
    """
    terms = (("hard", "label"), ("soft", "teacher"))
    series = [(state[f"{term}_gradient"], role, f"{term} term") for term, role in terms]
    bars = paired_bars(axis, classes, series)
    axis.axvline(0, color="0.3", linewidth=1)
    axis.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("gradient ∂L/∂z (nats)")
    title = axis.set_title("\n")

    def move(state: State) -> list:
        values = [*state["hard_gradient"], *state["soft_gradient"]]
        for bar, value in zip(bars, values, strict=True):
            bar.set_width(value)
        reach = limit or _round_up(max(map(abs, values)))
        axis.set_xlim(-reach, reach)
        factor = "with T²" if state["with_t_squared"] else "no T²"
        title.set_text(
            f"T = {state['temperature']:.3g}, λ = {state['weight']:.3g}, {factor}\n"
            f"soft : hard = {state['ratio']:.2g}"
        )
        return [*bars, title]

    move(state)
    return move


def _round_up(value: float) -> float:
    """The next of ... 0.1, 0.2, 0.5, 1, 2, 5 ... so that an axis does not twitch."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-6)))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * 1.0001)


def objective_figure(state: State, classes: Sequence[str]) -> Moving:
    """Loss terms against T beside the gradients: the panel's figure and its move(state)."""
    drawing = figure(11, 4.6)
    left, right = drawing.subplots(1, 2)
    moves = term_lines(left, state), gradient_bars(right, state, classes)
    left.set_title("Hard term and λ × soft term\n")
    left.legend(loc="best", fontsize=12)
    right.legend(loc="lower right", fontsize=12)
    return drawing, lambda state: [*moves[0](state), *moves[1](state)]


def temperature_lambda_grid(
    pairs: Sequence[tuple[State, State]], classes: Sequence[str], *, title: str = ""
) -> Figure:
    """Static twin of the T × λ panel: (without T², with T²) states for a few temperatures.

    Left the loss terms against T, right the gradients, without T² above and with it below.
    """
    drawing = figure(4.4 + 3.0 * len(pairs), 8.2, title)
    left, right = drawing.subfigures(1, 2, width_ratios=(4.4, 3.0 * len(pairs)))
    terms = left.subplots()
    term_lines(terms, pairs[0][1])
    terms.lines[-1].remove()  # no slider, no dots
    terms.set_title("Hard term and λ × soft term")
    terms.legend(loc="best", fontsize=12)
    axes = right.subplots(2, len(pairs), sharex=True, sharey=True, squeeze=False)
    states = [state for pair in pairs for state in pair]
    reach = max(abs(g) for s in states for g in (*s["hard_gradient"], *s["soft_gradient"]))
    for column, pair in zip(axes.T, pairs, strict=True):
        for axis, state in zip(column, pair, strict=True):
            gradient_bars(axis, state, classes, _round_up(reach))
            axis.label_outer()
    axes[0, -1].legend(loc="best", fontsize=12)
    return drawing


def temperature_lambda_panel(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, classes: Sequence[str]
) -> Panel:
    """Loss terms and per-class gradients under sliders for T and λ, with and without T².

    logits [N, K], labels [N]. Controls: `.temperature`, `.weight`, `.with_t_squared`, `.image`.
    """
    check_images(len(labels), labels, teacher_logits, student_logits)
    controls = {
        "temperature": temperature_slider(),
        "weight": ipywidgets.FloatSlider(value=1.0, min=0.0, max=10.0, step=0.1),
        "with_t_squared": ipywidgets.Checkbox(value=True, indent=False),
        "image": image_choice(labels, classes),
    }

    def compute() -> dict:
        settings = {name: control.value for name, control in controls.items()}
        n = settings.pop("image")
        return objective_state(student_logits[n], teacher_logits[n], labels[n], **settings)

    return Panel(controls, compute, objective_figure(compute(), classes), "objective")
