"""For the engineer: the student as a file that is served at once, and what it costs."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from kdlab.apps.distil.photos import Photos
from kdlab.apps.distil.progress import Tell
from kdlab.apps.distil.sources import brief
from kdlab.apps.distil.students import Student
from kdlab.apps.distil.teachers import Teacher
from kdlab.apps.onnx_file import write_onnx
from kdlab.apps.pixels import RULE
from kdlab.metrics import parameters
from kdlab.models import evaluating

TIMED = 15  # single photos, for the cost


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
