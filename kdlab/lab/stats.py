"""Statistics of runs, each a dict with its arm and seed: paired differences, Holm, comparisons."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit  # Student's t: its distribution, its quantiles

SIGN = dict.fromkeys(("accuracy", "robust", "agreement", "as start", "tar"), 1)  # more is better
SIGN |= dict.fromkeys(("ece", "errors", "unseen errors shifted", "seconds", "kB", "ms"), -1)
BEYOND = 0.05  # a difference of at most this p value, after Holm's correction, is beyond noise


# ---------------------------------------------------------------- paired statistics


class Paired(NamedTuple):
    """Mean difference of paired runs with its 95% confidence interval and p value."""

    mean: float
    low: float
    high: float
    pairs: int
    p: float  # two-sided, of no difference; for one comparison: many need `holm`

    def excludes_zero(self) -> bool:
        """Whether the interval leaves out zero: of one comparison; a table of many needs `holm`."""
        return self.low > 0 or self.high < 0


def paired(treated: Sequence[float], control: Sequence[float]) -> Paired:
    """Student's paired interval and test for ``treated - control``, one pair a seed (n >= 2)."""
    if len(treated) != len(control) or len(treated) < 2:
        raise ValueError(f"need two or more pairs, got {len(treated)} and {len(control)}")
    difference = np.subtract(treated, control, dtype=float)
    n, mean = len(difference), float(difference.mean())
    error = float(difference.std(ddof=1)) / math.sqrt(n)
    error = 0.0 if error < 1e-9 else error  # equal differences but for the last bit
    half = float(stdtrit(n - 1, 0.975)) * error
    p = 2 * float(stdtr(n - 1, -abs(mean) / error)) if error else float(abs(mean) < 1e-9)
    return Paired(mean, mean - half, mean + half, n, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of m comparisons, corrected for their number (Holm 1979): the smallest times m,
    the next times m - 1, and so on, none below the one before it and none above 1.

    Where those up to 0.05 are called differences, the chance of even one false call is at most 5%.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p values lie in 0..1, got {list(p_values)}")
    order = np.argsort(p_values, kind="stable")
    times = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate((np.take(p_values, order) * times).clip(max=1))
    return corrected.tolist()


# ---------------------------------------------------------------- runs


def by_seed(runs: Sequence[Mapping], arm: str, metric: str = "accuracy") -> dict[int, float]:
    """An arm's values of a metric by their seeds, in order, without those that diverged."""
    mine = sorted((r for r in runs if r["arm"] == arm), key=lambda r: r["seed"])
    return {r["seed"]: r[metric] for r in mine if r.get(metric) is not None}


def values(runs: Sequence[Mapping], arm: str, metric: str = "accuracy") -> list[float]:
    """The same without the seeds: not to be paired (see `difference`)."""
    return list(by_seed(runs, arm, metric).values())


def difference(
    runs: Sequence[Mapping], arm: str, over: str, metric: str = "accuracy", of: str = ""
) -> Paired | None:
    """`arm` minus `over`, paired over the seeds that both have; None for fewer than two.

    `of` is the metric of `over` where it is another one (before and after).
    """
    ours, theirs = by_seed(runs, arm, metric), by_seed(runs, over, of or metric)
    seeds = sorted(set(ours) & set(theirs))
    return paired(*([v[s] for s in seeds] for v in (ours, theirs))) if seeds[1:] else None


def summarise(
    runs: Sequence[Mapping],
    metric: str = "accuracy",
    control: str | None = None,
    record: Mapping | None = None,
) -> pd.DataFrame:
    """Per arm: n seeds, mean, std, and the difference to `control` (the first arm).

    It is paired over the seeds that both arms have, with a 95% Student's interval, its p value, and
    the p value after Holm's correction over the table or, in a `record`, over the family of the
    pair; `beyond` noise is what that leaves up to 0.05. Where runs have diverged, a column counts
    them: they have no value and enter no mean.
    ValueError where there is no run.
    """
    if not runs:
        raise ValueError("there is no run to sum up")
    arms = list(dict.fromkeys(r["arm"] for r in runs))
    by_arm = {arm: pd.Series(by_seed(runs, arm, metric), dtype=float) for arm in arms}
    sums = {arm: [v.count(), v.mean(), v.std()] for arm, v in by_arm.items()}
    rows = pd.DataFrame.from_dict(sums, orient="index", columns=["seeds", "mean", "std"])
    rows = rows.rename_axis("arm")
    if any("diverged" in r for r in runs):
        rows["diverged"] = [sum("diverged" in r for r in runs if r["arm"] == arm) for arm in arms]
    control = control or arms[0]
    for arm in arms:
        if arm != control and (gap := difference(runs, arm, control, metric)):
            rows.loc[arm, ["difference", "95% low", "95% high", "p"]] = (*gap[:3], gap.p)
    if "p" not in rows:
        return rows.round(2)
    compared = list(rows.index[rows["p"].notna()])
    table = [(arm, control) for arm in compared]
    known = {}  # the corrected p values of each family, computed once
    for pair in table:
        family = tuple(family_of(record, *pair) if record else table)
        if family not in known:
            known[family] = corrected(runs, family, metric)
        rows.loc[pair[0], "Holm"] = known[family][frozenset(pair)]
    rows["beyond"] = rows["Holm"] <= BEYOND
    return rows.round({column: 2 for column in rows if column not in ("p", "Holm")})


# ---------------------------------------------------------------- comparisons


@dataclass(frozen=True)
class Comparison:
    """`arm` against `over` in a record, paired by seed; `gap` is None where it is missing.

    `needed` is what a rule needs of its verdict: "better", "worse", "not better", "not worse", "".
    """

    record: str
    arm: str
    over: str
    metric: str
    gap: Paired | None
    needed: str = ""
    corrected: float = 1.0  # the p value after Holm's correction over the record's comparisons

    @property
    def sign(self) -> int:
        """+1 where more of the metric is better, else -1."""
        return SIGN[self.metric]

    @property
    def verdict(self) -> str:
        """ "better", "worse" (both beyond noise or, of one pair, which has no p value, whatever its
        difference), "noise", or "missing"."""
        if self.gap is None:
            return "missing"
        if self.gap.mean == 0 or (self.gap.pairs > 1 and self.corrected > BEYOND):
            return "noise"
        return "better" if self.sign * self.gap.mean > 0 else "worse"

    @property
    def strength(self) -> float:
        """How far from zero, as Student's t after the correction in units of its 95% quantile:
        positive where better, beyond noise from 1 on, at most 99; NaN without an interval."""
        if self.gap is None or self.gap.pairs < 2:
            return math.nan
        df, sign = self.gap.pairs - 1, self.sign * math.copysign(1, self.gap.mean)
        return sign * min(-stdtrit(df, self.corrected / 2) / stdtrit(df, 0.975), 99.0)

    @property
    def holds(self) -> bool:
        """False where the record contradicts what is needed; a missing record does not."""
        if self.verdict == "missing" or not self.needed:
            return True
        negated = self.needed.startswith("not ")
        return (self.verdict == self.needed.removeprefix("not ")) != negated


def pairs_of(arms: Sequence[str]) -> list[tuple[str, str]]:
    """(arm, its control) for all that a record compares: the control is the first arm, or where
    arms are called `kind: way`, the first of its kind. A teacher of N labels is compared with these
    N labels, and what needs no label with each such teacher."""
    kinds = {arm: arm.partition(": ")[0] if ": " in arm else "" for arm in arms}
    own = {f"{kinds[a]}: {a.rpartition('teacher of ')[2]}": a for a in arms if ": teacher of" in a}
    if set(own) & set(arms):
        steps = [(teacher, labels) for labels, teacher in own.items()]
        return steps + [(f"{kinds[teacher]}: label-free", teacher) for teacher in own.values()]
    first = {kind: arm for arm, kind in reversed(kinds.items())}
    return [(arm, first[kind]) for arm, kind in kinds.items() if first[kind] != arm]


def families(record: Mapping) -> list[list[tuple[str, str]]]:
    """What a record compares together: the families of pairs that its experiment declared, or one,
    each arm with the control of its kind. The first is what the record is about."""
    declared = [[tuple(pair) for pair in family] for family in record.get("families", ())]
    return declared or [pairs_of(list(dict.fromkeys(r["arm"] for r in record["runs"])))]


def family_of(record: Mapping, arm: str, over: str) -> list[tuple[str, str]]:
    """The pairs over which a comparison is corrected, the same for (a, b) as for (b, a): the family
    that has it; an arm against itself (before and after): all arms against themselves; a pair
    that nobody declared is one of all pairs."""
    arms = list(dict.fromkeys(r["arm"] for r in record["runs"]))
    if arm == over:
        return [(a, a) for a in arms]
    declared = (f for f in families(record) if (arm, over) in f or (over, arm) in f)
    return next(declared, list(combinations(arms, 2)))


def corrected(
    runs: Sequence[Mapping], family: Sequence[tuple[str, str]], metric: str, of: str = ""
) -> dict[frozenset[str], float]:
    """The p value of each pair {arm, over} of a family after Holm's correction over the family."""
    gaps = {frozenset(pair): difference(runs, *pair, metric, of) for pair in family}
    known = {pair: gap.p for pair, gap in gaps.items() if gap}
    return dict(zip(known, holm(list(known.values())), strict=True))
