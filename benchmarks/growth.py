"""A stream as long as one likes, grown from the encodings of real video: the vectors of the store's benchmark.

A few thousand real pictures cannot fill a memory of a million. So stretches of real sequences are played forward and
back, at places that differ: each place has an offset, which drifts as an Ornstein-Uhlenbeck process does, and the next
place begins with a new stretch and a new offset. Offsets have the covariance of the real encodings, and take as much
of the variance as the real pictures give up: mean and covariance of what is grown are those of the real encodings,
at any moment of the stream. Vectors are of unit length, at float16-representable values, as embeddings are.

Only one frame in STRIDE_FRAMES is shown to the store, so that most are novel: a million exemplars would else take ten
times as many frames. One of the frames in between is held out, to be asked for later.

Shapes: P places, L rows of a place, N rows, D width.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

STRIDE_FRAMES = 25
"""Frames from one that is shown to the next: a second of most videos."""

OFFSET_SHARE = 0.5
"""Of the variance that offsets take: with less, a million places crowd within the threshold of each other."""

CORRELATION_FRAMES = 300
"""Frames in which the drift of an offset forgets where it was."""

SHORTEST_PLACE, LONGEST_PLACE = 16, 112
"""Rows of a place: about a minute on average, and not a whole number of groups."""

_PLACES = 64
"""P, places grown at a time, side by side."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some places of the grown stream, one after the other."""

    frames: Vectors
    """The frames that are shown: float32 [N, D]."""

    held_out: Vectors
    """For each of them one of those between it and the next: float32 [N, D]."""

    lags: NDArray[np.int64]
    """How many frames after it: [N], 1 to STRIDE_FRAMES - 1."""

    places: NDArray[np.int64]
    """Number of the place within the stretch: [N]."""


class GrownStream:
    """A stream without end; the same for the same sequences and seed, and any part of it at once."""

    def __init__(self, sequences: list[Vectors], seed: int) -> None:
        """Take real sequences, each float32 [T, D] in the order of time, T at least 2."""
        self._seed = seed
        self._real = np.concatenate(sequences)
        self._lengths = np.array([len(sequence) for sequence in sequences])
        self._begins = np.cumsum(self._lengths) - self._lengths
        self._mean = self._real.mean(0)
        variances, directions = np.linalg.eigh(np.cov(self._real.T, dtype=np.float64))
        self._spread: Vectors = (directions * np.sqrt(np.maximum(variances, 0))).T.astype(np.float32)  # [D, D]

    def stretch(self, number: int) -> Stretch:
        """Grow one of the stretches of some thousand rows that the stream consists of, by its number from 0."""
        rng = np.random.default_rng([self._seed, number])
        lags = rng.integers(1, STRIDE_FRAMES, (_PLACES, LONGEST_PLACE))  # [P, L]
        shown = np.broadcast_to(np.arange(LONGEST_PLACE) * STRIDE_FRAMES, lags.shape)
        times = np.stack([shown, shown + lags], axis=2).reshape(_PLACES, -1)  # [P, 2L]
        pictures = self._real[self._played(times, rng)] - self._mean  # [P, 2L, D]
        offsets = self._drifting(times, rng) @ self._spread
        grown = _as_embeddings(
            self._mean + np.float32((1 - OFFSET_SHARE) ** 0.5) * pictures + np.float32(OFFSET_SHARE**0.5) * offsets
        )
        lasts = rng.integers(SHORTEST_PLACE, LONGEST_PLACE + 1, _PLACES)
        kept = np.arange(LONGEST_PLACE) < lasts[:, None]  # [P, L]
        places = np.broadcast_to(np.arange(_PLACES)[:, None], kept.shape)
        return Stretch(grown[:, 0::2][kept], grown[:, 1::2][kept], lags[kept], places[kept])

    def _played(self, times: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose a sequence for each place, and give the real picture on screen at each time: [P, 2L]."""
        sequence = rng.integers(0, len(self._lengths), _PLACES)
        turn = self._lengths[sequence, None] - 1
        along = (rng.integers(0, 2 * turn) + times) % (2 * turn)
        played: NDArray[np.int64] = self._begins[sequence, None] + np.where(along > turn, 2 * turn - along, along)
        return played

    def _drifting(self, times: NDArray[np.int64], rng: np.random.Generator) -> Vectors:
        """Walk from time to time, exactly, with variance 1 in each direction: [P, 2L, D]."""
        walk = rng.standard_normal((*times.shape, self._real.shape[1]), np.float32)
        stays = np.exp(-np.diff(times, axis=1) / CORRELATION_FRAMES).astype(np.float32)[:, :, None]
        for step in range(1, times.shape[1]):
            stay = stays[:, step - 1]
            walk[:, step] = stay * walk[:, step - 1] + np.sqrt(1 - stay * stay) * walk[:, step]
        return walk

    def write(self, folder: Path, rows: int) -> None:
        """Write at least so many rows of frames and held-out frames to a folder, as `Rows` reads them."""
        written = number = 0
        with (folder / "frames.f16").open("wb") as frames, (folder / "held_out.f16").open("wb") as held_out:
            while written < rows:
                stretch = self.stretch(number)
                frames.write(stretch.frames.astype("<f2").tobytes())
                held_out.write(stretch.held_out.astype("<f2").tobytes())
                written, number = written + len(stretch.frames), number + 1


class Rows:
    """Vectors in a file, float16 [N, D]; read a piece at a time, so that they do not count as memory of the reader."""

    def __init__(self, path: Path, dimension: int) -> None:
        self._path = path
        self._dimension = dimension

    def __len__(self) -> int:
        """Count the rows."""
        return self._path.stat().st_size // (2 * self._dimension)

    def read(self, begin: int, end: int) -> Vectors:
        """Read some rows: float32 [at most end - begin, D]."""
        values = max(0, end - begin) * self._dimension
        flat = np.fromfile(self._path, "<f2", count=values, offset=2 * begin * self._dimension)
        return flat.reshape(-1, self._dimension).astype(np.float32)


def _as_embeddings(vectors: Vectors) -> Vectors:
    """Scale to unit length and round as embeddings are rounded."""
    scaled = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    rounded: Vectors = scaled.astype(np.float16).astype(np.float32)
    return rounded
