"""The command that says whether distillation pays on your photographs."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from typer import Option


def three(text: str | None) -> list[float] | None:
    """The three numbers of "0.5,0.5,0.5"."""
    try:
        numbers = [float(part) for part in text.split(",")] if text else None
    except ValueError:
        numbers = []
    if numbers is not None and len(numbers) != 3:
        raise ValueError(f"three numbers with commas are needed, such as 0.5,0.5,0.5, got {text!r}")
    return numbers


def distil(
    data: Annotated[Path, Option(help="a folder that has a folder of photos for each class")],
    teacher: Annotated[
        str,
        Option(
            help="efficientnet-lite0 (comes with the set-up), mine.py:make_model, a .onnx, a .pt2, "
            "torchvision:NAME"
        ),
    ],
    out: Annotated[Path, Option(help="where report, student and runs are kept")],
    teacher_size: Annotated[int | None, Option(min=1, help="pixels a side")] = None,
    teacher_mean: Annotated[str | None, Option(help="such as 0.485,0.456,0.406")] = None,
    teacher_std: Annotated[str | None, Option(help="such as 0.229,0.224,0.225")] = None,
    teacher_stage: Annotated[str, Option(help="a submodule with features, for a probe")] = "",
    student: Annotated[
        str,
        Option(
            help="a net of the course, mine.py:function of the number of classes, or "
            "torchvision:NAME"
        ),
    ] = "cnn3-16",
    size: Annotated[int, Option(min=8, help="pixels a side of the student's photos")] = 32,
    labels_share: Annotated[float, Option(min=0.01, max=1, help="of the labels, used")] = 1.0,
    seeds: Annotated[int, Option(min=1, help="one decides nothing")] = 3,
    updates: Annotated[int, Option(min=1, help="of a student; the longer labels have twice")] = 400,
    arm: Annotated[
        list[str] | None,
        Option(
            help="one more: same-labels (a cnn7-16 that the labels taught), same-views (the "
            "teacher answers for each view: slow), features (of --method)"
        ),
    ] = None,
    method: Annotated[str, Option(help="of features: hint, RKD, PKT, ...")] = "RKD",
    student_stage: Annotated[str, Option(help="whose features are matched, with commas")] = "",
    match_stage: Annotated[str, Option(help="the teacher's; default: --teacher-stage")] = "",
    language: Annotated[str, Option("--language", "-l", help="en, zh or both")] = "en",
) -> None:
    """Compare a teacher's answers with labels on your own photos."""
    from kdlab.apps.distil.run import run_comparison
    from kdlab.apps.distil.words import words

    result = run_comparison(
        data,
        teacher,
        out,
        teacher_size=teacher_size,
        teacher_mean=three(teacher_mean),
        teacher_std=three(teacher_std),
        teacher_stage=teacher_stage,
        student=student,
        size=size,
        labels_share=labels_share,
        seeds=seeds,
        updates=updates,
        arm=arm or (),
        method=method,
        student_stage=student_stage,
        match_stage=match_stage,
        language=language,
        say=typer.echo,
    )
    files = {"report": result.report, "student": result.student, "runs": out / "runs.json"}
    names = {kind: quote(str(path)) for kind, path in files.items() if path.is_file()}
    where = words("where" if "student" in names else "where without", language, **names)
    typer.echo(f"\n{result}\n{where}")


def own_model(
    seeds: Annotated[int, Option(min=1, help="runs of each arm")] = 5,
    folder: Annotated[Path, Option(help="where its runs are kept")] = Path("build/own-model"),
) -> None:
    """Record what a pretrained teacher is worth on the embedded images."""
    from kdlab.apps.distil.recorded import record_own_model

    record_own_model(folder, seeds=seeds, say=typer.echo)


COMMANDS = {"use": [distil], "research": [own_model]}
