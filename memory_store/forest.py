"""The forest of stays: each stream's tree in the order of its stays, in memory. A copy of what the journal holds.

Blocks hold up to BLOCK_SIZE nodes and are filled one after the other, so the block of a stay follows from its
position. Only the last block of a stream, the open one, grows; closed blocks are shared with readers without a copy,
and forgetting replaces them by others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memory_store.blocks import Blocks, BlockSum, ClosedBlocks, block_sum
from memory_store.records import Sighting

BLOCK_SIZE = 100
"""Nodes in a block: the fan-out of the hierarchy."""

_PIECE = 32_768
"""Closed stays in one array: growing never copies more, and forgetting copies no more than this of others."""

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
    """Its place among the stays of the stream, from 0; what was forgotten leaves gaps."""

    exemplar_id: int
    """The exemplar."""


@dataclass(frozen=True, slots=True)
class StaySum:
    """A stay with the sums over its sightings."""

    stay: Stay
    """The stay."""

    frames: int
    """Frames beneath; 0 if nothing is left of it."""

    total: NDArray[np.float64]
    """Sum of the frames' embeddings: float64 [D]."""

    first_us: int
    """Earliest capture time."""

    last_us: int
    """Latest capture time."""


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The stays at one instant, in pieces that do not change any more."""

    means: tuple[NDArray[np.float32], ...]
    """Means of the frames beneath: float32 [N, D] in pieces. The last piece holds the stays of open blocks, or, in what
    `Forest.closed` gives, there is no such piece."""

    tables: tuple[NDArray[np.int64], ...]
    """What else is known of them, in the same pieces: int64 [N, 7]."""

    cumulative: tuple[NDArray[np.int64], ...]
    """Frames of each stay and those before it in its piece, for the pieces of closed blocks: int64 [N]."""

    blocks: Blocks
    """Closed blocks."""

    piece_rows: int
    """Row i of piece p has the number p x piece_rows + i."""

    generation: int
    """Changes whenever stays that were closed do: rows of one generation are not those of another."""

    def stays_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Copy stays by their rows, in any order: means float32 [R, D], and facts int64 [R, 7]."""
        means = np.empty((len(rows), self.means[0].shape[1]), np.float32)
        table = np.empty((len(rows), len(_FIELDS)), np.int64)
        for piece, to, within in self._by_piece(rows):
            means[to], table[to] = self.means[piece][within], self.tables[piece][within]
        return means, table

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Copy stays by their rows in ascending order: means float32 [R, D], and frames int64 [R]."""
        means = np.empty((len(rows), self.means[0].shape[1]), np.float32)
        frames = np.empty(len(rows), np.int64)
        last = len(self.means) - 1
        edges = np.searchsorted(rows, np.arange(1, last + 1) * self.piece_rows)
        for piece, (begin, end) in enumerate(pairwise([0, *edges.tolist(), len(rows)])):
            if begin < end:
                within = rows[begin:end] - piece * self.piece_rows
                # In this mode what is taken goes straight to its place.
                self.means[piece].take(within, axis=0, out=means[begin:end], mode="clip")
                frames[begin:end] = self.tables[piece][:, _FIELDS.index("frames")][within]
        return means, frames

    def _by_piece(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Sort rows by piece: the piece, the places of its rows in `rows`, and their places in the piece."""
        last = len(self.means) - 1
        # The last piece may have more rows than others: it is where stays are that are in no piece of the forest.
        pieces = np.minimum(rows // self.piece_rows, last)
        order = np.argsort(pieces, kind="stable")
        edges = np.searchsorted(pieces[order], np.arange(last + 2))
        for piece in np.flatnonzero(np.diff(edges)).tolist():
            to = order[edges[piece] : edges[piece + 1]]
            yield piece, to, rows[to] - piece * self.piece_rows

    def facts_of(self, rows: NDArray[np.int64]) -> StayFacts:
        """Copy what is known of stays by their rows, in any order."""
        table = np.empty((len(rows), len(_FIELDS)), np.int64)
        for piece, to, within in self._by_piece(rows):
            table[to] = self.tables[piece][within]
        return StayFacts(table)

    def find(self, stay_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], StayFacts]:
        """Find stays by their numbers: rows and facts, all facts 0 where there is none. Grows with all stays."""
        numbers = np.concatenate([table[:, 0] for table in self.tables])
        rows = np.concatenate(
            [piece * self.piece_rows + np.arange(len(table)) for piece, table in enumerate(self.tables)]
        )
        order = np.argsort(numbers, kind="stable")
        places = np.searchsorted(numbers, stay_ids, sorter=order)
        there = places < len(order)
        found = np.zeros(len(stay_ids), np.int64)
        found[there] = rows[order[places[there]]]
        there[there] = numbers[order[places[there]]] == stay_ids[there]
        table = self.facts_of(found).table if len(rows) else np.zeros((len(stay_ids), len(_FIELDS)), np.int64)
        return found, StayFacts(np.where(there[:, None], table, 0))

    def with_stays(self, facts: Sequence[tuple[int, ...]], means: Sequence[NDArray[np.float32]]) -> "Snapshot":
        """Add stays to the last piece: their `_FIELDS`, and their means, float32 [D]."""
        last_means = np.concatenate([self.means[-1], np.stack(means)])
        last_table = np.concatenate([self.tables[-1], np.array(facts, np.int64)])
        return replace(self, means=(*self.means[:-1], last_means), tables=(*self.tables[:-1], last_table))

    def leaves(self) -> Leaves:
        """Put the pieces together; grows with their number, so it is done where nobody waits."""
        return Leaves(self.means, StayFacts(np.concatenate(self.tables)))


