"""The museum of distillation bugs (appendix A1): for each exhibit, the line that would have caught
it, asserted of `kdlab`. A test has the id of its exhibit's cell.
"""

import inspect
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from test_losses_methods import ENDS, difference, draw, slopes, torchdistill
from test_methods import OWN_WEIGHTS, run, teachers_for
from test_training import KD, Spy, images, net, sharp_teacher, train, watched

from kdlab import experiments, losses
from kdlab.data import CIFAR_VIEWS, NO_VIEWS, Views, normalise
from kdlab.metrics import predict
from kdlab.models import build
from kdlab.recipes import PAIR, PUPIL
from kdlab.teachers import answer, load_teacher, save_teacher
from kdlab.training import distil, fit, labels_only

T = 4.0
APPENDIX = Path(__file__).resolve().parents[1] / "notebooks" / "A1_museum.ipynb"


def pair(batch=12, classes=10):
    """Student logits, teacher logits and labels."""
    z, v = 3 * torch.randn(2, batch, classes, generator=torch.Generator().manual_seed(5))
    return z, v, torch.arange(batch) % classes


def slope(loss, student, *rest):
    """The value of a loss, and its gradient by the student."""
    leaf = student.clone().requires_grad_()
    value = loss(leaf, *rest)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


# ------------------------------------------------------------------------------ the wrong teacher


def test_roles_swapped():
    """keras-io #257: the student moves towards the teacher, and the teacher stays where it is."""
    data, teacher, student = images(64), sharp_teacher(), net(dropout=0.0)
    target, before = predict(teacher, data), predict(student, data)
    start = {k: w.detach().clone() for k, w in student.named_parameters()}
    train(student, distil(2.0), data, teacher=teacher, epochs=20, optimizer="adam", lr=1e-2)
    assert not any(torch.equal(w, start[k]) for k, w in student.named_parameters())
    assert torch.equal(predict(teacher, data), target)
    gaps = [losses.soft_target_loss(z, target, 2.0) for z in (before, predict(student, data))]
    assert gaps[1] < 0.5 * gaps[0]
    assert inspect.signature(fit).parameters["teacher"].kind is inspect.Parameter.KEYWORD_ONLY


def test_teacher_taught_itself():
    """labml #66: the soft term alone pulls the student, and nothing pulls the teacher."""
    z, v, _ = pair()
    target = v.clone().requires_grad_()
    value, gradient = slope(losses.soft_target_loss, z, target, T)
    assert value > 1 and float(gradient.norm(dim=1).min()) > 0.01
    losses.soft_target_loss(z.requires_grad_(), target, T).backward()
    assert target.grad is None


@pytest.mark.parametrize("views", [NO_VIEWS, CIFAR_VIEWS, Views(2, False, "constant")])
@pytest.mark.parametrize("cached", [False, True])
def test_answers_to_other_images(exact, views, cached):
    """haitongli #4, #23: in every epoch, for every view, the answer is the one to this image."""
    data, teacher = images(), sharp_teacher()
    spy, drawn = Spy(data, teacher, views, 7), {"views": views, "view_seed": 7}
    asked = answer(teacher, data, epochs=3, keep=False, **drawn) if cached else teacher
    train(net(), spy, data, teacher=asked, seed=3, **drawn)
    assert spy.gap < 0.02  # float16 of logits of a few tens
    spread = predict(teacher, data)
    assert float((spread - spread.roll(1, 0)).abs().amax(1).median()) > 1  # it could have failed
    assert sorted(spy.seen) == [0, 1, 2]
    assert all(sorted(s) == sorted(data.index.tolist()) for s in spy.seen.values())


def test_random_head(tmp_path, monkeypatch):
    """Transformers #25182: a head that does not fit is refused, not drawn anew."""
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path))
    save_teacher("four-classes", build("cnn7-8", classes=4), {"model": "cnn7-8"})
    with pytest.raises(ValueError, match="size mismatch|damaged"):
        load_teacher("four-classes")


def test_teacher_in_train_mode(exact):
    """yolov5 scripts: `fit` freezes the teacher; an answer is the same alone and in company."""
    data, teacher = images(), sharp_teacher().train()
    train(net(), KD, data, teacher=teacher)
    pixels = normalise(data.images, data)
    alone = torch.cat([teacher(image) for image in pixels.split(1)])
    assert torch.allclose(alone, teacher(pixels), atol=1e-3)
    together = predict(teacher.train(), data)  # asks in eval mode, whatever it is
    assert torch.allclose(alone, together, atol=1e-3)


# ------------------------------------------------------------------------------- the wrong number


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("t", [0.25, 1.0, 50.0])
def test_nan_in_the_log(size, t):
    """PyTorch's tutorial: a sure teacher, or a sure and wrong student, gives a number."""
    v = size * (2 * torch.eye(10) - 1)
    half = v.clamp(-6e4, 6e4).half()
    for z, target in ((0 * v, v), (v.roll(1, 0), v), (half.roll(1, 0), half)):
        value, gradient = slope(losses.soft_target_loss, z, target, t)
        assert value.isfinite() and gradient.isfinite().all()
    assert losses.soft_target_loss(v, v, t) == 0


def test_probabilities_first():
    """ProDA #20: at the teacher the loss is zero, with gradient zero; theirs is negative there."""
    _, v, _ = pair()
    value, gradient = slope(losses.soft_target_loss, v, v, T)
    assert value == 0 and gradient.abs().max() < 1e-6
    p = losses.soften(v, T)
    wrong = slope(lambda z: F.kl_div(losses.soften(z, T), p, reduction="batchmean"), v)
    assert wrong[0] < 0 and wrong[1].abs().max() > 1e-4


