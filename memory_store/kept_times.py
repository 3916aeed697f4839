"""When a stream's exemplars were captured, around some frame, and what its limits say of one more. Pure."""

from bisect import bisect_left, insort
from dataclasses import dataclass

from memory_store.keeping import Keeping
from memory_store.records import WithheldReason

_MINUTE_US = 60_000_000

_BACK_US, _AHEAD_US = _MINUTE_US, 10 * _MINUTE_US
"""So much farther than limits look back and ahead a stretch reaches, so that it is seldom read again."""


@dataclass(frozen=True, slots=True)
class KeptTimes:
    """Capture times of a stream's exemplars in a stretch of time."""

    first_us: int
    """Begin of the stretch, included."""

    last_us: int
    """End of the stretch, included."""

    kept: tuple[tuple[int, int], ...] = ()
    """Capture time and priority of each, in order of time."""

    @staticmethod
    def stretch_around(keeping: Keeping, capture_us: int) -> tuple[int, int]:
        """Choose the stretch to be read for a frame, first and last."""
        reach_us = _reach_us(keeping)
        return capture_us - reach_us - _BACK_US, capture_us + reach_us + _AHEAD_US

    def covers(self, keeping: Keeping, capture_us: int) -> bool:
        """Tell whether all is known that the limits ask about a frame."""
        reach_us = _reach_us(keeping)
        return self.first_us <= capture_us - reach_us and capture_us + reach_us <= self.last_us

    def with_one(self, capture_us: int, priority: int) -> "KeptTimes":
        """Add an exemplar, if it is in the stretch."""
        if not self.first_us <= capture_us <= self.last_us:
            return self
        kept = list(self.kept)
        insort(kept, (capture_us, priority))
        return KeptTimes(self.first_us, self.last_us, tuple(kept))

    def limit(self, keeping: Keeping, capture_us: int, priority: int) -> WithheldReason | None:
        """Tell which limit stands against an exemplar more; None if none does.

        Args:
            keeping: the policy.
            capture_us: when it was captured, which the stretch must cover; it may be earlier than others.
            priority: only exemplars of this one or a higher one count.
        """
        reach_us = _reach_us(keeping)
        first = bisect_left(self.kept, (capture_us - reach_us, 0))
        end = bisect_left(self.kept, (capture_us + reach_us + 1, 0))
        times = [time_us for time_us, other in self.kept[first:end] if other >= priority]
        interval_us = keeping.min_interval_us
        if interval_us is not None and any(abs(time_us - capture_us) < interval_us for time_us in times):
            return WithheldReason.INTERVAL
        most = keeping.max_per_minute
        if most is not None:
            begins = [time_us for time_us in times if capture_us - _MINUTE_US < time_us <= capture_us]
            for begin_us in (*begins, capture_us):
                # All minutes with this frame in them that begin with an exemplar, or with it.
                if bisect_left(times, begin_us + _MINUTE_US) - bisect_left(times, begin_us) >= most:
                    return WithheldReason.MINUTE
        return None


def _reach_us(keeping: Keeping) -> int:
    """Tell how far before and after a frame its limits look."""
    minute_us = 0 if keeping.max_per_minute is None else _MINUTE_US
    return max(minute_us, keeping.min_interval_us or 0)
