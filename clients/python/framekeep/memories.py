"""What the server says of memories, their streams and their exemplars."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from framekeep.policies import BudgetState, KeepingPolicy

Embedding = NDArray[np.float32]
"""float32 [D]; from the encoder of unit length."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A count of what a memory or a stream holds.

    Every acknowledged frame is counted once:
    `frames = novel_frames + repeat_frames + withheld_frames + rejected_frames`, and
    `frames = counted_frames + forgotten_frames + withheld_frames + rejected_frames`.
    """

    frames: int
    """Frames acknowledged by a verdict."""

    novel_frames: int
    """Frames that became an exemplar, those forgotten since included."""

    repeat_frames: int
    """Frames that matched an exemplar, those forgotten since included."""

    withheld_frames: int
    """Frames that were novel, and that policy or a hint kept out, those forgotten since included."""

    rejected_frames: int
    """Frames that could not be taken."""

    forgotten_frames: int
    """Novel and repeat frames that have been forgotten since."""

    counted_frames: int
    """The sum of the counts of all stays."""

    exemplars: int
    """Exemplars kept; for a stream, those it was the first to show."""

    stays: int
    """Leaves of the hierarchy."""

    sightings: int
    """Sightings."""

    received_bytes: int
    """Bytes of the pictures as they came over the wire."""

    stored_bytes: int
    """Bytes on disk, everything included; 0 for streams."""

    first_time: datetime | None
    """Capture time of the earliest counted frame, UTC."""

    last_time: datetime | None
    """Capture time of the latest counted frame, UTC."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a memory keeps what it saw; None: without limit.

    What is beyond a limit is forgotten within a minute, from the oldest end of all streams together.
    """

    max_age: timedelta | None = None
    """Frames captured longer ago, by the server's clock, are forgotten; at least a microsecond."""

    max_exemplars: int | None = None
    """Beyond so many, what was seen longest ago is forgotten, and some more; at least 1."""

    max_bytes: int | None = None
    """Beyond so many on disk, likewise; at least 1."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A named, isolated store with one encoder version and a novelty policy."""

    name: str
    """Its short name, such as `lobby`."""

    novelty_threshold: float
    """A frame is novel if its novelty is above this; in (0, 2]."""

    encoder_version: str
    """The encoder version it is bound to."""

    dimension: int
    """D, the length of its embeddings."""

    create_time: datetime
    """When it was created, UTC."""

    policy_revision: int
    """The record of the threshold and of the policy in force."""

    keeping: KeepingPolicy
    """What streams without a policy of their own compare frames with, and what holds novel frames back."""

    retention: Retention
    """How long it keeps what it saw."""

    contents: Contents
    """What it holds."""

    etag: str
    """Changes with every change of the threshold, of the policy and of the retention."""

    attention_version: str | None
    """The newest version of attention that was fitted to it; None: none was kept."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A lasting source of frames."""

    memory: str
    """The memory it writes to."""

    name: str
    """Its short name, such as `door`."""

    novelty_threshold: float | None
    """Its own threshold, in (0, 2]; None: that of the memory holds."""

    effective_novelty_threshold: float
    """The threshold in force."""

    policy_revision: int
    """The record of the threshold and of the policy in force."""

    keeping: KeepingPolicy | None
    """Its own policy; None: that of the memory holds."""

    effective_keeping: KeepingPolicy
    """The policy in force."""

    budget_state: BudgetState | None
    """How the budget in force is kept; None if there is none."""

    create_time: datetime
    """When it was created, UTC."""

    contents: Contents
    """What it has shown."""

    etag: str
    """Changes with every change of the threshold and of the policy, and with every move by a budget."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The part that an exemplar had in answers: those in which it had at least 1 % of the attention, and was told."""

    answer_count: int
    """Answers."""

    total_weight: float
    """Its shares of the attention, added up."""

    last_time: datetime
    """When it was last part of one, by the server's clock, UTC."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A kept embedding, and what is known of the frames it stands for."""

    id: int
    """Ids grow in the order in which exemplars were kept."""

    stream: str
    """The stream that was the first to show it."""

    session_id: str
    """The session its own frame came from; if that was forgotten, that of the first frame left."""

    seq: int
    """The number of its own frame, or of the first one left."""

    capture_time: datetime
    """Capture time of its own frame, or of the first one left, UTC."""

    first_time: datetime
    """Capture time of the earliest frame it stands for, UTC."""

    last_time: datetime
    """Capture time of the latest frame it stands for, UTC."""

    total_duration: timedelta
    """The lengths of its sightings, added up."""

    frame_count: int
    """Frames it stands for."""

    sighting_count: int
    """Sightings it has."""

    thumbnail: bytes | None = field(repr=False)
    """A JPEG whose longer side is at most 320 pixels; None if not asked for, or if its own frame was forgotten."""

    embedding: Embedding | None = field(repr=False, compare=False)
    """float32 [D]; None if not asked for. Left out of comparisons."""

    own_frame_forgotten: bool = False
    """The frame it came from was forgotten; its embedding is a mean of what is left."""

    labels: tuple[str, ...] = ()
    """The labels that its sightings carry, in order."""

    evidence: Evidence | None = None
    """What part it had in answers; None: none that is on record."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What forgetting took out of a memory."""

    frames: int
    """Frames that were forgotten: all that were asked for, and rarely some more that nothing left could stand for."""

    sightings: int
    """Sightings of which nothing is left."""

    exemplars: int
    """Exemplars of which nothing is left."""

    recentred_exemplars: int
    """Exemplars that lost their own frame, and stand on as the mean of what is left of them."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compaction did to a memory."""

    merged_exemplars: int
    """Exemplars that another stands for now."""

    exemplars: int
    """Exemplars that are left."""
