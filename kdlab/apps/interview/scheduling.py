"""What to ask: the next card, options to choose from, a mock interview, the evening before.

Functions over the bank and the log of answers (`progress`); nothing here writes.
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
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
Grades = Mapping[str, int]  # 1 to 4, by the item's id
Cards = Mapping[str, "progress.Card"]  # by the item's id, from `progress.cards`
BANDS = ((0.75, "ready"), (0.5, "nearly"), (0.0, "not yet"))  # of a score: 3 of 4 is "good"
LOOK, READ, BREAK = 5, 1, 10  # minutes: at a chapter's summary, to read a card, to rest
CHAPTER = itemgetter("chapter")
STRETCH = 90  # minutes of an evening without a break


def next_item(pool: Sequence[Item], cards: Cards, last: str = "") -> Item | None:
    """The item to ask now: the longest due, else a new one, else one due within minutes; or None.

    `last`, the id asked before, is not asked twice in a row while there is another.
    """
    now = progress.now()
    asked = sorted((i for i in pool if i["id"] in cards), key=lambda i: cards[i["id"]].due)
    due = [item for item in asked if cards[item["id"]].due <= now]
    new = [item for item in pool if item["id"] not in cards]
    soon = [item for item in asked if now < cards[item["id"]].due <= now + AHEAD]
    waiting = [*due, *new, *soon]
    others = [item for item in waiting if item["id"] != last]
    return next(iter(others or waiting), None)


def due_and_new(pool: Sequence[Item], cards: Cards) -> dict[str, int]:
    """How many items are due now ("due"), and how many were never asked ("new")."""
    seen = [cards[item["id"]].due for item in pool if item["id"] in cards]
    return {"due": sum(d <= progress.now() for d in seen), "new": len(pool) - len(seen)}


def options(item: Item, seed: int | str = 0) -> list[dict]:
    """The opening of the right answer and two wrong ones, in a seeded order.

    Each has its "answer" and its "why", by language; the right one is "right", its "why" is whole.
    """
    short = {code: item["short"][code].strip() for code in LANGUAGES}
    opening = {code: opening_of(short[code], code) for code in LANGUAGES}
    whole = {code: f"{translate('trainer.right', code)} {short[code]}" for code in LANGUAGES}
    right = {"answer": opening, "why": whole, "right": True}
    found = [right, *({**wrong, "right": False} for wrong in item["wrong_answers"][:2])]
    return random.Random(f"{item['id']}-{seed}").sample(found, len(found))


def opening_of(answer: str, language: str) -> str:
    """The first sentences of a text, at least 40 letters (English) or 16 characters (Chinese)."""
    atom = r"(?:\$[^$]*\$|`[^`]*`|[^$`])"  # a formula or code counts as one letter
    ends = {
        "en": atom + r"{39,}?[.!?](?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)(?=\s+[A-Z0-9$`])",
        "zh": atom + r"{15,}?[。！？]",
    }
    answer = " ".join(answer.split())
    found = re.match(ends[language], answer)
    return found[0] if found else answer


@cache
def rubric() -> list[dict]:
    """The criteria of a mock interview, each with four marks, by language."""
    return yaml.safe_load((bank.BANK / "rubric.yaml").read_text(encoding="utf-8"))


def mock(
    minutes: float = 30, *, levels: Mapping | None = None, seed: int = 0, **where: Collection
) -> list[Item]:
    """Questions for `minutes`, basic ones first; the same bank and seed give the same interview.

    `levels` weighs the minutes of each level; chapters and kinds take turns within one. `where` is
    `find_items`'s. ValueError where no question fits.
    """
    weights = {n: weight for n, weight in (levels or LEVELS).items() if weight > 0}
    if not weights:
        raise ValueError("a mock interview needs at least one level with a weight above 0")
    pool = find_items(levels=weights, **where)
    random.Random(f"mock-{seed}").shuffle(pool)
    asked, left = [], minutes

    def rank(item: Item) -> tuple:
        """The level that lacks most minutes first, then what was asked about least."""
        used = Counter(x for i in asked for x in (i["chapter"], i["kind"], *i["tags"]))
        had = sum(i["minutes"] for i in asked if i["level"] == item["level"])
        wanting = minutes * weights[item["level"]] / sum(weights.values()) - had
        tags = sum(used[tag] for tag in item["tags"])
        return -wanting, item["level"], used[item["chapter"]], used[item["kind"]], tags

    while fitting := [item for item in pool if item["minutes"] <= left and item not in asked]:
        asked.append(min(fitting, key=rank))
        left -= asked[-1]["minutes"]
    if not asked:
        shortest = min(item["minutes"] for item in pool)
        raise ValueError(f"no question fits into {minutes} minutes: the shortest takes {shortest}")
    return sorted(asked, key=lambda item: item["level"])


def mock_page(questions: Sequence[Item], language: str | None = None) -> Page:
    """A mock interview on paper: questions with hidden answers, then the rubric."""
    minutes = sum(item["minutes"] for item in questions)
    title = translate("trainer.mock", language, n=len(questions), minutes=minutes)
    return Page(title, bank.laid_out("mock", title, questions, rubric(), language))


def interview_score(grades: Grades) -> dict:
    """What the grades (at least one) of a mock interview add up to.

    "score" is 0 to 1, a question counting by its level, "band" its name in words; "level" and
    "chapter" give it for each; "missed" lists the items graded again or hard.
    """
    known = bank.items()
    given = [known[name] for name in grades]

    def share(some: Sequence[Item]) -> float:
        points = sum(item["level"] * (grades[item["id"]] - 1) / 3 for item in some)
        return points / sum(item["level"] for item in some)

    def by(field: str) -> dict[int, float]:
        groups = sorted({item[field] for item in given})
        return {n: share([item for item in given if item[field] == n]) for n in groups}

    missed = [item for item in given if grades[item["id"]] <= progress.HARD]
    band = next(name for least, name in BANDS if share(given) >= least)
    shares = {"score": share(given), "level": by("level"), "chapter": by("chapter")}
    return {**shares, "band": band, "missed": missed}


@dataclass
class Step:
    """One line of an evening's plan."""

    start: int  # minutes after the beginning
    minutes: int
    kind: str  # "weak", "overview", "drill", "break", "interview", "again", "stop"
    chapter: int | None = None
    items: tuple[Item, ...] = ()


