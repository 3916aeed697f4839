"""How values stand in the rows of a journal."""

import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any

from memory_store.examples import write_examples
from memory_store.frame_embeddings import write_frame_embeddings
from memory_store.group import Group
from memory_store.policies import PolicyRecord
from memory_store.records import Policy, Sighting
from memory_store.session_state import NextIds
from memory_store.vectors import embedding_blob, mean_blob, mean_from

SAME_KEEPING = "="
"""Stands for the policy of keeping of the record before."""

Row = tuple[Any, ...]
"""A row of SQLite; the columns stand in the query, and the schema is strict about their types."""

SIGHTING_COLUMNS = (
    "id, stay_id, stream_id, session_id, exemplar_id, policy_revision, threshold, first_seq, last_seq,"
    " start_us, end_us, frames, largest_novelty, moved_angle, cut, labels, mean, checksum"
)


def sighting_from(row: Row) -> Sighting:
    """Read a row of SIGHTING_COLUMNS."""
    *before, moved_angle, cut, labels, mean, checksum = row
    policy = Policy(*before[5:7])
    fields: Row = (*before[:5], policy, *before[7:], mean_from(mean, checksum), moved_angle, bool(cut))
    return Sighting(*(*fields, labels_from(labels)))


def labels_from(text: str) -> tuple[str, ...]:
    """Read labels, a line each."""
    return tuple(text.split("\n")) if text else ()


def write_group(connection: sqlite3.Connection, group: Group) -> None:
    """Write what a group of frames changes."""
    _write_exemplars(connection, group)
    _write_stays(connection, group)
    write_examples(connection, group.bands, group.examples)
    for record in group.records:
        write_policy(connection, record, group.decided_us, same_keeping=True)
    connection.executemany(
        "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (f.session_id, f.seq, f.kind, f.pts_repaired, f.pts_us, f.capture_us, f.novelty, f.by_hint)
            for f in group.frames
        ],
    )
    write_frame_embeddings(
        connection, [(f.session_id, f.seq, f.embedding) for f in group.frames if f.embedding is not None]
    )
    connection.executemany(
        "INSERT INTO withheld VALUES (?, ?, ?, ?, ?, ?)",
        [(w.session_id, w.seq, w.stream_id, w.capture_us, w.policy_revision, w.reason) for w in group.withheld],
    )
    connection.executemany(
        "INSERT INTO rejections VALUES (?, ?, ?, ?)",
        [(session_id, seq, why.reason, why.message) for session_id, seq, why in group.rejections],
    )
    connection.executemany(
        "UPDATE sessions SET next_seq = ?, last_pts_us = ?, novel_frames = novel_frames + ?,"
        " repeat_frames = repeat_frames + ?, rejected_frames = rejected_frames + ?,"
        " withheld_frames = withheld_frames + ?, received_bytes = received_bytes + ? WHERE id = ?",
        [
            (
                group.sessions[session_id].next_seq,
                group.sessions[session_id].last_pts_us,
                totals.novel_frames,
                totals.repeat_frames,
                totals.rejected_frames,
                totals.withheld_frames,
                totals.received_bytes,
                session_id,
            )
            for session_id, totals in group.totals.items()
        ],
    )


def write_policy(
    connection: sqlite3.Connection, record: PolicyRecord, since_us: int, *, same_keeping: bool = False
) -> None:
    """Write what is put in force.

    Args:
        connection: to the journal.
        record: what is put in force.
        since_us: when.
        same_keeping: its policy of keeping is that of the record before; there are many that only move a threshold.
    """
    keeping = None
    if record.keeping is not None:
        keeping = SAME_KEEPING if same_keeping else record.keeping.to_json()
    connection.execute(
        "INSERT INTO policies (revision, stream_id, threshold, since_us, keeping) VALUES (?, ?, ?, ?, ?)",
        (record.revision, record.stream_id, record.threshold, since_us, keeping),
    )


def next_ids_of(connection: sqlite3.Connection) -> NextIds:
    """Read the next free numbers; numbers are never used again."""
    return NextIds(*connection.execute("SELECT next_exemplar, next_stay, next_sighting FROM memory").fetchone())


def write_next_ids(connection: sqlite3.Connection, ids: NextIds) -> None:
    """Put the next free numbers on record."""
    connection.execute(
        "UPDATE memory SET next_exemplar = ?, next_stay = ?, next_sighting = ?", (ids.exemplar, ids.stay, ids.sighting)
    )


def write_sightings(connection: sqlite3.Connection, sightings: Iterable[Sighting]) -> None:
    """Write sightings, new ones and those that have changed."""
    sightings = list(sightings)
    connection.executemany(
        f"INSERT INTO sightings ({SIGHTING_COLUMNS}) VALUES ({', '.join('?' * 18)})"
        " ON CONFLICT (id) DO UPDATE SET stay_id = excluded.stay_id, exemplar_id = excluded.exemplar_id,"
        " first_seq = excluded.first_seq, last_seq = excluded.last_seq, start_us = excluded.start_us,"
        " end_us = excluded.end_us, frames = excluded.frames, largest_novelty = excluded.largest_novelty,"
        " moved_angle = excluded.moved_angle, cut = excluded.cut, mean = excluded.mean, checksum = excluded.checksum",
        map(_sighting_row, sightings),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO sighting_labels VALUES (?, ?)",
        [(label, sighting.id) for sighting in sightings for label in sighting.labels],
    )


def _write_exemplars(connection: sqlite3.Connection, group: Group) -> None:
    exemplars = [(exemplar, embedding_blob(exemplar.embedding)) for exemplar in group.exemplars.values()]
    connection.executemany(
        "INSERT INTO exemplars (id, session_id, seq, capture_us, embedding, checksum, priority)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(e.id, e.session_id, e.seq, e.capture_us, blob, zlib.crc32(blob), e.priority) for e, blob in exemplars],
    )
    connection.executemany(
        "INSERT INTO thumbnails VALUES (?, ?, ?)",
        [(e.id, e.thumbnail, zlib.crc32(e.thumbnail)) for e, _ in exemplars],
    )


def _write_stays(connection: sqlite3.Connection, group: Group) -> None:
    connection.executemany(
        "INSERT INTO stays VALUES (?, ?, ?, ?)", [(s.id, s.stream_id, s.position, s.exemplar_id) for s in group.stays]
    )
    write_sightings(connection, group.sightings.values())
    if group.stays:
        connection.executemany(
            "UPDATE streams SET next_position = ? WHERE id = ?",
            [(stream.next_position, stream.id) for stream in group.streams.values()],
        )
    write_next_ids(connection, group.next_ids)


def _sighting_row(s: Sighting) -> tuple[object, ...]:
    mean = mean_blob(s.mean)
    return (
        *(s.id, s.stay_id, s.stream_id, s.session_id, s.exemplar_id, s.policy.revision, s.policy.threshold),
        *(s.first_seq, s.last_seq, s.start_us, s.end_us, s.frames, s.largest_novelty, s.moved_angle, s.cut),
        *("\n".join(s.labels), mean, zlib.crc32(mean)),
    )
