"""The student that trains in the page: its arithmetic is torch's, its panel behaves, in Chromium.

Where Node is installed it runs the same arithmetic; how fast it is: tests/browser/measure_live.py.
"""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from pack_live_student import pack
from pages import AXE, BARRIERS, DONE, FAULTS, STATE, WITHOUT_WORKERS
from specimens import bundle

from kdlab import losses, metrics
from kdlab.apps.chapters import panels
from kdlab.apps.chapters.panels import base, live_student
from kdlab.files import EMBEDDED

FILE = EMBEDDED / f"{live_student.SHARED}.json"
MOST_BYTES = 250_000
SCRIPT = base.bare(base.script("student"))
NODE = shutil.which("node")
TEMPERATURES = (0.5, 1.0, 4.0, 20.0)
LAST = f"""name => {{  // of a student that has learnt
    const looks = {STATE}.students[name][0];
    return looks.at(-1)?.step === {live_student.STEPS} && looks.at(-1);
}}"""
PANEL = live_student.live_student_panel


# ---------------------------------------------------------------- the data


def test_the_file_is_small_and_made_of_the_project_s_data_and_teacher():
    committed, packed = base.read_shared(live_student.SHARED), pack()
    assert FILE.stat().st_size <= MOST_BYTES
    rows = [
        np.frombuffer(base.base64.b64decode(each.pop("logits")), np.int8).astype(int)
        for each in (committed, packed)
    ]
    assert np.abs(rows[0] - rows[1]).max() <= 1  # another processor
    assert committed.pop("step") == pytest.approx(packed.pop("step"), rel=1e-3)
    assert committed == packed


def test_the_teacher_is_hardly_worse_for_eight_bits():
    _, _, logits = live_student.lesson()
    assert (logits.argmax(dim=1) == torch.arange(len(logits)) % 10).float().mean() > 0.99


def test_shuffling_keeps_the_first_guess_and_every_number():
    _, _, logits = live_student.lesson()
    moved = live_student.shuffled(logits, seed=1)
    assert (moved.argmax(dim=1) == logits.argmax(dim=1)).all()
    assert torch.equal(moved.sort(dim=1).values, logits.sort(dim=1).values)
    assert (moved != logits).float().mean() > 0.7


# ---------------------------------------------------------------- the arithmetic, twice


@pytest.fixture(params=["node", "chromium"])
def javascript(request, tmp_path):
    """Calls a function of JavaScript in the scope of student.js with one argument."""
    if request.param == "node" and not NODE:
        pytest.skip("node is not installed")

    def in_node(code, given):
        file = tmp_path / "script.mjs"
        call = f"console.log(JSON.stringify(({code})({json.dumps(given)})))"
        file.write_text(f"{SCRIPT}\n{call}", encoding="utf-8")
        done = subprocess.run([NODE, file], capture_output=True, text=True, timeout=300)
        assert not done.stderr
        return json.loads(done.stdout)

    def in_chromium(code, given):
        page = request.getfixturevalue("chromium").new_page()
        try:
            page.add_script_tag(content=SCRIPT)
            return page.evaluate(f"given => ({code})(given)", given)
        finally:
            page.close()

    return in_node if request.param == "node" else in_chromium


def close(values):
    return pytest.approx(np.asarray(values, dtype=float), rel=1e-5, abs=1e-5)


def slopes(loss, z):
    """∂loss/∂z [N, 10] where `loss` is the mean over N images."""
    (gradient,) = torch.autograd.grad(loss, z)
    return (len(z) * gradient).tolist()


