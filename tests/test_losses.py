"""Soft targets against closed forms, autograd, torchdistill, a slow transcription; bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_losses_methods import soft, torchdistill

from kdlab.losses import distillation_loss, entropy, log_soften, soft_target_loss, soften


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
    ends = entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert ends.tolist() == pytest.approx([0.0, math.log(2)])


def test_temperature_limits_of_soften():
    z = torch.tensor([[1.0, 3.0, 2.0]])
    assert soften(z, 1e-4).tolist() == [[0.0, 1.0, 0.0]]
    assert torch.allclose(soften(z, 1e6), torch.full((1, 3), 1 / 3), atol=1e-5)


# ------------------------------------------------------------------------------ value of the loss


@given(two_logits(), temperatures)
def test_loss_is_the_slow_transcription(pair, t):
    z, v = pair
    # float32 log-probabilities are good to about 1e-6, and T^2 magnifies that
    expected = soft(z.tolist(), v.tolist(), t)
    assert float(soft_target_loss(z, v, t)) == pytest.approx(expected, rel=1e-4, abs=1e-6 * t**2)


@pytest.mark.parametrize("t", [0.5, 1.0, 4.0, 20.0])
def test_torchdistill_agrees(logits, t):
    def theirs(**options):
        loss = torchdistill().KDLoss("l", "output", "l", "output", temperature=t, **options)
        return float(loss(*({"l": {"output": x}} for x in logits), labels))

    z, v = logits
    labels = torch.arange(len(z))
    # alpha = 0 would drop T^2 there, so the soft part is taken as (CE + soft) - CE
    alone = theirs(alpha=1.0, beta=1.0) - float(F.cross_entropy(z, labels))
    assert float(soft_target_loss(z, v, t)) == pytest.approx(alone, rel=1e-5, abs=1e-5)
    ours = distillation_loss(z, v, labels, temperature=t, soft_weight=0.7, hard_weight=0.3)
    assert float(ours) == pytest.approx(theirs(alpha=0.3), rel=1e-5)


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
    ours = soft_target_loss(z, v, 4.0)
    assert float(ours / (16 * mean)) == pytest.approx(10, rel=1e-4)
    more = [F.pad(x, (0, 90), value=-1e4) for x in logits]  # which both nets exclude
    assert torch.isclose(soft_target_loss(*more, 4.0), ours)


def test_swapped_roles_are_another_loss(logits):
    z, v = logits
    one, other = (float(soft_target_loss(*pair, 4.0)) for pair in ((z, v), (v, z)))
    assert one != pytest.approx(other, rel=1e-2)
    # the teacher is sure, the student is not: KL(teacher || student) is the log of the student
    sure, unsure = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    assert float(soft_target_loss(unsure, sure, 1.0)) == pytest.approx(math.log(2))
    assert float(soft_target_loss(sure, unsure, 1.0)) == pytest.approx(25 - math.log(2), rel=1e-5)


def test_low_temperature_limit_is_the_teachers_first_class():
    z, v = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[3.0, 1.0, 0.0]])
    t = 1e-3  # all mass on the teacher's class 0, where the student is 1/T behind
    assert float(soft_target_loss(z, v, t)) == pytest.approx(t**2 * (1 / t), rel=1e-5)
    assert float(soft_target_loss(v, v, t)) == 0.0


# ------------------------------------------------------------------------------------- gradients


@given(two_logits(), temperatures)
def test_gradient_is_t_times_q_minus_p_over_b(pair, t):
    z, v = pair
    z = z.clone().requires_grad_()
    soft_target_loss(z, v, t).backward()
    expected = t * (soften(z, t) - soften(v, t)).detach() / len(z)
    assert torch.allclose(z.grad, expected, rtol=1e-4, atol=1e-6 * t)


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


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("t", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperature(logits, t):
    z, v = logits
    for call in (lambda: soften(z, t), lambda: soft_target_loss(z, v, t)):
        with pytest.raises(ValueError, match="temperature must be positive"):
            call()


@pytest.mark.parametrize("shape", [(6, 11), (1, 10), (6, 1), (10,), (), (6, 10, 1), (5, 10)])
def test_no_shape_is_broadcast(logits, shape):
    z, bad = logits[0], torch.zeros(shape)
    for pair in ((z, bad), (bad, z), (bad, bad))[: 2 if len(shape) == 2 else 3]:
        with pytest.raises(ValueError, match=r"must both be \[batch, classes\]"):
            soft_target_loss(*pair, 4.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_diverged_logits_are_named(logits, bad, role):
    z, v = (x.clone() for x in logits)
    (z if role == "student" else v)[2, 3] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        soft_target_loss(z, v, 4.0)
