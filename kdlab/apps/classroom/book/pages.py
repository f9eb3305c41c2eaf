"""For the book: its pages that are no chapters, as Markdown, from the bank, records and code."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jinja2
import yaml
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename

from kdlab.apps.chapters import cheat_sheet
from kdlab.apps.chapters.panels import live_student_panel
from kdlab.apps.classroom.book import tables
from kdlab.apps.classroom.book.links import definition, line_of, mark
from kdlab.apps.classroom.decks import live_panel
from kdlab.apps.i18n import LANGUAGES, translate
from kdlab.apps.interview import bank
from kdlab.apps.markdown import MIME, as_html
from kdlab.files import NOTEBOOKS, ROOT
from kdlab.lab import results
from kdlab.methods import METHODS

HERE = Path(__file__).parent
PLAIN = "soft targets"  # what every method is compared with; it needs no term of METHODS
CASES = "tests/oracles.py"  # the independent checks of the losses
ROW = "record", "arm", "metric", "seeds", "mean", "control", "difference", "verdict", "setting"


def pages(language: str, chapters: list[str]) -> Iterator[tuple[str, str]]:
    """Name and Markdown of every page, but for those of source files."""
    template, names = macros(language), results.names()
    items = sorted(bank.items().values(), key=lambda item: (item["chapter"], item["place"]))
    methods = [method_page(name, language) for name in method_texts()]
    counts = {"chapters": chapters, "bank": items, "methods": methods, "records": names}
    counts = {key: len(parts) for key, parts in counts.items()}
    yield "index", template.home(chapters, counts, first_panel(language))
    banks = {int(name[:2]): name for name in bank.chapters()}
    yield "bank/index", template.bank_index(banks, items)
    for chapter, name in banks.items():
        yield f"bank/{name}", template.bank_chapter([i for i in items if i["chapter"] == chapter])
    yield "methods/index", template.methods_index(methods)
    for method in methods:
        yield f"methods/{method['slug']}", template.method(method)
    yield "records/index", template.records_index(tables.records_table(language), names)
    for name in names:
        yield f"records/{name}", template.record(**tables.record_page(name, language))
    yield "guide/sheet", template.sheet(cheat_sheet.cheat_sheet(language))
    yield "guide/glossary", template.glossary(cheat_sheet.glossary(language).markdown)
    guide = NOTEBOOKS / f"for_lecturers{'.zh' if language == 'zh' else ''}.md"
    yield "guide/lecturers", re.sub(r"^\[.*\(for_lec.*\n", "", guide.read_text("utf-8"), flags=re.M)


def first_panel(language: str) -> str:
    """The student that learns on the first page, as HTML."""
    shown, _ = live_student_panel()._repr_mimebundle_()
    return live_panel(shown[MIME], language, folder="..")


@cache
def macros(language: str) -> object:
    """The macros of templates/pages.md.jinja, saying their words in one language."""
    loader = jinja2.FileSystemLoader(HERE / "templates")
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {
        "word": lambda key, **values: translate(f"book.{key}", language, **values),
        "group": lambda by, one: bank.group_name(by, one, language),
        "inline": lambda text: as_html(text).strip()[3:-4],
        "both": [language, *(code for code in LANGUAGES if code != language)],
        "card": bank.laid_out,
        "mark": mark,
        "translate": translate,
        "title_of": bank.title_of,
        "words_of": words_of,
    }
    return environment.get_template("pages.md.jinja").module


def source_page(file: str) -> str:
    """A page with a file of the repository, its lines numbered and to be linked to."""
    lexer = TextLexer() if file.endswith(".md") else get_lexer_for_filename(file)
    formatter = HtmlFormatter(linenos="inline", lineanchors="L")
    listing = highlight((ROOT / file).read_text(encoding="utf-8"), lexer, formatter)
    return f"---\norphan: true\nnosearch: true\n---\n\n{mark('source')}# {file}\n\n{listing}\n"


def words_of(item: bank.Item) -> str:
    """All that an item asks and answers, in small letters: the words by which a reader finds it."""
    asked = (one for one in item["follow_ups"] if "question" in one)
    parts = [item["question"], item["short"], item["full"], *item.get("also_asked", ())]
    parts += [text for one in asked for text in (one["question"], one["answer"])]
    return " ".join(text for part in parts for text in part.values()).casefold().replace("\n", " ")


@cache
def method_texts() -> dict[str, dict]:
    """methods.yaml; ValueError unless it has what `METHODS` has."""
    texts = yaml.safe_load((HERE / "methods.yaml").read_text(encoding="utf-8"))
    if odd := texts.keys() ^ {PLAIN, *METHODS}:
        raise ValueError(f"methods.yaml and kdlab.methods differ in {', '.join(sorted(odd))}")
    return texts


def method_page(name: str, language: str) -> dict:
    """What the page of a method says: methods.yaml, the code's own words, links, its results."""
    texts, method = method_texts()[name], METHODS.get(name)
    terms = [f"kdlab.methods.{method.term.__name__}"] if method else []
    losses = [f"kdlab.{loss}" for loss in texts.get("losses", ())]
    checks = {}
    for loss in (loss.rpartition(".")[2] for loss in losses):
        checks[loss] = line_of(CASES, f'"{loss}": Case(')
    for file, test in texts.get("tests", {}).items():
        checks[test] = line_of(f"tests/{file}", f"def {test}(")
    docs = {part: inspect.getdoc(pkgutil.resolve_name(part)) for part in losses or terms}
    rows = [*tables.method_rows(name, language)]
    head = [translate(f"book.{key}", language) for key in ROW]
    return {
        "name": name,
        "slug": re.sub(r"\W+", "-", name.lower()),
        "idea": texts["idea"][language],
        "equation": texts["equation"],
        "paper": method.reference if method else "Hinton et al. 2015",
        "weight": method.paper_weight if method else 0,
        "code": {part: definition(part) for part in terms + losses},
        "checks": checks,
        "docs": {of: re.sub(r"(?<=\S)\n(?=\S)", " ", text) for of, text in docs.items() if text},
        "first": dict(zip(ROW, rows[0], strict=True)) if rows else {},
        "table": tables.sortable(head, rows) if rows else "",
    }