@dataclass(slots=True)
class Totals:
    """What a stream's tree holds."""

    stays: int = 0
    frames: int = 0
    first_us: int = 2**63 - 1
    last_us: int = -(2**63)


@dataclass(slots=True)
class _OpenStay:
    """A stay that may still take frames."""

    stay: Stay
    total: NDArray[np.float64]  # [D]: sums of many means stay exact far below float32
    frames: int = 0
    first_us: int = 2**63 - 1
    last_us: int = -(2**63)

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


@dataclass(slots=True)
class _Piece:
    """Closed blocks, one after the other."""

    means: NDArray[np.float32]
    table: NDArray[np.int64]
    rows: int = 0
    blocks: dict[tuple[int, int], int] = field(default_factory=dict)
    """Rows of each block, (stream, number), in their order."""
    cumulative: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Frames of each row and those before it."""

    def append(self, block: tuple[int, int], means: NDArray[np.float32], table: NDArray[np.int64]) -> None:
        begin, end = self.rows, self.rows + len(table)
        self.means[begin:end], self.table[begin:end] = means, table
        before = self.cumulative[begin - 1] if begin else 0
        self.cumulative[begin:end] = before + np.cumsum(table[:, _FIELDS.index("frames")])
        self.rows = end
        self.blocks[block] = len(table)


def _loaded(row: list[int], total: NDArray[np.float64]) -> _OpenStay:
    stay_id, stream_id, position, exemplar_id, frames, first_us, last_us = row
    return _OpenStay(Stay(stay_id, stream_id, position, exemplar_id), total, frames, first_us, last_us)


class Forest:
    """All stays of a memory. Not safe for several threads; the memory's lock sees to that."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._pieces: list[_Piece] = []
        self._piece_of: dict[tuple[int, int], int] = {}
        self._closed = ClosedBlocks(dimension)
        self._number_of: dict[tuple[int, int], int] = {}  # of closed blocks, in the order of closing
        self._generation = 0
        self._open: dict[int, list[_OpenStay]] = {}  # by stream
        self._open_by_id: dict[int, _OpenStay] = {}
        self._totals: dict[int, Totals] = {}

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

    def load(self, table: NDArray[np.int64], totals: NDArray[np.float64], open_from: int) -> None:
        """Take in a block of a stream as it was kept.

        Args:
            table: its stays in the order of their positions, int64 [N, 7].
            totals: the sums of their frames' embeddings, float64 [N, D].
            open_from: the position at which the stream's open block begins.
        """
        facts = StayFacts(table)
        stream_id, position = int(table[0, 1]), int(table[0, 2])
        if position < open_from:
            means = (totals / facts.column("frames")[:, None]).astype(np.float32)
            self._put_away((stream_id, position // BLOCK_SIZE), means, table)
        else:
            self._open[stream_id] = [_loaded(row, total) for row, total in zip(table.tolist(), totals, strict=True)]
            self._open_by_id.update((opened.stay.id, opened) for opened in self._open[stream_id])
        first_us, last_us = int(facts.column("first_us").min()), int(facts.column("last_us").max())
        self._add_to_totals(stream_id, len(facts), int(facts.column("frames").sum()), first_us, last_us)

    def change(self, sums: Sequence[StaySum]) -> None:
        """Replace stays by what forgetting or merging left of them."""
        closed: dict[tuple[int, int], list[StaySum]] = {}
        for changed in sums:
            stay = changed.stay
            opened = self._open_by_id.get(stay.id)
            if opened is None:
                closed.setdefault((stay.stream_id, stay.position // BLOCK_SIZE), []).append(changed)
            elif changed.frames:
                opened.stay, opened.total, opened.frames = stay, changed.total, changed.frames
                opened.first_us, opened.last_us = changed.first_us, changed.last_us
            else:
                self._open[stay.stream_id].remove(opened)
                del self._open_by_id[stay.id]
        rewritten: dict[int, BlockSum] = {}
        for number in {self._piece_of[block] for block in closed}:
            self._pieces[number] = self._rewritten(number, closed)
            rewritten |= self._sums_of(number)
        if closed:
            self._generation += 1
            self._closed.replace(rewritten)
        for stream_id in {changed.stay.stream_id for changed in sums}:
            self._recount(stream_id)

    def totals(self, stream_id: int | None) -> Totals:
        """Count what a stream's tree holds; None: all of them."""
        if stream_id is not None:
            return self._totals.get(stream_id, Totals())
        parts = self._totals.values()
        return Totals(
            sum(part.stays for part in parts),
            sum(part.frames for part in parts),
            min((part.first_us for part in parts), default=Totals().first_us),
            max((part.last_us for part in parts), default=Totals().last_us),
        )

    def closed(self) -> Snapshot:
        """Take the stays of closed blocks as they are now."""
        return Snapshot(
            tuple(piece.means[: piece.rows] for piece in self._pieces),
            tuple(piece.table[: piece.rows] for piece in self._pieces),
            tuple(piece.cumulative[: piece.rows] for piece in self._pieces),
            self._closed.snapshot(),
            _PIECE,
            self._generation,
        )

    def facts(self, stream_id: int | None) -> StayFacts:
        """Tell what is known of the stays of a stream, or of all, but for their means, which are most of the work."""
        closed = self.closed()
        tables = closed.tables
        if stream_id is not None:
            of_stream = closed.blocks.chosen(closed.blocks.column("stream_id") == stream_id)
            tables = (closed.facts_of(of_stream.rows()).table,)
        blocks = self._open.values() if stream_id is None else [self._open.get(stream_id, [])]
        opened = np.array([stay.facts() for block in blocks for stay in block], np.int64).reshape(-1, len(_FIELDS))
        return StayFacts(np.concatenate([*tables, opened]))

    def snapshot(self) -> Snapshot:
        """Take the stays as they are now. What is returned does not change any more."""
        opened = [stay for block in self._open.values() for stay in block]
        means = np.array([stay.mean() for stay in opened], np.float32).reshape(-1, self._dimension)
        table = np.array([stay.facts() for stay in opened], np.int64).reshape(-1, len(_FIELDS))
        closed = self.closed()
        return replace(closed, means=(*closed.means, means), tables=(*closed.tables, table))

    def _open_stay(self, stay: Stay) -> None:
        block = self._open.setdefault(stay.stream_id, [])
        if block and block[0].stay.position // BLOCK_SIZE != stay.position // BLOCK_SIZE:
            for closing in block:
                del self._open_by_id[closing.stay.id]
            self._close(block)
            block.clear()
        opened = _OpenStay(stay, np.zeros(self._dimension))
        block.append(opened)
        self._open_by_id[stay.id] = opened
        self._add_to_totals(stay.stream_id, 1, 0, opened.first_us, opened.last_us)

    def _count(self, stay_id: int, sightings: Sequence[Growth]) -> None:
        opened = self._open_by_id[stay_id]
        before = opened.frames
        for growth in sightings:
            opened.count(*growth)
        self._add_to_totals(opened.stay.stream_id, 0, opened.frames - before, opened.first_us, opened.last_us)

    def _add_to_totals(self, stream_id: int, stays: int, frames: int, first_us: int, last_us: int) -> None:
        totals = self._totals.setdefault(stream_id, Totals())
        totals.stays += stays
        totals.frames += frames
        totals.first_us = min(totals.first_us, first_us)
        totals.last_us = max(totals.last_us, last_us)

    def _close(self, block: Sequence[_OpenStay]) -> None:
        means = np.array([stay.mean() for stay in block], np.float32)
        table = np.array([stay.facts() for stay in block], np.int64)
        self._put_away((block[0].stay.stream_id, block[0].stay.position // BLOCK_SIZE), means, table)

    def _put_away(self, block: tuple[int, int], means: NDArray[np.float32], table: NDArray[np.int64]) -> None:
        if not self._pieces or self._pieces[-1].rows + len(table) > len(self._pieces[-1].table):
            self._pieces.append(self._empty_piece())
        piece, number = self._pieces[-1], len(self._pieces) - 1
        row = number * _PIECE + piece.rows
        piece.append(block, means, table)
        self._piece_of[block] = number
        self._number_of[block] = len(self._number_of)
        self._closed.append(block_sum(block, row, means, table))

    def _empty_piece(self) -> _Piece:
        means, table = np.empty((_PIECE, self._dimension), np.float32), np.empty((_PIECE, len(_FIELDS)), np.int64)
        return _Piece(means, table, cumulative=np.empty(_PIECE, np.int64))

    def _sums_of(self, number: int) -> dict[int, BlockSum]:
        """Sum the blocks of a piece up, by their numbers."""
        piece, row = self._pieces[number], 0
        sums = {}
        for key, rows in piece.blocks.items():
            means, table = piece.means[row : row + rows], piece.table[row : row + rows]
            sums[self._number_of[key]] = block_sum(key, number * _PIECE + row, means, table)
            row += rows
        return sums

    def _rewritten(self, number: int, changed: dict[tuple[int, int], list[StaySum]]) -> _Piece:
        """Copy a piece with some of its stays changed; readers keep the one before."""
        piece = self._pieces[number]
        fresh = self._empty_piece()
        row = 0
        for key, rows in piece.blocks.items():
            means, table = piece.means[row : row + rows].copy(), piece.table[row : row + rows].copy()
            row += rows
            for after in changed.get(key, ()):
                place = int(np.flatnonzero(table[:, 0] == after.stay.id)[0])
                stay = _OpenStay(after.stay, after.total, after.frames, after.first_us, after.last_us)
                table[place] = stay.facts()
                means[place] = stay.mean() if after.frames else 0
            left = table[:, _FIELDS.index("frames")] > 0
            fresh.append(key, means[left], table[left])
        return fresh

    def _recount(self, stream_id: int) -> None:
        totals = self._totals[stream_id] = Totals()
        tables = [piece.table[: piece.rows] for piece in self._pieces]
        tables.append(np.array([stay.facts() for stay in self._open.get(stream_id, ())], np.int64).reshape(-1, 7))
        for table in tables:
            facts = StayFacts(table[table[:, 1] == stream_id])
            if len(facts):
                totals.stays += len(facts)
                totals.frames += int(facts.column("frames").sum())
                totals.first_us = min(totals.first_us, int(facts.column("first_us").min()))
                totals.last_us = max(totals.last_us, int(facts.column("last_us").max()))
