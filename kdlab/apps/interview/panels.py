"""The trainer in JupyterLab: cards, multiple choice, mock interview, statistics, tonight's plan.

One `TrainerPanel` shows the screens of a sitting (`sessions`): a page, a button for each key, a
language switch. Nothing is recorded before a grade or an option is chosen.
"""

import html
import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import ipywidgets

from kdlab.apps.i18n import languages, translate
from kdlab.apps.interview import scheduling, sessions
from kdlab.apps.interview.bank import chapter_titles, find_items, group_name
from kdlab.apps.interview.progress import GROUPINGS, readiness_table
from kdlab.apps.interview.sessions import Screen, Sitting, Stop
from kdlab.apps.markdown import Page

MOST_KEYS = 4  # of a screen
WRAP = {"flex_flow": "row wrap", "align_items": "center"}
WIDE = {"width": "100%", "max_width": "1000px"}
LanguageSwitch = ipywidgets.ToggleButtons | None  # of the language; None: the panel has its own


class TrainerPanel(ipywidgets.VBox):
    """A sitting on the screen. `begin(**values of the controls)` makes it, at each change anew.

    `controls` become attributes by their names; `.screen` is what is shown, `.language` the switch.
    `choices` gives the options of some controls by language; with `fixed`, controls rest while a
    sitting is under way; `picture(language=..., **values)` draws a PNG below the page.
    """

    def __init__(
        self,
        controls: dict[str, ipywidgets.Widget],
        begin: Callable[..., Sitting],
        *,
        language: LanguageSwitch = None,
        choices: dict[str, Callable] | None = None,
        picture: Callable | None = None,
        fixed: bool = False,
    ) -> None:
        self.controls, self.begin, self.choices, self.draw = controls, begin, choices or {}, picture
        self.fixed, self.language = fixed, language or _language_switch()
        self.status, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.body, self.picture = ipywidgets.HTMLMath(layout=WIDE), ipywidgets.Image(layout=WIDE)
        self.body.add_class("jp-RenderedHTMLCommon")  # JupyterLab's look of tables and code
        visibly, narrow = self._visibly(), {"width": "auto", "min_width": "5em"}
        look = {"button_style": "primary", "layout": narrow}
        self.buttons = [ipywidgets.Button(**look) for _ in range(MOST_KEYS)]
        for button in self.buttons:
            button.on_click(visibly(lambda b: self.answer(b.key)))
        self.changed = visibly(lambda _: self.start())
        self.stop, self.restart = ipywidgets.Button(), ipywidgets.Button()
        self.stop.on_click(visibly(lambda _: self._show(self.sitting.throw(Stop()))))
        self.restart.on_click(self.changed)
        for name, control in controls.items():
            setattr(self, name, control)
            control.style.description_width = "initial"
            control.observe(self.changed, names="value")
        self.language.observe(visibly(lambda _: self._render()), names="value")
        switch = [] if language else [self.language]
        top = ipywidgets.HBox([*controls.values(), *switch], layout=WRAP)
        keys = ipywidgets.HBox([*self.buttons, self.stop, self.restart], layout=WRAP)
        below = [self.picture] if picture else []
        super().__init__([top, self.status, keys, self.message, self.body, *below])
        self._relabel(self.language.value)
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
        code, screen = self.language.value, self.screen
        parts = [part(code) for part in (screen.above, screen.page) if part]
        page = Page("", "\n\n---\n\n".join(parts))._repr_html_()
        lang = "zh-CN" if code == "zh" else code  # the forms of the characters that a browser takes
        look = "font-size:1.1em;line-height:1.5"
        self.body.value = f'<div lang="{lang}" style="{look}">{page}</div>'
        status = screen.status(code) if screen.status else ""
        self.status.value = f'<span style="color:#666">{status}</span>'
        for button, (key, label) in zip(self.buttons, screen.options.items(), strict=False):
            button.key, button.description = key, label(code)
        for n, button in enumerate(self.buttons):
            button.layout.display = None if n < len(screen.options) else "none"
        again = "restart" if self.begun or screen.options else "refresh"
        self.restart.description = translate(f"control.{again}", code)
        self.stop.description = translate("control.stop", code)
        self.stop.layout.display = None if screen.options else "none"
        self._relabel(code)
        for control in self.controls.values():
            control.disabled = self.fixed and self.begun and bool(screen.options)
        if self.draw:
            self.picture.value = self.draw(language=code, **self._values())

    def _relabel(self, code: str) -> None:
        """The controls' words in this language; what is chosen stays, the sitting goes on."""
        for name, control in self.controls.items():
            control.description = translate(f"control.{name}", code)
            if name in self.choices:
                chosen, choices = control.value, self.choices[name](code)
                control.unobserve(self.changed, names="value")
                control.options = choices
                control.value = choices[0][1] if chosen is None else chosen
                control.observe(self.changed, names="value")

    @contextmanager
    def _visibly(self) -> Iterator[None]:
        """Decorates what a front end calls: an error is written into the panel and raised."""
        try:
            yield
        except Exception as error:
            told = html.escape(f"{type(error).__name__}: {error}")
            self.message.value = f'<b style="color:#b00020">{told}</b>'
            raise


