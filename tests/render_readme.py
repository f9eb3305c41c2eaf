"""Write what the READMEs say about chapters, teachers and results from the files themselves.

python tests/render_readme.py
renders every block between `<!-- NAME:begin -->` and `<!-- NAME:end -->`, and the picture;
tests/test_readme.py fails where a block is no longer what the records say.
"""

import re
import statistics
from pathlib import Path

import nbformat

from kdlab import metrics, plans, records, teachers
from kdlab.desk.course import fewer_colours, find
from kdlab.files import ROOT
from kdlab.show import figures, sheets

READMES = (ROOT / "README.md", ROOT / "data" / "README.md")
PICTURE = records.results_dir() / "cifar-gain.png"


def chapters() -> str:
    """The chapter map: titles, promises and times from the notebooks."""
    lines = ["| | chapter | what it shows | time on two cores |", "|---|---|---|---|"]
    for path in find():
        cells = nbformat.read(path, as_version=4).cells
        title = re.search(r"^# \d+ · (.+)$", cells[0].source, re.MULTILINE).group(1)
        promise = re.search(r"^> (.+)$", cells[0].source, re.MULTILINE).group(1)
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        time = re.search(r"\*\*Time:\*\* (.+)", text).group(1)
        lines.append(f"| {path.name[:2]} | [{title}](notebooks/{path.name}) | {promise} | {time} |")
    return "\n".join(lines)


def spread(numbers: list[float], digits: int) -> str:
    """Mean ± standard deviation."""
    if len(numbers) < 2:
        return f"{numbers[0]:.{digits}f}"
    return f"{statistics.mean(numbers):.{digits}f} ± {statistics.stdev(numbers):.{digits}f}"


def results() -> str:
    """One row an arm of each record, against its control."""
    lines = [
        "| experiment | control | arm | difference, paired (95% interval) | seeds |",
        "|---|---|---|---|---|",
    ]
    for name in sheets.record_names():
        declared = name in (*plans.EXPERIMENTS, "bench")
        if not declared or name.endswith("-tuning"):  # one chose something, and concludes nothing
            continue
        record = records.read(name)
        runs, settings = record["runs"], record["settings"]
        if any("unseen" in run for run in runs):
            lines += unseen(record)
            continue
        metric, unit, digits = "accuracy", "accuracy in %", 2
        if name == "bench":
            metric, unit, digits = "seconds", "seconds", 1
        elif name == "robust":
            metric, unit = "robust", "accuracy under PGD-20 in %"
        elif name == "verification":
            metric, unit = "tar", "TAR at FAR 1% in %"
        elif "mnist" in str(settings):
            metric, unit, digits = "errors", "test errors", 1
        title = f"{record['title']} ({unit})"
        for control, arm in compared(name, runs, metric):
            base, mine = (records.values(runs, a, metric) for a in (control, arm))
            gap, found = "", records.compare(name, arm, control, metric)
            if p := found.gap:
                gap = f"{p.mean:+.{digits}f} ({p.low:+.{digits}f} to {p.high:+.{digits}f})"
                gap += ", noise" * (found.verdict == "noise")
            lines.append(
                f"| {title} | {control}: {spread(base, digits)} "
                f"| {arm}: {spread(mine, digits)} | {gap} | {len(mine)} |"
            )
            title = ""  # a title stands in the first of its rows
    return "\n".join(lines)


def compared(name: str, runs: list[dict], metric: str) -> list[tuple[str, str]]:
    """Which arms a record's rows compare: (control, arm)."""
    if name == "architectures":
        kinds = dict.fromkeys(run["arm"].split(": ")[0] for run in runs)
        return [(f"{kind}: labels", f"{kind}: distilled") for kind in kinds]
    if name == "small-data":
        steps = "1000 labels", "teacher of 1000 labels", "label-free"
        pairs = zip(steps, steps[1:], strict=False)
        return [(f"{kind}: {a}", f"{kind}: {b}") for a, b in pairs for kind in plans.FEW]
    if name == "learning-rate":
        return [(f"labels, lr {lr}", f"soft targets, lr {lr}") for lr in ("0.1", "0.2", "0.4")]
    control, *others = dict.fromkeys(run["arm"] for run in runs)
    if name == "robust":
        control, others = "adversarial training", ["labels", "soft targets", "ARD", "RSLAD"]
    if name == "leaderboard":
        taught = [a for a in others if "labels" not in a and "targets" not in a]
        best = max(taught, key=lambda a: statistics.mean(records.values(runs, a, metric)))
        others = ["soft targets", best, "labels, twice as long", "soft targets, twice as long"]
    if len(others) > 4:  # a grid: the best one
        others = [max(others, key=lambda a: statistics.mean(records.values(runs, a, metric)))]
    return [(control, arm) for arm in others]


def unseen(record: dict) -> list[str]:
    """Rows of the digits that a student never saw: wrong before and after the shift."""
    lines, runs = [], record["runs"]
    for arm in dict.fromkeys(run["arm"] for run in runs):
        before, after = (
            records.values(runs, arm, metric)
            for metric in ("unseen errors", "unseen errors shifted")
        )
        total = records.values(runs, arm, "unseen")[0]
        lines.append(
            f"| {record['title']} (errors on the {total:,} unseen test images) "
            f"| {arm}: {spread(before, 1)} | with the shift: {spread(after, 1)} | | {len(after)} |"
        )
    return lines


def provenance() -> str:
    """Where each record came from."""
    return "\n".join(
        f"- `{name}.json`: {records.provenance(name)}" for name in sheets.record_names()
    )


def teacher_table() -> str:
    """The teachers by their cards."""
    lines = [
        "| teacher | parameters | trained on | test errors | accuracy | file, kB | seconds | on |",
        "|---|---|---|---|---|---|---|---|",
    ]
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


BLOCKS = {
    "chapters": chapters,
    "results": results,
    "records": provenance,
    "teachers": teacher_table,
}


def render(text: str) -> str:
    """The text with each of its blocks written anew."""
    for name, block in BLOCKS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if begin in text:
            before, rest = text.split(begin)
            text = f"{before}{begin}\n{block()}\n{end}{rest.split(end)[1]}"
    return text


def picture() -> bytes:
    """The gain on CIFAR-10, a dot a run."""
    runs = records.read("cifar-gain")["runs"]
    arms = {"labels only": "labels"}
    arms |= {f"taught by a\n{arm}": arm for arm in ("teacher of 10k", "teacher of 50k")}
    drawing = figures.paired_dots(
        {label: records.values(runs, arm, "accuracy") for label, arm in arms.items()},
        ylabel="CIFAR-10 test accuracy, %",
        title="Same student, same images: a teacher adds points",
    )
    return fewer_colours(drawing._repr_png_()[0])


if __name__ == "__main__":
    for path in READMES:
        path.write_text(render(path.read_text("utf-8")), "utf-8")
    Path(PICTURE).write_bytes(picture())
