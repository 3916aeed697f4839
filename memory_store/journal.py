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

from memory_store.copies import copies_of
from memory_store.errors import MemoryUnreadable, StoreUnavailable
from memory_store.group import Group
from memory_store.index_copy import copy_path
from memory_store.keeping import Keeping
from memory_store.lesson_rows import unlearn
from memory_store.migrations import migrate
from memory_store.policies import PolicyRecord
from memory_store.records import Clock, Retention
from memory_store.rows import write_group, write_policy
from memory_store.scope import Scope

_DAMAGED = "expected a framekeep journal in {path}: {error}; restore it from a copy, or move it away to go on"

_LOG_PAGES = 2000
"""Pages in the write-ahead log after which it is folded into the file: fewer cost speed, more a longer pause."""

_LOG_BYTES = 8 * 2**20
"""What the log is cut to when it was longer, as after a long reading that held it back."""

# What goes by without a change of the file; extended codes have these in their low byte.
_PASSING = frozenset((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM))


@dataclass(frozen=True, slots=True)
class Identity:
    """What a memory is bound to for good."""

    encoder_version: str
    dimension: int
    created_us: int
    uuid: str
    """Of this file and its copies."""


def now_us() -> int:
    """Give the wall-clock time in microseconds since 1970."""
    return time.time_ns() // 1000


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
                # What a killed server had written and not synced must be on disk before anyone is told of it.
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                [row] = self._connection.execute("SELECT encoder_version, dimension, created_us, uuid FROM memory")
            except BaseException:
                self._connection.close()
                raise
        self.identity = Identity(*row)

    @staticmethod
    def create(path: Path, encoder_version: str, dimension: int, threshold: float, keeping: Keeping) -> None:
        """Write a new journal; when this returns, it is on disk under its name.

        Raises:
            StoreUnavailable: the disk refused; nothing is left under the name.
        """
        draft = path.with_suffix(".draft")
        try:
            for leftover in (draft, *_side_files(draft), *_side_files(path), *copies_of(path)):
                leftover.unlink(missing_ok=True)
            connection = _connect(draft)
            try:
                migrate(connection)
                with _transaction(connection):
                    connection.execute(
                        "INSERT INTO memory (id, encoder_version, dimension, created_us, uuid)"
                        " VALUES (1, ?, ?, ?, lower(hex(randomblob(16))))",
                        (encoder_version, dimension, now_us()),
                    )
                    write_policy(connection, PolicyRecord(1, None, threshold, keeping), now_us())
            finally:
                connection.close()
            draft.rename(path)
            try:
                sync_folder(path.parent)
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
            for leftover in (*_side_files(path), *copies_of(path)):
                leftover.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise StoreUnavailable(f"cannot delete {path}: {error}") from error

    def close(self) -> None:
        """Close the file; the write-ahead log is folded into it."""
        self._connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for what is read when a memory is opened and for what is taken out of it."""
        return self._connection

    def size_bytes(self) -> int:
        """Bytes on disk, the write-ahead log and the copy of the index included."""
        files = (self._path, *_side_files(self._path), copy_path(self._path))
        return sum(file.stat().st_size for file in files if file.exists())

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction; when this is left without an error, what was written is on disk.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
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
        with self.writing() as connection:
            write_group(connection, group)

    def add_stream(self, name: str) -> tuple[int, int]:
        """Add a stream; its number, and when it was created.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        created_us = now_us()
        with self.writing() as connection:
            added = connection.execute("INSERT INTO streams (name, created_us) VALUES (?, ?)", (name, created_us))
        return int(added.lastrowid or 0), created_us

    def add_session(self, stream_id: int, uuid: str, clock: Clock, start_us: int) -> None:
        """Add a session.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO sessions (stream_id, uuid, clock, start_us) VALUES (?, ?, ?, ?)",
                (stream_id, uuid, clock, start_us),
            )

    def add_policy(self, record: PolicyRecord) -> None:
        """Put a change of a threshold or a policy of keeping on record.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        with self.writing() as connection:
            write_policy(connection, record, now_us())

    def set_retention(self, retention: Retention) -> None:
        """Put limits of what is kept on record.

        Raises:
            StoreUnavailable: the disk refused; the old ones are in force.
        """
        with self.writing() as connection:
            connection.execute(
                "UPDATE memory SET retain_us = ?, retain_exemplars = ?, retain_bytes = ?",
                (retention.max_age_us, retention.max_exemplars, retention.max_bytes),
            )

    def begin_forgetting(self, scope: Scope, *, learned: bool) -> int:
        """Put on record that a scope is to be forgotten, so that it goes on after a restart; the record's number.

        Args:
            scope: what is to be forgotten.
            learned: whether what attention learned from it goes too.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        streams = "" if scope.stream_ids is None else ",".join(map(str, sorted(scope.stream_ids)))
        with self.writing() as connection:
            if learned:
                unlearn(connection, scope)
            added = connection.execute(
                "INSERT INTO forgetting (first_us, last_us, stream_ids) VALUES (?, ?, ?)",
                (scope.first_us, scope.last_us, streams),
            )
        return int(added.lastrowid or 0)

    def end_forgetting(self, number: int) -> None:
        """Take note that a scope has been forgotten.

        Raises:
            StoreUnavailable: the disk refused; it is forgotten once more, which finds nothing.
        """
        with self.writing() as connection:
            connection.execute("DELETE FROM forgetting WHERE id = ?", (number,))

    def give_room_back(self, pages: int) -> bool:
        """Give up to so many pages that hold nothing any more back to the file system; tells whether more are left.

        Raises:
            StoreUnavailable: the disk refused; safe to try again.
        """
        with self.writing() as connection:
            connection.execute(f"PRAGMA incremental_vacuum({int(pages)})").fetchall()
        return bool(self._connection.execute("PRAGMA freelist_count").fetchone()[0])

    def empty_log(self) -> bool:
        """Fold the write-ahead log into the file and cut it to nothing: it still holds what was overwritten.

        When this returns, that is on disk, and what was done to the copy of the index is too.

        Returns:
            Whether that was done; a long reading elsewhere can be in its way.

        Raises:
            StoreUnavailable: the disk refused; safe to try again.
        """
        try:
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:  # SQLite leaves it to the next commit to sync what it has cut, and the copy may have gone
                sync_file(_side_files(self._path)[0])
                sync_folder(self._path.parent)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"the disk refused a write to {self._path.name}: {error}") from error
        return not busy


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: transactions are begun and ended where they are written, never by the driver.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    if not connection.execute("PRAGMA page_count").fetchone()[0]:  # it takes effect in files that are empty alone
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
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
    """Leave files alone that are no journals, or have lost their end.

    A journal has its schema version in its header from its first day on. SQLite takes a last page that is cut for one
    that ends in zeros, so that what is missing of it would be told wrongly.
    """
    with path.open("rb") as file:
        header = file.read(100)
        size_bytes = file.seek(0, os.SEEK_END)
    if not header.startswith(b"SQLite format 3\0") or not any(header[60:64]):
        raise ValueError("it has no schema version")
    log, _ = _side_files(path)
    if log.exists() and log.stat().st_size:
        return  # pages that the header counts may be there
    page_bytes, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    if size_bytes < pages * page_bytes:
        raise ValueError(f"it has {size_bytes} bytes of {pages * page_bytes}")


def _side_files(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def sync_file(path: Path) -> None:
    """Wait until what was written to a file is on disk.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until what was created, renamed and removed in a folder is on disk.

    Raises:
        OSError: the disk refused.
    """
    sync_file(folder)
