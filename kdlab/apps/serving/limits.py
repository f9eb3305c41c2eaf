"""For the engineer: what the service accepts at most, of bytes, pixels, requests and seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the service accepts at most."""

    body: int = 1_000_000  # bytes
    side: int = 2048  # pixels
    inline: int = 256  # pixels: a larger image is decoded beside the event loop
    at_once: int = 256  # requests in work, over all models
    batch: int = 32  # images in one call of a model
    seconds: float = 5.0  # for reading a body, and for an answer


LIMITS = Limits()
