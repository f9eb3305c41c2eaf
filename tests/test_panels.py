"""Panels: their numbers, their controls and their data in Python; the script has its own tests."""

import json
import math

import numpy as np
import pytest
import torch
import traitlets
from jupyter_client.manager import run_kernel

from kdlab import losses, metrics
from kdlab.data import Images
from kdlab.show import guide, panels
from kdlab.show.panels import base
from kdlab.words import LANGUAGES

CLASSES = tuple("0123456789")
MODELS = {"teacher": (8_000_000, "teacher"), "student": (100_000, "distilled")}
CURVE = {100: [20.0, 24.0], 1000: [45.0, 47.0], 10_000: [66.0, 66.0]}
MOST_BYTES = 60_000  # of a panel's data


def logits(seed, n=4):
    return 4 * torch.randn(n, 10, generator=torch.Generator().manual_seed(seed))


def temperature_panel(n=4):
    images = torch.zeros(n, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 8:20, 12:16] = 200
    return panels.temperature_panel(images, torch.arange(n), logits(0, n), logits(1, n), CLASSES)


def ladder_panel():
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    teachers = {"small": logits(0), "large": 3 * logits(0)}
    return panels.ladder_panel(images, torch.arange(4), teachers, logits(1), CLASSES)


def objective_panel(n=4):
    return panels.objective_panel(logits(1, n), logits(0, n), torch.arange(n), CLASSES)


def attacks(n=4, levels=(0, 4, 8)):
    """A small net under attack, in both roles, and its images."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    shown = torch.randint(256, (n, 3, 8, 8), dtype=torch.uint8)
    data = Images(shown, torch.arange(n), torch.arange(n), "none", CLASSES, (0.5,) * 3, (0.25,) * 3)
    return {role: panels.under_attack(net, data, levels) for role in ("student", "teacher")}, data


def robustness_panel(n=4):
    nets, data = attacks(n)
    return panels.robustness_panel(nets, data.labels, CLASSES)


def verification_panel(n=6):
    draw = torch.Generator().manual_seed(0)
    genuine, impostor = torch.rand(50, generator=draw), torch.rand(80, generator=draw) - 0.5
    images = torch.randint(256, (n, 2, 3, 32, 32), generator=draw, dtype=torch.uint8)
    curves = {"teacher: net": ([0.01, 0.1, 1.0], [0.2, 0.6, 1.0])}
    shown = torch.linspace(-0.4, 0.6, n)
    return panels.verification_panel(
        genuine, impostor, curves, images, shown, torch.arange(n) % 2 == 0
    )


def few_labels(free=(60.0, 62.0), shift=0):
    """A kind's runs: labels alone, a teacher of these labels (4 points more), one of 50,000."""
    curve = {n: [a + shift for a in v] for n, v in CURVE.items()}
    own = {n: [a + 4 for a in v] for n, v in curve.items()}
    return {"labels": curve, "own": own, "free": dict.fromkeys(CURVE, list(free))}


def few_labels_panel():
    return panels.few_labels_panel({"CNN": few_labels(), "MLP": few_labels([50.0, 50.0], -10)})


def download_panel():
    return panels.download_panel(MODELS)


def acceptance_panel(n=4):
    images = torch.zeros(n, 3, 32, 32, dtype=torch.uint8)
    drafts = {"labels": logits(1, n), "distilled": logits(0, n) + 0.5 * logits(2, n)}
    return panels.acceptance_panel(images, torch.arange(n), logits(0, n), drafts, CLASSES)


PANELS = {
    "temperature": temperature_panel,
    "ladder": ladder_panel,
    "objective": objective_panel,
    "few_labels": few_labels_panel,
    "downloads": download_panel,
    "robustness": robustness_panel,
    "verification": verification_panel,
    "advice": panels.advice_panel,
    "acceptance": acceptance_panel,
}


def bundle(panel):
    return panel._repr_mimebundle_()[0][panels.MIME]


# ---------------------------------------------------------------- every panel


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


def test_as_many_images_as_in_the_chapters_fit():
    noise, known = torch.randint(256, (14, 3, 32, 32), dtype=torch.uint8) // 8, torch.arange(14)
    panel = panels.temperature_panel(noise, known % 10, logits(0, 14), logits(1, 14), CLASSES)
    for each in (panel, objective_panel(n=10)):
        assert len(json.dumps(bundle(each))) <= MOST_BYTES


