"""What a memory would have kept, had another threshold been in force from the start. Beside the frame's way.

The memory hands over the embedding of every frame that was encoded, whatever became of it. Virtual gates at the
standard thresholds decide on it aside, and what they decide is summed up; curves over thresholds are read off these
sums. While all embeddings are held, any other threshold is tried out on them.

Shapes: R rows, G thresholds.
"""

import math
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from memory_store.errors import InvalidThreshold
from memory_store.scope import Scope
from memory_store.seen_frames import Flags, Frames, SeenFrame, frames_from, seen_from, within
from memory_store.virtual_gates import Entries, GatesState, VirtualGates
from memory_store.what_if_rows import Rows, no_rows, rows_of

THRESHOLDS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
"""The standard thresholds, at which gates run."""

BATCH = 128
"""Frames decided on together: most of the work is in products of matrices, which want that many."""

MOST_WAITING = 4096
"""Frames that wait at most: some megabytes. Gates are faster than any encoder, unless they are kept from running."""

_SIMULATED = 512
"""Frames a batch where other thresholds are tried out."""

_LEAST_ESTIMATE_ERROR = 0.06
"""Error that an estimate at a standard threshold states at least."""

_CORRECTION_ERROR = 0.5
"""Share of the correction that an estimate states as its error beyond that."""

_INTERPOLATION_ERROR = 0.06
"""Error that an outcome between two standard thresholds states at least; more where few exemplars make steps."""

_EXTRAPOLATION_ERROR = 0.3
"""Error that an outcome beyond the standard thresholds states at least."""


_FEWEST = 0.5
"""Exemplars, where none were kept: less than one, and more than the logarithm of nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would have been kept at a threshold."""

    threshold: float
    """In (0, 2]."""

    exemplars: float
    """Exemplars that would have been kept."""

    error: float
    """How far that may be off, as a share of it, about; 0: it was counted."""

    mean_dropped: float
    """Mean cosine distance of the frames not kept to what would stand for them; 0 if there are none."""

    largest_dropped: float
    """The largest such distance."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Outcomes over thresholds."""

    outcomes: tuple[Outcome, ...]
    """Ascending by threshold."""

    frames: int
    """Frames that it rests on."""

    active_us: int
    """Time of capture that these span, without stretches of more than a minute between frames."""

    held: int
    """Embeddings that are held, of all streams and times."""


@dataclass(frozen=True, slots=True)
class WhatIfState:
    """All that is remembered between two frames. Its arrays do not change."""

    gates: GatesState
    """Of the gates at the standard thresholds."""

    rows: Rows
    """What they decided."""

    waiting: Frames
    """Frames on which they have not decided yet."""

    last_captures: dict[int, int]
    """Capture time of the last frame of each stream, of those that were decided on."""


