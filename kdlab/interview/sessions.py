"""A sitting of the trainer as a generator: it yields a `Screen` and is sent the answer's key.

The terminal (`quiz`) and JupyterLab (`panels`) only show screens and return
keys, so both do the same. An answer is kept before the next screen comes; `Stop`, thrown in, leads
to the last screen, which has no options. A language is an argument of a page: it may change any
time.
"""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from kdlab import interview
from kdlab.interview import progress, trainer

Words = Callable[[str], str]  # language -> Markdown
WORDS = {  # (English, 中文)
    "reveal": ("Show the answer", "看答案"),
    "reveal hint": ("Say your answer aloud first.", "先把答案说出口。"),
    "next": ("Next", "下一题"),
    "begin": ("Begin", "开始"),
    "how it goes": (
        "Answer aloud, then look and grade yourself. Each grade is kept at once.",
        "先口头作答，再看答案、给自己打分。每个分数都会立即保存。",
    ),
    "right": ("Right.", "答对了。"),
    "wrong": ("Not {letter}. Right is {right}.", "不是 {letter}，正确答案是 {right}。"),
    "place": (
        "Question {n} of {count} · minute {minute:.0f} of {minutes}",
        "第 {n}/{count} 题 · 第 {minute:.0f}/{minutes} 分钟",
    ),
    "left": (
        "{due} due · {new} new · {n} answered now",
        "待复习 {due} · 未学 {new} · 本次已答 {n}",
    ),
    "empty": (
        "Nothing is due. The next card comes back in {interval}.",
        "现在没有要复习的卡，下一张在 {interval} 后。",
    ),
    "bye": (
        "{n} answered now; {due} due, {new} new. Kept in `{file}`",
        "本次答了 {n} 题；待复习 {due}，未学 {new}。记录在 `{file}`",
    ),
    "unfinished": (
        "Stopped early: what you answered is kept.",
        "提前结束：已答的题都已保存。",
    ),
    "past": ("Mock interviews so far: {scores}", "以往模拟面试得分：{scores}"),
    "no answers": (
        "No answer is recorded yet; the cards make a beginning.",
        "还没有答题记录，先做几张卡片吧。",
    ),
}


class Stop(Exception):
    """The learner has had enough."""


class Screen(NamedTuple):
    """What is shown now, and the keys that can be answered (none: the end)."""

    page: Words
    options: dict[str, Words] = {}
    above: Words | None = None  # what stood there before and helps to see it still
    status: Words | None = None  # one small line


Session = Generator[Screen, str, None]


def word(name: str, **values) -> Words:
    """A fixed text, to be asked for in a language."""
    return lambda code: WORDS[name][interview.LANGUAGES.index(code)].format(**values)


def cards(pool: Sequence[dict]) -> Session:
    """Flash cards by spaced repetition until nothing is due."""

    def one(item: dict, status: Words) -> Session:
        question = _question(item)
        yield Screen(question, {"": word("reveal")}, status=status)
        card = progress.cards().get(item["id"])
        grade = yield Screen(_answer(item), _grades(card), question, status)
        progress.record(item["id"], int(grade))

    return _repeat(pool, one)


def choice(pool: Sequence[dict], seed: int | str = 0) -> Session:
    """Multiple choice, in the order of spaced repetition."""

    def one(item: dict, status: Words) -> Session:
        # another order at each repetition: the answer is to be remembered, not its letter
        given = sum(answer.item == item["id"] for answer in progress.answers())
        options = dict(zip("abcd", trainer.choices(item["id"], f"{seed}-{given}"), strict=False))

        def page(code: str) -> str:
            lines = [f"- **{x}** {' '.join(o.text[code].split())}" for x, o in options.items()]
            return "\n".join(lines)

        keys = {letter: _letter(letter) for letter in options}
        said = yield Screen(_joined(_question(item), page), keys, status=status)
        right = next(letter for letter, option in options.items() if option.right)
        grade = trainer.RECOGNISED if said == right else progress.AGAIN
        progress.record(item["id"], grade, "choice")

        def outcome(code: str) -> str:
            head = word("right" if said == right else "wrong", letter=said, right=right)(code)
            lines = [f"- **{x}** {' '.join(o.why[code].split())}" for x, o in options.items()]
            return f"**{head}**\n\n" + "\n".join(lines)

        yield Screen(outcome, {"": word("next")}, _joined(_question(item), page), status)

    return _repeat(pool, one)


