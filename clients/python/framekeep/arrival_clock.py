"""When the frames of a live source were taken: the wall clock at arrival, smoothed by their presentation times."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

_MOST_LAG_US = 2_000_000
"""How far before its arrival a frame may be timed: hiccups of a network last less; beyond it, presentation times are
taken to have jumped."""

_DRIFT = 1_000
"""A source's clock may run slow by one part in so many: quartzes stay within one in 10,000."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ArrivalClock:
    """Capture times of the frames of one connection: increasing, never after arrival, at most 2 s before it.

    Within these limits the distances between frames are those of their presentation times, so that what a network
    delays or delivers in a burst is timed as it was filmed. Where presentation times are missing, go back or jump, the
    time of arrival holds, and the distances count from there on. The wall clock is read once: setting it while a
    source is connected does not disorder its frames.
    """

    def __init__(self, wall_s: Callable[[], float] = time.time, monotonic_s: Callable[[], float] = time.monotonic):
        self._monotonic_s = monotonic_s
        self._offset_s = wall_s() - monotonic_s()
        self._pts: Fraction | None = None
        self._last_us: int | None = None
        self._first_us = 0

    def time(self, pts: Fraction | None) -> tuple[int, datetime]:
        """When the frame that has just arrived was taken.

        Args:
            pts: its presentation time in seconds, from any origin; None if the source makes them up. That of the first
                frame is its capture time if it counts from 1970 and is as late as it should be, as a camera's is.

        Returns:
            Microseconds since the first frame, and the capture time.
        """
        arrival_us = round((self._offset_s + self._monotonic_s()) * 1_000_000)
        captured_us = self._by_pts(pts, arrival_us)
        if captured_us is None or not arrival_us - _MOST_LAG_US <= captured_us <= arrival_us:
            captured_us = arrival_us
        if self._last_us is None:
            self._first_us = captured_us
        else:
            captured_us = max(captured_us, self._last_us + 1)
        self._last_us, self._pts = captured_us, pts
        return captured_us - self._first_us, _EPOCH + timedelta(microseconds=captured_us)

    def _by_pts(self, pts: Fraction | None, arrival_us: int) -> int | None:
        if pts is None:
            return None
        if self._last_us is None:
            return round(pts * 1_000_000)
        if self._pts is None or pts <= self._pts:
            return None
        step_us = round((pts - self._pts) * 1_000_000)
        lag_us = max(0, arrival_us - self._last_us - step_us)
        return self._last_us + step_us + min(lag_us, step_us // _DRIFT)
