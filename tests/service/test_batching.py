import asyncio
import itertools
import threading
from collections.abc import Sequence

import pytest

from service.batching import Batcher


def test_what_waits_becomes_one_batch_and_each_caller_gets_its_own_result() -> None:
    batches: list[list[int]] = []
    free = threading.Event()

    def square(items: Sequence[int]) -> list[int]:
        free.wait()
        batches.append(list(items))
        return [item * item for item in items]

    async def run() -> list[int]:
        batcher = Batcher("test", square, max_batch=4)
        waiting = [await batcher.put(item) for item in range(10)]
        await asyncio.sleep(0)
        free.set()
        results = await asyncio.gather(*waiting)
        await batcher.close()
        return results

    assert asyncio.run(run()) == [item * item for item in range(10)]
    assert list(itertools.chain(*batches)) == list(range(10))
    assert [len(batch) for batch in batches] == [4, 4, 2]


def test_a_batch_that_fails_fails_every_caller_in_it_and_no_other() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 1 in items:
            raise RuntimeError("broken")
        return list(items)

    async def run() -> list[int | BaseException]:
        batcher = Batcher("test", work, max_batch=2)
        waiting = [await batcher.put(item) for item in range(4)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await batcher.close()
        return results

    first, second, *others = asyncio.run(run())
    assert isinstance(first, RuntimeError)
    assert first is second
    assert others == [2, 3]


def test_a_result_for_each_item_is_insisted_on() -> None:
    async def run() -> None:
        batcher: Batcher[int, int] = Batcher("test", lambda items: list(items)[1:], max_batch=2)
        try:
            await (await batcher.put(1))
        finally:
            await batcher.close()

    with pytest.raises(ValueError, match="shorter"):
        asyncio.run(run())


def test_closing_finishes_what_waits() -> None:
    async def run() -> int:
        batcher: Batcher[int, int] = Batcher("test", list, max_batch=1)
        waiting = await batcher.put(7)
        await batcher.close()
        return await waiting

    assert asyncio.run(run()) == 7
