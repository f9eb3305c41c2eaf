"""Interview questions: the bank as pages, a trainer in JupyterLab and in a terminal, exports.

What a chapter shows: `corner(1)`, its first cards; `seed_question(1)`, the seed's own question
with what it says imprecisely; `card_page("dark-knowledge")`, one item; each in English ("en"), in
Chinese ("zh") or in both.
"""

from kdlab.interview.bank import card_page, corner, seed_question

__all__ = ["card_page", "corner", "seed_question"]
