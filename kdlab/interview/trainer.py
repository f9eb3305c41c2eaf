"""What to ask next: cards, multiple choice, a mock interview, an evening's plan, statistics.

Pure functions over the bank (`kdlab.interview`) and the log of answers (`progress`), the same
for JupyterLab (`panels`) and the terminal (`quiz`). Nothing here writes.
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import yaml

from kdlab import interview
from kdlab.interview import Page, progress

if TYPE_CHECKING:
    import pandas as pd

OPTIONS = 4  # of a multiple choice, where the bank yields them
AHEAD = timedelta(minutes=20)  # a card due so soon is asked now rather than ending the session
KNOWN = 0.9  # what FSRS schedules for: more needs no repetition before tomorrow
GRADES = {  # name and what it means, (English, 中文)
    progress.AGAIN: (("Again", "不会"), ("wrong or silent", "答错或说不出")),
    progress.HARD: (("Hard", "勉强"), ("right, with gaps", "对，但有漏洞")),
    progress.GOOD: (("Good", "会"), ("right", "答对")),
    progress.EASY: (("Easy", "很熟"), ("right, at once, in full", "脱口而出且完整")),
}
RECOGNISED = progress.HARD  # to pick the right option is less than to say it
WORDS = {  # the fixed words of the trainer's pages, (English, 中文)
    "mock": (
        "Mock interview: {n} questions, {minutes} minutes",
        "模拟面试：{n} 道题，{minutes} 分钟",
    ),
    "rubric": (
        "Rubric: one mark for each, for the whole interview",
        "评分表：面试结束后整体打分，每项一个分数",
    ),
    "criterion": ("Criterion", "维度"),
    "plan": (
        "Interview tomorrow: a plan for {hours:g} h",
        "明天面试：{hours:g} 小时复习计划",
    ),
    "from": ("From", "开始"),
    "minutes": ("Minutes", "分钟"),
    "what": ("What to do", "做什么"),
    "overview": (
        "{title}: read the Summary and the seed's question, aloud",
        "{title}：读 Summary 和原题，关键句要念出声",
    ),
    "drill": (
        "{title}, level {levels}: {n} cards. {names}",
        "{title}，难度 {levels}：{n} 张卡。{names}",
    ),
    "weak": (
        "Weak points first ({topics}): {n} cards. {names}",
        "先补弱项（{topics}）：{n} 张卡。{names}",
    ),
    "break": ("Break", "休息"),
    "interview": (
        "Mock interview, against the clock: `python -m kdlab quiz mock --minutes {minutes}`",
        "限时模拟面试：`python -m kdlab quiz mock --minutes {minutes}`",
    ),
    "again": (
        "Once more what went wrong: `python -m kdlab quiz`",
        "把今晚答错的再过一遍：`python -m kdlab quiz`",
    ),
    "stop": (
        "Stop: everything has been asked once. Sleep helps more than another round",
        "到这里就够了：题目都过了一遍，睡个好觉比再刷一轮有用",
    ),
    "how": (
        "Cards of a line: `python -m kdlab quiz --chapter N --level L`, or the panels of "
        "`kdlab.interview.panels.trainer_tabs()`. Say each answer aloud before you look.",
        "做某一行的卡片：`python -m kdlab quiz --chapter N --level L --language zh`，"
        "或者在笔记本里用 `kdlab.interview.panels.trainer_tabs()`。先把答案说出口，再看解答。",
    ),
    "borrowed": (
        "That answers another question ({question}), and wrongly: {why}",
        "这是另一道题（{question}）的错误回答：{why}",
    ),
    "elsewhere": (
        "True, but it answers another question: {question}",
        "这句话没错，但答的是另一道题：{question}",
    ),
    "right": ("Right.", "正确。"),
    "outcome": (
        "Your questions: {score:.0%} (each counts by its level). {verdict}",
        "答题得分：{score:.0%}（按难度加权）。{verdict}",
    ),
    "ready": ("That carries an interview.", "这个水平可以去面试了。"),
    "nearly": (
        "Nearly there: the gaps below come up again.",
        "差一点：下面的漏洞面试官一定会追问。",
    ),
    "not yet": ("Not yet: work through the list below.", "还不够：先把下面的清单补上。"),
    "marks": (
        "Rubric: {total} of {most}. Weakest: {weakest}",
        "评分表：{total}/{most}。最弱：{weakest}",
    ),
    "even": ("Rubric: {total} of {most}, all alike", "评分表：{total}/{most}，各项相同"),
    "by level": ("By level", "按难度"),
    "by chapter": ("By chapter", "按章节"),
    "revise": ("To revise, with the cell that shows it", "需要复习的题，以及能看到结果的单元格"),
    "nothing": ("nothing", "无"),
    "group": ("Group", "分组"),
    "items": ("Items", "题数"),
    "seen": ("Seen", "已学"),
    "due": ("Due", "待复习"),
    "answers": ("Answers", "答题次数"),
    "right share": ("Right", "正确率"),
    "known": ("Known tomorrow", "明天还记得"),
    "all": ("All", "合计"),
    "level": ("Level {n}", "难度 {n}"),
}
BANDS = ((0.75, "ready"), (0.5, "nearly"), (0.0, "not yet"))  # of `score`: 3 of 4 is "good"
Item = dict  # of the bank, with the number of its "chapter"


class Choice(NamedTuple):
    text: dict[str, str]  # by language, as `why`
    why: dict[str, str]
    right: bool


class Step(NamedTuple):
    """One line of an evening's plan."""

    start: int  # minutes after the beginning
    minutes: int
    kind: str  # "weak", "overview", "drill", "break", "interview", "again", "stop"
    chapter: int | None
    items: tuple[Item, ...]


