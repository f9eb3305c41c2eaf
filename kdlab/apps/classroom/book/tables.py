"""For the book: the records as tables, which its script sorts; HTML, or rows for a template."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from statistics import fmean, stdev

import pandas as pd

from kdlab.apps.chapters import cheat_sheet, decision_guide
from kdlab.apps.i18n import translate
from kdlab.lab import results, stats
from kdlab.lab.stats import Comparison

METRICS = "accuracy", "robust", "tar", "agreement", "ece", "seconds", "kB", "ms"  # in this order
SETTING = "lr", "temperature", "weight", "soft_weight", "hard_weight", "epochs"


def sortable(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A sortable table; its cells are HTML."""
    frame = pd.DataFrame(rows, columns=head).fillna("")
    html = frame.to_html(index=False, escape=False, border=0, justify="left", classes="sortable")
    return f'<div class="book-table">{html}</div>'


@cache
def board_first() -> dict[str, list[Comparison]]:
    """`cheat_sheet.differences`, the fair board first."""
    differences = cheat_sheet.differences()
    return {"leaderboard": differences["leaderboard"]} | differences


@cache
def facts(language: str) -> pd.DataFrame:
    """What each record is and how it was made, a row each, as HTML."""
    rows = cheat_sheet.catalogue().map(lambda value: escape(str(value)))
    rows["command"] = "<code>" + rows["command"] + "</code>"
    rows = rows[["what", "command", "machine", "seeds", "judged on", "date", "commit"]]
    return rows.rename(columns=lambda key: translate(f"book.{key}", language))


def records_table(language: str) -> str:
    """All records, a row each."""
    table = facts(language)
    rows = [[f'<a href="{name}.html">{name}</a>', *row] for name, *row in table.itertuples()]
    return sortable([translate("book.record", language), *table], rows)


def mean(runs: Sequence[Mapping], arm: str, metric: str) -> str:
    """ "62.20 ± 0.76" over the seeds, or the one value, or nothing."""
    values = stats.values(runs, arm, metric)
    if not values:
        return ""
    digits = 2 if values[0] >= 1 else 4
    spread = f"\u00a0±\u00a0{stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def compared(comparison: Comparison | None, language: str) -> list[str]:
    """Control, difference with its interval, verdict; blank for a control itself."""
    if comparison is None:
        return ["", "", ""]
    verdict = translate(f"verdict.{comparison.verdict}", language)
    return [escape(comparison.over), decision_guide.number(comparison, language), verdict]


def record_page(name: str, language: str) -> dict:
    """What the page of a record shows: a row an arm, a row a run, and how it was made."""
    record = results.read(name)
    runs, against = results.runs_of(record), {c.arm: c for c in board_first().get(name, ())}
    metrics = dict.fromkeys([results.metric_of(record), *(m for m in METRICS if m in runs[0])])
    head = [translate("book.arm", language), *metrics]
    if against:
        head += [translate(f"book.{key}", language) for key in ("control", "difference", "verdict")]
    rows = []
    for arm in dict.fromkeys(run["arm"] for run in runs):
        row = [escape(arm), *(mean(runs, arm, metric) for metric in metrics)]
        rows.append(row + (compared(against.get(arm), language) if against else []))
    keys = [key for key, value in runs[0].items() if not isinstance(value, dict)]
    return {
        "name": record["name"],
        "title": record["title"],
        "facts": facts(language).loc[name].iloc[1:].to_dict(),
        "table": sortable(head, rows),
        "runs": sortable(keys, [[escape(str(run.get(key, ""))) for key in keys] for run in runs]),
        "chosen": results.judged_on(record) == {"validation"},
    }


def method_rows(name: str, language: str) -> Iterator[list]:
    """The arms of a method in all records that are judged on test images, the fair board first."""
    for title, comparisons in board_first().items():
        record = results.read(title)
        for one in comparisons:
            setting = record.get("settings", {}).get(one.arm, {})
            if name in (setting.get("method"), one.arm):
                link = f'<a href="../records/{title}.html">{title}</a>'
                row = [link, escape(one.arm), one.metric, one.gap.pairs]
                row += [mean(record["runs"], one.arm, one.metric), *compared(one, language)]
                settings = (f"{key} {setting[key]:g}" for key in SETTING if setting.get(key))
                yield [*row, ", ".join(settings)]
