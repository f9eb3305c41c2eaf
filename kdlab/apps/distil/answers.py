"""For the engineer: what the teacher says of your photos, about your classes: asked once."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdlab.apps import pixels
from kdlab.apps.distil import teachers
from kdlab.apps.distil.arms import Plan
from kdlab.apps.distil.photos import Photos
from kdlab.apps.distil.probe import fit_probe
from kdlab.apps.distil.progress import Tell, progress
from kdlab.apps.distil.teachers import Teacher, ask, ask_views
from kdlab.files import atomically, digest
from kdlab.logit_cache import CachedLogits, checksums, name_views
from kdlab.metrics import accuracy
from kdlab.models import arithmetic

SUSPICIOUS = 20  # points


def kept_answers(
    teacher: Teacher, photos: Photos, path: Path, about: Mapping, tell: Tell
) -> Tensor:
    """What the teacher says of every photo, [N, D], by their index: asked once for this comparison,
    code and arithmetic."""
    code = (Path(module.__file__).read_bytes() for module in (pixels, teachers))
    key = digest(b"".join(code) + json.dumps([about, arithmetic("cpu")]).encode())
    with suppress(OSError, SafetensorError), safe_open(path, "pt") as file:
        if file.metadata() == {"key": key}:
            return file.get_tensor("answers")
    answers = ask(teacher, photos.paths, progress=progress(tell, "asked"))
    tensors = {"answers": answers.contiguous()}
    atomically(path, lambda target: save_file(tensors, target, metadata={"key": key}))
    return answers


def reader(answers: Tensor, photos: Photos, tell: Tell) -> tuple[Callable, dict]:
    """The function from answers [N, D] to logits [N, K] of the folder's classes: none, where the
    teacher has as many outputs, else a linear probe of the labels that are used; and which."""
    classes, labels = photos.labelled.classes, photos.labelled.labels
    if answers.shape[1] == len(classes):
        tell("as it is", classes=", ".join(classes))
        return lambda given: given, {}
    probe = fit_probe(answers[: len(labels)], labels, len(classes))
    reading = {"outputs": answers.shape[1], "labels": len(labels), "l2": probe.l2}
    tell("by probe", kinds=len(classes), loss=probe.log_loss, **reading)
    return probe.logits, reading


def asked_for_views(
    teacher: Teacher, photos: Photos, read: Callable, plan: Plan, tell: Tell, epochs: int, seed: int
) -> CachedLogits:
    """The teacher's answers to the views of all training photos in each epoch."""
    train = photos.train
    paths = photos.paths[: len(train.labels)]
    how = {"size": train.images.shape[-1], "epochs": epochs, "seed": seed}
    logits = ask_views(teacher, paths, read, plan.views, **how, progress=progress(tell, "asked"))
    key = {"data": f"{train.name} -", "views": name_views(plan.views, seed)}
    key["period"] = str(plan.views.period)
    return CachedLogits(logits, train.index, checksums(train.images), key)


def judge_teacher(logits: Tensor, photos: Photos, tell: Tell) -> None:
    """Say how often the teacher is right on validation, and where that is near chance or far below
    what a linear probe of its answers reaches: then they are not what they are taken for."""
    known, labels = photos.validation, photos.labelled.labels
    share = accuracy(logits[known.index], known.labels)
    tell("teacher right", share=share)
    chance = 100 / len(known.classes)
    if share < 1.5 * chance:
        tell("near chance", chance=chance)
    probe = fit_probe(logits[: len(labels)], labels, len(known.classes))
    reached = accuracy(probe.logits(logits[known.index]), known.labels)
    if reached > share + SUSPICIOUS:
        tell("below probe", reached=reached)
