"""For the service: from the body of a request to pixels; HTTPException says what is wrong."""

import io
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import HTTPException
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from kdlab.apps.pixels import fit_pixels

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "application/json": "JSON"}
SIZES = {784: (28, 28), 3072: (3, 32, 32)}
Level = Annotated[float, Field(ge=0, le=255, allow_inf_nan=False)]
LENGTHS = {"anyOf": [{"minItems": count, "maxItems": count} for count in SIZES]}


class Pixels(BaseModel, strict=True, extra="forbid"):
    """Levels from 0 (black) to 255, row by row: 784 for 28 x 28 grey pixels; 3072 for 32 x 32 in
    colour, all of red, then all of green, then all of blue."""

    pixels: list[Level] = Field(json_schema_extra=LENGTHS)


def open_image(body: bytes, kind: str, side: int) -> Image.Image:
    """An image of at most `side` x `side`: of a PNG or JPEG the header read and the pixels not yet,
    or the whole of a JSON body."""
    if kind == "JSON":
        return image_from_levels(body)
    try:
        image = Image.open(io.BytesIO(body), formats=[kind])
        too_large = max(image.size) > side
    except Image.DecompressionBombError:
        too_large = True
    except Exception:  # a decoder meets anything in a damaged file
        raise HTTPException(400, f"the body is not a readable {kind} image") from None
    if too_large:
        raise HTTPException(422, f"an image may have {side} pixels a side at most")
    return image


def image_from_levels(body: bytes) -> Image.Image:
    """The image of a JSON body, see `Pixels`."""
    try:
        levels = Pixels.model_validate_json(body).pixels
        problem = f"there are {len(levels)}"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        levels, problem = [], f"{'.'.join(map(str, first['loc']))[:40]}: {first['msg']}"
    if len(levels) not in SIZES:
        form = 'expected {"pixels": [784 or 3072 numbers from 0 to 255]}'
        raise HTTPException(422, f"{form}; {problem}")
    pixels = np.rint(levels).astype(np.uint8).reshape(SIZES[len(levels)])
    return Image.fromarray(np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels)


def fit_image(image: Image.Image, shape: Sequence[int]) -> np.ndarray:
    """`fit_pixels`, with a refusal of what cannot be decoded."""
    try:
        return fit_pixels(image, shape)
    except Exception:  # a decoder meets anything in a damaged file
        raise HTTPException(400, "the image is cut short or damaged") from None