class WhatIf:
    """The frames of a memory, and what virtual gates make of them. Safe for several threads.

    Taking note of frames never waits for the gates, which hold a lock of their own for one batch at a time.
    """

    def __init__(self, dimension: int, limit: int) -> None:
        """Begin empty.

        Args:
            dimension: D.
            limit: embeddings held at most, beside those that wait.
        """
        self._dimension = dimension
        self._limit = limit
        self._deciding = threading.Lock()  # the gates, rows and last captures; taken before the other
        self._noting = threading.Lock()  # the frames that wait
        self._gates = VirtualGates(dimension, THRESHOLDS, limit)
        self._rows = no_rows(len(THRESHOLDS))
        self._last_captures: dict[int, int] = {}
        self._waiting: deque[SeenFrame] = deque()

    @classmethod
    def restored(cls, state: WhatIfState, limit: int) -> "WhatIf":
        """Go on from a copy; what is beyond another limit than before is let go."""
        restored = cls(state.waiting.vectors.shape[1], limit)
        restored._gates.restore(state.gates)
        restored._rows = state.rows
        restored._last_captures = dict(state.last_captures)
        restored._waiting.extend(seen_from(state.waiting))
        return restored

    @property
    def held(self) -> int:
        """How many embeddings are held, without those that wait."""
        return len(self._gates.state.entries)

    def add(self, frames: Sequence[SeenFrame]) -> bool:
        """Take note of the next frames; the oldest go if too many wait. Tells whether a batch waits for `work`."""
        with self._noting:
            self._waiting.extend(frames)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
            return len(self._waiting) >= BATCH

    def work(self, *, everything: bool = False) -> None:
        """Decide on what waits: on whole batches, or on everything. For a thread aside; some milliseconds a batch."""
        least = 1 if everything else BATCH
        while self._decide(least):
            pass

    def curve(self, thresholds: Iterable[float], scope: Scope) -> Curve:
        """Tell what would have been kept of the frames of a scope, after deciding on all that waits.

        The scope says which frames count, to a batch; the threshold is taken to be in force for all.

        Args:
            thresholds: each in (0, 2].
            scope: streams and capture times.

        Raises:
            InvalidThreshold: one is not.
        """
        ascending = sorted(set(thresholds))
        for threshold in ascending:
            if not 0 < threshold <= 2:
                raise InvalidThreshold(f"expected a threshold in (0, 2], got {threshold}")
        self.work(everything=True)
        with self._deciding:
            state, rows = self._gates.state, self._rows
        counting = rows.counting(scope)
        counted = rows.chosen(counting)
        frames = int(counted.column("frames").sum())
        others = [threshold for threshold in ascending if threshold not in THRESHOLDS]
        if not frames:
            found = {threshold: Outcome(threshold, 0.0, 0.0, 0.0, 0.0) for threshold in ascending}
        else:
            standard = _at_standard_thresholds(counted, state.over)
            found = {outcome.threshold: outcome for outcome in standard}
            if state.complete:
                found |= _tried_out(others, state.entries, rows, counting)
            else:
                found |= {threshold: _beside(threshold, standard, frames) for threshold in others}
        return Curve(
            outcomes=tuple(found[threshold] for threshold in ascending),
            frames=frames,
            active_us=int(counted.column("active_us").sum()),
            held=len(state.entries),
        )

    def forget(self, scope: Scope) -> bool:
        """Let go of the embeddings of the frames of a scope, and of the rows that are of such frames only.

        What was decided on other frames stands. Where nothing is left, all begins anew.

        Returns:
            Whether there were such embeddings.
        """
        with self._deciding, self._noting:
            waiting = len(self._waiting)
            self._waiting = deque(
                frame for frame in self._waiting if not _covers(scope, frame.stream_id, frame.capture_us)
            )
            self._last_captures = {
                stream_id: capture_us
                for stream_id, capture_us in self._last_captures.items()
                if not _covers(scope, stream_id, capture_us)
            }
            self._rows = self._rows.chosen(~self._rows.wholly_within(scope))
            frames = self._gates.state.entries.frames
            gone = within(scope, frames.stream_ids, frames.capture_us)
            self._gates.forget(gone, self._rows.total("kept") - self._rows.total("correction"))
            if not len(self._rows) and gone.all() and not self._waiting:
                self._gates = VirtualGates(self._dimension, THRESHOLDS, self._limit)
            return bool(gone.any()) or len(self._waiting) < waiting

    def copy(self) -> WhatIfState:
        """Copy all that is remembered."""
        with self._deciding:
            with self._noting:
                waiting = list(self._waiting)
            return WhatIfState(
                gates=self._gates.state,
                rows=self._rows,
                waiting=frames_from(waiting, self._dimension),
                last_captures=dict(self._last_captures),
            )

    def _decide(self, least: int) -> bool:
        """Decide on a batch of at least so many frames; False if fewer wait."""
        with self._deciding:
            with self._noting:
                if len(self._waiting) < least:
                    return False
                seen = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            batch = frames_from(seen, self._dimension)
            decisions = self._gates.gate(batch)
            self._rows = self._rows.followed_by(rows_of(batch, decisions, self._last_captures))
            self._last_captures.update(zip(batch.stream_ids.tolist(), batch.capture_us.tolist(), strict=True))
            return True


