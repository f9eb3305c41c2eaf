"""For Sphinx: what the book needs beyond settings: ids, formulas, search in both languages."""

import json
import re
from collections.abc import Callable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform

HAN = r"[\u3400-\u9fff]"  # pairs of neighbours, a lonely one, other words: in Python and the page
PIECES = rf"(?=({HAN}{HAN}))|(?<!{HAN})({HAN})(?!{HAN})|([A-Za-z0-9_]+)"


class Anchors(SphinxTransform):
    """Blocks and code cells get the ids of their notebook's cells: alike in both languages."""

    default_priority = 700

    def apply(self) -> None:
        for comment in [*self.document.findall(nodes.comment)]:
            if comment.astext().startswith("kd:"):
                name, *classes = json.loads(comment.astext()[3:])
                block = comment.next_node(nodes.Element, descend=False, ascend=True)
                block["ids"], block["classes"] = [name], [*block["classes"], *classes]
                comment.parent.remove(comment)
        for cell in self.document.findall(nodes.container):
            if name := cell.get("cell_metadata", {}).get("kd"):
                cell["ids"] = [name]


class Search(SearchEnglish):
    """English words by their stems; Chinese as pairs of neighbouring characters."""

    lang = "kd"  # and its name stays "English", by which the stemmer in the page is called
    js_splitter_code = (
        f"var splitQuery = (query) => [...query.matchAll(/{PIECES}/g)]"
        ".map(([, ...pieces]) => pieces.find(Boolean));"
    )

    def split(self, input: str) -> list[str]:
        return ["".join(pieces) for pieces in re.findall(PIECES, input)]


def formula(form: str) -> Callable:
    """A visitor that leaves a formula to KaTeX, in the page."""

    def visit(self, node: nodes.Element) -> None:
        self.body.append(form.format(self.encode(node.astext().strip())))
        raise nodes.SkipNode

    return visit


def unlabel(app: Sphinx, page: str, template: str, context: dict, tree: nodes.Node | None) -> None:
    """Take away the label by which myst-nb names the switch of hidden code once more."""
    if body := context.get("body"):
        context["body"] = re.sub(r'<summary aria-label="[^"]*">', "<summary>", body)


def setup(app: Sphinx) -> dict:
    app.add_transform(Anchors)
    app.add_search_language(Search)
    inline, block = r'<span class="math">\({}\)</span>', r'<div class="math">\[{}\]</div>'
    app.add_html_math_renderer("kd", (formula(inline), None), (formula(block), None))
    app.connect("html-page-context", unlabel)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
