"""kdlab.teachers: the cache of answers, the files, and every teacher that the clone ships."""

import gc
import json
import math
import os
import shutil
import weakref
from dataclasses import MISSING, asdict, fields, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from helpers import DAMAGE, flip
from torch import nn
from toys import images, same, state

from kdlab import logit_cache, models, teachers
from kdlab.data import CIFAR_VIEWS, NO_VIEWS, Views, load, select
from kdlab.files import EMBEDDED, atomically
from kdlab.lab.configs import LADDER, STUDENTS, TEACHERS
from kdlab.logit_cache import cache_key, cache_logits, checksums
from kdlab.metrics import errors, parameters, predict
from kdlab.models import build
from kdlab.teachers import card, load_teacher, save_teacher

SHIPPED = sorted(f.stem for f in (EMBEDDED / "teachers").glob("*.safetensors"))
STORED = [*SHIPPED, *(f.stem for f in (EMBEDDED / "students").glob("*.safetensors"))]


class Counted(nn.Sequential):
    """A teacher that counts how many images it was asked about."""

    asked = 0

    def forward(self, x):
        self.asked += len(x)
        return super().forward(x)


def net(seed=0):
    torch.manual_seed(seed)
    return Counted(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(54, 4))


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path / "data"))  # what isn't there is in the clone


def ask(teacher, epochs=3, **options):
    return cache_logits(teacher, images(20), views=CIFAR_VIEWS, epochs=epochs, **options)


def cache_files(tmp_path):
    return sorted((tmp_path / "cache" / "answers").glob("*"))


def test_anything_else_has_another_key():
    data, nudged, buffer = images(20), net(), net()
    with torch.no_grad():
        nudged[0].bias[3] += 1e-6
    buffer[1].running_mean[0] += 1
    strides = [build("wrn-10-1"), build("wrn-10-1-s2")]
    strides[1].load_state_dict(strides[0].state_dict())  # the same tensors, another stride
    sets = [
        select(data, torch.arange(19)),
        replace(data, name="noise/test"),
        replace(data, images=255 - data.images),
        replace(data, index=data.index + 1),
    ]
    views = [(CIFAR_VIEWS, 0), (CIFAR_VIEWS, 1), (Views(4, False), 0), (NO_VIEWS, 0)]
    keys = [cache_key(net(), data, *view) for view in views]
    keys += [cache_key(net(), other, CIFAR_VIEWS, 0) for other in sets]
    keys += [cache_key(n, data, CIFAR_VIEWS, 0) for n in (net(1), nudged, buffer, *strides)]
    assert len({json.dumps(key) for key in keys}) == len(keys) == 13


@pytest.mark.parametrize("name", ["data.py", "models.py", "teachers.py", "logit_cache.py"])
def test_answers_by_other_code_are_asked_again(tmp_path, monkeypatch, name):
    """Once, with `augment` changed, the old views' logits came from the cache."""
    teacher, edited, code = net(), tmp_path / "edited", logit_cache._code.__wrapped__
    ask(teacher)
    shutil.copytree(Path(teachers.__file__).parent, edited, ignore=lambda *_: {"__pycache__"})
    monkeypatch.setattr(logit_cache, "__file__", str(edited / "logit_cache.py"))
    for asked in (60, 120):  # a copy is the same code, an edited one is not
        monkeypatch.setattr(logit_cache, "_code", cache(code))
        ask(teacher)
        assert teacher.asked == asked
        (edited / name).write_text((edited / name).read_text("utf-8") + "# edited", "utf-8")


def test_answers_of_another_arithmetic_have_another_key(monkeypatch):
    """Those of a CPU once served a run on CUDA."""
    keys = []
    for fast in (True, False):
        monkeypatch.setattr(models, "has_fast_bf16", lambda device="cpu", f=fast: f)
        keys += [cache_key(net(), images(20), NO_VIEWS, 0, device) for device in ("cpu", "cuda")]
    told = [key.pop("arithmetic") for key in keys]
    assert told == ["cpu bfloat16", "cuda bfloat16", "cpu float32", "cuda float32"]
    assert keys == keys[:1] * 4


