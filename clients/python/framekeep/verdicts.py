"""What becomes of the frames of a session: a verdict each, and the sum of them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from framekeep.memories import Embedding


class VerdictKind(Enum):
    """What can become of a frame."""

    NOVEL = "novel"
    """Kept: its embedding is a new exemplar."""

    REPEAT = "repeat"
    """Within the threshold of an exemplar, and counted towards it."""

    REJECTED = "rejected"
    """Not taken."""

    FORGOTTEN = "forgotten"
    """Taken when it was sent first, and forgotten since: the answer to a frame that is sent again."""

    WITHHELD = "withheld"
    """Novel, but kept out by policy or hint: nothing stands for it."""


class WithheldReason(Enum):
    """Why a novel frame was kept out."""

    MINUTE = "minute"
    """`KeepingPolicy.max_exemplars_per_minute`."""

    INTERVAL = "interval"
    """`KeepingPolicy.min_interval`."""

    HINT = "hint"
    """It was sent with `Keep.NEVER`."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a frame was not taken."""

    reason: str
    """Name of an ErrorReason of the contract without its prefix."""

    message: str
    """What was expected and what came."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Microseconds a frame spent in each stage of the server, waiting included."""

    decode_us: int
    """Reading the picture and shrinking it to the encoder's input."""

    encode_us: int
    """Encoding."""

    commit_us: int
    """Deciding, and writing to disk."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a frame. It is on the server's disk."""

    seq: int
    """The frame's number in its session, from 0."""

    kind: VerdictKind
    """What became of it."""

    novelty: float | None
    """NOVEL, WITHHELD: distance to the nearest exemplar it was compared with, None if there was none. REPEAT: distance
    to `exemplar`."""

    exemplar: int | None
    """NOVEL: the id of the exemplar it became. REPEAT: of the one it counts towards. Else: None."""

    policy_revision: int
    """The record of the threshold and policy that decided; 0 for REJECTED and FORGOTTEN."""

    capture_time: datetime | None
    """The capture time it was filed under, UTC; None for REJECTED and FORGOTTEN."""

    pts_repaired: bool
    """Its presentation time did not increase and was set to one microsecond after the last."""

    rejection: Rejection | None
    """For REJECTED: why."""

    timings: Timings | None
    """Where its time went; None for a verdict answered from the journal."""

    context_vector: Embedding | None = field(default=None, repr=False, compare=False)
    """float32 [D], not of unit length: what attention gives for the frame over all that was on disk before the write
    that holds it. None if the session did not ask for it, while the memory was empty, for REJECTED, and for a verdict
    answered from the journal. Left out of comparisons."""

    withheld: WithheldReason | None = None
    """For WITHHELD: why."""

    by_hint: bool = False
    """The `Keep` of the frame outranked gate and policy: NOVEL, though it is within the threshold of an exemplar or a
    limit stood against it, or WITHHELD, though it would have been kept."""


@dataclass(frozen=True, slots=True)
class WithheldFrames:
    """How many novel frames were kept out, and why."""

    minute: int = 0
    """By `KeepingPolicy.max_exemplars_per_minute`."""

    interval: int = 0
    """By `KeepingPolicy.min_interval`."""

    hint: int = 0
    """By `Keep.NEVER`."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.minute + self.interval + self.hint

    def __add__(self, other: "WithheldFrames") -> "WithheldFrames":
        return WithheldFrames(self.minute + other.minute, self.interval + other.interval, self.hint + other.hint)


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """The sum of one run of a stream."""

    memory: str
    """The memory it went into."""

    stream: str
    """The stream it is a run of."""

    session_id: str
    """The session; name it to go on with the same one."""

    novel_frames: int
    """Frames that became an exemplar."""

    repeat_frames: int
    """Frames that matched an exemplar."""

    rejected_frames: int
    """Frames that could not be taken."""

    forgotten_frames: int
    """Frames that were sent again and had been forgotten meanwhile."""

    skipped_frames: int
    """Frames at the start of the source that an earlier run of the session had sent: not sent again."""

    damaged_frames: int
    """Broken packets and pictures that the source left out."""

    dropped_frames: int
    """Frames of a live source that came while the server was away or too slow, and were not sent: the oldest first."""

    reconnections: int
    """How often the connection was lost and the session opened again."""

    sent_bytes: int
    """Bytes of pictures that were sent; what was sent twice counts twice."""

    elapsed_s: float
    """From opening the session to the last verdict."""

    sessions: int = 1
    """Sessions that were begun, one for each connection to a live source; `session_id` is the last one."""

    withheld: WithheldFrames = WithheldFrames()
    """Frames that were novel, and that policy or a hint kept out, by what kept them out."""

    @property
    def withheld_frames(self) -> int:
        """Frames that were novel, and that policy or a hint kept out."""
        return self.withheld.total

    @property
    def frames(self) -> int:
        """Frames with a verdict."""
        taken = self.novel_frames + self.repeat_frames + self.withheld_frames
        return taken + self.rejected_frames + self.forgotten_frames

    @property
    def kept_share(self) -> float:
        """Novel frames by frames with a verdict, in [0, 1]; 0 without frames."""
        return self.novel_frames / self.frames if self.frames else 0.0

    @property
    def frames_per_second(self) -> float:
        """Frames with a verdict by elapsed time."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0
