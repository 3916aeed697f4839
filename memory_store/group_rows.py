"""What a group of frames adds to the journal."""

from dataclasses import dataclass

from memory_store.records import Embedding, FrameKind, WithheldReason


@dataclass(frozen=True, slots=True)
class NewExemplar:
    """An exemplar to be stored."""

    id: int
    session_id: int
    seq: int
    capture_us: int
    embedding: Embedding
    thumbnail: bytes
    priority: int


@dataclass(frozen=True, slots=True)
class WithheldRow:
    """What is on record of a frame that was kept out, beside what is of every frame."""

    session_id: int
    seq: int
    stream_id: int
    capture_us: int
    policy_revision: int
    reason: WithheldReason


@dataclass(frozen=True, slots=True)
class FrameRow:
    """A frame to be put on record."""

    session_id: int
    seq: int
    kind: FrameKind
    pts_repaired: bool = False
    pts_us: int | None = None
    capture_us: int | None = None
    novelty: float | None = None
    by_hint: bool = False
    embedding: bytes | None = None
    """As `memory_store.frame_embeddings` rounds it; None for what is a copy, or is not counted."""


@dataclass(slots=True)
class SessionTotals:
    """What a group adds to a session."""

    novel_frames: int = 0
    repeat_frames: int = 0
    rejected_frames: int = 0
    withheld_frames: int = 0
    received_bytes: int = 0
