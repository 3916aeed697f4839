"""A time axis in pixels: stretches of time to one scale, long gaps between them cut out, and ticks at round times."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

Span = tuple[datetime, datetime]
"""From its start to its end, both in UTC."""

MOST_CUTS = 24
"""Gaps cut out at most, the longest first; others are to scale."""

_WIDE_CUT, _NARROW_CUT, _MOST_WIDE_CUTS = 96, 28, 6
"""Pixels that a cut takes: with room for the length of the gap, unless there are many."""

_SHARE_CUT_OUT = 0.06
"""A gap is cut out if to scale it would take more than this share of the axis without gaps."""

_LEAST_PIECE = 48
"""Pixels of a piece at least, unless there are too many for that."""

_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND_US, _SECOND_US, _MINUTE_US, _HOUR_US = 1_000, 1_000_000, 60_000_000, 3_600_000_000
_DAY_US = 24 * _HOUR_US
_STEPS_US = (
    *(step * _MILLISECOND_US for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(step * _SECOND_US for step in (1, 2, 5, 10, 15, 30)),
    *(step * _MINUTE_US for step in (1, 2, 5, 10, 15, 30)),
    *(step * _HOUR_US for step in (1, 2, 3, 6, 12)),
    *(step * _DAY_US for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)),
)
"""Distances of ticks that people find easy to read."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time without cuts."""

    start_time: datetime
    """Where it starts, UTC."""

    end_time: datetime
    """Where it ends, UTC; may be the start."""

    left: int
    """Pixel of the start."""

    right: int
    """Pixel of the end."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time between two spans."""

    duration: timedelta
    """How long it is."""

    left: int
    """Pixel of its start."""

    right: int
    """Pixel of its end."""

    is_cut_out: bool
    """Its width says nothing of its length."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A time that is marked."""

    x: int
    """Its pixel."""

    label: str
    """Time of day as fine as needed, `05:06:07`; the date where ticks are days apart."""

    date: str
    """`2026-01-31`; empty where the label is the date."""


class TimeAxis:
    """Where times are on a picture."""

    def __init__(self, spans: Sequence[Span], left: int, width: int) -> None:
        """Lay out the spans.

        Args:
            spans: at least one; they may overlap.
            left: first pixel of the axis.
            width: its pixels.
        """
        merged = _merged(spans)
        gaps = [(before[1], after[0]) for before, after in pairwise(merged)]
        cuts = _cut_out(gaps, sum((end - start for start, end in merged), timedelta()))
        self.pieces = _laid_out(_between(merged[0][0], cuts, merged[-1][1]), left, width, _cut_width(len(cuts)))
        """The pieces between the cuts, from left to right."""
        self._starts = [piece.start_time for piece in self.pieces]
        self.gaps = tuple(
            Gap(end - start, self.x(start), self.x(end), is_cut_out=(start, end) in cuts) for start, end in gaps
        )
        """All gaps between spans, from left to right."""

    def x(self, time: datetime) -> int:
        """The pixel of a time; what is in a cut or outside is moved to the nearest edge before it."""
        piece = self.pieces[max(0, bisect_right(self._starts, time) - 1)]
        length = piece.end_time - piece.start_time
        share = (time - piece.start_time) / length if length else 0.0
        return piece.left + round((piece.right - piece.left) * min(1.0, max(0.0, share)))

    def ticks(self, room: int) -> Iterator[Tick]:
        """Ticks at round times, at least `room` pixels apart within a piece; a piece too short for one has its start.

        Args:
            room: pixels that a label takes.
        """
        for piece in self.pieces:
            start_us, end_us = _microseconds(piece.start_time), _microseconds(piece.end_time)
            step_us = _step_us(end_us - start_us, (piece.right - piece.left) / room)
            times_us = range(-(-start_us // step_us) * step_us, end_us + 1, step_us)
            if not times_us or start_us == end_us:
                step_us, times_us = _SECOND_US, range(start_us, start_us + 1)
            for time_us in times_us:
                time = _EPOCH + time_us * _MICROSECOND
                yield _tick(self.x(time), time, step_us)


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _cut_out(gaps: Sequence[Span], recorded: timedelta) -> list[Span]:
    long = [gap for gap in gaps if gap[1] - gap[0] > _SHARE_CUT_OUT * recorded]
    long.sort(key=lambda gap: gap[1] - gap[0], reverse=True)
    return sorted(long[:MOST_CUTS])


def _cut_width(count: int) -> int:
    return _WIDE_CUT if count <= _MOST_WIDE_CUTS else _NARROW_CUT


def _between(start: datetime, cuts: Sequence[Span], end: datetime) -> list[Span]:
    starts = [start, *(cut[1] for cut in cuts)]
    ends = [*(cut[0] for cut in cuts), end]
    return list(zip(starts, ends, strict=True))


def _laid_out(spans: Sequence[Span], left: int, width: int, cut_width: int) -> tuple[Piece, ...]:
    free = width - cut_width * (len(spans) - 1)
    least = min(_LEAST_PIECE, free // len(spans))
    lengths = [end - start for start, end in spans]
    whole = sum(lengths, timedelta())
    if not whole:  # moments without length share the room
        lengths, whole = [_MICROSECOND] * len(spans), _MICROSECOND * len(spans)
    is_short = [free * (length / whole) < least for length in lengths]
    longs = sum((length for length, short in zip(lengths, is_short, strict=True) if not short), timedelta())
    for_longs = free - least * sum(is_short)
    pieces, at = [], float(left)
    for (start, end), length, short in zip(spans, lengths, is_short, strict=True):
        piece_width = least if short else for_longs * (length / longs)
        pieces.append(Piece(start, end, round(at), round(at + piece_width)))
        at += piece_width + cut_width
    return tuple(pieces)


def _step_us(length_us: int, most: float) -> int:
    """The finest step that divides a length into at most so many parts."""
    return next((step for step in _STEPS_US if length_us <= most * step), _STEPS_US[-1])


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _tick(x: int, time: datetime, step_us: int) -> Tick:
    date = f"{time:%Y-%m-%d}"
    if step_us >= _DAY_US:
        return Tick(x, date, "")
    if step_us >= _MINUTE_US:
        return Tick(x, f"{time:%H:%M}", date)
    if step_us >= _SECOND_US:
        return Tick(x, f"{time:%H:%M:%S}", date)
    digits = 1 if step_us >= 100 * _MILLISECOND_US else 3
    return Tick(x, f"{time:%H:%M:%S}.{time:%f}"[: 9 + digits], date)