def test_a_checksum_tells_images_apart_in_any_order():
    whole = torch.randint(256, (50_000, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    whole = whole.byte()
    sums = checksums(whole)
    assert sums.dtype == torch.int64 and len(sums.unique()) == 50_000
    assert torch.equal(checksums(whole[[7, 3]]), sums[[7, 3]])
    one = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    others = torch.zeros(3073, 3 * 32 * 32, dtype=torch.uint8)
    others[1:].fill_diagonal_(128)  # each pixel in turn by its highest bit
    assert len(checksums(others.view(-1, 3, 32, 32)).unique()) == 3073
    assert checksums(one)[0] == 0 and checksums(whole[:0]).shape == (0,)


def test_order_and_view_seed_without_views_do_not_matter():
    data = images(20)
    turned = select(data, torch.arange(19, -1, -1))
    assert cache_key(net(), data, NO_VIEWS, 0) == cache_key(net(), turned, NO_VIEWS, 3)


def test_a_stranger_or_a_later_epoch_gets_no_answer():
    index, cached = images(20).index, ask(net(), epochs=1)
    missing = next(i for i in range(200) if i not in set(index.tolist()))
    for stranger in (missing, 10_000, -1):
        with pytest.raises(KeyError, match="no answer"):
            cached.for_images(torch.tensor([int(index[0]), stranger]), 0)
    with pytest.raises(IndexError):
        cached.for_images(index, 3)


def test_a_teacher_is_asked_once_and_anew_for_more_epochs(tmp_path):
    teacher = net()
    ask(teacher, keep=False)
    assert teacher.asked == 60 and not cache_files(tmp_path)
    few, first, second, fewer = (ask(teacher, epochs) for epochs in (1, 3, 3, 1))
    assert teacher.asked == 60 + 20 + 60 and len(fewer.logits) == 3
    assert torch.equal(first.logits, second.logits) and torch.equal(first.index, second.index)
    assert torch.equal(few.logits[0], first.logits[0])
    assert [f.suffix for f in cache_files(tmp_path)] == [".safetensors"]
    assert first.logits.dtype == torch.float16  # and to which images: test_museum.py


HEADER = {  # of a safetensors file
    "another length": lambda raw: flip(raw, 2),
    "the largest length": lambda raw: b"\xff" * 8 + raw[8:],
    "other views": lambda raw: raw.replace(b"one", b"two"),
}


@pytest.mark.parametrize("damage", (DAMAGE | HEADER).values(), ids=[*DAMAGE, *HEADER])
def test_damaged_answers_are_made_again(tmp_path, damage):
    data, teacher = images(20), net()
    first = cache_logits(teacher, data)
    (path,) = cache_files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        assert torch.equal(first.logits, cache_logits(teacher, data).logits)
        assert teacher.asked == 40  # and then the file is whole again


def test_answers_of_another_teacher_under_this_name_are_not_trusted(tmp_path):
    data, teacher = images(20), net()
    cache_logits(net(1), data)
    (foreign,) = cache_files(tmp_path)
    first = cache_logits(teacher, data)
    (own,) = set(cache_files(tmp_path)) - {foreign}
    own.write_bytes(foreign.read_bytes())
    assert torch.equal(cache_logits(teacher, data).logits, first.logits)
    assert teacher.asked == 40


def test_a_write_that_fails_halfway_loses_nothing(tmp_path):
    """No file may grow beyond 100 bytes: what a full disk does to a write, for once for real.
    safetensors raises an error of its own for it, which is no OSError."""
    resource = pytest.importorskip("resource", reason="file size limits exist on POSIX alone")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        assert ask(net()).logits.shape == (3, 20, 4) and not cache_files(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_folder_that_cannot_be_made_loses_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "file"))
    assert cache_logits(net(), images(20)).logits.shape == (1, 20, 4)


@pytest.fixture
def saved(tmp_path):
    """A trained teacher's two files, with values that float16 holds exactly."""
    torch.manual_seed(0)
    model = build("cnn3-16").half().float()
    model.stage1[1].num_batches_tracked.fill_(70_000)  # more than float16 can count
    path = save_teacher("tiny", model, {"name": "tiny", "model": "cnn3-16", "seed": 3})
    load_teacher.cache_clear()
    yield model, path
    load_teacher.cache_clear()


def test_save_and_load_are_a_round_trip(saved, tmp_path):
    model, path = saved
    loaded = load_teacher("tiny")
    assert path.parent == tmp_path / "data" / "teachers"
    assert sorted(f.name for f in path.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]
    assert same(state(model), state(loaded))
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in loaded.parameters())
    assert not any(m.training for m in loaded.modules())
    sha = teachers.digest(path.read_bytes())
    assert card("tiny") == {"name": "tiny", "model": "cnn3-16", "seed": 3, "sha256": sha}
    assert "tiny" in teachers.trained_teachers()


