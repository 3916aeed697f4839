"""A session into which tasks send frames one by one: the session of the other client, awaited instead of waited for."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import Self
from weakref import finalize

from framekeep import push
from framekeep.aio.workers import Workers
from framekeep.errors import InvalidRequest, WindowFull
from framekeep.hints import Keep
from framekeep.inbox import Inbox
from framekeep.picture_files import Pixels
from framekeep.verdicts import StreamSummary, Verdict

OnVerdict = Callable[[Verdict], object]
"""Called with each verdict by the event loop; awaited if it is a coroutine function."""

_Until = Callable[[Callable[[], bool]], Awaitable[None]]


class PushSession:
    """A session, open inside an `async with` block: `send` frames into it, by any task of the event loop.

    What ends the session early, such as a server that stays away or a callback that raises, is raised by every `send`
    and `flush` that waits or comes later, and at the end of the block.

    Example:
        >>> async def main():
        ...     async with aio.Client("localhost:50051") as fk:
        ...         async with fk.open_stream("arm", memory="lab") as session:
        ...             verdicts = session.verdicts()
        ...             await session.send(picture)
        ...             print((await anext(verdicts)).kind.name)
        >>> asyncio.run(main())
        NOVEL
    """

    def __init__(
        self,
        begin: Callable[[OnVerdict | None], push.PushSession],
        cancel: Callable[[], None],
        on_verdict: OnVerdict | None,
    ) -> None:
        """Prepare it.

        Args:
            begin: opens a session whose thread calls the function that is given; may block.
            cancel: makes `begin` end soon.
            on_verdict: called with each verdict.
        """
        self._begin = begin
        self._cancel = cancel
        self._on_verdict = on_verdict
        self._workers = Workers("push", threads=4)  # for pictures that are copied or compressed, and for closing
        self._changed = asyncio.Event()
        self._opened: push.PushSession | None = None
        self._is_begun = False

    async def __aenter__(self) -> Self:
        """Open it: the server has opened the session when this is done."""
        if self._is_begun:
            raise InvalidRequest("a session can be opened once")
        self._is_begun = True
        self._loop = asyncio.get_running_loop()
        begin = partial(self._begin, None if self._on_verdict is None else self._call_back)
        try:
            opened = await self._workers.run(begin, cancel=self._cancel, undo=lambda late: late.close(flush=False))
        except BaseException:
            await self._workers.close()
            raise
        opened.listen(self._wake)
        self._opened = opened
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, without waiting for verdicts if the task was cancelled."""
        try:
            await self.close(flush=error is None or isinstance(error, Exception))
        except BaseException as failure:
            if failure is not error:
                raise

    @property
    def _session(self) -> push.PushSession:
        if self._opened is None:
            raise InvalidRequest("expected an open session; open it with `async with`")
        return self._opened

    def _call_back(self, verdict: Verdict) -> None:
        asyncio.run_coroutine_threadsafe(self._called_back(verdict), self._loop).result()

    async def _called_back(self, verdict: Verdict) -> None:
        if self._on_verdict is not None:
            called = self._on_verdict(verdict)
            if isawaitable(called):
                await called

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:  # the loop is closed, so nobody waits
            return

    async def _until(self, is_met: Callable[[], bool]) -> None:
        while True:
            self._changed.clear()
            if is_met():
                return
            await self._changed.wait()

    async def send(
        self,
        picture: Pixels,
        *,
        capture_time: datetime | None = None,
        keep: Keep = Keep.AUTO,
        priority: int = 0,
        labels: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        """Send a frame; its verdict comes later. Waits while as many frames as may are without a verdict.

        Args:
            picture: RGB uint8 [H, W, 3] or gray uint8 [H, W]; copied before this is done.
            capture_time: when it was captured, with time zone; None: now, by the clock of this machine.
            keep: as for `framekeep.PushSession.send`, like the two that follow.
            priority: as there.
            labels: as there.
            wait: wait for room.

        Raises:
            WindowFull: there is no room, and `wait` is false. The frame was not taken.
            FramekeepError: as for `framekeep.PushSession.send`. A cancelled call has not taken the frame.
        """
        session = self._session
        time = capture_time or datetime.now(UTC)
        frame = await self._workers.run(partial(session.frame_from, picture, time, keep, priority, labels))
        if session.offer(frame):
            return
        if not wait:
            raise WindowFull("expected room for one more frame, but as many as may wait are without a verdict")
        await self._until(partial(session.offer, frame))

    async def flush(self) -> None:
        """Wait until all that was sent has its verdict, and the callback has seen it.

        Raises:
            FramekeepError: as for `framekeep.PushSession.flush`.
        """
        await self._until(partial(self._session.is_flushed, self._session.next_seq))

    def verdicts(self) -> AsyncIterator[Verdict]:
        """The verdicts from now on, in order; ends when the session is closed, and raises what ended it early.

        Read them in another task than the one that sends: 1,024 that wait to be read make the session wait.
        """
        return VerdictReader(self._session.inbox(), self._until)

    @property
    def next_seq(self) -> int:
        """The number of the next frame."""
        return self._session.next_seq

    @property
    def is_open(self) -> bool:
        """Frames can be sent."""
        return self._opened is not None and self._opened.is_open

    @property
    def session_id(self) -> str:
        """The UUID of the session."""
        return self._session.session_id

    @property
    def summary(self) -> StreamSummary:
        """The sum of the session so far."""
        return self._session.summary

    async def close(self, *, flush: bool = True) -> None:
        """Take no more frames, wait for the verdicts on those that were sent, and end the session. May be called twice.

        Args:
            flush: wait for the verdicts; else frames without one may not have been stored. So it is, too, if the task
                is cancelled.

        Raises:
            FramekeepError: the session ended early, and frames without a verdict may not have been stored.
        """
        session = self._opened
        try:
            if session is None:
                self._cancel()
            elif not self._workers.is_closed:
                close = partial(session.close, flush=flush)
                await self._workers.run(close, cancel=partial(session.begin_close, flush=False))
        finally:
            await self._workers.close()


class VerdictReader(AsyncIterator[Verdict]):
    """The verdicts of one inbox, which is closed when the reader is closed or dropped."""

    def __init__(self, inbox: Inbox, until: _Until) -> None:
        self._inbox = inbox
        self._until = until
        self._taken: deque[Verdict] = deque()
        self.close = finalize(self, inbox.close)
        """Read no more."""

    async def __anext__(self) -> Verdict:
        """The next verdict, waiting for it."""
        if not self._taken:
            inbox = self._inbox
            await self._until(lambda: inbox.is_ready)
            self._taken.extend(inbox.take())
        if not self._taken:
            raise StopAsyncIteration
        return self._taken.popleft()
