"""For the engineer: from a folder and a teacher to a verdict, step by step."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kdlab.apps import pixels
from kdlab.apps.distil import teachers
from kdlab.apps.distil.compare import ARMS, EXPORTED, Plan, claim, compare
from kdlab.apps.distil.photos import Photos, labels_of, read_photos
from kdlab.apps.distil.probe import fit_probe
from kdlab.apps.distil.teachers import Teacher, ask, open_teacher
from kdlab.apps.distil.verdict import decide, gap_of, photos_needed
from kdlab.apps.pixels import RULE
from kdlab.export import write_onnx
from kdlab.files import atomically, digest
from kdlab.models import arithmetic, build

Say = Callable[[str], None]
STEP = 500  # photos between two lines of progress


def run_comparison(
    data: Path,
    out: Path,
    teacher: str,
    how: Mapping,
    plan: Plan,
    *,
    size: int,
    labels_share: float,
    say: Say,
) -> str:
    """Read the photos, ask the teacher, run what is not there yet, and say what follows. Nothing is
    written but into `out`, which is new, empty, or holds this very comparison."""
    build(plan.student, classes=2)  # a wrong name is told before anything is read
    opened = open_teacher(teacher, **how)
    if out.resolve().is_relative_to(data.resolve()):
        raise ValueError(f"{out} lies in the folder of the photos: name another with --out")
    about = {
        "plan": asdict(plan),
        "teacher": opened.digest,
        "photos": listing(data),
        "size": size,
        "labels_share": labels_share,
    }
    record = claim(out, about)
    photos = read_photos(
        data, size, out / "pixels.npy", labels_share=labels_share, progress=progress(say, "read")
    )
    for note in photos.notes:
        say(note)
    say(
        f"{len(photos.labelled.labels)} labelled photos to learn from, {len(photos.train.labels)} "
        f"in all, {len(photos.validation.labels)} to choose on, {len(photos.test.labels)} to test"
    )
    answers = kept_answers(opened, photos, out / "answers.safetensors", about, say)
    logits = about_our_classes(answers, photos, say)
    judged = photos.validation
    own = 100 * float((logits[judged.index].argmax(1) == judged.labels).double().mean())
    say(f"the teacher is right about {own:.1f}% of the validation photos")
    chance = 100 / len(judged.classes)
    if own < 1.5 * chance:
        say(
            f"that is near chance ({chance:.0f}%): are its size, mean and std right, and are its "
            "classes in the order of the folders' names?"
        )
    train, target = logits[: len(photos.train.labels)], out / "student.onnx"
    if not target.is_file():  # its run is done again
        record["runs"] = [r for r in record["runs"] if (r["arm"], r["seed"]) != EXPORTED]
    record = compare(
        plan,
        photos,
        train,
        out,
        record,
        report=lambda run: say(line_of(run)),
        export=partial(export_student, photos=photos, path=target),
    )
    return summary(record, photos)


def export_student(student: nn.Module, photos: Photos, path: Path) -> Path:
    """The student as a file that `kdlab serve --model` and any ONNX runtime open, with its classes
    and the rule by which a photo is cut to its square."""
    train, shape = photos.train, photos.train.images.shape[1:]
    notes = {"name": f"{path.parent.name}-student", "role": "distilled", "data": train.name}
    return write_onnx(student, train, shape, path, **notes, photo=RULE)


def listing(folder: Path) -> str:
    """A digest of which files a folder has, and of their sizes and dates."""
    lines = []
    for path in labels_of(folder):
        about = path.stat()
        lines.append(f"{path.relative_to(folder)} {about.st_size} {about.st_mtime_ns}")
    return digest("\n".join(lines).encode())


def progress(say: Say, verb: str) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done == total or done % STEP == 0:
            say(f"{verb} {done} of {total} photos")

    return report


def kept_answers(teacher: Teacher, photos: Photos, path: Path, about: Mapping, say: Say) -> Tensor:
    """What the teacher says of every photo, [N, D], by their index: asked once for this comparison,
    code and arithmetic."""
    code = (Path(module.__file__).read_bytes() for module in (pixels, teachers))
    key = digest(b"".join(code) + json.dumps([about, arithmetic("cpu")]).encode())
    with suppress(OSError, SafetensorError), safe_open(path, "pt") as file:
        if file.metadata() == {"key": key}:
            return file.get_tensor("answers")
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
    controls = ARMS[:2]
    gaps = {c: gap_of(runs, "teacher", c, labels, comparisons=len(controls)) for c in controls}
    for control, gap in gaps.items():
        lines.append(
            f"teacher - {control}: {gap.mean:+.1f} points ({gap.low:+.1f} to {gap.high:+.1f})"
        )
    lines.append("(intervals over seeds and photos; both hold together in 95%)")
    seeds, word = len({run["seed"] for run in runs}), decide(list(gaps.values()))
    behind = " and ".join(control for control, gap in gaps.items() if gap.high < 0)
    open_gaps = [gap for gap in gaps.values() if gap.low <= 0 <= gap.high]
    if word == "ship":
        reason = "the teacher's answers are ahead of labels, and of labels for twice as long"
    elif word == "do not":
        reason = f"the teacher's answers are behind {behind}"
    elif seeds == 1:
        reason = "one seed decides nothing; take --seeds 5"
    else:
        needed = [photos_needed(gap, seeds) for gap in open_gaps]
        reason = "an interval contains zero; "
        reason += (
            f"gaps of this size would show with about {max(needed)} test photos"
            if all(needed)
            else "more test photos alone would not tell; more seeds may"
        )
    return "\n".join([*lines, f"verdict: {word}: {reason}"])
