"""When a stream's latest exemplars were captured, and what its limits say of one more. Pure."""

from bisect import bisect_left, insort
from dataclasses import dataclass

from memory_store.keeping import Keeping
from memory_store.records import WithheldReason
from memory_store.scope import LATEST_US

_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class KeptTimes:
    """Capture times of a stream's exemplars from a time on."""

    since_us: int = LATEST_US
    """Those captured earlier are not known here."""

    kept: tuple[tuple[int, int], ...] = ()
    """Capture time and priority of each, in order of time."""

    @staticmethod
    def reach_us(keeping: Keeping) -> int:
        """Tell how far before a frame its limits look back."""
        minute_us = 0 if keeping.max_per_minute is None else _MINUTE_US
        return max(minute_us, keeping.min_interval_us or 0)

    def with_one(self, capture_us: int, priority: int) -> "KeptTimes":
        """Add an exemplar."""
        if capture_us < self.since_us:
            return self  # it will be read if it ever counts
        kept = list(self.kept)
        insort(kept, (capture_us, priority))
        return KeptTimes(self.since_us, tuple(kept))

    def trimmed(self, since_us: int) -> "KeptTimes":
        """Let go of what was captured before a time."""
        if since_us <= self.since_us:
            return self
        return KeptTimes(since_us, self.kept[bisect_left(self.kept, (since_us, 0)) :])

    def limit(self, keeping: Keeping, capture_us: int, priority: int) -> WithheldReason | None:
        """Tell which limit stands against an exemplar more; None if none does.

        Args:
            keeping: the policy.
            capture_us: when it was captured; it may be earlier than others.
            priority: only exemplars of this one or a higher one count.
        """
        if not keeping.is_limited:
            return None
        reach_us = self.reach_us(keeping)
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
