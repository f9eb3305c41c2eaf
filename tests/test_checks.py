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


def passes(images, epochs, students, period, cached):
    return images * (min(epochs, period or epochs) if cached else epochs * students)


def cka(x, y):
    return (x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def diagnose(accuracy, card, renamed, steady, scale):
    if scale < 0.5:
        return "reduction"
    if not steady:
        return "train mode"
    if accuracy > card - 2:
        return "none"
    return "class order" if renamed > card - 2 else "normalisation"


def fgsm(net, x, y, epsilon, step=torch.sign, up=1):
    x.requires_grad_()
    F.cross_entropy(net(x), y).backward()
    return (x + up * epsilon * step(x.grad)).clamp(0, 1)


def squares(x):
    return x.square().sum(1).flatten(1)


def decoupled(z, v, y, *, temperature, target_weight, non_target_weight, rest=lambda p: 1):
    def parts(logits):
        p = F.softmax(logits.double() / temperature, 1)
        target = F.one_hot(y, p.shape[1]).bool()
        return p[target], p[~target].view(len(p), -1)

    (q_y, q), (p_y, p) = parts(z), parts(v)
    tckd = p_y * (p_y / q_y).log() + (1 - p_y) * ((1 - p_y) / (1 - q_y)).log()
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    nckd = rest(p_y) * (p * (p / q).log()).sum(1)
    return temperature**2 * (target_weight * tckd + non_target_weight * nckd).mean()


RIGHT = [
    (checks.check_attention_map, losses.attention_map),
    (checks.check_attention_map, lambda x: squares(x) / squares(x).norm(dim=1, keepdim=True)),
    (checks.check_fgsm, fgsm),
    (checks.check_decoupled_loss, losses.decoupled_loss),
    (checks.check_decoupled_loss, decoupled),
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
    (checks.check_teacher_passes, lambda *case: passes(*case)),
    (checks.check_cka, metrics.cka),
    (checks.check_cka, lambda x, y: cka(x - x.mean(0), y - y.mean(0))),
    (checks.check_diagnose, lambda symptoms: diagnose(**symptoms)),
]

WRONG = [
    (checks.check_attention_map, squares, "not normalised"),
    (checks.check_attention_map, lambda x: F.normalize(x.abs().sum(1).flatten(1)), "of squares"),
    (checks.check_attention_map, lambda x: F.normalize(x.sum(1).flatten(1)), "signs cancel"),
    (checks.check_attention_map, lambda x: F.normalize(squares(x), p=1), "sum to one"),
    (checks.check_attention_map, lambda x: F.normalize(squares(x), dim=0), "over the batch"),
    (checks.check_attention_map, lambda x: F.normalize(x.square().sum(1), dim=1), "shape"),
    (checks.check_fgsm, lambda f, x, y, e: fgsm(f, x, y, e, torch.clone), "its sign"),
    (checks.check_fgsm, lambda f, x, y, e: fgsm(f, x, y, e, up=-1), "downhill"),
    (checks.check_fgsm, lambda f, x, y, e: fgsm(f, x, y, e / 255), "divide by 255"),
    (
        checks.check_fgsm,
        lambda f, x, y, e: x.detach()
        + e * torch.autograd.grad(F.cross_entropy(f(x.requires_grad_()), y), x)[0].sign(),
        "clamp them",
    ),
    (checks.check_decoupled_loss, lambda *c, temperature, **w:
     losses.decoupled_loss(*c, temperature=temperature, **w) / temperature**2, "T² is missing"),
    (checks.check_decoupled_loss, lambda *c, **w: decoupled(*c, rest=lambda p: 1 - p, **w),
     "what DKD drops"),
    (checks.check_decoupled_loss, lambda *c, temperature, target_weight, non_target_weight:
     decoupled(*c, temperature=temperature, target_weight=non_target_weight,
               non_target_weight=target_weight), "weights are swapped"),
    (checks.check_decoupled_loss, lambda z, v, y, **w: decoupled(v, z, y, **w),
     "student and teacher are swapped"),
    (checks.check_decoupled_loss, lambda z, v, y, **w: len(z) * decoupled(z, v, y, **w),
     "take the mean"),
    (checks.check_teacher_passes, lambda n, e, s, p, c: passes(n, e, s, p, c) * s**c, "serve them"),
    (checks.check_teacher_passes, lambda n, e, s, p, c: passes(n, e, 1, p, c), "asks anew"),
    (checks.check_teacher_passes, lambda n, e, s, p, c: n * (min(e, p) if c else e * s), "never"),
    (checks.check_teacher_passes, lambda n, e, s, p, c: n * (1 if c else e * s), "as many answers"),
    (
        checks.check_teacher_passes,
        lambda n, e, s, p, c: n * ((p or e) if c else e * s),
        "no more epochs",
    ),
    (checks.check_cka, cka, "not centred"),
    (checks.check_cka, lambda x, y: metrics.cka(x, y) ** 0.5, "square is missing"),
    (
        checks.check_cka,
        lambda x, y: ((x - x.mean(0)).T @ (y - y.mean(0))).square().sum(),
        "not normalised",
    ),
    (checks.check_diagnose, lambda symptoms: "none", "comes from 'reduction'"),
    (
        checks.check_diagnose,
        lambda symptoms: diagnose(**symptoms | {"steady": True}),
        "contradicts itself",
    ),
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


RIGHT += [
    (checks.check_chance_of_luck, lambda n: 1 - 0.95**n),
    (checks.check_verdict, lambda low, high, more:
     "noise" if low <= 0 <= high else "better" if (low > 0) == more else "worse"),
    (checks.check_honest_gain, lambda g:
     g.gather(0, (g.sum(1, keepdim=True) - g).argmax(0, keepdim=True)).mean()),
]  # fmt: skip
WRONG += [
    (checks.check_chance_of_luck, lambda n: 0.05 * n, "how many to expect"),
    (checks.check_chance_of_luck, lambda n: 0.95**n, "chance of none"),
    (checks.check_verdict, lambda low, high, more:
     "noise" if low <= 0 <= high else "better" if low > 0 else "worse", "fewer errors"),
    (checks.check_verdict, lambda low, high, more: "better" if high > 0 else "worse", "noise"),
    (checks.check_honest_gain, lambda g: g.mean(1).max(), "same seeds"),
    (checks.check_honest_gain, lambda g: g.max(0).values.mean(), "best of each seed"),
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
