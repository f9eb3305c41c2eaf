"""Checks of what is done around a loss: measuring, deploying, judging, attacking."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab import metrics
from kdlab.apps.chapters.exercises.exercise import Solved, exercise, noise


@exercise([(100, 15, 4, p, c) for p in (1, 2, 0) for c in (True, False)] + [(50, 1, 3, 2, True)])
def check_teacher_passes(n: int, epochs: int, students: int, period: int, cached: bool) -> Solved:
    """`passes(images, epochs, students, period, cached) -> int`: forward passes of the teacher.
    `period`: after how many epochs the views repeat, 0 if they never do (as `Views.period`)."""
    different, anew = n * min(epochs, period or epochs), n * epochs * students
    return different if cached else anew, {
        "with a cache the number of students does not count: the answers serve them all":
            different * students if cached else anew,
        "without a cache every student asks anew": different if cached else n * epochs,
        "period 0 means that the views never repeat: every epoch has its own":
            n * min(epochs, period) if cached else anew,
        "a cache of random views needs as many answers as there are different views":
            n if cached else anew,
        "no more epochs of answers than epochs of training":
            n * (period or epochs) if cached else anew,
    }  # fmt: skip


X, Y = noise(20, 6) + 1, noise(20, 9, seed=1) + 1


@exercise([(X, X), (X, Y), (X, Y + X @ noise(6, 9) / 2), (5 * X, Y + X @ noise(6, 9) / 2)])
def check_cka(x: Tensor, y: Tensor) -> Solved:
    """`cka(first [N, D1], second [N, D2]) -> float`: linear CKA of features of the same images."""
    right, plain = metrics.cka(x, y), F.cosine_similarity(*((f @ f.T).view(-1) for f in (x, y)), 0)
    return right, {
        "the features are not centred: take off each column's mean over the images": plain,
        "not normalised: a net with twice the scale must be just as similar":
            (x.T @ (y - y.mean(dim=0))).square().sum(),
        "the square is missing: the Gram matrices are compared, not the features": right**0.5,
    }  # fmt: skip


SYMPTOMS = ("accuracy", "card", "renamed", "steady", "scale")
PATIENTS = (
    (91.5, 92.0, 91.5, True, 1.0), (84.0, 84.4, 84.1, True, 1.0), (92.3, 92.0, 92.3, True, 0.1),
    (75.0, 75.6, 75.0, True, 0.01), (9.0, 92.0, 91.8, True, 1.0), (31.0, 84.4, 84.0, True, 1.0),
    (55.0, 92.0, 57.0, True, 1.0), (10.0, 84.4, 14.0, True, 1.0), (88.0, 92.0, 88.0, False, 1.0),
    (91.9, 92.0, 91.9, False, 1.0), (60.0, 84.4, 61.0, False, 1.0),
)  # fmt: skip


@exercise([(dict(zip(SYMPTOMS, patient, strict=True)),) for patient in PATIENTS])
def check_diagnose(symptoms: dict) -> Solved:
    """`diagnose(symptoms) -> str`: which fault a set-up has, told from four measurements.

    `symptoms`: "accuracy" of the teacher here and on its "card", both in %; "renamed", its accuracy
    when each class it names is taken for the one it mostly means; "steady", whether it answers an
    image alike in other company; "scale", soft term / what it should be. The faults are "train
    mode", "normalisation", "class order", "reduction" and, where all is well, "none".
    """
    accuracy, card, renamed, steady, scale = symptoms.values()
    fault = "class order" if renamed > card - 2 else "normalisation"
    fault = "none" if accuracy > card - 2 else fault
    fault = "reduction" if scale < 0.5 else fault
    return fault if steady or fault == "reduction" else "train mode", {
        "a teacher that contradicts itself is told by `steady`, whatever its accuracy": fault
    }


PIXELS, LABELS = noise(4, 3, 4, 4, seed=1).clamp(0, 1), torch.tensor([0, 4, 2, 1])


@exercise([(lambda x: x.flatten(1) @ noise(48, 5), PIXELS, LABELS, e) for e in (8 / 255, 0.3)])
def check_fgsm(net: Callable, pixels: Tensor, labels: Tensor, epsilon: float) -> Solved:
    """`fgsm(net, pixels [B, C, H, W] in 0..1, labels [B], epsilon) -> pixels`: one signed step."""
    x = pixels.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(net(x), labels), x)
    step = epsilon * slope.sign()
    right, raw, down, tiny = (
        (pixels + add).clamp(0, 1) for add in (step, epsilon * slope, -step, step / 255)
    )
    return right, {
        "some pixels left 0..1: clamp them": pixels + step,
        "the gradient itself: take its sign": raw,
        "downhill: an attack raises the loss, so add": down,
        "epsilon is on the 0..1 scale already: don't divide by 255": tiny,
    }


@exercise([(90.0, 70.0, 75.0), (82.5, 57.0, 57.0), (89.0, 60.0, 55.0), (88.0, 60.0, 91.0)])
def check_gap_closed(teacher: float, labels_only: float, distilled: float) -> Solved:
    """`gap_closed(teacher, labels_only, distilled) -> float`: which share of the distance from the
    labels-only student to the teacher distillation has closed; accuracies in %."""
    gain, gap = distilled - labels_only, teacher - labels_only
    return gain / gap, {
        "the share of the teacher's accuracy that is kept counts what the labels taught, too":
            distilled / teacher,
        "relative to the student without a teacher: divide by the gap": gain / labels_only,
        "this is the share that is left open": 1 - gain / gap,
        "points, not a share: divide by the gap": gain,
        "a student that got worse has a negative share: it is to be seen": max(0.0, gain / gap),
        "a student may pass its teacher: don't cut at 1": min(1.0, gain / gap),
    }  # fmt: skip


@exercise([([50.0, 9.0, *noise(45).tolist(), 8.0], 2), ([2.0, 1.0, 4.0, 3.0], 0), ([9.0, 1.0], 1)])
def check_latency_summary(times: Sequence[float], warm_up: int) -> Solved:
    """`latency_summary(times, warm_up) -> (p50, p95)`: of the times after the first `warm_up`.
    Between two times the percentile is interpolated, as `torch.quantile` and NumPy do."""
    every, shares = torch.tensor(times), torch.tensor([0.5, 0.95])
    warm = every[warm_up:]
    p50, p95 = warm.quantile(shares)
    return (p50, p95), {
        "the warm-up counts, too: leave out the first passes": every.quantile(shares),
        "the first number is the mean: a tail pulls it up, take the median": (warm.mean(), p95),
        "the second number is the slowest pass: one accident decides, take the 95th percentile":
            (p50, warm.max()),
        "the times are not in order: sort them first": warm[(shares * (len(warm) - 1)).long()],
    }  # fmt: skip


NETS = [
    {"name": name, "parameters": size, "p95": p95, "accuracy": accuracy}
    for name, size, p95, accuracy in (
        ("A", 2_000_000, 30.0, 93.0), ("B", 78_000, 6.0, 74.0), ("C", 78_000, 1.5, 72.0),
        ("D", 400_000, 0.4, 47.0), ("E", 60_000, 4.0, 58.0), ("F", 24_000, 1.0, 70.0),
    )
]  # fmt: skip


def best(nets: list[dict], limit: float = math.inf) -> str | None:
    """The name of the most accurate net whose p95 is at most `limit` ms."""
    fit = [net for net in nets if net["p95"] <= limit]
    return max(fit, key=lambda net: net["accuracy"])["name"] if fit else None


@exercise([(NETS, limit) for limit in (100.0, 30.0, 10.0, 4.0, 0.5, 0.1)])
def check_best_within(nets: list[dict], limit: float) -> Solved:
    """`best_within(nets, limit) -> name`: the most accurate net whose p95 is at most `limit` ms.
    Each net is a dictionary with "name", "parameters", "p95" and "accuracy"; None if none fits."""
    right, below = best(nets, limit), best(nets, limit - 1e-6)
    smallest, fastest = (min(nets, key=lambda net: net[of])["name"] for of in ("parameters", "p95"))
    return right, {
        "it does not keep the limit": best(nets),
        "the smallest is not the best: take the most accurate of those that fit": smallest,
        "the fastest is not the best: take the most accurate of those that fit": fastest,
        "a net at the limit keeps it: at most, not below": below,
        "mind what is left when nothing fits: None": right or best(nets),
    }


TENTHS = torch.arange(10) / 10


@exercise([*((noise(300) + 1, noise(500, seed=1), f) for f in (0.01, 0.1)), (TENTHS, TENTHS, 0.3)])
def check_tar_at_far(genuine: Tensor, impostor: Tensor, far: float) -> Solved:
    """`tar_at_far(genuine, impostor, far) -> percent`: accepted is what lies above a threshold that
    lets through at most the share `far` of the impostors."""
    right, own = (metrics.tar_at_far(genuine, scores, far) for scores in (impostor, genuine))
    lowest = impostor.sort().values[int(far * len(impostor))]
    return right, {
        "a share: give percent": right / 100,
        "genuine and impostor are swapped": metrics.tar_at_far(impostor, genuine, far),
        "lets through all impostors but the share FAR: their largest scores set the threshold":
            100 * (genuine > lowest).float().mean(),
        "FAR is a share of the impostor pairs: the threshold comes from their scores": own,
        "this is the share of genuine pairs that are refused: TAR counts the accepted":
            100 - right,
    }  # fmt: skip


@exercise([(8_000_000, 1.0), (98_000, 0.25), (1, 1000.0)])
def check_download_seconds(size: int, bandwidth: float) -> Solved:
    """`download_seconds(size, bandwidth) -> float`: bytes, and Mbit/s (a million bits each)."""
    return 8 * size / (1e6 * bandwidth), {
        "a byte has eight bits": size / (1e6 * bandwidth),
        "a megabit is a million bits, not 2**20": 8 * size / (2**20 * bandwidth),
        "divide by the bandwidth": 8 * size * bandwidth / 1e6,
    }


@exercise([([0.0, 1.0, 2.0], [0.5, 0.5, 0.5]), ([0.0, 0.1, 0.2, 5.0], [1.0, 1.0, 2.0, 1.0])])
def check_waits(due: Sequence[float], service: Sequence[float]) -> Solved:
    """`waits(due, service) -> latencies`: one server, first come, first served.
    `due`: when each request comes, ascending; `service`: how long each takes. Its latency counts
    from when it came to when it is answered."""
    ends, due, service = [], torch.tensor(due), torch.tensor(service)
    for at, takes in zip(due, service, strict=True):
        ends.append(max([at, *ends]) + takes)
    ends = torch.stack(ends)
    return ends - due, {
        "a request waits for those before it: keep when the server is free": service,
        "count from when a request came, not from the start": ends,
        "count to the answer, not only the waiting": ends - due - service,
        "a server that has nothing to do cannot work ahead: start at max(free, due)":
            service.cumsum(0) - due,
    }  # fmt: skip


@exercise([(0.9, 1000, 200, 4.0), (0.75, 300, 50, 3.0)])
def check_threshold(share: float, images: int, window: int, sigmas: float) -> Solved:
    """`threshold(share, images, window, sigmas) -> float`: below which agreement is an alarm.
    `share` of `images` agreed on clean data; the window's share is a sample, too."""
    one, two = (share * (1 - share) * n for n in (1 / window, 1 / window + 1 / images))
    return share - sigmas * two**0.5, {
        "the reference is a sample, too: 1 / window + 1 / images": share - sigmas * one**0.5,
        "the variance of a share is p (1 - p) / n: take the root": share - sigmas * two,
        "an alarm rings *below* the reference": share + sigmas * two**0.5,
    }


