"""What is read of a journal when a memory, or a session of it, is opened."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memory_store.facts import Contents
from memory_store.forest import BLOCK_SIZE, Stay, StaySum
from memory_store.frame_embeddings import last_frame_embedding
from memory_store.keeping import Keeping
from memory_store.policies import PolicyRecord
from memory_store.records import Clock, FrameKind, Retention
from memory_store.rows import SAME_KEEPING, SIGHTING_COLUMNS, sighting_from
from memory_store.scope import Scope
from memory_store.session_state import SessionState, StreamState
from memory_store.vectors import matrix_from

_BATCH = 4096
"""Rows read at a time."""

_STAY_ROWS = (
    "SELECT s.id, s.stream_id, s.position, s.exemplar_id, g.frames, g.start_us, g.end_us, g.mean, g.checksum"
    " FROM stays s JOIN sightings g ON g.exemplar_id = s.exemplar_id AND g.stay_id = s.id"
)


LATEST_THUMBNAILS = 100
"""By which the size of the next one is told."""

_USUAL_THUMBNAIL_BYTES = 10_000

_EMBEDDING_BYTES, _MEAN_BYTES = 2, 4
"""For each of D numbers."""

_SIGHTINGS_EACH = 2
"""Sightings of an exemplar, on footage at the usual thresholds."""

_ROW_BYTES = 500
"""What else an exemplar, its stay and its sightings take, with their indexes."""


@dataclass(frozen=True, slots=True)
class StayBlock:
    """The stays of one block of one stream, as their sightings add up."""

    table: NDArray[np.int64]
    """Stay, stream, position, exemplar, frames, first and last capture time: int64 [N, 7]."""

    totals: NDArray[np.float64]
    """Sums of the frames' embeddings: float64 [N, D]."""

    sightings: int
    """Sightings of these stays."""

    longest_us: int
    """The length of the longest of them."""


def retention_of(connection: sqlite3.Connection) -> Retention:
    """Read the limits of what is kept."""
    return Retention(*connection.execute("SELECT retain_us, retain_exemplars, retain_bytes FROM memory").fetchone())


def unfinished_of(connection: sqlite3.Connection) -> list[tuple[int, Scope]]:
    """Read what was to be forgotten and is not yet: numbers and scopes."""
    return [
        (number, Scope(first_us, last_us, frozenset(map(int, streams.split(","))) if streams else None))
        for number, first_us, last_us, streams in connection.execute(
            "SELECT id, first_us, last_us, stream_ids FROM forgetting ORDER BY id"
        )
    ]


def policies_of(connection: sqlite3.Connection) -> list[PolicyRecord]:
    """Read the records of what was put in force, oldest first.

    Raises:
        ValueError: one of them is not what was written.
    """
    latest: dict[int | None, Keeping | None] = {}  # by stream
    records = []
    for revision, stream_id, threshold, keeping in connection.execute(
        "SELECT revision, stream_id, threshold, keeping FROM policies ORDER BY revision"
    ):
        if keeping != SAME_KEEPING:
            latest[stream_id] = None if keeping is None else Keeping.from_json(keeping)
        records.append(PolicyRecord(revision, stream_id, threshold, latest[stream_id]))
    return records


def forget_policies(connection: sqlite3.Connection) -> None:
    """Take out the records that nothing is decided by any more and that nothing left was decided by.

    Of the memory and of each stream those stay that were in force when the first of what is left was decided, and all
    since.
    """
    [(first,)] = connection.execute(
        "SELECT min(policy_revision) FROM (SELECT min(policy_revision) AS policy_revision FROM sightings"
        " UNION ALL SELECT min(policy_revision) FROM withheld)"
    )
    for (stream_id,) in connection.execute("SELECT DISTINCT stream_id FROM policies").fetchall():
        [(oldest, keeping)] = connection.execute(
            "SELECT max(revision), keeping FROM policies WHERE stream_id IS ? AND revision <= coalesce(?, revision)",
            (stream_id, first),
        )
        if oldest is None:
            continue  # all of them came later
        if keeping == SAME_KEEPING:
            connection.execute(
                "UPDATE policies SET keeping = (SELECT keeping FROM policies WHERE stream_id IS ? AND revision < ?"
                " AND keeping IS NOT ? ORDER BY revision DESC LIMIT 1) WHERE revision = ?",
                (stream_id, oldest, SAME_KEEPING, oldest),
            )
        connection.execute("DELETE FROM policies WHERE stream_id IS ? AND revision < ?", (stream_id, oldest))


