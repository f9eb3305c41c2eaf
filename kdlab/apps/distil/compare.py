"""For the engineer: the comparison itself: labels, labels for twice as long, the teacher's answers.

Every arm is tuned alike: as many trials, judged on the validation photos, the last of them around
the best of the others. Every arm has the same updates (one has twice as many), views and seeds. The
test photos are opened once, by the chosen settings. Each run is kept as soon as it has ended, so
that an interruption loses only what ran.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from kdlab.apps.distil.arms import (
    ARMS,
    EXPORTED,
    OWN,
    OWN_NET,
    Arm,
    Plan,
    Settings,
    at_the_edge,
    best_of,
    further_trials,
    settings_of,
    trials,
)
from kdlab.apps.distil.photos import Photos
from kdlab.data import Images
from kdlab.files import write_json
from kdlab.logit_cache import CachedLogits, asked_once
from kdlab.methods import METHODS, Objective, distil, labels_only, objective
from kdlab.metrics import expected_calibration_error, predict
from kdlab.models import build
from kdlab.training import Optimizer, fit

BATCH, TUNING_SEED = 128, 100
LOOKS = 15  # at the validation photos in a run, for its learning curve


@dataclass(frozen=True, eq=False)
class Lessons:
    """What the arms learn from besides labels, about the training photos."""

    answers: Mapping[str, Tensor]  # of each `Arm.teacher`, logits [N, K]; asked once
    views: Callable[[int, int], CachedLogits] | None = None  # (epochs, seed) -> of these views
    net: nn.Module | None = None  # takes the student's images; for features


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
        for number, settings in enumerate(further_trials(arm, first), plan.trials):
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
