"""Panels with sliders: temperature alone, along a ladder of teachers, with the soft term's weight,
an attack's epsilon, a verification's threshold, a download's bandwidth; and the decision guide.

The numbers come from pure functions (`temperature_state`, `objective_state`, `robustness_state`,
`verification_state`); the drawing from `kdlab.plots`. A panel only joins them: one PNG is replaced
at each change (about 25 ms on one core). Nothing swallows an exception; a slider clamps what lies
outside its range.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import ipywidgets
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab import guide, interview, losses, metrics, plots, robust
from kdlab.data import Images

LOW, HIGH = 0.25, 50.0  # temperatures within the sliders' reach
CURVE = [LOW * (HIGH / LOW) ** (step / 40) for step in range(41)]
TEXTS = {  # what stands on a panel: (English, 中文)
    "advice": ("{en}", "{zh}"),
    "temperature": ("Temperature T", "温度 T"),
    "weight": ("Soft weight λ", "软损失权重 λ"),
    "image": ("Image", "图像"),
    "teacher": ("Teacher", "教师模型"),
    "with_t_squared": ("T² factor", "乘以 T²"),
    "epsilon": ("ε in grey levels", "ε（灰度级）"),
    "attacked": (
        "ε = {epsilon} of 255 grey levels · plain student: label <b>{student_label:.1%}</b>, right "
        "on {student_right} of {count} images · robust teacher: label <b>{teacher_label:.1%}</b>, "
        "right on {teacher_right} of {count}",
        "ε = {epsilon}/255 · 普通学生模型：正确类概率 <b>{student_label:.1%}</b>，{count} 张图对 "
        "{student_right} 张 · 鲁棒教师模型：正确类概率 <b>{teacher_label:.1%}</b>，{count} 张图对 "
        "{teacher_right} 张",
    ),
    "kind": ("Student", "学生模型"),
    "labelled": ("Labelled images", "有标签图像数"),
    "few_labels": (
        "{kind}, {n:,} labels: <b>{labels_only:.1f}%</b> · a teacher of the same labels: "
        "<b>{own_gain:+.1f}</b> points · a teacher of 50,000 labels: a further <b>{more:+.1f}</b> "
        "(labels that others have paid for) · {seeds} seeds",
        "{kind}，{n:,} 个标签：<b>{labels_only:.1f}%</b> · 教师模型只用同样这些标签："
        "<b>{own_gain:+.1f}</b> 个百分点 · 教师模型用 50,000 个标签：再 <b>{more:+.1f}</b>"
        "（那是别人付出的标注）· {seeds} 个随机种子",
    ),
    "threshold": ("Threshold (cosine similarity)", "阈值（余弦相似度）"),
    "verified": (
        "Accept above <b>{threshold:.2f}</b> · true accept rate (TAR) <b>{tar:.1%}</b> of "
        "{genuine:,} genuine pairs · false accept rate (FAR) <b>{far:.2%}</b> of {impostor:,} "
        "impostor pairs",
        "相似度高于 <b>{threshold:.2f}</b> 即通过 · 正确接受率 (TAR) <b>{tar:.1%}</b>"
        "（{genuine:,} 对同类样本）· 错误接受率 (FAR) <b>{far:.2%}</b>（{impostor:,} 对异类样本）",
    ),
    "bandwidth": ("Bandwidth in Mbit/s", "带宽（Mbit/s）"),
    "patience": ("Seconds at most", "最长等待（秒）"),
    "downloads": (
        "At {bandwidth:.3g} Mbit/s, {patience:.3g} s carry <b>{budget:,.0f} kB</b>: "
        "{count} of {models} models arrive in time",
        "带宽 {bandwidth:.3g} Mbit/s，{patience:.3g} 秒可传 <b>{budget:,.0f} kB</b>："
        "{models} 个模型中有 {count} 个按时到达",
    ),
    "softened": (
        "Teacher: entropy <b>{teacher_entropy:.3f}</b> nats = {teacher_bits:.3f} bits · "
        "student: <b>{student_entropy:.3f}</b> nats = {student_bits:.3f} bits · "
        "KL(teacher ‖ student) = {kl:.4f} nats · uniform: {uniform:.3f} nats",
        "教师模型：熵 <b>{teacher_entropy:.3f}</b> 奈特 = {teacher_bits:.3f} 比特 · "
        "学生模型：<b>{student_entropy:.3f}</b> 奈特 = {student_bits:.3f} 比特 · "
        "KL(教师 ‖ 学生) = {kl:.4f} 奈特 · 均匀分布：{uniform:.3f} 奈特",
    ),
    "objective": (
        "Hard term {hard:.3f} + soft term {soft:.3f} = total <b>{total:.3f}</b> nats · length of "
        "the gradient, soft : hard = <b>{ratio:.3g}</b> · λ = {weight:.3g} means α = {alpha:.2f}",
        "硬标签项 {hard:.3f} + 软标签项 {soft:.3f} = 总损失 <b>{total:.3f}</b> 奈特 · "
        "梯度长度之比 软 : 硬 = <b>{ratio:.3g}</b> · λ = {weight:.3g} 相当于 α = {alpha:.2f}",
    ),
}


def temperature_state(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float, label: int
) -> dict:
    """Softened outputs of one image and their entropies; logits [K] each.

    Raises ValueError for T <= 0, a NaN, or logits of different shapes.
    """
    student, teacher = _pair(student_logits, teacher_logits)
    p, q = losses.soften(teacher, temperature)[0], losses.soften(student, temperature)[0]
    state = {"temperature": temperature, "label": int(label)}
    for role, probabilities in (("teacher", p), ("student", q)):
        nats = losses.entropy(probabilities).item()
        state |= {role: probabilities.tolist(), f"{role}_entropy": nats}
        state[f"{role}_bits"] = nats / math.log(2)
    return state | {"kl": _kl(student, teacher, temperature), "uniform": math.log(len(p))}


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
    student, teacher = _pair(student_logits, teacher_logits)
    hard = F.cross_entropy(student.float(), torch.tensor([int(label)])).item()
    *kls, kl = (_kl(student, teacher, t) for t in (*CURVE, temperature))
    factor = weight * (temperature**2 if with_t_squared else 1)
    p, q = losses.soften(teacher, temperature)[0], losses.soften(student, temperature)[0]
    hard_gradient = losses.soften(student, 1.0)[0] - F.one_hot(torch.tensor(int(label)), len(p))
    soft_gradient = factor * (q - p) / temperature
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


def _pair(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    student, teacher = student_logits.detach()[None], teacher_logits.detach()[None]
    losses.check_same_shape(student, teacher)
    return student, teacher


def _kl(student: Tensor, teacher: Tensor, temperature: float) -> float:
    return losses.soft_target_loss(student, teacher, temperature).item() / temperature**2


class Panel(ipywidgets.VBox):
    """Controls above a picture above a line of numbers; a language switch at the right.

    `controls` become attributes by their names; `compute()` gives `.state`, `draw(state)` a PNG
    and `text` is the key of the line of numbers in `words` (`TEXTS`, where not given).
    """

    def __init__(
        self, controls: dict, compute: Callable, draw: Callable, text: str, words: Mapping = TEXTS
    ):
        self.controls, self.compute, self.draw, self.text = controls, compute, draw, text
        self.words = words
        self.__dict__.update(controls)
        self.language = ipywidgets.ToggleButtons(
            options=[("English", 0), ("中文", 1)], style={"button_width": "7em"}
        )
        self.picture = ipywidgets.Image(layout={"width": "100%", "max_width": "1100px"})
        self.numbers = ipywidgets.HTML()
        for control in controls.values():
            control.style.description_width = "initial"
            control.observe(self._redraw, names="value")
        self.language.observe(self._retitle, names="value")
        row = ipywidgets.HBox([*controls.values(), self.language], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.picture, self.numbers])
        self._redraw()

    def _redraw(self, _=None) -> None:
        self.state = self.compute()
        self.picture.value = self.draw(self.state)
        self._retitle()

    def _retitle(self, _=None) -> None:
        for name, control in self.controls.items():
            control.description = self.words[name][self.language.value]
        line = self.words[self.text][self.language.value].format(**self.state)
        self.numbers.value = f'<span style="font-size:1.15em">{line}</span>'


def _temperature_slider() -> ipywidgets.FloatLogSlider:
    """0.25 to 50 in steps that meet 0.5, 1, 2, 4 and (nearly) 20: a browser snaps to them."""
    return ipywidgets.FloatLogSlider(
        value=4.0, base=2, min=math.log2(LOW), max=math.log2(HIGH), step=0.04,
        readout_format=".3g", layout={"width": "26em"},
    )  # fmt: skip


def _image_choice(labels: Tensor, classes: Sequence[str]) -> ipywidgets.Dropdown:
    options = [(f"{n}: {classes[label]}", n) for n, label in enumerate(labels.tolist())]
    return ipywidgets.Dropdown(options=options, layout={"width": "14em"})


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
    _check(len(images), labels, teacher_logits, student_logits)
    controls = {"temperature": _temperature_slider(), "image": _image_choice(labels, classes)}

    def compute() -> dict:
        n, temperature = controls["image"].value, controls["temperature"].value
        return temperature_state(teacher_logits[n], student_logits[n], temperature, labels[n])

    drawing, move = plots.temperature_figure([compute()], classes, images[0])
    frames = plots.Frames(drawing)

    def draw(state: dict) -> bytes:
        return frames.png(move(state, images[controls["image"].value]))

    return Panel(controls, compute, draw, "softened")


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
        _check(len(images), labels, logits, student_logits)
    controls = {
        "teacher": ipywidgets.SelectionSlider(options=list(teachers), layout={"width": "26em"}),
        "temperature": _temperature_slider(),
        "image": _image_choice(labels, classes),
    }

    def compute() -> dict:
        name, t, n = (control.value for control in controls.values())
        state = temperature_state(teachers[name][n], student_logits[n], t, labels[n])
        return state | {"name": name}

    drawing, move = plots.temperature_figure([compute()], classes, images[0])
    frames = plots.Frames(drawing)

    def draw(state: dict) -> bytes:
        return frames.png(move(state, images[controls["image"].value]))

    return Panel(controls, compute, draw, "softened")


def temperature_lambda_panel(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, classes: Sequence[str]
) -> Panel:
    """Loss terms and per-class gradients under sliders for T and λ, with and without T².

    logits [N, K], labels [N]. Controls: `.temperature`, `.weight`, `.with_t_squared`, `.image`.
    """
    _check(len(labels), labels, teacher_logits, student_logits)
    controls = {
        "temperature": _temperature_slider(),
        "weight": ipywidgets.FloatSlider(value=1.0, min=0.0, max=10.0, step=0.1),
        "with_t_squared": ipywidgets.Checkbox(value=True, indent=False),
        "image": _image_choice(labels, classes),
    }

    def compute() -> dict:
        settings = {name: control.value for name, control in controls.items()}
        n = settings.pop("image")
        return objective_state(student_logits[n], teacher_logits[n], labels[n], **settings)

    drawing, move = plots.objective_figure(compute(), classes)
    frames = plots.Frames(drawing)
    return Panel(controls, compute, lambda state: frames.png(move(state)), "objective")


def _check(count: int, labels: Tensor, teacher_logits: Tensor, student_logits: Tensor) -> None:
    losses.check_same_shape(student_logits, teacher_logits)
    if not 0 < count == len(labels) == len(teacher_logits):
        raise ValueError(
            f"a panel needs as many images as labels and logits, and at least one, got {count} "
            f"images, {len(labels)} labels, {len(teacher_logits)} rows of logits"
        )


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
    was_training = model.training
    model.eval()
    with torch.no_grad():
        net = robust.on_pixels(model, data)
        said = torch.stack([losses.soften(net(pixels), 1.0) for pixels in found])
    model.train(was_training)
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


def robustness_panel(nets: Mapping[str, Attacked], labels: Tensor, classes: Sequence[str]) -> Panel:
    """Attacked images and what a plain "student" and a robust "teacher" say, under an ε slider.

    `nets` come from `under_attack`, labels [N]. Controls: `.epsilon`, `.image`.
    """
    epsilons = nets["student"].epsilons
    if not 0 < len(labels) == len(nets["student"].images[0]) == len(nets["teacher"].images[0]):
        raise ValueError(f"a panel needs as many labels as attacked images, got {len(labels)}")
    controls = {
        "epsilon": ipywidgets.SelectionSlider(options=epsilons, layout={"width": "26em"}),
        "image": _image_choice(labels, classes),
    }

    def compute() -> dict:
        settings = {name: control.value for name, control in controls.items()}
        return robustness_state(nets, labels, **settings)

    drawing, move = plots.robustness_figure([compute()], classes)
    frames = plots.Frames(drawing)
    return Panel(controls, compute, lambda state: frames.png(move(state)), "attacked")


def label_state(
    kind: str, runs: Mapping[str, Mapping[int, Sequence[float]]], n: int | None = None
) -> dict:
    """A student with few labels and, taught, with none.

    `runs`: "labels", "own" (without a label, from a teacher of the same labels) and "free" (from a
    teacher of 50,000) -> number of labels -> accuracies (%), one a seed. In the state each is a
    list of (lowest, mean, highest). `own_gain` is what a larger net makes of the same labels,
    `more` what labels of others add. `n` marks a number of labels, by default none.
    """
    counts = sorted(runs["labels"])
    if not counts or (n is not None and n not in counts):
        raise ValueError(f"no run with {n} labels: there are {counts}")
    if any(sorted(of) != counts for of in runs.values()):
        raise ValueError(f"all runs need the same numbers of labels: {counts}")
    found = {
        way: [(min(of[m]), sum(of[m]) / len(of[m]), max(of[m])) for m in counts]
        for way, of in runs.items()
    }
    at = counts.index(n) if n else 0
    labels, own, free = (found[way][at][1] for way in ("labels", "own", "free"))
    return {
        "kind": kind,
        "counts": counts,
        **found,
        "seeds": len(runs["labels"][counts[at]]),
        "n": counts[at],
        "marked": n is not None,
        "labels_only": labels,
        "own_teacher": own,
        "own_gain": own - labels,
        "more": free - own,
        "gain": free - labels,
    }


def label_panel(runs: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> Panel:
    """Few labels against none and a teacher, for a kind of student and a number of labels.

    `runs` maps a kind to what `label_state` takes. Controls: `.kind`, `.labelled`.
    """
    counts = sorted(next(iter(runs.values()))["labels"])
    controls = {
        "kind": ipywidgets.Dropdown(options=list(runs), layout={"width": "20em"}),
        "labelled": ipywidgets.SelectionSlider(
            options=[(f"{n:,}", n) for n in counts], layout={"width": "26em"}
        ),
    }

    def compute() -> dict:
        kind = controls["kind"].value
        return label_state(kind, runs[kind], controls["labelled"].value)

    drawing, move = plots.label_curves_figure([compute()])
    frames = plots.Frames(drawing)
    return Panel(controls, compute, lambda state: frames.png(move(state)), "few_labels")


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


def verification_panel(
    genuine: Tensor,
    impostor: Tensor,
    curves: Mapping[str, Sequence],
    pairs: Tensor,
    scores: Tensor,
    same: Tensor,
) -> Panel:
    """ROC curves and shown pairs, uint8 [P, 2, C, H, W], under a slider for the threshold.

    The rest as `verification_state` and `plots.verification_figure`. Control: `.threshold`.
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

    drawing, move = plots.verification_figure([compute()], curves, pairs)
    frames = plots.Frames(drawing)
    return Panel({"threshold": slider}, compute, lambda state: frames.png(move(state)), "verified")


