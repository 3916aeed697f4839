"""Frames that were encoded, on their way to the virtual gates: one by one, and as arrays.

Shapes: N frames, D width.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.records import Embedding
from memory_store.scope import EARLIEST_US, Scope

Flags = NDArray[np.bool_]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame that was encoded, whatever became of it."""

    stream_id: int
    """Its stream."""

    capture_us: int
    """When it was captured."""

    embedding: Embedding
    """float32 [D]."""

    own_stream_only: bool
    """It is compared only with what its own stream has shown."""

    horizon_us: int | None
    """It is compared only with what was seen within this time before it, by capture time; None: with all."""


@dataclass(frozen=True, slots=True)
class Frames:
    """N frames in the order in which they came."""

    vectors: NDArray[np.float16]
    """Embeddings as they are stored: float16 [N, D]."""

    stream_ids: Ids
    """int64 [N]."""

    capture_us: Ids
    """Capture times: int64 [N]."""

    own_stream_only: Flags
    """Compare only with what its own stream has shown: bool [N]."""

    since_us: Ids
    """Compare only with what was seen at or after this time; EARLIEST_US: with all. int64 [N]."""

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.stream_ids)

    def columns(self) -> tuple[NDArray[np.generic], ...]:
        """Give all arrays, in the order of the fields."""
        return self.vectors, self.stream_ids, self.capture_us, self.own_stream_only, self.since_us

    def chosen(self, which: Flags | Ids | slice) -> "Frames":
        """Give some of the frames."""
        return Frames(
            self.vectors[which],
            self.stream_ids[which],
            self.capture_us[which],
            self.own_stream_only[which],
            self.since_us[which],
        )

    def followed_by(self, others: "Frames") -> "Frames":
        """Put others behind."""
        return Frames(
            np.concatenate([self.vectors, others.vectors]),
            np.concatenate([self.stream_ids, others.stream_ids]),
            np.concatenate([self.capture_us, others.capture_us]),
            np.concatenate([self.own_stream_only, others.own_stream_only]),
            np.concatenate([self.since_us, others.since_us]),
        )


def no_frames(dimension: int) -> Frames:
    """Begin with no frames of width D."""
    none = np.zeros(0, np.int64)
    return Frames(np.zeros((0, dimension), np.float16), none, none, np.zeros(0, bool), none)


def frames_from(seen: Iterable[SeenFrame], dimension: int) -> Frames:
    """Put frames into arrays, embeddings as they are stored."""
    frames = list(seen)
    if not frames:
        return no_frames(dimension)
    since_us = [
        EARLIEST_US if frame.horizon_us is None else max(EARLIEST_US, frame.capture_us - frame.horizon_us)
        for frame in frames
    ]
    return Frames(
        np.stack([frame.embedding for frame in frames]).astype(np.float16),
        np.array([frame.stream_id for frame in frames], np.int64),
        np.array([frame.capture_us for frame in frames], np.int64),
        np.array([frame.own_stream_only for frame in frames], bool),
        np.array(since_us, np.int64),
    )


def seen_from(frames: Frames) -> list[SeenFrame]:
    """Take frames out of arrays again."""
    vectors = frames.vectors.astype(np.float32)
    rows = zip(*(column.tolist() for column in frames.columns()[1:]), strict=True)
    return [
        SeenFrame(
            stream_id=stream_id,
            capture_us=capture_us,
            embedding=vector,
            own_stream_only=own_stream_only,
            horizon_us=None if since_us == EARLIEST_US else capture_us - since_us,
        )
        for vector, (stream_id, capture_us, own_stream_only, since_us) in zip(vectors, rows, strict=True)
    ]


def within(scope: Scope, stream_ids: Ids, times_us: Ids) -> Flags:
    """Tell which of N moments of streams lie in a scope: bool [N]."""
    found: Flags = (times_us >= scope.first_us) & (times_us <= scope.last_us)
    if scope.stream_ids is not None:
        found &= np.isin(stream_ids, list(scope.stream_ids))
    return found