def test_what_a_panel_says_is_filled_in_from_its_state():
    for make in PANELS.values():
        state, words = make().state, bundle(make())["words"]
        assert all(words[code].get("line", "-").format(**state) for code in LANGUAGES)


def test_a_choice_that_is_not_there_is_refused():
    with pytest.raises(traitlets.TraitError, match="any of"):
        temperature_panel().image = 9
    with pytest.raises(traitlets.TraitError, match="any of"):
        panels.advice_panel().robust = "perhaps"
    with pytest.raises(traitlets.TraitError, match="language"):
        temperature_panel().language = "de"


def test_numbers_are_handed_over_as_they_are():
    given = logits(3)
    there = base.packed(given)
    back = np.frombuffer(base.base64.b64decode(there["float32"]), "<f4").reshape(there["shape"])
    assert (back == given.numpy()).all()


# ---------------------------------------------------------------- temperature, ladder


def test_softened_state_has_entropy_in_nats_and_bits():
    state = panels.temperature_state(logits(0)[0], logits(1)[0], 1e6, 2)
    assert state["teacher_entropy"] == pytest.approx(np.log(10), abs=1e-4)
    assert state["teacher_bits"] == pytest.approx(np.log2(10), abs=1e-4)
    assert sum(state["student"]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="temperature"):
        panels.temperature_state(logits(0)[0], logits(1)[0], 0.0, 2)


@pytest.mark.parametrize("t", [0.25, 1.0, 4.0, 50.0])
def test_softened_numbers_are_those_of_the_library(t):
    v, z = logits(0)[0], logits(1)[0]
    state = panels.temperature_state(v, z, t, 2)
    np.testing.assert_allclose(state["teacher"], losses.soften(v, t), atol=1e-6)
    assert state["kl"] == pytest.approx(losses.soft_divergence(z[None], v[None], t).item(), 1e-3)


def test_a_position_changes_the_state():
    panel = temperature_panel()
    before = panel.state["teacher_entropy"]
    panel.temperature = 20
    assert panel.state["temperature"] == 20.0 and panel.state["teacher_entropy"] > before
    panel.image = 2
    assert panel.state["label"] == 2


def test_the_teacher_slider_climbs_the_ladder():
    panel = ladder_panel()
    assert panel.state["name"] == "small"
    before = panel.state["teacher_entropy"]
    panel.teacher = "large"
    assert panel.state["name"] == "large"
    assert panel.state["teacher_entropy"] < before  # three times the logits are a third of T
    panel.temperature = 3 * panel.temperature
    assert panel.state["teacher_entropy"] == pytest.approx(before)
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="panel needs as many"):
        panels.ladder_panel(images, torch.arange(4), {"a": logits(0)}, logits(1), CLASSES)


# ---------------------------------------------------------------- objective


def objective(**settings):
    settings = {"temperature": 4.0, "weight": 1.0, **settings}
    return panels.objective_state(logits(1)[0], logits(0)[0], 3, **settings)


@pytest.mark.parametrize("t", [0.25, 1.0, 4.0, 50.0])
@pytest.mark.parametrize("squared", [True, False])
def test_gradients_shown_are_those_of_autograd(t, squared):
    z, v = logits(1)[:1].requires_grad_(), logits(0)[:1]
    soft = 3.0 * losses.soft_target_loss(z, v, t) / (1 if squared else t**2)
    hard = torch.nn.functional.cross_entropy(z, torch.tensor([3]))
    state = objective(temperature=t, weight=3.0, with_t_squared=squared)
    for term, name in ((soft, "soft"), (hard, "hard")):
        (gradient,) = torch.autograd.grad(term, z)
        np.testing.assert_allclose(state[f"{name}_gradient"], gradient[0], rtol=1e-3, atol=1e-5)
        assert state[name] == pytest.approx(term.item(), rel=1e-4)
    assert state["total"] == pytest.approx((soft + hard).item(), rel=1e-4)


def test_t_squared_law_is_visible():
    at = {(t, s): objective(temperature=t, with_t_squared=s)["ratio"]
          for t in (20.0, 50.0) for s in (True, False)}  # fmt: skip
    assert at[20.0, True] / at[20.0, False] == pytest.approx(400, rel=1e-4)
    assert at[50.0, True] == pytest.approx(at[20.0, True], rel=0.1)
    assert objective(weight=9.0)["alpha"] == pytest.approx(0.9)


