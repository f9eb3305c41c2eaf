"""Write what the READMEs say about chapters, teachers and results from the files themselves.

python tests/render_readme.py
renders every block between `<!-- NAME:begin -->` and `<!-- NAME:end -->`, and the pictures;
tests/test_readme.py fails where a block is no longer what the records say.
"""

import re
import statistics
from pathlib import Path

import nbformat
import render_picture

from kdlab import metrics, teachers
from kdlab.apps.classroom.runner import find
from kdlab.apps.distil import recorded
from kdlab.apps.i18n import display_name, record_title, translate, wordbook
from kdlab.files import NOTEBOOKS, ROOT
from kdlab.lab import catalogue, results, stats

PAGES = {"README.md": "en", "README.zh.md": "zh", "RESULTS.md": "en", "RESULTS.zh.md": "zh"}
PAGES["data/README.md"] = "en"
TUNED = "cifar-gain-tuned"
HEADLINES = {  # the key of its title -> record, control, arm, metric
    "tuned": (TUNED, "labels", "teacher of 10k", "accuracy"),
    "longer control": (TUNED, "labels, twice as long", "teacher of 10k", "accuracy"),
    "both longer": (
        TUNED,
        "labels, twice as long",
        "teacher of 10k, twice as long",
        "accuracy",
    ),
    "smaller": ("leaderboard", "labels", "soft targets", "accuracy"),
    "few errors": ("trio", "labels", "distilled", "errors"),
    "few labels": (
        "few-labels",
        "1000 labels: labels",
        "1000 labels: teacher, all images",
        "accuracy",
    ),
    "attacked": ("robust", "adversarial training", "soft targets", "robust"),
}
METRICS = {  # of records that are about another one than accuracy, or errors on MNIST: its digits
    "bench": ("seconds", 1),
    "robust": ("robust", 2),
    "verification": ("tar", 2),
}


def chapters(language: str) -> str:
    """The chapter map: titles, promises and times from the notebooks."""
    lines = [translate("readme.chapters", language)]
    for path in find():
        marks = (r"# \w+ · (.+)$", "> (.+)$", r".*\*\*Time:\*\* (.+)")
        title, promise, time = (re.search(f"(?m)^{mark}", prose(path))[1] for mark in marks)
        number, link = path.name[:2], f"notebooks/{path.name}"
        if language == "en":
            lines.append(f"| {number} | [{title}]({link}) | {promise} | {time} |")
            continue
        if (own := NOTEBOOKS / language / path.name).is_file():
            link, promise = (
                f"notebooks/{language}/{path.name}",
                re.search("(?m)^> (.+)$", prose(own))[1],
            )
        time = re.sub("[a-z]+", lambda word: translate(f"readme.{word[0]}", language), time)
        lines.append(f"| {number} | [{title.split(' · ')[-1]}]({link}) | {promise} | {time} |")
    return "\n".join(lines)


def prose(path: Path) -> str:
    """A notebook's Markdown."""
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def headlines(language: str) -> str:
    """Seven results, each with its control and its interval."""
    lines, known = [translate("readme.headlines", language)], wordbook()["readme"]
    for key, (name, control, arm, metric) in HEADLINES.items():
        digits, record = 1 if metric == "errors" else 2, results.read(name)
        runs = record["runs"]
        found = {a: spread(stats.values(runs, a, metric), digits) for a in (control, arm)}
        cells = [f"{known.get(a, {}).get(language, a)}: {said}" for a, said in found.items()]
        seeds = f"{len(stats.values(runs, arm, metric))}{results.same_views(record) * '*'}"
        gap = interval(name, control, arm, metric, digits, language)
        if language == "zh":
            cells = [cell.replace(": ", "：") for cell in cells]
        title = translate(f"readme.{key}", language)
        lines.append(f"| {title} | {cells[0]} | {cells[1]} | {gap} | {seeds} |")
    return "\n".join(lines)


def interval(
    name: str, control: str, arm: str, metric: str, digits: int, language: str, of: str = ""
) -> str:
    """The paired difference, its 95% interval, and whether it is noise; empty without pairs.

    `of` is the metric of the control where it is another one (before and after).
    """
    found = results.compare(name, arm, control, metric, of=of)
    if not (gap := found.gap):
        return ""
    mean, low, high = (f"{x:+.{digits}f}" for x in gap[:3])
    key = "results.noise" if found.verdict == "noise" else "results.interval"
    return translate(key, language, mean=mean, low=low, high=high)


def spread(numbers: list[float], digits: int) -> str:
    """Mean ± standard deviation."""
    if len(numbers) < 2:
        return f"{numbers[0]:.{digits}f}"
    return f"{statistics.mean(numbers):.{digits}f} ± {statistics.stdev(numbers):.{digits}f}"


def in_order() -> list[str]:
    """Every record: of the declared experiments in their order, then the others."""
    return sorted(there := results.names(), key=[*catalogue.EXPERIMENTS, *there].index)


def results_table(language: str) -> str:
    """One row an arm of each record, against its control."""
    lines = [translate("results.head", language)]
    for name in in_order():
        declared = name in (*catalogue.EXPERIMENTS, "bench", recorded.NAME)
        if not declared or name.endswith("-tuning"):  # one chose something, and concludes nothing
            continue
        record = results.read(name)
        runs = record["runs"]
        if any("unseen" in run for run in runs):
            lines += unseen(record, language)
            continue
        metric, digits = METRICS.get(name, ("accuracy", 2))
        if name not in METRICS and "mnist" in str(record["settings"]):
            metric, digits = "errors", 1
        title = record_title(name, record["title"], language)
        title += translate(f"results.{metric}", language)
        for control, arm in compared(name, runs, metric):
            base, mine = (stats.values(runs, a, metric) for a in (control, arm))
            gap = interval(name, control, arm, metric, digits, language)
            sides = (named(control, base, digits, language), named(arm, mine, digits, language))
            lines.append(f"| {title} | {' | '.join(sides)} | {gap} | {len(mine)} |")
            title = ""  # a title stands in the first of its rows
    return "\n".join(lines)


