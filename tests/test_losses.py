"""kdlab.losses against closed forms, autograd, torchdistill, a slow transcription; bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kdlab.losses import distillation_loss, entropy, log_soften, soft_target_loss, soften


def slow(z, v, temperature):
    """T^2 KL(p || q), written out in Python's own float64 as in the paper, one image at a time."""
    total = 0.0
    for student, teacher in zip(z.tolist(), v.tolist(), strict=True):
        q, p = ([math.exp((x - max(row)) / temperature) for x in row] for row in (student, teacher))
        q, p = [x / sum(q) for x in q], [x / sum(p) for x in p]
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)
    return temperature**2 * total / len(z)


def full_loss(z, v, labels, **changes):
    settings = {"temperature": 4.0, "soft_weight": 0.9, "hard_weight": 0.1}
    return distillation_loss(z, v, labels, **(settings | changes))


@st.composite
def two_logits(draw, limit=15.0):
    """Student and teacher logits [B, K]; B and K differ, so that no axis can be mistaken."""
    batch, classes = draw(st.integers(1, 5)), draw(st.integers(2, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.floats(0.01, limit))
    return tuple(scale * torch.randn(2, batch, classes, generator=generator))


temperatures = st.floats(0.25, 50.0)


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(3)
    return tuple(3 * torch.randn(2, 6, 10, generator=generator))


# ---------------------------------------------------------------------------------- soft targets


def test_soften_is_the_closed_form():
    z = torch.tensor([[math.log(1.0), math.log(2.0), math.log(5.0)]])
    assert torch.allclose(soften(z, 1.0), torch.tensor([[1.0, 2.0, 5.0]]) / 8)
    roots = torch.tensor([[1.0, 2.0, 5.0]]).sqrt()
    assert torch.allclose(soften(z, 2.0), roots / roots.sum())
    assert torch.allclose(log_soften(z, 2.0).exp(), soften(z, 2.0))


@given(two_logits(), temperatures)
def test_soften_is_a_distribution_in_the_order_of_the_logits(pair, t):
    z, _ = pair
    p = soften(z, t)
    assert torch.allclose(p.sum(1), torch.ones(len(z)))
    assert bool((p >= 0).all())
    assert torch.equal(p.argmax(1), z.argmax(1))
    assert torch.allclose(p, soften(z + 7.0, t), atol=1e-5)


@given(two_logits())
def test_entropy_rises_with_temperature(pair):
    z, _ = pair
    steps = torch.stack([entropy(soften(z, t)) for t in (0.25, 0.5, 1.0, 2.0, 8.0, 50.0)])
    assert bool((steps.diff(dim=0) > -1e-5).all())
    assert float(steps[-1].max()) <= math.log(z.shape[1]) + 1e-5


def test_entropy_at_both_ends():
    assert entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist() == pytest.approx(
        [0.0, math.log(2)]
    )


def test_temperature_limits_of_soften():
    z = torch.tensor([[1.0, 3.0, 2.0]])
    assert soften(z, 1e-4).tolist() == [[0.0, 1.0, 0.0]]
    assert torch.allclose(soften(z, 1e6), torch.full((1, 3), 1 / 3), atol=1e-5)


# ------------------------------------------------------------------------------ value of the loss


@given(two_logits(), temperatures)
def test_loss_is_the_slow_transcription(pair, t):
    z, v = pair
    # float32 log-probabilities are good to about 1e-6, and T^2 magnifies that
    expected = slow(z.double(), v.double(), t)
    assert float(soft_target_loss(z, v, t)) == pytest.approx(expected, rel=1e-4, abs=1e-6 * t**2)


@pytest.mark.parametrize("t", [0.5, 1.0, 4.0, 20.0])
def test_torchdistill_agrees(logits, t):
    oracle = pytest.importorskip(
        "torchdistill.losses.mid_level",
        reason="the independent oracle: pip install --no-deps torchdistill==1.1.5",
    )
    z, v = logits
    labels = torch.arange(len(z))
    # alpha = 0 would drop T^2 there, so the soft part is taken as (CE + soft) - CE
    both = oracle.KDLoss("l", "output", "l", "output", temperature=t, alpha=1.0, beta=1.0)
    theirs = both({"l": {"output": z}}, {"l": {"output": v}}, labels) - F.cross_entropy(z, labels)
    assert float(soft_target_loss(z, v, t)) == pytest.approx(float(theirs), rel=1e-5, abs=1e-5)
    mixed = oracle.KDLoss("l", "output", "l", "output", temperature=t, alpha=0.3)
    theirs = mixed({"l": {"output": z}}, {"l": {"output": v}}, labels)
    ours = full_loss(z, v, labels, temperature=t, soft_weight=0.7, hard_weight=0.3)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@given(two_logits(), temperatures)
def test_loss_is_never_negative_and_shifts_change_nothing(pair, t):
    z, v = pair
    noise = 2e-6 * t**2
    loss = float(soft_target_loss(z, v, t))
    assert loss >= -noise
    shifted = float(soft_target_loss(z + 3.0, v - 2.0, t))
    assert shifted == pytest.approx(loss, rel=1e-3, abs=noise)


@given(two_logits(), temperatures)
def test_loss_is_zero_only_where_the_nets_agree(pair, t):
    """Pinsker: KL is at least twice the square of the total variation, half the sum of |p - q|."""
    z, v = pair
    noise = 2e-6 * t**2
    assert float(soft_target_loss(v, v, t)) == 0.0
    assert float(soft_target_loss(v + 5.0, v, t)) == pytest.approx(0.0, abs=noise)
    other = v.clone()
    other[:, 0] += t  # a change that matters at this temperature
    other[:, 1] -= t
    for student in (z, other):
        apart = (soften(student, t) - soften(v, t)).abs().sum(1) / 2
        least = 2 * t**2 * float(apart.square().mean())
        assert float(soft_target_loss(student, v, t)) >= 0.999 * least - noise


@given(two_logits(), temperatures, st.randoms(use_true_random=False))
def test_classes_and_images_may_be_permuted(pair, t, random):
    z, v = pair
    classes, images = list(range(z.shape[1])), list(range(z.shape[0]))
    random.shuffle(classes)
    random.shuffle(images)
    loss = float(soft_target_loss(z, v, t))
    close = pytest.approx(loss, rel=1e-4, abs=2e-6 * t**2)
    assert float(soft_target_loss(z[:, classes], v[:, classes], t)) == close
    assert float(soft_target_loss(z[images], v[images], t)) == close


@given(two_logits(), temperatures)
def test_loss_is_the_mean_over_images_not_over_classes(pair, t):
    z, v = pair
    close = pytest.approx(float(soft_target_loss(z, v, t)), rel=1e-4, abs=2e-6 * t**2)
    each = [float(soft_target_loss(z[i : i + 1], v[i : i + 1], t)) for i in range(len(z))]
    assert sum(each) / len(each) == close
    assert float(soft_target_loss(z.repeat(3, 1), v.repeat(3, 1), t)) == close


def test_reduction_mean_is_k_times_too_small(logits):
    """The commonest bug: `nn.KLDivLoss()` as it comes divides by the classes, too."""
    z, v = logits
    mean = F.kl_div(log_soften(z, 4.0), soften(v, 4.0), reduction="none").mean()
    assert float(soft_target_loss(z, v, 4.0) / (16 * mean)) == pytest.approx(10, rel=1e-4)


def test_swapped_roles_are_another_loss(logits):
    z, v = logits
    assert float(soft_target_loss(z, v, 4.0)) != pytest.approx(
        float(soft_target_loss(v, z, 4.0)), rel=1e-2
    )
    # the teacher is sure, the student is not: KL(teacher || student) is the log of the student
    sure, unsure = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    assert float(soft_target_loss(unsure, sure, 1.0)) == pytest.approx(math.log(2))
    assert float(soft_target_loss(sure, unsure, 1.0)) == pytest.approx(25 - math.log(2), rel=1e-5)


def test_high_temperature_limit_is_logit_matching(logits):
    z, v = (x - x.mean(1, keepdim=True) for x in logits)
    limit = float(((z - v) ** 2).sum(1).mean() / (2 * z.shape[1]))
    gaps = [abs(slow(z.double(), v.double(), t) - limit) for t in (10.0, 100.0, 1000.0)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.01 * limit
    assert float(soft_target_loss(z, v, 100.0)) == pytest.approx(limit, rel=0.05)


def test_low_temperature_limit_is_the_teachers_first_class():
    z, v = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[3.0, 1.0, 0.0]])
    t = 1e-3  # all mass on the teacher's class 0, where the student is 1/T behind
    assert float(soft_target_loss(z, v, t)) == pytest.approx(t**2 * (1 / t), rel=1e-5)
    assert float(soft_target_loss(v, v, t)) == 0.0