def test_weight_and_t_squared():
    panel = objective_panel()
    panel.temperature, panel.weight = 10.0, 2.0
    with_factor = panel.state["soft"]
    panel.with_t_squared = False
    assert with_factor / panel.state["soft"] == pytest.approx(100)
    panel.weight = 0.0
    assert panel.state["soft"] == panel.state["ratio"] == 0.0
    assert panel.state["total"] == panel.state["hard"]


@pytest.mark.parametrize(("value", "clamped"), [(1e6, 50.0), (0.001, 0.25), (-3.0, 0.25)])
def test_out_of_range_values_clamp(value, clamped):
    panel = objective_panel()
    panel.temperature = panel.weight = value
    assert panel.state["temperature"] == clamped
    assert panel.state["weight"] == (10.0 if value > 10 else max(value, 0.0))


def test_extreme_logits_do_not_break_a_panel():
    z, v = torch.zeros(1, 10), torch.zeros(1, 10)
    z[0, 0], v[0, 1] = 1e4, 1e4
    label = torch.tensor([1])
    panel = panels.objective_panel(z, v, label, CLASSES)
    same = panels.objective_panel(v, v, label, CLASSES)  # no gradient at all
    for t in (0.25, 1.0, 50.0):
        panel.temperature = same.temperature = t
        assert math.isfinite(panel.state["total"]) and same.state["soft"] == 0.0
    assert panel.state["hard"] == pytest.approx(1e4)


def test_a_failing_state_is_not_swallowed():
    panel = temperature_panel()
    panel.compute = lambda **positions: 1 / 0
    with pytest.raises(ZeroDivisionError):
        panel.state  # noqa: B018


def test_bad_input_is_one_clear_sentence():
    with pytest.raises(ValueError, match="as many images as labels"):
        panels.objective_panel(logits(0), logits(1), torch.arange(3), CLASSES)
    wrong = panels.objective_panel(logits(0)[:, :9], logits(1), torch.arange(4), CLASSES)
    with pytest.raises(ValueError, match="student and teacher logits"):
        wrong.state  # noqa: B018


# ---------------------------------------------------------------- few labels


def test_what_the_same_labels_and_what_other_labels_add():
    state = panels.few_labels_state("CNN", few_labels(), 1000)
    assert state["free"] == [(60, 61, 62)] * 3 and state["labels_only"] == pytest.approx(46)
    assert state["labels"] == [(20, 22, 24), (45, 46, 47), (66, 66, 66)]
    assert state["own_gain"] == pytest.approx(4) and state["more"] == pytest.approx(11)


def test_the_label_panel():
    panel = few_labels_panel()
    panel.labelled = 1000
    assert panel.state["n"] == 1000 and panel.state["own_gain"] == pytest.approx(4)
    panel.kind = "MLP"
    assert panel.state["kind"] == "MLP" and panel.state["labels_only"] == 36


# ---------------------------------------------------------------- downloads


def test_downloads_take_eight_bits_a_byte():
    state = panels.download_state(MODELS, 2.0, 1.0)
    assert state["seconds"] == {"teacher": 32.0, "student": 0.4}
    assert (state["count"], state["models"], state["budget"]) == (1, 2, 250.0)
    for wrong in (0, -1, math.nan):
        with pytest.raises(ValueError, match="positive"):
            panels.download_state(MODELS, wrong)
        with pytest.raises(ValueError, match="positive"):
            panels.download_state(MODELS, 1.0, wrong)


def test_the_download_panel():
    panel = download_panel()
    panel.bandwidth = 100.0
    assert panel.state["seconds"]["teacher"] == pytest.approx(0.64) and panel.state["count"] == 2
    panel.patience = 0.5
    assert panel.state["count"] == 1


# ---------------------------------------------------------------- robustness


def test_attacks_stay_within_epsilon_and_lower_the_label():
    nets, data = attacks(levels=(0, 8))
    found = nets["student"]
    assert torch.equal(found.images[0], data.images)
    gap = (found.images[1].int() - data.images.int()).abs()
    assert 0 < gap.max() <= 8 and not torch.equal(found.images[1], found.images[0])
    label = found.probabilities.gather(2, data.labels.expand(2, -1)[..., None])
    assert (label[1] < label[0]).all()


