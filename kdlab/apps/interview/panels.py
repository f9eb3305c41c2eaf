"""For the candidate in JupyterLab: cards, multiple choice, mock interview, statistics, a plan.

One `TrainerPanel` shows the screens of a sitting (`sessions`): a page, a button for each key, a
language switch. Nothing is recorded before a grade or an option is chosen.
"""

import html
import io
import time
from collections.abc import Callable

import ipywidgets as widgets

from kdlab.apps.i18n import languages, translate
from kdlab.apps.interview import scheduling, sessions
from kdlab.apps.interview.bank import chapter_titles, find_items, group_name
from kdlab.apps.interview.progress import GROUPINGS, readiness_table
from kdlab.apps.interview.sessions import Screen, Sitting, Stop
from kdlab.apps.markdown import as_html

KEYS = 4  # of a screen at most
WRAP = {"flex_flow": "row wrap", "align_items": "center"}
NARROW = {"width": "auto", "min_width": "5em"}
WIDE = {"width": "100%", "max_width": "1000px"}


class TrainerPanel(widgets.VBox):
    """A sitting on the screen. `begin(**values of the controls)` makes it, at each change anew.

    `controls` become attributes by their names; `.screen` is what is shown, `.language` the switch.
    `choices` gives the options of some controls by language; with `fixed`, controls rest while a
    sitting is under way; `picture(language=..., **values)` draws a PNG below the page.
    """

    def __init__(
        self,
        controls: dict[str, widgets.Widget],
        begin: Callable[..., Sitting],
        *,
        choices: dict[str, Callable[[str], list]] | None = None,
        picture: Callable[..., bytes] | None = None,
        fixed: bool = False,
    ) -> None:
        self.controls, self.begin, self.choices = controls, begin, choices or {}
        self.draw, self.fixed, self.language = picture, fixed, _language_switch()
        self.status, self.message = widgets.HTML(), widgets.HTML()
        self.body, self.picture = widgets.HTMLMath(layout=WIDE), widgets.Image(layout=WIDE)
        self.body.add_class("jp-RenderedHTMLCommon")  # JupyterLab's look of tables and code
        self.buttons = [widgets.Button(button_style="primary", layout=NARROW) for _ in range(KEYS)]
        self.stop, self.restart = widgets.Button(), widgets.Button()
        self.changed = self._guarded(lambda _: self.start())
        for button in self.buttons:
            button.on_click(self._guarded(lambda button: self.answer(button.key)))
        self.stop.on_click(self._guarded(lambda _: self._show(self.sitting.throw(Stop()))))
        self.restart.on_click(self.changed)
        for name, control in controls.items():
            setattr(self, name, control)
            control.style.description_width = "initial"
            control.observe(self.changed, names="value")
        self.language.observe(self._guarded(lambda _: self._render()), names="value")
        top = widgets.HBox([*controls.values(), self.language], layout=WRAP)
        keys = widgets.HBox([*self.buttons, self.stop, self.restart], layout=WRAP)
        rows = [top, self.status, keys, self.message, self.body]
        super().__init__([*rows, self.picture] if picture else rows)
        self._relabel()
        self.start()

    def start(self) -> None:
        """Begin a new sitting with the controls as they stand."""
        self.begun = False
        self.sitting = self.begin(**self._values())
        self._show(next(self.sitting))

    def answer(self, key: str) -> None:
        """What a button does: ValueError for a key that the screen does not have."""
        if key not in self.screen.options:
            raise ValueError(f"no option {key!r} here; there are {list(self.screen.options)}")
        self.begun = True
        self._show(self.sitting.send(key))

    def _values(self) -> dict[str, object]:
        return {name: control.value for name, control in self.controls.items()}

    def _show(self, screen: Screen) -> None:
        self.screen, self.message.value = screen, ""
        self._render()

    def _render(self) -> None:
        self._relabel()
        code, screen = self.language.value, self.screen
        page = "\n\n---\n\n".join(text(code) for text in (screen.above, screen.page) if text)
        lang = "zh-CN" if code == "zh" else code  # the forms of the characters that a browser takes
        style = "font-size:1.1em;line-height:1.5"
        self.body.value = f'<div lang="{lang}" style="{style}">{as_html(page)}</div>'
        status = screen.status(code) if screen.status else ""
        self.status.value = f'<span style="color:#666">{status}</span>'
        for button, (key, label) in zip(self.buttons, screen.options.items(), strict=False):
            button.key, button.description = key, label(code)
        for n, button in enumerate(self.buttons):
            button.layout.display = None if n < len(screen.options) else "none"
        self.stop.description = translate("control.stop", code)
        self.stop.layout.display = None if screen.options else "none"
        again = "restart" if self.begun or screen.options else "refresh"
        self.restart.description = translate(f"control.{again}", code)
        for control in self.controls.values():
            control.disabled = self.fixed and self.begun and bool(screen.options)
        if self.draw:
            self.picture.value = self.draw(language=code, **self._values())

    def _relabel(self) -> None:
        """The controls' words in the language; what is chosen stays, the sitting goes on."""
        for name, control in self.controls.items():
            control.description = translate(f"control.{name}", self.language.value)
            if name in self.choices:
                chosen, choices = control.value, self.choices[name](self.language.value)
                control.unobserve(self.changed, names="value")
                control.options = choices
                control.value = choices[0][1] if chosen is None else chosen
                control.observe(self.changed, names="value")

    def _guarded(self, action: Callable[[object], None]) -> Callable[[object], None]:
        """What a front end may call: an error is written into the panel and raised."""

        def call(event: object) -> None:
            try:
                action(event)
            except Exception as error:
                message = html.escape(f"{type(error).__name__}: {error}")
                self.message.value = f'<b style="color:#b00020">{message}</b>'
                raise

        return call