# ---------------------------------------------------------------- what there is


def catalogue() -> dict[str, Item]:
    """Every item of the bank by its id, with its chapter and its place in it."""
    found = {}
    for name in interview.chapters():
        bank = interview.load(name)
        for place, item in enumerate(bank["items"]):
            found[item["id"]] = {**item, "chapter": bank["chapter"], "place": place}
    return found


def chapter_titles() -> dict[int, dict[str, str]]:
    """Number and title (by language) of each chapter that has questions."""
    banks = map(interview.load, interview.chapters())
    return {bank["chapter"]: bank["title"] for bank in banks}


def topics() -> dict[str, int]:
    """Every tag of the bank and how many items bear it, the frequent ones first."""
    return dict(Counter(t for item in catalogue().values() for t in item["tags"]).most_common())


def select(
    chapters: Collection[int] = (),
    levels: Collection[int] = (),
    topics: Collection[str] = (),
    kinds: Collection[str] = (),
) -> list[Item]:
    """Items of these chapters, levels, tags and kinds (empty: of any), basic ones first.

    ValueError, naming what there is, when nothing is left.
    """
    pool = [
        item
        for item in catalogue().values()
        if (not chapters or item["chapter"] in chapters)
        and (not levels or item["level"] in levels)
        and (not topics or set(topics) & set(item["tags"]))
        and (not kinds or item["kind"] in kinds)
    ]
    if not pool:
        raise ValueError(
            f"no question fits chapters {list(chapters) or 'any'}, levels {list(levels) or 'any'}, "
            f"topics {list(topics) or 'any'}, kinds {list(kinds) or 'any'}; the bank has chapters "
            f"{list(chapter_titles())}, levels 1 to 3, kinds concept, derivation, bug, estimate, "
            f"design, and topics {', '.join(itertools.islice(_all_topics(), 20))}, ..."
        )
    return sorted(pool, key=_order)


def _all_topics() -> Iterable[str]:
    return iter(topics())


def _order(item: Item) -> tuple:
    """Basic before senior; within a level the chapters take turns."""
    return item["level"], item["place"], item["chapter"]


# ---------------------------------------------------------------- cards


def next_item(
    pool: Sequence[Item], cards: Mapping, now: datetime | None = None, last: str | None = None
) -> Item | None:
    """The item to ask now: the longest due, else a new one, else one due within minutes; or None.

    `cards` come from `progress.cards()`; `last`, the id asked before, is not asked twice in a row
    while there is another.
    """
    now = now or datetime.now(timezone.utc)
    asked = sorted((i for i in pool if i["id"] in cards), key=lambda i: cards[i["id"]].due)
    due = [item for item in asked if cards[item["id"]].due <= now]
    new = [item for item in pool if item["id"] not in cards]
    soon = [item for item in asked if now < cards[item["id"]].due <= now + AHEAD]
    waiting = [*due, *new, *soon]
    others = [item for item in waiting if item["id"] != last]
    return next(iter(others or waiting), None)


