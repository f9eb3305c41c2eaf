"""For the trainer and its pages: what to ask next, in a mock interview, on the evening before.

Functions over the bank and the log of answers (`progress`); nothing here writes.
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter

import yaml

from kdlab.apps.i18n import LANGUAGES, translate
from kdlab.apps.interview import bank, progress
from kdlab.apps.interview.bank import Item, Numbers, find_items
from kdlab.apps.markdown import Page

AHEAD = timedelta(minutes=20)  # a card due so soon is asked now rather than ending the session
RECOGNISED = progress.HARD  # to pick the right option is less than to say it
LEVELS = {1: 1, 2: 2, 3: 1}  # shares of a mock interview's minutes
BANDS = ((0.75, "ready"), (0.5, "nearly"), (0.0, "not yet"))  # of a score: 3 of 4 is "good"
LOOK, READ, BREAK = 5, 1, 10  # minutes: at a chapter's summary, to read a card, to rest
STRETCH = 90  # minutes of an evening without a break


def queue(pool: Sequence[Item], cards: Mapping) -> tuple[list[Item], list[Item], list[Item]]:
    """What is due now, the longest due first; what was never asked; what is due within minutes.

    `cards` are those of `progress.cards`.
    """
    now = progress.now()
    new = [item for item in pool if item["id"] not in cards]
    seen = sorted((i for i in pool if i["id"] in cards), key=lambda item: cards[item["id"]].due)
    due = [item for item in seen if cards[item["id"]].due <= now]
    soon = [item for item in seen if now < cards[item["id"]].due <= now + AHEAD]
    return due, new, soon


def options(item: Item, seed: int | str = 0) -> list[dict]:
    """The opening of the right answer and two wrong ones, in a seeded order.

    Each has its "answer" and its "why", by language; the right one is "right", its "why" is whole.
    """
    short = {code: item["short"][code].strip() for code in LANGUAGES}
    opening = {code: opening_of(short[code], code) for code in LANGUAGES}
    whole = {code: f"{translate('trainer.right', code)} {short[code]}" for code in LANGUAGES}
    right = {"answer": opening, "why": whole, "right": True}
    choices = [right, *({**wrong, "right": False} for wrong in item["wrong_answers"][:2])]
    return random.Random(f"{item['id']}-{seed}").sample(choices, len(choices))


def opening_of(answer: str, language: str) -> str:
    """The first sentences of a text, at least 40 letters (English) or 16 characters (Chinese)."""
    atom = r"(?:\$[^$]*\$|`[^`]*`|[^$`])"  # a formula or code counts as one letter
    ends = {
        "en": atom + r"{39,}?[.!?](?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)(?=\s+[A-Z0-9$`])",
        "zh": atom + r"{15,}?[。！？]",
    }
    answer = " ".join(answer.split())
    match = re.match(ends[language], answer)
    return match[0] if match else answer


@cache
def rubric() -> list[dict]:
    """The criteria of a mock interview, each with four marks, by language."""
    return yaml.safe_load((bank.BANK / "rubric.yaml").read_text(encoding="utf-8"))


def mock(minutes=30, pool: Sequence[Item] = (), *, levels=LEVELS, seed: int = 0) -> list[Item]:
    """Questions for `minutes`, basic ones first; the same pool and seed give the same interview.

    The pool is the whole bank, or what `find_items` gave; `levels` weighs the minutes of each
    level; chapters and kinds take turns within one. ValueError where no question fits.
    """
    weights = {n: weight for n, weight in levels.items() if weight > 0}
    if not weights:
        raise ValueError("a mock interview needs at least one level with a weight above 0")
    pool = [item for item in pool or find_items(levels=weights) if item["level"] in weights]
    if not pool:
        raise ValueError(f"no question of level {', '.join(map(str, weights))} to choose from")
    random.Random(f"mock-{seed}").shuffle(pool)
    chosen, left = [], minutes

    def rank(item: Item) -> tuple:
        """The level that lacks most minutes first, then what was asked about least."""
        used = Counter(x for c in chosen for x in (c["chapter"], c["kind"], *c["tags"]))
        spent = sum(c["minutes"] for c in chosen if c["level"] == item["level"])
        lacking = minutes * weights[item["level"]] / sum(weights.values()) - spent
        tags = sum(used[tag] for tag in item["tags"])
        return -lacking, item["level"], used[item["chapter"]], used[item["kind"]], tags

    while fitting := [item for item in pool if item["minutes"] <= left and item not in chosen]:
        chosen.append(min(fitting, key=rank))
        left -= chosen[-1]["minutes"]
    if not chosen:
        shortest = min(item["minutes"] for item in pool)
        raise ValueError(f"no question fits into {minutes} minutes: the shortest takes {shortest}")
    return sorted(chosen, key=itemgetter("level"))


def mock_page(questions: Sequence[Item], language: str | None = None) -> Page:
    """A mock interview on paper: questions with hidden answers, then the rubric."""
    minutes = sum(item["minutes"] for item in questions)
    title = translate("trainer.mock", language, n=len(questions), minutes=minutes)
    return Page(title, bank.laid_out("mock", title, questions, rubric(), language))


def interview_score(grades: Mapping[str, int]) -> dict:
    """What the grades 1 to 4 (at least one), by item, of a mock interview add up to.

    "score" is 0 to 1, a question counting by its level, "band" its name in words; "level" and
    "chapter" give it for each; "missed" lists the items graded again or hard.
    """
    questions = [bank.items()[name] for name in grades]

    def share(group: Sequence[Item]) -> float:
        points = sum(item["level"] * (grades[item["id"]] - 1) / 3 for item in group)
        return points / sum(item["level"] for item in group)

    def shares(field: str) -> dict[int, float]:
        values = sorted({item[field] for item in questions})
        return {n: share([item for item in questions if item[field] == n]) for n in values}

    score = share(questions)
    return {
        "score": score,
        "level": shares("level"),
        "chapter": shares("chapter"),
        "band": next(band for least, band in BANDS if score >= least),
        "missed": [item for item in questions if grades[item["id"]] <= progress.HARD],
    }


@dataclass
class Step:
    """One line of an evening's plan."""

    kind: str  # "weak", "overview", "drill", "break", "interview", "again", "stop"
    minutes: int
    chapter: int | None = None
    items: tuple[Item, ...] = ()
    start: int = 0  # minutes after the beginning


