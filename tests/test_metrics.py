"""kdlab.metrics against literal versions, closed forms and known numbers."""

import itertools
import math
import statistics
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import cosine
from safetensors.torch import save_file
from scipy.stats import ttest_rel
from torch import nn
from toys import images, same, state

from kdlab import metrics
from kdlab.data import normalise
from kdlab.lab.stats import holm, paired
from kdlab.losses import soften
from kdlab.metrics import predict
from kdlab.models import build, feature_shapes

SHAPE = (3, 32, 32)
DATA = images(23, side=32, classes=10)


def random_logits(n=200, classes=10, seed=0, scale=3.0):
    return scale * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


LOOKS = {
    "predict": lambda model: predict(model, DATA),
    "embeddings": lambda model: metrics.embeddings(model, DATA),
    "flops": lambda model: metrics.flops(model, SHAPE),
    "feature_shapes": lambda model: feature_shapes(model, SHAPE, ["stage1", "flatten"]),
    "latency": lambda model: metrics.latency(model, SHAPE, runs=1),
}


@pytest.mark.parametrize("was_training", [True, False])
@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_a_net_restores_the_mode_and_changes_nothing(look, was_training):
    model = build("cnn3-16-e16").train(was_training)
    before = state(model)
    LOOKS[look](model)
    assert all(m.training == was_training for m in model.modules())
    assert same(before, state(model))


def test_predict_does_not_depend_on_the_batch_size_and_may_stand_in_a_loss():
    """A teacher's predictions are targets: autograd must be able to keep them."""
    model = build("cnn3-16")
    whole = predict(model, DATA)
    assert whole.dtype == torch.float32 and whole.shape == (23, 10)
    for size in (1, 7, 23, 1000):
        assert torch.allclose(predict(model, DATA, size), whole, atol=1e-5)
    student = torch.zeros_like(whole).requires_grad_()
    (student * whole).sum().backward()
    assert torch.equal(student.grad, whole)
    assert torch.allclose(whole, model.eval()(normalise(DATA.images, DATA)), atol=1e-5)


def test_embeddings_are_what_the_stage_says():
    model = build("cnn3-16-e16")
    found = metrics.embeddings(model, DATA)
    assert found.shape == (23, 16) and found.dtype == torch.float32 and not found.requires_grad
    assert torch.allclose(model.eval().head(found), predict(model, DATA), atol=1e-5)


@given(st.integers(1, 50), st.integers(0, 1000))
def test_errors_accuracy_agreement_are_counts(n, seed):
    logits, others = random_logits(n, seed=seed), random_logits(n, seed=seed + 1)
    labels = torch.randint(0, 10, (n,), generator=torch.Generator().manual_seed(seed))
    ours, theirs = ([row.index(max(row)) for row in x.tolist()] for x in (logits, others))
    wrong = sum(a != y for a, y in zip(ours, labels.tolist(), strict=True))
    alike = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert metrics.errors(logits, labels) == wrong
    assert metrics.accuracy(logits, labels) == pytest.approx(100 * (n - wrong) / n)
    assert metrics.agreement(logits, others) == pytest.approx(100 * alike / n)


def test_labels_are_never_broadcast():
    logits = random_logits(4)
    for labels in (torch.zeros(1).long(), torch.zeros(4, 1).long(), torch.tensor(3)):
        for measure in (metrics.errors, metrics.accuracy, metrics.expected_calibration_error):
            with pytest.raises(ValueError, match="4 predictions"):
                measure(logits, labels)
    with pytest.raises(ValueError):
        metrics.agreement(logits, logits[:1])


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_calibration_error_is_the_literal_one(bins, scale):
    logits, literal = random_logits(scale=scale), 0.0
    labels = torch.where(torch.arange(200) % 3 > 0, logits.argmax(1), torch.zeros(200).long())
    rows = zip(soften(logits, 1.0).tolist(), labels.tolist(), strict=True)
    found = [(max(p), p.index(max(p)) == y) for p, y in rows]
    for b in range(bins):
        upper = (b + 1) / bins if b + 1 < bins else math.inf
        if inside := [(c, r) for c, r in found if b / bins <= c < upper]:
            confidence, right = map(statistics.fmean, zip(*inside, strict=True))
            literal += len(inside) / 200 * abs(confidence - right)
    ours = metrics.expected_calibration_error(logits, labels, bins)
    assert ours == pytest.approx(100 * literal, abs=1e-3)


