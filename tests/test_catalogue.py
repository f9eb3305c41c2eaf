"""Catalogue and configs: what is declared can be carried out, is fair, and is not stale."""

import json
import math
from collections import Counter
from dataclasses import MISSING, asdict, fields, replace
from operator import attrgetter

import pytest
import torch

from kdlab.lab import catalogue, configs, experiments, search
from kdlab.lab.catalogue import EXPERIMENTS, Experiment, Space
from kdlab.lab.configs import PAIR, TEACHERS, Config
from kdlab.lab.experiments import arms_of, training_set
from kdlab.lab.results import names, read, write
from kdlab.methods import METHODS
from kdlab.models import MODELS

TEN_THOUSAND = configs.FAST_10K, configs.TWIN_10K  # they saw these images and no others
DEFAULTS = {f.name: f.default for f in fields(configs.Config) if f.default is not MISSING}
RECORDED = [name for name in names() if name in EXPERIMENTS]


@pytest.mark.parametrize("name", RECORDED)
def test_no_record_is_stale(name):
    def filled(known):  # a setting that came later has its default
        nested = {k: filled(v) for k, v in known.items() if isinstance(v, dict)}
        return DEFAULTS | known | nested

    record = read(name)
    declared = {arm: asdict(recipe) for arm, recipe in arms_of(name).items()}
    settings = {arm: filled(known) for arm, known in record["settings"].items()}
    declared, settings = json.loads(json.dumps([declared, settings]))
    again = f"the record {name} is stale: `python -m kdlab run {name}`"
    families = json.loads(json.dumps(EXPERIMENTS[name].families))
    assert record.get("families", []) == families, again
    if EXPERIMENTS[name].spaces:  # what its later rounds try depends on the first
        assert all(settings[arm] == declared[arm] for arm in declared), again
        declared = settings
    assert settings == declared, again
    assert {r["arm"] for r in record["runs"]} == set(declared), again
    seeds = {arm: {r["seed"] for r in record["runs"] if r["arm"] == arm} for arm in declared}
    equal = len(set(map(frozenset, seeds.values()))) == 1
    assert equal or EXPERIMENTS[name].spaces, f"{name} has unequal seeds: {seeds}"
    for r in record["runs"]:
        if "diverged" in r:
            assert r["accuracy"] is None and r["errors"] is None
            continue
        recipe = declared[r["arm"]]
        judged = (recipe["judge"] != "test" and recipe["hold_out"]) or 10_000
        judged -= 1000 * len(recipe["verify"])  # what no net may know is not classified
        assert r["accuracy"] == pytest.approx(100 * (1 - r["errors"] / judged), abs=1e-3)


def test_every_teacher_has_a_recipe_that_can_be_run():
    for name, recipe in TEACHERS.items():
        assert recipe.student in MODELS and not recipe.teacher and recipe.judge == "test", name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_carried_out(name):
    arms = arms_of(name)
    assert EXPERIMENTS[name].title and len(arms) >= 2
    for arm, recipe in arms.items():
        assert recipe.student in MODELS, arm
        assert set(names_of(recipe.teacher)) <= set(TEACHERS), arm
        assert recipe.judge in ("test", "validation"), arm
        assert recipe.judge == "test" or recipe.hold_out or recipe.data == "cifar10-10k", arm
        assert not recipe.soft_weight or recipe.teacher, arm
        assert recipe.method in ("", *METHODS), arm


def names_of(teacher):
    """All the shipped teachers behind a recipe's teacher."""
    if isinstance(teacher, Config):
        return names_of(teacher.teacher)
    return [name for name in ([teacher] if isinstance(teacher, str) else teacher) if name]


