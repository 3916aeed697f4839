"""What an index needs while it grows: centroids for more exemplars, and its copy on disk. Runs aside, on one thread.

Vectors are read a few at a time under the memory's lock; training and assigning hold no lock. What changed meanwhile
is made up for at the end, so that ingest never waits for more than some milliseconds.
"""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from memory_store.index import CORES, ExemplarIndex, Ids, Matrix
from memory_store.index_copy import IndexCopy, write_copy

_LOG = logging.getLogger(__name__)

FIRST_TRAINING = 8192
"""Exemplars that are searched exhaustively: some milliseconds a group of looks."""

_SAMPLES_PER_LIST = 40
"""Vectors that k-means sees for each centroid; FAISS warns below 39."""

_ROUNDS = 6
"""Rounds of k-means; further ones move recall by less than 0.1 %."""

_CHUNK = 2048
"""Vectors read under the lock at a time: about a millisecond."""

_LISTS = 512
"""Lists whose ids are read under the lock at a time."""

_CAUGHT_UP = 512
"""Exemplars that may be missing when the new index takes over; adding so many takes some milliseconds."""


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


class IndexUpkeep:
    """Looks after the index of one memory. `index` is read and replaced under the memory's lock."""

    def __init__(self, index: ExemplarIndex, lock: threading.RLock, path: Path, memory_uuid: str) -> None:
        """Take over an index.

        Args:
            index: the index.
            lock: the memory's.
            path: of the copy.
            memory_uuid: of the memory, by which its copy is known.
        """
        self.index = index
        """The index in use."""
        self._lock = lock
        self._path = path
        self._memory_uuid = memory_uuid
        self._changes = 0
        self._saved = 0
        self._arrived: list[Ids] = []
        """Added since a training began."""
        self._training = False
        self._changed: set[int] = set()
        """Removed or moved since then."""
        self._running: Future[None] | None = None
        self._stopped = False
        self._saving = threading.Lock()

    def saved(self, exemplars: int) -> None:
        """Take note that the copy on disk has so many exemplars."""
        self._saved = exemplars

    def add(self, ids: Ids, embeddings: Matrix) -> None:
        """Add exemplars; under the lock."""
        self.index.add(ids, embeddings)
        if self._training:
            self._arrived.append(ids)

    def change(self, removed: Ids, moved: dict[int, Matrix]) -> None:
        """Take exemplars out, and put others in another place; under the lock. The copy on disk is outdated then."""
        gone = np.concatenate([removed, np.array(list(moved), np.int64)])
        places = self.index.lists_of(gone)  # which need not be the nearest any more
        self.index.remove(gone)
        self.index.recentre(places)
        if moved:
            self.index.add(np.array(list(moved), np.int64), np.stack(list(moved.values())))
        self._changed.update(gone.tolist())
        self._changes += 1
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
        return len(self.index) >= FIRST_TRAINING and added >= max(_CHUNK, len(self.index) // 16)

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

    def save(self) -> None:
        """Write the copy.

        Raises:
            OSError: the disk refused; the copy before is still there.
        """
        with self._saving:
            if self._stopped:
                return
            with self._lock:
                index, changes = self.index, self._changes
                centroids = index.centroids.copy()
            ids, lists = self._contents(index)
            with self._lock:
                if self._changes != changes:
                    return  # whoever removes something has the copy written afterwards
                self._saved = len(ids)
            write_copy(self._path, IndexCopy(self._memory_uuid, index.trained_on, centroids, ids, lists))

    def drop_copy(self) -> None:
        """Remove the copy, of an index that is too small to need one.

        Raises:
            OSError: the disk refused.
        """
        with self._saving:
            if not self._stopped:
                self._path.unlink(missing_ok=True)

    def ids(self) -> Ids:
        """Give the ids of all exemplars, ascending; not under the lock. What is added meanwhile may be in it."""
        return self._contents(self.index)[0]

    def _contents(self, index: ExemplarIndex) -> tuple[Ids, Ids]:
        """Give all ids, ascending, and the list of each; some lists at a time. What is added meanwhile may be in it."""
        pieces = []
        for first in range(0, len(index.centroids), _LISTS):
            with self._lock:
                pieces.append(index.contents(np.arange(first, min(first + _LISTS, len(index.centroids)))))
        ids, lists = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        order = np.argsort(ids)
        return ids[order], lists[order]

    def _train(self) -> None:
        with self._lock:
            self._arrived.clear()
            self._changed.clear()
            self._training = True
        try:
            ids, _ = self._contents(self.index)
            centroids = self._centroids(ids)
            if centroids is not None:
                self._fill(ExemplarIndex(self.index.dimension, centroids, len(ids), self.index.searchers), ids)
        finally:
            self._training = False

    def _fill(self, successor: ExemplarIndex, ids: Ids) -> None:
        """Add all exemplars to a successor, and put it in the index's place."""
        known = ids
        while True:
            for chunk, vectors in self._vectors(ids):
                if self._stopped:
                    return
                successor.add(chunk, vectors)
            with self._lock:
                gone = np.array(sorted(self._changed), np.int64)
            if len(gone):
                # They may have been among those that the centroids were trained on.
                successor.remove(gone)
                successor.recentre(np.arange(len(successor.centroids)))
            with self._lock:
                arrived = np.concatenate([known[:0], *self._arrived])
                self._arrived.clear()
                if len(arrived) <= _CAUGHT_UP:
                    self._take_over(successor, arrived)
                    return
            ids = np.setdiff1d(arrived, known)  # those added while the ids were read may be among both
            known = np.union1d(known, ids)

    def _take_over(self, successor: ExemplarIndex, missing: Ids) -> None:
        """Put the successor in the index's place, after what it missed; under the lock."""
        gone = np.array(sorted(changed for changed in self._changed if changed in successor), np.int64)
        lists = successor.lists_of(gone)
        stale = np.union1d(np.array(sorted(self._changed), np.int64), missing)
        successor.remove(stale)
        if len(gone):
            successor.recentre(lists)
        present = np.array([found for found in stale.tolist() if found in self.index], np.int64)
        if len(present):
            successor.add(present, self.index.embeddings(present))
        self.index = successor

    def _vectors(self, ids: Ids) -> Iterator[tuple[Ids, Matrix]]:
        """Read vectors, some at a time; those removed meanwhile are left out."""
        for first in range(0, len(ids), _CHUNK):
            chunk = ids[first : first + _CHUNK]
            with self._lock:
                if self._changed:
                    chunk = np.setdiff1d(chunk, np.array(sorted(self._changed), np.int64))
                vectors = self.index.embeddings(chunk)
            yield chunk, vectors

    def _centroids(self, ids: Ids) -> Matrix | None:
        """Train centroids on a share of the exemplars: float32 [L, D]; None if stopped."""
        number = lists_for(len(ids))
        chance = np.random.default_rng(len(ids))
        chosen = np.sort(chance.choice(ids, min(len(ids), _SAMPLES_PER_LIST * number), replace=False))
        sample = np.concatenate([vectors for _, vectors in self._vectors(chosen)])
        number = min(number, len(sample))  # fewer where most were removed meanwhile
        centroids: Matrix | None = None
        for _ in range(_ROUNDS):
            if self._stopped or not number:
                return None
            # a round at a time, so that a server that stops does not wait for all of them
            kmeans = faiss.Kmeans(
                self.index.dimension, number, niter=1, spherical=True, min_points_per_centroid=1, seed=number
            )
            kmeans.train(sample, init_centroids=centroids)
            centroids = np.asarray(kmeans.centroids)
        return centroids
