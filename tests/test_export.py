"""Exporting, running, rolling out: exports say what torch says, int8 nearly so, limits hold."""

import math
import random
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.apps.onnx_file import write_onnx
from kdlab.apps.serving import export, runtime
from kdlab.apps.serving.shadow import Agreement
from kdlab.data import normalise
from kdlab.dataset_files import SOURCES
from kdlab.lab.experiments import STUDENTS
from kdlab.losses import soften
from kdlab.models import MODELS, build, cnn3
from kdlab.teachers import card


def noise(data: str, count: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *export.SHAPES[data]), generator=draw, dtype=torch.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small net and its file."""
    torch.manual_seed(0)
    net = build("cnn3-8").eval()
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    return net, export.to_onnx(net, "cifar10", path, name="net", role="student")


@pytest.mark.parametrize("name", [n for n in MODELS if not n.endswith("bit")])  # rounds in torch
def test_every_registered_model_says_the_same_in_onnx(name, tmp_path):
    torch.manual_seed(0)
    net, grey = build(name), name.startswith("mlp") or name.endswith("grey")
    data = "mnist" if grey else "cifar10"
    net(normalise(noise(data, 8), SOURCES[data]))  # batch norm has seen something
    path = export.to_onnx(net, data, tmp_path / "net.onnx")
    assert net.training  # as it was
    session, net = runtime.open_model(path), net.eval()
    for count in (1, 5):  # any batch size
        pixels = noise(data, count, seed=count)
        with torch.no_grad():
            wanted = net(normalise(pixels, SOURCES[data])).numpy()
        np.testing.assert_allclose(runtime.infer(session, pixels.numpy()), wanted, atol=1e-4)


@pytest.mark.parametrize(("shape", "classes"), [((3, 48, 48), 2), ((1, 28, 40), 200)])
def test_any_shape_and_any_number_of_classes(shape, classes, tmp_path):
    torch.manual_seed(0)
    net = cnn3(8, classes, channels=shape[0]).eval()
    names = tuple(f"种类 {k}" for k in range(classes))
    about = SimpleNamespace(mean=(0.4,) * shape[0], std=(0.2,) * shape[0], classes=names)
    session = runtime.open_model(write_onnx(net, about, shape, tmp_path / "net.onnx", name="n"))
    pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    with torch.no_grad():
        wanted = net(normalise(pixels, about)).numpy()
    np.testing.assert_allclose(runtime.infer(session, pixels.numpy()), wanted, atol=1e-4)
    assert runtime.metadata(session)["classes"] == list(names)


def test_the_file_says_what_it_is_and_takes_pixels(exported):
    session = runtime.open_model(exported[1])
    about = runtime.metadata(session)
    assert (about["name"], about["role"], about["data"]) == ("net", "student", "cifar10")
    assert tuple(about["classes"]) == SOURCES["cifar10"].classes and about["shape"] == [3, 32, 32]
    assert session.get_inputs()[0].type == "tensor(uint8)"


def test_int8_is_smaller_and_nearly_the_same(exported, tmp_path):
    path, data = exported[1], SimpleNamespace(images=noise("cifar10", 200))
    small = export.quantise(path, tmp_path / "small.onnx", data)
    assert small.stat().st_size < 0.8 * path.stat().st_size
    pixels, sessions = noise("cifar10", 200, seed=7).numpy(), map(runtime.open_model, (path, small))
    exact, rough = (runtime.infer(session, pixels) for session in sessions)
    assert 0 < np.abs(exact - rough).max() < 0.15 * np.ptp(exact)
    about = runtime.metadata(runtime.open_model(small))
    assert about["int8"] and about["name"] == "net"
    assert [f.name for f in tmp_path.iterdir()] == ["small.onnx"]  # nothing is left over


def test_int8_products_can_be_kept_from_overflowing_on_older_processors(exported):
    for exact in (False, True):
        options = runtime.open_model(exported[1], exact=exact).get_session_options()
        assert options.get_session_config_entry("session.x64quantprecision") == str(int(exact))


def test_a_missing_or_damaged_model_is_one_sentence(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match="kdlab deploy"):
        runtime.open_model(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="kdlab deploy"):  # says another process
        runtime.measure_fresh(tmp_path / "none.onnx")
    whole = exported[1].read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ValueError, match="delete it") as told:
            runtime.open_model(tmp_path / "bad.onnx")
        assert "\n" not in str(told.value)


def test_softmax_is_the_soften_of_the_losses():
    logits = 5 * torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    for t in (0.5, 1.0, 20.0):
        np.testing.assert_allclose(runtime.softmax(logits.numpy(), t), soften(logits, t), atol=1e-6)
    assert runtime.softmax(np.array([1e4, 0.0])).tolist() == [1.0, 0.0]


@pytest.mark.skipif(sys.platform != "linux", reason="the ceiling is Linux's RLIMIT_DATA")
def test_under_a_ceiling_the_small_model_runs_and_the_large_one_does_not(exported, tmp_path):
    large = export.to_onnx(build("mlp-1200"), "mnist", tmp_path / "large.onnx")
    assert runtime.measure_fresh(exported[1], ceiling=8, seconds=0)["peak MB"] > 0
    with pytest.raises(MemoryError, match="large.onnx does not run with 8 MB"):
        runtime.measure_fresh(large, ceiling=8, seconds=0)
    assert runtime.measure_fresh(large, ceiling=200, seconds=0)["peak MB"] > 0


def test_what_is_deployed_is_exported_once_and_anew_for_new_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path))
    name = "mnist-student-distilled"
    monkeypatch.setattr(export, "DEPLOYED", [d for d in export.DEPLOYED if d.name == name])
    files = export.exported_models()
    assert set(files) == {name, f"{name}-int8"}
    written = {path: path.stat().st_mtime_ns for path in files.values()}
    assert export.exported_models() == files
    assert {path: path.stat().st_mtime_ns for path in files.values()} == written
    real = export.card(name)
    monkeypatch.setattr(export, "card", lambda _: real | {"sha256": "f" * 64})
    assert not set(export.exported_models().values()) & set(written)


def test_a_read_only_cache_sends_exports_to_one_s_own(monkeypatch, tmp_path):
    (tmp_path / "full").write_text("no folder can be made within a file, not even by root")
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "full"))
    monkeypatch.setattr(export, "user_cache_path", lambda name, **_: tmp_path / name)
    monkeypatch.setattr(export, "DEPLOYED", export.DEPLOYED[1:2])
    files = export.exported_models(int8=False)
    assert {path.parent for path in files.values()} == {tmp_path / "kdlab" / "onnx"}
    assert all(path.is_file() for path in files.values())
    assert export.exported_models(int8=False) == files
    monkeypatch.setattr(export, "user_cache_path", lambda *_, **__: tmp_path / "full")
    with pytest.raises(OSError, match="full"):
        export.exported_models(int8=False)


def test_the_pairs_of_students_differ_in_the_teacher_alone():
    for data in ("mnist", "cifar10"):
        alone, taught = (STUDENTS[f"{data}-student-{how}"] for how in ("labels", "distilled"))
        names = ("teacher", "temperature", "soft_weight", "hard_weight")
        assert replace(alone, **{n: getattr(taught, n) for n in names}) == taught
        assert [card(f"{data}-student-{how}")["seed"] for how in ("labels", "distilled")] == [0, 0]
        assert (taught.teacher, data, "teacher") in export.DEPLOYED


def test_agreement_counts_the_window_and_the_whole():
    watch = Agreement(0.9, 1000, window=4)
    assert math.isnan(watch.share) and not watch.alarm
    for same in (True, False, True, True, True):
        watch.update(same)
    assert watch.share == 0.75 and watch.seen == 5


def test_the_alarm_rings_on_drift_and_hardly_ever_without():
    draw = random.Random(0)

    def rings(share: float, images: int) -> bool:
        watch = Agreement(0.9, 2000, window=200)
        return any([watch.update(draw.random() < share) for _ in range(images)])

    assert sum(rings(0.9, 2000) for _ in range(50)) <= 1
    assert all(rings(0.7, 600) for _ in range(50))
    assert not Agreement(0.9, 2000).update(False)  # one answer is no drift
    perfect = Agreement(1.0, 500, window=100)
    assert not any([perfect.update(n != 50) for n in range(100)])  # and one slip is none


@pytest.mark.parametrize("wrong", [(0, 10), (1.1, 10), (math.nan, 10), (0.9, 0)])
def test_a_reference_has_to_be_a_share(wrong):
    with pytest.raises(ValueError, match="share"):
        Agreement(*wrong)