@pytest.mark.parametrize("t", [0.25, 1.0, 4.0, 50.0])
def test_saturated_logits_stay_finite(t):
    """Where `p * (p.log() - log_q)` of a well-known tutorial gives NaN."""
    v = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]])
    z = v.flip(1).requires_grad_()
    loss = soft_target_loss(z, v, t)
    loss.backward()
    assert math.isfinite(loss.detach()) and bool(z.grad.isfinite().all())
    assert float(soft_target_loss(v, v, t)) == 0.0


# ------------------------------------------------------------------------------------- gradients


@given(two_logits(), temperatures)
def test_gradient_is_t_times_q_minus_p_over_b(pair, t):
    z, v = pair
    z = z.clone().requires_grad_()
    soft_target_loss(z, v, t).backward()
    expected = t * (soften(z, t) - soften(v, t)).detach() / len(z)
    assert torch.allclose(z.grad, expected, rtol=1e-4, atol=1e-6 * t)


def test_gradient_in_float64_by_finite_differences(logits):
    z, v = (x[:2].double() for x in logits)
    z = z.requires_grad_()
    soft_target_loss(z, v, 3.0).backward()
    step = 1e-5
    for i, k in ((0, 0), (0, 7), (1, 9)):
        up, down = z.detach().clone(), z.detach().clone()
        up[i, k] += step
        down[i, k] -= step
        slope = (slow(up, v, 3.0) - slow(down, v, 3.0)) / (2 * step)
        assert float(z.grad[i, k]) == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_t_squared_keeps_the_size_of_the_gradient(logits):
    z, v = (x - x.mean(1, keepdim=True) for x in logits)
    sizes = []
    for t in (20.0, 40.0, 80.0):
        student = z.clone().requires_grad_()
        soft_target_loss(student, v, t).backward()
        sizes.append(float(student.grad.norm()))
    limit = float(((z - v) / (10 * len(z))).norm())
    assert sizes[0] == pytest.approx(limit, rel=0.1)
    assert sizes[2] == pytest.approx(limit, rel=0.03)


