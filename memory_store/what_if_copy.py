"""A copy beside the journal of what is held for curves over thresholds, which the journal does not have.

Embeddings of frames that were dropped, and what virtual gates decided. Without it curves begin with the frames that
come; nothing else depends on it.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_store.checked_file import read_checked, write_checked
from memory_store.seen_frames import Frames
from memory_store.virtual_gates import Entries, GatesState
from memory_store.what_if import THRESHOLDS, WhatIfState
from memory_store.what_if_rows import Rows

_FORMAT = "framekeep what-if 1"

Array = NDArray[Any]


class WhatIfCopyDamaged(Exception):
    """The file is not what was written."""


@dataclass(frozen=True, slots=True)
class WhatIfCopy:
    """What is saved."""

    memory_uuid: str
    """The memory it belongs to."""

    state: WhatIfState
    """All that is remembered."""

    next_exemplar: int = 1
    """The number of the first exemplar whose frame is not in it."""


def copy_path(journal: Path) -> Path:
    """Name the file beside a journal."""
    return journal.with_suffix(".whatif")


def write_copy(path: Path, copy: WhatIfCopy) -> None:
    """Put a copy in the place of the one before.

    Raises:
        OSError: the disk refused; the one before is still there.
    """
    state = copy.state
    header = {
        "format": _FORMAT,
        "memory": copy.memory_uuid,
        "next_exemplar": copy.next_exemplar,
        "thresholds": THRESHOLDS,
        "dimension": state.waiting.vectors.shape[1],
        "entries": len(state.gates.entries),
        "waiting": len(state.waiting),
        "rows": len(state.rows),
        "streams": len(state.last_captures),
        "frames": state.gates.frames,
        "complete": state.gates.complete,
    }
    arrays = zip(_arrays(state), _layout(header), strict=True)
    content = b"".join(
        [json.dumps(header).encode() + b"\n", *(array.astype(kind).tobytes() for array, (kind, _) in arrays)]
    )
    write_checked(path, content)


def read_copy(path: Path, dimension: int) -> WhatIfCopy | None:
    """Read a copy; None if there is none.

    Raises:
        WhatIfCopyDamaged: the file is not what was written, or is of another width or other thresholds.
        OSError: it cannot be read at present.
    """
    if not path.exists():
        return None
    try:
        line, _, body = read_checked(path).partition(b"\n")
        header = json.loads(line)
        expected = (_FORMAT, dimension, list(THRESHOLDS))
        if (header["format"], header["dimension"], header["thresholds"]) != expected:
            raise WhatIfCopyDamaged(
                f"expected {_FORMAT!r} of width {dimension} at {THRESHOLDS} in {path}, got {line[:200]!r}"
            )
        state = _state_from(header, _read_arrays(body, header))
        return WhatIfCopy(header["memory"], state, int(header["next_exemplar"]))
    except (ValueError, LookupError, TypeError) as error:
        raise WhatIfCopyDamaged(f"expected a copy for curves in {path}: {error}") from error


def _arrays(state: WhatIfState) -> tuple[Array, ...]:
    """Give all arrays in the order in which they are written."""
    entries, rows = state.gates.entries, state.rows
    last_captures = np.array(list(state.last_captures.items()), np.int64).reshape(-1, 2)
    return (
        *entries.frames.columns(),
        *(entries.flags, entries.used, entries.seen_us),
        *(state.gates.exemplars, state.gates.over),
        *state.waiting.columns(),
        *(rows.table, rows.sums, rows.largest),
        last_captures,
    )


def _layout(header: dict[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    """Tell the type and shape of each of these arrays."""
    gates, width = len(THRESHOLDS), header["dimension"]
    entries, waiting, rows, streams = (header[name] for name in ("entries", "waiting", "rows", "streams"))

    def of_frames(number: int) -> list[tuple[str, tuple[int, ...]]]:
        return [("<f2", (number, width)), ("<i8", (number,)), ("<i8", (number,)), ("?", (number,)), ("<i8", (number,))]

    return [
        *of_frames(entries),
        *[("?", (entries, gates)), ("<i8", (entries,)), ("<i8", (entries, gates))],
        *[("<f8", (gates,)), ("?", (gates,))],
        *of_frames(waiting),
        *[("<i8", (rows, 5)), ("<f8", (rows, 3, gates)), ("<f8", (rows, gates))],
        ("<i8", (streams, 2)),
    ]


def _read_arrays(body: bytes, header: dict[str, Any]) -> Iterator[Array]:
    offset = 0
    for kind, shape in _layout(header):
        number = math.prod(shape)
        yield np.frombuffer(body, kind, number, offset).reshape(shape).astype(np.dtype(kind).newbyteorder("="))
        offset += number * np.dtype(kind).itemsize


def _state_from(header: dict[str, Any], arrays: Iterator[Array]) -> WhatIfState:
    """Put the arrays back, in the order in which they were written."""

    def some(number: int) -> list[Array]:
        return [next(arrays) for _ in range(number)]

    entries = Entries(Frames(*some(5)), *some(3))
    exemplars, over = some(2)
    waiting, rows = Frames(*some(5)), Rows(*some(3))
    return WhatIfState(
        gates=GatesState(entries, exemplars, over, header["frames"], header["complete"]),
        rows=rows,
        waiting=waiting,
        last_captures=dict(next(arrays).tolist()),
    )
