"""What attention is handed for a query: the stays within its scope, and the blocks above them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.forest import BLOCK_SIZE, Leaves
from memory_store.reading import Reading
from memory_store.records import Embedding, Sighting
from memory_store.scope import Scope


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


def within(leaves: Leaves, scope: Scope, reading: Reading, stored: Callable[[int], Embedding]) -> Leaves:
    """Take the stays within a scope; those that it cuts count only their frames within it.

    A cut stay is put together from its sightings. Whole sightings stand by their means. Of a cut sighting no mean of
    the part is kept, and the mean of the whole would let frames beyond the cut show through: its part stands by the
    exemplar's embedding, which is within the threshold of each of them.

    Args:
        leaves: all stays.
        scope: what counts.
        reading: the sightings.
        stored: gives the embedding of an exemplar.
    """
    first_us, last_us = leaves.facts.column("first_us"), leaves.facts.column("last_us")
    overlaps = (last_us >= scope.first_us) & (first_us <= scope.last_us)
    if scope.stream_ids is not None:
        overlaps &= np.isin(leaves.facts.column("stream_id"), list(scope.stream_ids))
    inside = overlaps & (first_us >= scope.first_us) & (last_us <= scope.last_us)
    chosen = leaves.rows(inside)
    for name in leaves.facts.names(overlaps & ~inside):
        parts = [part for part in _parts(reading, name[0], name[3], scope) if part.frames]
        if parts:
            frames = sum(part.frames for part in parts)
            extent = (min(part.first_us for part in parts), max(part.last_us for part in parts))
            chosen = chosen.with_row((*name, frames, *extent), _mean(parts, stored(name[3])))
    return chosen


@dataclass(frozen=True, slots=True)
class _Part:
    """What lies within a scope of a sighting."""

    sighting: Sighting
    frames: int
    first_us: int
    last_us: int


def _parts(reading: Reading, stay_id: int, exemplar_id: int, scope: Scope) -> Iterator[_Part]:
    for sighting in reading.sightings_of_stay(stay_id, exemplar_id):
        if scope.first_us <= sighting.start_us and sighting.end_us <= scope.last_us:
            yield _Part(sighting, sighting.frames, sighting.start_us, sighting.end_us)
        else:
            seqs = (sighting.first_seq, sighting.last_seq)
            yield _Part(sighting, *reading.extent_within(sighting.session_id, seqs, scope))


def _mean(parts: Sequence[_Part], exemplar: Embedding) -> Embedding:
    total = np.zeros(len(exemplar))  # [D], float64
    for part in parts:
        stands = part.sighting.mean if part.frames == part.sighting.frames else exemplar
        total += stands.astype(np.float64) * part.frames
    mean: Embedding = (total / sum(part.frames for part in parts)).astype(np.float32)
    return mean
