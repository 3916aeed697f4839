"""Lists of exemplars that are alike, as short codes: from 10^4 exemplars on, what a look reads to propose some of them.

Each exemplar lies in the list of its nearest centroid, as 4 bits for each two of its numbers (product quantisation),
which FAISS's fast scan compares 32 at a time within registers (IndexIVFPQFastScan). Codes only tell which exemplars are
worth comparing; that is done on their embeddings. FAISS adds to such lists by searching for the nearest centroid once
more and tells nobody which it was; here codes are packed by the lists that were found, so that these are known.

Shapes: K exemplars, D width, L lists, C bytes of a code, Q queries.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from memory_store.embedding_table import EmbeddingTable, Ids, Matrix
from memory_store.records import Embedding
from memory_store.vectors import add_by

_SHARED = 2
"""Numbers that share 4 bits. With 4, half the bytes, more candidates find less."""

_BITS = 4

CODEBOOK_SAMPLES = 4096
"""Vectors that codes are fitted to; more find no more."""

_ROWS = 256
"""Embeddings compared with all centroids at a time, so that little stands in memory for it."""

_RECENTRED = 16
"""Lists whose embeddings are read at a time, for the same reason."""

_IDS = False
"""A search gives ids, not places in lists."""

Codes = NDArray[np.uint8]


def fitted(sample: Matrix) -> faiss.ProductQuantizer:
    """Fit codes to a sample of embeddings, float32 [N, D]; takes half a second at D = 256."""
    on_one_core()
    dimension = sample.shape[1]
    shared = _SHARED if dimension % _SHARED == 0 else 1
    quantizer = faiss.ProductQuantizer(dimension, dimension // shared, _BITS)
    quantizer.cp.min_points_per_centroid = 1  # fewer than FAISS would like do
    chance = np.random.default_rng(len(sample))
    chosen = chance.choice(len(sample), min(len(sample), CODEBOOK_SAMPLES), replace=False)
    # of fewer vectors than codes have values, some come more than once
    quantizer.train(np.resize(sample[np.sort(chosen)], (max(len(chosen), quantizer.ksub), dimension)))
    return quantizer


class CodeLists:
    """Exemplars in lists.

    Searching and making codes is safe for several threads while nothing else is done; the memory's lock sees to that.
    """

    def __init__(self, centroids: Matrix, quantizer: faiss.ProductQuantizer) -> None:
        """Begin empty.

        Args:
            centroids: float32 [L, D], one for each list.
            quantizer: makes codes; see `fitted`.
        """
        self.centroids = centroids
        """float32 [L, D]."""
        self.quantizer = quantizer
        """What makes codes."""
        number, dimension = centroids.shape
        self._coarse = faiss.IndexFlatIP(dimension)  # which FAISS asks for; numpy finds lists in half the time
        self._index = faiss.IndexIVFPQFastScan(
            self._coarse, dimension, number, quantizer.M, quantizer.nbits, faiss.METRIC_INNER_PRODUCT
        )
        self._index.by_residual = False
        self._index.pq = quantizer
        self._index.is_trained = True
        self._blocks = faiss.downcast_InvertedLists(self._index.invlists)  # type: ignore[arg-type]  # there are some
        self._packer = self._index.get_CodePacker()
        # which list each exemplar lies in: the first of these are in use, ids ascending
        self._ids = np.empty(1024, np.int64)
        self._numbers = np.empty(1024, np.int32)
        self._lately: dict[bytes, int] = {}
        """The nearest lists of the embeddings that were looked for last: what is added was looked for before."""

    def __len__(self) -> int:
        """Count the exemplars."""
        return int(self._index.ntotal)

    def contents(self) -> tuple[Ids, Ids]:
        """Give all ids, ascending, and the number of the list of each: int64 [K] twice."""
        return self._ids[: len(self)].copy(), self._numbers[: len(self)].astype(np.int64)

    def lists_of(self, ids: Ids) -> Ids:
        """Give the number of the list that each of K exemplars lies in: int64 [K].

        Raises:
            LookupError: one of them is not there.
        """
        places, there = self._find(ids)
        if not there.all():
            raise LookupError(f"exemplar {ids[~there][0]} is in no list")
        return self._numbers[places].astype(np.int64)

    def present(self, ids: Ids) -> NDArray[np.bool_]:
        """Tell which exemplars are there: bool [K]."""
        return self._find(ids)[1]

    def _find(self, ids: Ids) -> tuple[Ids, NDArray[np.bool_]]:
        """Give the place of each id among all, and whether it is there."""
        places = np.searchsorted(self._ids[: len(self)], ids)
        there = places < len(self)
        there[there] = self._ids[places[there]] == ids[there]
        return places, there

    def nearest(self, embeddings: Matrix) -> Ids:
        """Give the number of the list with the nearest centroid for each of K embeddings: int64 [K]."""
        lists = np.full(len(embeddings), -1, np.int64)
        if self._lately:
            lists[:] = [self._lately.get(embedding.tobytes(), -1) for embedding in embeddings]
        others = np.flatnonzero(lists < 0)
        for first in range(0, len(others), _ROWS):
            part = others[first : first + _ROWS]
            lists[part] = (embeddings[part] @ self.centroids.T).argmax(axis=1)
        return lists

    def codes(self, embeddings: Matrix) -> Codes:
        """Make the codes of K embeddings: uint8 [K, C]."""
        on_one_core()
        return np.asarray(self.quantizer.compute_codes(np.ascontiguousarray(embeddings)))

    def add(self, ids: Ids, embeddings: Matrix) -> None:
        """Add exemplars to the lists with the nearest centroids: ids int64 [K], embeddings float32 [K, D]."""
        if len(ids):
            self.put(ids, self.nearest(embeddings), self.codes(embeddings))

    def put(self, ids: Ids, lists: Ids, codes: Codes) -> None:
        """Add exemplars to certain lists.

        Args:
            ids: int64 [K]; none of them is there.
            lists: numbers of lists, int64 [K].
            codes: uint8 [K, C].
        """
        order = np.argsort(lists, kind="stable")
        begins = np.flatnonzero(np.diff(lists[order], prepend=-1))
        for places in np.split(order, begins[1:]) if len(ids) else ():
            self._extend(int(lists[places[0]]), ids[places], codes[places])
        self._note(ids, lists)
        self._index.ntotal += len(ids)

    def _extend(self, number: int, ids: Ids, codes: Codes) -> None:
        """Write ids and codes to the end of a list; codes lie in blocks, each a number of them side by side."""
        before = self._blocks.list_size(number)
        end = before + len(ids)
        self._blocks.resize(number, end)
        faiss.rev_swig_ptr(self._blocks.get_ids(number), end)[before:] = ids
        blocks = self._blocks.get_codes(number)
        together = self._packer.nvec
        if before:
            for place, code in enumerate(codes, start=before):
                self._packer.pack_1_c(faiss.swig_ptr(code), place, blocks)
            return
        padded = np.zeros((-(-end // together) * together, codes.shape[1]), np.uint8)
        padded[:end] = codes
        size = together * codes.shape[1]
        written = faiss.rev_swig_ptr(blocks, padded.size)
        for block, begin in enumerate(range(0, len(padded), together)):
            self._packer.pack_all(
                faiss.swig_ptr(padded[begin : begin + together]), faiss.swig_ptr(written[block * size :])
            )

    def _note(self, ids: Ids, lists: Ids) -> None:
        """Remember which lists exemplars were added to."""
        before, end = len(self), len(self) + len(ids)
        if end > len(self._ids):
            more = max(end - len(self._ids), len(self._ids) // 2)
            self._ids = np.concatenate([self._ids, np.empty(more, np.int64)])
            self._numbers = np.concatenate([self._numbers, np.empty(more, np.int32)])
        self._ids[before:end], self._numbers[before:end] = ids, lists
        behind = self._ids[max(0, before - 1) : end]
        if (np.diff(behind) <= 0).any():  # an exemplar came back that had been moved
            order = np.argsort(self._ids[:end], kind="stable")  # which is quick where most are in order
            self._ids[:end], self._numbers[:end] = self._ids[:end][order], self._numbers[:end][order]

    def remove(self, ids: Ids) -> None:
        """Remove exemplars; those that are not there are passed over."""
        places, there = self._find(ids)
        if not there.any():
            return
        for number in np.unique(self._numbers[places[there]]).tolist():
            self._shrink(number, ids[there])
        left = np.ones(len(self), np.bool_)
        left[places[there]] = False
        self._ids, self._numbers = self._ids[: len(self)][left], self._numbers[: len(self)][left]
        self._index.ntotal = len(self._ids)

    def _shrink(self, number: int, gone: Ids) -> None:
        """Put the last of a list in the place of each that goes."""
        end = self._blocks.list_size(number)
        ids, blocks = faiss.rev_swig_ptr(self._blocks.get_ids(number), end), self._blocks.get_codes(number)
        code = np.empty(self._packer.code_size, np.uint8)
        for place in np.flatnonzero(np.isin(ids, gone))[::-1].tolist():
            end -= 1
            ids[place] = ids[end]
            self._packer.unpack_1_c(blocks, end, faiss.swig_ptr(code))
            self._packer.pack_1_c(faiss.swig_ptr(code), place, blocks)
        self._blocks.resize(number, end)

    def recentre(self, lists: Ids, table: EmbeddingTable) -> None:
        """Make the centroids of some lists the means of what they hold, so that nothing removed shows in them."""
        numbers = np.unique(lists)
        for first in range(0, len(numbers), _RECENTRED):
            some = numbers[first : first + _RECENTRED]
            held = [self._held(number) for number in some.tolist()]
            ids, of = np.concatenate(held), np.repeat(np.arange(len(some)), [len(part) for part in held])
            there = table.present(ids)
            sums = np.zeros((len(some), table.dimension))
            add_by(sums, of[there], table.embeddings(ids[there]))
            self.centre(some, sums)

    def centre(self, lists: Ids, sums: NDArray[np.float64]) -> None:
        """Let the centroids of some lists, int64 [K], point where sums point, float64 [K, D]; nowhere if that is 0."""
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        self.centroids[lists] = sums / np.where(lengths > 0, lengths, 1.0)
        self._lately = {}

    def _held(self, number: int) -> Ids:
        size = self._blocks.list_size(number)
        return np.array(faiss.rev_swig_ptr(self._blocks.get_ids(number), size)) if size else np.empty(0, np.int64)

    def near(self, queries: Matrix, number: int) -> Ids:
        """Give so many lists with the nearest centroids for each of Q queries, in no order: int64 [Q, number]."""
        similarities = queries @ self.centroids.T  # [Q, L]
        self._lately = dict(zip((query.tobytes() for query in queries), similarities.argmax(axis=1), strict=True))
        return np.argpartition(similarities, -number, axis=1)[:, -number:]

    def named(self, query: Embedding, number: int, lists: Ids) -> Ids:
        """Name the exemplars in some lists, int64 [N], whose codes are most like a query, most similar first."""
        _, ids = self.search(query[None], number, lists[None])
        found: Ids = ids[0][ids[0] >= 0]
        return found

    def search(
        self, queries: Matrix, number: int, lists: Ids, among: faiss.IDSelector | None = None
    ) -> tuple[Matrix, Ids]:
        """Find exemplars whose codes are like each of Q queries.

        Args:
            queries: float32 [Q, D].
            number: how many at most.
            lists: those that are read for each, int64 [Q, N]; -1 for none.
            among: only ids that it selects; None for all.

        Returns:
            Similarities by codes, and ids, most similar first: float32 and int64 [Q, number]; -1 for none.
        """
        on_one_core()
        unused = np.zeros(lists.shape, np.float32)
        similarities = np.empty((len(queries), number), np.float32)
        ids = np.empty((len(queries), number), np.int64)
        given = [np.ascontiguousarray(array) for array in (queries, lists)]
        parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=among)  # type: ignore[call-arg]  # it takes these
        self._index.search_preassigned_c(  # type: ignore[attr-defined]  # faiss's own call beneath its Python one
            len(queries),
            faiss.swig_ptr(given[0]),
            number,
            faiss.swig_ptr(given[1]),
            *(faiss.swig_ptr(array) for array in (unused, similarities, ids)),
            _IDS,
            parameters,
        )
        return similarities, ids


def on_one_core() -> None:
    """Keep FAISS on the core of the thread that calls it.

    Its threads wait for each other by spinning; while the encoder has the cores that costs more than it gains.
    """
    faiss.omp_set_num_threads(1)
