"""kdlab.teachers: the cache of answers, the files, and every teacher that the clone ships."""

import gc
import json
import math
import os
import weakref
from pathlib import Path

import pytest
import torch
from helpers import DAMAGE, flip
from test_training import images, same, state
from torch import nn

from kdlab import teachers
from kdlab.data import CIFAR_VIEWS, NO_VIEWS, Views, augment, load, normalise, select
from kdlab.files import EMBEDDED, atomically
from kdlab.metrics import errors, parameters, predict
from kdlab.models import build
from kdlab.recipes import LADDER, STUDENTS, TEACHERS
from kdlab.teachers import answer, answer_batch, answer_key, card, load_teacher, save_teacher

SHIPPED = sorted(f.stem for f in (EMBEDDED / "teachers").glob("*.safetensors"))
STORED = [*SHIPPED, *(f.stem for f in (EMBEDDED / "students").glob("*.safetensors"))]
RECIPES = TEACHERS | STUDENTS
MIB = 2**20


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


def cache_files(tmp_path):
    return sorted((tmp_path / "cache" / "answers").glob("*"))


def test_anything_else_has_another_key():
    data, nudged, buffer = images(20), net(), net()
    with torch.no_grad():
        nudged[0].bias[3] += 1e-6
    buffer[1].running_mean[0] += 1
    key = answer_key(net(), data, CIFAR_VIEWS, 0)
    assert key == answer_key(net(), data, CIFAR_VIEWS, 0)
    teachers = [net(1), nudged, buffer]
    sets = [
        select(data, torch.arange(19)),
        data._replace(name="noise/test"),
        data._replace(images=255 - data.images),
        data._replace(index=data.index + 1),
    ]
    views = [(CIFAR_VIEWS, 1), (Views(4, False), 0), (NO_VIEWS, 0)]
    others = [answer_key(teacher, data, CIFAR_VIEWS, 0) for teacher in teachers]
    others += [answer_key(net(), other, CIFAR_VIEWS, 0) for other in sets]
    others += [answer_key(net(), data, *view) for view in views]
    assert key not in others
    assert len({json.dumps(k) for k in others}) == len(others) == 10


def test_equal_weights_in_another_architecture_have_another_key():
    keys = []
    for name in ("wrn-10-1", "wrn-10-1-s2"):  # the same tensors, another stride
        torch.manual_seed(0)
        keys.append(answer_key(build(name), images(20), NO_VIEWS, 0)["teacher"])
    assert keys[0] != keys[1]


def test_order_and_view_seed_without_views_do_not_matter():
    data = images(20)
    turned = select(data, torch.arange(19, -1, -1))
    assert answer_key(net(), data, NO_VIEWS, 0) == answer_key(net(), turned, NO_VIEWS, 3)


@pytest.mark.parametrize("views", [NO_VIEWS, CIFAR_VIEWS])
def test_each_image_gets_its_own_answer_whatever_the_order(views):
    data, teacher = images(20), net()
    cached = answer(teacher, data, views=views, view_seed=4, epochs=3)
    generator = torch.Generator().manual_seed(1)
    for epoch in range(3):
        picks = torch.randperm(20, generator=generator)[:13]
        view = augment(data.images[picks], data.index[picks], views, epoch=epoch, seed=4)
        truth = answer_batch(teacher, normalise(view, data))[0]
        ours = cached.for_images(data.index[picks], epoch)
        assert ours.dtype == torch.float16
        assert torch.allclose(ours.float(), truth, atol=0.02)
    shuffled = answer(teacher, select(data, picks), views=views, view_seed=4, epochs=3, keep=False)
    again = shuffled.for_images(data.index[picks], 1)
    assert torch.allclose(again.float(), cached.for_images(data.index[picks], 1).float(), atol=0.02)


