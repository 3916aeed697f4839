"""A memory as the first version of the schema had it: embeddings in float32, frames that name their sightings."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.crash_scenes import DIMENSION, FRAME_US, SIDE_PIXELS, START_S, Footage, SmallEncoder
from encoder.picture import Picture
from encoder.preprocess import encoder_input, thumbnail
from memory_store.migrations import STEPS
from memory_store.novelty import distance
from memory_store.records import Clock, FrameKind

THRESHOLD = 0.1

_START_US = START_S * 10**6


@dataclass(slots=True)
class _Sighting:
    exemplar: NDArray[np.float32]
    first_seq: int
    embeddings: list[NDArray[np.float32]]
    novelties: list[float]


@dataclass(frozen=True, slots=True)
class OldMemory:
    """One stream "cam" with one session; a frame is compared with the exemplar of the one before it alone."""

    session_id: str
    """Its UUID."""

    footage: Footage
    """What was shown."""

    frames: int
    """How many of its frames there are."""

    def write(self, path: Path) -> None:
        """Write the file."""
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {STEPS[0]} PRAGMA user_version = 1; COMMIT; BEGIN;")
            connection.execute("INSERT INTO memory VALUES (1, ?, ?, 0)", (str(SmallEncoder.version), DIMENSION))
            connection.execute("INSERT INTO policies VALUES (1, NULL, ?, 0)", (THRESHOLD,))
            connection.execute("INSERT INTO streams VALUES (1, 'cam', 0)")
            sightings = list(_sightings(self.footage, self.frames))
            received_bytes = sum(self.footage.pixels(seq).nbytes for seq in range(self.frames))
            connection.execute(
                "INSERT INTO sessions VALUES (1, 1, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
                (
                    *(self.session_id, Clock.SESSION, _START_US, self.frames, (self.frames - 1) * FRAME_US),
                    *(len(sightings), self.frames - len(sightings), received_bytes),
                ),
            )
            for number, sighting in enumerate(sightings, start=1):
                _write(connection, number, sighting, self.footage)
            connection.execute("COMMIT")


def _sightings(footage: Footage, frames: int) -> Iterator[_Sighting]:
    encoder = SmallEncoder()
    current: _Sighting | None = None
    for seq in range(frames):
        embedding = encoder.exact(encoder_input(Picture(footage.pixels(seq)), SIDE_PIXELS))
        novelty = None if current is None else distance(embedding, current.exemplar)
        if current is None or novelty is None or novelty > THRESHOLD:
            if current is not None:
                yield current
            current = _Sighting(embedding, seq, [], [])
            novelty = 0.0
        current.embeddings.append(embedding)
        current.novelties.append(novelty)
    if current is not None:
        yield current


def _write(connection: sqlite3.Connection, number: int, sighting: _Sighting, footage: Footage) -> None:
    """Write a sighting with its frames, and the exemplar and the stay it is the only one of."""
    first = sighting.first_seq
    seqs = range(first, first + len(sighting.embeddings))
    captured = [_START_US + seq * FRAME_US for seq in seqs]
    embedding, mean = sighting.exemplar, np.mean(sighting.embeddings, axis=0, dtype=np.float64)
    jpeg = thumbnail(Picture(footage.pixels(first)))
    connection.execute(
        "INSERT INTO exemplars VALUES (?, 1, ?, ?, ?)", (number, first, captured[0], embedding.tobytes())
    )
    connection.execute("INSERT INTO thumbnails VALUES (?, ?)", (number, jpeg))
    connection.execute("INSERT INTO stays VALUES (?, 1, ?, ?)", (number, number - 1, number))
    connection.execute(
        "INSERT INTO sightings VALUES (?, ?, 1, 1, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(number, number, number, THRESHOLD, first, seqs[-1], captured[0], captured[-1], len(seqs)),
            *(max(sighting.novelties), mean.astype(np.float32).tobytes()),
        ),
    )
    connection.executemany(
        "INSERT INTO frames VALUES (1, ?, ?, 0, ?, ?, ?, ?)",
        [
            (seq, FrameKind.NOVEL if seq == first else FrameKind.REPEAT, seq * FRAME_US, capture_us, number, novelty)
            for seq, capture_us, novelty in zip(seqs, captured, sighting.novelties, strict=True)
        ],
    )
