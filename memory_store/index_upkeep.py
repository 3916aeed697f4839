"""What an index needs while it grows: lists for more exemplars, and its copy on disk. Runs aside, on one thread.

Embeddings are read a few at a time under the memory's lock; training and assigning hold no lock. What changed meanwhile
is made up for at the end, so that ingest never waits for more than some milliseconds.
"""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from memory_store.code_lists import CODEBOOK_SAMPLES, CodeLists, fitted
from memory_store.embedding_table import EmbeddingTable, Ids, Matrix
from memory_store.index import CORES, ExemplarIndex
from memory_store.index_copy import IndexCopy, write_copy
from memory_store.records import Embedding
from memory_store.vectors import add_by

_LOG = logging.getLogger(__name__)

FIRST_TRAINING = 8192
"""Exemplars that are searched exhaustively: some milliseconds a group of looks."""

_SAMPLES_PER_LIST = 40
"""Vectors that k-means sees for each centroid; FAISS warns below 39."""

_ROUNDS = 6
"""Rounds of k-means; further ones move recall by less than 0.1 %."""

_CHUNK = 2048
"""Vectors read under the lock at a time: about a millisecond."""

_LISTS = 16
"""Lists that are recentred under the lock at a time: some milliseconds."""

_PAUSE_S = 0.001
"""Between two times that the lock is held: it is not fair, and who releases it would have it again at once."""

_CAUGHT_UP = 512
"""Exemplars that may be missing when the new lists take over; adding so many takes some ten milliseconds."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The threads that work for the indexes of a store."""

    aside: ThreadPoolExecutor
    """Trains and saves, one index at a time. It has the priority of the others: of a lower one, it would hold a
    memory's lock for long where cores are short."""

    searchers: ThreadPoolExecutor
    """Share the looks of a group."""

    def shutdown(self) -> None:
        """Wait for what they do, then end them."""
        self.aside.shutdown()
        self.searchers.shutdown()


def new_workers() -> Workers:
    """Start the threads of a store."""
    return Workers(
        # the number of FAISS's own threads is that of the thread it is set on
        ThreadPoolExecutor(1, "index", initializer=lambda: faiss.omp_set_num_threads(1)),
        ThreadPoolExecutor(CORES, "looks"),
    )


def lists_for(exemplars: int) -> int:
    """Choose how many lists to train: right when there are twice as many exemplars, which is when it comes again."""
    return int(4 * np.sqrt(2 * exemplars))


def lists_from(copy: IndexCopy, table: EmbeddingTable, threads: ThreadPoolExecutor) -> CodeLists:
    """Put what is in a table, which is not empty, into the lists that a copy tells of.

    Codes are made again, which takes some seconds for 10^6 exemplars; those that the copy does not know go to the lists
    with the nearest centroids. Lists that held what is gone are recentred: whoever removed it may have been killed
    before that.
    """
    ids = table.ids()
    sample = np.random.default_rng(len(ids)).choice(ids, min(len(ids), CODEBOOK_SAMPLES), replace=False)
    lists = CodeLists(copy.centroids, fitted(table.embeddings(sample)))
    chunks = [ids[first : first + _CHUNK] for first in range(0, len(ids), _CHUNK)]
    codes = np.concatenate(list(threads.map(lambda chunk: lists.codes(table.embeddings(chunk)), chunks)))
    known = np.isin(ids, copy.ids)
    lists.put(ids[known], copy.lists[np.searchsorted(copy.ids, ids[known])], codes[known])
    lists.recentre(copy.lists[~np.isin(copy.ids, ids)], table)
    for chunk in np.split(np.flatnonzero(~known), range(_CHUNK, int((~known).sum()), _CHUNK)):
        lists.put(ids[chunk], lists.nearest(table.embeddings(ids[chunk])), codes[chunk])
    return lists


