"""The values on the frame's way: frames, verdicts, sessions, sightings. Times are microseconds, UTC since 1970."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from memory_store.errors import InvalidRetention
from memory_store.hints import NO_HINT, Hint

Embedding = NDArray[np.float32]
"""float32 [D], unit length."""


class Clock(IntEnum):
    """Where the capture times of a session come from; the values are stored."""

    SESSION = 1
    """Start of the session plus presentation time."""

    SOURCE = 2
    """Each frame carries its own."""


class FrameKind(IntEnum):
    """What became of a frame; the values are stored."""

    NOVEL = 1
    REPEAT = 2
    REJECTED = 3
    WITHHELD = 4


class WithheldReason(IntEnum):
    """Why a novel frame was kept out; the values are stored."""

    MINUTE = 1
    INTERVAL = 2
    HINT = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """A threshold in force, on record."""

    revision: int
    """Number of the latest record that has a say in it or in the policy of keeping; grows with every change."""

    threshold: float
    """Frames with a novelty above it are novel; in (0, 2]."""


@dataclass(frozen=True, slots=True)
class Novel:
    """The frame became an exemplar."""

    exemplar_id: int
    """The exemplar it became."""

    novelty: float | None
    """Cosine distance to the nearest exemplar it was compared with, None if there was none."""

    by_hint: bool = False
    """It is within the threshold of one, or a limit stood against it: a hint outranked them."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """The frame was novel, and was kept out."""

    reason: WithheldReason
    """Why."""

    novelty: float | None
    """Cosine distance to the nearest exemplar it was compared with, None if there was none."""

    by_hint: bool = False
    """It would have been kept without its hint."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """The frame matched an exemplar."""

    exemplar_id: int
    """The exemplar it counts towards."""

    novelty: float
    """Cosine distance to that exemplar, at most the threshold."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The frame could not be taken."""

    reason: str
    """A stable name of the reason."""

    message: str
    """What was expected and what came."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The frame was taken, and has been forgotten since."""


Outcome = Novel | Repeat | Withheld | Rejected | Forgotten


@dataclass(frozen=True, slots=True)
class Encoded:
    """A frame that was encoded, on its way into a memory."""

    session_id: int
    """As `Memory.open_session` gave it."""

    seq: int
    """Its number in the session."""

    pts_us: int
    """Presentation time from the start of the session."""

    capture_us: int | None
    """For clock SOURCE: when it was captured. None for clock SESSION."""

    size_bytes: int
    """Bytes it had when it was received."""

    embedding: Embedding
    """float32 [D], unit length."""

    thumbnail: Callable[[], bytes]
    """Makes the JPEG that is kept if the frame is novel."""

    hint: Hint = NO_HINT
    """What the application says of it."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A frame that could not be encoded, on its way into the books."""

    session_id: int
    """As `Memory.open_session` gave it."""

    seq: int
    """Its number in the session."""

    size_bytes: int
    """Bytes it had when it was received."""

    rejection: Rejected
    """Why."""


Arrival = Encoded | Unusable


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a frame, as it stands in the journal."""

    seq: int
    """The frame's number in its session."""

    outcome: Outcome
    """What became of it."""

    policy_revision: int
    """The record of the threshold that decided; 0 for rejected and forgotten frames."""

    capture_us: int | None
    """Capture time it was filed under; None for rejected and forgotten frames."""

    pts_repaired: bool
    """Its presentation time did not increase, and was set to one microsecond after the last."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it stands when it is opened."""

    id: int
    """Its number in the memory."""

    stream: str
    """The stream it is a run of."""

    clock: Clock
    """Where its capture times come from."""

    start_us: int
    """Capture time of presentation time 0; for clock SOURCE the time of the first opening."""

    next_seq: int
    """The first number without a verdict."""

    policy: Policy
    """In force for its stream."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One stretch of capture time in which a stream showed what an exemplar stands for."""

    id: int
    """Its number in the memory; grows in the order of opening."""

    stay_id: int
    """The stay it belongs to."""

    stream_id: int
    """The stream."""

    session_id: int
    """The session."""

    exemplar_id: int
    """The exemplar."""

    policy: Policy
    """In force while it lasted."""

    first_seq: int
    """Its first frame."""

    last_seq: int
    """Its last frame."""

    start_us: int
    """Earliest capture time of its frames."""

    end_us: int
    """Latest capture time of its frames."""

    frames: int
    """Frames in it, at least 1."""

    largest_novelty: float
    """Largest cosine distance of its frames to the exemplar; a bound where `moved_angle` is not 0."""

    mean: Embedding
    """Mean of its frames' embeddings: float32 [D], shorter than 1."""

    moved_angle: float = 0.0
    """Radians by which the exemplar's embedding was moved since its frames were measured against it."""

    cut: bool = False
    """Others of its frames were forgotten; `mean` is the exemplar's embedding, which stands for what is left."""

    labels: tuple[str, ...] = ()
    """What the application called what its frames show; in order, each once."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a memory keeps what it saw; None: without limit."""

    max_age_us: int | None = None
    """Frames captured longer ago are forgotten."""

    max_exemplars: int | None = None
    """Beyond it, what was seen longest ago is forgotten."""

    max_bytes: int | None = None
    """Bytes on disk; beyond it, what was seen longest ago is forgotten."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InvalidRetention: a limit is below 1.
        """
        for name in ("max_age_us", "max_exemplars", "max_bytes"):
            limit = getattr(self, name)
            if limit is not None and not 1 <= limit < 2**63:
                raise InvalidRetention(f"{name}: expected at least 1, got {limit}")


@dataclass(frozen=True, slots=True)
class ForgottenCounts:
    """What forgetting took out."""

    frames: int = 0
    """Frames that were counted and are no more."""

    sightings: int = 0
    """Sightings of which nothing is left."""

    exemplars: int = 0
    """Exemplars of which nothing is left."""

    recentred: int = 0
    """Exemplars that lost their own frame and stand on as the mean of what is left of them."""

    def __add__(self, other: "ForgottenCounts") -> "ForgottenCounts":
        """Add up."""
        return ForgottenCounts(
            self.frames + other.frames,
            self.sightings + other.sightings,
            self.exemplars + other.exemplars,
            self.recentred + other.recentred,
        )


@dataclass(frozen=True, slots=True)
class CompactedCounts:
    """What compaction did."""

    merged: int
    """Exemplars that are now stood for by another."""

    exemplars: int
    """Exemplars that are left."""
