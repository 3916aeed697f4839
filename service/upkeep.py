"""Calls that may take minutes, on threads of their own: those that take frames and exemplars out of memories."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from framekeep.v1 import video_memory_pb2 as pb
from memory_store.errors import StoreUnavailable
from memory_store.memory import Memory
from memory_store.records import CompactedCounts, ForgottenCounts
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from service import names
from service.errors import InvalidField, ShuttingDown

THREADS = 4
"""Calls that are worked on at a time; further ones take turns."""

Result = TypeVar("Result")


class Upkeep:
    """Forgets and compacts. What was begun for a call goes on if the call is cancelled."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="upkeep")
        self._waiting: set[asyncio.Future[Any]] = set()
        self._stopping = False

    async def forget(self, request: pb.ForgetRangeRequest) -> pb.ForgetRangeResponse:
        """See the contract."""
        name = names.memory_from(request.name)
        streams = names.streams_from(name, request.streams)
        first_us, end_us = names.range_from(request.time_range)
        if first_us is None and end_us is None:
            raise InvalidField("time_range", "expected a start or an end, got neither")
        if first_us is not None and first_us == end_us:
            raise InvalidField("time_range", "expected an end after the start, got the same time twice")
        counts = await self.run(lambda: _forget(self._store.get(name), first_us, end_us, streams))
        return pb.ForgetRangeResponse(
            frames=counts.frames,
            sightings=counts.sightings,
            exemplars=counts.exemplars,
            recentred_exemplars=counts.recentred,
        )

    async def compact(self, request: pb.CompactMemoryRequest) -> pb.CompactMemoryResponse:
        """See the contract."""
        name = names.memory_from(request.name)
        counts: CompactedCounts = await self.run(lambda: self._store.get(name).compact(request.novelty_threshold))
        return pb.CompactMemoryResponse(merged_exemplars=counts.merged, exemplars=counts.exemplars)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do something that may take minutes on a thread for that; it goes on if the call is cancelled.

        Raises:
            ShuttingDown: the server is stopping.
        """
        if self._stopping:
            raise ShuttingDown("the server is stopping")
        waiting = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        try:
            # Shielded: a call that is cancelled leaves what it has begun or put into line as it is.
            return await asyncio.shield(waiting)
        except (StoreUnavailable, asyncio.CancelledError) as error:
            if self._stopping:
                raise ShuttingDown("the server is stopping; what was begun to be forgotten goes on later") from error
            raise

    def stop(self) -> None:
        """Let the calls end with ShuttingDown; their work ends when the store is closed."""
        self._stopping = True
        for waiting in list(self._waiting):
            waiting.cancel()

    async def close(self) -> None:
        """Wait for what was being worked on; the store must be closed, or it may take long."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)


def _forget(memory: Memory, first_us: int | None, end_us: int | None, streams: tuple[str, ...]) -> ForgottenCounts:
    held = memory.extent()
    stream_ids = frozenset(map(memory.stream_id, streams)) if streams else None
    if held is None:
        return ForgottenCounts()
    # Within what is there now: a removal that goes on after a restart must not take what came since.
    scope = Scope(
        held[0] if first_us is None else max(first_us, held[0]),
        held[1] if end_us is None else min(end_us - 1, held[1]),
        stream_ids,
    )
    return memory.forget(scope) if scope.first_us <= scope.last_us else ForgottenCounts()
