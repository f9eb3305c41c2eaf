"""Choosing settings fairly: every arm begins with as many trials, on images it does not train on.

A search goes in rounds. Every arm gets the same number of settings, spread over its ranges; an arm
whose best one lies at an edge gets a few more beyond it; the best three of each arm run again with
new seeds, and the best mean over all its seeds is chosen (the first, which picked the finalists,
among them: alike for every arm). Each round is a function of the runs before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

import numpy as np

from kdlab.lab.configs import Arms, Config

FINALISTS, FIRST_SEED = 3, 100  # final runs have seeds from 0
PAST = (1.5, 2.2, 3.3, 5.0)  # of the range's end, where the best setting lies there
BELOW = {"smoothing": 1.0}  # what a setting can't reach, however good its range's end is
SHARE = "label_share"  # of the labels' term: the teacher's term has the rest


@dataclass(frozen=True)
class Space:
    """A config, and the ranges that its open settings are drawn from: evenly in the logarithm, the
    label share evenly in itself."""

    base: Config
    ranges: dict[str, tuple[float, float]]


def with_settings(base: Config, values: Mapping[str, float]) -> Config:
    """The config with these settings."""
    values = dict(values)
    if SHARE in values:
        share, soft = values.pop(SHARE), "soft_weight" if base.soft_weight else "weight"
        values |= {"hard_weight": share, soft: round(1 - share, 3)}
    return replace(base, **values)


def values_of(settings: Mapping, names: Sequence[str]) -> dict[str, float]:
    """The inverse of `with_settings`, from a config as a dict."""
    return {n: settings["hard_weight" if n == SHARE else n] for n in names}


def latin_hypercube(n: int, ranges: int) -> np.ndarray:
    """A Latin hypercube [n, ranges] in 0..1: each n-th of each range has one point."""
    words = np.random.Philox(key=n).random_raw(2 * n * ranges) / 2.0**64
    order, within = words.reshape(2, n, ranges)
    return (order.argsort(axis=0) + within) / n


def at(place: float, name: str, low: float, high: float) -> float:
    """The value at a place 0..1 of a range, in two digits."""
    value = low + place * (high - low) if name == SHARE else low * (high / low) ** place
    return float(f"{value:.2g}")


def drawn(spaces: Mapping[str, Space], trials: int) -> Arms:
    """The first round: as many settings of every arm, named "ARM #1" and so on."""
    return {
        f"{arm} #{number}": with_settings(
            space.base,
            {r: at(x, r, *space.ranges[r]) for r, x in zip(space.ranges, row, strict=True)},
        )
        for arm, space in spaces.items()
        for number, row in enumerate(latin_hypercube(trials, len(space.ranges)), 1)
    }


def validated(arms: Arms, **others) -> Arms:
    """These arms as trials: judged on images that the student does not train on. A teacher of the
    whole of CIFAR-10 has seen them; those of its 10,000 have not."""
    return {arm: replace(r, judge="validation", **others) for arm, r in arms.items()}


def arm_of(trial: str) -> str:
    """Whose trial it is: all but the last word of its name."""
    return trial.rpartition(" ")[0]


def scores(runs: Sequence[Mapping], arm: str, seeds: int = 1) -> dict[str, float]:
    """Mean accuracy of each trial of an arm that has run with `seeds` seeds, the best first; a run
    that diverged counts as 0."""
    by_trial: dict[str, dict[int, float]] = {}
    for r in runs:
        if arm_of(r["arm"]) == arm:
            by_trial.setdefault(r["arm"], {})[r["seed"]] = r["accuracy"] or 0.0
    whole = {t: [s[k] for k in sorted(s)[:seeds]] for t, s in by_trial.items() if len(s) >= seeds}
    return {t: fmean(s) for t, s in sorted(whole.items(), key=lambda item: -fmean(item[1]))}


def past_the_edge(spaces: Mapping[str, Space], trials: Arms, runs: Sequence[Mapping]) -> Arms:
    """The second round: for each setting of an arm's best trial that lies in the outermost of the
    parts that its trials divide a range into, four more beyond that end, as far as the setting can
    go, all else as there. Once, and not for the label share, whose ends are its own."""
    more: Arms = {}
    for arm, space in spaces.items():
        best = trials[next(iter(scores(runs, arm)))]
        steps, tried = [], sum(arm_of(trial) == arm for trial in trials)
        for name, value in values_of(asdict(best), space.ranges).items():
            low, high = space.ranges[name]
            place = 0.5 if name == SHARE else math.log(value / low) / math.log(high / low)
            if place < 1 / tried:
                steps += [(name, low / factor) for factor in PAST]
            if place > 1 - 1 / tried:
                steps += [(name, high * factor) for factor in PAST]
        steps = [(name, float(f"{value:.2g}")) for name, value in steps]
        steps = [(name, value) for name, value in steps if value < BELOW.get(name, math.inf)]
        for number, (name, value) in enumerate(steps, tried + 1):
            more[f"{arm} #{number}"] = replace(best, **{name: value})
    return more


def finalists(spaces: Mapping[str, Space], runs: Sequence[Mapping]) -> list[str]:
    """The third round: the best three trials of every arm."""
    return [trial for arm in spaces for trial in list(scores(runs, arm))[:FINALISTS]]


def choose(runs: Sequence[Mapping], arm: str) -> str | None:
    """The finalist with the best mean over all its seeds; None for an arm without runs."""
    seeds = len({r["seed"] for r in runs if arm_of(r["arm"]) == arm})
    return next(iter(scores(runs, arm, seeds)), None)
