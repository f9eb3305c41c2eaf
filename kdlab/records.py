"""What was measured: the records in data/results, read, paired over seeds, compared, summed up.

A record is what `python -m kdlab run NAME` wrote: how it was made (`stamp`), the settings of each
arm, and its runs, a dict for each arm and seed.
"""

import json
import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit  # Student's t: its distribution, its quantiles

from kdlab.files import ROOT, digest, results_dir, write_json
from kdlab.machine import describe

SIGN = dict.fromkeys(("accuracy", "robust", "agreement", "as start", "tar"), 1)  # more is better
SIGN |= dict.fromkeys(("ece", "errors", "unseen errors shifted", "seconds", "kB", "ms"), -1)
BEYOND = 0.05  # a difference of at most this p value, after Holm's correction, is beyond noise
VIEWS_BY_SEED = "2026-11-25"  # a record of a day before has the same random views in every run
Records = Callable[[str], dict]  # where a function finds a record by its name: `read`, or another


def names() -> list[str]:
    """Every record there is."""
    return sorted(path.stem for path in results_dir().glob("*.json"))


def command(name: str) -> str:
    """What makes a record."""
    made = f"{name} --record" if name in ("bench", "deploy") else f"run {name}"
    return f"python -m kdlab {made}"


def read(name: str) -> dict:
    """A record. FileNotFoundError or, for a damaged one, ValueError says how to make it."""
    path = results_dir() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no record {name!r}: make it with `{command(name)}`")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"the record {path.name} is damaged: restore it with `git checkout data/results`, or "
            f"delete it and run `{command(name)}`"
        ) from error


def write(record: dict) -> None:
    """Keep a record under its name, whole or not at all."""
    write_json(results_dir() / f"{record['name']}.json", record)


def stamp(made_by: str, device: str = "cpu") -> dict:
    """How a record was made: the command, the commit of the code, the day and the machine."""
    made = {"command": f"python -m kdlab {made_by}", "commit": commit()}
    return made | {"date": date.today().isoformat(), "machine": describe(device)}


def commit() -> str:
    """The commit of the code that runs ($KDLAB_COMMIT where there is no .git). Where it has been
    edited, "-dirty" and a digest of the edits follow: other edits are other code.

    Only edits of kdlab and of the teachers count: a record changes data/results by being written.
    """
    places = ("kdlab", "data/teachers")

    def git(*words: str) -> bytes:
        return subprocess.run(("git", *words), cwd=ROOT, capture_output=True).stdout

    try:
        here = git("rev-parse", "--short=12", "HEAD").decode().strip()
        if git("status", "--porcelain", "--", *places):
            new = git("ls-files", "--others", "--exclude-standard", "-z", "--", *places).decode()
            files = [(ROOT / name).read_bytes() for name in new.split("\0") if name]
            here += f"-dirty-{digest(b''.join([git('diff', 'HEAD', '--', *places), *files]))[:8]}"
        return os.environ.get("KDLAB_COMMIT") or here or "unknown"
    except OSError:
        return "unknown"


def provenance(name: str) -> str:
    """One line under a recorded table: command, machine, seeds, date, commit."""
    r = read(name)
    seeds = f"{len({run['seed'] for run in r['runs']})} seeds"
    seeds += " (the same random views in each)" * same_views(r)
    line = f"`{r['command']}` · {chip(r)} · {seeds} · {r['date']} · commit {r['commit']}"
    for part in r.get("earlier", ()):
        which = ", ".join(map(str, part["seeds"]))
        line += f"; seeds {which}: {chip(part)} · {part['date']} · commit {part['commit']}"
    return line


def same_views(record: Mapping) -> bool:
    """Whether the seeds, or the earlier ones, all had one set of random views: then no interval has
    what views would vary."""
    recipes = [s for s in record.get("settings", {}).values() if isinstance(s, dict)]
    random = any(any(s.get("views", [])[:2]) for s in recipes)
    dates = [part["date"] for part in (record, *record.get("earlier", ()))]
    return min(dates) < VIEWS_BY_SEED and random


def chip(record: Mapping) -> str:
    """What a record was computed on: the accelerator or, where there was none, the processor."""
    gpu, processor = (record["machine"][part] for part in ("accelerator", "processor"))
    return processor if gpu == "none" else gpu