def download_state(
    models: Mapping[str, tuple[int, str]], bandwidth: float, patience: float = 1.0
) -> dict:
    """Seconds until each model has arrived; `models`: name -> (bytes, role), bandwidth in Mbit/s.

    Eight bits a byte, and a megabit is a million bits; no latency of the network, no overhead.
    ValueError for a bandwidth or patience that is not positive.
    """
    if not bandwidth > 0 or not patience > 0:
        raise ValueError(f"bandwidth and patience are positive, got {bandwidth} and {patience}")
    seconds = {name: 8 * size / (1e6 * bandwidth) for name, (size, _) in models.items()}
    return {
        "bandwidth": bandwidth,
        "patience": patience,
        "budget": 1e3 * bandwidth * patience / 8,  # kB
        "seconds": seconds,
        "roles": {name: role for name, (_, role) in models.items()},
        "count": sum(took <= patience for took in seconds.values()),
        "models": len(models),
    }


def download_panel(models: Mapping[str, tuple[int, str]]) -> Panel:
    """How long models take to reach a device, under sliders for bandwidth and patience.

    `models`: name -> (bytes, role). Controls: `.bandwidth`, `.patience`.
    """
    if not models:
        raise ValueError("a panel needs at least one model")
    wide = {"readout_format": ".3g", "layout": {"width": "26em"}}
    controls = {
        "bandwidth": ipywidgets.FloatLogSlider(value=1.0, min=-2, max=3, step=0.05, **wide),
        "patience": ipywidgets.FloatLogSlider(value=1.0, min=-1, max=2, step=0.05, **wide),
    }

    def compute() -> dict:
        return download_state(models, **{name: c.value for name, c in controls.items()})

    drawing, move = plots.download_figure([compute()])
    frames = plots.Frames(drawing)
    return Panel(controls, compute, lambda state: frames.png(move(state)), "downloads")