@exercise([(1,), (2,), (20,), (200,)])
def check_chance_of_luck(n: int) -> Solved:
    """`chance_of_luck(n) -> float`: that at least one of n independent 95% intervals leaves out
    zero, though nothing differs."""
    return 1 - 0.95**n, {
        "that is how many to expect, and it passes 1: ask for at least one": 0.05 * n,
        "that is the chance of none": 0.95**n,
        "the chance that all of them do": 0.05**n,
    }


INTERVALS = (0.4, 1.2), (-1.2, -0.4), (-0.1, 1.2), (-9.0, 0.1)


@exercise([(*interval, more) for interval in INTERVALS for more in (True, False)])
def check_verdict(low: float, high: float, more_is_better: bool) -> Solved:
    """`verdict(low, high, more_is_better) -> str` for a paired interval: "better", "worse" or
    "noise"."""
    words, noisy = {True: "better", False: "worse"}, low <= 0 <= high
    leaning = words[(low + high > 0) == more_is_better]
    return "noise" if noisy else leaning, {
        "fewer errors are better where more is not": "noise" if noisy else words[low > 0],
        "an interval that holds zero is noise": leaning,
    }


@exercise([(noise(methods, seeds),) for methods, seeds in ((5, 3), (20, 5), (3, 2))])
def check_honest_gain(gains: Tensor) -> Solved:
    """`honest_gain(gains [M, S]) -> float`: the mean gain of a method that is chosen without the
    seed on which it is measured, over all S seeds. `gains`: each of M methods' difference
    to the control, seed by seed."""
    others = gains.sum(dim=1, keepdim=True) - gains
    return gains.gather(0, others.argmax(dim=0, keepdim=True)).mean(), {
        "chosen and measured on the same seeds: leave the measured seed out of the choice":
            gains.mean(dim=1).max(),
        "the best of each seed: that seed did the choosing": gains.max(dim=0).values.mean(),
        "the average method: choose one first": gains.mean(),
    }  # fmt: skip


