"""The interview bank (`data/interview/<chapter>.yaml`) as pages with hidden answers.

`corner(1)` shows a chapter's first cards, `card("dark-knowledge")` one, `seed_question(1)` the
seed's own question with what it says imprecisely; each in English, in Chinese, or (without a
language) both.
Pages are Markdown with <details>, so they read without a kernel. The form of the bank is
`data/interview/schema.json`; tests/test_interview.py checks it, the terms and the anchors.
"""

import re
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BANK = ROOT / "data" / "interview"
LANGUAGES = ("en", "zh")
CORNER = 12  # cards of a chapter's corner; the trainer asks the rest as well
WORDS = {  # the fixed words of a page
    "answer": ("Answer", "答案"),
    "full": ("In full", "展开"),
    "follow_ups": ("Follow-ups", "追问"),
    "wrong_answers": ("Wrong answers that interviewers hear", "常见的错误回答"),
    "red_flags": ("Red flags", "减分项"),
    "sources": ("Sources", "出处"),
    "shown_in": ("Shown in", "见"),
    "question": ("Question", "题目"),
    "example": ("Example", "举例"),
    "analysis": ("Analysis", "解析"),
    "corrections": ("Where the seed is imprecise", "原题不严谨之处"),
    "level": ("level {level}, {minutes} min", "难度 {level}，{minutes} 分钟"),
    "concept": ("concept", "概念"),
    "derivation": ("derivation", "推导"),
    "bug": ("find the bug", "找 bug"),
    "estimate": ("estimate", "估算"),
    "design": ("design", "方案设计"),
    "corner": ("Interview corner", "面试角"),
}


class Page:
    """Markdown that shows itself as HTML, or as a line of text where there is none."""

    def __init__(self, title: str, markdown: str):
        self.title, self.markdown = title, markdown

    def __repr__(self) -> str:
        return self.title

    def __str__(self) -> str:
        return re.sub(r"</?(details|summary|b)>\n?", "", self.markdown)

    def _repr_html_(self) -> str:
        import mistune  # comes with Jupyter; its plugin keeps formulas out of Markdown's hands

        return mistune.create_markdown(escape=False, plugins=["math", "table"])(self.markdown)


def chapters() -> list[str]:
    """Names of the chapters that have questions, in order: ["01_principle", ...]."""
    return sorted(path.stem for path in BANK.glob("[0-9][0-9]_*.yaml"))


@cache
def load(chapter: int | str) -> dict:
    """One chapter of the bank, by number or name; ValueError names the chapters that exist."""
    for name in chapters():
        if chapter in (name, int(name[:2])):
            return _unwrap(yaml.safe_load((BANK / f"{name}.yaml").read_text(encoding="utf-8")))
    raise ValueError(f"no interview questions for chapter {chapter!r}; there are {chapters()}")


def items() -> dict[str, dict]:
    """Every item of the bank by its id."""
    return {item["id"]: item for name in chapters() for item in load(name)["items"]}


def corner(chapter: int | str, language: str | None = None) -> Page:
    """The chapter's first twelve cards, answers hidden until asked for.

    A chapter's further items are the trainer's (`kdlab.interview.trainer`) and the booklet's.
    """
    bank = load(chapter)
    title = f"{_word('corner', language)}: {_join(bank['title'], language)}"
    cards = [_card(item, language) for item in bank["items"][:CORNER]]
    return Page(f"{title} ({len(cards)})", "\n\n".join([f"### {title}", *cards]))


def card(name: str, language: str | None = None) -> Page:
    """One item of the bank; ValueError when there is none of that id."""
    return Page(_title(_item(name), language), _card(_item(name), language))


def question(name: str, language: str | None = None) -> Page:
    """What an item asks, without the answer; the title is its words without code.

    ValueError when there is none of that id.
    """
    return Page(_title(_item(name), language), _question(_item(name), language))


def answer(name: str, language: str | None = None) -> Page:
    """An item's answer, not hidden; ValueError when there is none of that id."""
    answers = [_answer(_item(name), code) for code in _codes(language)]
    return Page(_title(_item(name), language), "\n\n---\n\n".join(answers))