@given(st.floats(-8, 8), st.integers(0, 100))
def test_shift_is_recovered_without_labels_and_leaves_its_inputs_alone(shift, seed):
    teacher = random_logits(seed=seed)
    student = teacher.clone()
    student[:, [3, 7]] -= shift
    kept = student.clone(), teacher.clone()
    assert metrics.mass_matching_shift(student, teacher, (3, 7)) == pytest.approx(shift, abs=1e-3)
    assert metrics.mass_matching_shift(teacher, teacher, [3]) == pytest.approx(0, abs=1e-3)
    assert torch.equal(student, kept[0]) and torch.equal(teacher, kept[1])


@pytest.mark.parametrize("pairs", [2, 3, 5, 10, 40])
def test_intervals_and_p_values_are_students_of_the_differences(pairs):
    """What the seeds share, here ten times the noise, is taken out."""
    shared = [10 * math.cos(5 * k) for k in range(pairs)]
    runs = [x + math.sin(3 * k) + 0.4 for k, x in enumerate(shared)]
    got, known = paired(runs, shared), ttest_rel(runs, shared)
    assert (got.low, got.high) == pytest.approx(known.confidence_interval())
    assert got.mean == pytest.approx(statistics.fmean(runs) - statistics.fmean(shared))
    assert got.p == pytest.approx(known.pvalue) and got.pairs == pairs
    assert (got.p < 0.05) == got.excludes_zero() == paired(shared, runs).excludes_zero()


def test_last_bits_are_no_difference():
    for seeds, p in ([0.1 + 0.2, 0.3, 0.3], 1.0), ([1.1, 1.1, 0.8 + 0.3], 0.0):
        gap = paired(seeds, [0.3] * 3)
        assert (gap.low, gap.high, gap.p) == (gap.mean, gap.mean, p)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == [] and holm([0.2]) == [0.2]
    with pytest.raises(ValueError, match="p values lie in 0..1"):
        holm([0.2, 1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_none_and_bonferroni(p_values):
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert p <= c <= min(1.0, len(p_values) * p) + 1e-12
    assert [c for _, c in sorted(zip(p_values, corrected, strict=True))] == sorted(corrected)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=40))
def test_equal_runs_never_differ(runs):
    """float32 on one side alone once made equal lists differ by a hair, beyond noise."""
    got = paired(runs, runs)
    assert got == (0, 0, 0, len(runs), 1) and not got.excludes_zero()


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_too_few_pairs(a, b):
    with pytest.raises(ValueError, match="two or more pairs"):
        paired(a, b)


def test_parameters_and_flops_of_one_layer():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    assert metrics.parameters(linear) == 7850
    assert metrics.flops(linear, (1, 28, 28)) == 2 * 784 * 10
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert metrics.parameters(conv) == 3 * 8 * 9
    assert metrics.flops(conv, SHAPE) == 2 * 3 * 8 * 9 * 32 * 32


def test_half_resolution_costs_a_quarter():
    whole, half = (metrics.flops(build(name), SHAPE) for name in ("wrn-10-1", "wrn-10-1-s2"))
    assert whole / half == pytest.approx(4, rel=0.01)


def test_stored_bytes_are_those_of_the_file(tmp_path):
    model, path = build("cnn3-16"), tmp_path / "net.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    assert metrics.stored_bytes(model) == path.stat().st_size
    weights = metrics.parameters(model)
    assert 4 * weights < metrics.stored_bytes(model) < 4 * weights + 5_000
    assert metrics.stored_bytes(model.half()) < 2 * weights + 5_000