class IndexUpkeep:
    """Looks after the index of one memory. `index` is read and replaced under the memory's lock."""

    def __init__(
        self, index: ExemplarIndex, lock: threading.RLock, path: Path, memory_uuid: str, saved: int = 0
    ) -> None:
        """Take over an index.

        Args:
            index: the index.
            lock: the memory's.
            path: of the copy.
            memory_uuid: of the memory, by which its copy is known.
            saved: exemplars that the copy on disk knows; 0 if it has to be written anew.
        """
        self.index = index
        """The index in use."""
        self._lock = lock
        self._path = path
        self._memory_uuid = memory_uuid
        self._saved = saved
        self._arrived: list[Ids] = []
        """Added since a training began."""
        self._training = False
        self._changed: set[int] = set()
        """Removed or moved since then: ids."""
        self._running: Future[None] | None = None
        self._stopped = False
        self._saving = threading.Lock()

    def add(self, ids: Ids, embeddings: Matrix) -> None:
        """Add exemplars, by ascending numbers; under the lock."""
        self.index.add(ids, embeddings)
        if self._training:
            self._arrived.append(ids)

    def change(self, removed: Ids, moved: dict[int, Embedding]) -> None:
        """Take exemplars out, and put others in another place; under the lock. The copy on disk is outdated then."""
        self.index.change(removed, moved)
        if self._training:
            self._changed.update(removed.tolist(), moved)
        self._saved = 0

    def submit(self, worker: ThreadPoolExecutor) -> None:
        """Have done aside what is due, if nothing is being done; under the lock."""
        if self._stopped or self.is_working:
            return
        if self._training_due or self._saving_due:
            self._running = worker.submit(self._work)

    @property
    def is_working(self) -> bool:
        """Something is being done aside."""
        return self._running is not None and not self._running.done()

    @property
    def _training_due(self) -> bool:
        return len(self.index) >= max(FIRST_TRAINING, 2 * self.index.trained_on)

    @property
    def _saving_due(self) -> bool:
        added = len(self.index) - self._saved
        is_listed = self.index.lists is not None and len(self.index) >= FIRST_TRAINING
        return is_listed and added >= max(_CHUNK, len(self.index) // 16)

    def stop(self) -> None:
        """Stop what is being done; the memory may be closed afterwards. Not under the lock."""
        self._stopped = True
        if self._running is not None:
            self._running.exception()  # it was logged where it was raised

    def wait(self) -> None:
        """Wait until what is being done is done; not under the lock."""
        if self._running is not None:
            self._running.result()

    def _work(self) -> None:
        try:
            if self._training_due:
                self._train()
            if not self._stopped:
                self.save()
        except OSError as error:
            _LOG.warning("cannot save %s, which only makes the next start slower: %s", self._path, error)
        except Exception:
            _LOG.exception("the index beside %s stays as it is: searches are slower, and miss nothing", self._path)
            raise

    def save(self) -> bool:
        """Write the copy; remove it where there are no lists, or too few exemplars to need them.

        Returns:
            Whether that was done; not if this was stopped.

        Raises:
            OSError: the disk refused; the copy before is still there.
        """
        with self._saving:
            if self._stopped:
                return False
            with self._lock:
                lists = self.index.lists if len(self.index) >= FIRST_TRAINING else None
                if lists is not None:
                    ids, numbers = lists.contents()
                    copy = IndexCopy(self._memory_uuid, self.index.trained_on, lists.centroids.copy(), ids, numbers)
                    self._saved = len(ids)
            if lists is None:
                self._path.unlink(missing_ok=True)
            else:
                write_copy(self._path, copy)
            return True

    def ids(self) -> Ids:
        """Give the ids of all exemplars, ascending: int64 [K]; not under the lock."""
        with self._lock:
            return self.index.table.ids()

    def _train(self) -> None:
        with self._lock:
            self._training = True
            ids = self.index.table.ids()
        try:
            lists = self._lists(ids)
            if lists is not None:
                self._fill(lists, ids)
        finally:
            with self._lock:
                self._training = False
                self._arrived.clear()
                self._changed.clear()

    def _fill(self, successor: CodeLists, ids: Ids) -> None:
        """Put all exemplars into new lists, and these in the place of those before.

        Centroids are those of what was trained on; when lists are filled, they become the means of what these hold, so
        that an exemplar shows in that of its own list alone.
        """
        trained_on = len(ids)
        sums = np.zeros(successor.centroids.shape)
        self._put(successor, ids, sums)
        successor.centre(np.arange(len(sums)), sums)
        while not self._stopped:
            self._let_go(successor)
            with self._lock:
                ids = np.concatenate([ids[:0], *self._arrived])
                self._arrived.clear()
                if len(ids) <= _CAUGHT_UP:
                    self._take_over(successor, ids, trained_on)
                    return
            self._put(successor, ids, sums)

    def _put(self, successor: CodeLists, ids: Ids, sums: NDArray[np.float64]) -> None:
        """Put exemplars into new lists, and add their embeddings to the sums of these: float64 [L, D]."""
        parts = [(ids[:0], ids[:0], successor.codes(np.empty((0, self.index.table.dimension), np.float32)))]
        for chunk, vectors in self._vectors(ids):
            if self._stopped:
                return
            parts.append((chunk, successor.nearest(vectors), successor.codes(vectors)))
            add_by(sums, parts[-1][1], vectors)
        successor.put(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _let_go(self, successor: CodeLists) -> None:
        """Take out of new lists what was removed or moved since, some lists at a time."""
        with self._lock:
            changed = np.array(sorted(self._changed), np.int64)
        gone = changed[successor.present(changed)]
        numbers = np.unique(successor.lists_of(gone))
        successor.remove(gone)
        for first in range(0, len(numbers), _LISTS):
            with self._lock:
                successor.recentre(numbers[first : first + _LISTS], self.index.table)
            time.sleep(_PAUSE_S)

    def _take_over(self, successor: CodeLists, missing: Ids, trained_on: int) -> None:
        """Put new lists in the place of those before, after what they missed; under the lock."""
        table = self.index.table
        changed = np.array(sorted(self._changed), np.int64)
        gone = changed[successor.present(changed)]
        numbers = successor.lists_of(gone)
        stale = np.union1d(changed, missing)
        successor.remove(stale)
        successor.recentre(numbers, table)
        left = stale[table.present(stale)]
        successor.add(left, table.embeddings(left))
        self.index = ExemplarIndex(table, successor, trained_on, self.index.searchers)

    def _vectors(self, ids: Ids) -> Iterator[tuple[Ids, Matrix]]:
        """Read embeddings, some at a time; those removed meanwhile are left out."""
        for first in range(0, len(ids), _CHUNK):
            chunk = ids[first : first + _CHUNK]
            with self._lock:
                if self._changed:
                    chunk = np.setdiff1d(chunk, np.array(sorted(self._changed), np.int64))
                vectors = self.index.embeddings(chunk)
            yield chunk, vectors

    def _lists(self, ids: Ids) -> CodeLists | None:
        """Train lists on a share of the exemplars; None if stopped."""
        number = lists_for(len(ids))
        chance = np.random.default_rng(len(ids))
        chosen = np.sort(chance.choice(ids, min(len(ids), _SAMPLES_PER_LIST * number), replace=False))
        sample, read = np.empty((len(chosen), self.index.table.dimension), np.float32), 0
        for chunk, vectors in self._vectors(chosen):
            sample[read : read + len(chunk)] = vectors
            read += len(chunk)
        sample = sample[:read]
        number = min(number, read)  # fewer where most were removed meanwhile
        centroids: Matrix | None = None
        for _ in range(_ROUNDS):
            if self._stopped or not number:
                return None
            # a round at a time, so that a server that stops does not wait for all of them
            kmeans = faiss.Kmeans(
                sample.shape[1], number, niter=1, spherical=True, min_points_per_centroid=1, seed=number
            )
            kmeans.train(sample, init_centroids=centroids)
            centroids = np.asarray(kmeans.centroids)
        return None if centroids is None else CodeLists(centroids, fitted(sample))
