"""The checks under the exercises: they pass what is right and name the usual mistakes."""

import itertools
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq

from kdlab.show import checks


def kl(z, v, t):
    return F.kl_div(F.log_softmax(z / t, 1), F.softmax(v / t, 1), reduction="batchmean")


def distillation(z, v, y, *, temperature, soft_weight, hard_weight):
    soft = temperature**2 * kl(z, v, temperature)
    return hard_weight * F.cross_entropy(z, y) + soft_weight * soft


def gradient(z, v, t):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(len(z) * kl(z, v, t), z)[0]


def cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return (x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def fgsm(net, x, y, epsilon):
    x.requires_grad_()
    F.cross_entropy(net(x), y).backward()
    return (x + epsilon * x.grad.sign()).clamp(0, 1)


def squares(x):
    return x.square().sum(1).flatten(1)


def decoupled(z, v, y, *, temperature, target_weight, non_target_weight):
    def parts(logits):
        p = F.softmax(logits.double() / temperature, 1)
        target = F.one_hot(y, p.shape[1]).bool()
        return p[target], p[~target].view(len(p), -1)

    (q_y, q), (p_y, p) = parts(z), parts(v)
    tckd = p_y * (p_y / q_y).log() + (1 - p_y) * ((1 - p_y) / (1 - q_y)).log()
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    nckd = (p * (p / q).log()).sum(1)
    return temperature**2 * (target_weight * tckd + non_target_weight * nckd).mean()


def jensen_shannon(z, v):
    q, p = z.softmax(1), v.softmax(1)
    m = (p + q) / 2
    return sum((x * (x / m).log()).sum(1) for x in (p, q)).mean() / 2


def tar(genuine, impostor, far):
    threshold = sorted(impostor.tolist(), reverse=True)[int(far * len(impostor) + 1e-9)]
    return 100 * sum(g > threshold for g in genuine.tolist()) / len(genuine)


def text_kl(p, q, length):
    """Over all V ** length texts, one by one."""
    p, q = p.log_softmax(1), q.log_softmax(1)
    total = 0
    for text in itertools.product(range(len(p)), repeat=length):
        steps = list(zip((0, *text), text, strict=False))
        of_p, of_q = (sum(model[step] for step in steps) for model in (p, q))
        total = total + of_p.exp() * (of_p - of_q)
    return total


def shift(z, v, classes):
    """By Brent's method, where the course bisects."""
    wanted = v.softmax(1)[:, classes].sum(1).mean()

    def missing(add):
        raised = z.double()
        raised[:, classes] += add
        return float(raised.softmax(1)[:, classes].sum(1).mean() - wanted)

    return brentq(missing, -60, 60)


def waits(due, service):
    ends = []
    for at, takes in zip(due, service, strict=True):
        ends.append(max([at, *ends]) + takes)
    return [end - at for end, at in zip(ends, due, strict=True)]


def rounds_of_ridge(x, y, lam, rounds):
    """By least squares on stacked rows, round after round."""
    for _ in range(rounds):
        stacked = torch.cat([x, lam**0.5 * torch.eye(x.shape[1])])
        y = x @ torch.linalg.lstsq(stacked, F.pad(y, (0, 0, 0, x.shape[1]))).solution
    return y


def acceptance(v, z, t):
    """One minus what of the target is refused."""
    return 1 - F.relu(F.softmax(v / t, 1) - F.softmax(z / t, 1)).sum(1).mean()


def to_go(s, p):
    return torch.stack([(s - p)[:, t:].sum(1) for t in range(s.shape[1])], 1)


RIGHT = {  # each written without kdlab
    "soften": lambda z, t: F.softmax(z / t, 1),
    "entropy": lambda p: -(p * p.log()).nansum(1),
    "soft_target_loss": lambda z, v, t: t * t * kl(z, v, t),
    "distillation_loss": distillation,
    "soft_gradient": gradient,
    "mass_matching_shift": shift,
    "attention_map": lambda x: squares(x) / squares(x).norm(dim=1, keepdim=True),
    "decoupled_loss": decoupled,
    "jensen_shannon": jensen_shannon,
    "sequence_kl": text_kl,
    "acceptance": acceptance,
    "ridge_rounds": rounds_of_ridge,
    "reward_to_go": to_go,
    "teacher_passes": lambda n, e, s, p, c: n * (min(e, p or e) if c else e * s),
    "cka": cka,
    "diagnose": lambda told: next(fault for fault, is_it in {
        "reduction": told["scale"] < 0.9, "train mode": not told["steady"],
        "none": told["card"] - told["accuracy"] < 2,
        "class order": told["renamed"] - told["accuracy"] > 20, "normalisation": True,
    }.items() if is_it),
    "fgsm": fgsm,
    "gap_closed": lambda t, a, d: (d - a) / (t - a),
    "latency_summary": lambda times, warm_up: np.percentile(times[warm_up:], [50, 95]),
    "best_within": lambda nets, limit: next((net["name"] for net in sorted(
        nets, key=lambda net: -net["accuracy"]) if net["p95"] <= limit), None),
    "tar_at_far": tar,
    "download_seconds": lambda size, rate: size * 8 / rate / 1e6,
    "waits": waits,
    "threshold": lambda p, n, w, k: p - k * (p * (1 - p) / w + p * (1 - p) / n) ** 0.5,
    "chance_of_luck": lambda n: 1 - 0.95**n,
    "verdict": lambda low, high, more:
        "noise" if low * high <= 0 else "better" if (low > 0) == more else "worse",
    "honest_gain": lambda g: sum(
        g[np.delete(g.numpy(), s, 1).mean(1).argmax(), s] for s in range(g.shape[1])) / g.shape[1],
}  # fmt: skip
CHECKS = {name[6:]: check for name, check in vars(checks).items() if name.startswith("check_")}


def mistakes(check):
    """What a check knows: its hints, each with a function that makes the mistake."""

    def hints_of(*case, **options):
        hints.extend(check.__wrapped__(*case, **options)[1])
        raise NotImplementedError

    hints = []
    check(hints_of)
    return {
        hint: lambda *case, hint=hint, **options: check.__wrapped__(*case, **options)[1][hint]
        for hint in hints
    }


MISTAKES = [(name, *made) for name, check in CHECKS.items() for made in mistakes(check).items()]
FURTHER = [  # what every check says without a mistake of its own
    ("soften", lambda z, t: (z / t).exp() / (z / t).exp().sum(1, keepdim=True), "NaN; the exp of"),
    ("entropy", lambda p: -(p * p.log()).nansum(), r"must have shape \[1\], yours has \[\]"),
    ("entropy", lambda p: -(p * p.log()).sum(1), "0 log 0 must count as 0"),
    ("soft_target_loss", lambda z, v, t: torch.zeros(()), r"expected \d\.\d+, yours gives 0.0"),
    ("attention_map", lambda x: F.normalize(x.square().sum(1), dim=1), "must have shape"),
    ("diagnose", lambda symptoms: "none", "'steady': True.* wants 'reduction', yours says 'none'"),
    ("best_within", lambda nets, limit: 0.5, "wants 'A', yours says tensor"),
    ("honest_gain", lambda g: g.sum(), "expected"),
]


def test_every_exercise_has_a_check_and_a_solution_of_its_own():
    assert set(RIGHT) == set(CHECKS)
    assert len(MISTAKES) == 109


@pytest.mark.parametrize("name", RIGHT)
def test_right_solutions_pass(name, capsys):
    CHECKS[name](RIGHT[name])
    assert capsys.readouterr().out == f"All checks of {name} passed.\n"


@pytest.mark.parametrize(("name", "hint", "wrong"), MISTAKES)
def test_each_mistake_gets_its_own_hint(name, hint, wrong, capsys):
    """It differs from the right answer, and from every mistake that is tried before it."""
    with pytest.raises(AssertionError, match=f"^{re.escape(f'{name}: {hint}')}$"):
        CHECKS[name](wrong)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "wrong", "told"), FURTHER)
def test_any_other_answer_is_told_what_was_expected(name, wrong, told):
    with pytest.raises(AssertionError, match=told):
        CHECKS[name](wrong)


@pytest.mark.parametrize("name", CHECKS)
def test_a_stub_is_not_done_yet(name, capsys):
    def stub(*args, **options):
        raise NotImplementedError

    CHECKS[name](stub)
    assert capsys.readouterr().out == f"{name}: not done yet.\n"


def test_a_function_that_changes_its_input_spoils_nothing(capsys):
    def careless(genuine, impostor, far):
        found = tar(genuine, impostor, far)
        genuine.zero_()
        return found

    for _ in range(2):
        checks.check_tar_at_far(careless)
        assert "passed" in capsys.readouterr().out
