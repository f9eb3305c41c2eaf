"""The decision guide: constraints in, advice out, each piece with the recorded evidence for it.

The rules are data (`data/guide.yaml`); numbers and verdicts are read from the records. A rule
whose records contradict what it needs is withheld, and says so. `records` is where a function finds
a record by its name; give another to see what the guide would say if the results were different.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import yaml

from kdlab.apps.i18n import display_name, text, translate
from kdlab.apps.markdown import Page
from kdlab.files import EMBEDDED
from kdlab.lab.results import Records, best_setting, command, compare, read
from kdlab.lab.stats import SIGN, Comparison


@cache
def rulebook() -> dict:
    """`data/guide.yaml`: constraints, rules, situations, statements of the seed, errors."""
    return yaml.safe_load((EMBEDDED / "guide.yaml").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- a comparison in words


def number(comparison: Comparison, language: str | None = None) -> str:
    """ "+3.4 points (+2.9 to +3.9)"."""
    if comparison.gap is None:
        return translate("verdict.missing", language)
    largest = abs(comparison.gap.mean)
    digits = 0 if largest >= 100 else 1 if largest >= 10 else 2
    mean, low, high = (f"{x:+,.{digits}f}" for x in comparison.gap[:3])
    unit = translate(f"unit.{comparison.metric}", language)
    key = "guide.interval" if comparison.gap.pairs > 1 else "guide.no interval"
    return translate(key, language, mean=mean, low=low, high=high, unit=unit)


def line(comparison: Comparison, language: str | None = None) -> str:
    """One line: record, arms, difference with its interval, seeds, verdict."""
    arm, over, gap = *arms(comparison, language), comparison.gap
    key = "missing" if gap is None else "once" if gap.pairs < 2 else "line"
    return translate(
        f"guide.{key}",
        language,
        record=comparison.record,
        arms=f"{arm}, {comparison.metric}" if arm == over else f"{arm} − {over}",
        seeds=gap.pairs if gap else 0,
        number=number(comparison, language),
        verdict=translate(f"verdict.{comparison.verdict}", language),
    )


def arms(comparison: Comparison, language: str | None = None) -> list[str]:
    """The names of the arm and its control, as a reader knows them."""
    return [display_name(arm, language) for arm in (comparison.arm, comparison.over)]


def short(comparison: Comparison, language: str | None = None, over: bool = True) -> str:
    """The arms (without `over`: the first) and their difference, and whether that is noise."""
    arm, control = arms(comparison, language)
    key = "" if arm == control else "guide.pair" if over else "guide.arm"
    named = translate(key, language, arm=arm, over=control) if key else ""
    noise = translate("guide.noise", language) if comparison.verdict == "noise" else ""
    return f"{named}{number(comparison, language)}{noise}"


def ranking(among: Sequence[Comparison], language: str | None = None) -> str:
    """Which of several candidates beat their control beyond noise, best first, and who did not."""
    record, over = among[0].record, arms(among[0], language)[1]
    known = [e for e in among if e.gap]
    if not known:
        return f"`{record}`: {translate('verdict.missing', language)}"
    known.sort(key=lambda e: -e.sign * e.gap.mean)
    sentences = translate("guide.candidates", language, record=record, n=len(known), over=over)
    for verdict in ("better", "noise", "worse"):
        said = [
            f"{arms(e, language)[0]} {number(e, language)}" for e in known if e.verdict == verdict
        ]
        listed = translate("guide.semicolon", language).join(said)
        listed = listed or translate("guide.nobody", language)
        name = translate(f"verdict.{verdict}", language)
        sentences += translate("guide.group", language, verdict=name, arms=listed)
        sentences += translate("guide.stop", language)
    return sentences.rstrip()


def axis(metric: str) -> str:
    """What an axis of differences says: the unit, and the better side where that is the left."""
    unit = translate(f"unit.{metric}")
    return unit + translate("unit.fewer") if SIGN[metric] < 0 else unit


# ---------------------------------------------------------------- rules


class Advice(NamedTuple):
    """A rule, whether it fires or not, and what the records have to say to it."""

    rule: Mapping
    needs: list[Comparison]
    weighs: list[Comparison]
    among: list[Comparison]
    settings: list[tuple[str, str, int]]  # record, its best arm, of how many

    @property
    def evidence(self) -> list[Comparison]:
        return self.needs + self.weighs + self.among

    @property
    def status(self) -> str:
        """ "withheld" (a need does not hold), "live" (measured in chapter 09, not recorded),
        "argued" (measured nowhere), "open" (nothing, or not each need, is recorded yet),
        "supported", or "unproven" (no comparison is better)."""
        if not all(e.holds for e in self.needs):
            return "withheld"
        if not self.evidence:
            return "live" if self.rule.get("live") else "argued"
        if not all(e.gap for e in self.needs) or not any(e.gap for e in self.evidence):
            return "open"
        better = any(e.verdict == "better" for e in self.evidence)
        return "supported" if self.needs or better else "unproven"

    @property
    def first(self) -> Comparison | None:
        """What stands for the rule in a figure: its first comparison, or the best of `among`."""
        if self.needs or self.weighs or not self.among:
            return self.evidence[0] if self.evidence else None
        recorded = [e for e in self.among if e.gap]
        return max(recorded, key=lambda e: e.strength, default=self.among[0])

    def page(self, language: str | None = None) -> str:
        """The advice as Markdown."""
        title = f"**{text(self.rule['do'], language)}**"
        if self.status != "supported":
            title += f" *({translate(f'guide.{self.status}', language)})*"
        parts = [part for part in ("start", "measure", "avoid") if part in self.rule]
        items = [(part, f" {text(self.rule[part], language)}") for part in parts]
        items += [("settings", f" `{best}` (`{of}`, {n})") for of, best, n in self.settings]
        if compared := self.needs + self.weighs:
            items.append(("expect", "".join(f"\n    - {line(e, language)}" for e in compared)))
        lines = [f"- *{translate(f'guide.{name}', language)}:*{words}" for name, words in items]
        if self.among:
            lines.append(f"- {ranking(self.among, language)}")
        return "\n".join([title, "", *lines])


def evidence(spec: Mapping, records: Records = read) -> Comparison:
    """The comparison that `spec` names: record, arm, over; metric, of, is."""
    pair = spec["record"], spec["arm"], spec["over"], spec.get("metric", "accuracy")
    return compare(*pair, of=spec.get("of", ""), needed=spec.get("is", ""), records=records)


def weigh(rule: Mapping, records: Records = read) -> Advice:
    """A rule with its evidence, whether it fires or not."""
    among = rule.get("among", {"arms": ()})
    chosen = rule.get("settings", ())
    settings = (best_setting(spec["record"], spec.get("arms", ""), records) for spec in chosen)
    return Advice(
        rule=rule,
        needs=[evidence(spec, records) for spec in rule.get("needs", ())],
        weighs=[evidence(spec, records) for spec in rule.get("weighs", ())],
        among=[evidence({**among, "arm": arm}, records) for arm in among["arms"]],
        settings=[setting for setting in settings if setting],
    )


def every_rule(records: Records = read) -> list[Advice]:
    """All rules with their evidence, whether they fire or not."""
    return [weigh(rule, records) for rule in rulebook()["rules"]]


def choices() -> dict[str, list[str]]:
    """What can be asked: constraint -> its choices, the default first."""
    return {name: list(c["choices"]) for name, c in rulebook()["constraints"].items()}


def fires(rule: Mapping, constraints: Mapping[str, str]) -> bool:
    """Whether each `when` of the rule holds."""
    return all(constraints[name] in allowed for name, allowed in rule["when"].items())


class Recommendation(tuple):
    """Advice in the order in which to try it; shows itself as a page. `page(language)`: one."""

    def page(self, language: str | None = None) -> Page:
        items = [f"**{n}.** {advice.page(language)}" for n, advice in enumerate(self, 1)]
        return Page(f"{len(self)} pieces of advice", "\n\n".join(items))

    def _repr_markdown_(self) -> str:
        return self.page().markdown

    def __repr__(self) -> str:
        return "\n".join(f"{a.rule['id']}: {a.status}" for a in self)


def recommend(*, records: Records = read, **constraints: str) -> Recommendation:
    """What to try under these constraints, in order, with evidence.

    recommend(labels="few", unlabelled="yes"); `choices()` has the names, the first being the
    default. ValueError says what can be asked.
    """
    known = choices()
    for name, value in constraints.items():
        if name not in known:
            raise ValueError(f"no constraint {name!r}: there are {', '.join(known)}")
        if value not in known[name]:
            raise ValueError(f"{name} can't be {value!r}: it is one of {', '.join(known[name])}")
    asked = {name: values[0] for name, values in known.items()} | constraints
    rules = (rule for rule in rulebook()["rules"] if fires(rule, asked))
    return Recommendation(weigh(rule, records) for rule in rules)


def contradictions(records: Records = read) -> list[str]:
    """What a rule needs and a record contradicts, a sentence each; empty in a sound guide."""
    return [
        f"{a.rule['id']} needs {e.arm} {e.needed} than {e.over}, but {line(e)}"
        for a in every_rule(records)
        for e in a.needs
        if not e.holds
    ]


def missing(records: Records = read) -> list[str]:
    """The records that the guide asks for and nobody has made yet, with the command for each."""
    every = (e for advice in every_rule(records) for e in advice.evidence)
    names = dict.fromkeys(e.record for e in every if e.gap is None)
    return [f"{name}: {command(name)}" for name in names]


def row(advice: Advice, name: str = "") -> dict:
    """For `panels.evidence_rows`: the rule's name (or another) and what stands for it."""
    name, best = name or text(advice.rule["name"]), advice.first
    if not best:
        return {"name": name, "number": "", "strength": math.nan, "verdict": ""}
    number = short(best, over=False)
    return {"name": name, "number": number, "strength": best.strength, "verdict": best.verdict}


def situation(case: Mapping) -> dict:
    """A typical situation of the rulebook for `panels.evidence_rows`: the rule that answers it."""
    return row(advice_for(case), text(case["words"]))


def advice_for(case: Mapping) -> Advice:
    """The advice that answers a typical situation of the rulebook."""
    return next(a for a in recommend(**case["ask"]) if a.rule["id"] == case["rule"])
