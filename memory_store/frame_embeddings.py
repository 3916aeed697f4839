"""What frames looked like, rounded to 8 bits a number: read where the mean of a stay is too coarse an answer.

An exemplar stands for its frames, and a mean for those of a stay; neither tells them apart. The embedding of each
counted frame stays on record in a quarter of the bytes of float32, on disk alone: nothing of it is held in memory. A
frame that hardly differs from the last one of its sighting that is on record counts as a copy of that one.

Each embedding stands by itself. That frames are forgotten, sightings cut and exemplars moved or merged changes nothing
of the others, and lets nothing show of what is gone. The first frames of a sighting that was cut may be copies of one
that was forgotten: of those nothing is known.

Shapes: F frames, D width.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_store.novelty import distance
from memory_store.records import Embedding, FrameKind, Sighting
from memory_store.scope import Scope
from memory_store.vectors import checked

_Row = tuple[Any, ...]

COPY_NOVELTY = 1e-4
"""Cosine distance of a frame, once it is rounded, to the one that it counts as a copy of, at most: a few times what
rounding moves it by. Still screens stay below it; what moves does not."""

SEQS = 1 << 36
"""Numbers of frames in a session, at most, so that a session and a number are one key."""

_LARGEST = 127

_OF_STAY = (
    "SELECT g.id, f.capture_us, e.embedding, e.checksum FROM sightings g"
    " JOIN frames f ON f.session_id = g.session_id AND f.seq BETWEEN g.first_seq AND g.last_seq"
    f" AND f.kind IN ({FrameKind.NOVEL:d}, {FrameKind.REPEAT:d})"
    f" LEFT JOIN frame_embeddings e ON e.id = f.session_id * {SEQS} + f.seq"
    " WHERE g.exemplar_id = ? AND g.stay_id = ? AND {} ORDER BY g.id, f.seq"
)


@dataclass(frozen=True, slots=True)
class FramesInside:
    """What is on record of the frames inside some stays; what `encoder.memory_view.Inside` asks for."""

    vectors: NDArray[np.float32]
    """Embeddings: float32 [F, D]."""

    of: NDArray[np.int64]
    """Which of the stays each is in: int64 [F], ascending."""

    frames: NDArray[np.int64]
    """Frames that each stands for, itself included: int64 [F]."""

    off: NDArray[np.float32]
    """Squared distance to those frames, about: float32 [F]."""


def rounded_blobs(embeddings: NDArray[np.float32]) -> list[bytes]:
    """Write each of K embeddings, float32 [K, D], as `rounded_blob` does."""
    steps = np.abs(embeddings).max(axis=1, keepdims=True) / np.float32(_LARGEST)  # [K, 1]; embeddings have lengths
    values = np.rint(embeddings / steps).astype(np.int8)
    table = np.concatenate([values.view(np.uint8), steps.astype("<f4").view(np.uint8)], axis=1)
    return [row.tobytes() for row in table]


def rounded_blob(embedding: Embedding) -> bytes:
    """Write an embedding as D multiples of a step, and the step; off by at most half a step in each number."""
    return rounded_blobs(embedding[None])[0]


def frames_of_stay(labelled: str) -> str:
    """Write the question for the counted frames of a stay, given by exemplar and stay, as `frames_inside` takes them.

    Args:
        labelled: a condition on its sightings g.
    """
    return _OF_STAY.format(labelled)


def frames_inside(stays: Sequence[Sequence[_Row]], dimension: int, scope: Scope) -> FramesInside:
    """Put together what is known of the frames of some stays that lie within a scope.

    Args:
        stays: the answers to `frames_of_stay` for each.
        dimension: D.
        scope: what counts.

    Raises:
        ValueError: an embedding is not what was written.
    """
    rows = [row for of_stay in stays for row in of_stay]
    stay = np.repeat(np.arange(len(stays)), [len(of_stay) for of_stay in stays])
    sightings, times, blobs, checksums = zip(*rows, strict=True) if rows else [()] * 4
    places = np.arange(len(rows))
    captured = np.array(times, np.int64)
    known = np.array([blob is not None for blob in blobs], np.bool_)
    begins = np.flatnonzero(np.diff(np.array(sightings, np.int64), prepend=-1))
    begin = np.repeat(begins, np.diff(begins, append=len(rows)))
    # The last frame of the same sighting that is on record, up to each of them; no later than the scope allows.
    like = np.maximum.accumulate(np.where(known, places, -1))
    counts = (captured >= scope.first_us) & (captured <= scope.last_us) & (like >= begin)
    counts &= captured[like] <= scope.last_us
    frames = np.bincount(like[counts], minlength=len(rows))
    of = np.flatnonzero(frames)
    if not len(of):
        return FramesInside(np.empty((0, dimension), np.float32), of, of, np.empty(0, np.float32))
    vectors, steps = rounded_from([checked(blobs[place], checksums[place]) for place in of.tolist()])
    copies = (frames - counts)[of] / frames[of]
    # Of a copy, half of the largest squared distance, 2 (1 - cosine).
    off = dimension / 12 * steps**2 + (copies * COPY_NOVELTY).astype(np.float32)
    return FramesInside(vectors, stay[of], frames[of], off)


def rounded_from(blobs: Sequence[bytes]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read F embeddings, at least one: float32 [F, D], and their steps, float32 [F]."""
    table = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), -1)
    steps = np.ascontiguousarray(table[:, -4:]).view("<f4")[:, 0]
    return table[:, :-4].view(np.int8).astype(np.float32) * steps[:, None], steps


