"""Results and stats: what was measured is complete, paired by seed and summed up rightly."""

import math
import re
import subprocess

import pytest

from kdlab.files import ROOT
from kdlab.lab import results, stats
from kdlab.lab.catalogue import EXPERIMENTS
from kdlab.lab.results import commit, provenance, read, table
from kdlab.lab.stats import holm, summarise, values

RECORDS = sorted((ROOT / "data" / "results").glob("*.json"))
LABELS = {0: 70.0, 1: 72.0, 2: 71.0}  # an arm's accuracy by seed


def made_up(**arms):
    return [{"arm": n, "seed": s, "accuracy": a} for n, by in arms.items() for s, a in by.items()]


def test_a_diverged_run_is_shown_and_enters_no_mean():
    runs = made_up(labels=LABELS, taught={0: 73.0, 1: 74.0})
    runs.append({"arm": "taught", "seed": 2, "accuracy": None, "diverged": "the loss is nan"})
    rows = summarise(runs)
    assert list(rows["diverged"]) == [0, 1] and list(rows["seeds"]) == [3, 2]
    assert tuple(rows.loc["taught", ["mean", "difference"]]) == (73.5, 2.5)
    assert values(runs, "taught", "accuracy") == [73.0, 74.0]
    assert "diverged" not in summarise(runs[:-1])


def test_missing_and_damaged_records_say_what_to_do(folder):
    with pytest.raises(FileNotFoundError, match="python -m kdlab run trio"):
        read("trio")
    folder.mkdir()
    (folder / "trio.json").write_text('{"name": "trio", "ru')
    with pytest.raises(ValueError, match=r"trio\.json is damaged.*git checkout data/results"):
        read("trio")


def test_commit_is_marked_for_edited_code_but_not_for_a_written_record(tmp_path, monkeypatch):
    """Or a run could never be taken up again: the record that it writes is a tracked file."""
    monkeypatch.delenv("KDLAB_COMMIT", raising=False)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert commit() == "unknown"
    code, record = tmp_path / "kdlab/losses.py", tmp_path / "data/results/trio.json"
    for path in (code, record):
        path.parent.mkdir(parents=True)
        path.write_text("old")
    git = "git -c user.name=test -c user.email=test@localhost".split()
    for words in ("init", "add .", "commit -m first"):
        subprocess.run([*git, *words.split()], cwd=tmp_path, check=True, capture_output=True)
    clean = commit()
    assert re.fullmatch("[0-9a-f]{12,}", clean)
    record.write_text("new")
    assert commit() == clean
    code.write_text("new")
    edited = commit()
    assert re.fullmatch(f"{clean}-dirty-[0-9a-f]{{8}}", edited) and commit() == edited
    code.write_text("newer")
    assert commit() not in (edited, clean)  # other edits are other code
    code.write_text("new")
    (tmp_path / "kdlab/more.py").write_text("a file that git does not know")
    assert commit() not in (edited, clean)
    monkeypatch.setenv("KDLAB_COMMIT", "abc")
    assert commit() == "abc"


def test_summary_is_the_closed_form():
    ended = {2: 75.0, 0: 73.0, 1: 74.0}  # in this order; the differences are 3, 2 and 4
    rows = summarise(made_up(labels=LABELS, taught=ended))
    assert list(rows.index) == ["labels", "taught"]
    assert tuple(rows.loc["labels", ["mean", "std"]]) == (71, 1)
    half, row = 4.302653 * 1.0 / math.sqrt(3), rows.loc["taught"]
    assert row["seeds"] == 3 and row["difference"] == 3
    assert list(row[["95% low", "95% high"]]) == pytest.approx([3 - half, 3 + half], abs=0.006)
    assert math.isnan(rows.loc["labels", "difference"])


def test_half_finished_arms_are_paired_by_seed_not_by_place():
    runs = made_up(labels=LABELS, taught={0: 71.0, 2: 72.0, 3: 99.0})
    row = summarise(runs).loc["taught"]
    assert (row["difference"], row["95% low"], row["95% high"]) == (1, 1, 1)  # seeds 0 and 2
    lonely = summarise(made_up(labels={0: 70.0}, taught={0: 71.0}))
    assert "difference" not in lonely  # one pair has no interval
    with pytest.raises(ValueError, match="no run to sum up"):
        summarise([])


def test_another_control_and_metric():
    runs = [r | {"errors": 10 * r["accuracy"]} for r in made_up(a={0: 1, 1: 2}, b={0: 3, 1: 4})]
    rows = summarise(runs, "errors", control="b")
    assert rows.loc["a", "difference"] == -20 and rows.loc["b", "mean"] == 35
    assert values(runs, "a", "errors") == [10, 20]


@pytest.mark.parametrize("name", [p.stem for p in RECORDS if p.stem in EXPERIMENTS])
def test_table_of_every_record(name):
    rows, record = table(name), read(name)
    assert set(rows.index) == {r["arm"] for r in record["runs"]}
    for arm, row in rows.iterrows():
        mine = values(record["runs"], arm, "accuracy") or [math.nan]  # all of them diverged
        assert row["mean"] == pytest.approx(sum(mine) / len(mine), abs=0.006, nan_ok=True)
    line = provenance(name)
    assert record["command"] in line and record["date"] in line and record["commit"] in line
    assert "\n" not in line


def test_provenance_says_where_the_seed_did_not_draw_the_views():
    same = {name for name in results.names() if "the same random views" in provenance(name)}
    assert {"cifar-gain", "capacity-gap", "learning-rate", "ssld", "verification", "robust"} <= same
    assert not same & {"leaderboard", "patience", "few-labels-tuning"}  # later ones draw them
    assert "trio" not in same and "deploy" not in same  # no random views


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_provenance_of_every_record(path):
    record = read(path.stem)
    runs = record["runs"]
    assert record["name"] == path.stem and record["title"]
    assert record["command"].startswith("python -m kdlab ")
    assert re.fullmatch(r"[0-9a-f]{7,40}", record["commit"]), "recorded with edited or unknown code"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert {"processor", "cores", "accelerator", "torch", "python"} <= set(record["machine"])
    assert runs and all({"arm", "seed", "accuracy"} <= set(r) for r in runs)
    assert len({(r["arm"], r["seed"]) for r in runs}) == len(runs), "a run is there twice"
    assert all(math.isfinite(v) for r in runs for v in r.values() if isinstance(v, float))


@pytest.mark.parametrize("name", ["leaderboard", "patience", "ssld", "small-data"])
def test_a_verdict_is_the_same_whichever_arm_is_called_control(name):
    arms = list(read(name)["settings"])
    for arm, over in zip(arms, arms[1:] + arms[:1], strict=True):
        one, other = results.compare(name, arm, over), results.compare(name, over, arm)
        assert one.corrected == pytest.approx(other.corrected)
        mirrored = {"better": "worse", "worse": "better"}
        assert other.verdict == mirrored.get(one.verdict, one.verdict)


def test_a_table_of_a_record_is_corrected_over_its_declared_families():
    rows = table("leaderboard", control="contrastive")
    for arm in ("labels", "soft targets", "labels, twice as long", "DKD"):
        found = results.compare("leaderboard", arm, "contrastive")
        assert rows.loc[arm, "Holm"] == pytest.approx(found.corrected)
    planned = [results.compare("patience", *pair) for pair in stats.families(read("patience"))[0]]
    assert [c.corrected for c in planned] == pytest.approx(holm([c.gap.p for c in planned]))
