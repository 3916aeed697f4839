"""A logarithmic axis in pixels, and ticks at round numbers."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MOST_TICKS = 9
"""Beyond so many, only powers of ten are marked."""


class LogAxis:
    """Where numbers above 0 are on a picture."""

    def __init__(self, low: float, high: float, first: int, last: int) -> None:
        """Lay it out.

        Args:
            low: the least number, above 0.
            high: the largest, above `low`.
            first: pixel of the least.
            last: pixel of the largest; may be before `first`, as on an axis that goes up.
        """
        self._low, self._high = low, high
        self._first, self._last = first, last

    def pixels(self, numbers: ArrayLike) -> NDArray[np.float64]:
        """The pixels of numbers, [N] for [N], not rounded; beyond the ends for numbers that are."""
        shares = np.log(np.asarray(numbers, np.float64) / self._low) / math.log(self._high / self._low)
        return self._first + shares * (self._last - self._first)

    def pixel(self, number: float) -> int:
        """The pixel of a number."""
        return round(float(self.pixels([number])[0]))

    def ticks(self) -> Sequence[float]:
        """1, 2 and 5 times the powers of ten from end to end, or only these where they would be many."""
        lowest, highest = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        powers = [10.0**power for power in range(lowest, highest + 1)]
        ticks = [step * power for power in powers for step in (1, 2, 5) if self._low <= step * power <= self._high]
        return ticks if len(ticks) <= _MOST_TICKS else [tick for tick in ticks if tick in powers]
