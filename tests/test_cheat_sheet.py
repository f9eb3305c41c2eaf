"""What a reader takes away: tables and the cheat sheet, complete and from their sources."""

import html
import itertools
import json
import re

import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter

from kdlab.apps.chapters import cheat_sheet, decision_guide, figures, panels
from kdlab.apps.classroom.runner import find
from kdlab.apps.interview import exports
from kdlab.files import NOTEBOOKS
from kdlab.lab import results, stats

BOOK = decision_guide.rulebook()
PLACES = [
    *(s["shown_in"] for s in BOOK["statements"]),
    *(rule["shown_in"] for rule in BOOK["rules"]),
    *(f"A1_museum#{e['exhibit']}" for e in BOOK["errors"]),
]


def cells(chapter):
    return nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", as_version=4).cells


@pytest.mark.parametrize("place", dict.fromkeys(PLACES))
def test_each_place_is_one_cell(place):
    name, _, anchor = place.partition("#")
    assert sum(anchor in (c.get("id"), *c.metadata.get("tags", [])) for c in cells(name)) == 1
    assert cheat_sheet.link(place) == f"[{name[:2]}#{anchor}]({name}.ipynb#{anchor})"


def test_errors_are_the_exhibits_of_the_museum():
    """In the museum's order; that each has its test is the business of test_museum.py."""
    pairs = itertools.pairwise(cells("A1_museum"))
    exhibits = [cell.id for title, cell in pairs if re.search(r"\*\*Exhibit \d", title.source)]
    assert [e["exhibit"] for e in BOOK["errors"]] == exhibits


def test_statements_have_a_known_verdict_and_the_seed_s_topics():
    known = {"stands", "condition", "corrected", "unsourced"}
    assert {s["verdict"] for s in BOOK["statements"]} <= known
    assert {s["topic"] for s in BOOK["statements"]} == set(range(1, 9))
    needs = [spec for statement in BOOK["statements"] for spec in statement.get("needs", ())]
    assert [spec for spec in needs if not decision_guide.evidence(spec).holds] == []


TABLES = {"seed_verdicts": "statements", "common_errors": "errors", "situations": "situations"}


@pytest.mark.parametrize("language", ["both", "en", "zh"])
@pytest.mark.parametrize("page", TABLES)
def test_tables_have_a_row_an_entry(page, language):
    table = getattr(cheat_sheet, page)(language)
    shown, _ = DisplayFormatter().format(table)
    assert shown == {"text/markdown": table.markdown, "text/plain": table.title}
    lines = table.markdown.splitlines()
    assert len(lines) == 2 + len(BOOK[TABLES[page]])
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert len(bars) == 1  # every row has as many cells as the head
    assert bool(re.search("[\u4e00-\u9fff]", table.markdown)) == (language != "en")


def test_the_committed_summary_shows_its_tables():
    code = [cell for cell in cells("08_summary") if cell.cell_type == "code"]
    last = {cell.source.splitlines()[-1]: cell.outputs for cell in code}
    for table in (*TABLES, "glossary"):
        (*_, output) = last[f"cheat_sheet.{table}()"]
        assert output.data["text/markdown"].startswith("| "), table


def test_the_glossary_has_every_term():
    text = cheat_sheet.glossary().markdown
    for term in cheat_sheet.terms():
        assert f"| {term['en']} | {term['zh']} |" in text
    assert re.search(r"\| temperature \|.*\| 00 01 02", text)
    told = {number for row in text.splitlines() for number in row.rsplit("|", 2)[1].split()}
    assert {path.stem[:2] for path in find()} <= told  # every chapter, the appendix, too


def test_the_dashboard_has_each_kind_of_a_record_not_the_first_alone():
    few = {e.arm.split(": ")[0] for e in cheat_sheet.differences()["few-labels"]}
    assert few == {"100 labels", "300 labels", "1000 labels"}


