"""What a kernel of the Chinese edition shows: names in tables and the lab's lines in Chinese.

Keys, columns and records keep their names; a table is renamed when it is shown.
"""

from typing import TYPE_CHECKING

from IPython import get_ipython

from kdlab.apps.i18n import display_name, edition, wordbook

if TYPE_CHECKING:
    import pandas as pd


def speak() -> None:
    """In a kernel whose edition is Chinese, show tables and say the lab's lines in Chinese."""
    shell = get_ipython()
    if not shell or edition() != "zh":
        return
    import pandas as pd
    from pandas.io.formats.style import Styler

    from kdlab.lab import results

    results.LINES.update(wordbook()["line"])
    html = shell.display_formatter.formatters["text/html"]  # plain text stays that of the program
    html.for_type(pd.DataFrame, lambda table: renamed(table)._repr_html_())
    html.for_type(Styler, styled)


def shown(name: object) -> object:
    """A name in Chinese; what is no word stays as it is."""
    return display_name(name, "zh") if isinstance(name, str) else name


def renamed(table: "pd.DataFrame") -> "pd.DataFrame":
    """A copy with Chinese names of rows and columns, and of cells that are such a name alone."""
    known, named = wordbook()["name"], table.rename(index=shown, columns=shown)
    for n, kind in enumerate(table.dtypes):
        if kind in ("object", "str"):
            column = table.iloc[:, n]
            words = [known.get(cell, cell) if isinstance(cell, str) else cell for cell in column]
            named.isetitem(n, type(column)(words, index=named.index, dtype=kind))
    axes = ([shown(name) for name in axis.names] for axis in (named.index, named.columns))
    return named.rename_axis(index=next(axes)).rename_axis(columns=next(axes))


def styled(table: "pd.io.formats.style.Styler") -> str:
    """The HTML of a styled table with Chinese names of rows and columns."""
    for axis in (0, 1):
        table.format_index(shown, axis=axis)
    return table._repr_html_()
