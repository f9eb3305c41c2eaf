"""The experiments of the course, as data: their arms, and what a search draws its trials from.

No file is opened here. Where an experiment runs what a search has chosen, its arms are a function
of that choice (arm of the search -> config), which `kdlab.lab.experiments` reads from the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kdlab.data import CIFAR_VIEWS, Views
from kdlab.lab import configs, search
from kdlab.lab.configs import (
    ALONE,
    FAST,
    FAST_10K,
    KD,
    PAIR,
    PUPIL,
    SMALL,
    TWIN_10K,
    Arms,
    Config,
    Families,
)
from kdlab.lab.configs.leaderboard import (
    BOARD_FAMILIES,
    EITHER,
    FIRST,
    HEAT,
    KD_EITHER,
    LEADERBOARD,
    RATE,
    SOFT_SPACE,
)
from kdlab.lab.search import Space, validated


@dataclass(frozen=True)
class Experiment:
    """Arms, whose names say what differs; the first is the control, or the first of its kind (see
    `stats.pairs_of`)."""

    title: str
    arms: Arms | Callable[[Arms], Arms]  # or, of what the experiment `search` has chosen
    spaces: Mapping[str, Space] = field(default_factory=dict)  # what a search draws its arms from
    search: str = ""
    families: Families = ()  # what is compared together; none: see `stats.families`


def search_for(
    what: str, spaces: Mapping[str, Space], trials: int, hold_out: int = 0
) -> Experiment:
    """A search: in its first round as many trials of every arm."""
    judges = f"{hold_out:,} held-out images" if hold_out else "10,000 images that no net has seen"
    trials = validated(search.drawn(spaces, trials), hold_out=hold_out)
    return Experiment(f"Settings {what}, judged on {judges}", trials, spaces)


# patience: a student of 32,000 weights on the whole of CIFAR-10, for 1, 2 and 4 times the epochs.
# Chosen at the shortest; 5,000 images are held out from the student for it.
PATIENT = Config("cnn7-8", "cifar10", 20, views=CIFAR_VIEWS, batch_size=256, lr=0.4)
BIG_STEPS = {"lr": (0.1, 1.6)}  # of batches of 256
BY_LARGE = replace(PATIENT, teacher="cifar10-cnn7-32")
PATIENCE: dict[str, Space] = {
    "labels": Space(PATIENT, BIG_STEPS),
    "soft targets": Space(replace(BY_LARGE, **KD), SOFT_SPACE | BIG_STEPS),
    "label-free, T = 1": Space(replace(BY_LARGE, soft_weight=1.0, hard_weight=0.0), BIG_STEPS),
}


def patience(chosen: Arms) -> Arms:
    """Labels and soft targets for 20, 40 and 80 epochs, the teacher alone for 80."""
    return {
        f"{arm}, {epochs} epochs": replace(config, epochs=epochs)
        for epochs in (20, 40, 80)
        for arm, config in chosen.items()
        if config.hard_weight or epochs == 80
    }


TAUGHT_OR_NOT = "labels", "soft targets"
PATIENCE_FAMILIES: Families = (
    [(f"soft targets, {n} epochs", f"labels, {n} epochs") for n in (20, 40, 80)],
    [
        *(
            (f"{arm}, {2 * n} epochs", f"{arm}, {n} epochs")
            for arm in TAUGHT_OR_NOT
            for n in (20, 40)
        ),
        *((f"labels, {2 * n} epochs", f"soft targets, {n} epochs") for n in (20, 40)),
        *(("label-free, T = 1, 80 epochs", f"{arm}, 80 epochs") for arm in TAUGHT_OR_NOT),
    ],
)


# chapter 03: a student of each kind, at one budget of ten epochs; the random views are mirrors
# alone, for with shifts, too, ten epochs are too few for most of them
ADAM = {"optimizer": "adam", "weight_decay": 0.05}
SHORT = replace(PAIR, epochs=10, views=Views(flip=True))
KINDS: Arms = {
    "CNN": replace(SHORT, student="cnn3-16", lr=0.2),
    "recurrent": replace(SHORT, student="gru-64-conv", lr=0.4),
    "Transformer": replace(SHORT, student="vit-64-conv", lr=4e-3, **ADAM),
    "Transformer, patches": replace(SHORT, student="vit-64", lr=4e-3, **ADAM),
    "MLP": replace(SHORT, student="rgb-mlp-128", lr=2e-3, **ADAM),
}
SOFT = {"temperature": 4.0, "soft_weight": 1.0, "hard_weight": 0.0}  # needs no label
LONGER = {  # thirty epochs are enough for shifts, too
    f"{kind}, 30 epochs": replace(KINDS[kind], epochs=30, views=CIFAR_VIEWS)
    for kind in ("recurrent", "Transformer")
}
FEW = ("CNN", "recurrent", "Transformer", "MLP")  # the kinds of the curve over labels
SHARES = (100, 300, 1000, 10_000)  # labelled images: 1, 3, 10 and 100 % of the transfer set


def kind_spaces() -> dict[str, Space]:
    """Each kind on labels and distilled; for the kinds of `FEW` also label-free, and on each number
    of labels. Each begins with as many trials, from one range of rates for an optimiser."""
    spaces, pair = {}, {"teacher": FAST_10K, "twin": TWIN_10K}
    for kind, alone in (KINDS | LONGER).items():
        rates = {"lr": (5e-4, 1.6e-2) if alone.optimizer == "adam" else (0.05, 0.8)}
        spaces[f"{kind}: labels"] = Space(alone, rates)
        spaces[f"{kind}: distilled"] = Space(replace(alone, **pair, **KD), SOFT_SPACE | rates)
        if kind in FEW:
            spaces[f"{kind}: label-free"] = Space(replace(alone, **pair, **SOFT), HEAT | rates)
            for n in SHARES[:-1]:
                spaces[f"{kind}: {n} labels"] = Space(configs.with_labels(alone, n), rates)
    return spaces


def architectures(chosen: Arms) -> Arms:
    """Each kind alone and distilled. One pair of teachers saw the same 10,000 images and no other,
    so what is gained from them is distillation; another teacher saw 50,000."""
    arms = {}
    for kind in (*KINDS, *LONGER):
        arms[f"{kind}: labels"] = chosen[f"{kind}: labels"]
        arms[f"{kind}: distilled"] = distilled = chosen[f"{kind}: distilled"]
        arms[f"{kind}: teacher of 50k"] = replace(distilled, teacher=FAST, twin="")
    return arms


def small_data(chosen: Arms) -> Arms:
    """Each kind with few labels, and with none: from a teacher that had these labels and no others,
    so that nobody knows more, and from one that had 50,000."""
    arms, own = {}, replace(configs.NARROW, epochs=19, lr=0.1)  # 1,500 updates
    for kind in FEW:
        free = chosen[f"{kind}: label-free"]
        arms |= {f"{kind}: {n} labels": chosen[f"{kind}: {n} labels"] for n in SHARES[:-1]}
        arms[f"{kind}: 10000 labels"] = chosen[f"{kind}: labels"]
        for n in SHARES:
            taught = (
                free if n == 10_000 else replace(free, teacher=configs.with_labels(own, n), twin="")
            )
            arms[f"{kind}: teacher of {n} labels"] = taught
        arms[f"{kind}: label-free"] = replace(free, teacher=FAST, twin="")
    return arms


# a larger student, whose teacher saw the same 10,000 images; both tuned as on the board. Twice the
# epochs, and a teacher of 50,000 images, have the settings that were chosen for these two.
GAIN: dict[str, Space] = {
    "labels": Space(SMALL, RATE),
    "teacher of 10k": Space(replace(SMALL, teacher=configs.FROM_10K, **KD), SOFT_SPACE),
}


def gain(chosen: Arms) -> Arms:
    """Labels and soft targets, for the same epochs and for twice as many."""
    longer = {f"{a}, twice as long": replace(r, epochs=2 * r.epochs) for a, r in chosen.items()}
    strong = replace(chosen["teacher of 10k"], teacher=configs.BEST)
    return chosen | longer | {"teacher of 50k": strong}


GAIN_FAMILIES: Families = (
    [
        ("teacher of 10k", "labels"),
        ("teacher of 10k, twice as long", "labels, twice as long"),
        ("teacher of 10k", "labels, twice as long"),
        ("teacher of 50k", "labels"),
    ],
)


# few labels: views and updates are alike in every arm, and so are the labels that
# anybody has had, the teacher and the choice of settings (on a fifth of them) among them
ENOUGH = replace(KINDS["CNN"], epochs=19, views=CIFAR_VIEWS)  # 1,500 updates
TEACHER_ENOUGH = replace(configs.NARROW, epochs=19, lr=0.1)


def few_labels() -> dict[str, Space]:
    """For each number of labels: the labels, and a teacher of these labels, who is asked about the
    labelled images alone or about all 10,000."""
    spaces = {}
    for n in SHARES[:-1]:
        alone = configs.with_labels(ENOUGH, n)
        taught = {"teacher": configs.with_labels(TEACHER_ENOUGH, n), **SOFT, "labelled": n}
        spaces[f"{n} labels: labels"] = Space(alone, RATE)
        same = replace(alone, **taught, unlabelled=False)
        spaces[f"{n} labels: teacher, same images"] = Space(same, HEAT)
        spaces[f"{n} labels: teacher, all images"] = Space(replace(ENOUGH, **taught), HEAT)
    return spaces


FEW_FAMILIES: Families = tuple(  # the teacher's images, at each number of labels
    [
        (f"{n} labels: teacher, same images", f"{n} labels: labels"),
        (f"{n} labels: teacher, all images", f"{n} labels: labels"),
        (f"{n} labels: teacher, all images", f"{n} labels: teacher, same images"),
    ]
    for n in SHARES[:-1]
)


def fifth_held_out(config: Config) -> Config:
    """A trial with few labels: a fifth of them judge, and its teacher has not seen these."""
    kept = {"hold_out": config.labelled // 5, "labelled": config.labelled * 4 // 5}
    teacher = config.teacher and replace(config.teacher, **kept)
    return replace(config, judge="validation", teacher=teacher, **kept)


# chapter 07: SSLD (Cui et al. 2021) with 2,000 labelled images and 8,000 more without a label. A
# pass over the 2,000 five times as often as one over all is the same number of steps.
LABELLED = replace(PAIR, hold_out=8000, epochs=30, lr=0.1)
FROM_ANSWERS = replace(LABELLED, teacher=FAST, hard_weight=0.0)
TERMS = {"KL": {"soft_weight": 1.0}, "JS": {"method": "Jensen-Shannon", "weight": 4.0}}
SSLD_TRIALS = {f"labels lr={lr:g}": replace(LABELLED, lr=lr) for lr in (0.05, 0.1, 0.2)} | {
    f"{name} T={t:g}": replace(FROM_ANSWERS, temperature=t, **term)
    for t in (1.0, 2.0, 4.0)
    for name, term in TERMS.items()
}


def ssld(chosen: Arms) -> Arms:
    """One ingredient of SSLD after another; controls that train as long as the longest."""
    labels, kl, js = (chosen[name] for name in ("labels", "KL", "JS"))
    longer = {"epochs": 2 * LABELLED.epochs}
    everything = {"epochs": 2 * LABELLED.epochs // 5, "hold_out": 0}
    return {
        "labels": replace(labels, **longer),
        "label-free, own teacher": replace(kl, teacher=configs.OWN_2K),
        "strong teacher": kl,
        "+ Jensen-Shannon": js,
        "+ twice as long": replace(js, **longer),
        "+ 8,000 unlabelled": replace(js, **everything),
        "+ fine-tuning": replace(js, start=replace(js, **everything), epochs=10, lr=0.01),
        "own teacher, all images": replace(kl, teacher=configs.OWN_2K, **everything),
    }


# chapter 07: pairs of classes that neither student nor teacher was ever told
STRANGERS = replace(
    PAIR, student="cnn3-16-e16", epochs=10, lr=0.2, classes=configs.SEEN, verify=configs.UNSEEN
)
BY_STRANGER = replace(STRANGERS, teacher=configs.SIX_CLASSES)


def verification() -> Arms:
    """A short embedding, distilled or not, and a longer one; one learning rate for all, nothing
    tuned. All arms see as many images in training."""
    return {
        "labels": STRANGERS,
        "soft targets": replace(BY_STRANGER, **KD),
        "RKD": replace(BY_STRANGER, method="RKD", weight=0.3),
        "label-free, strangers' images": replace(BY_STRANGER, classes=(), epochs=6, **SOFT),
        "labels, 64 numbers": replace(STRANGERS, student="cnn3-16"),
    }


# chapter 09: two tokens, trained as any net or apart (DeiT); chosen with teachers of 10,000 images
TOKENS = replace(EITHER, student="vit-64-tokens", epochs=20, **ADAM)
ADAM_RATE = {"lr": (5e-4, 1.6e-2)}
APART = replace(TOKENS, student="vit-64-apart", **ALONE)
HARD = {"method": "hard distillation", "weight": 0.5, "hard_weight": 0.5}
TOKEN: dict[str, Space] = {
    "labels": Space(replace(TOKENS, teacher="", twin=""), ADAM_RATE),
    "hard": Space(replace(TOKENS, **HARD), ADAM_RATE),
    "hard, token": Space(replace(APART, method="distillation token"), ADAM_RATE),
    "soft": Space(replace(TOKENS, soft_weight=0.5, hard_weight=0.5), HEAT | ADAM_RATE),
    "soft, token": Space(replace(APART, method="soft distillation token"), HEAT | ADAM_RATE),
}


def token(chosen: Arms) -> Arms:
    """Each way to be taught, by teachers of the same 10,000 images and by one of 50,000."""
    taught = {arm: config for arm, config in chosen.items() if config.teacher}
    strong = {
        f"{arm}, teacher of 50k": replace(r, teacher=FAST, twin="") for arm, r in taught.items()
    }
    return chosen | strong


# chapter 09: a trained net with rounded weights, trained on; its control has weights of 32 bits
LOW_BIT: dict[str, Space] = {
    f"{bits} bits: {name}": Space(
        replace(base, student=student, epochs=5, start=FIRST), ranges | {"lr": (0.01, 0.4)}
    )
    for bits, student in ((32, "cnn3-16"), (4, "cnn3-16-4bit"), (2, "cnn3-16-2bit"))
    for name, base, ranges in (
        ("labels", PAIR, {}),
        ("own teacher", replace(PAIR, teacher=FIRST, **KD), SOFT_SPACE),
        ("larger teacher", KD_EITHER, SOFT_SPACE),
    )
}


def low_bit(chosen: Arms) -> Arms:
    """Each with the start as it is, rounded or not, beside it."""
    return chosen | {
        arm.replace("labels", "not trained on"): replace(config, epochs=0)
        for arm, config in chosen.items()
        if arm.endswith("labels")
    }


TAUGHT_MLP = replace(configs.MLP, **configs.HINTON)
HARDENED = replace(PAIR, attacked=True)
RESISTANT = replace(HARDENED, teacher=configs.ROBUST)
EXPERIMENTS: dict[str, Experiment] = {
    "trio": Experiment(
        "Hinton's MNIST student, 784-800-800-10: labels against soft targets at T = 20",
        {"labels": configs.MLP, "distilled": TAUGHT_MLP},
    ),
    "unseen-digits": Experiment(
        "Students that never saw some digits, bias shift chosen without a label",
        {
            "no 3": replace(TAUGHT_MLP, classes=configs.without(3), hold_out=5000),
            "only 7 and 8": replace(TAUGHT_MLP, classes=(7, 8), hold_out=5000),
        },
    ),
    "cifar-gain": Experiment(
        "A 78 k-parameter student on the embedded 10,000 CIFAR-10 images",
        {
            "labels": SMALL,
            "teacher of 50k": replace(SMALL, teacher=configs.BEST, **KD),
            "teacher of 10k": replace(SMALL, teacher=configs.FROM_10K, **KD),
        },
    ),
    "cifar-gain-tuning": search_for("for the 78 k-parameter student", GAIN, trials=12),
    "cifar-gain-tuned": Experiment(
        "A 78 k-parameter student on the embedded 10,000 CIFAR-10 images, each arm tuned",
        gain,
        search="cifar-gain-tuning",
        families=GAIN_FAMILIES,
    ),
    "few-labels-tuning": Experiment(
        "Settings with few labels, judged on a fifth of these",
        {arm: fifth_held_out(r) for arm, r in search.drawn(few_labels(), trials=12).items()},
        few_labels(),
    ),
    "few-labels": Experiment(
        "10,000 images of which 100, 300 or 1,000 are labelled: labels, and a teacher of the same",
        dict,
        search="few-labels-tuning",
        families=FEW_FAMILIES,
    ),
    "temperature-weight": Experiment(
        "Temperature and soft weight, judged on 2,000 validation images",
        {
            f"T={t:g} a={a:g}": replace(
                configs.TUNED, temperature=t, soft_weight=a, hard_weight=round(1 - a, 3)
            )
            for t in (1.0, 2.0, 4.0, 8.0, 20.0)
            for a in (0.0, 0.3, 0.6, 0.9, 1.0)
        },
    ),
    "leaderboard-tuning": search_for("of the leaderboard", LEADERBOARD, trials=12),
    "patience-tuning": search_for(
        "for the whole of CIFAR-10 at 20 epochs", PATIENCE, trials=6, hold_out=5000
    ),
    "patience": Experiment(
        "32 k-parameter student on the whole of CIFAR-10, trained for 1, 2 and 4 times the epochs",
        patience,
        search="patience-tuning",
        families=PATIENCE_FAMILIES,
    ),
    "leaderboard": Experiment(
        "Every method on one pair: 24 k-parameter student, 125 k-parameter teacher, 10,000 images",
        dict,
        search="leaderboard-tuning",
        families=BOARD_FAMILIES,
    ),
    "learning-rate": Experiment(
        "The leaderboard's student under three learning rates, on labels and on soft targets",
        {
            f"{name}, lr {lr:g}": replace(config, lr=lr)
            for lr in (0.1, 0.2, 0.4)
            for name, config in (("labels", PAIR), ("soft targets", replace(PUPIL, **KD)))
        },
    ),
    "capacity-gap": Experiment(
        "One 24 k-parameter student, four teachers of rising accuracy",
        {"labels": PAIR, **{name: replace(PAIR, teacher=name, **KD) for name in configs.LADDER}},
    ),
    "ssld-tuning": Experiment(
        "Settings for 2,000 labels, judged on 8,000 validation images",
        validated(SSLD_TRIALS),
    ),
    "ssld": Experiment(
        "SSLD's ingredients: 2,000 labelled images, 8,000 without labels, strong and own teacher",
        ssld,
        search="ssld-tuning",
    ),
    "verification": Experiment(
        "Verifying pairs of four classes whose labels neither student nor teacher ever saw",
        verification(),
    ),
    "robust": Experiment(
        "Robust students, L-infinity epsilon of 8 grey levels, PGD-5 in training, PGD-20 in test",
        {
            "labels": HARDENED,
            "adversarial training": replace(HARDENED, method="adversarial training", **ALONE),
            "soft targets": replace(RESISTANT, **KD),
            "ARD": replace(RESISTANT, method="ARD", **ALONE),
            "RSLAD": replace(RESISTANT, method="RSLAD", **ALONE),
        },
    ),
    "architectures-tuning": search_for("for each kind of student", kind_spaces(), trials=6),
    "architectures": Experiment(
        "One student of each kind, a teacher of the same 10,000 images and one of 50,000",
        architectures,
        search="architectures-tuning",
    ),
    "token-tuning": search_for("for the distillation token", TOKEN, trials=6),
    "token": Experiment(
        "DeiT's distillation token in an 82 k-parameter Transformer, hard and soft",
        token,
        search="token-tuning",
    ),
    "low-bit-tuning": search_for("for rounded weights", LOW_BIT, trials=6),
    "low-bit": Experiment(
        "A trained 24 k-parameter student trained on with weights of 32, 4 and 2 bits",
        low_bit,
        search="low-bit-tuning",
    ),
    "small-data": Experiment(
        "10,000 images of which 100, 300, 1,000 or all are labelled, or none",
        small_data,
        search="architectures-tuning",
    ),
}