def test_teacher_gets_no_gradient(logits):
    z, v = (x.clone().requires_grad_() for x in logits)
    full_loss(z, v, torch.arange(6)).backward()
    assert v.grad is None
    assert float(z.grad.abs().sum()) > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("t", [0.25, 1.0, 20.0])
def test_half_precision_inputs_are_computed_in_float32(logits, dtype, t):
    z, v = (x.to(dtype) for x in logits)
    z = z.requires_grad_()
    loss = full_loss(z, v, torch.arange(6), temperature=t)
    assert loss.dtype == torch.float32
    same = full_loss(z.detach().float(), v.float(), torch.arange(6), temperature=t)
    assert float(loss.detach()) == float(same)
    loss.backward()
    assert z.grad.dtype == dtype and bool(z.grad.isfinite().all())
    assert soften(z, t).dtype == torch.float32
    assert torch.allclose(soften(z, t).sum(1), torch.ones(6))


def test_float16_extremes():
    v = torch.tensor([[6e4, -6e4, 0.0]], dtype=torch.float16)
    z = v.flip(1).requires_grad_()
    loss = soft_target_loss(z, v, 1.0)
    loss.backward()
    assert math.isfinite(loss.detach()) and bool(z.grad.isfinite().all())


# --------------------------------------------------------------------------- with the hard labels


