"""Panels: their numbers, their controls and their data in Python; the script has its own tests."""

import json
import math

import numpy as np
import pytest
import torch
import traitlets
from jupyter_client.manager import run_kernel
from specimens import (
    CLASSES,
    MODELS,
    PANELS,
    acceptance_panel,
    attacks,
    bundle,
    few_labels,
    ladder_panel,
    logits,
    objective_panel,
    pair_scores,
    robustness_panel,
    temperature_panel,
    verification_panel,
)

from kdlab import losses, metrics
from kdlab.apps.chapters import decision_guide, panels
from kdlab.apps.chapters.panels import base
from kdlab.apps.i18n import LANGUAGES

MOST_BYTES = 60_000  # of a panel's data


@pytest.mark.parametrize("name", PANELS)
def test_the_output_carries_the_panel(name):
    panel = PANELS[name]()
    shown, _ = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown and shown["text/plain"]
    alive = shown[panels.MIME]
    text = json.dumps(alive, ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode()) <= MOST_BYTES
    assert json.loads(text)["values"] == panel.values | {"language": "en"}
    assert alive["words"]["en"].keys() == alive["words"]["zh"].keys() >= panel.values.keys()
    page = panels.standalone(alive)
    assert page.count("</script>") == 3 and "http" not in page.replace("http://www.w3.org", "")
    said = [alive["words"][code].get("line", "-") for code in LANGUAGES]
    assert all(line.format(**panel.state) for line in said)


def test_as_many_images_as_in_the_chapters_fit():
    noise, known = torch.randint(256, (14, 3, 32, 32), dtype=torch.uint8) // 8, torch.arange(14)
    panel = panels.temperature_panel(noise, known % 10, logits(0, 14), logits(1, 14), CLASSES)
    for each in (panel, objective_panel(n=10)):
        assert len(json.dumps(bundle(each))) <= MOST_BYTES


@pytest.mark.parametrize(
    ("name", "places", "told"),
    [
        ("temperature", {"temperature": 20, "image": 2}, {"temperature": 20.0, "label": 2}),
        ("ladder", {}, {"name": "small"}),
        ("ladder", {"teacher": "large"}, {"name": "large"}),
        ("objective", {"temperature": 1e6, "weight": 1e6}, {"temperature": 50.0, "weight": 10.0}),
        ("objective", {"temperature": 0.001, "weight": -3}, {"temperature": 0.25, "weight": 0.0}),
        ("objective", {"temperature": -3, "weight": 0.001}, {"temperature": 0.25, "weight": 1e-3}),
        ("objective", {"with_t_squared": False, "image": 1}, {"with_t_squared": False, "label": 1}),
        ("few_labels", {"labelled": 1000}, {"n": 1000, "own_gain": 4.0}),
        ("few_labels", {"labelled": 1000, "kind": "MLP"}, {"kind": "MLP", "labels_only": 36}),
        ("downloads", {"bandwidth": 100.0}, {"count": 2, "budget": 12_500}),
        ("downloads", {"bandwidth": 100.0, "patience": 0.5}, {"count": 1}),
        ("robustness", {"epsilon": 8, "image": 3}, {"epsilon": 8, "label": 3}),
        ("verification", {"threshold": 0.1234}, {"threshold": 0.125}),
        ("verification", {"threshold": 1.0}, {"tar": 0, "far": 0}),
        ("acceptance", {"draft": "distilled", "image": 3}, {"draft": "distilled", "label": 3}),
        ("acceptance", {"temperature": 2}, {"temperature": 2.0}),
    ],
)
def test_the_state_is_that_of_the_controls(name, places, told):
    panel = PANELS[name]()
    for control, place in places.items():
        setattr(panel, control, place)
    assert {key: panel.state[key] for key in told} == pytest.approx(told)


