"""Soft targets against closed forms, autograd, torchdistill, a slow transcription; bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from oracles import ENDS, LABELS, draw, oracle, soft, softmax, three

from kdlab.losses import distillation_loss, entropy, log_soften, soft_target_loss, soften

STUDENT, TEACHER = draw("soft_target_loss", seed=3)
two_logits = three(smallest=0.01, largest=15.0).map(lambda given: given[:2])
temperatures = st.floats(0.25, 50.0)


def test_soften_is_the_closed_form():
    z = torch.tensor([[math.log(1.0), math.log(2.0), math.log(5.0)]])
    assert torch.allclose(soften(z, 1.0), torch.tensor([[1.0, 2.0, 5.0]]) / 8)
    roots = torch.tensor([[1.0, 2.0, 5.0]]).sqrt()
    assert torch.allclose(soften(z, 2.0), roots / roots.sum())
    assert torch.allclose(log_soften(z, 2.0).exp(), soften(z, 2.0))


@given(two_logits, temperatures)
def test_soften_is_the_slow_transcription_in_the_order_of_the_logits(pair, t):
    z, _ = pair
    p = soften(z, t)
    expected = torch.tensor([softmax(row, t) for row in z.tolist()])
    assert torch.allclose(p, expected, atol=1e-5) and bool((p >= 0).all())
    assert torch.allclose(p.sum(1), torch.ones(len(z)))
    assert torch.equal(p.argmax(1), z.argmax(1))


def test_temperature_limits_of_soften():
    z = torch.tensor([[1.0, 3.0, 2.0]])
    assert soften(z, 1e-4).tolist() == [[0.0, 1.0, 0.0]]
    assert torch.allclose(soften(z, 1e6), torch.full((1, 3), 1 / 3), atol=1e-5)


def test_entropy_at_both_ends():
    ends = entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert ends.tolist() == pytest.approx([0.0, math.log(2)])


@given(two_logits, temperatures)
def test_loss_is_the_slow_transcription(pair, t):
    z, v = pair
    # float32 log-probabilities are good to about 1e-6, and T^2 magnifies that
    expected = soft(z.tolist(), v.tolist(), t)
    assert float(soft_target_loss(z, v, t)) == pytest.approx(expected, rel=1e-4, abs=1e-6 * t**2)


@pytest.mark.parametrize("t", [0.5, 1.0, 4.0, 20.0])
def test_torchdistill_agrees(t):
    def theirs(**options):
        return float(oracle("KDLoss", *ENDS, temperature=t, **options)(*given))

    given = STUDENT, TEACHER, LABELS
    # alpha = 0 would drop T^2 there, so the soft part is taken as (CE + soft) - CE
    alone = theirs(alpha=1.0, beta=1.0) - float(F.cross_entropy(STUDENT, LABELS))
    assert float(soft_target_loss(*given[:2], t)) == pytest.approx(alone, rel=1e-5, abs=1e-5)
    ours = distillation_loss(*given, temperature=t, soft_weight=0.7, hard_weight=0.3)
    assert float(ours) == pytest.approx(theirs(alpha=0.3), rel=1e-5)


@given(two_logits, temperatures)
def test_loss_is_zero_only_where_the_nets_agree(pair, t):
    """Pinsker: KL is at least twice the square of the total variation, half the sum of |p - q|."""
    z, v = pair
    noise = 2e-6 * t**2
    assert float(soft_target_loss(v, v, t)) == 0.0
    assert float(soft_target_loss(v + 5.0, v - 2.0, t)) == pytest.approx(0.0, abs=noise)
    other = v.clone()
    other[:, 0] += t  # a change that matters at this temperature
    other[:, 1] -= t
    for student in (z, other):
        apart = (soften(student, t) - soften(v, t)).abs().sum(1) / 2
        least = 2 * t**2 * float(apart.square().mean())
        assert float(soft_target_loss(student, v, t)) >= 0.999 * least - noise


def test_low_temperature_limit_is_the_teachers_first_class():
    z, v = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[3.0, 1.0, 0.0]])
    t = 1e-3  # all mass on the teacher's class 0, where the student is 1/T behind
    assert float(soft_target_loss(z, v, t)) == pytest.approx(t**2 * (1 / t), rel=1e-5)
    assert float(soft_target_loss(v, v, t)) == 0.0


@given(two_logits, temperatures)
def test_gradient_is_t_times_q_minus_p_over_b(pair, t):
    z, v = pair
    z = z.clone().requires_grad_()
    soft_target_loss(z, v, t).backward()
    expected = t * (soften(z, t) - soften(v, t)).detach() / len(z)
    assert torch.allclose(z.grad, expected, rtol=1e-4, atol=1e-6 * t)


@pytest.mark.parametrize("t", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperature(t):
    for call in (lambda: soften(STUDENT, t), lambda: soft_target_loss(STUDENT, TEACHER, t)):
        with pytest.raises(ValueError, match="temperature must be positive"):
            call()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("role", [0, 1])
def test_diverged_logits_are_named(bad, role):
    logits = STUDENT.clone(), TEACHER.clone()
    logits[role][2, 3] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        soft_target_loss(*logits, 4.0)
