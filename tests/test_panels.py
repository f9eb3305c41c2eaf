"""Panels: their numbers, their controls as a front end drives them, and how fast they answer."""

import json
import math
import queue
import re
import sys
import time

import numpy as np
import pytest
import torch
from jupyter_client.manager import KernelManager

from kdlab import losses
from kdlab.data import Images
from kdlab.show import guide, panels

CLASSES = tuple("0123456789")


def logits(seed, n=4):
    return 4 * torch.randn(n, 10, generator=torch.Generator().manual_seed(seed))


def temperature_panel(n=4):
    images = torch.zeros(n, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 8:20, 12:16] = 200
    return panels.temperature_panel(images, torch.arange(n), logits(0, n), logits(1, n), CLASSES)


def objective_panel(n=4):
    return panels.temperature_lambda_panel(logits(1, n), logits(0, n), torch.arange(n), CLASSES)


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


def test_softened_state_has_entropy_in_nats_and_bits():
    state = panels.temperature_state(logits(0)[0], logits(1)[0], 1e6, 2)
    assert state["teacher_entropy"] == pytest.approx(np.log(10), abs=1e-4)
    assert state["teacher_bits"] == pytest.approx(np.log2(10), abs=1e-4)
    assert sum(state["student"]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="temperature"):
        panels.temperature_state(logits(0)[0], logits(1)[0], 0.0, 2)


def test_a_drag_changes_state_picture_and_numbers():
    panel = temperature_panel()
    before, picture, line = panel.state["teacher_entropy"], panel.picture.value, panel.numbers.value
    panel.temperature.set_state({"value": 20.0})
    assert panel.state["temperature"] == 20.0
    assert panel.state["teacher_entropy"] > before
    assert panel.picture.value != picture and panel.picture.value[:4] == b"\x89PNG"
    assert panel.numbers.value != line
    panel.image.set_state({"index": 2})
    assert panel.state["label"] == 2


def test_the_teacher_slider_climbs_the_ladder():
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    teachers = {"small": logits(0), "large": 3 * logits(0)}
    panel = panels.ladder_panel(images, torch.arange(4), teachers, logits(1), CLASSES)
    assert panel.state["name"] == "small"
    before, picture = panel.state["teacher_entropy"], panel.picture.value
    panel.teacher.set_state({"index": 1})
    assert panel.state["name"] == "large" and panel.picture.value != picture
    assert panel.state["teacher_entropy"] < before  # three times the logits are a third of T
    panel.temperature.value = 3 * panel.state["temperature"]
    assert panel.state["teacher_entropy"] == pytest.approx(before, rel=0.05)
    with pytest.raises(ValueError, match="panel needs as many"):
        panels.ladder_panel(images[:3], torch.arange(4), teachers, logits(1), CLASSES)


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
    before, picture, line = panel.state["student_label"], panel.picture.value, panel.numbers.value
    panel.epsilon.set_state({"index": 2})
    assert panel.state["epsilon"] == 8 and panel.state["student_label"] < before
    assert panel.picture.value != picture and panel.numbers.value != line
    panel.image.set_state({"index": 3})
    assert panel.state["label"] == 3
    panel.language.value = "zh"
    assert panel.epsilon.description == "ε（灰度级）" and "鲁棒教师模型" in panel.numbers.value
    panel.epsilon.value, panel.image.value = 0, 0
    assert panel.picture.value == picture
    nets, data = attacks()
    with pytest.raises(ValueError, match="no attack with epsilon 5"):
        panels.robustness_state(nets, data.labels, epsilon=5, image=0)
    with pytest.raises(ValueError, match="as many labels as attacked images"):
        panels.robustness_panel(nets, data.labels[:3], CLASSES)


CURVE = {100: [20.0, 24.0], 1000: [45.0, 47.0], 10_000: [66.0, 66.0]}


def test_what_the_same_labels_and_what_other_labels_add():
    state = panels.label_state("CNN", few_labels(), 1000)
    assert state["free"] == [(60, 61, 62)] * 3 and state["gain"] == pytest.approx(15)
    assert state["labels"] == [(20, 22, 24), (45, 46, 47), (66, 66, 66)]
    assert state["own_gain"] == pytest.approx(4) and state["more"] == pytest.approx(11)


def few_labels(free=(60.0, 62.0), shift=0):
    """A kind's runs: labels alone, a teacher of these labels (4 points more), one of 50,000."""
    curve = {n: [a + shift for a in v] for n, v in CURVE.items()}
    own = {n: [a + 4 for a in v] for n, v in curve.items()}
    return {"labels": curve, "own": own, "free": dict.fromkeys(CURVE, list(free))}


