"""The service and the load: right answers, clear refusals, limits, batches, a real process."""

import asyncio
import contextlib
import hashlib
import io
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

pytest.importorskip("httpx", reason="needs the test extra's httpx")
from starlette.testclient import TestClient

from kdlab.apps.serving import batching, decode, export, load_test, runtime, service
from kdlab.apps.serving.shadow import Agreement
from kdlab.models import build

WASM = "f533b5f21790563d7556c611c3835ac65848ee326da2689aac54ed7d9cc8c6a4"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three small nets, exported: digits, colour, other."""
    torch.manual_seed(0)
    folder, made = tmp_path_factory.mktemp("models"), {}
    colour, grey = ("cnn3-8", "cifar10"), ("mlp-30", "mnist")
    for name, (net, data) in {"digits": grey, "colour": colour, "other": colour}.items():
        path = folder / f"{name}.onnx"
        made[name] = export.to_onnx(build(net), data, path, name=name, role="student")
    return made


@pytest.fixture(scope="module")
def client(models):
    """The application without a socket."""
    with app_with(models.values()) as client:
        yield client


def app_with(paths, shadows=None, slow=None, **limits):
    """The application with these models; `slow` stands for the one in colour."""
    made = service.Service(list(paths), shadows, service.Limits(**limits))
    if slow:
        made.batchers["colour"].session = slow
    return TestClient(service.create_app(made), raise_server_exceptions=False)


def run_apart(coroutine):
    """In a thread of its own: a browser test before may have left its loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def picture(width=32, height=32, mode="RGB", kind="png", seed=0) -> bytes:
    draw = np.random.default_rng(seed)
    shape = (height, width) + ((3,) if mode == "RGB" else ())
    out = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def post(client, body, model="colour", kind="image/png", **query):
    query = {"model": model} | query
    return client.post("/predict", params=query, content=body, headers={"content-type": kind})


