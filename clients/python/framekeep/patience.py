"""How long a lost connection is worth another attempt, and how long to wait before it."""

import random
import time
from collections.abc import Callable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
"""Pauses between attempts double from the first to the longest."""


class Patience:
    """Pauses between attempts, until too long has passed without progress."""

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Start with full patience.

        Args:
            limit_s: how long to go on from the first failure without progress; 0: not at all.
            now: a clock that only goes forward, in seconds.
        """
        self._limit_s = limit_s
        self._now = now
        self._failing_since: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def renew(self) -> None:
        """There was progress: what failed before does not count any more."""
        self._failing_since = None
        self._pause_s = _FIRST_PAUSE_S

    def next_pause_s(self) -> float | None:
        """After a failure: how long to wait before the next attempt; None to give up.

        Shortened at random by up to a half, so that the clients of one server do not all come back at once.
        """
        now = self._now()
        if self._failing_since is None:
            self._failing_since = now
        left_s = self._failing_since + self._limit_s - now
        if left_s <= 0:
            return None
        pause_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret about a pause
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return min(pause_s, left_s)
