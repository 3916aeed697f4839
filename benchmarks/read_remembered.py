"""Footage in a memory of its own: what the store makes of real frames. Part of `benchmarks.read`."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.footage import Footage
from benchmarks.growth import Vectors
from memory_store.config import MemoryStoreConfig
from memory_store.records import Clock, Encoded
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from memory_store.view import View

THRESHOLD = 0.10

_GROUP = 64
"""Frames that are remembered at a time."""

_SESSION = "77e7b1a0-9d0c-4b5e-8b0e-3f4a52c1d6aa"


@dataclass(frozen=True, slots=True)
class Remembered:
    """Footage, and the memory that was shown it."""

    footage: Footage
    """All of it went into one stream."""

    store: MemoryStore
    """Holds the memory; to be closed once it is not asked any more."""

    view: View
    """The memory's stays."""

    exemplars: Vectors
    """The embeddings of its exemplars: float32 [K, D]."""

    on_record_bytes: int
    """What all its frames take on disk beside their records: the pages of what they looked like."""


@dataclass(frozen=True, slots=True)
class StayShapes:
    """How real stays look, apart from where they are: N of them."""

    frames: NDArray[np.int64]
    """Frames beneath: [N]."""

    lengths: NDArray[np.float32]
    """Of their means: [N], at most 1; the more the frames differ, the shorter."""


def remembered(footage: Footage, folder: Path) -> Remembered:
    """Show footage to a new memory, with a threshold of THRESHOLD, in a new folder."""
    store = MemoryStore(folder, MemoryStoreConfig())
    memory = store.create("shown", "benchmark", footage.frames.shape[1], THRESHOLD)
    session = memory.open_session("camera", _SESSION, Clock.SOURCE, start_us=None).id
    times_us = footage.times_us.tolist()
    for begin in range(0, len(footage.frames), _GROUP):
        group = enumerate(footage.frames[begin : begin + _GROUP], start=begin)
        memory.remember(
            [Encoded(session, seq, times_us[seq], times_us[seq], 0, frame, lambda: b"-") for seq, frame in group]
        )
    view = memory.view(Scope())
    exemplars = np.stack([memory.embedding(exemplar) for exemplar in view.exemplar_ids().tolist()])
    with closing(sqlite3.connect(folder / "memories" / "shown.sqlite")) as journal:
        [(on_record_bytes,)] = journal.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'frame_embeddings'")
    return Remembered(footage, store, view, exemplars, on_record_bytes)


def shapes_of(memories: Sequence[Remembered]) -> StayShapes:
    """Tell how the stays of some memories look."""
    leaves = [memory.view.leaves() for memory in memories]
    means = [np.concatenate(of.means) for of in leaves]
    return StayShapes(
        np.concatenate([of.facts.column("frames") for of in leaves]),
        np.concatenate([np.minimum(1, np.linalg.norm(of, axis=1)) for of in means]),
    )
