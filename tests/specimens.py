"""A panel of each kind on a few images, and what else several tests draw; `bundle` opens one."""

import torch

from kdlab.apps.chapters import panels
from kdlab.data import Images

CLASSES = tuple("0123456789")
MODELS = {"teacher": (8_000_000, "teacher"), "student": (100_000, "distilled")}
CURVE = {100: [20.0, 24.0], 1000: [45.0, 47.0], 10_000: [66.0, 66.0]}
BLANK = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)


def logits(seed, n=4):
    return 4 * torch.randn(n, 10, generator=torch.Generator().manual_seed(seed))


def temperature_panel(n=4):
    images = torch.zeros(n, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 8:20, 12:16] = 200
    return panels.temperature_panel(images, torch.arange(n), logits(0, n), logits(1, n), CLASSES)


def ladder_panel(n=4):
    teachers = {"small": logits(0), "large": 3 * logits(0)}
    return panels.ladder_panel(BLANK[:n], torch.arange(4), teachers, logits(1), CLASSES)


def objective_panel(n=4):
    return panels.objective_panel(logits(1, n), logits(0, n), torch.arange(n), CLASSES)


def attacks(n=4, levels=(0, 4, 8)):
    """A small net in each role under attack, and its images."""
    torch.manual_seed(0)
    shown = torch.randint(256, (n, 3, 8, 8), dtype=torch.uint8)
    data = Images(shown, torch.arange(n), torch.arange(n), "none", CLASSES, (0.5,) * 3, (0.25,) * 3)
    layers = torch.nn.Linear(3 * 8 * 8, 10), torch.nn.Linear(3 * 8 * 8, 10)
    nets = (torch.nn.Sequential(torch.nn.Flatten(), layer) for layer in layers)
    found = [panels.under_attack(net, data, levels) for net in nets]
    return dict(zip(("student", "teacher"), found, strict=True)), data


def robustness_panel(n=4):
    nets, data = attacks()
    return panels.robustness_panel(nets, data.labels[:n], CLASSES)


def pair_scores():
    """Similarities of 50 pairs of one class and of 80 of two."""
    draw = torch.Generator().manual_seed(0)
    return torch.rand(50, generator=draw), torch.rand(80, generator=draw) - 0.5


def verification_panel(n=6):
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(256, (6, 2, 3, 32, 32), generator=draw, dtype=torch.uint8)
    curves = {"teacher: net": ([0.01, 0.1, 1.0], [0.2, 0.6, 1.0])}
    shown, same = torch.linspace(-0.4, 0.6, 6), torch.arange(n) % 2 == 0
    return panels.verification_panel(*pair_scores(), curves, images, shown, same)


def few_labels(free=(60.0, 62.0), shift=0):
    """A kind's runs: labels alone, a teacher of these labels (4 points more), one of 50,000."""
    curve = {n: [a + shift for a in v] for n, v in CURVE.items()}
    own = {n: [a + 4 for a in v] for n, v in curve.items()}
    return {"labels": curve, "own": own, "free": dict.fromkeys(CURVE, list(free))}


def few_labels_panel():
    return panels.few_labels_panel({"CNN": few_labels(), "MLP": few_labels([50.0, 50.0], -10)})


def acceptance_panel(n=4):
    drafts = {"labels": logits(1), "distilled": logits(0) + 0.5 * logits(2)}
    return panels.acceptance_panel(BLANK[:n], torch.arange(4), logits(0), drafts, CLASSES)


PANELS = {
    "temperature": temperature_panel,
    "ladder": ladder_panel,
    "objective": objective_panel,
    "few_labels": few_labels_panel,
    "downloads": lambda: panels.download_panel(MODELS),
    "robustness": robustness_panel,
    "verification": verification_panel,
    "advice": panels.advice_panel,
    "acceptance": acceptance_panel,
}


def bundle(panel):
    return panel._repr_mimebundle_()[0][panels.MIME]