def kept_of(
    connection: sqlite3.Connection, stream_id: int, earliest_us: int, first_us: int, last_us: int
) -> list[tuple[int, int]]:
    """Read when a stream's exemplars were captured, between two times, with their priorities.

    Those whose own frame was forgotten do not count: what they are known by is a frame that was a repeat.

    Args:
        connection: the journal.
        stream_id: the stream.
        earliest_us: no sighting of it began before this that was there at `first_us`.
        first_us: included.
        last_us: included.
    """
    rows = connection.execute(
        "SELECT DISTINCT e.id, e.capture_us, e.priority FROM sightings g JOIN exemplars e ON e.id = g.exemplar_id"
        " JOIN sessions n ON n.id = e.session_id AND n.stream_id = g.stream_id"
        " WHERE g.stream_id = ? AND g.start_us BETWEEN ? AND ? AND g.end_us >= ?"
        " AND e.capture_us BETWEEN ? AND ? AND NOT e.recentred",
        (stream_id, earliest_us, last_us, first_us, first_us, last_us),
    )
    return [(capture_us, priority) for _, capture_us, priority in rows]


def withheld_extent(connection: sqlite3.Connection) -> tuple[int | None, int | None]:
    """Read the earliest and the latest capture time of a withheld frame; None if there is none."""
    [(first_us, last_us)] = connection.execute(  # by the ends of the index: there may be very many
        "SELECT min((SELECT min(capture_us) FROM withheld WHERE stream_id = s.id)),"
        " max((SELECT max(capture_us) FROM withheld WHERE stream_id = s.id)) FROM streams s"
    )
    return first_us, last_us


def withheld_times(connection: sqlite3.Connection) -> NDArray[np.int64]:
    """Read the capture times of all withheld frames: int64 [N]."""
    rows = connection.execute("SELECT capture_us FROM withheld").fetchall()
    return np.array(rows, np.int64).reshape(-1)


def thumbnail_bytes_of(connection: sqlite3.Connection) -> tuple[float, int]:
    """Tell what a thumbnail takes, by the latest ones, and how many these are."""
    [(mean_bytes, number)] = connection.execute(
        "SELECT coalesce(avg(length(jpeg)), ?), count(*)"
        " FROM (SELECT jpeg FROM thumbnails ORDER BY exemplar_id DESC LIMIT ?)",
        (_USUAL_THUMBNAIL_BYTES, LATEST_THUMBNAILS),
    )
    return float(mean_bytes), int(number)


def bytes_beside_thumbnail(dimension: int) -> float:
    """Tell what else an exemplar takes on disk: its embedding, and about two sightings of it."""
    return dimension * (_EMBEDDING_BYTES + _SIGHTINGS_EACH * _MEAN_BYTES) + _ROW_BYTES


def streams_of(connection: sqlite3.Connection) -> list[StreamState]:
    """Read the streams, with their open blocks."""
    streams = []
    for row in connection.execute("SELECT id, name, created_us, next_position FROM streams").fetchall():
        stream = StreamState(*row)
        stream.open_stays = open_stays_of(connection, stream)
        streams.append(stream)
    return streams


def open_stays_of(connection: sqlite3.Connection, stream: StreamState) -> dict[int, int]:
    """Read the stays of a stream's open block, exemplar to stay."""
    return dict(
        connection.execute(
            "SELECT exemplar_id, id FROM stays WHERE stream_id = ? AND position >= ?",
            (stream.id, open_from(stream.next_position)),
        )
    )


def open_from(next_position: int) -> int:
    """Give the position at which the open block of a stream begins."""
    return max(0, next_position - 1) // BLOCK_SIZE * BLOCK_SIZE


def session_of(connection: sqlite3.Connection, stream_id: int, uuid: str) -> SessionState | None:
    """Find a session, with its latest sighting; None if there is none."""
    row = connection.execute(
        "SELECT id, clock, start_us, next_seq, last_pts_us FROM sessions WHERE stream_id = ? AND uuid = ?",
        (stream_id, uuid),
    ).fetchone()
    if row is None:
        return None
    session_id, clock, start_us, next_seq, last_pts_us = row
    state = SessionState(session_id, stream_id, Clock(clock), start_us, next_seq, last_pts_us, None)
    refresh(connection, state)
    return state


