"""The interview bank out of the house: Anki decks, a printable booklet, CSV and JSON.

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
from kdlab.apps.interview.bank import chapter_titles, items, laid_out, templates, title_of
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
    forms = {"anki": (_anki, "apkg"), "booklet": (_booklet, "html")}
    forms |= {"csv": (_csv, "csv"), "json": (_json, "json")}
    if form not in forms:
        raise ValueError(f"no export {form!r}; there are {', '.join(forms)}")
    languages(language)
    write, suffix = forms[form]
    path = (folder or BUILD) / f"kdlab-interview-{language}.{suffix}"
    write(language, path)
    return [path, *print_pdf(path)] if form == "booklet" else [path]


def _json(language: str, path: Path) -> None:
    """Every item as the bank has it; texts as {"en", "zh"}, or in one language as text."""

    def chosen(node: dict) -> object:
        return node.get(language, node) if set(node) == set(LANGUAGES) else node

    found = json.loads(json.dumps(list(items().values())), object_hook=chosen)
    content = {"language": language, "items": found}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _csv(language: str, path: Path) -> None:
    """One row for each item, a column for each text and language."""
    rows = []
    for item in items().values():
        row = {key: item[key] for key in ("id", "chapter", "level", "kind", "minutes")}
        row["tags"] = " ".join(item["tags"])
        for code in languages(language):
            texts = {name: item[name][code].strip() for name in ("question", "short", "full")}
            wrong = (f"{w['answer'][code]} | {w['why'][code]}" for w in item["wrong_answers"])
            texts["wrong_answers"] = "\n".join(wrong)
            row |= {f"{name}_{code}": text for name, text in texts.items()}
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

    front, back, style = (
        templates().get_template(name).render().strip()
        for name in ("anki-front.html", "anki-back.html", "anki.css")
    )
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
        question, rest = (laid_out(part, item, language) for part in ("question", "explanation"))
        short = "\n\n".join(item["short"][code].strip() for code in languages(language))
        fields = [item["id"], *(as_html(part, for_anki) for part in (question, short, rest))]
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
        titles = (f"**{title_of(item, code)}**" for code in languages(language))
        answer = "\n\n".join([*titles, laid_out("answer", item, language)])
        question = laid_out("question", item, language)
        parts = {"q": as_html(question, mathml), "a": as_html(answer, mathml)}
        entries.append({**item, "number": number, **parts})
    page = templates().get_template("booklet.html")
    write_text(path, page.render(language=language, chapters=chapter_titles(), entries=entries))


def browser() -> str | None:
    """A browser that prints without a window: $KDLAB_BROWSER, or a Chromium on this machine."""
    named = [os.environ.get("KDLAB_BROWSER", ""), *BROWSERS]
    return next(filter(None, map(shutil.which, named)), None)


def print_pdf(page: Path) -> list[Path]:
    """The HTML page printed as PDF beside it; nothing where there is no browser.

    OSError where there is one and it fails.
    """
    if not (command := browser()):
        return []
    path, root = page.with_suffix(".pdf"), hasattr(os, "geteuid") and os.geteuid() == 0
    options = ["--headless", "--disable-gpu", "--no-pdf-header-footer"]
    options += ["--no-sandbox"] if root else []  # in a container one is root
    with tempfile.TemporaryDirectory() as profile:
        made = Path(profile) / "page.pdf"
        options += [f"--user-data-dir={profile}", f"--print-to-pdf={made}", page.resolve().as_uri()]
        done = subprocess.run([command, *options], capture_output=True, text=True, timeout=300)
        if not made.exists():
            told = f"{command} could not print {page}: {done.stderr.strip()[-200:] or 'no message'}"
            raise OSError(f"{told}; open it and print it yourself")
        atomically(path, lambda target: shutil.copyfile(made, target))
    return [path]
