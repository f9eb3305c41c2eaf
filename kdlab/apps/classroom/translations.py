"""For who translates: the Chinese edition of a chapter against the English one, and its update.

Both editions are notebooks of their own, executed each by itself. Cell ids are the same, Markdown
is written in each language, and code is the same program: comments may differ, and so may strings
where the Chinese edition's has Chinese characters or full-width marks (titles, labels, what is
printed).
"""

import ast
import copy
import hashlib
import io
import json
import re
import tokenize
from collections.abc import Iterator, Mapping

from nbformat import NotebookNode

from kdlab.apps.i18n import LANGUAGES
from kdlab.files import EMBEDDED

SEALS = EMBEDDED / "interview" / "translations.json"  # by tests/seal_translations.py
HAN = re.compile("[\u4e00-\u9fff]")
CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")  # its full-width marks, too


def seal(text: Mapping[str, str]) -> str:
    """A short hash of each language of a text; where its lines are broken does not matter."""
    bare = ("".join(text[code].split()) for code in LANGUAGES)
    return " ".join(hashlib.sha256(words.encode()).hexdigest()[:8] for words in bare)


def sealed() -> dict[str, str]:
    """The seal of each bilingual text when both languages were last read side by side, by name:
    "dark-knowledge/short" of the bank, "01_principle#title" of a chapter's cell."""
    return json.loads(SEALS.read_text("utf-8")) if SEALS.exists() else {}


def changed_alone(before: str, now: str) -> str | None:
    """The one language that has changed between two seals of a text; None for none or both."""
    sides = zip(LANGUAGES, before.split(), now.split(), strict=True)
    changed = [code for code, old, new in sides if old != new]
    return changed[0] if len(changed) == 1 else None


def unlike(english: NotebookNode, chinese: NotebookNode, chapter: str = "") -> Iterator[str]:
    """A sentence for each cell of the Chinese edition that is missing, English, another program or,
    by the seals of this chapter, of an English text that has changed since."""
    others, seals = {cell.id: cell for cell in chinese.cells}, sealed()
    for cell in english.cells:
        other = others.pop(cell.id, None)
        if other is None:
            yield f"{cell.id}: missing"
        elif cell.cell_type == "code":
            if not same_program(cell.source, other.source):
                yield f"{cell.id}: its code is not that of the English edition"
        elif not HAN.search(other.source):
            yield f"{cell.id}: still English"
        elif before := seals.get(f"{chapter}#{cell.id}"):
            if changed_alone(before, seal({"en": cell.source, "zh": other.source})) == "en":
                yield f"{cell.id}: its English has changed since"
    yield from (f"{name}: not in the English edition" for name in others)


# ---------------------------------------------------------------- code


def same_program(english: str, chinese: str) -> bool:
    """Whether two sources differ in comments and in strings that are Chinese in one of them alone.

    The values in an f-string may change places, because words do.
    """
    if english == chinese:
        return True
    try:
        nodes = [list(ast.walk(_masked(ast.parse(source)))) for source in (english, chinese)]
    except SyntaxError:  # a cell with %magic
        return False
    if len(nodes[0]) != len(nodes[1]):
        return False
    for one, other in zip(*nodes, strict=True):
        if isinstance(one, ast.Constant) and isinstance(other, ast.Constant):
            if one.value != other.value and not CHINESE.search(str(other.value)):
                return False
        elif _shape(one) != _shape(other):
            return False
    return True


def _masked(tree: ast.AST) -> ast.AST:
    """The tree with each f-string as one text, and its values beside it in a fixed order."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            words = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            node.values = [*sorted(values, key=ast.dump), ast.Constant(words)]
    return tree


def _shape(node: ast.AST) -> tuple:
    """A node without its children: its type, names and operators."""
    fields = (value for _, value in ast.iter_fields(node))
    return type(node), [v for v in fields if isinstance(v, str | int | None)]


def pieces(source: str) -> list[tuple[int, int]]:
    """Where the comments and whole strings of a source stand: (start, end) in characters."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found, opened = [], []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if kind == "FSTRING_START":  # from Python 3.12 on, an f-string is several tokens
            opened.append(begin)
        elif kind == "FSTRING_END":
            begin = opened.pop()
        if kind in ("STRING", "COMMENT", "FSTRING_END") and not opened:
            found.append((begin, end))
    return found


def translated(source: str, words: Mapping[str, str]) -> str:
    """The source with the Chinese of each comment and string for which there is one."""
    for begin, end in reversed(pieces(source)):
        piece = source[begin:end]
        source = source[:begin] + words.get(piece, piece) + source[end:]
    return source


def pairs(english: str, chinese: str) -> dict[str, str] | None:
    """The Chinese of each comment and string of a source; None where both are not one program, or
    have not as many comments and strings, so that nobody knows which belongs to which."""
    if not same_program(english, chinese):
        return None
    words = {}
    for comments in (True, False):
        ours, theirs = (
            [
                source[begin:end]
                for begin, end in pieces(source)
                if (source[begin] == "#") == comments
            ]
            for source in (english, chinese)
        )
        if len(ours) != len(theirs):
            return None
        words |= zip(ours, theirs, strict=True)
    return {piece: word for piece, word in words.items() if CHINESE.search(word)}


def synchronised(
    english: NotebookNode, chinese: NotebookNode, before: NotebookNode
) -> tuple[NotebookNode, list[str]]:
    """The Chinese edition with the English one's cells and code, and what is left to translate.

    `before` is the English edition to which `chinese` belongs. Its strings, comments and Markdown
    stay where their English has not changed; outputs stay until the edition is executed. A cell
    whose Chinese can't be told apart from its code stays as it is, for no word may be lost.
    """
    result, left = copy.deepcopy(english), []
    others = {cell.id: cell for cell in chinese.cells}
    old = {cell.id: cell.source for cell in before.cells}
    code = {name: cell.source for name, cell in others.items() if cell.cell_type == "code"}
    known = {name: pairs(old.get(name, ""), source) for name, source in code.items()}
    shared = {piece: word for words in known.values() for piece, word in (words or {}).items()}
    for cell in result.cells:
        other, changed = others.pop(cell.id, None), old.get(cell.id) != cell.source
        if cell.cell_type == "code":
            cell.outputs = other.outputs if other else []
            if other and known.get(cell.id) is None and HAN.search(other.source):
                cell.source = other.source
                left.append(f"{cell.id}: its code is not the English one's; change it by hand")
                continue
            cell.source = translated(cell.source, shared | (known.get(cell.id) or {}))
            comments = [cell.source[begin:end] for begin, end in pieces(cell.source)]
            left += [f"{cell.id}: {c}" for c in comments if c[0] == "#" and not HAN.search(c)]
            if changed:
                left.append(f"{cell.id}: new code")
        elif other:
            cell.source = other.source
            if changed:
                left.append(f"{cell.id}: its English has changed")
        else:
            left.append(f"{cell.id}: new text")
    if others:
        raise ValueError(
            f"the Chinese edition has cells that the English one has not: {', '.join(others)}; "
            "delete them, or give them the ids of the cells that they translate"
        )
    return result, left
