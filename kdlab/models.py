"""Students and teachers by name: plain modules that know nothing about distillation.

`build("wrn-10-1")` gives a fresh net for 10 classes. Convolutional nets are `nn.Sequential`s of
named stages ("stage1", "stage2", ..., "flatten" for the embedding), so that `forward` finds what a
feature method needs without a change to the net.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


def mlp(
    hidden: int, classes: int = 10, dropout: Sequence[float] = (0.0, 0.0), inputs: int = 784
) -> nn.Module:
    """784-h-h-K ReLU net of Hinton et al. 2015, section 3; dropout on (inputs, hidden units)."""
    net = nn.Sequential()
    net.pixels, net.drop0 = nn.Flatten(), nn.Dropout(dropout[0])  # no stage "flatten" to match
    net.linear1, net.relu1, net.drop1 = nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout[1])
    net.linear2, net.relu2, net.drop2 = nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout[1])
    net.head = nn.Linear(hidden, classes)
    return net


def conv_bn(inputs: int, outputs: int, stride: int = 1, pool: bool = False) -> nn.Sequential:
    """3x3 convolution, optional 2x2 max-pool, batch norm, ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    pooling = [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(conv, *pooling, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def with_head(net: nn.Sequential, width: int, classes: int) -> nn.Sequential:
    """The stages, global average pool and a linear classifier."""
    net.pool, net.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net.head = nn.Linear(width, classes)
    return net


def cnn3(width: int, classes: int = 10, channels: int = 3) -> nn.Module:
    """Three 3x3 convolutions of stride 2, widths w, 2w, 4w: the cheapest useful student."""
    net = nn.Sequential()
    for i, (inputs, outputs) in enumerate(pairwise((channels, width, 2 * width, 4 * width)), 1):
        net.add_module(f"stage{i}", conv_bn(inputs, outputs, stride=2))
    return with_head(net, 4 * width, classes)


def cnn3_wide_head(width: int, hidden: int, classes: int = 10) -> nn.Module:
    """The stages of `cnn3` and a hidden layer on all their 4 x 4 outputs in place of the pooling.

    Most of its weights are in the linear layer, where a weight costs one multiply-add an image.
    """
    net = cnn3(width)[:3]
    linear = nn.Linear(4 * width * 16, hidden, bias=False)
    net.hidden = nn.Sequential(nn.Flatten(), linear, nn.BatchNorm1d(hidden), nn.ReLU())
    net.flatten, net.head = nn.Identity(), nn.Linear(hidden, classes)
    return net


def cnn3_embedding(width: int, size: int, classes: int = 10) -> nn.Module:
    """`cnn3` with a linear layer to `size` numbers in front of its head: a short embedding."""
    net = cnn3(width)
    net.flatten = nn.Sequential(nn.Flatten(), nn.Linear(4 * width, size))
    net.head = nn.Linear(size, classes)
    return net


def cnn7(width: int, classes: int = 10) -> nn.Module:
    """Stem and three stages of two convolutions, widths w, 4w, 4w, in the spirit of airbench.

    Few, wide layers: much accuracy per second on a CPU. `width` sets the rung of the ladder.
    """
    net = nn.Sequential()
    net.stem = conv_bn(3, width)
    for i, (inputs, outputs) in enumerate(pairwise((width, width, 4 * width, 4 * width)), 1):
        first, second = conv_bn(inputs, outputs, pool=True), conv_bn(outputs, outputs)
        net.add_module(f"stage{i}", nn.Sequential(first, second))
    return with_head(net, 4 * width, classes)


class Residual(nn.Module):
    """Pre-activation block of He et al. 2016 / Zagoruyko & Komodakis 2016 (wide ResNets)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(out)
        return skip + self.conv2(F.relu(self.bn2(self.conv1(out))))


def wrn(depth: int, width: int, classes: int = 10, stem_stride: int = 1) -> nn.Module:
    """Wide ResNet WRN-depth-width in its CIFAR form, depth = 6n + 4 (WRN-10-1: 78 k parameters).

    `stem_stride=2` halves the resolution at once: the same parameters at a quarter of the cost.
    """
    if (depth - 4) % 6:
        raise ValueError(f"the depth of a wide ResNet is 6n + 4, got {depth}")
    net = nn.Sequential()
    net.stem = nn.Conv2d(3, 16, 3, stem_stride, padding=1, bias=False)
    for i, (inputs, outputs) in enumerate(pairwise((16, 16 * width, 32 * width, 64 * width)), 1):
        blocks = [Residual(inputs, outputs, stride=1 if i == 1 else 2)]
        blocks += [Residual(outputs, outputs, 1) for _ in range((depth - 4) // 6 - 1)]
        net.add_module(f"stage{i}", nn.Sequential(*blocks))
    net.norm = nn.Sequential(nn.BatchNorm2d(64 * width), nn.ReLU(inplace=True))
    return with_head(net, 64 * width, classes)


class RowReader(nn.Module):
    """A bidirectional GRU that reads an image row by row, [B, C, H, W] as H steps of C * W values;
    the embedding is the mean over the steps. With `conv_stem` it reads the 8 x 8 map of two
    convolutions of stride 2 instead, as text recognisers do (CRNN, Shi et al. 2016).
    """

    def __init__(self, hidden: int, classes: int = 10, conv_stem: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 16, 2), conv_bn(16, 32, 2)) if conv_stem else None
        step = 32 * 8 if conv_stem else 3 * 32
        self.rows = nn.GRU(step, hidden, batch_first=True, bidirectional=True)
        self.flatten, self.head = nn.Identity(), nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) if self.stem else x
        steps = x.permute(0, 2, 1, 3).flatten(2)
        return self.head(self.flatten(self.rows(steps)[0].mean(dim=1)))


class Attention(nn.Module):
    """Multi-head self-attention over tokens [B, N, D] (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(dim=-1)  # [B, heads, N, N]
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    """Pre-norm Transformer block: attention, then a two-layer net on each token, both residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        wide, narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.mlp = nn.Sequential(wide, nn.GELU(), narrow)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """A small vision Transformer (Dosovitskiy et al. 2021) on 4 x 4 = 16 tokens of a 32 x 32 image;
    the embedding is the mean over the tokens. `conv_stem` cuts the tokens out with three
    convolutions of stride 2 (Xiao et al. 2021) in place of one 8 x 8 patch projection.
    """

    def __init__(self, width: int, depth: int, classes: int = 10, conv_stem: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 8, stride=8)
        if conv_stem:
            narrow, wide = width // 4, width // 2
            last = nn.Conv2d(wide, width, 3, stride=2, padding=1)
            self.stem = nn.Sequential(conv_bn(3, narrow, 2), conv_bn(narrow, wide, 2), last)
        self.places = nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.Sequential(*(Encoder(width, heads=4) for _ in range(depth)))
        self.norm, self.flatten = nn.LayerNorm(width), nn.Identity()
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.flatten(self.norm(self.blocks(tokens)).mean(dim=1)))


class TokenVit(Vit):
    """`Vit` read by two learnt tokens with a head each, not by the mean: logits [B, K], the mean of
    the heads. With `apart`, in training both heads' [2, B, K]; the second is that of the
    distillation token (Touvron et al. 2021, DeiT).
    """

    def __init__(self, width: int, depth: int, classes: int = 10, apart: bool = False) -> None:
        super().__init__(width, depth, classes)
        self.apart, self.tokens = apart, nn.Parameter(0.02 * torch.randn(2, width))
        self.head = nn.ModuleList(nn.Linear(width, classes) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.stem(x).flatten(2).transpose(1, 2) + self.places
        both = torch.cat([self.tokens.expand_as(patches[:, :2]), patches], dim=1)
        tokens = self.norm(self.blocks(both))
        logits = torch.stack([head(tokens[:, i]) for i, head in enumerate(self.head)])
        return logits if self.apart and self.training else logits.mean(dim=0)


class FewBits(nn.Module):
    """A net whose weight matrices and kernels are rounded whenever they are used: `rounded`."""

    def __init__(self, net: str, bits: int, classes: int = 10) -> None:
        super().__init__()
        self.net, self.bits = build(net, classes), bits

    def forward(self, x: Tensor) -> Tensor:
        weights = dict(self.net.named_parameters())
        coarse = {name: rounded(w, self.bits) for name, w in weights.items() if w.ndim > 1}
        return functional_call(self.net, coarse, (x,))


def rounded(weight: Tensor, bits: int) -> Tensor:
    """A weight [O, ...] on a symmetric grid of 2^bits - 1 values, up to the largest of each output
    channel, with the gradient of no rounding (straight-through, Bengio et al. 2013)."""
    largest = weight.detach().abs().flatten(1).amax(dim=1).clamp(min=1e-30)  # 0 stays 0, not 0 / 0
    step = (largest / (2 ** (bits - 1) - 1)).view(-1, *[1] * (weight.ndim - 1))
    return weight + ((weight / step).round() * step - weight).detach()


class Peers(nn.Module):
    """Students that learn together: images -> logits [P, B, K]. One of them is deployed."""

    def __init__(self, *nets: nn.Module) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([net(images) for net in self.nets])


class OwnNormalisation(nn.Module):
    """A net that was trained with a mean and std of its own, on images [B, C, H, W] normalised with
    others, those of the data; both per channel, on the 0..1 scale. Its stages keep their names."""

    def __init__(
        self,
        net: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        data_mean: Sequence[float],
        data_std: Sequence[float],
    ) -> None:
        super().__init__()
        own, data = torch.tensor((mean, std)), torch.tensor((data_mean, data_std))
        self.net = net
        self.register_buffer("scale", (data[1] / own[1]).view(1, -1, 1, 1))
        self.register_buffer("shift", ((data[0] - own[0]) / own[1]).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images * self.scale + self.shift)

    def get_submodule(self, name: str) -> nn.Module:
        return self.net.get_submodule(name)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp-1200": partial(mlp, 1200, dropout=(0.2, 0.5)),
    **{f"mlp-{hidden}": partial(mlp, hidden) for hidden in (800, 30)},
    **{f"cnn3-{w}": partial(cnn3, w) for w in (8, 16, 32)},
    "cnn3-16-grey": partial(cnn3, 16, channels=1),  # for MNIST
    "cnn3-16-h52": partial(cnn3_wide_head, 16, 52),  # 78 k weights, as WRN-10-1 has
    "cnn3-16-e16": partial(cnn3_embedding, 16, 16),
    **{f"cnn7-{w}": partial(cnn7, w) for w in (8, 16, 32, 64)},
    **{f"wrn-{d}-{w}": partial(wrn, d, w) for d, w in ((10, 1), (16, 1), (16, 2), (40, 2))},
    "wrn-10-1-s2": partial(wrn, 10, 1, stem_stride=2),
    **{f"gru-{hidden}": partial(RowReader, hidden) for hidden in (128, 64)},
    "gru-64-conv": partial(RowReader, 64, conv_stem=True),
    "rgb-mlp-128": partial(mlp, 128, inputs=3 * 32 * 32),
    "vit-64": partial(Vit, 64, 2),
    "vit-64-conv": partial(Vit, 64, 2, conv_stem=True),
    "vit-64-tokens": partial(TokenVit, 64, 2),
    "vit-64-apart": partial(TokenVit, 64, 2, apart=True),
    **{f"cnn3-16-{bits}bit": partial(FewBits, "cnn3-16", bits) for bits in (4, 2)},
}


@cache
def has_fast_bf16(device: str = "cpu") -> bool:
    """True where bfloat16 has its own instructions: elsewhere it is slower than float32.

    KDLAB_BFLOAT16=off answers False everywhere, so that one machine can show both arithmetics.
    """
    if os.environ.get("KDLAB_BFLOAT16") == "off":
        return False
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def autocast(device: str = "cpu") -> AbstractContextManager:
    """bfloat16 matrix products where they pay, plain float32 elsewhere."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=has_fast_bf16(kind))


def arithmetic(device: str = "cpu") -> str:
    """What nets compute in under `autocast`: "cpu bfloat16", "cpu float32", "cuda bfloat16"..."""
    kind = torch.device(device).type
    return f"{kind} {'bfloat16' if has_fast_bf16(kind) else 'float32'}"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A net in eval mode for a while, then as it was."""
    mode = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(mode)


@torch.no_grad()
def feature_shapes(
    model: nn.Module, shape: Sequence[int], stages: Sequence[str]
) -> list[torch.Size]:
    """The shape of each stage's output without the batch; `shape` is one image's, [C, H, W]."""
    nothing = torch.zeros(1, *shape, device=next(model.parameters()).device)
    with evaluating(model):
        features = forward(model, nothing, stages)[1]
    return [features[stage].shape[1:] for stage in stages]


def forward(
    model: nn.Module, images: Tensor, stages: Sequence[str] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The model's output and those of its named stages; AttributeError for one that is not there.

    Hooks, not torchvision's `create_feature_extractor`: they need no second module whose train and
    eval modes have to follow the first one's.
    """
    seen: dict[str, Tensor] = {}

    def keep(stage: str, module: nn.Module, given: tuple, output: Tensor) -> None:
        seen[stage] = output

    with ExitStack() as hooks:
        for stage in stages:
            module = model.get_submodule(stage)
            hooks.enter_context(module.register_forward_hook(partial(keep, stage)))
        return model(images), seen


def build(name: str, classes: int = 10) -> nn.Module:
    """A freshly initialised net; set `torch.manual_seed` before. ValueError lists the names."""
    if name not in MODELS:
        raise ValueError(f"no model {name!r}: there are {', '.join(MODELS)}")
    return MODELS[name](classes=classes)
