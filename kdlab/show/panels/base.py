"""What all panels share: controls above a picture above a line of numbers."""

import math
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor

from kdlab import losses
from kdlab.show.style import Frames
from kdlab.words import say

State = Mapping[str, object]  # the numbers of a panel, from a pure function
Moving = tuple[Figure, Callable[[State], Sequence[Artist]]]  # a figure, and what moves in it
LOW, HIGH = 0.25, 50.0  # temperatures within the sliders' reach


class Panel(ipywidgets.VBox):
    """Controls above a picture above a line of numbers; a language switch at the right.

    `controls` become attributes by their names; `compute()` gives `.state`, which moves the
    `picture`, and `line` is the key of the line of numbers. `names(control, language)` is what
    stands on a control, by default the words of its key.
    """

    def __init__(
        self,
        controls: dict,
        compute: Callable[[], dict],
        picture: Moving,
        line: str,
        names: Callable[[str, str], str] = lambda name, language: say(f"panel.{name}", language),
        dpi: int = 140,
    ):
        self.controls, self.compute, self.line, self.names = controls, compute, line, names
        self.frames, self.move = Frames(picture[0], dpi), picture[1]
        self.__dict__.update(controls)
        self.language = ipywidgets.ToggleButtons(
            options=[("English", "en"), ("中文", "zh")], style={"button_width": "7em"}
        )
        self.picture = ipywidgets.Image(layout={"width": "100%", "max_width": "1100px"})
        self.numbers = ipywidgets.HTML()
        for control in controls.values():
            control.style.description_width = "initial"
            control.observe(self._redraw, names="value")
        self.language.observe(self._retitle, names="value")
        row = ipywidgets.HBox([*controls.values(), self.language], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.picture, self.numbers])
        self._redraw()

    def _redraw(self, _=None) -> None:
        self.state = self.compute()
        self.picture.value = self.frames.png(self.move(self.state))
        self._retitle()

    def _retitle(self, _=None) -> None:
        for name, control in self.controls.items():
            control.description = self.names(name, self.language.value)
        line = say(f"panel.{self.line}", self.language.value, **self.state)
        self.numbers.value = f'<span style="font-size:1.15em">{line}</span>'


def temperature_slider() -> ipywidgets.FloatLogSlider:
    """0.25 to 50 in steps that meet 0.5, 1, 2, 4 and (nearly) 20: a browser snaps to them."""
    return ipywidgets.FloatLogSlider(
        value=4.0,
        base=2,
        min=math.log2(LOW),
        max=math.log2(HIGH),
        step=0.04,
        readout_format=".3g",
        layout={"width": "26em"},
    )


def image_choice(labels: Tensor, classes: Sequence[str]) -> ipywidgets.Dropdown:
    """One of the images, by its number and class."""
    options = [(f"{n}: {classes[label]}", n) for n, label in enumerate(labels.tolist())]
    return ipywidgets.Dropdown(options=options, layout={"width": "14em"})


def check_images(
    count: int, labels: Tensor, teacher_logits: Tensor, student_logits: Tensor
) -> None:
    """ValueError unless there are as many labels and rows of logits as images."""
    losses.check_same_shape(student_logits, teacher_logits)
    if not 0 < count == len(labels) == len(teacher_logits):
        raise ValueError(
            f"a panel needs as many images as labels and logits, and at least one, got {count} "
            f"images, {len(labels)} labels, {len(teacher_logits)} rows of logits"
        )
