"""Forgetting, retention and compaction of one memory while it is written to: small steps, each under the lock."""

import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from memory_store.change import Change
from memory_store.compaction import Merge, MergePlan, merge
from memory_store.errors import StoreUnavailable
from memory_store.forgetting import Forgetting
from memory_store.journal import Journal
from memory_store.loading import forget_policies, unfinished_of
from memory_store.records import CompactedCounts, ForgottenCounts, Retention
from memory_store.scope import Scope
from memory_store.state import MemoryState
from memory_store.tuning import Tuning

_PAGES = 512
"""Pages given back to the file system in a step: some milliseconds."""

_MERGES = 16
"""Pairs merged in a step."""

_LOOKS = 256
"""Exemplars looked at in a step of planning."""

_ROOM = 0.05
"""Share of what is kept that goes beyond a limit that was passed, so that it is not passed again at once."""


class Removal:
    """What takes frames and exemplars out of one memory. Safe for several threads; one removal at a time."""

    def __init__(
        self,
        journal: Journal,
        state: MemoryState,
        lock: threading.RLock,
        check_usable: Callable[[], None],
        follow: Callable[[Change], None],
        tuning: Tuning,
    ) -> None:
        """Stand by.

        Args:
            journal: the journal.
            state: its copies.
            lock: the memory's.
            check_usable: raises if the memory must not be used.
            follow: lets the copies follow a change; both are called under the lock.
            tuning: lets go of frames too.
        """
        self._journal = journal
        self._state = state
        self._lock = lock
        self._check_usable = check_usable
        self._follow = follow
        self._tuning = tuning
        self._one_at_a_time = threading.Lock()

    def forget(self, scope: Scope, *, learned: bool = True) -> ForgottenCounts:
        """See `memory_store.memory.Memory.forget`; `learned` says whether what attention learned from it goes too."""
        with self._one_at_a_time:
            with self._lock:
                self._check_usable()
                if scope.stream_ids == frozenset():
                    return ForgottenCounts()  # in the journal, no streams would be all of them
                extent = self._state.extent()
                if extent is not None:
                    # What is captured later stays, even if the removal ends long after the call, after a restart.
                    scope = replace(scope, last_us=min(scope.last_us, extent[1]))
                number = self._journal.begin_forgetting(scope, learned=learned)
            return self._finish(number, scope)

    def tidy(self, retention: Retention, now_us: int) -> ForgottenCounts:
        """See `memory_store.memory.Memory.tidy`."""
        with self._one_at_a_time:
            counts = ForgottenCounts()
            with self._lock:
                self._check_usable()
                unfinished = unfinished_of(self._journal.connection)
            for number, scope in unfinished:
                counts += self._finish(number, scope)
        while (limit_us := self._to_go(retention, now_us)) is not None:
            # What was learned from what is merely old stays, or every minute would undo it.
            forgotten = self.forget(Scope(last_us=limit_us), learned=False)
            counts += forgotten
            if not forgotten.frames:
                break
        return counts

    def compact(self, threshold: float) -> CompactedCounts:
        """See `memory_store.memory.Memory.compact`."""
        with self._one_at_a_time:
            merged = 0
            waiting: list[Merge] = []
            for pair in self._planned(threshold):
                waiting.append(pair)
                if len(waiting) == _MERGES:
                    merged += self._merge(waiting, threshold)
                    waiting.clear()
            merged += self._merge(waiting, threshold)
            self._erase()
            with self._lock:
                return CompactedCounts(merged, len(self._state.upkeep.index))

    def _finish(self, number: int, scope: Scope) -> ForgottenCounts:
        counts = ForgottenCounts()
        with self._lock:
            streams = [
                stream
                for stream in self._state.streams.values()
                if scope.stream_ids is None or stream.id in scope.stream_ids
            ]
            forgetting = Forgetting(scope, streams)
        while True:
            change = self._step(forgetting.step)
            if change is None:
                break
            counts += change.counts
        try:
            self._tuning.forget(scope)
        except OSError as error:
            raise StoreUnavailable(f"cannot remove what is held for curves: {error}") from error
        with self._lock:
            self._check_usable()
            with self._journal.writing() as connection:
                forget_policies(connection)
        self._erase()
        with self._lock:
            self._check_usable()
            self._journal.end_forgetting(number)
        return counts

    def _step(self, step: Callable[[sqlite3.Connection], Change | None]) -> Change | None:
        with self._lock:
            self._check_usable()
            with self._journal.writing() as connection:
                change = step(connection)
            if change is not None:
                self._follow(change)
            return change

    def _erase(self) -> None:
        """Give the room back, and let nothing of what was removed stay in the files beside the journal."""
        more = True
        while more:
            with self._lock:
                self._check_usable()
                more = self._journal.give_room_back(_PAGES)
        try:
            if not self._state.upkeep.save():
                raise StoreUnavailable("the memory is being closed: what was begun is finished when it is opened again")
        except OSError as error:
            raise StoreUnavailable(f"cannot write the copy of the index anew: {error}") from error
        with self._lock:
            self._check_usable()
            if not self._journal.empty_log():
                raise StoreUnavailable("a reading keeps the write-ahead log, which still holds what was removed")

    def _to_go(self, retention: Retention, now_us: int) -> int | None:
        """Choose until when the retention wants things forgotten; None if nothing is beyond its limits."""
        limits = []
        with self._lock:
            self._check_usable()
            contents, extent = self._state.contents(None), self._state.extent()
            if extent is None:
                return None
            if retention.max_age_us is not None and extent[0] < now_us - retention.max_age_us:
                limits.append(now_us - retention.max_age_us - 1)
            if retention.max_exemplars is not None and contents.exemplars > retention.max_exemplars:
                _, last_us = self._state.seen_last()
                number = math.ceil(_beyond(retention.max_exemplars, contents.exemplars) * len(last_us))
                limits.append(int(np.partition(last_us, number - 1)[number - 1]))
            used_bytes = 0 if retention.max_bytes is None else self._used_bytes(retention.max_bytes)
            if retention.max_bytes is not None and used_bytes > retention.max_bytes:
                share = _beyond(retention.max_bytes, used_bytes)
                limits.append(self._state.captured_by(share))
        return max(limits, default=None)

    def _used_bytes(self, limit: int) -> int:
        """Count the bytes on disk; where they are beyond a limit, without what the write-ahead log has twice."""
        if self._journal.size_bytes() > limit:
            self._journal.empty_log()
        return self._journal.size_bytes()

    def _planned(self, threshold: float) -> Iterator[Merge]:
        with self._lock:
            self._check_usable()
            plan = MergePlan(self._state.upkeep.index, threshold)
        ids = self._state.upkeep.ids()
        for first in range(0, len(ids), _LOOKS):
            with self._lock:
                self._check_usable()
                index = self._state.upkeep.index
                some = ids[first : first + _LOOKS]
                some = some[index.table.present(some)]
                embeddings = index.embeddings(some)
            yield from plan.look(some, embeddings)

    def _merge(self, pairs: list[Merge], threshold: float) -> int:
        change = self._step(lambda connection: merge(connection, pairs, threshold))
        return 0 if change is None else len(change.removed)


def _beyond(limit: int, used: int) -> float:
    """Give the share that is to go of what is used, in (0, 1]."""
    return min(1.0, 1 - limit / used + _ROOM)
