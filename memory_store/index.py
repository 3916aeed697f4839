"""The index over exemplars: proposes neighbours, never decides. A copy of what the journal holds.

FAISS lists of float16 vectors, which lose nothing of what is stored. While there are few exemplars there is one list,
and a search is exhaustive. Later each vector lies in the list of its nearest centroid (`memory_store.index_upkeep`
trains those aside), and a look reads the few lists nearest to the embedding.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
from numpy.typing import NDArray

from memory_store.records import Embedding

PROPOSALS = 4
"""Exemplars proposed for the exact comparison. The index computes in float32, so near ties may come in any order."""

LISTS_READ = 32
"""Lists that a look reads at least; `python -m benchmarks.store` shows what that finds."""

SHARE_READ = 64
"""One list in so many is read where that is more: at 10^6 exemplars, 32 of 4,096 miss 1 % of the repeats."""

CORES = len(os.sched_getaffinity(0))
"""Threads that can share the looks of a group."""

_SHARE = 8
"""Looks that are worth a thread."""

_BY_ID = 2
"""FAISS's DirectMap.Hashtable: vectors are found by id."""

_LIST_BITS = 32
"""The direct map gives the number of a list above these bits, and the place in it below."""

_WHOLE = False
"""Lists hold vectors, not what is left of them after their centroid, which would not be lossless."""

_IDS = False
"""A search gives ids, not places in lists."""

_SLICE = 65_536
"""Vectors that an exhaustive search reads before it lets others go on: some milliseconds."""

Ids = NDArray[np.int64]
Matrix = NDArray[np.float32]


