"""The looks of one group: which exemplars frames are compared with, proposed for many of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from memory_store.embedding_table import Ids
from memory_store.group import Group
from memory_store.index import ExemplarIndex
from memory_store.last_seen import LastSeen
from memory_store.novelty import Neighbour, nearest
from memory_store.records import Arrival, Embedding, Encoded

_ROUNDING = 1e-3
"""More than float32 and lengths up to 2^-11 from 1 move a similarity by; what is so near is compared exactly."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """What a frame is compared with, where that is not all there is."""

    last_seen: LastSeen
    """When exemplars were seen last, before the group, by those whose sightings count."""

    stream_id: int | None
    """Only what this stream has shown counts; None: what any has."""

    since_us: int
    """Only what was seen at this time or later counts."""


class Looks:
    """Looks for the frames of a group, in the index and in what the group has already decided.

    The first frame that needs a look asks the index for itself and for all after it: one search for many costs half
    as much for each, and the index does not change before the group is committed. Looks that are restricted ask one by
    one.
    """

    def __init__(self, index: ExemplarIndex, arrivals: Sequence[Arrival], group: Group) -> None:
        self._index = index
        self._arrivals = arrivals
        self._group = group
        self._proposed: dict[int, tuple[Ids, NDArray[np.float32]]] = {}
        self._fresh_ids: list[int] = []
        """Exemplars that the group has decided on, as far as they were looked at."""
        self._fresh = np.empty((len(arrivals), index.table.dimension), np.float32)  # [B, D], the first rows are theirs

    def look(self, place: int, embedding: Embedding, restriction: Restriction | None) -> Neighbour | None:
        """Find the exemplar nearest to the frame that arrived in a place; None if there is none.

        Args:
            place: among the arrivals.
            embedding: of the frame.
            restriction: what it is compared with; None: with everything.
        """
        if restriction is not None:
            return self._look_within(embedding, restriction)
        if place not in self._proposed:
            self._ask(place)
        known, similarities = self._proposed[place]
        fresh = self._fresh_similarities(embedding)
        best = max(similarities.max(initial=-np.inf), fresh.max(initial=-np.inf)) - _ROUNDING
        near = known[similarities >= best]
        fresh_near = np.flatnonzero(fresh >= best).tolist()
        ids = np.array([*near.tolist(), *(self._fresh_ids[row] for row in fresh_near)], np.int64)
        return nearest(embedding, ids, np.concatenate([self._index.embeddings(near), self._fresh[fresh_near]]))

    def _look_within(self, embedding: Embedding, restriction: Restriction) -> Neighbour | None:
        seen = {
            sighting.exemplar_id
            for sighting in self._group.sightings.values()
            if restriction.stream_id in {None, sighting.stream_id} and sighting.end_us >= restriction.since_us
        }
        known, _ = self._index.propose_among(embedding, restriction.last_seen.since(restriction.since_us, seen))
        self._fresh_similarities(embedding)
        rows = [row for row, exemplar_id in enumerate(self._fresh_ids) if exemplar_id in seen]
        ids = np.array([*known.tolist(), *(self._fresh_ids[row] for row in rows)], np.int64)
        return nearest(embedding, ids, np.concatenate([self._index.embeddings(known), self._fresh[rows]]))

    def _ask(self, place: int) -> None:
        later = [
            (number, arrival.embedding)
            for number, arrival in enumerate(self._arrivals[place:], start=place)
            if isinstance(arrival, Encoded)
        ]
        proposals = self._index.propose(np.stack([embedding for _, embedding in later]))
        self._proposed.update((number, proposal) for (number, _), proposal in zip(later, proposals, strict=True))

    def _fresh_similarities(self, embedding: Embedding) -> NDArray[np.float32]:
        """Compare with what the group has decided on: float32 [K]."""
        for exemplar in islice(self._group.exemplars.values(), len(self._fresh_ids), None):
            self._fresh[len(self._fresh_ids)] = exemplar.embedding
            self._fresh_ids.append(exemplar.id)
        similarities: NDArray[np.float32] = self._fresh[: len(self._fresh_ids)] @ embedding
        return similarities
