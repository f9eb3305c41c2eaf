"""For the candidate in a terminal (`python -m kdlab quiz`): the screens of `sessions`, as text.

At every prompt `l` switches the language and `q` stops. Formulas are shown in Unicode.
"""

import re
from functools import cache

from kdlab.apps.i18n import languages, translate
from kdlab.apps.interview.sessions import Screen, Sitting, Stop

GLUED = r"(?<=[A-Za-z0-9)}])(?=\\(?!right|rVert|[Bb]ig)[A-Za-z])"  # T\log q is T log q


def play(sitting: Sitting, language: str = "en") -> None:
    """Carry a sitting through to its last screen, asking on standard input.

    The end of the input and Ctrl-C stop it as `q` does. ValueError for an unknown language.
    """
    from rich.console import Console
    from rich.markdown import Markdown

    languages(language)
    console = Console(width=None if Console().is_terminal else 100, highlight=False)
    screen = next(sitting)
    while True:
        if screen.status:
            console.print("\n" + screen.status(language), style="dim")
        console.print("", Markdown(readable(screen.page(language)), code_theme="ansi_light"))
        if not screen.options:
            return
        key = _ask(screen, language, console)
        if key == "l":
            language = "zh" if language == "en" else "en"
        else:
            screen = sitting.throw(Stop()) if key == "q" else sitting.send(key)


def _ask(screen: Screen, language: str, console) -> str:
    """A key of the screen, "l" or "q"."""
    labels = {key: label(language) for key, label in screen.options.items()}
    choices = (k if k == label else f"{k or 'Enter:'} {label}" for k, label in labels.items())
    prompt = f"\n{' · '.join(choices)}   [{translate('quiz.keys', language)}] "
    valid = [*labels, "l", "q"]
    try:
        while (key := console.input(prompt, markup=False).strip().lower()) not in valid:
            names = ", ".join(key or "Enter" for key in valid)
            console.print(translate("quiz.unknown", language, valid=names))
    except (EOFError, KeyboardInterrupt):
        return "q"
    return key


def readable(markdown: str) -> str:
    """Markdown for a terminal: its formulas as code, in Unicode."""

    def formula(match: re.Match) -> str:
        latex = match["block"] or match["inline"]
        if not latex:  # code
            return match[0]
        latex = re.sub(r"\\[td]frac(?![a-z])", r"\\frac", latex)
        text = _translator().latex_to_text(f"${re.sub(GLUED, ' ', latex)}$")
        text = " ".join(text.split()).replace("`", "'")
        return f"\n\n`{text}`\n\n" if match["block"] else f"`{text}`"

    code, formulas = "```.*?```|`[^`]*`", r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$"
    return re.sub(f"{code}|{formulas}", formula, markdown, flags=re.S)


@cache
def _translator():
    """A `LatexNodes2Text` of pylatexenc whose braces and brackets keep what belongs together."""
    from pylatexenc import latex2text

    token = r"(∂ )?([\d.]+|\w)([_^](\w|\{[^{}]*\}))*|\w+\([^()]*\)"

    def fraction(node, l2tobj) -> str:
        over, under = (l2tobj.node_arg_to_text(node, place).strip() for place in (0, 1))
        over = f"({over})" if re.search("[-+/=]", over) else over
        under = under if re.fullmatch(token, under) else f"({under})"
        whole = f"{over}/{under}"
        return whole if re.fullmatch(r"\w+/\w+", whole) else f"({whole})"

    symbols = {"|": "‖", "arg": "arg ", "frac": fraction}
    macros = [latex2text.MacroTextSpec(name, text) for name, text in symbols.items()]
    context = latex2text.get_default_latex_context_db()
    context = context.filter_context(exclude_categories=["nonascii-specials"])  # f'' quotes nothing
    context.add_context_category("formulas", macros=macros, prepend=True)
    return latex2text.LatexNodes2Text(
        context,
        math_mode="text",
        keep_braced_groups=True,
        strict_latex_spaces={"in-equations": {"between-latex-constructs": True}},
    )
