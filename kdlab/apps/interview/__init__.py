"""For the candidate: the bank as pages, a trainer in JupyterLab and in a terminal, exports.

What a chapter shows: its first cards, `corner(1)`; the seed's own question with what it says
imprecisely, `seed_question(1)`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdlab.apps.markdown import Page


def corner(chapter: int | str, language: str | None = None) -> "Page":
    """See `bank.corner`, which is imported when a chapter asks: commands start without it."""
    from kdlab.apps.interview import bank

    return bank.corner(chapter, language)


def seed_question(number: int, language: str | None = None) -> "Page":
    """See `bank.seed_question`."""
    from kdlab.apps.interview import bank

    return bank.seed_question(number, language)
