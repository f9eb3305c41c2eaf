"""For the engineer: from a folder and a teacher to a verdict, step by step."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdlab.apps.distil.compare import ARMS, Plan, compare
from kdlab.apps.distil.photos import Photos, read_photos
from kdlab.apps.distil.probe import fit_probe
from kdlab.apps.distil.teachers import Teacher, ask, open_teacher
from kdlab.apps.distil.verdict import decide, gap_of, photos_needed
from kdlab.files import atomically, digest
from kdlab.models import build

Say = Callable[[str], None]
STEP = 500  # photos between two lines of progress


def run_comparison(
    data: Path,
    out: Path,
    teacher: str,
    how: Mapping,
    plan: Mapping,
    *,
    size: int,
    labels_share: float,
    say: Say,
) -> str:
    """Read the photos, ask the teacher, run what is not there yet, and say what follows."""
    build(plan["student"], classes=2)  # a wrong name is told before anything is read
    opened = open_teacher(teacher, **how)
    photos = read_photos(
        data, size, out / "pixels.npy", labels_share=labels_share, progress=progress(say, "read")
    )
    for note in photos.notes:
        say(note)
    say(
        f"{len(photos.labelled.labels)} labelled photos to learn from, {len(photos.train.labels)} "
        f"in all, {len(photos.validation.labels)} to choose on, {len(photos.test.labels)} to test"
    )
    answers = kept_answers(opened, photos, out / "answers.safetensors", say)
    logits = about_our_classes(answers, photos, say)
    train = logits[: len(photos.train.labels)]
    test = logits[-len(photos.test.labels) :]
    own = 100 * float((test.argmax(1) == photos.test.labels).double().mean())
    say(f"the teacher is right about {own:.1f}% of the test photos")
    chance = 100 / len(photos.test.classes)
    if own < 1.5 * chance:
        say(
            f"that is near chance ({chance:.0f}%): are its size, mean and std right, and are its "
            "classes in the order of the folders' names?"
        )
    record = compare(
        Plan(**plan),
        photos,
        train,
        out,
        teacher=opened.digest,
        report=lambda run: say(line_of(run)),
    )
    return summary(record, photos)


def progress(say: Say, verb: str) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done == total or done % STEP == 0:
            say(f"{verb} {done} of {total} photos")

    return report


def kept_answers(teacher: Teacher, photos: Photos, path: Path, say: Say) -> Tensor:
    """What the teacher says of every photo, [N, D]; asked once, kept for these photos and it."""
    names = "\n".join(f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in photos.paths)
    key = digest(f"{teacher.digest}\n{names}".encode())
    try:
        with safe_open(path, "pt") as file:
            if file.metadata() == {"key": key}:
                return file.get_tensor("answers")
    except (OSError, SafetensorError):
        pass
    answers = ask(teacher, photos.paths, progress=progress(say, "asked the teacher about"))
    tensors = {"answers": answers.contiguous()}
    atomically(path, lambda target: save_file(tensors, target, metadata={"key": key}))
    return answers


def about_our_classes(answers: Tensor, photos: Photos, say: Say) -> Tensor:
    """The answers [N, D] as logits [N, K] of the folder's classes: as they are, where the teacher
    has as many outputs, else by a linear probe of the labels that are used."""
    classes = photos.labelled.classes
    if answers.shape[1] == len(classes):
        say(f"the teacher's outputs are taken for your classes in the order {', '.join(classes)}")
        return answers
    labelled = photos.labelled.labels
    probe = fit_probe(answers[: len(labelled)], labelled, len(classes))
    say(
        f"the teacher has {answers.shape[1]} outputs, not your {len(classes)} classes: a linear "
        f"probe of your {len(labelled)} labels reads them (L2 {probe.l2:g}, log loss "
        f"{probe.log_loss:.2f})"
    )
    return probe.logits(answers)


def line_of(run: Mapping) -> str:
    if "number" in run:
        return f"{run['arm']}, trial {run['number'] + 1}: {run['validation']:.1f}% on validation"
    return f"{run['arm']}, seed {run['seed']}: {run['accuracy']:.1f}% of the test photos"


def summary(record: Mapping, photos: Photos) -> str:
    """The table and the verdict, as text."""
    runs, labels = record["runs"], photos.test.labels.tolist()
    lines = []
    for arm in ARMS:
        scores = torch.tensor([run["accuracy"] for run in runs if run["arm"] == arm])
        spread = f" ± {scores.std():.1f}" if len(scores) > 1 else ""
        lines.append(f"{arm:<22} {scores.mean():5.1f}{spread}")
    gaps = {arm: gap_of(runs, "teacher", arm, labels) for arm in ARMS[:2]}
    for arm, gap in gaps.items():
        lines.append(f"teacher - {arm}: {gap.mean:+.1f} points ({gap.low:+.1f} to {gap.high:+.1f})")
    word = decide(list(gaps.values()))
    reason = {
        "ship": "the teacher's answers are ahead of labels, and of labels for twice as long",
        "do not": "the teacher's answers are behind labels of the same cost",
        "undecided": "seeds and photos differ by more than the arms do",
    }[word]
    lines.append(f"verdict: {word}: {reason}")
    if word == "undecided":
        seeds = len({run["seed"] for run in runs})
        closest = min(gaps.values(), key=lambda gap: abs(gap.mean))
        needed = photos_needed(closest, seeds) if seeds > 1 else None
        lines.append(
            f"about {needed} test photos would decide it"
            if needed
            else "more seeds would have to decide it: --seeds 10"
        )
    return "\n".join(lines)