def _repeat(pool: Sequence[dict], one: Callable[[dict, Words], Session]) -> Session:
    count, last = 0, None
    try:
        while item := trainer.next_item(pool, seen := progress.cards(), last=last):
            yield from one(item, word("left", n=count, **trainer.counts(pool, seen)))
            count, last = count + 1, item["id"]
    except Stop:
        count = count  # the item on the screen may be answered or not: it is not counted
    seen, now = progress.cards(), datetime.now(timezone.utc)
    left = trainer.counts(pool, seen, now)
    bye = word("bye", n=count, file=progress.file(), **left)
    if left["due"] or left["new"]:
        yield Screen(bye)
    else:
        wait = max(min(seen[i["id"]].due for i in pool) - now, timedelta(minutes=1))
        yield Screen(_joined(lambda code: word("empty", interval=span(wait, code))(code), bye))


def mock(questions: Sequence[dict]) -> Session:
    """A mock interview against the clock, the rubric, and what came out."""
    minutes = sum(item["minutes"] for item in questions)
    title = trainer.mock_title(questions)
    grades, marks = {}, {}
    try:
        yield Screen(_joined(lambda c: f"**{title(c)}**", word("how it goes")),
                     {"": word("begin")})  # fmt: skip
        begun = time.monotonic()
        for n, item in enumerate(questions, 1):
            values = {"n": n, "count": len(questions), "minutes": minutes}
            place = word("place", minute=(time.monotonic() - begun) / 60, **values)
            question = _question(item)
            yield Screen(question, {"": word("reveal")}, status=place)
            grade = int((yield Screen(_answer(item), _grades(), question, place)))
            progress.record(item["id"], grade, "mock")
            grades[item["id"]] = grade
        spent = (time.monotonic() - begun) / 60
        for entry in trainer.rubric():
            keys = {str(n): _letter(str(n)) for n in range(1, 5)}
            marks[entry["id"]] = int((yield Screen(_criterion(entry), keys)))
        progress.record_interview(spent, trainer.score(grades)["score"], marks)
    except Stop:
        if not grades:
            yield Screen(word("unfinished"))
            return
    report = _page(lambda code: trainer.report_page(grades, marks, code))
    whole = len(marks) == len(trainer.rubric())
    yield Screen(report if whole else _joined(word("unfinished"), report))


def statistics(by: str = "chapter") -> Session:
    """One screen: the table of statistics, and how the mock interviews went."""
    scores = [f"{past.score:.0%}" for past in progress.interviews()[-10:]]
    note = word("past", scores=", ".join(scores)) if scores else word("no answers")
    table = _page(lambda code: trainer.statistics_page(by, code))
    yield Screen(_joined(table, note) if scores or not progress.answers() else table)


def tomorrow(hours: float = 3.0, chapters: Collection[int] = ()) -> Session:
    """One screen: the plan of the evening before."""
    yield Screen(_page(lambda code: trainer.evening_page(hours, code, chapters=chapters)))


def span(length: timedelta, language: str = "en") -> str:
    """A length of time in one short unit: 10 min, 3 h, 12 d."""
    minutes = length.total_seconds() / 60
    if minutes < 90:
        number, unit = minutes, ("min", "分钟")
    elif minutes < 24 * 60:
        number, unit = minutes / 60, ("h", "小时")
    else:
        number, unit = minutes / (24 * 60), ("d", "天")
    return f"{max(1, round(number))} {unit[interview.LANGUAGES.index(language)]}"


def _grades(card=None) -> dict[str, Words]:
    """The four grades as options, each with the time after which the card would come back."""

    def label(grade: int) -> Words:
        names, away = trainer.GRADES[grade][0], trainer.interval(card, grade)
        return lambda c: f"{names[interview.LANGUAGES.index(c)]} ({span(away, c)})"

    return {str(grade): label(grade) for grade in trainer.GRADES}


def _letter(letter: str) -> Words:
    return lambda code: letter


def _page(made: Callable[[str], interview.Page]) -> Words:
    return lambda code: made(code).markdown


def _question(item: dict) -> Words:
    return _page(lambda code: interview.question(item["id"], code))


def _answer(item: dict) -> Words:
    return _page(lambda code: interview.answer(item["id"], code))


def _joined(*parts: Words) -> Words:
    return lambda code: "\n\n".join(part(code) for part in parts)


def _criterion(entry: dict) -> Words:
    def page(code: str) -> str:
        marks = [f"{n}. {mark[code]}" for n, mark in enumerate(entry["marks"], 1)]
        return f"**{entry['name'][code]}** {entry['asks'][code]}\n\n" + "\n".join(marks)

    return page
