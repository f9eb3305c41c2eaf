"""The leaderboard: for each method its config, the ranges of its settings, and what is compared.

The settings that were chosen: `python -m kdlab run leaderboard --show`.
"""

from collections.abc import Mapping
from dataclasses import replace

from kdlab.lab import configs
from kdlab.lab.configs import ALONE, FAST_10K, KD, PAIR, PUPIL, TWIN_10K, Config, Families
from kdlab.lab.search import Space

# what the board chooses from, an arm: its config, and the ranges of its settings. Every arm begins
# with as many trials. A weight's range holds the paper's where it is not out of all proportion
# for ten classes and our nets.
EITHER = replace(PUPIL, twin=TWIN_10K)  # taught by one of two teachers: is the seed odd or even
KD_EITHER = replace(EITHER, **KD)
CONTROL = replace(EITHER, weight=0.9, hard_weight=0.1)  # its method in place of the soft targets
PAIRS = {"teacher": (FAST_10K, configs.FROM_10K), "twin": (TWIN_10K, configs.FROM_10K)}
FIRST = replace(PAIR, lr=0.4)  # trained before it teaches, at the rate that suits most arms
RATE = {"lr": (0.05, 0.8)}
HEAT = RATE | {"temperature": (1.0, 8.0)}
SOFT_SPACE = HEAT | {"label_share": (0.0, 0.6)}
TWICE, SECONDS = 30, 36  # epochs: twice as many; as many seconds as a method that asks the net


def weighted(method: str, low: float, high: float, ranges: Mapping = RATE, **others) -> Space:
    """A published method beside the labels, with its weight and, where it has one, its T open."""
    return Space(replace(EITHER, method=method, **others), ranges | {"weight": (low, high)})


def soft(base: Config = KD_EITHER, **others) -> Space:
    """Soft targets, or a control in place of them, which has open what they have open."""
    return Space(replace(base, **others), SOFT_SPACE)


LEADERBOARD: dict[str, Space] = {
    "labels": Space(PAIR, RATE),
    "label smoothing": Space(PAIR, RATE | {"smoothing": (0.01, 0.4)}),
    "soft targets": soft(),
    "hard distillation": Space(
        replace(EITHER, method="hard distillation", weight=0.5, hard_weight=0.5),
        RATE | {"label_share": (0.0, 0.9)},
    ),
    "logit matching": weighted("logit matching", 0.01, 1.0),
    "DKD": weighted("DKD", 0.01, 1.0, ranges=HEAT),
    "DIST": weighted("DIST", 0.05, 5.0, ranges=HEAT),
    "logit standardisation": weighted(
        "logit standardisation", 1.0, 50.0, hard_weight=0.1, ranges=RATE | {"temperature": (0.5, 4)}
    ),
    "hint": weighted("hint", 10.0, 1000.0),
    "attention transfer": weighted("attention transfer", 0.1, 100.0),
    "attention transfer + soft": weighted("attention transfer", 0.1, 100.0, **KD, ranges=HEAT),
    "FSP": weighted("FSP", 20.0, 2000.0),
    "similarity preserving": weighted("similarity preserving", 3.0, 300.0),
    "RKD": weighted("RKD", 0.003, 0.3),
    "PKT": weighted("PKT", 300.0, 30000.0),
    "contrastive": weighted("contrastive", 0.2, 20.0),
    "discriminator": weighted("discriminator", 0.01, 1.0),
    "rotation task": weighted("rotation task", 0.01, 1.0, teacher="", twin=""),
    "turned views": weighted("turned views", 0.1, 10.0, **KD, ranges=HEAT),
    "mutual learning": Space(replace(PAIR, method="mutual learning", **ALONE), RATE),
    "born again": soft(teacher=FIRST, twin=""),
    "teaching assistant": soft(teacher=replace(KD_EITHER, student="cnn3-32", lr=0.4), twin=""),
    "early-stopped teacher": soft(teacher=replace(FIRST, student="cnn7-16", epochs=5), twin=""),
    "larger teacher": soft(teacher=configs.FROM_10K, twin=""),
    "mean of teachers": soft(CONTROL, **PAIRS, method="mean of teachers"),
    "switched teachers": soft(CONTROL, **PAIRS, method="switched teachers"),
    "permuted dark knowledge": soft(CONTROL, method="permuted dark knowledge"),
    "same-entropy smoothing": soft(CONTROL, method="same-entropy smoothing"),
    "random teacher": soft(teacher=replace(FIRST, student="cnn7-16", epochs=0), twin=""),
    "labels, twice as long": Space(replace(PAIR, epochs=TWICE), RATE),
    "soft targets, twice as long": soft(epochs=TWICE),
    "soft targets, equal seconds": soft(epochs=SECONDS),
}


# whichever of a pair is called control, it is compared in one family
BOARD_FAMILIES: Families = (
    [(arm, "labels") for arm in LEADERBOARD if arm != "labels"],
    [(arm, "soft targets") for arm in LEADERBOARD if arm not in ("labels", "soft targets")],
    [
        ("soft targets, twice as long", "labels, twice as long"),
        ("soft targets, twice as long", "contrastive"),
        ("soft targets, equal seconds", "contrastive"),
        ("labels, twice as long", "contrastive"),
        ("switched teachers", "mean of teachers"),
        ("switched teachers", "larger teacher"),
    ],
)
