"""How far frames are from what stands for them, summed up in little memory however many there are."""

import math
from dataclasses import dataclass

import numpy as np

_BINS_A_UNIT = 10_000
"""Bins of 0.0001: as fine as novelties are printed."""

_LARGEST_NOVELTY = 2


@dataclass(frozen=True, slots=True)
class NoveltySummary:
    """Novelties, summed up."""

    mean: float
    """Their mean, in [0, 2]."""

    percentile_99: float
    """99 in 100 of them are at most this; rounded up to 0.0001, but not above the largest."""

    largest: float
    """The largest."""


class NoveltySpread:
    """Takes novelties one by one."""

    def __init__(self) -> None:
        self._counts = np.zeros(_LARGEST_NOVELTY * _BINS_A_UNIT + 1, np.int64)
        self._sum = 0.0
        self._largest = 0.0

    def add(self, novelty: float) -> None:
        """Count one in.

        Args:
            novelty: in [0, 2].
        """
        # Bin 3 holds what is above 0.0002 and at most 0.0003; the small part keeps 0.0003 itself out of bin 4.
        place = min(len(self._counts) - 1, max(0, math.ceil(novelty * _BINS_A_UNIT - 1e-9)))
        self._counts[place] += 1
        self._sum += novelty
        self._largest = max(self._largest, novelty)

    def summary(self) -> NoveltySummary | None:
        """All that came so far; None if nothing did."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        rank = -(-99 * total // 100)  # of the first value that has 99 % at or below it, from 1
        place = int(np.searchsorted(self._counts.cumsum(), rank))
        return NoveltySummary(self._sum / total, min(place / _BINS_A_UNIT, self._largest), self._largest)
