"""What attention read, put into the words of an answer: levels of blocks, exemplars, the way from the top down."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.reading import CONFIDENCE, Reading
from memory_store.forest import BLOCK_SIZE, StayFacts
from memory_store.records import Embedding
from memory_store.view import Nodes, View

MOST_BLOCKS_OF_STAYS = 1000
"""Blocks that an explanation draws along the time axis."""

_STREAMS, _BRANCHES = 5, 3
"""Streams that an explanation follows down, and the heaviest of what lies beneath each block."""

_WORTH_TELLING = 0.001
"""Of the whole: what weighs less is left out of an explanation."""


@dataclass(frozen=True, slots=True)
class AttendedBlock:
    """A block and its share of the attention."""

    stream: str
    index: int
    weight: float
    first_us: int
    last_us: int
    frames: int


@dataclass(frozen=True, slots=True)
class AttendedStay:
    """A stay and its share of the attention."""

    exemplar_id: int
    weight: float
    similarity: float
    """Of the subject and the mean of its frames."""
    first_us: int
    last_us: int
    frames: int


@dataclass(frozen=True, slots=True)
class ExplainedBlock:
    """A block on the way down, with the heaviest of what lies beneath it."""

    level: int
    block: AttendedBlock
    blocks: list["ExplainedBlock"]
    stays: list[AttendedStay]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer came about."""

    blocks: list[ExplainedBlock]
    blocks_of_stays: list[AttendedBlock]


@dataclass(frozen=True, slots=True)
class ContextError:
    """How far a context vector may be off, as shares of its length."""

    reading: float
    storing: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Attention:
    """What attention returned."""

    context_vector: Embedding
    levels: list[tuple[int, list[AttendedBlock]]]
    """From the top down: how many blocks a level has, and those with the largest weights."""
    exemplars: list[tuple[int, float]]
    """Exemplars and their weights, largest first."""
    frames: int
    stays: int
    opened_stays: int
    effective_stays: float
    unopened_share: float
    error: ContextError
    vectors_read: int
    version: str
    """Of learned attention; empty for plain."""
    explanation: Explanation | None


@dataclass(frozen=True, slots=True)
class _Level:
    """The blocks of one level, with their weights."""

    nodes: Nodes
    weights: NDArray[np.float64]
    """As shares of the whole: [N]."""

    def told(self, node: int, streams: dict[int, str]) -> AttendedBlock:
        nodes = self.nodes
        return AttendedBlock(
            stream=streams[int(nodes.stream_ids[node])],
            index=int(nodes.indices[node]),
            weight=float(self.weights[node]),
            first_us=int(nodes.first_us[node]),
            last_us=int(nodes.last_us[node]),
            frames=int(nodes.frames[node]),
        )


def attention_told(
    reading: Reading, view: View, subject: Embedding, streams: dict[int, str], *, top: int, version: str, explain: bool
) -> Attention:
    """Tell what was read.

    Args:
        reading: what attention returned.
        view: what it read.
        subject: float32 [D], unit length.
        streams: their names.
        top: how many blocks a level, and exemplars, to tell.
        version: of learned attention; empty for plain.
        explain: tell the way from the top down too.
    """
    facts = view.facts(reading.rows)
    levels = _weighted(view.levels(), facts, reading.shares)
    once = reading.once  # what is drawn twice is there twice, and each stay weighs once
    return Attention(
        context_vector=reading.context_vector,
        levels=[
            (len(level.weights), [level.told(node, streams) for node in _heaviest(level.weights, top)])
            for level in reversed(levels)
        ],
        exemplars=_exemplars(facts.column("exemplar_id")[once], reading.weights[once], top),
        frames=view.frame_count,
        stays=view.stay_count,
        opened_stays=len(once),
        effective_stays=reading.effective_stays,
        unopened_share=max(0.0, 1.0 - reading.opened_share),
        error=ContextError(reading.reading_error, reading.storing_error, CONFIDENCE),
        vectors_read=reading.touched,
        version=version,
        explanation=_explained(levels, reading, view, subject, streams) if explain else None,
    )


