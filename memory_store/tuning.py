"""Curves over thresholds for one memory: what virtual gates are told, when they work, and the copy of what they hold.

The gates work aside, and hold up nobody. What they hold stands in a file beside the journal, which is written now and
then and when the memory is closed; what a killed server had not written is missing from curves, and from nothing else.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from memory_store.scope import Scope
from memory_store.seen_frames import SeenFrame
from memory_store.what_if import Curve, WhatIf
from memory_store.what_if_copy import WhatIfCopy, WhatIfCopyDamaged, copy_path, read_copy, write_copy

_LOG = logging.getLogger(__name__)

_SAVED_AFTER = 256
"""Frames after which the copy is written anew, at the earliest: what a killed server loses."""

_SAVED_SHARE = 4
"""Nor is it written before it would hold a quarter of new frames: a few KB for each frame that was encoded."""


class Tuning:
    """What a memory knows of other thresholds. Safe for several threads."""

    def __init__(self, journal: Path, uuid: str, dimension: int, limit: int, aside: ThreadPoolExecutor) -> None:
        """Go on from the copy beside a journal, if there is one.

        Args:
            journal: the memory's file.
            uuid: by which its copy is known.
            dimension: D.
            limit: embeddings held at most.
            aside: where the gates work.
        """
        self._path = copy_path(journal)
        self._uuid = uuid
        self._aside = aside
        self._what_if = _restored(self._path, uuid, dimension, limit)
        self._lock = threading.Lock()  # what follows
        self._running: Future[None] | None = None
        self._unsaved = 0
        self._saving = threading.Lock()  # the file
        self._closed = False

    def add(self, frames: Sequence[SeenFrame]) -> None:
        """Take note of frames that were committed; takes microseconds."""
        if not frames:
            return
        due = self._what_if.add(frames)
        with self._lock:
            self._unsaved += len(frames)
            if due and not self._closed and (self._running is None or self._running.done()):
                self._running = self._aside.submit(self._work)

    def curve(self, thresholds: Sequence[float], scope: Scope) -> Curve:
        """Tell what would have been kept; see `memory_store.what_if.WhatIf.curve`.

        Raises:
            InvalidThreshold: one is outside (0, 2].
        """
        return self._what_if.curve(thresholds, scope)

    def forget(self, scope: Scope) -> None:
        """Let go of what is held of the frames of a scope, in the file too.

        Raises:
            OSError: the disk refused; nothing is held any more, but the file may still have it.
        """
        self._what_if.forget(scope)
        with self._saving:
            if self._path.exists():
                self._write()

    def close(self) -> None:
        """Write the copy, and work no more."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None and not running.cancel():
            running.exception()
        self.save()

    def save(self) -> None:
        """Write the copy, if frames came since it was written."""
        with self._lock:
            if not self._unsaved:
                return
        try:
            with self._saving:
                self._write()
        except OSError as error:
            _LOG.warning("cannot save %s, which only makes curves less complete: %s", self._path, error)

    def _work(self) -> None:
        try:
            self._what_if.work()
            with self._lock:
                due = self._unsaved >= max(_SAVED_AFTER, self._what_if.held // _SAVED_SHARE)
            if due:
                self.save()
        except Exception:
            _LOG.exception("curves beside %s lack some frames", self._path)
            raise

    def _write(self) -> None:
        with self._lock:
            unsaved, self._unsaved = self._unsaved, 0
        try:
            write_copy(self._path, WhatIfCopy(self._uuid, self._what_if.copy()))
        except OSError:
            with self._lock:
                self._unsaved += unsaved
            raise


def _restored(path: Path, uuid: str, dimension: int, limit: int) -> WhatIf:
    try:
        copy = read_copy(path, dimension)
    except (WhatIfCopyDamaged, OSError) as error:
        _LOG.warning("%s", error)
        return WhatIf(dimension, limit)
    if copy is None:
        return WhatIf(dimension, limit)
    if copy.memory_uuid != uuid:
        _LOG.warning("%s belongs to another memory and is not used", path.name)
        return WhatIf(dimension, limit)
    return WhatIf.restored(copy.state, limit)
