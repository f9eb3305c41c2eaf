"""kdlab.lab.search: as many trials for every arm, and a choice that is a function of the runs."""

import itertools
import math
from collections import Counter
from dataclasses import asdict, replace

import pytest

from kdlab.lab import search
from kdlab.lab.configs import KD, PAIR, PUPIL
from kdlab.lab.experiments import rounds
from kdlab.lab.search import FINALISTS, Space

TRIALS = 12
SPACES = {
    "labels": Space(PAIR, {"lr": (0.05, 0.8)}),
    "taught": Space(replace(PUPIL, **KD), {"lr": (0.05, 0.8), "label_share": (0.0, 0.6)}),
}


def searched(quality, seeds=3):
    """A whole search in which a trial of this recipe and seed has this quality: settings, runs."""
    runs, trials = [], {}
    for arms, new_seeds in rounds(search.drawn(SPACES, TRIALS), SPACES, seeds, runs):
        trials |= arms
        for arm, seed in itertools.product(arms, new_seeds):
            runs.append({"arm": arm, "seed": seed, "accuracy": quality(arms[arm], seed)})
    return trials, runs


@pytest.mark.parametrize("ranges", [1, 2, 3])
def test_settings_are_spread_evenly_over_every_range_and_alike_on_every_machine(ranges):
    points = search.latin_hypercube(TRIALS, ranges)
    assert points.shape == (TRIALS, ranges)
    for column in points.T:
        assert sorted(int(x * TRIALS) for x in column) == list(range(TRIALS))
    assert search.latin_hypercube(3, 1)[:, 0] == pytest.approx(
        [0.599655, 0.919363, 0.114261], abs=1e-6
    )


def test_a_share_of_labels_divides_the_objective_between_labels_and_teacher():
    """And is drawn evenly in itself, where rates are even in the logarithm."""
    assert search.at(0.5, "lr", 0.01, 1.0) == 0.1
    assert search.at(0.5, "label_share", 0.0, 0.6) == 0.3
    soft = search.with_settings(replace(PUPIL, **KD), {"label_share": 0.3})
    assert (soft.hard_weight, soft.soft_weight, soft.weight) == (0.3, 0.7, 0.0)
    hard, values = replace(PUPIL, method="hard distillation"), {"lr": 0.2, "label_share": 0.25}
    hard = search.with_settings(hard, values)
    assert (hard.hard_weight, hard.soft_weight, hard.weight, hard.lr) == (0.25, 0.0, 0.75, 0.2)
    assert search.values_of(asdict(hard), values) == values


def test_three_finalists_of_each_arm_run_again_with_seeds_that_are_new():
    trials, runs = searched(lambda r, seed: 60 - abs(math.log(r.lr / 0.2)))
    for arm in SPACES:
        mine = [r for r in runs if search.arm_of(r["arm"]) == arm]
        assert Counter(r["seed"] for r in mine) == {100: TRIALS, 101: FINALISTS, 102: FINALISTS}
        best = sorted({r["arm"] for r in mine}, key=lambda a: abs(math.log(trials[a].lr / 0.2)))
        assert {r["arm"] for r in mine if r["seed"] == 101} == set(best[:FINALISTS])
        assert search.choose(runs, arm) == best[0]


def test_a_best_trial_at_an_edge_gets_four_more_beyond_it():
    trials, runs = searched(lambda r, seed: 50 + 10 * math.log(r.lr))  # the larger the better
    for arm in SPACES:
        further = [trials[f"{arm} #{n}"] for n in range(TRIALS + 1, TRIALS + 5)]
        assert [r.lr for r in further] == [1.2, 1.8, 2.6, 4.0]
        top = max((trials[f"{arm} #{n}"] for n in range(1, TRIALS + 1)), key=lambda r: r.lr)
        assert all(replace(r, lr=top.lr) == top for r in further)
        assert trials[search.choose(runs, arm)].lr == 4.0
    assert not any(trial.endswith(f"#{TRIALS + 5}") for trial in trials)


def test_nothing_is_tried_that_a_setting_cannot_be():
    """Smoothing beyond 1 is an error in torch, which ended the search."""
    spaces = {"labels": Space(PAIR, {"smoothing": (0.01, 0.4), "lr": (0.05, 0.8)})}
    trials = search.drawn(spaces, TRIALS)
    best = {"smoothing": 0.4, "lr": 0.8}
    trials["labels #1"] = replace(PAIR, **best)
    runs = [{"arm": t, "seed": 100, "accuracy": 9.0 * (t == "labels #1")} for t in trials]
    more = search.past_the_edge(spaces, trials, runs)
    assert list(more) == [f"labels #{n}" for n in range(TRIALS + 1, TRIALS + 7)]
    tried = [{name: getattr(r, name) for name in best} for r in more.values()]
    beyond = [{"smoothing": s} for s in (0.6, 0.88)] + [{"lr": x} for x in (1.2, 1.8, 2.6, 4.0)]
    assert tried == [best | other for other in beyond]


def test_a_trial_that_diverged_is_the_worst_and_names_that_begin_alike_are_told_apart():
    found = {"labels #1": None, "labels #2": 10.0, "labels, twice as long #1": 60.0}
    runs = [{"arm": arm, "seed": 100, "accuracy": value} for arm, value in found.items()]
    assert list(search.scores(runs, "labels")) == ["labels #2", "labels #1"]
    assert search.choose(runs, "x") is None  # an arm without runs
