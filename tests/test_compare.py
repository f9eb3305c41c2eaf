"""The comparison: tuned alike, kept run by run, taken up again, and the test opened once."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from kdlab.apps.distil import compare as comparison
from kdlab.apps.distil.arms import (
    REQUESTED,
    STANDARD,
    Plan,
    at_the_edge,
    further_trials,
    pairs,
    trials,
)
from kdlab.apps.distil.compare import Lessons, balanced_accuracy, claim, compare
from kdlab.apps.distil.photos import read_photos
from kdlab.apps.distil.verdict import gap_of, judge

PLAN = Plan("cnn3-8", seeds=2, trials=2, updates=4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two colours with noise, forty photos each, half of them without a used label."""
    root = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("blue", "red")):
        (root / name).mkdir()
        for n in range(40):
            levels = np.random.default_rng([k, n]).integers(0, 200, (32, 32, 3))
            levels[..., 2 - 2 * k] += 55
            Image.fromarray(levels.astype(np.uint8)).save(root / name / f"{n}.png")
    pixels = tmp_path_factory.mktemp("out") / "pixels.npy"
    return read_photos(root, 32, pixels, labels_share=0.5)


@pytest.fixture(scope="module")
def truth(photos):
    """A teacher that knows every label, also those that are not used."""
    names = [photos.paths[k].parent.name for k in photos.train.index]
    labels = torch.tensor([photos.train.classes.index(name) for name in names])
    return Lessons({"given": 8.0 * torch.nn.functional.one_hot(labels, 2)})


def carried_out(plan, photos, truth, folder, **options):
    record = claim(folder, asdict(plan))
    return compare(plan, photos, truth, folder, record, **options)


def test_every_arm_has_as_many_trials_and_runs(photos, truth, tmp_path):
    seen = []
    record = carried_out(PLAN, photos, truth, tmp_path, report=seen.append)
    each = [arm for arm in STANDARD for _ in range(4)]  # two spread out, two around the best
    assert [t["arm"] for t in record["trials"]] == each
    assert [(r["seed"], r["arm"]) for r in record["runs"]] == [
        (s, a) for s in (0, 1) for a in STANDARD
    ]
    assert len(seen) == 18 and all(
        len(r["said"]) == len(photos.test.labels) for r in record["runs"]
    )
    assert {t["temperature"] for t in record["trials"] if t["arm"] != "teacher"} == {1.0}
    best = max(record["trials"][:4], key=lambda trial: trial["validation"])
    assert record["chosen"]["labels"]["lr"] == best["lr"]


def alike(record):
    """Without the times."""
    return {**record, "runs": [{**run, "seconds": 0} for run in record["runs"]]}


def test_it_is_taken_up_where_it_was_cut_off(photos, truth, tmp_path, monkeypatch):
    whole, real, count = (
        carried_out(PLAN, photos, truth, tmp_path / "whole"),
        comparison.train_arm,
        [],
    )

    def cut(*arguments, **options):
        count.append(arguments)
        if len(count) == 15:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(comparison, "train_arm", cut)
    with pytest.raises(KeyboardInterrupt):
        carried_out(PLAN, photos, truth, tmp_path / "cut")
    again = carried_out(PLAN, photos, truth, tmp_path / "cut")
    assert len(count) == 15 + 4 and alike(again) == alike(whole)


def test_another_comparison_is_not_mixed_in(photos, truth, tmp_path):
    short = replace(PLAN, seeds=1, trials=1, updates=1)
    carried_out(short, photos, truth, tmp_path)
    before = (tmp_path / "runs.json").read_bytes()
    with pytest.raises(ValueError, match="holds another comparison: name a new folder"):
        carried_out(PLAN, photos, truth, tmp_path)
    assert (tmp_path / "runs.json").read_bytes() == before


def test_what_was_broken_off_before_a_run_may_be_changed(tmp_path):
    claim(tmp_path / "out", {"plan": 1})
    assert claim(tmp_path / "out", {"plan": 2})["about"] == {"plan": 2}


@pytest.mark.parametrize("name", ["pixels.npy", "runs.json", "thesis.tex"])
def test_a_folder_of_other_files_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("[1]")
    with pytest.raises(ValueError, match="has other files: name a new folder"):
        claim(tmp_path, {"plan": 1})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["[1]"]


def test_the_test_photos_are_opened_by_the_chosen_settings_alone(
    photos, truth, tmp_path, monkeypatch
):
    asked, real = [], comparison.predict
    monkeypatch.setattr(
        comparison, "predict", lambda net, data, **how: asked.append(data.name) or real(net, data)
    )
    carried_out(PLAN, photos, truth, tmp_path)
    names = [name.rpartition("/")[2] for name in asked]
    assert set(names[:12]) == {"validation"} and names.count("test") == 6


