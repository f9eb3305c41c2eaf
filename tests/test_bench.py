"""The comparison: the same work on both sides, fairly set up, and printed with its ratios."""

import torch
from typer.testing import CliRunner

from kdlab.__main__ import app
from kdlab.apps.bench import loops as bench
from kdlab.data import load, normalise
from kdlab.lab import results
from kdlab.metrics import parameters


def test_the_nets_are_those_of_the_tutorial():
    assert parameters(bench.big_net()) == 1_186_986
    assert parameters(bench.small_net()) == 267_738


def test_both_sides_see_the_same_pixels():
    data = load("cifar10-10k")
    image, label = bench.Pictures(data)[7]
    torch.testing.assert_close(image, normalise(data.images[7:8], data)[0], atol=1e-5, rtol=0)
    assert label == data.labels[7]


def test_both_sides_run_and_the_table_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(results, "results_dir", lambda: tmp_path)
    bench.train_shared_teacher(tmp_path / "bench" / "teacher-256.safetensors", 256, 1)
    result = bench.run_bench(epochs=1, images=256, record=True)
    assert [run["arm"] for run in result["runs"]] == ["plain loop", "kdlab"]
    for run in result["runs"]:
        assert run["seconds"] > 0 and run["peak MB"] > 50 and 5 < run["accuracy"] < 60
    said = capsys.readouterr().out
    assert "training the teacher" not in said  # a second bench starts at once
    for row in ("seconds", "images/s", "peak MB", "accuracy", "ratio", "one seed"):
        assert row in said
    assert (tmp_path / "bench.json").is_file()


def test_the_command_runs_it(monkeypatch):
    calls = []
    monkeypatch.setattr(bench, "run_bench", lambda **options: calls.append(options))
    assert CliRunner().invoke(app, ["bench", "--epochs", "2"]).exit_code == 0
    assert calls == [{"epochs": 2, "seeds": 1, "record": False}]


def test_more_seeds_give_an_interval():
    runs = [
        {"arm": arm, "seed": s, "seconds": 10.0, "images/s": 9, "peak MB": 5, "accuracy": 50.0 + s}
        for s in range(3)
        for arm in bench.SIDES
    ]
    assert "over 3 seeds: +0.00 points, 95% interval +0.00 to +0.00" in bench.compare_sides(runs)