def test_the_label_panel():
    panel = panels.label_panel({"CNN": few_labels(), "MLP": few_labels([50.0, 50.0], -10)})
    picture, line = panel.picture.value, panel.numbers.value
    panel.labelled.set_state({"index": 1})
    assert panel.state["n"] == 1000 and panel.state["gain"] == pytest.approx(15)
    assert panel.picture.value != picture and panel.numbers.value != line
    panel.kind.set_state({"index": 1})
    assert panel.state["kind"] == "MLP" and panel.state["labels_only"] == 36
    panel.language.value = "zh"
    assert panel.labelled.description == "有标签图像数" and "再" in panel.numbers.value
    panel.kind.value, panel.labelled.value = "CNN", 100
    assert panel.picture.value == picture
    with pytest.raises(ValueError, match="the same numbers of labels"):
        panels.label_panel({"CNN": few_labels() | {"own": {100: [20.0]}}})
    with pytest.raises(ValueError, match="no run with 300 labels"):
        panels.label_state("CNN", few_labels(), 300)


def test_the_same_position_gives_the_same_picture():
    panel = objective_panel()
    first = panel.picture.value
    for t in (20.0, 0.3, 4.0):
        panel.temperature.set_state({"value": t})
    assert panel.picture.value == first


def test_weight_and_t_squared():
    panel = objective_panel()
    panel.temperature.value, panel.weight.value = 10.0, 2.0
    with_factor = panel.state["soft"]
    panel.with_t_squared.value = False
    assert with_factor / panel.state["soft"] == pytest.approx(100)
    panel.weight.value = 0.0
    assert panel.state["soft"] == panel.state["ratio"] == 0.0
    assert panel.state["total"] == panel.state["hard"]


@pytest.mark.parametrize(("value", "clamped"), [(1e6, 50.0), (0.001, 0.25), (-3.0, 0.25)])
def test_out_of_range_values_clamp(value, clamped):
    panel = objective_panel()
    if value > 0:
        panel.temperature.set_state({"value": value})
        assert panel.state["temperature"] == pytest.approx(clamped)
    panel.weight.set_state({"value": value})
    assert panel.state["weight"] == (10.0 if value > 10 else max(value, 0.0))


def test_extreme_logits_do_not_break_a_panel():
    z, v = torch.zeros(1, 10), torch.zeros(1, 10)
    z[0, 0], v[0, 1] = 1e4, 1e4
    label = torch.tensor([1])
    panel = panels.temperature_lambda_panel(z, v, label, CLASSES)
    same = panels.temperature_lambda_panel(v, v, label, CLASSES)  # no gradient at all
    for t in (0.25, 1.0, 50.0):
        panel.temperature.value = same.temperature.value = t
    assert panel.state["hard"] == pytest.approx(1e4)
    assert same.state["soft"] == 0.0


def test_a_failing_callback_is_not_swallowed():
    panel = temperature_panel()
    panel.compute = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        panel.temperature.set_state({"value": 2.0})


def test_bad_input_is_one_clear_sentence():
    with pytest.raises(ValueError, match="as many images as labels"):
        panels.temperature_lambda_panel(logits(0), logits(1), torch.arange(3), CLASSES)
    with pytest.raises(ValueError, match="student and teacher logits"):
        panels.temperature_lambda_panel(logits(0)[:, :9], logits(1), torch.arange(4), CLASSES)


def test_language_switch():
    panel = objective_panel()
    english = panel.numbers.value
    panel.language.value = "zh"
    assert panel.temperature.description == "温度 T" and "总损失" in panel.numbers.value
    panel.temperature.value = 7.0
    assert "总损失" in panel.numbers.value
    panel.language.value = "en"
    panel.temperature.value = 4.0
    assert panel.numbers.value == english


def test_the_threshold_decides_and_the_numbers_are_literal_counts():
    panel = verification_panel()
    picture = panel.picture.value
    panel.threshold.set_state({"value": 0.2})
    state = panel.state
    assert panel.picture.value != picture and panel.picture.value[:4] == b"\x89PNG"
    assert state["accepted"] == [score > 0.2 for score in state["scores"]]
    assert state["same"] == [True, False] * 3
    draw = torch.Generator().manual_seed(0)
    for name, shift in (("tar", 0.0), ("far", 0.5)):
        scores = torch.rand(50 if name == "tar" else 80, generator=draw) - shift
        assert state[name] == sum(s > 0.2 for s in scores.tolist()) / len(scores)
    panel.threshold.value = 1.0
    assert panel.state["tar"] == panel.state["far"] == 0 and not any(panel.state["accepted"])
    panel.language.value = "zh"
    assert "错误接受率" in panel.numbers.value and "阈值" in panel.threshold.description


def test_a_verification_panel_needs_a_truth_for_each_pair():
    scores, same = torch.rand(3), torch.ones(2, dtype=torch.bool)
    pairs = torch.zeros(3, 2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="3 pairs, 3 scores, 2 truths"):
        panels.verification_panel(scores, scores, {}, pairs, scores, same)


