"""For the engineer: the comparison itself: labels, labels for twice as long, the teacher's answers.

An arm is data (`ARMS`). Every arm is tuned alike: as many trials, judged on the validation photos,
and as many more where its best lies at the edge of what it tried. Every arm has the same updates
(one has twice as many), views and seeds. The test photos are opened once, by the chosen settings.
Each run is kept as soon as it has ended, so that an interruption loses only what ran.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from kdlab.apps.distil.photos import Photos
from kdlab.data import CIFAR_VIEWS, Images, Views
from kdlab.files import write_json
from kdlab.lab.search import latin_hypercube
from kdlab.logit_cache import CachedLogits, asked_once
from kdlab.methods import METHODS, Objective, distil, labels_only, objective
from kdlab.metrics import expected_calibration_error, predict
from kdlab.models import build
from kdlab.training import Optimizer, fit


@dataclass(frozen=True)
class Arm:
    """A way to train the student."""

    teacher: str = ""  # whose answers it learns: "given", "own" (of the same labels); "" labels
    times: int = 1  # of the plan's updates
    views: bool = False  # the teacher answers for the very views; else it was asked once
    features: bool = False  # the plan's feature method beside the answers
    net: str = ""  # trained in the student's place


LABELS, LONGER, TEACHER = "labels", "labels, twice as long", "teacher"
OWN, VIEWS, FEATURES = "teacher of the same labels", "teacher, same views", "teacher, features"
OWN_NET = "cnn7-16 on the labels"  # what teaches the arm `OWN`
ARMS = {
    LABELS: Arm(),
    LONGER: Arm(times=2),
    TEACHER: Arm("given"),
    OWN: Arm("own"),
    VIEWS: Arm("given", views=True),
    FEATURES: Arm("given", features=True),
    OWN_NET: Arm(net="cnn7-16"),
}
STANDARD = (LABELS, LONGER, TEACHER)
REQUESTED = {"same-labels": OWN, "same-views": VIEWS, "features": FEATURES}
EXPORTED = TEACHER, 0  # arm and seed
BATCH, TUNING_SEED = 128, 100
RANGES = {"lr": (0.03, 0.6), "temperature": (1.0, 8.0), "weight": (0.1, 10.0)}  # in the logarithm
PAST, EXTRA = (2.0, 4.0), 2  # beyond the outermost trial where that is the best; so many more
LOOKS = 15  # at the validation photos in a run, for its learning curve


@dataclass(frozen=True)
class Plan:
    """What is run. `updates` are those of every arm but one, which has twice as many."""

    student: str
    seeds: int = 3
    trials: int = 4
    updates: int = 400
    views: Views = field(default=CIFAR_VIEWS)
    arms: tuple[str, ...] = STANDARD
    method: str = "RKD"  # of the arm `FEATURES`, and the stages that it matches
    stages: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What is chosen for an arm; the weight is that of a method's term, times its paper's."""

    lr: float
    temperature: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Lessons:
    """What the arms learn from besides labels, about the training photos."""

    answers: Mapping[str, Tensor]  # of each `Arm.teacher`, logits [N, K]; asked once
    views: Callable[[int, int], CachedLogits] | None = None  # (epochs, seed) -> of these views
    net: nn.Module | None = None  # takes the student's images; for features


def pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared, declared before it runs: the teacher's answers with each of their controls,
    and each other way to use the same teacher with its answers."""
    controls = [arm for arm in (LABELS, LONGER, OWN) if arm in arms]
    others = [arm for arm in (VIEWS, FEATURES) if arm in arms]
    return [(TEACHER, over) for over in controls] + [(arm, TEACHER) for arm in others]


# ---------------------------------------------------------------- settings


def open_settings(arm: str) -> list[str]:
    """The names of what is chosen for an arm."""
    how = ARMS[arm]
    return ["lr"] + ["temperature"] * bool(how.teacher) + ["weight"] * how.features


def trials(plan: Plan, arm: str) -> list[Settings]:
    """The settings that an arm tries, spread over their ranges; as many for each arm."""
    columns = dict(zip(RANGES, latin_hypercube(plan.trials, len(RANGES)).T, strict=True))

    def at(name: str, number: int) -> float:
        low, high = RANGES[name]
        return two_digits(low * (high / low) ** columns[name][number])

    names = open_settings(arm)
    return [Settings(**{n: at(n, number) for n in names}) for number in range(plan.trials)]


def past_the_edge(arm: str, tried: Sequence[Mapping]) -> list[Settings]:
    """`EXTRA` more settings at most, where the best trial is the outermost in some setting: beyond
    this end, all else as in the best."""
    best, values = best_of(tried), {n: [t[n] for t in tried] for n in open_settings(arm)}
    ends = [(n, -1) for n in values if best[n] == min(values[n])]
    ends += [(n, 1) for n in values if best[n] == max(values[n])]
    steps = [(n, best[n] * factor**sign) for factor in PAST for n, sign in ends][:EXTRA]
    return [replace(settings_of(best), **{name: two_digits(value)}) for name, value in steps]


def at_the_edge(arm: str, tried: Sequence[Mapping]) -> list[str]:
    """Which settings of an arm's best trial are still the lowest or highest that was tried."""
    best, names = best_of(tried), open_settings(arm)
    ends = {n: (min(t[n] for t in tried), max(t[n] for t in tried)) for n in names}
    return [name for name in names if best[name] in ends[name]]


def best_of(tried: Sequence[Mapping]) -> Mapping:
    return max(tried, key=lambda trial: trial["validation"])


def settings_of(trial: Mapping) -> Settings:
    return Settings(trial["lr"], trial["temperature"], trial["weight"])


def two_digits(value: float) -> float:
    return float(f"{value:.2g}")


# ---------------------------------------------------------------- one student


def train_arm(
    plan: Plan,
    photos: Photos,
    lessons: Lessons,
    arm: str,
    settings: Settings,
    seed: int,
    *,
    make: Callable[[int], nn.Module] | None = None,
    look: Callable[[nn.Module, int, int], None] | None = None,
) -> nn.Module:
    """One student of one arm. `make` gives a fresh one of so many classes (the plan's, by its name,
    if left out); `look` gets it after each epoch with the updates done and those that there are."""
    how = ARMS[arm]
    data = photos.train if how.teacher else photos.labelled
    steps = math.ceil(len(data.labels) / BATCH)
    epochs = max(1, round(how.times * plan.updates / steps))
    torch.manual_seed(seed)
    kinds = len(data.classes)
    student = make(kinds) if make and not how.net else build(how.net or plan.student, kinds)
    fit(
        student,
        data,
        goal(plan, how, settings, student, lessons, data),
        epochs=epochs,
        teacher=source(how, lessons, data, epochs, seed),
        views=plan.views,
        view_seed=seed,
        seed=seed,
        batch_size=BATCH,
        optimizer=Optimizer(lr=settings.lr),
        report=look and (lambda row: look(student, row["epoch"] * steps, epochs * steps)),
    )
    return student


def goal(
    plan: Plan, how: Arm, settings: Settings, student: nn.Module, lessons: Lessons, data: Images
) -> Objective:
    """What an arm minimises."""
    if not how.teacher:
        return labels_only
    if not how.features:
        return distil(settings.temperature)
    return objective(
        plan.method,
        student=student,
        teacher=lessons.net,
        data=data,
        temperature=settings.temperature,
        soft_weight=1.0,
        hard_weight=0.0,
        weight=settings.weight * METHODS[plan.method].paper_weight,
        stages=plan.stages or None,
    )


