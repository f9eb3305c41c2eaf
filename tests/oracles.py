"""Independent checks of the losses: another library, or a slow transcription in float64."""

import math
from collections.abc import Callable
from functools import partial
from statistics import fmean, stdev
from typing import NamedTuple

import pytest
import torch
from hypothesis import strategies as st

from kdlab import losses, robust
from kdlab.losses import entropy, soften

T = 4.0  # wherever a temperature is asked for
NEED_ORACLE = "the independent oracle: pip install --no-deps torchdistill==1.1.5"
each = partial(zip, strict=True)


# ----------------------------------- transcriptions: plain Python, one number at a time
def softmax(row, t=1.0):
    powers = [math.exp((x - max(row)) / t) for x in row]
    return [x / sum(powers) for x in powers]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in each(p, q) if a > 0)


def dot(a, b):
    return sum(x * y for x, y in each(a, b))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def squares(a, b):
    return sum((x - y) ** 2 for x, y in each(a, b))


def jensen_shannon(p, q):
    m = [(a + b) / 2 for a, b in each(p, q)]
    return (kl(p, m) + kl(q, m)) / 2


def flat(nested):
    return [x for part in nested for x in (flat(part) if isinstance(part, list) else [part])]


def ce(row, label):
    return -math.log(softmax(row)[label])


def soft(z, v, t):
    return t * t * fmean(kl(softmax(b, t), softmax(a, t)) for a, b in each(z, v))


def by_hand(function):
    """A transcription of (student, teacher, labels) as nested lists of Python's own float64."""
    return lambda s, t, y: function(s.double().tolist(), t.double().tolist(), y.tolist())


def target_part(z, v, y):
    q, p = ([softmax(row, T)[label] for row, label in each(rows, y)] for rows in (z, v))
    return fmean(kl((b, 1 - b), (a, 1 - a)) for a, b in each(q, p))


def other_part(z, v, y):
    rest = ([row[:label] + row[label + 1 :] for row, label in each(rows, y)] for rows in (z, v))
    return soft(*rest, T) / T**2


@by_hand
def mixture(z, several, y):
    means = [[fmean(c) for c in each(*(softmax(v, T) for v in image))] for image in several]
    return T**2 * fmean(kl(p, softmax(a, T)) for a, p in each(z, means))


@by_hand
def flow(s, t, y):
    """Between all channels of a map and two of them at odd columns, half the side."""

    def matrix(image):
        side = [(h, w) for h in range(0, 4, 2) for w in range(0, 4, 2)]
        first = [[max(*c[h][w : w + 2], *c[h + 1][w : w + 2]) for h, w in side] for c in image]
        second = [[c[h][w + 1] for h, w in side] for c in image[:2]]
        return [dot(a, b) / len(side) for a in first for b in second]

    return fmean(squares(a, b) / len(a) for a, b in each(map(matrix, s), map(matrix, t)))


@by_hand
def preserved(s, t, y):
    grams = [[[dot(a, b) for b in rows] for a in rows] for rows in (s, t)]
    unit = [[[g / math.sqrt(dot(row, row)) for g in row] for row in gram] for gram in grams]
    return sum(map(squares, *unit)) / len(s) ** 2


def contrast(s, t, y=None):
    found = []
    for i, row in enumerate(s):
        rivals = [j for j in range(len(t)) if not (y and y[j] == y[i] and j != i)]
        scores = [math.exp(cosine(row, t[j]) / 0.1) for j in rivals]
        found.append(-math.log(scores[rivals.index(i)] / sum(scores)))
    return fmean(found)


def oracle(name, *given, times=1.0, **options):
    """A loss of torchdistill 1.1.5 in float64; SPKDLoss and FSPLoss there are not the papers'."""

    def loss(student, teacher, labels):
        made = getattr(torchdistill(), name)(*given, **options)
        return times * made(*({"l": {"output": x.double()}} for x in (student, teacher)), labels)

    return loss


def torchdistill():
    return pytest.importorskip("torchdistill.losses.mid_level", reason=NEED_ORACLE)


