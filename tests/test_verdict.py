"""The verdict: an interval over seeds and photos, and what it allows to say."""

import math
from dataclasses import replace

import numpy as np
import pytest

from kdlab.apps.distil.verdict import Gap, decide, gap_of, judge, photos_needed, seeds_needed

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


GAPS = {  # of a control -> a gap
    "ahead": Gap(5.0, 2.0, 8.0, 1.0, 30.0, 2),
    "behind": Gap(-5.0, -8.0, -2.0, 1.0, 30.0, 2),
    "open": Gap(2.0, -1.0, 5.0, 0.1, 40.0, 2),
    "noisy": Gap(2.0, -1.0, 5.0, 2.5, 1.0, 2),
    "none": Gap(0.0, -1.0, 1.0, 0.1, 10.0, 2),
}


@pytest.mark.parametrize(("names", "word", "sentence", "keys"), [
    (["ahead"], "ship", "ship", {"least", "control"}),
    (["ahead", "behind"], "do not", "do not", {"points", "control"}),
    (["ahead", "open"], "undecided", "photos", {"gap", "low", "high", "control", "photos"}),
    (["noisy"], "undecided", "seeds", {"gap", "low", "high", "control", "seeds"}),
    (["none"], "undecided", "alike", {"gap", "low", "high", "control"}),
])  # fmt: skip
def test_the_sentence_says_what_would_decide(names, word, sentence, keys):
    verdict = judge({name: GAPS[name] for name in names}, seeds=3, photos=200)
    assert (verdict.word, verdict.sentence, set(verdict.values)) == (word, sentence, keys)
    assert verdict.values["control"] == names[-1]


def test_the_numbers_that_would_decide_do():
    photos = judge({"c": GAPS["open"]}, seeds=3, photos=200).values["photos"]
    assert GAPS["open"].half_width(3, photos) < 2 <= GAPS["open"].half_width(3, photos // 2)
    seeds = seeds_needed(GAPS["noisy"], 200)
    assert GAPS["noisy"].half_width(seeds, 200) < 2 <= GAPS["noisy"].half_width(seeds // 2, 200)
    one = replace(GAPS["ahead"], seeds_std=math.inf)
    assert judge({"c": one}, seeds=1, photos=9).sentence == "one seed"


def test_a_class_alone_and_more_comparisons_widen_the_interval():
    both = runs("a", [0.8] * 3) + runs("b", [0.7] * 3, seed=1)
    whole = gap_of(both, "a", "b", LABELS)
    wider = gap_of(both, "a", "b", LABELS, comparisons=10)
    assert wider.low < whole.low and wider.high > whole.high and wider.mean == whole.mean
    kinds = [gap_of(both, "a", "b", LABELS, kind=k) for k in (0, 1)]
    assert sum(gap.mean for gap in kinds) / 2 == pytest.approx(whole.mean)
