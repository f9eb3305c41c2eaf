"""For the engineer: from a folder and a teacher to a verdict, step by step."""

import inspect
import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kdlab.apps import pixels
from kdlab.apps.distil import teachers
from kdlab.apps.distil.compare import (
    ARMS,
    EXPORTED,
    EXTRA,
    FEATURES,
    REQUESTED,
    STANDARD,
    Lessons,
    Plan,
    Settings,
    claim,
    compare,
    judged,
    pairs,
    train_arm,
)
from kdlab.apps.distil.photos import Photos, labels_of, read_photos
from kdlab.apps.distil.probe import fit_probe
from kdlab.apps.distil.report import PARTS, write_report
from kdlab.apps.distil.result import Result
from kdlab.apps.distil.sources import SourceError, brief
from kdlab.apps.distil.students import Make, Student, open_student
from kdlab.apps.distil.teachers import OnStudentsImages, Teacher, ask, ask_views, open_teacher
from kdlab.apps.distil.words import arm_name, words
from kdlab.apps.pixels import RULE
from kdlab.data import Images
from kdlab.export import write_onnx
from kdlab.files import atomically, digest, write_json
from kdlab.lab.results import stamp
from kdlab.logit_cache import CachedLogits, checksums, name_views
from kdlab.methods import METHODS
from kdlab.metrics import parameters
from kdlab.models import arithmetic, evaluating

Say = Callable[[str], None]
STEP = 500  # photos between two lines of progress
TIMED = 15  # single photos, for the cost


def run_comparison(
    data: Path | str,
    teacher: str | nn.Module,
    out: Path | str,
    *,
    teacher_size: int | None = None,
    teacher_mean: Sequence[float] | None = None,
    teacher_std: Sequence[float] | None = None,
    teacher_stage: str = "",
    student: str | Make = "cnn3-16",
    size: int = 32,
    labels_share: float = 1.0,
    seeds: int = 3,
    updates: int = 400,
    arm: Sequence[str] = (),
    method: str = "RKD",
    student_stage: str = "",
    match_stage: str = "",
    language: str | None = None,
    say: Say = print,
) -> Result:
    """Read the photos, ask the teacher, run what is not there yet, report, and say what follows.
    Nothing is written but into `out`, which is new, empty, or holds this very comparison."""
    command = command_of(locals())
    tell = partial(speak, say, language)
    data, out = Path(data), Path(out).expanduser().resolve()
    trained = open_student(student, size)  # what is wrong is told before anything is read
    asked = open_teacher(
        teacher, size=teacher_size, mean=teacher_mean, std=teacher_std, stage=teacher_stage
    )
    arms = (*STANDARD, *(requested(name) for name in dict.fromkeys(arm)))
    stages = named_stages(method, student_stage, match_stage or asked.stage)
    plan = Plan(trained.name, seeds=seeds, updates=updates, arms=arms, method=method, stages=stages)
    if FEATURES in arms:
        rehearse(plan, asked, trained, size)
    if out.is_relative_to(data.resolve()):
        raise ValueError(f"{out} lies in the folder of the photos: name another with --out")
    about = {
        "plan": asdict(plan),
        "family": pairs(arms),
        "teacher": asked.digest,
        "student": trained.digest,
        "photos": listing(data),
        "size": size,
        "labels_share": labels_share,
    }
    record = claim(out, about)
    photos = read_photos(
        data, size, out / "pixels.npy", labels_share=labels_share, progress=progress(tell, "read")
    )
    for note in photos.notes:
        say(note(language))
    parts = {name: len(getattr(photos, name).labels) for name in PARTS}
    tell("sizes", **parts)
    answers = kept_answers(asked, photos, out / "answers.safetensors", about, tell)
    read, reading = reader(answers, photos, tell)
    logits = read(answers)
    judge_teacher(logits, photos, tell)
    target = out / "student.onnx"
    export = exporter(trained, photos, target, tell)
    if not target.is_file() and export:  # its run is done again
        record["runs"] = [r for r in record["runs"] if (r["arm"], r["seed"]) != EXPORTED]
    lessons = Lessons(
        {"given": logits[: parts["train"]]},
        views=lru_cache(1)(partial(asked_for_views, asked, photos, read, plan, tell)),
        net=OnStudentsImages(asked, read, photos.train) if FEATURES in arms else None,
    )
    record = compare(
        plan,
        photos,
        lessons,
        out,
        record,
        make=trained.make,
        report=teller(record, plan, tell),
        export=export or (lambda net: None),
    )
    record["teacher"] = {
        "name": asked.name,
        "size": asked.size,
        "reading": reading,
        **judged(logits[photos.test.index], photos.test.labels),
    }
    if "cost" not in record:
        record["cost"] = cost(asked, trained, photos, target)
    record |= {"data": data.name, "size": size, "arithmetic": arithmetic("cpu")}
    record |= stamp(command)
    write_json(out / "runs.json", record)
    result = Result(record, photos, out, language)
    write_report(result, logits[photos.test.index])
    return result


