"""What the client knows: what it was promised, and what it has asked for without an answer yet."""

import time
from dataclasses import dataclass, field

from framekeep.v1 import video_memory_pb2 as pb


@dataclass(slots=True)
class SessionLedger:
    """Of one session."""

    memory: str
    """The memory it goes into."""

    stream: str
    """The stream it is a run of."""

    session_id: str
    """Its UUID."""

    told: dict[int, pb.Verdict] = field(default_factory=dict)
    """Verdicts that arrived, by number, without timings."""

    arrived_ns: dict[int, int] = field(default_factory=dict)
    """CLOCK_MONOTONIC when each first arrived."""

    acknowledged: int = 0
    """All frames below have a verdict, whether it arrived or not."""

    sent: int = 0
    """No frame from here on was ever sent."""

    def tell(self, verdict: pb.Verdict, *, may_change: bool = False) -> str | None:
        """Note a verdict that arrived; gives what is wrong with it.

        Args:
            verdict: as it arrived.
            may_change: something of the memory may have been forgotten or merged.
        """
        self.arrived_ns.setdefault(verdict.seq, time.monotonic_ns())
        verdict.ClearField("timings")
        before = self.told.setdefault(verdict.seq, verdict)
        self.acknowledged = max(self.acknowledged, verdict.seq + 1)
        if agree(before, verdict, may_change=may_change):
            return None
        return f"frame {verdict.seq} was answered by {before}, and again by {verdict}"


def agree(told: pb.Verdict, found: pb.Verdict, *, may_change: bool) -> bool:
    """Tell whether a verdict is the one that was told; it may name another exemplar, or none, after a removal."""
    if told == found or not may_change:
        return told == found
    if told.kind not in _COUNTED:
        return False
    if found.kind not in _COUNTED:
        return found.kind != pb.Verdict.KIND_REJECTED
    without_exemplars = []
    for verdict in (told, found):
        copy = pb.Verdict()
        copy.CopyFrom(verdict)
        copy.ClearField("exemplar")
        without_exemplars.append(copy)
    return without_exemplars[0] == without_exemplars[1]


_COUNTED = (pb.Verdict.KIND_NOVEL, pb.Verdict.KIND_REPEAT)


@dataclass(slots=True)
class Erasure:
    """What a removal has taken out, or is about to."""

    memory: str
    """The memory."""

    before: dict[int, tuple[bytes, ...]]
    """By exemplar: what stood in the files before the removal began."""

    keeps_frames: bool
    """Only exemplars go; the frames that they stood for are stood for by others."""

    erased: list[bytes] = field(default_factory=list)
    """Bytes that must be in no file."""

    gone: set[int] = field(default_factory=set)
    """Exemplars that must be in no file."""


@dataclass(slots=True)
class Ledger:
    """Of one client, over all lives of its server."""

    memories: dict[str, bool | None] = field(default_factory=dict)
    """Whether they exist; None while that is being changed."""

    thresholds: dict[str, set[float]] = field(default_factory=dict)
    """By memory: the threshold that must be in force; two while it is being changed."""

    sessions: dict[str, SessionLedger] = field(default_factory=dict)
    """By their UUIDs."""

    unfinished: dict[str, int] = field(default_factory=dict)
    """By memory: removals that the last death left on record as begun."""

    erasures: dict[str, Erasure] = field(default_factory=dict)
    """By the name of the removal; those that were begun."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Memories as files, as they were given out."""

    imported: dict[str, int] = field(default_factory=dict)
    """By memory: the frames that it has if it is there."""

    crashed: set[str] = field(default_factory=set)
    """Planned crashes that have been."""

    pace: int | None = None
    """Frames without a verdict before a client waits, where the client leaves that open; None: drawn."""

    broken: list[str] = field(default_factory=list)
    """Promises that answers have broken."""

    def session(self, memory: str, stream: str, session_id: str) -> SessionLedger:
        """Give the ledger of a session; it is begun if it is new."""
        return self.sessions.setdefault(session_id, SessionLedger(memory, stream, session_id))

    def deleting(self, memory: str) -> None:
        """From now on nothing is promised about a memory."""
        self.memories[memory] = None
        self.thresholds.pop(memory, None)
        self.imported.pop(memory, None)
        for name in [name for name, erasure in self.erasures.items() if erasure.memory == memory]:
            del self.erasures[name]
        for session in [session for session in self.sessions.values() if session.memory == memory]:
            del self.sessions[session.session_id]

    def may_change(self, memory: str) -> bool:
        """Tell whether a removal of a memory was begun: verdicts may have changed since."""
        return any(erasure.memory == memory for erasure in self.erasures.values())
