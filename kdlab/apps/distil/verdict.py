"""For the engineer: the gap between two arms over seeds and photos, and what follows from it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

DRAWS = 4000


@dataclass(frozen=True)
class Gap:
    """A difference of accuracies in points, with a 95% interval over seeds and photos."""

    mean: float
    low: float
    high: float
    seeds_std: float  # between the seeds, of the difference
    photos_std: float  # between the photos, of the difference
    comparisons: int = 1  # whose intervals hold together

    def half_width(self, seeds: int, photos: int) -> float:
        """Of the interval that so many seeds and photos would give, by a normal approximation."""
        enough = NormalDist().inv_cdf(1 - 0.025 / self.comparisons)
        return enough * math.hypot(self.seeds_std / seeds**0.5, self.photos_std / photos**0.5)


@dataclass(frozen=True)
class Verdict:
    """What follows from a comparison: a word, and the sentence of `data/words.yaml` that says why,
    with what is filled in; arms are named by their keys."""

    word: str  # "ship", "undecided", "do not"
    sentence: str
    values: Mapping[str, object] = field(default_factory=dict)


def right(runs: Sequence[Mapping], arm: str, labels: Sequence[int]) -> np.ndarray:
    """Whether each run of an arm is right about each photo: [S, N], in the order of the seeds."""
    ordered = sorted((run for run in runs if run["arm"] == arm), key=lambda run: run["seed"])
    return np.array([np.equal(run["said"], labels) for run in ordered], float)


def gap_of(
    runs: Sequence[Mapping],
    arm: str,
    over: str,
    labels: Sequence[int],
    *,
    kind: int | None = None,
    comparisons: int = 1,
    seed: int = 0,
) -> Gap:
    """`arm` minus `over`, on the photos of the class `kind` alone if it is given. The bootstrap
    draws seeds and photos anew, both with replacement, since another person would have had other
    ones of both. Of several `comparisons` all intervals hold together in 95% (Bonferroni). Few
    seeds show little of what seeds vary: take five or more.
    """
    difference = 100 * (right(runs, arm, labels) - right(runs, over, labels))
    if kind is not None:
        difference = difference[:, np.equal(labels, kind)]
    seeds, photos = difference.shape
    generator = np.random.default_rng(seed)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        some = difference[generator.integers(seeds, size=seeds)]
        means[draw] = some[:, generator.integers(photos, size=photos)].mean()
    low, high = np.quantile(means, [0.025 / comparisons, 1 - 0.025 / comparisons])
    return Gap(
        mean=float(difference.mean()),
        low=float(low),
        high=float(high),
        seeds_std=float(difference.mean(axis=1).std(ddof=1)) if seeds > 1 else math.inf,
        photos_std=float(difference.mean(axis=0).std(ddof=1)) if photos > 1 else math.inf,
        comparisons=comparisons,
    )


def decide(gaps: Sequence[Gap]) -> str:
    """What follows: "ship" where the arm is ahead of every control, "do not" where it is behind
    one, else "undecided". One seed decides nothing."""
    if any(math.isinf(gap.seeds_std) for gap in gaps):
        return "undecided"
    if any(gap.high < 0 for gap in gaps):
        return "do not"
    return "ship" if all(gap.low > 0 for gap in gaps) else "undecided"


def judge(gaps: Mapping[str, Gap], seeds: int, photos: int) -> Verdict:
    """The verdict about an arm from its gaps to its controls, by their names; where it is
    undecided, with how many photos or seeds would decide it."""
    word = decide(list(gaps.values()))
    if word == "ship":
        least = min(gaps, key=lambda control: gaps[control].mean)
        return Verdict(word, "ship", {"least": gaps[least].mean, "control": least})
    if word == "do not":
        most = min(gaps, key=lambda control: gaps[control].mean)
        return Verdict(word, "do not", {"points": -gaps[most].mean, "control": most})
    if seeds == 1:
        return Verdict(word, "one seed")
    control = next(name for name, gap in gaps.items() if gap.low <= 0 <= gap.high)
    gap = gaps[control]
    more = {"photos": photos_needed(gap, seeds), "seeds": seeds_needed(gap, photos)}
    known = {name: count for name, count in more.items() if count}
    values = {"gap": gap.mean, "low": gap.low, "high": gap.high, "control": control, **known}
    return Verdict(word, " or ".join(known) or "alike", values)


def photos_needed(gap: Gap, seeds: int, most: int = 1_000_000) -> int | None:
    """How many test photos would tell a gap of this size from zero with these seeds; None where
    more photos alone can't, because the seeds differ too much."""
    return enough(lambda photos: gap.half_width(seeds, photos) < abs(gap.mean), most)


def seeds_needed(gap: Gap, photos: int, most: int = 100) -> int | None:
    """How many seeds would tell it with these test photos; None where more seeds alone can't."""
    return enough(lambda seeds: gap.half_width(seeds, photos) < abs(gap.mean), most)


def enough(holds: Callable[[int], bool], most: int) -> int | None:
    """The first power of two, up to `most`, for which it holds."""
    return next((2**k for k in range(1, most.bit_length()) if holds(2**k)), None)
