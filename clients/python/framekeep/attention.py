"""What attention returns for a query: the context vector, where it comes from, and how far it may be off."""

from dataclasses import dataclass, field
from datetime import datetime

from framekeep.memories import Embedding


@dataclass(frozen=True, slots=True)
class AttendedBlock:
    """A block of the hierarchy and its share of the attention."""

    level: int
    """1: a block of stays; 2: a block of those; and so on."""

    stream: str
    """The stream it belongs to."""

    index: int
    """Its place among the blocks of its level and stream, from 0."""

    weight: float
    """Its share of the total mass, in [0, 1]."""

    start_time: datetime
    """Capture time of the earliest frame beneath, within the filter, UTC."""

    end_time: datetime
    """Capture time of the latest frame beneath, within the filter, UTC."""

    frame_count: int
    """Frames beneath, within the filter."""


@dataclass(frozen=True, slots=True)
class AttentionLevel:
    """The blocks of one level of the hierarchy."""

    level: int
    """1: blocks of stays; 2: blocks of those; and so on."""

    blocks: tuple[AttendedBlock, ...]
    """Those with the largest weights, largest first."""

    block_count: int
    """How many blocks the level has within the filter."""


@dataclass(frozen=True, slots=True)
class AttendedExemplar:
    """An exemplar and its share of the attention."""

    exemplar: int
    """The id of the exemplar."""

    weight: float
    """Its share of the total mass, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class ContextError:
    """How far a context vector may be from that of attention over every frame ever seen.

    Two parts, each an L2 distance as a share of the context vector's length. Both are estimates, not bounds.
    """

    reading: float
    """From not opening every stay; 0 if all were opened."""

    storing: float
    """From storing the mean of a stay's frames instead of each."""

    confidence: float
    """The share of queries for which each of the two holds, on the footage on which that was measured; in [0, 1]."""


@dataclass(frozen=True, slots=True)
class AttendedStay:
    """A stay and its share of the attention."""

    exemplar: int
    """The id of the exemplar that stands for its frames."""

    weight: float
    """Its share of the total mass, in [0, 1]."""

    similarity: float
    """Cosine similarity of the subject and the mean of its frames, in [-1, 1]."""

    start_time: datetime
    """Capture time of its earliest frame, within the filter, UTC."""

    end_time: datetime
    """Capture time of its latest frame, within the filter, UTC."""

    frame_count: int
    """Frames beneath, within the filter."""


@dataclass(frozen=True, slots=True)
class ExplainedBlock:
    """A block on the way down, with the heaviest of what lies beneath it."""

    block: AttendedBlock
    """The block; its weight is its share of the whole."""

    blocks: tuple["ExplainedBlock", ...]
    """Blocks beneath, heaviest first; empty at level 1."""

    stays: tuple[AttendedStay, ...]
    """At level 1: opened stays, heaviest first; else empty."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer came about."""

    blocks: tuple[ExplainedBlock, ...]
    """The top block of each stream that matters, heaviest first."""

    blocks_of_stays: tuple[AttendedBlock, ...]
    """The heaviest blocks of stays, in order of their start; at most 1,000."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What hierarchical attention returns for a query."""

    context_vector: Embedding = field(repr=False, compare=False)
    """float32 [D]: the mean over the past, weighted by attention; not of unit length. Left out of comparisons."""

    levels: tuple[AttentionLevel, ...]
    """Levels from the top down; the last holds blocks of stays."""

    exemplars: tuple[AttendedExemplar, ...]
    """The exemplars with the largest weights, their stays added up, largest first."""

    frame_count: int
    """Frames that were attended to."""

    stay_count: int
    """Stays within the filter."""

    effective_stays: float
    """exp(entropy) of the weights of the stays: how many of them, in effect, the answer rests on. An estimate unless
    all of them were opened."""

    inverse_temperature: float
    """The inverse temperature that was used."""

    context_error: ContextError | None
    """How far the context vector may be off; None if the server does not say."""

    unopened_share: float
    """Share of the mass that lies in stays that were not opened, as estimated; in [0, 1]."""

    opened_stay_count: int
    """Stays that were opened."""

    vectors_read: int
    """Vectors that were read: stays, exemplars and summaries."""

    attention_version: str | None
    """The version of attention that answered; None: plain attention."""

    explanation: Explanation | None = field(repr=False)
    """The way from the top of the hierarchy down to the stays; None if not asked for."""


@dataclass(frozen=True, slots=True)
class FittedAttention:
    """What fitting attention to a memory came to."""

    version: str | None
    """The version that was kept, for queries to name; None if none was better than plain attention."""

    held_out_queries: int
    """Queries from the later part of the time, on which it was judged."""

    plain_top5_share: float
    """Share of them whose evidence was among the five heaviest exemplars by plain attention, in [0, 1]."""

    fitted_top5_share: float
    """The same by the fitted attention."""

    fitted_through: datetime | None
    """Capture time of the latest frame that it was trained on or judged by, UTC; answers as of an earlier time cannot
    use the version. None if there was none."""
