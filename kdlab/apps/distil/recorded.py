"""For who asks what a pretrained teacher is worth: the record `own-model`, on the embedded images.

A thousand labels and nine thousand photographs without one: the arms of `python -m kdlab distil`,
with as many trials each. A tenth of the test images choose the settings, and the others judge.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdlab.apps.distil.answers import reader
from kdlab.apps.distil.arms import LABELS, LONGER, OWN, STANDARD, TEACHER, Plan
from kdlab.apps.distil.compare import Lessons, claim, compare, judged
from kdlab.apps.distil.photos import Photos
from kdlab.apps.distil.teachers import BATCH, Teacher, answer, open_teacher
from kdlab.apps.pixels import fit_pixels
from kdlab.data import UNLABELLED, Images, balanced, load, select, split
from kdlab.lab import results
from kdlab.lab.results import stamp

NAME, TITLE = (
    "own-model",
    "1,000 labels, 9,000 images without one: a pretrained teacher, and one of the same labels",
)
LABELLED, JUDGES = 1000, 1000  # images with a label; of the test images, those that choose settings
TEMPERATURES = (0.25, 4.0)  # of the first trials; the last ones go past an end
UPDATES = 632  # whole epochs both of 1,000 images and of 10,000, in batches of 128
FAMILY = [(TEACHER, LABELS), (TEACHER, LONGER), (TEACHER, OWN), (OWN, LABELS)]
KEPT = ("arm", "seed", "accuracy", "balanced", "ece", "seconds")


def embedded_photos() -> Photos:
    """The 10,000 embedded training images, a thousand of them with a label; the test images."""
    whole, test = load("cifar10-10k"), load("cifar10-10k", "test")
    some = balanced(whole, LABELLED, 0)
    others = select(whole, ~torch.isin(whole.index, some.index))
    train = replace(
        whole,
        images=torch.cat([some.images, others.images]),
        labels=torch.cat([some.labels, torch.full_like(others.labels, UNLABELLED)]),
        index=torch.arange(len(whole.labels)),  # of the answers
    )
    judge, choose = split(test, JUDGES)
    labelled = select(train, train.index < LABELLED)
    return Photos(labelled, train, validation=choose, test=judge, paths=(), notes=())


def ask_images(teacher: Teacher, data: Images) -> Tensor:
    """What the teacher answers to each image, enlarged to its own size: [N, D]."""
    shape = len(teacher.mean), teacher.size, teacher.size
    answers = []
    for some in data.images.permute(0, 2, 3, 1).split(BATCH):
        photos = np.stack([fit_pixels(Image.fromarray(image.numpy()), shape) for image in some])
        answers.append(answer(teacher, torch.from_numpy(photos)))
    return torch.cat(answers)


def record_own_model(folder: Path, *, seeds: int, say: Callable[[str], object] = print) -> dict:
    """Run what `folder` does not hold yet, and keep the whole in data/results."""
    made_by = stamp(f"own-model --seeds {seeds}")
    how = {"seeds": seeds, "trials": 6, "updates": UPDATES, "temperatures": TEMPERATURES}
    plan = Plan("cnn3-16", arms=(*STANDARD, OWN), **how)
    about = {"plan": asdict(plan), "commit": made_by["commit"], "machine": made_by["machine"]}
    record = claim(folder, about)
    photos, teacher = embedded_photos(), open_teacher("efficientnet-lite0")

    def tell(key: str, **values: object) -> None:
        say(f"{key}: {values}")

    features = ask_images(teacher, photos.train)
    read, reading = reader(features, photos, tell)
    lessons = Lessons({"given": read(features)})
    record = compare(plan, photos, lessons, folder, record, report=lambda run: say(short(run)))
    test = judged(read(ask_images(teacher, photos.test)), photos.test.labels)
    alike = {"student": plan.student, "updates": plan.updates, "judge": "test"}
    whole = {
        "name": NAME,
        "title": TITLE,
        **made_by,
        "families": [FAMILY],
        "settings": {arm: alike | record["chosen"][arm] for arm in plan.arms},
        "runs": [{key: run[key] for key in KEPT} for run in record["runs"]],
        "trials": record["trials"],
        "teachers": {
            TEACHER: {"accuracy": test["accuracy"], "ece": test["ece"], **reading},
            OWN: {key: record["own teacher"][key] for key in ("accuracy", "ece")},
        },
    }
    results.write(whole)
    return whole


def short(run: dict) -> str:
    """A line for a trial or a run."""
    shown = ("arm", "number", "seed", "lr", "temperature", "validation", "accuracy")
    return ", ".join(f"{key} {run[key]}" for key in shown if key in run)