@pytest.fixture(scope="module")
def kernel():
    """A kernel of this Python with both panels; gives (client, comm ids by panel and control)."""
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    code = """
import sys; sys.path.insert(0, 'tests')
import torch; torch.set_num_threads(1)
import test_panels as t
panels = {'softened': t.temperature_panel(), 'objective': t.objective_panel(),
    'attacked': t.robustness_panel()}
import json; print(json.dumps({n: {c: w.model_id for c, w in [*p.controls.items(),
    ('picture', p.picture)]} for n, p in panels.items()}))
"""
    messages = conversation(client, client.execute(code))
    streams = [m["content"] for m in messages if m["msg_type"] in ("stream", "error")]
    text = "".join(c.get("text", "") for c in streams if c.get("name") == "stdout")
    assert text, streams
    yield client, json.loads(text)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def conversation(client, request, timeout=60):
    """Everything on iopub that answers the request, until the kernel is idle again."""
    answers = []
    while True:
        try:
            message = client.get_iopub_msg(timeout=timeout)
        except queue.Empty:
            pytest.fail("the kernel did not answer")
        if message["parent_header"].get("msg_id") == request:
            answers.append(message)
            if message["content"].get("execution_state") == "idle":
                return answers


def drag(client, comm, value, trait="value"):
    """Send what a browser sends when a slider moves; the messages that come back."""
    data = {"method": "update", "state": {trait: value}, "buffer_paths": []}
    message = client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    client.shell_channel.send(message)
    return conversation(client, message["header"]["msg_id"])


@pytest.mark.parametrize("name", ["softened", "objective"])
def test_a_slider_through_the_kernel(kernel, name, capsys):
    client, comms = kernel
    seconds = []
    for t in np.geomspace(0.25, 50, 60):
        start = time.perf_counter()
        answers = drag(client, comms[name]["temperature"], float(t))
        seconds.append(time.perf_counter() - start)
        assert not [m for m in answers if m["msg_type"] in ("error", "stream")], answers
        frames = [m for m in answers if m["content"].get("comm_id") == comms[name]["picture"]]
        assert frames and bytes(frames[-1]["buffers"][0])[:4] == b"\x89PNG"
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    with capsys.disabled():
        print(
            f"\n{name}: {len(seconds)} drags through a kernel, p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        )
    assert p95 < 500  # the budget is 150; a busy machine must not fail the build
    answers = conversation(client, client.execute(f"print(panels[{name!r}].state['temperature'])"))
    text = "".join(m["content"]["text"] for m in answers if m["msg_type"] == "stream")
    assert re.match(r"50\.0|49\.9", text)


def test_the_epsilon_slider_through_the_kernel(kernel, capsys):
    client, comms = kernel
    seconds = []
    for step in range(30):
        start = time.perf_counter()
        answers = drag(client, comms["attacked"]["epsilon"], 2 - step % 3, "index")
        seconds.append(time.perf_counter() - start)
        assert not [m for m in answers if m["msg_type"] in ("error", "stream")], answers
        frames = [m for m in answers if m["content"].get("comm_id") == comms["attacked"]["picture"]]
        assert frames and bytes(frames[-1]["buffers"][0])[:4] == b"\x89PNG"
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    with capsys.disabled():
        print(f"\nattacked: {len(seconds)} drags, p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    assert p95 < 500


# ---------------------------------------------------------------- downloads

MODELS = {"teacher": (8_000_000, "teacher"), "student": (100_000, "distilled")}


def test_downloads_take_eight_bits_a_byte():
    state = panels.download_state(MODELS, 2.0, 1.0)
    assert state["seconds"] == {"teacher": 32.0, "student": 0.4}
    assert (state["count"], state["models"], state["budget"]) == (1, 2, 250.0)
    for wrong in (0, -1, math.nan):
        with pytest.raises(ValueError, match="positive"):
            panels.download_state(MODELS, wrong)
        with pytest.raises(ValueError, match="positive"):
            panels.download_state(MODELS, 1.0, wrong)


def test_the_download_panel_moves_with_its_sliders():
    panel = panels.download_panel(MODELS)
    before = panel.picture.value
    panel.bandwidth.value = 100.0
    assert panel.state["seconds"]["teacher"] == pytest.approx(0.64)
    assert panel.picture.value != before and "2 of 2" in panel.numbers.value
    panel.patience.value = 0.5
    assert panel.state["count"] == 1
    panel.language.value = "zh"
    assert "带宽" in panel.numbers.value and "带宽" in panel.bandwidth.description
    with pytest.raises(ValueError, match="at least one"):
        panels.download_panel({})


def test_the_guide_s_panel():
    panel, rules = panels.advice_panel(), [r["id"] for r in guide.rulebook()["rules"]]
    assert list(panel.controls) == list(guide.choices())
    for asked in ({}, {"robust": "yes"}, {"labels": "few", "unlabelled": "yes"}):
        for name, (default, *_) in guide.choices().items():
            panel.controls[name].value = asked.get(name, default)
        advice = guide.recommend(**asked)
        assert [rules[n] for n in panel.state["lit"]] == [a.rule["id"] for a in advice]
        assert advice[0].rule["do"]["en"][:40] in panel.numbers.value
    panel.language.value = "zh"
    assert panel.labels.description == "标签" and "要测量" in panel.numbers.value
    assert panel.labels.label == "只有少量" and panel.labels.value == "few"
    frames = set()
    for value in guide.choices()["teacher"]:
        start = time.process_time()
        panel.teacher.value = value
        assert time.process_time() - start < 0.5  # about 25 ms
        frames.add(bytes(panel.picture.value))
    assert len(frames) > 2
