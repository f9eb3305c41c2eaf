"""For the engineer who deploys: a trained net as files that run without torch, ONNX and its int8.

The preprocessing is inside the file: uint8 pixels [N, C, H, W] go in, logits [N, K] come out, and
nobody who uses the model can get mean and standard deviation wrong.
"""

import json
import warnings
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import SimpleNamespace
from typing import NamedTuple

import onnx
import torch
from onnxruntime.quantization import QuantType, quant_pre_process, quantize_static
from platformdirs import user_cache_path
from torch import Tensor, nn

from kdlab.data import Images, load, normalise, select
from kdlab.dataset_files import SOURCES
from kdlab.files import atomically, cache_dir
from kdlab.lab.configs import BEST
from kdlab.models import evaluating
from kdlab.teachers import card, load_teacher

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

    def __init__(self, net: nn.Module, data: str) -> None:
        super().__init__()
        self.net, self.data = net, data

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(normalise(pixels, SOURCES[self.data]))


def to_onnx(net: nn.Module, data: str, path: Path, **notes) -> Path:
    """Write a net as ONNX (float32, any batch size), with `notes` as metadata; atomic. `data`,
    "mnist" or "cifar10", fixes shape, classes, mean and standard deviation."""
    example = torch.zeros(2, *SHAPES[data], dtype=torch.uint8)

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
        write_metadata(target, **notes, data=data, classes=SOURCES[data].classes)

    atomically(path, write)
    return path


def write_metadata(path: Path | str, **notes) -> None:
    """Put notes into an ONNX file, each as JSON; `runtime.metadata` reads them."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in notes.items()})
    onnx.save(model, path)


def quantise(path: Path, target: Path, data: Images) -> Path:
    """The int8 form of an exported model, its ranges from `data`: training images, never test.

    Static, a scale for each output channel of the weights (int8), one for each activation (uint8);
    convolutions and matrix products are quantised, what stands between them stays float32.
    """
    batches = ({"pixels": images.numpy()} for images in data.images.split(100))
    reader = SimpleNamespace(get_next=lambda: next(batches, None))
    notes = {p.key: json.loads(p.value) for p in onnx.load(path).metadata_props}

    def write(temporary: str) -> None:
        with TemporaryDirectory() as folder:
            prepared = f"{folder}/prepared.onnx"
            quant_pre_process(path, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                temporary,
                reader,
                op_types_to_quantize=["Conv", "Gemm", "MatMul", "Relu", "MaxPool"],
                activation_type=QuantType.QUInt8,
                per_channel=True,
            )
        write_metadata(temporary, **notes, int8=True)

    atomically(target, write)
    return target


def image_set(data: str, split: str) -> Images:
    """The "train" or "test" images of what "mnist" or "cifar10" models are deployed for."""
    return load("mnist" if data == "mnist" else "cifar10-10k", split)


def place(name: str) -> Path:
    """Where an export is, or may be written: in the cache or, if that is read-only, the user's."""
    paths = [f / "onnx" / name for f in (cache_dir(), user_cache_path("kdlab", appauthor=False))]
    existing = [path for path in paths if path.is_file()]
    return (existing or [path for path in paths if is_writable(path.parent)] or paths)[0]


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, which is made if it is missing."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return True
    return False


def exported_models(int8: bool = True) -> dict[str, Path]:
    """Exported models by name, int8 forms as "NAME-int8"; what is missing is exported first. They
    lie in the cache under the digest of the weights: what is trained anew is exported anew."""
    paths = {}
    for name, data, role in DEPLOYED:
        weights = card(name)
        paths[name] = path = place(f"{name}.{weights['sha256'][:8]}.onnx")
        if not path.is_file():
            net, share = load_teacher(name), weights["test accuracy"]
            to_onnx(net, data, path, name=name, role=role, accuracy=share)
        if int8:
            paths[f"{name}-int8"] = small = place(f"{path.stem}.int8.onnx")
            if not small.is_file():
                quantise(path, small, select(image_set(data, "train"), torch.arange(CALIBRATION)))
    return paths


if __name__ == "__main__":  # for `kdlab serve`, which stays without torch
    print(*exported_models(int8=False).values(), sep="\n")
