"""Checks of what is done around a loss: measuring, deploying, judging, attacking."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab import metrics
from kdlab.show.checks.exercise import exercise


def teacher_passes(images: int, epochs: int, students: int, period: int, cached: bool) -> int:
    if cached:
        return images * min(epochs, period or epochs)
    return images * epochs * students


@exercise("teacher_passes", [
    *((100, 15, 4, period, cached) for period in (1, 2, 0) for cached in (True, False)),
    (50, 1, 3, 2, True),
], [
    ("with a cache the number of students does not count: the answers serve them all",
     lambda n, e, s, p, c: teacher_passes(n, e, s, p, c) * (s if c else 1)),
    ("without a cache every student asks anew", lambda n, e, s, p, c:
     teacher_passes(n, e, 1, p, c)),
    ("period 0 means that the views never repeat: every epoch has its own",
     lambda n, e, s, p, c: n * min(e, p) if c else n * e * s),
    ("a cache of random views needs as many answers as there are different views",
     lambda n, e, s, p, c: n if c else n * e * s),
    ("no more epochs of answers than epochs of training",
     lambda n, e, s, p, c: n * (p or e) if c else n * e * s),
])  # fmt: skip
def check_teacher_passes(images: int, epochs: int, students: int, period: int, cached: bool) -> int:
    """`passes(images, epochs, students, period, cached) -> int`: forward passes of the teacher.

    `period`: after how many epochs the views repeat, 0 if they never do (as `Views.period`).
    """
    return teacher_passes(images, epochs, students, period, cached)


def paired_features() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, d, generator=draw) + 1 for d in (6, 9))
    mixed = y + (x @ torch.randn(6, 9, generator=draw)) / 2
    return [(x, x), (x, y), (x, mixed), (5 * x, mixed)]


def cka_as_they_are(x: Tensor, y: Tensor) -> Tensor:
    x, y = x @ x.T, y @ y.T
    return (x * y).sum() / (x.norm() * y.norm())


@exercise("cka", paired_features(), [
    ("the features are not centred: take off each column's mean over the images", cka_as_they_are),
    ("not normalised: a net with twice the scale must be just as similar", lambda x, y:
     ((x - x.mean(dim=0)).T @ (y - y.mean(dim=0))).square().sum()),
    ("the square is missing: the Gram matrices are compared, not the features", lambda x, y:
     cka_as_they_are(x - x.mean(dim=0), y - y.mean(dim=0)).sqrt()),
])  # fmt: skip
def check_cka(first: Tensor, second: Tensor) -> float:
    """`cka(first [N, D1], second [N, D2]) -> float`: linear CKA of features of the same images."""
    return metrics.cka(first, second)


SYMPTOMS = ("accuracy", "card", "renamed", "steady", "scale")
PATIENTS = (
    (91.5, 92.0, 91.5, True, 1.0), (84.0, 84.4, 84.1, True, 1.0), (92.3, 92.0, 92.3, True, 0.1),
    (75.0, 75.6, 75.0, True, 0.01), (9.0, 92.0, 91.8, True, 1.0), (31.0, 84.4, 84.0, True, 1.0),
    (55.0, 92.0, 57.0, True, 1.0), (10.0, 84.4, 14.0, True, 1.0), (88.0, 92.0, 88.0, False, 1.0),
    (91.9, 92.0, 91.9, False, 1.0), (60.0, 84.4, 61.0, False, 1.0),
)  # fmt: skip


def diagnose(symptoms: dict) -> str:
    accuracy, card, renamed, steady, scale = (symptoms[name] for name in SYMPTOMS)
    if scale < 0.5:
        return "reduction"
    if not steady:
        return "train mode"
    if accuracy > card - 2:
        return "none"
    return "class order" if renamed > card - 2 else "normalisation"


@exercise("diagnose", [(dict(zip(SYMPTOMS, p, strict=True)),) for p in PATIENTS], [
    ("a teacher that contradicts itself is told by `steady`, whatever its accuracy",
     lambda symptoms: diagnose(symptoms | {"steady": True})),
])  # fmt: skip
def check_diagnose(symptoms: dict) -> str:
    """`diagnose(symptoms) -> str`: which fault a set-up has, told from four measurements.

    `symptoms`: "accuracy" of the teacher here and on its "card", both in %; "renamed", its accuracy
    when each class it names is taken for the one it mostly means; "steady", whether it answers an
    image alike in other company; "scale", soft term / what it should be. The faults are "train
    mode", "normalisation", "class order", "reduction" and, where all is well, "none".
    """
    return diagnose(symptoms)


def attacked() -> list[tuple]:
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(3 * 4 * 4, 5, generator=draw)
    pixels, labels = torch.rand(4, 3, 4, 4, generator=draw), torch.tensor([0, 4, 2, 1])
    pixels[0, 0], pixels[1, 0] = 0.0, 1.0
    return [(lambda x: x.flatten(1) @ weights, pixels, labels, e) for e in (8 / 255, 0.3)]


def slope(net: Callable, x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(net(x), y), x)[0]


def fgsm(net: Callable, x: Tensor, y: Tensor, e: float) -> Tensor:
    return (x + e * slope(net, x, y).sign()).clamp(0, 1)


@exercise("fgsm", attacked(), [
    ("some pixels left 0..1: clamp them", lambda f, x, y, e: x + e * slope(f, x, y).sign()),
    ("the gradient itself: take its sign", lambda f, x, y, e:
     (x + e * slope(f, x, y)).clamp(0, 1)),
    ("downhill: an attack raises the loss, so add", lambda f, x, y, e: fgsm(f, x, y, -e)),
    ("epsilon is on the 0..1 scale already: don't divide by 255", lambda f, x, y, e:
     fgsm(f, x, y, e / 255)),
])  # fmt: skip
def check_fgsm(net: Callable, pixels: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """`fgsm(net, pixels [B, C, H, W] in 0..1, labels [B], epsilon) -> pixels`: one signed step."""
    return fgsm(net, pixels, labels, epsilon)


@exercise("gap_closed", [
    (90.0, 70.0, 75.0), (82.5, 57.0, 57.0), (89.0, 60.0, 55.0), (88.0, 60.0, 91.0),
], [
    ("the share of the teacher's accuracy that is kept counts what the labels taught, too",
     lambda t, a, d: d / t),
    ("relative to the student without a teacher: divide by the gap", lambda t, a, d: (d - a) / a),
    ("this is the share that is left open", lambda t, a, d: (t - d) / (t - a)),
    ("points, not a share: divide by the gap", lambda t, a, d: d - a),
    ("a student that got worse has a negative share: it is to be seen", lambda t, a, d:
     max(0.0, (d - a) / (t - a))),
    ("a student may pass its teacher: don't cut at 1", lambda t, a, d: min(1.0, (d - a) / (t - a))),
])  # fmt: skip
def check_gap_closed(teacher: float, labels_only: float, distilled: float) -> float:
    """`gap_closed(teacher, labels_only, distilled) -> float`: which share of the distance from the
    labels-only student to the teacher distillation has closed; accuracies in %."""
    return (distilled - labels_only) / (teacher - labels_only)


def latencies() -> list[tuple[list[float], int]]:
    usual = (1 + torch.rand(45, generator=torch.Generator().manual_seed(0))).tolist()
    return [([50.0, 20.0, 9.0, *usual, 8.0, 12.0], 3), ([2.0, 1.0, 4.0, 3.0], 0), ([9.0, 1.0], 1)]


def percentiles(times: Sequence[float], warm_up: int) -> Tensor:
    return torch.quantile(torch.tensor(times[warm_up:]), torch.tensor([0.5, 0.95]))


@exercise("latency_summary", latencies(), [
    ("the warm-up counts, too: leave out the first passes", lambda t, w: percentiles(t, 0)),
    ("the first number is the mean: a tail pulls it up, take the median", lambda t, w:
     torch.stack([torch.tensor(t[w:]).mean(), percentiles(t, w)[1]])),
    ("the second number is the slowest pass: one accident decides, take the 95th percentile",
     lambda t, w: torch.stack([percentiles(t, w)[0], torch.tensor(t[w:]).max()])),
    ("the times are not in order: sort them first", lambda t, w:
     torch.stack([torch.tensor(t[w:])[int(q * (len(t) - w - 1))] for q in (0.5, 0.95)])),
])  # fmt: skip
def check_latency_summary(times: Sequence[float], warm_up: int) -> Tensor:
    """`latency_summary(times, warm_up) -> (p50, p95)`: of the times after the first `warm_up`.

    Between two times the percentile is interpolated, as `torch.quantile` and NumPy do.
    """
    return percentiles(times, warm_up)


NETS = [
    {"name": name, "parameters": size, "p95": p95, "accuracy": accuracy}
    for name, size, p95, accuracy in (
        ("A", 2_000_000, 30.0, 93.0), ("B", 78_000, 6.0, 74.0), ("C", 78_000, 1.5, 72.0),
        ("D", 400_000, 0.4, 47.0), ("E", 60_000, 4.0, 58.0), ("F", 24_000, 1.0, 70.0),
    )
]  # fmt: skip


def best_of(nets: list[dict], key: Callable[[dict], float]) -> str | None:
    return max(nets, key=key)["name"] if nets else None


def within(nets: list[dict], limit: float) -> list[dict]:
    return [net for net in nets if net["p95"] <= limit]


@exercise("best_within", [(NETS, limit) for limit in (100.0, 30.0, 10.0, 4.0, 0.5, 0.1)], [
    ("it does not keep the limit", lambda nets, limit: best_of(nets, lambda n: n["accuracy"])),
    ("the smallest is not the best: take the most accurate of those that fit",
     lambda nets, limit: best_of(nets, lambda n: -n["parameters"])),
    ("the fastest is not the best: take the most accurate of those that fit",
     lambda nets, limit: best_of(nets, lambda n: -n["p95"])),
    ("a net at the limit keeps it: at most, not below", lambda nets, limit:
     best_of([n for n in nets if n["p95"] < limit], lambda n: n["accuracy"])),
    ("mind what is left when nothing fits: None", lambda nets, limit:
     best_of(within(nets, limit) or nets, lambda n: n["accuracy"])),
])  # fmt: skip
def check_best_within(nets: list[dict], limit: float) -> str | None:
    """`best_within(nets, limit) -> name`: the most accurate net whose p95 is at most `limit` ms.

    Each net is a dictionary with "name", "parameters", "p95" and "accuracy"; None if none fits.
    """
    return best_of(within(nets, limit), lambda n: n["accuracy"])


def pair_cases() -> list[tuple[Tensor, Tensor, float]]:
    draw = torch.Generator().manual_seed(0)
    genuine, impostor = torch.randn(300, generator=draw) + 1, torch.randn(500, generator=draw)
    few = torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.arange(10) / 10, 0.3
    return [*((genuine, impostor, far) for far in (0.01, 0.1)), few]


@exercise("tar_at_far", pair_cases(), [
    ("a share: give percent", lambda g, i, far: metrics.tar_at_far(g, i, far) / 100),
    ("genuine and impostor are swapped", lambda g, i, far: metrics.tar_at_far(i, g, far)),
    ("lets through all impostors but the share FAR: their largest scores set the threshold",
     lambda g, i, far: 100 * (g > i.sort().values[int(far * len(i))]).float().mean()),
    ("FAR is a share of the impostor pairs: the threshold comes from their scores",
     lambda g, i, far: metrics.tar_at_far(g, g, far)),
    ("this is the share of genuine pairs that are refused: TAR counts the accepted",
     lambda g, i, far: 100 - metrics.tar_at_far(g, i, far)),
])  # fmt: skip
def check_tar_at_far(genuine: Tensor, impostor: Tensor, far: float) -> float:
    """`tar_at_far(genuine, impostor, far) -> percent`: accepted is what lies above a threshold that
    lets through at most the share `far` of the impostors."""
    return metrics.tar_at_far(genuine, impostor, far)


@exercise("download_seconds", [(8_000_000, 1.0), (98_000, 0.25), (1, 1000.0)], [
    ("a byte has eight bits", lambda b, m: b / (1e6 * m)),
    ("a megabit is a million bits, not 2**20", lambda b, m: 8 * b / (2**20 * m)),
    ("divide by the bandwidth", lambda b, m: 8 * b * m / 1e6),
])  # fmt: skip
def check_download_seconds(size: int, bandwidth: float) -> float:
    """`download_seconds(size, bandwidth) -> float`: bytes, and Mbit/s (a million bits each)."""
    return 8 * size / (1e6 * bandwidth)


def queue(due: Sequence[float], service: Sequence[float]) -> list[float]:
    free, found = 0.0, []
    for at, takes in zip(due, service, strict=True):
        free = max(free, at) + takes
        found.append(free - at)
    return found


@exercise("waits", [
    ([0.0, 1.0, 2.0], [0.5, 0.5, 0.5]), ([0.0, 0.1, 0.2, 5.0], [1.0, 1.0, 2.0, 1.0]),
], [
    ("a request waits for those before it: keep when the server is free",
     lambda due, service: service),
    ("count from when a request came, not from the start",
     lambda due, service: [a + w for a, w in zip(due, queue(due, service), strict=True)]),
    ("count to the answer, not only the waiting",
     lambda due, service: [w - s for w, s in zip(queue(due, service), service, strict=True)]),
    ("a server that has nothing to do cannot work ahead: start at max(free, due)",
     lambda due, service: [sum(service[: n + 1]) - a for n, a in enumerate(due)]),
])  # fmt: skip
def check_waits(due: Sequence[float], service: Sequence[float]) -> Sequence[float]:
    """`waits(due, service) -> latencies`: one server, first come, first served.

    `due`: when each request comes, ascending; `service`: how long each takes. Its latency counts
    from when it came to when it is answered.
    """
    return queue(due, service)


def alarm_below(p: float, n: int, w: int, k: float) -> float:
    return p - k * (p * (1 - p) * (1 / w + 1 / n)) ** 0.5


@exercise("threshold", [(0.9, 1000, 200, 4.0), (0.75, 300, 50, 3.0)], [
    ("the reference is a sample, too: 1 / window + 1 / images",
     lambda p, n, w, k: p - k * (p * (1 - p) / w) ** 0.5),
    ("the variance of a share is p (1 - p) / n: take the root",
     lambda p, n, w, k: p - k * p * (1 - p) * (1 / w + 1 / n)),
    ("an alarm rings *below* the reference", lambda p, n, w, k: 2 * p - alarm_below(p, n, w, k)),
])  # fmt: skip
def check_threshold(share: float, images: int, window: int, sigmas: float) -> float:
    """`threshold(share, images, window, sigmas) -> float`: below which agreement is an alarm.

    `share` of `images` agreed on clean data; the window's share is a sample, too.
    """
    return alarm_below(share, images, window, sigmas)


@exercise("chance_of_luck", [(1,), (2,), (20,), (200,)], [
    ("that is how many to expect, and it passes 1: ask for at least one", lambda n: 0.05 * n),
    ("that is the chance of none", lambda n: 0.95**n),
    ("the chance that all of them do", lambda n: 0.05**n),
])  # fmt: skip
def check_chance_of_luck(n: int) -> float:
    """`chance_of_luck(n) -> float`: that at least one of n independent 95% intervals leaves out
    zero, though nothing differs."""
    return 1 - 0.95**n


def verdict(low: float, high: float, more_is_better: bool) -> str:
    if low <= 0 <= high:
        return "noise"
    return "better" if (low > 0) == more_is_better else "worse"


@exercise("verdict", [
    (0.4, 1.2, True), (-1.2, -0.4, True), (-0.1, 1.2, True), (-9.0, 0.1, True),
    (-30.0, -12.0, False), (12.0, 30.0, False), (-12.0, 30.0, False),
], [
    ("fewer errors are better where more is not", lambda low, high, more: verdict(low, high, True)),
    ("an interval that holds zero is noise", lambda low, high, more:
     "better" if (low + high > 0) == more else "worse"),
])  # fmt: skip
def check_verdict(low: float, high: float, more_is_better: bool) -> str:
    """`verdict(low, high, more_is_better) -> str` for a paired interval: "better", "worse" or
    "noise"."""
    return verdict(low, high, more_is_better)


def gain_tables() -> list[tuple[Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return [(torch.randn(m, s, generator=draw),) for m, s in ((5, 3), (20, 5), (3, 2))]


@exercise("honest_gain", gain_tables(), [
    ("chosen and measured on the same seeds: leave the measured seed out of the choice",
     lambda g: g.mean(dim=1).max()),
    ("the best of each seed: that seed did the choosing", lambda g: g.max(dim=0).values.mean()),
    ("the average method: choose one first", lambda g: g.mean()),
])  # fmt: skip
def check_honest_gain(gains: Tensor) -> Tensor:
    """`honest_gain(gains [M, S]) -> float`: the mean gain of a method that is chosen without the
    seed on which it is measured, over all S seeds.

    `gains`: each of M methods' difference to the control, seed by seed.
    """
    others = (gains.sum(dim=1, keepdim=True) - gains) / (gains.shape[1] - 1)
    return gains.gather(0, others.argmax(dim=0, keepdim=True)).mean()
