"""Memories that are shown footage under a policy, without a server. Part of `benchmarks.tune`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.growth import Vectors
from memory_store.config import MemoryStoreConfig
from memory_store.keeping import Keeping
from memory_store.memory import Memory
from memory_store.records import Clock, Encoded, Novel
from memory_store.store import MemoryStore

STREAM = "camera"

_GROUP = 64
"""Frames that are remembered at a time."""

_FRAME_US = 1_000_000 // 15
"""Time from one frame to the next."""

_SESSION = "0ab5ae0e-5a80-4a55-8d7a-5f8c0f2b3c11"


@contextmanager
def new_memory(
    dimension: int, threshold: float, *, held: int = 10_240, keeping: Keeping | None = None
) -> Iterator[Memory]:
    """Give an empty memory that goes when the block is left.

    Args:
        dimension: D.
        threshold: its novelty threshold.
        held: embeddings that it holds for curves.
        keeping: its policy beside the threshold.
    """
    with (
        TemporaryDirectory() as folder,
        closing(MemoryStore(Path(folder), MemoryStoreConfig(curve_frames=held))) as store,
    ):
        yield store.create("shown", "benchmark", dimension, threshold, keeping=keeping)


def show(memory: Memory, frames: Vectors) -> NDArray[np.bool_]:
    """Show frames to a memory, as one stream; tells which were kept: bool [T]."""
    session = memory.open_session(STREAM, _SESSION, Clock.SESSION, start_us=0).id
    kept = []
    for begin in range(0, len(frames), _GROUP):
        group = enumerate(frames[begin : begin + _GROUP], start=begin)
        verdicts = memory.remember(
            [Encoded(session, seq, seq * _FRAME_US, None, 0, frame, lambda: b"-") for seq, frame in group]
        )
        kept += [isinstance(verdict.outcome, Novel) for verdict in verdicts]
    return np.array(kept, np.bool_)