def test_every_record_is_in_the_catalogue_and_the_dashboard():
    names = {path.stem for path in results.results_dir().glob("*.json")}
    found = cheat_sheet.catalogue()
    assert set(found.index) == names and found["commit"].str.len().ge(7).all()
    assert found["command"].str.contains("python -m kdlab").all()
    told = cheat_sheet.differences()
    assert {"trio", "cifar-gain", "unseen-digits", "bench"} <= set(told) <= names
    assert found.loc[list(told), "judged on"].isin(["test", "–"]).all()
    assert "temperature-weight" not in told  # settings were chosen there
    gap = results.table("cifar-gain").loc["teacher of 10k", "difference"]
    assert round(told["cifar-gain"][1].gap.mean, 2) == gap
    assert told["bench"][0].metric == "seconds" and told["bench"][0].verdict == "better"
    assert told["unseen-digits"][0].arm == told["unseen-digits"][0].over


def test_each_arm_is_compared_within_its_group():
    """Arms called `kind: way` belong to the first arm of their kind. Few labels go step by step: N
    labels, a teacher of these N, a teacher of others, each with the one before."""
    arms = [f"{kind}: {way}" for kind in ("CNN", "GRU") for way in ("labels", "taught")]
    assert stats.pairs_of(arms) == [(arms[1], arms[0]), (arms[3], arms[2])]
    assert stats.pairs_of(["a", "b", "c"]) == [("b", "a"), ("c", "a")]
    labels, free = [f"CNN: {n} labels" for n in (100, 300)], "CNN: label-free"
    taught = [f"CNN: teacher of {n} labels" for n in (100, 300)]
    steps = {*zip(taught, labels, strict=True), *((free, teacher) for teacher in taught)}
    assert set(stats.pairs_of([*labels, *taught, free])) == steps


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_cheat_sheet_is_made_of_its_sources(language):
    page = cheat_sheet.cheat_sheet(language)
    text = html.unescape(re.sub("<[^>]+>", " ", page))
    told = [f["is"][language] for f in BOOK["formulas"]]
    told += [error["line"][language] for error in BOOK["errors"]]
    told += [term["zh"] for term in cheat_sheet.terms()[: cheat_sheet.SHEET_TERMS]]
    advice = decision_guide.weigh(next(r for r in BOOK["rules"] if r["id"] == "soft-targets"))
    assert [
        one for one in (*told, decision_guide.number(advice.first, language)) if one not in text
    ] == []
    assert "@page" in page and page.count("<section") == page.count("</section>") == 5


def test_each_sheet_prints_on_one_page(tmp_path):
    if not exports.browser():
        pytest.skip("prints through Chromium")
    for path in cheat_sheet.write_sheets(tmp_path):
        (pdf,) = exports.print_pdf(path)
        assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes())) == 1, path.name


def test_figures_of_the_chapter():
    rows = [decision_guide.situation(case) for case in BOOK["situations"]]
    assert len(rows) == 8
    drawing = panels.evidence_rows(rows, title="finding")
    texts = [text.get_text() for text in drawing.axes[0].texts]
    assert rows[0]["name"] in texts and rows[0]["number"] in texts
    shown = {"few": [("a", 1.0, 0.5, 1.5, "better"), ("b", -1.0, -1.5, -0.5, "worse")]}
    shown["many"] = [(str(n), n, n - 1, n + 1, "noise") for n in range(40)]
    drawing = figures.dashboard(shown, {"few": "points", "many": "s"}, title="finding")
    axes = {axis.get_title(loc="left"): axis for part in drawing.subfigs for axis in part.axes}
    assert [t.get_text() for t in axes["few"].get_yticklabels()] == ["b", "a"]
    assert axes["many"].get_ylabel() == "40 settings" and axes["few"].get_xlabel() == "points"


def test_the_rulebook_is_clean():
    """Plain values only, nothing that YAML took for a date, a truth value or a second key."""
    assert json.loads(json.dumps(BOOK)) == BOOK and "null" not in json.dumps(BOOK)
    for spec in BOOK["constraints"].values():
        assert all(isinstance(value, str) for value in spec["choices"])


def test_a_bar_within_a_cell_does_not_end_it():
    assert cheat_sheet._table("norms", "term", [["|x|"]], "en").markdown.endswith(r"| \|x\| |")
