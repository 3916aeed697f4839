"""Verdicts that wait for their reader: from the thread of a session to whoever iterates over them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from weakref import finalize

from framekeep.verdicts import Verdict

WAITING_VERDICTS = 1024
"""Verdicts that may wait for one reader; beyond it the session waits, and with it whoever sends."""


class Inbox:
    """A bounded queue of verdicts with one writer and one reader."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """Begin empty.

        Args:
            on_change: called by the writer's thread when there is something to read; must not wait itself.
        """
        self._on_change = on_change
        self._changed = threading.Condition()
        self._verdicts: deque[Verdict] = deque()
        self._is_ended = False
        self._is_closed = False
        self._error: BaseException | None = None

    def put(self, verdict: Verdict) -> None:
        """Append a verdict, waiting for room; dropped once the inbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._verdicts) < WAITING_VERDICTS)
            if not self._is_closed:
                self._verdicts.append(verdict)
                self._tell()

    def end(self, error: BaseException | None) -> None:
        """No more verdicts come, because of `error` if there is one."""
        with self._changed:
            self._is_ended = True
            self._error = error
            self._tell()

    def _tell(self) -> None:
        self._changed.notify_all()
        self._on_change()

    @property
    def is_ready(self) -> bool:
        """`take` would not wait."""
        with self._changed:
            return bool(self._verdicts) or self._is_ended or self._is_closed

    @property
    def is_closed(self) -> bool:
        """Nobody reads any more."""
        with self._changed:
            return self._is_closed

    def take(self) -> list[Verdict]:
        """All verdicts that wait, waiting for the first; empty when no more come.

        Raises:
            BaseException: what `end` was called with, behind the last verdict.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.is_ready)
            taken = list(self._verdicts)
            self._verdicts.clear()
            self._changed.notify_all()
            if not taken and not self._is_closed and self._error is not None:
                raise self._error
            return taken

    def close(self) -> None:
        """Let the writer go: nobody reads any more. May be called twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class VerdictReader(Iterator[Verdict]):
    """The verdicts of one inbox, which is closed when the reader is closed or dropped."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._taken: deque[Verdict] = deque()
        self.close = finalize(self, inbox.close)
        """Read no more."""

    def __next__(self) -> Verdict:
        """The next verdict, waiting for it."""
        if not self._taken:
            self._taken.extend(self._inbox.take())
        if not self._taken:
            raise StopIteration
        return self._taken.popleft()