def test_the_leaderboard_has_every_method_on_one_pair_at_one_budget():
    board, elsewhere = arms_of("leaderboard"), {"ARD", "RSLAD", "Jensen-Shannon"}
    elsewhere |= {"adversarial training", "distillation token", "soft distillation token"}
    assert set(METHODS) - elsewhere <= {r.method for r in board.values()}
    same = attrgetter("student", "data", "views", "batch_size", "hold_out", "judge")
    assert set(map(same, board.values())) == {same(PAIR)} and PAIR.judge == "test"
    longer = {arm for arm, r in board.items() if r.epochs != board["labels"].epochs}
    twice = {f"{arm}, twice as long" for arm in ("labels", "soft targets")}
    assert longer == twice | {"soft targets, equal seconds"}
    assert all(r.twin for r in board.values() if r.teacher == configs.FAST_10K)


def test_no_net_was_told_the_classes_that_are_verified():
    arms = arms_of("verification")
    for arm, recipe in arms.items():
        told = [recipe.classes] if recipe.hard_weight else []
        told += [TEACHERS[recipe.teacher].classes] if recipe.teacher else []
        assert recipe.verify and all(told) and not set(recipe.verify) & set(sum(told, ())), arm
    seen = [len(training_set(recipe)[0].labels) * recipe.epochs for recipe in arms.values()]
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


def test_settings_are_chosen_on_validation_images_alone():
    """A search, or a grid over temperature and weight, must not look at the test images."""
    for name in ("temperature-weight", *(n for n in EXPERIMENTS if n.endswith("-tuning"))):
        assert {r.judge for r in arms_of(name).values()} == {"validation"}, name


def test_arms_differ_in_what_their_names_say_alone():
    labels, *taught = arms_of("cifar-gain").values()
    names = "teacher", "temperature", "soft_weight", "hard_weight"
    alone = {name: getattr(labels, name) for name in names}
    assert {replace(recipe, **alone) for recipe in taught} == {labels}


def test_what_is_chosen_was_best_on_validation(folder, monkeypatch):
    """By the finalists' mean, not the first seed; without a record, the base of the space."""
    spaces = {"labels": Space(PAIR, {"lr": (0.05, 0.8)})}
    monkeypatch.setitem(EXPERIMENTS, "search", catalogue.search_for("Made up", spaces, 3))
    monkeypatch.setitem(EXPERIMENTS, "made-up", Experiment("Made up", dict, search="search"))
    assert experiments.chosen("search") == arms_of("made-up") == {"labels": PAIR}
    settings = {f"labels #{n}": asdict(replace(PAIR, lr=n / 10)) for n in (1, 2, 3)}
    tried = (1, 100, 52), (1, 101, 50), (2, 100, 60), (3, 100, 51), (3, 101, 51.5)  # 2: once
    runs = [{"arm": f"labels #{n}", "seed": seed, "accuracy": a} for n, seed, a in tried]
    write({"name": "search", "settings": settings, "runs": runs})
    assert arms_of("made-up")["labels"] == replace(PAIR, lr=0.3)


def test_a_choice_among_named_candidates_is_run_on_the_test_images(folder):
    runs = [{"arm": arm, "seed": 0, "accuracy": len(arm)} for arm in arms_of("ssld-tuning")]
    write({"name": "ssld-tuning", "settings": {}, "runs": runs})
    found = experiments.chosen("ssld-tuning")
    assert list(found) == ["labels", "KL", "JS"] and found["labels"].lr == 0.05
    assert {r.judge for r in found.values()} == {"test"}


@pytest.mark.parametrize("name", [name for name, plan in EXPERIMENTS.items() if plan.spaces])
def test_every_arm_of_a_search_gets_as_many_trials_and_draws_from_the_same_rates(name):
    twelve = {f"{of}-tuning" for of in ("leaderboard", "cifar-gain", "few-labels")}
    spaces, trials = EXPERIMENTS[name].spaces, 12 if name in twelve else 6
    assert Counter(map(search.arm_of, arms_of(name))) == dict.fromkeys(spaces, trials)
    rates = {(space.base.optimizer, space.ranges["lr"]) for space in spaces.values()}
    assert len(rates) == len({optimizer for optimizer, _ in rates})


