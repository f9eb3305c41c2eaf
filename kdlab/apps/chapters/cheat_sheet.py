"""What a reader takes away, rendered from `data/guide.yaml`, `data/interview/terminology.yaml` and
the records: all records at a glance, the cheat sheet, the glossary, the commonest errors, and what
became of the seed's statements. Links are written as from the folder of the notebooks.
"""

import html
import json
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from kdlab.apps.chapters import decision_guide
from kdlab.apps.chapters.decision_guide import rulebook
from kdlab.apps.i18n import LANGUAGES, languages, record_title, text, translate
from kdlab.apps.markdown import Page
from kdlab.files import BUILD, EMBEDDED, NOTEBOOKS, write_text
from kdlab.lab import results, stats
from kdlab.lab.results import Records, compare, judged_on, metric_of
from kdlab.lab.stats import Comparison

HERE = Path(__file__).parent


class Table(Page):
    """A page that is a table, as Markdown alone: half the bytes in a notebook."""

    _repr_html_ = None

    def _repr_markdown_(self) -> str:
        return self.markdown


def _table(title: str, columns: str, rows: list[list[str]], language: str | None = None) -> Table:
    """A table of rows of text under these columns; a bar inside a cell would end it."""
    head = [translate(f"head.{name}", language) for name in columns.split()]
    cells = [
        [cell.replace("|", "\\|") for cell in row] for row in (head, ["---"] * len(head), *rows)
    ]
    return Table(f"{len(rows)} {title}", "\n".join(f"| {' | '.join(row)} |" for row in cells))


# ---------------------------------------------------------------- all records


def differences(records: Records = results.read) -> dict[str, list[Comparison]]:
    """Every record's arms against their control, or for unseen classes, before and after a shift.

    Left out are records in which settings were chosen (they are judged on validation images and
    conclude nothing), the board whose control was undertuned, and what has no paired difference.
    """
    comparisons = {}
    for name in results.names():
        record = records(name)
        undertuned = name.startswith("leaderboard-undertuned")  # chapter 06 shows what is wrong
        if name == "deploy" or undertuned or judged_on(record) == {"validation"}:
            continue
        metric, of = metric_of(record), ""
        first, *others = stats.families(record)
        of_kinds = ": " in first[0][0]  # then each kind has a family of its own
        pairs = sum(others, first) if of_kinds else first
        if metric == "unseen errors shifted":
            pairs, of = [(run["arm"], run["arm"]) for run in record["runs"]], "unseen errors"
        every = (compare(name, *p, metric, of=of, records=records) for p in dict.fromkeys(pairs))
        comparisons[name] = [comparison for comparison in every if comparison.gap]
    return {name: paired for name, paired in comparisons.items() if paired}


def catalogue() -> pd.DataFrame:
    """One row a record: what, arms, seeds, where judged, machine, day, commit, command."""
    rows = []
    for name in results.names():
        record = results.read(name)
        runs = pd.DataFrame(results.runs_of(record))
        row = {"record": name, "what": record_title(name, record["title"])}
        row |= {"arms": runs["arm"].nunique(), "seeds": runs["seed"].nunique()}
        row["judged on"] = ", ".join(sorted(judged_on(record))) or "–"
        row["machine"] = results.chip(record)
        rows.append(row | {part: record[part] for part in ("date", "commit", "command")})
    return pd.DataFrame(rows, dtype=object).set_index("record")


# ---------------------------------------------------------------- tables


def link(anchor: str) -> str:
    """`05_challenges#fidelity` as a link to the cell."""
    name, _, tag = anchor.partition("#")
    return f"[{name[:2]}#{tag}]({name}.ipynb#{tag})"


def seed_verdicts(language: str | None = None) -> Table:
    """Each statement of the seed, what became of it, and the cell that shows it."""
    rows, one = [], languages(language)[0]
    for s in rulebook()["statements"]:
        needs = map(decision_guide.evidence, s.get("needs", ()))
        numbers = [decision_guide.number(need, one) for need in needs if need.gap]
        verdict = f"**{translate('seed.' + s['verdict'], language)}**"
        why = " · ".join([text(s["why"], language), *numbers])
        rows.append([str(s["topic"]), text(s["said"], language), verdict, why, link(s["shown_in"])])
    return _table("statements of the seed", "topic said verdict why shown", rows, language)


def situations(language: str | None = None) -> Table:
    """Typical situations, the advice for each in short, and the comparison behind it."""
    rows, one = [], languages(language)[0]
    for case in rulebook()["situations"]:
        advice = decision_guide.advice_for(case)
        words, brief = text(case["words"], language), text(advice.rule["brief"], language)
        best = decision_guide.line(advice.first, one) if advice.first else ""
        rows.append([words, brief, best, link(advice.rule["shown_in"])])
    return _table("situations", "situation advice evidence shown", rows, language)


def common_errors(language: str | None = None) -> Table:
    """Symptom, cause, and the line that catches it, with a link to the exhibit's cell."""
    rows = []
    for n, e in enumerate(rulebook()["errors"], 1):
        words = [text(e[part], language) for part in ("symptom", "cause", "line")]
        rows.append([f"{n}", *words, link(f"A1_museum#{e['exhibit']}")])
    return _table("common errors", "exhibit symptom cause line shown", rows, language)


def terms() -> list[dict]:
    """The course's terms: en, zh, and under `not` the renderings to avoid."""
    return yaml.safe_load((EMBEDDED / "interview" / "terminology.yaml").read_text(encoding="utf-8"))


def glossary(language: str | None = None) -> Table:
    """The terms in both languages, renderings to avoid, and the chapters that use them."""
    chapters, rows = {}, []
    for path in sorted(NOTEBOOKS.glob("[0-9A][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        chapters[path.stem[:2]] = "\n".join(prose).lower()
    for term in sorted(terms(), key=lambda t: t["en"].lower()):
        words = [term["en"].lower().removesuffix("s"), *term["zh"].lower().split("/")]
        used = [name for name, prose in chapters.items() if any(word in prose for word in words)]
        rows.append([term["en"], term["zh"], "、".join(term.get("not", ())), " ".join(used)])
    return _table("terms", "term zh not chapters", rows, language)


# ---------------------------------------------------------------- the cheat sheet

SHEET_TERMS = 25  # so many of the terms, the first of the file, are on the sheet


def cheat_sheet(language: str | None = None) -> str:
    """The sheet of one A4 page as an HTML fragment with its style; see `write_sheets`."""
    pages = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), trim_blocks=True)
    pages.filters["e"] = html.escape
    return pages.get_template("sheet.html.jinja").render(
        translate=translate,
        short=decision_guide.short,
        text=text,
        book=rulebook(),
        rules=decision_guide.every_rule(),
        terms=terms()[:SHEET_TERMS],
        language=language,
        lang=languages(language)[0],
    )


def write_sheets(folder: Path = BUILD) -> list[Path]:
    """Write cheat-sheet.en.html and cheat-sheet.zh.html: open one in a browser and print it."""
    paths = []
    for language in LANGUAGES:
        page = (
            f"<!doctype html><html lang='{language}'><head><meta charset='utf-8'>"
            f"<title>{translate('sheet.title', language)}</title></head>"
            f"<body>{cheat_sheet(language)}</body></html>\n"
        )
        paths.append(write_text(folder / f"cheat-sheet.{language}.html", page))
    return paths
