"""The decision guide: constraints in, advice out, each piece with the recorded evidence for it.

The rules are data (`data/guide.yaml`); numbers and verdicts are read from `data/results`. A rule
whose records contradict what it needs is withheld, and says so: the guide can't recommend what the
records don't support. `records` is where a function finds a record by its name; give another to
see what the guide would say if the results were different.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from statistics import fmean
from typing import NamedTuple

import yaml
from scipy.special import stdtrit

from kdlab import experiments, metrics
from kdlab.experiments import load_result
from kdlab.interview import LANGUAGES, Page
from kdlab.machine import ROOT

Records = Callable[[str], dict]
UNITS = {  # metric -> (unit in English, in Chinese, +1 where more is better, else -1)
    "accuracy": ("points", "个百分点", 1),
    "robust": ("points", "个百分点", 1),
    "agreement": ("points", "个百分点", 1),
    "ece": ("points of ECE", "个百分点（ECE）", -1),
    "tar": ("points of TAR", "个百分点（TAR）", 1),
    "errors": ("errors", "个错误", -1),
    "unseen errors shifted": ("errors", "个错误", -1),
    "seconds": ("s", "秒", -1),
    "kB": ("kB", "kB", -1),
    "ms": ("ms", "毫秒", -1),
}
COMMANDS = {"bench": "bench --record", "deploy": "deploy --record"}  # the others: run NAME
VERDICTS = {
    "better": ("better, beyond noise", "更好，超出噪声"),
    "worse": ("worse, beyond noise", "更差，超出噪声"),
    "noise": ("within noise", "在噪声之内"),
    "missing": ("not recorded yet", "还没有记录"),
}
WORDS = {
    "start": ("Start from", "起步设置"),
    "expect": ("What the records say", "实验记录"),
    "measure": ("Measure", "要测量"),
    "avoid": ("Don't", "不要"),
    "settings": ("Best on validation images", "验证集上最好的设置"),
    "once": (", measured once, on the record's machine", "，在记录所用的机器上测一次"),
    "withheld": ("Withheld: the records do not bear it out", "暂不推荐：实验记录没有证实"),
    "open": ("Not recorded yet", "还没有实验记录"),
    "unproven": ("No gain beyond noise here: measure first", "这里没有超出噪声的提升：先测再用"),
    "argued": ("By argument, not by experiment", "靠推理，不靠实验"),
}


@cache
def rulebook() -> dict:
    """`data/guide.yaml`, with its line breaks undone."""
    return yaml.safe_load((ROOT / "data" / "guide.yaml").read_text(encoding="utf-8"))


class Evidence(NamedTuple):
    """One comparison in a record: `arm` against `over`, paired by seed; None where it is missing.

    `needed` is what a rule needs of its verdict: "better", "worse", "not better", "not worse", "".
    """

    record: str
    arm: str
    over: str
    metric: str
    gap: metrics.Paired | None
    needed: str = ""
    corrected: float = 1.0  # the p value after Holm's correction over the record's comparisons

    @property
    def verdict(self) -> str:
        """ "better", "worse" (both beyond noise), "noise", or "missing"."""
        if self.gap is None:
            return "missing"
        if self.gap.mean == 0 or (self.corrected > 0.05 and self.gap.pairs > 1):
            return "noise"
        return "better" if UNITS[self.metric][2] * self.gap.mean > 0 else "worse"

    @property
    def strength(self) -> float:
        """How far from zero, as Student's t after the correction in units of its 95% quantile:
        positive where better, beyond noise from 1 on, at most 99; NaN without an interval."""
        if self.gap is None or self.gap.pairs < 2:
            return math.nan
        df, sign = self.gap.pairs - 1, UNITS[self.metric][2] * math.copysign(1, self.gap.mean)
        return sign * min(-stdtrit(df, self.corrected / 2) / stdtrit(df, 0.975), 99.0)

    @property
    def holds(self) -> bool:
        """False where the record contradicts what is needed; a missing record does not."""
        if self.verdict == "missing" or not self.needed:
            return True
        negated = self.needed.startswith("not ")
        return (self.verdict == self.needed.removeprefix("not ")) != negated

    def number(self, language: str = "en") -> str:
        """ "+3.4 points (+2.9 to +3.9)"."""
        if self.gap is None:
            return VERDICTS["missing"][LANGUAGES.index(language)]
        (mean, low, high), unit = self.gap[:3], UNITS[self.metric][LANGUAGES.index(language)]
        digits = 0 if abs(mean) >= 100 else 1 if abs(mean) >= 10 else 2
        if self.gap.pairs < 2:
            return f"{mean:+,.{digits}f} {unit}"
        between = f"{low:+,.{digits}f}", f"{high:+,.{digits}f}"
        if language == "zh":
            return f"{mean:+,.{digits}f} {unit}（{between[0]} 至 {between[1]}）"
        return f"{mean:+,.{digits}f} {unit} ({between[0]} to {between[1]})"

    def words(self, language: str = "en") -> str:
        """One line: record, arms, difference with its interval, seeds, verdict."""
        verdict = VERDICTS[self.verdict][LANGUAGES.index(language)]
        if self.arm == self.over:
            arms = f"{self.arm}, {self.metric}"
        else:
            arms = f"{self.arm} − {self.over}"
        if self.gap is None:
            return f"`{self.record}`: {arms}: {verdict}"
        number, n = self.number(language), self.gap.pairs
        if n < 2:
            return f"`{self.record}`: {arms}: {number}{WORDS['once'][LANGUAGES.index(language)]}"
        if language == "zh":
            return f"`{self.record}`：{arms}：{number}，{n} 个种子，**{verdict}**"
        return f"`{self.record}`: {arms}: {number}, {n} seeds, **{verdict}**"

    def short(self, language: str = "en", over: bool = True) -> str:
        """The arms (without `over`: the first) and their difference, and whether that is noise."""
        arms = f"{self.arm} − {self.over}: " if over else f"{self.arm}: "
        arms *= self.arm != self.over
        noise = {"en": " (noise)", "zh": "（噪声）"}[language] * (self.verdict == "noise")
        return f"{arms}{self.number(language)}{noise}"


def compare(spec: Mapping, records: Records = load_result) -> Evidence:
    """The comparison that `spec` names: record, arm, over; metric, of (the control's), is.

    Its p value is corrected (Holm) over all that the record compares in the same way.
    """
    name, arm, over = (spec[key] for key in ("record", "arm", "over"))
    metric = spec.get("metric", "accuracy")
    found = Evidence(name, arm, over, metric, None, spec.get("is", ""))
    try:
        runs = runs_of(records(name))
    except FileNotFoundError:
        return found
    columns = metric, spec.get("of", metric)
    if name == "deploy":  # a file was weighed and timed once: no seeds, no interval
        ours, theirs = (by_seed(runs, *which) for which in zip((arm, over), columns, strict=True))
        once = ours[0] - theirs[0] if ours and theirs else None
        return found if once is None else found._replace(gap=metrics.Paired(once, once, once, 1, 1))
    if not (gap := paired_by_seed(runs, (arm, over), columns)):
        return found
    arms = list(dict.fromkeys(r["arm"] for r in runs))
    table = [pair for pair in rivals(arms, arm, over) if pair != (arm, over)]
    others = [other.p for pair in table if (other := paired_by_seed(runs, pair, columns))]
    return found._replace(gap=gap, corrected=metrics.holm([gap.p, *others])[0])


def by_seed(runs: Sequence[Mapping], arm: str, metric: str) -> dict[int, float]:
    """An arm's values by their seeds, without those that diverged."""
    return {r["seed"]: r[metric] for r in runs if r["arm"] == arm and r.get(metric) is not None}


def paired_by_seed(
    runs: Sequence[Mapping], arms: Sequence[str], metrics_: Sequence[str]
) -> metrics.Paired | None:
    """The first arm minus the second over the seeds that both have; None for fewer than two."""
    ours, theirs = (by_seed(runs, *which) for which in zip(arms, metrics_, strict=True))
    seeds = sorted(set(ours) & set(theirs))
    return metrics.paired(*([of[s] for s in seeds] for of in (ours, theirs))) if seeds[1:] else None


def controls(arms: Sequence[str]) -> dict[str, str]:
    """Each arm's control: the first arm, or where arms are called `kind: way`, the first of its
    kind. A control has none."""
    first: dict[str, str] = {}
    for arm in arms:
        first.setdefault(arm.partition(": ")[0] if ": " in arm else "", arm)
    found = {arm: first[arm.partition(": ")[0] if ": " in arm else ""] for arm in arms}
    return {arm: control for arm, control in found.items() if arm != control}


def rivals(arms: Sequence[str], arm: str, over: str) -> list[tuple[str, str]]:
    """What stands in one table with a comparison: every arm against the same control or, where arms
    are called `kind: way`, every arm against the control of its kind; an arm against itself (before
    and after) stands with all others against themselves."""
    if arm == over:
        return [(a, a) for a in arms]
    if ": " in arm:
        return list(controls(arms).items())
    return [(a, over) for a in arms if a != over]


def evidence(record: str, arm: str, over: str, metric: str = "accuracy") -> Evidence:
    """One comparison by its names."""
    return compare({"record": record, "arm": arm, "over": over, "metric": metric})


def axis(metric: str) -> str:
    """What an axis of differences says: the unit, and the better side where that is the left."""
    unit, _, sign = UNITS[metric]
    return unit if sign > 0 else f"{unit} (fewer is better)"


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


class Advice(NamedTuple):
    """A rule that fired, and what the records have to say to it."""

    rule: dict
    needs: tuple[Evidence, ...]
    weighs: tuple[Evidence, ...]
    among: tuple[Evidence, ...]
    settings: tuple[tuple[str, str, int], ...]  # record, its best arm, of how many

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return self.needs + self.weighs + self.among

    @property
    def status(self) -> str:
        """ "withheld" (a need does not hold), "argued" (there is nothing to measure), "open"
        (nothing is recorded yet), "supported", or "unproven" (no comparison is better)."""
        if not all(e.holds for e in self.needs):
            return "withheld"
        if not self.evidence:
            return "argued"
        if not all(e.gap for e in self.needs) or not any(e.gap for e in self.evidence):
            return "open"
        better = any(e.verdict == "better" for e in self.evidence)
        return "supported" if self.needs or better else "unproven"

    @property
    def first(self) -> Evidence | None:
        """What stands for the rule in a figure: its first comparison, or the best of `among`."""
        if self.needs or self.weighs:
            return (self.needs + self.weighs)[0]
        known = [e for e in self.among if e.gap]
        return max(known, key=lambda e: e.strength) if known else next(iter(self.among), None)

    def page(self, language: str = "en") -> str:
        """The advice as Markdown."""
        n, rule = LANGUAGES.index(language), self.rule
        lines = [f"**{rule['do'][language].strip()}**"]
        if self.status != "supported":
            lines[0] += f" *({WORDS[self.status][n]})*"
        for part in ("start", "measure", "avoid"):
            if part in rule:
                lines.append(f"- *{WORDS[part][n]}:* {rule[part][language].strip()}")
        lines += [
            f"- *{WORDS['settings'][n]}:* `{best}` (`{record}`, {count})"
            for record, best, count in self.settings
        ]
        if told := [e.words(language) for e in self.needs + self.weighs]:
            lines.append(f"- *{WORDS['expect'][n]}:*")
            lines += [f"    - {line}" for line in told]
        if self.among:
            lines.append("- " + chosen_words(self.among, language))
        return "\n".join([lines[0], "", *lines[1:]])


def chosen_words(among: Sequence[Evidence], language: str = "en") -> str:
    """Which of several candidates beat their control beyond noise, best first, and who did not."""
    over, known = among[0].over, [e for e in among if e.gap]
    if not known:
        return f"`{among[0].record}`: {VERDICTS['missing'][LANGUAGES.index(language)]}"
    ranked = sorted(known, key=lambda e: -UNITS[e.metric][2] * e.gap.mean)
    groups = {
        verdict: [f"{e.arm} {e.number(language)}" for e in ranked if e.verdict == verdict]
        for verdict in ("better", "noise", "worse")
    }
    names = {v: words[LANGUAGES.index(language)] for v, words in VERDICTS.items()}
    if language == "zh":
        parts = [f"{names[v]}：{'；'.join(g) or '无'}" for v, g in groups.items()]
        return f"`{among[0].record}`，{len(known)} 种候选与 {over} 相比。" + "。".join(parts) + "。"
    parts = [f"{names[v]}: {'; '.join(g) or 'none'}" for v, g in groups.items()]
    return f"`{among[0].record}`, {len(known)} candidates against {over}. " + ". ".join(parts) + "."


def best_setting(spec: Mapping, records: Records = load_result) -> tuple[str, str, int] | None:
    """(record, its best arm by mean accuracy (or TAR) on validation, of how many), or None.

    ValueError for a record that was judged on test images: nothing is chosen there.
    """
    try:
        record = records(spec["record"])
    except FileNotFoundError:
        return None
    wanted = spec.get("arms", "")
    arms = [a for a in record["settings"] if not wanted or f"{a} ".startswith(f"{wanted} ")]
    if {record["settings"][a]["judge"] for a in arms} - {"validation"}:
        raise ValueError(f"{spec['record']} was judged on test images: no setting is chosen there")
    runs = record["runs"]
    metric = "tar" if runs and "tar" in runs[0] else "accuracy"
    found = {a: v for a in arms if (v := experiments.values(runs, a, metric))}
    seeds = max(map(len, found.values()), default=0)  # finalists have more than the other trials
    mean = {a: fmean(v) for a, v in found.items() if len(v) == seeds}
    return (spec["record"], max(mean, key=mean.get), len(found)) if mean else None


def weigh(rule: Mapping, records: Records = load_result) -> Advice:
    """A rule with its evidence, whether it fires or not."""
    among = rule.get("among", {})
    each = [{**among, "arm": arm} for arm in among.get("arms", ())]
    settings = [best_setting(spec, records) for spec in rule.get("settings", ())]
    return Advice(
        dict(rule),
        tuple(compare(spec, records) for spec in rule.get("needs", ())),
        tuple(compare(spec, records) for spec in rule.get("weighs", ())),
        tuple(compare(spec, records) for spec in each),
        tuple(found for found in settings if found),
    )


def choices() -> dict[str, list[str]]:
    """What can be asked: constraint -> its choices, the default first."""
    return {name: list(c["choices"]) for name, c in rulebook()["constraints"].items()}


def settled(constraints: Mapping[str, str]) -> dict[str, str]:
    """The constraints with defaults filled in; ValueError names what can be asked instead."""
    known = choices()
    for name, value in constraints.items():
        if name not in known:
            raise ValueError(f"no constraint {name!r}: there are {', '.join(known)}")
        if value not in known[name]:
            raise ValueError(f"{name} can't be {value!r}: it is one of {', '.join(known[name])}")
    return {name: constraints.get(name, values[0]) for name, values in known.items()}


def fires(rule: Mapping, constraints: Mapping[str, str]) -> bool:
    """Whether each `when` of the rule holds."""
    return all(constraints[name] in allowed for name, allowed in rule["when"].items())


class Recommendation(tuple):
    """Advice in the order in which to try it; shows itself as a page. `page(language)`: one."""

    def page(self, language: str = "en") -> Page:
        told = [f"**{n}.** {advice.page(language)}" for n, advice in enumerate(self, 1)]
        return Page(f"{len(self)} pieces of advice", "\n\n".join(told))

    def _repr_markdown_(self) -> str:
        return self.page().markdown

    def __repr__(self) -> str:
        return "\n".join(f"{a.rule['id']}: {a.status}" for a in self)


def recommend(*, records: Records = load_result, **constraints: str) -> Recommendation:
    """What to try under these constraints, in order, with evidence.

    recommend(labels="few", unlabelled="yes"); `choices()` has the names, the first being the
    default. ValueError says what can be asked.
    """
    asked = settled(constraints)
    found = [weigh(rule, records) for rule in rulebook()["rules"] if fires(rule, asked)]
    return Recommendation(found)


def contradictions(records: Records = load_result) -> list[str]:
    """What a rule needs and a record contradicts, a sentence each; empty in a sound guide."""
    return [
        f"{a.rule['id']} needs {e.arm} {e.needed} than {e.over}, but {e.words()}"
        for a in every_rule(records)
        for e in a.needs
        if not e.holds
    ]


def every_rule(records: Records = load_result) -> list[Advice]:
    """All rules with their evidence, whether they fire or not."""
    return [weigh(rule, records) for rule in rulebook()["rules"]]


def missing(records: Records = load_result) -> list[str]:
    """The records that the guide asks for and nobody has made yet, with the command for each."""
    evidence = [e for advice in every_rule(records) for e in advice.evidence]
    names = dict.fromkeys(e.record for e in evidence if e.gap is None)
    return [f"{n}: python -m kdlab {COMMANDS.get(n, f'run {n}')}" for n in names]


def row(advice: Advice, name: str = "", language: str = "en") -> dict:
    """For `plots.evidence_rows`: the rule's name (or another) and what stands for it."""
    best, shown = advice.first, {"name": name or advice.rule["name"][language]}
    if best is None:
        return shown | {"number": "", "strength": math.nan, "verdict": ""}
    number = best.short(language, over=False)
    return shown | {"number": number, "strength": best.strength, "verdict": best.verdict}


def situation(case: Mapping, language: str = "en") -> dict:
    """A typical situation of the rulebook for `plots.evidence_rows`: the rule that answers it."""
    advice = {a.rule["id"]: a for a in recommend(**case["ask"])}
    return row(advice[case["rule"]], case["words"][language], language)
