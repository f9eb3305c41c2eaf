"""The one command that measures the deployment, on one small model."""

import json

import pytest

from kdlab.apps.serving import benchmark, export, load_test
from kdlab.lab import results

NAME = "mnist-student-distilled"


def offer_once(url, bodies, *_):
    return 20, [load_test.generate(url, bodies, 20, 1.0)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All measurements of one model, as short as they get, recorded in a folder of its own."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLAB_CACHE", str(folder))
        patch.setattr(export, "DEPLOYED", [d for d in export.DEPLOYED if d.name == NAME])
        patch.setattr(results, "results_dir", lambda: folder)
        patch.setattr(load_test, "highest_rate", offer_once)
        made = benchmark.measure_deployment(record=True, seconds=0.1, soak=1)
    assert json.loads((folder / "deploy.json").read_text("utf-8")) == json.loads(json.dumps(made))
    return made


def test_a_record_holds_every_measurement(found):
    [row] = found["runs"]
    assert (row["arm"], row["seed"], row["highest rate"]) == (NAME, 0, 20)
    assert row["largest difference to torch"] < 1e-4
    assert abs(row["accuracy"] - row["accuracy torch"]) <= 0.02
    assert abs(row["accuracy"] - row["accuracy int8"]) < 1
    for form in ("float32", "int8"):
        assert row[form]["bytes"] > 1000
        alone = row[form]["alone"]
        assert 10 < alone["runtime MB"] <= alone["peak MB"] < 400 and alone["frames/s"] > 0
        for (call, took), batch in zip(row[form]["latency"].items(), (1, 1, 64, 64), strict=True):
            assert call.startswith(f"batch {batch},") and 0 < took["p50"] <= took["p95"]
            assert took["images/s"] == pytest.approx(1e3 * batch / took["p50"])
    assert row["int8"]["bytes"] < row["float32"]["bytes"]
    assert found["command"].startswith("python -m kdlab deploy")


def test_a_steady_load_is_answered_whole_and_memory_is_watched(found):
    steady = found["steady"]
    assert steady["sent"] == steady["answered"] > 0 and steady["rate"] == 16
    assert steady["resident MB"][0] > 10
    [offered] = found["loads"][NAME]
    assert offered["answered"] == offered["sent"] and offered["failures"] == {}


def test_the_table_has_a_row_a_model(found):
    table = benchmark.deployment_table(found)
    assert list(table.index) == [NAME] and table.notna().all().all()
    assert table.loc[NAME, "kB"] == round(found["runs"][0]["float32"]["bytes"] / 1e3)


def test_a_missing_record_says_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "results_dir", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="kdlab deploy --record"):
        results.read("deploy")
