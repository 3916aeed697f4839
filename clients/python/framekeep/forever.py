"""Streaming for ever: source and server are connected again whenever they are lost, each time as a new session."""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from framekeep.errors import FramekeepError, InvalidRequest, ServerUnavailable, SourceError, TooManySessions
from framekeep.ingest import StreamRun
from framekeep.patience import Patience
from framekeep.verdicts import StreamSummary, Verdict

_LASTING_S = 10.0
"""A connection that lasted so long was a good one: the pauses before the next attempts begin short again."""

_SUMS = (
    *("novel_frames", "repeat_frames", "withheld", "rejected_frames", "forgotten_frames"),
    *("skipped_frames", "damaged_frames", "dropped_frames", "reconnections", "sent_bytes", "elapsed_s"),
)

_log = logging.getLogger(__name__)


class ForeverRun:
    """A run that goes on until it is closed, or until a source with an end has come to it.

    Each connection to a live source is a session of its own, so that what it missed in between is a gap in the
    timeline. While the server is away, a session waits for it and goes on. One run is iterated once, by one thread.
    """

    def __init__(self, begin: Callable[[], StreamRun], memory: str, stream: str, *, may_come_back: bool) -> None:
        """Prepare it; iterating connects.

        Args:
            begin: opens the source and prepares a session that waits for its server without limit.
            memory: where the frames go; for the summary.
            stream: the stream they belong to; for the summary.
            may_come_back: a source that cannot be opened is worth another attempt.
        """
        self._begin = begin
        self._may_come_back = may_come_back
        self._patience = Patience(math.inf)
        self._is_closing = threading.Event()
        self._is_started = False
        self._run: StreamRun | None = None
        self._past = _nothing(memory, stream)

    def __enter__(self) -> Self:
        """The run itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> Iterator[Verdict]:
        """The verdicts; `seq` begins anew with each session.

        Raises:
            SourceError: a source that does not come back, such as a file, cannot be opened or broke off.
            FramekeepError: what the server refuses, and will refuse again.
        """
        if self._is_started:
            raise InvalidRequest("a run can be iterated once; stream the source again to go on")
        self._is_started = True
        while not self._is_closing.is_set():
            try:
                yield from self._session()
            except (ServerUnavailable, TooManySessions) as error:
                failure: FramekeepError = error
            except SourceError as error:
                if not (self._may_come_back if self._run is None else self._run.is_live):
                    raise
                failure = error
            else:
                return
            finally:
                self._end_session()
            pause_s = self._patience.next_pause_s()
            if pause_s is not None and not self._is_closing.is_set():
                _log.warning("%s; trying again in %.1f s", failure.message, pause_s)
                self._is_closing.wait(pause_s)

    def _session(self) -> Iterator[Verdict]:
        self._run = run = self._begin()
        if not self._is_closing.is_set():  # else it was closed before it could see this session
            yield from run

    def _end_session(self) -> None:
        if self._run is None:
            return
        self._run.close()
        if self._run.summary.elapsed_s > _LASTING_S:
            self._patience.renew()
        self._past, self._run = self.summary, None

    def run(self) -> StreamSummary:
        """Stream where single verdicts do not matter.

        Raises:
            FramekeepError: as for iterating; `summary` tells how far it came.
        """
        for _ in self:
            pass
        return self.summary

    @property
    def expected_frames(self) -> int | None:
        """About how many frames the source has, if it has an end and knows; for showing progress only."""
        return None if self._run is None else self._run.expected_frames

    @property
    def summary(self) -> StreamSummary:
        """The sum of all sessions so far; `session_id` is the latest."""
        past, run = self._past, self._run
        if run is None:
            return past
        now = run.summary
        sums = {name: getattr(past, name) + getattr(now, name) for name in _SUMS}
        return replace(now, **sums, sessions=past.sessions + now.sessions)

    def end(self) -> None:
        """End the call and the attempts to begin another session, without waiting for anything; `close` follows."""
        self._is_closing.set()
        run = self._run
        if run is not None:
            run.end()

    def close(self) -> None:
        """End the session and the attempts to begin another. May be called twice."""
        self.end()
        run = self._run
        if run is not None:
            run.close()


def _nothing(memory: str, stream: str) -> StreamSummary:
    return StreamSummary(
        memory=memory,
        stream=stream,
        session_id="",
        novel_frames=0,
        repeat_frames=0,
        rejected_frames=0,
        forgotten_frames=0,
        skipped_frames=0,
        damaged_frames=0,
        dropped_frames=0,
        reconnections=0,
        sent_bytes=0,
        elapsed_s=0.0,
        sessions=0,
    )
