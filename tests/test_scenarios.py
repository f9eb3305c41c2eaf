"""kdlab.serving.scenarios: the one command that measures the deployment, on one small model."""

import json

import pytest

from kdlab.serving import deploy, load, scenarios

NAME = "mnist-student-distilled"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All measurements of one model, as short as they get, recorded in a folder of its own."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLAB_CACHE", str(folder))
        patch.setattr(deploy, "DEPLOYED", [d for d in deploy.DEPLOYED if d.name == NAME])
        patch.setattr(scenarios, "CEILINGS", (1, 64))
        patch.setattr(scenarios, "results_dir", lambda: folder)
        patch.setattr(load, "highest_rate", lambda url, bodies, **_: (
            20, [load.load(url, bodies, 20, 1.0)]
        ))  # fmt: skip
        made = scenarios.main(record=True, seconds=0.1, soak=1)
    assert json.loads((folder / "deploy.json").read_text("utf-8")) == json.loads(json.dumps(made))
    return made


def test_a_record_holds_every_measurement(found):
    [row] = found["runs"]
    assert (row["arm"], row["seed"], row["highest rate"]) == (NAME, 0, 20)
    assert row["largest difference to torch"] < 1e-4
    assert abs(row["accuracy"] - row["accuracy torch"]) <= 0.02
    assert abs(row["accuracy"] - row["accuracy int8"]) < 1
    for form in ("float32", "int8"):
        assert len(row[form]["latency"]) == 4 and row[form]["bytes"] > 1000
        assert row[form]["alone"]["peak MB"] > 10
    assert row["int8"]["bytes"] < row["float32"]["bytes"]
    assert row["float32"]["least ceiling, MB"] in (1, 64, None)
    assert found["command"].startswith("python -m kdlab deploy")


def test_a_steady_load_is_answered_whole_and_memory_is_watched(found):
    steady = found["steady"]
    assert steady["sent"] == steady["answered"] > 0 and steady["rate"] == 16
    assert steady["resident MB"][0] > 10
    [offered] = found["loads"][NAME]
    assert offered["answered"] == offered["sent"] and offered["failures"] == {}


def test_the_table_has_a_row_a_model(found):
    table = scenarios.table(found)
    assert list(table.index) == [NAME] and table.notna().all().all()
    assert table.loc[NAME, "kB"] == round(found["runs"][0]["float32"]["bytes"] / 1e3)


def test_a_missing_record_says_the_command(monkeypatch, tmp_path):
    from kdlab import experiments

    monkeypatch.setattr(experiments, "results_dir", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="kdlab deploy --record"):
        scenarios.recorded()
