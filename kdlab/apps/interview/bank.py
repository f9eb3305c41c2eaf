"""For whoever prepares for an interview: the bank of questions, and pages with hidden answers.

A chapter's items are in `data/interview/<chapter>.yaml`, in the form of `schema.json`. Pages are
Markdown with <details>, so they read without a kernel.
"""

import re
from collections.abc import Collection
from datetime import timedelta
from functools import cache

import jinja2
import yaml

from kdlab.apps.i18n import languages, text, translate
from kdlab.apps.markdown import Page
from kdlab.files import EMBEDDED

BANK = EMBEDDED / "interview"
CORNER = 12  # cards of a chapter's corner; the trainer asks the rest as well
Numbers, Names = Collection[int], Collection[str]
Item = dict  # as the bank has it, with the number of its "chapter" and its "place" in it


def chapters() -> list[str]:
    """Names of the chapters that have questions, in order: ["01_principle", ...]."""
    return sorted(path.stem for path in BANK.glob("[0-9][0-9]_*.yaml"))


@cache
def chapter_bank(chapter: int | str) -> dict:
    """One chapter of the bank, by number or name; ValueError names the chapters that exist."""
    for name in chapters():
        if chapter in (name, int(name[:2])):
            return unwrap(yaml.safe_load((BANK / f"{name}.yaml").read_text(encoding="utf-8")))
    raise ValueError(f"no interview questions for chapter {chapter!r}; there are {chapters()}")


def chapter_titles() -> dict[int, dict[str, str]]:
    """Number and title (by language) of each chapter that has questions."""
    return {bank["chapter"]: bank["title"] for bank in map(chapter_bank, chapters())}


@cache
def items() -> dict[str, Item]:
    """Every item of the bank by its id; read once, not to be changed."""
    return {
        item["id"]: {**item, "chapter": bank["chapter"], "place": place}
        for bank in map(chapter_bank, chapters())
        for place, item in enumerate(bank["items"])
    }


def find_items(
    chapters: Numbers = (), levels: Numbers = (), topics: Names = (), words: str = ""
) -> list[Item]:
    """Items of these chapters, levels and tags (empty: of any), basic ones first.

    Each of the `words` must stand in the item, in either language. A question that has them all
    comes first, then a follow-up or another wording that has, then a body. Otherwise the chapters
    take turns within a level. ValueError, naming what there is, when nothing is left.
    """
    terms = words.casefold().split()
    filters = {"chapter": chapters, "level": levels, "tags": topics}
    filters = {field: set(wanted) for field, wanted in filters.items() if wanted}
    pool = [
        item
        for item in items().values()
        if all(wanted & _values(item, field) for field, wanted in filters.items())
        and _contains(item, terms)
    ]
    if not pool and terms:
        raise ValueError(f"no question of the bank has {' and '.join(map(repr, terms))}")
    if not pool:
        known = {f: set().union(*(_values(item, f) for item in items().values())) for f in filters}
        limits = (f"{f} {sorted(filters[f])} of {sorted(known[f])}" for f in filters)
        raise ValueError(f"no question of the bank fits {'; '.join(limits)}")

    def order(item: Item) -> tuple:
        in_question = _contains(item["question"], terms)
        depth = 0 if in_question else 1 if entries(item, words) else 2
        return depth, item["level"], item["place"], item["chapter"]

    return sorted(pool, key=order)


def entries(item: Item, words: str) -> list[dict]:
    """Other wordings and follow-ups of an item that have all the words: other ways into it."""
    asked = [*item.get("also_asked", ()), *(f for f in item["follow_ups"] if "question" in f)]
    return [one for one in asked if words and _contains(one, words.casefold().split())]


def _values(item: Item, field: str) -> set:
    return set(item[field]) if field == "tags" else {item[field]}


def _contains(node: object, terms: Collection[str]) -> bool:
    """Whether each term, in small letters, stands somewhere in an item or one of its texts."""
    content = str(node).casefold()
    return all(term in content for term in terms)


def corner(chapter: int | str, language: str | None = None) -> Page:
    """The chapter's first twelve cards, answers hidden until asked for."""
    bank = chapter_bank(chapter)
    title = f"{translate('interview.corner', language)}: {text(bank['title'], language)}"
    cards = bank["items"][:CORNER]
    return Page(f"{title} ({len(cards)})", laid_out("corner", title, cards, language))


def seed_question(number: int, language: str | None = None) -> Page:
    """The seed's question in its own form (题目/答案/举例/解析), then where it is imprecise.

    ValueError for a chapter that has none of the eight.
    """
    bank = chapter_bank(number)
    if "seed" not in bank:
        raise ValueError(f"chapter {number} has no question of the seed; those are 1 to 8")
    title = f"{number}. {text(bank['title'], language)}"
    return Page(title, laid_out("seed", title, bank["seed"], language))


def title_of(item: Item, language: str | None = None) -> str:
    """The words of an item's question, on one line, without the code that may follow them."""
    words = {code: item["question"][code].strip() for code in languages(language)}
    titles = {code: question.partition("\n\n")[0] for code, question in words.items()}
    return text(titles, language).replace("\n", " ")


def group_name(by: str, group: int | str, language: str | None = None) -> str:
    """One chapter, level, kind or topic in words."""
    if by == "chapter":
        return f"{group:02} {text(chapter_titles()[group], language)}"
    if by == "level":
        return translate("trainer.level", language, n=group)
    return translate(f"interview.{group}", language) if by == "kind" else str(group)


def interval(length: timedelta, language: str | None = None) -> str:
    """A length of time in one short unit: 10 min, 3 h, 12 d; a minute at least."""
    minutes = length.total_seconds() / 60
    unit, size = ("min", 1) if minutes < 90 else ("h", 60) if minutes < 1440 else ("d", 1440)
    return f"{max(1, round(minutes / size))} {translate(f'session.{unit}', language)}"


def laid_out(macro: str, *values: object) -> str:
    """What a macro of `templates/pages.md` makes of these values, without spare blank lines."""
    page = getattr(templates().get_template("pages.md").module, macro)(*values)
    return re.sub(r"\n{3,}", "\n\n", page.strip())


@cache
def templates() -> jinja2.Environment:
    """The templates of the bank's pages and of the booklet, with the functions that they call."""
    loader, escape = (
        jinja2.PackageLoader("kdlab.apps.interview"),
        jinja2.select_autoescape(["html"]),
    )
    environment = jinja2.Environment(loader=loader, autoescape=escape, trim_blocks=True)
    for function in (entries, languages, group_name, interval, items, translate, text, title_of):
        environment.globals[function.__name__] = function
    return environment


def unwrap(node: object) -> object:
    """Undo line breaks within Chinese sentences, which HTML would show as blanks."""
    if isinstance(node, dict):
        return {key: unwrap(value) for key, value in node.items()}
    if isinstance(node, list):
        return [unwrap(value) for value in node]
    if not isinstance(node, str):
        return node
    han, stop = "\u3001-\u3020\u4e00-\u9fff\u201c\u201d", "\uff00-\uffef\u3001\u3002"
    within = f"(?<=[{han}{stop}])\n *(?=[{han}{stop}])"
    return re.sub(f"{within}|(?<=[{stop}])\n(?!\\d+\\. )(?=[$\\w])", "", node)
