"""kdlab.robust: attacks against a closed form, by the box, and against torchattacks."""

import importlib.util
import sys
import types
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms import Normalize
from toys import same, state

from kdlab import robust
from kdlab.data import Images
from kdlab.losses import soft_target_loss
from kdlab.methods import Batch, objective
from kdlab.metrics import accuracy, predict
from kdlab.models import build
from kdlab.robust import EPSILON, adversarial_logits, attack, pgd, robust_accuracy
from kdlab.training import Optimizer, fit

ATTACKED = ["adversarial training", "ARD", "RSLAD"]
pytestmark = pytest.mark.usefixtures("exact")  # no gradient's sign hangs on the processor


def faint(n=256, seed=0):
    """Four classes, each a faint pattern in noise: easy to learn, easy to attack."""
    generator = torch.Generator().manual_seed(42)
    patterns = 14 * torch.randn(4, 3, 4, 4, generator=generator).repeat_interleave(4, 2)
    generator.manual_seed(seed)
    labels = torch.randint(4, (n,), generator=generator)
    noise = 25 * torch.randn(n, 3, 16, 16, generator=generator)
    pixels = (128 + patterns.repeat_interleave(4, 3)[labels] + noise).clamp(0, 255).byte()
    numbers = torch.arange(n)
    return Images(pixels, labels, numbers, "faint/train", tuple("abcd"), (0.5,) * 3, (0.25,) * 3)


def trained(method="", teacher=None, n=256, epochs=4):
    torch.manual_seed(0)
    student, data = build("cnn3-16", 4), faint(n)
    goal = objective(
        method, data=data, hard_weight=float(not method), student=student, teacher=teacher
    )
    options = {"epochs": epochs, "batch_size": 32, "optimizer": Optimizer(lr=0.05)}
    fit(student, data, goal, teacher=teacher, **options)
    student.zero_grad(set_to_none=True)
    return student


@cache
def ready(method=""):
    """Trained once, in eval mode; ARD's and RSLAD's teacher is the adversarially trained one."""
    return trained(method, ready(ATTACKED[0]) if method in ATTACKED[1:] else None).eval()


JUDGED = faint(200, seed=1)
PIXELS = JUDGED.images / 255


def against(labels):
    """The loss that a plain attack raises."""
    return partial(F.cross_entropy, target=labels)


def linear(seed=0):
    """A linear net of two classes, pixels, labels, and where its worst case lies: a corner."""
    generator = torch.Generator().manual_seed(seed)
    weight = 0.1 * torch.randn(2, 12, generator=generator)
    pixels = torch.rand(5, 3, 2, 2, generator=generator)
    labels = torch.randint(2, (5,), generator=generator)
    away = (weight[1 - labels] - weight[labels]).view_as(pixels).sign()
    return lambda x: x.flatten(1) @ weight.T, pixels, labels, away


@pytest.mark.parametrize("options", [
    {"random_start": True}, {"random_start": False},
    {"random_start": False, "steps": 1},  # the fast gradient sign method
])  # fmt: skip
@pytest.mark.parametrize("epsilon", [0.0, EPSILON, 0.3])
def test_a_linear_net_falls_to_its_worst_case(epsilon, options):
    net, pixels, labels, away = linear()
    found = pgd(net, pixels, against(labels), epsilon=epsilon, **options)
    assert torch.allclose(found, (pixels + epsilon * away).clamp(0, 1), atol=1e-7)
    one = {"steps": 1, "step_size": epsilon / 2, "random_start": False}
    half = pgd(net, pixels, against(labels), epsilon=epsilon, **one)
    assert torch.allclose(half, (pixels + epsilon / 2 * away).clamp(0, 1), atol=1e-7)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.fixed_dictionaries({
    "epsilon": st.floats(0, 1), "steps": st.integers(1, 5), "step_size": st.floats(0, 2),
    "random_start": st.booleans(),
}))  # fmt: skip
def test_what_is_found_stays_in_the_box(seed, options):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3))
    pixels = torch.rand(4, 3, 5, 5).round(decimals=1)
    kept = pixels.clone()
    found = pgd(net, pixels, lambda z: z.square().sum(), **options)
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    assert float((found - pixels).abs().max()) <= options["epsilon"] + 1e-7
    assert torch.equal(pixels, kept) and not found.requires_grad
    assert all(w.grad is None for w in net.parameters())


@pytest.fixture
def torchattacks(monkeypatch):
    """Its PGD alone: the package as a whole would import scipy for other attacks."""
    found = importlib.util.find_spec("torchattacks")
    if found is None:
        pytest.skip("the independent attack: pip install --no-deps torchattacks==3.5.1")
    bare = types.ModuleType("torchattacks")
    bare.__path__ = found.submodule_search_locations
    monkeypatch.setitem(sys.modules, "torchattacks", bare)
    return importlib.import_module("torchattacks.attacks.pgd")


