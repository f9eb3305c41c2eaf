"""The trainer in a terminal (`python -m kdlab quiz`): it shows the screens of `sessions`.

At every prompt `l` switches the language and `q` stops. Formulas stay LaTeX, lightened where no
meaning can be lost.
"""

import re

from kdlab import interview
from kdlab.interview.sessions import Screen, Session, Stop

WORDS = {  # (English, 中文)
    "enter": ("Enter: {label}", "回车：{label}"),
    "keys": ("l: 中文 · q: stop", "l：English · q：结束"),
    "unknown": ("Please type one of: {valid}", "请输入其中之一：{valid}"),
}
SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "epsilon": "ε", "lambda": "λ", "sigma": "σ",
    "delta": "δ", "Delta": "Δ", "theta": "θ", "eta": "η", "ne": "≠", "dots": "…",
    "tau": "τ", "pi": "π", "mu": "μ", "partial": "∂", "nabla": "∇", "sum": "Σ", "log": "log",
    "exp": "exp", "max": "max", "min": "min", "cdot": "·", "times": "×", "approx": "≈", "to": "→",
    "le": "≤", "ge": "≥", "pm": "±", "infty": "∞", "in": "∈", "ll": "≪", "gg": "≫", "|": "‖",
    "%": "%", "quad": " ", "qquad": "  ", "big": "", "Big": "", "left": "", "right": "",
    ",": " ", ";": " ", "!": "", "lVert": "‖", "rVert": "‖",
}  # fmt: skip


def play(session: Session, language: str = "en") -> None:
    """Carry a session through to its last screen, asking on standard input.

    The end of the input and Ctrl-C stop it as `q` does.
    """
    if language not in interview.LANGUAGES:
        raise ValueError(f"the language of a quiz is 'en' or 'zh', got {language!r}")
    screen = next(session)
    show(screen, language)
    while screen.options:
        key = _ask(screen, language)
        if key == "l":
            language = "zh" if language == "en" else "en"
        else:
            screen = session.throw(Stop()) if key == "q" else session.send(key)
        show(screen, language)


def show(screen: Screen, language: str) -> None:
    """Print a screen."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(width=None if Console().is_terminal else 100)
    if screen.status:
        console.print("\n" + screen.status(language), style="dim", highlight=False)
    console.print("", Markdown(readable(screen.page(language)), code_theme="ansi_light"))


def _ask(screen: Screen, language: str) -> str:
    """A key of the screen, "l" or "q"."""

    def say(name: str, **values) -> str:
        return WORDS[name][interview.LANGUAGES.index(language)].format(**values)

    labels = {key: label(language) for key, label in screen.options.items()}
    shown = [
        key if key == label else f"{key} {label}" if key else say("enter", label=label)
        for key, label in labels.items()
    ]
    valid = [*labels, "l", "q"]
    while True:
        try:
            said = input(f"\n{' · '.join(shown)}   [{say('keys')}] ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            return "q"
        if said in valid:
            return said
        print(say("unknown", valid=", ".join(key or "Enter" for key in valid)))


def readable(markdown: str) -> str:
    """Markdown for a terminal: formulas as code, their LaTeX without what only sets type."""

    def formula(match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        text = (match["block"] or match["inline"]).strip()
        text = re.sub(r"\\(?:mathrm|text|operatorname|mathbf)\{([^{}]*)\}", r"\1", text)
        text = re.sub(r"\\([A-Za-z]+|[|%,;!])", lambda m: SYMBOLS.get(m[1], m[0]), text)
        text = re.sub(r"\s+", " ", text).replace("`", "'")
        return f"\n\n`{text}`\n\n" if match["block"] else f"`{text}`"

    code = r"(?P<code>```.*?```|`[^`]*`)"
    formulas = r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$"
    return re.sub(f"{code}|{formulas}", formula, markdown, flags=re.S)
