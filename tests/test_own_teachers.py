"""Teachers from anywhere: opened, refused in one sentence, asked at their own size."""

import numpy as np
import pytest
import torch
from PIL import Image

from kdlab.apps.distil.sources import SourceError
from kdlab.apps.distil.teachers import ask, open_teacher
from kdlab.data import load, select
from kdlab.metrics import predict
from kdlab.teachers import load_teacher

HOW = {"size": 16, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}
CODE = """
import torch
from torch import nn
def make_model():
    torch.manual_seed(0)
    net = nn.Sequential()
    net.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    net.flat, net.head = nn.Flatten(), nn.Linear(4, 5)
    return net
def like_timm():
    net = make_model()
    net.pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    return net
class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = make_model()
    def forward(self, images):
        return {"loss": None, "logits": self.net(images)}
def several():
    return Several()
def nothing():
    return 7
"""


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    return file


@pytest.fixture
def photos(tmp_path):
    """Forty small PNGs; the batch of the teacher is 32."""
    paths = []
    for k in range(40):
        levels = np.random.default_rng(k).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(levels).save(tmp_path / f"{k:02}.png")
        paths.append(tmp_path / f"{k:02}.png")
    return paths


def by_hand(net, paths):
    images = torch.stack(
        [torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1) for p in paths]
    )
    mean, std = (torch.tensor(HOW[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        return net.eval()((images / 255 - mean) / std)


def made(file, name="make_model"):
    space = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    return space[name]()


def test_a_module_of_a_file_is_asked_with_its_own_mean_and_std(mine, photos):
    teacher, steps = open_teacher(f"{mine}:make_model", **HOW), []
    answers = ask(teacher, photos, progress=lambda done, total: steps.append((done, total)))
    assert torch.allclose(answers, by_hand(made(mine), photos), atol=0.02)  # bfloat16, perhaps
    assert steps == [(32, 40), (40, 40)]
    several = ask(open_teacher(f"{mine}:several", **HOW), photos)
    assert torch.equal(several, answers)


def test_a_stage_gives_features(mine, photos):
    features = ask(open_teacher(f"{mine}:make_model", stage="flat", **HOW), photos[:3])
    net = made(mine)
    assert torch.allclose(features, by_hand(net[:2], photos[:3]), atol=0.02)


def test_onnx_and_exported_files_answer_as_the_net_does(mine, photos, tmp_path):
    net, batch = made(mine).eval(), {0: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        net,
        torch.zeros(2, 3, 16, 16),
        tmp_path / "net.onnx",
        dynamo=False,
        dynamic_axes={"images": {0: "n"}},
        input_names=["images"],
    )
    exported = torch.export.export(net, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=(batch,))
    torch.export.save(exported, tmp_path / "net.pt2")
    expected = by_hand(net, photos)
    for name in ("net.onnx", "net.pt2"):
        answers = ask(open_teacher(str(tmp_path / name), **HOW), photos)
        assert torch.allclose(answers, expected, atol=0.02)


def test_a_net_of_timm_says_how_it_was_trained(mine):
    teacher = open_teacher(f"{mine}:like_timm")
    assert (teacher.size, teacher.mean) == (16, (0.5,) * 3)
    assert open_teacher(f"{mine}:like_timm", size=32).size == 32


def test_a_teacher_of_the_course_by_its_name(tmp_path):
    name, data = "cifar10-cnn7-16", select(load("cifar10-10k", "test"), torch.arange(20))
    paths = []
    for k, image in enumerate(data.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{k}.png")
        paths.append(tmp_path / f"{k}.png")
    answers = ask(open_teacher(name), paths)
    assert (answers.argmax(1) == predict(load_teacher(name), data).argmax(1)).float().mean() > 0.9
    grey = ask(open_teacher("mnist-mlp-1200"), paths[:2])
    assert grey.shape == (2, 10)


def test_another_way_to_ask_has_another_digest(mine):
    ways = [
        {},
        {"size": 32},
        {"mean": (0.5, 0.4, 0.2)},
        {"std": (0.2, 0.25, 0.2)},
        {"stage": "flat"},
    ]
    assert len({open_teacher(f"{mine}:make_model", **HOW | way).digest for way in ways}) == 5


@pytest.mark.parametrize(("source", "options", "message"), [
    ("{mine}:make_model", {}, "the size that .* is not known: say it with --teacher-size"),
    ("{mine}:make_model", {"size": 16}, "the mean that"),
    ("{mine}:make_model", {"size": 16, "mean": HOW["mean"]}, "the std that"),
    ("{mine}:other", HOW, "has no function 'other'"),
    ("{mine}:nothing", HOW, "gave int, no torch.nn.Module"),
    ("{mine}:make_model", HOW | {"stage": "layer4"}, "no submodule 'layer4'; .* body, flat, head"),
    ("nowhere.py:make", HOW, "there is no file nowhere.py"),
    ("nowhere.onnx", HOW, "there is no file nowhere.onnx"),
    ("{mine}.onnx", HOW, "can't be opened"),
    ("{mine}.onnx", HOW | {"stage": "x"}, "has no submodules to name"),
    ("torchvision:resnet19", HOW, "torchvision has no model 'resnet19'"),
    ("resnet18", HOW, "no teacher 'resnet18': name file.py:function, .* cifar10-cnn7-16"),
])  # fmt: skip
def test_what_can_not_be_asked_is_one_sentence(mine, source, options, message):
    mine.with_name("mine.py.onnx").write_bytes(b"no model")
    with pytest.raises(SourceError, match=message) as caught:
        open_teacher(source.format(mine=mine), **options)
    assert "\n" not in str(caught.value)
