"""Curves over thresholds as they are told: what virtual gates say, what is missing, and examples. Beside all ways."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from memory_store.examples import Example, examples_around
from memory_store.facts import ThresholdCurve
from memory_store.last_seen import ids_below
from memory_store.novelty import nearest
from memory_store.reading import Reading
from memory_store.scope import Scope
from memory_store.state import MemoryState
from memory_store.tuning import Tuning
from memory_store.view import View

_KEPT_EXAMPLES = 512
"""Exemplars, the latest, that are looked through for examples of what was kept."""

_SAME_NOVELTY = 1e-3
"""A novelty is that to a certain exemplar if it is so near: rounding to float16 moves it by less."""


class Curves:
    """Tells of other thresholds. Safe for several threads."""

    def __init__(
        self,
        state: MemoryState,
        lock: threading.RLock,
        reading: Reading,
        tuning: Tuning,
        view: Callable[[Scope], View],
        limit: int,
    ) -> None:
        """Stand by.

        Args:
            state: what the memory holds.
            lock: the memory's.
            reading: reads examples.
            tuning: has the gates.
            view: gives the stays within a scope.
            limit: embeddings held for curves at most.
        """
        self._state = state
        self._lock = lock
        self._reading = reading
        self._tuning = tuning
        self._view = view
        self._limit = limit

    def tell(self, thresholds: Sequence[float], scope: Scope, examples: int) -> ThresholdCurve:
        """Tell what would have been kept, had other thresholds been in force from the start.

        Args:
            thresholds: each in (0, 2].
            scope: streams and capture times that count, to about 256 frames.
            examples: frames just above, and frames just below each threshold, at most.

        Raises:
            InvalidThreshold: one is outside (0, 2].
        """
        lost = missing = self._missing(Scope())
        if lost and not scope.is_everything:
            # A batch counts to a range as a whole or not at all, which is not to be taken for a loss.
            missing = min(self._missing(scope), self._missing(Scope(stream_ids=scope.stream_ids)))
        curve = self._tuning.curve(thresholds, scope)
        # What gates have not seen may be kept once more by them.
        lost_share = lost / (lost + self._tuning.curve((), Scope()).frames) if lost else 0.0
        with self._lock:
            bytes_each = self._state.bytes_each
        pool = [] if not examples else [*self._reading.dropped_examples(scope), *self._kept_examples(scope)]
        return ThresholdCurve(
            tuple(replace(outcome, error=max(outcome.error, lost_share)) for outcome in curve.outcomes),
            tuple(examples_around(pool, outcome.threshold, examples) for outcome in curve.outcomes),
            curve.frames,
            missing,
            curve.active_us,
            bytes_each,
            curve.held,
            self._limit,
        )

    def _missing(self, scope: Scope) -> int:
        """Count the frames of a scope that curves do not rest on; those that come meanwhile are no loss."""
        frames = self._reading.withheld_within(scope) + self._view(scope).frame_count
        return max(0, frames - self._tuning.curve((), scope).frames)

    def _kept_examples(self, scope: Scope) -> Iterator[Example]:
        """Give frames that were kept, each with the exemplar that it was compared with, if that is still there."""
        for kept in self._reading.kept_examples(scope, _KEPT_EXAMPLES):
            with self._lock:
                index = self._state.upkeep.index
                if kept.exemplar_id not in index:
                    continue
                embedding = index.embedding(kept.exemplar_id)
                proposed, _ = index.propose_among(embedding, ids_below(kept.exemplar_id))
                found = nearest(embedding, proposed, index.embeddings(proposed))
            if found is not None and abs(found.novelty - kept.novelty) <= _SAME_NOVELTY:
                yield replace(kept, exemplar_id=found.exemplar_id)
