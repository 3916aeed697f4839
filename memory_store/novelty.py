"""The novelty decision, on the frame's way between the look and the journal. Pure: no state, no I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from memory_store.records import Embedding


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An exemplar and how far a frame is from it."""

    exemplar_id: int
    """The exemplar."""

    novelty: float
    """Cosine distance, in [0, 2]."""


def distance(first: Embedding, second: Embedding) -> float:
    """Cosine distance of two vectors of unit length, in [0, 2].

    Summed in float64, so that the order of summing does not decide verdicts.
    """
    similarity = float(np.dot(first.astype(np.float64), second.astype(np.float64)))
    return min(2.0, max(0.0, 1.0 - similarity))


def nearest(embedding: Embedding, candidates: Iterable[tuple[int, Embedding]]) -> Neighbour | None:
    """Find the nearest of some exemplars by the exact distance; of equals the oldest; None if there are none."""
    neighbours = (Neighbour(exemplar_id, distance(embedding, other)) for exemplar_id, other in candidates)
    return min(neighbours, key=lambda neighbour: (neighbour.novelty, neighbour.exemplar_id), default=None)


@dataclass(frozen=True, slots=True)
class Decision:
    """Which exemplar stands for a frame."""

    stands_for_it: Neighbour | None
    """The exemplar that a repeat counts towards; None for a novel frame."""

    nearest: Neighbour | None
    """What the frame was last compared with; None if there was nothing."""


def decide(current: Neighbour | None, look: Callable[[], Neighbour | None], threshold: float) -> Decision:
    """Decide on one frame.

    A frame stays with its session's current exemplar while that is within the threshold, even if another is nearer:
    sightings get fewer and longer, and most looks are saved. Else it goes to the nearest of all, and is novel if
    that is beyond the threshold.

    Args:
        current: the session's current exemplar and its distance, None before the first counted frame.
        look: finds the nearest exemplar of the whole memory; called only if needed.
        threshold: in (0, 2].
    """
    if current is not None and current.novelty <= threshold:
        return Decision(current, current)
    found = look()
    if found is not None and found.novelty <= threshold:
        return Decision(found, found)
    return Decision(None, found)