def command_of(options: Mapping) -> str:
    """What follows `python -m kdlab` in a call of `run_comparison`, without its defaults."""
    given = [("data", options["data"]), ("teacher", options["teacher"]), ("out", options["out"])]
    for name, parameter in inspect.signature(run_comparison).parameters.items():
        value = options[name]
        if name in ("say", "language", "data", "teacher", "out") or value == parameter.default:
            continue
        if name == "arm":
            given += [(name, one) for one in value]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            given.append((name, ",".join(f"{number:g}" for number in value)))
        else:
            given.append((name, value))
    parts = []
    for name, value in given:
        simple = isinstance(value, str | Path | int | float)
        text = str(value) if simple else getattr(value, "__qualname__", type(value).__name__)
        parts += [f"--{name.replace('_', '-')}", text]
    return shlex.join(["distil", *parts])


def requested(name: str) -> str:
    """The arm of a name that is given after --arm."""
    if name not in REQUESTED:
        raise ValueError(f"no arm {name!r}: there are {', '.join(REQUESTED)}")
    return REQUESTED[name]


def listing(folder: Path) -> str:
    """A digest of which files a folder has, and of their sizes and dates."""
    lines = []
    for path in labels_of(folder):
        about = path.stat()
        lines.append(f"{path.relative_to(folder)} {about.st_size} {about.st_mtime_ns}")
    return digest("\n".join(lines).encode())


# ---------------------------------------------------------------- what is said meanwhile

Tell = Callable[..., None]  # (key, **values)


def speak(say: Say, language: str | None, key: str, **values: object) -> None:
    say(words(key, language, **values))


def time_left(start: float, done: float, total: float) -> Callable[[str], str]:
    """What is left, from what is done of it, if it is a minute or more."""
    minutes = (time.perf_counter() - start) * (total / done - 1) / 60
    return lambda language: words("left", language, minutes=minutes) if minutes >= 1 else ""


def progress(tell: Tell, key: str) -> Callable[[int, int], None]:
    start = time.perf_counter()

    def report(done: int, total: int) -> None:
        if done == total or done % STEP == 0:
            tell(key, done=done, total=total, left=time_left(start, done, total))

    return report


def teller(record: Mapping, plan: Plan, tell: Tell) -> Callable[[Mapping], None]:
    """What tells each run, and how long the others will take."""
    start, kept = time.perf_counter(), len(record["trials"]) + len(record["runs"])
    each = plan.trials + EXTRA + plan.seeds  # at most
    total = sum(ARMS[arm].times * each for arm in plan.arms) - kept
    done = 0

    def report(run: Mapping) -> None:
        nonlocal done
        done += ARMS[run["arm"]].times
        about = {"arm": arm_name(run["arm"]), "left": time_left(start, done, max(total, done))}
        if "number" in run:
            tell("trial", number=run["number"] + 1, score=run["validation"], **about)
        else:
            tell("run", seed=run["seed"], score=run["accuracy"], **about)

    return report


# ---------------------------------------------------------------- the teacher


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


