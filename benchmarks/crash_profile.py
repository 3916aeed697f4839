"""What lies ahead of a server, told from an undisturbed run of the same scenario: steps, disk operations, time."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.crash_marks import StepCall


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a life still has to go through, at least: a slower client makes more of it."""

    calls: dict[str, int]
    """Steps, and how often each is called."""

    disk_operations: int
    """Operations on the disk, of all steps."""

    seconds: float
    """How long it takes."""


@dataclass(frozen=True, slots=True)
class Profile:
    """An undisturbed run."""

    calls: Sequence[StepCall]
    """All calls of steps, in the order in which they began."""

    operations_ns: Sequence[int]
    """When each disk operation was done."""

    begun_ns: Sequence[Sequence[int]]
    """By lane and operation of the client: when it began."""

    arrived_ns: Mapping[str, Mapping[int, int]]
    """By session and frame: when its verdict arrived."""

    ended_ns: int
    """When all was done."""

    def ahead(self, progress: Sequence[int], acknowledged: Mapping[str, int], sessions: Sequence[str | None]) -> Ahead:
        """Tell what lies ahead.

        Args:
            progress: by lane: operations that are done.
            acknowledged: by session: frames with a verdict.
            sessions: by lane: the session that the next operation streams; None for other operations.
        """
        begins = []
        for lane, (done, session) in enumerate(zip(progress, sessions, strict=True)):
            begun = [*self.begun_ns[lane], self.ended_ns][done]
            arrived = self.arrived_ns.get(session or "", {}).get(acknowledged.get(session or "", 0) - 1, begun)
            begins.append(max(begun, arrived))
        since = min(begins)
        counts: dict[str, int] = {}
        for call in self.calls:
            if call.begun_ns >= since:
                counts[call.step] = counts.get(call.step, 0) + 1
        left = len(self.operations_ns) - bisect_right(self.operations_ns, since)
        return Ahead(counts, left, (self.ended_ns - since) / 1e9)
