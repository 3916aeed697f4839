"""What attention is handed to read: stays at one instant, known by their rows, in groups that can be passed over.

Shapes: N stays, R rows, S strata, D width.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Strata(Protocol):
    """Groups of stays that can be read one by one; a stay is in at most one of them."""

    @property
    def means(self) -> Vector:
        """Means of the frames beneath: float32 [S, D]."""
        ...

    @property
    def frames(self) -> Numbers:
        """Frames beneath: int64 [S], at least 1."""
        ...

    @property
    def stays(self) -> Numbers:
        """Stays beneath: int64 [S], at least 1."""
        ...

    def rows(self, chosen: Numbers) -> Numbers:
        """Give the rows of all stays in some strata, one stratum after the other."""
        ...

    def draw(self, strata: Numbers, at: Floats) -> Numbers:
        """Give the rows of the stays that hold the frames at the shares `at`, in [0, 1), of the frames of strata."""
        ...


class Inside(Protocol):
    """What is on record of the frames inside some stays. Shapes: F frames."""

    @property
    def vectors(self) -> Vector:
        """Frames, one for all that are like it: float32 [F, D]."""
        ...

    @property
    def of(self) -> Numbers:
        """Which of the stays each is in: int64 [F], ascending. Of some stays nothing is known, of some not all."""
        ...

    @property
    def frames(self) -> Numbers:
        """Frames that each stands for: int64 [F], at least 1."""
        ...

    @property
    def off(self) -> Vector:
        """Squared distance to those frames, about: float32 [F]."""
        ...


class MemoryView(Protocol):
    """Stays at one instant, each either in a stratum or loose."""

    @property
    def stay_count(self) -> int:
        """N, at least 1."""
        ...

    @property
    def strata(self) -> Strata:
        """The strata. They may hold stays that do not count."""
        ...

    @property
    def counting_share(self) -> float:
        """About which share of the frames of the strata counts, in (0, 1]."""
        ...

    @property
    def loose(self) -> Numbers:
        """Rows of all stays that count and are in no stratum: the latest, and those that a scope cuts.

        Some that are in a stratum may be among them.
        """
        ...

    def counting(self, rows: Numbers) -> NDArray[np.bool_]:
        """Tell which stays of strata count: bool [R]."""
        ...

    @property
    def finds_needles(self) -> bool:
        """Whether `needles` finds stays near a query in whatever stratum they are; else the nearest are opened."""
        ...

    def needles(self, query: Vector, stays: int) -> tuple[Numbers, int]:
        """Find stays near a query that the strata may hide.

        Args:
            query: float32 [D].
            stays: how many, at most about.

        Returns:
            Rows of stays in strata that count, each once, and how many vectors were compared to find them.
        """
        ...

    def read(self, rows: Numbers) -> tuple[Vector, Numbers]:
        """Read stays by their rows in ascending order: means float32 [R, D], frames int64 [R]."""
        ...

    def inside(self, rows: Numbers) -> Inside:
        """Read what is on record of the frames inside some stays that count; takes longer than reading their means."""
        ...

    def whole(self) -> Iterator[tuple[Numbers, Vector, Numbers]]:
        """Read all stays that count, a piece at a time: rows, means float32 [R, D], frames int64 [R]."""
        ...