def _weighted(levels: tuple[Nodes, ...], facts: StayFacts, shares: NDArray[np.float64]) -> list[_Level]:
    """Add the shares of stays up over the blocks of each level, from 1 up."""
    found = []
    streams, places = facts.column("stream_id"), facts.column("position")
    for nodes in levels:
        places = places // BLOCK_SIZE
        # Blocks of a level are in the order of stream and place.
        span = int(nodes.indices.max(initial=0)) + 1
        keys = nodes.stream_ids * span + nodes.indices
        node = np.searchsorted(keys, streams * span + places)
        found.append(_Level(nodes, np.bincount(node, shares, len(keys)).astype(np.float64)))
    return found


def _heaviest(weights: NDArray[np.float64], number: int) -> list[int]:
    largest = np.arange(len(weights))
    if number < len(weights):
        largest = np.sort(np.argpartition(-weights, number)[:number])
    heaviest: list[int] = largest[np.argsort(-weights[largest], kind="stable")].tolist()
    return heaviest


def _exemplars(exemplar_ids: NDArray[np.int64], weights: NDArray[np.float64], top: int) -> list[tuple[int, float]]:
    ids, of_stay = np.unique(exemplar_ids, return_inverse=True)
    sums = np.bincount(of_stay.reshape(-1), weights, len(ids)).astype(np.float64)
    return [(int(ids[place]), float(sums[place])) for place in _heaviest(sums, top)]


def _explained(
    levels: list[_Level], reading: Reading, view: View, subject: Embedding, streams: dict[int, str]
) -> Explanation:
    first = levels[0]
    heaviest = np.array(_heaviest(first.weights, MOST_BLOCKS_OF_STAYS), np.int64)
    heaviest = heaviest[first.weights[heaviest] > 0]
    in_time = heaviest[np.argsort(first.nodes.first_us[heaviest], kind="stable")].tolist()
    top = len(levels) - 1
    roots = [node for node in _heaviest(levels[top].weights, _STREAMS) if levels[top].weights[node] >= _WORTH_TELLING]
    way = _Way(levels, reading, view, subject, streams)
    return Explanation([way.down(top, node) for node in roots], [first.told(node, streams) for node in in_time])


class _Way:
    """Goes from blocks down to stays."""

    def __init__(
        self, levels: list[_Level], reading: Reading, view: View, subject: Embedding, streams: dict[int, str]
    ) -> None:
        once = reading.once
        self._levels = levels
        self._rows, self._weights = reading.rows[once], reading.weights[once]
        self._facts = view.facts(self._rows)
        self._view = view
        self._subject = subject
        self._streams = streams

    def down(self, depth: int, node: int) -> ExplainedBlock:
        """Explain a block, given by its level (0 for blocks of stays) and its place there."""
        level = self._levels[depth]
        stream, index = int(level.nodes.stream_ids[node]), int(level.nodes.indices[node])
        blocks, stays = [], []
        if depth:
            below = self._levels[depth - 1]
            beneath = (below.nodes.stream_ids == stream) & (below.nodes.indices // BLOCK_SIZE == index)
            blocks = [self.down(depth - 1, child) for child in _worth_telling(beneath, below.weights)]
        else:
            facts = self._facts
            beneath = (facts.column("stream_id") == stream) & (facts.column("position") // BLOCK_SIZE == index)
            stays = [self._stay(place) for place in _worth_telling(beneath, self._weights)]
        return ExplainedBlock(depth + 1, level.told(node, self._streams), blocks, stays)

    def _stay(self, place: int) -> AttendedStay:
        [mean], [frames] = self._view.read(self._rows[place : place + 1])
        length = max(float(np.linalg.norm(mean)), 1e-12)
        return AttendedStay(
            exemplar_id=int(self._facts.column("exemplar_id")[place]),
            weight=float(self._weights[place]),
            similarity=float(mean @ self._subject) / length,
            first_us=int(self._facts.column("first_us")[place]),
            last_us=int(self._facts.column("last_us")[place]),
            frames=int(frames),
        )


def _worth_telling(beneath: NDArray[np.bool_], weights: NDArray[np.float64]) -> list[int]:
    """Choose the heaviest of what lies beneath a block."""
    places = np.flatnonzero(beneath)
    heaviest = places[_heaviest(weights[places], _BRANCHES)]
    told: list[int] = heaviest[weights[heaviest] >= _WORTH_TELLING].tolist()
    return told
