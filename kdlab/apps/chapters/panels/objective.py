"""The terms of the objective and their gradients under T and λ, with and without T²."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from kdlab import losses
from kdlab.apps.chapters.panels import base
from kdlab.apps.style import COLOURS, figure, log_ticks, paired_bars, word

CURVE = [base.LOW * (base.HIGH / base.LOW) ** (step / 40) for step in range(41)]


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
    losses.check_same_shape(student_logits[None], teacher_logits[None])

    def softened(t: float) -> tuple[Tensor, Tensor]:
        return base.log_soften(teacher_logits, t), base.log_soften(student_logits, t)

    p, q = softened(temperature)
    kl, kls = base.kl(p, q), [base.kl(*softened(t)) for t in CURVE]
    factor = weight * (temperature**2 if with_t_squared else 1)
    plain = base.log_soften(student_logits, 1.0)
    hard, hard_gradient = -plain[label].item(), plain.exp()
    hard_gradient[label] -= 1
    soft_gradient = factor * (q.exp() - p.exp()) / temperature
    soft_length, hard_length = soft_gradient.norm().item(), hard_gradient.norm().item()
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
        "ratio": soft_length / hard_length if hard_length else math.inf,
        "curve": {
            "temperature": CURVE,
            "hard": [hard] * len(CURVE),
            "with": [weight * t**2 * kl for t, kl in zip(CURVE, kls, strict=True)],
            "without": [weight * kl for kl in kls],
        },
    }


def objective_figure(
    pairs: Sequence[tuple[Mapping, Mapping]], classes: Sequence[str], *, title: str = ""
) -> Figure:
    """Static twin of the T × λ panel: (without T², with T²) states for a few temperatures.

    Left the loss terms against T, right the gradients, without T² above and with it below.
    """
    drawing = figure(4.4 + 3.0 * len(pairs), 8.2, title)
    left, right = drawing.subfigures(1, 2, width_ratios=(4.4, 3.0 * len(pairs)))
    _terms(left.subplots(), pairs[0][1]["curve"])
    axes = right.subplots(2, len(pairs), sharex=True, sharey=True, squeeze=False)
    for column, pair in zip(axes.T, pairs, strict=True):
        for axis, state in zip(column, pair, strict=True):
            _gradients(axis, state, classes)
            axis.label_outer()
    axes[0, -1].legend(loc="best", fontsize=12)
    return drawing


def _terms(axis: Axes, curve: Mapping[str, Sequence[float]]) -> None:
    for name, role, width, line in (
        ("hard", "label", 2, "-"),
        ("with", "teacher", 3.5, "-"),
        ("without", "teacher", 1.2, "--"),
    ):
        label, colour = base.spoken(name, "objective"), COLOURS[role]
        axis.plot(curve["temperature"], curve[name], line, color=colour, lw=width, label=label)
    axis.set_yscale("log")
    log_ticks(axis, (0.25, 1, 4, 20, 50))
    axis.set(xlabel=word("temperature"), ylabel=base.spoken("loss", "objective"))
    axis.set_title(word("terms"))
    axis.legend(loc="best", fontsize=12)


def _gradients(axis: Axes, state: Mapping, classes: Sequence[str]) -> None:
    terms = (("hard", "label"), ("soft", "teacher"))
    series = [(state[f"{term}_gradient"], role, word(f"{term} term")) for term, role in terms]
    paired_bars(axis, [base.spoken(name) for name in classes], series)
    axis.axvline(0, color="0.3", linewidth=1)
    axis.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel(base.spoken("gradient", "objective"))
    numbers = {name: state[name] for name in ("temperature", "weight", "ratio")}
    axis.set_title(word("with T²" if state["with_t_squared"] else "no T²", **numbers))


def objective_panel(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, classes: Sequence[str]
) -> base.Panel:
    """Loss terms and per-class gradients under sliders for T and λ, with and without T².

    logits [N, K], labels [N]. Controls: `.temperature`, `.weight`, `.with_t_squared`, `.image`.
    """
    base.check_lengths(labels, teacher_logits, student_logits)

    def compute(image: int, **settings) -> dict:
        logits = student_logits[image], teacher_logits[image]
        return objective_state(*logits, labels[image], **settings)

    return base.Panel(
        "objective",
        compute,
        controls={
            "temperature": base.temperature_slider(),
            "weight": base.slider(1.0, 0.0, 10.0, 0.1),
            "with_t_squared": base.switch(True),
            "image": base.image_choice(labels, classes),
        },
        student=base.packed(student_logits),
        teacher=base.packed(teacher_logits),
        labels=labels.tolist(),
        classes=list(classes),
        temperatures=CURVE,
    )
