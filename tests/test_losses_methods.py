"""Every loss against torchdistill or a literal transcription, and what it ignores."""

import math
from collections.abc import Callable
from statistics import fmean, stdev
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kdlab import losses, robust
from kdlab.losses import entropy, soft_target_loss, soften

T = 4.0  # wherever a temperature is asked for
NEED_ORACLE = "the independent oracle: pip install --no-deps torchdistill==1.1.5"

# ------------------------------------------- transcriptions: plain Python, one number at a time


def softmax(row, t=1.0):
    powers = [math.exp((x - max(row)) / t) for x in row]
    return [x / sum(powers) for x in powers]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def ce(row, label):
    return -math.log(softmax(row)[label])


def soft(z, v, t):
    pairs = zip(z, v, strict=True)
    return t * t * fmean(kl(softmax(b, t), softmax(a, t)) for a, b in pairs)


def by_hand(function):
    """A transcription of (student, teacher, labels) as nested lists of Python's own float64."""
    return lambda s, t, y: function(s.double().tolist(), t.double().tolist(), y.tolist())


@by_hand
def matching(z, v, y):
    return fmean(sum(map(_square, a, b)) for a, b in zip(z, v, strict=True)) / 2


@by_hand
def hard_labels(z, v, y):
    return fmean(ce(a, b.index(max(b))) for a, b in zip(z, v, strict=True))


@by_hand
def jensen_shannon(z, v, y):
    each = []
    for q, p in ((softmax(a, T), softmax(b, T)) for a, b in zip(z, v, strict=True)):
        m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        each.append((kl(p, m) + kl(q, m)) / 2)
    return T**2 * fmean(each)


def _square(a, b):
    return (a - b) ** 2


def _tckd(z, v, y):
    q, p = ([softmax(row, T)[label] for row, label in zip(rows, y, strict=True)] for rows in (z, v))
    return [kl((b, 1 - b), (a, 1 - a)) for a, b in zip(q, p, strict=True)]


def _nckd(z, v, y):
    q, p = (
        [softmax(row[:label] + row[label + 1 :], T) for row, label in zip(rows, y, strict=True)]
        for rows in (z, v)
    )
    return [kl(b, a) for a, b in zip(q, p, strict=True)]


@by_hand
def dkd(z, v, y):
    return T**2 * (1.0 * fmean(_tckd(z, v, y)) + 8.0 * fmean(_nckd(z, v, y)))


@by_hand
def standard(z, v, y):
    return [[(x - fmean(row)) / (stdev(row) + 1e-7) for x in row] for row in z]


@by_hand
def mixture(z, several, y):
    means = [[fmean(c) for c in zip(*(softmax(v, T) for v in image))] for image in several]  # noqa: B905
    return T**2 * fmean(kl(p, softmax(a, T)) for a, p in zip(z, means, strict=True))


@by_hand
def mutual(z, v, y):
    two = [(z, v), (v, z)]
    return sum(fmean(map(ce, own, y)) + 0.5 * soft(own, other, 1.0) for own, other in two)


@by_hand
def flow(s, t, y):
    """Between all channels of a map and two of them at odd columns, half the side."""

    def matrix(image):
        side = [(h, w) for h in range(0, 4, 2) for w in range(0, 4, 2)]
        first = [[max(*c[h][w : w + 2], *c[h + 1][w : w + 2]) for h, w in side] for c in image]
        second = [[c[h][w + 1] for h, w in side] for c in image[:2]]
        return [dot(a, b) / len(side) for a in first for b in second]

    pairs = zip(map(matrix, s), map(matrix, t), strict=True)
    return fmean((a - b) ** 2 for pair in pairs for a, b in zip(*pair, strict=True))


@by_hand
def preserved(s, t, y):
    unit = []
    for rows in (s, t):
        gram = [[dot(a, b) for b in rows] for a in rows]
        unit.append([[g / math.sqrt(dot(row, row)) for g in row] for row in gram])
    gaps = [a - b for row in zip(*unit, strict=True) for a, b in zip(*row, strict=True)]
    return dot(gaps, gaps) / len(s) ** 2


def contrast(with_labels):
    @by_hand
    def loss(s, t, y):
        each = []
        for i, row in enumerate(s):
            rivals = [j for j in range(len(t)) if not (with_labels and y[j] == y[i] and j != i)]
            scores = [math.exp(cosine(row, t[j]) / 0.1) for j in rivals]
            each.append(-math.log(scores[rivals.index(i)] / sum(scores)))
        return fmean(each)

    return loss


