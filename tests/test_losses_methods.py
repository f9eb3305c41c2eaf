"""Every loss against torchdistill or a literal transcription, and what it ignores."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import (
    CASES,
    LABELS,
    LOSSES,
    MAPS,
    ON_EMBEDDINGS,
    ON_LOGITS,
    ON_MAPS,
    T,
    draw,
    every_loss,
    seeds,
    soft,
    three,
)

from kdlab import losses, robust
from kdlab.losses import entropy, soft_target_loss, soften


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_the_independent_check_agrees(name, seed):
    case, given = CASES[name], (*draw(name, seed), LABELS)
    expected = torch.as_tensor(case.check(*given), dtype=torch.float64)
    assert float((case.ours(*given) - expected).abs().max() / expected.abs().max()) < 2e-5


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


BY_CLASS = [*ON_LOGITS, "mixture_loss", "mutual_loss", "rslad_loss"]
ORDERS = [*((name, "images") for name in LOSSES), *((name, "classes") for name in BY_CLASS)]


@pytest.mark.parametrize(("name", "what"), ORDERS)
def test_order_of_images_and_of_classes_does_not_matter(name, what):
    case, (s, t), axis = CASES[name], draw(name), -1 if what == "classes" else 0
    order = torch.randperm(s.shape[axis], generator=torch.Generator().manual_seed(1))
    y = LABELS[order] if what == "images" else order.argsort()[LABELS]
    shuffled = case.ours(s.index_select(axis, order), t.index_select(axis, order), y)
    assert float(shuffled) == pytest.approx(float(case.ours(s, t, LABELS)), rel=1e-5)
    if what == "images":  # but which student meets which teacher does
        assert float(case.ours(s, t[order], LABELS)) != pytest.approx(float(shuffled), rel=1e-3)


def factor(x, generator, per_image=True):
    """A positive factor of 0.01 to 100, one for each image or one for all."""
    shape = (len(x), *[1] * (x.ndim - 1)) if per_image else ()
    return 10 ** (4 * torch.rand(shape, generator=generator) - 2)


IGNORED: dict[str, tuple[Callable, list[str]]] = {  # a change of the student -> who ignores it
    "a shift of the logits": (
        lambda x, g: x + 5 * torch.randn(len(x), *[1] * (x.ndim - 1), generator=g),
        [*ON_LOGITS[1:], "standardise", "mixture_loss", "rslad_loss"]),
    "shift and scale of the logits": (
        lambda x, g: factor(x, g) * x + torch.randn(len(x), 1, generator=g),
        ["standardise", "standardised_loss"]),
    "smoothing of the probabilities": (
        lambda x, g: T * (0.7 * soften(x, T) + 0.3 / x.shape[1]).log(), ["dist_loss"]),
    "scale of each map": (lambda x, g: factor(x, g) * x, ON_MAPS),
    "copies of the channels": (lambda x, g: x.repeat(1, 3, 1, 1), ON_MAPS),
    "dead channels": (lambda x, g: torch.cat([x, 0 * x], 1), ON_MAPS),
    "sign and order of the channels": (lambda x, g: -x.flip(1), ON_MAPS),
    "rotation of the space": (
        lambda x, g: x @ torch.linalg.qr(torch.randn(*[x.shape[-1]] * 2, generator=g))[0],
        [*ON_EMBEDDINGS, "view_similarity_loss"]),
    "scale of the space": (
        lambda x, g: factor(x, g, per_image=False) * x,
        [*ON_EMBEDDINGS, "contrastive_loss", "view_similarity_loss"]),
    "more dimensions": (
        lambda x, g: torch.cat([x, 0 * x], -1), [*ON_EMBEDDINGS, "view_similarity_loss"]),
    "translation of the space": (
        lambda x, g: x + 3 * torch.randn(x.shape[-1], generator=g), ON_EMBEDDINGS[1:3]),
    "scale of each embedding": (
        lambda x, g: factor(x, g) * x, ["pkt_loss", "contrastive_loss", "view_similarity_loss"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "name"), [(what, name) for what, (_, names) in IGNORED.items() for name in names]
)
@settings(max_examples=15)
@given(seed=seeds)
def test_invariances(what, name, seed):
    case, (s, t) = CASES[name], draw(name, seed)
    other = IGNORED[what][0](s, torch.Generator().manual_seed(seed + 1))
    before, after = case.ours(s, t, LABELS), case.ours(other, t, LABELS)
    assert torch.allclose(after, before, rtol=2e-3, atol=2e-5)


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


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "mutual_loss"])  # see its own test
def test_gradient_in_float64_by_finite_differences(name):
    case, (s, t) = CASES[name], draw(name, scale=1.0)
    way = torch.randn(s.shape, generator=torch.Generator().manual_seed(1))
    ends = (float(case.check(s.double() + h * way, t, LABELS)) for h in (1e-5, -1e-5))
    slope = (next(ends) - next(ends)) / 2e-5
    along = float((slopes(name, s, t)[1] * way).sum())
    assert along == pytest.approx(slope, rel=1e-3, abs=1e-5)


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
}
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
WRONG_SHAPES = [
    *((name, (6, 10), bad, r"must both be \[batch, classes\]")
      for name in ON_LOGITS for bad in ((1, 10), (5, 10), (6, 11), (6, 1), (10,), (), (6, 10, 1))),
    *(("soft_target_loss", bad, bad, "must both be") for bad in ((10,), (), (6, 10, 1))),
    ("mixture_loss", (6, 10), (5, 3, 10), "must both be"),
    *((name, *bad, "one row an image") for name in (*ON_EMBEDDINGS, "contrastive_loss")
      for bad in (((6, 5), (1, 5)), ((6, 5), (7, 5)), ((6,), (6,)))),
    ("view_similarity_loss", (6, 2, 5), (5, 2, 5), "one row an image"),
    ("contrastive_loss", (6, 5), (6, 8), "one shape.*project"),
    *((name, MAPS[0], bad, match) for name, bads, match in (
        ("hint_loss", ((6, 5, 4, 4), (1, 3, 4, 4)), "one shape.*project"),
        ("attention_transfer_loss", ((6, 3, 8, 8), (1, 3, 4, 4)), "one batch and resolution"),
        ("fsp_loss", ((6, 5, 4, 4), (1, 3, 4, 4)), "FSP matrices must agree.*project"),
    ) for bad in bads),
]  # fmt: skip
WITH_LABELS = ["distillation_loss", "target_divergence", "non_target_divergence", "decoupled_loss",
               "mutual_loss", "same_entropy_smoothing"]  # fmt: skip
WRONG_LABELS = [
    *((name, labels, "expected 6 labels") for name in (*WITH_LABELS, "contrastive_loss, labels")
      for labels in (LABELS[:1], LABELS[:5], LABELS[:, None], torch.tensor(3),
                     F.one_hot(LABELS, 10),  # cross-entropy takes these for probabilities:
                     LABELS.float(), torch.eye(10)[:6])),
    *((name, LABELS + by, r"must be 0\.\.9") for name in WITH_LABELS  # and ignores -100
      for by in (-2, 1, -103)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "student", "teacher", "match"), WRONG_SHAPES)
def test_wrong_shapes(name, student, teacher, match):
    with pytest.raises(ValueError, match=match):
        CASES[name].ours(torch.zeros(student), torch.zeros(teacher), LABELS)


@pytest.mark.parametrize(("name", "labels", "match"), WRONG_LABELS)
def test_wrong_labels(name, labels, match):
    with pytest.raises(ValueError, match=match):
        CASES[name].ours(*draw(name), labels)


# ------------------------------------------------------------------------- what each paper claims
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
    gaps = [abs(10 * soft(z.tolist(), v.tolist(), t) / limit - 1) for t in (10.0, 100.0, 1000.0)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.01
    assert 10 * float(soft_target_loss(z, v, 100.0)) == pytest.approx(limit, rel=0.05)


def surest(k):
    """The largest probability of standardised logits at T = 2: one sqrt(k) above all others."""
    return 1 / (1 + (k - 1) * math.exp(-math.sqrt(k) / 2))


@given(three())
def test_standardised_logits_are_never_surer_than_the_bound(given):
    k = given[0].shape[1]
    assume(float(given[0].std(dim=1).min()) > 0.1)  # nearly equal logits: the rounding is theirs
    z = losses.standardise(given[0])
    assert torch.allclose(z.mean(dim=1), torch.zeros(len(z)), atol=1e-4)
    assert torch.allclose(z.std(dim=1), torch.ones(len(z)), atol=1e-4)
    first = z.max(dim=1)[0]
    assert float((first - (z.sum(dim=1) - first) / (k - 1)).max()) <= math.sqrt(k) + 1e-4
    assert float(soften(z, 2.0).max()) <= surest(k) + 1e-5


@pytest.mark.parametrize(("k", "known"), [(2, 0.670), (3, 0.543), (10, 0.351), (100, 0.600)])
def test_the_bound_of_standardisation_is_reached(k, known):
    certain = losses.standardise(50 * torch.eye(k)[:1])
    assert float(soften(certain, 2.0).max()) == pytest.approx(surest(k), rel=1e-5)
    assert surest(k) == pytest.approx(known, abs=5e-4)


@given(three())
def test_permuted_dark_knowledge_keeps_all_but_the_places(given):
    shuffled = losses.permute_dark_knowledge(given[1])
    assert torch.equal(shuffled.argmax(dim=1), given[1].argmax(dim=1))
    assert torch.equal(shuffled.sort(dim=1)[0], given[1].sort(dim=1)[0])


def test_permutation_is_uniform_over_the_others():
    torch.manual_seed(0)
    found = losses.permute_dark_knowledge(torch.tensor([[1.0, 4.0, 2.0, 3.0]]).expand(6000, 4))
    orders, counts = found.unique(dim=0, return_counts=True)
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