def seed_question(number: int, language: str | None = None) -> Page:
    """The seed's question in its own form (题目/答案/举例/解析), then where it is imprecise."""
    bank, codes = load(number), _codes(language)
    title = f"{number}. {_join(bank['title'], language)}"
    lines = [f"### {title}", f"**{_word('question', language)}**"]
    lines += [bank["seed"]["question"][code].strip() for code in codes]
    for part in ("answer", "example", "analysis"):
        body = "\n\n".join(bank["seed"][part][code].strip() for code in codes)
        lines.append(_details(_word(part, language), body))
    lines.append(f"**{_word('corrections', language)}**")
    for n, entry in enumerate(bank["seed"]["corrections"], 1):
        told = [_arrow(entry["said"][code], entry["correct"][code]) for code in codes]
        lines.append("\n\n   ".join([f"{n}. {told[0]}", *told[1:], _shown(entry["shown_in"])]))
    return Page(title, "\n\n".join(lines))


def _item(name: str) -> dict:
    if not (item := items().get(name)):
        raise ValueError(f"no item {name!r} in the bank; its ids: {', '.join(items())}")
    return item


def _title(item: dict, language: str | None) -> str:
    return _join({code: _ask(item["question"][code]) for code in LANGUAGES}, language)


def _codes(language: str | None) -> tuple[str, ...]:
    if language not in (None, *LANGUAGES):
        raise ValueError(f"the language is 'en', 'zh' or None for both, got {language!r}")
    return LANGUAGES if language is None else (language,)


def _word(name: str, language: str | None) -> str:
    return _join(dict(zip(LANGUAGES, WORDS[name], strict=True)), language)


def _join(text: dict, language: str | None) -> str:
    return " / ".join(text[code].strip() for code in _codes(language))


def _arrow(said: str, right: str) -> str:
    return f"{said.strip()} **→** {right.strip()}".replace("\n", " ")


def _ask(question: str) -> str:
    """The words of a question, without the code that may follow them."""
    return question.strip().partition("\n\n")[0].replace("\n", " ")


def _unwrap(node):
    """Undo line breaks within Chinese sentences, which HTML would show as blanks."""
    if isinstance(node, dict):
        return {key: _unwrap(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_unwrap(value) for value in node]
    if not isinstance(node, str):
        return node
    han, stop = "\u3001-\u3020\u4e00-\u9fff\u201c\u201d", "\uff00-\uffef\u3001\u3002"
    within = f"(?<=[{han}{stop}])\n *(?=[{han}{stop}])"
    return re.sub(f"{within}|(?<=[{stop}])\n(?!\\d+\\. )(?=[$\\w])", "", node)


def _details(summary: str, body: str) -> str:
    return f"<details>\n<summary><b>{summary}</b></summary>\n\n{body}\n\n</details>"


def _shown(places: list[dict]) -> str:
    words = [f"`{p['notebook']}#{p['anchor']}`" for p in places]
    return " · ".join(words + [f"`{p['function']}`" for p in places if "function" in p])


def _card(item: dict, language: str | None) -> str:
    hidden = [_details(_word("answer", code), _answer(item, code)) for code in _codes(language)]
    return "\n\n".join([_question(item, language), *hidden])


def _question(item: dict, language: str | None) -> str:
    asked = [item["question"][code].strip().partition("\n\n") for code in _codes(language)]
    parts = [f"**{words}**\n\n{code}".strip() for words, _, code in asked]
    level, kind = _word("level", language).format(**item), _word(item["kind"], language)
    return "\n\n".join([*parts, f"*{level} · {kind}*"])


def _answer(item: dict, code: str) -> str:
    """An item's answer in one language, the short one first."""
    asked = [items()[f["item"]] if "item" in f else f for f in item["follow_ups"]]
    sections = {
        "follow_ups": [_arrow(_ask(a["question"][code]), a.get("answer", a.get("short"))[code])
                       for a in asked],
        "wrong_answers": [f"“{w['answer'][code]}” {w['why'][code]}" for w in item["wrong_answers"]],
        "red_flags": [flag[code] for flag in item["red_flags"]],
    }  # fmt: skip
    body = [item["short"][code].strip(), f"**{_word('full', code)}**", item["full"][code].strip()]
    for name, lines in sections.items():
        if lines:
            body += [f"**{_word(name, code)}**", "\n".join(f"- {line}" for line in lines)]
    body.append(f"*{_word('sources', code)}* {'; '.join(item['sources'])}")
    body.append(f"*{_word('shown_in', code)}* {_shown(item['shown_in'])}")
    return "\n\n".join(body)
