"""The record of chapter 10: who teaches, who judges, and what is kept."""

import pytest
import torch

from kdlab.apps.distil import recorded
from kdlab.apps.distil.arms import LABELS, OWN, STANDARD, TEACHER
from kdlab.data import UNLABELLED, load
from kdlab.lab import results


@pytest.fixture(scope="module")
def photos():
    return recorded.embedded_photos()


def test_a_thousand_labels_teach_and_nobody_who_judges(photos):
    labelled, train = photos.labelled, photos.train
    assert (len(labelled.labels), len(train.labels)) == (1000, 10_000)
    assert labelled.labels.bincount().tolist() == [100] * 10  # as many of each class
    assert (train.labels[:1000] == labelled.labels).all()
    assert (train.labels[1000:] == UNLABELLED).all()
    whole = load("cifar10-10k").images.flatten(1)
    assert torch.equal(train.images.flatten(1).double().sum(0), whole.double().sum(0))
    judges = {*photos.test.index.tolist()}, {*photos.validation.index.tolist()}
    assert (len(judges[0]), len(judges[1])) == (9000, 1000) and not judges[0] & judges[1]
    assert photos.test.name == photos.validation.name == "cifar10/test"


def test_whole_epochs_of_both_sets_are_as_many_updates(photos):
    for data in (photos.labelled, photos.train):
        assert recorded.UPDATES % -(-len(data.labels) // 128) == 0


def test_what_is_recorded_has_every_arm_seed_and_trial(photos, monkeypatch, tmp_path, folder):
    arms, seeds = (*STANDARD, OWN), 2

    def carried_out(plan, photos, lessons, folder, record, **more):
        assert plan.arms == arms and plan.seeds == seeds
        assert lessons.answers["given"].shape == (10_000, 10)
        figures = {"accuracy": 50.0, "balanced": 50.0, "ece": 3.0, "seconds": 1.0}
        runs = [{"arm": a, "seed": s, **figures, "said": []} for a in arms for s in range(seeds)]
        settings = {"lr": 0.1, "temperature": 1.0, "weight": 1.0, "edge": []}
        chosen = dict.fromkeys(arms, settings)
        return {"runs": runs, "chosen": chosen, "trials": [], "own teacher": figures}

    monkeypatch.setattr(recorded, "compare", carried_out)
    monkeypatch.setattr(recorded, "embedded_photos", lambda: photos)
    monkeypatch.setattr(recorded, "ask_images", lambda teacher, data: torch.eye(10)[
        data.labels.clamp(0)] + torch.arange(len(data.labels))[:, None] % 3 / 3)  # fmt: skip
    folder.mkdir()
    whole = recorded.record_own_model(tmp_path / "runs", seeds=seeds, say=lambda line: None)
    assert results.read("own-model") == whole | {"families": [[list(p) for p in recorded.FAMILY]]}
    assert {run["arm"] for run in whole["runs"]} == set(arms) == set(whole["settings"])
    assert not any("said" in run for run in whole["runs"])
    assert results.compare("own-model", TEACHER, LABELS).gap.pairs == seeds
    assert results.command("own-model") in whole["command"]