def test_distillation_loss_is_the_weighted_sum(logits):
    z, v = logits
    labels = torch.tensor([3, 1, 4, 1, 5, 9])
    ce = sum(-math.log(soften(z, 1.0)[i, y]) for i, y in enumerate(labels.tolist())) / 6
    expected = 0.2 * ce + 0.7 * slow(z.double(), v.double(), 4.0)
    assert float(full_loss(z, v, labels, soft_weight=0.7, hard_weight=0.2)) == pytest.approx(
        expected, rel=1e-5
    )


def test_hard_term_stays_at_temperature_one(logits):
    z, _ = logits
    labels = torch.arange(6)
    for t in (1.0, 4.0, 20.0):
        loss = full_loss(z, z, labels, temperature=t, soft_weight=1.0, hard_weight=1.0)
        assert float(loss) == pytest.approx(float(F.cross_entropy(z, labels)), rel=1e-6)


@given(two_logits(), st.floats(0.05, 0.95))
def test_lambda_and_alpha_differ_by_a_factor(pair, a):
    z, v = pair
    labels = torch.zeros(len(z), dtype=torch.int64)
    one = full_loss(z, v, labels, soft_weight=a / (1 - a), hard_weight=1.0)
    two = full_loss(z, v, labels, soft_weight=a, hard_weight=1 - a)
    assert float(two) == pytest.approx((1 - a) * float(one), rel=1e-4, abs=1e-5)


def test_without_hard_weight_no_label_is_looked_at(logits):
    z, v = logits
    expected = 0.9 * float(soft_target_loss(z, v, 4.0))
    for labels in (None, torch.full((6,), -1), torch.full((6,), 1000)):
        assert float(full_loss(z, v, labels, hard_weight=0.0)) == pytest.approx(expected)


def test_without_soft_weight_the_teacher_does_not_matter(logits):
    z, v = logits
    labels = torch.arange(6)
    expected = float(F.cross_entropy(z, labels))
    for teacher in (v, -v):
        loss = full_loss(z, teacher, labels, soft_weight=0.0, hard_weight=1.0)
        assert float(loss) == pytest.approx(expected)


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("t", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperature(logits, t):
    z, v = logits
    for call in (lambda: soften(z, t), lambda: soft_target_loss(z, v, t)):
        with pytest.raises(ValueError, match="temperature must be positive"):
            call()


@pytest.mark.parametrize("shape", [(6, 11), (1, 10), (6, 1), (10,), (), (6, 10, 1), (5, 10)])
def test_no_shape_is_broadcast(logits, shape):
    z, _ = logits
    for student, teacher in ((z, torch.zeros(shape)), (torch.zeros(shape), z)):
        with pytest.raises(ValueError, match=r"must both be \[batch, classes\]"):
            soft_target_loss(student, teacher, 4.0)
        with pytest.raises(ValueError):
            full_loss(student, teacher, torch.arange(6))


@pytest.mark.parametrize("shape", [(10,), (6, 10, 1)])
def test_equal_but_wrong_shapes(shape):
    with pytest.raises(ValueError, match="batch, classes"):
        soft_target_loss(torch.zeros(shape), torch.zeros(shape), 4.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_diverged_logits_are_named(logits, bad, role):
    z, v = (x.clone() for x in logits)
    (z if role == "student" else v)[2, 3] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        soft_target_loss(z, v, 4.0)


@pytest.mark.parametrize(
    "labels",
    [
        torch.arange(5),
        torch.arange(6)[:, None],
        torch.zeros(6, 10, dtype=torch.int64),
        torch.tensor(3),
        torch.arange(6).float(),  # cross-entropy would call these shapes a mystery
        torch.eye(10)[:6],  # and take these for probabilities
        torch.tensor([0, 1, 2, 3, 4, 10]),  # one class too many
        torch.tensor([0, 1, 2, 3, 4, -1]),
        torch.full((6,), -100),  # what cross-entropy ignores without a word
    ],
    ids=lambda labels: f"{labels.dtype}{list(labels.shape)}max{int(labels.max())}",
)
def test_wrong_labels(logits, labels):
    with pytest.raises(ValueError, match="labels"):
        full_loss(*logits, labels)
