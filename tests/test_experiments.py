"""kdlab.lab.experiments: many runs, their record, and every record that the clone ships."""

import errno
import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from toys import ALONE, TAUGHT, TINY

from kdlab.data import Views, load, select
from kdlab.dataset_files import DataError
from kdlab.lab import executors, experiments, results, search
from kdlab.lab.catalogue import EXPERIMENTS, Experiment, Space
from kdlab.lab.configs import KD, MLP, PAIR, Config
from kdlab.lab.experiments import arms_of, execute, run, run_all, train, training_set
from kdlab.lab.results import read

OWN = replace(TINY, teacher=TINY, **ALONE)  # its teacher is trained first
CIFAR = Config("cnn3-8", "cifar10-10k", 1, hold_out=9800)


@pytest.fixture
def fake(folder, monkeypatch):
    """Two arms whose runs are made up at once, in this process; the list of what was run."""
    calls = []

    def execute(recipe, seed, device):
        calls.append((recipe.lr, seed))
        wrong = 100 + 10 * seed + int(recipe.lr)
        return {"seed": seed, "errors": wrong, "accuracy": 100 - wrong / 100, "seconds": 0.1}

    arms = {"one": replace(MLP, lr=1.0), "two": replace(MLP, lr=2.0)}
    monkeypatch.setattr(experiments, "execute", execute)
    monkeypatch.setattr(executors, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    monkeypatch.setattr(results, "commit", lambda: "0123456789ab")
    monkeypatch.setitem(EXPERIMENTS, "fake", Experiment("Made up", arms))
    return calls


def test_two_processes_equal_one_after_the_other(folder):
    arms = {"labels": TINY, "taught": TAUGHT}
    seen = []
    together = run_all(arms, [0, 1], workers=2, skip=[("taught", 0)], report=seen.append)
    order = [(r["arm"], r["seed"]) for r in together]
    assert order == [("labels", 0), ("labels", 1), ("taught", 1)]
    assert sorted(map(str, seen)) == sorted(map(str, together))
    torch.set_num_threads(1)  # as a process of the grid has it (and conftest wants it)
    for result in together[1:]:
        alone = {"arm": result["arm"], **execute(arms[result["arm"]], result["seed"])}
        for varies in ("seconds", "memory"):
            assert result.pop(varies) >= 0 and alone.pop(varies) >= 0
        assert result == alone


def test_a_run_measures_what_it_says(folder):
    result = execute(TINY, seed=3)
    assert set(result) == {"seed", "errors", "accuracy", "ece", "loss", "seconds", "memory"}
    assert result["seed"] == 3 and result["accuracy"] == pytest.approx(100 - result["errors"] / 100)
    assert 0 < result["errors"] < 9_500 and 0 <= result["ece"] <= 100
    held_out = execute(replace(TINY, judge="validation"))
    assert held_out["accuracy"] == pytest.approx(100 * (1 - held_out["errors"] / 59_800), abs=1e-3)


@pytest.mark.parametrize(("recipe", "told"), [(TINY, "nan"), (TAUGHT, "diverged")])
def test_a_run_that_diverges_is_a_result_and_ends_no_grid(folder, recipe, told):
    """Distilled, its loss meets the infinite logits before the loop meets the infinite loss."""
    result = execute(replace(recipe, optimizer="sgd", lr=1e9, epochs=2))
    assert told in result["diverged"] and 0 <= result["seconds"] < 60  # tenths: a fast one is 0
    assert [result[name] for name in ("loss", "errors", "accuracy", "ece")] == [None] * 4


def test_the_seed_of_a_run_draws_its_views_and_its_twin_teacher(folder, monkeypatch):
    """Runs of even and odd seed ask different teachers, each about views of its own."""
    teachers = {"teacher": "cifar10-10k-cnn7-16", "twin": "cifar10-cnn7-16"}
    recipe, asked = replace(CIFAR, views=Views(shift=1), **teachers, **KD), []

    def fit(student, data, objective, *, teacher, seed, view_seed, **settings):
        asked.append((seed, view_seed, teacher.key["views"], teacher.key["teacher"]))
        return [{"loss": 0.0}]

    monkeypatch.setattr(experiments, "fit", fit)
    for seed in (4, 5, 6):
        train(recipe, seed)
    seeds, view_seeds, views, teachers = zip(*asked, strict=True)
    assert seeds == view_seeds == (4, 5, 6) and len(set(views)) == 3
    assert teachers[0] == teachers[2] != teachers[1]


def test_settings_can_be_judged_on_images_that_no_net_has_seen():
    recipe = replace(CIFAR, hold_out=0, judge="validation")
    try:
        judged = experiments.judged_images(recipe)
    except DataError:
        pytest.skip("`python -m kdlab data cifar10` has not been run here")
    train, test = training_set(recipe)[0], load("cifar10-10k", "test")
    assert judged.index.tolist() == list(range(10_000, 20_000))
    pixels = [{image.numpy().tobytes() for image in d.images} for d in (judged, train, test)]
    assert not pixels[0] & (pixels[1] | pixels[2])


def test_a_choice_never_opens_the_test_images(folder, monkeypatch):
    def load_but_no_test(name, split="train"):
        assert split != "test", "a run judged on validation opened the test images"
        return load(name, split)

    def asked():
        return len(list((folder.parent / "cache" / "answers").iterdir()))

    monkeypatch.setattr(experiments, "images_of", load_but_no_test)
    recipe = replace(TAUGHT, judge="validation", hold_out=59_900)
    experiments.cache_ahead([(recipe, 0)], "cpu")
    assert asked() == 2  # about what it trains on, and what it is judged on
    assert 0 < execute(recipe)["agreement"] <= 100 and asked() == 2


def test_a_teacher_of_few_labels_is_trained_once_and_asked_about_all_images(folder, monkeypatch):
    """With the seed of the run; nobody else's labels come in."""
    fitted, own = [], replace(OWN, labelled=50, teacher=replace(TINY, labelled=50))

    def fit(student, data, *args, real=experiments.fit, **how):
        fitted.append((len(data.labels), how["seed"]))
        return real(student, data, *args, **how)

    monkeypatch.setattr(experiments, "fit", fit)
    results = [execute(own, seed) for seed in (0, 1, 0, 1)]
    errors = [result["errors"] for result in results]
    assert errors[:2] == errors[2:] and len(set(errors)) == 2 and 0 < min(errors) < 9_500
    assert sorted(fitted) == [(50, 0), (50, 1), (200, 0), (200, 0), (200, 1), (200, 1)]
    assert "agreement" not in results[0] and not experiments.names_of_teachers(own, 0)


def test_a_net_is_trained_anew_where_its_named_teacher_was(folder, monkeypatch):
    counted, real = [], experiments.train
    monkeypatch.setattr(experiments, "train", lambda *a: counted.append(a) or real(*a))
    for sha256 in ("one", "one", "other"):
        monkeypatch.setattr(experiments, "card", lambda name, s=sha256: {"sha256": s})
        experiments.trained(TAUGHT, 0, "cpu")
    assert len(counted) == 2


def test_what_is_drawn_after_a_trained_net_is_the_same_from_a_cold_or_a_warm_cache(folder):
    torch.manual_seed(5)
    expected, drawn = torch.rand(3), []
    for _ in range(2):  # trained, then read
        torch.manual_seed(5)
        experiments.trained(TINY, 0, "cpu")
        drawn.append(torch.rand(3))
    assert all(torch.equal(numbers, expected) for numbers in drawn)


def test_unseen_classes_are_unseen_and_judged_without_labels(folder, monkeypatch):
    recipe = replace(TAUGHT, classes=(7, 8), epochs=5, lr=3e-3)
    data, held_out = training_set(replace(recipe, hold_out=55_000))
    assert set(data.labels.tolist()) == {7, 8} and len(held_out.labels) == 55_000
    assert not set(data.index.tolist()) & set(held_out.index.tolist())
    unlabelled = select(held_out, torch.arange(1000))  # enough to choose a shift
    unlabelled = replace(unlabelled, labels=torch.full((1000,), -1))
    monkeypatch.setattr(experiments, "training_set", lambda recipe, seed=0: (data, unlabelled))
    result = execute(recipe)
    assert result["unseen"] == 10_000 - 1028 - 974  # sevens and eights of MNIST's test set
    assert result["shift"] < 0  # 7 and 8 are too likely by far: they are all that it saw
    assert result["unseen errors shifted"] < result["unseen errors"] <= result["errors"]
    assert result["errors shifted"] < result["errors"]


def test_an_error_in_a_run_is_raised_and_the_rest_cancelled(fake, monkeypatch):
    def breaks(recipe, seed, device):
        fake.append(seed)
        time.sleep(0.05)
        raise ValueError("no data set 'nope'")

    monkeypatch.setattr(experiments, "execute", breaks)
    with pytest.raises(ValueError, match="no data set 'nope'"):
        run_all(arms_of("fake"), range(40))
    assert len(fake) < 80


def test_record_is_written_run_by_run(fake, folder, monkeypatch):
    sizes = []
    monkeypatch.setattr(experiments, "print_run", lambda _: sizes.append(len(read("fake")["runs"])))
    record = run("fake", seeds=2)
    assert sizes == [1, 2, 3, 4] and record == read("fake")
    assert sorted(fake) == [(1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)]
    assert record["command"] == "python -m kdlab run fake --seeds 2 --device cpu"
    assert record["settings"]["two"]["lr"] == 2.0
    assert record["commit"] == "0123456789ab" and record["title"] == "Made up"
    assert [f.name for f in folder.iterdir()] == ["fake.json"]


def test_more_seeds_keep_the_finished_ones(fake):
    """As does the same command after a kill: tests/test_executors.py."""
    run("fake", seeds=1)
    for new_seeds in ({1, 2}, set()):
        fake.clear()
        assert len(run("fake", seeds=3)["runs"]) == 6
        assert {seed for _, seed in fake} == new_seeds


@pytest.mark.parametrize(
    ("place", "other"),
    [
        ("lab.experiments.arms_of", lambda name: dict.fromkeys(("one", "two"), MLP)),
        ("lab.results.commit", lambda: "ba9876543210"),
        ("lab.results.describe", lambda device: {"processor": "another"}),
    ],
)
def test_another_setting_machine_or_commit_begins_anew(fake, monkeypatch, place, other):
    run("fake", seeds=2)
    fake.clear()
    monkeypatch.setattr(f"kdlab.{place}", other)
    assert len(run("fake", seeds=1)["runs"]) == len(fake) == 2


def test_more_seeds_of_another_machine_stand_beside_the_first(fake, folder, monkeypatch):
    first = run("fake", seeds=2)
    cut = first | {"runs": first["runs"][:3]}  # seed 1 has run one arm of two
    (folder / "fake.json").write_text(json.dumps(cut), "utf-8")
    fake.clear()
    monkeypatch.setattr(results, "commit", lambda: "ba9876543210")
    record = run("fake", seeds=3, keep_seeds=True)
    assert {seed for _, seed in fake} == {1, 2} and len(fake) == 4 and len(record["runs"]) == 6
    (earlier,) = record["earlier"]
    assert earlier["seeds"] == [0] and earlier["commit"] == first["commit"] != record["commit"]
    assert f"; seeds 0: {results.chip(first)}" in results.provenance("fake")
    fake.clear()
    assert (
        run("fake", seeds=3, keep_seeds=True) == record and not fake
    )  # an interruption loses none of it


def test_a_search_is_recorded_round_by_round_and_taken_up_again(fake, folder, monkeypatch):
    spaces = {"one": Space(MLP, {"lr": (0.1, 10.0)}), "two": Space(PAIR, {"lr": (0.1, 10.0)})}
    made_up = Experiment("Made up", search.drawn(spaces, trials=4), spaces)
    monkeypatch.setitem(EXPERIMENTS, "fake", made_up)
    whole = run("fake", seeds=3)
    counts = Counter(r["seed"] for r in whole["runs"])  # of both arms: 4 trials, the best of which
    assert counts == {100: 2 * (4 + 4), 101: 2 * 3, 102: 2 * 3}  # is the smallest, so 4 beyond it
    assert set(whole["settings"]) == {r["arm"] for r in whole["runs"]}
    done = len(fake)
    assert run("fake", seeds=3) == whole and len(fake) == done  # nothing is left to run
    cut = whole | {"runs": [r for r in whole["runs"] if r["seed"] == 100][:5]}
    (folder / "fake.json").write_text(json.dumps(cut), "utf-8")
    assert run("fake", seeds=3)["runs"] == whole["runs"]
    assert len(fake) == done + len(whole["runs"]) - 5


def test_a_failed_write_leaves_the_old_record(fake, folder, monkeypatch):
    """Written in part, too: test_teachers.py, atomically."""
    before = run("fake", seeds=1)
    monkeypatch.setattr(os, "replace", Mock(side_effect=OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OSError, match="No space"):
        run("fake", seeds=2)
    assert read("fake") == before
    assert [f.name for f in folder.iterdir()] == ["fake.json"]


@pytest.mark.parametrize("method", ["mean of teachers", "switched teachers"])
def test_several_teachers_teach_together_or_in_turn(folder, method):
    """The same one twice teaches what it teaches alone."""
    one = execute(replace(TAUGHT, temperature=1.0))["errors"]
    both = replace(TINY, teacher=(TAUGHT.teacher,) * 2, hard_weight=0.0, weight=1.0, method=method)
    assert abs(one - execute(both)["errors"]) < 200


def test_strangers_are_verified_and_only_known_classes_are_classified(folder):
    recipe = replace(CIFAR, classes=(0, 1), verify=(2, 3))
    result = execute(recipe)
    assert result["accuracy"] == pytest.approx(100 * (1 - result["errors"] / 2000), abs=1e-3)
    assert 0 <= result["tar"] <= result["tar 10%"] <= 100 and 0 < result["area"] < 1
    student = experiments.train(recipe)[0]
    test = experiments.images_of("cifar10-10k", "test")
    strangers = experiments.of_classes(test, (2, 3))
    assert set(strangers.labels.tolist()) == {2, 3} and len(strangers.labels) == 2000
    assert experiments.verification_scores(student, strangers)["tar"] == result["tar"]
    judged = execute(replace(recipe, judge="validation"))
    assert judged["tar"] != result["tar"]  # on other images


def test_a_run_begins_where_another_has_ended(folder):
    first = experiments.train(CIFAR)[0].state_dict()
    still = replace(CIFAR, start=CIFAR, lr=1e-12, weight_decay=0.0)
    after = experiments.train(still)[0].state_dict()
    assert all(torch.allclose(after[k], v, atol=1e-6) for k, v in first.items() if "weight" in k)


def test_an_unknown_engine_lists_the_names():
    """Of experiments and teachers: tests/test_cli.py."""
    with pytest.raises(ValueError, match="no engine 'x': there are local, ray"):
        run_all({"labels": TINY}, [0], engine="x")


def test_labels_teach_from_the_labelled_images_alone():
    """The draw is balanced, changes with the seed, and keeps clear of the held-out images."""
    recipe = replace(TINY, labelled=50, hold_out=59_000)
    (one, held_out), (two, _) = training_set(recipe, seed=0), training_set(recipe, seed=1)
    assert Counter(one.labels.tolist()) == dict.fromkeys(range(10), 5)
    assert set(one.index.tolist()) != set(two.index.tolist())
    assert not set(one.index.tolist()) & set(held_out.index.tolist())
    fewer = training_set(replace(recipe, labelled=20))[0]
    assert set(fewer.index.tolist()) < set(one.index.tolist())


def test_cached_for_labelled_and_for_all_images_are_both_asked_before(folder, monkeypatch):
    few, cached_for = replace(TAUGHT, labelled=50), Mock()
    monkeypatch.setattr(experiments, "cached_for", cached_for)
    monkeypatch.setattr(experiments, "cache_logits", Mock())
    experiments.cache_ahead([(few, 0), (replace(few, hard_weight=0.5), 0)], "cpu")
    assert sorted(len(call.args[2].labels) for call in cached_for.mock_calls) == [50, 200]