@pytest.mark.parametrize(
    ("name", "control", "place"),
    [("temperature", "image", 9), ("advice", "robust", "perhaps"), ("ladder", "language", "de")],
)
def test_a_choice_that_is_not_there_is_refused(name, control, place):
    with pytest.raises(traitlets.TraitError, match=f"{control}.*any of"):
        setattr(PANELS[name](), control, place)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: panels.temperature_state(logits(0)[0], logits(1)[0], 0.0, 2), "temperature"),
        (lambda: ladder_panel(3), "a panel needs as many images as labels"),
        (lambda: panels.objective_panel(logits(0), logits(1), torch.arange(3), CLASSES),
         r"as many images as labels .* got \[3, 4, 4\]"),
        (lambda: panels.temperature_state(logits(0)[0, :9], logits(1)[0], 1.0, 2), "student and"),
        (lambda: panels.objective_state(logits(0)[0, :9], logits(1)[0], 3, temperature=1, weight=1),
         "student and teacher logits"),
        (lambda: panels.download_state(MODELS, 0), "positive"),
        (lambda: panels.download_state(MODELS, -1), "positive"),
        (lambda: panels.download_state(MODELS, 1.0, math.nan), "positive"),
        (lambda: robustness_panel(3), r"as many images as labels.* \[3, 4, 4\]"),
        (lambda: panels.robustness_state(attacks()[0], torch.arange(4), epsilon=5, image=0),
         "no attack with epsilon 5"),
        (lambda: verification_panel(2), r"got \[6, 6, 2\]"),
        (lambda: acceptance_panel(3), "panel needs as many"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_sentence(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_a_failing_state_is_not_swallowed():
    panel = temperature_panel()
    panel.compute = lambda **positions: 1 / 0
    with pytest.raises(ZeroDivisionError):
        panel.state  # noqa: B018


def test_numbers_are_handed_over_as_they_are():
    given = logits(3)
    packed = base.packed(given)
    back = np.frombuffer(base.base64.b64decode(packed["float32"]), "<f4").reshape(packed["shape"])
    assert (back == given.numpy()).all()


@pytest.mark.parametrize("t", [0.25, 1.0, 4.0, 50.0])
def test_softened_numbers_are_those_of_the_library(t):
    v, z = logits(0)[0], logits(1)[0]
    state = panels.temperature_state(v, z, t, 2)
    for role, given in (("teacher", v), ("student", z)):
        soft = losses.soften(given, t)
        np.testing.assert_allclose(state[role], soft, atol=1e-6)
        nats = -torch.xlogy(soft, soft).sum().item()
        assert state[f"{role}_entropy"] == pytest.approx(nats, abs=1e-4)
        assert state[f"{role}_bits"] == pytest.approx(nats / np.log(2), abs=1e-4)
    assert state["kl"] == pytest.approx(losses.soft_divergence(z[None], v[None], t).item(), 1e-3)


def test_three_times_the_logits_are_a_third_of_the_temperature():
    panel, entropies = ladder_panel(), []
    for panel.teacher, panel.temperature in (("small", 4.0), ("large", 4.0), ("large", 12.0)):
        entropies.append(panel.state["teacher_entropy"])
    assert entropies[1] < entropies[0] == pytest.approx(entropies[2])


@pytest.mark.parametrize("t", [0.25, 1.0, 4.0, 50.0])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_gradients_shown_are_those_of_autograd(t, squared, weight):
    z, v = logits(1)[:1].requires_grad_(), logits(0)[:1]
    soft = weight * losses.soft_target_loss(z, v, t) / (1 if squared else t**2)
    hard = torch.nn.functional.cross_entropy(z, torch.tensor([3]))
    settings, lengths = {"temperature": t, "weight": weight, "with_t_squared": squared}, []
    state = panels.objective_state(z[0].detach(), v[0], 3, **settings)
    for term, name in ((soft, "soft"), (hard, "hard")):
        (gradient,) = torch.autograd.grad(term, z)
        np.testing.assert_allclose(state[f"{name}_gradient"], gradient[0], rtol=1e-3, atol=1e-5)
        assert state[name] == pytest.approx(term.item(), rel=1e-4)
        lengths.append(gradient.norm().item())
    assert state["total"] == pytest.approx((soft + hard).item(), rel=1e-4)
    assert state["ratio"] == pytest.approx(lengths[0] / lengths[1], rel=1e-4)
    assert state["alpha"] == pytest.approx(weight / (1 + weight))


def test_extreme_logits_do_not_break_a_panel():
    z, v = 1e4 * torch.eye(10)[:2, None]
    label = torch.tensor([1])
    panel = panels.objective_panel(z, v, label, CLASSES)
    same = panels.objective_panel(v, v, label, CLASSES)  # no gradient at all
    for t in (0.25, 1.0, 50.0):
        panel.temperature = same.temperature = t
        assert math.isfinite(panel.state["total"]) and same.state["soft"] == 0.0
    assert panel.state["hard"] == pytest.approx(1e4)


def test_what_the_same_labels_and_what_other_labels_add():
    state = panels.few_labels_state("CNN", few_labels(), 1000)
    assert state["free"] == [(60, 61, 62)] * 3 and state["labels_only"] == pytest.approx(46)
    assert state["labels"] == [(20, 22, 24), (45, 46, 47), (66, 66, 66)]
    assert state["own_gain"] == pytest.approx(4) and state["more"] == pytest.approx(11)


def test_downloads_take_eight_bits_a_byte():
    state = panels.download_state(MODELS, 2.0, 1.0)
    assert state["seconds"] == {"teacher": 32.0, "student": 0.4}
    assert (state["count"], state["models"], state["budget"]) == (1, 2, 250.0)


def test_attacks_stay_within_epsilon_and_lower_the_label():
    nets, data = attacks(levels=(0, 8))
    found = nets["student"]
    assert torch.equal(found.images[0], data.images)
    gap = (found.images[1].int() - data.images.int()).abs()
    assert 0 < gap.max() <= 8 and not torch.equal(found.images[1], found.images[0])
    label = found.probabilities.gather(2, data.labels.expand(2, -1)[..., None])
    assert (label[1] < label[0]).all()
    states = [panels.robustness_state(nets, data.labels, epsilon=e, image=1) for e in (0, 8)]
    assert [state["student_label"] for state in states] == label[:, 1, 0].tolist()


def test_the_threshold_decides_and_the_numbers_are_literal_counts():
    panel = verification_panel()
    panel.threshold = 0.2
    state = panel.state
    assert state["same"] == [True, False] * 3
    assert state["accepted"] == [score > 0.2 for score in state["scores"]]
    for name, scores in zip(("tar", "far"), pair_scores(), strict=True):
        assert state[name] == sum(s > 0.2 for s in scores.tolist()) / len(scores)


def test_pairs_are_counted_at_every_step_of_the_threshold():
    genuine, _ = pair_scores()
    for step, count in enumerate(bundle(verification_panel())["data"]["counts"]["genuine"]):
        threshold = round(-1 + 0.005 * step, 9)
        assert count == round(50 * metrics.rates(genuine, genuine, threshold)[0])


def test_the_guide_s_panel():
    panel, rules = panels.advice_panel(), [r["id"] for r in decision_guide.rulebook()["rules"]]
    assert list(panel.controls) == list(decision_guide.choices())
    for asked in ({}, {"robust": "yes"}, {"labels": "few", "unlabelled": "yes"}):
        for name, (default, *_) in decision_guide.choices().items():
            setattr(panel, name, asked.get(name, default))
        advice = decision_guide.recommend(**asked)
        assert [rules[n] for n in panel.state["lit"]] == [a.rule["id"] for a in advice]
    pages = bundle(panel)["data"]["rules"]
    assert pages[0]["page"]["en"] == decision_guide.every_rule()[0].page("en")


@pytest.mark.parametrize("t", [0.25, 1.0, 50.0])
def test_what_is_accepted_is_one_minus_the_total_variation(t):
    v, z = logits(0)[0], logits(1)[0]
    state = panels.acceptance_state(v, z, t, 2)
    p, q = losses.soften(v, t), losses.soften(z, t)
    assert state["accepted"] == pytest.approx(1 - (p - q).abs().sum().item() / 2, abs=1e-6)
    np.testing.assert_allclose(state["both"], torch.minimum(p, q), atol=1e-6)
    same = panels.acceptance_state(v, v, t, 2)
    assert same["accepted"] == pytest.approx(1) and same["tokens"] == pytest.approx(5)


def test_a_slider_through_the_kernel():
    """What a browser sends when a slider moves, to a real kernel: each position arrives."""
    make = """
import sys; sys.path.insert(0, 'tests')
import specimens
panel, seen = specimens.temperature_panel(), []
panel.observe(lambda change: seen.append(change.new), 'temperature')
print(panel.model_id)"""

    def run(code):
        said = []
        client.execute_interactive(code, output_hook=said.append, timeout=240)  # imports torch
        streams = [m["content"] for m in said if m["msg_type"] in ("stream", "error")]
        assert {stream.get("name") for stream in streams} == {"stdout"}, streams
        return "".join(stream["text"] for stream in streams).strip()

    with run_kernel(kernel_name="python3") as client:
        comm, places = run(make), np.geomspace(0.25, 50, 10).tolist()
        for place in places:
            data = {"method": "update", "state": {"temperature": place}, "buffer_paths": []}
            message = client.session.msg("comm_msg", {"comm_id": comm, "data": data})
            client.shell_channel.send(message)
        assert run("print(seen, panel.state['temperature'])") == f"{places} {places[-1]}"