def counts(pool: Sequence[Item], cards: Mapping, now: datetime | None = None) -> dict[str, int]:
    """How many items are due now, new, and scheduled for later."""
    now = now or datetime.now(timezone.utc)
    seen = [cards[item["id"]].due for item in pool if item["id"] in cards]
    due = sum(moment <= now for moment in seen)
    return {"due": due, "new": len(pool) - len(seen), "later": len(seen) - due}


def interval(card, grade: int, now: datetime | None = None) -> timedelta:
    """How long the card would stay away after this grade."""
    now = now or datetime.now(timezone.utc)
    return progress.after(card, grade, now).due - now


# ---------------------------------------------------------------- multiple choice


def choices(name: str, seed: int | str = 0) -> list[Choice]:
    """The item's short answer among wrong ones, each with its reason, in a seeded order.

    Of the short answer the opening stands there; the reason has the whole. Where the item has
    fewer than three wrong answers of its own, other concepts and derivations lend options, and the
    reason names the question that they belong to: one true opening of about the same length, from
    the chapter but on other tags (length alone must not give the right one away), and whole false
    statements on the same tags, which are wrong anywhere (a wrong diagnosis or advice may be right
    for another case). ValueError when there is no such item.
    """
    items = catalogue()
    if name not in items:
        interview.question(name)  # raises with the ids
    item = items[name]
    shuffle = random.Random(f"{name}-{seed}").sample
    whole = {c: f"{_word('right', c)} {item['short'][c].strip()}" for c in interview.LANGUAGES}
    options = [Choice({c: opening(item["short"][c], c) for c in whole}, whole, True)]
    options += [Choice(w["answer"], w["why"], False) for w in item["wrong_answers"][: OPTIONS - 1]]
    states = [i for i in items.values() if i["kind"] in ("concept", "derivation") and i != item]
    lent = [_true_elsewhere(item, states), _false_anywhere(item, states)]
    for some, most in zip(lent, (1, OPTIONS), strict=True):
        missing = min(most, OPTIONS - len(options), len(some))
        options += shuffle(some[: 2 * missing], missing)  # of the best twice as many, some
    return shuffle(options, len(options))


def opening(text: str, language: str) -> str:
    """The first sentences of a text, at least 40 letters (English) or 16 characters (Chinese)."""
    least, stop = {"en": (40, r"[.!?]\s+(?=[A-Z0-9$`])"), "zh": (16, r"[。！？]\s*")}[language]
    text = " ".join(text.split())
    for end in re.finditer(stop, text):
        head = text[: end.end()].strip()
        closed = head.count("$") % 2 == 0 and head.count("`") % 2 == 0
        if len(head) >= least and closed and not head.endswith(("e.g.", "i.e.", "vs.")):
            return head
    return text


def _true_elsewhere(item: Item, others: Iterable[Item]) -> list[Choice]:
    """Openings of answers to unrelated questions of the chapter, those of like length first."""
    related = {f.get("item") for f in item["follow_ups"]}
    found = [
        Choice({code: opening(other["short"][code], code) for code in interview.LANGUAGES},
               _why("elsewhere", other), False)
        for other in others
        if other["chapter"] == item["chapter"] and not set(other["tags"]) & set(item["tags"])
        and other["id"] not in related
        and item["id"] not in [f.get("item") for f in other["follow_ups"]]
        and _stands_alone(other["short"])
    ]  # fmt: skip
    return _like_length(found, item)


def _false_anywhere(item: Item, others: Iterable[Item]) -> list[Choice]:
    """Wrong answers on the same tags, else of the chapter, those of like length first."""
    groups = [], []
    for other in others:
        shared = bool(set(other["tags"]) & set(item["tags"]))
        if shared or other["chapter"] == item["chapter"]:
            groups[not shared].extend(
                Choice(wrong["answer"], _why("borrowed", other, wrong["why"]), False)
                for wrong in other["wrong_answers"]
                if _stands_alone(wrong["answer"])
            )
    own = [wrong["answer"] for wrong in item["wrong_answers"]]
    found = [choice for group in groups for choice in _like_length(group, item)]
    return [choice for choice in found if choice.text not in own]


def _like_length(found: Iterable[Choice], item: Item) -> list[Choice]:
    length = len(opening(item["short"]["en"], "en"))
    return sorted(found, key=lambda choice: abs(len(choice.text["en"]) - length))


