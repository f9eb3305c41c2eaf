"""The trainer in JupyterLab: cards, multiple choice, mock interview, statistics, tonight's plan.

One `Panel` shows the screens of a sitting (`sessions`): a page, a button for each key, a
language switch. In code, `panel.answer(key)` does what a button does; an error is shown in the
panel and raised. Nothing is recorded before a grade or an option is chosen.
"""

import html
import time
from collections.abc import Callable, Collection

import ipywidgets

from kdlab import interview
from kdlab.interview import sessions, trainer
from kdlab.interview.sessions import Screen, Session, Stop

MOST_OPTIONS = 4
LABELS = {  # what stands on controls, buttons and tabs, (English, 中文)
    "chapter": ("Chapter", "章节"),
    "level": ("Level", "难度"),
    "minutes": ("Minutes", "分钟"),
    "basic": ("Share of level 1", "难度 1 占比"),
    "working": ("Share of level 2", "难度 2 占比"),
    "senior": ("Share of level 3", "难度 3 占比"),
    "chapters": ("Chapters (none: all)", "章节（不选为全部）"),
    "by": ("By", "分组"),
    "hours": ("Hours", "小时"),
    "stop": ("Stop", "结束"),
    "restart": ("Start over", "重新开始"),
    "refresh": ("Refresh", "刷新"),
    "cards": ("Cards", "卡片"),
    "choice": ("Multiple choice", "选择题"),
    "mock": ("Mock interview", "模拟面试"),
    "statistics": ("Statistics", "统计"),
    "tomorrow": ("Interview tomorrow", "明天面试"),
    "all": ("all", "全部"),
    "groups": (("chapter", "level", "kind", "topic"), ("章节", "难度", "题型", "标签")),
}


class Panel(ipywidgets.VBox):
    """A session on the screen. `begin(**values of the controls)` makes it, at each change anew.

    `controls` become attributes by their names; `.screen` is what is shown, `.language` the switch.
    `options[name](0 or 1)` are a choice's options in a language; with `fixed`, controls rest while
    a session is under way; `picture(language=..., **values)` draws a PNG below the page.
    """

    def __init__(
        self,
        controls: dict,
        begin: Callable[..., Session],
        *,
        options: dict[str, Callable[[int], list]] | None = None,
        picture: Callable[..., bytes] | None = None,
        fixed: bool = False,
        language: ipywidgets.ToggleButtons | None = None,
    ):
        self.fixed, self.begun, self.relabelling = fixed, False, False
        self.controls, self.begin, self.choices, self.draw = controls, begin, options or {}, picture
        self.__dict__.update(controls)
        self.language = language or _language_switch()
        self.status, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.body = ipywidgets.HTMLMath(layout={"width": "100%", "max_width": "1000px"})
        self.body.add_class("jp-RenderedHTMLCommon")  # JupyterLab's look of tables and code
        self.picture = ipywidgets.Image(layout={"width": "100%", "max_width": "1000px"})
        self.buttons = [ipywidgets.Button(button_style="primary") for _ in range(MOST_OPTIONS)]
        for button in self.buttons:
            button.layout = {"width": "auto", "min_width": "5em"}
            button.on_click(self._visibly(lambda b: self.answer(b.key)))
        self.stop, self.restart = ipywidgets.Button(), ipywidgets.Button()
        self.stop.on_click(self._visibly(lambda _: self._show(self.session.throw(Stop()))))
        self.restart.on_click(self._visibly(lambda _: self.start()))
        for control in controls.values():
            control.style.description_width = "initial"
            control.observe(self._visibly(self._changed), names="value")
        self.language.observe(self._visibly(lambda _: self._render()), names="value")
        own = [] if language else [self.language]
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        keys = ipywidgets.HBox([*self.buttons, self.stop, self.restart], layout=wrap)
        shown = [self.picture] if picture else []
        top = ipywidgets.HBox([*controls.values(), *own], layout=wrap)
        super().__init__([top, self.status, keys, self.message, self.body, *shown])
        self.start()

    def start(self) -> None:
        """Begin a new session with the controls as they stand."""
        self.begun = False
        self.session = self.begin(**{name: c.value for name, c in self.controls.items()})
        self._show(next(self.session))

    def answer(self, key: str) -> None:
        """Choose an option of the screen; ValueError for a key that it does not have."""
        if key not in self.screen.options:
            raise ValueError(f"no option {key!r} here; there are {list(self.screen.options)}")
        self.begun = True
        self._show(self.session.send(key))

    def _changed(self, _) -> None:
        if not self.relabelling:
            self.start()

    def _show(self, screen: Screen) -> None:
        self.screen = screen
        self.message.value = ""
        self._render()

    def _render(self) -> None:
        code = self.language.value
        place = interview.LANGUAGES.index(code)
        parts = [part(code) for part in (self.screen.above, self.screen.page) if part]
        page = interview.Page("", "\n\n---\n\n".join(parts))._repr_html_()
        lang = ("en", "zh-CN")[place]  # which forms of the Han characters a browser takes
        look = "font-size:1.1em;line-height:1.5"
        self.body.value = f'<div lang="{lang}" style="{look}">{page}</div>'
        status = self.screen.status(code) if self.screen.status else ""
        self.status.value = f'<span style="color:#666">{status}</span>'
        labels = [(key, label(code)) for key, label in self.screen.options.items()]
        for n, button in enumerate(self.buttons):
            shown = n < len(labels)
            button.key, button.description = labels[n] if shown else (None, "")
            button.layout.display = None if shown else "none"
        again = "restart" if self.begun or labels else "refresh"
        for button, name in ((self.stop, "stop"), (self.restart, again)):
            button.description = LABELS[name][place]
        self.stop.layout.display = None if labels else "none"
        for name, control in self.controls.items():
            control.description = LABELS[name][place]
            if name in self.choices:
                self._relabel(control, self.choices[name](place))
            control.disabled = self.fixed and self.begun and bool(labels)
        if self.draw:
            values = {name: c.value for name, c in self.controls.items()}
            self.picture.value = self.draw(language=code, **values)

    def _relabel(self, control, options: list) -> None:
        """Options in another language; the choice stays and no session begins anew."""
        value, self.relabelling = control.value, True
        control.options = options
        control.value = value
        self.relabelling = False

    def _visibly(self, callback: Callable) -> Callable:
        """What a front end calls: an error is written into the panel as well as raised."""

        def called(argument) -> None:
            try:
                callback(argument)
            except Exception as error:
                told = html.escape(f"{type(error).__name__}: {error}")
                self.message.value = f'<b style="color:#b00020">{told}</b>'
                raise

        return called


