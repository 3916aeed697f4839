"""The steps between which a server may die, and the faults that must not go unnoticed: wrapped around its methods.

All of this happens in the server's process, after it was forked; the server's own code knows nothing of it.
"""

import ctypes
import importlib
import inspect
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.crash_life import Death, Life
from memory_store.group import Group
from memory_store.journal import Journal

STEPS = {
    "open store": "memory_store.store:MemoryStore.__init__",
    "open journal": "memory_store.journal:Journal.__init__",
    "migrate": "memory_store.journal:migrate",
    "create memory": "memory_store.journal:Journal.create",
    "delete memory": "memory_store.store:MemoryStore.delete",
    "delete journal": "memory_store.journal:Journal.delete",
    "close journal": "memory_store.journal:Journal.close",
    "add stream": "memory_store.journal:Journal.add_stream",
    "add session": "memory_store.journal:Journal.add_session",
    "put threshold on record": "memory_store.journal:Journal.add_policy",
    "put retention on record": "memory_store.journal:Journal.set_retention",
    "commit": "memory_store.journal:Journal.commit",
    "take into index and forest": "memory_store.state:MemoryState.take_in",
    "decide and commit": "memory_store.memory:Memory.remember",
    "answer again": "memory_store.reading:Reading.verdicts",
    "train index": "memory_store.index_upkeep:IndexUpkeep._train",
    "take over from old index": "memory_store.index_upkeep:IndexUpkeep._take_over",
    "write copy of index": "memory_store.index_upkeep:write_copy",
    "write copy for curves": "memory_store.tuning:write_copy",
    "let go for curves": "memory_store.tuning:Tuning.forget",
    "forget": "memory_store.removal:Removal.forget",
    "tidy": "memory_store.removal:Removal.tidy",
    "put forgetting on record": "memory_store.journal:Journal.begin_forgetting",
    "take some out": "memory_store.removal:Removal._step",
    "forget some": "memory_store.forgetting:Forgetting.step",
    "follow what was removed": "memory_store.state:MemoryState.follow",
    "erase": "memory_store.removal:Removal._erase",
    "give room back": "memory_store.journal:Journal.give_room_back",
    "empty log": "memory_store.journal:Journal.empty_log",
    "end forgetting": "memory_store.journal:Journal.end_forgetting",
    "compact": "memory_store.removal:Removal.compact",
    "merge some": "memory_store.removal:merge",
    "take export": "memory_store.transfer:Export.take",
    "read export": "memory_store.transfer:Export.read",
    "write import": "memory_store.transfer:Import.write",
    "check import": "memory_store.transfer:Import.finish",
    "move import": "memory_store.transfer:Import.move_to",
    "adopt import": "memory_store.store:MemoryStore.adopt",
}
"""Names of steps, and the functions that they are, looked up where they are called."""

SMALL_SIZES = {
    "memory_store.index_upkeep:FIRST_TRAINING": 48,
    "memory_store.state:FIRST_TRAINING": 48,
    "memory_store.index:CANDIDATES": 1000,
    "memory_store.index_upkeep:_CHUNK": 16,
    "memory_store.index_upkeep:lists_for": lambda exemplars: 12,  # noqa: ARG005  # fewer than a look reads
    "memory_store.tuning:_SAVED_AFTER": 32,
    "memory_store.what_if:BATCH": 16,
    "memory_store.forgetting:_SIGHTINGS": 8,
    "memory_store.removal:_PAGES": 4,
    "memory_store.removal:_MERGES": 4,
    "memory_store.transfer:_PAGES_AT_A_TIME": 16,
}
"""Constants, and what they are in a server that does in small pieces what others do in large ones.

A look reads all of the few lists, and compares with all in them, so that what is kept does not depend on when the index
was trained.
"""

_Function = Callable[..., Any]


