"""What a process did to the files of a folder, operation by operation: building the recorder, and reading its log.

The recorder is `disk_trace.c`, which is preloaded into the process.
"""

import shutil
import struct
import subprocess
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("disk_trace.c")

_HEAD = struct.Struct("<IIIIQQqq")


class NoCompiler(Exception):
    """The recorder cannot be built on this machine."""


class DiskStep(IntEnum):
    """What can be done to a file or folder; the values are those of `disk_trace.c`."""

    RESULT = 0
    CREATE = 1
    MAKE_FOLDER = 2
    WRITE = 3
    TRUNCATE = 4
    SYNC = 5
    RENAME = 6
    LINK = 7
    REMOVE = 8


@dataclass(frozen=True, slots=True)
class DiskOperation:
    """One operation."""

    step: DiskStep
    """What was done; never RESULT."""

    inode: int
    """The file or folder; 0 for what is created and has no result."""

    offset: int
    """Where a write begins, or the new size of TRUNCATE."""

    path: str
    """The entry that was created, moved or removed; else empty."""

    other: str
    """Where RENAME and LINK lead; else empty."""

    data: bytes
    """What was written; where fewer bytes were taken than given, those that were taken."""

    ended_ns: int | None
    """CLOCK_MONOTONIC when it had been done; None if the process died before it could say so."""


def build(folder: Path) -> Path:
    """Compile the recorder into a folder.

    Raises:
        NoCompiler: there is none.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise NoCompiler(
            "expected a C compiler on the path (cc, gcc or clang) to build the recorder of disk operations"
        )
    library = folder / "disk_trace.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


def read_trace(log: Path) -> list[DiskOperation]:
    """Read a log; operations that failed are left out, and the last one may have no result."""
    operations: list[DiskOperation] = []
    content = log.read_bytes() if log.exists() else b""
    begun: DiskOperation | None = None
    place = 0
    while place + _HEAD.size <= len(content):
        step, path_bytes, other_bytes, _, data_bytes, inode, offset, at_ns = _HEAD.unpack_from(content, place)
        place += _HEAD.size
        parts = []
        for size_bytes in (path_bytes, other_bytes, data_bytes):
            parts.append(content[place : place + size_bytes])
            place += size_bytes
        if place > len(content):  # cut off by the death of the process: it was not begun
            break
        if step != DiskStep.RESULT:
            path, other, data = parts
            begun = DiskOperation(DiskStep(step), inode, offset, path.decode(), other.decode(), data, None)
            continue
        if begun is None:
            raise ValueError(f"expected an operation before its result in {log} at byte {place}")
        if offset >= 0:
            data = begun.data[:offset] if begun.step is DiskStep.WRITE else b""
            operations.append(replace(begun, inode=inode, data=data, ended_ns=at_ns))
        begun = None
    return operations if begun is None else [*operations, begun]