def test_a_stranger_gets_no_answer():
    data = images(20)
    cached = answer(net(), data)
    missing = next(i for i in range(200) if i not in set(data.index.tolist()))
    for stranger in (missing, 10_000, -1):
        with pytest.raises(KeyError, match="no answer"):
            cached.for_images(torch.tensor([int(data.index[0]), stranger]), 0)


def test_one_epoch_of_random_views_is_not_served_as_another():
    cached = answer(net(), images(20), views=CIFAR_VIEWS, epochs=1)
    with pytest.raises(IndexError):
        cached.for_images(images(20).index, 3)


def test_a_teacher_is_asked_once(tmp_path):
    data, teacher = images(20), net()
    answer(teacher, data, views=CIFAR_VIEWS, epochs=3, keep=False)
    assert teacher.asked == 60 and not cache_files(tmp_path)
    first = answer(teacher, data, views=CIFAR_VIEWS, epochs=3)
    assert teacher.asked == 120
    second = answer(teacher, data, views=CIFAR_VIEWS, epochs=3)
    fewer = answer(teacher, data, views=CIFAR_VIEWS, epochs=1)
    assert teacher.asked == 120
    assert torch.equal(first.logits, second.logits) and torch.equal(first.index, second.index)
    assert len(fewer.logits) == 3
    assert [f.suffix for f in cache_files(tmp_path)] == [".safetensors"]


def test_too_few_epochs_are_asked_anew_and_kept(tmp_path):
    data, teacher = images(20), net()
    few = answer(teacher, data, views=CIFAR_VIEWS, epochs=1)
    more = answer(teacher, data, views=CIFAR_VIEWS, epochs=3)
    assert teacher.asked == 20 + 60
    assert torch.equal(few.logits[0], more.logits[0])
    answer(teacher, data, views=CIFAR_VIEWS, epochs=3)
    assert teacher.asked == 80 and len(cache_files(tmp_path)) == 1


HEADER = {  # of a safetensors file
    "another length": lambda raw: flip(raw, 2),
    "the largest length": lambda raw: b"\xff" * 8 + raw[8:],
    "other views": lambda raw: raw.replace(b"one", b"two"),
}


@pytest.mark.parametrize("damage", (DAMAGE | HEADER).values(), ids=[*DAMAGE, *HEADER])
def test_damaged_answers_are_made_again(tmp_path, damage):
    data, teacher = images(20), net()
    first = answer(teacher, data)
    (path,) = cache_files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    second = answer(teacher, data)
    assert teacher.asked == 40
    assert torch.equal(first.logits, second.logits)
    answer(teacher, data)
    assert teacher.asked == 40  # and the file is whole again


def test_answers_of_another_teacher_under_this_name_are_not_trusted(tmp_path):
    data, teacher = images(20), net()
    answer(net(1), data)
    (foreign,) = cache_files(tmp_path)
    first = answer(teacher, data)
    (own,) = set(cache_files(tmp_path)) - {foreign}
    own.write_bytes(foreign.read_bytes())
    assert torch.equal(answer(teacher, data).logits, first.logits)
    assert teacher.asked == 40


@pytest.fixture
def small_disk():
    """No file may grow beyond 100 bytes: what a full disk does to a write, for once for real."""
    resource = pytest.importorskip("resource", reason="file size limits exist on POSIX alone")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_fails_halfway_loses_nothing(tmp_path, small_disk):
    """safetensors raises an error of its own for a full disk, which is no OSError."""
    answers = answer(net(), images(20), views=CIFAR_VIEWS, epochs=2)
    assert answers.logits.shape == (2, 20, 4)
    assert not cache_files(tmp_path)


def test_a_folder_that_cannot_be_made_loses_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "file"))
    assert answer(net(), images(20)).logits.shape == (1, 20, 4)


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
    sentence = str(error.value)
    assert "\n" not in sentence
    assert "git checkout data/teachers" in sentence and "kdlab train tiny" in sentence


