"""The novelty gate of one memory, on the frame's way: what is decided on a group of frames before it is committed.

Not safe for several threads; the memory's lock sees to that.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from memory_store.errors import EmbeddingError
from memory_store.frame_embeddings import rounded_blobs
from memory_store.group import Group
from memory_store.journal import now_us
from memory_store.keeping import Keeping
from memory_store.looks import Looks, Restriction
from memory_store.novelty import Neighbour, nearest
from memory_store.records import Arrival, Embedding, Encoded, Unusable, Verdict
from memory_store.scope import EARLIEST_US
from memory_store.seen_frames import SeenFrame
from memory_store.state import MemoryState

_LENGTH_TOLERANCE = 1e-3
"""How far an embedding's length may be from 1; rounding to float16 moves it by up to 2^-11."""


def check_embedding(embedding: Embedding, dimension: int) -> None:
    """Refuse what is no embedding of D numbers.

    Raises:
        EmbeddingError: wrong shape, type or length.
    """
    if embedding.shape != (dimension,) or embedding.dtype != np.float32:
        raise EmbeddingError(f"expected float32 {[dimension]}, got {embedding.dtype} {list(embedding.shape)}")
    length = float(np.linalg.norm(embedding.astype(np.float64)))
    if not abs(length - 1) <= _LENGTH_TOLERANCE:
        raise EmbeddingError(f"expected an embedding of length 1, got {length}")


class Gate:
    """Decides on groups of frames; changes nothing."""

    def __init__(self, state: MemoryState, dimension: int, *, records_frames: bool) -> None:
        """Stand by.

        Args:
            state: what the memory holds.
            dimension: D.
            records_frames: whether what frames look like goes on record.
        """
        self._records_frames = records_frames
        self._state = state
        self._dimension = dimension

    def check(self, arrivals: Sequence[Arrival]) -> None:
        """Check embeddings; without the lock.

        Raises:
            EmbeddingError: wrong shape, type or length.
        """
        for arrival in arrivals:
            if isinstance(arrival, Encoded):
                check_embedding(arrival.embedding, self._dimension)

    def decide(self, arrivals: Sequence[Arrival]) -> tuple[Group, list[Verdict]]:
        """Decide on frames, in order: what that changes, and the verdicts.

        Raises:
            SequenceGap: a frame is not the next one of its session.
            MemoryUnreadable, StoreUnavailable: the journal cannot be read.
        """
        group = self._group(arrivals)
        looks = Looks(self._state.upkeep.index, arrivals, group)
        rounded = self._rounded(arrivals)
        return group, [self._decide(group, looks, place, arrival, rounded) for place, arrival in enumerate(arrivals)]

    def look(self, embedding: Embedding) -> Neighbour | None:
        """Find the exemplar that a frame without restrictions would be compared with; None if there is none."""
        index = self._state.upkeep.index
        [(proposed, _)] = index.propose(embedding[None])
        return nearest(embedding, proposed, index.embeddings(proposed))

    def seen(self, arrivals: Sequence[Arrival], verdicts: Sequence[Verdict]) -> list[SeenFrame]:
        """Tell of the frames that were encoded, for curves over thresholds."""
        seen = []
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            if isinstance(arrival, Encoded) and verdict.capture_us is not None:
                stream_id = self._state.sessions[arrival.session_id].stream_id
                keeping = self._state.policies.keeping(stream_id)
                seen.append(
                    SeenFrame(
                        stream_id,
                        verdict.capture_us,
                        arrival.embedding,
                        keeping.own_stream_only,
                        keeping.horizon_us,
                    )
                )
        return seen

    def _group(self, arrivals: Sequence[Arrival]) -> Group:
        group = Group(
            copy(self._state.next_ids),
            self._state.policies,
            now_us(),
            self._state.bytes_each,
            self._state.bands.copy(),
            self._records_frames,
        )
        for session_id in {arrival.session_id for arrival in arrivals}:
            session = copy(self._state.sessions[session_id])
            stream = self._state.streams[session.stream_id]
            group.sessions[session_id] = session
            group.streams[stream.id] = replace(stream, open_stays=dict(stream.open_stays))
        return group

    def _rounded(self, arrivals: Sequence[Arrival]) -> dict[int, bytes]:
        """Round what the frames look like, all at once, by their places; nothing if frames do not go on record."""
        encoded = {place: arrival.embedding for place, arrival in enumerate(arrivals) if isinstance(arrival, Encoded)}
        if not encoded or not self._records_frames:
            return {}
        return dict(zip(encoded, rounded_blobs(np.stack(list(encoded.values()))), strict=True))

    def _decide(self, group: Group, looks: Looks, place: int, arrival: Arrival, rounded: dict[int, bytes]) -> Verdict:
        if isinstance(arrival, Unusable):
            return group.reject(arrival)

        def stored(exemplar_id: int) -> Embedding:
            pending = group.exemplars.get(exemplar_id)
            return self._state.upkeep.index.embedding(exemplar_id) if pending is None else pending.embedding

        stream_id = group.sessions[arrival.session_id].stream_id
        keeping = group.policies.keeping(stream_id)

        def look(embedding: Embedding, capture_us: int) -> Neighbour | None:
            return looks.look(place, embedding, self._restriction(keeping, stream_id, capture_us))

        return group.count(arrival, stored, look, self._state.kept_of, rounded.get(place))

    def _restriction(self, keeping: Keeping, stream_id: int, capture_us: int) -> Restriction | None:
        if not keeping.is_restricted:
            return None
        only = stream_id if keeping.own_stream_only else None
        since_us = EARLIEST_US if keeping.horizon_us is None else max(EARLIEST_US, capture_us - keeping.horizon_us)
        return Restriction(self._state.last_seen(only), only, since_us)
