"""Threads for what blocks: it stays off the event loop, and a cancelled task takes its call along."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from framekeep.errors import InvalidRequest

_Answer = TypeVar("_Answer")

CALLS_AT_A_TIME = 64
"""Calls of one client that are in progress at a time; more wait for their turn. Streams have threads of their own."""


class Workers:
    """A bounded number of threads that begin when they are needed."""

    def __init__(self, name: str, threads: int = CALLS_AT_A_TIME) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"framekeep-{name}")
        self.is_closed = False
        """No more work is taken."""

    async def run(
        self,
        work: Callable[[], _Answer],
        *,
        cancel: Callable[[], object] = lambda: None,
        undo: Callable[[_Answer], object] = lambda _: None,
    ) -> _Answer:
        """What `work` returns or raises, from a thread.

        Args:
            work: may block.
            cancel: makes `work` end soon; called if the task is cancelled meanwhile.
            undo: takes back what `work` has returned although the task was cancelled.

        Raises:
            InvalidRequest: they are closed.
        """
        if self.is_closed:
            raise InvalidRequest("expected a client or stream that is open, but it was closed")
        future = self._pool.submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: _undo(done, undo))
            cancel()
            raise

    async def close(self) -> None:
        """Wait until the threads have ended. May be called twice."""
        self.is_closed = True
        await asyncio.shield(asyncio.to_thread(self._pool.shutdown))


def _undo(done: "Future[_Answer]", undo: Callable[[_Answer], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())
