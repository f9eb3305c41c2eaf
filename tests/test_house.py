"""The house: imports run downhill over eight floors, never in a circle."""

import ast
import re
from functools import cache

from kdlab.files import ROOT

TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_text("utf-8")
    )
    for path in ROOT.glob("kdlab/**/*.py")
}


@cache
def imports(module):
    """The modules of kdlab that this one imports, within its functions, too."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found & TREES.keys() if not f"{module}.".startswith(f"{name}.")}


@cache
def floor(module):
    """One above the highest that it imports; a circle never ends, which pytest tells."""
    return 1 + max((floor(other) for other in imports(module)), default=0)


def test_imports_stand_on_eight_floors_at_most():
    assert max(map(floor, TREES)) == floor("kdlab.__main__") <= 8


def test_imports_lead_to_what_the_readme_names_before():
    package = (ROOT / "README.md").read_text("utf-8").split("## The package")[1]
    names = re.findall(r"^- ((?:`[\w/]+`(?:, )?)+): ", package, re.MULTILINE)
    order = [name.rstrip("/") for line in names for name in re.findall(r"`([\w/]+)`", line)]
    room = {module: module.split(".")[1] for module in TREES if module != "kdlab"}
    assert set(order) == set(room.values())
    wrong = {
        (module, other)
        for module in room
        for other in imports(module)
        if order.index(room[other]) > order.index(room[module])
    }
    assert not wrong
