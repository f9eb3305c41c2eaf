"""claims.py and reseed.py: what is measured of an assert, and how its runs are summed up."""

import json

import claims
import nbformat
import pandas as pd
import pytest
import reseed

NOTHING = {"value": None, "bound": None, "slack": None}


def measure(source, monkeypatch, folder, **names):
    """Run a cell whose asserts are measured; what each claim was."""
    monkeypatch.setenv("KDLAB_CLAIMS", str(folder / "claims.jsonl"))
    exec(claims.measured(source, "cell"), names)
    rows = [json.loads(line) for line in (folder / "claims.jsonl").read_text().splitlines()]
    return [{k: row[k] for k in ("holds", "value", "bound", "slack")} for row in rows]


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("3 > 1", [(True, 3, 1, 2)]),
        ("3 < 1", [(False, 3, 1, -2)]),
        ("1 < 2 < 4", [(True, 1, 2, 1), (True, 2, 4, 2)]),
        ("1 < 2 and 5 <= 4 and 1 / 0", [(True, 1, 2, 1), (False, 5, 4, -1)]),
        ("all(x > 1 for x in [5, 2, 9])", [(True, 2, 1, 1)]),
        ("all(x > 1 for x in [5, 0, 9])", [(False, 0, 1, -1)]),
        ("all(0 < x < 9 for x in [5, 2])", [(True, 0, 2, 2), (True, 5, 9, 4)]),
        ("(array > 1).all()", [(True, 1.5, 1, 0.5)]),
        ("(frame < 4).all().all()", [(True, 3, 4, 1)]),
        ("(frame == frame).all().all()", [(True, None, None, None)]),
        ("tensor.mean() > 1", [(True, 2.5, 1, 1.5)]),
        ("'a' in 'abc'", [(True, None, None, None)]),
        ("not 'abc'", [(False, None, None, None)]),
        ("2 == 2", [(True, None, None, None)]),
        ("holds('loss', 2, '<', 5)", [(True, 2, 5, 3)]),
        ("holds('loss', 7, '<', 5)", [(False, 7, 5, -2)]),
    ],
)
def test_an_assert_is_measured_and_the_cell_goes_on(test, found, monkeypatch, tmp_path):
    import numpy as np
    import torch

    names = {"array": np.array([1.5, 3]), "tensor": torch.tensor([2.0, 3.0])}
    names["frame"] = pd.DataFrame({"a": [1, 2], "b": [2, 3]})
    names["holds"] = lambda what, value, sign, bound: value < bound
    names["after"] = after = []
    rows = measure(f"assert {test}, 'told'\nafter.append(1)", monkeypatch, tmp_path, **names)
    assert [tuple(row.values()) for row in rows] == found and after == [1]


def test_locals_of_a_function_are_seen(monkeypatch, tmp_path):
    source = "def check(x):\n    assert x > 1\nfor x in (3, 2):\n    check(x)"
    assert [row["slack"] for row in measure(source, monkeypatch, tmp_path)] == [2, 1]


def test_seeds_are_moved_where_they_are_set():
    space = {}
    exec(claims.measured("SEED, SEEDS, N = 0, (0, 1), 5\nfirst = SEED", "cell", 10), space)
    assert (space["SEED"], space["SEEDS"], space["N"], space["first"]) == (10, (10, 11), 5, 10)
    exec(claims.measured("SEED = 1", "cell", 10), space)
    assert space["SEED"] == 11
    assert claims.measured("%matplotlib inline", "cell") == "%matplotlib inline"


def test_margins_are_told_in_deviations_and_what_never_moves_is_fixed():
    keys = {"chapter": "01", "cell": "c", "part": 0, "text": "x > 1", "value": 2, "bound": 1}
    slacks = {1: [1.0, 2.0, 3.0], 2: [0.5, 0.5, 0.5], 3: [-1.0, 1.0, 6.0]}
    found = pd.DataFrame(
        keys | {"number": number, "slack": slack, "holds": slack > 0}
        for number, row in slacks.items()
        for slack in row
    )
    rows = reseed.table(found).set_index("number")
    assert rows["held"].tolist() == [3, 3, 2] and rows.loc[1, "margin"] == pytest.approx(2)
    assert pd.isna(rows.loc[2, "margin"]) and rows.loc[3, "margin"] < 1
    assert reseed.weak(rows).index.tolist() == [3]


def test_the_record_keeps_the_other_chapters_and_its_page_counts_failures(tmp_path, monkeypatch):
    monkeypatch.setattr(reseed.files, "results_dir", lambda: tmp_path)

    def rows(chapter, slack):
        keys = {"chapter": chapter, "cell": "c", "number": 1, "part": 0, "text": "x > 1"}
        found = [keys | {"value": 2, "bound": 1, "slack": s, "holds": s > 0} for s in slack]
        return reseed.table(pd.DataFrame(found)).assign(code=f"of {chapter}")

    reseed.keep(rows("07_b", [1.0, 2.0, 3.0]))
    reseed.keep(rows("01_a", [-1.0, 1.0, 3.0]))
    reseed.keep(rows("07_b", [2.0, 4.0, 6.0]))
    kept = reseed.recorded()
    assert kept["chapter"].tolist() == ["01_a", "07_b"] and kept["held"].tolist() == [2, 3]
    assert kept["code"].tolist() == ["of 01_a", "of 07_b"] and kept.loc[1, "slack"] == 4
    page = (tmp_path / "reseeding.md").read_text("utf-8")
    assert "| 01_a | 3 | 1 | 1 | 1 |" in page and "| 07_b | 3 | 1 | 1 | 0 |" in page


def test_a_comment_leaves_a_chapters_version_and_a_number_changes_it():
    def version(*sources):
        return reseed.version_of([nbformat.v4.new_code_cell(source) for source in sources])

    assert version("a = 1\nb = a") == version("# one\na = 1  # here\n\nb = a")
    assert version("a = 1") != version("a = 2")
    assert version("%time f( )") != version("%time f()")
