"""kdlab.training: the loop, guarded against what went wrong in other people's loops."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn, optim
from toys import KD, Spy, images, net, same, sharp_teacher, state, train, watched

from kdlab.data import CIFAR_VIEWS, NO_VIEWS, Views, select
from kdlab.logit_cache import asked_once, cache_logits
from kdlab.losses import soft_target_loss
from kdlab.methods import distil, labels_only
from kdlab.metrics import predict
from kdlab.training import Optimizer, make_optimizer, make_schedule, shuffled


def test_same_seed_same_curve_bit_for_bit_and_another_seed_another():
    """Trained in place; a copy trained alike ends alike, whatever was drawn before."""
    one = net()
    two = copy.deepcopy(one)
    first = train(one, seed=5, views=CIFAR_VIEWS)
    torch.rand(7)
    assert train(two, seed=5, views=CIFAR_VIEWS) == first
    assert same(state(one), state(two)) and not same(state(one), state(net()))
    for change in ({"seed": 6}, {"seed": 5, "view_seed": 1}):
        assert train(net(), views=CIFAR_VIEWS, **change) != first


def test_validation_changes_nothing_but_the_history():
    rows = []
    judged = train(net(), seed=2, validation=images(12, seed=9), report=rows.append)
    assert judged == train(net(), seed=2)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(0 <= row["validation"] <= 100 for row in rows)


@pytest.mark.parametrize("cached", [False, True])
def test_teacher_is_bitwise_unchanged_and_in_eval_mode(cached, tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path))
    teacher = net(seed=1).train()  # handed over in the wrong mode, with dropout and batch norm
    before, data = state(teacher), images()
    asked = cache_logits(teacher, data, views=CIFAR_VIEWS, epochs=3) if cached else teacher
    student = net()
    start = state(student)
    train(student, KD, data, teacher=asked, views=CIFAR_VIEWS)
    assert same(before, state(teacher))
    assert not any(m.training for m in teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not same(start, state(student))


def cached_answers(data):
    return cache_logits(sharp_teacher(), data, views=CIFAR_VIEWS, epochs=3, keep=False)


def test_cached_answers_in_the_precision_of_this_machine():
    """That they are the live teacher's to each image and view: test_museum.py, exhibit 3."""
    data = images()
    live = train(net(), KD, data, teacher=sharp_teacher(), views=CIFAR_VIEWS)
    ours = train(net(), KD, data, teacher=cached_answers(data), views=CIFAR_VIEWS)
    assert ours == pytest.approx(live, rel=0.05)


def test_answers_of_the_whole_serve_a_subset_in_any_order(exact):
    data = images()
    part = select(data, torch.tensor([17, 3, 29, 8, 0, 11, 12, 5, 20]))
    spy = Spy(part, sharp_teacher(), CIFAR_VIEWS, 0)
    train(net(), spy, part, teacher=cached_answers(data), views=CIFAR_VIEWS)
    assert spy.gap < 0.02


def one_pixel_changed():
    data = images()
    data.images[3, 0, 0, 0] ^= 1
    return data


@pytest.mark.parametrize(("options", "sentence"), [
    ({"data": replace(images(), name="noise/test")}, "not for noise/test"),
    ({"views": NO_VIEWS}, "ask the teacher again"),
    ({"views": Views(4, False)}, "ask the teacher again"),
    ({"view_seed": 1}, "ask the teacher again"),
    ({"epochs": 4}, "cover 3 epochs, not 4"),
    ({"data": replace(images(), images=255 - images().images)}, "for other pixels of noise/train"),
    ({"data": select(one_pixel_changed(), torch.tensor([3, 0]))}, "for other pixels"),
])  # fmt: skip
def test_answers_are_refused_for_anything_else(options, sentence):
    student, cached = net(), cached_answers(images())
    before = state(student)
    with pytest.raises(ValueError, match=sentence):
        train(student, KD, **{"teacher": cached, "views": CIFAR_VIEWS} | options)
    assert same(before, state(student))


def test_one_view_serves_every_epoch():
    cached = cache_logits(sharp_teacher(), images(), keep=False)
    assert len(cached.logits) == 1 and len(train(net(), KD, teacher=cached, epochs=5)) == 5


@pytest.mark.parametrize(("n", "size"), [(30, 8), (9, 8), (8, 8), (5, 8)])
def test_every_image_once_an_epoch_in_near_equal_batches(n, size):
    data, (spy, batches) = images(n), watched(lambda batch: batch)
    train(net(), spy, data, batch_size=size, epochs=1)
    seen, sizes = torch.cat([b.index for b in batches]), [len(b.labels) for b in batches]
    assert torch.equal(seen.sort().values, data.index.sort().values)
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-n // size)  # 9 images are 5 + 4: batch norm never sees one alone
    assert all(b.teacher_logits is None for b in batches)