def _why(word: str, other: Item, reason: Mapping[str, str] | None = None) -> dict[str, str]:
    """Where an option comes from, by language."""
    return {
        code: _word(word, code).format(
            question=interview.question(other["id"], code).title,
            why=reason[code].strip() if reason else "",
        )
        for code in interview.LANGUAGES
    }


def _stands_alone(text: Mapping[str, str]) -> bool:
    """A sentence with a subject, not "Yes, ..." or a bare number, which another question needs."""
    words = text["en"].split()
    begins = words[0].strip(",.;:").lower()
    return len(words) >= 5 and begins not in ("yes", "no", "none", "nothing", "because", "all")


def _word(name: str, code: str) -> str:
    return WORDS[name][interview.LANGUAGES.index(code)]


# ---------------------------------------------------------------- mock interview


@cache
def rubric() -> list[dict]:
    """The criteria of a mock interview, each with four marks, by language."""
    return yaml.safe_load((interview.BANK / "rubric.yaml").read_text(encoding="utf-8"))


def mock(
    minutes: float = 30,
    *,
    levels: Mapping[int, float] | None = None,
    chapters: Collection[int] = (),
    topics: Collection[str] = (),
    seed: int | str = 0,
) -> list[Item]:
    """Questions for `minutes`, basic ones first; the same bank and seed give the same interview.

    `levels` weighs the minutes of each level (default 1:1, 2:2, 3:1); chapters and kinds take turns
    within a level. ValueError where no question fits.
    """
    weights = {1: 1, 2: 2, 3: 1} if levels is None else dict(levels)
    weights = {level: weight for level, weight in weights.items() if weight > 0}
    if not weights:
        raise ValueError("a mock interview needs at least one level with a weight above 0")
    pool = select(chapters, weights, topics)
    rng = random.Random(f"mock-{seed}")
    rng.shuffle(pool)
    asked, left = [], minutes
    while fitting := [item for item in pool if item["minutes"] <= left and item not in asked]:
        present = {item["level"] for item in fitting}
        level = max(sorted(present), key=lambda k: _wanting(k, weights, asked, minutes))
        used = Counter(x for item in asked for x in (item["chapter"], item["kind"], *item["tags"]))
        best = min(
            (item for item in fitting if item["level"] == level),
            key=lambda i: (used[i["chapter"]], used[i["kind"]], sum(used[t] for t in i["tags"])),
        )
        asked.append(best)
        left -= best["minutes"]
    if not asked:
        shortest = min(item["minutes"] for item in pool)
        raise ValueError(f"no question fits into {minutes} minutes: the shortest takes {shortest}")
    return sorted(asked, key=lambda item: item["level"])


def _wanting(level: int, weights: Mapping, asked: Sequence[Item], minutes: float) -> float:
    """Minutes that this level still lacks."""
    had = sum(item["minutes"] for item in asked if item["level"] == level)
    return minutes * weights[level] / sum(weights.values()) - had


def mock_title(questions: Sequence[Item]) -> Callable[[str | None], str]:
    """How many questions and minutes, to be asked for in a language."""
    minutes = sum(item["minutes"] for item in questions)
    return lambda language: _say("mock", language, n=len(questions), minutes=minutes)


def mock_page(questions: Sequence[Item], language: str | None = None) -> Page:
    """A mock interview on paper: questions with hidden answers, the rubric at the end.

    `questions` come from `mock`; without a language both stand there.
    """
    title = mock_title(questions)(language)
    parts = [f"### {title}"]
    for number, item in enumerate(questions, 1):
        parts += [f"#### {number}", interview.card(item["id"], language).markdown]
    return Page(title, "\n\n".join([*parts, f"#### {_say('rubric', language)}",
                                    rubric_table(language)]))  # fmt: skip


def rubric_table(language: str | None = None) -> str:
    """The rubric as a Markdown table, a column for each mark."""
    rows = [f"| {_say('criterion', language)} | 1 | 2 | 3 | 4 |", "|:---|:---|:---|:---|:---|"]
    for entry in rubric():
        head = f"**{_text(entry['name'], language)}** {_text(entry['asks'], language)}"
        rows.append(f"| {head} | {' | '.join(_text(m, language) for m in entry['marks'])} |")
    return "\n".join(rows)


