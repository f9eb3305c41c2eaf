"""For the service and for folders of photographs: from an image file to pixels. No torch."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

RULE = "upright, on white, middle square, averaged down or interpolated up, uint8"


def fit_pixels(image: Image.Image, shape: Sequence[int]) -> np.ndarray:
    """The middle square of an image, upright, at a model's size and in its colours.

    `shape` is [C, H, W], C = 1 for grey and 3 for colour; gives uint8 of this shape. A camera's
    turn (EXIF) is undone, 16 bits become 8, and what is transparent lies on white. Whatever a
    decoder raises of a damaged file is raised. A large image is averaged down; a small one is
    interpolated, for blocks of equal pixels would be nothing that a net has ever seen.
    """
    channels, height, width = shape
    if image.format == "JPEG":  # a phone's twelve megapixels are halved while they are decoded
        image.draft("RGB", (2 * width, 2 * height))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.asarray(image, np.float64)
        levels = levels / 257 if levels.max() > 255 else levels
        image = Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    enlarged = min(image.size) < max(width, height)
    method = Image.Resampling.BILINEAR if enlarged else Image.Resampling.BOX
    image = ImageOps.fit(image, (width, height), method)
    return np.asarray(image, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
