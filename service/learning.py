"""Fits attention to a memory, and takes the feedback that it learns from."""

import asyncio

from encoder import past as encoder_past
from encoder.attention_fitting import FitOutcome, fit
from encoder.past import Past
from framekeep.v1 import video_memory_pb2 as pb
from memory_store.errors import ExemplarNotFound
from memory_store.lesson_rows import AttentionVersion, Feedback
from memory_store.memory import Memory
from memory_store.records import Embedding
from memory_store.scope import LATEST_US
from memory_store.store import MemoryStore
from service import names, query_converters
from service.errors import InvalidField
from service.query import LikeExemplar, LikeMoment, Queries
from service.upkeep import Upkeep

MAX_EVIDENCE = 100
"""Exemplars that one feedback may name."""


class Learning:
    """Fits, and puts feedback on record."""

    def __init__(self, store: MemoryStore, queries: Queries, upkeep: Upkeep) -> None:
        """Take over.

        Args:
            store: the memories.
            queries: make embeddings of what was asked.
            upkeep: runs what takes long.
        """
        self._store = store
        self._queries = queries
        self._upkeep = upkeep

    async def fit(self, request: pb.FitAttentionRequest) -> pb.FitAttentionResponse:
        """See the contract."""
        name = names.memory_from(request.name)
        outcome = await self._upkeep.run(lambda: self._fit(self._store.get(name)))
        return pb.FitAttentionResponse(
            attention_version="" if outcome.module is None else outcome.module.version,
            held_out_queries=outcome.queries,
            plain_top5_share=outcome.plain_top5,
            fitted_top5_share=outcome.fitted_top5,
            fitted_through=names.time_to(outcome.fitted_through_us) if outcome.queries else None,
        )

    def _fit(self, memory: Memory) -> FitOutcome:
        past = past_of(memory)
        outcome = fit(past, seed=0)
        if outcome.module is not None:
            memory.lessons.keep(
                AttentionVersion(
                    outcome.module.version,
                    int(past.starts_us[0]),
                    outcome.fitted_through_us,
                    outcome.module.to_bytes(),
                )
            )
        return outcome

    async def take_feedback(self, request: pb.SendFeedbackRequest, max_pixels: int) -> pb.SendFeedbackResponse:
        """See the contract."""
        name = names.memory_from(request.memory)
        if not 1 <= len(request.evidence) <= MAX_EVIDENCE:
            raise InvalidField("evidence", f"expected 1 to {MAX_EVIDENCE} exemplars, got {len(request.evidence)}")
        evidence = tuple(_exemplar_of(name, given) for given in request.evidence)
        asked_us = names.time_from(request.as_of, "as_of") if request.HasField("as_of") else LATEST_US
        subject = query_converters.subject_from(request, name, max_pixels)
        memory = await asyncio.to_thread(self._store.get, name)
        about: Embedding | int
        match subject:
            # By its number: nothing of it stays here when it is forgotten.
            case LikeExemplar(exemplar_id):
                about = exemplar_id
            case LikeMoment(stream, time_us):
                about = await asyncio.to_thread(memory.exemplar_at, stream, time_us)
            case other:
                about = await self._queries.embedding_of(memory, other)
        await asyncio.to_thread(memory.lessons.give_feedback, Feedback(asked_us, about, evidence))
        return pb.SendFeedbackResponse()


def _exemplar_of(memory: str, given: str) -> int:
    named, exemplar_id = names.exemplar_from(given)
    if named != memory:
        raise InvalidField("evidence", f"expected exemplars of memory {memory}, got {given!r}")
    return exemplar_id


def past_of(memory: Memory) -> Past:
    """Put together what there is to learn from."""
    seen = memory.lessons.sightings()
    last_us = int(seen.table[:, 4].max(initial=0))
    stays, exemplars, streams, starts, ends, frames = seen.table.T
    return Past(
        means=seen.means,
        stay_ids=stays,
        exemplar_ids=exemplars,
        stream_ids=streams,
        starts_us=starts,
        ends_us=ends,
        frames=frames,
        feedback=[
            # What came after all that was seen can be asked about what was seen alone.
            encoder_past.Feedback(query, given.evidence, min(given.asked_us, last_us))
            for given in memory.lessons.feedback()
            if (query := _query_of(memory, given.subject)) is not None
        ],
    )


def _query_of(memory: Memory, subject: Embedding | int) -> Embedding | None:
    if not isinstance(subject, int):
        return subject
    try:
        return memory.embedding(subject)
    except ExemplarNotFound:  # forgotten since it was read
        return None
