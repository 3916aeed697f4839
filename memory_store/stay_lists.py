"""Closed stays by what they show: those whose exemplars lie in the same list of the index. On the query's way.

Stays that are alike differ little in what they weigh, so that a few of them tell of all: reading by lists makes half
the error, or less, of drawing by blocks of time for as many vectors (`python -m benchmarks.read`). A copy of what
forest and index hold; it grows with every block that is closed, and is made again aside when the index has been trained
anew or closed stays have changed. While there is none, blocks of time do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.blocks import Blocks
from memory_store.vectors import add_by

Ids = NDArray[np.int64]

_FEW = 10
"""So many blocks may be closed without the lists being put in order again; their stays are read as recent ones."""

_FREQUENT_SHARE = 16
"""An exemplar that has more than one in so many of the rows that are asked for is seen often."""

_SHARE = 256
"""One block in so many, where that is more."""


_SPARSE = 16
"""Numbers for each exemplar, from the lowest to the highest, beyond which there is no table of their places."""


@dataclass(frozen=True, slots=True)
class ListStrata:
    """The lists at one instant: what `encoder.memory_view.Strata` asks for."""

    means: NDArray[np.float32]
    """Means of the frames beneath: float32 [S, D]."""

    frames: Ids
    """Frames beneath: int64 [S]."""

    stays: Ids
    """Stays beneath: int64 [S]."""

    ends: Ids
    """Where the stays of each list end in `order`: int64 [S]."""

    order: NDArray[np.int32]
    """Rows of the stays, list after list: int32 [N]."""

    cumulative: NDArray[np.uint32] | Ids
    """Frames of each of these stays and those before it in its list: uint32 [N], or int64 if a list has too many."""

    blocks: int
    """The blocks that were closed first, so many, are in the lists."""

    numbers: Ids
    """Which lists of the index these are: int64 [S]."""

    by_exemplar: NDArray[np.int32]
    """Rows of the stays in the order of their exemplars' numbers: int32 [N]."""

    exemplars: Ids
    """These numbers, each once, ascending: int64 [E]."""

    begins: Ids
    """Where the stays of each begin in that order, and where those of the last end: int64 [E + 1]."""

    places: NDArray[np.int32] | None
    """The place of each number among them, from the lowest on: int32, -1 for numbers that are none of them. To look one
    up among a million that are not at hand takes longer than to read its stays. None if most numbers are missing."""

    def rows_of(self, exemplar_ids: Ids, most: int) -> Ids:
        """Give the rows of all stays of some exemplars, as long as these are not too many.

        Args:
            exemplar_ids: each once; the first come first.
            most: rows. Exemplars that have more than a share of that by themselves are left out: their stays are alike,
                and a few tell of all.
        """
        found = self._places_of(exemplar_ids)
        begins, ends = self.begins[found], self.begins[found + 1]
        few = ends - begins <= most // _FREQUENT_SHARE
        few &= np.cumsum(np.where(few, ends - begins, 0)) <= most
        begins, ends = begins[few], ends[few]
        numbers = ends - begins
        places = np.repeat(ends - np.cumsum(numbers), numbers) + np.arange(int(numbers.sum()))
        rows: Ids = self.by_exemplar[places].astype(np.int64)
        return rows

    def _places_of(self, exemplar_ids: Ids) -> Ids:
        """Find exemplars among those of the stays; others are left out."""
        if not len(self.exemplars):
            return np.empty(0, np.int64)
        if self.places is None:
            found = np.minimum(np.searchsorted(self.exemplars, exemplar_ids), len(self.exemplars) - 1)
            there: Ids = found[self.exemplars[found] == exemplar_ids]
            return there
        numbers = exemplar_ids - self.exemplars[0]
        places: Ids = self.places[numbers[(numbers >= 0) & (numbers < len(self.places))]].astype(np.int64)
        return places[places >= 0]

    def rows(self, chosen: Ids) -> Ids:
        """Give the rows of all stays in some lists."""
        stays = self.stays[chosen]
        begins = np.repeat(self.ends[chosen] - np.cumsum(stays), stays)
        rows: Ids = self.order[begins + np.arange(len(begins))].astype(np.int64)
        return rows

    def draw(self, strata: Ids, at: NDArray[np.float64]) -> Ids:
        """Give the rows of the stays that hold the frames at the shares `at` of the frames of lists."""
        frames = self.frames[strata]
        frame = np.minimum((at * frames).astype(np.int64), frames - 1).astype(self.cumulative.dtype)
        # By halves of each list alone: the search of all of them would wait for memory at every step.
        ends = self.ends[strata] - 1
        begins = ends + 1 - self.stays[strata]
        for _ in range(int(self.stays[strata].max(initial=1) - 1).bit_length()):
            middle = (begins + ends) >> 1
            beyond = self.cumulative[middle] > frame
            ends = np.where(beyond, middle, ends)
            begins = np.where(beyond, begins, np.minimum(middle + 1, ends))
        rows: Ids = self.order[begins].astype(np.int64)
        return rows


