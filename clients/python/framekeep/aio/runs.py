"""A run of a stream for asyncio: the run of the other client, iterated in a thread of its own."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Self

from framekeep import ingest
from framekeep.aio.workers import Workers
from framekeep.errors import InvalidRequest
from framekeep.forever import ForeverRun
from framekeep.verdicts import StreamSummary, Verdict

Run = ingest.StreamRun | ForeverRun
"""A run of the other client."""


class StreamRun:
    """One run of a stream into a memory: iterate over it for the verdicts, or await `run`.

    The source is opened when the run is begun. Leaving the `async with` block, or cancelling the task, ends the call;
    frames that were acknowledged stay. One run is iterated once, by one task.
    """

    def __init__(self, begin: Callable[[], Run], cancel: Callable[[], None]) -> None:
        """Prepare it.

        Args:
            begin: opens the source and prepares the run; may block.
            cancel: makes `begin` end soon.
        """
        self._begin = begin
        self._cancel = cancel
        self._workers = Workers("stream", threads=2)  # one waits for verdicts while the other closes
        self._run: Run | None = None
        self._is_begun = False

    async def __aenter__(self) -> Self:
        """The run itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Verdict]:
        """The verdicts, one a frame, in order of `seq`; each is on the server's disk.

        Raises:
            FramekeepError: as for `framekeep.StreamRun`, and what opening the source raises.
        """
        if self._is_begun:
            raise InvalidRequest("a run can be iterated once; open the stream again with its session id to go on")
        self._is_begun = True
        try:
            self._run = await self._workers.run(self._begin, cancel=self._cancel, undo=_close)
            verdicts = iter(self._run)
            step = partial(next, verdicts, None)
            while not self._workers.is_closed and (verdict := await self._workers.run(step)) is not None:
                yield verdict
        finally:
            await self.close()

    async def run(self) -> StreamSummary:
        """Stream to the end where single verdicts do not matter.

        Raises:
            FramekeepError: as for iterating; `summary` tells how far it came.
        """
        async for _ in self:
            pass
        return self.summary

    @property
    def expected_frames(self) -> int | None:
        """About how many frames the source has, if it is open and knows; for showing progress only."""
        return None if self._run is None else self._run.expected_frames

    @property
    def summary(self) -> StreamSummary:
        """The sum of the run so far.

        Raises:
            InvalidRequest: it was not begun.
        """
        if self._run is None:
            raise InvalidRequest("expected a run that was begun; iterate over it, or await run()")
        return self._run.summary

    async def close(self) -> None:
        """End the call, the threads and the source. May be called twice."""
        self._is_begun = True
        self._cancel()
        if self._run is not None and not self._workers.is_closed:
            await self._workers.run(self._run.close)
        await self._workers.close()


def _close(run: Run) -> None:
    run.close()
