"""The verdict: an interval over seeds and photos, and what it allows to say."""

import math

import numpy as np
import pytest

from kdlab.apps.distil.verdict import Gap, decide, gap_of, photos_needed

LABELS = [0, 1] * 100
ARMS = "teacher", "labels"


def runs(arm, shares, seed=0):
    """Runs that are right about these shares of the photos."""
    generator = np.random.default_rng(seed)
    rows = []
    for number, share in enumerate(shares):
        right = generator.random(len(LABELS)) < share
        said = [label if ok else 1 - label for label, ok in zip(LABELS, right, strict=True)]
        rows.append({"arm": arm, "seed": number, "said": said})
    return rows


def test_a_large_gap_is_shipped_and_the_other_way_round_it_is_not():
    both = runs("teacher", [0.9] * 3) + runs("labels", [0.6] * 3, seed=1)
    ahead, behind = (
        gap_of(both, *pair, LABELS) for pair in (("teacher", "labels"), ("labels", "teacher"))
    )
    assert 20 < ahead.mean < 40 and ahead.low > 0 and decide([ahead, ahead]) == "ship"
    assert behind.mean == pytest.approx(-ahead.mean) and decide([ahead, behind]) == "do not"


def test_the_same_student_twice_is_undecided():
    same = runs("teacher", [0.7] * 3) + runs("labels", [0.7] * 3)
    gap = gap_of(same, "teacher", "labels", LABELS)
    assert (gap.mean, gap.low, gap.high) == (0, 0, 0) and decide([gap]) == "undecided"
    assert photos_needed(gap, seeds=3) is None


def test_one_seed_decides_nothing():
    both = runs("teacher", [0.95]) + runs("labels", [0.5], seed=1)
    gap = gap_of(both, "teacher", "labels", LABELS)
    assert gap.low > 0 and decide([gap]) == "undecided"


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for k in range(60):
        both = runs("a", [0.75] * 4, seed=2 * k) + runs("b", [0.7] * 4, seed=2 * k + 1)
        gap = gap_of(both, "a", "b", LABELS, seed=k)
        hits += gap.low <= 5 <= gap.high
    assert hits >= 51  # 95% of 60 are 57


def test_runs_are_paired_by_their_seeds_in_whatever_order_they_ended():
    both = runs("a", [0.9, 0.5, 0.7]) + runs("b", [0.8, 0.4, 0.6], seed=1)
    assert gap_of(both[::-1], "a", "b", LABELS) == gap_of(both, "a", "b", LABELS)


def test_how_many_photos_would_decide():
    gap = Gap(mean=2.0, low=-1.0, high=5.0, seeds_std=0.5, photos_std=40.0)
    needed = photos_needed(gap, seeds=5)
    assert gap.half_width(5, needed) < 2.0 <= gap.half_width(5, needed // 2)
    assert decide([gap]) == "undecided"
    assert photos_needed(Gap(0.1, -1, 1, 1.0, 40.0), seeds=3) is None
    assert math.isinf(Gap(1, 0, 2, math.inf, 1).half_width(1, 100))
