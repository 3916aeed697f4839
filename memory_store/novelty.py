"""The novelty decision, on the frame's way between the look and the journal. Pure: no state, no I/O."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.records import Embedding

_ROUNDING = 1e-12
"""More than sums of a thousand products in float64 differ by with their order."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An exemplar and how far a frame is from it."""

    exemplar_id: int
    """The exemplar."""

    novelty: float
    """Cosine distance, in [0, 2]."""


def distance(first: Embedding, second: Embedding) -> float:
    """Cosine distance of two vectors, in [0, 2].

    Summed in float64, so that the order of summing does not decide verdicts, and divided by the lengths, which
    rounding to float16 leaves up to 2^-11 from 1.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    similarity = float(np.dot(a, b)) / float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
    return min(2.0, max(0.0, 1.0 - similarity))


def nearest(embedding: Embedding, ids: NDArray[np.int64], embeddings: NDArray[np.float32]) -> Neighbour | None:
    """Find the nearest of K exemplars by the exact distance; of equals the oldest; None if there are none.

    Args:
        embedding: float32 [D].
        ids: int64 [K].
        embeddings: float32 [K, D].
    """
    if not len(ids):
        return None
    if len(ids) == 1:
        return Neighbour(int(ids[0]), distance(embedding, embeddings[0]))
    wide = embeddings.astype(np.float64)  # [K, D]
    cosines = wide @ embedding.astype(np.float64) / np.sqrt(np.einsum("kd,kd->k", wide, wide))  # [K]
    # How a product of matrices is summed depends on K; the last bits, which are put on record, must not.
    near = np.flatnonzero(cosines >= cosines.max() - _ROUNDING)
    neighbours = [Neighbour(int(ids[place]), distance(embedding, embeddings[place])) for place in near]
    return min(neighbours, key=lambda neighbour: (neighbour.novelty, neighbour.exemplar_id))


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
