"""The interview bank (`data/interview/<chapter>.yaml`): its items, and pages with hidden answers.

Pages are Markdown with <details>, so they read without a kernel. The form of the bank is
`data/interview/schema.json`; tests/test_interview.py checks it and the anchors.
"""

import re
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING

from kdlab.apps.i18n import languages, text, translate
from kdlab.apps.markdown import Page
from kdlab.files import EMBEDDED

if TYPE_CHECKING:
    import jinja2

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
    import yaml

    for name in chapters():
        if chapter in (name, int(name[:2])):
            return unwrap(yaml.safe_load((BANK / f"{name}.yaml").read_text(encoding="utf-8")))
    raise ValueError(f"no interview questions for chapter {chapter!r}; there are {chapters()}")


def chapter_titles() -> dict[int, dict[str, str]]:
    """Number and title (by language) of each chapter that has questions."""
    return {bank["chapter"]: bank["title"] for bank in map(chapter_bank, chapters())}


def items() -> dict[str, Item]:
    """Every item of the bank by its id."""
    return {
        item["id"]: {**item, "chapter": bank["chapter"], "place": place}
        for bank in map(chapter_bank, chapters())
        for place, item in enumerate(bank["items"])
    }


def find_items(
    chapters: Numbers = (), levels: Numbers = (), topics: Names = (), words: str = ""
) -> list[Item]:
    """Items of these chapters, levels and tags (empty: of any), basic ones first.

    Each of the `words` must stand in the item, in either language; a question that has them all
    comes first. Otherwise the chapters take turns within a level. ValueError, naming what there
    is, when nothing is left.
    """
    wanted = {"chapter": chapters, "level": levels, "tags": topics}
    wanted = {field: set(some) for field, some in wanted.items() if some}
    pool = [i for i in items().values() if all(some & _has(i, f) for f, some in wanted.items())]
    sought = words.casefold().split()
    pool = [item for item in pool if _have(item, sought)]
    if not pool and sought:
        raise ValueError(f"no question of the bank has {' and '.join(map(repr, sought))}")
    if not pool:
        there = {f: sorted(set().union(*(_has(i, f) for i in items().values()))) for f in wanted}
        told = "; ".join(f"{field} {[*wanted[field]]} of {there[field]}" for field in wanted)
        raise ValueError(f"no question of the bank fits {told}")

    def order(item: Item) -> tuple:
        asked = _have(item["question"], sought)
        return not asked, item["level"], item["place"], item["chapter"]

    return sorted(pool, key=order)


def _have(node: object, words: Collection[str]) -> bool:
    """Whether each word, in small letters, stands somewhere in an item or one of its texts."""
    told = str(node).casefold()
    return all(word in told for word in words)


def _has(item: Item, field: str) -> set:
    return set(item[field]) if field == "tags" else {item[field]}


def corner(chapter: int | str, language: str | None = None) -> Page:
    """The chapter's first twelve cards, answers hidden until asked for."""
    bank = chapter_bank(chapter)
    title = f"{translate('interview.corner', language)}: {text(bank['title'], language)}"
    shown = bank["items"][:CORNER]
    return Page(f"{title} ({len(shown)})", laid_out("corner", title, shown, language))


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
    asked = {
        code: item["question"][code].strip().partition("\n\n")[0] for code in languages(language)
    }
    return text({code: words.replace("\n", " ") for code, words in asked.items()}, language)


def group_name(by: str, group: int | str, language: str | None = None) -> str:
    """One chapter, level, kind or topic in words."""
    if by == "chapter":
        return f"{group:02} {text(chapter_titles()[group], language)}"
    if by == "level":
        return translate("trainer.level", language, n=group)
    return translate(f"interview.{group}", language) if by == "kind" else str(group)


def laid_out(macro: str, *values: object) -> str:
    """What a macro of `templates/pages.md` makes of these values, without spare blank lines."""
    made = getattr(templates().get_template("pages.md").module, macro)(*values)
    return re.sub(r"\n{3,}", "\n\n", made.strip())


@cache
def templates() -> "jinja2.Environment":
    """The templates of the bank's pages and of the booklet, with the functions that they call."""
    import jinja2

    functions = (languages, group_name, items, translate, text, title_of)
    escaped = jinja2.select_autoescape(["html"])
    loader = jinja2.PackageLoader("kdlab.apps.interview")
    made = jinja2.Environment(loader=loader, autoescape=escaped, trim_blocks=True)
    made.globals |= {function.__name__: function for function in functions}
    return made


def unwrap(node: object) -> object:
    """Undo line breaks within Chinese sentences, which HTML would show as blanks."""
    if isinstance(node, dict):
        return {key: unwrap(value) for key, value in node.items()}
    if not isinstance(node, str):
        return [*map(unwrap, node)] if isinstance(node, list) else node
    han, stop = "\u3001-\u3020\u4e00-\u9fff\u201c\u201d", "\uff00-\uffef\u3001\u3002"
    within = f"(?<=[{han}{stop}])\n *(?=[{han}{stop}])"
    return re.sub(f"{within}|(?<=[{stop}])\n(?!\\d+\\. )(?=[$\\w])", "", node)
