"""What learned attention is fitted on: the sightings of a memory, and what users said was evidence.

Shapes: S sightings, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a user said of one query: these exemplars were the evidence."""

    query: NDArray[np.float32]
    """The query's embedding: float32 [D], unit length."""

    exemplar_ids: Sequence[int]
    """The exemplars."""

    time_us: int
    """When it was asked: only what was seen up to then counts. Microseconds, UTC since 1970."""


@dataclass(frozen=True, slots=True)
class Past:
    """All sightings of a memory, of all streams, in the order of their starts."""

    means: NDArray[np.float32]
    """Means of the frames of each: float32 [S, D], not longer than 1."""

    stay_ids: NDArray[np.int64]
    """The stay each belongs to: int64 [S]."""

    exemplar_ids: NDArray[np.int64]
    """The exemplar of that stay: int64 [S]."""

    stream_ids: NDArray[np.int64]
    """The stream of that stay: int64 [S]."""

    starts_us: NDArray[np.int64]
    """Earliest capture times, microseconds: int64 [S], never decreasing."""

    ends_us: NDArray[np.int64]
    """Latest capture times, microseconds: int64 [S], not before the start."""

    frames: NDArray[np.int64]
    """Frames of each: int64 [S], at least 1."""

    feedback: Sequence[Feedback] = ()
    """What users said, in any order."""

    def __post_init__(self) -> None:
        """Check that all belong together.

        Raises:
            ValueError: shapes differ, or times are out of order.
        """
        if self.means.ndim != 2 or self.means.dtype != np.float32:
            raise ValueError(f"means: expected float32 [S, D], got {self.means.dtype} {list(self.means.shape)}")
        count, width = self.means.shape
        for name in ("stay_ids", "exemplar_ids", "stream_ids", "starts_us", "ends_us", "frames"):
            column = getattr(self, name)
            if column.shape != (count,) or column.dtype != np.int64:
                raise ValueError(f"{name}: expected int64 [{count}], got {column.dtype} {list(column.shape)}")
        if (np.diff(self.starts_us) < 0).any() or (self.ends_us < self.starts_us).any():
            raise ValueError("expected sightings in the order of their starts, none with its end before its start")
        if (self.frames < 1).any():
            raise ValueError(f"expected at least 1 frame in each sighting, got {self.frames.min()}")
        for said in self.feedback:
            if said.query.shape != (width,):
                raise ValueError(f"expected feedback on queries of width {width}, got {list(said.query.shape)}")

    def latest(self, most: int) -> "Past":
        """Leave out all sightings but the last `most` that started."""
        if len(self.means) <= most:
            return self
        latest = slice(len(self.means) - most, None)
        return replace(
            self,
            means=self.means[latest],
            stay_ids=self.stay_ids[latest],
            exemplar_ids=self.exemplar_ids[latest],
            stream_ids=self.stream_ids[latest],
            starts_us=self.starts_us[latest],
            ends_us=self.ends_us[latest],
            frames=self.frames[latest],
        )
