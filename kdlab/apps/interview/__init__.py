"""For the candidate: the bank as pages, a trainer in JupyterLab and in a terminal, exports.

What a chapter shows: its first cards, `corner(1)`; the seed's own question with what it says
imprecisely, `seed_question(1)`.
"""

from kdlab.apps.interview.bank import corner, seed_question
