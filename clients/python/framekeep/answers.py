"""What a memory answers to a query: matches, and what attention returns."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from framekeep.attention import AttendedBlock, Attention, ContextError
from framekeep.memories import Embedding


class Clock(Enum):
    """Where capture times come from."""

    SESSION = "session"
    """Start of the session plus presentation time."""

    SOURCE = "source"
    """Each frame carries its own."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One stretch of capture time in which a stream showed what an exemplar stands for."""

    stream: str
    """The stream."""

    exemplar: int
    """The id of the exemplar."""

    start_time: datetime
    """Capture time of its first frame, UTC."""

    end_time: datetime
    """Capture time of its last frame, UTC."""

    frame_count: int
    """Frames in it."""

    session_id: str
    """The session it belongs to."""

    clock: Clock
    """Where its capture times come from."""

    novelty_threshold: float
    """The threshold that was in force."""

    largest_novelty: float
    """The largest novelty among its frames, against its exemplar; never above the threshold, unless `restated`."""

    restated: bool = False
    """The exemplar was moved or merged since: `largest_novelty` is a bound that allows for that."""

    labels: tuple[str, ...] = ()
    """The labels that its frames carried, in order."""


@dataclass(frozen=True, slots=True)
class Match:
    """An exemplar that is similar to the subject of a query, with what is known of it within the filter."""

    exemplar: int
    """The id of the exemplar."""

    similarity: float
    """Cosine similarity to the subject, in [-1, 1]; exact."""

    first_time: datetime
    """Capture time of the first frame it stands for, UTC."""

    last_time: datetime
    """Capture time of the last frame it stands for, UTC."""

    total_duration: timedelta
    """The lengths of its sightings, added up; a sighting of a single frame has length 0."""

    frame_count: int
    """Frames it stands for."""

    sighting_count: int
    """Sightings it has."""

    sightings: tuple[Sighting, ...]
    """Its latest sightings, newest first, at most 100."""

    thumbnail: bytes | None = field(repr=False)
    """A JPEG; None if not asked for, or if the exemplar's own frame was forgotten."""

    @property
    def novelty(self) -> float:
        """Cosine distance to the subject, in [0, 2]; rounding in the similarity does not make it negative."""
        return max(0.0, 1.0 - self.similarity)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a memory says about its past."""

    seen: bool
    """Something that passes the filter is within `novelty_threshold` of the subject."""

    novelty_threshold: float
    """The threshold behind `seen`."""

    matches: tuple[Match, ...]
    """The most similar exemplars that were seen within the filter, most similar first."""

    attention: Attention | None
    """What attention returns; None if nothing passes the filter."""

    @property
    def context_vector(self) -> Embedding | None:
        """float32 [D]: the mean over the past, weighted by attention; None if nothing passes the filter."""
        return None if self.attention is None else self.attention.context_vector

    @property
    def context_error(self) -> ContextError | None:
        """How far the context vector may be off; None if nothing passes the filter, or if the server does not say."""
        return None if self.attention is None else self.attention.context_error

    @property
    def blocks(self) -> tuple[AttendedBlock, ...]:
        """The blocks that drew the attention, level by level from the top, largest first within a level."""
        levels = () if self.attention is None else self.attention.levels
        return tuple(block for level in levels for block in level.blocks)
