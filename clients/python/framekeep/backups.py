"""A backup: a folder with a file for every memory of a server, and a manifest that was written last.

Every memory is saved as it is at a moment of its own, while the server goes on. A folder without a manifest is a backup
that was broken off.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from framekeep.client import Client
from framekeep.documents import document_from
from framekeep.errors import AlreadyExists, MemoryNotFound, MemoryUnreadable, TransferError
from framekeep.memories import Memory
from framekeep.memory_files import ENDING, Progress, digest_of, opened, written_whole
from framekeep.times import read_time

MANIFEST = "manifest.json"
"""The file that makes a folder a backup."""

_FORMAT = 1
"""The form of the manifest; another one was written by a newer framekeep."""

Watch = Callable[[str], Progress]
"""Told what comes next, gives what is told how far that is."""


@dataclass(frozen=True, slots=True)
class SavedMemory:
    """A memory in a backup."""

    memory: str
    """Its short name."""

    file: str
    """The name of its file in the folder."""

    size_bytes: int
    """Bytes of the file."""

    sha256: str
    """SHA-256 of the file, 64 hexadecimal digits."""

    encoder_version: str
    """The encoder version it is bound to."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a manifest says."""

    create_time: datetime
    """When it was begun, by the clock of the client, UTC."""

    server_version: str
    """The version of the server."""

    encoder_version: str
    """The encoder version of the server; memories may be of others."""

    memories: tuple[SavedMemory, ...]
    """The memories, by name."""

    unreadable: tuple[str, ...]
    """Memories that could not be read, and are not in the backup."""


def back_up(client: Client, folder: Path, watch: Watch) -> Backup:
    """Save every memory of a server in a folder.

    Args:
        client: the server's.
        folder: new or empty.
        watch: told the name of each memory.

    Returns:
        What was saved. Memories that were deleted meanwhile are left out.

    Raises:
        AlreadyExists: the folder holds something.
        TransferError: a file cannot be written. Without a manifest, the folder is no backup.
        FramekeepError: the server did not answer; likewise.
    """
    _take(folder)
    begun, info = datetime.now(UTC), client.server_info()
    unreadable = client.unreadable_memories()
    saved = []
    for memory in client.memories():
        file = f"{memory.name}{ENDING}"
        try:
            written = client.export_memory(memory.name, folder / file, progress=watch(memory.name))
        except MemoryNotFound:
            continue
        except MemoryUnreadable:
            unreadable.append(memory.name)
            continue
        saved.append(SavedMemory(memory.name, file, written.size_bytes, written.sha256, memory.encoder_version))
    backup = Backup(begun, info.version, info.encoder_version, tuple(saved), tuple(sorted(unreadable)))
    document = {"format": _FORMAT, "backup": document_from(backup)}
    with written_whole(folder / MANIFEST, overwrite=False) as manifest:
        manifest.write(json.dumps(document, indent=2).encode() + b"\n")
    return backup


def _take(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = next(folder.iterdir(), None) is None
    except OSError as error:
        raise TransferError(f"{folder}: {error.strerror}") from error
    if not is_empty:
        raise AlreadyExists(f"expected a new or empty folder, but {folder} holds something")


def read_backup(folder: Path) -> Backup:
    """Read the manifest of a backup.

    Raises:
        TransferError: there is none, or it is not one that this version can read.
    """
    path = folder / MANIFEST
    with opened(path) as file:
        text = file.read()
    try:
        document = json.loads(text)
        if document["format"] != _FORMAT:
            raise TransferError(f"expected a manifest of format {_FORMAT} in {path}, got {document['format']}")
        return _backup_from(**document["backup"])
    except (ValueError, LookupError, TypeError) as error:
        raise TransferError(f"expected the manifest of a backup in {path}: {error}") from error


def _backup_from(
    *,
    create_time: str,
    server_version: str,
    encoder_version: str,
    memories: list[dict[str, Any]],
    unreadable: list[str],
) -> Backup:
    saved = tuple(_saved_from(**memory) for memory in memories)
    return Backup(read_time(create_time), server_version, encoder_version, saved, tuple(unreadable))


def _saved_from(*, memory: str, file: str, size_bytes: int, sha256: str, encoder_version: str) -> SavedMemory:
    if Path(file).name != file:  # a manifest must not lead out of its folder
        raise ValueError(f"expected the name of a file, got {file!r}")
    return SavedMemory(memory, file, size_bytes, sha256, encoder_version)


def restore(client: Client, folder: Path, names: Sequence[str], watch: Watch) -> Iterator[Memory]:
    """Make memories of a backup again, one after the other, under the names that they had.

    All files are checked first, and that all names are free; only then is the first one restored.

    Args:
        client: the server's.
        folder: the backup.
        names: the memories to restore; none: all.
        watch: told the name of each memory.

    Yields:
        Each memory when it is on the server's disk.

    Raises:
        TransferError: the backup has no such memory, or a file is not as it was written.
        AlreadyExists: a name is taken.
        FramekeepError: the server did not take one; those before it are restored.
    """
    backup = read_backup(folder)
    unknown = set(names) - {saved.memory for saved in backup.memories}
    if unknown:
        raise TransferError(f"expected memories of the backup in {folder}, got {', '.join(sorted(unknown))}")
    chosen = [saved for saved in backup.memories if not names or saved.memory in names]
    there = {memory.name for memory in client.memories()} | set(client.unreadable_memories())
    taken = [saved.memory for saved in chosen if saved.memory in there]
    if taken:
        raise AlreadyExists(f"the server has {', '.join(taken)} already; nothing was restored")
    for saved in chosen:
        _check_file(folder, saved)
    for saved in chosen:
        yield client.import_memory(folder / saved.file, saved.memory, sha256=saved.sha256, progress=watch(saved.memory))


def _check_file(folder: Path, saved: SavedMemory) -> None:
    size_bytes, sha256 = digest_of(folder / saved.file)
    if (size_bytes, sha256) != (saved.size_bytes, saved.sha256):
        raise TransferError(
            f"expected {folder / saved.file} to have {saved.size_bytes} bytes with SHA-256 {saved.sha256}, "
            f"got {size_bytes} with {sha256}; nothing was restored"
        )