def test_updates_are_alike_whatever_the_number_of_images(photos, truth, monkeypatch):
    steps = {}
    monkeypatch.setattr(
        comparison,
        "fit",
        lambda net, data, goal, **how: steps.update(
            {(len(data.labels), how["epochs"]): how["epochs"] * -(-len(data.labels) // 128)}
        ),
    )
    plan = replace(PLAN, updates=40)
    for arm in STANDARD:
        comparison.train_arm(plan, photos, truth, arm, trials(plan, arm)[0], seed=0)
    assert sorted(steps.values()) == [40, 80] or sorted(steps.values()) == [40, 40, 80]


def test_balanced_accuracy_weighs_classes_alike():
    labels = torch.tensor([0] * 9 + [1])
    always_zero = torch.nn.functional.one_hot(torch.zeros(10, dtype=torch.long), 2).float()
    assert balanced_accuracy(always_zero, labels) == 50.0


def test_every_arm_has_as_many_further_trials_beyond_the_edge_or_beside_the_best():
    tried = [
        {"lr": lr, "temperature": t, "weight": 1.0} for lr, t in ((0.1, 4), (0.2, 2), (0.4, 1))
    ]
    best = [{**trial, "validation": k} for k, trial in enumerate(tried)]  # the last: both ends
    assert [s.lr for s in further_trials("labels", best)] == [0.8, 1.6]
    more = further_trials("teacher", best)
    assert [(s.lr, s.temperature) for s in more] == [(0.4, 0.5), (0.8, 1)]
    middle = [{**trial, "validation": trial["lr"] == 0.2} for trial in tried]
    beside = further_trials("teacher", middle)
    assert [(s.lr, s.temperature) for s in beside] == [(0.14, 2), (0.28, 2)]
    assert at_the_edge("teacher", middle) == []
    assert at_the_edge("teacher", best) == ["lr", "temperature"]


def test_a_rate_at_which_the_loss_is_no_number_is_a_bad_trial(photos, truth, tmp_path, monkeypatch):
    real = comparison.train_arm

    def diverging(plan, photos, lessons, arm, settings, seed, **options):
        if settings.lr > 0.1:
            raise FloatingPointError("the loss is nan")
        return real(plan, photos, lessons, arm, settings, seed, **options)

    monkeypatch.setattr(comparison, "train_arm", diverging)
    record = carried_out(replace(PLAN, trials=4), photos, truth, tmp_path)
    assert 0.0 in {t["validation"] for t in record["trials"]}
    assert all(chosen["lr"] <= 0.1 for chosen in record["chosen"].values())


def test_the_family_of_comparisons_is_declared():
    assert pairs(STANDARD) == [("teacher", "labels"), ("teacher", "labels, twice as long")]
    more = pairs([*STANDARD, *REQUESTED.values()])
    assert len(more) == 5 and ("teacher, features", "teacher") in more


def verdict_about(photos, answers, folder):
    plan = replace(PLAN, seeds=3, updates=12)
    record = carried_out(plan, photos, Lessons({"given": answers}), folder)
    labels = photos.test.labels.tolist()
    gaps = {
        over: gap_of(record["runs"], arm, over, labels, comparisons=2)
        for arm, over in pairs(STANDARD)
    }
    return judge(gaps, plan.seeds, len(labels))


def hard_photos(root, informative):
    """Noise with a tint, or labels that nothing in the pixels tells."""
    for k, name in enumerate(("blue", "red")):
        (root / "photos" / name).mkdir(parents=True)
        for n in range(60):
            levels = np.random.default_rng([k, n]).integers(0, 250, (8, 8, 3))
            levels[..., 2 - 2 * k] += 5 * informative
            image = Image.fromarray(levels.astype(np.uint8))
            image.save(root / "photos" / name / f"{n}.png")
    return read_photos(root / "photos", 8, root / "pixels.npy")


def test_labels_that_say_nothing_leave_it_undecided(tmp_path):
    photos = hard_photos(tmp_path, informative=False)
    noise = torch.randn(len(photos.train.labels), 2, generator=torch.Generator().manual_seed(0))
    assert verdict_about(photos, noise, tmp_path / "out").word == "undecided"


def test_a_teacher_that_says_what_the_labels_say_leaves_it_undecided(tmp_path):
    photos = hard_photos(tmp_path, informative=True)
    echo = 8.0 * torch.nn.functional.one_hot(photos.train.labels, 2)
    verdict = verdict_about(photos, echo, tmp_path / "out")
    assert verdict.word == "undecided" and verdict.values["control"] in STANDARD


def test_a_teacher_without_information_is_never_shipped(photos, tmp_path):
    noise = torch.randn(len(photos.train.labels), 2, generator=torch.Generator().manual_seed(0))
    assert verdict_about(photos, noise, tmp_path).word != "ship"
