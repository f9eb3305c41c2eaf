"""For every application: Markdown as HTML, and a page of it as a notebook shows it."""

import re
from collections.abc import Callable

import mistune

MIME = "application/vnd.kdlab.panel+json"  # of what a panel needs to live on without a kernel


def as_html(markdown: str, formula: Callable[[str, bool], str] | None = None) -> str:
    """Markdown as HTML; `formula(latex, block)` makes that of a formula, which else stays as is."""
    render = mistune.create_markdown(escape=False, plugins=["math", "table"])
    if formula:
        render.renderer.register("inline_math", lambda _, latex: formula(latex, False))
        render.renderer.register("block_math", lambda _, latex: formula(latex, True) + "\n")
    return render(markdown)


class Page:
    """Markdown that shows itself as HTML, or as a line of text where there is none."""

    def __init__(self, title: str, markdown: str) -> None:
        self.title, self.markdown = title, markdown

    def __repr__(self) -> str:
        return self.title

    def __str__(self) -> str:
        return re.sub(r"</?(details|summary|b)>\n?", "", self.markdown)

    def _repr_html_(self) -> str:
        return as_html(self.markdown)
