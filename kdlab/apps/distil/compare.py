"""For the engineer: the comparison itself: labels, labels for twice as long, the teacher's answers.

Every arm is tuned alike: as many trials, judged on the validation photos. Every arm has the same
updates (the second twice as many), views and seeds. The test photos are opened once, by the chosen
settings. Each run is kept as soon as it has ended, so that an interruption loses only what ran.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from kdlab.apps.distil.photos import Photos
from kdlab.data import CIFAR_VIEWS, Images, Views
from kdlab.files import write_json
from kdlab.lab.search import latin_hypercube
from kdlab.logit_cache import asked_once
from kdlab.methods import distil, labels_only
from kdlab.metrics import predict
from kdlab.models import build
from kdlab.training import Optimizer, fit

ARMS = ("labels", "labels, twice as long", "teacher")
EXPORTED = "teacher", 0  # arm and seed
BATCH = 128
RATES, TEMPERATURES = (0.03, 0.6), (1.0, 8.0)  # drawn evenly in the logarithm


@dataclass(frozen=True)
class Plan:
    """What is run. `updates` are those of "labels" and "teacher"."""

    student: str
    seeds: int = 3
    trials: int = 4
    updates: int = 400
    views: Views = field(default=CIFAR_VIEWS)


@dataclass(frozen=True)
class Settings:
    """What is chosen for an arm."""

    lr: float
    temperature: float = 1.0


def trials(plan: Plan, arm: str) -> list[Settings]:
    """The settings that an arm tries, spread over their ranges; as many for each arm."""
    places = latin_hypercube(plan.trials, 2)

    def at(place: float, low: float, high: float) -> float:
        return float(f"{low * (high / low) ** place:.2g}")

    return [
        Settings(at(lr, *RATES), at(t, *TEMPERATURES) if arm == "teacher" else 1.0)
        for lr, t in places
    ]


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The mean over the classes of the share of their photos that are right, in percent."""
    right = (logits.argmax(dim=1) == labels).double()
    return 100 * float(torch.stack([right[labels == c].mean() for c in labels.unique()]).mean())


def train_arm(
    plan: Plan, photos: Photos, teacher_logits: Tensor, arm: str, settings: Settings, seed: int
) -> nn.Module:
    """One student of one arm. `teacher_logits` [N, K] are about the training photos."""
    taught = arm == "teacher"
    data = photos.train if taught else photos.labelled
    updates = plan.updates * (2 if arm == "labels, twice as long" else 1)
    epochs = max(1, round(updates / math.ceil(len(data.labels) / BATCH)))
    torch.manual_seed(seed)
    student = build(plan.student, len(data.classes))
    fit(
        student,
        data,
        distil(settings.temperature) if taught else labels_only,
        epochs=epochs,
        teacher=asked_once(teacher_logits, data) if taught else None,
        views=plan.views,
        view_seed=seed,
        seed=seed,
        batch_size=BATCH,
        optimizer=Optimizer(lr=settings.lr),
    )
    return student


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
    teacher_logits: Tensor,
    folder: Path,
    record: dict,
    report: Callable[[dict], None] = lambda run: None,
    export: Callable[[nn.Module], object] = lambda student: None,
) -> dict:
    """Carry the plan out and keep every run in `folder`/runs.json; what is in the `record` that
    `claim` gave is not run again. `teacher_logits` [N, K] are about the training photos. `export`
    gets the teacher's student of seed 0, which nobody has picked, before its run counts as done."""
    path = folder / "runs.json"

    def keep(kind: str, run: dict) -> None:
        record[kind].append(run)
        write_json(path, record)
        report(run)

    for arm in ARMS:
        done = {run["number"] for run in record["trials"] if run["arm"] == arm}
        for number, settings in enumerate(trials(plan, arm)):
            if number not in done:
                student = train_arm(plan, photos, teacher_logits, arm, settings, seed=100)
                score = balanced_accuracy(
                    predict(student, photos.validation), photos.validation.labels
                )
                keep(
                    "trials",
                    {"arm": arm, "number": number, **asdict(settings), "validation": score},
                )
        best = max((t for t in record["trials"] if t["arm"] == arm), key=lambda t: t["validation"])
        record["chosen"][arm] = {"lr": best["lr"], "temperature": best["temperature"]}
    done = {(run["arm"], run["seed"]) for run in record["runs"]}
    for seed in range(plan.seeds):
        for arm in ARMS:
            if (arm, seed) not in done:
                settings = Settings(**record["chosen"][arm])
                student = train_arm(plan, photos, teacher_logits, arm, settings, seed)
                if (arm, seed) == EXPORTED:
                    export(student)
                keep("runs", {"arm": arm, "seed": seed, **judged(student, photos.test)})
    return record


def judged(student: nn.Module, test: Images) -> dict:
    """What a run keeps of the test photos: whether each is right, and the class that was said."""
    logits = predict(student, test)
    said = logits.argmax(dim=1)
    return {
        "accuracy": 100 * float((said == test.labels).double().mean()),
        "balanced": balanced_accuracy(logits, test.labels),
        "said": said.tolist(),
    }
