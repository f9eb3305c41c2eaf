"""For the engineer: what a comparison has shown as one page that needs nothing else, to be read in
either language and to be printed."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from kdlab.apps import style
from kdlab.apps.distil.arms import ARMS, EXTRA, FEATURES, LABELS, LONGER, OWN, OWN_NET, TEACHER
from kdlab.apps.distil.result import Result
from kdlab.apps.distil.verdict import Gap, gap_of, right
from kdlab.apps.distil.words import Sentence, arm_name, interval, pair_name, verdict_sentence, words
from kdlab.apps.i18n import LANGUAGES, languages
from kdlab.apps.pixels import fit_pixels
from kdlab.files import write_text

HERE = Path(__file__).parent
PARTS = ("labelled", "train", "validation", "test")
COLOURS = {LABELS: "student", LONGER: "label", TEACHER: "distilled", OWN: "teacher"}
SHOWN = 10  # classes
CONFUSIONS = 5
EXAMPLES, SIDE = 6, 96  # photos of a kind, and their pixels a side


def write_report(result: Result, teacher: Tensor) -> Path:
    """Write the page beside the runs; `teacher` [N, K] are its answers to the test photos."""
    return write_text(result.report, render(result, teacher))


def render(result: Result, teacher: Tensor) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals |= {
        function.__name__: function
        for function in (say, said, alt, edge, arm_name, pair_name, interval, verdict_sentence)
    }
    photos, record = result.photos, result.record
    return environment.get_template("report.html.jinja").render(
        result=result,
        record=record,
        plan=record["about"]["plan"],
        classes=photos.test.classes,
        language=languages(result.language)[0] if result.language != "both" else "en",
        intervals=both(interval_figure, result),
        curves=both(curve_figure, result),
        changes=changes(result),
        confusions=confusions(result),
        examples=examples(result, teacher.argmax(dim=1).tolist()),
        settings=[arm for arm in (OWN_NET, *result.arms) if arm in record["chosen"]],
        tries={
            arm: [t["validation"] for t in record["trials"] if t["arm"] == arm]
            for arm in record["chosen"]
        },
        taught=[arm for arm in record["chosen"] if ARMS[arm].teacher],
        sizes={name: len(getattr(photos, name).labels) for name in PARTS},
        notes=photos.notes,
        extra=EXTRA,
        TEACHER=TEACHER,
        FEATURES=FEATURES,
        OWN_NET=OWN_NET,
        LABELS=LABELS,
    )


# ---------------------------------------------------------------- words


def say(key: str, **values: object) -> Markup:
    """The words of a key, in every language; the page shows one of them."""
    return said(lambda language: words(key, language, **values))


def said(sentence: Sentence) -> Markup:
    form = Markup('<span lang="{}">{}</span>')
    tags = {"en": "en", "zh": "zh-CN"}
    return Markup("").join(form.format(tags[code], sentence(code)) for code in LANGUAGES)


def alt(key: str, language: str, **values: object) -> str:
    return words(key, language, **values)


def edge(names: Sequence[str]) -> Sentence:
    """That chosen settings lie at the edge of what was tried."""

    def sentence(language: str) -> str:
        listed = ", ".join(words(name, language) for name in names)
        return words("edge", language, names=listed)

    return sentence


# ---------------------------------------------------------------- figures


def both(draw: Callable[[Result, str], Figure], result: Result) -> dict[str, str]:
    """A figure in each language, as the source of an image."""
    pictures = {}
    for code in LANGUAGES:
        memory = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "kdlab"}):  # the same bytes each time
            draw(result, code).savefig(memory, format="svg", metadata={"Date": None})
        pictures[code] = data_uri(memory.getvalue(), "image/svg+xml")
    return pictures


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def colour_of(arm: str) -> str:
    return style.COLOURS[COLOURS.get(arm, "other")]


def interval_figure(result: Result, language: str) -> Figure:
    """Each declared difference with its interval, zero as a line."""
    gaps = result.gaps
    figure = style.figure(7.2, 0.9 + 0.55 * len(gaps), language=language)
    axis = figure.subplots()
    for row, gap in enumerate(gaps.values()):
        role = "distilled" if gap.low > 0 else "accent" if gap.high < 0 else "label"
        line = {"color": style.COLOURS[role], "linewidth": 3, "solid_capstyle": "butt"}
        axis.plot([gap.low, gap.high], [row, row], **line)
        axis.plot(gap.mean, row, "o", color=style.COLOURS[role], markersize=9)
    axis.axvline(0, color="0.3", linewidth=1)
    names = [arm_name(over)(style.speaks(language)) for _, over in gaps]
    if any(arm != TEACHER for arm, _ in gaps):
        names = [pair_name(*pair)(style.speaks(language)) for pair in gaps]
    style.name_rows(axis, names)
    axis.set_xlabel(words("points", style.speaks(language)))
    return figure


def curve_figure(result: Result, language: str) -> Figure:
    """Balanced accuracy on the validation photos of every run, and the mean of each arm."""
    figure = style.figure(7.2, 3.8, language=language)
    axis = figure.subplots()
    for arm in result.arms:
        runs = [np.array(run["curve"]) for run in result.record["runs"] if run["arm"] == arm]
        share = 100 * runs[0][:, 0] / runs[0][-1, 0]
        for run in runs:
            axis.plot(share, run[:, 1], color=colour_of(arm), linewidth=0.8, alpha=0.5)
        mean = np.mean([run[:, 1] for run in runs], axis=0)
        name = arm_name(arm)(style.speaks(language))
        axis.plot(share, mean, color=colour_of(arm), linewidth=2.5, label=name)
    axis.set_xlabel(words("share of updates", style.speaks(language)))
    axis.set_ylabel(words("balanced", style.speaks(language)))
    axis.legend(loc="lower right", fontsize="small")
    return figure


# ---------------------------------------------------------------- classes


def changes(result: Result) -> list[tuple[str, int, float, float, Gap]]:
    """The classes that changed most: name, photos, labels' and teacher's share right, the gap."""
    labels, runs = result.photos.test.labels, result.record["runs"]
    known = labels.tolist()
    ours, theirs = (right(runs, arm, known).mean(axis=0) for arm in (TEACHER, LABELS))
    classes = result.photos.test.classes
    rows = []
    for kind, name in enumerate(classes):
        mine = (labels == kind).numpy()
        shares = 100 * theirs[mine].mean(), 100 * ours[mine].mean()
        rows.append((abs(shares[1] - shares[0]), kind, name, int(mine.sum()), *shares))
    largest = sorted(rows, reverse=True)[:SHOWN]
    return [
        (*row, gap_of(runs, TEACHER, LABELS, known, kind=kind, comparisons=len(classes)))
        for _, kind, *row in largest
    ]


def confusions(result: Result) -> list[tuple[str, str, float, float]]:
    """Of which class to which, in percent of the class's photos: labels' student, teacher's."""
    classes, labels = result.photos.test.classes, result.photos.test.labels
    counts = labels.bincount(minlength=len(classes)).clamp(min=1)

    def matrix(arm: str) -> Tensor:
        total = torch.zeros(len(classes), len(classes))
        runs = [run for run in result.record["runs"] if run["arm"] == arm]
        for run in runs:
            cells = labels * len(classes) + torch.tensor(run["said"])
            total += cells.bincount(minlength=len(classes) ** 2).view_as(total)
        return 100 * total / len(runs) / counts[:, None]

    before, after = matrix(LABELS), matrix(TEACHER)
    change = (after - before).abs().fill_diagonal_(0).flatten()
    order = change.argsort(descending=True)[:CONFUSIONS].tolist()
    cells = [divmod(place, len(classes)) for place in order if change[place] > 0]
    return [(classes[a], classes[b], float(before[a, b]), float(after[a, b])) for a, b in cells]