class ExemplarIndex:
    """Embeddings of all exemplars by id. Not safe for several threads; the memory's lock sees to that."""

    def __init__(
        self,
        dimension: int,
        centroids: Matrix | None = None,
        trained_on: int = 0,
        searchers: ThreadPoolExecutor | None = None,
    ) -> None:
        """Begin empty.

        Args:
            dimension: D.
            centroids: float32 [L, D], one for each list; None for a single list.
            trained_on: exemplars there were when the centroids were trained.
            searchers: threads that share the looks of a group; None to look on the thread that asks.
        """
        self.dimension = dimension
        self.searchers = searchers
        self.trained_on = trained_on
        self._centroids = np.zeros((1, dimension), np.float32) if centroids is None else centroids
        self._quantizer = faiss.IndexFlatIP(dimension)
        self._quantizer.add(self._centroids)
        self._lists = faiss.IndexIVFScalarQuantizer(
            self._quantizer,
            dimension,
            len(self._centroids),
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            _WHOLE,
        )
        self._lists.is_trained = True  # float16 has nothing to learn
        self._lists.set_direct_map_type(_BY_ID)

    def __len__(self) -> int:
        """Count the exemplars."""
        return int(self._lists.ntotal)

    def __contains__(self, exemplar_id: int) -> bool:
        """Tell whether an exemplar is there."""
        try:
            self._lists.direct_map.get(exemplar_id)
        except RuntimeError:
            return False
        return True

    @property
    def centroids(self) -> Matrix:
        """float32 [L, D]."""
        return self._centroids

    def add(self, ids: Ids, embeddings: Matrix, lists: Ids | None = None) -> None:
        """Add exemplars.

        Args:
            ids: int64 [K].
            embeddings: float32 [K, D] with values of float16.
            lists: the list of each, int64 [K]; None: that of its nearest centroid.
        """
        if not len(ids):
            return
        _on_one_core()
        places = self.nearest_lists(embeddings) if lists is None else lists
        vectors, labels = np.ascontiguousarray(embeddings), np.ascontiguousarray(ids)
        self._lists.add_core(
            len(labels), faiss.swig_ptr(vectors), faiss.swig_ptr(labels), faiss.swig_ptr(np.ascontiguousarray(places))
        )

    def nearest_lists(self, embeddings: Matrix) -> Ids:
        """Give the list of the nearest centroid of each of K embeddings: int64 [K]."""
        _on_one_core()
        _, lists = self._quantizer.search(np.ascontiguousarray(embeddings), 1)
        return np.ascontiguousarray(lists[:, 0])

    def lists_of(self, ids: Ids) -> Ids:
        """Give the list that each of K exemplars lies in, int64 [K]; all of them must be there."""
        return np.array([self._lists.direct_map.get(found) >> _LIST_BITS for found in ids.tolist()], np.int64)

    def remove(self, ids: Ids) -> None:
        """Remove exemplars, int64 [K]; those that are not there are passed over."""
        self._lists.remove_ids(np.ascontiguousarray(ids))  # type: ignore[arg-type]  # faiss takes arrays of ids too

    def embedding(self, exemplar_id: int) -> Embedding:
        """Give back an embedding, bit for bit.

        Raises:
            LookupError: there is no such exemplar.
        """
        try:
            return np.asarray(self._lists.reconstruct(exemplar_id))
        except RuntimeError as error:
            raise LookupError(f"the index has no exemplar {exemplar_id}") from error

    def embeddings(self, ids: Ids) -> Matrix:
        """Give back embeddings, float32 [K, D]; all of them must be there."""
        if not len(ids):
            return np.empty((0, self.dimension), np.float32)
        return np.asarray(self._lists.reconstruct_batch(np.ascontiguousarray(ids)))

    def propose(self, embeddings: Matrix) -> list[tuple[Ids, NDArray[np.float32]]]:
        """Propose exemplars that are like some embeddings.

        Args:
            embeddings: float32 [B, D].

        Returns:
            For each, the ids of up to PROPOSALS exemplars and their similarities in float32, most similar first.
        """
        if not len(self):
            return [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(embeddings)
        queries = np.ascontiguousarray(embeddings)
        if self.searchers is None or len(queries) < 2 * _SHARE:
            found = [self._search(queries)]
        else:
            parts = np.array_split(queries, min(CORES, len(queries) // _SHARE))
            found = list(self.searchers.map(self._search, parts))
        return [
            (row[row >= 0], near[row >= 0])
            for similarities, ids in found
            for row, near in zip(ids, similarities, strict=True)
        ]

    def propose_among(self, embedding: Embedding, among: NDArray[np.uint8]) -> tuple[Ids, NDArray[np.float32]]:
        """Propose exemplars that are like an embedding, of those with a bit set, as `propose` does.

        Args:
            embedding: float32 [D].
            among: a bit for each id, the lowest first; ids beyond it are left out.
        """
        if not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        similarities, ids = self._search(
            np.ascontiguousarray(embedding[None]), faiss.IDSelectorBitmap(len(among), faiss.swig_ptr(among))
        )
        return ids[0][ids[0] >= 0], similarities[0][ids[0] >= 0]

    def _search(self, embeddings: Matrix, among: faiss.IDSelector | None = None) -> tuple[NDArray[np.float32], Ids]:
        _on_one_core()
        lists = min(max(LISTS_READ, len(self._centroids) // SHARE_READ), len(self._centroids))
        similarities, ids = self._lists.search(embeddings, PROPOSALS, params=_reading(lists, among))
        return similarities, ids

    def slices(self) -> Iterator[Ids]:
        """Cut the lists into parts that are quickly searched: int64 [L'] each, numbers of lists."""
        sizes = [self._size(number) for number in range(len(self._centroids))]
        ends = np.flatnonzero(np.diff(np.cumsum(sizes) // _SLICE, append=-1)) + 1
        first = 0
        for end in ends.tolist():
            yield np.arange(first, end)
            first = end

    def search(self, embedding: Embedding, number: int, lists: Ids, among: Ids | None) -> list[tuple[int, Embedding]]:
        """Find the most similar exemplars in some lists, exhaustively.

        Args:
            embedding: float32 [D].
            number: how many at most.
            lists: which lists, as `slices` gives them.
            among: only these ids; None for all.
        """
        _on_one_core()
        parameters = _reading(len(lists), None if among is None else faiss.IDSelectorBatch(among))
        query = np.ascontiguousarray(embedding, np.float32)
        unused = np.zeros(len(lists), np.float32)
        similarities, ids = np.empty(number, np.float32), np.empty(number, np.int64)
        arrays = [faiss.swig_ptr(array) for array in (lists, unused, similarities, ids)]
        self._lists.search_preassigned_c(  # type: ignore[attr-defined]  # faiss's own call beneath its Python one
            1, faiss.swig_ptr(query), number, *arrays, _IDS, parameters
        )
        return [(int(found), self.embedding(int(found))) for found in ids if found >= 0]

    def contents(self, lists: Ids) -> tuple[Ids, Ids]:
        """Give the ids in some lists, in no order, and the list of each: int64 [K] twice."""
        pieces = [np.empty(0, np.int64)]
        for number in lists.tolist():
            size = self._size(number)
            if size:
                pieces.append(self._ids(number))
            else:
                pieces.append(pieces[0])
        return np.concatenate(pieces), np.repeat(lists, [len(piece) for piece in pieces[1:]])

    def recentre(self, lists: Ids) -> None:
        """Make the centroids of some lists the means of what they hold, so that nothing removed shows in them."""
        for number in np.unique(lists).tolist():
            size = self._size(number)
            centroid = np.zeros(self.dimension, np.float32)
            if size and len(self._centroids) > 1:
                ids = self._ids(number)
                mean = self.embeddings(ids).mean(0)
                centroid = mean / np.linalg.norm(mean)
            self._centroids[number] = centroid
        self._quantizer.reset()
        self._quantizer.add(self._centroids)

    def _size(self, number: int) -> int:
        return int(self._lists.invlists.list_size(number))  # type: ignore[union-attr]  # there are lists always

    def _ids(self, number: int) -> Ids:
        """Copy the ids in a list that is not empty: the memory behind the pointer moves when the list grows."""
        lists = self._lists.invlists
        return np.array(faiss.rev_swig_ptr(lists.get_ids(number), self._size(number)))  # type: ignore[union-attr]


def _on_one_core() -> None:
    """Keep FAISS on the core of the thread that calls it.

    Its threads wait for each other by spinning; while the encoder has the cores that costs more than it gains.
    """
    faiss.omp_set_num_threads(1)


def _reading(lists: int, among: faiss.IDSelector | None = None) -> faiss.SearchParameters:
    return faiss.SearchParametersIVF(nprobe=lists, sel=among)  # type: ignore[call-arg]  # faiss takes attributes by name
