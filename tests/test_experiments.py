"""kdlab.experiments: many runs, their record, and every record that the clone ships."""

import errno
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from kdlab import engines, experiments, records, tuning
from kdlab.data import Views, load, select
from kdlab.experiments import arms_of, execute, run, run_all, train, training_set
from kdlab.plans import EXPERIMENTS, Experiment, Space
from kdlab.recipes import KD, MLP, PAIR, Recipe, settings_of
from kdlab.records import read
from kdlab.sources import DataError

TINY = Recipe(  # 200 images, one epoch: real data and a real teacher, in a second
    "mlp-30", "mnist", 1, optimizer="adam", lr=1e-3, hold_out=59_800, batch_size=50
)
TAUGHT = TINY._replace(teacher="mnist-mlp-1200", temperature=20.0, soft_weight=1.0, hard_weight=0.0)


class Inline(ThreadPoolExecutor):
    """A pool that works in this process, so that a test can see and change what is run."""

    cancelled = False

    def __init__(self, *_):
        super().__init__(1)

    def shutdown(self, wait=True, *, cancel_futures=False):
        Inline.cancelled |= cancel_futures
        super().shutdown(wait, cancel_futures=cancel_futures)


@pytest.fixture
def fake(folder, monkeypatch):
    """Two arms whose runs are made up at once; gives the list of what was run."""
    calls = []

    def execute(recipe, seed, device):
        calls.append((recipe.lr, seed))
        wrong = 100 + 10 * seed + int(recipe.lr)
        return {"seed": seed, "errors": wrong, "accuracy": 100 - wrong / 100, "seconds": 0.1}

    arms = {"one": MLP._replace(lr=1.0), "two": MLP._replace(lr=2.0)}
    monkeypatch.setattr(experiments, "execute", execute)
    monkeypatch.setattr(engines, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(records, "commit", lambda: "0123456789ab")
    monkeypatch.setitem(EXPERIMENTS, "fake", Experiment("Made up", arms))
    return calls


def test_two_processes_equal_one_after_the_other(folder):
    arms = {"labels": TINY, "taught": TAUGHT}
    seen = []
    together = run_all(arms, [0, 1], workers=2, skip=[("taught", 0)], report=seen.append)
    order = [("labels", 0), ("labels", 1), ("taught", 1)]
    assert [(r["arm"], r["seed"]) for r in together] == order
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
    assert result["seed"] == 3
    assert result["accuracy"] == pytest.approx(100 - result["errors"] / 100)
    assert 0 < result["errors"] < 9_500 and 0 <= result["ece"] <= 100
    held_out = execute(TINY._replace(judge="validation"))
    assert held_out["accuracy"] == pytest.approx(100 * (1 - held_out["errors"] / 59_800), abs=1e-3)


@pytest.mark.parametrize(("recipe", "told"), [(TINY, "nan"), (TAUGHT, "diverged")])
def test_a_run_that_diverges_is_a_result_and_ends_no_grid(folder, recipe, told):
    """Distilled, its loss meets the infinite logits before the loop meets the infinite loss."""
    result = execute(recipe._replace(optimizer="sgd", lr=1e9, epochs=2))
    assert told in result["diverged"] and 0 <= result["seconds"] < 60  # tenths: a fast one is 0
    assert [result[name] for name in ("loss", "errors", "accuracy", "ece")] == [None] * 4


def test_the_seed_of_a_run_draws_its_views_and_its_twin_teacher(folder, monkeypatch):
    """Runs of even and odd seed ask different teachers, each about views of its own."""
    recipe = CIFAR._replace(views=Views(shift=1), teacher="cifar10-10k-cnn7-16", **KD)
    recipe = recipe._replace(twin="cifar10-cnn7-16")
    asked = []

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
    recipe = CIFAR._replace(hold_out=0, judge="validation")
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
    recipe = TAUGHT._replace(judge="validation", hold_out=59_900)
    experiments.answer_ahead([(recipe, 0)], "cpu")
    assert asked() == 2  # about what it trains on, and what it is judged on
    assert 0 < execute(recipe)["agreement"] <= 100 and asked() == 2


def test_a_teacher_that_is_trained_first_is_trained_once(folder, monkeypatch):
    trained = []

    def train_counted(recipe, seed, *args, real=experiments.train):
        trained.append((recipe.teacher == "", seed))
        return real(recipe, seed, *args)

    monkeypatch.setattr(experiments, "train", train_counted)
    own = TINY._replace(teacher=TINY, soft_weight=1.0, hard_weight=0.0)
    errors = [execute(r, seed)["errors"] for r in (own, own) for seed in (0, 1)]
    assert errors[:2] == errors[2:] and len(set(errors)) == 2
    assert sorted(trained) == [(False, 0), (False, 0), (False, 1), (False, 1), (True, 0), (True, 1)]


def test_a_net_is_trained_anew_where_its_named_teacher_was(folder, monkeypatch):
    counted, real = [], experiments.train
    monkeypatch.setattr(experiments, "train", lambda *a: counted.append(a) or real(*a))
    for sha256 in ("one", "one", "other"):
        monkeypatch.setattr(experiments, "card", lambda name, s=sha256: {"sha256": s})
        experiments.trained(TAUGHT, 0, "cpu")
    assert len(counted) == 2


def test_unseen_classes_are_unseen_and_judged_without_labels(folder, monkeypatch):
    recipe = TAUGHT._replace(classes=(7, 8), epochs=5, lr=3e-3)
    data, held_out = training_set(recipe._replace(hold_out=55_000))
    assert set(data.labels.tolist()) == {7, 8} and len(held_out.labels) == 55_000
    assert not set(data.index.tolist()) & set(held_out.index.tolist())
    unlabelled = select(held_out, torch.arange(1000))  # enough to choose a shift
    unlabelled = unlabelled._replace(labels=torch.full((1000,), -1))
    monkeypatch.setattr(experiments, "training_set", lambda recipe, seed=0: (data, unlabelled))
    result = execute(recipe)
    assert result["unseen"] == 10_000 - 1028 - 974  # sevens and eights of MNIST's test set
    assert result["shift"] < 0  # 7 and 8 are too likely by far: they are all that it saw
    assert result["unseen errors shifted"] < result["unseen errors"] <= result["errors"]
    assert result["errors shifted"] < result["errors"]


def test_an_error_in_a_run_is_raised_and_the_rest_cancelled(fake, monkeypatch):
    def breaks(recipe, seed, device):
        raise ValueError("no data set 'nope'")

    monkeypatch.setattr(experiments, "execute", breaks)
    Inline.cancelled = False
    with pytest.raises(ValueError, match="no data set 'nope'"):
        run_all(arms_of("fake"), [0])
    assert Inline.cancelled


def test_record_is_written_run_by_run(fake, folder, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        experiments, "print_run", lambda result: sizes.append(len(read("fake")["runs"]))
    )
    record = run("fake", seeds=2)
    assert sizes == [1, 2, 3, 4] and record == read("fake")
    assert sorted(fake) == [(1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)]
    assert record["command"] == "python -m kdlab run fake --seeds 2 --device cpu"
    assert record["settings"]["two"]["lr"] == 2.0
    assert record["commit"] == "0123456789ab" and record["title"] == "Made up"
    assert [f.name for f in folder.iterdir()] == ["fake.json"]


def test_more_seeds_keep_the_finished_ones(fake):
    """As does the same command after a kill: tests/test_engines.py."""
    run("fake", seeds=1)
    fake.clear()
    assert len(run("fake", seeds=3)["runs"]) == 6
    assert {seed for _, seed in fake} == {1, 2}
    fake.clear()
    assert len(run("fake", seeds=3)["runs"]) == 6
    assert fake == []


@pytest.mark.parametrize("changed", ["settings", "commit", "machine"])
def test_another_setting_machine_or_commit_begins_anew(fake, monkeypatch, changed):
    run("fake", seeds=2)
    fake.clear()
    if changed == "settings":
        arms = {k: r._replace(epochs=7) for k, r in arms_of("fake").items()}
        monkeypatch.setitem(EXPERIMENTS, "fake", Experiment("Made up", arms))
    elif changed == "commit":
        monkeypatch.setattr(records, "commit", lambda: "ba9876543210")
    else:
        monkeypatch.setattr(records, "describe", lambda device: {"processor": "another"})
    assert len(run("fake", seeds=1)["runs"]) == 2
    assert len(fake) == 2


def test_a_search_is_recorded_round_by_round_and_taken_up_again(fake, folder, monkeypatch):
    spaces = {"one": Space(MLP, {"lr": (0.1, 10.0)}), "two": Space(PAIR, {"lr": (0.1, 10.0)})}
    search = Experiment("Made up", tuning.drawn(spaces, trials=4), spaces)
    monkeypatch.setitem(EXPERIMENTS, "fake", search)
    whole = run("fake", seeds=3)
    counts = Counter((tuning.arm_of(r["arm"]), r["seed"]) for r in whole["runs"])
    beyond = 4  # errors grow with the rate, so the best one is the smallest, at the edge
    assert counts == {
        (arm, seed): 4 + beyond if seed == 100 else 3 for arm in spaces for seed in (100, 101, 102)
    }
    assert set(whole["settings"]) == {r["arm"] for r in whole["runs"]}
    done = len(fake)
    assert run("fake", seeds=3) == whole and len(fake) == done  # nothing is left to run
    cut = whole | {"runs": [r for r in whole["runs"] if r["seed"] == 100][:5]}
    (folder / "fake.json").write_text(json.dumps(cut), "utf-8")
    assert run("fake", seeds=3)["runs"] == whole["runs"]
    assert len(fake) == done + len(whole["runs"]) - 5


def test_a_failed_write_leaves_the_old_record(fake, folder, monkeypatch):
    before = run("fake", seeds=1)
    real = Path.write_text

    def full(self, text, *args):
        real(self, text[: len(text) // 2], *args)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            run("fake", seeds=2)
    assert read("fake") == before
    assert [f.name for f in folder.iterdir()] == ["fake.json"]


def test_a_teacher_can_be_trained_first_and_several_can_teach(folder):
    """TINY's own student as its teacher; two teachers, one after the other or together."""
    first = execute(TINY._replace(soft_weight=1.0, hard_weight=0.0, teacher=TINY), seed=1)
    assert 0 < first["errors"] < 9_500 and "agreement" not in first
    one = execute(TAUGHT._replace(temperature=1.0))["errors"]
    both = TINY._replace(teacher=(TAUGHT.teacher, TAUGHT.teacher), hard_weight=0.0, weight=1.0)
    for method in ("mean of teachers", "switched teachers"):  # the same teacher twice
        assert abs(one - execute(both._replace(method=method))["errors"]) < 200


CIFAR = Recipe("cnn3-8", "cifar10-10k", 1, hold_out=9800)


def test_strangers_are_verified_and_only_known_classes_are_classified(folder):
    recipe = CIFAR._replace(classes=(0, 1), verify=(2, 3))
    result = execute(recipe)
    assert result["accuracy"] == pytest.approx(100 * (1 - result["errors"] / 2000), abs=1e-3)
    assert 0 <= result["tar"] <= result["tar 10%"] <= 100 and 0 < result["area"] < 1
    student = experiments.train(recipe)[0]
    test = experiments.images_of("cifar10-10k", "test")
    strangers = experiments.of_classes(test, (2, 3))
    assert set(strangers.labels.tolist()) == {2, 3} and len(strangers.labels) == 2000
    assert experiments.verification_scores(student, strangers)["tar"] == result["tar"]
    judged = execute(recipe._replace(judge="validation"))
    assert judged["tar"] != result["tar"]  # on other images


def test_a_run_begins_where_another_has_ended(folder):
    first = experiments.train(CIFAR)[0].state_dict()
    still = CIFAR._replace(start=CIFAR, lr=1e-12, weight_decay=0.0)
    after = experiments.train(still)[0].state_dict()
    assert all(torch.allclose(after[k], v, atol=1e-6) for k, v in first.items() if "weight" in k)
    assert settings_of(still)["start"]["student"] == "cnn3-8"


def test_an_unknown_engine_lists_the_names():
    """Of experiments and teachers: tests/test_cli.py."""
    with pytest.raises(ValueError, match="no engine 'x': there are local, ray"):
        run_all({"labels": TINY}, [0], engine="x")


def test_labels_teach_from_the_labelled_images_alone():
    """The draw is balanced, changes with the seed, and keeps clear of the held-out images."""
    recipe = TINY._replace(labelled=50, hold_out=59_000)
    (one, held_out), (two, _) = training_set(recipe, seed=0), training_set(recipe, seed=1)
    assert Counter(one.labels.tolist()) == dict.fromkeys(range(10), 5)
    assert set(one.index.tolist()) != set(two.index.tolist())
    assert not set(one.index.tolist()) & set(held_out.index.tolist())
    fewer = training_set(recipe._replace(labelled=20))[0]
    assert set(fewer.index.tolist()) < set(one.index.tolist())


def test_a_run_without_labels_sees_all_the_images_and_no_label():
    few = TAUGHT._replace(labelled=50, hold_out=59_000)
    assert len(training_set(few)[0].labels) == 1000
    on_labels = few._replace(hard_weight=0.5)
    assert len(training_set(on_labels)[0].labels) == 50


def test_a_teacher_of_few_labels_teaches_on_all_the_images(folder, monkeypatch):
    """A nested teacher draws with the seed of the run; nobody else's labels come in."""
    asked = []

    def answers_for(recipe, teacher, data, seed, device, real=experiments.answers_for):
        asked.append(data)
        return real(recipe, teacher, data, seed, device)

    few = TINY._replace(labelled=50, hold_out=59_800)
    own = few._replace(teacher=few, soft_weight=1.0, hard_weight=0.0)
    monkeypatch.setattr(experiments, "answers_for", answers_for)
    result = execute(own, seed=1)
    assert [len(data.labels) for data in asked] == [200] and 0 < result["errors"] < 9_900


def test_answers_for_labelled_and_for_all_images_are_both_asked_before(folder, monkeypatch):
    few = TAUGHT._replace(labelled=50, hold_out=59_800)
    asked = []
    monkeypatch.setattr(
        experiments, "answers_for", lambda r, teacher, data, *rest: asked.append(len(data.labels))
    )
    monkeypatch.setattr(experiments, "answer", lambda *args, **options: None)
    experiments.answer_ahead([(few, 0), (few._replace(hard_weight=0.5), 0)], "cpu")
    assert sorted(asked) == [50, 200]
