"""A sitting of the trainer as a generator: it yields a `Screen` and is sent the answer's key.

The terminal (`quiz`) and JupyterLab (`panels`) only show screens and return keys, so both do the
same. An answer is kept before the next screen comes; `Stop`, thrown in, leads to the last screen,
which has no options. A language is an argument of a page: it may change any time.
"""

import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from kdlab.apps.i18n import translate
from kdlab.apps.interview import progress, scheduling
from kdlab.apps.interview.bank import Item, laid_out

Words = Callable[[str], str]  # language -> Markdown


class Stop(Exception):
    """The learner has had enough."""


class Screen(NamedTuple):
    """What is shown now, and the keys that can be answered (none: the end)."""

    page: Words
    options: dict[str, Words] = {}
    above: Words | None = None  # what stood there before and helps to see it still
    status: Words | None = None  # one small line


Sitting = Generator[Screen, str, None]


def card_sitting(pool: Sequence[Item]) -> Sitting:
    """Flash cards by spaced repetition until nothing is due."""
    return _repeat(pool, lambda item, status: _revealed(item, status, "card"))


def search_sitting(found: Sequence[Item]) -> Sitting:
    """Questions with their short answers, on one screen."""
    yield Screen(_part("found", found))


def choice_sitting(pool: Sequence[Item], seed: int | str = 0) -> Sitting:
    """Multiple choice, in the order of spaced repetition."""

    def one(item: Item, status: Words) -> Sitting:
        # another order at each repetition: the answer is to be remembered, not its letter
        given = sum(answer.item == item["id"] for answer in progress.answer_log())
        options = dict(zip("abc", scheduling.options(item, f"{seed}-{given}"), strict=False))
        asked = _joined(_part("question", item), _part("options", options, "answer"))
        said = yield Screen(asked, _letters(options), status=status)
        right = next(letter for letter, option in options.items() if option["right"])
        grade = scheduling.RECOGNISED if said == right else progress.AGAIN
        progress.record_answer(item["id"], grade, "choice")
        head = _word("right" if said == right else "wrong", letter=said, right=right)
        outcome = _joined(head, _part("options", options, "why"))
        yield Screen(outcome, {"": _word("next")}, asked, status)

    return _repeat(pool, one)


def _revealed(item: Item, status: Words, mode: str) -> Generator[Screen, str, int]:
    """A question, then its answer to be graded; the grade, already kept."""
    question = _part("question", item)
    yield Screen(question, {"": _word("reveal")}, status=status)
    grade = int((yield Screen(_part("answer", item), _grades(item), question, status)))
    progress.record_answer(item["id"], grade, mode)
    return grade


def _repeat(pool: Sequence[Item], one: Callable[[Item, Words], Sitting]) -> Sitting:
    count, last = 0, ""
    try:
        while item := scheduling.next_item(pool, seen := progress.cards(), last=last):
            yield from one(item, _word("left", n=count, **scheduling.due_and_new(pool, seen)))
            count, last = count + 1, item["id"]
    except Stop:
        pass  # the item on the screen may be answered or not: it is not counted
    seen, now = progress.cards(), progress.now()
    left = scheduling.due_and_new(pool, seen)
    bye = _word("bye", n=count, file=progress.progress_file(), **left)
    if left["due"] or left["new"]:
        yield Screen(bye)
    else:
        wait = max(min(seen[i["id"]].due for i in pool) - now, timedelta(minutes=1))
        yield Screen(_joined(lambda c: translate("session.empty", c, interval=_span(wait, c)), bye))


def mock_sitting(questions: Sequence[Item]) -> Sitting:
    """A mock interview against the clock, the rubric, and what came out."""
    count, minutes = len(questions), sum(item["minutes"] for item in questions)
    grades, marks = {}, {}
    try:
        yield Screen(_part("opening", count, minutes), {"": _word("begin")})
        begun = time.monotonic()
        for n, item in enumerate(questions, 1):
            minute = (time.monotonic() - begun) / 60
            status = _word("place", n=n, count=count, minute=minute, minutes=minutes)
            grades[item["id"]] = yield from _revealed(item, status, "mock")
        spent = (time.monotonic() - begun) / 60
        for entry in scheduling.rubric():
            marks[entry["id"]] = int((yield Screen(_part("criterion", entry), _letters("1234"))))
        progress.record_interview(spent, scheduling.interview_score(grades)["score"], marks)
    except Stop:
        if not grades:
            yield Screen(_word("unfinished"))
            return
    notes = [] if len(marks) == len(scheduling.rubric()) else [_word("unfinished")]
    report = _part("report", scheduling.interview_score(grades), marks, scheduling.rubric())
    yield Screen(_joined(*notes, report))


def readiness_sitting(by: str = "chapter") -> Sitting:
    """One screen: what is known, as a table, and how the mock interviews went."""
    notes = [] if progress.answer_log() else [_word("no answers")]
    if past := progress.interviews()[-10:]:
        notes = [_word("past", scores=", ".join(f"{interview.score:.0%}" for interview in past))]
    rows = [row for some in (by, "all") for row in progress.readiness_table(some).iterrows()]
    yield Screen(_joined(_part("readiness", by, rows), *notes))


def evening_sitting(hours: float = 3.0, chapters: Collection[int] = ()) -> Sitting:
    """One screen: the plan of the evening before."""
    yield Screen(lambda code: scheduling.evening_page(hours, code, chapters=chapters).markdown)


def _span(length: timedelta, language: str) -> str:
    """A length of time in one short unit: 10 min, 3 h, 12 d."""
    minutes = length.total_seconds() / 60
    unit, size = ("min", 1) if minutes < 90 else ("h", 60) if minutes < 1440 else ("d", 1440)
    return f"{max(1, round(minutes / size))} {translate(f'session.{unit}', language)}"


def _grades(item: Item) -> dict[str, Words]:
    """The four grades as options, each with the time after which the card would come back."""
    card, now = progress.cards().get(item["id"]), progress.now()

    def label(grade: int) -> Words:
        away = progress.reschedule(card, grade, now).due - now
        return lambda code: f"{translate(f'session.grade {grade}', code)} ({_span(away, code)})"

    return {str(grade): label(grade) for grade in range(progress.AGAIN, progress.EASY + 1)}


def _letters(keys: Iterable[str]) -> dict[str, Words]:
    """Options that are called by their keys."""
    return {key: lambda code, key=key: key for key in keys}


def _word(name: str, **values: object) -> Words:
    return lambda code: translate(f"session.{name}", code, **values)


def _joined(*parts: Words) -> Words:
    return lambda code: "\n\n".join(part(code) for part in parts)


def _part(macro: str, *values: object) -> Words:
    """A part of a page, from the templates."""
    return lambda code: laid_out(macro, *values, code)
