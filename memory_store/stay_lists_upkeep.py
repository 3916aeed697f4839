"""Keeps the lists of closed stays in step with the forest and the index. Runs beside the frame's way.

Blocks that are closed are added at once. What cannot be added, since the index was trained anew or closed stays have
changed, has the lists made again: aside, on the thread that works for the index, with the lock held for moments.
"""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from memory_store.code_lists import CodeLists
from memory_store.embedding_table import Ids
from memory_store.forest import Forest, Snapshot, StayFacts
from memory_store.index import ExemplarIndex
from memory_store.index_upkeep import IndexUpkeep
from memory_store.stay_lists import ListStrata, StayLists

_LOG = logging.getLogger(__name__)

FIRST_LISTS = 16_384
"""Closed stays that are read whole: some milliseconds."""

_CHUNK = 64
"""Blocks that are added at a time, holding nothing."""

_CAUGHT_UP = 8
"""Blocks that may be missing when the lists are taken into use; adding so many takes some milliseconds."""


class _Places:
    """Which list an exemplar lies in; where the index has no lists, each exemplar is one of its own."""

    def __init__(self, index: ExemplarIndex) -> None:
        self.index = index
        self._own: dict[int, int] = {}

    def of(self, exemplar_ids: Ids) -> Ids:
        """Give the list of each, int64 [N]; under the lock, and all of them must be there."""
        if self.index.lists is not None:
            return self.index.lists.lists_of(exemplar_ids)
        own = self._own
        return np.array([own.setdefault(exemplar, len(own)) for exemplar in exemplar_ids.tolist()], np.int64)

    def all(self) -> tuple[Ids, Ids]:
        """Give all exemplars, ascending, and the list of each, int64 [K] twice; under the lock."""
        if self.index.lists is not None:
            return self.index.lists.contents()
        ids = self.index.table.ids()
        return ids, self.of(ids)


class StayListsUpkeep:
    """Looks after the lists of one memory. Methods are called under the memory's lock unless they say otherwise."""

    def __init__(self, dimension: int, forest: Forest, upkeep: IndexUpkeep, lock: threading.RLock) -> None:
        """Begin without lists.

        Args:
            dimension: D.
            forest: whose closed stays the lists hold.
            upkeep: of the index by whose lists they go.
            lock: the memory's.
        """
        self._dimension = dimension
        self._forest = forest
        self._upkeep = upkeep
        self._lock = lock
        self._lists: StayLists | None = None
        self._places: _Places | None = None
        self._generation = -1
        self._running: Future[None] | None = None
        self._stopped = False

    def strata(self, snapshot: Snapshot) -> ListStrata | None:
        """Give the lists, if they hold rows of a snapshot; None: there are none at present."""
        if self._lists is None or self._generation != snapshot.generation or not self._lists.blocks:
            return None
        return self._lists.strata()

    @property
    def codes(self) -> CodeLists | None:
        """The lists of the index that these go by; None if that has none."""
        return None if self._places is None else self._places.index.lists

    def follow(self, worker: ThreadPoolExecutor) -> None:
        """Add the blocks that were closed, or have the lists made again."""
        snapshot = self._forest.closed()
        if sum(len(table) for table in snapshot.tables) < FIRST_LISTS or self._stopped:
            return
        if self._lists is not None and self._places is not None and self._is_in_step(snapshot):
            self._add(self._lists, self._places, snapshot)
        elif not self.is_working:
            self._running = worker.submit(self._work)

    @property
    def is_working(self) -> bool:
        """The lists are being made."""
        return self._running is not None and not self._running.done()

    def stop(self) -> None:
        """Stop what is being done; not under the lock."""
        self._stopped = True
        self.wait()

    def wait(self) -> None:
        """Wait until what is being done is done; not under the lock."""
        if self._running is not None:
            self._running.exception()  # it was logged where it was raised

    def _is_in_step(self, snapshot: Snapshot) -> bool:
        index = None if self._places is None else self._places.index
        return self._generation == snapshot.generation and index is self._upkeep.index

    def _add(self, lists: StayLists, places: _Places, snapshot: Snapshot) -> None:
        blocks = snapshot.blocks.since(lists.blocks)
        if len(blocks):
            means, table = snapshot.stays_of(blocks.rows())
            facts = StayFacts(table)
            exemplars = facts.column("exemplar_id")
            lists.add(blocks, facts.column("frames"), means, places.of(exemplars), exemplars)

    def _work(self) -> None:
        try:
            while not self._stopped and not self._make():
                pass
        except Exception:
            _LOG.exception("stays are read by blocks of time, which takes more of them for the same error")
            raise

    def _make(self) -> bool:
        """Make the lists of what there is now; False if it was outdated before it was done."""
        with self._lock:
            snapshot, index = self._forest.closed(), self._upkeep.index
            places = _Places(index)
            ids, numbers = places.all()
        lists = StayLists(self._dimension)
        begin = 0
        while len(snapshot.blocks) - begin > _CAUGHT_UP and not self._stopped:
            blocks = snapshot.blocks.since(begin, _CHUNK)
            means, table = snapshot.stays_of(blocks.rows())
            facts = StayFacts(table)
            exemplars = facts.column("exemplar_id")
            found = np.minimum(np.searchsorted(ids, exemplars), len(ids) - 1)
            with self._lock:
                if not self._is_current(snapshot, index):
                    return False
                late = ids[found] != exemplars
                where = numbers[found]
                where[late] = places.of(exemplars[late])
            lists.add(blocks, facts.column("frames"), means, where, exemplars)
            begin += len(blocks)
            with self._lock:
                if not self._is_current(snapshot, index):
                    return False
                snapshot = self._forest.closed()
        with self._lock:
            if self._stopped:
                return True
            if not self._is_current(snapshot, index):
                return False
            self._add(lists, places, self._forest.closed())
            self._lists, self._places, self._generation = lists, places, snapshot.generation
        return True

    def _is_current(self, snapshot: Snapshot, index: ExemplarIndex) -> bool:
        return self._forest.closed().generation == snapshot.generation and self._upkeep.index is index
