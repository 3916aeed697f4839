"""Merging exemplars that are closer than a threshold, for memories that were filled at too low a one.

The older exemplar of a pair stays and stands for the frames of both. Counts, means, spread, times and sightings
combine exactly. What is restated: the frames of the other are as far from the older exemplar as their own distance
and the distance of the two, added as angles. Runs in steps, each one transaction; a part of them is a memory too.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from memory_store.change import Change, remove_exemplar, restate, settle_stays, sightings_where
from memory_store.coverage import angle_between
from memory_store.embedding_table import Ids, Matrix
from memory_store.forest import BLOCK_SIZE
from memory_store.frame_embeddings import begins_on_record, last_frame_embedding
from memory_store.group import LONGEST_GAP_US, LONGEST_SIGHTING_FRAMES
from memory_store.index import ExemplarIndex
from memory_store.lesson_rows import hand_over
from memory_store.novelty import Neighbour, distance, nearest
from memory_store.records import Clock, Embedding, FrameKind, Sighting
from memory_store.rows import write_sightings
from memory_store.vectors import embedding_from, mean_blob


@dataclass(frozen=True, slots=True)
class Merge:
    """Two exemplars of which one will stand for both."""

    kept: int
    """The older one."""

    merged: int
    """The one that goes."""


class MergePlan:
    """Decides which exemplars another can stand for, oldest first. Changes nothing."""

    def __init__(self, index: ExemplarIndex, threshold: float) -> None:
        """Begin.

        Args:
            index: what there is. Looks are those that it would do: in a large memory one may miss its exemplar, which
                is not merged then.
            threshold: in (0, 2].
        """
        self._threshold = threshold
        self._kept = index.empty_copy()

    def look(self, ids: Ids, embeddings: Matrix) -> Iterator[Merge]:
        """Decide on further exemplars.

        Args:
            ids: int64 [K], ascending, larger than those before.
            embeddings: float32 [K, D].
        """
        fresh: list[int] = []
        proposals = self._kept.propose(embeddings)
        for place, (proposed, _) in enumerate(proposals):
            near = np.concatenate([self._kept.embeddings(proposed), embeddings[fresh]])
            found = nearest(embeddings[place], np.concatenate([proposed, ids[fresh]]), near)
            if isinstance(found, Neighbour) and found.novelty <= self._threshold:
                yield Merge(found.exemplar_id, int(ids[place]))
            else:
                fresh.append(place)
        self._kept.add(ids[fresh], embeddings[fresh])


def merge(connection: sqlite3.Connection, merges: list[Merge], threshold: float) -> Change:
    """Merge some pairs, inside a transaction; those that have changed meanwhile and no longer fit are passed over.

    Raises:
        sqlite3.Error: the disk refused; the transaction must be undone.
    """
    change = Change()
    for pair in merges:
        embeddings = [_embedding(connection, exemplar_id) for exemplar_id in (pair.kept, pair.merged)]
        kept, merged = embeddings
        if kept is not None and merged is not None and distance(kept, merged) <= threshold:
            _merge(connection, pair, kept, angle_between(kept, merged), change)
    return change


def _merge(connection: sqlite3.Connection, pair: Merge, kept: Embedding, angle: float, change: Change) -> None:
    restate(connection, "exemplar_id = ?", (pair.merged,), angle)
    sightings = sightings_where(connection, "exemplar_id = ?", (pair.merged,))
    stays: set[int] = set()
    for stay_id in sorted({sighting.stay_id for sighting in sightings}):
        stays |= {stay_id, _move_stay(connection, stay_id, pair)}
    mean = mean_blob(kept)
    connection.execute(
        "UPDATE sightings SET mean = ?, checksum = ? WHERE exemplar_id = ? AND cut",
        (mean, zlib.crc32(mean), pair.kept),
    )
    for sighting in sightings:
        change.sighted(sighting, 0)
        _join(connection, sighting.id, change)
    settle_stays(connection, stays, change)
    hand_over(connection, pair.merged, pair.kept)
    remove_exemplar(connection, pair.merged, change)


def _move_stay(connection: sqlite3.Connection, stay_id: int, pair: Merge) -> int:
    """Let a stay be one of the kept exemplar; if that has one in the same block, they become one. Gives the stay."""
    [(stream_id, position)] = connection.execute("SELECT stream_id, position FROM stays WHERE id = ?", (stay_id,))
    block = position // BLOCK_SIZE * BLOCK_SIZE
    there = connection.execute(
        "SELECT id FROM stays WHERE stream_id = ? AND position BETWEEN ? AND ? AND exemplar_id = ?",
        (stream_id, block, block + BLOCK_SIZE - 1, pair.kept),
    ).fetchone()
    target = stay_id if there is None else int(there[0])
    connection.execute(
        "UPDATE sightings SET exemplar_id = ?, stay_id = ? WHERE exemplar_id = ? AND stay_id = ?",
        (pair.kept, target, pair.merged, stay_id),
    )
    if there is None:
        connection.execute("UPDATE stays SET exemplar_id = ? WHERE id = ?", (pair.kept, stay_id))
    return target


def _join(connection: sqlite3.Connection, sighting_id: int, change: Change) -> None:
    """Make one sighting of two of the same exemplar that follow each other in a session."""
    for order, beyond in (("DESC", "<"), ("ASC", ">")):
        found = sightings_where(connection, "id = ?", (sighting_id,))
        if not found:
            return
        [sighting] = found
        beside = sightings_where(
            connection,
            f"session_id = ? AND first_seq {beyond} ? ORDER BY first_seq {order} LIMIT 1",
            (sighting.session_id, sighting.first_seq),
        )
        if beside and _belong_together(connection, sighting, beside[0]):
            first, second = sorted((sighting, beside[0]), key=lambda one: one.first_seq)
            joined = _joined(first, second)
            write_sightings(connection, [joined])
            change.joined(joined)
            connection.execute("DELETE FROM sightings WHERE id = ?", (second.id,))
            change.sighted(second, -1)
            sighting_id = first.id


def _belong_together(connection: sqlite3.Connection, one: Sighting, other: Sighting) -> bool:
    if (one.stay_id, one.policy, one.labels) != (other.stay_id, other.policy, other.labels) or one.cut or other.cut:
        return False
    if one.frames + other.frames > LONGEST_SIGHTING_FRAMES:
        return False
    first, second = sorted((one, other), key=lambda sighting: sighting.first_seq)
    if not begins_on_record(connection, second) and last_frame_embedding(connection, first) is not None:
        return False  # its frames, of which nothing is known, would count as copies
    [(clock,)] = connection.execute("SELECT clock FROM sessions WHERE id = ?", (one.session_id,))
    away_us = max(one.start_us, other.start_us) - min(one.end_us, other.end_us)
    forgotten_between = _forgotten_between(connection, first, second)
    return not forgotten_between and (clock != Clock.SOURCE or away_us <= LONGEST_GAP_US)


def _forgotten_between(connection: sqlite3.Connection, first: Sighting, second: Sighting) -> bool:
    """Tell whether frames between two sightings of a session were forgotten or withheld; some may be rejected."""
    [(there,)] = connection.execute(
        "SELECT count(*) FROM frames WHERE session_id = ? AND seq > ? AND seq < ? AND kind != ?",
        (first.session_id, first.last_seq, second.first_seq, FrameKind.WITHHELD),
    )
    return bool(there != second.first_seq - first.last_seq - 1)


def _joined(first: Sighting, second: Sighting) -> Sighting:
    frames = first.frames + second.frames
    total = first.mean.astype(np.float64) * first.frames + second.mean.astype(np.float64) * second.frames
    return replace(
        first,
        last_seq=second.last_seq,
        start_us=min(first.start_us, second.start_us),
        end_us=max(first.end_us, second.end_us),
        frames=frames,
        largest_novelty=max(first.largest_novelty, second.largest_novelty),
        mean=(total / frames).astype(np.float32),
        moved_angle=max(first.moved_angle, second.moved_angle),
    )


def _embedding(connection: sqlite3.Connection, exemplar_id: int) -> Embedding | None:
    row = connection.execute("SELECT embedding, checksum FROM exemplars WHERE id = ?", (exemplar_id,)).fetchone()
    return None if row is None else embedding_from(*row)
