"""Folders as they are: each hostile one gets its one sentence or works, and nothing else is
written."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kdlab.apps.distil.photos import PhotoError, read_photos


def photo(*seed, side=20):
    levels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(levels)


def fill(root, name, count, seed):
    (root / name).mkdir(parents=True, exist_ok=True)
    for k in range(count):
        photo(seed, k).save(root / name / f"{k}.png")


def two_classes(root):
    for seed, name in enumerate(("cats", "dogs")):
        fill(root, name, 20, seed)


def an_empty_class(root):
    two_classes(root)
    (root / "birds").mkdir()


def a_cut_jpeg(root):
    two_classes(root)
    whole = io.BytesIO()
    photo(9, side=300).save(whole, "JPEG")
    (root / "cats" / "cut.jpg").write_bytes(whole.getvalue()[:900])


def sixteen_bits(root):
    two_classes(root)
    levels = np.random.default_rng(9).integers(0, 65536, (20, 20)).astype(np.uint16)
    Image.fromarray(levels).save(root / "cats" / "deep.png")


def print_colours(root):
    two_classes(root)
    photo(9).convert("CMYK").save(root / "cats" / "print.jpg")


def a_turned_copy(root):
    two_classes(root)
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    turned = photo(0, 5).transpose(Image.Transpose.ROTATE_180)
    turned.save(root / "cats" / "turned.png", exif=exif)


def two_labels(root):
    two_classes(root)
    photo(0, 5).save(root / "dogs" / "a cat.png")


def three_photos_a_class(root):
    for seed, name in enumerate(("cats", "dogs")):
        fill(root, name, 3, seed)


def two_hundred_classes(root):
    for k in range(200):
        fill(root, f"kind {k:03}", 10, k)


def chinese_names_with_spaces(root):
    fill(root, "小 猫", 20, 0)
    fill(root, "大 狗 (1)", 20, 1)
    photo(9).save(root / "小 猫" / "照片 一.PNG")


def a_bomb(root):
    """A header that says 60,000 x 60,000."""
    two_classes(root)

    def chunk(kind, data):
        size, check = struct.pack(">I", len(data)), struct.pack(">I", zlib.crc32(kind + data))
        return size + kind + data + check

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (root / "cats" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


WORKS = [  # the folder, photos and classes that are read, what is said
    (an_empty_class, 40, 2, ["class 'birds' left out: 0 photos, 10 are needed"]),
    (a_cut_jpeg, 40, 2, ["1 left out, cut short or damaged: cut.jpg"]),
    (sixteen_bits, 41, 2, []),
    (print_colours, 41, 2, []),
    (a_turned_copy, 40, 2, ["1 left out, pictures that are there twice: turned.png"]),
    (two_hundred_classes, 2000, 200, []),
    (chinese_names_with_spaces, 41, 2, []),
    (a_bomb, 40, 2, ["1 left out, too many pixels: bomb.png"]),
]
REFUSED = [
    (
        two_labels,
        "two labels on one picture, 1 times: cats/5.png is dogs/a cat.png; delete one of each",
    ),
    (
        three_photos_a_class,
        "two classes with 10 photos each are the least that can be learnt; there are: cats (3), "
        "dogs (3)",
    ),
]


def everything(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("make", "count", "classes", "sentences"), WORKS, ids=[case[0].__name__ for case in WORKS]
)
def test_it_works_and_says_what_it_left_out(make, count, classes, sentences, tmp_path):
    make(tmp_path / "my photos")
    before = everything(tmp_path)
    photos = read_photos(tmp_path / "my photos", 8, tmp_path / "out" / "pixels.npy")
    assert [note(language="en") for note in photos.notes] == sentences
    assert len(photos.paths) == count and len(photos.test.classes) == classes
    for part in (photos.labelled, photos.validation, photos.test):
        assert part.labels.bincount(minlength=classes).min() >= 1
    after = everything(tmp_path)
    assert {path.name for path in after.keys() - before.keys()} == {"out", "pixels.npy"}
    assert all(after[path] == when for path, when in before.items() if path != tmp_path)


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[case[0].__name__ for case in REFUSED])
def test_it_is_refused_in_one_sentence(make, sentence, tmp_path):
    make(tmp_path / "my photos")
    before = everything(tmp_path)
    with pytest.raises(PhotoError) as caught:
        read_photos(tmp_path / "my photos", 8, tmp_path / "out" / "pixels.npy")
    assert str(caught.value) == sentence
    assert {path.name for path in everything(tmp_path).keys() - before.keys()} <= {"out"}