@pytest.mark.parametrize("steps", [1, 10])
def test_torchattacks_finds_the_same_images(torchattacks, steps):
    net = nn.Sequential(Normalize(JUDGED.mean, JUDGED.std), ready()).eval()
    theirs = torchattacks.PGD(net, EPSILON, 2.5 * EPSILON / steps, steps, random_start=False)
    gaps = attack(ready(), JUDGED, steps=steps, random_start=False) - theirs(PIXELS, JUDGED.labels)
    assert float((gaps.abs() < 1e-6).float().mean()) > 0.999  # all but ties of a sign


def test_robust_accuracy_falls_with_epsilon():
    clean = accuracy(predict(ready(), JUDGED), JUDGED.labels)
    found = [robust_accuracy(ready(), JUDGED, epsilon=e / 255, steps=5) for e in (0, 1, 2, 4, 8)]
    assert found[0] == pytest.approx(clean) and clean > 90
    assert found == sorted(found, reverse=True) and found[-1] < 50


@pytest.mark.parametrize("training", [False, True])
def test_an_attack_leaves_the_net_as_it_was(training):
    model = ready()
    before = state(model)
    model.train(training)
    one, again, other = (attack(model, JUDGED, steps=2, seed=seed) for seed in (0, 0, 1))
    robust_accuracy(model, JUDGED, steps=1)
    assert all(m.training == training for m in model.modules())
    model.eval()
    assert same(before, state(model))
    assert all(w.grad is None and w.requires_grad for w in model.parameters())
    assert one.shape == PIXELS.shape and one.dtype == torch.float32
    assert float(one.sub(PIXELS).abs().max()) <= EPSILON + 1e-6
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_normalised_pixels_and_impossible_settings_are_refused():
    net, pixels, labels, _ = linear()
    for wrong in (pixels - 0.5, 255 * pixels, (pixels - 0.5) / 0.2):
        with pytest.raises(ValueError, match="pixels in 0..1.*normalised already"):
            pgd(net, wrong, against(labels))
    for options in ({"epsilon": -0.1}, {"steps": 0}):
        with pytest.raises(ValueError, match="epsilon >= 0 and steps >= 1"):
            pgd(net, pixels, against(labels), **options)
    pgd(net, pixels, against(labels), random_start=False)
    assert not pixels.requires_grad  # the caller's own


def test_attacks_are_made_in_eval_mode_and_answers_in_train_mode():
    student = trained(n=32, epochs=1).train()
    pixels, labels = PIXELS[:64], JUDGED.labels[:64]
    modes, counts = [], student.stage1[1].num_batches_tracked.clone()
    student.stage1.register_forward_pre_hook(lambda m, given: modes.append(m.training))
    logits = adversarial_logits(student, pixels, against(labels), JUDGED, steps=3)
    assert modes == [False] * 3 + [True] and all(m.training for m in student.modules())
    assert int(student.stage1[1].num_batches_tracked - counts) == 1
    assert all(w.grad is None for w in student.parameters())
    F.cross_entropy(logits, labels).backward()
    assert float(student.stage1[0].weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("method", ATTACKED)
def test_each_method_attacks_what_it_trains_on(method, monkeypatch):
    """ARD raises cross-entropy, RSLAD the KL to the clean teacher; both teach clean soft labels."""

    def fake(net, pixels, inner, given, **options):
        seen.update(pixels=pixels, inner=inner)
        return net(images + 0.1)

    monkeypatch.setattr(robust, "adversarial_logits", fake)
    data, seen, student = faint(32), {}, ready()
    images = (data.images / 255 - 0.5) / 0.25
    z, attacked = student(images), student(images + 0.1)
    v = z.detach() + torch.randn(4)
    batch = Batch(images, data.labels, data.index, 0, v, student=student)
    goal = objective(method, student=student, teacher=None, data=data, hard_weight=0.0)
    expected = {
        "adversarial training": F.cross_entropy(attacked, data.labels),
        "ARD": soft_target_loss(attacked, v, 30.0),
        "RSLAD": (5 * soft_target_loss(attacked, v, 1.0) + soft_target_loss(z, v, 1.0)) / 6,
    }[method]
    assert torch.allclose(goal(z, batch), expected)
    assert torch.allclose(seen["pixels"], data.images / 255, atol=1e-6)
    raised = soft_target_loss(z, v, 1.0) if method == "RSLAD" else F.cross_entropy(z, data.labels)
    assert torch.allclose(seen["inner"](z), raised)


@pytest.mark.parametrize("method", ATTACKED)
def test_training_on_attacks_makes_robust(method):
    plain, robust_one = (robust_accuracy(ready(m), JUDGED) for m in ("", method))
    assert robust_one > plain + 20
