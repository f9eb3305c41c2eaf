"""What is run in this course, as data: recipes for training runs, experiments of several arms.

Nothing is computed here; `kdlab.experiments` carries it out and keeps the records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from statistics import fmean
from types import MappingProxyType
from typing import NamedTuple

from kdlab import tuning
from kdlab.data import CIFAR_VIEWS, MNIST_JITTER, NO_VIEWS, Views
from kdlab.machine import ROOT
from kdlab.tuning import Space


class Recipe(NamedTuple):
    """Everything that determines a training run, but its seed."""

    student: str
    data: str
    epochs: int
    teacher: str | tuple[str, ...] | Recipe = ""  # none, a name, several, or trained first
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
    start: str | Recipe = ""  # trained first: its weights are where this run begins
    hold_out: int = 0  # training images kept for validation
    judge: str = "test"  # or "validation": what is held out, else 10,000 that no net has seen
    attacked: bool = False  # and whether PGD-20 attacks it there, too
    labelled: int = 0  # so many images have labels, and labels teach from these alone; 0: all have


def written(recipe: Recipe) -> dict:
    """A recipe as a record has it, with the recipes of what is trained first."""
    nested = {k: v for k, v in recipe._asdict().items() if isinstance(v, Recipe)}
    return recipe._asdict() | {name: written(first) for name, first in nested.items()}


class Experiment(NamedTuple):
    """Arms that share everything but what their names say; the first is the control. In a search
    they are the first round of trials, and `spaces` is what they are drawn from."""

    title: str
    arms: dict[str, Recipe]
    spaces: Mapping[str, Space] = MappingProxyType({})


MLP = Recipe(
    "mlp-800", "mnist", epochs=20, optimizer="adam", lr=2e-3, weight_decay=0.0, batch_size=256
)
SMALL = Recipe("wrn-10-1", "cifar10-10k", epochs=15, views=CIFAR_VIEWS)
HINTON = {"teacher": "mnist-mlp-1200", "temperature": 20.0, "soft_weight": 1.0, "hard_weight": 0.0}
KD = {"temperature": 4.0, "soft_weight": 0.9, "hard_weight": 0.1}
LADDER = ("cifar10-cnn7-8", "cifar10-cnn7-16", "cifar10-cnn7-32", "cifar10-cnn7-64")
BEST, FROM_10K = "cifar10-cnn7-64", "cifar10-10k-cnn7-32"
FAST, FAST_10K = "cifar10-cnn7-16", "cifar10-10k-cnn7-16"  # quick to ask: for live runs
TWIN_10K = "cifar10-10k-cnn7-16-twin"  # FAST_10K trained once more, with another seed
ROBUST = "cifar10-10k-robust-cnn7-16"
OWN_2K, SIX_CLASSES = "cifar10-2k-cnn7-16", "cifar10-six-cnn7-16"
SEEN, UNSEEN = (0, 2, 5, 6, 7, 9), (1, 3, 4, 8)  # each unseen class has a relative among the seen
TUNED = SMALL._replace(student="wrn-10-1-s2", teacher=BEST, hold_out=2000, judge="validation")
CNN = Recipe("cnn7-64", "cifar10", 100, views=CIFAR_VIEWS, batch_size=256, lr=0.4)
CNN_10K = Recipe("cnn7-32", "cifar10-10k", 100, views=CIFAR_VIEWS, lr=0.2)
TEACHERS: dict[str, Recipe] = {
    "mnist-mlp-1200": MLP._replace(student="mlp-1200", epochs=150, views=MNIST_JITTER, lr=1e-3),
    FROM_10K: CNN_10K,
    FAST_10K: CNN_10K._replace(student="cnn7-16"),
    TWIN_10K: CNN_10K._replace(student="cnn7-16"),
    **{name: CNN._replace(student=name.removeprefix("cifar10-")) for name in LADDER},
    ROBUST: CNN_10K._replace(
        student="cnn7-16", epochs=20, method="adversarial training", weight=1.0, hard_weight=0.0
    ),
    OWN_2K: CNN_10K._replace(student="cnn7-16", epochs=60, hold_out=8000),
    SIX_CLASSES: CNN_10K._replace(student="cnn7-16", epochs=60, classes=SEEN),
}

TEACHER_SEEDS = {TWIN_10K: 1}  # all others: 0

# the pair of the leaderboard: both nets see the same 10,000 images, so a gain is distillation
PAIR = Recipe("cnn3-16", "cifar10-10k", epochs=15, views=CIFAR_VIEWS)
PUPIL = PAIR._replace(teacher=FAST_10K)
# what chapter 04 deploys, trained with and without the teacher that is deployed beside them; the
# two on CIFAR-10 are seed 0 of the experiment "cifar-gain"
DIGITS = MLP._replace(student="cnn3-16-grey", views=MNIST_JITTER, lr=4e-3)
STUDENTS: dict[str, Recipe] = {
    "mnist-student-labels": DIGITS,
    "mnist-student-distilled": DIGITS._replace(teacher="mnist-mlp-1200", **KD),
    "cifar10-student-labels": SMALL,
    "cifar10-student-distilled": SMALL._replace(teacher=BEST, **KD),
}
# what the board chooses from, an arm: its recipe, and the ranges of its settings. Every arm has the
# same number of trials. A weight's range holds the paper's where it is not out of all proportion
# for ten classes and our nets.
EITHER = PUPIL._replace(twin=TWIN_10K)  # taught by one of two teachers, as the seed has it
KD_EITHER = EITHER._replace(**KD)
LARGER = KD_EITHER._replace(teacher=FROM_10K, twin="")
BOTH_TEACH = EITHER._replace(
    teacher=(FAST_10K, FROM_10K), twin=(TWIN_10K, FROM_10K), weight=0.9, hard_weight=0.1
)
RATE = {"lr": (0.05, 0.8)}
HEAT = RATE | {"temperature": (1.0, 8.0)}
SOFT_SPACE = HEAT | {"label_share": (0.0, 0.6)}
TWICE, SECONDS = 30, 36  # epochs: twice as many; as many seconds as a method that asks the net


def weighted(method: str, low: float, high: float, **others) -> Space:
    """A published method beside the labels, with its weight and, where it has one, its T open."""
    ranges = others.pop("ranges", RATE) | {"weight": (low, high)}
    return Space(EITHER._replace(method=method, **others), ranges)


def instead(method: str, base: Recipe = EITHER) -> Space:
    """A control in place of the teacher's soft targets: what they have open, it has open."""
    given = base._replace(method=method, weight=0.9, hard_weight=0.1)
    return Space(given, SOFT_SPACE)


