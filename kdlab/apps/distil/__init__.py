"""For who has photographs and a model of their own: does distillation pay there?

`python -m kdlab distil` is the command, `distil` its form in Python:

    from kdlab.apps.distil import distil

    result = distil(
        "photos",  # a folder that has a folder of photos for each class
        "mine.py:make_model",  # or a module, a .onnx, a .pt2, torchvision:NAME, a name
        "runs/photos",  # new, empty, or with this very comparison
        teacher_size=128, teacher_mean=(0.5, 0.5, 0.5), teacher_std=(0.5, 0.5, 0.5),
        student="cnn3-16",  # or a function of the number of classes, file.py:function
        labels_share=0.25,
    )
    print(result)  # table, intervals, verdict
    result.verdict.word  # "ship", "undecided" or "do not"
    result.gaps["teacher", "labels"].low  # points
    result.table  # a DataFrame: mean and std of each arm
    result.report, result.student  # report.html and student.onnx
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from kdlab.apps.distil.result import Result


def distil(data: Path | str, teacher: str | nn.Module, out: Path | str, **options) -> Result:
    """Compare a teacher's answers with labels on the photos of a folder; `options` are those of
    `kdlab.apps.distil.run.run_comparison`. ValueError, in one sentence, for what can't be done."""
    from kdlab.apps.distil.run import run_comparison  # torch, which the command line starts without

    return run_comparison(data, teacher, out, **options)
