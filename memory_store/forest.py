"""The forest of stays: each stream's tree in the order of its stays, in memory. A copy of what the journal holds.

Blocks hold BLOCK_SIZE nodes and are filled one after the other, so the block of a stay follows from its position.
Only the last block of a stream, the open one, ever changes; closed blocks are shared with readers without a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.records import Sighting

BLOCK_SIZE = 100
"""Nodes in a block: the fan-out of the hierarchy."""

Growth = tuple[Sighting | None, Sighting]
"""A sighting as it was, None if it is new, and as it is."""

_FIELDS = ("stay_id", "stream_id", "position", "exemplar_id", "frames", "first_us", "last_us")


@dataclass(frozen=True, slots=True)
class Stay:
    """What one exemplar stands for inside one block of one stream, when it is opened."""

    id: int
    """Its number in the memory."""

    stream_id: int
    """The stream."""

    position: int
    """Its place among the stays of the stream, from 0."""

    exemplar_id: int
    """The exemplar."""


@dataclass(frozen=True, slots=True)
class StayFacts:
    """What is known of N stays at one instant, besides their means."""

    table: NDArray[np.int64]
    """int64 [N, 7], one column for each of `_FIELDS`."""

    def __len__(self) -> int:
        """Count the stays."""
        return len(self.table)

    def column(self, field: str) -> NDArray[np.int64]:
        """One fact of every stay: int64 [N]."""
        return self.table[:, _FIELDS.index(field)]

    def of_stream(self, stream_id: int) -> "StayFacts":
        """Take the stays of one stream."""
        return StayFacts(self.table[self.column("stream_id") == stream_id])

    def names(self, chosen: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
        """Name the stays for which `chosen`, bool [N], is true: stay, stream, position, exemplar."""
        return [(row[0], row[1], row[2], row[3]) for row in self.table[chosen].tolist()]


@dataclass(frozen=True, slots=True)
class Leaves:
    """N stays at one instant."""

    means: tuple[NDArray[np.float32], ...]
    """Means of the frames beneath: float32 [N, D] in pieces."""

    facts: StayFacts
    """What else is known of them."""

    def rows(self, chosen: NDArray[np.bool_]) -> "Leaves":
        """Copy the stays for which `chosen`, bool [N], is true."""
        edges = np.cumsum([0] + [len(piece) for piece in self.means])
        means = tuple(piece[chosen[edge : edge + len(piece)]] for edge, piece in zip(edges, self.means, strict=False))
        return Leaves(means, StayFacts(self.facts.table[chosen]))

    def with_row(self, facts: tuple[int, ...], mean: NDArray[np.float32]) -> "Leaves":
        """Add a stay: its `_FIELDS`, and its mean, float32 [D]."""
        row = np.array([facts], np.int64)
        return Leaves((*self.means, mean[None]), StayFacts(np.concatenate([self.facts.table, row])))


class _OpenStay:
    """A stay that may still take frames."""

    def __init__(self, stay: Stay, dimension: int) -> None:
        self.stay = stay
        self.frames = 0
        self.total = np.zeros(dimension)  # [D], float64: sums of many means stay exact far below float32
        self.first_us = 2**63 - 1
        self.last_us = -(2**63)

    def count(self, before: Sighting | None, after: Sighting) -> None:
        """Replace what one sighting contributes."""
        if before is not None:
            self.frames -= before.frames
            self.total -= before.mean.astype(np.float64) * before.frames
        self.frames += after.frames
        self.total += after.mean.astype(np.float64) * after.frames
        self.first_us = min(self.first_us, after.start_us)
        self.last_us = max(self.last_us, after.end_us)

    def mean(self) -> NDArray[np.float32]:
        mean: NDArray[np.float32] = (self.total / self.frames).astype(np.float32)
        return mean

    def facts(self) -> tuple[int, ...]:
        stay = self.stay
        return (stay.id, stay.stream_id, stay.position, stay.exemplar_id, self.frames, self.first_us, self.last_us)


class Forest:
    """All stays of a memory. Not safe for several threads; the memory's lock sees to that."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._closed = 0
        self._means = np.empty((0, dimension), np.float32)  # [capacity, D]
        self._facts = np.empty((0, len(_FIELDS)), np.int64)  # [capacity, 7]
        self._open: dict[int, list[_OpenStay]] = {}  # by stream
        self._open_by_id: dict[int, _OpenStay] = {}

    def grow(self, stays: Sequence[Stay], sightings: Sequence[Growth]) -> None:
        """Take in what a group of frames changed.

        Args:
            stays: new ones, in the order of their positions.
            sightings: new and grown ones, each of a new stay or of one in an open block.
        """
        by_stay: dict[int, list[Growth]] = {}
        for growth in sightings:
            by_stay.setdefault(growth[1].stay_id, []).append(growth)
        # Stays that were there come first: opening a new one may close their block.
        for stay_id in [stay_id for stay_id in by_stay if stay_id in self._open_by_id]:
            self._count(stay_id, by_stay.pop(stay_id))
        for stay in stays:
            self._open_stay(stay)
            self._count(stay.id, by_stay.pop(stay.id))

    def _open_stay(self, stay: Stay) -> None:
        block = self._open.setdefault(stay.stream_id, [])
        if len(block) == BLOCK_SIZE:
            self._close(block)
        opened = _OpenStay(stay, self._dimension)
        block.append(opened)
        self._open_by_id[stay.id] = opened

    def _count(self, stay_id: int, sightings: Sequence[Growth]) -> None:
        for before, after in sightings:
            self._open_by_id[stay_id].count(before, after)

    def facts(self) -> StayFacts:
        """Take what is known of all stays as they are now, without their means."""
        opened = [stay.facts() for block in self._open.values() for stay in block]
        rows = np.array(opened, np.int64).reshape(-1, len(_FIELDS))
        return StayFacts(np.concatenate([self._facts[: self._closed], rows]))

    def leaves(self) -> Leaves:
        """Take the stays as they are now. What is returned does not change any more."""
        opened = [stay.mean() for block in self._open.values() for stay in block]
        rows = np.array(opened, np.float32).reshape(-1, self._dimension)
        return Leaves((self._means[: self._closed], rows), self.facts())

    def _close(self, block: list[_OpenStay]) -> None:
        end = self._closed + len(block)
        if end > len(self._facts):
            # Readers keep the arrays they were given; the copies here only grow.
            spare = max(end, 2 * self._closed) - self._closed
            self._means = np.concatenate([self._means[: self._closed], np.empty((spare, self._dimension), np.float32)])
            self._facts = np.concatenate([self._facts[: self._closed], np.empty((spare, len(_FIELDS)), np.int64)])
        self._means[self._closed : end] = [stay.mean() for stay in block]
        self._facts[self._closed : end] = [stay.facts() for stay in block]
        self._closed = end
        for stay in block:
            del self._open_by_id[stay.stay.id]
        block.clear()
