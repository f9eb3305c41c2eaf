"""For the engineer who rolls a model out: an alarm rings when it and its shadow drift apart."""

import math
from collections import deque


class Agreement:
    """How often two models name the same class, over the last `window` images, and an alarm.

    No label is needed. `reference` is the share on which they agreed on `images` of known, clean
    data. The alarm rings when the window is full and its share lies more than four standard
    deviations below the reference, both being samples: binomial noise of either is counted.
    ValueError for what is no share, or no image.
    """

    def __init__(self, reference: float, images: int, window: int = 200) -> None:
        if not 0 < reference <= 1 or images < 1 or window < 1:
            raise ValueError(f"a share in (0, 1] of one image or more, got {reference} of {images}")
        share = min(reference, 1 - 1 / (images + 2))  # never quite sure, however clean the data
        noise = math.sqrt(share * (1 - share) * (1 / window + 1 / images))
        self.threshold = share - 4 * noise
        self.last, self.seen = deque(maxlen=window), 0

    def update(self, same: bool) -> bool:
        """Count one more image; True while the alarm rings."""
        self.last.append(bool(same))
        self.seen += 1
        return self.alarm

    @property
    def share(self) -> float:
        """Of the window; NaN before the first image."""
        return sum(self.last) / len(self.last) if self.last else math.nan

    @property
    def alarm(self) -> bool:
        """Whether the window is full and its share below the threshold."""
        return len(self.last) == self.last.maxlen and self.share < self.threshold
