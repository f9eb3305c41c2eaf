"""What a reader takes away: all records at a glance, the cheat sheet, the glossary, the commonest
errors, and what became of the seed's statements.

Everything is rendered from `data/guide.yaml`, `data/interview/terminology.yaml` and the records.
`notebook` links are written as from the folder of the notebooks.
"""

import html
import json
import os
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from kdlab import experiments, guide
from kdlab.experiments import load_result, results_dir
from kdlab.guide import Evidence, Records, compare, controls, rulebook
from kdlab.interview import BANK, LANGUAGES, Page
from kdlab.machine import ROOT

BUILD = ROOT / "build"
VERDICTS = {
    "stands": ("stands", "成立"),
    "condition": ("true under a condition", "有条件成立"),
    "corrected": ("corrected", "需要更正"),
    "unsourced": ("no public source", "没有公开来源"),
}
HEADS = {  # the heads of the tables
    "situation": ("situation", "情形"),
    "advice": ("advice", "建议"),
    "evidence": ("evidence", "依据"),
    "topic": ("topic", "题"),
    "said": ("the seed says", "原文"),
    "verdict": ("verdict", "结论"),
    "why": ("why", "理由"),
    "shown": ("shown in", "见"),
    "symptom": ("symptom in the log", "日志里的现象"),
    "cause": ("cause", "原因"),
    "line": ("the line that catches it", "能抓住它的一行检查"),
    "exhibit": ("exhibit", "展品"),
    "term": ("English", "英文"),
    "zh": ("Chinese", "中文"),
    "not": ("not", "不译作"),
    "chapters": ("chapters", "出现于"),
}


def _either(pair: tuple[str, str], language: str | None) -> str:
    return " / ".join(dict.fromkeys(pair)) if language is None else pair[LANGUAGES.index(language)]


def _text(node: dict, language: str | None) -> str:
    return _either(tuple(str(node[code]).strip() for code in LANGUAGES), language)


class Table(Page):
    """A page that is a table, as Markdown alone: half the bytes in a notebook."""

    _repr_html_ = None


def _table(columns: list[str], rows: list[list[str]], language: str | None = None) -> str:
    """A Markdown table; a bar inside a cell would end it."""
    head = [_either(HEADS[name], language) for name in columns]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in lines)


# ---------------------------------------------------------------- all records


def record_names() -> list[str]:
    """Every record there is: the declared experiments in their order, then the others."""
    there = {path.stem for path in results_dir().glob("*.json")}
    return [n for n in experiments.EXPERIMENTS if n in there] + sorted(
        there - set(experiments.EXPERIMENTS)
    )


def judged_on(record: dict) -> set[str]:
    """{"test"}, {"validation"}, or nothing where no recipe says."""
    settings = [s for s in record.get("settings", {}).values() if isinstance(s, dict)]
    return {s["judge"] for s in settings if "judge" in s}


def metric_of(record: dict) -> str:
    """What a record is about: the rarest of its known metrics."""
    there = set(record["runs"][0])
    known = ("unseen errors shifted", "robust", "tar", "accuracy", "seconds")
    return "seconds" if record["name"] == "bench" else next(m for m in known if m in there)


def differences(records: Records = load_result) -> dict[str, list[Evidence]]:
    """Every record's arms against their control, or for unseen classes, before and after a shift.

    Left out are records in which settings were chosen (they are judged on validation images and
    conclude nothing), and what has no paired difference: one arm, one seed, one measurement.
    """
    found = {}
    for name in record_names():
        record = records(name)
        undertuned = name.startswith("leaderboard-undertuned")  # chapter 06 shows what is wrong
        if name == "deploy" or undertuned or judged_on(record) == {"validation"}:
            continue
        metric, runs = metric_of(record), record["runs"]
        pairs, of = controls(list(dict.fromkeys(r["arm"] for r in runs))), metric
        if metric == "unseen errors shifted":
            pairs, of = {r["arm"]: r["arm"] for r in runs}, "unseen errors"
        every = [
            compare({"record": name, "arm": a, "over": o, "metric": metric, "of": of}, records)
            for a, o in pairs.items()
        ]
        if kept := [e for e in every if e.gap]:
            found[name] = kept
    return found


