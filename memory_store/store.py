"""All memories of a data folder: one file each, one process at a time."""

import fcntl
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from memory_store.config import MemoryStoreConfig, check_threshold
from memory_store.copies import copies_of
from memory_store.errors import (
    DataFolderInUse,
    InvalidName,
    MemoryExists,
    MemoryNotFound,
    PolicyChanged,
    StoreUnavailable,
    TooManyMemories,
)
from memory_store.index_upkeep import new_workers
from memory_store.inspection import has_tidying
from memory_store.journal import Journal, sync_folder
from memory_store.keeping import Keeping
from memory_store.memory import Memory
from memory_store.records import Retention
from memory_store.transfer import Export, Import, clear

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_name(name: str) -> str:
    """Let a memory or stream name through.

    Raises:
        InvalidName: it is not 1 to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidName(f"expected a name of the form {NAME_PATTERN.pattern}, got {name!r}")
    return name


class MemoryStore:
    """The memories under one data folder. Safe for several threads.

    Memories are opened when they are first asked for, and stay open.
    """

    def __init__(self, folder: Path, config: MemoryStoreConfig) -> None:
        """Take the data folder; it is created if it is missing, and cleared of what transfers have left in it.

        Raises:
            DataFolderInUse: another process has it.
            StoreUnavailable: it cannot be created or written.
        """
        self._config = config
        self._folder = folder / "memories"
        self._lock = threading.RLock()
        self._opened: dict[str, Memory] = {}
        self._closed = False
        self._folder_lock = take(folder)
        try:
            clear(self._folder)
        except OSError as error:
            self._folder_lock.close()
            raise StoreUnavailable(f"cannot use the data folder {folder}: {error}") from error
        self._workers = new_workers()

    def close(self) -> None:
        """Close all memories and let go of the folder."""
        with self._lock:
            self._closed = True
            for memory in self._opened.values():
                memory.close(StoreUnavailable("the server is stopping"))
            self._opened.clear()
            self._workers.shutdown()
            self._folder_lock.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    def _path(self, name: str) -> Path:
        return self._folder / f"{check_name(name)}.sqlite"

    def names(self) -> list[str]:
        """Name all memories, in order."""
        stems = (path.stem for path in self._folder.glob("*.sqlite"))
        return sorted(stem for stem in stems if NAME_PATTERN.fullmatch(stem))

    def opened(self) -> list[Memory]:
        """Give the memories that are open."""
        with self._lock:
            return list(self._opened.values())

    def names_to_tidy(self) -> list[str]:
        """Name the memories that `Memory.tidy` may have work with, in order: a retention, or an unfinished removal.

        None is opened for it.

        Raises:
            StoreUnavailable: the store was closed.
        """
        found = []
        for name in self.names():
            with self._lock:
                self._check_open()
                if has_tidying(self._path(name), is_open=name in self._opened):
                    found.append(name)
        return found

    def get(self, name: str) -> Memory:
        """Give a memory; it is opened if it is not.

        Raises:
            MemoryNotFound: there is none of this name.
            MemoryUnreadable: its file cannot be used; the others can.
        """
        path = self._path(name)
        with self._lock:
            self._check_open()
            if name not in self._opened:
                if not path.exists():
                    raise MemoryNotFound(f"there is no memory {name}")
                self._opened[name] = Memory(name, path, self._config, self._workers)
            return self._opened[name]

    def create(
        self,
        name: str,
        encoder_version: str,
        dimension: int,
        threshold: float | None,
        retention: Retention | None = None,
        keeping: Keeping | None = None,
    ) -> Memory:
        """Create an empty memory; when this returns, it is on disk.

        Args:
            name: its name.
            encoder_version: what it is bound to.
            dimension: D.
            threshold: in (0, 2]; None for the default.
            retention: how long it keeps what it sees; None for without limit.
            keeping: what there is to deciding beside the threshold; None for the default.

        Raises:
            MemoryExists: the name is taken.
            InvalidName, InvalidThreshold, TooManyMemories: as they say.
            StoreUnavailable: the disk refused; safe to try again.
        """
        path = self._path(name)
        threshold = self._config.novelty_threshold if threshold is None else threshold
        check_threshold(threshold)
        with self._lock:
            self._check_free(name)
            _remove_copies(path)
            Journal.create(path, encoder_version, dimension, threshold, keeping or Keeping())
            memory = self.get(name)
            if retention is not None:
                try:
                    memory.set_retention(retention)
                except StoreUnavailable:
                    self.delete(name)
                    raise
            return memory

    def _check_free(self, name: str) -> None:
        self._check_open()
        if self._path(name).exists():
            raise MemoryExists(f"there is a memory {name} already")
        if len(self.names()) >= self._config.max_memories:
            raise TooManyMemories(f"expected at most {self._config.max_memories} memories")

    def delete(self, name: str, expected_revision: int | None = None) -> None:
        """Delete a memory with all it holds. Whoever still writes to it is refused.

        Raises:
            MemoryNotFound: there is none of this name.
            PolicyChanged: its policy is not at `expected_revision`.
            StoreUnavailable: the disk refused; the memory may be gone or not.
        """
        path = self._path(name)
        with self._lock:
            self._check_open()
            if not path.exists():
                raise MemoryNotFound(f"there is no memory {name}")
            if expected_revision is not None:
                revision = self.get(name).policy().revision
                if revision != expected_revision:
                    raise PolicyChanged(f"expected revision {expected_revision}, found {revision}")
            opened = self._opened.pop(name, None)
            if opened is not None:
                opened.close(MemoryNotFound(f"memory {name} was deleted"), deleted=True)
            _remove_copies(path)
            Journal.delete(path)

    def export(self, name: str) -> Export:
        """Begin to give a memory out as one file; it goes on taking frames meanwhile.

        Raises:
            MemoryNotFound: there is none of this name.
            MemoryUnreadable: its file cannot be used.
        """
        self.get(name)  # opens it: only beside a connection that writes can a journal be read while it is written
        return Export(self._path(name))

    def receive(self, name: str) -> Import:
        """Begin to take a memory in as one file; `adopt` makes it one.

        Raises:
            MemoryExists: the name is taken.
            InvalidName, TooManyMemories: as they say.
        """
        with self._lock:
            self._check_free(name)
        return Import(self._folder)

    def adopt(self, arrived: Import, name: str, size_bytes: int, sha256: bytes) -> Memory:
        """Make a memory of what has arrived; when this returns, it is on disk. Nobody sees it before.

        Args:
            arrived: what was received; discard it afterwards, whatever comes of this.
            name: what the memory is to be called.
            size_bytes: of the whole file.
            sha256: of the whole file.

        Raises:
            MemoryUnreadable: it is not whole, is no memory, or was written by a newer version. Nothing was changed.
            MemoryExists: the name was taken meanwhile.
            InvalidName, TooManyMemories: as they say.
            StoreUnavailable: the disk refused, or the transfer was stopped; nothing is left under the name.
        """
        path = self._path(name)
        arrived.finish(size_bytes, sha256)  # long, and without the lock: the other memories go on
        with self._lock:
            self._check_free(name)
            _remove_copies(path)
            arrived.move_to(path)
            try:
                return self.get(name)
            except BaseException:
                Journal.delete(path)
                raise


def _remove_copies(path: Path) -> None:
    """Remove the copies that may lie beside a journal: the next journal of this name has others."""
    try:
        for copy in copies_of(path):
            copy.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"cannot remove what lies beside {path}: {error}") from error


def take(folder: Path) -> IO[str]:
    """Take the folder for this process: the lock goes with the file handle, however the process ends."""
    memories = folder / "memories"
    try:
        _make(memories)
        lock = (folder / "lock").open("w")
        # The folders themselves, and what a killed server had renamed or removed in them and not synced.
        for path in (memories, folder):
            sync_folder(path)
    except OSError as error:
        raise StoreUnavailable(f"cannot use the data folder {folder}: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise DataFolderInUse(f"the data folder {folder} is used by another process") from error
    return lock


def _make(folder: Path) -> None:
    """Make a folder and those around it, each on disk before the next: of those found, only the last may not be."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    if missing:
        with suppress(PermissionError):  # whoever may not look into the folder around it did not make it
            sync_folder(missing[-1].parent.parent)
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)
