"""The novelty gate at several thresholds at once, run virtually over frames that were encoded. Beside the frame's way.

At each threshold a frame is kept unless one that was kept there before is within it. The embeddings of what was kept
are held up to a limit, so that some frames are kept that would have found theirs; how many is estimated.

Shapes: B frames of a batch, N entries, M of them kept at some threshold, G thresholds, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memory_store.scope import EARLIEST_US
from memory_store.seen_frames import Flags, Frames, Ids, no_frames

BETA = 0.8
"""Weight of the correction; measured on footage by `python -m benchmarks.tune`."""

_SLICE = 1024
"""Entries compared at a time, so that few stand in memory as float32; it makes no difference to the speed."""

Matrix = NDArray[np.float32]
Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Entries:
    """N frames that are held, in the order in which they came, and what they stand for."""

    frames: Frames
    """The frames themselves."""

    flags: Flags
    """At which thresholds each was kept: bool [N, G]."""

    used: Ids
    """Number of the latest frame, of all that came, that one of them stood for at some threshold: int64 [N]."""

    seen_us: Ids
    """Latest capture time of what each stood for at each threshold, itself included: int64 [N, G]."""

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.used)

    def chosen(self, which: Flags | Ids) -> "Entries":
        """Give some of the entries."""
        return Entries(self.frames.chosen(which), self.flags[which], self.used[which], self.seen_us[which])


@dataclass(frozen=True, slots=True)
class GatesState:
    """All that gates remember. Its arrays do not change."""

    entries: Entries
    """What is held."""

    exemplars: Figures
    """Frames kept at each threshold, less the correction: float64 [G]."""

    over: Flags
    """At which thresholds something that was kept is no longer held: bool [G]."""

    frames: int
    """Frames that came."""

    complete: bool
    """All of these are held, those that no threshold keeps as well."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What became of the frames of a batch at each threshold."""

    kept: Flags
    """bool [B, G]."""

    novelty: Figures
    """Cosine distance to the nearest of those kept before, in [0, 2]; 2 where there was none. float64 [B, G]."""

    correction: Figures
    """What to take from the number of those kept: float64 [B, G]."""


@dataclass(frozen=True, slots=True)
class _Looks:
    """What the frames of a batch find at each threshold; places count the M entries, then the B frames."""

    similarity: Matrix
    """Cosine to the nearest of those kept before, -inf if there is none: float32 [B, G]."""

    places: Ids
    """Place of what stands for the frame; of itself if it is kept. int64 [B, G]."""


