"""For whoever asks what kdlab saves: a well-known tutorial's plain loop and `fit`, side by side.

The work is that of PyTorch's "Knowledge Distillation Tutorial" (nets, loss weights, optimiser,
batch size, epochs; no augmentation), on the 10,000 embedded CIFAR-10 images. kdlab keeps tensors
in memory, asks the teacher once an image, and uses bfloat16 where the processor has it.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import Module
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from kdlab.data import Images, load, select
from kdlab.files import atomically, cache_dir
from kdlab.lab import results, stats
from kdlab.lab.hardware import peak_memory
from kdlab.logit_cache import cache_logits
from kdlab.methods import distil, labels_only
from kdlab.metrics import accuracy, predict
from kdlab.teachers import freeze
from kdlab.training import Optimizer, fit

TEMPERATURE, SOFT, HARD, RATE, BATCH = 2.0, 0.25, 0.75, 1e-3, 128
ADAM = Optimizer("adam", RATE, weight_decay=0.0)


def conv_net(widths: tuple[int, ...], pools: tuple[int, ...], hidden: int) -> Module:
    """3x3 convolutions of these widths, two 2x2 max-pools after some of them, one hidden layer."""
    layers = []
    for i, (inputs, outputs) in enumerate(zip((3, *widths), widths, strict=False)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i in pools else []
    layers += [nn.Flatten(), nn.Linear(outputs * 8 * 8, hidden), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Linear(hidden, 10))


def big_net() -> Module:
    """The tutorial's teacher, 1,186,986 parameters."""
    return conv_net((128, 64, 64, 32), pools=(1, 3), hidden=512)


def small_net() -> Module:
    """The tutorial's student, 267,738 parameters."""
    return conv_net((16, 16), pools=(0, 1), hidden=256)


class Pictures(Dataset):
    """Labelled images as torchvision's own data sets hand them out: PIL pictures, one by one."""

    def __init__(self, data: Images) -> None:
        self.pixels = data.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = data.labels.tolist()
        steps = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[i])), self.labels[i]


def plain_side(student: Module, teacher: Module, data: Images, epochs: int, seed: int) -> None:
    """The loop that a learner would copy: a DataLoader, and the teacher asked in each step."""
    loader = DataLoader(Pictures(data), BATCH, shuffle=True, num_workers=2)
    optimizer = torch.optim.Adam(student.parameters(), lr=RATE)
    teacher.eval()
    student.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            with torch.no_grad():
                teacher_logits = teacher(images)
            logits = student(images)
            soft_targets = F.softmax(teacher_logits / TEMPERATURE, dim=-1)
            soft_prob = F.log_softmax(logits / TEMPERATURE, dim=-1)
            soft_loss = F.kl_div(soft_prob, soft_targets, reduction="batchmean") * TEMPERATURE**2
            loss = SOFT * soft_loss + HARD * F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()


def kdlab_side(student: Module, teacher: Module, data: Images, epochs: int, seed: int) -> None:
    """The same in kdlab; what was asked before is not kept, so the answers are paid for here."""
    logits, loss = cache_logits(teacher, data, keep=False), distil(TEMPERATURE, SOFT, HARD)
    adam = replace(ADAM, schedule="constant")
    fit(student, data, loss, teacher=logits, epochs=epochs, seed=seed, optimizer=adam)


SIDES = {"plain loop": plain_side, "kdlab": kdlab_side}


def train_shared_teacher(path: Path, images: int, epochs: int) -> None:
    """The teacher of both sides, trained on the same images; not part of what is measured."""
    torch.manual_seed(0)
    teacher = big_net()
    data = select(load("cifar10-10k"), torch.arange(images))
    fit(teacher, data, labels_only, epochs=epochs, optimizer=ADAM)
    atomically(path, partial(save_model, teacher))


def measure(side: str, path: Path, images: int, epochs: int, seed: int) -> dict:
    """One training of one side: seconds, images a second, peak memory (MB), test accuracy (%)."""
    data = select(load("cifar10-10k"), torch.arange(images))
    teacher = big_net()
    load_model(teacher, path)
    torch.manual_seed(seed)
    student = small_net()
    start = time.perf_counter()
    SIDES[side](student, freeze(teacher), data, epochs, seed)
    seconds = time.perf_counter() - start
    peak, test = peak_memory(), load("cifar10-10k", "test")
    return {
        "arm": side,
        "seed": seed,
        "seconds": round(seconds, 2),
        "accuracy": round(accuracy(predict(student, test), test.labels), 2),
        "images/s": round(epochs * images / seconds),
        "peak MB": peak,
    }


def in_fresh_process(function: Callable, *arguments: object) -> object:
    """The function's result, from a process of its own: no thread pool, cache or peak is shared."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def run_bench(*, epochs: int = 10, seeds: int = 1, images: int = 10_000, record=False) -> dict:
    """Run both sides with each seed and print the table; `record` keeps it in data/results."""
    path = cache_dir() / "bench" / f"teacher-{images}.safetensors"
    if not path.is_file():
        print(f"training the teacher that both sides ask (once; kept in {path})", flush=True)
        in_fresh_process(train_shared_teacher, path, images, 5)
    runs = []
    for seed, side in product(range(seeds), SIDES):
        run = in_fresh_process(measure, side, path, images, epochs, seed)
        print(f"{side}, seed {seed}: {run['seconds']:.1f} s, {run['accuracy']:.2f}%")
        runs.append(run)
    print("\n" + compare_sides(runs), flush=True)
    loss = {"temperature": TEMPERATURE, "soft": SOFT, "hard": HARD}
    steps = {"optimizer": ADAM.name, "lr": RATE, "weight_decay": 0.0, "batch_size": BATCH}
    result = {
        "name": "bench",
        "title": f"{epochs} epochs of the tutorial's distillation on {images:,} CIFAR-10 images",
        **results.stamp(f"bench --epochs {epochs} --seeds {seeds}"),
        "settings": {"epochs": epochs, "images": images, **loss, **steps},
        "runs": runs,
    }
    if record:
        results.write(result)
    return result


def compare_sides(runs: list[dict]) -> str:
    """Both sides and their ratio, medians over the seeds, and what to make of the accuracies."""
    medians = pd.DataFrame(runs).groupby("arm").median().drop(columns="seed").T[list(SIDES)]
    medians["ratio"] = medians["plain loop"] / medians["kdlab"]
    gap, share = stats.difference(runs, "kdlab", over="plain loop"), medians["kdlab"]["accuracy"]
    if gap:
        noise = f"kdlab's accuracy minus the plain loop's, over {gap.pairs} seeds: "
        noise += f"{gap.mean:+.2f} points, 95% interval {gap.low:+.2f} to {gap.high:+.2f}"
    else:
        points = 1.96 * math.sqrt(2 * share * (100 - share) / 10_000)
        noise = f"one seed: less than {points:.1f} points is noise of the test images alone"
    workers = "memory: without the plain loop's two loader processes"
    return f"{medians.round(2).to_string()}\n{noise}\n{workers}"
