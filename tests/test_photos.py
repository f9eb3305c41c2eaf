"""A folder of photographs: what is read, what is left out and said, how it is split."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from kdlab.apps.distil import photos as photo_folder
from kdlab.apps.distil.photos import PhotoError, read_photos
from kdlab.apps.pixels import fit_pixels


def noise(seed, size=(20, 16), mode="RGB"):
    levels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    return Image.fromarray(levels).convert(mode)


def fill(folder, name, count, start=0, ending="png"):
    (folder / name).mkdir(parents=True, exist_ok=True)
    for k in range(start, start + count):
        noise(k).save(folder / name / f"{k}.{ending}")


@pytest.fixture
def folder(tmp_path):
    """Two classes of twenty photos, ten photos without a label."""
    root = tmp_path / "my photos"
    fill(root, "cats", 20)
    fill(root, "狗 dogs", 20, 100)
    fill(root, "unlabelled", 8, 200)
    noise(300).save(root / "loose.webp")
    noise(301).save(root / "unlabelled" / "grey.jpg")
    return root


def read(root, tmp_path, **options):
    return read_photos(root, 8, tmp_path / "out" / "pixels.npy", **options)


def words(photos):
    return "\n".join(note(language="en") for note in photos.notes)


def test_parts_are_disjoint_stratified_and_as_large_as_asked(folder, tmp_path):
    photos = read(folder, tmp_path, labels_share=0.5)
    assert photos.labelled.classes == ("cats", "狗 dogs")
    parts = photos.labelled, photos.train, photos.validation, photos.test
    assert [len(part.labels) for part in parts] == [12, 36, 6, 8]
    for part in (photos.labelled, photos.validation, photos.test):
        assert part.labels.bincount().tolist() == [len(part.labels) // 2] * 2
    assert (photos.train.labels == -1).sum() == 14 + 10
    assert torch.equal(photos.train.index[:12], photos.labelled.index)
    every = torch.cat([photos.train.index, photos.validation.index, photos.test.index])
    assert sorted(every.tolist()) == list(range(50)) and len(set(photos.paths)) == 50
    for part in (photos.labelled, photos.test):
        for image, label, place in zip(part.images, part.labels, part.index, strict=True):
            path = photos.paths[place]
            assert path.parent.name == part.classes[label]
            with Image.open(path) as original:
                assert np.array_equal(image.numpy(), fit_pixels(original, (3, 8, 8)))


def test_the_same_seed_gives_the_same_parts_and_nothing_else_is_written(folder, tmp_path):
    before = sorted(folder.rglob("*"))
    one, two = read(folder, tmp_path), read(folder, tmp_path)
    assert one.paths == two.paths and torch.equal(one.test.images, two.test.images)
    assert read(folder, tmp_path, seed=1).paths != one.paths
    assert sorted(folder.rglob("*")) == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pixels.npy"]


def test_mean_and_std_are_those_of_the_training_images(folder, tmp_path):
    photos = read(folder, tmp_path)
    scaled = photos.train.images.double() / 255
    assert photos.train.mean == pytest.approx(scaled.mean(dim=(0, 2, 3)).tolist())
    assert photos.train.std == pytest.approx(scaled.std(dim=(0, 2, 3), correction=0).tolist())


def bomb():
    """A PNG whose header says 60,000 x 60,000."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_what_can_not_be_read_is_left_out_and_named(folder, tmp_path):
    whole = io.BytesIO()
    noise(7, (400, 300)).save(whole, "JPEG")
    (folder / "cats" / "cut.jpg").write_bytes(whole.getvalue()[:700])
    (folder / "cats" / "empty.png").write_bytes(b"")
    (folder / "cats" / "notes.txt").write_text("not a photo")
    (folder / "cats" / ".DS_Store").write_bytes(b"hidden")
    (folder / "cats" / "bomb.png").write_bytes(bomb())
    noise(3).save(folder / "unlabelled" / "copy of 3.png")
    fill(folder, "rare", 3, 400)
    (folder / "nothing").mkdir()
    photos = read(folder, tmp_path)
    assert len(photos.paths) == 50 and photos.test.classes == ("cats", "狗 dogs")
    notes = words(photos)
    assert "1 left out, cut short or damaged: cut.jpg" in notes
    assert "2 left out, no images: empty.png, notes.txt" in notes
    assert "1 left out, too many pixels: bomb.png" in notes
    assert "1 left out, pictures that are there twice: copy of 3.png" in notes
    assert "class 'rare' left out: 3 photos, 10 are needed" in notes and "DS_Store" not in notes


def test_uneven_classes_are_said(folder, tmp_path):
    fill(folder, "cats", 60, 500)
    assert "4 times the photos of the smallest" in words(read(folder, tmp_path))


@pytest.mark.parametrize(("make", "message"), [
    (lambda root: None, "is no folder"),
    (lambda root: root.mkdir(), "is empty"),
    (lambda root: fill(root, "cats", 30), r"two classes with 10 photos each .* cats \(30\)"),
    (lambda root: [fill(root, n, 4, 9 * k) for k, n in enumerate("abc")], r"a \(4\), b \(4\)"),
    (lambda root: [fill(root, n, 12) for n in ("cats", "dogs")], "on one picture, 12 times"),
    (lambda root: fill(root, "unlabelled", 30), "there are: none"),
])  # fmt: skip
def test_what_can_not_be_learnt_from_is_one_sentence(tmp_path, make, message):
    make(tmp_path / "photos")
    with pytest.raises(PhotoError, match=message) as caught:
        read(tmp_path / "photos", tmp_path)
    assert "\n" not in str(caught.value) and not [*tmp_path.glob("out/*")]


def test_progress_counts_every_file(folder, tmp_path):
    steps = []
    read(folder, tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(k, 50) for k in range(1, 51)]


def test_the_photos_may_be_more_than_memory(folder, tmp_path, monkeypatch):
    """What numpy holds at once does not grow with the photos: their pixels lie on the disk."""
    monkeypatch.setattr(photo_folder, "CHUNK", 4)
    fill(folder, "cats", 150, 1000)
    tracemalloc.start()
    photos = read_photos(folder, 96, tmp_path / "out" / "pixels.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    total = sum(part.images.numel() for part in (photos.train, photos.validation, photos.test))
    assert peak < total / 2
