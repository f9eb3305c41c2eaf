"""Toy images, nets and configs that several test files train."""

from dataclasses import replace

import torch
from torch import nn

from kdlab.data import Images, augment, normalise
from kdlab.lab.configs import Config
from kdlab.methods import distil, labels_only
from kdlab.training import Optimizer, fit

TINY = Config(  # 200 images, one epoch: real data and a real teacher, in a second
    "mlp-30", "mnist", 1, optimizer="adam", lr=1e-3, hold_out=59_800, batch_size=50
)
ALONE = {"soft_weight": 1.0, "hard_weight": 0.0}  # no label is looked at
TAUGHT = replace(TINY, teacher="mnist-mlp-1200", temperature=20.0, **ALONE)


def images(n=30, seed=0, side=8, classes=4, channels=3):
    """Noise with labels, in an order and with gaps that only the index knows."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, channels, side, side), generator=generator).byte()
    labels = torch.randint(classes, (n,), generator=generator)
    index, half = torch.randperm(10 * n, generator=generator)[:n], (0.5,) * channels
    return Images(pixels, labels, index, "noise/train", tuple("abcdefghij"[:classes]), half, half)


def net(seed=0, dropout=0.3):
    torch.manual_seed(seed)
    stage = nn.Conv2d(3, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU()
    return nn.Sequential(*stage, nn.Flatten(), nn.Dropout(dropout), nn.Linear(6 * 9, 4))


def sharp_teacher():
    """A net whose answers to two images, or to two views of one, are far apart."""
    teacher = net(seed=1)
    with torch.no_grad():
        teacher[-1].weight.mul_(20)
    return teacher.eval()


def state(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(v, other[k]) for k, v in one.items())


def train(student, objective=labels_only, data=None, optimizer="sgd", lr=0.05, **options):
    descent = Optimizer(optimizer, lr, schedule=options.pop("schedule", "one-cycle"))
    options = {"epochs": 3, "batch_size": 8, "optimizer": descent} | options
    return [row["loss"] for row in fit(student, data or images(), objective, **options)]


def watched(look, objective=labels_only):
    """An objective, and the list of what `look` finds in its batches."""
    seen = []

    def spy(logits, batch):
        seen.append(look(batch))
        return objective(logits, batch)

    return spy, seen


KD = distil(4.0, soft_weight=0.9, hard_weight=0.1)


class Spy:
    """An objective that works out again what it should have been handed."""

    def __init__(self, data, teacher, views, view_seed):
        self.data, self.teacher, self.views, self.view_seed = data, teacher, views, view_seed
        self.place = {int(i): n for n, i in enumerate(data.index)}
        self.seen, self.gap = {}, 0.0  # epoch -> index; the largest error of an answer

    def __call__(self, logits, batch):
        places = torch.tensor([self.place[int(i)] for i in batch.index])
        drawn = {"epoch": batch.epoch, "seed": self.view_seed}
        view = augment(self.data.images[places], batch.index, self.views, **drawn)
        assert torch.equal(batch.images, normalise(view, self.data))
        assert torch.equal(batch.labels, self.data.labels[places])
        with torch.no_grad():
            truth = self.teacher(batch.images)
        self.gap = max(self.gap, float((truth - batch.teacher_logits).abs().max()))
        self.seen.setdefault(batch.epoch, []).extend(batch.index.tolist())
        return KD(logits, batch)
