"""kdlab.methods: every method through one tiny training run, and what it leaves behind."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from toys import images, same, state

from kdlab import losses, methods
from kdlab.logit_cache import cache_logits
from kdlab.losses import soft_target_loss
from kdlab.methods import METHODS, Batch, Combined, Discriminator, distil, objective, rotate
from kdlab.models import Peers, build, feature_shapes, forward
from kdlab.teachers import freeze
from kdlab.training import Optimizer, fit

OWN_WEIGHTS = {"hint", "FSP", "contrastive", "discriminator", "rotation task"}
NEED_FEATURES = {"hint", "attention transfer", "FSP", "similarity preserving", "RKD", "PKT",
                 "contrastive", "discriminator", "turned views"}  # fmt: skip
NO_TEACHER = {"rotation task", "mutual learning", "adversarial training"}
SEVERAL = {"mean of teachers", "switched teachers"}
TOKENS = {"distillation token", "soft distillation token"}
WHOLE = {"mutual learning", "adversarial training", "ARD", "RSLAD", *TOKENS}  # nothing is added
DATA = images(64, side=32, classes=10)


def net(name="cnn7-8", seed=1):
    torch.manual_seed(seed)
    return build(name)


def student_for(method):
    return net("vit-64-apart" if method in TOKENS else "cnn3-16", 0)


def run(method, teacher, given):
    """One epoch of a small student: the student, its objective, the objective's weights, loss."""
    student = student_for(method)
    if method == "mutual learning":
        student = Peers(student, net("cnn3-16", 2))
    goal = objective(
        method,
        student=student,
        teacher=teacher,
        data=DATA,
        hard_weight=float(method not in WHOLE),
        weight=METHODS[method].paper_weight,
    )
    before = {k: v.clone() for k, v in goal.named_parameters()}
    adam = Optimizer("adam", 1e-3, 0.0)
    history = fit(student, DATA, goal, teacher=given, epochs=1, batch_size=32, optimizer=adam)
    return student, goal, before, history[-1]["loss"]