@by_hand
def turned(s, t, y):
    ours, theirs = ([[cosine(a[1], b[0]) for b in rows] for a in rows] for rows in (s, t))
    return soft(ours, theirs, 0.5)


def oracle(name, *given, times=1.0, **options):
    """A loss of torchdistill 1.1.5 in float64; SPKDLoss and FSPLoss there are not the papers'."""

    def loss(student, teacher, labels):
        made = getattr(torchdistill(), name)(*given, **options)
        return times * made(*({"l": {"output": x.double()}} for x in (student, teacher)))

    return loss


def torchdistill():
    return pytest.importorskip("torchdistill.losses.mid_level", reason=NEED_ORACLE)


ENDS = ("l", "output", "l", "output")
PATHS = {"p": {side: {"path": "l", "io": "output"} for side in ("student", "teacher")}}

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


MAPS = ((6, 3, 4, 4), (6, 3, 4, 4))
UNLIKE, EMBEDDINGS = ((6, 3, 4, 4), (6, 5, 4, 4)), ((6, 5), (6, 8))
KD = {"temperature": T, "soft_weight": 0.7, "hard_weight": 0.2}
CASES: dict[str, Case] = {
    "soft_target_loss": Case(two(losses.soft_target_loss, T),
                             by_hand(lambda z, v, y: soft(z, v, T))),
    "distillation_loss": Case(
        lambda z, v, y: losses.distillation_loss(z, v, y, **KD),
        by_hand(lambda z, v, y: 0.7 * soft(z, v, T) + 0.2 * fmean(map(ce, z, y))), floor="check",
    ),
    "logit_matching_loss": Case(two(losses.logit_matching_loss), matching),
    "hard_distillation_loss": Case(two(losses.hard_distillation_loss), hard_labels, floor="check"),
    "jensen_shannon_loss": Case(two(losses.jensen_shannon_loss, T), jensen_shannon),
    "target_divergence": Case(lambda z, v, y: losses.target_divergence(z, v, y, T).mean(),
                              by_hand(lambda z, v, y: fmean(_tckd(z, v, y)))),
    "non_target_divergence": Case(lambda z, v, y: losses.non_target_divergence(z, v, y, T).mean(),
                                  by_hand(lambda z, v, y: fmean(_nckd(z, v, y)))),
    "decoupled_loss": Case(losses.decoupled_loss, dkd),
    "dist_loss": Case(two(losses.dist_loss, T), oracle("DISTLoss", *ENDS, tau=T)),
    "standardise": Case(lambda z, v, y: losses.standardise(z), standard, floor=""),
    "standardised_loss": Case(
        two(losses.standardised_loss, T),
        oracle("LogitStdKDLoss", *ENDS, temperature=T, alpha=0.0, times=T**2),
    ),
    "mixture_loss": Case(lambda z, v, y: losses.mixture_loss(z, v.unbind(1), T), mixture,
                         teacher=(6, 3, 10), floor=""),
    "mutual_loss": Case(lambda z, v, y: losses.mutual_loss(torch.stack([z, v]), y, weight=0.5),
                        mutual, floor="check"),
    "hint_loss": Case(two(losses.hint_loss),
                      by_hand(lambda s, t, y: fmean(map(_square, _flat(s), _flat(t)))), *MAPS),
    "attention_map": Case(
        lambda s, t, y: losses.attention_map(s),
        lambda s, t, y: torchdistill().ATLoss.attention_transfer(s.double()),
        *UNLIKE, floor="",
    ),
    "attention_transfer_loss": Case(
        two(losses.attention_transfer_loss), oracle("ATLoss", PATHS, mode="code"), *UNLIKE,
    ),
    "fsp_matrix": Case(
        two(losses.fsp_matrix),
        lambda s, t, y: torchdistill().FSPLoss.compute_fsp_matrix(s.double(), t.double()),
        (6, 3, 4, 4), (6, 5, 8, 8), floor="",
    ),
    "fsp_loss": Case(
        lambda s, t, y: losses.fsp_loss(*((f, f[:, :2, ::2, 1::2]) for f in (s, t))), flow, *MAPS
    ),
    "similarity_preserving_loss": Case(two(losses.similarity_preserving_loss), preserved,
                                       *EMBEDDINGS),
    "rkd_distance_loss": Case(
        two(losses.rkd_distance_loss), oracle("RKDLoss", "l", "l", 1.0, 0.0, "mean"), *EMBEDDINGS,
    ),
    "rkd_angle_loss": Case(
        two(losses.rkd_angle_loss), oracle("RKDLoss", "l", "l", 0.0, 1.0, "mean"), *EMBEDDINGS,
    ),
    "pkt_loss": Case(two(losses.pkt_loss), oracle("PKTLoss", *ENDS), *EMBEDDINGS),
    "contrastive_loss": Case(two(losses.contrastive_loss), contrast(False), (6, 5), (6, 5),
                             floor="check"),
    "contrastive_loss, labels": Case(lambda s, t, y: losses.contrastive_loss(s, t, labels=y),
                                     contrast(True), (6, 5), (6, 5), floor="check"),
    "view_similarity_loss": Case(
        lambda s, t, y: losses.view_similarity_loss(s.unbind(1), t.unbind(1)), turned,
        (6, 2, 5), (6, 2, 8),
    ),
    "permute_dark_knowledge": Case(
        lambda z, v, y: losses.permute_dark_knowledge(v).sort(dim=1)[0],
        by_hand(lambda z, v, y: [sorted(row) for row in v]), floor="",
    ),
    "same_entropy_smoothing": Case(  # in that entropy; the rest has a test of its own
        lambda z, v, y: entropy(soften(losses.same_entropy_smoothing(v, y, T), T)),
        by_hand(lambda z, v, y: [-sum(p * math.log(p) for p in softmax(row, T)) for row in v]),
        floor="",
    ),
    "ard_loss": Case(
        lambda s, v, y: robust.ard_loss(*s.unbind(1), v, y, soft_weight=0.7),
        by_hand(lambda s, v, y: 0.7 * soft([a for a, _ in s], v, 30.0)
                + 0.3 * fmean(map(ce, [b for _, b in s], y))), (6, 2, 10), floor="",
    ),
    "rslad_loss": Case(
        lambda s, v, y: robust.rslad_loss(*s.unbind(1), v),
        by_hand(lambda s, v, y: 5 / 6 * soft([a for a, _ in s], v, 1.0)
                + 1 / 6 * soft([b for _, b in s], v, 1.0)), (6, 2, 10), floor="",
    ),
}  # fmt: skip
LOSSES = [n for n in CASES if n.split(",")[0].endswith("_loss")]  # the rest are parts or controls
ON_LOGITS = ["logit_matching_loss", "soft_target_loss", "distillation_loss", "dist_loss",
             "hard_distillation_loss", "jensen_shannon_loss", "target_divergence",
             "non_target_divergence", "decoupled_loss", "standardised_loss"]  # fmt: skip
