"""What a server says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes."""

    picture_pixels: int
    """Width x height of a picture, in pixels."""

    picture_side_pixels: int
    """Width or height of a picture, in pixels."""

    message_bytes: int
    """Size of one message, in bytes."""

    frames_in_flight: int
    """Frames of one session that it takes in before it has answered the first of them."""

    sessions: int
    """Sessions connected at a time."""

    memories: int
    """Memories."""

    streams: int
    """Streams of one memory."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is, and what it takes."""

    version: str
    """The version of the program."""

    encoder_version: str
    """The encoder version of memories that are created there; frames go into no others."""

    dimension: int
    """D, the length of its embeddings."""

    default_novelty_threshold: float
    """The threshold of memories that are created without one."""

    limits: Limits
    """What it takes."""
