"""Data and its files: what is loaded, the random views, damaged files, downloads."""

import errno
import gzip
import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from helpers import DAMAGE, flip
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdlab import dataset_files, files
from kdlab.data import CIFAR_VIEWS, Views, augment, balanced, load, normalise, select, split
from kdlab.dataset_files import DataError

SIZES = {
    ("mnist", "train"): (60_000, 1, 28, 28),
    ("mnist", "test"): (10_000, 1, 28, 28),
    ("cifar10-10k", "train"): (10_000, 3, 32, 32),
    ("cifar10-10k", "test"): (10_000, 3, 32, 32),
    ("cifar10", "test"): (10_000, 3, 32, 32),
}
RAW_MD5 = {  # of the official MNIST files, uncompressed
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
GIVEN = os.environ.get("KDLAB_DATA", "")


@pytest.fixture(autouse=True)
def embedded_data_only(monkeypatch):
    monkeypatch.delenv("KDLAB_DATA", raising=False)


@pytest.fixture(scope="module")
def cifar():
    return load("cifar10-10k")


@pytest.mark.parametrize("name, part", SIZES)
def test_embedded_sets_have_the_official_shape(name, part):
    data = load(name, part)
    assert data.images.shape == SIZES[name, part] and data.images.dtype == torch.uint8
    assert data.labels.dtype == data.index.dtype == torch.int64
    assert data.index.tolist() == list(range(len(data.labels)))
    assert set(data.labels.tolist()) == set(range(len(data.classes))) == set(range(10))
    assert data.name == f"{name}/{part}".replace("-10k/test", "/test")


def test_first_labels_are_the_official_ones(cifar):
    assert cifar.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert cifar.classes[cifar.labels[0]] == "frog"
    assert load("mnist").labels[:5].tolist() == [5, 0, 4, 1, 9]


def test_raw_mnist_files_have_the_official_md5():
    for name, md5 in RAW_MD5.items():
        raw = gzip.decompress((files.EMBEDDED / "mnist" / f"{name}.gz").read_bytes())
        assert hashlib.md5(raw).hexdigest() == md5


def test_the_readme_states_the_digests_of_files_and_parts():
    readme = (files.EMBEDDED / "README.md").read_text(encoding="utf-8")
    for family, source in dataset_files.SOURCES.items():
        for part, digest in source.digests.items():
            assert f"| {family} {part} | `{digest}` |" in readme
        for path in (files.EMBEDDED / family).iterdir():
            if path.name.startswith(tuple(source.digests)):
                content = path.read_bytes()
                sha = hashlib.sha256(content).hexdigest()
                assert f"| `{family}/{path.name}` | {len(content):,} | `{sha}` |" in readme


def assert_statistics(data, atol):
    """Mean and (population) standard deviation per channel on the 0..1 scale, exactly counted."""
    counts = [torch.bincount(c.flatten(), minlength=256) for c in data.images.unbind(1)]
    weights, values = torch.stack(counts).double() / sum(counts[0]), torch.arange(256) / 255
    mean = (weights * values).sum(1)
    std = ((weights * values**2).sum(1) - mean**2).sqrt()
    stated = torch.tensor((data.mean, data.std)).double()
    torch.testing.assert_close(torch.stack((mean, std)), stated, atol=atol, rtol=0)


def test_statistics_are_those_of_the_training_images(cifar):
    assert_statistics(load("mnist"), atol=5e-5)
    assert_statistics(cifar, atol=5e-3)


def test_statistics_of_all_of_cifar10(cifar, monkeypatch):
    monkeypatch.setenv("KDLAB_DATA", GIVEN)
    try:
        data = load("cifar10")
    except DataError as error:
        pytest.skip(str(error))
    assert_statistics(data, atol=5e-5)
    assert torch.equal(data.images[:10_000], cifar.images)


def test_normalise_centres_and_scales(cifar):
    out = normalise(cifar.images[:50], cifar)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (cifar.mean, cifar.std))
    literal = (cifar.images[:50].double() / 255 - mean) / std
    torch.testing.assert_close(out, literal.float(), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="uint8"):
        normalise(out, cifar)


