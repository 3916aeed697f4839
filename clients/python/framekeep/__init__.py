"""Client of framekeep, a visual memory for video streams.

from framekeep import Client

with Client("localhost:50051") as fk:
fk.stream("lobby.mp4", memory="lobby").run()
answer = fk.query("lobby", image="person.jpg")
"""

from framekeep.answers import (
    Answer,
    AttendedBlock,
    AttendedExemplar,
    Attention,
    AttentionLevel,
    Clock,
    Match,
    Sighting,
)
from framekeep.client import Client
from framekeep.errors import (
    AlreadyExists,
    Conflict,
    EncoderMismatch,
    ExemplarNotFound,
    FramekeepError,
    InvalidRequest,
    MemoryNotFound,
    MemoryUnreadable,
    MomentNotFound,
    NotFound,
    PictureRefused,
    SequenceGap,
    ServerError,
    ServerTimeout,
    ServerUnavailable,
    SessionMismatch,
    SessionTakenOver,
    SourceError,
    StreamNotFound,
    TooManySessions,
)
from framekeep.ingest import StreamRun
from framekeep.memories import Contents, Exemplar, Memory, Stream
from framekeep.sources import SourceFrame
from framekeep.verdicts import Rejection, StreamSummary, Timings, Verdict, VerdictKind

__all__ = [
    "AlreadyExists",
    "Answer",
    "AttendedBlock",
    "AttendedExemplar",
    "Attention",
    "AttentionLevel",
    "Client",
    "Clock",
    "Conflict",
    "Contents",
    "EncoderMismatch",
    "Exemplar",
    "ExemplarNotFound",
    "FramekeepError",
    "InvalidRequest",
    "Match",
    "Memory",
    "MemoryNotFound",
    "MemoryUnreadable",
    "MomentNotFound",
    "NotFound",
    "PictureRefused",
    "Rejection",
    "SequenceGap",
    "ServerError",
    "ServerTimeout",
    "ServerUnavailable",
    "SessionMismatch",
    "SessionTakenOver",
    "Sighting",
    "SourceError",
    "SourceFrame",
    "Stream",
    "StreamNotFound",
    "StreamRun",
    "StreamSummary",
    "Timings",
    "TooManySessions",
    "Verdict",
    "VerdictKind",
]
