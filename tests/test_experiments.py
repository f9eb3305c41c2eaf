"""kdlab.experiments: many runs, their record, and every record that the clone ships."""

import errno
import json
import math
import re
import subprocess
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch

from kdlab import engines, experiments, plans, recipes, records, tuning
from kdlab.data import DataError, Views, load, select
from kdlab.experiments import arms_of, execute, run, run_all, train, training_set
from kdlab.files import ROOT
from kdlab.methods import METHODS
from kdlab.models import MODELS
from kdlab.plans import EXPERIMENTS, Experiment, Space
from kdlab.recipes import KD, MLP, PAIR, TEACHERS, Recipe, settings_of
from kdlab.records import commit, provenance, read, summarise, table, values

RECORDS = sorted((ROOT / "data" / "results").glob("*.json"))
TINY = Recipe(  # 200 images, one epoch: real data and a real teacher, in a second
    "mlp-30", "mnist", 1, optimizer="adam", lr=1e-3, hold_out=59_800, batch_size=50
)
TAUGHT = TINY._replace(teacher="mnist-mlp-1200", temperature=20.0, soft_weight=1.0, hard_weight=0.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Records and caches of this test alone."""
    monkeypatch.setattr(records, "results_dir", lambda: tmp_path / "results")
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


class Inline:
    """A pool that works in this process, so that a test can see and change what is run."""

    cancelled = False

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, call, *args):
        future = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        Inline.cancelled = cancel_futures


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


# -------------------------------------------------------------------------------------- real runs


def test_two_processes_equal_one_after_the_other(folder):
    arms = {"labels": TINY, "taught": TAUGHT}
    seen = []
    together = run_all(arms, [0, 1], workers=2, skip=[("taught", 0)], report=seen.append)
    assert [(r["arm"], r["seed"]) for r in together] == [
        ("labels", 0),
        ("labels", 1),
        ("taught", 1),
    ]
    assert sorted(map(str, seen)) == sorted(map(str, together))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for result in together[1:]:
            alone = {"arm": result["arm"], **execute(arms[result["arm"]], result["seed"])}
            for varies in ("seconds", "memory"):
                assert result.pop(varies) >= 0 and alone.pop(varies) >= 0
            assert result == alone
    finally:
        torch.set_num_threads(threads)


def test_a_run_measures_what_it_says(folder):
    result = execute(TINY, seed=3)
    assert set(result) == {"seed", "errors", "accuracy", "ece", "loss", "seconds", "memory"}
    assert result["seed"] == 3
    assert result["accuracy"] == pytest.approx(100 - result["errors"] / 100)
    assert 0 < result["errors"] < 9_500 and 0 <= result["ece"] <= 100


def test_a_run_that_diverges_is_a_result_and_ends_no_grid(folder):
    result = execute(TINY._replace(optimizer="sgd", lr=1e9))
    assert "nan" in result["diverged"] and result["seconds"] > 0
    assert [result[name] for name in ("loss", "errors", "accuracy", "ece")] == [None] * 4


def test_a_distilled_run_that_diverges_is_recorded_as_its_twin_on_labels_is(folder):
    """Its loss meets the infinite logits before the loop meets the infinite loss."""
    result = execute(TAUGHT._replace(optimizer="sgd", lr=1e9, epochs=2))
    assert "diverged" in result["diverged"] and result["accuracy"] is None


def test_a_diverged_run_is_shown_and_enters_no_mean():
    runs = made_up("labels", {0: 70.0, 1: 72.0, 2: 71.0}) + made_up("taught", {0: 73.0, 1: 74.0})
    runs.append({"arm": "taught", "seed": 2, "accuracy": None, "diverged": "the loss is nan"})
    rows = summarise(runs)
    assert list(rows["diverged"]) == [0, 1] and list(rows["seeds"]) == [3, 2]
    assert rows.loc["taught", "mean"] == 73.5 and rows.loc["taught", "difference"] == 2.5
    assert values(runs, "taught", "accuracy") == [73.0, 74.0]
    assert "diverged" not in summarise(runs[:-1])


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

    monkeypatch.setattr(experiments, "images_of", load_but_no_test)
    recipe = TAUGHT._replace(judge="validation", hold_out=59_900)
    experiments.answer_ahead([(recipe, 0)], "cpu")
    asked = len(list((folder.parent / "cache" / "answers").iterdir()))
    assert asked == 2  # about what it trains on, and what it is judged on
    assert 0 < execute(recipe)["agreement"] <= 100
    assert len(list((folder.parent / "cache" / "answers").iterdir())) == asked


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


def test_validation_judges_on_held_out_images(folder):
    result = execute(TINY._replace(judge="validation"))
    assert result["accuracy"] == pytest.approx(100 * (1 - result["errors"] / 59_800), abs=1e-3)


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


def test_training_is_a_function_of_recipe_and_seed(folder):
    weights = [
        torch.cat([p.flatten() for p in train(TINY, seed)[0].parameters()]) for seed in (1, 1, 2)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_error_in_a_run_is_raised_and_the_rest_cancelled(fake, monkeypatch):
    def breaks(recipe, seed, device):
        raise ValueError("no data set 'nope'")

    monkeypatch.setattr(experiments, "execute", breaks)
    Inline.cancelled = False
    with pytest.raises(ValueError, match="no data set 'nope'"):
        run_all(arms_of("fake"), [0])
    assert Inline.cancelled


# ----------------------------------------------------------------------------------- the record


def test_record_is_written_run_by_run(fake, folder, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        experiments, "print_run", lambda result: sizes.append(len(read("fake")["runs"]))
    )
    record = run("fake", seeds=2)
    assert sizes == [1, 2, 3, 4]
    assert sorted(map(str, fake)) == sorted(map(str, [(1.0, 0), (2.0, 0), (1.0, 1), (2.0, 1)]))
    assert record == read("fake")
    assert record["command"] == "python -m kdlab run fake --seeds 2 --device cpu"
    assert record["settings"]["two"]["lr"] == 2.0
    assert record["commit"] == "0123456789ab" and record["title"] == "Made up"
    assert [f.name for f in folder.iterdir()] == ["fake.json"]


def test_interrupted_runs_are_taken_up_again(fake, monkeypatch):
    def interrupt(result):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiments, "print_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("fake", seeds=2)
    (kept,) = read("fake")["runs"]
    fake.clear()
    record = run("fake", seeds=2)
    done = {(arms_of("fake")[r["arm"]].lr, r["seed"]) for r in record["runs"]}
    assert len(record["runs"]) == 4 == len(done)
    assert len(fake) == 3 and set(fake) == done - {(arms_of("fake")[kept["arm"]].lr, kept["seed"])}
    assert kept in record["runs"]


def test_more_seeds_keep_the_finished_ones(fake):
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
    path = folder / "fake.json"
    cut = whole | {"runs": [r for r in whole["runs"] if r["seed"] == 100][:5]}
    path.write_text(json.dumps(cut), "utf-8")
    assert (
        run("fake", seeds=3)["runs"] == whole["runs"] and len(fake) == done + len(whole["runs"]) - 5
    )


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
    monkeypatch.setattr(records, "ROOT", tmp_path)
    assert commit() == "unknown"
    for name in ("kdlab/losses.py", "data/results/trio.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("old")

    def git(*words):
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        subprocess.run(("git", *who, *words), cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = commit()
    assert re.fullmatch("[0-9a-f]{12,}", clean)
    (tmp_path / "data/results/trio.json").write_text("new")
    assert commit() == clean
    (tmp_path / "kdlab/losses.py").write_text("new")
    edited = commit()
    assert re.fullmatch(f"{clean}-dirty-[0-9a-f]{{8}}", edited) and commit() == edited
    (tmp_path / "kdlab/losses.py").write_text("newer")
    assert commit() not in (edited, clean)  # other edits are other code
    (tmp_path / "kdlab/losses.py").write_text("new")
    (tmp_path / "kdlab/more.py").write_text("a file that git does not know")
    assert commit() not in (edited, clean)
    monkeypatch.setenv("KDLAB_COMMIT", "abc")
    assert commit() == "abc"


# ---------------------------------------------------------------------------------- the tables


def made_up(arm, accuracies):
    return [{"arm": arm, "seed": s, "accuracy": a} for s, a in accuracies.items()]


def test_summary_is_the_closed_form():
    runs = made_up("labels", {0: 70.0, 1: 72.0, 2: 71.0})
    runs += made_up("taught", {2: 75.0, 0: 73.0, 1: 74.0})  # in the order in which they ended
    rows = summarise(runs)
    assert list(rows.index) == ["labels", "taught"]
    assert rows.loc["labels", "mean"] == 71 and rows.loc["labels", "std"] == 1
    differences = [3.0, 2.0, 4.0]
    half = 4.302653 * 1.0 / math.sqrt(3)
    row = rows.loc["taught"]
    assert row["seeds"] == 3
    assert row["difference"] == sum(differences) / 3
    assert row["95% low"] == pytest.approx(3 - half, abs=0.006)
    assert row["95% high"] == pytest.approx(3 + half, abs=0.006)
    assert math.isnan(rows.loc["labels", "difference"])


def test_half_finished_arms_are_paired_by_seed_not_by_place():
    runs = made_up("labels", {0: 70.0, 1: 72.0, 2: 71.0})
    runs += made_up("taught", {0: 71.0, 2: 72.0, 3: 99.0})
    row = summarise(runs).loc["taught"]
    assert (row["difference"], row["95% low"], row["95% high"]) == (1, 1, 1)  # seeds 0 and 2
    lonely = summarise(made_up("labels", {0: 70.0}) + made_up("taught", {0: 71.0}))
    assert "difference" not in lonely  # one pair has no interval


def test_another_control_and_metric():
    runs = made_up("a", {0: 1.0, 1: 2.0}) + made_up("b", {0: 3.0, 1: 4.0})
    for r in runs:
        r["errors"] = int(r["accuracy"]) * 10
    rows = summarise(runs, "errors", control="b")
    assert rows.loc["a", "difference"] == -20 and rows.loc["b", "mean"] == 35
    assert values(runs, "a", "errors") == [10, 20]


@pytest.mark.parametrize("name", [p.stem for p in RECORDS if p.stem in EXPERIMENTS])
def test_table_of_every_record(name):
    rows, record = table(name), read(name)
    assert set(rows.index) == {r["arm"] for r in record["runs"]}
    for arm, row in rows.iterrows():
        mine = values(record["runs"], arm, "accuracy")
        assert row["mean"] == pytest.approx(sum(mine) / len(mine), abs=0.006)
    line = provenance(name)
    assert record["command"] in line and record["date"] in line and record["commit"] in line
    assert "\n" not in line


# ----------------------------------------------------------------------- declared and recorded


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_provenance_of_every_record(path):
    record = json.loads(path.read_text("utf-8"))
    assert record["name"] == path.stem and record["title"]
    assert record["command"].startswith("python -m kdlab ")
    assert re.fullmatch(r"[0-9a-f]{7,40}", record["commit"]), "recorded with edited or unknown code"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert {"processor", "cores", "accelerator", "torch", "python"} <= set(record["machine"])
    runs = record["runs"]
    assert runs and all({"arm", "seed", "accuracy"} <= set(r) for r in runs)
    assert len({(r["arm"], r["seed"]) for r in runs}) == len(runs), "a run is there twice"
    assert all(math.isfinite(v) for r in runs for v in r.values() if isinstance(v, float))


@pytest.mark.parametrize(
    "path", [p for p in RECORDS if p.stem in EXPERIMENTS], ids=lambda p: p.stem
)
def test_no_record_is_stale(path):
    record = json.loads(path.read_text("utf-8"))
    arms = arms_of(path.stem)
    declared = json.loads(json.dumps({arm: settings_of(r) for arm, r in arms.items()}))

    def filled(known):  # a setting that came later has its default
        nested = {k: filled(v) for k, v in known.items() if isinstance(v, dict)}
        return Recipe._field_defaults | known | nested

    settings = {arm: filled(known) for arm, known in record["settings"].items()}
    settings = json.loads(json.dumps(settings))
    again = f"the record {path.name} is stale: `python -m kdlab run {path.stem}`"
    if EXPERIMENTS[path.stem].spaces:  # what its later rounds try depends on the first
        assert all(settings[arm] == declared[arm] for arm in declared), again
        declared = settings
    assert settings == declared, again
    assert {r["arm"] for r in record["runs"]} == set(declared), again
    seeds = {arm: {r["seed"] for r in record["runs"] if r["arm"] == arm} for arm in declared}
    assert EXPERIMENTS[path.stem].spaces or len({frozenset(s) for s in seeds.values()}) == 1, (
        f"{path.name} has unequal seeds: {seeds}"
    )
    for r in record["runs"]:
        recipe = declared[r["arm"]]
        judged = recipe["hold_out"] if recipe["judge"] != "test" else 0
        judged = judged or 10_000
        judged -= 1000 * len(recipe["verify"])  # what no net may know is not classified
        assert r["accuracy"] == pytest.approx(100 * (1 - r["errors"] / judged), abs=1e-3)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_carried_out(name):
    arms = arms_of(name)
    assert EXPERIMENTS[name].title and len(arms) >= 2
    for arm, recipe in arms.items():
        assert recipe.student in MODELS, arm
        for teacher in names_of(recipe.teacher):
            assert teacher in TEACHERS and TEACHERS[teacher].student in MODELS, arm
        assert recipe.judge in ("test", "validation"), arm
        assert recipe.judge == "test" or recipe.hold_out or recipe.data == "cifar10-10k", arm
        assert not recipe.soft_weight or recipe.teacher, arm
        assert recipe.method in ("", *METHODS), arm


def names_of(teacher):
    """All the shipped teachers behind a recipe's teacher."""
    if isinstance(teacher, Recipe):
        return names_of(teacher.teacher)
    return [name for name in ([teacher] if isinstance(teacher, str) else teacher) if name]


def test_the_leaderboard_has_every_method_on_one_pair_at_one_budget():
    board = arms_of("leaderboard")
    assert set(METHODS) - {"adversarial training", "ARD", "RSLAD", "Jensen-Shannon"} <= {
        r.method for r in board.values()
    }
    assert {r.judge for r in board.values()} == {"test"}
    same = ("student", "data", "views", "batch_size", "hold_out")
    assert len({tuple(getattr(r, name) for name in same) for r in board.values()}) == 1
    longer = {arm for arm, r in board.items() if r.epochs != board["labels"].epochs}
    assert longer == {
        "labels, twice as long", "soft targets, twice as long", "soft targets, equal seconds"
    }  # fmt: skip
    assert all(r.twin for r in board.values() if r.teacher == recipes.FAST_10K)


def test_a_teacher_can_be_trained_first_and_several_can_teach(folder):
    """TINY's own student as its teacher; two teachers, one after the other or together."""
    first = execute(TINY._replace(soft_weight=1.0, hard_weight=0.0, teacher=TINY), seed=1)
    assert 0 < first["errors"] < 9_500 and "agreement" not in first
    both = TINY._replace(teacher=(TAUGHT.teacher, TAUGHT.teacher), hard_weight=0.0, weight=1.0)
    one = TINY._replace(teacher=TAUGHT.teacher, soft_weight=1.0, hard_weight=0.0)
    one, mean, switched = (
        execute(recipe)["errors"]
        for recipe in (
            one, both._replace(method="mean of teachers"), both._replace(method="switched teachers")
        )
    )  # fmt: skip
    assert abs(one - mean) < 200 and abs(one - switched) < 200  # the same teacher twice


def test_settings_of_a_nested_teacher_are_recorded():
    nested = settings_of(TINY._replace(teacher=TINY))
    assert nested["teacher"]["student"] == TINY.student
    assert json.loads(json.dumps(nested)) == json.loads(json.dumps(settings_of(TINY))) | {
        "teacher": json.loads(json.dumps(settings_of(TINY)))
    }


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


def test_no_net_was_told_the_classes_that_are_verified():
    arms = arms_of("verification")
    for arm, recipe in arms.items():
        told = recipe.classes if recipe.hard_weight else ()
        assert recipe.verify and not set(recipe.verify) & set(told), arm
        if recipe.teacher:
            known = TEACHERS[recipe.teacher].classes
            assert known and not set(recipe.verify) & set(known), arm
        assert recipe.classes or not recipe.hard_weight, arm
    train = {arm: experiments.training_set(r)[0] for arm, r in arms.items()}
    seen = {len(train[arm].labels) * recipe.epochs for arm, recipe in arms.items()}
    assert max(seen) / min(seen) < 1.02  # as many images in training in every arm


def test_ssld_adds_one_ingredient_at_a_time_and_its_controls_are_not_cut_short():
    arms = arms_of("ssld")
    steps = {arm: r.epochs * (10_000 - r.hold_out) for arm, r in arms.items()}
    long = {"labels", "+ twice as long", "+ 8,000 unlabelled", "own teacher, all images"}
    assert len({steps[arm] for arm in long}) == 1
    assert not any(r.hard_weight for arm, r in arms.items() if arm != "labels")
    unlabelled = arms["+ 8,000 unlabelled"]
    for arm in ("+ twice as long", "own teacher, all images"):
        assert TEACHERS[arms["label-free, own teacher"].teacher].hold_out == 8000
        assert unlabelled.epochs * 10_000 == steps[arm]


def test_an_unknown_engine_is_named():
    with pytest.raises(ValueError, match="no engine 'cloud': there are local, ray"):
        run_all({"labels": TINY}, [0], engine="cloud")


def test_settings_are_chosen_on_validation_images_alone():
    """A grid over temperature and weight is a choice: it must not look at the test images."""
    assert {r.judge for r in arms_of("temperature-weight").values()} == {"validation"}


def test_arms_differ_in_what_their_names_say_alone():
    labels, *taught = arms_of("cifar-gain").values()
    names = ("teacher", "temperature", "soft_weight", "hard_weight")
    for recipe in taught:
        assert recipe._replace(**{n: getattr(labels, n) for n in names}) == labels


@pytest.mark.parametrize("name", TEACHERS)
def test_every_teacher_has_a_recipe_that_can_be_run(name):
    recipe = TEACHERS[name]
    assert recipe.student in MODELS and not recipe.teacher and recipe.judge == "test"


def test_an_unknown_teacher_lists_the_names():
    with pytest.raises(ValueError) as error:
        experiments.train_teacher("vgg")
    assert all(name in str(error.value) for name in TEACHERS)


# --------------------------------------------------------------------------------------- few labels


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


def test_a_teacher_of_few_labels_teaches_on_all_the_images(folder):
    """A nested teacher draws with the seed of the run; nobody else's labels come in."""
    asked = []

    def answers_for(recipe, teacher, data, seed, device, real=experiments.answers_for):
        asked.append(data)
        return real(recipe, teacher, data, seed, device)

    few = TINY._replace(labelled=50, hold_out=59_800)
    own = few._replace(teacher=few, soft_weight=1.0, hard_weight=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "answers_for", answers_for)
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


def test_what_is_chosen_was_best_on_validation(folder, monkeypatch):
    """By the mean of the finalists; without a record, the base of the space."""
    spaces = {"labels": Space(PAIR, {"lr": (0.05, 0.8)})}
    search = Experiment("Made up", plans.trials(spaces, 3), spaces)
    monkeypatch.setitem(EXPERIMENTS, "search", search)
    monkeypatch.setitem(EXPERIMENTS, "made-up", Experiment("Made up", dict, search="search"))
    assert experiments.chosen("search") == arms_of("made-up") == {"labels": PAIR}
    settings = {f"labels #{n}": settings_of(PAIR._replace(lr=n / 10)) for n in (1, 2, 3)}
    scores = {1: (50, 52), 2: (60,), 3: (51, 51.5)}  # the second was no finalist
    runs = [
        {"arm": f"labels #{n}", "seed": seed, "accuracy": score}
        for n, mine in scores.items()
        for seed, score in enumerate(mine, 100)
    ]
    folder.mkdir()
    (folder / "search.json").write_text(json.dumps({"settings": settings, "runs": runs}), "utf-8")
    assert arms_of("made-up")["labels"] == PAIR._replace(lr=0.3)


def test_a_choice_among_named_candidates_is_run_on_the_test_images(folder, monkeypatch):
    search = Experiment("Made up", plans.ssld_trials())
    monkeypatch.setitem(EXPERIMENTS, "ssld-tuning", search)
    runs = [{"arm": arm, "seed": 0, "accuracy": len(arm)} for arm in search.arms]
    folder.mkdir()
    (folder / "ssld-tuning.json").write_text(json.dumps({"settings": {}, "runs": runs}), "utf-8")
    found = experiments.chosen("ssld-tuning")
    assert list(found) == ["labels", "KL", "JS"] and found["labels"].lr == 0.05
    assert {r.judge for r in found.values()} == {"test"}


def test_an_unknown_experiment_lists_the_names():
    with pytest.raises(KeyError, match="no experiment 'x': there are trio, .*, small-data"):
        arms_of("x")


def test_as_many_trials_with_a_teacher_as_without():
    trials, spaces = arms_of("architectures-tuning"), plans.kind_spaces()
    counts = Counter(tuning.arm_of(trial) for trial in trials)
    assert set(counts) == set(spaces) and set(counts.values()) == {6}
    assert {r.judge for r in trials.values()} == {"validation"}
    for kind in (*plans.KINDS, *plans.LONGER):
        labels, taught = spaces[f"{kind}: labels"], spaces[f"{kind}: distilled"]
        assert labels.ranges["lr"] == taught.ranges["lr"]


def test_each_kind_is_compared_at_one_budget():
    """Both arms have the same net, images and updates; objective and rate are each arm's own."""
    arms = arms_of("architectures")
    names = ("student", "data", "epochs", "batch_size", "optimizer", "weight_decay", "views")
    for kind in (*plans.KINDS, *plans.LONGER):
        alone, taught = arms[f"{kind}: labels"], arms[f"{kind}: distilled"]
        assert all(getattr(alone, name) == getattr(taught, name) for name in names)
        assert taught.teacher == recipes.FAST_10K  # it saw these images and no other
        assert taught.twin == recipes.TWIN_10K  # and so did this one
        of_50k = taught._replace(teacher=recipes.FAST, twin="")
        assert arms[f"{kind}: teacher of 50k"] == of_50k


@pytest.mark.parametrize("n", plans.SHARES)
def test_few_labels_get_as_many_updates(n):
    for kind in plans.FEW:
        arms = arms_of("small-data")
        few, free = arms[f"{kind}: {n} labels"], arms[f"{kind}: label-free"]
        updates = few.epochs * math.ceil(n / few.batch_size)
        assert updates == pytest.approx(free.epochs * 79, rel=0.01)
        assert few.labelled == (n if n < 10_000 else 0) and not free.hard_weight
        assert free.teacher == recipes.FAST


@pytest.mark.parametrize("n", plans.SHARES[:-1])
def test_a_teacher_of_few_labels_has_those_of_its_student_and_no_others(n):
    arms, (kind, *kinds) = arms_of("small-data"), plans.FEW
    alone, taught = arms[f"{kind}: {n} labels"], arms[f"{kind}: teacher of {n} labels"]
    teacher = taught.teacher
    assert not taught.hard_weight and not taught.labelled and not teacher.teacher
    for seed in (0, 3):
        theirs, ours = (training_set(r, seed)[0].index for r in (teacher, alone))
        assert torch.equal(theirs, ours) and len(theirs) == n
    assert len(training_set(taught)[0].index) == 10_000
    for other in kinds:  # one teacher for all kinds
        assert arms[f"{other}: teacher of {n} labels"].teacher == teacher
    full = arms[f"{kind}: teacher of 10000 labels"]
    assert (full.teacher, full.twin) == (recipes.FAST_10K, recipes.TWIN_10K)
    assert taught._replace(teacher=full.teacher, twin=full.twin) == full