def test_each_kind_is_compared_at_one_budget():
    """Both arms have the same net, images and updates; objective and rate are each arm's own."""
    arms, names = arms_of("architectures"), "student data epochs batch_size optimizer views"
    budget = attrgetter(*names.split(), "weight_decay")
    for kind in (*catalogue.KINDS, *catalogue.LONGER):
        alone, taught = arms[f"{kind}: labels"], arms[f"{kind}: distilled"]
        assert budget(alone) == budget(taught)
        assert (taught.teacher, taught.twin) == TEN_THOUSAND
        of_50k = replace(taught, teacher=configs.FAST, twin="")
        assert arms[f"{kind}: teacher of 50k"] == of_50k


@pytest.mark.parametrize("n", catalogue.SHARES)
def test_few_labels_get_as_many_updates(n):
    arms = arms_of("small-data")
    for kind in catalogue.FEW:
        few, free = arms[f"{kind}: {n} labels"], arms[f"{kind}: label-free"]
        updates = few.epochs * math.ceil(n / few.batch_size)
        assert updates == pytest.approx(free.epochs * 79, rel=0.01)
        assert few.labelled == (n if n < 10_000 else 0) and not free.hard_weight
        assert free.teacher == configs.FAST


@pytest.mark.parametrize("n", catalogue.SHARES[:-1])
def test_a_teacher_of_few_labels_has_those_of_its_student_and_no_others(n):
    arms, (kind, *kinds) = arms_of("small-data"), catalogue.FEW
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
    assert (full.teacher, full.twin) == TEN_THOUSAND
    assert replace(taught, teacher=full.teacher, twin=full.twin) == full


@pytest.mark.parametrize("n", catalogue.SHARES[:-1])
def test_with_few_labels_views_updates_and_labels_are_alike(n):
    arms = {a.partition(": ")[2]: r for a, r in arms_of("few-labels").items() if f"{n} labels" in a}
    labels, same, everything = (training_set(r, seed=3)[0] for r in arms.values())
    steps = [
        r.epochs * math.ceil(len(part.labels) / r.batch_size)
        for r, part in zip(arms.values(), (labels, same, everything), strict=True)
    ]
    assert max(steps) / min(steps) < 1.01 and len({r.views for r in arms.values()}) == 1
    assert torch.equal(labels.index, same.index) and len(everything.labels) == 10_000
    taught = [arms["teacher, same images"], arms["teacher, all images"]]
    assert taught[0].teacher == taught[1].teacher and not any(r.hard_weight for r in taught)
    assert torch.equal(training_set(taught[0].teacher, seed=3)[0].index, labels.index)


def test_with_few_labels_a_fifth_of_them_judges_and_nobody_has_seen_it():
    for trial, recipe in arms_of("few-labels-tuning").items():
        n = int(trial.split()[0])
        seen, judges = training_set(recipe, seed=100)
        assert len(judges.labels) == n // 5 and recipe.judge == "validation", trial
        told = [seen] + ([training_set(recipe.teacher, 100)[0]] if recipe.teacher else [])
        for part in told:
            assert not torch.isin(part.index, judges.index).any()
        assert len(told[-1].labels) == n * 4 // 5


@pytest.mark.parametrize("name", [name for name, plan in EXPERIMENTS.items() if plan.families])
def test_each_pair_stands_in_one_family_whichever_is_called_control(name):
    arms = set(arms_of(name))
    pairs = [frozenset(pair) for family in EXPERIMENTS[name].families for pair in family]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 and pair <= arms for pair in pairs)


def test_the_chosen_settings_of_every_arm_are_one_table():
    table, alike = experiments.settings_table("leaderboard")
    arms = arms_of("leaderboard")
    assert list(table.index) == list(arms) and not set(table) & set(alike)
    assert set(table) | set(alike) == {field.name for field in fields(configs.Config)}
    assert (table["lr"] == [arm.lr for arm in arms.values()]).all()
    assert alike["student"] == PAIR.student
    assert table.loc["early-stopped teacher", "teacher"] == "cnn7-16, 5 epochs, lr 0.4"
