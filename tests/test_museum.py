"""The museum of distillation bugs (appendix A1): for each exhibit, the line that would have caught
it, asserted of `kdlab`. A test has the id of its exhibit's cell; what stands elsewhere is named.
"""

from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from oracles import ENDS, torchdistill
from toys import KD, Spy, images, net, sharp_teacher, train, watched

from kdlab import losses
from kdlab.data import CIFAR_VIEWS, NO_VIEWS, Views
from kdlab.files import NOTEBOOKS
from kdlab.lab.configs import PAIR, PUPIL
from kdlab.logit_cache import cache_logits
from kdlab.methods import labels_only
from kdlab.metrics import predict
from kdlab.models import build
from kdlab.teachers import load_teacher, save_teacher

T = 4.0
ELSEWHERE = {  # exhibit -> the tests that would have caught it
    "roles-swapped": [
        "test_training.test_teacher_is_bitwise_unchanged_and_in_eval_mode",
        "test_training.test_a_student_moves_towards_its_teacher",
    ],
    "teacher-taught-itself": ["test_losses_methods.test_only_the_student_gets_a_gradient"],
    "teacher-in-train-mode": [
        "test_training.test_teacher_is_bitwise_unchanged_and_in_eval_mode",
        "test_metrics.test_predict_does_not_depend_on_the_batch_size_and_may_stand_in_a_loss",
    ],
    "probabilities-first": [
        "test_losses.test_loss_is_zero_only_where_the_nets_agree",
        "test_losses.test_gradient_is_t_times_q_minus_p_over_b",
    ],
    "l1-rows": ["test_losses_methods.test_the_independent_check_agrees"],
    "rkd-gradient": ["test_losses_methods.test_extremes_stay_finite_and_small"],
    "projector-forgotten": ["test_methods.test_a_tiny_training_run_leaves_nothing_but_a_student"],
    "best-of-forty": ["test_experiments.test_a_choice_never_opens_the_test_images"],
}


def pair(batch=12, classes=10):
    """Student logits, teacher logits and labels."""
    z, v = 3 * torch.randn(2, batch, classes, generator=torch.Generator().manual_seed(5))
    return z, v, torch.arange(batch) % classes


@pytest.mark.parametrize("views", [NO_VIEWS, CIFAR_VIEWS, Views(2, False, "constant")])
@pytest.mark.parametrize("cached", [False, True])
def test_answers_to_other_images(exact, views, cached):
    """haitongli #4, #23: in every epoch, for every view, the answer is the one to this image."""
    data, teacher = images(), sharp_teacher()
    spy, drawn = Spy(data, teacher, views, 7), {"views": views, "view_seed": 7}
    asked = cache_logits(teacher, data, epochs=3, keep=False, **drawn) if cached else teacher
    train(net(), spy, data, teacher=asked, seed=3, **drawn)
    assert spy.gap < 0.02  # float16 of logits of a few tens
    spread = predict(teacher, data)
    assert (spread - spread.roll(1, 0)).abs().amax(1).median() > 1  # it could have failed
    assert sorted(spy.seen) == [0, 1, 2]
    assert all(sorted(s) == sorted(data.index.tolist()) for s in spy.seen.values())


def test_random_head(tmp_path, monkeypatch):
    """Transformers #25182: a head that does not fit is refused, not drawn anew."""
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path))
    save_teacher("four-classes", build("cnn7-8", classes=4), {"model": "cnn7-8"})
    with pytest.raises(ValueError, match="size mismatch|damaged"):
        load_teacher("four-classes")


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("t", [0.25, 1.0, 50.0])
def test_nan_in_the_log(size, t):
    """PyTorch's tutorial: a sure teacher, or a sure and wrong student, gives a number."""
    v = size * (2 * torch.eye(10) - 1)
    half = v.clamp(-6e4, 6e4).half()
    for z, target in ((0 * v, v), (v.roll(1, 0), v), (half.roll(1, 0), half)):
        leaf = z.clone().requires_grad_()
        value = losses.soft_target_loss(leaf, target, t)
        assert value.isfinite() and torch.autograd.grad(value, leaf)[0].isfinite().all()
    assert losses.soft_target_loss(v, v, t) == 0


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


def test_eval_mode_from_epoch_two():
    """KD_Lib: validation calls eval(), and from the second epoch on nobody went back."""
    student = net().eval()  # handed over in eval mode
    spy, seen = watched(lambda batch: (batch.epoch, all(m.training for m in student.modules())))
    train(student, spy, validation=images(12, seed=9))
    assert seen == [(epoch, True) for epoch in range(3) for _ in range(4)]
    assert int(student[1].num_batches_tracked) == 3 * 4 and student.training


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
    assert replace(PUPIL, teacher="") == PAIR


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
    cells = nbformat.read(NOTEBOOKS / "A1_museum.ipynb", as_version=4).cells
    exhibits = [c.id for a, c in zip(cells, cells[1:], strict=False) if "**Exhibit " in a.source]
    here = {name[5:].replace("_", "-") for name in globals() if name.startswith("test_")}
    assert len(exhibits) >= 10 and {*exhibits} - here == ELSEWHERE.keys()
    for test in (test for tests in ELSEWHERE.values() for test in tests):
        file, name = test.split(".")
        assert f"def {name}(" in (Path(__file__).parent / f"{file}.py").read_text("utf-8"), test