class DiskTrace:
    """The recorder that was loaded before this process began."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)

    def begin(self, folder: str, log: str) -> None:
        """Record what is done in a folder.

        Raises:
            OSError: the log cannot be written.
        """
        if self._library.disk_trace_begin(folder.encode(), log.encode()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), log)

    def die_at(self, operation: int, *, after: bool) -> None:
        """Die at the n-th operation from now on."""
        self._library.disk_trace_die_at(ctypes.c_long(operation), ctypes.c_int(after))


def prepare(life: Life) -> None:
    """Begin to record, and arrange for the death and the fault of this life."""
    trace = DiskTrace()
    trace.begin(life.traced, life.log)
    FAULTS[life.fault]()
    _wrap_connect(f"PRAGMA wal_autocheckpoint = {life.checkpoint_pages}")
    if life.small_sizes:
        for path, value in SMALL_SIZES.items():
            _put(path, value)
    marks = os.open(life.marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    death = life.death or Death()
    for step, path in STEPS.items():
        _wrap(path, _marking(step, marks, death if step == death.step else Death(), trace))
    if death.step is None and death.disk_operation:
        trace.die_at(death.disk_operation, after=death.after)


def _marking(step: str, marks: int, death: Death, trace: DiskTrace) -> _Function:
    """Put the beginning and the end of each call of a step on record, and die at the one that was chosen."""
    numbers = count(1)

    def around(original: _Function, *arguments: Any, **named: Any) -> Any:
        number = next(numbers)
        is_the_call = death.step is not None and number == death.call
        os.write(marks, f"{time.monotonic_ns()} begins {number} {step}\n".encode())
        if is_the_call and death.disk_operation:
            trace.die_at(death.disk_operation, after=death.after)
        elif is_the_call and not death.after:
            _die()
        try:
            result = original(*arguments, **named)
            if is_the_call and not death.disk_operation:
                _die()
            return result
        finally:
            os.write(marks, f"{time.monotonic_ns()} ends {number} {step}\n".encode())

    return around


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wrap(path: str, around: _Function) -> None:
    """Put a function around the one at `path`; it gets that one and its arguments."""
    owner, name = _place(path)
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        return around(original, *arguments, **named)

    is_static = isinstance(inspect.getattr_static(owner, name), staticmethod)
    setattr(owner, name, staticmethod(wrapped) if is_static else wrapped)


def _put(path: str, value: object) -> None:
    """Put a value in the place of the one at `path`."""
    owner, name = _place(path)
    getattr(owner, name)  # an error where it has gone
    setattr(owner, name, value)


def _place(path: str) -> tuple[Any, str]:
    module, _, names = path.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = names.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name


def _wrap_connect(pragma: str) -> None:
    """Give every connection one more setting."""

    def around(original: _Function, *arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = original(*arguments, **named)
        connection.execute(pragma)
        return connection

    _wrap("sqlite3:connect", around)


class _NotSyncing(sqlite3.Connection):
    """Leaves it to the machine when its writes reach the disk, whatever it is told."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        return super().execute("PRAGMA synchronous = OFF" if "synchronous" in sql else sql, *arguments)


def _without_syncing() -> None:
    def around(original: _Function, *arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = original(*arguments, factory=_NotSyncing, **named)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    _wrap("sqlite3:connect", around)


def _verdicts_first() -> None:
    """Each group is committed when the next one comes, its verdicts having left."""
    waiting: dict[int, Group] = {}

    def around(original: _Function, journal: Journal, group: Group) -> None:
        before = waiting.get(id(journal))
        waiting[id(journal)] = group
        if before is not None:
            original(journal, before)

    _wrap(STEPS["commit"], around)


def _keeps_the_log() -> None:
    """What was overwritten stays in the write-ahead log."""
    _wrap(STEPS["empty log"], lambda *_: True)


def _cuts_the_log_without_syncing() -> None:
    """What was overwritten comes back with the write-ahead log when the power goes."""

    def around(original: _Function, path: Path) -> None:
        if not path.name.endswith("-wal"):
            original(path)

    _wrap("memory_store.journal:sync_file", around)


FAULTS: dict[str | None, Callable[[], None]] = {
    None: lambda: None,
    "synchronous off": _without_syncing,
    "verdicts first": _verdicts_first,
    "keeps the log": _keeps_the_log,
    "cuts the log without syncing": _cuts_the_log_without_syncing,
}
"""Faults by name, and what brings them about in this process."""
