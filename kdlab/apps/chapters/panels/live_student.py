"""A student that learns while one looks, beside its twin that has labels only.

`student.js` trains it in the page; here the same data, seeds and batches train it in PyTorch.
"""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.special import stdtrit
from torch import Tensor, nn

from kdlab import losses, metrics
from kdlab.apps.chapters.panels import base
from kdlab.apps.style import COLOURS, figure

SHARED = "live-student"  # data/live-student.json, made by tests/pack_live_student.py
DIGITS, HIDDEN, BATCH, RATE, STEPS = 10, 64, 32, 0.03, 600
LOOKS = (50, 100, 200, 400, STEPS)  # steps after which the student is measured
START, ORDER, LABELLED, SHUFFLE = range(4)  # what chance decides
TEMPERATURES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)
LABELS = (5, 10, 20, 50, 100, 200)  # a digit
TARGETS = ("soft", "shuffled", "first")
SEEDS = 20
ROLES = {"soft": "distilled", "labels": "student", "shuffled": "other", "first": "other"}


class Lesson(NamedTuple):
    """Pixels [N, 100] on a scale of 0..1, image i showing the digit i % 10; the teacher's logits
    of the training images [N, 10]."""

    train: Tensor
    test: Tensor
    logits: Tensor


@cache
def lesson() -> Lesson:
    """What the page has, as tensors."""
    packed = base.read_shared(SHARED)

    def numbers(name: str, dtype: type) -> np.ndarray:
        return np.frombuffer(base64.b64decode(packed[name]), dtype)

    def pixels(name: str) -> Tensor:
        both = numbers(name, np.uint8)
        levels = np.stack([both & 15, both >> 4], axis=1).reshape(-1, packed["side"] ** 2)
        return torch.from_numpy(levels / packed["levels"])

    logits = torch.from_numpy(numbers("logits", np.int8) * packed["step"])
    return Lesson(pixels("train"), pixels("test"), logits.view(-1, DIGITS))


# ---------------------------------------------------------------- chance, as in the page


def uniform(seed: int, purpose: int, count: int) -> np.ndarray:
    """`count` numbers from 0 to 1 by mulberry32, a stream for each seed and purpose."""
    first = np.uint32((seed * 0x9E3779B1 + purpose * 0x85EBCA77) % 2**32)
    state = first + np.arange(1, count + 1, dtype=np.uint32) * np.uint32(0x6D2B79F5)
    bits = (state ^ state >> 15) * (state | 1)
    bits ^= bits + (bits ^ bits >> 7) * (bits | 61)
    return (bits ^ bits >> 14) / 2**32


def shuffle(items: list, numbers: Iterator[float]) -> list:
    for last in range(len(items) - 1, 0, -1):
        other = math.floor(next(numbers) * (last + 1))
        items[last], items[other] = items[other], items[last]
    return items


def curriculum(digit: int, labels: int, seed: int) -> list[int]:
    """`labels` images of each digit but the one left out; fewer are part of more."""
    each = len(lesson().train) // DIGITS
    numbers = iter(uniform(seed, LABELLED, DIGITS * each))
    images = [shuffle([DIGITS * n + c for n in range(each)], numbers) for c in range(DIGITS)]
    return [i for c, of in enumerate(images) if c != digit for i in of[:labels]]


def batches(items: list[int], seed: int) -> Iterator[list[int]]:
    """`STEPS` batches, the images in a new order whenever all have been seen."""
    numbers = iter(uniform(seed, ORDER, STEPS * BATCH + len(items)))
    stream = (i for _ in iter(int, 1) for i in shuffle(items, numbers))
    for _ in range(STEPS):
        yield [next(stream) for _ in range(BATCH)]


def shuffled(logits: Tensor, seed: int) -> Tensor:
    """All logits but the largest in another order, image by image [N, 10]: what
    `losses.permute_dark_knowledge` does, by the page's chance."""
    numbers, rows = iter(uniform(seed, SHUFFLE, len(logits) * DIGITS)), logits.tolist()
    for row in rows:
        first = row.index(max(row))
        others = shuffle([v for k, v in enumerate(row) if k != first], numbers)
        row[:] = [v if k == first else others.pop() for k, v in enumerate(row)]
    return torch.tensor(rows, dtype=logits.dtype)


