"""What a learner knows: shares of the bank seen, answered right, and known tomorrow."""

from datetime import datetime
from typing import TYPE_CHECKING

from kdlab.interview import progress
from kdlab.interview.bank import group_name, items, laid_out
from kdlab.show.page import Page
from kdlab.words import say

if TYPE_CHECKING:
    import pandas as pd

GROUPINGS = ("chapter", "level", "kind", "topic")
COUNTED = ["items", "seen", "due", "answers", "right", "ready"]
KNOWN = 0.9  # what FSRS schedules for: more needs no repetition before tomorrow


def readiness_table(by: str = "chapter", now: datetime | None = None) -> "pd.DataFrame":
    """Per chapter, level, kind or topic: items, seen, due, answers, right and ready.

    `right` is the share of answers above "again" (NaN without one); `ready` the mean probability,
    by FSRS, to know an item a day from now, an item never seen counting 0.
    """
    if by not in GROUPINGS:
        raise ValueError(f"statistics go by {', '.join(GROUPINGS)}, not by {by!r}")
    return _shares(_item_table(now), by)


def readiness_page(
    by: str = "chapter", language: str = "both", now: datetime | None = None
) -> Page:
    """The table of `readiness_table` with names in the language, a sum in the last line."""
    table, whole = readiness_table(by, now), _shares(_item_table(now).assign(all=""), "all")
    rows = [(group_name(by, group, language), dict(row)) for group, row in table.iterrows()]
    rows.append((f"**{say('trainer.all', language)}**", dict(whole.iloc[0])))
    return Page(say("trainer.known", language), laid_out("readiness", rows, language))


def _shares(table: "pd.DataFrame", by: str) -> "pd.DataFrame":
    sums = (table.explode(by) if by == "topic" else table).groupby(by)[COUNTED].sum()
    sums["right"] /= sums["answers"].where(sums["answers"] > 0)
    sums["ready"] /= sums["items"]
    return sums


def weak_topics(now: datetime | None = None, most: int = 5) -> list[str]:
    """Tags whose seen items will be known worst tomorrow: below `KNOWN`, the worst first."""
    table = _item_table(now)
    means = table[table["seen"] > 0].explode("topic").groupby("topic")["ready"].mean()
    return list(means[means < KNOWN].sort_values(kind="stable").index[:most])


def _item_table(now: datetime | None) -> "pd.DataFrame":
    """A row for each item: what it is, then the columns, `right` and `ready` as sums."""
    import pandas as pd

    given, now, rows = progress.answer_log(), progress.utc(now), []
    cards = progress.cards(given)
    for item in items().values():
        card = cards.get(item["id"])
        grades = [answer.grade for answer in given if answer.item == item["id"]]
        right = sum(grade > progress.AGAIN for grade in grades)
        counts = (1, int(card is not None), int(bool(card and card.due <= now)), len(grades), right)
        what = (item["chapter"], item["level"], item["kind"], item["tags"])
        rows.append((*what, *counts, progress.recall(card, now, days=1)))
    return pd.DataFrame(rows, columns=[*GROUPINGS, *COUNTED])