# ------------------------------------------------------------------- every loss and its check
class Case(NamedTuple):
    """A loss as a function of (student, teacher, labels), and the same by other means."""

    ours: Callable
    check: Callable
    student: tuple[int, ...] = (6, 10)
    teacher: tuple[int, ...] = (6, 10)
    floor: str = "zero"  # at student = teacher: "zero", "check" (what the check says), "" (no loss)


def two(loss, *settings):
    """A loss of student and teacher alone."""
    return lambda s, t, y: loss(s, t, *settings)


ENDS = ("l", "output", "l", "output")
PATHS = {"p": {side: {"path": "l", "io": "output"} for side in ("student", "teacher")}}
MAPS = ((6, 3, 4, 4), (6, 3, 4, 4))
UNLIKE, EMBEDDINGS = ((6, 3, 4, 4), (6, 5, 4, 4)), ((6, 5), (6, 8))
KD = {"temperature": T, "soft_weight": 0.7, "hard_weight": 0.2}
CASES: dict[str, Case] = {
    "soft_target_loss": Case(two(losses.soft_target_loss, T),
                             by_hand(lambda z, v, y: soft(z, v, T))),
    "distillation_loss": Case(
        lambda z, v, y: losses.distillation_loss(z, v, y, **KD),
        by_hand(lambda z, v, y: 0.7 * soft(z, v, T) + 0.2 * fmean(map(ce, z, y))), floor="check"),
    "logit_matching_loss": Case(two(losses.logit_matching_loss),
                                by_hand(lambda z, v, y: fmean(map(squares, z, v)) / 2)),
    "hard_distillation_loss": Case(
        two(losses.hard_distillation_loss),
        by_hand(lambda z, v, y: fmean(ce(a, b.index(max(b))) for a, b in each(z, v))),
        floor="check"),
    "jensen_shannon_loss": Case(
        two(losses.jensen_shannon_loss, T),
        by_hand(lambda z, v, y: T**2 * fmean(jensen_shannon(softmax(b, T), softmax(a, T))
                                             for a, b in each(z, v)))),
    "target_divergence": Case(lambda z, v, y: losses.target_divergence(z, v, y, T).mean(),
                              by_hand(target_part)),
    "non_target_divergence": Case(lambda z, v, y: losses.non_target_divergence(z, v, y, T).mean(),
                                  by_hand(other_part)),
    "decoupled_loss": Case(
        losses.decoupled_loss,
        by_hand(lambda *given: T**2 * (1.0 * target_part(*given) + 8.0 * other_part(*given)))),
    "dist_loss": Case(two(losses.dist_loss, T), oracle("DISTLoss", *ENDS, tau=T)),
    "standardise": Case(
        lambda z, v, y: losses.standardise(z),
        by_hand(lambda z, v, y: [[(x - fmean(row)) / (stdev(row) + 1e-7) for x in row]
                                 for row in z]), floor=""),
    "standardised_loss": Case(
        two(losses.standardised_loss, T),
        oracle("LogitStdKDLoss", *ENDS, temperature=T, alpha=0.0, times=T**2)),
    "mixture_loss": Case(lambda z, v, y: losses.mixture_loss(z, v.unbind(1), T), mixture,
                         teacher=(6, 3, 10), floor=""),
    "mutual_loss": Case(
        lambda z, v, y: losses.mutual_loss(torch.stack([z, v]), y, weight=0.5),
        by_hand(lambda z, v, y: sum(fmean(map(ce, own, y)) + 0.5 * soft(own, other, 1.0)
                                    for own, other in ((z, v), (v, z)))), floor="check"),
    "hint_loss": Case(two(losses.hint_loss),
                      by_hand(lambda s, t, y: squares(flat(s), flat(t)) / len(flat(s))), *MAPS),
    "attention_map": Case(
        lambda s, t, y: losses.attention_map(s),
        lambda s, t, y: torchdistill().ATLoss.attention_transfer(s.double()), *UNLIKE, floor=""),
    "attention_transfer_loss": Case(
        two(losses.attention_transfer_loss), oracle("ATLoss", PATHS, mode="code"), *UNLIKE),
    "fsp_matrix": Case(
        two(losses.fsp_matrix),
        lambda s, t, y: torchdistill().FSPLoss.compute_fsp_matrix(s.double(), t.double()),
        (6, 3, 4, 4), (6, 5, 8, 8), floor=""),
    "fsp_loss": Case(
        lambda s, t, y: losses.fsp_loss(*((f, f[:, :2, ::2, 1::2]) for f in (s, t))), flow, *MAPS),
    "similarity_preserving_loss": Case(two(losses.similarity_preserving_loss), preserved,
                                       *EMBEDDINGS),
    "rkd_distance_loss": Case(
        two(losses.rkd_distance_loss), oracle("RKDLoss", "l", "l", 1.0, 0.0, "mean"), *EMBEDDINGS),
    "rkd_angle_loss": Case(
        two(losses.rkd_angle_loss), oracle("RKDLoss", "l", "l", 0.0, 1.0, "mean"), *EMBEDDINGS),
    "pkt_loss": Case(two(losses.pkt_loss), oracle("PKTLoss", *ENDS), *EMBEDDINGS),
    "contrastive_loss": Case(two(losses.contrastive_loss),
                             by_hand(lambda s, t, y: contrast(s, t)), (6, 5), (6, 5), "check"),
    "contrastive_loss, labels": Case(lambda s, t, y: losses.contrastive_loss(s, t, labels=y),
                                     by_hand(contrast), (6, 5), (6, 5), "check"),
    "view_similarity_loss": Case(
        lambda s, t, y: losses.view_similarity_loss(s.unbind(1), t.unbind(1)),
        by_hand(lambda s, t, y: soft(*([[cosine(a[1], b[0]) for b in rows] for a in rows]
                                       for rows in (s, t)), 0.5)), (6, 2, 5), (6, 2, 8)),
    "permute_dark_knowledge": Case(
        lambda z, v, y: losses.permute_dark_knowledge(v).sort(dim=1)[0],
        by_hand(lambda z, v, y: [sorted(row) for row in v]), floor=""),
    "same_entropy_smoothing": Case(  # in that entropy; the rest has a test of its own
        lambda z, v, y: entropy(soften(losses.same_entropy_smoothing(v, y, T), T)),
        by_hand(lambda z, v, y: [-sum(p * math.log(p) for p in softmax(row, T)) for row in v]),
        floor=""),
    "ard_loss": Case(
        lambda s, v, y: robust.ard_loss(*s.unbind(1), v, y, soft_weight=0.7),
        by_hand(lambda s, v, y: 0.7 * soft([a for a, _ in s], v, 30.0)
                + 0.3 * fmean(map(ce, [b for _, b in s], y))), (6, 2, 10), floor=""),
    "rslad_loss": Case(
        lambda s, v, y: robust.rslad_loss(*s.unbind(1), v),
        by_hand(lambda s, v, y: 5 / 6 * soft([a for a, _ in s], v, 1.0)
                + 1 / 6 * soft([b for _, b in s], v, 1.0)), (6, 2, 10), floor=""),
}  # fmt: skip
LOSSES = [n for n in CASES if n.split(",")[0].endswith("_loss")]  # the rest are parts or controls
ON_LOGITS = ["logit_matching_loss", "soft_target_loss", "distillation_loss", "dist_loss",
             "hard_distillation_loss", "jensen_shannon_loss", "target_divergence",
             "non_target_divergence", "decoupled_loss", "standardised_loss"]  # fmt: skip
ON_MAPS = ["attention_map", "attention_transfer_loss"]
ON_EMBEDDINGS = ["similarity_preserving_loss", "rkd_distance_loss", "rkd_angle_loss", "pkt_loss"]
LABELS = torch.tensor([3, 1, 4, 1, 5, 9])  # two images of one class
every_loss = pytest.mark.parametrize("name", LOSSES)
seeds = st.integers(0, 2**31)


def draw(name, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    case = CASES[name]
    return tuple(scale * torch.randn(s, generator=generator) for s in (case.student, case.teacher))


@st.composite
def three(draw, smallest=0.1, largest=10.0):
    """Student, teacher and labels of any small size."""
    batch, classes = draw(st.integers(1, 5)), draw(st.integers(2, 7))
    generator = torch.Generator().manual_seed(draw(seeds))
    z, v = draw(st.floats(smallest, largest)) * torch.randn(2, batch, classes, generator=generator)
    return z, v, torch.randint(classes, (batch,), generator=generator)