DAMAGED = [
    *((".safetensors", damage) for damage in DAMAGE.values()),
    (".safetensors", lambda raw: flip(raw, 0)),
    (".safetensors", lambda raw: b"version https://git-lfs.github.com/spec/v1\n"),
    (".json", lambda raw: raw.replace(b"cnn3-16", b"cnn3-32")),  # another model's card
]
CARDS = b"", b'{"model": "cnn3-16", "sha', b"{}", b'{"model": "cnn3-16"}', b'{"model": "gone"}'
DAMAGED += [(".json", lambda raw, card=card: card) for card in CARDS]


@pytest.mark.parametrize(("suffix", "damage"), DAMAGED)
def test_damaged_weights_or_a_damaged_card_are_one_clear_sentence(saved, suffix, damage):
    path = saved[1].with_suffix(suffix)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"tiny\.safetensors or its card is damaged") as error:
        load_teacher("tiny")
    told = "git checkout data/teachers", "kdlab train tiny"
    assert all(remedy in str(error.value) for remedy in told) and "\n" not in str(error.value)


def test_a_missing_teacher_lists_what_there_is(saved):
    with pytest.raises(FileNotFoundError) as error:
        load_teacher("cifar10-vgg")
    told = ["tiny", *SHIPPED, "python -m kdlab train cifar10-vgg"]
    assert all(word in str(error.value) for word in told) and "\n" not in str(error.value)


@pytest.mark.parametrize("step", range(6))
def test_a_kill_between_the_two_files_leaves_a_teacher_with_its_own_card(saved, monkeypatch, step):
    """Killed before or after each of the three replacements: old weights with the old card, or new
    ones with the new."""
    new, done = build("cnn3-16").half().float(), []

    def replace(*paths, real=os.replace):
        if step == 2 * len(done):
            raise KeyboardInterrupt
        done.append(real(*paths))
        if step == 2 * len(done) - 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", replace)
        save_teacher("tiny", new, {"name": "tiny", "model": "cnn3-16", "seed": 4})
    load_teacher.cache_clear()
    net, seed = (new, 4) if len(done) > 1 else (saved[0], 3)
    assert card("tiny")["seed"] == seed and "before" not in card("tiny")
    assert same(state(load_teacher("tiny")), state(net))


def test_atomically_replaces_all_or_nothing(tmp_path):
    def half(target):
        Path(target).write_text("ne")
        raise KeyboardInterrupt

    path = tmp_path / "new" / "file.json"
    for text in ("old", "new"):
        atomically(path, lambda target, text=text: Path(target).write_text(text))
        with pytest.raises(KeyboardInterrupt):
            atomically(path, half)
        assert path.read_text() == text and list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_ships():
    assert {"mnist-mlp-1200", "cifar10-10k-cnn7-32", *LADDER} <= set(SHIPPED)
    assert set(SHIPPED) <= set(TEACHERS) and set(STORED) - set(SHIPPED) == set(STUDENTS)
    assert sum(f.stat().st_size for f in (EMBEDDED / "teachers").iterdir()) < 12 * 2**20