# ---------------------------------------------------------------- photos


def examples(result: Result, teacher: Sequence[int]) -> list[tuple[str, list[dict]]]:
    """Of each kind of disagreement some photos: those on which most seeds differ."""
    test = result.photos.test
    known, runs = test.labels.tolist(), result.record["runs"]
    ours, theirs = (right(runs, arm, known).mean(axis=0) for arm in (TEACHER, LABELS))
    expert = np.equal(teacher, known).astype(float)
    spoken = {arm: usual(runs, arm) for arm in (TEACHER, LABELS)}
    kinds = {"gained": ours - theirs, "lost": theirs - ours, "not learnt": expert - ours}
    shown: set[int] = set()
    groups = []
    for key, score in kinds.items():
        order = [int(k) for k in np.argsort(-score, kind="stable") if score[k] > 0.5]
        chosen = [k for k in order if k not in shown][:EXAMPLES]
        shown |= set(chosen)
        groups.append((key, [
            {
                "picture": picture(result.photos.paths[int(test.index[k])]),
                "label": test.classes[known[k]],
                "labels": test.classes[spoken[LABELS][k]],
                "student": test.classes[spoken[TEACHER][k]],
                "teacher": test.classes[teacher[k]],
            }
            for k in chosen
        ]))  # fmt: skip
    return groups


def usual(runs: Sequence[dict], arm: str) -> list[int]:
    """The class that most seeds of an arm say of each photo."""
    said = torch.tensor([run["said"] for run in runs if run["arm"] == arm])
    return said.mode(dim=0).values.tolist()


def picture(path: Path) -> str:
    """A small JPEG of the square that the nets see."""
    with Image.open(path) as image:
        pixels = fit_pixels(image, (3, SIDE, SIDE))
    memory = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(memory, "JPEG", quality=85)
    return data_uri(memory.getvalue(), "image/jpeg")
