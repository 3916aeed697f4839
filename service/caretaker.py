"""Looks after memories in the background: unfinished removals, what retention does not keep, records, budgets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from memory_store.errors import MemoryNotFound, MemoryStoreError, StoreUnavailable
from memory_store.journal import now_us
from memory_store.store import MemoryStore
from service.budget_watch import BudgetWatch

_LOG = logging.getLogger(__name__)

PAUSE_SECONDS = 60.0
"""Between two rounds: the contract promises that what is beyond a limit is forgotten within a minute."""


async def _pause() -> None:
    await asyncio.sleep(PAUSE_SECONDS)


class Caretaker:
    """One task that goes its round when the server starts, and again after each pause."""

    def __init__(
        self, store: MemoryStore, pause: Callable[[], Awaitable[None]] = _pause, clock: Callable[[], int] = now_us
    ) -> None:
        """Stand by.

        Args:
            store: the memories.
            pause: waits between two rounds.
            clock: the time in microseconds since 1970.
        """
        self._store = store
        self._pause = pause
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="caretaker")
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._budgets = BudgetWatch()

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._task = asyncio.create_task(self._work())

    def stop(self) -> None:
        """Begin no further round, and tidy no further memory."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Wait for the memory that is being tidied; the store must be closed, or it may take long."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        while True:
            await asyncio.get_running_loop().run_in_executor(self._thread, self.go_round)
            await self._pause()

    def go_round(self) -> None:
        """Tidy every memory that needs it, one after the other; what fails is tried again in the next round.

        Of those that are open, put on record what part exemplars had in answers, and look at budgets.
        """
        for memory in self._store.opened():
            try:
                memory.lessons.record_served()
                self._budgets.look(memory)
            except MemoryStoreError as error:
                if not self._stopping:
                    _LOG.warning("cannot look after memory %s, will try again: %s", memory.name, error)
        try:
            names = self._store.names_to_tidy()
        except StoreUnavailable as error:  # the store was closed
            if not self._stopping:
                _LOG.warning("cannot look after memories: %s", error)
            return
        for name in names:
            if self._stopping:
                return
            self._tidy(name)

    def _tidy(self, name: str) -> None:
        try:
            forgotten = self._store.get(name).tidy(self._clock())
        except MemoryNotFound:  # deleted meanwhile
            return
        except MemoryStoreError as error:
            if not self._stopping:
                _LOG.warning("cannot tidy memory %s, will try again: %s", name, error)
            return
        except Exception:  # noqa: BLE001  # a fault is logged, and must not end the rounds
            _LOG.exception("tidying memory %s failed unexpectedly", name)
            return
        if forgotten.frames:
            _LOG.info("memory %s: forgot %d frames and %d exemplars", name, forgotten.frames, forgotten.exemplars)
