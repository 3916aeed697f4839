"""The journal: one SQLite file a memory, and the truth about it.

One connection writes and checkpoints; reading for answers has a connection of its own (`memory_store.reading`).
With `synchronous=FULL` in WAL mode a commit returns after the fdatasync of the log that holds it.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_store.errors import MemoryUnreadable, StoreUnavailable
from memory_store.facts import Contents
from memory_store.forest import BLOCK_SIZE, Stay
from memory_store.group import Group, NextIds, SessionState, StreamState
from memory_store.migrations import migrate
from memory_store.records import Clock, Embedding, Policy, Sighting

Row = tuple[Any, ...]
"""A row of SQLite; the columns stand in the query, and the schema is strict about their types."""

SIGHTING_COLUMNS = (
    "id, stay_id, stream_id, session_id, exemplar_id, policy_revision, threshold, first_seq, last_seq,"
    " start_us, end_us, frames, largest_novelty, mean"
)


_DAMAGED = "expected a framekeep journal in {path}: {error}; restore it from a copy, or move it away to go on"

# What goes by without a change of the file; extended codes have these in their low byte.
_PASSING = frozenset((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM))


@dataclass(frozen=True, slots=True)
class Identity:
    """What a memory is bound to for good."""

    encoder_version: str
    dimension: int
    created_us: int


def now_us() -> int:
    """Give the wall-clock time in microseconds since 1970."""
    return time.time_ns() // 1000


def vector(blob: bytes) -> Embedding:
    """Read a stored vector: float32, little-endian."""
    return np.frombuffer(blob, "<f4")


def blob(embedding: Embedding) -> bytes:
    """Write a vector as it is stored."""
    return embedding.astype("<f4", copy=False).tobytes()


def sighting_from(row: Row) -> Sighting:
    """Read a row of SIGHTING_COLUMNS."""
    fields: Row = (*row[:5], Policy(*row[5:7]), *row[7:13], vector(row[13]))
    return Sighting(*fields)


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Tell damage from a passing fault in what reading a journal raises.

    Raises:
        StoreUnavailable: the file cannot be opened or read at present: descriptors, rights, or the disk.
        MemoryUnreadable: it is damaged, or no journal.
    """
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise StoreUnavailable(f"cannot read {path}: {error}") from error
        raise MemoryUnreadable(_DAMAGED.format(path=path, error=error)) from error
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path}: {error}") from error
    # what rows that do not fit each other lead to
    except (ValueError, LookupError, TypeError) as error:
        raise MemoryUnreadable(_DAMAGED.format(path=path, error=error)) from error


