"""For the engineer: whose features the arm `FEATURES` matches, tried before hours of work."""

from dataclasses import replace

import torch

from kdlab.apps.distil.arms import FEATURES, Plan, Settings
from kdlab.apps.distil.compare import Lessons, train_arm
from kdlab.apps.distil.photos import Photos
from kdlab.apps.distil.sources import SourceError, brief
from kdlab.apps.distil.students import Student
from kdlab.apps.distil.teachers import OnStudentsImages, Teacher
from kdlab.data import Images
from kdlab.methods import METHODS


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
