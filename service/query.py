"""The query's way: from a subject to the most similar exemplars, and to what attention returns over all stays."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from encoder.picture import Picture
from encoder.reading import Effort
from encoder.version import EncoderVersion
from memory_store.errors import StoreUnavailable
from memory_store.facts import ExemplarFacts, ShownSighting
from memory_store.journal import now_us
from memory_store.memory import Memory
from memory_store.novelty import Neighbour
from memory_store.records import Embedding
from memory_store.scope import EARLIEST_US, LATEST_US, Scope
from memory_store.store import MemoryStore
from service.attending import Attending
from service.attention import Attention, attention_told
from service.encoding import Encoding
from service.errors import EncoderMismatch, InvalidField
from service.ingest import check_version

MAX_SIGHTINGS = 100
"""Sightings told with a match; their number is told in full."""

EVIDENCE_SHARE = 0.01
"""Of the attention: exemplars with less are not what an answer rests on."""


@dataclass(frozen=True, slots=True)
class LikePicture:
    """Ask for what a picture shows."""

    read: Callable[[], Picture]


@dataclass(frozen=True, slots=True)
class LikeEmbedding:
    """Ask for what is like an embedding."""

    values: NDArray[np.float32]
    encoder_version: str
    """Empty if it was not stated."""


@dataclass(frozen=True, slots=True)
class LikeExemplar:
    """Ask for what is like an exemplar."""

    exemplar_id: int


@dataclass(frozen=True, slots=True)
class LikeMoment:
    """Ask for what is like what a stream showed at a time."""

    stream: str
    time_us: int


Subject = LikePicture | LikeEmbedding | LikeExemplar | LikeMoment


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a memory."""

    memory: str
    subject: Subject
    first_us: int | None
    """Earliest capture time that counts."""
    end_us: int | None
    """First capture time that counts no more."""
    as_of_us: int | None
    """Latest capture time that counts."""
    streams: tuple[str, ...]
    """Streams that count; empty for all."""
    inverse_temperature: float
    top: int
    thumbnails: bool
    effort: Effort
    attention_version: str
    """As `service.attending` takes it."""
    explain: bool
    labels: frozenset[str] | None
    """Only sightings with one of these labels count; None for all."""


@dataclass(frozen=True, slots=True)
class Match:
    """An exemplar like the subject, with what is known of it within the scope."""

    similarity: float
    facts: ExemplarFacts
    sightings: list[ShownSighting]
    thumbnail: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question."""

    question: Question
    seen: bool
    threshold: float
    matches: list[Match]
    attention: Attention | None


class Queries:
    """Answers questions. Nothing changes but what is on record of the part that exemplars had in answers."""

    def __init__(self, store: MemoryStore, encoding: Encoding, attending: Attending) -> None:
        self._store = store
        self._encoding = encoding
        self._attending = attending

    @property
    def version(self) -> EncoderVersion:
        """The version of the encoder."""
        return self._encoding.version

    async def encode(self, read: Callable[[], Picture]) -> Embedding:
        """Encode a picture: float32 [D], unit length."""
        return await self._encoding.embed(await self._encoding.prepare(read))

    async def answer(self, question: Question) -> Answer:
        """Answer a question.

        Raises:
            MemoryNotFound, StreamNotFound, ExemplarNotFound, MomentNotFound: as they say.
            EncoderError: the picture cannot be used.
            EmbeddingError: the embedding cannot be used.
            EncoderMismatch: the subject and the memory belong to different encoder versions.
            AttentionVersionNotFound: there is no such version, or not for that time.
        """
        memory = await asyncio.to_thread(self._store.get, question.memory)
        embedding = await self.embedding_of(memory, question.subject)
        return await asyncio.to_thread(_answer, memory, embedding, question, self._attending)

    async def embedding_of(self, memory: Memory, subject: Subject) -> Embedding:
        """Make an embedding of what a question is about: float32 [D], unit length.

        Raises:
            StreamNotFound, ExemplarNotFound, MomentNotFound, EncoderError, EmbeddingError, EncoderMismatch: as
                `answer`.
        """
        match subject:
            case LikePicture(read):
                check_version(memory, self._encoding)
                return await self.encode(read)
            case LikeEmbedding(values, version):
                return _given(memory, values, version)
            case LikeExemplar(exemplar_id):
                return await asyncio.to_thread(memory.embedding, exemplar_id)
            case LikeMoment(stream, time_us):
                return await asyncio.to_thread(_shown_at, memory, stream, time_us)
        assert_never(subject)


def _given(memory: Memory, values: NDArray[np.float32], version: str) -> Embedding:
    if version and version != memory.identity.encoder_version:
        raise EncoderMismatch(f"expected an embedding of {memory.identity.encoder_version}, got one of {version}")
    length = float(np.linalg.norm(values.astype(np.float64)))
    if not (np.isfinite(length) and length > 0):
        raise InvalidField("embedding", f"expected a vector with a direction, got length {length}")
    unit: Embedding = (values.astype(np.float64) / length).astype(np.float32)
    return unit


def _shown_at(memory: Memory, stream: str, time_us: int) -> Embedding:
    return memory.embedding(memory.exemplar_at(stream, time_us))


def _answer(memory: Memory, embedding: Embedding, question: Question, attending: Attending) -> Answer:
    manner = attending.manner(memory, question.inverse_temperature, question.attention_version, question.as_of_us)
    policy = memory.policy(question.streams[0] if len(question.streams) == 1 else None)
    scope = _scope(memory, question)
    view = memory.view(scope)
    neighbours = memory.nearest(embedding, view, question.top)
    matches = [_match(memory, neighbour, scope, thumbnail=question.thumbnails) for neighbour in neighbours]
    attention = None
    if view.stay_count:
        attention = attention_told(
            manner.read(embedding, view, question.effort),
            view,
            embedding,
            memory.stream_names(),
            top=question.top,
            version=manner.version,
            explain=question.explain,
        )
        _put_on_record(memory, attention)
    seen = bool(neighbours) and neighbours[0].novelty <= policy.threshold
    return Answer(question, seen, policy.threshold, matches, attention)


def _put_on_record(memory: Memory, attention: Attention) -> None:
    """Take note of the exemplars that an answer rests on."""
    weights = [(exemplar_id, weight) for exemplar_id, weight in attention.exemplars if weight >= EVIDENCE_SHARE]
    if memory.lessons.note_served(weights, now_us()):
        with suppress(StoreUnavailable):  # it stays noted, and an answer does not depend on it
            memory.lessons.record_served()


def _scope(memory: Memory, question: Question) -> Scope:
    last_us = LATEST_US if question.end_us is None else question.end_us - 1
    if question.as_of_us is not None:
        last_us = min(last_us, question.as_of_us)
    return Scope(
        first_us=EARLIEST_US if question.first_us is None else question.first_us,
        last_us=last_us,
        stream_ids=frozenset(map(memory.stream_id, question.streams)) if question.streams else None,
        labels=question.labels,
    )


def _match(memory: Memory, neighbour: Neighbour, scope: Scope, *, thumbnail: bool) -> Match:
    facts, sightings = memory.sightings(neighbour.exemplar_id, scope)
    jpeg = memory.reading.thumbnail(neighbour.exemplar_id) if thumbnail else None
    return Match(1 - neighbour.novelty, facts, sightings[:MAX_SIGHTINGS], jpeg)
