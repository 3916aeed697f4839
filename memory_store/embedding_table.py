"""The embeddings of all exemplars by their ids, in float16, which loses nothing of what is stored. A copy.

They stand in pieces in the order of their ids, so that growing copies nothing, and what is removed gives its room back.

Shapes: K exemplars, D width, P pieces.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import faiss
import numpy as np
from numpy.typing import NDArray

from memory_store.records import Embedding

_PIECE = 32_768
"""Embeddings in a piece: 16 MB of them, which are searched in half a millisecond."""

_WHOLE = False
"""Vectors are compared, not what is left of them after a centroid."""

_IDS = False
"""A search gives ids, not places in lists."""

_ARRAYS = ("ids", "vectors")

Ids = NDArray[np.int64]
Matrix = NDArray[np.float32]


@dataclass(slots=True)
class _Piece:
    """Some embeddings, the first `rows` of these arrays."""

    ids: Ids
    """Ascending: int64 [_PIECE], or as many as are left."""

    vectors: NDArray[np.float16]
    """float16 [_PIECE, D], or as many."""

    rows: int

    def find(self, ids: Ids) -> tuple[Ids, NDArray[np.bool_]]:
        """Give the row of each id, and whether it is there."""
        rows = np.searchsorted(self.ids[: self.rows], ids)
        there = self.ids[np.minimum(rows, self.rows - 1)] == ids
        return rows, there

    def chosen(self, rows: NDArray[np.bool_]) -> "_Piece":
        """Copy some of the rows."""
        ids = self.ids[: self.rows][rows]
        return _Piece(ids, self.vectors[: self.rows][rows], len(ids))


class EmbeddingTable:
    """Embeddings by id.

    Reading is safe for several threads while nothing is changed; the memory's lock sees to that.
    """

    def __init__(self, dimension: int) -> None:
        """Begin empty.

        Args:
            dimension: D.
        """
        self.dimension = dimension
        self._pieces: list[_Piece] = []
        self._firsts: list[int] = []
        """From which id on each piece has what there is: ascending."""
        self._number = 0
        # FAISS compares float16 where it stands; an index that holds nothing lends the code for it.
        self._quantizer = faiss.IndexFlatIP(dimension)
        self._codec = faiss.IndexIVFScalarQuantizer(
            self._quantizer,
            dimension,
            1,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            _WHOLE,
        )
        self._codec.is_trained = True  # float16 has nothing to learn

    def __len__(self) -> int:
        """Count the exemplars."""
        return self._number

    def __contains__(self, exemplar_id: int) -> bool:
        """Tell whether an exemplar is there."""
        return bool(self.present(np.array([exemplar_id]))[0])

    def ids(self) -> Ids:
        """Give all ids, ascending: int64 [K]."""
        return np.concatenate([np.empty(0, np.int64), *(piece.ids[: piece.rows] for piece in self._pieces)])

    def present(self, ids: Ids) -> NDArray[np.bool_]:
        """Tell which exemplars are there: bool [K]."""
        there = np.zeros(len(ids), np.bool_)
        for piece, places in self._by_piece(ids):
            _, there[places] = piece.find(ids[places])
        return there

    def embedding(self, exemplar_id: int) -> Embedding:
        """Give an embedding, bit for bit.

        Raises:
            LookupError: there is no such exemplar.
        """
        embedding: Embedding = self.embeddings(np.array([exemplar_id]))[0]
        return embedding

    def embeddings(self, ids: Ids) -> Matrix:
        """Give embeddings, bit for bit: float32 [K, D].

        Raises:
            LookupError: one of the exemplars is not there.
        """
        embeddings = np.empty((len(ids), self.dimension), np.float32)
        found = 0
        for piece, places in self._by_piece(ids):
            rows, there = piece.find(ids[places])
            if not there.all():
                break
            embeddings[places] = piece.vectors[rows]
            found += len(places)
        if found < len(ids):
            missing = ids[~self.present(ids)]
            raise LookupError(f"the index has no exemplar {missing[0]}")
        return embeddings

    def add(self, ids: Ids, embeddings: Matrix) -> None:
        """Add exemplars.

        Args:
            ids: int64 [K], ascending, larger than all there have been.
            embeddings: float32 [K, D] with values of float16.

        Raises:
            ValueError: ids are not ascending.
        """
        if not len(ids):
            return
        last = self._last_id
        if (last is not None and ids[0] <= last) or (np.diff(ids) <= 0).any():
            raise ValueError(f"expected ascending ids above {last}, got {ids[:5].tolist()} ...")
        done = 0
        while done < len(ids):
            if not self._pieces or self._pieces[-1].rows == len(self._pieces[-1].ids):
                room = _Piece(np.empty(_PIECE, np.int64), np.empty((_PIECE, self.dimension), np.float16), 0)
                self._pieces.append(room)
                self._firsts.append(int(ids[done]))
            piece = self._pieces[-1]
            some = slice(done, done + len(piece.ids) - piece.rows)
            end = piece.rows + len(ids[some])
            piece.ids[piece.rows : end], piece.vectors[piece.rows : end] = ids[some], embeddings[some]
            done += end - piece.rows
            piece.rows = end
        self._number += len(ids)

    def replace(self, ids: Ids, embeddings: Matrix) -> None:
        """Put other embeddings in the place of those of some exemplars.

        Raises:
            LookupError: one of them is not there; nothing was changed.
        """
        self.embeddings(ids)
        for piece, places in self._by_piece(ids):
            rows, _ = piece.find(ids[places])
            piece.vectors[rows] = embeddings[places]

    def remove(self, ids: Ids) -> None:
        """Remove exemplars; those that are not there are passed over."""
        for piece, places in list(self._by_piece(ids)):
            rows, there = piece.find(ids[places])
            left = np.ones(piece.rows, np.bool_)
            left[rows[there]] = False
            if left.all():
                continue
            self._number -= int((~left).sum())
            self._pieces[next(number for number, one in enumerate(self._pieces) if one is piece)] = piece.chosen(left)
        self._join()

    def _join(self) -> None:
        """Let go of empty pieces, and make one of two that have become small."""
        pieces: list[_Piece] = []
        firsts: list[int] = []
        for piece, first in zip(self._pieces, self._firsts, strict=True):
            if pieces and pieces[-1].rows + piece.rows <= _PIECE // 2:
                ids, vectors = ([getattr(one, name)[: one.rows] for one in (pieces[-1], piece)] for name in _ARRAYS)
                pieces[-1] = _Piece(np.concatenate(ids), np.concatenate(vectors), pieces[-1].rows + piece.rows)
            elif piece.rows:
                pieces.append(piece)
                firsts.append(first)
        self._pieces, self._firsts = pieces, firsts

    def slices(self) -> list[tuple[int, int]]:
        """Cut what is there into parts that are quickly searched: the first id of each, and the first of the next."""
        firsts = [*self._firsts, 2**63 - 1]
        return list(pairwise(firsts))

    def search(
        self, queries: Matrix, number: int, part: tuple[int, int] | None = None, among: faiss.IDSelector | None = None
    ) -> tuple[Matrix, Ids]:
        """Find the most similar exemplars to each of Q queries, exhaustively, in no order.

        Args:
            queries: float32 [Q, D].
            number: how many at most.
            part: only those with ids from the first to before the second, or a few more; None for all.
            among: only ids that it selects; None for all.

        Returns:
            Similarities in float32 and ids, [Q, number] each; -inf and -1 where there are no more.
        """
        similarities = np.full((len(queries), number), -np.inf, np.float32)
        ids = np.full((len(queries), number), -1, np.int64)
        begin, end = (0, len(self._pieces)) if part is None else self._overlapping(*part)
        scanner = self._codec.get_InvertedListScanner(_IDS, among, None)
        try:
            for row, query in enumerate(np.ascontiguousarray(queries)):
                scanner.set_query(faiss.swig_ptr(query))
                scanner.set_list(0, 0.0)
                for piece in self._pieces[begin:end]:
                    scanner.scan_codes(
                        piece.rows,
                        faiss.swig_ptr(piece.vectors.view(np.uint8)),
                        faiss.swig_ptr(piece.ids),
                        faiss.swig_ptr(similarities[row]),
                        faiss.swig_ptr(ids[row]),
                        number,
                    )
        finally:
            # It is for the caller to free, and letting SWIG own it breaks the type for all (faiss 1.15.1).
            type(scanner).__swig_destroy__(scanner)
        return similarities, ids

    @property
    def _last_id(self) -> int | None:
        return None if not self._pieces else int(self._pieces[-1].ids[self._pieces[-1].rows - 1])

    def _overlapping(self, first: int, end: int) -> tuple[int, int]:
        """Find the pieces that may hold ids from the first to before the end."""
        return max(0, bisect_right(self._firsts, first) - 1), bisect_right(self._firsts, end - 1)

    def _by_piece(self, ids: Ids) -> Iterator[tuple[_Piece, Ids]]:
        """Sort ids by the piece that they may be in: the piece, and their places in `ids`."""
        if len(self._pieces) == 1:
            yield self._pieces[0], np.arange(len(ids))
            return
        numbers = np.searchsorted(self._firsts, ids, side="right") - 1
        if len(ids) == 1:
            if numbers[0] >= 0:
                yield self._pieces[int(numbers[0])], np.zeros(1, np.int64)
            return
        order = np.argsort(numbers, kind="stable")
        edges = np.searchsorted(numbers[order], np.arange(len(self._pieces) + 1))
        for number in np.flatnonzero(np.diff(edges)).tolist():
            yield self._pieces[number], order[edges[number] : edges[number + 1]]
