"""The interview bank out of the house: Anki decks, a printable booklet, CSV and JSON.

`export("anki", "zh")` and its like write into build/ (or another folder) and give the paths. Anki
keys a note on its guid, which depends on the item's id and the language alone: importing a newer
deck updates the notes and keeps what was learnt. The booklet is one HTML page with MathML, so its
formulas need no script and no network; headless Chromium, where there is one, prints it as PDF.
"""

import csv
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from kdlab import interview
from kdlab.interview import trainer

BUILD = interview.ROOT / "build"
LANGUAGES = (*interview.LANGUAGES, "both")
TEXTS = ("question", "short", "full")
BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge",
    "microsoft-edge", "chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)  # fmt: skip
WORDS = {  # of the booklet and the decks, (English, 中文)
    "title": ("Knowledge distillation: interview questions", "知识蒸馏面试题"),
    "questions": ("Questions", "题目"),
    "answers": ("Answers", "答案"),
}


def export(form: str, language: str = "both", folder: Path | None = None) -> list[Path]:
    """Write the bank as "anki", "booklet", "csv" or "json"; the files written.

    ValueError for another form or language, OSError where the folder cannot be written.
    """
    forms = {"anki": anki, "booklet": booklet, "csv": table, "json": data}
    if form not in forms:
        raise ValueError(f"no export {form!r}; there are {', '.join(forms)}")
    if language not in LANGUAGES:
        raise ValueError(f"the language is one of {', '.join(LANGUAGES)}, got {language!r}")
    folder = BUILD if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    return forms[form](language, folder)


def _codes(language: str) -> tuple[str, ...]:
    return interview.LANGUAGES if language == "both" else (language,)


def _page_language(language: str) -> str | None:
    """As `kdlab.interview` names it: None for both."""
    return None if language == "both" else language


def _word(name: str, language: str) -> str:
    words = dict(zip(interview.LANGUAGES, WORDS[name], strict=True))
    return " / ".join(words[code] for code in _codes(language))


def _path(folder: Path, kind: str, language: str, suffix: str) -> Path:
    return folder / f"kdlab-interview-{kind}{language}.{suffix}"


def _write(path: Path, content: bytes) -> Path:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return path


# ---------------------------------------------------------------- JSON and CSV


def data(language: str, folder: Path) -> list[Path]:
    """Every item as the bank has it; texts as {"en", "zh"}, or in one language as text."""

    def chosen(node):
        if isinstance(node, dict) and set(node) == set(interview.LANGUAGES):
            return node if language == "both" else node[language]
        if isinstance(node, dict):
            return {key: chosen(value) for key, value in node.items()}
        return [chosen(value) for value in node] if isinstance(node, list) else node

    items = [chosen(item) for item in trainer.catalogue().values()]
    text = json.dumps({"language": language, "items": items}, ensure_ascii=False, indent=1)
    return [_write(_path(folder, "", language, "json"), (text + "\n").encode())]


def table(language: str, folder: Path) -> list[Path]:
    """One row for each item, a column for each text and language; Excel reads the Chinese too."""
    codes, rows = _codes(language), []
    for item in trainer.catalogue().values():
        row = {key: item[key] for key in ("id", "chapter", "level", "kind", "minutes")}
        row["tags"] = " ".join(item["tags"])
        for code in codes:
            row |= {f"{name}_{code}": item[name][code].strip() for name in TEXTS}
            wrong = (f"{w['answer'][code]} | {w['why'][code]}" for w in item["wrong_answers"])
            row[f"wrong_answers_{code}"] = "\n".join(wrong)
        row["sources"] = "; ".join(item["sources"])
        row["shown_in"] = " ".join(f"{p['notebook']}#{p['anchor']}" for p in item["shown_in"])
        rows.append(row)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return [_write(_path(folder, "", language, "csv"), out.getvalue().encode("utf-8-sig"))]


# ---------------------------------------------------------------- Anki