@pytest.mark.parametrize("name", STORED)
def test_card_says_how_the_net_was_made(name):
    about, recipe = card(name), (TEACHERS | STUDENTS)[name]
    assert about["name"] == name
    assert about["command"].startswith(f"python -m kdlab train {name}")
    known = {f.name: f.default for f in fields(recipe) if f.default is not MISSING}
    defaults, settings = json.loads(json.dumps([known, asdict(recipe)]))
    assert defaults | about["recipe"] == settings  # a setting that came later has its default
    assert about["model"] == about["recipe"]["student"]
    assert len(about["commit"]) >= 7 and "-dirty" not in about["commit"]
    assert len(about["date"]) == 10 and about["seconds"] > 0 and about["seed"] >= 0
    assert about["machine"]["torch"] and about["machine"]["processor"]
    share = about["test errors"] / judged_on(about)
    assert about["test accuracy"] == round(100 * (1 - share), 2)


def judged_on(about):
    """How many of the 10,000 test images show classes that the teacher knows."""
    return 1000 * (len(about["recipe"].get("classes", ())) or 10)


@pytest.mark.parametrize("name", STORED)
def test_what_ships_is_as_good_as_its_card_says(name):
    teacher, about = load_teacher(name), card(name)
    assert load_teacher(name) is teacher  # loading twice costs nothing
    assert parameters(teacher) == parameters(build(about["model"]))
    test = load("mnist" if name.startswith("mnist") else "cifar10-10k", "test")
    if name.startswith("mnist") or name in STUDENTS:  # the whole test set takes a second
        assert abs(errors(predict(teacher, test), test.labels) - about["test errors"]) <= 3
        return
    sample = select(test, torch.arange(0, 10_000, 20))
    if known := about["recipe"].get("classes"):
        sample = select(sample, torch.isin(sample.labels, torch.tensor(known)))
    share = about["test errors"] / judged_on(about)
    noise = 3.5 * math.sqrt(len(sample.labels) * share * (1 - share))  # of a random 500
    wrong = errors(predict(teacher, sample), sample.labels)
    assert wrong == pytest.approx(share * len(sample.labels), abs=noise)


def test_ladder_rises_in_capacity_and_accuracy():
    sizes = [parameters(load_teacher(name)) for name in LADDER]
    wrong = [card(name)["test errors"] for name in LADDER]
    assert len(LADDER) >= 4 and sizes == sorted(sizes) and sizes[-1] > 20 * sizes[0]
    assert wrong == sorted(wrong, reverse=True) and wrong[-1] <= 700  # at least 93%
    assert card("mnist-mlp-1200")["test errors"] <= 80
    # the one that saw 10,000 images alone is worse than its twin that saw 50,000
    assert card("cifar10-10k-cnn7-32")["test errors"] > card("cifar10-cnn7-32")["test errors"]


def test_only_one_epoch_of_answers_is_held_as_float32():
    """For 50,000 images and 100 epochs all of them would be 200 MB, in every student's memory."""
    ask_epoch = logit_cache._rows(ask(net()), images(20), CIFAR_VIEWS, 0, 3, "cpu")
    held = [weakref.ref(ask_epoch(epoch)) for epoch in range(3)]
    gc.collect()
    assert [one() is None for one in held] == [True, True, False]


def test_a_teacher_goes_back_to_where_its_caller_had_it(monkeypatch):
    """Once it was left on the CPU, wherever it had been. This machine may have no other device, so
    what is read of the first parameter stands for one."""
    teacher, moves = net(), []
    home = next(teacher.parameters()).device
    monkeypatch.setattr(nn.Module, "to", lambda self, device, **_: moves.append(device))
    monkeypatch.setattr(nn.Module, "cpu", lambda self: pytest.fail("moved to the CPU"))
    cache_logits(teacher, images(20), device="cpu", keep=False)
    assert moves == ["cpu", home]
