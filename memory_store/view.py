"""What attention is handed for a query: the stays within its scope, and the blocks above them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.forest import BLOCK_SIZE, Leaves


@dataclass(frozen=True, slots=True)
class Nodes:
    """The blocks of one level."""

    stream_ids: NDArray[np.int64]
    """Their streams: int64 [N]."""

    indices: NDArray[np.int64]
    """Their places among the blocks of their level and stream, from 0: int64 [N]."""

    frames: NDArray[np.int64]
    """Frames beneath: int64 [N]."""

    first_us: NDArray[np.int64]
    """Earliest capture times beneath: int64 [N]."""

    last_us: NDArray[np.int64]
    """Latest capture times beneath: int64 [N]."""


@dataclass(frozen=True, slots=True)
class View:
    """Stays and blocks at one instant; what `encoder.hierarchical_attention.MemoryView` asks for, and their names."""

    leaves: Leaves
    """N_0 stays."""

    parents: tuple[NDArray[np.int64], ...]
    """For levels 0 to L - 1, the block of the level above that holds each node: int64 [N_l]."""

    blocks: tuple[Nodes, ...]
    """The blocks of levels 1 to L. At the top, each stream has a single one."""

    @property
    def means(self) -> tuple[NDArray[np.float32], ...]:
        """float32 [N_0, D] in pieces."""
        return self.leaves.means

    @property
    def counts(self) -> NDArray[np.int64]:
        """Frames beneath each stay: int64 [N_0]."""
        return self.leaves.facts.column("frames")

    @property
    def exemplar_ids(self) -> NDArray[np.int64]:
        """The exemplar of each stay: int64 [N_0]."""
        return self.leaves.facts.column("exemplar_id")


def view_of(leaves: Leaves) -> View:
    """Put the blocks over some stays: level after level, until every stream has a single block."""
    children = Nodes(
        stream_ids=leaves.facts.column("stream_id"),
        indices=leaves.facts.column("position"),
        frames=leaves.facts.column("frames"),
        first_us=leaves.facts.column("first_us"),
        last_us=leaves.facts.column("last_us"),
    )
    parents: list[NDArray[np.int64]] = []
    levels: list[Nodes] = []
    while not levels or children.indices.any():
        above, children = _blocks_over(children)
        parents.append(above)
        levels.append(children)
        if not len(leaves.facts):
            break
    return View(leaves, tuple(parents), tuple(levels))


def _blocks_over(children: Nodes) -> tuple[NDArray[np.int64], Nodes]:
    keys = np.stack([children.stream_ids, children.indices // BLOCK_SIZE], axis=1)  # [N, 2]
    blocks, parents = np.unique(keys, axis=0, return_inverse=True)  # [N', 2], [N]
    parents = parents.reshape(-1).astype(np.int64)
    frames = np.zeros(len(blocks), np.int64)
    np.add.at(frames, parents, children.frames)
    first_us = np.full(len(blocks), np.iinfo(np.int64).max)
    np.minimum.at(first_us, parents, children.first_us)
    last_us = np.full(len(blocks), np.iinfo(np.int64).min)
    np.maximum.at(last_us, parents, children.last_us)
    return parents, Nodes(blocks[:, 0], blocks[:, 1], frames, first_us, last_us)
