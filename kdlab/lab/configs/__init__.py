"""Configs for training runs, as data: every teacher of the course, and what its runs begin from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kdlab.data import CIFAR_VIEWS, MNIST_JITTER, NO_VIEWS, Views

Arms = dict[str, "Config"]  # name -> what is run
Families = Sequence[Sequence[tuple[str, str]]]  # Holm's correction counts the pairs of a family


@dataclass(frozen=True)
class Config:
    """Everything that determines a training run, but its seed."""

    student: str
    data: str
    epochs: int
    teacher: str | tuple[str, ...] | Config = ""  # none, a name, several, or trained first
    twin: str | tuple[str, ...] = ""  # in runs of odd seed in place of a named teacher
    temperature: float = 1.0
    soft_weight: float = 0.0
    hard_weight: float = 1.0
    method: str = ""  # of kdlab.methods, beside labels and soft targets
    weight: float = 0.0  # of its term
    views: Views = NO_VIEWS
    optimizer: str = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    batch_size: int = 128
    smoothing: float = 0.0  # of the labels, where there is no teacher
    classes: tuple[int, ...] = ()  # train on images of these classes alone; (): of all
    verify: tuple[int, ...] = ()  # classes, none of those above, whose pairs are told apart
    start: str | Config = ""  # trained first: its weights are where this run begins
    hold_out: int = 0  # training images kept for validation
    judge: str = "test"  # or "validation": what is held out, else CIFAR-10's second 10,000
    attacked: bool = False  # and whether PGD-20 attacks it there, too
    labelled: int = 0  # so many images have labels, and labels teach from these alone; 0: all have
    unlabelled: bool = True  # whether a run that needs no label learns from the other images, too


MLP = Config(
    "mlp-800", "mnist", epochs=20, optimizer="adam", lr=2e-3, weight_decay=0.0, batch_size=256
)
SMALL = Config("wrn-10-1", "cifar10-10k", epochs=15, views=CIFAR_VIEWS)
HINTON = {"teacher": "mnist-mlp-1200", "temperature": 20.0, "soft_weight": 1.0, "hard_weight": 0.0}
KD = {"temperature": 4.0, "soft_weight": 0.9, "hard_weight": 0.1}
ALONE = {"weight": 1.0, "hard_weight": 0.0}  # the method's term is the whole objective
LADDER = ("cifar10-cnn7-8", "cifar10-cnn7-16", "cifar10-cnn7-32", "cifar10-cnn7-64")
BEST, FROM_10K = "cifar10-cnn7-64", "cifar10-10k-cnn7-32"
FAST, FAST_10K = "cifar10-cnn7-16", "cifar10-10k-cnn7-16"  # quick to ask: for live runs
TWIN_10K = "cifar10-10k-cnn7-16-twin"  # FAST_10K trained once more, with another seed
ROBUST = "cifar10-10k-robust-cnn7-16"
OWN_2K, SIX_CLASSES = "cifar10-2k-cnn7-16", "cifar10-six-cnn7-16"
SEEN, UNSEEN = (0, 2, 5, 6, 7, 9), (1, 3, 4, 8)  # each unseen class has a relative among the seen
TUNED = replace(SMALL, student="wrn-10-1-s2", teacher=BEST, hold_out=2000, judge="validation")
CNN = Config("cnn7-64", "cifar10", 100, views=CIFAR_VIEWS, batch_size=256, lr=0.4)
CNN_10K = Config("cnn7-32", "cifar10-10k", 100, views=CIFAR_VIEWS, lr=0.2)
NARROW = replace(CNN_10K, student="cnn7-16")
TEACHERS: Arms = {
    "mnist-mlp-1200": replace(MLP, student="mlp-1200", epochs=150, views=MNIST_JITTER, lr=1e-3),
    FROM_10K: CNN_10K,
    FAST_10K: NARROW,
    TWIN_10K: NARROW,
    **{name: replace(CNN, student=name.removeprefix("cifar10-")) for name in LADDER},
    ROBUST: replace(NARROW, epochs=20, method="adversarial training", **ALONE),
    OWN_2K: replace(NARROW, epochs=60, hold_out=8000),
    SIX_CLASSES: replace(NARROW, epochs=60, classes=SEEN),
}
TEACHER_SEEDS = {TWIN_10K: 1}  # all others: 0

# the pair of the leaderboard: both nets see the same 10,000 images, so a gain is distillation
PAIR = Config("cnn3-16", "cifar10-10k", epochs=15, views=CIFAR_VIEWS)
PUPIL = replace(PAIR, teacher=FAST_10K)
# what chapter 04 deploys, trained with and without the teacher that is deployed beside them; the
# two on CIFAR-10 are seed 0 of the experiment "cifar-gain"
DIGITS = replace(MLP, student="cnn3-16-grey", views=MNIST_JITTER, lr=4e-3)
STUDENTS: Arms = {
    "mnist-student-labels": DIGITS,
    "mnist-student-distilled": replace(DIGITS, teacher="mnist-mlp-1200", **KD),
    "cifar10-student-labels": SMALL,
    "cifar10-student-distilled": replace(SMALL, teacher=BEST, **KD),
}


def without(*digits: int) -> tuple[int, ...]:
    """The ten classes but these."""
    return tuple(sorted(set(range(10)) - set(digits)))


def with_labels(config: Config, n: int) -> Config:
    """The config with `n` of 10,000 images labelled, for as many updates as with all of them."""
    if n == 10_000:
        return config
    updates = config.epochs * math.ceil(10_000 / config.batch_size)
    return replace(config, labelled=n, epochs=round(updates / math.ceil(n / config.batch_size)))