def test_an_answer_is_the_models_own_at_the_temperature(client, models):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    session = runtime.open_model(models["colour"])
    logits = runtime.infer(session, pixels[None])[0]
    classes = runtime.metadata(session)["classes"]
    for temperature in (1.0, 4.0):
        told = post(client, load_test.encode_png(pixels), temperature=temperature).json()
        wanted = runtime.softmax(logits, temperature)
        assert list(told["probabilities"]) == classes
        np.testing.assert_allclose(list(told["probabilities"].values()), wanted, atol=1e-6)
        assert told["label"] == classes[logits.argmax()] and told["model"] == "colour"
    body = json.dumps({"pixels": pixels.ravel().tolist()}).encode()
    again = post(client, body, kind="application/json; charset=utf-8", temperature=4.0)
    assert again.json() == told


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("size", [(28, 28), (1, 1), (300, 200), (2048, 1)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_any_size_and_colour_is_brought_to_the_models(client, kind, size, mode):
    for model in ("digits", "colour"):
        told = post(client, picture(*size, mode, kind), model, f"image/{kind}")
        assert told.status_code == 200, told.text
        assert sum(told.json()["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_grey_pixels_serve_a_colour_model_and_colour_a_grey_one(client):
    for count, model in ((784, "colour"), (3072, "digits")):
        body = json.dumps({"pixels": [7] * count}).encode()
        assert post(client, body, model, "application/json").status_code == 200


def test_health_models_page_and_docs(client):
    assert client.get("/health").json()["models"] == ["digits", "colour", "other"]
    assert [m["shape"] for m in client.get("/models").json()][0] == [1, 28, 28]
    assert "page.js" in client.get("/").text and "docs.js" in client.get("/docs").text
    assert client.get("/models/digits.onnx").content[:1] == b"\x08"
    for path in ("/models/none.onnx", "/nowhere", "/../service.py", "/%2e%2e/service.py"):
        assert client.get(path).status_code == 404
    assert client.get("/predict").status_code == 405


def test_the_bundled_webassembly_is_the_recorded_one(client):
    answer = client.get("/ort-wasm-simd.wasm")
    assert answer.headers["content-type"] == "application/wasm"
    assert hashlib.sha256(answer.content).hexdigest() == WASM


def test_metrics_count_requests_batches_and_memory(client):
    def told():
        lines = client.get("/metrics").text.splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    before, _, _, after = told(), post(client, picture()), post(client, b"no"), told()
    for name in (
        'kdlab_requests_total{path="/predict",status="200"}',
        'kdlab_requests_total{path="/predict",status="400"}',
        'kdlab_predict_seconds_count{model="colour"}',
        'kdlab_batch_images_sum{model="colour"}',
    ):
        assert float(after[name]) == float(before.get(name, 0)) + 1, name
    assert float(after["kdlab_resident_megabytes"]) > 10
    assert float(after["kdlab_requests_at_once"]) == 0


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int) -> bytes:
    """The start of a PNG that says it is so large."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II5B", width, height, 8, 2, 0, 0, 0))


def bomb(width: int, height: int) -> bytes:
    """A valid black PNG of this size, a thousand times smaller than its pixels."""
    rows = zlib.compress(bytes((3 * width + 1) * height), 9)
    return header(width, height) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BOMB = bomb(6000, 6000)
PACKED = zlib.compress(bytes(80_000_000), 9)
TEXT_BOMB = header(32, 32) + chunk(b"zTXt", b"a\0\0" + PACKED) + bomb(32, 32)[33:]


def malformed(draw: random.Random) -> tuple[dict, bytes, str]:
    """(query, body, content type) of a request with something wrong in it."""
    good, form = {"model": "colour"}, draw.choice(["png", "jpeg"])
    whole, kind = picture(kind=form, seed=draw.randrange(10**6)), f"image/{form}"
    some = draw.randbytes(draw.randrange(2000))
    sides = draw.randrange(2049, 2**31 - 1), draw.randrange(1, 2**31 - 1)
    pixels = [draw.randrange(256) for _ in range(3072)]
    spoilt = [*pixels[:-1], draw.choice([256, -1, 255.5, "7", None, True, [], {}, 1e300])]
    few = pixels[: draw.randrange(784)]
    wrong = [{"pixels": levels} for levels in ([], few, "abc", [pixels])]
    wrong_json = [
        b"", b"{", b'{"pixels": [1, 2', b"[" * 100_000, b"\xff\xfe", b"NaN", b'{"pixels": [NaN]}',
        some, json.dumps({"pixels": spoilt}).encode(),
        json.dumps(draw.choice([*wrong, {}, pixels, None, 7, {"pixel": pixels}])).encode(),
    ]  # fmt: skip
    return draw.choice([
        (good, draw.choice([whole[: draw.randrange(len(whole) // 2)], some, b""]), kind),
        (good, draw.choice([header(*sides), header(0, 0), BOMB, TEXT_BOMB]), "image/png"),
        (good, whole, "image/jpeg" if form == "png" else "image/png"),  # the other one
        (good, whole, draw.choice(["", "text/plain", "image/gif", "multipart/form-data", "x"])),
        (good, draw.choice(wrong_json), "application/json"),
        (good, bytes(service.LIMITS.body + 1), draw.choice([kind, "application/json"])),
        ({"model": draw.choice(["", "none", "../../etc/passwd", "\0", "x" * 5000])}, whole, kind),
        ({}, whole, kind),
        (good | {"temperature": draw.choice(["0", "-1", "nan", "inf", "1e9", "", "hot", "0x1"])},
         whole, kind),
    ])  # fmt: skip


def test_a_thousand_malformed_requests_are_refused_in_a_sentence(client):
    draw, seen = random.Random(0), set()
    for n in range(1000):
        query, body, kind = malformed(draw)
        answer = client.post("/predict", params=query, content=body, headers={"content-type": kind})
        assert 400 <= answer.status_code < 500, (n, query, kind, body[:60], answer.text)
        assert set(answer.json()) == {"error"} and len(answer.text) < 400, answer.text
        assert "Traceback" not in answer.text and "site-packages" not in answer.text
        seen.add(answer.status_code)
    assert seen == {400, 413, 415, 422}
    assert client.get("/health").json()["status"] == "ok"
    assert post(client, picture()).status_code == 200


def test_a_bomb_is_refused_before_it_is_unpacked(client, monkeypatch):
    unpacked, load = [], ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda i: unpacked.append(i.size) or load(i))
    huge = header(60_000, 60_000) + bomb(32, 32)[33:]  # more than Pillow opens at all
    tracemalloc.start()
    assert {post(client, body).status_code for body in (BOMB, huge)} == {422}
    assert post(client, TEXT_BOMB).status_code == 400
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not unpacked and peak < len(zlib.decompress(PACKED)) / 4
    assert post(client, bomb(2048, 2048)).status_code == 200  # the largest that is taken
    assert (2048, 2048) in unpacked


def test_a_failure_inside_is_told_without_its_inside(client, monkeypatch):
    def fails(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(decode, "fit_image", fails)
    answer = post(client, picture())
    assert answer.status_code == 500 and set(answer.json()) == {"error"}
    assert "secret" not in answer.text
    monkeypatch.undo()
    assert post(client, picture()).status_code == 200


def test_schemathesis_finds_nothing(served):
    schemathesis = pytest.importorskip("schemathesis", reason="needs the test extra's schemathesis")
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from hypothesis.errors import Unsatisfiable

    side, mode, seed = st.integers(1, 40), st.sampled_from(["RGB", "L"]), st.integers(0, 9)
    for kind in ("png", "jpeg"):
        made = st.builds(picture, side, side, mode, st.just(kind), seed)
        schemathesis.openapi.media_type(f"image/{kind}", made)
    schema = schemathesis.openapi.from_url(f"{served[0]}/openapi.json")
    few = settings(max_examples=10, suppress_health_check=list(HealthCheck))
    for operation in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:

            @few
            @given(case=operation.ok().as_strategy(generation_mode=mode))
            def every_case(case):
                case.call_and_validate()

            with contextlib.suppress(Unsatisfiable):  # nothing can be wrong where nothing is given
                every_case()


class Slow:
    """Stands for a model: notes the sizes of its batches, can be slow, can wait, can fail."""

    def __init__(self, seconds=0.0, fail_on=None, gate=None):
        self.seconds, self.fail_on, self.gate, self.sizes = seconds, fail_on, gate, []

    def run(self, _, feed):
        pixels = feed["pixels"]
        self.sizes.append(len(pixels))
        time.sleep(self.seconds)
        if self.gate:
            self.gate.wait(60)
        if self.fail_on is not None and (pixels == self.fail_on).any():
            raise RuntimeError("no")
        return [pixels.reshape(len(pixels), -1)[:, :1].astype(np.float32).repeat(10, 1)]

    observe = staticmethod(lambda size: None)


def batch(model: Slow, values, limit=8):
    """Ask for all values at once; their answers or exceptions, in order."""

    async def work():
        batcher = batching.Batcher(model, ThreadPoolExecutor(1), limit, Slow)
        task = asyncio.create_task(batcher.work())
        images = (
            v if isinstance(v, np.ndarray) else np.full((1, 2, 2), v, np.uint8) for v in values
        )
        asked = [batcher.logits(image) for image in images]
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
        task.cancel()
        return answers

    return run_apart(work())


def test_who_waits_together_is_answered_together_and_in_order():
    model = Slow(0.02)
    answers = batch(model, range(30))
    assert [int(answer[0]) for answer in answers] == list(range(30))
    assert max(model.sizes) == 8 and sum(model.sizes) == 30 and len(model.sizes) <= 6


def test_a_batch_that_fails_takes_no_other_with_it():
    model = Slow(fail_on=3)
    answers = batch(model, range(12), limit=4)
    said = [None if isinstance(a, RuntimeError) else int(a[0]) for a in answers]
    assert said[3] is None and said.count(None) <= 4
    assert all(value in (None, n) for n, value in enumerate(said))


def test_images_of_two_shapes_in_one_batch_end_no_work():
    """A batch that cannot even be stacked fails alone; the next one is answered."""
    answers = batch(Slow(), [0, np.zeros((3, 2, 2), np.uint8), 2, 3], limit=2)
    assert [isinstance(a, ValueError) for a in answers] == [True, True, False, False]
    assert [int(answer[0]) for answer in answers[2:]] == [2, 3]


def test_too_many_at_once_and_too_slow_are_told(models):
    gate = threading.Event()  # the model answers once all the others have been refused
    slow = Slow(gate=gate)
    with app_with(models.values(), slow=slow, at_once=2, batch=1, seconds=60) as client:
        with ThreadPoolExecutor(6) as pool:
            done = as_completed([pool.submit(post, client, picture()) for _ in range(6)])
            answers = [next(done).result() for _ in range(4)]
            gate.set()
            assert {answer.result().status_code for answer in done} == {200}
        refused = answers[0]
        assert {answer.status_code for answer in answers} == {503}
        assert refused.headers["retry-after"] == "1" and "try again" in refused.json()["error"]
    with app_with(models.values(), body=10) as client:
        assert post(client, picture()).status_code == 413
    gate = threading.Event()
    with app_with(models.values(), slow=Slow(gate=gate), seconds=1) as client:
        told = post(client, picture())
        gate.set()
        assert told.status_code == 503 and "in time" in told.json()["error"]


@pytest.mark.parametrize("pause, seconds, status", [(60, 0.2, 408), (0, 60, 413)])
def test_a_body_that_dribbles_or_never_ends_is_given_up(pause, seconds, status):
    async def stream():
        while True:
            yield b"x" * 10
            await asyncio.sleep(pause)

    limits = service.Limits(body=1000, seconds=seconds)
    with pytest.raises(service.HTTPException) as told:
        run_apart(service.read_body(SimpleNamespace(stream=stream), limits))
    assert told.value.status_code == status


def test_a_shadow_is_asked_counted_and_rings(models):
    agreement = Agreement(1.0, 1000, window=20)
    with app_with(models.values(), {"colour": ("other", agreement)}) as client:
        for seed in range(40):
            post(client, picture(seed=seed))
        deadline = time.monotonic() + 20
        while agreement.seen < 40 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert agreement.seen == 40
        told = client.get("/metrics").text
        assert 'kdlab_shadow_total{model="colour",shadow="other"} 40.0' in told
        ringing = client.get("/health").json()["drift_alarm"]
        assert ringing == (["colour"] if agreement.alarm else [])


def test_a_shadow_has_to_exist_and_be_written_right(models):
    with pytest.raises(ValueError, match="no model ghost"):
        service.Service([models["colour"]], {"colour": ("ghost", Agreement(0.9, 100))})
    with pytest.raises(
        ValueError, match=r"colour takes images of \[3, 32, 32\], its shadow digits"
    ):
        service.Service(list(models.values()), {"colour": ("digits", Agreement(0.9, 100))})
    [(name, (shadow, agreement))] = service.read_shadows(["a:b:0.9:1000"]).items()
    assert (name, shadow) == ("a", "b") and agreement.threshold == Agreement(0.9, 1000).threshold
    for wrong in ("a:b", "a:b:x:1", "a:b:2:10"):
        with pytest.raises(ValueError, match="NAME:SHADOW"):
            service.read_shadows([wrong])


def test_both_forms_of_a_model_are_served_and_one_can_be_the_others_shadow(models, tmp_path):
    digits = models["digits"]
    small, again = tmp_path / "digits.int8.onnx", tmp_path / "again.onnx"
    small.write_bytes(digits.read_bytes())
    export.write_metadata(small, **runtime.metadata(runtime.open_model(digits)), int8=True)
    agreement = Agreement(1.0, 1000)
    with app_with([digits, small], {"digits": ("digits-int8", agreement)}) as client:
        assert client.get("/health").json()["models"] == ["digits", "digits-int8"]
        assert [m["name"] for m in client.get("/models").json()] == ["digits", "digits-int8"]
        assert client.get("/models/digits-int8.onnx").content == small.read_bytes()
        for model in ("digits", "digits-int8"):
            assert post(client, picture(), model).json()["model"] == model
        deadline = time.monotonic() + 20
        while not agreement.seen and time.monotonic() < deadline:
            time.sleep(0.02)
    assert agreement.share == 1.0
    again.write_bytes(digits.read_bytes())
    with pytest.raises(ValueError, match="two models are called digits: .*digits.onnx and .*again"):
        service.Service([digits, again])


def test_load_is_for_this_machine_alone():
    for url in ("http://192.0.2.1/predict", "http://10.0.0.1:80/"):
        with pytest.raises(ValueError, match="own addresses"):
            load_test.generate(url, [b""], 1, 0.1)


def test_percentiles_count_what_was_lost():
    outcome = load_test.Outcome(10, 100, [float(n) for n in range(1, 99)], {}, [])
    assert outcome.percentile(50) == 51.0
    assert outcome.percentile(99) == float("inf")
    assert load_test.Outcome(10, 0, [], {}, []).percentile(50) == float("inf")


def test_latency_counts_from_when_a_request_was_due():
    """A server that takes 50 ms each, one at a time, asked 40 times a second: a queue grows."""

    async def main():
        lock = asyncio.Lock()

        async def answer(reader, writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
                async with lock:
                    await asyncio.sleep(0.05)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        outcome = await load_test.offer(f"http://127.0.0.1:{port}/", [b"a", b"bc"], 40, 1.0, 0)
        server.close()
        return outcome

    outcome = run_apart(main())
    assert len(outcome.milliseconds) == outcome.sent and not outcome.failures
    assert outcome.percentile(99) > 300  # the last ones wait for those before them


@pytest.mark.parametrize("breaks, top", [(230, 400), (999, 50), (999, 70), (999, 400)])
def test_the_highest_rate_is_found_and_none_above_the_top_is_offered(monkeypatch, breaks, top):
    def fake(url, bodies, rate, seconds):
        return load_test.Outcome(rate, 100, [10.0 if rate <= breaks else 80.0] * 100, {}, [])

    monkeypatch.setattr(load_test, "generate", fake)
    rate, loads = load_test.highest_rate("http://127.0.0.1/", [b""], top=top)
    assert 0.9 * breaks <= rate <= breaks if breaks < top else rate == top
    assert [o.rate for o in loads] == sorted(o.rate for o in loads) and loads[-1].rate <= top


@pytest.fixture(scope="module")
def served(models):
    with load_test.serving(models=list(models.values())) as (url, process):
        yield url, process


def test_a_real_service_answers_a_steady_load_without_loss(served):
    url, process = served
    bodies = [picture(seed=n) for n in range(8)]
    outcome = load_test.generate(f"{url}/predict?model=colour", bodies, 40, 3)
    assert outcome.failures == {} and len(outcome.milliseconds) == outcome.sent > 60
    assert process.poll() is None
    status, told = load_test.fetch(f"{url}/predict?model=digits", b"no")
    assert status == 400 and "error" in told
    assert urlopen(f"{url}/page.js").headers["content-security-policy"] == service.POLICY


def test_clients_that_hang_up_are_counted_and_leave_no_trace(models, monkeypatch, tmp_path):
    """Forty of them: each announces an image, sends half and goes. Nothing is complained about."""
    told = open(tmp_path / "stderr", "w+")
    monkeypatch.setattr(load_test, "TemporaryFile", lambda mode: told)
    half = load_test.encode_request("http://127.0.0.1/predict?model=colour", bytes(2000))[:-1000]
    refused = 'kdlab_requests_total{path="/predict",status='
    with load_test.serving(models=[models["colour"]]) as (url, _):
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=20) as s:
                s.sendall(half)
        deadline, counted = time.monotonic() + 60, ""
        while f'{refused}"499"}} 40.0' not in counted and time.monotonic() < deadline:
            time.sleep(0.05)
            counted = load_test.fetch(f"{url}/metrics")[1]
        assert f'{refused}"499"}} 40.0' in counted and f'{refused}"500"}}' not in counted
        assert load_test.fetch(f"{url}/predict?model=colour", picture())[0] == 200
        assert (tmp_path / "stderr").read_text() == ""


def test_a_service_that_complains_at_length_is_not_held_up(monkeypatch):
    """More than a pipe takes goes to stderr before the address is printed; stuck, it ends."""
    say = "import os, sys, threading; stuck = threading.Timer(20, os._exit, [1]); stuck.start(); "
    say += "sys.stderr.write('x' * 300_000); stuck.cancel(); print('open http://here')"
    popen = partial(subprocess.Popen, [sys.executable, "-c", say])
    monkeypatch.setattr(load_test.subprocess, "Popen", lambda _, **settings: popen(**settings))
    with load_test.serving() as (url, _):
        assert url == "http://here"


def test_what_is_not_http_is_refused_and_the_service_lives(served):
    url, _ = served
    for junk in (b"\x00\xff" * 100, b"HELO here\r\n\r\n", b"A" * 100_000 + b"\r\n\r\n"):
        told = b""
        with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=20) as s:
            s.sendall(junk)
            s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                told = s.recv(65536)
        assert told == b"" or told.split()[1].startswith(b"4")
    assert load_test.fetch(f"{url}/health")[1]["status"] == "ok"


def test_killed_under_load_and_started_again_only_the_gap_is_lost(models):
    only = [models["colour"]]
    with ThreadPoolExecutor(1) as pool:
        with load_test.serving(models=only) as (url, process):
            address, start = f"{url}/predict?model=colour", time.perf_counter()
            load = pool.submit(load_test.generate, address, [picture()], 30, 9)
            time.sleep(2)
            down = time.perf_counter() - start
            process.kill()
        with load_test.serving(models=only, port=urlsplit(url).port):
            up = time.perf_counter() - start
            outcome = load.result()
    failed = [when for when, answered in outcome.when if not answered]
    assert failed, "nothing failed while the service was down"
    # what fails was in work at the kill, and no longer than the slowest answer, or came while down
    assert down - max(1, max(outcome.milliseconds) / 1e3) <= min(failed) and max(failed) <= up
    assert outcome.when[-1][1] or up > 8  # answered again at the end
    assert len(failed) + len(outcome.milliseconds) == outcome.sent


@pytest.mark.parametrize("host, seen", [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_the_address_is_one_a_browser_takes(host, seen):
    with service.listen(host, 0) as listening:
        assert service.url_of(listening) == f"http://{seen}:{listening.getsockname()[1]}"


@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_address_of_ipv6_stands_in_brackets(host):
    listening = SimpleNamespace(getsockname=lambda: (host, 8000, 0, 0))  # not every machine has it
    assert service.url_of(listening) == "http://[::1]:8000"


def test_a_taken_port_is_one_sentence():
    one_sentence = pytest.raises(OSError, match="choose another --port")
    with service.listen("127.0.0.1", 0) as taken, one_sentence:
        service.listen("127.0.0.1", taken.getsockname()[1])


def test_a_service_that_cannot_start_says_why(tmp_path):
    told = pytest.raises(RuntimeError, match="kdlab deploy")
    with told, load_test.serving(models=[tmp_path / "none.onnx"]):
        pass