class VirtualGates:
    """Gates at G thresholds. Not safe for several threads."""

    def __init__(self, dimension: int, thresholds: Sequence[float], limit: int | None) -> None:
        """Begin empty.

        Args:
            dimension: D.
            thresholds: ascending, in (0, 2].
            limit: entries held at most; None to hold all that is kept, and nothing else.
        """
        self._thresholds = tuple(map(float, thresholds))
        self._limits = 1 - np.array(self._thresholds, np.float32)
        self._limit = limit
        number = len(self._thresholds)
        entries = Entries(
            no_frames(dimension), np.zeros((0, number), bool), np.zeros(0, np.int64), np.zeros((0, number), np.int64)
        )
        self.state = GatesState(entries, np.zeros(number), np.zeros(number, bool), 0, limit is not None)

    def restore(self, state: GatesState) -> None:
        """Go on from what other gates remembered."""
        self.state = state
        self._evict()

    def gate(self, batch: Frames) -> Decisions:
        """Decide on the next frames, in order; how they are divided into batches makes no difference."""
        before, restricted = self.state, bool((batch.since_us > EARLIEST_US).any())
        there = np.flatnonzero(before.entries.flags.any(axis=1)) if restricted else _by_kind(before.entries.flags)
        entries = before.entries.chosen(there)
        units = _units(batch.vectors)
        to_entries = _masked(batch, entries.frames, _similarities(units, entries.frames.vectors))  # [B, M]
        to_batch = _masked(batch, batch, units @ units.T)  # [B, B]
        if restricted:
            looks = self._one_by_one(batch, entries, np.concatenate([to_entries, to_batch], axis=1))
        else:
            looks = self._all_at_once(_Kinds(entries.flags, there, to_entries), to_batch)
        kept = looks.places == len(entries) + np.arange(len(batch))[:, None]  # [B, G]
        exemplars = before.exemplars + kept.sum(axis=0)
        correction = self._correction(entries, looks, kept, to_entries, exemplars)
        entries = self._touched(there, batch, looks, kept)
        exemplars -= correction.sum(axis=0)
        self.state = replace(before, entries=entries, exemplars=exemplars, frames=before.frames + len(batch))
        self._evict()
        novelty = (1 - looks.similarity.astype(np.float64)).clip(0, 2)
        return Decisions(kept, novelty, correction)

    def forget(self, gone: Flags, exemplars: Figures) -> None:
        """Let go of some of the entries; the others go on standing for what they stood for.

        Args:
            gone: bool [N].
            exemplars: what is left of `GatesState.exemplars`, float64 [G].
        """
        self.state = replace(
            self.state,
            entries=self.state.entries.chosen(~gone),
            exemplars=exemplars,
            complete=self.state.complete and not gone.any(),
        )

    def _all_at_once(self, kinds: "_Kinds", to_batch: Matrix) -> _Looks:
        """Look up the whole batch threshold by threshold; what it keeps itself is made up for."""
        frames, entries = len(to_batch), kinds.entries
        similarity = np.empty((frames, len(self._limits)), np.float32)
        places = np.empty((frames, len(self._limits)), np.int64)
        for gate, limit in enumerate(self._limits):
            best, nearest = kinds.nearest(gate)
            frame = 0
            while frame < frames:
                beyond = best[frame:] < limit
                step = int(beyond.argmax())
                if not beyond[step]:
                    break
                frame += step
                nearest[frame] = entries + frame
                later = to_batch[frame + 1 :, frame]
                nearer = later > best[frame + 1 :]
                best[frame + 1 :][nearer] = later[nearer]
                nearest[frame + 1 :][nearer] = entries + frame
                frame += 1
            similarity[:, gate], places[:, gate] = best, nearest
        return _Looks(similarity, places)

    def _one_by_one(self, batch: Frames, entries: Entries, similarities: Matrix) -> _Looks:
        """Look up frame after frame, since what one finds decides whether the next may find it.

        Args:
            batch: of B frames.
            entries: M of them.
            similarities: of the frames to entries and frames, float32 [B, M + B].
        """
        gates = np.arange(len(self._limits))
        flags = np.concatenate([entries.flags, np.zeros((len(batch), len(gates)), bool)]).T.copy()  # [G, M + B]
        seen_us = np.concatenate([entries.seen_us, np.repeat(batch.capture_us[:, None], len(gates), axis=1)]).T.copy()
        similarity = np.empty((len(batch), len(gates)), np.float32)
        places = np.empty((len(batch), len(gates)), np.int64)
        for frame, (since_us, capture_us) in enumerate(zip(batch.since_us, batch.capture_us, strict=True)):
            place = len(entries) + frame
            # its own column is there so that there is always one, and is not flagged yet
            open_to_it = flags[:, : place + 1] & (seen_us[:, : place + 1] >= since_us)
            row = np.where(open_to_it, similarities[frame, : place + 1], -np.float32(np.inf))  # [G, M + frame + 1]
            nearest = row.argmax(axis=1)
            best = row[gates, nearest]
            novel = best < self._limits
            nearest[novel] = place
            flags[novel, place] = True
            seen_us[gates, nearest] = np.maximum(seen_us[gates, nearest], capture_us)
            similarity[frame], places[frame] = best, nearest
        return _Looks(similarity, places)

    def _correction(
        self, entries: Entries, looks: _Looks, kept: Flags, to_entries: Matrix, exemplars: Figures
    ) -> Figures:
        """Estimate how many of the frames kept would have found what is no longer held: float64 [B, G].

        Of those held, the half that was used longer ago stands for what has been let go: a frame that only this half
        stands for is a find that takes a long memory, and the fewer are still held, the more of the like are missed.
        """
        correction = np.zeros(kept.shape)
        for gate in np.flatnonzero(self.state.over):
            held = np.flatnonzero(entries.flags[:, gate])
            finders = np.flatnonzero(looks.places[:, gate] < len(entries))
            ratio = exemplars[gate] / max(1, len(held) + np.count_nonzero(kept[:, gate]))
            if ratio <= 1 or not len(finders):
                continue
            half = len(held) // 2
            recent = held[np.argpartition(entries.used[held], half)[half:]]
            far = finders[to_entries[np.ix_(finders, recent)].max(axis=1) < self._limits[gate]]
            _, first = np.unique(looks.places[far, gate], return_index=True)
            correction[far[first], gate] = BETA * np.log2(ratio)
        return correction

    def _touched(self, there: Ids, batch: Frames, looks: _Looks, kept: Flags) -> Entries:
        """Note which entries stood for frames, and add the frames."""
        before, numbers = self.state.entries, self.state.frames + np.arange(len(batch))
        used = np.concatenate([before.used, numbers])
        seen_us = np.concatenate([before.seen_us, np.repeat(batch.capture_us[:, None], kept.shape[1], axis=1)])
        places = np.concatenate([there, len(before) + np.arange(len(batch))])[looks.places]  # [B, G] in all N + B
        np.maximum.at(used, places, numbers[:, None])
        np.maximum.at(seen_us, (places, np.arange(kept.shape[1])), batch.capture_us[:, None])
        after = Entries(before.frames.followed_by(batch), np.concatenate([before.flags, kept]), used, seen_us)
        if self.state.complete:
            return after
        return after.chosen(np.concatenate([np.ones(len(before), bool), kept.any(axis=1)]))

    def _evict(self) -> None:
        """Come back to the limit."""
        before = self.state
        if self._limit is None or len(before.entries) <= self._limit:
            return
        stay = _most_needed(before.entries, self._limit)
        gone = np.ones(len(before.entries), bool)
        gone[stay] = False
        over = before.over | before.entries.flags[gone].any(axis=0)
        self.state = replace(before, entries=before.entries.chosen(stay), over=over, complete=False)


