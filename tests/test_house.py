"""The house: three levels, and imports that run downhill, never in a circle."""

import ast
from functools import cache

import pytest

from kdlab.files import ROOT

TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_text("utf-8")
    )
    for path in ROOT.glob("kdlab/**/*.py")
}
SHARED = {f"kdlab.apps.{name}" for name in ("i18n", "markdown", "onnx_file", "pixels", "style")}
PUBLISHES = {"classroom": {"chapters", "interview"}}  # what others make is printed, shown, bound


@cache
def imports(module):
    """The modules of kdlab that this one imports, within its functions, too."""
    names = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names & TREES.keys() if not f"{module}.".startswith(f"{name}.")}


@cache
def floor(module):
    """One above the highest that it imports; a circle never ends, which pytest tells."""
    return 1 + max((floor(other) for other in imports(module)), default=0)


def level(module):
    """0: the core, 1: the lab, 2: the applications, 3: the command line that joins them."""
    if module == "kdlab.__main__":
        return 3
    return {"lab": 1, "apps": 2}.get((module.split(".") + [""])[1], 0)


def test_imports_never_run_in_a_circle():
    assert max(map(floor, TREES)) >= 4


@pytest.mark.parametrize("module", sorted(TREES))
def test_a_level_imports_nothing_of_the_levels_below_it(module):
    assert [other for other in imports(module) if level(other) > level(module)] == []


@pytest.mark.parametrize("module", sorted(m for m in TREES if level(m) == 2))
def test_applications_meet_in_the_shared_modules_alone(module):
    if module in SHARED:
        assert imports(module) <= SHARED | {m for m in TREES if level(m) < 2}
        return
    own = (module.split(".") + [""])[2]
    allowed = {own, *PUBLISHES.get(own, ())}
    others = {other for other in imports(module) if level(other) == 2} - SHARED
    assert {other for other in others if other.split(".")[2] not in allowed} == set()


def test_the_readme_names_every_file_of_core_and_lab():
    package = (ROOT / "README.md").read_text("utf-8").split("## The package")[1].split("\n## ")[0]
    named = {path.name for path in ROOT.glob("kdlab/*.py")} | {
        path.name for path in ROOT.glob("kdlab/lab/*.py")
    }
    for name in sorted(named - {"__init__.py", "__main__.py", "commands.py"}):
        assert f"`{name}`" in package, f"the map of README.md does not name {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda p: p.stem)
def test_a_test_imports_nothing_from_another(path):
    tree = ast.parse(path.read_text("utf-8"))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert [name for name in names if name.split(".")[-1].startswith("test_")] == []
