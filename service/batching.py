"""Doing at once what several callers ask for one by one: encoding pictures, and committing frames.

Whatever waits when the thread is free becomes the next batch, so batches grow with the load and nobody waits for one
to fill. A batch that fails fails every caller in it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_WAITING = 4096
"""Items that wait for a batch; beyond it, callers wait. Sessions have tighter bounds of their own."""


class Batcher(Generic[Item, Result]):
    """Runs a function over batches of items in a thread of its own."""

    def __init__(self, name: str, work: Callable[[Sequence[Item]], Sequence[Result]], max_batch: int) -> None:
        """Start; needs a running event loop.

        Args:
            name: for the thread.
            work: gives one result for each item, in order.
            max_batch: items in a batch, at most.
        """
        self._work = work
        self._max_batch = max_batch
        self._waiting: asyncio.Queue[tuple[Item, asyncio.Future[Result]]] = asyncio.Queue(MAX_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._loop = asyncio.create_task(self._run(), name=name)

    async def put(self, item: Item) -> asyncio.Future[Result]:
        """Put an item in line; items are worked on in the order in which this is called.

        Returns:
            The result to be, or the error of the batch.
        """
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        await self._waiting.put((item, result))
        return result

    async def close(self) -> None:
        """Finish what waits, then stop the thread."""
        await self._waiting.join()
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._max_batch and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._run_batch(batch)
            for _ in batch:
                self._waiting.task_done()

    async def _run_batch(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        items = [item for item, _ in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, items)
            answers = list(zip(batch, results, strict=True))
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear of it
            for _, waiter in batch:
                if not waiter.done():
                    waiter.set_exception(error)
            return
        for (_, waiter), result in answers:
            if not waiter.done():
                waiter.set_result(result)
