"""A memory as a file on this machine: written whole or not at all, and read chunk by chunk."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from framekeep.errors import AlreadyExists, TransferError

Location = str | PathLike[str]
"""The path of a file."""

Progress = Callable[[int, int], object]
"""Told how many bytes have gone over, and of how many."""

CHUNK_BYTES = 2**20
"""Bytes of a file in one message, as the contract says."""

ENDING = ".sqlite"
"""Of files that are named by this package: what they are."""


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A memory in a file."""

    memory: str
    """Its short name on the server it comes from."""

    path: Path
    """The file."""

    size_bytes: int
    """Bytes of the file."""

    sha256: str
    """SHA-256 of the file, 64 hexadecimal digits."""


@contextmanager
def written_whole(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """While this lasts, `FILE.part` is written, by one process at a time; when it ends well, that becomes `FILE`.

    Then it is on the disk under its name. When it ends otherwise, nothing is left.

    Raises:
        AlreadyExists: there is a file of this name, and `overwrite` is false.
        TransferError: the disk refused, or another process writes the same file.
    """
    if not overwrite:
        _refuse_existing(path)
    part = path.with_name(f"{path.name}.part")
    with _told(part), _locked(part) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not overwrite:  # it may have come meanwhile
                _refuse_existing(path)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise AlreadyExists(f"expected no file {path}, but there is one")


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open a file for writing and empty it, if no other process has done so; what a killed one has left is reused."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.path.samestat(os.fstat(file.fileno()), part.stat())
        except (BlockingIOError, FileNotFoundError):
            is_there = False
        if not is_there:  # the process that had it may also have just put it in its place
            raise TransferError(f"expected {part} for this export alone, but another process is writing it")
        file.truncate(0)
        yield file


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file that is read.

    Raises:
        TransferError: it cannot be.
    """
    with _told(path), path.open("rb") as file:
        yield file


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into an error of this package."""
    try:
        yield
    except OSError as error:
        raise TransferError(f"{error.filename or path}: {error.strerror or error}") from error


def digest_of(path: Path) -> tuple[int, str]:
    """The size in bytes and the SHA-256 of a file, in hexadecimal digits.

    Raises:
        TransferError: it cannot be read.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with opened(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return size_bytes, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