def catalogue() -> pd.DataFrame:
    """One row a record: what, arms, seeds, where judged, machine, day, commit, command."""
    rows = {}
    for name in record_names():
        record = load_result(name)
        runs, machine = guide.runs_of(record), record["machine"]
        gpu = machine["accelerator"]
        rows[name] = {
            "what": record["title"],
            "arms": len({run["arm"] for run in runs}),
            "seeds": len({run["seed"] for run in runs}),
            "judged on": ", ".join(sorted(judged_on(record))) or "–",
            "machine": machine["processor"] if gpu == "none" else gpu,
            "date": record["date"],
            "commit": record["commit"],
            "command": record["command"],
        }
    return pd.DataFrame(rows).T.rename_axis("record")


# ---------------------------------------------------------------- tables


def place(anchor: str) -> str:
    """`05_challenges#fidelity` as a link to the cell, or as plain words while there is none."""
    name, _, tag = anchor.partition("#")
    path = ROOT / "notebooks" / f"{name}.ipynb"
    words = f"{name[:2]}#{tag}"
    return f"[{words}]({path.name}#{tag})" if tag in _anchors(path) else words


@cache
def _anchors(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return frozenset(n for c in cells for n in [c.get("id"), *c["metadata"].get("tags", [])] if n)


def seed_verdicts(language: str | None = None) -> Table:
    """Each statement of the seed, what became of it, and the cell that shows it."""
    rows = []
    for s in rulebook()["statements"]:
        evidence = [compare(spec) for spec in s.get("needs", ())]
        told = [e.number(language or "en") for e in evidence if e.gap]
        why = " · ".join([_text(s["why"], language), *told])
        rows.append([
            str(s["topic"]), _text(s["said"], language),
            f"**{_either(VERDICTS[s['verdict']], language)}**", why, place(s["shown_in"]),
        ])  # fmt: skip
    table = _table(["topic", "said", "verdict", "why", "shown"], rows, language)
    return Table(f"{len(rows)} statements of the seed", table)


def situations(language: str | None = None) -> Table:
    """Typical situations, the advice for each in short, and the comparison behind it."""
    told = []
    for case in rulebook()["situations"]:
        advice = {a.rule["id"]: a for a in guide.recommend(**case["ask"])}[case["rule"]]
        best = advice.first.words(language or "en") if advice.first else ""
        brief = _text(advice.rule["brief"], language)
        told.append([_text(case["words"], language), brief, best, place(advice.rule["shown_in"])])
    table = _table(["situation", "advice", "evidence", "shown"], told, language)
    return Table(f"{len(told)} situations", table)


def common_errors(language: str | None = None) -> Table:
    """Symptom, cause, and the line that catches it, with a link to the exhibit's cell."""
    rows = [
        [f"{n}", *(_text(e[part], language) for part in ("symptom", "cause", "line")),
         place(f"05_challenges#{e['exhibit']}")]
        for n, e in enumerate(rulebook()["errors"], 1)
    ]  # fmt: skip
    table = _table(["exhibit", "symptom", "cause", "line", "shown"], rows, language)
    return Table(f"{len(rows)} common errors", table)


def terms() -> list[dict]:
    """The course's terms: en, zh, and under `not` the renderings to avoid."""
    return yaml.safe_load((BANK / "terminology.yaml").read_text(encoding="utf-8"))


def glossary() -> Table:
    """The terms in both languages, renderings to avoid, and the chapters that use them."""
    text = {
        path.stem[:2]: _prose(path).lower()
        for path in sorted((ROOT / "notebooks").glob("0[0-7]_*.ipynb"))
    }
    rows = []
    for term in sorted(terms(), key=lambda t: t["en"].lower()):
        words = {term["en"].lower().removesuffix("s"), *term["zh"].lower().split("/")}
        used = [n for n, prose in text.items() if any(w in prose for w in words)]
        rows.append([term["en"], term["zh"], "、".join(term.get("not", ())), " ".join(used)])
    return Table(f"{len(rows)} terms", _table(["term", "zh", "not", "chapters"], rows))


def _prose(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


# ---------------------------------------------------------------- the cheat sheet

TERMS = 25  # so many of the terms, the first of the file, are on the sheet
SHEET = {  # the headings of the cheat sheet
    "title": ("Knowledge distillation on one page", "知识蒸馏一页纸"),
    "formulas": ("Formulas", "公式"),
    "decide": ("What to try, and what it brought here", "该用什么，实测如何"),
    "errors": ("When it got worse, or too good", "变差了，或者好得离谱时"),
    "seed": ("Say it precisely", "说得准确"),
    "terms": ("Terms", "术语"),
    "foot": (
        "Differences are paired over seeds, with their 95% interval, from the course's records; "
        "“noise”: zero is inside; of several candidates the best is shown, luck included. "
        "Made by python -m kdlab sheet.",
        "差值按随机种子配对，括号内为 95% 区间，来自课程的实验记录；“噪声”指区间包含零；"
        "有几种候选时只列最好的，含运气成分。"
        "生成命令：python -m kdlab sheet。",
    ),
}
CSS = """
.kd { font: 13px/1.3 "Noto Sans", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC",
  Arial, sans-serif; color: #111; background: #fff; max-width: 1150px; }
.kd h1 { font-size: 1.6em; margin: 0 0 .5em; color: #0072B2; }
.kd h2 { font-size: 1.18em; margin: 0 0 .2em; color: #0072B2; border-bottom: 1px solid #0072B2;
  break-after: avoid; }
.kd .columns { columns: 2; column-gap: 1.8em; }
.kd section { margin: 0 0 .7em; }
.kd table { border-collapse: collapse; width: 100%; font-size: inherit; margin: 0; }
.kd td { vertical-align: top; padding: .1em .4em .1em 0; border-bottom: .5px solid #ccc;
  text-align: left !important; white-space: normal; }
.kd td:first-child { width: 21%; } .kd .errors td { width: 33%; }
.kd .seed td:first-child { width: 46%; }
.kd tr { break-inside: avoid; background: none !important; }
.kd .better { color: #00714f; font-weight: 600; } .kd .worse { color: #b34700; font-weight: 600; }
.kd .noise, .kd .missing { color: #555; }
.kd footer { font-size: .92em; color: #555; margin-top: .3em; }
@page { size: A4; margin: 8mm; }
@media print { body { margin: 0; } .kd { font-size: 9.2px; line-height: 1.24; } }
"""


def cheat_sheet(language: str = "en") -> str:
    """The sheet of one A4 page as an HTML fragment with its style; see `write_sheets`."""
    n = LANGUAGES.index(language)
    book = rulebook()

    def rows(cells: list[list[str]]) -> str:
        lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in cells)
        return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"

    say = html.escape
    parts = {
        "formulas": [
            [f"<b>{say(f['name'][language])}</b>", say(f["is"][language])] for f in book["formulas"]
        ],
        "decide": [_decision(rule, language) for rule in book["rules"] if _told(rule)],
        "errors": [
            [say(e[part][language]) for part in ("symptom", "cause", "line")]
            for e in book["errors"]
        ],
        "seed": [
            [say(s["said"][language]), say(s["why"][language])]
            for s in book["statements"]
            if s["verdict"] == "corrected"
        ],
    }
    body = [
        f"<section class='{name}'><h2>{SHEET[name][n]}</h2>{rows(cells)}</section>"
        for name, cells in parts.items()
    ]
    core = terms()[:TERMS]
    words = " · ".join(f"{say(t['en'])} {say(t['zh'])}" for t in core)
    body.append(f"<section><h2>{SHEET['terms'][n]}</h2>{words}</section>")
    return (
        f"<style>{CSS}</style><div class='kd' lang='{language}'><h1>{SHEET['title'][n]}</h1>"
        f"<div class='columns'>{''.join(body)}</div><footer>{SHEET['foot'][n]}</footer></div>"
    )


def _told(rule: dict) -> bool:
    return any(key in rule for key in ("needs", "weighs", "among"))


def _decision(rule: dict, language: str) -> list[str]:
    """A rule in short: situation, advice, and the comparison that stands for it."""
    best = guide.weigh(rule).first
    return [
        f"<b>{html.escape(rule['name'][language])}</b>",
        html.escape(rule["brief"][language]),
        f"<span class='{best.verdict}'>{html.escape(best.short(language))}</span>",
    ]


def write_sheets(folder: Path = BUILD) -> list[Path]:
    """Write cheat-sheet.en.html and cheat-sheet.zh.html: open one in a browser and print it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for language in LANGUAGES:
        title = SHEET["title"][LANGUAGES.index(language)]
        page = (
            f"<!doctype html><html lang='{language}'><head><meta charset='utf-8'>"
            f"<title>{title}</title></head><body>{cheat_sheet(language)}"
            "</body></html>\n"
        )
        path = folder / f"cheat-sheet.{language}.html"
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
        paths.append(path)
    return paths
