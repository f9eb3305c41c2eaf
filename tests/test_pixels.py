"""One way from an image file to pixels: upright, in eight bits, on white."""

import io

import numpy as np
import pytest
from PIL import Image

from kdlab.apps.pixels import fit_pixels


def corner(mode="RGB", size=(40, 40)):
    """White, with a dark upper left quarter."""
    levels = np.full((size[1], size[0], 3), 255, np.uint8)
    levels[: size[1] // 2, : size[0] // 2] = 40
    return Image.fromarray(levels).convert(mode)


def reopened(image, **how):
    memory = io.BytesIO()
    image.save(memory, **how)
    memory.seek(0)
    return Image.open(memory)


SHOULD = fit_pixels(corner(), (3, 8, 8))


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_cameras_turn_is_undone(turn):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # EXIF's number -> how a sensor saw it
    image = corner() if turn == 1 else corner().transpose(Image.Transpose(undo[turn]))
    exif = Image.Exif()
    exif[0x0112] = turn
    assert np.array_equal(fit_pixels(reopened(image, format="PNG", exif=exif), (3, 8, 8)), SHOULD)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA"])
def test_any_mode_is_brought_to_the_models(mode):
    form = "TIFF" if mode == "CMYK" else "PNG"
    pixels = fit_pixels(reopened(corner(mode), format=form), (3, 8, 8))
    assert pixels.dtype == np.uint8 and np.abs(pixels.astype(int) - SHOULD).max() <= 3
    assert fit_pixels(corner(mode), (1, 8, 8)).shape == (1, 8, 8)


def test_sixteen_bits_become_eight():
    levels = np.asarray(corner("L"), np.uint16) * 257
    pixels = fit_pixels(reopened(Image.fromarray(levels), format="PNG"), (3, 8, 8))
    assert np.array_equal(pixels, SHOULD)


def test_what_is_transparent_lies_on_white():
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    assert (fit_pixels(image, (3, 4, 4)) == 255).all()


def test_a_large_jpeg_is_reduced_while_it_is_decoded():
    image = reopened(corner(size=(2000, 1000)), format="JPEG", quality=95)
    pixels = fit_pixels(image, (3, 8, 8))
    assert image.size < (2000, 1000) and pixels.shape == (3, 8, 8)


def test_a_cut_file_raises():
    whole = io.BytesIO()
    corner(size=(400, 400)).save(whole, "JPEG")
    with pytest.raises(OSError):
        fit_pixels(Image.open(io.BytesIO(whole.getvalue()[:600])), (3, 8, 8))


def test_a_small_image_is_interpolated_and_a_large_one_averaged():
    ramp = np.arange(0, 256, 32, dtype=np.uint8).repeat(8).reshape(8, 8).T  # rises to the right
    enlarged = fit_pixels(Image.fromarray(ramp), (1, 24, 24))[0, 0].astype(int)
    assert (np.diff(enlarged[2:-2]) > 0).all(), "blocks of equal pixels"
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    averaged = fit_pixels(Image.fromarray(noise), (1, 4, 4))[0]
    assert np.abs(averaged - noise.reshape(4, 4, 4, 4).mean(axis=(1, 3))).max() <= 1