def score(grades: Mapping[str, int]) -> dict:
    """What the grades of a mock interview (id -> 1 to 4) add up to.

    "score" is 0 to 1, a question counting by its level; "levels" and "chapters" give it for each;
    "missed" lists the ids graded again or hard.
    """
    items = catalogue()

    def share(names: Iterable[str]) -> float:
        weighed = [(items[n]["level"], (grades[n] - 1) / 3) for n in names]
        return sum(w * s for w, s in weighed) / sum(w for w, _ in weighed)

    def by(field: str) -> dict[int, float]:
        groups = sorted({items[n][field] for n in grades})
        return {g: share(n for n in grades if items[n][field] == g) for g in groups}

    missed = [name for name, grade in grades.items() if grade <= progress.HARD]
    whole = share(grades) if grades else 0.0
    return {"score": whole, "levels": by("level"), "chapters": by("chapter"), "missed": missed}


def report_page(
    grades: Mapping[str, int], marks: Mapping[str, int], language: str | None = None
) -> Page:
    """The outcome of a mock interview: `grades` by item id, `marks` (1 to 4) by criterion."""
    found, items, titles = score(grades), catalogue(), chapter_titles()
    band = next(name for least, name in BANDS if found["score"] >= least)
    codes = interview.LANGUAGES if language is None else (language,)
    parts = [
        " / ".join(
            _word("outcome", code).format(score=found["score"], verdict=_word(band, code))
            for code in codes
        )
    ]
    if marks:
        least = min(marks.values())
        names = [_text(r["name"], language) for r in rubric() if marks.get(r["id"]) == least]
        values = {"total": sum(marks.values()), "most": 4 * len(marks)}
        said = "even" if len(names) == len(marks) > 1 else "marks"
        parts.append(_say(said, language, **values, weakest=", ".join(names)))
    levels = {_say("level", language, n=n): s for n, s in found["levels"].items()}
    chapters = {f"{n:02} {_text(titles[n], language)}": s for n, s in found["chapters"].items()}
    for head, group in (("by level", levels), ("by chapter", chapters)):
        shares = "; ".join(f"{name}: {share:.0%}" for name, share in group.items())
        parts.append(f"**{_say(head, language)}** {shares}")
    lines = [
        f"- {interview.question(name, language).title}".replace("\n", " ")
        + f" (`{items[name]['shown_in'][0]['notebook']}#{items[name]['shown_in'][0]['anchor']}`)"
        for name in found["missed"]
    ]
    missed = "\n".join(lines) or _say("nothing", language)
    parts.append(f"**{_say('revise', language)}**\n\n{missed}")
    return Page(parts[0], "\n\n".join(parts))


def _text(text: Mapping[str, str], language: str | None) -> str:
    codes = interview.LANGUAGES if language is None else (language,)
    return " / ".join(text[code].strip() for code in codes)


def _say(name: str, language: str | None, **values) -> str:
    return _text({code: _word(name, code).format(**values) for code in interview.LANGUAGES},
                 language)  # fmt: skip


# ---------------------------------------------------------------- statistics


def statistics(by: str = "chapter", now: datetime | None = None) -> "pd.DataFrame":
    """Per chapter, level, kind or topic: items, seen, due, answers, right and ready.

    `right` is the share of answers above "again" (NaN without one); `ready` the mean probability,
    by FSRS, to know an item a day from now, an item never seen counting 0.
    """
    import pandas as pd

    field = {"topic": "tags"}.get(by, by)
    if by not in ("chapter", "level", "kind", "topic"):
        raise ValueError(f"statistics go by chapter, level, kind or topic, not by {by!r}")
    now = now or datetime.now(timezone.utc)
    given = progress.answers()
    cards = progress.cards(given)
    grades = {}
    for answer in given:
        grades.setdefault(answer.item, []).append(answer.grade > progress.AGAIN)
    rows = {}
    for item in catalogue().values():
        card, name = cards.get(item["id"]), item["id"]
        row = (1, card is not None, bool(card and card.due <= now), len(grades.get(name, [])),
               sum(grades.get(name, [])), _tomorrow(card, now))  # fmt: skip
        for group in item[field] if by == "topic" else [item[field]]:
            rows.setdefault(group, []).append(row)
    columns = ["items", "seen", "due", "answers", "right", "ready"]
    table = pd.DataFrame({g: map(sum, zip(*r, strict=True)) for g, r in rows.items()}, columns).T
    table["right"] /= table["answers"].where(table["answers"] > 0)
    table["ready"] /= table["items"]
    table[columns[:4]] = table[columns[:4]].astype(int)
    return table.sort_index().rename_axis(by)


