"""Which steps a server was in, and how many disk operations lie in each: from what it put on record of itself."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.power_loss_trace import DiskOperation


@dataclass(frozen=True, slots=True)
class StepCall:
    """One call of a step."""

    step: str
    """One of `crash_steps.STEPS`."""

    begun_ns: int
    """CLOCK_MONOTONIC."""

    ended_ns: int | None
    """None if the server died before it could say so."""


def read_marks(path: Path) -> list[StepCall]:
    """Read what a server put on record, in the order in which the calls began; the last line may be cut."""
    begun: dict[tuple[str, str], int] = {}
    ended: dict[tuple[str, str], int] = {}
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    for line in lines:
        at_ns, what, number, step = line.split(" ", 3)
        (begun if what == "begins" else ended)[step, number] = int(at_ns)
    return [StepCall(step, at_ns, ended.get((step, number))) for (step, number), at_ns in begun.items()]


def innermost(calls: Sequence[StepCall]) -> StepCall | None:
    """Give the call that was going on at the end; of several, the one that began last."""
    return max((call for call in calls if call.ended_ns is None), key=lambda call: call.begun_ns, default=None)


def operations_in(call: StepCall, trace: Sequence[DiskOperation]) -> int:
    """Count the disk operations that were done while a step went on, by whichever thread."""
    times = [operation.ended_ns for operation in trace if operation.ended_ns is not None]
    end = len(times) if call.ended_ns is None else bisect_right(times, call.ended_ns)
    return end - bisect_left(times, call.begun_ns)
