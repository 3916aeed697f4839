"""What reading is asked for, and what was measured of it; the worst of all cases counts. Part of `benchmarks.read`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import Figures
from benchmarks.read_reading import OURS
from benchmarks.read_storing import LEAST_EXEMPLARS, TARGETS

_SAME = 0.001
"""Errors that differ by less are no different: a thousandth of the context vector's length."""

_TOLD_APART = 0.0003
"""No error below 0.0001 is ever stated: ratios to a median error below three times as much say nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was measured, and what is asked for."""

    name: str
    measured: float | None
    """None: it was not."""

    asked: float
    at_least: bool = False
    """More is better."""

    @property
    def is_met(self) -> bool:
        """It was measured, and is as asked."""
        if self.measured is None:
            return False
        return self.measured >= self.asked if self.at_least else self.measured <= self.asked


def storing_targets(rows: Sequence[Figures]) -> Iterator[Target]:
    """Judge the worst video with enough exemplars at each effective size."""
    for size, share in TARGETS.items():
        of = [
            _number(row, "of_blind_median")
            for row in rows
            if (row["case"], row["kind"]) == (f"size {size}", "all") and _number(row, "exemplars") >= LEAST_EXEMPLARS
        ]
        yield Target(f"storing: error of blind, size {size}", max(of, default=None), share)


def reading_targets(rows: Sequence[Figures]) -> Iterator[Target]:
    """Judge the largest memory."""
    least, most = (choose(_number(row, "n") for row in rows) for choose in (min, max))
    largest, smallest = ([row for row in rows if row["n"] == size] for size in (most, least))
    growth = [
        _number(large, "p50_ms") / _number(small, "p50_ms") for large, small in zip(largest, smallest, strict=True)
    ]
    yield Target("reading: median error", max(_number(row, "error_median") for row in largest), 0.02)
    yield Target("reading: touched share", max(_number(row, "touched_share") for row in largest), 0.025)
    yield Target("reading: p50 ms", max(_number(row, "p50_ms") for row in largest), 10)
    faster = min(_number(row, "times_faster") for row in largest)
    yield Target("reading: times faster than BLAS", faster, 10, at_least=True)
    yield Target(f"reading: p50 growth from {least:,.0f}", round(max(growth), 2), 4)


def covered_targets(rows: Sequence[Figures]) -> Iterator[Target]:
    """Judge all memories that are not read whole."""
    part = [row for row in rows if row["stated_holds"] is not None]
    holds = min((_number(row, "stated_holds") for row in part), default=None)
    yield Target("covered: stated error holds", holds, 0.95, at_least=True)
    ratios = [_number(row, "stated_ratio") for row in part if _number(row, "error_median") >= _TOLD_APART]
    yield Target("covered: stated over true", max(ratios, default=None), 3)


def peers_targets(rows: Sequence[Figures]) -> Iterator[Target]:
    """Count in how many cases each peer is ahead, of all sizes."""
    ours = {(row["n"], row["case"]): _number(row, "error_median") for row in rows if row["way"] == OURS}
    for way in dict.fromkeys(str(row["way"]) for row in rows if row["way"] != OURS):
        ahead = [
            row
            for row in rows
            if row["way"] == way and _number(row, "error_median") < ours[row["n"], row["case"]] - _SAME
        ]
        yield Target(f"peers: cases of {len(ours)} with {way} ahead", len(ahead), 0)


def needle_targets(rows: Sequence[Figures]) -> Iterator[Target]:
    """Judge the worst way of nudging."""
    yield Target("needle: first by similarity", min(_number(row, "first") for row in rows), 0.99, at_least=True)


def _number(row: Figures, name: str) -> float:
    return float(row[name] or 0)