def _units(vectors: NDArray[np.float16]) -> Matrix:
    """Bring stored embeddings to unit length, which rounding moved them from: float32 [N, D]."""
    wide: Matrix = vectors.astype(np.float32)
    wide /= np.sqrt(np.einsum("nd,nd->n", wide, wide))[:, None]
    return wide


def _similarities(units: Matrix, vectors: NDArray[np.float16]) -> Matrix:
    """Compare B frames with M entries: float32 [B, M]."""
    similarities = np.empty((len(units), len(vectors)), np.float32)
    for first in range(0, len(vectors), _SLICE):
        similarities[:, first : first + _SLICE] = units @ _units(vectors[first : first + _SLICE]).T
    return similarities


def _masked(batch: Frames, others: Frames, similarities: Matrix) -> Matrix:
    """Take out what frames are not compared with for its stream: float32 [B, M] with -inf."""
    if batch.own_stream_only.any():
        foreign = batch.stream_ids[:, None] != others.stream_ids
        np.copyto(similarities, -np.inf, where=batch.own_stream_only[:, None] & foreign)
    return similarities


def _by_kind(flags: Flags) -> Ids:
    """Put entries that were kept at the same thresholds beside each other: places of those kept at any."""
    there = np.flatnonzero(flags.any(axis=1))
    return there[np.lexsort(flags[there].T)]


class _Kinds:
    """The nearest entries to the frames of a batch, by the thresholds that they were kept at: each is compared once.

    Thresholds are many, and most of what a coarse one keeps a fine one keeps too.
    """

    def __init__(self, flags: Flags, places: Ids, similarities: Matrix) -> None:
        """Compare.

        Args:
            flags: of the entries, those with the same beside each other: bool [M, G].
            places: of two that are as near, that with the lower is taken: int64 [M].
            similarities: of the frames to the entries, float32 [B, M].
        """
        frames, self.entries = similarities.shape
        edges = np.flatnonzero((flags[1:] != flags[:-1]).any(axis=1)) + 1
        edges = np.array([0, *edges.tolist(), self.entries]) if self.entries else np.zeros(1, np.int64)
        self._flags = flags[edges[:-1]]  # [P, G], P kinds
        self._nearest = np.zeros((len(edges) - 1, frames), np.int64)
        for kind, (begin, end) in enumerate(pairwise(edges.tolist())):
            self._nearest[kind] = begin + similarities[:, begin:end].argmax(axis=1)
        self._best = similarities[np.arange(frames), self._nearest]  # [P, B]
        self._places = places[self._nearest] if self.entries else self._nearest  # [P, B]

    def nearest(self, gate: int) -> tuple[Matrix, Ids]:
        """Find the nearest of those kept at a threshold: its similarity and its column, [B] each; -inf if none was."""
        kinds = np.flatnonzero(self._flags[:, gate])
        frames = np.arange(self._best.shape[1])
        if not len(kinds):
            return np.full(len(frames), -np.inf, np.float32), np.zeros(len(frames), np.int64)
        best = self._best[kinds].max(axis=0)
        there = np.where(self._best[kinds] == best, self._places[kinds], np.iinfo(np.int64).max)
        return best, self._nearest[kinds[there.argmin(axis=0)], frames]


def _most_needed(entries: Entries, limit: int) -> Ids:
    """Choose which entries stay: their places, ascending.

    They are classed by the coarsest threshold they were kept at. Coarse ones are few and stand for much, so that the
    classes share the limit evenly, and what one does not need goes to the others. Of each class the longest unused go.
    Those that no threshold kept stay where there is room left.
    """
    gates = entries.flags.shape[1]
    classes = np.where(entries.flags.any(axis=1), gates - entries.flags[:, ::-1].argmax(axis=1), 0)
    sizes = np.bincount(classes, minlength=gates + 1)
    quotas = np.minimum(sizes, _level(sizes[1:], limit))
    quotas[0] = min(sizes[0], limit - quotas[1:].sum())
    stay = []
    for number, quota in enumerate(quotas):
        places = np.flatnonzero(classes == number)
        stay.append(places[np.argsort(entries.used[places], kind="stable")[len(places) - quota :]])
    return np.sort(np.concatenate(stay))


def _level(sizes: Ids, limit: int) -> int:
    """Find how many each class may hold at most so that all together hold no more than the limit."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(sizes, middle).sum() <= limit:
            low = middle
        else:
            high = middle - 1
    return low