class Journal:
    """The writing side of a memory's file. Not safe for several threads; the memory's lock sees to that."""

    def __init__(self, path: Path) -> None:
        """Open an existing journal and bring it to the newest schema.

        Raises:
            MemoryUnreadable: it is damaged, is no journal, or was written by a newer version.
            StoreUnavailable: it cannot be opened at present.
        """
        self._path = path
        with reading_errors(path):
            _check_begun(path)
            self._connection = _connect(path)
            try:
                migrate(self._connection)
                [row] = self._connection.execute("SELECT encoder_version, dimension, created_us FROM memory")
            except BaseException:
                self._connection.close()
                raise
        self.identity = Identity(*row)

    @staticmethod
    def create(path: Path, encoder_version: str, dimension: int, threshold: float) -> None:
        """Write a new journal; when this returns, it is on disk under its name.

        Raises:
            StoreUnavailable: the disk refused; nothing is left under the name.
        """
        draft = path.with_suffix(".draft")
        try:
            for leftover in (draft, *_side_files(draft), *_side_files(path)):
                leftover.unlink(missing_ok=True)
            connection = _connect(draft)
            try:
                migrate(connection)
                with _transaction(connection):
                    connection.execute("INSERT INTO memory VALUES (1, ?, ?, ?)", (encoder_version, dimension, now_us()))
                    connection.execute("INSERT INTO policies VALUES (1, NULL, ?, ?)", (threshold, now_us()))
            finally:
                connection.close()
            draft.rename(path)
            try:
                _sync_folder(path.parent)
            except OSError:
                path.unlink()
                raise
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot create {path}: {error}") from error

    @staticmethod
    def delete(path: Path) -> None:
        """Remove a journal that is closed.

        Raises:
            StoreUnavailable: the disk refused; the journal may be gone or not.
        """
        try:
            path.unlink()
            for leftover in _side_files(path):
                leftover.unlink(missing_ok=True)
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreUnavailable(f"cannot delete {path}: {error}") from error

    def close(self) -> None:
        """Close the file; the write-ahead log is folded into it."""
        self._connection.close()

    def size_bytes(self) -> int:
        """Bytes on disk, the write-ahead log included."""
        return sum(file.stat().st_size for file in (self._path, *_side_files(self._path)) if file.exists())

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with _transaction(self._connection):
                yield self._connection
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the disk refused a write to {self._path.name}: {error}") from error

    def commit(self, group: Group) -> None:
        """Write a group of frames with all they change; when this returns, it is on disk.

        Raises:
            StoreUnavailable: the disk refused. Nothing was written; safe to try again.
        """
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO exemplars VALUES (?, ?, ?, ?, ?)",
                [(e.id, e.session_id, e.seq, e.capture_us, blob(e.embedding)) for e in group.exemplars.values()],
            )
            connection.executemany(
                "INSERT INTO thumbnails VALUES (?, ?)", [(e.id, e.thumbnail) for e in group.exemplars.values()]
            )
            connection.executemany(
                "INSERT INTO stays VALUES (?, ?, ?, ?)",
                [(s.id, s.stream_id, s.position, s.exemplar_id) for s in group.stays],
            )
            connection.executemany(
                f"INSERT INTO sightings ({SIGHTING_COLUMNS}) VALUES ({', '.join('?' * 14)})"
                " ON CONFLICT (id) DO UPDATE SET last_seq = excluded.last_seq, start_us = excluded.start_us,"
                " end_us = excluded.end_us, frames = excluded.frames, largest_novelty = excluded.largest_novelty,"
                " mean = excluded.mean",
                [_sighting_row(sighting) for sighting in group.sightings.values()],
            )
            connection.executemany(
                "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (f.session_id, f.seq, f.kind, f.pts_repaired, f.pts_us, f.capture_us, f.sighting_id, f.novelty)
                    for f in group.frames
                ],
            )
            connection.executemany(
                "INSERT INTO rejections VALUES (?, ?, ?, ?)",
                [(session_id, seq, why.reason, why.message) for session_id, seq, why in group.rejections],
            )
            for session_id, totals in group.totals.items():
                session = group.sessions[session_id]
                connection.execute(
                    "UPDATE sessions SET next_seq = ?, last_pts_us = ?, novel_frames = novel_frames + ?,"
                    " repeat_frames = repeat_frames + ?, rejected_frames = rejected_frames + ?,"
                    " received_bytes = received_bytes + ? WHERE id = ?",
                    (
                        session.next_seq,
                        session.last_pts_us,
                        totals.novel_frames,
                        totals.repeat_frames,
                        totals.rejected_frames,
                        totals.received_bytes,
                        session_id,
                    ),
                )

    def add_stream(self, name: str) -> StreamState:
        """Add a stream.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        created_us = now_us()
        with self._writing() as connection:
            added = connection.execute("INSERT INTO streams (name, created_us) VALUES (?, ?)", (name, created_us))
        return StreamState(int(added.lastrowid or 0), name, created_us)

    def add_session(self, stream_id: int, uuid: str, clock: Clock, start_us: int) -> None:
        """Add a session.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO sessions (stream_id, uuid, clock, start_us) VALUES (?, ?, ?, ?)",
                (stream_id, uuid, clock, start_us),
            )

    def session(self, stream_id: int, uuid: str) -> SessionState | None:
        """Find a session, with its latest sighting; None if there is none."""
        row = self._connection.execute(
            "SELECT id, clock, start_us, next_seq, last_pts_us FROM sessions WHERE stream_id = ? AND uuid = ?",
            (stream_id, uuid),
        ).fetchone()
        if row is None:
            return None
        latest = self._connection.execute(
            f"SELECT {SIGHTING_COLUMNS} FROM sightings WHERE session_id = ? ORDER BY id DESC LIMIT 1",
            (row[0],),
        ).fetchone()
        session_id, clock, start_us, next_seq, last_pts_us = row
        sighting = None if latest is None else sighting_from(latest)
        return SessionState(session_id, stream_id, Clock(clock), start_us, next_seq, last_pts_us, sighting)

    def add_policy(self, revision: int, stream_id: int | None, threshold: float | None) -> None:
        """Put a change of a threshold on record.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        with self._writing() as connection:
            connection.execute("INSERT INTO policies VALUES (?, ?, ?, ?)", (revision, stream_id, threshold, now_us()))

    def policies(self) -> list[tuple[int, int | None, float | None]]:
        """Read the records of thresholds, (revision, stream, threshold), oldest first."""
        return self._connection.execute(
            "SELECT revision, stream_id, threshold FROM policies ORDER BY revision"
        ).fetchall()

    def streams(self) -> list[StreamState]:
        """Read the streams, with their open blocks."""
        streams = []
        for stream_id, name, created_us in self._connection.execute("SELECT id, name, created_us FROM streams"):
            stream = StreamState(stream_id, name, created_us)
            (count,) = self._connection.execute(
                "SELECT count(*) FROM stays WHERE stream_id = ?", (stream_id,)
            ).fetchone()
            stream.next_position = count
            opened = max(0, count - 1) // BLOCK_SIZE * BLOCK_SIZE
            stream.open_stays = dict(
                self._connection.execute(
                    "SELECT exemplar_id, id FROM stays WHERE stream_id = ? AND position >= ?", (stream_id, opened)
                )
            )
            streams.append(stream)
        return streams

    def counts(self, stream_id: int | None) -> Contents:
        """Count frames and what was kept of them, for one stream or for all; without what the forest knows."""
        only = "" if stream_id is None else " WHERE stream_id = :stream"
        novel, repeat, rejected, received, sightings = self._connection.execute(
            "SELECT coalesce(sum(novel_frames), 0), coalesce(sum(repeat_frames), 0), coalesce(sum(rejected_frames), 0),"
            f" coalesce(sum(received_bytes), 0), (SELECT count(*) FROM sightings{only}) FROM sessions{only}",
            {"stream": stream_id},
        ).fetchone()
        return Contents(novel, repeat, rejected, exemplars=novel, sightings=sightings, received_bytes=received)

    def next_ids(self) -> NextIds:
        """Find the next free numbers."""
        return NextIds(
            *self._connection.execute(
                "SELECT (SELECT coalesce(max(id), 0) + 1 FROM exemplars), (SELECT coalesce(max(id), 0) + 1 FROM stays),"
                " (SELECT coalesce(max(id), 0) + 1 FROM sightings)"
            ).fetchone()
        )

    def exemplars(self, batch: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Read all exemplars in batches of K: ids int64 [K], embeddings float32 [K, D]."""
        cursor = self._connection.execute("SELECT id, embedding FROM exemplars ORDER BY id")
        while rows := cursor.fetchmany(batch):
            yield np.array([row[0] for row in rows], np.int64), np.stack([vector(row[1]) for row in rows])

    def stays(self) -> Iterator[tuple[Stay, list[Sighting]]]:
        """Read all stays with their sightings, in the order of their trees."""
        stays = self._connection.execute(
            "SELECT id, stream_id, position, exemplar_id FROM stays ORDER BY stream_id, position"
        )
        for row in stays:
            sightings = self._connection.execute(
                f"SELECT {SIGHTING_COLUMNS} FROM sightings WHERE stay_id = ? ORDER BY id",
                (row[0],),
            )
            yield Stay(*row), [sighting_from(sighting) for sighting in sightings]


def _sighting_row(s: Sighting) -> tuple[object, ...]:
    return (
        *(s.id, s.stay_id, s.stream_id, s.session_id, s.exemplar_id, s.policy.revision, s.policy.threshold),
        *(s.first_seq, s.last_seq, s.start_us, s.end_us, s.frames, s.largest_novelty, blob(s.mean)),
    )


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: transactions are begun and ended where they are written, never by the driver.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check_begun(path: Path) -> None:
    """Leave files alone that are no journals: a journal has its schema version in its header from its first day on."""
    with path.open("rb") as file:
        header = file.read(64)
    if not header.startswith(b"SQLite format 3\0") or not any(header[60:64]):
        raise ValueError("it has no schema version")


def _side_files(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