def test_losses_and_their_gradients(javascript):
    draw = torch.Generator().manual_seed(0)
    z, v = (4 * torch.randn(6, 10, generator=draw) for _ in range(2))
    label = torch.arange(6)
    found = javascript(
        """({z, v, temperatures}) => z.map((logits, n) => {
            const slope = Array(10).fill(0), losses = [hardLoss(logits, n, slope)];
            const gradients = [[...slope]];
            for (const t of temperatures) {
                losses.push(softLoss(logits, soften(v[n], t, Array(10)), t, slope));
                gradients.push([...slope]);
            }
            return {losses, gradients};
        })""",
        {"z": z.tolist(), "v": v.tolist(), "temperatures": TEMPERATURES},
    )
    weights = [{"temperature": 1.0, "hard_weight": 1.0, "soft_weight": 0.0}]
    weights += [{"temperature": t, "hard_weight": 0.0, "soft_weight": 1.0} for t in TEMPERATURES]
    for n, settings in enumerate(weights):
        given = z.clone().requires_grad_()
        loss = losses.distillation_loss(given, v, label, **settings)
        assert np.mean([image["losses"][n] for image in found]) == close(loss.item())
        assert [image["gradients"][n] for image in found] == close(slopes(loss, given))


def test_the_first_guess_is_a_soft_target_too(javascript):
    _, _, v = live_student.lesson()
    z = torch.randn(4, 10, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = javascript(
        """({z, packed}) => {
            const wanted = answers(decode(packed), {seed: 1, targets: "first"});
            const slope = Array(10);
            return z.map((logits, n) => (softLoss(logits, wanted[n], 1, slope), [...slope]));
        }""",
        {"z": z.tolist(), "packed": base.read_shared(live_student.SHARED)},
    )
    assert found == close(slopes(losses.hard_distillation_loss(z, v[:4]), z))


def rows(parts):
    """Parameters in the order of student.js, whose weights stand by inputs."""
    return torch.cat([(p.T if p.ndim == 2 else p).detach().reshape(-1) for p in parts])


@pytest.mark.parametrize("targets", ["labels", "soft"])
def test_gradients_and_ten_steps(javascript, targets):
    train, _, v = live_student.lesson()
    net, steps = live_student.make_student(seed=7), 10
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    found = javascript(
        """({packed, targets, steps}) => {
            const data = decode(packed), net = makeNet(data.pixels, 7), slope = Array(10);
            const first = [...net.weights], wanted = answers(data, {temperature: 4, targets});
            let gradients;
            for (let n = 0; n < steps; n++) {
                for (let i = 32 * n; i < 32 * (n + 1); i++) {
                    const z = forward(net, data.train, i);
                    if (targets === "labels") hardLoss(z, i % 10, slope);
                    else softLoss(z, wanted[i], 4, slope);
                    backward(net, data.train, i, slope);
                }
                gradients ??= Array.from(net.gradients, (g) => g / 32);
                net.steps = n + 1;
                adam(net, 0.03, 32);
            }
            return {first, gradients, last: [...net.weights]};
        }""",
        {
            "packed": base.read_shared(live_student.SHARED),
            "targets": targets,
            "steps": steps,
        },
    )
    assert found["first"] == close(rows(net.parameters()))
    for n in range(steps):
        picks = torch.arange(32 * n, 32 * (n + 1))
        hard = float(targets == "labels")
        loss = losses.distillation_loss(
            net(train[picks]), v[picks], picks % 10,
            temperature=4.0, soft_weight=1 - hard, hard_weight=hard,
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        if n == 0:
            assert found["gradients"] == close(rows(p.grad for p in net.parameters()))
        optimizer.step()
    assert found["last"] == close(rows(net.parameters()))


def test_chance_and_the_shift(javascript):
    train, _, v = live_student.lesson()
    net = live_student.make_student(seed=2)
    found = javascript(
        """({packed}) => {
            const data = decode(packed), uniform = random(5, ORDER), job = {seed: 3, digit: 3};
            return {
                uniform: Array.from({length: 100}, uniform),
                few: curriculum(data, {...job, labels: 5, targets: "labels"}),
                all: curriculum(data, {...job, targets: "soft"}),
                shuffled: answers(data, {...job, temperature: 4, targets: "shuffled"}).slice(0, 9)
                    .map((row) => [...row]),
                shift: shiftOf(makeNet(data.pixels, 2), data, 8),
            };
        }""",
        {"packed": base.read_shared(live_student.SHARED)},
    )
    assert found["uniform"] == live_student.uniform(5, live_student.ORDER, 100).tolist()
    assert found["few"] == live_student.curriculum(3, 5, seed=3)
    assert found["all"] == live_student.curriculum(3, 200, seed=3)
    assert {*found["few"]} < {*found["all"]} and not [i for i in found["all"] if i % 10 == 3]
    assert found["shuffled"] == close(losses.soften(live_student.shuffled(v, 3), 4.0)[:9])
    with torch.no_grad():
        shift = metrics.mass_matching_shift(net(train), v, [8])
    assert found["shift"] == pytest.approx(shift, abs=1e-4)


def test_a_student_of_the_page_is_that_of_python(javascript):
    job = {"digit": 3, "labels": 200, "temperature": 4.0, "targets": "soft", "seed": 1}
    found = javascript(
        "({packed, job}) => [...train(decode(packed), job)].filter(Boolean)",
        {"packed": base.read_shared(live_student.SHARED), "job": job},
    )
    wanted = live_student.learn(**job)
    assert [look["step"] for look in found] == [look["step"] for look in wanted]
    for mine, theirs in zip(found, wanted, strict=True):  # alike on this machine: none of 100
        assert mine["shift"] == pytest.approx(theirs["shift"], abs=0.1)
        for when in ("before", "after"):
            assert mine[when][3] == pytest.approx(theirs[when][3], abs=3)
    assert sum(found[-1]["after"]) == pytest.approx(sum(wanted[-1]["after"]), abs=10)
    assert sum(map(bool, found[-1]["right"])) == found[-1]["after"][3]


# ---------------------------------------------------------------- the panel


def opened(show, **values):
    page = show(bundle(PANEL()) | {"values": PANEL().values | {"language": "en"} | values})
    page.wait_for_function(DONE)
    return page


def test_the_output_names_what_is_shared():
    alive = bundle(PANEL())
    assert len(json.dumps(alive)) < 20_000 and alive["shared"] == live_student.SHARED
    alone, linked = base.standalone(alive), base.standalone(alive, "..")
    assert len(alone) > FILE.stat().st_size > len(linked)
    assert '<script src="../live-student.js"></script>' in linked
    assert base.shared_script("live-student").count("\n") == 1


def test_both_learn_and_the_words_lead_to_what_needs_no_resemblance(show):
    page = opened(show)
    assert len(page.workers) == 1
    soft, labels = (page.evaluate(LAST, name)["after"][3] for name in ("soft", "labels"))
    said = page.get_by_role("status")
    assert f"takes labels only from 0 to {labels}; soft targets reach {soft}" in said.inner_text()
    assert "Shuffle" in said.inner_text()
    page.get_by_label("The teacher's answers").select_option(index=1)
    page.wait_for_function(DONE)
    robbed = page.evaluate(LAST, "shuffled")["after"][3]
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=f"{robbed} of the")
    assert f"{robbed} of the {soft} come without resemblance" in said.inner_text()
    page.get_by_role("button", name="中文").click()
    assert f"{soft} 张里有 {robbed} 张不靠相似性" in said.inner_text()
    assert page.get_by_role("img").count() == 4  # the curves and each student's digits


def test_a_new_input_ends_what_was_begun(show):
    page = opened(show)
    slider = page.get_by_role("slider", name="Temperature T")
    for _ in range(4):
        slider.press("ArrowRight")
    page.wait_for_function(DONE)
    assert page.evaluate(STATE)["temperature"] == 16
    slider.press("ArrowLeft")  # was never learnt to the end
    assert not page.evaluate(LAST, "soft")
    page.wait_for_function(DONE)
    slider.press("ArrowRight")  # is known
    assert page.evaluate(LAST, "soft")


def test_keys_reach_every_control(show):
    page = opened(show)
    page.get_by_label("Digit left out").focus()
    for role in ("range", "range", "select-one", "button", "checkbox"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.type") == role
    page.get_by_role("button", name="Another seed (now 1)").press("Enter")
    assert page.evaluate(STATE)["seed"] == 2 and not page.evaluate(STATE)["done"]


def test_none_left_out_and_few_labels(show):
    page = opened(show, digit=-1, labels=5, targets="first")
    after = {n: sum(page.evaluate(LAST, n)["after"]) / 10 for n in ("soft", "labels", "first")}
    gains = [f"{after[name] - after['labels']:+.1f}" for name in ("first", "soft")]
    assert "{} of the {} points".format(*gains) in page.get_by_role("status").inner_text()
    assert "5 labelled images a digit" in page.get_by_role("status").inner_text()


def test_several_seeds_make_an_interval(show):
    alive = bundle(PANEL())
    values = alive["values"] | {"many": True}
    page = show(alive | {"data": alive["data"] | {"seeds": 3}, "values": values})
    page.wait_for_function(DONE)
    said, state = page.get_by_role("status").inner_text(), page.evaluate(STATE)
    ends = [
        [looks[-1]["after"][3] for looks in state["students"][name]] for name in ("soft", "labels")
    ]
    gaps = np.subtract(*ends)
    assert f"in {sum(gaps > 0)} of 3 pairs of one seed, by {gaps.mean():+.1f}" in said
    half = 4.302653 * gaps.std(ddof=1) / 3**0.5  # of t with two degrees of freedom
    assert f"{gaps.mean() - half:+.1f} to {gaps.mean() + half:+.1f}".replace("-", "−") in said
    assert page.locator("circle").count() == 6


def test_out_of_sight_it_rests(show):
    page = opened(show)
    page.evaluate("document.querySelector('main').style.paddingTop = '3000px'")
    page.wait_for_timeout(300)
    page.get_by_label("Digit left out").evaluate(
        "select => { select.selectedIndex = 5; select.dispatchEvent(new Event('change')) }"
    )
    page.wait_for_timeout(1000)
    state = page.evaluate(STATE)
    assert state["digit"] == 5 and state["students"]["soft"] == [[]]
    page.get_by_label("Digit left out").scroll_into_view_if_needed()
    page.wait_for_function(DONE)


def test_where_a_page_forbids_workers_it_trains_in_slices(browse, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(WITHOUT_WORKERS + base.standalone(bundle(PANEL())), encoding="utf-8")
    page = browse(file.as_uri(), (file.as_uri(),), console=())
    page.wait_for_function(DONE)
    assert page.workers == []
    soft, labels = (page.evaluate(LAST, name)["after"][3] for name in ("soft", "labels"))
    assert soft > labels
    assert page.get_by_role("status").get_attribute("aria-busy") == "false"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_off_or_a_serious_barrier(show, theme, width):
    values = PANEL().values | {"language": "en", "targets": "shuffled"}
    page = show(bundle(PANEL()) | {"values": values}, width=width, color_scheme=theme)
    page.wait_for_function(DONE)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for language in ("English", "中文"):
        page.get_by_role("button", name=language).click()
        assert page.evaluate(FAULTS) == page.evaluate(BARRIERS) == [], language
    assert width < 1000 or page.locator(".kdlab-panel").bounding_box()["height"] <= 600


def test_what_python_draws(folder):
    state = panels.live_student_state(digit=-1, labels=5)
    gap = np.subtract(*(sum(looks[0][-1]["after"]) for looks in state["students"].values()))
    assert gap > 100  # of 1,000 images
    picture = panels.live_student_figure(state, title="few labels")
    assert picture._repr_png_()[1]["alt"] == "few labels"