def flash_cards(
    chapters: Collection[int] = (), levels: Collection[int] = (), topics: Collection[str] = (), *,
    language: ipywidgets.ToggleButtons | None = None,
) -> Panel:  # fmt: skip
    """Cards by spaced repetition. Controls: `.chapter` and `.level`, 0 for all that were given."""
    return _asking(sessions.cards, chapters, levels, topics, language)


def multiple_choice(
    chapters: Collection[int] = (), levels: Collection[int] = (), topics: Collection[str] = (), *,
    language: ipywidgets.ToggleButtons | None = None, seed: int | str = 0,
) -> Panel:  # fmt: skip
    """The short answer among wrong ones, in a seeded order. Controls as of `flash_cards`."""
    return _asking(lambda pool: sessions.choice(pool, seed), chapters, levels, topics, language)


def _asking(session: Callable, chapters, levels, topics, language) -> Panel:
    titles = trainer.chapter_titles()
    found = trainer.select(chapters, levels, topics)
    numbers = sorted({item["chapter"] for item in found})
    steps = sorted({item["level"] for item in found})
    options = {
        "chapter": lambda place: [(LABELS["all"][place], 0), *_chapters(numbers, titles, place)],
        "level": lambda place: [(LABELS["all"][place], 0), *((str(n), n) for n in steps)],
    }
    controls = {
        "chapter": ipywidgets.Dropdown(options=options["chapter"](0), layout={"width": "30em"}),
        "level": ipywidgets.Dropdown(options=options["level"](0), layout={"width": "9em"}),
    }

    def begin(chapter: int, level: int) -> Session:
        at_levels = [level] if level else levels
        return session(trainer.select([chapter] if chapter else chapters, at_levels, topics))

    return Panel(controls, begin, options=options, language=language)