FIELDS = ("Id", "Question", "Short", "Answer")
FRONT = '<div class="question">{{Question}}</div>'
BACK = '{{FrontSide}}<hr id="answer"><div class="short">{{Short}}</div>{{Answer}}'
STYLE = """
.card { font: 18px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
        text-align: left; max-width: 44em; margin: 0 auto; padding: 0.5em; }
.short { font-weight: 600; }
pre { overflow-x: auto; padding: 0.5em; background: rgba(127, 127, 127, 0.15); font-size: 85%; }
code { font-family: ui-monospace, Consolas, monospace; }
"""


def anki(language: str, folder: Path) -> list[Path]:
    """A deck with a sub-deck for each chapter; "both" has the two languages on one card."""
    import genanki

    model = genanki.Model(
        _number(f"model {language}"),
        f"kdlab interview {language}",
        fields=[{"name": name} for name in FIELDS],
        templates=[{"name": "Card", "qfmt": FRONT, "afmt": BACK}],
        css=STYLE,
        sort_field_index=0,
    )
    decks, where = {}, _page_language(language)
    for item in trainer.catalogue().values():
        number = item["chapter"]
        if number not in decks:
            titles = trainer.chapter_titles()[number]
            title = " / ".join(titles[code] for code in _codes(language)).replace("::", ":")
            name = f"kdlab {language}::{number:02} {title}"
            decks[number] = genanki.Deck(_number(f"deck {language} {number}"), name)
        short = "\n\n".join(item["short"][code].strip() for code in _codes(language))
        answers = interview.answer(item["id"], where).markdown
        for code in _codes(language):  # it stands above, in bold
            answers = answers.replace(item["short"][code].strip() + "\n\n", "", 1)
        texts = (interview.question(item["id"], where).markdown, short, answers)
        note = genanki.Note(
            model,
            [item["id"], *map(anki_html, texts)],
            guid=genanki.guid_for("kdlab", language, item["id"]),
            tags=[f"chapter-{number:02}", f"level-{item['level']}", item["kind"], *item["tags"]],
        )
        decks[number].add_note(note)
    path = _path(folder, "", language, "apkg")
    temporary = path.with_name(path.name + ".tmp")
    genanki.Package(list(decks.values())).write_to_file(temporary)
    os.replace(temporary, path)
    return [path]


def anki_html(markdown: str) -> str:
    r"""Markdown as the HTML of an Anki field: formulas between \( \) and \[ \]."""
    found = interview.Page("", markdown)._repr_html_()
    found = re.sub(r'(?s)<div class="math">\$\$(.*?)\$\$</div>', r"\\[\1\\]", found)
    return re.sub(r'(?s)<span class="math">(.*?)</span>', r"\1", found)


def _number(name: str) -> int:
    """A lasting id for a deck or a note type, as Anki wants it: positive, below 2^31."""
    return int.from_bytes(hashlib.sha256(f"kdlab {name}".encode()).digest()[:4], "big") >> 1 or 1


# ---------------------------------------------------------------- the booklet

PRINT = """
@page { size: A4; margin: 18mm 16mm 18mm 16mm;
        @bottom-center { content: counter(page); font: 9pt sans-serif; } }
:root { color-scheme: light; }
body { font: 10.5pt/1.5 "Noto Sans", "Helvetica Neue", Arial, "Noto Sans CJK SC",
       "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Micro Hei", sans-serif;
       max-width: 46em;
       margin: 2em auto; padding: 0 1em; color: #111; background: #fff; }
h1 { font-size: 22pt; line-height: 1.25; margin: 0 0 0.5em; }
h2 { font-size: 15pt; border-bottom: 1.5pt solid #0072B2; margin: 2em 0 0.8em; }
h3 { font-size: 12.5pt; margin: 1.6em 0 0.6em; }
h2, h3 { break-after: avoid; }
#answers { break-before: page; }
section { margin: 0 0 1.1em; }
section.q { break-inside: avoid; }
section > .number { float: left; width: 2.6em; font-weight: 700; text-decoration: none;
                    color: #0072B2; }
section > .text { margin-left: 2.6em; }
section p { margin: 0.35em 0; orphans: 3; widows: 3; }
section.a p:first-child, section p:has(> strong:only-child) { break-after: avoid; }
pre { white-space: pre-wrap; background: #f3f3f3; padding: 0.6em; font-size: 9pt;
      break-inside: avoid; }
code { font-family: "DejaVu Sans Mono", Consolas, "Noto Sans Mono CJK SC", monospace;
       font-size: 92%; }
ul, ol { margin: 0.3em 0; padding-left: 1.4em; }
hr { border: 0; border-top: 0.5pt solid #bbb; }
math { font-family: "STIX Two Math", "Latin Modern Math", "Cambria Math", math; }
@media print { body { margin: 0; padding: 0; max-width: none; } a { color: inherit; } }
"""