def judged_on(record: Mapping) -> set[str]:
    """{"test"}, {"validation"}, or nothing where no recipe says."""
    settings = record.get("settings", {}).values()
    return {s["judge"] for s in settings if isinstance(s, dict) and "judge" in s}


def metric_of(record: Mapping) -> str:
    """What a record is about: the rarest of its known metrics."""
    known = ("unseen errors shifted", "robust", "tar", "accuracy", "seconds")
    found = [metric for metric in known if metric in record["runs"][0]]
    return "seconds" if record["name"] == "bench" else found[0]


def runs_of(record: Mapping) -> list[dict]:
    """A record's runs; of chapter 04's deployment, a "run" for each file that was shipped."""
    if not any("float32" in run for run in record["runs"]):
        return record["runs"]
    return [
        {
            "arm": run["arm"] + suffix,
            "seed": run["seed"],
            "accuracy": run["accuracy" + suffix],
            "kB": run[form]["bytes"] / 1e3,
            "ms": run[form]["latency"]["batch 1, 1 thread"]["p50"],
        }
        for run in record["runs"]
        for form, suffix in (("float32", ""), ("int8", " int8"))
    ]


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
    found = {arm: [v.count(), v.mean(), v.std()] for arm, v in by_arm.items()}
    rows = pd.DataFrame.from_dict(found, orient="index", columns=["seeds", "mean", "std"])
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
    for pair in table:
        family = family_of(record, *pair) if record else table
        rows.loc[pair[0], "Holm"] = corrected(runs, family, metric)[frozenset(pair)]
    rows["beyond"] = rows["Holm"] <= BEYOND
    return rows.round({column: 2 for column in rows if column not in ("p", "Holm")})


def table(name: str, metric: str = "accuracy", control: str | None = None) -> pd.DataFrame:
    """The recorded experiment, summed up; its families of comparisons are those it declares."""
    record = read(name)
    return summarise(record["runs"], metric, control, record)


# ---------------------------------------------------------------- comparisons


class Comparison(NamedTuple):
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


def compare(
    name: str,
    arm: str,
    over: str,
    metric: str = "accuracy",
    *,
    of: str = "",
    needed: str = "",
    records: Records = read,
) -> Comparison:
    """Two arms of a record, as `difference` has them. The p value is corrected (Holm) over the
    family of the pair, whichever of both is called control (see `family_of`)."""
    found = Comparison(name, arm, over, metric, None, needed)
    try:
        record = records(name)
    except FileNotFoundError:
        return found
    runs = runs_of(record)
    if name == "deploy":  # a file was weighed and timed once: no seeds, no interval
        ours, theirs = by_seed(runs, arm, metric), by_seed(runs, over, of or metric)
        once = ours[0] - theirs[0] if ours and theirs else None
        return found if once is None else found._replace(gap=Paired(once, once, once, 1, 1))
    if not (gap := difference(runs, arm, over, metric, of)):
        return found
    known = corrected(runs, family_of(record | {"runs": runs}, arm, over), metric, of)
    return found._replace(gap=gap, corrected=known[frozenset((arm, over))])


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


def best_setting(name: str, arms: str = "", records: Records = read) -> tuple[str, str, int] | None:
    """(record, its best arm by mean accuracy on validation, of how many), or None; `arms` is how
    the arms that count begin. A numbered trial is told by the settings that were open.

    ValueError for a record that was judged on test images: nothing is chosen there.
    """
    try:
        record = records(name)
    except FileNotFoundError:
        return None
    among = [a for a in record["settings"] if not arms or f"{a} ".startswith(f"{arms} ")]
    if {record["settings"][a]["judge"] for a in among} - {"validation"}:
        raise ValueError(f"{name} was judged on test images: no setting is chosen there")
    found = {a: v for a in among if (v := values(record["runs"], a))}
    seeds = max(map(len, found.values()), default=0)  # finalists have more than the other trials
    mean = {a: fmean(v) for a, v in found.items() if len(v) == seeds}
    if not mean:
        return None
    best, tried = max(mean, key=mean.get), [record["settings"][a] for a in among]
    if "#" in best:
        of = record["settings"][best]
        best = ", ".join(f"{k} {v}" for k, v in of.items() if any(t[k] != v for t in tried))
    return name, best, len(found)