def mock_interview(
    minutes: int = 30, *, chapters: Collection[int] = (), topics: Collection[str] = (),
    seed: int | str | None = None, language: ipywidgets.ToggleButtons | None = None,
) -> Panel:  # fmt: skip
    """A mock interview with a mix of levels and chapters, a rubric and a report at the end.

    Controls: `.minutes`, `.basic`, `.working`, `.senior` (shares of the levels), `.chapters`. With
    a `seed` it is the interview of `trainer.mock(minutes, seed=seed)`, without one a new one.
    """
    titles = trainer.chapter_titles()
    numbers = sorted({item["chapter"] for item in trainer.select(chapters, topics=topics)})
    weights = {"basic": 1, "working": 2, "senior": 1}
    controls = {
        "minutes": ipywidgets.IntSlider(minutes, 5, max(90, minutes), 5),
        **{name: ipywidgets.IntSlider(w, 0, 4) for name, w in weights.items()},
        "chapters": ipywidgets.SelectMultiple(
            options=_chapters(numbers, titles, 0), rows=min(4, len(numbers)),
            layout={"width": "34em"},
        ),
    }  # fmt: skip

    def begin(minutes: int, basic: int, working: int, senior: int, chapters: tuple) -> Session:
        levels = {1: basic, 2: working, 3: senior}
        drawn = time.time_ns() if seed is None else seed
        where = {"chapters": chapters or given, "topics": topics}
        return sessions.mock(trainer.mock(minutes, levels=levels, seed=drawn, **where))

    given = chapters
    options = {"chapters": lambda place: _chapters(numbers, titles, place)}
    return Panel(controls, begin, options=options, fixed=True, language=language)


def statistics_panel(*, language: ipywidgets.ToggleButtons | None = None) -> Panel:
    """What is known, as a table and a plot. Control: `.by` (chapter, level, kind or topic)."""
    from kdlab import plots

    names = LABELS["groups"][0]
    options = {"by": lambda place: list(zip(LABELS["groups"][place], names, strict=True))}
    controls = {"by": ipywidgets.Dropdown(options=options["by"](0), layout={"width": "12em"})}

    def picture(by: str, language: str) -> bytes:
        table = trainer.statistics(by).sort_values("items", ascending=False)[:20].sort_index()
        names = [trainer.group_name(by, group, language) for group in table.index]
        return plots.Frames(plots.progress_bars(table, names, language)).png()

    return Panel(controls, sessions.statistics, options=options, picture=picture, language=language)


def tomorrow(
    hours: float = 3.0, *, chapters: Collection[int] = (),
    language: ipywidgets.ToggleButtons | None = None,
) -> Panel:  # fmt: skip
    """The plan of the evening before an interview. Control: `.hours`."""
    slider = ipywidgets.FloatSlider(hours, min=0.5, max=12, step=0.5, readout_format=".1f")

    def begin(hours: float) -> Session:
        return sessions.tomorrow(hours, chapters)

    return Panel({"hours": slider}, begin, language=language)


def trainer_tabs() -> ipywidgets.VBox:
    """Everything in tabs, with one language switch: `.language`, `.panels` by name."""
    language = _language_switch()
    panels = {
        "cards": flash_cards(language=language),
        "choice": multiple_choice(language=language),
        "mock": mock_interview(language=language),
        "statistics": statistics_panel(language=language),
        "tomorrow": tomorrow(language=language),
    }
    tabs = ipywidgets.Tab(children=list(panels.values()))

    def retitle(_=None) -> None:
        place = interview.LANGUAGES.index(language.value)
        tabs.titles = [LABELS[name][place] for name in panels]

    def refresh(change) -> None:
        name = list(panels)[change["new"]]
        if name in ("statistics", "tomorrow"):  # what was answered in the other tabs
            panels[name].start()

    retitle()
    language.observe(retitle, names="value")
    tabs.observe(refresh, names="selected_index")
    box = ipywidgets.VBox([language, tabs])
    box.language, box.tabs, box.panels = language, tabs, panels
    return box


def _language_switch() -> ipywidgets.ToggleButtons:
    return ipywidgets.ToggleButtons(
        options=[("English", "en"), ("中文", "zh")], style={"button_width": "7em"}
    )


def _chapters(numbers: Collection[int], titles: dict, place: int) -> list[tuple[str, int]]:
    code = interview.LANGUAGES[place]
    return [(f"{n:02} {titles[n][code]}", n) for n in numbers]
