"""The checks under the exercises: they pass what is right and name the usual mistakes."""

import pytest
import torch
import torch.nn.functional as F

from kdlab import checks, losses, metrics


def kl(z, v, t, reduction="batchmean"):
    return F.kl_div(F.log_softmax(z / t, 1), F.softmax(v / t, 1), reduction=reduction)


def mixed(hard, soft):
    """A distillation loss from a hard and a soft term."""

    def loss(z, v, y, *, temperature, soft_weight, hard_weight):
        return hard_weight * hard(z, y, temperature) + soft_weight * soft(z, v, temperature)

    return loss


def hard(z, y, t):
    return F.cross_entropy(z, y)


RIGHT = [
    (checks.check_soften, losses.soften),
    (checks.check_entropy, losses.entropy),
    (checks.check_soft_target_loss, losses.soft_target_loss),
    (checks.check_soft_target_loss, lambda z, v, t: t * t * kl(z, v, t)),
    (checks.check_distillation_loss, losses.distillation_loss),
    (checks.check_distillation_loss, mixed(hard, losses.soft_target_loss)),
    (
        checks.check_soft_gradient,
        lambda z, v, t: (losses.soften(z, t) - losses.soften(v, t)) / t,
    ),
    (checks.check_mass_matching_shift, metrics.mass_matching_shift),
]

WRONG = [
    (
        checks.check_mass_matching_shift,
        lambda z, v, c: -metrics.mass_matching_shift(z, v, c),
        "sign",
    ),
    (checks.check_soften, lambda z, t: F.softmax(z, 1), "no effect"),
    (checks.check_soften, lambda z, t: F.softmax(z * t, 1), "multiplies by T"),
    (checks.check_soften, lambda z, t: F.softmax(z / t, 0), "dim=1"),
    (checks.check_soften, lambda z, t: F.log_softmax(z / t, 1), "log-probabilities"),
    (checks.check_soften, lambda z, t: (z / t).exp() / (z / t).exp().sum(1, keepdim=True), "NaN"),
    (checks.check_entropy, lambda p: -(p * p.log2()).nansum(1), "bits"),
    (checks.check_entropy, lambda p: (p * p.log()).nansum(1), "minus the sum"),
    (checks.check_entropy, lambda p: -(p * p.log()).nansum(), "shape"),
    (checks.check_entropy, lambda p: -(p * p.log()).sum(1), "0 log 0"),
    (checks.check_soft_target_loss, kl, "T² is missing"),
    (checks.check_soft_target_loss, lambda z, v, t: t * kl(z, v, t), "the factor is T²"),
    (checks.check_soft_target_loss, lambda z, v, t: t**2 * kl(z, v, t, "none"), "shape"),
    (checks.check_soft_target_loss, lambda z, v, t: t**2 * kl(z, v, t, "none").mean(), "batchmean"),
    (checks.check_soft_target_loss, lambda z, v, t: t**2 * kl(z, v, t, "sum"), "number of images"),
    (checks.check_soft_target_loss, lambda z, v, t: t**2 * kl(v, z, t), "swapped"),
    (
        checks.check_soft_target_loss,
        lambda z, v, t: t**2 * F.kl_div((z / t).softmax(1), (v / t).softmax(1), reduction="sum")
        / len(z),
        "log_softmax",
    ),
    (
        checks.check_soft_target_loss,
        lambda z, v, t: t**2 * F.cross_entropy(z / t, F.softmax(v / t, 1)),
        "entropy",
    ),
    (checks.check_soft_target_loss, lambda z, v, t: torch.zeros(()), "expected"),
    (checks.check_distillation_loss, mixed(hard, kl), "lacks T²"),
    (
        checks.check_distillation_loss,
        mixed(lambda z, y, t: F.cross_entropy(z / t, y), losses.soft_target_loss),
        "T = 1",
    ),
    (
        checks.check_distillation_loss,
        mixed(hard, lambda z, v, t: losses.soft_target_loss(v, z, t)),
        "swapped in the soft term",
    ),
    (
        checks.check_distillation_loss,
        lambda z, v, y, *, temperature, soft_weight, hard_weight: losses.distillation_loss(
            z, v, y, temperature=temperature, soft_weight=hard_weight, hard_weight=soft_weight
        ),
        "weights are swapped",
    ),
    (checks.check_soft_gradient, lambda z, v, t: z.softmax(1) - v.softmax(1), "soft_gradient"),
    (
        checks.check_soft_gradient,
        lambda z, v, t: losses.soften(z, t) - losses.soften(v, t),
        "chain rule",
    ),
    (
        checks.check_soft_gradient,
        lambda z, v, t: (losses.soften(v, t) - losses.soften(z, t)) / t,
        "sign",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("check", "solution"), RIGHT)
def test_right_solutions_pass(check, solution, capsys):
    check(solution)
    assert "passed" in capsys.readouterr().out


@pytest.mark.parametrize(("check", "solution", "hint"), WRONG)
def test_wrong_solutions_get_their_hint(check, solution, hint, capsys):
    with pytest.raises(AssertionError, match=hint):
        check(solution)
    assert "passed" not in capsys.readouterr().out


@pytest.mark.parametrize("check", dict.fromkeys(check for check, _ in RIGHT))
def test_a_stub_is_not_done_yet(check, capsys):
    def stub(*args, **options):
        raise NotImplementedError

    check(stub)
    name = check.__name__.removeprefix("check_")
    assert capsys.readouterr().out == f"{name}: not done yet.\n"