def refresh(connection: sqlite3.Connection, session: SessionState) -> None:
    """Read the latest sighting of a session again, unless frames after it were forgotten or withheld."""
    latest = connection.execute(
        f"SELECT {SIGHTING_COLUMNS} FROM sightings WHERE session_id = ? ORDER BY first_seq DESC LIMIT 1", (session.id,)
    ).fetchone()
    session.sighting = None if latest is None else sighting_from(latest)
    if session.sighting is not None:
        last_seq = session.sighting.last_seq
        [(after,)] = connection.execute(
            "SELECT count(*) FROM frames WHERE session_id = ? AND seq > ? AND kind != ?",
            (session.id, last_seq, FrameKind.WITHHELD),
        )
        if last_seq + 1 + after != session.next_seq:
            session.sighting = None
    session.on_record = None if session.sighting is None else last_frame_embedding(connection, session.sighting)


def contents_of(connection: sqlite3.Connection, stream_id: int | None) -> Contents:
    """Count frames and exemplars of one stream or of all, from its sessions; the rest is known elsewhere."""
    only = "" if stream_id is None else " WHERE stream_id = :stream"
    novel, repeat, rejected, withheld, forgotten, lost, received = connection.execute(
        "SELECT coalesce(sum(novel_frames), 0), coalesce(sum(repeat_frames), 0), coalesce(sum(rejected_frames), 0),"
        " coalesce(sum(withheld_frames), 0), coalesce(sum(forgotten_frames), 0), coalesce(sum(lost_exemplars), 0),"
        f" coalesce(sum(received_bytes), 0) FROM sessions{only}",
        {"stream": stream_id},
    ).fetchone()
    return Contents(
        novel,
        repeat,
        rejected,
        withheld,
        forgotten_frames=forgotten,
        exemplars=novel - lost,
        received_bytes=received,
    )


def exemplars_of(
    connection: sqlite3.Connection,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Read all exemplars, K at a time, by ascending id: ids int64 [K], embeddings float32 [K, D].

    Raises:
        ValueError: one of them is not what was written.
    """
    cursor = connection.execute("SELECT id, embedding, checksum FROM exemplars ORDER BY id")
    while rows := cursor.fetchmany(_BATCH):
        ids, blobs, checksums = map(list, zip(*rows, strict=True))
        yield np.array(ids, np.int64), matrix_from(blobs, checksums, "<f2")


def stay_blocks_of(connection: sqlite3.Connection) -> Iterator[StayBlock]:
    """Read all stays as their sightings add up, block by block in the order of the trees.

    Raises:
        ValueError: a mean is not what was written.
    """
    cursor = connection.execute(f"{_STAY_ROWS} ORDER BY s.stream_id, s.position, g.id")
    left: list[tuple[object, ...]] = []
    while rows := cursor.fetchmany(_BATCH):
        left += rows
        edges = _block_edges(left)
        for first, end in pairwise(edges[:-1]):
            yield stay_block_from(left[first:end])
        left = left[edges[-2] :]  # the last one may go on
    if left:
        yield stay_block_from(left)


def _block_edges(rows: list[tuple[object, ...]]) -> list[int]:
    keys = np.array([row[1:3] for row in rows], np.int64)  # [R, 2]: stream, position
    keys[:, 1] //= BLOCK_SIZE
    return [0, *(np.flatnonzero((np.diff(keys, axis=0) != 0).any(1)) + 1).tolist(), len(rows)]


def stay_block_from(rows: list[tuple[object, ...]]) -> StayBlock:
    """Add up rows of `_STAY_ROWS`, those of a stay next to each other."""
    *numbers, means, checksums = map(list, zip(*rows, strict=True))
    stays, streams, positions, exemplars, frames, starts, ends = (np.array(column, np.int64) for column in numbers)
    first = np.flatnonzero(np.diff(stays, prepend=stays[0] - 1))  # [N], the first row of each stay
    weighted = matrix_from(means, checksums, "<f4").astype(np.float64) * frames[:, None]  # [R, D]
    columns = (
        *(column[first] for column in (stays, streams, positions, exemplars)),
        np.add.reduceat(frames, first),
        np.minimum.reduceat(starts, first),
        np.maximum.reduceat(ends, first),
    )
    totals = np.add.reduceat(weighted, first, axis=0)  # [N, D]
    return StayBlock(np.stack(columns, axis=1), totals, len(rows), int((ends - starts).max()))


def stay_left(connection: sqlite3.Connection, stay: Stay) -> StaySum:
    """Add up what is left of one stay."""
    rows = connection.execute(f"{_STAY_ROWS} WHERE s.id = ? ORDER BY g.id", (stay.id,)).fetchall()
    if not rows:
        return StaySum(stay, 0, np.zeros(0), 0, 0)
    block = stay_block_from(rows)
    *_, frames, first_us, last_us = block.table[0].tolist()
    return StaySum(stay, frames, block.totals[0], first_us, last_us)