class StayLists:
    """Which list each closed stay is in, growing. Not safe for several threads; the memory's lock sees to that."""

    def __init__(self, dimension: int) -> None:
        """Begin empty."""
        self._blocks = 0
        self._stays = 0
        self._rows = np.empty(1024, np.int32)
        self._frames = np.empty(1024, np.int64)
        self._lists = np.empty(1024, np.int32)
        self._exemplars = np.empty(1024, np.int64)
        self._totals = np.zeros((0, dimension))
        self._strata: ListStrata | None = None

    @property
    def blocks(self) -> int:
        """How many closed blocks are in the lists."""
        return self._blocks

    def add(self, blocks: Blocks, frames: Ids, means: NDArray[np.float32], lists: Ids, exemplars: Ids) -> None:
        """Add the next blocks that were closed.

        Args:
            blocks: N' of them.
            frames: of their stays, int64 [N].
            means: of these, float32 [N, D].
            lists: that their exemplars lie in, int64 [N].
            exemplars: int64 [N].
        """
        end = self._stays + len(lists)
        while end > len(self._rows):
            columns = (self._rows, self._frames, self._lists, self._exemplars)
            self._rows, self._frames, self._lists, self._exemplars = (
                np.concatenate([column, np.empty_like(column)]) for column in columns
            )
        self._rows[self._stays : end] = blocks.rows()
        self._frames[self._stays : end] = frames
        self._lists[self._stays : end] = lists
        self._exemplars[self._stays : end] = exemplars
        missing = int(lists.max(initial=-1)) + 1 - len(self._totals)
        if missing > 0:
            more = max(missing, len(self._totals) // 2)
            self._totals = np.concatenate([self._totals, np.zeros((more, self._totals.shape[1]))])
        add_by(self._totals, lists, means.astype(np.float64) * frames[:, None])
        self._stays = end
        self._blocks += len(blocks)

    def strata(self) -> ListStrata:
        """Put the lists in order, unless few stays came since that was done."""
        before = self._strata
        if before is None or self._blocks - before.blocks > max(_FEW, before.blocks // _SHARE):
            self._strata = self._ordered()
            return self._strata
        return before

    def _ordered(self) -> ListStrata:
        lists, frames = self._lists[: self._stays], self._frames[: self._stays]
        order = np.argsort(lists, kind="stable")
        cumulative = np.cumsum(frames[order])
        ends = np.searchsorted(lists[order], np.arange(len(self._totals)), side="right")
        stays = np.diff(ends, prepend=0)
        there = np.flatnonzero(stays)
        ends, stays = ends[there], stays[there]
        beneath = np.diff(cumulative[ends - 1], prepend=0)
        cumulative -= np.repeat(cumulative[ends - 1] - beneath, stays)
        if beneath.max(initial=0) < 2**32:
            cumulative = cumulative.astype(np.uint32)  # half as much to wait for
        exemplars = self._exemplars[: self._stays]
        by_exemplar = np.argsort(exemplars, kind="stable")  # which is quick, as most are in order
        numbers, begins = np.unique(exemplars[by_exemplar], return_index=True)
        places = None
        if len(numbers) and numbers[-1] - numbers[0] < _SPARSE * len(numbers):
            places = np.full(int(numbers[-1] - numbers[0]) + 1, -1, np.int32)
            places[numbers - numbers[0]] = np.arange(len(numbers))
        return ListStrata(
            means=(self._totals[there] / beneath[:, None]).astype(np.float32),
            frames=beneath,
            stays=stays,
            ends=ends,
            order=self._rows[: self._stays][order],
            cumulative=cumulative,
            blocks=self._blocks,
            numbers=there,
            by_exemplar=self._rows[: self._stays][by_exemplar],
            exemplars=numbers,
            begins=np.append(begins, len(exemplars)),
            places=places,
        )
