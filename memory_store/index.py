"""The index over exemplars: proposes neighbours, never decides. A copy of what the journal holds."""

import faiss
import numpy as np
from numpy.typing import NDArray

from memory_store.records import Embedding

PROPOSALS = 4
"""Exemplars proposed for the exact comparison. The index computes in float32, so near ties may come in any order."""


class ExemplarIndex:
    """Embeddings of all exemplars by id, in a FAISS index that searches exhaustively.

    Not safe for use by several threads while `add` runs; the memory's lock sees to that.
    """

    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    def __len__(self) -> int:
        """Count the exemplars."""
        return int(self._index.ntotal)

    def add(self, ids: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
        """Add exemplars: int64 [K], float32 [K, D]."""
        self._index.add_with_ids(embeddings, ids)

    def embedding(self, exemplar_id: int) -> Embedding:
        """Give back an embedding, bit for bit.

        Raises:
            RuntimeError: there is no such exemplar.
        """
        return np.asarray(self._index.reconstruct(exemplar_id))

    def propose(
        self, embedding: Embedding, number: int, among: NDArray[np.int64] | None = None
    ) -> list[tuple[int, Embedding]]:
        """Propose the most similar exemplars, most similar first.

        Args:
            embedding: float32 [D].
            number: how many at most.
            among: only these ids; None for all.
        """
        number = min(number, len(self) if among is None else len(among))
        if number < 1:
            return []
        parameters = None if among is None else faiss.SearchParameters(sel=faiss.IDSelectorBatch(among))  # type: ignore[call-arg]  # faiss takes attributes by name
        _, ids = self._index.search(embedding[None], number, params=parameters)
        return [(int(found), self.embedding(int(found))) for found in ids[0] if found >= 0]