def evening(hours: float = 3.0, chapters: Numbers = ()) -> list[Step]:
    """An evening before the interview: what to do, in order, for `hours` (a half to 12).

    First what was answered badly before; then chapter by chapter a look at its summary and its
    cards, as many as fit: what will not be known tomorrow, basic before senior; from two hours on
    a mock interview; the last tenth repeats what went wrong. There is a break every hour and a
    half. A card takes its minutes in the bank, and one more to read. ValueError for other hours.
    """
    if not 0.5 <= hours <= 12:
        raise ValueError(f"an evening has between half an hour and 12 hours, got {hours:g}")
    total = round(60 * hours)
    again, breaks = max(5, total // 10), (total - 1) // STRETCH
    rehearsal = 0 if total < 120 else 20 if total < 180 else 30
    look = LOOK if total >= STRETCH else 0  # an hour is for cards alone
    left = total - again - rehearsal - BREAK * breaks
    recall = {name: progress.recall(card) for name, card in progress.cards().items()}
    pool = [item for item in find_items(chapters) if recall.get(item["id"], 0) < progress.KNOWN]
    seen = sorted((i for i in pool if i["id"] in recall), key=lambda item: recall[item["id"]])
    weak = _fitting(seen, min(left, total // 3))
    others = [item for item in pool if item not in weak]
    drill = _fitting(others, left - sum(map(_minutes, weak)), look)
    drill.sort(key=itemgetter("chapter"))
    steps = [Step("weak", _minutes(item), items=(item,)) for item in weak]
    for chapter, group in itertools.groupby(drill, itemgetter("chapter")):
        steps.append(Step("overview", look, chapter))
        steps += [Step("drill", _minutes(item), chapter, (item,)) for item in group]
    steps += [Step("interview", rehearsal), Step("again", again)]
    return _timed([step for step in steps if step.minutes], breaks, total)


def _fitting(pool: Iterable[Item], left: int, look: int = 0) -> list[Item]:
    """The items that fit, in order, into `left` minutes, with a look at each one's chapter."""
    taken, chapters = [], set()
    for item in pool:
        cost = _minutes(item) + (0 if item["chapter"] in chapters else look)
        if cost <= left:
            taken.append(item)
            chapters.add(item["chapter"])
            left -= cost
    return taken


def _minutes(item: Item) -> int:
    return item["minutes"] + READ


def _timed(steps: Iterable[Step], breaks: int, total: int) -> list[Step]:
    """The steps one after the other, neighbours of one kind and chapter as one.

    A break comes where a stretch would become too long; the end has the time that is left over.
    """
    plan, clock, since_break = [], 0, 0
    for step in steps:
        first_card = 2 * LOOK if step.kind == "overview" else 0  # it follows at once
        if breaks and since_break + step.minutes + first_card > STRETCH:
            plan.append(Step("break", BREAK, start=clock))
            clock, since_break, breaks = clock + BREAK, 0, breaks - 1
        if plan and (plan[-1].kind, plan[-1].chapter) == (step.kind, step.chapter):
            plan[-1].minutes += step.minutes
            plan[-1].items += step.items
        else:
            step.start = clock
            plan.append(step)
        clock, since_break = clock + step.minutes, since_break + step.minutes
    if total - clock > 30:  # the whole bank fits into the evening
        return [*plan, Step("stop", total - clock, start=clock)]
    plan[-1].minutes += total - clock
    return plan


def evening_page(hours: float = 3.0, language: str | None = None, chapters: Numbers = ()) -> Page:
    """The plan of `evening` as a table, by the clock: it begins at seven."""
    title, seven = translate("trainer.plan", language, hours=hours), datetime(1, 1, 1, 19)
    steps, weak = evening(hours, chapters), ", ".join(progress.weak_topics())
    timed = [(f"{seven + timedelta(minutes=step.start):%H:%M}", step) for step in steps]
    return Page(title, bank.laid_out("evening", title, timed, weak, language))