def test_latency_is_a_median_and_a_tail_after_the_warm_up_on_one_thread():
    def slow(module, given):  # 2 ms, 20 ms in every tenth pass, and 200 ms in the first three
        seen.append((tuple(given[0].shape), module.training, torch.get_num_threads()))
        time.sleep(0.2 if len(seen) <= 3 else 0.02 if len(seen) % 10 == 0 else 0.002)

    model, seen, threads = nn.Identity(), [], torch.get_num_threads()
    model.register_forward_pre_hook(slow)
    found = metrics.latency(model, (3, 4, 4), 7, runs=40, warm_up=3)
    assert seen == [((7, 3, 4, 4), False, 1)] * 43
    assert 2 <= found.p50 < 15 and 20 <= found.p95 < 100
    assert torch.get_num_threads() == threads


def test_latency_leaves_the_mode_after_an_error():
    model, threads = build("cnn3-16").train(), torch.get_num_threads()
    with pytest.raises(RuntimeError):
        metrics.latency(model, (1, 4, 4))
    assert model.training and torch.get_num_threads() == threads


def some_scores(seed=0, genuine=60, impostor=90):
    draw = torch.Generator().manual_seed(seed)
    round_off = 10.0 ** (1 + seed % 3)  # few digits: ties
    scores = (torch.randn(n, generator=draw) + shift for n, shift in ((genuine, 1), (impostor, 0)))
    return [(s * round_off).round() / round_off for s in scores]


def test_cka_is_that_of_the_covariances_and_sees_no_rotation_scale_or_shift():
    x, y = random_logits(30, 4, seed=1).double(), random_logits(30, 6, seed=2).double()
    a, b = x - x.mean(dim=0), y - y.mean(dim=0)
    known = (a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    turned = 3 * y @ torch.linalg.qr(torch.randn(6, 6).double())[0] + 5
    assert metrics.cka(x, y) == pytest.approx(float(known)) == pytest.approx(metrics.cka(x, turned))
    assert metrics.cka(x, 2 * x) == pytest.approx(1.0)


def test_pairs_are_all_pairs_once():
    rows, labels = random_logits(17, 5), torch.arange(17) % 3
    by_hand = [], []  # genuine, impostor
    for (a, x), (b, y) in itertools.combinations(zip(labels, rows.tolist(), strict=True), 2):
        by_hand[int(a != b)].append(cosine(x, y))
    for ours, theirs in zip(metrics.pair_scores(rows, labels), by_hand, strict=True):
        assert torch.allclose(ours.sort().values, torch.tensor(theirs).sort().values, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("far", [0.02, 0.1, 0.5])
def test_tar_is_the_best_that_any_allowed_threshold_gives(seed, far):
    """Every score is tried as a threshold, those that let through too many are thrown away."""
    genuine, impostor = some_scores(seed)
    best = 0.0
    for t in [*genuine.tolist(), *impostor.tolist()]:
        if sum(i > t for i in impostor.tolist()) / len(impostor) <= far:
            best = max(best, 100 * sum(g > t for g in genuine.tolist()) / len(genuine))
    assert metrics.tar_at_far(genuine, impostor, far) == pytest.approx(best, abs=1e-4)
    assert metrics.roc(genuine, impostor, [0.7, far])[1:] == pytest.approx([best], abs=1e-4)
    tar, accepted = metrics.rates(genuine, impostor, metrics.threshold_at(impostor, far))
    assert accepted <= far and 100 * tar == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_the_area_counts_the_pairs_of_pairs(seed):
    genuine, impostor = some_scores(seed)
    wins = [(g > i) + (g == i) / 2 for g in genuine.tolist() for i in impostor.tolist()]
    assert metrics.auroc(genuine, impostor) == pytest.approx(sum(wins) / len(wins), abs=1e-6)


@pytest.mark.parametrize("far", [0.001, -0.1, 1.0, 0.0])
def test_a_rate_that_so_few_impostors_cannot_show_is_refused(far):
    with pytest.raises(ValueError, match="impostor pairs"):
        metrics.tar_at_far(*some_scores(), far)
