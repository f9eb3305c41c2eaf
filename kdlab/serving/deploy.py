"""From a trained net to files that run without torch: ONNX in float32 and int8, weighed and timed.

The preprocessing is inside the file: uint8 pixels [N, C, H, W] go in, logits [N, K] come out, and
nobody who uses the model can get mean and standard deviation wrong. `files()` exports what is
missing, `python -m kdlab deploy` measures everything and, with `--record`, keeps it.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from torch import Tensor, nn

from kdlab.data import Images, load, normalise, select
from kdlab.machine import cache_dir
from kdlab.recipes import BEST
from kdlab.sources import SOURCES
from kdlab.teachers import atomically, card, load_teacher

OPSET = 17  # read by ONNX Runtime 1.12 and later, in the browser too
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
CALIBRATION = 1000  # training images


class Deployed(NamedTuple):
    """A model that is deployed, and as what."""

    name: str
    data: str  # "mnist" or "cifar10"
    role: str  # "teacher", "student" (labels only), "distilled"


DEPLOYED = (
    Deployed("mnist-mlp-1200", "mnist", "teacher"),
    Deployed("mnist-student-labels", "mnist", "student"),
    Deployed("mnist-student-distilled", "mnist", "distilled"),
    Deployed(BEST, "cifar10", "teacher"),
    Deployed("cifar10-student-labels", "cifar10", "student"),
    Deployed("cifar10-student-distilled", "cifar10", "distilled"),
)


class FromPixels(nn.Module):
    """A net with its preprocessing in front: uint8 pixels in, logits out."""

    def __init__(self, net: nn.Module, data: str):
        super().__init__()
        self.net, self.data = net, data

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(normalise(pixels, SOURCES[self.data]))


def export(net: nn.Module, data: str, path: Path, **notes) -> Path:
    """Write a net as ONNX (float32, any batch size), with `notes` as metadata; atomic.

    `data` is "mnist" or "cifar10" and fixes shape, classes, mean and standard deviation.
    """
    was_training = net.training
    whole = FromPixels(net, data).eval()
    example = torch.zeros(2, *SHAPES[data], dtype=torch.uint8)
    free = {"pixels": {0: "batch"}, "logits": {0: "batch"}}

    def write(target: str) -> None:
        with warnings.catch_warnings():
            # the newer exporter needs two more packages and thirty times as long for the same graph
            warnings.simplefilter("ignore")
            torch.onnx.export(
                whole, (example,), target, dynamo=False, opset_version=OPSET,
                input_names=["pixels"], output_names=["logits"], dynamic_axes=free,
            )  # fmt: skip
        note(Path(target), **notes, data=data, classes=SOURCES[data].classes)

    try:
        atomically(path, write)
    finally:
        net.train(was_training)
    return path


def note(path: Path, **notes) -> None:
    """Put notes into an ONNX file's metadata, each as JSON; `runtime.about` reads them."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in notes.items()})
    onnx.save(model, path)


class Calibration(CalibrationDataReader):
    """Training images, a hundred at a time, as ONNX Runtime's quantiser asks for them."""

    def __init__(self, data: Images):
        self.parts = iter(data.images.split(100))

    def get_next(self) -> dict | None:
        part = next(self.parts, None)
        return None if part is None else {"pixels": part.numpy()}


def quantise(path: Path, target: Path, data: Images) -> Path:
    """The int8 form of an exported model, its ranges from `data`: training images, never test.

    Static, a scale for each output channel of the weights (int8), one for each activation (uint8);
    convolutions and matrix products are quantised, what stands between them stays float32.
    """

    def write(temporary: str) -> None:
        prepared = Path(temporary + ".prepared")
        try:
            quant_pre_process(path, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared, temporary, Calibration(data), quant_format=QuantFormat.QDQ,
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "Gemm", "MatMul", "Relu", "MaxPool"],
            )  # fmt: skip
        finally:
            prepared.unlink(missing_ok=True)
        notes = {p.key: json.loads(p.value) for p in onnx.load(path).metadata_props}
        note(Path(temporary), **notes | {"int8": True})

    atomically(target, write)
    return target


def calibration_images(data: str) -> Images:
    """The first images of the training set: what the ranges of int8 are taken from."""
    train = load("mnist" if data == "mnist" else "cifar10-10k", "train")
    return select(train, torch.arange(CALIBRATION))


def files(int8: bool = True, say: Callable[[str], object] = lambda line: None) -> dict[str, Path]:
    """Exported models by name, int8 forms as "NAME-int8"; what is missing is exported first.

    They lie in the cache under the digest of the weights, so a model that is trained anew is
    exported anew.
    """
    found, folder = {}, cache_dir() / "onnx"
    for name, data, role in DEPLOYED:
        about = card(name)
        path = folder / f"{name}.{about['sha256'][:8]}.onnx"
        if not path.is_file():
            say(f"exporting {name}")
            accuracy = about["test accuracy"]
            export(load_teacher(name), data, path, name=name, role=role, accuracy=accuracy)
        found[name] = path
        if int8:
            target = path.with_suffix(".int8.onnx")
            if not target.is_file():
                say(f"quantising {name}")
                quantise(path, target, calibration_images(data))
            found[f"{name}-int8"] = target
    return found


if __name__ == "__main__":  # for `kdlab serve`, which stays without torch
    print(*files(int8=False).values(), sep="\n")