PHOTOS = (255 * noise(2, 3, 3, 3).sigmoid()).to(torch.uint8)


@exercise(
    [(PHOTOS, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), (PHOTOS[:1], (0.1, 0.2, 0.9), (1.0, 0.5, 2.0))]
)
def check_own_scale(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Solved:
    """`own_scale(pixels uint8 [B, 3, H, W], mean, std) -> float [B, 3, H, W]`: as a net has it."""
    m, s = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    share = pixels.float() / 255
    return (share - m) / s, {
        "mean and std are of pixels from 0 to 1: divide by 255 first": (pixels.float() - m) / s,
        "first take the mean off, then divide by the std": share / s - m,
        "multiplied by the std: divide by it": (share - m) * s,
        "mean and std belong to the channels, dim 1, not to the columns":
            (share - m.view(3)) / s.view(3),
    }  # fmt: skip


TAUGHT, JUDGED = noise(9, 5), noise(7, 5, seed=1)
TWINS = torch.cat([JUDGED, 3 * TAUGHT[[1, 4]] + 0.2 * noise(2, 5, seed=2)])


@exercise([(TAUGHT, TWINS, 0.9), (TAUGHT, TWINS, 0.5), (TAUGHT[:3], TWINS / 9, 0.7)])
def check_leaked(train: Tensor, test: Tensor, threshold: float) -> Solved:
    """`leaked(train [N, D], test [M, D], threshold) -> bool [M]`: the test photos that are nearer
    to a training photo, by the cosine of their features, than the threshold."""
    cosine = F.normalize(test) @ F.normalize(train).T
    return cosine.amax(1) > threshold, {
        "not normalised: a cosine does not know how long the features are":
            (test @ train.T).amax(1) > threshold,
        "one near training photo is enough: the largest cosine counts, not the mean":
            cosine.mean(1) > threshold,
        "the other way round: True is for a photo that has leaked": cosine.amax(1) <= threshold,
    }  # fmt: skip


BOUNDS = ([(1, 3), (2, 5)], [(1, 3), (-1, 5)], [(-3, -1), (2, 5)], [(-2, 9)], [(-4, -1), (-3, -2)],
          [(-1, 1), (-9, 2)], [(0, 2)])  # fmt: skip


@exercise([(bounds,) for bounds in BOUNDS])
def check_decision(intervals: Sequence[tuple[float, float]]) -> Solved:
    """`decision([(low, high), ...]) -> str`: "ship", "do not" or "undecided", of intervals of an
    arm minus each of its controls."""
    low, high = zip(*intervals, strict=True)

    def word(ship: bool, stop: bool) -> str:
        return "do not" if stop else "ship" if ship else "undecided"

    ahead, behind = [x > 0 for x in low], [x < 0 for x in high]
    middle = [a + b > 0 for a, b in intervals]
    return word(all(ahead), any(behind)), {
        "ship needs every interval above zero: each control is another way out":
            word(any(ahead), any(behind)),
        "behind one control is enough for do not": word(all(ahead), all(behind)),
        "the interval decides, not its middle": word(all(middle), any(behind)),
        "an interval that contains zero is no loss: it is undecided":
            word(all(ahead), not all(ahead)),
    }  # fmt: skip
