"""For the engineer: from a folder and a teacher to a verdict, step by step."""

import inspect
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

from torch import nn

from kdlab.apps.distil.answers import asked_for_views, judge_teacher, kept_answers, reader
from kdlab.apps.distil.arms import EXPORTED, FEATURES, REQUESTED, STANDARD, Plan, pairs
from kdlab.apps.distil.compare import Lessons, claim, compare, judged
from kdlab.apps.distil.handover import cost, exporter
from kdlab.apps.distil.photos import labels_of, read_photos
from kdlab.apps.distil.progress import Say, progress, speak, teller
from kdlab.apps.distil.report import PARTS, write_report
from kdlab.apps.distil.result import Result
from kdlab.apps.distil.stages import named_stages, rehearse
from kdlab.apps.distil.students import Make, open_student
from kdlab.apps.distil.teachers import OnStudentsImages, open_teacher
from kdlab.apps.i18n import languages
from kdlab.files import digest, write_json
from kdlab.lab.results import stamp
from kdlab.models import arithmetic


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
    languages(language)  # what is wrong is told before anything is read
    tell = partial(speak, say, language)
    data, out = Path(data), Path(out).expanduser().resolve()
    trained = open_student(student, size)
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