def write_frame_embeddings(connection: sqlite3.Connection, frames: Iterable[tuple[int, int, bytes]]) -> None:
    """Write what frames looked like: session, number and `rounded_blob` of each."""
    connection.executemany(
        "INSERT INTO frame_embeddings VALUES (?, ?, ?)",
        [(session_id * SEQS + seq, blob, zlib.crc32(blob)) for session_id, seq, blob in frames],
    )


def forget_frame_embeddings(connection: sqlite3.Connection, session_id: int, seqs: Iterable[int]) -> None:
    """Take out what some frames of a session looked like."""
    connection.executemany("DELETE FROM frame_embeddings WHERE id = ?", [(session_id * SEQS + seq,) for seq in seqs])


def forget_frame_embeddings_between(connection: sqlite3.Connection, session_id: int, first: int, last: int) -> None:
    """Take out what the frames of a session from one number to another looked like, both included."""
    connection.execute(
        "DELETE FROM frame_embeddings WHERE id BETWEEN ? AND ?", (session_id * SEQS + first, session_id * SEQS + last)
    )


def is_copy(blob: bytes, last: bytes | None) -> bool:
    """Tell whether a frame counts as a copy of the last of its sighting that is on record, both rounded."""
    if last is None:
        return False
    (rounded, before), _ = rounded_from([blob, last])
    return distance(rounded, before) <= COPY_NOVELTY


def begins_on_record(connection: sqlite3.Connection, sighting: Sighting) -> bool:
    """Tell whether the first frame of a sighting is on record."""
    key = sighting.session_id * SEQS + sighting.first_seq
    return bool(connection.execute("SELECT count(*) FROM frame_embeddings WHERE id = ?", (key,)).fetchone()[0])


def last_frame_embedding(connection: sqlite3.Connection, sighting: Sighting) -> bytes | None:
    """Read the last frame of a sighting that is on record; None if none is.

    Raises:
        ValueError: it is not what was written.
    """
    row = connection.execute(
        "SELECT embedding, checksum FROM frame_embeddings WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
        (sighting.session_id * SEQS + sighting.first_seq, sighting.session_id * SEQS + sighting.last_seq),
    ).fetchone()
    return None if row is None else checked(*row)
