"""A memory as one file, on its way out of a data folder or into it.

Out: SQLite's online backup copies the journal from a read-only connection of its own, in one read transaction, so that
the copy is the memory of one moment and nobody who writes is held up. In: what arrives becomes a journal only when all
of it is there and was checked.

Meanwhile both are files beside the journals, under names that no memory has. None outlives its transfer; those of a
process that was killed are removed when the data folder is opened again.
"""

import hashlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from memory_store.copies import copies_of
from memory_store.errors import MemoryUnreadable, StoreUnavailable
from memory_store.wholeness import LOOK_STEPS, check_integrity, check_memory

_EXPORT, _IMPORT = ".export-", ".import-"
"""How the names of the files begin; names of memories begin with a letter or digit."""

_DRAFTS = (".draft", ".draft-wal", ".draft-shm", ".draft-journal")
"""How the names of files end that are renamed once they are whole."""

_BESIDE = (".sqlite-wal", ".sqlite-shm", *(copy.suffix for copy in copies_of(Path("any.sqlite"))))
"""How the names of files end that are nothing without their journal."""

SPARE_BYTES = 64 * 2**20
"""Room that a transfer leaves on the disk: a copy must not be what makes the memories refuse frames."""

_PAGES_AT_A_TIME = 1024
"""Pages copied between two looks whether the transfer was stopped: some milliseconds."""

# What is no fault of the file; extended codes have these in their low byte.
_PASSING = frozenset(
    (
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_INTERRUPT),
    )
)


class Export:
    """A memory of one moment as one file, on its way out. Safe for several threads."""

    def __init__(self, journal: Path) -> None:
        """Prepare it; `take` makes the file."""
        self._journal = journal
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def take(self) -> int:
        """Copy the memory as it is now, and check the copy; takes about as long as copying the file.

        The journal is open elsewhere, for writing. The copy needs no files beside it.

        Returns:
            Its bytes.

        Raises:
            MemoryUnreadable: the memory is damaged; a copy of it would be too.
            StoreUnavailable: there is no room for it, the disk refused, or the transfer was stopped.
        """
        with self._lock, _failures(self._stopped):
            draft = _draft(self._journal.parent, _EXPORT)
            try:
                _copy(self._journal, draft, self._stopped)
                with closing(_reader(draft, self._stopped)) as connection:
                    check_integrity(connection)
                self._file = draft.open("rb")
                return draft.stat().st_size
            finally:
                _remove(draft)  # the open file is all that is left of it

    def read(self, size_bytes: int) -> bytes:
        """Give the next bytes of the copy; none at its end.

        Raises:
            StoreUnavailable: the disk refused, or the transfer was stopped.
        """
        with self._lock, _failures(self._stopped):
            if self._file is None:
                raise StoreUnavailable("the transfer was stopped")
            data = self._file.read(size_bytes)
            self._digest.update(data)
            return data

    def sha256(self) -> bytes:
        """Give the SHA-256 of what was read."""
        with self._lock:
            return self._digest.digest()

    def stop(self) -> None:
        """Let what another thread is doing here end soon; does not wait for it."""
        self._stopped.set()

    def discard(self) -> None:
        """Stop, and remove the copy. May be called twice."""
        self.stop()
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


