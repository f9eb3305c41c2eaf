"""For both front ends of the trainer: a sitting, a generator of `Screen`s that is sent the keys.

The terminal (`quiz`) and JupyterLab (`panels`) only show screens and return keys, so both do the
same. An answer is kept before the next screen comes; `Stop`, thrown in, leads to the last screen,
which has no options. Texts are functions of the language: it may change any time.
"""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple

from kdlab.apps.i18n import translate
from kdlab.apps.interview import progress, scheduling
from kdlab.apps.interview.bank import Item, Numbers, interval, laid_out
from kdlab.apps.interview.progress import Answer

Text = Callable[[str], str]  # language -> Markdown


class Stop(Exception):
    """The learner has had enough."""


class Screen(NamedTuple):
    """What is shown now, and the keys that can be answered (none: the end)."""

    page: Text
    options: dict[str, Text] = {}
    above: Text | None = None  # what stood there before and helps to see it still
    status: Text | None = None  # one small line


Sitting = Generator[Screen, str, object]


def card_sitting(pool: Sequence[Item]) -> Sitting:
    """Flash cards by spaced repetition until nothing is due."""
    return _repeat(pool, _flash_card)


def search_sitting(results: Sequence[Item], words: str = "") -> Sitting:
    """Questions with their short answers, and the follow-ups that have the words, on one screen."""
    yield Screen(_part("search", results, words))


def choice_sitting(pool: Sequence[Item], seed: int | str = 0) -> Sitting:
    """Multiple choice, in the order of spaced repetition."""

    def ask(item: Item, answers: list[Answer], status: Text) -> Sitting:
        # another order at each repetition: the answer is to be remembered, not its letter
        repetition = sum(answer.item == item["id"] for answer in answers)
        options = dict(zip("abc", scheduling.options(item, f"{seed}-{repetition}"), strict=False))
        right = next(letter for letter, option in options.items() if option["right"])
        question = _part("choice", item, options)
        letter = yield Screen(question, _letters(options), status=status)
        grade = scheduling.RECOGNISED if letter == right else progress.AGAIN
        progress.record_answer(item["id"], grade, "choice")
        outcome = _part("outcome", options, letter, right)
        yield Screen(outcome, {"": _word("next")}, question, status)

    return _repeat(pool, ask)


def _repeat(pool: Sequence[Item], ask: Callable[[Item, list[Answer], Text], Sitting]) -> Sitting:
    """Ask item after item until none is due. The log of answers is read once for each."""
    count, last = 0, ""
    try:
        while True:
            answers = progress.answer_log()
            cards = progress.cards(answers)
            due, new, soon = scheduling.queue(pool, cards)
            waiting = [*due, *new, *soon]
            if not waiting:
                break
            # the same item not twice in a row, while there is another
            item = next((item for item in waiting if item["id"] != last), waiting[0])
            yield from ask(item, answers, _word("left", n=count, due=len(due), new=len(new)))
            count, last = count + 1, item["id"]
    except Stop:  # the item on the screen may be answered or not: it is not counted
        cards = progress.cards()
        due, new, _ = scheduling.queue(pool, cards)
    wait = None
    if not due and not new:
        wait = min(cards[item["id"]].due for item in pool) - progress.now()
    yield Screen(_part("goodbye", count, len(due), len(new), wait, progress.progress_file()))


def _flash_card(item: Item, answers: list[Answer], status: Text, mode: str = "card") -> Sitting:
    """A question, then its answer to be graded; returns the grade, already kept."""
    question = _part("question", item)
    yield Screen(question, {"": _word("reveal")}, status=status)
    card = progress.cards(a for a in answers if a.item == item["id"]).get(item["id"])
    grade = int((yield Screen(_part("answer", item), _grade_options(card), question, status)))
    progress.record_answer(item["id"], grade, mode)
    return grade


def mock_sitting(questions: Sequence[Item]) -> Sitting:
    """A mock interview against the clock, the rubric, and what came out."""
    count, minutes = len(questions), sum(item["minutes"] for item in questions)
    grades, marks = {}, {}
    try:
        yield Screen(_part("opening", count, minutes), {"": _word("begin")})
        answers, start = progress.answer_log(), time.monotonic()
        for n, item in enumerate(questions, 1):
            minute = (time.monotonic() - start) / 60
            status = _word("place", n=n, count=count, minute=minute, minutes=minutes)
            grades[item["id"]] = yield from _flash_card(item, answers, status, "mock")
        spent = (time.monotonic() - start) / 60
        for entry in scheduling.rubric():
            marks[entry["id"]] = int((yield Screen(_part("criterion", entry), _letters("1234"))))
        progress.record_interview(spent, scheduling.interview_score(grades)["score"], marks)
    except Stop:
        pass
    if grades:
        score = scheduling.interview_score(grades)
        yield Screen(_part("report", score, marks, scheduling.rubric()))
    else:
        yield Screen(_word("unfinished"))


def readiness_sitting(by: str = "chapter") -> Sitting:
    """One screen: what is known, as a table, and how the mock interviews went."""
    rows = [row for group in (by, "all") for row in progress.readiness_table(group).iterrows()]
    scores = ", ".join(f"{interview.score:.0%}" for interview in progress.interviews()[-10:])
    yield Screen(_part("readiness", by, rows, scores))


def evening_sitting(hours: float = 3.0, chapters: Numbers = ()) -> Sitting:
    """One screen: the plan of the evening before."""
    yield Screen(lambda language: scheduling.evening_page(hours, language, chapters).markdown)


def _grade_options(card: "progress.Card | None") -> dict[str, Text]:
    """The four grades as options, each with the time after which the card would come back."""
    now = progress.now()

    def label(grade: int) -> Text:
        wait = progress.reschedule(card, grade, now).due - now
        return lambda code: f"{translate(f'session.grade {grade}', code)} ({interval(wait, code)})"

    return {str(grade): label(grade) for grade in range(progress.AGAIN, progress.EASY + 1)}


def _letters(keys: Iterable[str]) -> dict[str, Text]:
    """Options that are called by their keys."""
    return {key: lambda language, key=key: key for key in keys}


def _word(name: str, **values: object) -> Text:
    return lambda language: translate(f"session.{name}", language, **values)


def _part(macro: str, *values: object) -> Text:
    """A part of a page, from the templates."""
    return lambda language: laid_out(macro, *values, language)
