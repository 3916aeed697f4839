"""The index over exemplars: proposes neighbours, never decides. A copy of what the journal holds.

All embeddings stand in a table. While there are few exemplars a look compares with all of them; later it reads the
short codes of a few lists of exemplars that are alike (`memory_store.index_upkeep` has those made aside), and compares
with the embeddings of what they name.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
from numpy.typing import NDArray

from memory_store.code_lists import CodeLists
from memory_store.embedding_table import EmbeddingTable, Ids, Matrix
from memory_store.records import Embedding

PROPOSALS = 4
"""Exemplars proposed for the exact comparison. The index computes in float32, so near ties may come in any order."""

LISTS_READ = 64
"""Lists that a look reads at least; `python -m benchmarks.store` shows what that finds."""

SHARE_READ = 32
"""One list in so many is read where that is more."""

CANDIDATES = 16
"""Exemplars that codes name, whose embeddings are compared: of 4, some repeats are missed that 16 find."""

CORES = len(os.sched_getaffinity(0))
"""Threads that can share the looks of a group."""

_SHARE = 8
"""Looks that are worth a thread."""


class ExemplarIndex:
    """Embeddings of all exemplars by id. Not safe for several threads; the memory's lock sees to that."""

    def __init__(
        self,
        table: EmbeddingTable,
        lists: CodeLists | None = None,
        trained_on: int = 0,
        searchers: ThreadPoolExecutor | None = None,
    ) -> None:
        """Begin with what is in a table.

        Args:
            table: the embeddings.
            lists: hold the same exemplars; None to compare with all of them.
            trained_on: exemplars there were when the lists were made.
            searchers: threads that share the looks of a group; None to look on the thread that asks.
        """
        self.table = table
        """The embeddings."""
        self.lists = lists
        """Exemplars that are alike; None while there are few."""
        self.trained_on = trained_on
        """Exemplars there were when the lists were made."""
        self.searchers = searchers
        """Threads that share the looks of a group."""

    def empty_copy(self) -> "ExemplarIndex":
        """Give an index with nothing in it that looks for exemplars as this one does."""
        lists = None if self.lists is None else CodeLists(self.lists.centroids.copy(), self.lists.quantizer)
        return ExemplarIndex(EmbeddingTable(self.table.dimension), lists)

    def __len__(self) -> int:
        """Count the exemplars."""
        return len(self.table)

    def __contains__(self, exemplar_id: int) -> bool:
        """Tell whether an exemplar is there."""
        return exemplar_id in self.table

    def add(self, ids: Ids, embeddings: Matrix) -> None:
        """Add exemplars.

        Args:
            ids: int64 [K], ascending, larger than all there have been.
            embeddings: float32 [K, D] with values of float16.
        """
        self.table.add(ids, embeddings)
        if self.lists is not None:
            self.lists.add(ids, embeddings)

    def change(self, removed: Ids, moved: dict[int, Embedding]) -> None:
        """Remove exemplars, and put other embeddings in the place of those of some."""
        ids = np.array(list(moved), np.int64)
        gone = np.concatenate([removed, ids])
        places = None if self.lists is None else self.lists.lists_of(gone)  # which need not be the nearest any more
        self.table.remove(removed)
        if moved:
            self.table.replace(ids, np.stack(list(moved.values())))
        if self.lists is not None and places is not None:
            self.lists.remove(gone)
            self.lists.recentre(places, self.table)
            self.lists.add(ids, self.table.embeddings(ids))

    def embedding(self, exemplar_id: int) -> Embedding:
        """Give back an embedding, bit for bit.

        Raises:
            LookupError: there is no such exemplar.
        """
        return self.table.embedding(exemplar_id)

    def embeddings(self, ids: Ids) -> Matrix:
        """Give back embeddings, float32 [K, D].

        Raises:
            LookupError: one of the exemplars is not there.
        """
        return self.table.embeddings(ids)

    def propose(self, embeddings: Matrix) -> list[tuple[Ids, NDArray[np.float32]]]:
        """Propose exemplars that are like some embeddings.

        Args:
            embeddings: float32 [B, D].

        Returns:
            For each, the ids of up to PROPOSALS exemplars and their similarities in float32, most similar first.
        """
        return self._propose(np.ascontiguousarray(embeddings), None)

    def propose_among(self, embedding: Embedding, among: NDArray[np.uint8]) -> tuple[Ids, NDArray[np.float32]]:
        """Propose exemplars that are like an embedding, of those with a bit set, as `propose` does.

        Args:
            embedding: float32 [D].
            among: a bit for each id, the lowest first; ids beyond it are left out.
        """
        selected = faiss.IDSelectorBitmap(len(among), faiss.swig_ptr(among))
        [proposal] = self._propose(np.ascontiguousarray(embedding[None]), selected)
        return proposal

    def _propose(self, queries: Matrix, among: faiss.IDSelector | None) -> list[tuple[Ids, NDArray[np.float32]]]:
        if self.lists is None:
            similarities, ids = self._compared_with_all(queries, among)
        else:
            ids = self._candidates(self.lists, queries, among)
            similarities = self._similarities(queries, ids)
        similarities, ids = _most_similar(similarities, ids, PROPOSALS)
        return [(row[row >= 0], like[row >= 0]) for row, like in zip(ids, similarities, strict=True)]

    def _compared_with_all(self, queries: Matrix, among: faiss.IDSelector | None) -> tuple[Matrix, Ids]:
        """Find the most similar exemplars: [Q, PROPOSALS] each. Each thread takes some of the queries."""
        if self.searchers is None or len(queries) < 2 * _SHARE:
            return self.table.search(queries, PROPOSALS, among=among)
        parts = np.array_split(queries, min(CORES, len(queries) // _SHARE))
        found = self.searchers.map(lambda part: self.table.search(part, PROPOSALS, among=among), parts)
        similarities, ids = (np.concatenate(columns) for columns in zip(*found, strict=True))
        return similarities, ids

    def _candidates(self, lists: CodeLists, queries: Matrix, among: faiss.IDSelector | None) -> Ids:
        """Find exemplars by their codes: int64 [Q, CANDIDATES], -1 where there are no more.

        Each thread takes some of the lists, so that a list that many frames of a group have in common is read once.
        """
        number = len(lists.centroids)
        near = lists.near(queries, min(max(LISTS_READ, number // SHARE_READ), number))
        if self.searchers is None or len(queries) < 2 * _SHARE:
            return lists.search(queries, CANDIDATES, near, among)[1]
        parts = [np.where(near % CORES == part, near, -1) for part in range(CORES)]
        found = self.searchers.map(lambda part: lists.search(queries, CANDIDATES, part, among), parts)
        similarities, ids = (np.concatenate(columns, axis=1) for columns in zip(*found, strict=True))
        return _most_similar(np.where(ids >= 0, similarities, -np.inf), ids, CANDIDATES)[1]

    def _similarities(self, queries: Matrix, ids: Ids) -> Matrix:
        """Compare each of Q queries with its candidates: float32 [Q, K], -inf where there is none."""
        there = ids >= 0
        similarities = np.full(ids.shape, -np.inf, np.float32)
        query_of = np.nonzero(there)[0]
        similarities[there] = np.einsum("kd,kd->k", self.table.embeddings(ids[there]), queries[query_of])
        return similarities

    def slices(self) -> list[tuple[int, int]]:
        """Cut what is there into parts that are quickly searched; see `EmbeddingTable.slices`."""
        return self.table.slices()

    def search(
        self, embedding: Embedding, number: int, part: tuple[int, int], among: Ids | None
    ) -> list[tuple[int, Embedding]]:
        """Find the most similar exemplars in a part, exhaustively.

        Args:
            embedding: float32 [D].
            number: how many at most.
            part: as `slices` gives them.
            among: only these ids; None for all.
        """
        selected = None if among is None else faiss.IDSelectorBatch(among)
        _, found = self.table.search(embedding[None].astype(np.float32), number, part, selected)
        ids = found[0][found[0] >= 0]
        return list(zip(ids.tolist(), self.table.embeddings(ids), strict=True))


def _most_similar(similarities: Matrix, ids: Ids, number: int) -> tuple[Matrix, Ids]:
    """Choose the most similar of each row, most similar first: [Q, number] each."""
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :number]
    return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(ids, order, axis=1)