class Import:
    """A memory that arrives as one file. Safe for several threads."""

    def __init__(self, folder: Path) -> None:
        """Prepare it; the first bytes make the file, in `folder`."""
        self._folder = folder
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._draft: Path | None = None
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            StoreUnavailable: there is no room for them, the disk refused, or the transfer was stopped.
        """
        with self._lock, _failures(self._stopped):
            if self._draft is None or self._file is None:
                self._draft = _draft(self._folder, _IMPORT)
                self._file = self._draft.open("wb")
            _check_room(self._folder, len(data))
            self._file.write(data)
            self._digest.update(data)
            self._size_bytes += len(data)

    def finish(self, size_bytes: int, sha256: bytes) -> None:
        """Check that all has arrived, and that it is a memory; older ones are brought to the newest schema.

        Args:
            size_bytes: of the whole file.
            sha256: of the whole file.

        Raises:
            MemoryUnreadable: it is not whole, is no memory, or was written by a newer version.
            StoreUnavailable: the disk refused, or the transfer was stopped.
        """
        with self._lock, _failures(self._stopped):
            digest = self._digest.digest()
            if (self._size_bytes, digest) != (size_bytes, sha256):
                raise MemoryUnreadable(
                    f"expected {size_bytes} bytes with SHA-256 {sha256.hex()}, "
                    f"got {self._size_bytes} with {digest.hex()}"
                )
            if self._draft is None or self._file is None:
                raise MemoryUnreadable("expected a memory as one file, got an empty file")
            self._file.close()
            check_memory(self._draft, self._stopped)
            _sync(self._draft)

    def move_to(self, journal: Path) -> None:
        """Put what was checked in its place; when this returns, it is on disk under its name.

        Raises:
            StoreUnavailable: the disk refused, or the transfer was stopped; nothing is left under the name.
        """
        with self._lock, _failures(self._stopped):
            if self._draft is None:
                raise StoreUnavailable("the transfer was stopped")
            for leftover in ("-wal", "-shm"):  # of a memory that was there: SQLite would take them for this one's
                journal.with_name(journal.name + leftover).unlink(missing_ok=True)
            self._draft.rename(journal)
            self._draft = None
            try:
                _sync(journal.parent)
            except OSError:
                journal.unlink()
                raise

    def stop(self) -> None:
        """Let what another thread is doing here end soon; does not wait for it."""
        self._stopped.set()

    def discard(self) -> None:
        """Stop, and remove what arrived, unless it was put in its place. May be called twice.

        Raises:
            StoreUnavailable: the disk refused; the file is removed when the data folder is opened again.
        """
        self.stop()
        with self._lock:
            try:
                if self._file is not None:
                    self._file.close()
                if self._draft is not None:
                    _remove(self._draft)
            except OSError as error:
                raise StoreUnavailable(f"cannot remove what arrived: {error}") from error
            finally:
                self._file = self._draft = None


def clear(folder: Path) -> None:
    """Remove what a killed process has left in the folder of the memories; when this returns, it is gone from the disk.

    That is what transfers leave, drafts of journals and of copies of indexes, and what lay beside a journal that has
    been deleted.

    Raises:
        OSError: the disk refused.
    """
    leftovers = [path for path in folder.iterdir() if _is_left_over(path)]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    if leftovers:
        _sync(folder)


def _is_left_over(path: Path) -> bool:
    if path.name.startswith((_EXPORT, _IMPORT)) or path.name.endswith(_DRAFTS):
        return True
    journals = [path.with_name(path.name.removesuffix(end) + ".sqlite") for end in _BESIDE if path.name.endswith(end)]
    return any(not journal.exists() for journal in journals)


@contextmanager
def _failures(stopped: threading.Event) -> Iterator[None]:
    """Tell what is wrong with a file from what is wrong with the disk, and do nothing once the transfer was stopped."""
    if stopped.is_set():
        raise StoreUnavailable("the transfer was stopped")
    try:
        yield
    except sqlite3.Error as error:
        if stopped.is_set():
            raise StoreUnavailable("the transfer was stopped") from error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise StoreUnavailable(f"cannot copy a memory: {error}") from error
        raise MemoryUnreadable(f"expected a whole memory, got a file that SQLite refuses: {error}") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot copy a memory: {error}") from error


def _draft(folder: Path, prefix: str) -> Path:
    path = folder / f"{prefix}{uuid4().hex}"
    path.touch(exist_ok=False)  # with the rights that every journal has
    return path


def _remove(draft: Path) -> None:
    for leftover in draft.parent.glob(f"{draft.name}*"):
        leftover.unlink(missing_ok=True)


def _check_room(folder: Path, size_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes + SPARE_BYTES:
        raise StoreUnavailable(f"expected room for {size_bytes + SPARE_BYTES} bytes on the disk, found {free_bytes}")


def _reader(path: Path, stopped: threading.Event) -> sqlite3.Connection:
    """Connect for reading; what is read ends with an error once the transfer is stopped."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.set_progress_handler(stopped.is_set, LOOK_STEPS)
    return connection


def _copy(journal: Path, draft: Path, stopped: threading.Event) -> None:
    """Copy a journal that is being written, as it is at one moment."""

    def go_on(*_: int) -> None:
        if stopped.is_set():
            raise StoreUnavailable("the transfer was stopped")

    with closing(_reader(journal, stopped)) as source, closing(sqlite3.connect(draft, isolation_level=None)) as target:
        # One transaction over all steps: without it, every commit in between would make the copy begin again.
        source.execute("BEGIN")
        [(pages,)], [(page_bytes,)] = source.execute("PRAGMA page_count"), source.execute("PRAGMA page_size")
        _check_room(draft.parent, pages * page_bytes)
        target.execute("PRAGMA synchronous = OFF")  # a file that is gone after a crash anyway
        source.backup(target, pages=_PAGES_AT_A_TIME, progress=go_on)
        target.execute("PRAGMA journal_mode = DELETE")  # the copied header says WAL, which needs files beside it


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