def named_stages(method: str, student: str, teacher: str) -> dict[str, list[str]]:
    """The stages of both nets that a feature method matches, from names with commas; those of the
    course's nets where none is named."""
    free = [name for name, known in METHODS.items() if known.stages and known.label_free]
    if method not in free:
        raise ValueError(
            f"no feature method {method!r} without labels: there are {', '.join(free)}"
        )
    names = list(METHODS[method].stages)
    given = {"student": student, "teacher": teacher}
    return {net: text.split(",") if text else names for net, text in given.items()}


def rehearse(plan: Plan, teacher: Teacher, student: Student, size: int) -> None:
    """One step of the arm `FEATURES` on noise, so that wrong stages are told before hours of work.
    SourceError names the stages that there are."""
    noise = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    labels, half = torch.tensor([0, 1, 0, 1]), (0.5, 0.5, 0.5)
    data = Images(noise, labels, torch.arange(4), "noise", ("a", "b"), half, half)
    net = OnStudentsImages(teacher, lambda given: given.flatten(1)[:, :2], data)
    photos = Photos(data, data, data, data, (), ())
    short = replace(plan, updates=1)
    try:
        with torch.random.fork_rng([]):
            lessons = Lessons({}, net=net)
            train_arm(short, photos, lessons, FEATURES, Settings(1e-3), 0, make=student.make)
    except Exception as error:  # anything can happen between two nets
        ours, theirs = (
            ", ".join(name for name, _ in one.named_children())
            for one in (student.make(2), teacher.net)
        )
        raise SourceError(
            f"{plan.method} can't match {plan.stages} ({brief(error)}): name --student-stage (of "
            f"{ours}) and --match-stage (of {theirs})"
        ) from error


def judge_teacher(logits: Tensor, photos: Photos, tell: Tell) -> None:
    """Say how often the teacher is right on validation, and where that is near chance."""
    known = photos.validation
    share = 100 * float((logits[known.index].argmax(1) == known.labels).double().mean())
    tell("teacher right", share=share)
    chance = 100 / len(known.classes)
    if share < 1.5 * chance:
        tell("near chance", chance=chance)


# ---------------------------------------------------------------- the student


def exporter(student: Student, photos: Photos, path: Path, tell: Tell) -> Callable | None:
    """What writes the student, tried with a fresh one; None, said, where it can't be ONNX."""
    try:
        with TemporaryDirectory(dir=path.parent) as scratch, torch.random.fork_rng([]):
            net = student.make(len(photos.train.classes))
            export_student(net, photos, Path(scratch) / path.parent.name / path.name)
    except Exception as error:  # of the exporter's own kinds
        tell("no export", reason=brief(error))
        return None
    return partial(export_student, photos=photos, path=path)


def export_student(student: nn.Module, photos: Photos, path: Path) -> Path:
    """The student as a file that `kdlab serve --model` and any ONNX runtime open, with its classes
    and the rule by which a photo is cut to its square."""
    train, shape = photos.train, photos.train.images.shape[1:]
    notes = {"name": f"{path.parent.name}-student", "role": "distilled", "data": train.name}
    return write_onnx(student, train, shape, path, **notes, photo=RULE)


def cost(teacher: Teacher, student: Student, photos: Photos, path: Path) -> dict:
    """Milliseconds a photo and number of weights of both, and the size of the student's file."""
    train = photos.train
    net = student.make(len(train.classes))
    with evaluating(net):
        ours = milliseconds(net, train.images.shape[1:])
    shape = len(teacher.mean), teacher.size, teacher.size
    return {
        "teacher": {"ms": milliseconds(teacher.call, shape), "weights": teacher.weights},
        "student": {
            "ms": ours,
            "weights": parameters(net),
            "bytes": path.stat().st_size if path.is_file() else None,
        },
    }


@torch.no_grad()
def milliseconds(call: Callable[[Tensor], Tensor], shape: Sequence[int]) -> float:
    """The median of single photos, float32, on one thread, after two that do not count."""
    image, times, threads = torch.zeros(1, *shape), [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(2 + TIMED):
            start = time.perf_counter()
            call(image)
            times.append(1000 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    return sorted(times[2:])[TIMED // 2]
