"""What a memory tells about itself: sightings, exemplars, counts. Times are microseconds, UTC since 1970."""

from dataclasses import dataclass

from memory_store.budget import BudgetState
from memory_store.examples import Example
from memory_store.keeping import Keeping
from memory_store.records import Clock, Embedding, Policy, Retention
from memory_store.what_if import Outcome


@dataclass(frozen=True, slots=True)
class ShownSighting:
    """A sighting as it is told: with names, and cut to what was asked for."""

    id: int
    """Its number in the memory."""

    stream: str
    """Name of the stream."""

    exemplar_id: int
    """The exemplar."""

    session_uuid: str
    """The session."""

    clock: Clock
    """Where its capture times come from."""

    threshold: float
    """In force while it lasted."""

    start_us: int
    """Earliest capture time."""

    end_us: int
    """Latest capture time."""

    frames: int
    """Frames in it."""

    largest_novelty: float
    """Largest cosine distance of its frames to the exemplar, cut or not; a bound if `restated`."""

    restated: bool
    """The exemplar was moved since its frames were measured; `largest_novelty` allows for that."""

    labels: tuple[str, ...]
    """What the application called what its frames show."""


@dataclass(frozen=True, slots=True)
class ExemplarFacts:
    """What is known of the frames that an exemplar stands for."""

    exemplar_id: int
    """The exemplar."""

    first_us: int
    """Earliest capture time."""

    last_us: int
    """Latest capture time."""

    duration_us: int
    """The lengths of its sightings, added up."""

    frames: int
    """Frames it stands for."""

    sightings: int
    """Sightings it has."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A kept embedding and where it came from."""

    facts: ExemplarFacts
    """What is known of the frames it stands for."""

    stream: str
    """The stream that was the first to show it."""

    session_uuid: str
    """The session of its own frame."""

    seq: int
    """The number of its own frame."""

    capture_us: int
    """Capture time of its own frame."""

    recentred: bool
    """Its own frame was forgotten: its embedding is a mean of what is left, and session, seq and capture time are
    those of the first frame left."""

    thumbnail: bytes | None
    """A JPEG; None if not asked for, or if its frame was forgotten."""

    embedding: Embedding | None
    """float32 [D]; None if not asked for."""

    labels: tuple[str, ...]
    """Those of its sightings."""

    served: "Served | None"
    """What part it had in answers; None if it had none that is on record."""


@dataclass(frozen=True, slots=True)
class Served:
    """What part an exemplar had in answers."""

    answers: int
    """Answers in which it was among what was told."""

    weight: float
    """Its shares of the attention in them, added up."""

    last_us: int
    """When it was last part of one, by the server's clock."""


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """What would have been kept at several thresholds."""

    outcomes: tuple[Outcome, ...]
    """Ascending by threshold."""

    examples: tuple[tuple[list[Example], list[Example]], ...]
    """Of each of them: frames just above it, and frames just below it, nearest first."""

    frames: int
    """Frames that the curve rests on."""

    missing: int
    """Frames that are not accounted for."""

    active_us: int
    """Capture time that the frames span, without long gaps."""

    bytes_each: float
    """Bytes on disk that an exemplar costs."""

    held: int
    """Embeddings that are held."""

    held_limit: int
    """At most so many are."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A count of what a memory or a stream holds."""

    novel_frames: int = 0
    """Frames that became an exemplar."""

    repeat_frames: int = 0
    """Frames that matched one."""

    rejected_frames: int = 0
    """Frames that could not be taken."""

    withheld_frames: int = 0
    """Frames that were novel and were kept out, those forgotten since included."""

    forgotten_frames: int = 0
    """Novel and repeat frames that have been forgotten since."""

    counted_frames: int = 0
    """Frames beneath all stays, counted there."""

    exemplars: int = 0
    """Exemplars kept; for a stream, those it was the first to show."""

    stays: int = 0
    """Leaves of the hierarchy."""

    sightings: int = 0
    """Sightings."""

    received_bytes: int = 0
    """Bytes of the pictures received."""

    stored_bytes: int = 0
    """Bytes on disk, without what is held for curves over thresholds; 0 for streams."""

    first_us: int | None = None
    """Earliest capture time of a counted frame."""

    last_us: int | None = None
    """Latest capture time of a counted frame."""


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """What a memory is."""

    name: str
    """Its name."""

    encoder_version: str
    """The version it is bound to."""

    dimension: int
    """D."""

    created_us: int
    """When it was created."""

    policy: Policy
    """In force where a stream has none of its own."""

    keeping: Keeping
    """In force where a stream has none of its own."""

    retention: Retention
    """How long it keeps what it saw."""

    contents: Contents
    """What it holds."""

    attention_version: str
    """The newest version of attention that was fitted to it; empty if there is none."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a stream is."""

    name: str
    """Its name."""

    created_us: int
    """When it was created."""

    own_threshold: float | None
    """Its own threshold, None if that of the memory holds."""

    own_keeping: Keeping | None
    """Its own policy of keeping, None if that of the memory holds."""

    policy: Policy
    """In force."""

    keeping: Keeping
    """In force."""

    budget: BudgetState | None
    """How the budget in force is kept; None if there is none."""

    own_revision: int
    """The last record that concerns this stream alone, 0 if there is none."""

    contents: Contents
    """What it has shown."""