def flash_cards(*, language: LanguageSwitch = None) -> TrainerPanel:
    """Cards by spaced repetition.

    Controls: `.chapter` and `.level`, 0 for all of these, and `.words`, which must stand in them.
    """
    return _asking(sessions.card_sitting, language)


def multiple_choice(*, language: LanguageSwitch = None) -> TrainerPanel:
    """The short answer among wrong ones, in a seeded order; otherwise as `flash_cards`."""
    return _asking(sessions.choice_sitting, language)


def _asking(sitting: Callable, language: LanguageSwitch) -> TrainerPanel:
    levels = [(str(n), n) for n in scheduling.LEVELS]
    choices = {
        "chapter": lambda code: [(translate("control.all", code), 0), *_chapters(code)],
        "level": lambda code: [(translate("control.all", code), 0), *levels],
    }
    controls = {
        "chapter": ipywidgets.Dropdown(layout={"width": "30em"}),
        "level": ipywidgets.Dropdown(layout={"width": "9em"}),
        "words": ipywidgets.Text(continuous_update=False, layout={"width": "20em"}),
    }

    def begin(chapter: int, level: int, words: str) -> Sitting:
        among = [[number] if number else [] for number in (chapter, level)]
        return sitting(find_items(*among, words=words))

    return TrainerPanel(controls, begin, choices=choices, language=language)


def mock_interview(
    minutes: int = 30, *, seed: int | None = None, language: LanguageSwitch = None
) -> TrainerPanel:
    """A mock interview with a mix of levels and chapters, a rubric and a report at the end.

    Controls: `.minutes`, `.basic`, `.working`, `.senior` (shares of the levels), `.chapters`. With
    a `seed` it is the interview of `trainer.mock(minutes, seed=seed)`, without one a new one.
    """
    shares = {"basic": 1, "working": 2, "senior": 1}
    controls = {
        "minutes": ipywidgets.IntSlider(minutes, 5, max(90, minutes), 5),
        **{name: ipywidgets.IntSlider(share, 0, 4) for name, share in shares.items()},
        "chapters": ipywidgets.SelectMultiple(rows=4, layout={"width": "34em"}),
    }

    def begin(minutes: int, basic: int, working: int, senior: int, chapters: tuple) -> Sitting:
        levels, drawn = {1: basic, 2: working, 3: senior}, time.time_ns() if seed is None else seed
        asked = scheduling.mock(minutes, levels=levels, seed=drawn, chapters=chapters)
        return sessions.mock_sitting(asked)

    choices = {"chapters": _chapters}
    return TrainerPanel(controls, begin, choices=choices, fixed=True, language=language)


def statistics_panel(*, language: LanguageSwitch = None) -> TrainerPanel:
    """What is known, as a table and a plot. Control: `.by` (chapter, level, kind or topic)."""
    from kdlab.apps.interview.figures import progress_bars

    choices = {
        "by": lambda code: [(translate(f"control.by {name}", code), name) for name in GROUPINGS]
    }
    controls = {"by": ipywidgets.Dropdown(layout={"width": "12em"})}

    def picture(by: str, language: str) -> bytes:
        table = readiness_table(by).sort_values("items", ascending=False)[:20].sort_index()
        names = [group_name(by, group, language) for group in table.index]
        out = io.BytesIO()
        progress_bars(table, names, language).savefig(out, format="png", dpi=140)  # for a projector
        return out.getvalue()

    begin = sessions.readiness_sitting
    return TrainerPanel(controls, begin, choices=choices, picture=picture, language=language)


def tomorrow(hours: float = 3.0, *, language: LanguageSwitch = None) -> TrainerPanel:
    """The plan of the evening before an interview. Control: `.hours`."""
    slider = ipywidgets.FloatSlider(hours, min=0.5, max=12, step=0.5, readout_format=".1f")
    return TrainerPanel({"hours": slider}, sessions.evening_sitting, language=language)


def trainer_tabs() -> ipywidgets.VBox:
    """Everything in tabs, with one language switch: `.language`, `.panels` by name."""
    language = _language_switch()
    makers = {"cards": flash_cards, "choice": multiple_choice, "mock": mock_interview}
    makers |= {"statistics": statistics_panel, "tomorrow": tomorrow}
    panels = {name: make(language=language) for name, make in makers.items()}
    tabs = ipywidgets.Tab(children=list(panels.values()))

    def titles(code: str) -> list[str]:
        return [translate(f"control.{name}", code) for name in panels]

    def refresh(change: Mapping[str, int]) -> None:
        if (shown := tabs.children[change["new"]]) in (panels["statistics"], panels["tomorrow"]):
            shown.start()  # it counts what the other tabs asked

    ipywidgets.dlink((language, "value"), (tabs, "titles"), titles)
    tabs.observe(refresh, names="selected_index")
    box = ipywidgets.VBox([language, tabs])
    box.language, box.tabs, box.panels = language, tabs, panels
    return box


def _language_switch() -> ipywidgets.ToggleButtons:
    names = [("English", "en"), ("中文", "zh")]
    style = {"button_width": "7em"}
    return ipywidgets.ToggleButtons(options=names, value=languages()[0], style=style)


def _chapters(code: str) -> list[tuple[str, int]]:
    """The chapters as options."""
    return [(group_name("chapter", n, code), n) for n in chapter_titles()]