LABELS = torch.tensor([3, 1, 4, 1, 5, 9])  # two images of one class
every_loss = pytest.mark.parametrize("name", LOSSES)
seeds = st.integers(0, 2**31)


def _flat(nested):
    return [x for part in nested for x in (_flat(part) if isinstance(part, list) else [part])]


def draw(name, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    case = CASES[name]
    return tuple(scale * torch.randn(s, generator=generator) for s in (case.student, case.teacher))


def difference(name, seed):
    """The largest difference from the check, relative to the check's largest number."""
    case, (s, t) = CASES[name], draw(name, seed)
    expected = torch.as_tensor(case.check(s, t, LABELS), dtype=torch.float64)
    return float((case.ours(s, t, LABELS) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_the_independent_check_agrees(name, seed):
    assert difference(name, seed) < 2e-5


def test_every_public_loss_has_a_check():
    here = {name.split(",")[0] for name in CASES}
    modules = {name: f.__module__ for name, f in vars(losses).items() if callable(f)}
    assert {n for n, module in modules.items() if module != "kdlab.losses.soft"} <= here
    assert {n for place in (losses, robust) for n in vars(place) if n.endswith("_loss")} <= here


# ------------------------------------------------------------------------- floors and symmetries


@every_loss
def test_floor_where_student_is_teacher(name):
    case, (s, t) = CASES[name], draw(name)
    if case.floor == "zero":
        assert float(case.ours(s, s, LABELS)) == pytest.approx(0, abs=1e-5)
        assert float(case.ours(s, t, LABELS)) > 1e-4
    elif case.floor == "check":
        floor = float(case.check(s, s, LABELS))
        assert float(case.ours(s, s, LABELS)) == pytest.approx(floor, rel=1e-5)


@every_loss
def test_order_of_images_does_not_matter(name):
    case, (s, t) = CASES[name], draw(name)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = case.ours(s[order], t[order], LABELS[order])
    assert float(shuffled) == pytest.approx(float(case.ours(s, t, LABELS)), rel=1e-5)
    apart = float(case.ours(s, t[order], LABELS))  # but the pairs of student and teacher matter
    assert apart != pytest.approx(float(shuffled), rel=1e-3)


@pytest.mark.parametrize("name", [*ON_LOGITS, "mixture_loss", "mutual_loss", "rslad_loss"])
def test_order_of_classes_does_not_matter(name):
    case, (s, t) = CASES[name], draw(name)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    shuffled = case.ours(s[..., order], t[..., order], order.argsort()[LABELS])
    assert float(shuffled) == pytest.approx(float(case.ours(s, t, LABELS)), rel=1e-5)


def orthogonal(n, generator):
    return torch.linalg.qr(torch.randn(n, n, generator=generator))[0]


def factor(x, generator, each=False):
    """A positive factor of 0.01 to 100 for all, or one for each image."""
    shape = (len(x), *[1] * (x.ndim - 1)) if each else ()
    return 10 ** (4 * torch.rand(shape, generator=generator) - 2)


ON_MAPS = ["attention_map", "attention_transfer_loss"]
ON_EMBEDDINGS = ["similarity_preserving_loss", "rkd_distance_loss", "rkd_angle_loss", "pkt_loss"]
IGNORED: dict[str, tuple[Callable, list[str]]] = {  # a change of the student -> who ignores it
    "a shift of the logits": (
        lambda x, g: x + 5 * torch.randn(len(x), *[1] * (x.ndim - 1), generator=g),
        [*ON_LOGITS[1:], "standardise", "mixture_loss", "rslad_loss"],
    ),
    "shift and scale of the logits": (
        lambda x, g: factor(x, g, True) * x + torch.randn(len(x), 1, generator=g),
        ["standardise", "standardised_loss"],
    ),
    "smoothing of the probabilities": (
        lambda x, g: T * (0.7 * soften(x, T) + 0.3 / x.shape[1]).log(), ["dist_loss"]
    ),
    "scale of each map": (lambda x, g: factor(x, g, True) * x, ON_MAPS),
    "copies of the channels": (lambda x, g: x.repeat(1, 3, 1, 1), ON_MAPS),
    "dead channels": (lambda x, g: torch.cat([x, 0 * x], 1), ON_MAPS),
    "sign and order of the channels": (lambda x, g: -x.flip(1), ON_MAPS),
    "rotation of the space": (
        lambda x, g: x @ orthogonal(x.shape[-1], g), [*ON_EMBEDDINGS, "view_similarity_loss"]
    ),
    "scale of the space": (
        lambda x, g: factor(x, g) * x, [*ON_EMBEDDINGS, "contrastive_loss", "view_similarity_loss"]
    ),
    "more dimensions": (
        lambda x, g: torch.cat([x, 0 * x], -1), [*ON_EMBEDDINGS, "view_similarity_loss"]
    ),
    "translation of the space": (
        lambda x, g: x + 3 * torch.randn(x.shape[-1], generator=g), ON_EMBEDDINGS[1:3]
    ),
    "scale of each embedding": (
        lambda x, g: factor(x, g, True) * x,
        ["pkt_loss", "contrastive_loss", "view_similarity_loss"],
    ),
}  # fmt: skip
NOTICED = {  # what a paper's loss is free to mind, and does
    "a shift of the logits": ["logit_matching_loss"],
    "shift and scale of the logits": ["decoupled_loss", "dist_loss"],
    "scale of each map": ["hint_loss", "fsp_loss"],
    "rotation of the space": ["contrastive_loss"],
    "translation of the space": ["similarity_preserving_loss", "pkt_loss"],
    "scale of each embedding": ON_EMBEDDINGS[:3],
}


def pairs(table):
    return [(what, name) for what, names in table.items() for name in names]


def changed(what, name, seed):
    """A case's value before and after a change of the student."""
    case, (s, t) = CASES[name], draw(name, seed)
    other = IGNORED[what][0](s, torch.Generator().manual_seed(seed + 1))
    return case.ours(s, t, LABELS), case.ours(other, t, LABELS)


@pytest.mark.parametrize(
    ("what", "name"), pairs({what: names for what, (_, names) in IGNORED.items()})
)
@settings(max_examples=15)
@given(seed=seeds)
def test_invariances(what, name, seed):
    before, after = changed(what, name, seed)
    assert torch.allclose(after, before, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(("what", "name"), pairs(NOTICED))
def test_no_more_is_ignored(what, name):
    before, after = changed(what, name, 0)
    assert float(after) != pytest.approx(float(before), rel=0.01)


# ------------------------------------------------------------------------------------- gradients


def slopes(name, s, t, y=LABELS):
    """The loss and its gradients to student and teacher."""
    s, t = s.clone().requires_grad_(), t.clone().requires_grad_()
    loss = CASES[name].ours(s, t, y)
    loss.backward()
    return loss.detach(), s.grad, t.grad


@every_loss
def test_only_the_student_gets_a_gradient(name):
    _, ours, theirs = slopes(name, *draw(name))
    assert bool(ours.isfinite().all()) and bool(ours.any())
    assert theirs is None or name == "mutual_loss"  # whose teachers are students


@every_loss
def test_gradient_in_float64_by_finite_differences(name):
    if name == "mutual_loss":
        return  # each peer holds the others still: see its own test
    case, (s, t) = CASES[name], draw(name, scale=1.0)
    _, gradient, _ = slopes(name, s, t)
    way = torch.randn(s.shape, generator=torch.Generator().manual_seed(1))
    ends = (float(case.check(s.double() + h * way, t, LABELS)) for h in (1e-5, -1e-5))
    slope = (next(ends) - next(ends)) / 2e-5
    assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-3, abs=1e-5)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_precision_is_computed_in_float32(name, dtype):
    s, t = (x.to(dtype) for x in draw(name))
    loss, gradient, _ = slopes(name, s, t)
    assert loss.dtype == torch.float32
    assert float(loss) == float(slopes(name, s.float(), t.float())[0])
    assert gradient.dtype == dtype and bool(gradient.isfinite().all())


EXTREMES: dict[str, Callable] = {
    "saturated": lambda s, t, y: (200 * T * s.sign(), 200 * T * t.sign(), y),
    "same row": lambda s, t, y: (s[:1].expand_as(s), t, y),
    "two equal rows": lambda s, t, y: (s[[0, 0, *range(2, len(s))]], t, y),
    "teacher with two equal rows": lambda s, t, y: (s, t[[0, 0, *range(2, len(t))]], y),
    "one dead row": lambda s, t, y: (torch.cat([0 * s[:1], s[1:]]), t, y),
    "dead student": lambda s, t, y: (0 * s, t, y),
    "dead teacher": lambda s, t, y: (s, 0 * t, y),
    "one image": lambda s, t, y: (s[:1], t[:1], y[:1]),
}  # fmt: skip


LARGE = {  # logits all alike have no scale: the papers' own codes divide by 1e-7 and 1e-8, too
    *(("standardised_loss", what) for what in ("one dead row", "dead student")),
    *(("dist_loss", what) for what in ("one dead row", "dead student", "same row")),
    ("fsp_loss", "saturated"),  # of the fourth degree
}


@every_loss
@pytest.mark.parametrize("what", EXTREMES)
def test_extremes_stay_finite_and_small(name, what):
    loss, gradient, _ = slopes(name, *EXTREMES[what](*draw(name), LABELS))
    assert math.isfinite(loss) and bool(gradient.isfinite().all())
    assert (float(gradient.abs().max()) < 1000) == ((name, what) not in LARGE)


# ------------------------------------------------------------------------------------- bad input


MAPS_OF_THREE = (6, 3, 4, 4)
WRONG_SHAPES = [
    *((name, (6, 10), bad, r"must both be \[batch, classes\]")
      for name in ON_LOGITS for bad in ((1, 10), (5, 10), (6, 11), (6, 1), (10,), (), (6, 10, 1))),
    *(("soft_target_loss", bad, bad, "must both be") for bad in ((10,), (), (6, 10, 1))),
    ("mixture_loss", (6, 10), (5, 3, 10), "must both be"),
    *((name, *bad, "one row an image") for name in (*ON_EMBEDDINGS, "contrastive_loss")
      for bad in (((6, 5), (1, 5)), ((6, 5), (7, 5)), ((6,), (6,)))),
    ("view_similarity_loss", (6, 2, 5), (5, 2, 5), "one row an image"),
    ("contrastive_loss", (6, 5), (6, 8), "one shape.*project"),
    ("hint_loss", MAPS_OF_THREE, (6, 5, 4, 4), "one shape.*project"),
    ("hint_loss", MAPS_OF_THREE, (1, 3, 4, 4), "one shape"),
    ("attention_transfer_loss", MAPS_OF_THREE, (6, 3, 8, 8), "one batch and resolution"),
    ("attention_transfer_loss", MAPS_OF_THREE, (1, 3, 4, 4), "one batch and resolution"),
    ("fsp_loss", MAPS_OF_THREE, (6, 5, 4, 4), "FSP matrices must agree.*project"),
    ("fsp_loss", MAPS_OF_THREE, (1, 3, 4, 4), "FSP matrices must agree"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "student", "teacher", "match"), WRONG_SHAPES)
def test_wrong_shapes(name, student, teacher, match):
    with pytest.raises(ValueError, match=match):
        CASES[name].ours(torch.zeros(student), torch.zeros(teacher), LABELS)


@pytest.mark.parametrize("labels", [LABELS[:1], LABELS[:5], LABELS[:, None], LABELS.float()])
def test_contrast_wants_a_label_an_image(labels):
    with pytest.raises(ValueError, match="expected 6 labels"):
        CASES["contrastive_loss, labels"].ours(torch.zeros(6, 5), torch.zeros(6, 5), labels)


@pytest.mark.parametrize("labels", [
    LABELS[:5], LABELS - 2, LABELS + 1, LABELS[:, None], F.one_hot(LABELS, 10), torch.tensor(3),
    LABELS - 103,  # -100 is what cross-entropy ignores without a word
    LABELS.float(), torch.eye(10)[:6],  # and these it takes for probabilities
])  # fmt: skip
@pytest.mark.parametrize(
    "name", ["distillation_loss", "target_divergence", "non_target_divergence", "decoupled_loss",
             "mutual_loss", "same_entropy_smoothing"],
)  # fmt: skip
def test_wrong_labels(name, labels):
    with pytest.raises(ValueError, match="labels"):
        CASES[name].ours(*draw(name), labels)


# ------------------------------------------------------------------------- what each paper claims


@st.composite
def three(draw):
    """Student, teacher and labels of any small size."""
    batch, classes = draw(st.integers(1, 5)), draw(st.integers(2, 7))
    generator = torch.Generator().manual_seed(draw(seeds))
    z, v = draw(st.floats(0.1, 10)) * torch.randn(2, batch, classes, generator=generator)
    return z, v, torch.randint(classes, (batch,), generator=generator)


@given(three(), st.sampled_from([0.5, 1.0, 4.0, 20.0]))
def test_soft_targets_are_target_plus_the_rest_of_non_target(given, t):
    z, v, y = given
    unsure = 1 - soften(v, t).gather(1, y[:, None]).squeeze(1)
    both = losses.target_divergence(*given, t) + unsure * losses.non_target_divergence(*given, t)
    expected = float(soft_target_loss(z, v, t))
    assert t**2 * float(both.mean()) == pytest.approx(expected, rel=1e-3, abs=3e-6 * t**2)


@given(three())
def test_two_classes_leave_no_dark_knowledge(given):
    z, v, y = given
    pair = z[:, :2], v[:, :2], y.clamp(max=1)
    assert losses.non_target_divergence(*pair, T).tolist() == [0.0] * len(z)
    alone = T**2 * losses.target_divergence(*pair, T).mean()
    assert float(losses.decoupled_loss(*pair)) == pytest.approx(float(alone))


def test_logit_matching_is_k_times_the_high_temperature_limit():
    z, v = (x - x.mean(dim=1, keepdim=True) for x in draw("logit_matching_loss"))
    limit = float(losses.logit_matching_loss(z, v))
    rows = z.tolist(), v.tolist()
    gaps = [abs(10 * soft(*rows, t) / limit - 1) for t in (10.0, 100.0, 1000.0)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.01
    assert 10 * float(soft_target_loss(z, v, 100.0)) == pytest.approx(limit, rel=0.05)
    shifted = 10 * soft(rows[0], (v + 1).tolist(), 1000.0)  # which only logit matching minds
    assert shifted == pytest.approx(limit, rel=0.01)
    assert float(losses.logit_matching_loss(z, v + 1)) == pytest.approx(limit + 10 / 2, rel=1e-5)


@given(three())
def test_standardised_logits_are_never_surer_than_the_bound(given):
    k = given[0].shape[1]
    assume(float(given[0].std(dim=1).min()) > 0.1)  # nearly equal logits: the rounding is theirs
    z = losses.standardise(given[0])
    assert torch.allclose(z.mean(dim=1), torch.zeros(len(z)), atol=1e-4)
    assert torch.allclose(z.std(dim=1), torch.ones(len(z)), atol=1e-4)
    first = z.max(dim=1)[0]
    assert float((first - (z.sum(dim=1) - first) / (k - 1)).max()) <= math.sqrt(k) + 1e-4
    assert float(soften(z, 2.0).max()) <= surest(k, 2.0) + 1e-5


def surest(k, t):
    """The largest probability of standardised logits: one logit sqrt(k) above all others."""
    return 1 / (1 + (k - 1) * math.exp(-math.sqrt(k) / t))


@pytest.mark.parametrize("k", [2, 3, 10, 100])
def test_the_bound_of_standardisation_is_reached(k):
    certain = losses.standardise(50 * torch.eye(k)[:1])
    assert float(soften(certain, 2.0).max()) == pytest.approx(surest(k, 2.0), rel=1e-5)
    assert surest(10, 2.0) == pytest.approx(0.351, abs=5e-4)
    assert surest(100, 2.0) == pytest.approx(0.600, abs=5e-4)


@given(three())
def test_permuted_dark_knowledge_keeps_all_but_the_places(given):
    _, v, _ = given
    shuffled = losses.permute_dark_knowledge(v)
    assert torch.equal(shuffled.argmax(dim=1), v.argmax(dim=1))
    assert torch.equal(shuffled.sort(dim=1)[0], v.sort(dim=1)[0])


def test_permutation_is_uniform_over_the_others():
    v, found = torch.tensor([[1.0, 4.0, 2.0, 3.0]]).expand(6000, 4), []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(losses.permute_dark_knowledge(v))
    assert torch.equal(*found)
    orders, counts = found[0].unique(dim=0, return_counts=True)
    assert orders.shape == (6, 4) and set(orders[:, 1].tolist()) == {4.0}
    assert float((counts - 1000).abs().max()) < 5 * math.sqrt(1000)


@given(three(), st.sampled_from([1.0, 4.0]))
def test_smoothing_has_the_teachers_entropy_and_no_favourites(given, t):
    _, v, y = given
    p = soften(losses.same_entropy_smoothing(v, y, t), t)
    assert torch.allclose(entropy(p), entropy(soften(v, t)), atol=2e-5)
    wrong = p.masked_select(F.one_hot(y, v.shape[1]) == 0).view(len(v), -1)
    assert torch.allclose(wrong, wrong[:, :1].expand_as(wrong), rtol=1e-4, atol=1e-7)
    assert bool((p.gather(1, y[:, None]) >= wrong - 1e-4).all())


@pytest.mark.parametrize("v", [torch.zeros(1, 10), 200 * torch.eye(10)[:1]])
def test_smoothing_at_both_ends(v):
    p = soften(losses.same_entropy_smoothing(v, torch.tensor([0]), 1.0), 1.0)
    assert torch.allclose(p, soften(v, 1.0), atol=1e-3)


def test_each_peer_holds_the_others_still():
    generator = torch.Generator().manual_seed(0)
    peers = (3 * torch.randn(3, 6, 10, generator=generator)).requires_grad_()
    losses.mutual_loss(peers, LABELS, weight=0.5).backward()
    q = soften(peers, 1.0).detach()
    others = (q.sum(dim=0) - q) / 2  # of CE + weight * KL(other || this): q - y and q - p
    expected = (q - F.one_hot(LABELS, 10) + 0.5 * (q - others)) / 6
    assert torch.allclose(peers.grad, expected, atol=1e-6)
