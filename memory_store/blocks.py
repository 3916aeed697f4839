"""Closed blocks of stays, as sums: the level above the leaves, kept so that a block can be passed over unopened.

Blocks of blocks need no sums of their own: theirs are those of the blocks beneath, added up when they are told.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_COLUMNS = ("stream_id", "index", "row", "stays", "frames", "first_us", "last_us")

BlockSum = tuple[tuple[int, ...], NDArray[np.float32]]
"""A row of `Blocks.table`, and the mean of the frames beneath, float32 [D]."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """N blocks of stays at one instant, in the order in which they were closed."""

    table: NDArray[np.int64]
    """int64 [N, 7]: stream, place among the blocks of the stream, row of the first stay, stays, frames, first and last
    capture time. Blocks of which nothing is left have no stays."""

    means: NDArray[np.float32]
    """Means of the frames beneath: float32 [N, D]. Frames are of unit length, so that their spread around it is
    1 - |mean|^2."""

    def __len__(self) -> int:
        """Count the blocks."""
        return len(self.table)

    def column(self, name: str) -> NDArray[np.int64]:
        """One fact of every block: int64 [N]."""
        return self.table[:, _COLUMNS.index(name)]

    def chosen(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Blocks":
        """Copy some blocks."""
        return Blocks(self.table[chosen], self.means[chosen])

    def since(self, begin: int, number: int | None = None) -> "Blocks":
        """Give the blocks from a number on, so many or all."""
        end = None if number is None else begin + number
        return Blocks(self.table[begin:end], self.means[begin:end])

    def rows(self) -> NDArray[np.int64]:
        """Give the rows of all stays in these blocks, one block after the other: int64."""
        stays = self.column("stays")
        begins = np.repeat(self.column("row") - (np.cumsum(stays) - stays), stays)
        rows: NDArray[np.int64] = begins + np.arange(len(begins))
        return rows


class ClosedBlocks:
    """The closed blocks of a forest, growing. What readers hold does not change."""

    def __init__(self, dimension: int) -> None:
        """Begin empty."""
        self._number = 0
        self._table = np.empty((64, len(_COLUMNS)), np.int64)
        self._means = np.empty((64, dimension), np.float32)

    def append(self, block: BlockSum) -> None:
        """Add a block."""
        if self._number == len(self._table):
            self._table = np.concatenate([self._table, np.empty_like(self._table)])
            self._means = np.concatenate([self._means, np.empty_like(self._means)])
        self._table[self._number], self._means[self._number] = block
        self._number += 1

    def replace(self, changed: dict[int, BlockSum]) -> None:
        """Put others in the places of some blocks, by their number in the order of closing."""
        self._table, self._means = self._table.copy(), self._means.copy()
        for number, block in changed.items():
            self._table[number], self._means[number] = block

    def snapshot(self) -> Blocks:
        """Give the blocks as they are now."""
        return Blocks(self._table[: self._number], self._means[: self._number])


def block_sum(key: tuple[int, int], row: int, means: NDArray[np.float32], table: NDArray[np.int64]) -> BlockSum:
    """Sum up a block.

    Args:
        key: its stream, and its place among the blocks of the stream.
        row: of its first stay.
        means: of its stays, float32 [N, D].
        table: of its stays, int64 [N, 7], as `memory_store.forest.StayFacts` has it.
    """
    if not len(table):
        return (*key, row, 0, 0, 0, 0), np.zeros(means.shape[1], np.float32)
    frames = table[:, 4]
    total = frames.astype(np.float64) @ means.astype(np.float64)
    extent = (int(table[:, 5].min()), int(table[:, 6].max()))
    return (*key, row, len(table), int(frames.sum()), *extent), (total / frames.sum()).astype(np.float32)
