"""A copy of the index beside the journal: centroids, and which list each exemplar lies in.

The vectors are read from the journal. The copy only saves assigning them again; without it all of it comes back.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memory_store.checked_file import read_checked, write_checked

_FORMAT = "framekeep index 1"


class IndexCopyDamaged(Exception):
    """The file is not what was written."""


@dataclass(frozen=True, slots=True)
class IndexCopy:
    """What is saved of an index."""

    memory_uuid: str
    """The memory it belongs to."""

    trained_on: int
    """Exemplars there were when the centroids were trained."""

    centroids: NDArray[np.float32]
    """float32 [L, D]."""

    ids: NDArray[np.int64]
    """Exemplars, ascending: int64 [K]."""

    lists: NDArray[np.int64]
    """The list of each: int64 [K]."""

    def __post_init__(self) -> None:
        """Check that it names exemplars once and in order, and lists that there are.

        Raises:
            ValueError: it does not.
        """
        if (np.diff(self.ids) <= 0).any():
            raise ValueError("expected ascending exemplars")
        if ((self.lists < 0) | (self.lists >= len(self.centroids))).any():
            raise ValueError(f"expected lists from 0 to {len(self.centroids) - 1}")


def copy_path(journal: Path) -> Path:
    """Name the file beside a journal."""
    return journal.with_suffix(".index")


def write_copy(path: Path, copy: IndexCopy) -> None:
    """Put a copy in the place of the one before.

    Raises:
        OSError: the disk refused; the one before is still there.
    """
    header = {
        "format": _FORMAT,
        "memory": copy.memory_uuid,
        "trained_on": copy.trained_on,
        "centroids": list(copy.centroids.shape),
        "exemplars": len(copy.ids),
    }
    arrays = (copy.centroids.astype("<f4"), copy.ids.astype("<i8"), copy.lists.astype("<i4"))
    content = b"".join([json.dumps(header).encode() + b"\n", *(array.tobytes() for array in arrays)])
    write_checked(path, content)


def read_copy(path: Path, dimension: int) -> IndexCopy | None:
    """Read a copy; None if there is none.

    Raises:
        IndexCopyDamaged: the file is not what was written, or is of another width.
        OSError: it cannot be read at present.
    """
    if not path.exists():
        return None
    try:
        line, _, body = read_checked(path).partition(b"\n")
        header = json.loads(line)
        lists, width = header["centroids"]
        number = header["exemplars"]
        if header["format"] != _FORMAT or width != dimension:
            raise IndexCopyDamaged(f"expected {_FORMAT!r} of width {dimension} in {path}, got {line[:100]!r}")
        centroids = np.frombuffer(body, "<f4", lists * width).reshape(lists, width)
        ids = np.frombuffer(body, "<i8", number, lists * width * 4)
        places = np.frombuffer(body, "<i4", number, lists * width * 4 + number * 8)
        return IndexCopy(
            header["memory"],
            header["trained_on"],
            centroids.astype(np.float32),
            ids.astype(np.int64),
            places.astype(np.int64),
        )
    except (ValueError, LookupError, TypeError) as error:
        raise IndexCopyDamaged(f"expected a copy of an index in {path}: {error}") from error
