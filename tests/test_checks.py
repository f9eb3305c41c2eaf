"""The checks under the exercises: they pass what is right and name the usual mistakes."""

from functools import partial

import numpy as np
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


def js(z, v, middle=lambda p, q: (p + q) / 2):
    q, p = z.softmax(1), v.softmax(1)
    m = middle(p, q)
    return sum((x * (x / m).log()).sum(1) for x in (p, q)).mean() / 2


def tar(genuine, impostor, far):
    threshold = sorted(impostor.tolist(), reverse=True)[int(far * len(impostor) + 1e-9)]
    return 100 * sum(g > threshold for g in genuine.tolist()) / len(genuine)


def text_kl(p, q, length, who=0):
    p, q = p.softmax(1), q.softmax(1)
    now, total = torch.eye(len(p))[0], 0
    for _ in range(length):
        total = total + (now[:, None] * p * (p / q).log()).sum()
        now = (p, q)[who].T @ now
    return total


def waits(due, service):
    free, found = 0.0, []
    for at, takes in zip(due, service, strict=True):
        free = max(free, at) + takes
        found.append(free - at)
    return found


pairs = partial(zip, strict=True)


def threshold_noise(p, n, w):
    return (p * (1 - p) * (1 / w + 1 / n)) ** 0.5


def threshold(p, n, w, k, noise=threshold_noise):
    return p - k * noise(p, n, w)


RIGHT = [
    (checks.check_tar_at_far, metrics.tar_at_far),
    (checks.check_tar_at_far, tar),
    (checks.check_jensen_shannon, losses.jensen_shannon_loss),
    (checks.check_jensen_shannon, js),
    (checks.check_sequence_kl, text_kl),
    (checks.check_download_seconds, lambda size, rate: size * 8 / rate / 1e6),
    (checks.check_waits, waits),
    (checks.check_threshold, threshold),
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
    (checks.check_tar_at_far, lambda g, i, far: tar(g, i, far) / 100, "give percent"),
    (checks.check_tar_at_far, lambda g, i, far: tar(i, g, far), "swapped"),
    (checks.check_tar_at_far, lambda g, i, far: 100 - tar(g, -i, far), "expected"),
    (checks.check_tar_at_far, lambda g, i, far: tar(g, g, far), "comes from their scores"),
    (checks.check_tar_at_far, lambda g, i, far: 100 - tar(g, i, far), "are refused"),
    (
        checks.check_tar_at_far,
        lambda g, i, far: 100 * (g > i.sort().values[int(far * len(i))]).float().mean(),
        "their largest scores",
    ),
    (checks.check_jensen_shannon, lambda z, v: 2 * js(z, v), "mean of two KLs"),
    (checks.check_jensen_shannon, lambda z, v: kl(z, v, 1.0), "compared with their mean"),
    (checks.check_jensen_shannon, lambda z, v: len(z) * js(z, v), "number of images"),
    (checks.check_jensen_shannon, lambda z, v: js(z, v) / z.shape[1], "sum over them"),
    (
        checks.check_jensen_shannon,
        lambda z, v: js(z, v, lambda p, q: ((p.log() + q.log()) / 2).softmax(1)),
        "average the probabilities",
    ),
    (
        checks.check_jensen_shannon,
        lambda z, v: (kl(z, ((z.softmax(1) + v.softmax(1)) / 2).log(), 1.0)
                      + kl(v, ((z.softmax(1) + v.softmax(1)) / 2).log(), 1.0)) / 2,
        "the other way round",
    ),
    (checks.check_sequence_kl, lambda p, q, n: text_kl(p, q, 1), "all positions"),
    (checks.check_sequence_kl, lambda p, q, n: text_kl(p, q, n, who=1), "texts are the teacher's"),
    (checks.check_sequence_kl, lambda p, q, n: text_kl(q, p, n), "swapped"),
    (checks.check_sequence_kl, lambda p, q, n: text_kl(p, q, n) / n, "is their sum"),
    (checks.check_download_seconds, lambda size, rate: size / rate / 1e6, "eight bits"),
    (checks.check_download_seconds, lambda size, rate: size * 8 / rate / 2**20, "a million"),
    (checks.check_download_seconds, lambda size, rate: size * 8 * rate / 1e6, "divide"),
    (checks.check_waits, lambda due, service: service, "those before it"),
    (checks.check_waits, lambda due, service: [sum(p) for p in pairs(due, waits(due, service))],
     "not from the start"),
    (checks.check_waits, lambda due, takes: [w - s for w, s in pairs(waits(due, takes), takes)],
     "to the answer"),
    (checks.check_waits, lambda due, takes: [sum(takes[: i + 1]) - d for i, d in enumerate(due)],
     "work ahead"),
    (checks.check_threshold, lambda p, n, w, k: threshold(p, n, w, -k), "below"),
    (checks.check_threshold, lambda *c: threshold(*c, lambda p, n, w: (p * (1 - p) / w) ** 0.5),
     "a sample, too"),
    (checks.check_threshold, lambda *c: threshold(*c, lambda *c: threshold_noise(*c) ** 2),
     "take the root"),
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


def best(nets, limit, key="accuracy", keeps=lambda net, limit: net["p95"] <= limit):
    fit = [net for net in nets if keeps(net, limit)]
    return max(fit, key=lambda net: net[key])["name"] if fit else None


def interpolated(times, warm_up):
    return np.percentile(times[warm_up:], [50, 95])


RIGHT += [
    (checks.check_gap_closed, lambda t, a, d: (d - a) / (t - a)),
    (checks.check_latency_summary, interpolated),
    (checks.check_best_within, best),
]
WRONG += [
    (checks.check_gap_closed, lambda t, a, d: d / t, "what the labels taught"),
    (checks.check_gap_closed, lambda t, a, d: (t - d) / (t - a), "left open"),
    (checks.check_gap_closed, lambda t, a, d: d - a, "not a share"),
    (checks.check_gap_closed, lambda t, a, d: max(0.0, (d - a) / (t - a)), "negative"),
    (checks.check_gap_closed, lambda t, a, d: min(1.0, (d - a) / (t - a)), "cut at 1"),
    (checks.check_latency_summary, lambda t, w: interpolated(t, 0), "warm-up"),
    (checks.check_latency_summary, lambda t, w: (np.mean(t[w:]), interpolated(t, w)[1]), "mean"),
    (checks.check_latency_summary, lambda t, w: (interpolated(t, w)[0], max(t[w:])), "slowest"),
    (checks.check_best_within, lambda nets, limit: best(nets, 1e9), "does not keep the limit"),
    (
        checks.check_best_within,
        lambda nets, limit: min(nets, key=lambda net: net["parameters"])["name"],
        "smallest",
    ),
    (
        checks.check_best_within,
        lambda nets, limit: min(nets, key=lambda net: net["p95"])["name"],
        "fastest",
    ),
    (checks.check_best_within, lambda nets, limit: best(nets, limit) or "A", "limit"),
    (
        checks.check_best_within,
        lambda nets, limit: best(nets, limit, keeps=lambda net, most: net["p95"] < most),
        "mind the limit",
    ),
]


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