def test_order_is_drawn_anew_in_each_epoch():
    def order(seed, epoch):
        return torch.cat(list(shuffled(100, 7, seed=seed, epoch=epoch))).tolist()

    assert order(0, 0) == order(0, 0) and sorted(order(0, 0)) == list(range(100))
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9
    spy, seen = watched(lambda batch: batch.index)
    train(net(), spy, epochs=2)
    first, second = (torch.cat(half) for half in (seen[: len(seen) // 2], seen[len(seen) // 2 :]))
    assert torch.equal(first.sort().values, second.sort().values)
    assert not torch.equal(first, second)


class Projected(nn.Linear):
    """An objective with weights of its own, as a feature method has."""

    def forward(self, logits, batch):
        return labels_only(super().forward(logits.float()), batch)


def test_an_objectives_own_parameters_are_trained_and_frozen_parts_stay():
    student, objective = net(), Projected(4, 4)
    frozen, trained = (student[0].weight, objective.bias), (student[-1].weight, objective.weight)
    for weight in frozen:
        weight.requires_grad_(False)
    before = [w.detach().clone() for w in (*frozen, *trained)]
    train(student, objective)
    moved = [not torch.equal(*two) for two in zip(before, (*frozen, *trained), strict=True)]
    assert moved == [False, False, True, True]


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.1), ("adam", 1e-2)])
def test_training_trains(optimizer, lr):
    losses = train(net(dropout=0.0), optimizer=optimizer, lr=lr, epochs=30)
    assert losses[-1] < 0.3 * losses[0]


def test_a_student_moves_towards_its_teacher():
    data, teacher, student = images(64), sharp_teacher(), net(dropout=0.0)
    answers = predict(teacher, data)
    before = soft_target_loss(predict(student, data), answers, 2.0)
    train(student, distil(2.0), data, teacher=teacher, epochs=20, optimizer="adam", lr=1e-2)
    assert soft_target_loss(predict(student, data), answers, 2.0) < 0.5 * before


def rates(steps):
    """The learning rate of each step, where the optimizer's is 0.1."""
    descent = make_optimizer(net(), labels_only, Optimizer(lr=0.1))
    schedule, seen = make_schedule(descent, "one-cycle", steps), []
    for _ in range(steps):
        seen.append(descent.param_groups[0]["lr"])
        descent.step()
        schedule.step()
    return seen


def cycle(step, steps):
    """Smith's cycle on a half cosine: 0.004 to 0.1 in the first quarter of steps + 1, then to 0."""
    top = 0.25 * (steps + 1) - 1
    rising = step <= top
    share = step / top if rising else (step - top) / (steps - top)
    start, end = (0.004, 0.1) if rising else (0.1, 4e-7)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 6, 7, 8, 40, 100])
def test_the_rate_rises_for_a_quarter_and_falls_to_zero(steps):
    assert rates(steps) == pytest.approx([cycle(n, steps) for n in range(steps)], rel=1e-6)
    descent = optim.SGD(net().parameters(), 0.1)  # and to the last bit it is torch's own
    plain = {"pct_start": 0.25, "cycle_momentum": False, "total_steps": steps + 1}
    schedule = optim.lr_scheduler.OneCycleLR(descent, 0.1, **plain)
    assert rates(steps)[0] == descent.param_groups[0]["lr"]
    for rate in rates(steps)[1:]:
        descent.step()
        schedule.step()
        assert rate == descent.param_groups[0]["lr"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_three_steps_train(epochs):
    """The quarter ends with the first of them, where torch divided by zero."""
    assert rates(3) == pytest.approx([0.1, 0.075, 0.025], rel=1e-3)
    assert len(train(net(), data=images(24 // epochs), epochs=epochs)) == epochs


def test_the_schedule_matters():
    assert train(net(), schedule="one-cycle") != train(net(), schedule="constant")


@pytest.mark.parametrize(("error", "sentence", "options"), [
    (ValueError, "'one-cycle' or 'constant', got 'cosine'", {"schedule": "cosine"}),
    (ValueError, "'sgd' or 'adam', got 'lion'", {"optimizer": "lion"}),
    (ValueError, "needs a teacher", {"objective": KD}),
    (FloatingPointError, "lower lr", {"lr": 1e30}),
    (FloatingPointError, "lower lr|diverged",
     {"objective": KD, "teacher": sharp_teacher(), "lr": 1e30}),
])  # fmt: skip
def test_what_cannot_train_ends_in_a_sentence(error, sentence, options):
    with pytest.raises(error, match=sentence):
        train(net(), **options)


def test_a_teacher_asked_once_answers_for_every_view_of_an_image():
    data, teacher = images(), sharp_teacher()
    plain = predict(teacher, data)
    place = {int(i): n for n, i in enumerate(data.index)}
    spy, seen = watched(
        lambda batch: [plain[[place[int(i)] for i in batch.index]], batch.teacher_logits], KD
    )
    once = asked_once(plain, data)
    train(net(), spy, data, teacher=once, views=CIFAR_VIEWS)
    assert len(seen) == 12 and all(torch.allclose(a, b, atol=0.02) for a, b in seen)
    turned = replace(data, images=data.images.flip(3))
    with pytest.raises(ValueError, match="other pixels"):
        train(net(), KD, turned, teacher=once)
    with pytest.raises(ValueError, match="not for other/train seen as one"):
        train(net(), KD, replace(data, name="other/train"), teacher=once)


def test_images_without_a_label_serve_what_reads_none():
    """A label of -1 is refused where labels teach: on a GPU it would end the process."""
    data = images()
    some = replace(data, labels=torch.where(torch.arange(30) < 20, -1, data.labels))
    assert train(net(), distil(4.0), some, teacher=sharp_teacher())
    for goal in (labels_only, KD):
        with pytest.raises(ValueError, match="labels must be 0..3, got -1..3"):
            train(net(), goal, some, teacher=sharp_teacher())
