"""For the engineer: the gap between two arms over seeds and photos, and what follows from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 4000
ENOUGH = 1.96


@dataclass(frozen=True)
class Gap:
    """A difference of accuracies in points, with a 95% interval over seeds and photos."""

    mean: float
    low: float
    high: float
    seeds_std: float  # between the seeds, of the difference
    photos_std: float  # between the photos, of the difference

    def half_width(self, seeds: int, photos: int) -> float:
        """Of the interval that so many seeds and photos would give, by a normal approximation."""
        return ENOUGH * math.hypot(self.seeds_std / seeds**0.5, self.photos_std / photos**0.5)


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
    comparisons: int = 1,
    seed: int = 0,
) -> Gap:
    """`arm` minus `over`. The bootstrap draws seeds and photos anew, both with replacement, since
    another person would have had other ones of both. Of several `comparisons` all intervals hold
    together in 95% (Bonferroni). Few seeds show little of what seeds vary: take five or more.
    """
    difference = 100 * (right(runs, arm, labels) - right(runs, over, labels))
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
        photos_std=float(difference.mean(axis=0).std(ddof=1)),
    )


def decide(gaps: Sequence[Gap]) -> str:
    """What follows: "ship" where the arm is ahead of every control, "do not" where it is behind
    one, else "undecided". One seed decides nothing."""
    if any(math.isinf(gap.seeds_std) for gap in gaps):
        return "undecided"
    if any(gap.high < 0 for gap in gaps):
        return "do not"
    return "ship" if all(gap.low > 0 for gap in gaps) else "undecided"


def photos_needed(gap: Gap, seeds: int, most: int = 1_000_000) -> int | None:
    """How many test photos would tell a gap of this size from zero with these seeds; None where
    more photos alone can't, because the seeds differ too much."""
    photos = 1
    while gap.half_width(seeds, photos) >= abs(gap.mean):
        photos *= 2
        if photos > most:
            return None
    return photos