def test_select_and_split_keep_the_index(cifar):
    some = select(cifar, torch.tensor([5, 3]))
    assert some.index.tolist() == [5, 3] and torch.equal(some.images[0], cifar.images[5])
    cats = select(cifar, cifar.labels == 3)
    assert set(cats.labels.tolist()) == {3}
    train, validation = split(cifar, 1000, seed=1)
    assert len(train.index) == 9000 and len(validation.index) == 1000
    assert sorted(train.index.tolist() + validation.index.tolist()) == cifar.index.tolist()
    assert torch.equal(validation.labels, cifar.labels[validation.index])
    assert torch.equal(split(cifar, 1000, seed=1)[1].index, validation.index)
    assert not torch.equal(split(cifar, 1000, seed=2)[1].index, validation.index)


def test_wrong_requests_get_one_sentence(cifar):
    for name, part, n in (("imagenet", "train", 0), ("mnist", "validation", 10_000)):
        with pytest.raises(ValueError, match=f"no data set '{name}' .*'cifar10-10k' 'validation'"):
            load(name, part)
        with pytest.raises(ValueError, match="only 'cifar10' is downloaded"):
            dataset_files.download(name)
        with pytest.raises(ValueError, match="between 1 and 9999"):
            split(cifar, n)


@pytest.mark.parametrize("n", [100, 103])
def test_a_balanced_draw_has_as_many_of_each_class(cifar, n):
    some = balanced(cifar, n, seed=1)
    counts = torch.bincount(some.labels, minlength=10)
    assert len(some.labels) == n and int(counts.max() - counts.min()) == (n % 10 > 0)
    assert torch.equal(some.labels, cifar.labels[some.index])
    assert torch.equal(some.index, balanced(cifar, n, seed=1).index)
    assert not torch.equal(some.index, balanced(cifar, n, seed=2).index)
    assert set(some.index.tolist()) < set(balanced(cifar, 1000, seed=1).index.tolist())


def test_a_class_that_is_too_rare_is_named_by_its_size(cifar):
    rarest = int(torch.bincount(cifar.labels).min())
    assert len(balanced(cifar, 10 * rarest).labels) == 10 * rarest
    for n in (10 * rarest + 10, 0):
        with pytest.raises(ValueError, match=f"rarest of them has {rarest}"):
            balanced(cifar, n)


def test_loading_is_quick():
    for name, seconds in (("mnist", 0.5), ("cifar10-10k", 1.5)):
        start = time.process_time()
        load(name)
        assert time.process_time() - start < seconds


def random_images(n, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, 8, 8), dtype=torch.uint8, generator=generator)


def literal_view(image, index, views, epoch, seed):
    """What `augment` promises, one image at a time and in NumPy."""

    def word(stream):
        philox = np.random.Philox(key=np.array([seed, stream], np.uint64))
        return int(philox.random_raw(index + 1)[-1]) >> 32

    image = image.numpy()[:, :, :: -1 if views.flip and (word(2**64 - 1) + epoch) % 2 else 1]
    s, side = views.shift, 2 * views.shift + 1
    row, column = divmod(word(epoch) % side**2, side)
    padded = np.pad(image, ((0, 0), (s, s), (s, s)), mode=views.padding)
    return padded[:, row : row + image.shape[1], column : column + image.shape[2]]


EDGES = st.sampled_from(["reflect", "constant"])


@settings(max_examples=60)
@example(Views(), 0, 0, 3, [1, 0])
@example(CIFAR_VIEWS, 0, 0, 3, [])
@given(
    views=st.builds(Views, st.integers(0, 7), st.booleans(), EDGES),
    epoch=st.integers(0, 1000),
    seed=st.integers(0, 2**63),
    channels=st.integers(1, 3),
    index=st.lists(st.integers(0, 300), min_size=1, max_size=12),
)
def test_views_are_the_literal_ones_in_any_order_and_subset(views, epoch, seed, channels, index):
    """No views are the images themselves."""
    index = torch.tensor(index, dtype=torch.int64)
    images = random_images(301, channels)[index]
    before = images.clone()
    seen = augment(images, index, views, epoch=epoch, seed=seed)
    assert torch.equal(images, before) and seen.shape == images.shape
    assert (seen is images) == (views[:2] == (0, False))
    for image, i, view in zip(images, index.tolist(), seen, strict=True):
        assert np.array_equal(view.numpy(), literal_view(image, i, views, epoch, seed))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(images=torch.zeros(2, 3, 8, 8)), "uint8"),
        (dict(images=torch.zeros(3, 8, 8, dtype=torch.uint8)), r"\[N, C, H, W\]"),
        (dict(index=torch.arange(3)), "one number per image"),
        (dict(index=torch.tensor([0.0, 1.0])), "int64"),
        (dict(views=Views(8)), "smaller than the image"),
        (dict(views=Views(-1)), "at least 0"),
        (dict(views=Views(1, padding="wrap")), "'reflect' or 'constant'"),
    ],
)
def test_augment_refuses(change, message):
    good = dict(images=random_images(2), index=torch.arange(2), views=CIFAR_VIEWS, epoch=0, seed=0)
    with pytest.raises(ValueError, match=message):
        augment(**good | change)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("views", [CIFAR_VIEWS, Views(2, padding="constant")])