def first(**others) -> Recipe:
    """A net that is trained before it teaches, at the rate that suits most arms."""
    return PAIR._replace(lr=0.4, **others)


LEADERBOARD: dict[str, Space] = {
    "labels": Space(PAIR, RATE),
    "label smoothing": Space(PAIR, RATE | {"smoothing": (0.01, 0.4)}),
    "soft targets": Space(KD_EITHER, SOFT_SPACE),
    "hard distillation": Space(
        EITHER._replace(method="hard distillation", weight=0.5, hard_weight=0.5),
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
    "mutual learning": Space(
        PAIR._replace(method="mutual learning", weight=1.0, hard_weight=0.0), RATE
    ),
    "born again": Space(PUPIL._replace(**KD, teacher=first()), SOFT_SPACE),
    "teaching assistant": Space(
        PUPIL._replace(**KD, teacher=KD_EITHER._replace(student="cnn3-32", lr=0.4)), SOFT_SPACE
    ),
    "early-stopped teacher": Space(
        PUPIL._replace(**KD, teacher=first(student="cnn7-16", epochs=5)), SOFT_SPACE
    ),
    "larger teacher": Space(LARGER, SOFT_SPACE),
    "mean of teachers": instead("mean of teachers", BOTH_TEACH),
    "switched teachers": instead("switched teachers", BOTH_TEACH),
    "permuted dark knowledge": instead("permuted dark knowledge"),
    "same-entropy smoothing": instead("same-entropy smoothing"),
    "random teacher": Space(
        PUPIL._replace(**KD, teacher=first(student="cnn7-16", epochs=0)), SOFT_SPACE
    ),
    "labels, twice as long": Space(PAIR._replace(epochs=TWICE), RATE),
    "soft targets, twice as long": Space(KD_EITHER._replace(epochs=TWICE), SOFT_SPACE),
    "soft targets, equal seconds": Space(KD_EITHER._replace(epochs=SECONDS), SOFT_SPACE),
}
HARDENED = PAIR._replace(attacked=True)
ALONE = {"weight": 1.0, "hard_weight": 0.0}  # the method's term is the whole objective


def best(trials: dict[str, Recipe], record: str, name: str) -> Recipe:
    """The candidate "NAME SETTING" that was best on validation, by the record of the trials.

    Where there is no record: the middle candidate.
    """
    arms = [arm for arm in trials if arm.startswith(f"{name} ")]
    path = ROOT / "data" / "results" / f"{record}.json"
    runs = json.loads(path.read_text("utf-8"))["runs"] if path.is_file() else []
    mean = {a: fmean([r["accuracy"] for r in runs if r["arm"] == a] or [0.0]) for a in arms}
    return trials[max(arms, key=lambda arm: mean[arm]) if runs else arms[len(arms) // 2]]


def leaderboard_trials() -> dict[str, Recipe]:
    """The first round of the board's search, judged on 10,000 images that no net has seen."""
    return {
        trial: recipe._replace(judge="validation")
        for trial, recipe in tuning.drawn(LEADERBOARD).items()
    }


def settled(spaces: Mapping[str, Space], name: str) -> dict[str, Recipe]:
    """Every arm with the setting that the record of its trials chose; without one: its base."""
    path = ROOT / "data" / "results" / f"{name}.json"
    record = json.loads(path.read_text("utf-8")) if path.is_file() else {"runs": []}
    arms = {}
    for arm, (base, ranges) in spaces.items():
        arms[arm] = base
        if any(tuning.arm_of(r["arm"]) == arm for r in record["runs"]):
            chosen = tuning.choose(record["settings"], record["runs"], arm)
            values = {n: chosen["hard_weight" if n == tuning.SHARE else n] for n in ranges}
            arms[arm] = tuning.with_settings(base, values)
    return arms


def leaderboard() -> dict[str, Recipe]:
    """Every method on one pair, as its trials have chosen."""
    return settled(LEADERBOARD, "leaderboard-tuning")


# patience: a student of 32,000 weights on the whole of CIFAR-10, for 1, 2 and 4 times the epochs.
# Chosen at the shortest, as many trials an arm; 5,000 images are held out for it.
PATIENT = Recipe("cnn7-8", "cifar10", 20, views=CIFAR_VIEWS, batch_size=256, lr=0.4)
BIG_STEPS = {"lr": (0.1, 1.6)}  # of batches of 256
BY_LARGE = PATIENT._replace(teacher="cifar10-cnn7-32")
PATIENCE: dict[str, Space] = {
    "labels": Space(PATIENT, BIG_STEPS),
    "soft targets": Space(
        BY_LARGE._replace(**KD), BIG_STEPS | {"temperature": (1.0, 8.0), "label_share": (0.0, 0.6)}
    ),
    "label-free, T = 1": Space(BY_LARGE._replace(soft_weight=1.0, hard_weight=0.0), BIG_STEPS),
}


def patience_trials() -> dict[str, Recipe]:
    """Six settings an arm."""
    drawn = tuning.drawn(PATIENCE, trials=6)
    return {t: r._replace(hold_out=5000, judge="validation") for t, r in drawn.items()}


def patience() -> dict[str, Recipe]:
    """Labels, soft targets and the teacher alone, each for 20, 40 and 80 epochs."""
    chosen = settled(PATIENCE, "patience-tuning")
    return {
        f"{arm}, {epochs} epochs": recipe._replace(epochs=epochs)
        for epochs in (20, 40, 80)
        for arm, recipe in chosen.items()
    }


# chapter 03: a student of each kind, at one budget of ten epochs; the random views are mirrors
# alone, for with shifts, too, ten epochs are too few for most of them
ADAM = {"optimizer": "adam", "weight_decay": 0.05}
SHORT = PAIR._replace(epochs=10, views=Views(flip=True))
KINDS: dict[str, Recipe] = {
    "CNN": SHORT._replace(student="cnn3-16", lr=0.2),
    "recurrent": SHORT._replace(student="gru-64-conv", lr=0.4),
    "Transformer": SHORT._replace(student="vit-64-conv", lr=4e-3, **ADAM),
    "Transformer, patches": SHORT._replace(student="vit-64", lr=4e-3, **ADAM),
    "MLP": SHORT._replace(student="rgb-mlp-128", lr=2e-3, **ADAM),
}
SOFT = {"temperature": 4.0, "soft_weight": 1.0, "hard_weight": 0.0}  # needs no label
LONGER = {  # thirty epochs are enough for shifts, too
    f"{kind}, 30 epochs": KINDS[kind]._replace(epochs=30, views=CIFAR_VIEWS)
    for kind in ("recurrent", "Transformer")
}
FEW = ("CNN", "recurrent", "Transformer", "MLP")  # the kinds of the curve over labels
SHARES = (100, 300, 1000, 10_000)  # labelled images: 1, 3, 10 and 100 % of the transfer set


def with_labels(recipe: Recipe, n: int) -> Recipe:
    """The recipe with `n` of 10,000 images labelled, for as many updates as with all of them."""
    if n == 10_000:
        return recipe
    updates = recipe.epochs * math.ceil(10_000 / recipe.batch_size)
    return recipe._replace(labelled=n, epochs=round(updates / math.ceil(n / recipe.batch_size)))


def kind_spaces() -> dict[str, Space]:
    """Each kind on labels and distilled; for the kinds of `FEW` also label-free, and on each number
    of labels. As many trials for each, from one range of rates for an optimiser."""
    spaces, pair = {}, {"teacher": FAST_10K, "twin": TWIN_10K}
    for kind, alone in (KINDS | LONGER).items():
        rates = {"lr": (5e-4, 1.6e-2) if alone.optimizer == "adam" else (0.05, 0.8)}
        heat = rates | {"temperature": (1.0, 8.0)}
        spaces[f"{kind}: labels"] = Space(alone, rates)
        taught = alone._replace(**pair, **KD)
        spaces[f"{kind}: distilled"] = Space(taught, heat | {"label_share": (0.0, 0.6)})
        if kind in FEW:
            spaces[f"{kind}: label-free"] = Space(alone._replace(**pair, **SOFT), heat)
            for n in SHARES[:-1]:
                spaces[f"{kind}: {n} labels"] = Space(with_labels(alone, n), rates)
    return spaces


def kind_trials() -> dict[str, Recipe]:
    """The first round of their search, judged on 10,000 images that no net has seen."""
    drawn = tuning.drawn(kind_spaces(), trials=6)
    return {trial: recipe._replace(judge="validation") for trial, recipe in drawn.items()}


@cache
def tuned(kind: str, way: str) -> Recipe:
    """The student of this kind with the setting that its trials have chosen: "labels",
    "distilled", or, for a kind of `FEW`, "label-free" or "1000 labels"."""
    return settled(kind_spaces(), "architectures-tuning")[f"{kind}: {way}"]


def architectures() -> dict[str, Recipe]:
    """Each kind alone and distilled. One pair of teachers saw the same 10,000 images and no other,
    so what is gained from them is distillation; another teacher saw 50,000."""
    arms = {}
    for kind in (*KINDS, *LONGER):
        arms[f"{kind}: labels"] = tuned(kind, "labels")
        arms[f"{kind}: distilled"] = tuned(kind, "distilled")
        arms[f"{kind}: teacher of 50k"] = tuned(kind, "distilled")._replace(teacher=FAST, twin="")
    return arms


def small_data() -> dict[str, Recipe]:
    """Each kind with few labels, and with none: from a teacher that had these labels and no others,
    so that nobody knows more, and from one that had 50,000."""
    arms, own = {}, CNN_10K._replace(student="cnn7-16", epochs=19, lr=0.1)  # 1,500 updates
    for kind in FEW:
        free = tuned(kind, "label-free")
        arms |= {f"{kind}: {n} labels": tuned(kind, f"{n} labels") for n in SHARES[:-1]}
        arms[f"{kind}: 10000 labels"] = tuned(kind, "labels")
        for n in SHARES:
            taught = free if n == 10_000 else free._replace(teacher=with_labels(own, n), twin="")
            arms[f"{kind}: teacher of {n} labels"] = taught
        arms[f"{kind}: label-free"] = free._replace(teacher=FAST, twin="")
    return arms


# chapter 07: SSLD (Cui et al. 2021) with 2,000 labelled images and 8,000 more without a label. A
# pass over the 2,000 five times as often as one over all is the same number of steps.
LABELLED = PAIR._replace(hold_out=8000, epochs=30, lr=0.1)
FROM_ANSWERS = LABELLED._replace(teacher=FAST, hard_weight=0.0)


def ssld_trials() -> dict[str, Recipe]:
    """Settings for `ssld`, judged on the 8,000 other training images."""
    arms = {f"labels lr={lr:g}": LABELLED._replace(lr=lr) for lr in (0.05, 0.1, 0.2)}
    for t in (1.0, 2.0, 4.0):
        arms[f"KL T={t:g}"] = FROM_ANSWERS._replace(soft_weight=1.0, temperature=t)
        arms[f"JS T={t:g}"] = FROM_ANSWERS._replace(
            method="Jensen-Shannon", weight=4.0, temperature=t
        )
    return {arm: recipe._replace(judge="validation") for arm, recipe in arms.items()}


def ssld() -> dict[str, Recipe]:
    """One ingredient of SSLD after another; controls that train as long as the longest."""
    labels, kl, js = (
        best(ssld_trials(), "ssld-tuning", name)._replace(judge="test")
        for name in ("labels", "KL", "JS")
    )
    longer = {"epochs": 2 * LABELLED.epochs}
    everything = {"epochs": 2 * LABELLED.epochs // 5, "hold_out": 0}
    return {
        "labels": labels._replace(**longer),
        "label-free, own teacher": kl._replace(teacher=OWN_2K),
        "strong teacher": kl,
        "+ Jensen-Shannon": js,
        "+ twice as long": js._replace(**longer),
        "+ 8,000 unlabelled": js._replace(**everything),
        "+ fine-tuning": js._replace(start=js._replace(**everything), epochs=10, lr=0.01),
        "own teacher, all images": kl._replace(teacher=OWN_2K, **everything),
    }


# chapter 07: pairs of classes that neither student nor teacher was ever told
STRANGERS = PAIR._replace(student="cnn3-16-e16", epochs=10, lr=0.2, classes=SEEN, verify=UNSEEN)
BY_STRANGER = STRANGERS._replace(teacher=SIX_CLASSES)


def verification() -> dict[str, Recipe]:
    """A short embedding, distilled or not, and a longer one; one learning rate for all, nothing
    tuned. All arms see as many images in training."""
    alone = {"soft_weight": 1.0, "hard_weight": 0.0, "temperature": 4.0}
    return {
        "labels": STRANGERS,
        "soft targets": BY_STRANGER._replace(**KD),
        "RKD": BY_STRANGER._replace(method="RKD", weight=0.3),
        "label-free, strangers' images": BY_STRANGER._replace(classes=(), epochs=6, **alone),
        "labels, 64 numbers": STRANGERS._replace(student="cnn3-16"),
    }


def without(*digits: int) -> tuple[int, ...]:
    """The ten classes but these."""
    return tuple(sorted(set(range(10)) - set(digits)))


EXPERIMENTS: dict[str, Experiment] = {
    "trio": Experiment(
        "Hinton's MNIST student, 784-800-800-10: labels against soft targets at T = 20",
        {"labels": MLP, "distilled": MLP._replace(**HINTON)},
    ),
    "unseen-digits": Experiment(
        "Students that never saw some digits, bias shift chosen without a label",
        {
            "no 3": MLP._replace(**HINTON, classes=without(3), hold_out=5000),
            "only 7 and 8": MLP._replace(**HINTON, classes=(7, 8), hold_out=5000),
        },
    ),
    "cifar-gain": Experiment(
        "A 78 k-parameter student on the embedded 10,000 CIFAR-10 images",
        {
            "labels": SMALL,
            "teacher of 50k": SMALL._replace(teacher=BEST, **KD),
            "teacher of 10k": SMALL._replace(teacher=FROM_10K, **KD),
        },
    ),
    "temperature-weight": Experiment(
        "Temperature and soft weight, judged on 2,000 validation images",
        {
            f"T={t:g} a={a:g}": TUNED._replace(
                temperature=t, soft_weight=a, hard_weight=round(1 - a, 3)
            )
            for t in (1.0, 2.0, 4.0, 8.0, 20.0)
            for a in (0.0, 0.3, 0.6, 0.9, 1.0)
        },
    ),
    "leaderboard-tuning": Experiment(
        "Settings of the leaderboard, judged on 10,000 images that no net has seen",
        leaderboard_trials(),
        LEADERBOARD,
    ),
    "patience-tuning": Experiment(
        "Settings for the whole of CIFAR-10 at 20 epochs, judged on 5,000 held-out images",
        patience_trials(),
        PATIENCE,
    ),
    "patience": Experiment(
        "32 k-parameter student on the whole of CIFAR-10, trained for 1, 2 and 4 times the epochs",
        patience(),
    ),
    "leaderboard": Experiment(
        "Every method on one pair: 24 k-parameter student, 125 k-parameter teacher, 10,000 images",
        leaderboard(),
    ),
    "learning-rate": Experiment(
        "The leaderboard's student under three learning rates, on labels and on soft targets",
        {
            f"{name}, lr {lr:g}": recipe._replace(lr=lr)
            for lr in (0.1, 0.2, 0.4)
            for name, recipe in (("labels", PAIR), ("soft targets", PUPIL._replace(**KD)))
        },
    ),
    "capacity-gap": Experiment(
        "One 24 k-parameter student, four teachers of rising accuracy",
        {"labels": PAIR, **{name: PAIR._replace(teacher=name, **KD) for name in LADDER}},
    ),
    "ssld-tuning": Experiment(
        "Settings for 2,000 labels, judged on 8,000 validation images", ssld_trials()
    ),
    "ssld": Experiment(
        "SSLD's ingredients: 2,000 labelled images, 8,000 without labels, strong and own teacher",
        ssld(),
    ),
    "verification": Experiment(
        "Verifying pairs of four classes whose labels neither student nor teacher ever saw",
        verification(),
    ),
    "robust": Experiment(
        "Robust students, L-infinity epsilon of 8 grey levels, PGD-5 in training, PGD-20 in test",
        {
            "labels": HARDENED,
            "adversarial training": HARDENED._replace(method="adversarial training", **ALONE),
            "soft targets": HARDENED._replace(teacher=ROBUST, **KD),
            "ARD": HARDENED._replace(method="ARD", teacher=ROBUST, **ALONE),
            "RSLAD": HARDENED._replace(method="RSLAD", teacher=ROBUST, **ALONE),
        },
    ),
    "architectures-tuning": Experiment(
        "Settings for each kind of student, judged on 10,000 images that no net has seen",
        kind_trials(),
        kind_spaces(),
    ),
    "architectures": Experiment(
        "One student of each kind, a teacher of the same 10,000 images and one of 50,000",
        architectures(),
    ),
    "small-data": Experiment(
        "10,000 images of which 100, 300, 1,000 or all are labelled, or none", small_data()
    ),
}