def _tomorrow(card, now: datetime) -> float:
    return progress.recall(card, now + timedelta(days=1))


def statistics_page(by: str = "chapter", language: str | None = None, now=None) -> Page:
    """The table of `statistics` with names in the language, a sum in the last line."""
    table = statistics(by, now)
    heads = ("group", "items", "seen", "due", "answers", "right share", "known")
    rows = [
        f"| {' | '.join(_say(head, language) for head in heads)} |",
        "|:---" + "|---:" * 6 + "|",
    ]
    whole = statistics("level", now)  # a topic may share items with another: sum levels
    right = (whole["right"] * whole["answers"]).sum() / max(1, whole["answers"].sum())
    ready = (whole["ready"] * whole["items"]).sum() / whole["items"].sum()
    entries = [(group_name(by, group, language), row) for group, row in table.iterrows()]
    entries.append(
        (f"**{_say('all', language)}**", {**whole.sum(), "right": right, "ready": ready})
    )
    for name, row in entries:
        numbers = [f"{row[column]:.0f}" for column in ("items", "seen", "due", "answers")]
        share = f"{row['right']:.0%}" if row["answers"] else "-"
        rows.append("| " + " | ".join([name, *numbers, share, f"{row['ready']:.0%}"]) + " |")
    return Page(_say("known", language), "\n".join(rows))


def group_name(by: str, group, language: str | None = None) -> str:
    """A row of `statistics` in words."""
    if by == "chapter":
        return f"{group:02} {_text(chapter_titles()[group], language)}"
    if by == "level":
        return _say("level", language, n=group)
    if by == "kind":
        return _text(dict(zip(interview.LANGUAGES, interview.WORDS[group], strict=True)), language)
    return str(group)


def weak_topics(now: datetime | None = None, most: int = 5) -> list[str]:
    """Tags whose seen items will be known worst tomorrow: below `KNOWN`, the worst first."""
    now = now or datetime.now(timezone.utc)
    cards, found = progress.cards(), {}
    for item in catalogue().values():
        if card := cards.get(item["id"]):
            for topic in item["tags"]:
                found.setdefault(topic, []).append(_tomorrow(card, now))
    means = {topic: sum(values) / len(values) for topic, values in found.items()}
    return sorted((t for t in means if means[t] < KNOWN), key=lambda t: (means[t], t))[:most]


# ---------------------------------------------------------------- interview tomorrow