def flash_cards() -> TrainerPanel:
    """Cards by spaced repetition.

    Controls: `.chapter` and `.level`, 0 for all of these, and `.words`, which must stand in them.
    """
    return _item_panel(sessions.card_sitting)


def multiple_choice() -> TrainerPanel:
    """The short answer among wrong ones, in a seeded order; otherwise as `flash_cards`."""
    return _item_panel(sessions.choice_sitting)


def _item_panel(sitting: Callable[[list], Sitting]) -> TrainerPanel:
    levels = [(str(n), n) for n in scheduling.LEVELS]
    choices = {
        "chapter": lambda code: [(translate("control.all", code), 0), *_chapters(code)],
        "level": lambda code: [(translate("control.all", code), 0), *levels],
    }
    controls = {
        "chapter": widgets.Dropdown(layout={"width": "30em"}),
        "level": widgets.Dropdown(layout={"width": "9em"}),
        "words": widgets.Text(continuous_update=False, layout={"width": "20em"}),
    }

    def begin(chapter: int, level: int, words: str) -> Sitting:
        chapters, levels = ([chapter] if chapter else []), ([level] if level else [])
        return sitting(find_items(chapters, levels, words=words))

    return TrainerPanel(controls, begin, choices=choices)


def mock_interview(minutes: int = 30, *, seed: int | None = None) -> TrainerPanel:
    """A mock interview with a mix of levels and chapters, a rubric and a report at the end.

    Controls: `.minutes`, `.basic`, `.working`, `.senior` (shares of the levels), `.chapters`. With
    a `seed` it is the interview of `scheduling.mock(minutes, seed=seed)`, without one a new one.
    """
    controls = {
        "minutes": widgets.IntSlider(minutes, 5, max(90, minutes), 5),
        "basic": widgets.IntSlider(1, 0, 4),
        "working": widgets.IntSlider(2, 0, 4),
        "senior": widgets.IntSlider(1, 0, 4),
        "chapters": widgets.SelectMultiple(rows=4, layout={"width": "34em"}),
    }

    def begin(minutes: int, basic: int, working: int, senior: int, chapters: tuple) -> Sitting:
        levels, number = {1: basic, 2: working, 3: senior}, time.time_ns() if seed is None else seed
        pool = find_items(chapters)
        return sessions.mock_sitting(scheduling.mock(minutes, pool, levels=levels, seed=number))

    return TrainerPanel(controls, begin, choices={"chapters": _chapters}, fixed=True)


def statistics_panel() -> TrainerPanel:
    """What is known, as a table and a plot. Control: `.by` (chapter, level, kind or topic)."""
    from kdlab.apps.interview.figures import progress_bars

    def picture(by: str, language: str) -> bytes:
        table = readiness_table(by).sort_values("items", ascending=False)[:20].sort_index()
        names = [group_name(by, group, language) for group in table.index]
        png = io.BytesIO()
        progress_bars(table, names, language).savefig(png, format="png", dpi=140)  # for a projector
        return png.getvalue()

    choices = {"by": lambda code: [(translate(f"control.by {g}", code), g) for g in GROUPINGS]}
    controls = {"by": widgets.Dropdown(layout={"width": "12em"})}
    return TrainerPanel(controls, sessions.readiness_sitting, choices=choices, picture=picture)


def tomorrow(hours: float = 3.0) -> TrainerPanel:
    """The plan of the evening before an interview. Control: `.hours`."""
    slider = widgets.FloatSlider(hours, min=0.5, max=12, step=0.5, readout_format=".1f")
    return TrainerPanel({"hours": slider}, sessions.evening_sitting)


def trainer_tabs() -> widgets.VBox:
    """Everything in tabs, with one language switch: `.language`, `.panels` by name."""
    makers = (flash_cards, multiple_choice, mock_interview, statistics_panel, tomorrow)
    names = ("cards", "choice", "mock", "statistics", "tomorrow")
    panels = {name: make() for name, make in zip(names, makers, strict=True)}
    language, tabs = _language_switch(), widgets.Tab(children=list(panels.values()))
    for panel in panels.values():
        panel.language.layout.display = "none"
        widgets.dlink((language, "value"), (panel.language, "value"))

    def titles(code: str) -> list[str]:
        return [translate(f"control.{name}", code) for name in names]

    def refresh(change: dict) -> None:
        if names[change["new"]] in ("statistics", "tomorrow"):
            panels[names[change["new"]]].start()  # it counts what the other tabs asked

    widgets.dlink((language, "value"), (tabs, "titles"), titles)
    tabs.observe(refresh, names="selected_index")
    box = widgets.VBox([language, tabs])
    box.language, box.tabs, box.panels = language, tabs, panels
    return box


def _language_switch() -> widgets.ToggleButtons:
    names, style = [("English", "en"), ("中文", "zh")], {"button_width": "7em"}
    return widgets.ToggleButtons(options=names, value=languages()[0], style=style)


def _chapters(code: str) -> list[tuple[str, int]]:
    """The chapters as options."""
    return [(group_name("chapter", n, code), n) for n in chapter_titles()]
