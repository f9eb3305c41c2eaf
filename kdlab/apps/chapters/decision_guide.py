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

from kdlab.apps.i18n import text, translate
from kdlab.apps.markdown import Page
from kdlab.files import EMBEDDED
from kdlab.lab.results import Records, best_setting, command, compare, read
from kdlab.lab.stats import SIGN, Comparison


@cache
def rulebook() -> dict:
    """`data/guide.yaml`: constraints, rules, situations, statements of the seed, errors."""
    return yaml.safe_load((EMBEDDED / "guide.yaml").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- a comparison in words


def number(found: Comparison, language: str | None = None) -> str:
    """ "+3.4 points (+2.9 to +3.9)"."""
    if found.gap is None:
        return translate("verdict.missing", language)
    largest = abs(found.gap.mean)
    digits = 0 if largest >= 100 else 1 if largest >= 10 else 2
    mean, low, high = (f"{x:+,.{digits}f}" for x in found.gap[:3])
    unit = translate(f"unit.{found.metric}", language)
    words = "guide.interval" if found.gap.pairs > 1 else "guide.no interval"
    return translate(words, language, mean=mean, low=low, high=high, unit=unit)


def line(found: Comparison, language: str | None = None) -> str:
    """One line: record, arms, difference with its interval, seeds, verdict."""
    itself = found.arm == found.over
    arms = f"{found.arm}, {found.metric}" if itself else f"{found.arm} − {found.over}"
    words = "missing" if found.gap is None else "once" if found.gap.pairs < 2 else "line"
    values = {"seeds": found.gap.pairs if found.gap else 0, "number": number(found, language)}
    values["verdict"] = translate(f"verdict.{found.verdict}", language)
    return translate(f"guide.{words}", language, record=found.record, arms=arms, **values)


def short(found: Comparison, language: str | None = None, over: bool = True) -> str:
    """The arms (without `over`: the first) and their difference, and whether that is noise."""
    arms = f"{found.arm} − {found.over}: " if over else f"{found.arm}: "
    arms = "" if found.arm == found.over else arms
    noise = translate("guide.noise", language) if found.verdict == "noise" else ""
    return f"{arms}{number(found, language)}{noise}"


def ranking(among: Sequence[Comparison], language: str | None = None) -> str:
    """Which of several candidates beat their control beyond noise, best first, and who did not."""
    record, over, known = among[0].record, among[0].over, [e for e in among if e.gap]
    if not known:
        return f"`{record}`: {translate('verdict.missing', language)}"
    ranked = sorted(known, key=lambda e: -e.sign * e.gap.mean)
    told = translate("guide.candidates", language, record=record, n=len(known), over=over)
    for verdict in ("better", "noise", "worse"):
        arms = [f"{e.arm} {number(e, language)}" for e in ranked if e.verdict == verdict]
        arms = translate("guide.semicolon", language).join(arms) or translate(
            "guide.nobody", language
        )
        name = translate(f"verdict.{verdict}", language)
        told += translate("guide.group", language, verdict=name, arms=arms)
        told += translate("guide.stop", language)
    return told.rstrip()


def axis(metric: str) -> str:
    """What an axis of differences says: the unit, and the better side where that is the left."""
    return translate(f"unit.{metric}") + (SIGN[metric] < 0) * translate("unit.fewer")


# ---------------------------------------------------------------- rules


class Advice(NamedTuple):
    """A rule that fired, and what the records have to say to it."""

    rule: dict
    needs: tuple[Comparison, ...]
    weighs: tuple[Comparison, ...]
    among: tuple[Comparison, ...]
    settings: tuple[tuple[str, str, int], ...]  # record, its best arm, of how many

    @property
    def evidence(self) -> tuple[Comparison, ...]:
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
        if self.needs or self.weighs:
            return (self.needs + self.weighs)[0]
        known = [e for e in self.among if e.gap]
        return max(known, key=lambda e: e.strength) if known else next(iter(self.among), None)

    def page(self, language: str | None = None) -> str:
        """The advice as Markdown."""
        rule, parts = self.rule, ("start", "measure", "avoid")
        status = self.status
        status = "" if status == "supported" else f" *({translate(f'guide.{status}', language)})*"
        told = [(part, text(rule[part], language)) for part in parts if part in rule]
        told += [("settings", f"`{best}` (`{of}`, {n})") for of, best, n in self.settings]
        lines = [f"- *{translate(f'guide.{name}', language)}:* {words}" for name, words in told]
        if found := self.needs + self.weighs:
            lines.append(f"- *{translate('guide.expect', language)}:*")
            lines += [f"    - {line(one, language)}" for one in found]
        if self.among:
            lines.append("- " + ranking(self.among, language))
        return "\n".join([f"**{text(rule['do'], language)}**{status}", "", *lines])


def evidence(spec: Mapping, records: Records = read) -> Comparison:
    """The comparison that `spec` names: record, arm, over; metric, of, is."""
    where = spec["record"], spec["arm"], spec["over"], spec.get("metric", "accuracy")
    return compare(*where, of=spec.get("of", ""), needed=spec.get("is", ""), records=records)


def weigh(rule: Mapping, records: Records = read) -> Advice:
    """A rule with its evidence, whether it fires or not."""
    among = rule.get("among", {})
    each = [{**among, "arm": arm} for arm in among.get("arms", ())]
    specs = rule.get("needs", ()), rule.get("weighs", ()), each
    found = (tuple(evidence(spec, records) for spec in part) for part in specs)
    chosen = ((spec["record"], spec.get("arms", "")) for spec in rule.get("settings", ()))
    settings = (best_setting(*one, records) for one in chosen)
    return Advice(dict(rule), *found, tuple(filter(None, settings)))


def choices() -> dict[str, list[str]]:
    """What can be asked: constraint -> its choices, the default first."""
    return {name: list(c["choices"]) for name, c in rulebook()["constraints"].items()}


def fires(rule: Mapping, constraints: Mapping[str, str]) -> bool:
    """Whether each `when` of the rule holds."""
    return all(constraints[name] in allowed for name, allowed in rule["when"].items())


class Recommendation(tuple):
    """Advice in the order in which to try it; shows itself as a page. `page(language)`: one."""

    def page(self, language: str | None = None) -> Page:
        told = [f"**{n}.** {advice.page(language)}" for n, advice in enumerate(self, 1)]
        return Page(f"{len(self)} pieces of advice", "\n\n".join(told))

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
    asked = {name: constraints.get(name, values[0]) for name, values in known.items()}
    found = [weigh(rule, records) for rule in rulebook()["rules"] if fires(rule, asked)]
    return Recommendation(found)


def contradictions(records: Records = read) -> list[str]:
    """What a rule needs and a record contradicts, a sentence each; empty in a sound guide."""
    return [
        f"{a.rule['id']} needs {e.arm} {e.needed} than {e.over}, but {line(e)}"
        for a in every_rule(records)
        for e in a.needs
        if not e.holds
    ]


def every_rule(records: Records = read) -> list[Advice]:
    """All rules with their evidence, whether they fire or not."""
    return [weigh(rule, records) for rule in rulebook()["rules"]]


def missing(records: Records = read) -> list[str]:
    """The records that the guide asks for and nobody has made yet, with the command for each."""
    every = (e for advice in every_rule(records) for e in advice.evidence)
    names = dict.fromkeys(e.record for e in every if e.gap is None)
    return [f"{name}: {command(name)}" for name in names]


def row(advice: Advice, name: str = "") -> dict:
    """For `panels.evidence_rows`: the rule's name (or another) and what stands for it."""
    name = name or text(advice.rule["name"])
    if not (best := advice.first):
        return {"name": name, "number": "", "strength": math.nan, "verdict": ""}
    number = short(best, over=False)
    return {"name": name, "number": number, "strength": best.strength, "verdict": best.verdict}


def situation(case: Mapping) -> dict:
    """A typical situation of the rulebook for `panels.evidence_rows`: the rule that answers it."""
    return row(advice_for(case), text(case["words"]))


def advice_for(case: Mapping) -> Advice:
    """The advice that answers a typical situation of the rulebook."""
    return next(a for a in recommend(**case["ask"]) if a.rule["id"] == case["rule"])