def test_views_are_the_same_on_a_gpu(cifar, views):
    here = augment(cifar.images, cifar.index, views, epoch=1, seed=0)
    there = augment(cifar.images.cuda(), cifar.index.cuda(), views, epoch=1, seed=0)
    assert torch.equal(here, there.cpu())


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A $KDLAB_DATA that holds copies of the embedded CIFAR-10 test files and of MNIST."""
    root = tmp_path / "copy"
    shutil.copytree(files.EMBEDDED / "mnist", root / "mnist")
    (root / "cifar10").mkdir()
    for name in ("test.webp", "test-labels-idx1-ubyte.gz"):
        shutil.copy(files.EMBEDDED / "cifar10" / name, root / "cifar10")
    monkeypatch.setenv("KDLAB_DATA", str(root))
    return root


@pytest.mark.parametrize("damage", ["empty", "half", "a bit in the middle", "another file"])
@pytest.mark.parametrize("file", ["cifar10/test.webp", "cifar10/test-labels-idx1-ubyte.gz",
    "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz"])  # fmt: skip
def test_damaged_files_are_refused(copy, file, damage):
    path, name = copy / file, file.split("/")[0]
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    named = f"{path.stem.split('-')[0]}.*git checkout data/{name}"
    with pytest.raises(DataError, match=named):
        load(name, "test")


def test_sound_images_with_other_labels_are_refused(copy):
    labels = copy / "mnist" / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(flip(gzip.decompress(labels.read_bytes()), 17)))
    with pytest.raises(DataError, match="not the official mnist t10k"):
        load("mnist", "test")


def test_a_missing_file_comes_back_from_git_or_by_a_download(copy, monkeypatch):
    monkeypatch.setattr(files, "EMBEDDED", copy)
    (copy / "cifar10" / "test.webp").unlink()
    with pytest.raises(DataError, match=r"cifar10 \(test\) is not in .*git checkout data"):
        load("cifar10", "test")
    with pytest.raises(DataError, match=r"train-2.*run `python -m kdlab data cifar10`"):
        load("cifar10")


def test_what_kdlab_data_lacks_comes_from_the_clone(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path))
    assert len(load("mnist", "test").labels) == 10_000
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path / "typo"))
    with pytest.raises(DataError, match="typo is not a folder"):
        load("mnist", "test")


def test_torchvision_cifar10_folder(tmp_path, monkeypatch, tiny):
    """The folder is read by torchvision alone, and only if torchvision finds it whole."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path))
    monkeypatch.setattr(files, "EMBEDDED", tmp_path / "none")
    with pytest.raises(DataError, match="cifar-10-batches-py is incomplete or altered"):
        load("cifar10")

    class Whole:
        def __init__(self, root, train):
            assert Path(root) == tmp_path
            parts = [p for p in tiny if train == p.startswith("train")]
            self.data = np.concatenate([tiny[p][0] for p in parts]).transpose(0, 2, 3, 1)
            self.targets = [int(y) for p in parts for y in tiny[p][1]]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Whole)
    train = [tiny[f"train-{k}"] for k in range(1, 6)]
    assert same_as(load("cifar10"), [np.concatenate(c) for c in zip(*train, strict=True)])
    assert same_as(load("cifar10-10k"), tiny["train-1"])
    assert same_as(load("cifar10-10k", "validation"), tiny["train-2"])
    assert same_as(load("cifar10", "test"), tiny["test"])


BATCHES = {f"train-{k}": f"data_batch_{k}" for k in range(1, 6)} | {"test": "test_batch"}