def _at_standard_thresholds(rows: Rows, over: Flags) -> list[Outcome]:
    """Read off the outcomes at the standard thresholds."""
    frames = int(rows.column("frames").sum())
    kept, corrections = rows.total("kept"), rows.total("correction")
    exemplars = (kept - corrections).clip(np.minimum(1, kept), frames)
    shares = corrections / np.maximum(1, exemplars)
    errors = np.where(over, _LEAST_ESTIMATE_ERROR + _CORRECTION_ERROR * shares, 0.0)
    dropped = rows.total("dropped_novelty") / np.maximum(1, frames - kept)
    figures = zip(exemplars, errors, dropped, rows.largest.max(axis=0), strict=True)
    return [Outcome(threshold, *map(float, row)) for threshold, row in zip(THRESHOLDS, figures, strict=True)]


def _tried_out(thresholds: Sequence[float], entries: Entries, rows: Rows, counting: Flags) -> dict[float, Outcome]:
    """Run gates at other thresholds over all frames, as they came, and count what they keep of some.

    Args:
        thresholds: ascending.
        entries: all frames that came.
        rows: what they were summed up as.
        counting: which rows count, bool [R].
    """
    if not thresholds:
        return {}
    frames = entries.frames
    gates = VirtualGates(frames.vectors.shape[1], thresholds, None)
    decisions = [gates.gate(frames.chosen(slice(n, n + _SIMULATED))) for n in range(0, len(frames), _SIMULATED)]
    counted = rows.frames_of(counting, frames.stream_ids)
    kept = np.concatenate([part.kept for part in decisions])[counted]
    dropped = np.where(kept, 0.0, np.concatenate([part.novelty for part in decisions])[counted])
    exemplars = kept.sum(axis=0)
    return {
        threshold: Outcome(
            threshold=threshold,
            exemplars=float(exemplars[gate]),
            error=0.0,
            mean_dropped=float(dropped[:, gate].sum() / max(1, len(kept) - exemplars[gate])),
            largest_dropped=float(dropped[:, gate].max()),
        )
        for gate, threshold in enumerate(thresholds)
    }


def _beside(threshold: float, standard: Sequence[Outcome], frames: int) -> Outcome:
    """Estimate the outcome at another threshold from those at the standard ones.

    Exemplars go by a power of the threshold between two neighbours, and on by the same power beyond the last.
    """
    place = min(max(1, int(np.searchsorted(THRESHOLDS, threshold))), len(standard) - 1)
    left, right = standard[place - 1], standard[place]
    most, least = max(left.exemplars, _FEWEST), max(right.exemplars, _FEWEST)
    power = math.log(least / most) / math.log(right.threshold / left.threshold)
    error = max(left.error, right.error, _INTERPOLATION_ERROR, least**-0.5)
    if not left.threshold < threshold < right.threshold:
        power, error = min(0.0, power), max(error, _EXTRAPOLATION_ERROR)
    nearest = left if threshold < right.threshold else right
    exemplars = max(nearest.exemplars, _FEWEST) * (threshold / nearest.threshold) ** power
    known = (0.0, *THRESHOLDS)
    return Outcome(
        threshold=threshold,
        exemplars=min(exemplars, float(frames)),
        error=error,
        mean_dropped=float(np.interp(threshold, known, (0.0, *(outcome.mean_dropped for outcome in standard)))),
        largest_dropped=float(np.interp(threshold, known, (0.0, *(outcome.largest_dropped for outcome in standard)))),
    )


def _covers(scope: Scope, stream_id: int, capture_us: int) -> bool:
    """Tell whether a moment of a stream lies in a scope."""
    in_time = scope.first_us <= capture_us <= scope.last_us
    return in_time and (scope.stream_ids is None or stream_id in scope.stream_ids)
