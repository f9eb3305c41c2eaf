"""The picture of the READMEs: a label, a teacher's answer, and what it is worth; both languages.

python tests/render_picture.py
The answer is asked of the recorded experiment's own teacher, the result is read from its record.
"""

import io
import statistics
from typing import NamedTuple

import torch
from PIL import Image, PngImagePlugin

from kdlab import data, teachers
from kdlab.apps.classroom.runner import fewer_colours
from kdlab.apps.i18n import translate
from kdlab.apps.style import COLOURS, PIXELS, chinese_font, figure, pixels_of
from kdlab.files import ROOT
from kdlab.lab import results, stats
from kdlab.losses import soften

RECORD, ARM, CONTROL = "cifar-gain-tuned", "teacher of 10k", "labels"  # both tuned
IMAGE, SHOWN = 85, 4  # a training image that shows the idea well; so many classes
FILES = {"en": "data/results/readme.png", "zh": "data/results/readme.zh.png"}


class Story(NamedTuple):
    """What the picture tells: an image [C, H, W], the answer class -> probability, the result."""

    image: torch.Tensor
    answer: dict[str, float]
    temperature: float
    control: float
    arm: float
    gap: stats.Paired


def story() -> Story:
    """From the record, its teacher and the data of the clone."""
    record = results.read(RECORD)
    settings, runs = record["settings"][ARM], record["runs"]
    images = data.load(settings["data"])
    teacher, shown = teachers.load_teacher(settings["teacher"]), images.images[IMAGE : IMAGE + 1]
    with torch.no_grad():
        logits = teacher(data.normalise(shown, images))[0].float()
    soft = soften(logits, settings["temperature"])
    order = soft.argsort(descending=True)[:SHOWN].tolist()
    means = (statistics.fmean(stats.values(runs, arm)) for arm in (CONTROL, ARM))
    gap = results.compare(RECORD, ARM, CONTROL).gap
    answer = {images.classes[k]: soft[k].item() for k in order}
    return Story(shown[0], answer, settings["temperature"], *means, gap)


def named(name: str, language: str) -> str:
    return translate(f"panel.{name}", language)


def describe(told: Story, language: str) -> str:
    """The picture in a sentence or two: its alternative text."""
    shares = [f"{named(name, language)} {share:.0%}" for name, share in told.answer.items()]
    gap, told = told.gap, told._asdict() | {"name": named(next(iter(told.answer)), language)}
    told |= {"gap": gap.mean, "low": gap.low, "high": gap.high, "seeds": gap.pairs}
    told["answer"] = ("、" if language == "zh" else ", ").join(shares)
    return translate("picture.alt", language, **told)


def draw(told: Story, language: str) -> bytes:
    """The PNG, its alternative text inside. The type is large: a phone shows it a third as wide."""
    drawing, names = figure(12, 4.8), [*told.answer]
    drawing.set_layout_engine("none")
    fonts = ["DejaVu Sans", *filter(None, [language == "zh" and chinese_font()])]
    font = {"fontsize": 26, "fontfamily": fonts}

    def write(x: float, y: float, text: str, colour: str = "0.15", **more) -> None:
        drawing.text(x, y, text, **font | {"color": colour, **more})

    for x, head in {0.015: "label", 0.3: "teacher", 0.67: "student"}.items():
        write(x, 0.9, translate(f"picture.{head}", language), fontweight="bold")
    photo = drawing.add_axes((0.015, 0.2, 0.252, 0.63), anchor="NW")
    photo.imshow(pixels_of(told.image), **PIXELS)
    photo.set_axis_off()
    write(0.015, 0.07, f"“{named(names[0], language)}”")

    bars = drawing.add_axes((0.4, 0.2, 0.235, 0.63))
    rows, shares = range(len(names)), list(told.answer.values())
    bars.barh(rows, shares, 0.7, color=COLOURS["teacher"])
    for row, share in zip(rows, shares, strict=True):
        bars.text(share + 0.02, row, f"{share:.0%}", va="center", **font)
    bars.set_yticks(rows, [named(name, language) for name in names], **font)
    bars.set(xlim=(0, max(shares) * 1.6), ylim=(len(rows) - 0.5, -0.5), xticks=())
    bars.grid(visible=False)
    bars.spines[:].set_visible(False)
    write(0.3, 0.07, translate("picture.soft", language, t=told.temperature), "0.4")

    gap, number = told.gap, {"fontsize": 44, "fontweight": "bold"}
    for n, (arm, role) in enumerate({"control": "student", "arm": "distilled"}.items()):
        write(0.67, 0.76 - 0.265 * n, translate(f"picture.{arm}", language), "0.4")
        value = f"{getattr(told, arm):.1f}%"
        write(0.67, 0.635 - 0.265 * n, value, COLOURS[role], **number)
    write(0.67, 0.19, translate("picture.gain", language, gap=gap.mean), fontweight="bold")
    write(0.67, 0.07, translate("picture.interval", language, low=gap.low, high=gap.high), "0.4")

    out, about = io.BytesIO(), PngImagePlugin.PngInfo()
    about.add_itxt("Description", describe(told, language))
    picture = Image.open(io.BytesIO(fewer_colours(drawing._repr_png_()[0])))
    picture.save(out, "PNG", optimize=True, pnginfo=about)
    return out.getvalue()


def main() -> None:
    """Write both; a machine without a Chinese font leaves the Chinese one as it is."""
    told = story()
    for language, name in FILES.items():
        if language == "en" or chinese_font():
            (ROOT / name).write_bytes(draw(told, language))


if __name__ == "__main__":
    main()
