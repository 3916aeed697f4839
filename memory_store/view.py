"""What attention is handed for a query: the stays within its scope, in groups that can be passed over unopened.

Stays go by the lists of what they show (`memory_store.stay_lists`), or, if a scope holds only a small part of them, by
blocks of time. Blocks that lie wholly within a scope are passed on whole, those wholly outside are never looked at, and
only those that the scope cuts are opened for their stays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from memory_store.blocks import Blocks
from memory_store.forest import BLOCK_SIZE, Leaves, Snapshot, StayFacts
from memory_store.frame_embeddings import FramesInside
from memory_store.reading import Reading
from memory_store.records import Embedding, Sighting
from memory_store.scope import Scope
from memory_store.stay_lists import ListStrata

Rows = NDArray[np.int64]

Named = Callable[[NDArray[np.float32], NDArray[np.int64], int], NDArray[np.int64]]
"""Names the exemplars in some lists of the index whose codes are most like a query, nearest first: so many, at most."""

InsideOf = Callable[[Sequence[tuple[int, int]]], FramesInside]
"""Reads what is on record of the frames inside stays that count, each given by its exemplar and its number."""

_LISTS_SHARE = 0.25
"""Of all stays: if a scope holds fewer, too much of what is drawn from lists would not count."""

_LISTS_READ = 192
"""Lists whose codes are read for needles: at 10^5 stays, 64 of them miss some that 192 find."""

_NAMED_SHARE = 4
"""One stay in so many of those that may be needles is named by codes."""

CODES_IN_A_MEAN = 16
"""Codes that are as many bytes as the mean of a stay: half a byte for two numbers, four bytes for one."""

_MOST_COMPARED = 8
"""Times as many stays as wanted are looked at for needles, at most: looking takes only their times."""


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
class BlockStrata:
    """Blocks of time: what `encoder.memory_view.Strata` asks for."""

    snapshot: Snapshot
    blocks: Blocks

    @property
    def means(self) -> NDArray[np.float32]:
        """float32 [S, D]."""
        return self.blocks.means

    @property
    def frames(self) -> NDArray[np.int64]:
        """int64 [S]."""
        return self.blocks.column("frames")

    @property
    def stays(self) -> NDArray[np.int64]:
        """int64 [S]."""
        return self.blocks.column("stays")

    def rows(self, chosen: NDArray[np.int64]) -> Rows:
        """Give the rows of all stays in some blocks."""
        return self.blocks.chosen(chosen).rows()

    def draw(self, strata: NDArray[np.int64], at: NDArray[np.float64]) -> Rows:
        """Give the rows of the stays that hold the frames at the shares `at` of the frames of blocks."""
        piece, place = np.divmod(self.blocks.column("row")[strata], self.snapshot.piece_rows)
        frames = self.frames[strata]
        frame = np.minimum((at * frames).astype(np.int64), frames - 1)
        rows = np.empty(len(strata), np.int64)
        order = np.argsort(piece, kind="stable")
        edges = np.searchsorted(piece[order], np.arange(len(self.snapshot.cumulative) + 1))
        for number in np.unique(piece).tolist():
            of = order[edges[number] : edges[number + 1]]
            cumulative = self.snapshot.cumulative[number]
            before = np.where(place[of] > 0, cumulative[place[of] - 1], 0)
            within = np.searchsorted(cumulative, before + frame[of], side="right")
            rows[of] = number * self.snapshot.piece_rows + within
        return rows


@dataclass(frozen=True, slots=True)
class View:
    """Stays within a scope at one instant; what `encoder.memory_view.MemoryView` asks for, and their names."""

    snapshot: Snapshot
    """All stays; the last piece holds those of open blocks, and what is left of stays that the scope cuts."""

    scope: Scope
    """What counts."""

    blocks: Blocks
    """Closed blocks that lie wholly within the scope."""

    others: Rows
    """Rows of the stays within the scope that are in none of these blocks."""

    lists: ListStrata | None
    """All but the latest closed stays by what they show, whether they are within the scope or not; None: not known."""

    inside_of: InsideOf
    """Reads frames."""

    named: Named | None = None
    """Names exemplars by their codes; None: the index has none."""

    scope_share: float = field(init=False)
    """Of all stays, about how many are within the scope."""

    def __post_init__(self) -> None:
        """Tell how many stays are within the scope, which reading asks for often."""
        everything = int(self.snapshot.blocks.column("stays").sum()) + len(self.snapshot.means[-1])
        object.__setattr__(self, "scope_share", self.stay_count / max(1, everything))

    @property
    def stay_count(self) -> int:
        """Stays within the scope."""
        return int(self.blocks.column("stays").sum()) + len(self.others)

    @property
    def frame_count(self) -> int:
        """Frames within the scope."""
        return int(self.blocks.column("frames").sum()) + int(self.facts(self.others).column("frames").sum())

    @property
    def strata(self) -> ListStrata | BlockStrata:
        """Groups of stays that may be passed over: lists, if enough of what they hold counts, or blocks of time."""
        return BlockStrata(self.snapshot, self.blocks) if self._by_time else self._known_lists

    @property
    def counting_share(self) -> float:
        """About which share of the frames of the strata counts."""
        return 1.0 if self._by_time else self.scope_share

    @property
    def loose(self) -> Rows:
        """Rows of the stays that are in no such group; some that are may be among them."""
        if self._by_time:
            return self.others
        late = self.snapshot.blocks.since(self._known_lists.blocks)
        rows = late.chosen(_inside(late, self.scope)).rows()
        return np.concatenate([rows, self.others])

    def counting(self, rows: Rows) -> NDArray[np.bool_]:
        """Tell which stays of the strata are wholly within the scope: bool [R]. Those it cuts are among the loose."""
        if self._by_time or self.scope.is_everything:
            return np.ones(len(rows), np.bool_)
        return _inside(self.facts(rows), self.scope)

    @property
    def finds_needles(self) -> bool:
        """Whether `needles` finds stays near a query in whatever stratum they are."""
        return self.named is not None and not self._by_time

    def needles(self, query: NDArray[np.float32], stays: int) -> tuple[Rows, int]:
        """Find stays near a query that the strata may hide.

        If strata are lists, codes name them in the lists that are nearest; if they are blocks of time, these are the
        stays in the nearest lists.

        Args:
            query: float32 [D].
            stays: how many, about.

        Returns:
            Their rows, and how many vectors were compared to find them; codes count by their bytes.
        """
        if self.lists is None:
            return np.empty(0, np.int64), 0
        if not self._by_time:
            return self._named_needles(query, stays)
        order = np.argsort(-(self.lists.means @ query), kind="stable")
        # As many of the lists' stays count as lie within the scope.
        wanted = stays / max(self.scope_share, 1 / _MOST_COMPARED)
        nearest = order[: int(np.searchsorted(np.cumsum(self.lists.stays[order]), wanted))]
        rows = self.lists.rows(nearest)
        return rows[_inside(self.facts(rows), self.scope)], len(order)

    def _named_needles(self, query: NDArray[np.float32], stays: int) -> tuple[Rows, int]:
        lists = self._known_lists
        if self.named is None:
            return np.empty(0, np.int64), 0
        number = min(_LISTS_READ, len(lists.stays))
        near = np.argpartition(lists.means @ query, -number)[-number:]
        rows = lists.rows_of(self.named(query, lists.numbers[near], max(1, stays // _NAMED_SHARE)), stays)
        return rows[self.counting(rows)], int(lists.stays[near].sum()) // CODES_IN_A_MEAN

    @property
    def _by_time(self) -> bool:
        return self.lists is None or self.scope_share < _LISTS_SHARE

    @property
    def _known_lists(self) -> ListStrata:
        if self.lists is None:
            raise ValueError("expected stays by lists, got none")
        return self.lists

    def read(self, rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Read stays by their rows in ascending order: means float32 [R, D], frames int64 [R]."""
        return self.snapshot.read(rows)

    def inside(self, rows: Rows) -> FramesInside:
        """Read what is on record of the frames inside some stays that count."""
        facts = self.facts(rows)
        ids = (facts.column("exemplar_id").tolist(), facts.column("stay_id").tolist())
        return self.inside_of(list(zip(*ids, strict=True)))

    def whole(self) -> Iterator[tuple[Rows, NDArray[np.float32], NDArray[np.int64]]]:
        """Read all stays, a piece at a time: rows, means float32 [R, D], frames int64 [R]."""
        last = len(self.snapshot.means) - 1
        rows = np.sort(np.concatenate([self.blocks.rows(), self.others]))
        pieces = np.minimum(rows // self.snapshot.piece_rows, last)
        edges = np.searchsorted(pieces, np.arange(last + 2))
        for piece in range(last + 1):
            of = rows[edges[piece] : edges[piece + 1]]
            within = of - piece * self.snapshot.piece_rows
            means, table = self.snapshot.means[piece], self.snapshot.tables[piece]
            if len(of) < len(means):
                means, table = means[within], table[within]
            if len(of):
                yield of, means, StayFacts(table).column("frames")

    def facts(self, rows: Rows) -> StayFacts:
        """Tell what is known of stays by their rows, in any order."""
        return self.snapshot.facts_of(rows)

    def leaves(self) -> Leaves:
        """Copy all stays within the scope; grows with their number."""
        rows = np.sort(np.concatenate([self.blocks.rows(), self.others]))
        means, table = self.snapshot.stays_of(rows)
        return Leaves((means,), StayFacts(table))

    def exemplar_ids(self) -> NDArray[np.int64]:
        """Give the exemplars of the stays within the scope: int64 [K]."""
        rows = np.concatenate([self.blocks.rows(), self.others])
        ids: NDArray[np.int64] = np.unique(self.facts(rows).column("exemplar_id"))
        return ids

    def levels(self) -> tuple[Nodes, ...]:
        """Put the levels of blocks over the stays: from 1 up, until every stream has a single block."""
        others = self.facts(self.others)
        names = ("frames", "first_us", "last_us")
        nodes = Nodes(
            np.concatenate([self.blocks.column("stream_id"), others.column("stream_id")]),
            np.concatenate([self.blocks.column("index"), others.column("position") // BLOCK_SIZE]),
            *(np.concatenate([self.blocks.column(name), others.column(name)]) for name in names),
        )
        levels = [_united(nodes)]
        while levels[-1].indices.any():
            below = levels[-1]
            levels.append(_united(replace(below, indices=below.indices // BLOCK_SIZE)))
        return tuple(levels)


def _united(nodes: Nodes) -> Nodes:
    """Put together what is of the same block."""
    order = np.lexsort((nodes.indices, nodes.stream_ids))
    streams, indices = nodes.stream_ids[order], nodes.indices[order]
    if not len(order):
        return nodes
    begins = np.flatnonzero(np.diff(streams, prepend=streams[0] - 1) | np.diff(indices, prepend=indices[0] - 1))
    return Nodes(
        streams[begins],
        indices[begins],
        np.add.reduceat(nodes.frames[order], begins),
        np.minimum.reduceat(nodes.first_us[order], begins),
        np.maximum.reduceat(nodes.last_us[order], begins),
    )


def view_of(
    snapshot: Snapshot,
    lists: ListStrata | None,
    scope: Scope,
    reading: Reading,
    stored: Callable[[int], Embedding],
    named: Named | None = None,
) -> View:
    """Take the stays within a scope; those that it cuts count only their frames within it.

    A cut stay is put together from its sightings. Whole sightings stand by their means. The mean of a cut one would let
    frames beyond the cut show through: its part stands by the mean of what is on record of its frames, or, where that
    is not known of all, by the exemplar's embedding, which is within the threshold of each of them.

    Args:
        snapshot: all stays.
        lists: closed stays by what they show, if that is known.
        scope: what counts.
        reading: the sightings.
        stored: gives the embedding of an exemplar.
        named: names exemplars by their codes, if these lists go by an index that has some.
    """
    blocks = snapshot.blocks
    last = len(snapshot.means) - 1

    def inside_of(stays: Sequence[tuple[int, int]]) -> FramesInside:
        return reading.frames_of_stays(stays, blocks.means.shape[1], scope)

    if scope.labels is not None:
        return _labelled_view(snapshot, scope, reading, stored, inside_of)
    opened = last * snapshot.piece_rows + np.arange(len(snapshot.tables[last]))
    if scope.is_everything:
        there = blocks.column("stays") > 0
        return View(snapshot, scope, blocks if there.all() else blocks.chosen(there), opened, lists, inside_of, named)
    overlaps, inside = _overlapping(blocks, scope), _inside(blocks, scope)
    looked_at = np.concatenate([blocks.chosen(overlaps & ~inside).rows(), opened])
    facts = snapshot.facts_of(looked_at)
    stays_inside = _inside(facts, scope)
    cut = list(_cut(facts.names(_overlapping(facts, scope) & ~stays_inside), scope, reading, stored))
    whole = looked_at[stays_inside]
    if cut:
        snapshot = snapshot.with_stays([stay for stay, _ in cut], [mean for _, mean in cut])
        first = last * snapshot.piece_rows + len(opened)
        whole = np.concatenate([whole, first + np.arange(len(cut))])
    return View(snapshot, scope, blocks.chosen(inside), whole, lists, inside_of, named)


def _overlapping(facts: StayFacts | Blocks, scope: Scope) -> NDArray[np.bool_]:
    overlaps = (facts.column("last_us") >= scope.first_us) & (facts.column("first_us") <= scope.last_us)
    overlaps &= facts.column("frames") > 0
    if scope.stream_ids is not None:
        overlaps &= np.isin(facts.column("stream_id"), list(scope.stream_ids))
    return overlaps


def _inside(facts: StayFacts | Blocks, scope: Scope) -> NDArray[np.bool_]:
    within = (facts.column("first_us") >= scope.first_us) & (facts.column("last_us") <= scope.last_us)
    return _overlapping(facts, scope) & within


def _cut(
    names: Sequence[tuple[int, int, int, int]], scope: Scope, reading: Reading, stored: Callable[[int], Embedding]
) -> Iterator[tuple[tuple[int, ...], Embedding]]:
    """Put together what a scope leaves of stays: what is known of each, and its mean."""
    for name in names:
        sightings = reading.sightings_of_stay(name[0], name[3])
        yield from _left([part for part in _parts(reading, sightings, scope) if part.frames], name, stored)


@dataclass(frozen=True, slots=True)
class _Part:
    """What lies within a scope of a sighting."""

    sighting: Sighting
    frames: int
    first_us: int
    last_us: int
    mean: Embedding | None
    """Of these frames; None: not known."""


def _labelled_view(
    snapshot: Snapshot,
    scope: Scope,
    reading: Reading,
    stored: Callable[[int], Embedding],
    inside_of: InsideOf,
) -> View:
    """Take what carries one of a scope's labels: whole stays as they are, of others what their sightings leave."""
    found = np.array(reading.labelled_stays(scope), np.int64).reshape(-1, 8)
    rows, facts = snapshot.find(found[:, 0])
    labelled, all_frames = StayFacts(found[:, :7]), found[:, 7]
    whole = (labelled.column("frames") == all_frames) & (facts.column("frames") == all_frames)
    whole &= _inside(labelled, scope)
    names = {name[0]: name for name in labelled.names(~whole)}
    cut = []
    sightings = reading.labelled_sightings(scope, list(names))
    for stay_id, group in groupby(sightings, key=lambda sighting: sighting.stay_id):
        if stay_id in names:
            parts = [part for part in _parts(reading, list(group), scope) if part.frames]
            cut += list(_left(parts, names[stay_id], stored))
    first = (len(snapshot.means) - 1) * snapshot.piece_rows + len(snapshot.tables[-1])
    if cut:
        snapshot = snapshot.with_stays([stay for stay, _ in cut], [mean for _, mean in cut])
    none = snapshot.blocks.chosen(np.zeros(len(snapshot.blocks.column("stays")), np.bool_))
    return View(snapshot, scope, none, np.concatenate([rows[whole], first + np.arange(len(cut))]), None, inside_of)


def _left(
    parts: Sequence[_Part], name: tuple[int, int, int, int], stored: Callable[[int], Embedding]
) -> Iterator[tuple[tuple[int, ...], Embedding]]:
    """Put the parts of one stay together, if there are any."""
    if parts:
        frames = sum(part.frames for part in parts)
        extent = (min(part.first_us for part in parts), max(part.last_us for part in parts))
        yield (*name, frames, *extent), _mean(parts, stored(name[3]))


def _parts(reading: Reading, sightings: Sequence[Sighting], scope: Scope) -> Iterator[_Part]:
    for sighting in sightings:
        if scope.first_us <= sighting.start_us and sighting.end_us <= scope.last_us:
            yield _Part(sighting, sighting.frames, sighting.start_us, sighting.end_us, sighting.mean)
        else:
            seqs = (sighting.first_seq, sighting.last_seq)
            frames, first_us, last_us = reading.extent_within(sighting.session_id, seqs, scope)
            mean = reading.mean_within(sighting, scope, frames) if frames else None
            yield _Part(sighting, frames, first_us, last_us, mean)


def _mean(parts: Sequence[_Part], exemplar: Embedding) -> Embedding:
    total = np.zeros(len(exemplar))  # [D], float64
    for part in parts:
        stands = exemplar if part.mean is None else part.mean
        total += stands.astype(np.float64) * part.frames
    mean: Embedding = (total / sum(part.frames for part in parts)).astype(np.float32)
    return mean