def anatomy(model):
    """What a net consists of: parameters, buffers, and every kind of hook."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    hooks = [len(value) for m in model.modules() for k, value in vars(m).items() if "_hooks" in k]
    return [(name, tuple(x.shape)) for name, x in tensors], sum(hooks)


@pytest.mark.parametrize("method", METHODS)
def test_a_tiny_training_run_leaves_nothing_but_a_student(method):
    teacher = given = None if method in NO_TEACHER else net()
    if method in SEVERAL:
        given = [cache_logits(one, DATA, keep=False) for one in (teacher, net(seed=3))]
    kept = state(teacher) if teacher else {}
    assert METHODS[method].reference and METHODS[method].paper_weight > 0
    student, goal, own, loss = run(method, teacher, given)
    assert math.isfinite(loss) and student.training
    assert bool(own) == (method in OWN_WEIGHTS)
    assert all(not torch.equal(w, own[k]) for k, w in goal.named_parameters())
    deployed = student.nets[0] if method == "mutual learning" else student
    fresh = student_for(method)
    assert anatomy(deployed) == anatomy(fresh) and anatomy(fresh)[1] == 0
    assert not torch.equal(*(next(one.head.parameters()) for one in (deployed, fresh)))
    if teacher:
        assert not any(m.training for m in teacher.modules()) and anatomy(teacher) == anatomy(net())
        assert not any(w.requires_grad or w.grad is not None for w in teacher.parameters())
        assert same(kept, state(teacher))


@pytest.mark.parametrize("method", sorted(set(METHODS) - NO_TEACHER - SEVERAL))
def test_cached_answers_serve_logits_and_are_refused_for_features(method):
    teacher = net()
    answers = cache_logits(teacher, DATA, keep=False)
    if method in NEED_FEATURES:
        with pytest.raises(ValueError, match="need the teacher itself, not its cached answers"):
            run(method, teacher, answers)
    else:
        assert math.isfinite(run(method, teacher, answers)[3])


def test_an_unknown_method_lists_the_names():
    with pytest.raises(ValueError, match="no method 'magic': there are logit matching, .*, RSLAD"):
        goal_of("magic")


def some_logits(nets=2):
    return 3 * torch.randn(nets, 6, 10, generator=torch.Generator().manual_seed(0))


def batch_for(teacher_logits, labels=None, **more):
    n = teacher_logits.shape[-2]
    labels = torch.arange(n) % 10 if labels is None else labels
    return Batch(DATA.images[:n] / 255, labels, torch.arange(n), 0, teacher_logits, **more)


def goal_of(method, teacher=None, **weights):
    return objective(method, student=net("cnn3-16"), teacher=teacher, data=DATA, **weights)


@pytest.mark.parametrize("soft", [0.0, 0.9])
@pytest.mark.parametrize("hard", [0.0, 0.1])
@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_weights_are_of_the_parts(soft, hard, weight):
    z, v = some_logits()
    batch = batch_for(v)
    weights = {"temperature": 3.0, "soft_weight": soft, "hard_weight": hard, "weight": weight}
    expected = hard * F.cross_entropy(z, batch.labels) + soft * soft_target_loss(z, v, 3.0)
    whole = expected + weight * losses.logit_matching_loss(z, v)
    for method, loss, some in (
        ("", expected, soft or hard),
        ("logit matching", whole, soft or hard or weight),
    ):
        if some:
            assert torch.allclose(goal_of(method, **weights)(z, batch), loss)
            continue
        with pytest.raises(ValueError, match="nothing is minimised: .* weight 0"):
            goal_of(method, **weights)


def test_a_weight_of_zero_drops_its_part():
    def never(logits, batch):
        raise AssertionError("asked")

    z = torch.zeros(2, 3)
    assert float(Combined(lambda z, b: z.sum() + 1, never, 0.0)(z, None)) == 1
    assert float(Combined(None, lambda z, b: z.sum() + 1, 0.5)(z, None)) == 0.5
    never.stages = {"student": ["stage1"], "teacher": ["stage1"]}
    assert not Combined(None, never, 0.0).stages
    z, v = some_logits()
    unknown = batch_for(v, labels=torch.full((6,), -1))
    assert torch.equal(distil(3.0)(z, unknown), soft_target_loss(z, v, 3.0))
    assert math.isfinite(goal_of("logit matching", hard_weight=0.0, soft_weight=0.5)(z, unknown))


@pytest.mark.parametrize("method", sorted(TOKENS))
def test_the_second_output_alone_learns_from_the_teacher(method):
    z = some_logits().requires_grad_()
    v, y = 3 * torch.randn(6, 10), torch.arange(6)
    goal_of(method, temperature=2.0, hard_weight=0)(z, batch_for(v, y)).backward()
    q, hot = z.detach().softmax(dim=-1), F.one_hot(v.argmax(dim=1), 10).float()
    told = q[1] - hot
    if method.startswith("soft"):  # T^2 * (1 / T) * (softmax(z / T) - softmax(v / T))
        told = 2 * ((z.detach()[1] / 2).softmax(dim=1) - (v / 2).softmax(dim=1))
    expected = torch.stack([q[0] - F.one_hot(y, 10), told]) / 12
    assert torch.allclose(z.grad, expected, atol=1e-6)


def test_the_discriminator_descends_and_the_student_climbs():
    """It calls the teacher one; the gradient of all that comes before its score is reversed."""
    student, teacher = net("cnn3-16"), freeze(net())
    ours, theirs = (torch.randn(6, w, generator=torch.Generator().manual_seed(w)) for w in (64, 32))
    against = Discriminator(methods.Setting(student, teacher, DATA, 4.0, both("flatten")))
    told = {"features": {"flatten": ours}, "teacher_features": {"flatten": theirs}}
    wanted = [ours.requires_grad_(), *against.project.parameters(), *against.score.parameters()]
    played = against(None, batch_for(torch.zeros(6, 10), **told))
    truth, lies = (against.score(x).sigmoid() for x in (theirs, against.project(ours)))
    plain = -(truth.log().sum() + (1 - lies).log().sum()) / 12
    assert torch.allclose(played, plain)
    gradients = (torch.autograd.grad(loss, wanted) for loss in (played, plain))
    for n, (real, by_hand) in enumerate(zip(*gradients, strict=True)):
        assert torch.allclose(real, -by_hand if n < 3 else by_hand)
        assert float(by_hand.abs().sum()) > 0


def test_rotate_turns_each_image_by_its_own_quarter():
    images = torch.rand(40, 3, 6, 6)
    torch.manual_seed(0)
    turned, turns = rotate(images)
    assert set(turns.tolist()) == {0, 1, 2, 3} and turns.dtype == torch.int64
    for before, after, k in zip(images, turned, turns.tolist(), strict=True):
        assert np.array_equal(np.rot90(before.numpy(), k, axes=(1, 2)), after.numpy())


@pytest.mark.parametrize("method", ["rotation task", "turned views"])
def test_turned_images_teach_the_student(method):
    student, teacher = net("cnn3-16"), freeze(net())
    goal, images = goal_of(method, teacher, hard_weight=0.0), torch.randn(8, 3, 32, 32)
    ours, theirs = (forward(m, images, ["flatten"])[1]["flatten"] for m in (student, teacher))
    given = {
        "features": {"flatten": ours.detach()},
        "teacher_features": {"flatten": theirs},
        "student": student.eval(),
        "teacher": teacher,
    }
    torch.manual_seed(3)
    loss = goal(None, replace(batch_for(torch.zeros(8, 10), **given), images=images))
    loss.backward()  # the plain view is held still: what is left is the turned one's
    assert float(student.stage1[0].weight.grad.abs().sum()) > 0
    assert all(w.grad is None for w in teacher.parameters())
    torch.manual_seed(3)
    turned, turns = rotate(images)
    again, known = (forward(m, turned, ["flatten"])[1]["flatten"] for m in (student, teacher))
    if method == "rotation task":
        expected = F.cross_entropy(goal.term.head(again), turns)
    else:
        expected = losses.view_similarity_loss((ours, again), (theirs, known))
    assert torch.allclose(loss, expected, rtol=0.02)  # bfloat16 on some processors


def test_peers_answer_side_by_side():
    one, two = (net("cnn3-16", seed).eval() for seed in (0, 1))
    answers = Peers(one, two)(x := torch.rand(5, 3, 32, 32))
    assert answers.shape == (2, 5, 10) and torch.equal(answers, torch.stack([one(x), two(x)]))


def test_switched_teachers_picks_one_of_them_a_batch():
    z, *teachers = some_logits(4)
    alone = [float(soft_target_loss(z, v, 2.0)) for v in teachers]
    torch.manual_seed(0)
    batch = replace(batch_for(z), ensemble_logits=torch.stack(teachers))
    setting = methods.Setting(None, None, DATA, 2.0)
    drawn = [float(methods.switched_teachers(z, batch, setting)) for _ in range(90)]
    assert set(drawn) == set(alone)
    assert min(drawn.count(one) for one in alone) > 15


@pytest.mark.parametrize(("method", "change"), [
    ("permuted dark knowledge", lambda v, y: losses.permute_dark_knowledge(v)),
    ("same-entropy smoothing", lambda v, y: losses.same_entropy_smoothing(v, y, 3.0)),
])  # fmt: skip
def test_controls_are_soft_targets_of_a_changed_teacher(method, change):
    z, v = some_logits()
    batch, goal = batch_for(v), goal_of(method, temperature=3.0, hard_weight=0.0, weight=0.5)
    torch.manual_seed(7)
    ours = goal(z, batch)
    torch.manual_seed(7)
    assert torch.allclose(ours, 0.5 * soft_target_loss(z, change(v, batch.labels), 3.0))


def both(*stages):
    return {"student": stages, "teacher": stages}


def test_the_student_alone_is_projected():
    student, stages = net("cnn3-16"), ["stage1", "stage2", "stage3"]
    shapes = feature_shapes(student, (3, 32, 32), [*stages, "flatten"])
    assert [shape[0] for shape in shapes] == [16, 32, 64, 64]
    setting = methods.Setting(student, net(), DATA, 4.0, both(*stages[1:]))
    convolutions = methods.projectors(setting)
    assert [tuple(p.weight.shape) for p in convolutions] == [(32, 32, 1, 1), (32, 64, 1, 1)]
    assert isinstance(methods.projectors(replace(setting, stages=both("flatten")))[0], nn.Linear)
    plain = goal_of("attention transfer", net(), hard_weight=0.0)
    assert plain.stages["teacher"] == stages and not len(plain.term.projectors)
    ours, theirs = ({k: torch.randn(2, 3, 4, 4) for k in stages} for _ in range(2))
    loss = plain(None, batch_for(torch.zeros(2, 10), features=ours, teacher_features=theirs))
    expected = sum(losses.attention_transfer_loss(ours[k], theirs[k]) for k in stages)
    assert torch.allclose(loss, expected)


@pytest.mark.parametrize("method", sorted(name for name in METHODS if METHODS[name].stages))
def test_a_net_of_torchvision_teaches_by_its_own_names(method):
    student, teacher = net("cnn3-16"), torchvision.models.resnet18(num_classes=10)
    theirs = {"stage1": "layer1", "stage2": "layer2", "stage3": "layer3", "flatten": "avgpool"}
    names = METHODS[method].stages
    stages = {"student": names, "teacher": [theirs[name] for name in names]}
    teacher.maxpool = nn.Identity()  # so that its maps have the student's sizes
    goal = objective(method, student=student, teacher=teacher, data=DATA, stages=stages)
    history = fit(student, DATA, goal, epochs=1, teacher=teacher)
    assert math.isfinite(history[0]["loss"])


def test_stages_come_in_pairs():
    ours = {"student": ["stage1", "stage2"], "teacher": ["stage1"]}
    with pytest.raises(ValueError, match="'RKD' matches 1 stages of each net"):
        goal_of("RKD", net(), stages=ours)
    with pytest.raises(ValueError, match="'DKD' matches 0 stages"):
        goal_of("DKD", net(), stages=both("stage1"))


FREE = sorted(name for name in METHODS if METHODS[name].label_free)


@pytest.mark.parametrize("method", FREE)
def test_what_needs_no_label_takes_images_without_one_and_learns_the_same(method):
    losses, unlabelled = [], DATA.labels.clone()
    unlabelled[::2] = -1
    for labels in (DATA.labels, unlabelled):
        student, data = net("cnn3-16", 0), replace(DATA, labels=labels)
        how = {"soft_weight": 1.0, "hard_weight": 0.0, "weight": METHODS[method].paper_weight}
        torch.manual_seed(0)  # of a projector
        goal = objective(method, student=student, teacher=net(), data=data, **how)
        losses.append(fit(student, data, goal, teacher=net(), epochs=1)[-1]["loss"])
    assert losses[0] == losses[1]
    labelled = objective(method, student=student, teacher=net(), data=DATA, hard_weight=1.0)
    with pytest.raises(ValueError, match="labels"):
        fit(student, replace(DATA, labels=unlabelled), labelled, teacher=net(), epochs=1)
