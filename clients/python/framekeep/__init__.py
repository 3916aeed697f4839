"""Client of framekeep, a visual memory for video streams.

    from framekeep import Client

    with Client("localhost:50051") as fk:
        fk.stream("lobby.mp4", memory="lobby").run()
        answer = fk.query("lobby", image="person.jpg")

`framekeep.aio` has the same for asyncio; `framekeep.local` starts a server of one's own. Names are loaded when they
are first used, so that the stubs in `framekeep.v1` can be imported without what the rest of the package needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framekeep import aio
    from framekeep.answers import Answer, Clock, Match, Sighting
    from framekeep.attention import (
        AttendedBlock,
        AttendedExemplar,
        AttendedStay,
        Attention,
        AttentionLevel,
        ContextError,
        ExplainedBlock,
        Explanation,
        FittedAttention,
    )
    from framekeep.client import Client
    from framekeep.errors import (
        AlreadyExists,
        AttentionVersionNotFound,
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
        ServerNotInstalled,
        ServerNotStarted,
        ServerTimeout,
        ServerUnavailable,
        SessionClosed,
        SessionMismatch,
        SessionTakenOver,
        SourceError,
        StreamNotFound,
        TooManyMemories,
        TooManySessions,
        TooManyStreams,
        TransferError,
        WindowFull,
    )
    from framekeep.forever import ForeverRun
    from framekeep.hints import Keep
    from framekeep.ingest import StreamRun
    from framekeep.local_server import local
    from framekeep.memories import Compacted, Contents, Evidence, Exemplar, Forgotten, Memory, Retention, Stream
    from framekeep.memory_files import MemoryFile
    from framekeep.policies import Budget, BudgetCondition, BudgetState, Comparison, KeepingPolicy
    from framekeep.push import PushSession
    from framekeep.questions import ContextQuery
    from framekeep.server_info import Limits, ServerInfo
    from framekeep.sources import SourceFrame
    from framekeep.threshold_curve import NoveltyExample, ThresholdCurve, ThresholdOutcome
    from framekeep.verdicts import (
        Rejection,
        StreamSummary,
        Timings,
        Verdict,
        VerdictKind,
        WithheldFrames,
        WithheldReason,
    )
else:

    def __getattr__(name: str) -> object:
        """Load a name of `__all__` when it is first used."""
        if name == "aio":
            return import_module("framekeep.aio")
        for home, members in _HOMES.items():
            if name in members:
                value = globals()[name] = getattr(import_module(f"framekeep.{home}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """All names, loaded or not."""
        return sorted({*globals(), *__all__})


_HOMES = {
    "answers": {"Answer", "Clock", "Match", "Sighting"},
    "attention": {
        "AttendedBlock",
        "AttendedExemplar",
        "AttendedStay",
        "Attention",
        "AttentionLevel",
        "ContextError",
        "ExplainedBlock",
        "Explanation",
        "FittedAttention",
    },
    "client": {"Client"},
    "errors": {
        "AlreadyExists",
        "AttentionVersionNotFound",
        "Conflict",
        "EncoderMismatch",
        "ExemplarNotFound",
        "FramekeepError",
        "InvalidRequest",
        "MemoryNotFound",
        "MemoryUnreadable",
        "MomentNotFound",
        "NotFound",
        "PictureRefused",
        "SequenceGap",
        "ServerError",
        "ServerNotInstalled",
        "ServerNotStarted",
        "ServerTimeout",
        "ServerUnavailable",
        "SessionClosed",
        "SessionMismatch",
        "SessionTakenOver",
        "SourceError",
        "StreamNotFound",
        "TooManyMemories",
        "TooManySessions",
        "TooManyStreams",
        "TransferError",
        "WindowFull",
    },
    "forever": {"ForeverRun"},
    "hints": {"Keep"},
    "ingest": {"StreamRun"},
    "local_server": {"local"},
    "memories": {"Compacted", "Contents", "Evidence", "Exemplar", "Forgotten", "Memory", "Retention", "Stream"},
    "memory_files": {"MemoryFile"},
    "policies": {"Budget", "BudgetCondition", "BudgetState", "Comparison", "KeepingPolicy"},
    "push": {"PushSession"},
    "questions": {"ContextQuery"},
    "server_info": {"Limits", "ServerInfo"},
    "sources": {"SourceFrame"},
    "threshold_curve": {"NoveltyExample", "ThresholdCurve", "ThresholdOutcome"},
    "verdicts": {
        "Rejection",
        "StreamSummary",
        "Timings",
        "Verdict",
        "VerdictKind",
        "WithheldFrames",
        "WithheldReason",
    },
}
"""Where each name is defined, as the imports above say it to type checkers."""

__all__ = [
    "AlreadyExists",
    "Answer",
    "AttendedBlock",
    "AttendedExemplar",
    "AttendedStay",
    "Attention",
    "AttentionLevel",
    "AttentionVersionNotFound",
    "Budget",
    "BudgetCondition",
    "BudgetState",
    "Client",
    "Clock",
    "Compacted",
    "Comparison",
    "Conflict",
    "Contents",
    "ContextError",
    "ContextQuery",
    "EncoderMismatch",
    "Evidence",
    "Exemplar",
    "ExemplarNotFound",
    "ExplainedBlock",
    "Explanation",
    "FittedAttention",
    "ForeverRun",
    "Forgotten",
    "FramekeepError",
    "InvalidRequest",
    "Keep",
    "KeepingPolicy",
    "Limits",
    "Match",
    "Memory",
    "MemoryFile",
    "MemoryNotFound",
    "MemoryUnreadable",
    "MomentNotFound",
    "NotFound",
    "NoveltyExample",
    "PictureRefused",
    "PushSession",
    "Rejection",
    "Retention",
    "SequenceGap",
    "ServerError",
    "ServerInfo",
    "ServerNotInstalled",
    "ServerNotStarted",
    "ServerTimeout",
    "ServerUnavailable",
    "SessionClosed",
    "SessionMismatch",
    "SessionTakenOver",
    "Sighting",
    "SourceError",
    "SourceFrame",
    "Stream",
    "StreamNotFound",
    "StreamRun",
    "StreamSummary",
    "ThresholdCurve",
    "ThresholdOutcome",
    "Timings",
    "TooManyMemories",
    "TooManySessions",
    "TooManyStreams",
    "TransferError",
    "Verdict",
    "VerdictKind",
    "WindowFull",
    "WithheldFrames",
    "WithheldReason",
    "aio",
    "local",
]