def advice_panel() -> Panel:
    """The decision guide under dropdowns: every rule's evidence, and the advice that fires.

    Controls: one for each of `guide.choices()`, by its name. `.state` has the positions of the
    rules that fire (`lit`) and the advice as HTML (`en`, `zh`).
    """
    asked, rules = (guide.rulebook()[part] for part in ("constraints", "rules"))
    said = {
        code: {n: [(w[code], v) for v, w in s["choices"].items()] for n, s in asked.items()}
        for code in interview.LANGUAGES
    }
    controls = {
        name: ipywidgets.Dropdown(options=options, layout={"width": "20em"})
        for name, options in said["en"].items()
    }
    known = [guide.weigh(rule) for rule in rules]  # the records are read once
    told = {
        code: [interview.Page("", advice.page(code))._repr_html_() for advice in known]
        for code in interview.LANGUAGES
    }
    drawing, move = plots.evidence_rows([guide.row(advice) for advice in known])
    frames = plots.Frames(drawing, dpi=110)

    def compute() -> dict:
        settings = {name: control.value for name, control in controls.items()}
        lit = [n for n, rule in enumerate(rules) if guide.fires(rule, settings)]
        return {"lit": lit} | {code: "".join(told[code][n] for n in lit) for code in told}

    def relabel(change: dict) -> None:
        for name, options in said[interview.LANGUAGES[change["new"]]].items():
            index = controls[name].index  # new options choose the first
            controls[name].options = options
            controls[name].index = index

    words = TEXTS | {name: (s["words"]["en"], s["words"]["zh"]) for name, s in asked.items()}
    panel = Panel(controls, compute, lambda state: frames.png(move(state["lit"])), "advice", words)
    panel.language.observe(relabel, names="value")
    return panel
