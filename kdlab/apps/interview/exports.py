"""For the candidate who takes the bank along: Anki decks, a printable booklet, CSV and JSON.

Anki keys a note on its guid, which depends on the item's id and the language alone: importing a
newer deck updates the notes and keeps what was learnt. The booklet is one HTML page with MathML, so
its formulas need no script and no network; headless Chromium, where there is one, prints it as PDF.
"""

import hashlib
import html
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kdlab.apps.i18n import LANGUAGES, languages, text
from kdlab.apps.interview.bank import chapter_titles, items, laid_out, templates
from kdlab.apps.markdown import as_html
from kdlab.files import BUILD, atomically, write_csv, write_text

FIELDS = ("Id", "Question", "Short", "Answer")  # of an Anki note
BROWSERS = (
    *"chromium chromium-browser google-chrome google-chrome-stable msedge microsoft-edge".split(),
    *("chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


def write_bank(form: str, language: str = "both", folder: Path | None = None) -> list[Path]:
    """Write the bank as "anki", "booklet", "csv" or "json" into build/ or `folder`: the files.

    ValueError for another form or language, OSError where the folder cannot be written.
    """
    writers = {"anki": _anki, "booklet": _booklet, "csv": _csv, "json": _json}
    suffixes = {"anki": "apkg", "booklet": "html"}
    if form not in writers:
        raise ValueError(f"no export {form!r}; there are {', '.join(writers)}")
    languages(language)
    path = (folder or BUILD) / f"kdlab-interview-{language}.{suffixes.get(form, form)}"
    writers[form](language, path)
    return [path, *print_pdf(path)] if form == "booklet" else [path]


def _json(language: str, path: Path) -> None:
    """Every item as the bank has it; texts as {"en", "zh"}, or in one language as text."""

    def text_of(node: dict) -> object:
        return node.get(language, node) if set(node) == set(LANGUAGES) else node

    entries = json.loads(json.dumps(list(items().values())), object_hook=text_of)
    content = {"language": language, "items": entries}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _csv(language: str, path: Path) -> None:
    """One row for each item, a column for each text and language."""
    rows = []
    for item in items().values():
        row = {key: item[key] for key in ("id", "chapter", "level", "kind", "minutes")}
        row["tags"] = " ".join(item["tags"])
        for code in languages(language):
            for name in ("question", "short", "full"):
                row[f"{name}_{code}"] = item[name][code].strip()
            wrong = (f"{w['answer'][code]} | {w['why'][code]}" for w in item["wrong_answers"])
            row[f"wrong_answers_{code}"] = "\n".join(wrong)
        row["sources"] = "; ".join(item["sources"])
        row["shown_in"] = " ".join(f"{p['notebook']}#{p['anchor']}" for p in item["shown_in"])
        rows.append(row)
    write_csv(path, rows)


def for_anki(latex: str, block: bool) -> str:
    r"""A formula between \( \) or \[ \], for Anki's MathJax."""
    latex = html.escape(latex, quote=False)
    return rf"\[{latex}\]" if block else rf"\({latex}\)"


def mathml(latex: str, block: bool) -> str:
    """A formula that a browser sets without a script."""
    from latex2mathml.converter import convert

    return convert(latex.strip(), display="block" if block else "inline")


def _anki(language: str, path: Path) -> None:
    """A deck with a sub-deck for each chapter; "both" has the two languages on one card."""
    import genanki

    names = "anki-front.html", "anki-back.html", "anki.css"
    front, back, style = (templates().get_template(name).render().strip() for name in names)
    model = genanki.Model(
        lasting_id(f"model {language}"),
        f"kdlab interview {language}",
        fields=[{"name": name} for name in FIELDS],
        templates=[{"name": "Card", "qfmt": front, "afmt": back}],
        css=style,
    )
    decks = {}
    for number, titles in chapter_titles().items():
        name = f"kdlab {language}::{number:02} {text(titles, language).replace('::', ':')}"
        decks[number] = genanki.Deck(lasting_id(f"deck {language} {number}"), name)
    for item in items().values():
        parts = [laid_out(macro, item, language) for macro in ("question", "short", "explanation")]
        fields = [item["id"], *(as_html(part, for_anki) for part in parts)]
        guid = genanki.guid_for("kdlab", language, item["id"])
        tags = [f"chapter-{item['chapter']:02}", f"level-{item['level']}", item["kind"]]
        note = genanki.Note(model, fields, guid=guid, tags=tags + item["tags"])
        decks[item["chapter"]].add_note(note)
    atomically(path, genanki.Package(list(decks.values())).write_to_file)


def lasting_id(name: str) -> int:
    """An id for a deck or a note type that never changes, as Anki wants it: 1 to 2^31 - 1."""
    return int.from_bytes(hashlib.sha256(f"kdlab {name}".encode()).digest()[:4], "big") >> 1 or 1


def _booklet(language: str, path: Path) -> None:
    """Questions chapter by chapter, the answers at the end, on a page that needs nothing else."""
    entries = []
    for number, item in enumerate(items().values(), 1):
        question, answer = laid_out("question", item, language), laid_out("key", item, language)
        question, answer = as_html(question, mathml), as_html(answer, mathml)
        entries.append({**item, "number": number, "q": question, "a": answer})
    page = templates().get_template("booklet.html")
    write_text(path, page.render(language=language, chapters=chapter_titles(), entries=entries))


def browser() -> str | None:
    """A browser that prints without a window: $KDLAB_BROWSER, or a Chromium on this machine."""
    names = [os.environ.get("KDLAB_BROWSER", ""), *BROWSERS]
    return next(filter(None, map(shutil.which, names)), None)


def print_pdf(page: Path) -> list[Path]:
    """The HTML page printed as PDF beside it; nothing where there is no browser.

    OSError where there is one and it fails.
    """
    command = browser()
    if not command:
        return []
    path = page.with_suffix(".pdf")
    options = ["--headless", "--disable-gpu", "--no-pdf-header-footer"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container one is root
        options.append("--no-sandbox")
    with tempfile.TemporaryDirectory() as profile:
        pdf = Path(profile) / "page.pdf"
        options += [f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", page.resolve().as_uri()]
        done = subprocess.run([command, *options], capture_output=True, text=True, timeout=300)
        if not pdf.exists():
            reason = done.stderr.strip()[-200:] or "no message"
            raise OSError(
                f"{command} could not print {page}: {reason}; open it and print it yourself"
            )
        atomically(path, lambda target: shutil.copyfile(pdf, target))
    return [path]
