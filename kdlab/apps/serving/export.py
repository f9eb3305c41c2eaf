"""For the engineer who deploys: the course's students as ONNX (`onnx_file`) and as its int8."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import SimpleNamespace
from typing import NamedTuple

import onnx
import torch
from onnxruntime.quantization import QuantType, quant_pre_process, quantize_static
from platformdirs import user_cache_path
from torch import nn

from kdlab.apps.onnx_file import write_metadata, write_onnx
from kdlab.data import Images, load, select
from kdlab.dataset_files import SOURCES
from kdlab.files import atomically, cache_dir
from kdlab.lab.configs import BEST
from kdlab.teachers import card, load_teacher

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


def to_onnx(net: nn.Module, data: str, path: Path, **notes) -> Path:
    """`write_onnx` of a net of the course: "mnist" or "cifar10" fixes shape, classes, mean, std."""
    return write_onnx(net, SOURCES[data], SHAPES[data], path, **notes, data=data)


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