@pytest.mark.parametrize("t", [1.0, 4.0, 20.0])
def test_t_squared_comes_and_goes(t):
    """torchdistill's KDLoss: linear in both weights, at zero and without labels, too."""
    z, v, y = pair()

    def loss(soft, hard, teacher=v, labels=y):
        weights = {"temperature": t, "soft_weight": soft, "hard_weight": hard}
        return losses.distillation_loss(z, teacher, labels, **weights)

    for hard in (0.0, 1e-6, 0.3, 1.0):
        assert torch.isclose(loss(0.7, hard), 0.7 * loss(1, 0) + hard * loss(0, 1))
    for unseen in (None, 0 * y - 1, 0 * y + 1000):
        assert torch.equal(loss(1, 0, labels=unseen), losses.soft_target_loss(z, v, t))
    for teacher in (v, -v):
        assert torch.isclose(loss(0, 1, teacher), F.cross_entropy(z, y))  # at T = 1


def test_l1_rows():
    """torchdistill's SPKDLoss: ours is the paper's formula, written out row by row."""
    assert difference("similarity_preserving_loss", 2) < 2e-5


@pytest.mark.parametrize("name", ["rkd_angle_loss", "rkd_distance_loss"])
def test_rkd_gradient(name):
    """RepDistiller and torchdistill: equal student rows, different teacher rows."""
    student, teacher = draw(name)
    ordinary = slopes(name, student, teacher)[1].abs().max()
    student[1] = student[0]
    student[4:6] = 0  # two dead rows
    value, gradient, _ = slopes(name, student, teacher)
    assert value.isfinite() and gradient.abs().max() < 10 * ordinary


# --------------------------------------------------------------------------------- the wrong loop


def test_eval_mode_from_epoch_two():
    """KD_Lib: validation calls eval(), and from the second epoch on nobody went back."""
    student = net().eval()  # handed over in eval mode
    mode = watched(lambda batch: (batch.epoch, all(m.training for m in student.modules())))
    train(student, mode[0], validation=images(12, seed=9))
    assert mode[1] == [(epoch, True) for epoch in range(3) for _ in range(4)]
    assert int(student[1].num_batches_tracked) == 3 * 4 and student.training


@pytest.mark.parametrize("method", sorted(OWN_WEIGHTS))
def test_projector_forgotten(method):
    """Simple-Recipe-Distillation #1: a method's own weights move, and stay with the method."""
    student, goal, before, _ = run(method, *teachers_for(method))
    assert before and not any(torch.equal(w, before[k]) for k, w in goal.named_parameters())
    assert not set(before) & set(student.state_dict())


# --------------------------------------------------------------------------- the wrong comparison


def test_unequal_views():
    """haitongli #18: with one seed, both arms see the same images, views and batches, bitwise."""
    arms = []
    for goal, teacher in ((labels_only, None), (KD, sharp_teacher())):
        spy, seen = watched(lambda batch: (batch.images.clone(), batch.labels), goal)
        train(net(), spy, teacher=teacher, views=CIFAR_VIEWS, seed=3)
        arms.append(seen)
    both = list(zip(*arms, strict=True))
    assert len(both) == 12
    assert all(torch.equal(a, b) for one, other in both for a, b in zip(one, other, strict=True))
    assert PUPIL._replace(teacher="") == PAIR


def test_best_of_forty(monkeypatch):
    """haitongli's grids: what is judged on validation images has never opened the test images."""

    def images_of(name, split="train"):
        assert split == "train", "somebody looked at the test images"
        return images(48, side=16, classes=10)

    monkeypatch.setattr(experiments, "images_of", images_of)
    recipe = PAIR._replace(epochs=1, hold_out=16, judge="validation")
    ours, held_out = experiments.training_set(recipe)
    assert len(held_out.labels) == 16
    assert not set(ours.index.tolist()) & set(held_out.index.tolist())
    assert 0 <= experiments.execute(recipe)["accuracy"] <= 100
    with pytest.raises(AssertionError, match="looked at the test images"):
        experiments.execute(recipe._replace(judge="test"))


# --------------------------------------------------------------------------------- the exhibition


def test_torchdistill_is_still_an_exhibit():
    """If this fails, rewrite exhibits 8 and 9 in the past tense."""

    def loss(name, *given, **options):
        return getattr(torchdistill(), name)(*given, **options)(*outputs, y)

    z, v, y = pair()
    outputs = [{"l": {"output": x}} for x in (z, v)]
    nearly, none = (loss("KDLoss", *ENDS, temperature=T, alpha=alpha) for alpha in (1e-9, 0))
    assert nearly / none == pytest.approx(T**2)
    rows = [F.normalize(x @ x.T, p=1, dim=1) for x in (z, v)]
    theirs = loss("SPKDLoss", "l", "l", "batchmean")
    assert torch.isclose(theirs, F.mse_loss(*rows))
    assert not torch.isclose(theirs, losses.similarity_preserving_loss(z, v))


def test_every_exhibit_has_its_test():
    cells = nbformat.read(APPENDIX, as_version=4).cells
    exhibits = [c.id for a, c in zip(cells, cells[1:], strict=False) if "**Exhibit " in a.source]
    assert len(exhibits) >= 10
    assert [e for e in exhibits if "test_" + e.replace("-", "_") not in globals()] == []