def evening(hours: float = 3.0, chapters: Numbers = ()) -> list[Step]:
    """An evening before the interview: what to do, in order, for `hours` (a half to 12).

    First what was answered badly before; then chapter by chapter a look at its summary and its
    cards, as many as fit: what will not be known tomorrow, basic before senior; from two hours on
    a mock interview; the last tenth repeats what went wrong. There is a break every hour and a
    half. A card takes its minutes in the bank, and one more to read.
    """
    if not 0.5 <= hours <= 12:
        raise ValueError(f"an evening has between half an hour and 12 hours, got {hours:g}")
    total = round(60 * hours)
    again, breaks = max(5, total // 10), (total - 1) // STRETCH
    rehearsal = 0 if total < 120 else 20 if total < 180 else 30
    look = LOOK if total >= STRETCH else 0  # an hour is for cards alone
    left = total - again - rehearsal - BREAK * breaks
    known = {name: progress.recall(card) for name, card in progress.cards().items()}
    pool = [item for item in find_items(chapters) if known.get(item["id"], 0) < progress.KNOWN]
    seen = sorted((i for i in pool if i["id"] in known), key=lambda i: known[i["id"]])
    weak = _fitting(seen, min(left, total // 3))
    others = [item for item in pool if item not in weak]
    drill = sorted(_fitting(others, left - sum(map(_minutes, weak)), look), key=CHAPTER)
    blocks = [("weak", None, (item,), _minutes(item)) for item in weak]
    for chapter, group in itertools.groupby(drill, CHAPTER):
        blocks.append(("overview", chapter, (), look))
        blocks += [("drill", chapter, (item,), _minutes(item)) for item in group]
    blocks += [("interview", None, (), rehearsal), ("again", None, (), again)]
    return _timed([block for block in blocks if block[3]], breaks, total)


def _fitting(pool: Iterable[Item], left: int, look: int = 0) -> list[Item]:
    """The items that fit, in order, into `left` minutes, with a look at each one's chapter."""
    taken = []
    for item in pool:
        cost = _minutes(item) + look * (item["chapter"] not in map(CHAPTER, taken))
        if cost <= left:
            taken.append(item)
            left -= cost
    return taken


def _minutes(item: Item) -> int:
    return item["minutes"] + READ


def _timed(blocks: Iterable[tuple], breaks: int, total: int) -> list[Step]:
    """Blocks (kind, chapter, items, minutes) one after the other, like ones as one step.

    A break comes where a stretch would become too long; the end has the time that is left over.
    """
    steps, start, since = [], 0, 0
    for kind, chapter, asked, minutes in blocks:
        ahead = minutes + 2 * LOOK * (kind == "overview")  # a first card follows at once
        if breaks and since + ahead > STRETCH:
            steps.append(Step(start, BREAK, "break"))
            start, since, breaks = start + BREAK, 0, breaks - 1
        if steps and (steps[-1].kind, steps[-1].chapter) == (kind, chapter):
            steps[-1].minutes += minutes
            steps[-1].items += asked
        else:
            steps.append(Step(start, minutes, kind, chapter, asked))
        start, since = start + minutes, since + minutes
    if total - start > 30:  # the whole bank fits into the evening
        return [*steps, Step(start, total - start, "stop")]
    steps[-1].minutes += total - start
    return steps


def evening_page(hours: float = 3.0, language: str | None = None, chapters: Numbers = ()) -> Page:
    """The plan of `evening` as a table, by the clock: it begins at seven."""
    title, seven = translate("trainer.plan", language, hours=hours), datetime(1, 1, 1, 19)
    steps, weak = evening(hours, chapters), ", ".join(progress.weak_topics())
    timed = [(f"{seven + timedelta(minutes=step.start):%H:%M}", step) for step in steps]
    return Page(title, bank.laid_out("evening", title, timed, weak, language))
