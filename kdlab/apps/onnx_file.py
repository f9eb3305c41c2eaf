"""A net as a file that runs without torch: ONNX, with the preprocessing inside.

Uint8 pixels [N, C, H, W] go in, logits [N, K] come out, and nobody who uses the model can get mean
and standard deviation wrong. `serving` writes its students so, `distil` the student of your photos.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from kdlab.data import Images, normalise
from kdlab.dataset_files import Source
from kdlab.files import atomically
from kdlab.models import evaluating

OPSET = 17  # read by ONNX Runtime 1.12 and later, in the browser too


class FromPixels(nn.Module):
    """A net with its preprocessing in front: uint8 pixels in, logits out."""

    def __init__(self, net: nn.Module, data: Images | Source) -> None:
        super().__init__()
        self.net, self.data = net, data

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(normalise(pixels, self.data))


def write_onnx(
    net: nn.Module, data: Images | Source, shape: Sequence[int], path: Path, /, **notes
) -> Path:
    """Write a net as ONNX (float32, any batch size); atomic. `data` has the mean and std that the
    net was trained with and the names of its classes, `shape` is one image's, [C, H, W]. The
    classes and `notes` are the file's metadata."""
    example = torch.zeros(2, *shape, dtype=torch.uint8)

    def write(target: str) -> None:
        with evaluating(net), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                FromPixels(net, data).eval(),
                (example,),
                target,
                input_names=["pixels"],
                output_names=["logits"],
                opset_version=OPSET,
                dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}},
                dynamo=False,  # it needs two more packages, thirty times as long: the same graph
            )
        write_metadata(target, **notes, classes=data.classes)

    atomically(path, write)
    return path


def write_metadata(path: Path | str, **notes) -> None:
    """Put notes into an ONNX file, each as JSON; `runtime.metadata` of the service reads them."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in notes.items()})
    onnx.save(model, path)
