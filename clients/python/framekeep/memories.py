"""What the server says of memories, their streams and their exemplars."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]
"""float32 [D]; from the encoder of unit length."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A count of what a memory or a stream holds.

    Every acknowledged frame is counted once: `frames = novel_frames + repeat_frames + rejected_frames`, and
    `counted_frames = novel_frames + repeat_frames`.
    """

    frames: int
    """Frames acknowledged by a verdict."""

    novel_frames: int
    """Frames that became an exemplar."""

    repeat_frames: int
    """Frames that matched an exemplar."""

    rejected_frames: int
    """Frames that could not be taken."""

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
    """The record of the threshold in force."""

    contents: Contents
    """What it holds."""

    etag: str
    """Changes with every change of the threshold."""


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
    """The record of the threshold in force."""

    create_time: datetime
    """When it was created, UTC."""

    contents: Contents
    """What it has shown."""

    etag: str
    """Changes with every change of the threshold."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A kept embedding, and what is known of the frames it stands for."""

    id: int
    """Ids grow in the order in which exemplars were kept."""

    stream: str
    """The stream that was the first to show it."""

    session_id: str
    """The session its own frame came from."""

    seq: int
    """The number of its own frame."""

    capture_time: datetime
    """Capture time of its own frame, UTC."""

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
    """A JPEG whose longer side is at most 320 pixels; None if not asked for."""

    embedding: Embedding | None = field(repr=False, compare=False)
    """float32 [D]; None if not asked for. Left out of comparisons."""
