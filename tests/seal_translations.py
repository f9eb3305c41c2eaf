"""Seal the translations: remember, for each text, that its two languages say the same.

python tests/seal_translations.py [--same NAME ...]
writes data/interview/translations.json: for every bilingual text of the bank
("dark-knowledge/short") and every Markdown cell of a chapter with a Chinese edition
("01_principle#title") a short hash of its English and of its Chinese at the time both were last
read side by side. tests/test_interview.py fails where one language has changed since and the other
has not. This script seals new and removed texts and those of which both languages changed; for a
change of one language alone it wants `--same dark-knowledge/short` (or `--same dark-knowledge`,
all texts of the item), which says: read again, the other language still says the same.
"""

import argparse
import re
from collections.abc import Iterator

import nbformat

from kdlab.apps.classroom import translations
from kdlab.apps.classroom.translations import changed_alone, seal, sealed
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.interview import bank
from kdlab.files import NOTEBOOKS, write_json

Seals = dict[str, str]  # {"dark-knowledge/short": "<hash of en> <hash of zh>"}


def texts(node, name: str) -> Iterator[tuple[str, dict]]:
    """Every bilingual text below a node, with its name: item id or chapter, then the fields."""
    if isinstance(node, dict) and any(isinstance(node.get(code), str) for code in LANGUAGES):
        yield name, node
    elif isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from texts(child, f"{name}/{key}")


def cells(chapter: str) -> Iterator[tuple[str, dict]]:
    """Every Markdown cell that both editions of a chapter have, by chapter and cell id."""
    english, chinese = (
        {c.id: c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown"}
        for path in (NOTEBOOKS / chapter, NOTEBOOKS / "zh" / chapter)
    )
    for name in english.keys() & chinese.keys():
        yield f"{chapter[:-6]}#{name}", {"en": english[name], "zh": chinese[name]}


def current() -> Seals:
    """The seals that the bank's texts would have now."""
    known = []
    for chapter in bank.chapters():
        whole = bank.chapter_bank(chapter)
        known += texts({k: whole[k] for k in ("title", "seed") if k in whole}, chapter)
        known += (told for item in whole["items"] for told in texts(item, item["id"]))
    for path in (NOTEBOOKS / "zh").glob("*.ipynb"):  # a cell that is alike is not rendered yet
        known += (told for told in cells(path.name) if told[1]["en"] != told[1]["zh"])
    return {name: seal(text) for name, text in sorted(known, key=lambda told: told[0])}


def one_sided(old: Seals, new: Seals) -> dict[str, str]:
    """Texts of which one language changed alone: {name: "en" or "zh"}."""
    both = sorted(old.keys() & new.keys())
    return {name: code for name in both if (code := changed_alone(old[name], new[name]))}


def stale(old: Seals, new: Seals, same: tuple[str, ...] = ()) -> list[str]:
    """A sentence for each one-sided change that `same` (names or items) does not vouch for."""
    return [
        f"{name}: {side} changed and the other language did not; put both right, or, if it still "
        f"says the same: python tests/seal_translations.py --same {name}"
        for name, side in one_sided(old, new).items()
        if not {name, re.split("[/#]", name)[0]} & set(same)
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--same", nargs="+", default=(), metavar="NAME")
    same = tuple(parser.parse_args(arguments).same)
    old, new = sealed(), current()
    pending = one_sided(old, new)
    known = {*pending, *(re.split("[/#]", name)[0] for name in pending)}
    if unknown := set(same) - known:
        raise SystemExit(f"no text of one changed language is called {', '.join(sorted(unknown))}")
    if trouble := stale(old, new, same):
        raise SystemExit("nothing sealed\n" + "\n".join(trouble))
    changed = sum(old.get(name) != seal for name, seal in new.items())
    write_json(translations.SEALS, new)
    print(f"{len(new)} texts: {changed} sealed anew, {len(old.keys() - new.keys())} gone")


if __name__ == "__main__":
    main()