def evening(
    hours: float = 3.0, *, chapters: Collection[int] = (), now: datetime | None = None
) -> list[Step]:
    """An evening before the interview: what to do, in order, for `hours` (a half to 12).

    First what was answered badly before; then chapter by chapter a look at its summary and its
    cards, as many as fit: what will not be known tomorrow, basic before senior; from two hours on
    a mock interview; the last tenth repeats what went wrong. There is a break before 100 minutes
    are over. A card takes its minutes in the bank, and one more to read.
    """
    if not 0.5 <= hours <= 12:
        raise ValueError(f"an evening has between half an hour and 12 hours, got {hours:g}")
    now = now or datetime.now(timezone.utc)
    total = round(60 * hours)
    cards = progress.cards()
    known = {name: _tomorrow(card, now) for name, card in cards.items()}
    pool = [item for item in select(chapters) if known.get(item["id"], 0) < KNOWN]
    again = max(5, total // 10)
    rehearsal = 0 if total < 120 else 20 if total < 180 else 30
    breaks = 10 * ((total - 1) // 90)
    look = 5 if total >= 90 else 0  # at a chapter's summary; an hour is for cards alone
    left = total - again - rehearsal - breaks
    weak = [item for item in pool if item["id"] in known]
    weak, left = _fill(sorted(weak, key=lambda i: known[i["id"]]), min(left, total // 3), left)
    taken = {item["id"] for item in weak}
    drill, opened = [], set()
    for item in (i for i in pool if i["id"] not in taken):
        cost = _minutes(item) + (0 if item["chapter"] in opened else look)
        if cost <= left:
            drill.append(item)
            opened.add(item["chapter"])
            left -= cost
    blocks = [("weak", None, weak)] if weak else []
    for chapter in sorted(opened):
        if look:
            blocks.append(("overview", chapter, []))
        blocks += [("drill", chapter, part) for part in _parts(drill, chapter)]
    spare = left if left > 30 else 0  # the whole bank fits into the evening
    return _timed(blocks, rehearsal, again + left - spare, spare, breaks // 10)


def _parts(items: Sequence[Item], chapter: int) -> list[list[Item]]:
    """The items of a chapter in parts of at most half an hour or so, between which one can rest."""
    parts = [[]]
    for item in (i for i in items if i["chapter"] == chapter):
        if parts[-1] and sum(map(_minutes, [*parts[-1], item])) > 30:
            parts.append([])
        parts[-1].append(item)
    return parts


def _fill(items: Sequence[Item], most: int, left: int) -> tuple[list[Item], int]:
    """Items in order while they fit into `most` minutes; what is left of `left` then."""
    taken = []
    for item in items:
        if _minutes(item) <= most:
            taken.append(item)
            most, left = most - _minutes(item), left - _minutes(item)
    return taken, left


def _minutes(item: Item) -> int:
    return item["minutes"] + 1


def _timed(blocks: list, rehearsal: int, again: int, spare: int, breaks: int) -> list[Step]:
    steps, start, since = [], 0, 0

    def add(kind: str, minutes: int, chapter: int | None = None, items: Sequence = ()) -> None:
        nonlocal start, since
        steps.append(Step(start, minutes, kind, chapter, tuple(items)))
        start, since = start + minutes, 0 if kind == "break" else since + minutes

    ends = [("interview", None, rehearsal)] if rehearsal else []
    ends.append(("again", None, again))
    if spare:
        ends.append(("stop", None, spare))
    timed = [
        (kind, chapter, items, sum(map(_minutes, items)) or 5) for kind, chapter, items in blocks
    ]
    timed += [(kind, chapter, (), minutes) for kind, chapter, minutes in ends]
    for place, (kind, chapter, items, minutes) in enumerate(timed):
        together = minutes + (timed[place + 1][3] if kind == "overview" else 0)
        begun = steps and steps[-1].kind == "overview"  # its cards follow at once
        if breaks and since + together > 100 and since and not begun and kind != "stop":
            add("break", 10)
            breaks -= 1
        add(kind, minutes, chapter, items)
    if breaks:  # blocks fell so that a break was not needed: the end has the time
        steps[-1] = steps[-1]._replace(minutes=steps[-1].minutes + 10 * breaks)
    return steps


def evening_page(
    hours: float = 3.0,
    language: str | None = None,
    *,
    chapters: Collection[int] = (),
    now: datetime | None = None,
    start: str = "19:00",
) -> Page:
    """The plan of `evening` as a table; `start` is the time on the clock at which it begins."""
    steps, weak = evening(hours, chapters=chapters, now=now), weak_topics(now)
    clock, title = datetime.strptime(start, "%H:%M"), _say("plan", language, hours=hours)
    head = " | ".join(_say(word, language) for word in ("from", "minutes", "what"))
    rows = [f"| {head} |", "|:---|---:|:---|"]
    for step in steps:
        at = f"{clock + timedelta(minutes=step.start):%H:%M}"
        rows.append(f"| {at} | {step.minutes} | {describe(step, weak, language)} |")
    return Page(title, "\n\n".join([f"### {title}", "\n".join(rows), _say("how", language)]))


def describe(step: Step, weak: Sequence[str] = (), language: str | None = None) -> str:
    """One step of the plan in words."""
    title = chapter_titles().get(step.chapter, {"en": "", "zh": ""})
    levels = sorted({item["level"] for item in step.items})
    span = f"{levels[0]}-{levels[-1]}" if len(levels) > 1 else "".join(map(str, levels))
    values = {"minutes": step.minutes, "levels": span, "n": len(step.items)}
    values |= {"topics": ", ".join(weak), "names": ", ".join(f"`{i['id']}`" for i in step.items)}
    number = f"{step.chapter:02} " if step.chapter is not None else ""
    said = {
        code: _word(step.kind, code).format(title=number + title[code], **values)
        for code in interview.LANGUAGES
    }
    return _text(said, language)
