"""The figure of the interview trainer: what a learner knows."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from kdlab.apps.i18n import languages
from kdlab.apps.style import COLOURS, figure, speaks, word


def progress_bars(table: pd.DataFrame, names: Sequence[str], language: str | None = None) -> Figure:
    """What a learner has seen and will know tomorrow, a bar a row of `progress.readiness_table`.

    Without a font for Chinese, the words are English and the bars have the table's keys.
    """
    if speaks(language) != languages(language)[0]:
        names = [str(key) for key in table.index]
    known = (table["ready"] * table["items"]).sum() / table["items"].sum()
    title = word("progress", language, known=known)
    drawing = figure(11, 1.6 + 0.45 * len(table), title, language)
    axis, places = drawing.subplots(), range(len(table))
    seen, ready = 100 * table["seen"] / table["items"], 100 * table["ready"]
    axis.barh(places, seen, color="0.85", label=word("seen", language))
    axis.barh(places, ready, 0.5, color=COLOURS["distilled"], label=word("known", language))
    axis.set_yticks(places, names)
    axis.set(xlim=(0, 100), xlabel=word("share", language))
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    drawing.legend(loc="outside upper right", ncols=2, frameon=False)
    return drawing
