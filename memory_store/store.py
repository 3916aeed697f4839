"""All memories of a data folder: one file each, one process at a time."""

import fcntl
import re
import threading
from pathlib import Path
from typing import IO

from memory_store.config import MemoryStoreConfig, check_threshold
from memory_store.errors import (
    DataFolderInUse,
    InvalidName,
    MemoryExists,
    MemoryNotFound,
    PolicyChanged,
    StoreUnavailable,
    TooManyMemories,
)
from memory_store.journal import Journal
from memory_store.memory import Memory

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
        """Take the data folder; it is created if it is missing.

        Raises:
            DataFolderInUse: another process has it.
            StoreUnavailable: it cannot be created or written.
        """
        self._config = config
        self._folder = folder / "memories"
        self._lock = threading.RLock()
        self._opened: dict[str, Memory] = {}
        self._closed = False
        self._folder_lock = _take(folder)

    def close(self) -> None:
        """Close all memories and let go of the folder."""
        with self._lock:
            self._closed = True
            for memory in self._opened.values():
                memory.close(StoreUnavailable("the server is stopping"))
            self._opened.clear()
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
                self._opened[name] = Memory(name, path, self._config.max_streams)
            return self._opened[name]

    def create(self, name: str, encoder_version: str, dimension: int, threshold: float | None) -> Memory:
        """Create an empty memory; when this returns, it is on disk.

        Args:
            name: its name.
            encoder_version: what it is bound to.
            dimension: D.
            threshold: in (0, 2]; None for the default.

        Raises:
            MemoryExists: the name is taken.
            InvalidName, InvalidThreshold, TooManyMemories: as they say.
            StoreUnavailable: the disk refused; safe to try again.
        """
        path = self._path(name)
        threshold = self._config.novelty_threshold if threshold is None else threshold
        check_threshold(threshold)
        with self._lock:
            self._check_open()
            if path.exists():
                raise MemoryExists(f"there is a memory {name} already")
            if len(self.names()) >= self._config.max_memories:
                raise TooManyMemories(f"expected at most {self._config.max_memories} memories")
            Journal.create(path, encoder_version, dimension, threshold)
            return self.get(name)

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
                opened.close(MemoryNotFound(f"memory {name} was deleted"))
            Journal.delete(path)


def _take(folder: Path) -> IO[str]:
    """Take the folder for this process: the lock goes with the file handle, however the process ends."""
    try:
        (folder / "memories").mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise StoreUnavailable(f"cannot use the data folder {folder}: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise DataFolderInUse(f"the data folder {folder} is used by another process") from error
    return lock