def booklet(language: str, folder: Path) -> list[Path]:
    """Questions chapter by chapter, the answers at the end: HTML, and PDF where a browser is."""
    page = _write(_path(folder, "", language, "html"), booklet_html(language).encode())
    return [page, *_pdf(page)]


def booklet_html(language: str) -> str:
    """The booklet as one page that needs nothing beside itself."""
    where, items = _page_language(language), trainer.catalogue()
    numbers = {name: n for n, name in enumerate(items, 1)}

    def part(kind: str, one: Callable[[str], str]) -> list[str]:
        lines = [f'<h2 id="{kind}">{html.escape(_word(kind, language))}</h2>']
        for chapter, titles in trainer.chapter_titles().items():
            title = " / ".join(titles[code] for code in _codes(language))
            lines.append(f"<h3>{chapter:02} {html.escape(title)}</h3>")
            lines += [one(n) for n, i in items.items() if i["chapter"] == chapter]
        return lines

    def entry(kind: str, other: str, name: str, text: str) -> str:
        number = f'<a class="number" href="#{other}-{name}">{numbers[name]}</a>'
        return (f'<section class="{kind}" id="{kind}-{name}">{number}'
                f'<div class="text">{text}</div></section>')  # fmt: skip

    def question(name: str) -> str:
        text = booklet_part(interview.question(name, where).markdown)
        return entry("q", "a", name, text)

    def answer(name: str) -> str:
        asked = [f"**{interview.question(name, code).title}**" for code in _codes(language)]
        text = booklet_part(interview.answer(name, where).markdown)
        return entry("a", "q", name, booklet_part("\n\n".join(asked)) + text)

    title = html.escape(_word("title", language))
    body = [f"<h1>{title}</h1>", *part("questions", question), *part("answers", answer)]
    head = (f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{title}</title><style>{PRINT}</style>")  # fmt: skip
    lang = {"en": "en", "zh": "zh-CN", "both": "en"}[language]
    return f'<!doctype html>\n<html lang="{lang}"><head>{head}</head>\n<body>\n' + "\n".join(
        [*body, "</body></html>\n"]
    )


def booklet_part(markdown: str) -> str:
    """Markdown as HTML whose formulas are MathML."""
    from latex2mathml.converter import convert

    def formula(match: re.Match) -> str:
        latex = html.unescape(match["block"] or match["inline"]).strip()
        return convert(latex, display="block" if match["block"] else "inline")

    block = r'<div class="math">\$\$(?P<block>.*?)\$\$</div>'
    inline = r'<span class="math">\\\((?P<inline>.*?)\\\)</span>'
    page = interview.Page("", markdown)._repr_html_()
    return re.sub(f"(?s){block}|{inline}", formula, page)


def browser() -> str | None:
    """A browser that prints without a window: $KDLAB_BROWSER, or a Chromium on this machine."""
    return next(
        filter(None, map(shutil.which, [os.environ.get("KDLAB_BROWSER", ""), *BROWSERS])), None
    )


def _pdf(page: Path) -> list[Path]:
    """The page printed as PDF beside it; nothing where there is no browser."""
    if not (command := browser()):
        return []
    path = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={profile}",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container one is root
            options.append("--no-sandbox")
        made = Path(profile) / "page.pdf"
        done = subprocess.run(
            [command, *options, f"--print-to-pdf={made}", page.resolve().as_uri()],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        if not made.exists():
            told = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise OSError(
                f"{command} could not print {page} ({told}); open it and print it yourself"
            )
        return [_write(path, made.read_bytes())]
