"""Curves over thresholds for one memory: what virtual gates are told, when they work, and the copy of what they hold.

The gates work aside, and hold up nobody. What they hold stands in a file beside the journal, which is written now and
then and when the memory is closed; what a killed server had not written is missing from curves, and from nothing else.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from memory_store.scope import Scope
from memory_store.seen_frames import Ids, SeenFrame, within
from memory_store.what_if import Curve, WhatIf, WhatIfState
from memory_store.what_if_copy import WhatIfCopy, WhatIfCopyDamaged, copy_path, read_copy, write_copy

_LOG = logging.getLogger(__name__)

_SAVED_AFTER = 256
"""Frames after which the copy is written anew, at the earliest: what a killed server loses."""

_SAVED_SHARE = 4
"""Nor is it written before it would hold a quarter of new frames: a few KB for each frame that was encoded."""

_MADE_UP = 1024
"""Frames of lost exemplars that are handed over at a time."""

_NOTHING = (np.empty(0, np.int64), np.empty(0, np.int64))


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
        copy = _read(self._path, uuid, dimension)
        self._what_if = WhatIf(dimension, limit) if copy is None else WhatIf.restored(copy.state, limit)
        self._next_exemplar = 1 if copy is None else copy.next_exemplar
        self._saved = _NOTHING if copy is None else _frames_of(copy.state)
        self._lock = threading.Lock()  # what follows
        self._running: Future[None] | None = None
        self._making_up: Future[None] | None = None
        self._unsaved = 0
        self._saving = threading.Lock()  # the file, and what follows
        self._gone = False
        self._closed = False

    @property
    def next_exemplar(self) -> int:
        """Exemplars from this number on are of frames that were lost before they were saved here."""
        return self._next_exemplar

    def make_up(self, frames: Sequence[SeenFrame], next_exemplar: int) -> None:
        """Take note of the frames of exemplars that were lost here; aside.

        Args:
            frames: of the exemplars from `next_exemplar` on, in order, or the latest of them.
            next_exemplar: the number of the next one that the memory will keep.
        """
        with self._lock:
            self._making_up = self._running = self._aside.submit(self._make_up, frames, next_exemplar)

    def _make_up(self, frames: Sequence[SeenFrame], next_exemplar: int) -> None:
        for first in range(0, len(frames), _MADE_UP):
            if self._closed:
                return
            self._what_if.add(frames[first : first + _MADE_UP])
            self._what_if.work(everything=True)
        with self._lock:
            self._next_exemplar = next_exemplar
            self._unsaved += len(frames)

    def add(self, frames: Sequence[SeenFrame], next_exemplar: int) -> None:
        """Take note of frames that were committed; takes microseconds.

        Args:
            frames: those that were encoded.
            next_exemplar: the number of the next exemplar that the memory will keep.
        """
        if not frames:
            return
        due = self._what_if.add(frames)
        with self._lock:
            if self._making_up is None or self._making_up.done():
                self._next_exemplar = next_exemplar
            self._unsaved += len(frames)
            if due and not self._closed and (self._running is None or self._running.done()):
                self._running = self._aside.submit(self._work)

    def curve(self, thresholds: Sequence[float], scope: Scope) -> Curve:
        """Tell what would have been kept, after what was lost is made up for; see `memory_store.what_if.WhatIf.curve`.

        Raises:
            InvalidThreshold: one is outside (0, 2].
        """
        if self._making_up is not None:
            wait([self._making_up])
        return self._what_if.curve(thresholds, scope)

    def forget(self, scope: Scope) -> None:
        """Let go of what is held of the frames of a scope; a file that may have some of it is removed.

        It is written again when that is due: old frames may be forgotten every minute.

        Raises:
            OSError: the disk refused; nothing is held any more, but the file may still have it.
        """
        with self._saving:
            had_some = self._what_if.forget(scope)
            # What was let go for others is in the file all the same.
            if had_some or within(scope, *self._saved).any():
                self._path.unlink(missing_ok=True)
                self._saved = _NOTHING
                with self._lock:
                    self._unsaved += 1

    def close(self, *, save: bool) -> None:
        """Work no more; write the copy, unless the memory goes."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None and not running.cancel():
            running.exception()
        if save:
            self.save()
        with self._saving:
            self._gone = True

    def save(self) -> None:
        """Write the copy, if frames came since it was written."""
        with self._lock:
            if not self._unsaved:
                return
        try:
            with self._saving:
                if not self._gone:
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
            next_exemplar = self._next_exemplar  # first: frames that come meanwhile may be in the copy, not the reverse
            state = self._what_if.copy()
            write_copy(self._path, WhatIfCopy(self._uuid, state, next_exemplar))
            self._saved = _frames_of(state)
        except OSError:
            with self._lock:
                self._unsaved += unsaved
            raise


def _frames_of(state: WhatIfState) -> tuple[Ids, Ids]:
    """Tell streams and capture times of the frames whose embeddings are held."""
    frames, waiting = state.gates.entries.frames, state.waiting
    return (
        np.concatenate([frames.stream_ids, waiting.stream_ids]),
        np.concatenate([frames.capture_us, waiting.capture_us]),
    )


def _read(path: Path, uuid: str, dimension: int) -> WhatIfCopy | None:
    try:
        copy = read_copy(path, dimension)
    except (WhatIfCopyDamaged, OSError) as error:
        _LOG.warning("%s", error)
        return None
    if copy is not None and copy.memory_uuid != uuid:
        _LOG.warning("%s belongs to another memory and is not used", path.name)
        return None
    return copy