@pytest.fixture
def tiny(monkeypatch):
    """Nine random images in each part, whose digests replace the official ones."""
    rng = np.random.default_rng(0)
    contents = {
        part: (rng.integers(0, 256, (9, 3, 32, 32), np.uint8), rng.integers(0, 10, 9, np.uint8))
        for part in dataset_files.CIFAR10.digests
    }
    digests = {part: dataset_files.part_digest(*content) for part, content in contents.items()}
    monkeypatch.setitem(
        dataset_files.SOURCES, "cifar10", replace(dataset_files.CIFAR10, digests=digests)
    )
    monkeypatch.setattr(dataset_files, "BATCH", 9)
    return contents


@pytest.fixture
def site(tiny, tmp_path, monkeypatch):
    """The official site, played by torchvision's own class with tiny files; `site.error` breaks it.

    As torchvision does, it raises RuntimeError where files are missing and nothing is fetched.
    """

    class Official:
        error, fetched = None, 0

        def __init__(self, root, train=True, download=False):
            folder = Path(root) / dataset_files.FOLDER
            if download:
                Official.fetched += 1
                folder.mkdir()
                for name in BATCHES.values():
                    (folder / name).write_bytes(b"whole")
                    if self.error:
                        raise self.error
            kept = [folder / name for name in BATCHES.values()]
            if not all(file.is_file() and file.read_bytes() == b"whole" for file in kept):
                raise RuntimeError("Dataset not found or corrupted")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Official)
    return Official


def same_as(data, content):
    """Whether a set has the images and labels of a part."""
    found = data.images, data.labels
    return all(np.array_equal(f.numpy(), c) for f, c in zip(found, content, strict=True))


def files_in(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def test_only_what_is_missing_or_damaged_is_fetched(site, tmp_path, monkeypatch):
    folder = dataset_files.download("cifar10", tmp_path)
    assert folder == tmp_path / dataset_files.FOLDER and site.fetched == 1
    assert dataset_files.download("cifar10", tmp_path) == folder and site.fetched == 1
    mine = folder / "notes.txt"
    mine.write_text("mine")
    (folder / "data_batch_2").write_bytes(b"half")
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path))
    dataset_files.download("cifar10")
    assert site.fetched == 2 and mine.read_text() == "mine"
    assert files_in(tmp_path) == sorted([*BATCHES.values(), "notes.txt"])


@pytest.mark.parametrize("error", [
    OSError(errno.ENOSPC, "No space left on device"), URLError("no network"),
    RuntimeError("File not found or corrupted."), EOFError("cut"), KeyboardInterrupt(),
])  # fmt: skip
def test_a_failed_download_leaves_nothing_and_can_be_repeated(site, tmp_path, error):
    site.error = error
    known = not isinstance(error, KeyboardInterrupt)
    message = "could not be fetched into .* again, or copy cifar-10-batches-py" if known else "^$"
    with pytest.raises(DataError if known else KeyboardInterrupt, match=message) as caught:
        dataset_files.download("cifar10", tmp_path)
    assert "\n" not in str(caught.value) and files_in(tmp_path) == []
    site.error = None
    dataset_files.download("cifar10", tmp_path)
    assert files_in(tmp_path) == sorted(BATCHES.values())


def test_a_folder_that_cannot_be_made(site, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="could not be fetched into"):
        dataset_files.download("cifar10", tmp_path / "file")
    assert files_in(tmp_path) == ["file"] and site.fetched == 0


@pytest.mark.skipif(
    not os.environ.get("KDLAB_DOWNLOAD_TESTS"), reason="set KDLAB_DOWNLOAD_TESTS=1 to download"
)
def test_the_real_download_has_the_committed_images(tmp_path, monkeypatch):
    dataset_files.download("cifar10", tmp_path)
    known = load("cifar10-10k")
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path))
    monkeypatch.setattr(files, "EMBEDDED", tmp_path / "none")
    assert torch.equal(load("cifar10-10k").images, known.images)


def test_a_larger_image_is_shown_in_the_same_view():
    small = torch.randint(0, 256, (50, 3, 8, 8)).byte()
    large = small.repeat_interleave(3, 2).repeat_interleave(3, 3)
    views, index = Views(shift=2, flip=True, padding="constant"), torch.arange(50)
    for epoch in range(3):
        how = {"epoch": epoch, "seed": 1}
        seen = augment(small, index, views, **how)
        enlarged = augment(large, index, views, **how, scale=3.0)
        assert torch.equal(enlarged[:, :, 1::3, 1::3], seen)