def test_a_missing_teacher_lists_what_there_is(saved):
    with pytest.raises(FileNotFoundError) as error:
        load_teacher("cifar10-vgg")
    sentence = str(error.value)
    assert all(name in sentence for name in ["tiny", *SHIPPED])
    assert "python -m kdlab train cifar10-vgg" in sentence and "\n" not in sentence


class Killed(BaseException):
    """What no `except` of the code under test catches: the process ends here."""


@pytest.mark.parametrize("step", range(6))
def test_a_kill_between_the_two_files_leaves_a_teacher_with_its_own_card(saved, monkeypatch, step):
    """Killed before or after each of the three replacements: old weights with the old card, or new
    ones with the new."""
    new, done = build("cnn3-16").half().float(), []

    def replace(source, target, real=os.replace):
        if len(done) == step // 2 and step % 2 == 0:
            raise Killed
        real(source, target)
        done.append(target)
        if len(done) == step // 2 + 1:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", replace)
        save_teacher("tiny", new, {"name": "tiny", "model": "cnn3-16", "seed": 4})
    load_teacher.cache_clear()
    net, seed = (new, 4) if len(done) > 1 else (saved[0], 3)
    assert card("tiny")["seed"] == seed and "before" not in card("tiny")
    assert same(state(load_teacher("tiny")), state(net))


def test_atomically_replaces_all_or_nothing(tmp_path):
    path = tmp_path / "new" / "file.json"
    atomically(path, lambda target: Path(target).write_text("old"))

    def half(target):
        Path(target).write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomically(path, half)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
    atomically(path, lambda target: Path(target).write_text("new"))
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o644


def test_what_ships():
    assert {"mnist-mlp-1200", "cifar10-10k-cnn7-32", *LADDER} <= set(SHIPPED)
    assert set(SHIPPED) <= set(TEACHERS) and set(STORED) - set(SHIPPED) == set(STUDENTS)
    total = sum(f.stat().st_size for f in (EMBEDDED / "teachers").iterdir())
    assert total < 12 * MIB


@pytest.mark.parametrize("name", STORED)
def test_card_says_how_the_net_was_made(name):
    about = card(name)
    assert about["name"] == name
    assert about["command"].startswith(f"python -m kdlab train {name}")
    # a setting that came later has its default
    later = json.loads(json.dumps(RECIPES[name]._field_defaults))
    assert later | about["recipe"] == json.loads(json.dumps(RECIPES[name]._asdict()))
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
    assert len(LADDER) >= 4
    assert sizes == sorted(sizes) and sizes[-1] > 20 * sizes[0]
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[-1] <= 700  # at least 93%
    assert card("mnist-mlp-1200")["test errors"] <= 80
    # the one that saw 10,000 images alone is worse than its twin that saw 50,000
    assert card("cifar10-10k-cnn7-32")["test errors"] > card("cifar10-cnn7-32")["test errors"]


def test_only_one_epoch_of_answers_is_held_as_float32():
    """For 50,000 images and 100 epochs all of them would be 200 MB, in every student's memory."""
    data = images(20)
    answers = answer(net(), data, epochs=3, views=CIFAR_VIEWS, keep=False)
    ask_epoch = teachers._rows(answers, data, CIFAR_VIEWS, 0, 3, "cpu")
    held = [weakref.ref(ask_epoch(epoch)) for epoch in range(3)]
    gc.collect()
    assert [one() is None for one in held] == [True, True, False]


def test_a_teacher_goes_back_to_where_its_caller_had_it(monkeypatch):
    """Once it was left on the CPU, wherever it had been. This machine may have no other device, so
    what is read of the first parameter stands for one."""
    teacher, moves = net(), []
    home = next(teacher.parameters()).device

    def to(self, device, *args, **options):
        moves.append(device)
        return self

    monkeypatch.setattr(nn.Module, "to", to)
    monkeypatch.setattr(nn.Module, "cpu", lambda self: pytest.fail("moved to the CPU"))
    answer(teacher, images(20), device="cpu", keep=False)
    assert moves == ["cpu", home]
