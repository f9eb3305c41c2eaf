"""Text as a notebook shows it."""

import re

MIME = "application/vnd.kdlab.panel+json"  # of what a panel needs to live on without a kernel


class Page:
    """Markdown that shows itself as HTML, or as a line of text where there is none."""

    def __init__(self, title: str, markdown: str) -> None:
        self.title, self.markdown = title, markdown

    def __repr__(self) -> str:
        return self.title

    def __str__(self) -> str:
        return re.sub(r"</?(details|summary|b)>\n?", "", self.markdown)

    def _repr_html_(self) -> str:
        import mistune  # its plugin keeps formulas out of Markdown's hands

        return mistune.create_markdown(escape=False, plugins=["math", "table"])(self.markdown)
