"""The linear probe: it is the minimum, and its penalty is chosen by how sure it may be."""

import pytest
import torch
import torch.nn.functional as F

from kdlab.apps.distil.probe import FOLDS, assign_folds, fit_probe, regress


def clusters(n=120, classes=3, width=8, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, width, generator=generator)
    labels = torch.arange(n) % classes
    features = centres[labels] + spread * torch.randn(n, width, generator=generator)
    return 5 + 3 * features, labels


@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_no_small_step_lowers_the_objective(l2):
    features, labels = clusters()
    inputs = (features - features.mean(0)) / features.std(0)
    weight, bias = regress(inputs, labels, 3, l2)

    def value(weight, bias):
        return (
            F.cross_entropy(F.linear(inputs, weight, bias), labels) + l2 / 2 * weight.pow(2).sum()
        )

    least = value(weight, bias)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        step = 0.01 * torch.randn(3, 8, generator=generator)
        assert value(weight + step, bias) > least and value(weight, bias + step[:, 0]) > least


def test_it_reads_what_can_be_read_whatever_the_features_scale():
    features, labels = clusters()
    others, truth = clusters(seed=0, n=300)
    one = fit_probe(features, labels, 3)
    assert (one.logits(others).argmax(1) == truth).float().mean() > 0.9
    two = fit_probe(1000 * features - 7, labels, 3)
    assert torch.allclose(one.logits(features), two.logits(1000 * features - 7), atol=1e-2)


def test_labels_that_say_nothing_get_a_strong_penalty():
    features, labels = clusters()
    wrong = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))]
    probe = fit_probe(features, wrong, 3)
    assert probe.l2 >= 1 and probe.log_loss == pytest.approx(1.1, abs=0.05)  # ln 3
    assert fit_probe(features, labels, 3).log_loss < 0.5


def test_every_class_is_spread_over_the_folds():
    labels = torch.tensor([0] * 10 + [1] * 7 + [2] * 5)
    folds = assign_folds(labels, 3, seed=0)
    for kind in range(3):
        counts = torch.bincount(folds[labels == kind], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    assert not torch.equal(folds, assign_folds(labels, 3, seed=1))