def named(arm: str, numbers: list[float], digits: int, language: str) -> str:
    """An arm with its mean and standard deviation."""
    colon = translate("results.colon", language)
    return f"{display_name(arm, language)}{colon}{spread(numbers, digits)}"


def compared(name: str, runs: list[dict], metric: str) -> list[tuple[str, str]]:
    """Which arms a record's rows compare: (control, arm)."""
    if name == "architectures":
        kinds = dict.fromkeys(run["arm"].split(": ")[0] for run in runs)
        return [(f"{kind}: labels", f"{kind}: distilled") for kind in kinds]
    if name == "small-data":
        steps = "1000 labels", "teacher of 1000 labels", "label-free"
        pairs = zip(steps, steps[1:], strict=False)
        return [(f"{kind}: {a}", f"{kind}: {b}") for a, b in pairs for kind in catalogue.FEW]
    if name == "few-labels":
        return [(over, arm) for family in catalogue.FEW_FAMILIES for arm, over in family]
    if name == recorded.NAME:
        return [(over, arm) for arm, over in recorded.FAMILY]
    if name == "learning-rate":
        return [(f"labels, lr {lr}", f"soft targets, lr {lr}") for lr in ("0.1", "0.2", "0.4")]
    if name == "patience":
        return [(f"labels, {n} epochs", f"soft targets, {n} epochs") for n in (20, 40, 80)]
    if name == "token":
        return [(way, f"{way}, token") for way in ("hard", "soft")]
    if name == "low-bit":
        taught = "own teacher", "larger teacher"
        return [(f"{n} bits: labels", f"{n} bits: {by}") for n in (4, 2) for by in taught]
    control, *others = dict.fromkeys(run["arm"] for run in runs)

    def best(arms: list[str]) -> str:
        return max(arms, key=lambda a: statistics.mean(stats.values(runs, a, metric)))

    if name == "robust":
        control, others = "adversarial training", ["labels", "soft targets", "ARD", "RSLAD"]
    elif name == "leaderboard":
        taught = best([a for a in others if "labels" not in a and "targets" not in a])
        others = ["soft targets", taught, "labels, twice as long", "soft targets, twice as long"]
    elif len(others) > 4:  # a grid
        others = [best(others)]
    return [(control, arm) for arm in others]


def unseen(record: dict, language: str) -> list[str]:
    """Rows of the digits that a student never saw: wrong before and after the shift."""
    lines, runs, metrics = [], record["runs"], ("unseen errors", "unseen errors shifted")
    title = record_title(record["name"], record["title"], language)
    for arm in dict.fromkeys(run["arm"] for run in runs):
        before, after = (stats.values(runs, arm, metric) for metric in metrics)
        gap = interval(record["name"], arm, arm, metrics[1], 1, language, of=metrics[0])
        total = f"{stats.values(runs, arm, 'unseen')[0]:,}"
        first = title + translate("results.unseen", language, total=total)
        shifted = translate("results.shifted", language, errors=spread(after, 1))
        lines.append(
            f"| {first} | {named(arm, before, 1, language)} | {shifted} | {gap} | {len(after)} |"
        )
    return lines


def provenance(language: str) -> str:
    """Where each record came from."""
    lines = wordbook()["line"] if language == "zh" else results.LINES
    return "\n".join(
        f"- `{name}.json`: {results.provenance(name, lines).replace(' 1 seeds ', ' 1 seed ')}"
        for name in in_order()
    )


def teacher_table(language: str) -> str:
    """The teachers by their cards."""
    columns = "teacher", "parameters", "trained on", "test errors", "accuracy", "file, kB"
    columns += "seconds", "on"
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name in teachers.trained_teachers():
        card, weights = teachers.card(name), teachers.teacher_files(name)[0]
        machine = card["machine"]
        where = machine["accelerator"].replace("none", machine["processor"])
        lines.append(
            f"| `{name}` | {metrics.parameters(teachers.load_teacher(name)):,} "
            f"| {card['recipe']['data']}, {card['recipe']['epochs']} epochs "
            f"| {card['test errors']:,} | {card['test accuracy']}% "
            f"| {weights.stat().st_size / 1000:,.0f} | {card['seconds']} | {where} |"
        )
    return "\n".join(lines)


def picture(language: str) -> str:
    """The picture of the first screen, and what it shows."""
    described = render_picture.describe(render_picture.story(), language)
    return f"![{described}]({render_picture.FILES[language]})"


BLOCKS = {"picture": picture, "chapters": chapters, "headlines": headlines}
BLOCKS |= {"results": results_table, "records": provenance, "teachers": teacher_table}


def render(text: str, language: str = "en") -> str:
    """The text with each of its blocks written anew."""
    for name, block in BLOCKS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if begin in text:
            before, rest = text.split(begin)
            text = f"{before}{begin}\n{block(language)}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    render_picture.main()
    for name, language in PAGES.items():
        path = ROOT / name
        path.write_text(render(path.read_text("utf-8"), language), "utf-8")