def make_student(seed: int) -> nn.Sequential:
    """The net that the page begins with, in float64."""
    pixels = lesson().train.shape[1]
    net = nn.Sequential(nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIGITS)).double()
    first, second = net[0], net[2]
    sizes = first.weight.numel(), second.weight.numel()
    radius, angle = uniform(seed, START, 2 * sum(sizes)).reshape(-1, 2).T
    normal = torch.from_numpy(np.sqrt(-2 * np.log(1 - radius)) * np.cos(2 * np.pi * angle))
    with torch.no_grad():
        for layer, scale, part in zip((first, second), (1.25, 1), normal.split(sizes), strict=True):
            inputs, outputs = layer.in_features, layer.out_features
            layer.weight.copy_(scale / math.sqrt(inputs) * part.view(inputs, outputs).T)
            layer.bias.zero_()
    return net


# ---------------------------------------------------------------- the experiment


def learn(digit: int, labels: int, temperature: float, targets: str, seed: int) -> list[dict]:
    """Train a student; what `measure` gives at each of `LOOKS`.

    No image of `digit` is seen (-1: all are). targets "labels": so many labelled images a digit.
    Else, without a label, the teacher's answers to all images: "soft" as they are, "shuffled" but
    for the first guess, "first" that guess alone.
    """
    hard, (train, _, logits) = targets == "labels", lesson()
    if targets == "shuffled":
        logits = shuffled(logits, seed)
    items = curriculum(digit, labels if hard else len(train), seed)
    net, seen = make_student(seed), []
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for step, picks in enumerate(batches(items, seed), 1):
        optimizer.param_groups[0]["lr"] = RATE * (1 - (step - 1) / STEPS)
        z, v = net(train[picks]), logits[picks]
        if hard:
            loss = F.cross_entropy(z, torch.tensor(picks) % DIGITS)
        elif targets == "first":
            loss = losses.hard_distillation_loss(z, v)
        else:
            loss = losses.soft_target_loss(z, v, temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in LOOKS:
            seen.append({"step": step, **measure(net, digit, step == STEPS)})
    return seen


@torch.no_grad()
def measure(net: nn.Module, digit: int, last: bool) -> dict:
    """`before`, `after`: test images recognised of each digit, without the shift and with it;
    `right`: which of those that are shown. Until the `last` look only those are asked."""
    train, test, logits = lesson()
    label = torch.arange(len(test)) % DIGITS
    shown = label == digit if digit >= 0 else label.new_ones(len(test)).cumsum(0) <= 100
    asked = torch.ones_like(shown) if last or digit < 0 else shown
    z, label = net(test[asked]), label[asked]
    before, shift = z.argmax(dim=1) == label, 0.0
    if digit >= 0:
        shift = metrics.mass_matching_shift(net(train), logits, [digit])
        z[:, digit] += shift
    after = z.argmax(dim=1) == label
    count = {"before": before, "after": after}
    return {
        "shift": shift,
        **{name: label[hit].bincount(minlength=DIGITS).tolist() for name, hit in count.items()},
        "right": after[shown[asked]].tolist(),
    }


def live_student_state(
    digit: int = 3,
    labels: int = 200,
    temperature: float = 4.0,
    targets: str = "soft",
    seed: int = 1,
    many: bool = False,
) -> dict:
    """What each student of the panel has learnt: `students`, name -> a list of what `learn` gives
    for each seed (`seed`, or 1 to 20 with `many`); names are "soft", "labels" and `targets`."""
    seeds = range(1, SEEDS + 1) if many else [seed]
    names = dict.fromkeys(("soft", "labels", targets))
    job = digit, labels, temperature
    students = {name: [learn(*job, name, each) for each in seeds] for name in names}
    return {"digit": digit, "temperature": temperature, "students": students}


# ---------------------------------------------------------------- the panel


def live_student_figure(state: Mapping, *, title: str = "") -> Figure:
    """Static twin of the panel for one seed: test images of the digit recognised while the
    students learn, and which of them in the end."""
    drawing = figure(11.5, 4.2, title)
    students = {name: looks for name, (looks,) in state["students"].items()}
    mosaic = [["curves", name] for name in students]
    axes = drawing.subplot_mosaic(mosaic, width_ratios=[1, 1.25])
    _curves(axes["curves"], students, state["digit"])
    for name, looks in students.items():
        _tiles(axes[name], name, looks[-1], state)
    return drawing


def score(look: Mapping, digit: int, when: str) -> float:
    """Test images recognised: of the digit left out, or in % of all."""
    return look[when][digit] if digit >= 0 else sum(look[when]) / len(lesson().test) * 100


def _curves(axis: Axes, students: Mapping[str, list], digit: int) -> None:
    for name, looks in students.items():
        for when, line in (("after", "-"), ("before", ":"))[: 2 if digit >= 0 else 1]:
            values = [score(look, digit, when) for look in looks]
            axis.plot(LOOKS, values, line, color=COLOURS[ROLES[name]], linewidth=2.5)
    key = "recognised" if digit >= 0 else "accuracy"
    axis.set(xlabel=base.spoken("steps", "live_student"), ylim=(-2 if digit >= 0 else 50, 102))
    axis.set_title(
        base.spoken(key, "live_student").format(digit=digit, of=len(lesson().test) // DIGITS)
    )


def _tiles(axis: Axes, name: str, look: Mapping, state: Mapping) -> None:
    digit, side = state["digit"], math.isqrt(lesson().test.shape[1])
    shown = lesson().test[digit::DIGITS] if digit >= 0 else lesson().test[:100]
    columns, cell = 25, side + 1
    picture = np.ones((math.ceil(len(shown) / columns) * cell, columns * cell, 3))
    colour = 1 - 0.65 * (1 - np.array(to_rgb(COLOURS[ROLES[name]])))
    for n, (image, right) in enumerate(zip(shown, look["right"], strict=True)):
        y, x = cell * (n // columns), cell * (n % columns)
        ink = image.view(side, side, 1).numpy()
        paper, pen = (colour, 0.0) if right else (np.ones(3), 0.5)
        picture[y : y + side, x : x + side] = paper * (1 - ink) + pen * ink
    axis.imshow(picture, interpolation="nearest")
    axis.set_axis_off()
    words = base.spoken("labels only" if name == "labels" else name, "live_student")
    before, after = (score(look, digit, when) for when in ("before", "after"))
    found = f"{before:g} → {after:g}" if digit >= 0 else f"{after:.1f}%"
    axis.set_title(f"{words.format(T=format(state['temperature'], 'g'))}: {found}")


def live_student_panel() -> base.Panel:
    """Two students that train in the page: with soft targets, and with labels only.

    Controls: `.digit` left out (-1: none), `.labels` a digit, `.temperature`, `.targets` ("soft",
    "shuffled", "first"), `.seed`, `.many` (20 seeds).
    """

    def options(values: Sequence, form: str = "{}") -> list[tuple]:
        return [(value, base.named(form.format(value))) for value in values]

    none = (-1, base.named("live_student.none"))
    return base.Panel(
        "live_student",
        live_student_state,
        controls={
            "digit": base.choice([*options(range(DIGITS)), none], value=3),
            "labels": base.choice(options(LABELS), ordered=True, value=LABELS[-1]),
            "temperature": base.choice(options(TEMPERATURES, "{:g}"), ordered=True, value=4.0),
            "targets": base.choice(options(TARGETS, "live_student.answers {}")),
            "seed": base.button(1),
            "many": base.switch(False),
        },
        shared=SHARED,
        seeds=SEEDS,
        quantiles=[0, 0, *stdtrit(np.arange(1, SEEDS), 0.975).tolist()],  # of t, by pairs of seeds
    )
