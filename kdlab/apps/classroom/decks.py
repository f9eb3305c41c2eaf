"""For lecturers: the lecture of a chapter as one HTML file, from its plan and committed outputs.

reveal.js and KaTeX travel within the file: it opens without a network, panels alive.
"""

import base64
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path

import jinja2
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from kdlab.apps.chapters import diagrams
from kdlab.apps.chapters.panels.base import standalone
from kdlab.apps.classroom.lectures import Cells, parts, read_lecture, source, span
from kdlab.apps.i18n import languages
from kdlab.apps.markdown import MIME, as_html
from kdlab.files import write_text

HERE = Path(__file__).parent
DRAWN = re.compile(r'diagrams\.draw\("([\w-]+)"\)')
RECORD = re.compile(r"^`python -m kdlab .*\n?", re.MULTILINE)  # where a record is from
ROW, FIELD = (re.compile(rf"<{tag}\b.*?</{tag}>", re.DOTALL) for tag in ("tr", "t[hd]"))
TAG, BLANK = re.compile("<.*?>"), re.compile(r"<th[^>]*>(&nbsp;)?</th>")  # no header without words


def make_slide(slide: dict, cells: Cells, language: str) -> dict:
    """What the template needs of a slide, as HTML: title, text, ask, notes, shown; and minutes."""
    texts = {key: slide.get(key, {}).get(language, "") for key in ("title", "text", "ask", "notes")}
    html = {key: as_html(text).strip() for key, text in texts.items()}
    shown = []
    for name, how in parts(slide):
        if how["show"] != "output":
            shown.append(highlight(source(cells[name], how), PythonLexer(), HtmlFormatter()))
        if how["show"] != "code":
            shown += outputs(cells[name], how, language)
    return html | {"title": html["title"][3:-4], "shown": shown, "minutes": slide["minutes"]}


def outputs(cell: NotebookNode, how: Mapping, language: str) -> Iterator[str]:
    """A cell's outputs as HTML: prints and tables cut as `how` says, figures, live panels."""
    for is_print, group in groupby(cell.outputs, lambda output: output.output_type == "stream"):
        if is_print:
            text = "".join(output.text for output in group)
            for line in RECORD.findall(text):
                yield f'<div class="record">{as_html(line)}</div>'
            text = "\n".join(RECORD.sub("", text).strip("\n").splitlines()[span(how["rows"])])
            yield f'<pre class="output">{escape(text)}</pre>' if text else ""
        else:
            yield from (displayed(output, cell.source, how, language) for output in group)


def displayed(output: NotebookNode, code: str, how: Mapping, language: str) -> str:
    """What `code` has displayed, as HTML."""
    data = output.data
    if MIME in data:
        return live_panel(data[MIME], language)
    if "image/png" in data:
        alt = escape(output.metadata.get("image/png", {}).get("alt", ""))
        return f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}">'
    if diagram := DRAWN.search(code):
        return diagrams.draw(diagram[1], language)._repr_html_()
    if "text/html" in data:
        return html_table(data["text/html"], span(how["rows"]), how["columns"])
    if "text/markdown" in data:
        return as_html(data["text/markdown"])
    return f'<pre class="output">{escape(data["text/plain"])}</pre>'  # a Series, say


def live_panel(bundle: Mapping, language: str, folder: str = "") -> str:
    """A panel of a notebook, from its `MIME` data, as HTML that speaks this language; what it
    shares with other pages lies in `folder`, or else within."""
    return standalone(bundle | {"values": bundle["values"] | {"language": language}}, folder)


def html_table(html: str, rows: slice = slice(None), columns: Collection[str] = ()) -> str:
    """A data frame, with or without a Styler, as a plain table of these `rows` and `columns`, or of
    all; its index's name and NaN are left out."""
    html = re.sub(r' id="[^"]*"', "", html.replace(">NaN<", ">–<"))
    head, body = BLANK.sub("<td></td>", html).split("</thead>")
    table = [FIELD.findall(row) for row in ROW.findall(head)[:1] + ROW.findall(body)[rows]]
    names = [TAG.sub("", field) for field in table[0]]
    kept = [n for n, name in enumerate(names) if not n or not columns or name in columns]
    places = [n - len(names) for n in kept]  # from the right: a merged index leaves fields out
    lines = ("".join(["<tr>", *(r[n] for n in places if -n <= len(r)), "</tr>"]) for r in table)
    return f"<table><thead>{next(lines)}</thead><tbody>{''.join(lines)}</tbody></table>"


def write_decks(chapter: Path, folder: Path, language: str = "en") -> list[Path]:
    """Write the deck of a chapter into `folder`, in "en", "zh" or "both"."""
    paths = {code: folder / f"{chapter.stem}.{code}.html" for code in languages(language)}
    return [write_text(path, make_deck(chapter, code)) for code, path in paths.items()]


def make_deck(chapter: Path, language: str) -> str:
    """The lecture of a chapter as a page that needs nothing else; code and outputs are those of its
    edition in this language."""
    edition = chapter.parent / "zh" / chapter.name
    slides, cells = read_lecture(edition if language == "zh" and edition.is_file() else chapter)
    template = jinja2.Template((HERE / "deck.html.jinja").read_text("utf-8"), trim_blocks=True)
    return template.render(
        slides=[make_slide(slide, cells, language) for slide in slides],
        language=language,
        css=style(),
        scripts=map(vendored, ("katex.min.js", "reveal.js", "notes.js")),
        notices=notices(),
    )


def notices() -> str:
    """The licences of all that travels within a deck, as they lie in the vendor folder."""
    folder = HERE / "vendor"
    files = [*sorted(folder.glob("LICENSE.*.txt")), folder / "fonts" / "OFL.txt"]
    return "\n\n".join(f"{path.name}\n\n{path.read_text('utf-8').strip()}" for path in files)


def vendored(name: str) -> str:
    """A script or a style sheet of those that came with their licences."""
    return (HERE / "vendor" / name).read_text("utf-8").replace("</script", r"<\/script")


@cache
def style() -> str:
    """All style sheets, KaTeX's fonts within; a face that is not vendored is left out."""

    def face(match: re.Match) -> str:
        font = HERE / "vendor" / match[2]
        data = base64.b64encode(font.read_bytes()).decode() if font.exists() else ""
        return data and f'{match[1]}url(data:font/woff2;base64,{data}) format("woff2")}}'

    katex = re.sub(r"(@font-face{[^}]*?)url\(([^)]+)\)[^}]*}", face, vendored("katex.min.css"))
    code = HtmlFormatter().get_style_defs(".highlight")
    own = (HERE / "deck.css").read_text("utf-8")
    return "\n".join([vendored("reset.css"), vendored("reveal.css"), katex, code, own])
