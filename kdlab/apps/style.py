"""The look of every figure: one style, one colour per role, a `Figure` without pyplot's state."""

import io
import re
import warnings
from collections.abc import Sequence
from functools import cache

import matplotlib
import matplotlib.font_manager
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontManager
from numpy.typing import ArrayLike

from kdlab.apps.i18n import languages, translate

# Okabe & Ito's colours, safe for colour-blind readers. One role, one colour, in every figure.
COLOURS = {
    "teacher": "#0072B2",
    "student": "#E69F00",  # trained on the labels only
    "distilled": "#009E73",
    "label": "#666666",  # the hard label and its loss term
    "accent": "#D55E00",  # a marker that must be seen
    "other": "#CC79A7",
}
ROLES = {"better": "distilled", "worse": "accent"}  # of a verdict; others are grey
PIXELS = {"cmap": "gray_r", "vmin": 0, "vmax": 255, "interpolation": "nearest"}
CHINESE_FONTS = (  # simplified forms first; a CJK collection may only be known by its first face
    "Noto Sans CJK SC", "Source Han Sans SC", "Noto Sans SC", "Microsoft YaHei", "PingFang SC",
    "Hiragino Sans GB", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Noto Sans CJK JP",
)  # fmt: skip


def apply(language: str | None = None) -> None:
    """The course's look, legible from the back of a lecture room. Every figure here calls it."""
    sns.set_theme(context="notebook", style="whitegrid", font_scale=1.2)
    if speaks(language) == "zh":
        matplotlib.rcParams["font.family"] = ["DejaVu Sans", chinese_font()]
    elif languages(language)[0] == "zh":
        warnings.warn(translate("figure.no font", "zh"), stacklevel=2)
    sns.set_style({"axes.edgecolor": "0.3", "grid.color": "0.88"})
    sns.set_palette(list(COLOURS.values()))
    matplotlib.rcParams.update({"axes.titlelocation": "left", "axes.titlesize": "medium"})


class Picture(Figure):
    """A figure that a notebook shows without pyplot, its title as the alternative text."""

    def _repr_png_(self) -> tuple[bytes, dict]:
        titles = [self.get_suptitle(), *(axis.get_title(loc="left") for axis in self.axes)]
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue(), {"alt": next((" ".join(t.split()) for t in titles if t), "figure")}


def figure(
    width: float, height: float, title: str = "", language: str | None = None, dpi: int = 100
) -> Figure:
    """An empty figure in the course's style; `title` states the finding."""
    apply(language)
    picture = Picture(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(picture)  # a heat map asks how wide its labels are
    if title:
        picture.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return picture


def pixels_of(image: ArrayLike) -> np.ndarray:
    """uint8 [C, H, W] as matplotlib wants it: [H, W] or [H, W, 3]."""
    return np.asarray(image).transpose(1, 2, 0).squeeze()


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """A name beside each row, the first row on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)


def log_ticks(axis: Axes, ticks: Sequence[float], form: str = "{:g}") -> None:
    """A logarithmic x axis with these ticks alone."""
    axis.set_xscale("log")
    axis.set_xticks(ticks, [form.format(tick) for tick in ticks])
    axis.minorticks_off()


def paired_bars(axis: Axes, classes: Sequence[str], series: Sequence) -> None:
    """Two horizontal bars a class; series: two of (values, role, name)."""
    rows = np.arange(len(classes))
    for offset, (values, role, name) in zip((-0.2, 0.2), series, strict=True):
        axis.barh(rows + offset, values, 0.4, color=COLOURS[role], linewidth=0, label=name)
    name_rows(axis, classes)


def speaks(language: str | None = None) -> str:
    """The language of a figure's words: English, too, where no font here has Chinese."""
    return languages(language)[0] if chinese_font() else "en"


def word(key: str, language: str | None = None, **values: object) -> str:
    """A figure's own words, by their key in `data/words.yaml`."""
    return translate(f"figure.{key}", speaks(language), **values)


@cache
def chinese_font() -> str | None:
    """The best font here that has Chinese, also one that was installed after matplotlib looked."""
    manager = matplotlib.font_manager.fontManager
    if not _best_font(manager):
        for path in matplotlib.font_manager.findSystemFonts():
            if re.search("CJK|msyh|PingFang|Hiragino|wqy|simhei", path, re.IGNORECASE):
                manager.addfont(path)
    return _best_font(manager)


def _best_font(manager: FontManager) -> str | None:
    installed = {font.name for font in manager.ttflist}
    return next((name for name in CHINESE_FONTS if name in installed), None)
