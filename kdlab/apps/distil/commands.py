"""The command that says whether distillation pays on your photographs."""

from pathlib import Path
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
    teacher: Annotated[str, Option(help="mine.py:make_model, a .onnx, a .pt2, torchvision:NAME")],
    out: Annotated[Path, Option(help="where runs and pixels are kept")],
    teacher_size: Annotated[int | None, Option(min=1, help="pixels a side")] = None,
    teacher_mean: Annotated[str | None, Option(help="such as 0.485,0.456,0.406")] = None,
    teacher_std: Annotated[str | None, Option(help="such as 0.229,0.224,0.225")] = None,
    teacher_stage: Annotated[str, Option(help="a submodule with features, for a probe")] = "",
    student: Annotated[str, Option(help="a net of the course, by name")] = "cnn3-16",
    size: Annotated[int, Option(min=8, help="pixels a side of the student's photos")] = 32,
    labels_share: Annotated[float, Option(min=0.01, max=1, help="of the labels, used")] = 1.0,
    seeds: Annotated[int, Option(min=1, help="one decides nothing")] = 3,
    updates: Annotated[int, Option(min=1, help="of a student; the longer labels have twice")] = 400,
) -> None:
    """Compare a teacher's answers with labels on your own photos."""
    from kdlab.apps.distil.compare import Plan
    from kdlab.apps.distil.run import run_comparison

    result = run_comparison(
        data,
        out.expanduser().resolve(),
        teacher,
        {
            "size": teacher_size,
            "mean": three(teacher_mean),
            "std": three(teacher_std),
            "stage": teacher_stage,
        },
        Plan(student, seeds=seeds, updates=updates),
        size=size,
        labels_share=labels_share,
        say=typer.echo,
    )
    typer.echo(f"\n{result}\nEvery run is in {out / 'runs.json'}")


COMMANDS = {"use": [distil]}
