"""What a step of forgetting or merging did to the journal, for the copies of it to follow; and how rows are taken out.

A step is one transaction. All functions here run inside it.
"""

import math
import sqlite3
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memory_store.coverage import moved
from memory_store.forest import Stay, StaySum
from memory_store.lesson_rows import let_go
from memory_store.loading import stay_left
from memory_store.records import Embedding, ForgottenCounts, Sighting
from memory_store.rows import SIGHTING_COLUMNS, sighting_from
from memory_store.vectors import embedding_blob, mean_blob


@dataclass(slots=True)
class Change:
    """What a step did."""

    removed: list[int] = field(default_factory=list)
    """Exemplars of which nothing is left."""

    moved: dict[int, Embedding] = field(default_factory=dict)
    """New embeddings of exemplars."""

    stays: list[StaySum] = field(default_factory=list)
    """Stays that have changed, as they are now; without frames if nothing is left."""

    sessions: set[int] = field(default_factory=set)
    """Sessions whose sightings have changed."""

    streams: dict[int, int] = field(default_factory=dict)
    """Streams whose trees have changed, and by how many sightings."""

    longest_us: dict[int, int] = field(default_factory=dict)
    """The length of the longest sighting that was made of two, by stream."""

    counts: ForgottenCounts = field(default_factory=ForgottenCounts)
    """What was forgotten."""

    def sighted(self, sighting: Sighting, more: int) -> None:
        """Take note of a sighting that was changed, removed (-1) or added (+1)."""
        self.sessions.add(sighting.session_id)
        self.streams[sighting.stream_id] = self.streams.get(sighting.stream_id, 0) + more

    def joined(self, sighting: Sighting) -> None:
        """Take note of a sighting that was made of two."""
        length_us = sighting.end_us - sighting.start_us
        self.longest_us[sighting.stream_id] = max(self.longest_us.get(sighting.stream_id, 0), length_us)


def sightings_where(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Sighting]:
    """Read sightings."""
    rows = connection.execute(f"SELECT {SIGHTING_COLUMNS} FROM sightings WHERE {where}", values).fetchall()
    return [sighting_from(row) for row in rows]


def remove_exemplar(connection: sqlite3.Connection, exemplar_id: int, change: Change) -> None:
    """Take an exemplar out that nothing refers to any more, with its thumbnail."""
    connection.execute(
        "UPDATE sessions SET lost_exemplars = lost_exemplars + 1"
        " WHERE id = (SELECT session_id FROM exemplars WHERE id = ?)",
        (exemplar_id,),
    )
    let_go(connection, exemplar_id)
    connection.execute("DELETE FROM thumbnails WHERE exemplar_id = ?", (exemplar_id,))
    connection.execute("DELETE FROM exemplars WHERE id = ?", (exemplar_id,))
    change.removed.append(exemplar_id)


def move_exemplar(connection: sqlite3.Connection, exemplar_id: int, embedding: Embedding, angle: float) -> None:
    """Give an exemplar another embedding, at an angle from the one before, and restate what its sightings promise."""
    blob, mean = embedding_blob(embedding), mean_blob(embedding)
    connection.execute(
        "UPDATE exemplars SET embedding = ?, checksum = ?, recentred = 1 WHERE id = ?",
        (blob, zlib.crc32(blob), exemplar_id),
    )
    connection.execute("DELETE FROM thumbnails WHERE exemplar_id = ?", (exemplar_id,))
    connection.execute("DELETE FROM examples WHERE exemplar_id = ?", (exemplar_id,))
    restate(connection, "exemplar_id = ?", (exemplar_id,), angle)
    connection.execute(
        "UPDATE sightings SET mean = ?, checksum = ? WHERE exemplar_id = ? AND cut",
        (mean, zlib.crc32(mean), exemplar_id),
    )


def restate(connection: sqlite3.Connection, where: str, values: tuple[object, ...], angle: float) -> None:
    """Add an angle to what is said of the frames of some sightings."""
    rows = connection.execute(
        f"SELECT id, largest_novelty, moved_angle FROM sightings WHERE {where}", values
    ).fetchall()
    connection.executemany(
        "UPDATE sightings SET largest_novelty = ?, moved_angle = ? WHERE id = ?",
        [(moved(novelty, angle), min(math.pi, before + angle), sighting_id) for sighting_id, novelty, before in rows],
    )


def settle_stays(connection: sqlite3.Connection, stay_ids: set[int], change: Change) -> None:
    """Add up what is left of some stays, and take out those of which nothing is."""
    for stay_id in sorted(stay_ids):
        row = connection.execute(
            "SELECT id, stream_id, position, exemplar_id FROM stays WHERE id = ?", (stay_id,)
        ).fetchone()
        left = stay_left(connection, Stay(*row))
        if not left.frames:
            connection.execute("DELETE FROM stays WHERE id = ?", (stay_id,))
        change.stays.append(left)
        change.streams.setdefault(left.stay.stream_id, 0)


def unit(vector: NDArray[np.float64]) -> Embedding:
    """Scale a sum of embeddings, float64 [D], to unit length, in float32."""
    scaled: Embedding = (vector / np.linalg.norm(vector)).astype(np.float32)
    return scaled
