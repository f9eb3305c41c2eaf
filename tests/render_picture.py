"""The picture of the READMEs: a label, a teacher's answer, and what it is worth; both languages.

python tests/render_picture.py
The answer is asked of the recorded experiment's own teacher, the result is read from its record.
"""

import io
from typing import NamedTuple

import torch
from PIL import Image, PngImagePlugin

from kdlab import data, records, teachers
from kdlab.desk.course import fewer_colours
from kdlab.files import ROOT
from kdlab.losses import soften
from kdlab.show.style import COLOURS, PIXELS, chinese_font, figure, pixels_of

RECORD, ARM, CONTROL = "cifar-gain", "teacher of 10k", "labels"
IMAGE, SHOWN = 85, 4  # a training image that shows the idea well; so many classes
FILES = {"en": "data/results/readme.png", "zh": "data/results/readme.zh.png"}
CHINESE = {"horse": "马", "dog": "狗", "cat": "猫", "frog": "青蛙", "bird": "鸟", "deer": "鹿"}
WORDS = {
    "en": {
        "heads": ("The label says", "The teacher adds", "The student gains"),
        "label": "“{}”",
        "soft": "softened, T = {:g}",
        "arms": ("labels alone", "and a teacher"),
        "gain": ("{:+.1f} points", "({:.1f} to {:.1f})"),
        "alt": (
            "A training image of CIFAR-10. The label says only {name}. The teacher's soft targets "
            "at T = {t:g} say {answer}. The same student ends at {control:.1f}% of the test images "
            "with labels alone and at {arm:.1f}% with this teacher: {gap:+.1f} points, "
            "95% interval {low:.1f} to {high:.1f}, {seeds} seeds."
        ),
    },
    "zh": {
        "heads": ("标签只说", "教师模型还说", "学生模型的收获"),
        "label": "“{}”",
        "soft": "软化后，T = {:g}",
        "arms": ("只用标签", "再加教师模型"),
        "gain": ("{:+.1f} 个百分点", "（{:.1f} 到 {:.1f}）"),
        "alt": (
            "CIFAR-10 的一张训练图像。标签只说：{name}。教师模型在 T = {t:g} 时给出的软目标是："
            "{answer}。同一个学生模型，只用标签训练，测试准确率 {control:.1f}%；加上这个教师模型，"
            "{arm:.1f}%：{gap:+.1f} 个百分点，95% 区间 {low:.1f} 到 {high:.1f}，共 {seeds} 个种子。"
        ),
    },
}


class Story(NamedTuple):
    """What the picture tells: an image [C, H, W], the answer class -> probability, the result."""

    image: torch.Tensor
    answer: dict[str, float]
    temperature: float
    control: float
    arm: float
    gap: records.metrics.Paired


def story() -> Story:
    """From the record, its teacher and the data of the clone."""
    record = records.read(RECORD)
    settings, runs = record["settings"][ARM], record["runs"]
    images = data.load(settings["data"])
    teacher, shown = teachers.load_teacher(settings["teacher"]), images.images[IMAGE : IMAGE + 1]
    with torch.no_grad():
        logits = teacher(data.normalise(shown, images))[0].float()
    soft = soften(logits, settings["temperature"])
    order = soft.argsort(descending=True)[:SHOWN].tolist()
    means = (sum(v) / len(v) for v in (records.values(runs, arm) for arm in (CONTROL, ARM)))
    gap = records.compare(RECORD, ARM, CONTROL).gap
    answer = {images.classes[k]: soft[k].item() for k in order}
    return Story(shown[0], answer, settings["temperature"], *means, gap)


def named(name: str, language: str) -> str:
    return CHINESE[name] if language == "zh" else name


def describe(told: Story, language: str) -> str:
    """The picture in a sentence or two: its alternative text."""
    shares = [f"{named(name, language)} {share:.0%}" for name, share in told.answer.items()]
    return WORDS[language]["alt"].format(
        name=named(next(iter(told.answer)), language),
        t=told.temperature,
        answer=("、" if language == "zh" else ", ").join(shares),
        control=told.control,
        arm=told.arm,
        gap=told.gap.mean,
        low=told.gap.low,
        high=told.gap.high,
        seeds=told.gap.pairs,
    )


def draw(told: Story, language: str) -> bytes:
    """The PNG, its alternative text inside. The type is large: a phone shows it a third as wide."""
    words, drawing, names = WORDS[language], figure(12, 4.8), [*told.answer]
    drawing.set_layout_engine("none")
    fonts = ["DejaVu Sans", *filter(None, [language == "zh" and chinese_font()])]
    font = {"fontsize": 26, "fontfamily": fonts}

    def say(x: float, y: float, text: str, colour: str = "0.15", **more) -> None:
        drawing.text(x, y, text, **font | {"color": colour, **more})

    for x, head in zip((0.015, 0.3, 0.67), words["heads"], strict=True):
        say(x, 0.9, head, fontweight="bold")
    photo = drawing.add_axes((0.015, 0.2, 0.252, 0.63), anchor="NW")
    photo.imshow(pixels_of(told.image), **PIXELS)
    photo.set_axis_off()
    say(0.015, 0.07, words["label"].format(named(names[0], language)))

    bars = drawing.add_axes((0.4, 0.2, 0.235, 0.63))
    rows, shares = range(len(names)), list(told.answer.values())
    bars.barh(rows, shares, 0.7, color=COLOURS["teacher"])
    for row, share in zip(rows, shares, strict=True):
        bars.text(share + 0.02, row, f"{share:.0%}", va="center", **font)
    bars.set_yticks(rows, [named(name, language) for name in names], **font)
    bars.set(xlim=(0, max(shares) * 1.6), ylim=(len(rows) - 0.5, -0.5), xticks=())
    bars.grid(visible=False)
    bars.spines[:].set_visible(False)
    say(0.3, 0.07, words["soft"].format(told.temperature), "0.4")

    arms = zip(words["arms"], (told.control, told.arm), ("student", "distilled"), strict=True)
    for n, (arm, value, role) in enumerate(arms):
        say(0.67, 0.76 - 0.265 * n, arm, "0.4")
        number = {"fontsize": 44, "fontweight": "bold"}
        say(0.67, 0.635 - 0.265 * n, f"{value:.1f}%", COLOURS[role], **number)
    points, interval = words["gain"]
    say(0.67, 0.19, points.format(told.gap.mean), fontweight="bold")
    say(0.67, 0.07, interval.format(told.gap.low, told.gap.high), "0.4")

    out, about = io.BytesIO(), PngImagePlugin.PngInfo()
    about.add_itxt("Description", describe(told, language))
    Image.open(io.BytesIO(fewer_colours(drawing._repr_png_()[0]))).save(
        out, "PNG", optimize=True, pnginfo=about
    )
    return out.getvalue()


def main() -> None:
    """Write both; a machine without a Chinese font leaves the Chinese one as it is."""
    told = story()
    for language, name in FILES.items():
        if language == "en" or chinese_font():
            (ROOT / name).write_bytes(draw(told, language))


if __name__ == "__main__":
    main()
