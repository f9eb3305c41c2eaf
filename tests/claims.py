"""Asserts of a notebook, measured: each says whether it holds, its value, its bound, its slack.

`measured` rewrites the source of a cell, outside; the kernel imports this module and calls `claim`
where an `assert` stood. A claim that does not hold is told and the cell goes on. Every comparison
of numbers inside an assert is a claim of its own: of `all(a < b for ...)` and `(x > y).all()` the
element that comes nearest to its bound.
"""

import ast
import json
import operator
import os
from collections.abc import Callable, Sequence

import numpy as np

ORDERS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
MOVE = "SEED, SEEDS = SEED + {0}, tuple(seed + {0} for seed in SEEDS)"


def measured(source: str, cell: str, shift: int = 0) -> str:
    """The cell's source with its asserts measured; where it sets SEED (and SEEDS), both moved."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with %magic
        return source
    moved = []
    for statement in tree.body:
        moved.append(statement)
        names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and _stored(n)}
        if isinstance(statement, ast.Assign) and "SEED" in names:
            line = MOVE.format(shift) if "SEEDS" in names else f"SEED += {shift}"
            moved += ast.parse(line).body
    tree.body = moved
    return ast.unparse(ast.fix_missing_locations(_Asserts(cell).visit(tree)))


def _stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


class _Asserts(ast.NodeTransformer):
    def __init__(self, cell: str) -> None:
        self.cell, self.count = cell, 0

    def visit_Assert(self, node: ast.Assert) -> ast.Expr:
        self.count += 1
        head = f"__import__('claims').claim({self.cell!r}, {self.count}, "
        call = ast.parse(f"{head}{ast.unparse(node.test)!r}, lambda: 0)", mode="eval").body
        call.args[-1].body = _parts(node.test)
        return ast.copy_location(ast.Expr(call), node)


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    call = ast.parse(f"__import__('claims').{name}()", mode="eval").body
    call.args = list(arguments)
    return call


def _parts(test: ast.expr) -> ast.expr:
    """An expression that gives the measured parts of a condition: [(holds, value, bound, slack)]"""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        lambdas = [ast.Lambda(_no_arguments(), _parts(one)) for one in test.values]
        return _call("both", *lambdas)
    if _is_ordered(test):
        sides, orders = [test.left, *test.comparators], [ORDERS[type(op)] for op in test.ops]
        compared = [
            ast.Lambda(_no_arguments(), _call("ordered", left, ast.Constant(order), right))
            for left, order, right in zip(sides, orders, sides[1:], strict=False)
        ]
        return _call("both", *compared) if len(compared) > 1 else compared[0].body
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute):
        inner = test.func.value  # `(a > b).all()`, or that in front of another `.all()`
        while isinstance(inner, ast.Call) and getattr(inner.func, "attr", "") == "all":
            inner = inner.func.value
        if test.func.attr == "all" and _is_ordered(inner):
            return _parts(inner)
    if isinstance(test, ast.Call) and len(test.args) > 2:  # holds(what, value, ">", bound)
        *_, value, sign, bound = test.args
        if isinstance(sign, ast.Constant) and sign.value in ORDERS.values():
            return _call("told", test, value, sign, bound)
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "all":
        if len(test.args) == 1 and isinstance(test.args[0], ast.GeneratorExp | ast.ListComp):
            every = test.args[0]
            return _call("every", ast.ListComp(_parts(every.elt), every.generators))
    return _call("plain", test)


def _is_ordered(node: ast.expr) -> bool:
    """A comparison with <, <=, > or >= alone."""
    return isinstance(node, ast.Compare) and all(type(op) in ORDERS for op in node.ops)


def _no_arguments() -> ast.arguments:
    return ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])


# ---------------------------------------------------------------- in the kernel


def claim(cell: str, number: int, text: str, parts: Callable[[], list]) -> None:
    """Measure one assert, and append what was found to the file $KDLAB_CLAIMS."""
    with open(os.environ["KDLAB_CLAIMS"], "a", encoding="utf-8") as out:
        for part, found in enumerate(parts()):
            names = ("holds", "value", "bound", "slack")
            about = {"cell": cell, "number": number, "part": part, "text": text}
            out.write(json.dumps(about | dict(zip(names, found, strict=True))) + "\n")


def plain(condition: object) -> list[tuple]:
    """A condition without numbers: it holds or not."""
    return [(bool(condition), None, None, None)]


def told(condition: object, left: object, order: str, right: object) -> list[tuple]:
    """A function that compared these two, and said so."""
    (holds, *compared), *_ = ordered(left, order, right)
    return [(holds and bool(condition), *compared)]


def both(*conditions: Callable[[], list]) -> list[tuple]:
    """Conditions joined by `and`: as in Python, none is looked at after one that does not hold."""
    parts = []
    for condition in conditions:
        parts += condition()
        if not parts[-1][0]:
            break
    return parts


def every(found: Sequence[list]) -> list[tuple]:
    """Each part at the element that comes nearest to its bound, or beyond it."""
    if not found:
        return [(True, None, None, None)]
    columns = zip(*(row for row in found if len(row) == max(map(len, found))), strict=True)
    nearest = [min(column, key=_slack) for column in columns]
    whole = all(part[0] for row in found for part in row)
    return [(part[0] and whole, *part[1:]) for part in nearest]


def _slack(part: tuple) -> float:
    return part[3] if part[3] is not None else float(part[0])


def ordered(left: object, order: str, right: object) -> list[tuple]:
    """`left < right` for numbers or arrays of them: (holds, value, bound, slack) where nearest."""
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[order]
    try:
        sides = (np.asarray(_numbers(side), dtype=float) for side in (left, right))
        value, bound = np.broadcast_arrays(*sides)
    except (TypeError, ValueError):
        return plain(compare(left, right))
    holds = bool(np.all(np.asarray(_numbers(compare(left, right)))))
    if not value.size:
        return [(holds, None, None, None)]
    slack = bound - value if order[0] == "<" else value - bound
    nearest = int(np.nanargmin(slack)) if not np.isnan(slack).all() else 0
    return [(holds, *(float(side.flat[nearest]) for side in (value, bound, slack)))]


def _numbers(side: object) -> object:
    if isinstance(side, str | bytes | set | dict):
        raise TypeError
    return side.detach().cpu() if hasattr(side, "detach") else side