def test_the_epsilon_slider():
    panel = robustness_panel()
    before = panel.state["student_label"]
    panel.epsilon = 8
    assert panel.state["epsilon"] == 8 and panel.state["student_label"] < before
    panel.image = 3
    assert panel.state["label"] == 3
    nets, data = attacks()
    with pytest.raises(ValueError, match="no attack with epsilon 5"):
        panels.robustness_state(nets, data.labels, epsilon=5, image=0)
    with pytest.raises(ValueError, match=r"as many images as labels.* \[3, 4, 4\]"):
        panels.robustness_panel(nets, data.labels[:3], CLASSES)


# ---------------------------------------------------------------- verification


def test_the_threshold_decides_and_the_numbers_are_literal_counts():
    panel = verification_panel()
    panel.threshold = 0.2
    state = panel.state
    assert state["accepted"] == [score > 0.2 for score in state["scores"]]
    assert state["same"] == [True, False] * 3
    draw = torch.Generator().manual_seed(0)
    for name, shift in (("tar", 0.0), ("far", 0.5)):
        scores = torch.rand(50 if name == "tar" else 80, generator=draw) - shift
        assert state[name] == sum(s > 0.2 for s in scores.tolist()) / len(scores)
    panel.threshold = 1.0
    assert panel.state["tar"] == panel.state["far"] == 0 and not any(panel.state["accepted"])


def test_a_threshold_keeps_to_the_steps_at_which_pairs_were_counted():
    panel = verification_panel()
    panel.threshold = 0.1234
    assert panel.threshold == 0.125
    draw = torch.Generator().manual_seed(0)
    genuine = torch.rand(50, generator=draw)
    counts = bundle(panel)["data"]["counts"]["genuine"]
    for step, count in enumerate(counts):
        threshold = round(-1 + 0.005 * step, 9)
        assert count == round(50 * metrics.rates(genuine, genuine, threshold)[0])


def test_a_verification_panel_needs_a_truth_for_each_pair():
    scores, same = torch.rand(3), torch.ones(2, dtype=torch.bool)
    pairs = torch.zeros(3, 2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"got \[3, 3, 2\]"):
        panels.verification_panel(scores, scores, {}, pairs, scores, same)


# ---------------------------------------------------------------- advice


def test_the_guide_s_panel():
    panel, rules = panels.advice_panel(), [r["id"] for r in guide.rulebook()["rules"]]
    assert list(panel.controls) == list(guide.choices())
    for asked in ({}, {"robust": "yes"}, {"labels": "few", "unlabelled": "yes"}):
        for name, (default, *_) in guide.choices().items():
            setattr(panel, name, asked.get(name, default))
        advice = guide.recommend(**asked)
        assert [rules[n] for n in panel.state["lit"]] == [a.rule["id"] for a in advice]
    pages = bundle(panel)["data"]["rules"]
    assert pages[0]["page"]["en"] == guide.every_rule()[0].page("en")


# ---------------------------------------------------------------- acceptance


@pytest.mark.parametrize("t", [0.25, 1.0, 50.0])
def test_what_is_accepted_is_one_minus_the_total_variation(t):
    v, z = logits(0)[0], logits(1)[0]
    state = panels.acceptance_state(v, z, t, 2)
    p, q = losses.soften(v, t), losses.soften(z, t)
    assert state["accepted"] == pytest.approx(1 - (p - q).abs().sum().item() / 2, abs=1e-6)
    np.testing.assert_allclose(state["both"], torch.minimum(p, q), atol=1e-6)
    same = panels.acceptance_state(v, v, t, 2)
    assert same["accepted"] == pytest.approx(1) and same["tokens"] == pytest.approx(5)


def test_the_acceptance_panel():
    panel = acceptance_panel()
    panel.draft, panel.temperature, panel.image = "distilled", 2, 3
    assert panel.state["draft"] == "distilled" and panel.state["label"] == 3
    assert panel.state["temperature"] == 2.0 and 1 <= panel.state["tokens"] <= 5
    with pytest.raises(ValueError, match="panel needs as many"):
        images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
        drafts = {"labels": logits(1)}
        panels.acceptance_panel(images, torch.arange(4), logits(0), drafts, CLASSES)


# ---------------------------------------------------------------- through a kernel


def test_a_slider_through_the_kernel():
    """What a browser sends when a slider moves, to a real kernel: each position arrives."""
    make = """
import sys; sys.path.insert(0, 'tests')
import torch; torch.set_num_threads(1)
import test_panels
panel, seen = test_panels.temperature_panel(), []
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
        shown = run("print(seen, panel.state['temperature'])")
    assert shown == f"{places} {places[-1]}"