def source(
    how: Arm, lessons: Lessons, data: Images, epochs: int, seed: int
) -> nn.Module | CachedLogits | None:
    """The teacher of an arm, as `fit` takes it."""
    if how.features:
        return lessons.net
    if how.views:
        return lessons.views(epochs, seed)
    return asked_once(lessons.answers[how.teacher], data) if how.teacher else None


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The mean over the classes of the share of their photos that are right, in percent."""
    right = (logits.argmax(dim=1) == labels).double()
    return 100 * float(torch.stack([right[labels == c].mean() for c in labels.unique()]).mean())


def judged(logits: Tensor, labels: Tensor) -> dict:
    """What is kept of answers about test photos: how good they are, and the class that was said."""
    said = logits.argmax(dim=1)
    return {
        "accuracy": 100 * float((said == labels).double().mean()),
        "balanced": balanced_accuracy(logits, labels),
        "ece": expected_calibration_error(logits, labels),
        "said": said.tolist(),
    }


# ---------------------------------------------------------------- the whole


def claim(folder: Path, about: dict) -> dict:
    """The record of a comparison in its folder, begun if the folder is new or empty.

    ValueError for a folder that holds another comparison or anybody else's files: nothing is
    written there.
    """
    path, about = folder / "runs.json", json.loads(json.dumps(about))
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        record = {"about": about, "trials": [], "chosen": {}, "runs": []}
        write_json(path, record)
        return record
    try:
        record = json.loads(path.read_text("utf-8"))
        same = record["about"] == about
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder} has other files: name a new folder with --out") from None
    if same:
        return record
    if record["trials"] or record["runs"]:
        raise ValueError(f"{folder} holds another comparison: name a new folder with --out")
    return record | {"about": about}  # it was broken off before anything was run


def compare(
    plan: Plan,
    photos: Photos,
    lessons: Lessons,
    folder: Path,
    record: dict,
    *,
    make: Callable[[int], nn.Module] | None = None,
    report: Callable[[dict], None] = lambda run: None,
    export: Callable[[nn.Module], object] = lambda student: None,
) -> dict:
    """Carry the plan out and keep every run in `folder`/runs.json; what is in the `record` that
    `claim` gave is not run again. `export` gets the teacher's student of seed 0, which nobody has
    picked, before its run counts as done."""
    path, validation, test = folder / "runs.json", photos.validation, photos.test

    def answers(net: nn.Module, data: Images) -> Tensor:
        return predict(net, data, batch_size=BATCH)  # large photos: as much memory as training

    def keep(kind: str, run: dict) -> None:
        record[kind].append(run)
        write_json(path, record)
        report(run)

    def attempt(arm: str, number: int, settings: Settings) -> None:
        if any(t["arm"] == arm and t["number"] == number for t in record["trials"]):
            return
        try:
            net = train_arm(plan, photos, lessons, arm, settings, TUNING_SEED, make=make)
            score = balanced_accuracy(answers(net, validation), validation.labels)
        except FloatingPointError:  # a rate that is too high is a bad trial, no more
            score = 0.0
        keep("trials", {"arm": arm, "number": number, **asdict(settings), "validation": score})

    def tune(arm: str) -> Settings:
        for number, settings in enumerate(trials(plan, arm)):
            attempt(arm, number, settings)
        first = [t for t in record["trials"] if t["arm"] == arm and t["number"] < plan.trials]
        for number, settings in enumerate(past_the_edge(arm, first), plan.trials):
            attempt(arm, number, settings)
        tried = [t for t in record["trials"] if t["arm"] == arm]
        chosen = settings_of(best_of(tried))
        record["chosen"][arm] = {**asdict(chosen), "edge": at_the_edge(arm, tried)}
        return chosen

    def run(arm: str, settings: Settings, seed: int) -> None:
        curve, start = [], time.process_time()

        def look(student: nn.Module, done: int, total: int) -> None:
            if not curve or done == total or done >= curve[-1][0] + total / LOOKS:
                score = balanced_accuracy(answers(student, validation), validation.labels)
                curve.append([done, round(score, 2)])

        student = train_arm(plan, photos, lessons, arm, settings, seed, make=make, look=look)
        seconds = round(time.process_time() - start, 2)
        about = judged(answers(student, test), test.labels)
        if (arm, seed) == EXPORTED:
            export(student)
        keep("runs", {"arm": arm, "seed": seed, "seconds": seconds, "curve": curve, **about})

    if OWN in plan.arms:
        net = train_arm(plan, photos, lessons, OWN_NET, tune(OWN_NET), seed=0)
        lessons = replace(lessons, answers={**lessons.answers, "own": answers(net, photos.train)})
        record["own teacher"] = judged(answers(net, test), test.labels)
    chosen = {arm: tune(arm) for arm in plan.arms}
    done = {(run["arm"], run["seed"]) for run in record["runs"]}
    for seed in range(plan.seeds):
        for arm in plan.arms:
            if (arm, seed) not in done:
                run(arm, chosen[arm], seed)
    write_json(path, record)
    return record
