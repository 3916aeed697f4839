"""Queries about grown memories: held-out frames, moved as real frames move when they are cropped or made brighter.

Part of `benchmarks.read`. Shapes: Q queries, D width.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.footage import KINDS, Footage
from benchmarks.growth import Vectors
from benchmarks.read_growth import GrownStays


class Nudges:
    """By how much real frames move when their pictures are altered, for both ways of altering them."""

    def __init__(self, footages: Sequence[Footage]) -> None:
        """Take the queries of footages; each counts the same."""
        self._footages = footages

    def moved(self, vectors: Vectors, kind: str, rng: np.random.Generator) -> Vectors:
        """Move each vector as some frame moved: float32 [Q, D], unit length; a frame as it is does not.

        Args:
            vectors: float32 [Q, D].
            kind: one of KINDS.
            rng: chooses the frames.
        """
        moves = np.zeros_like(vectors)
        if kind != KINDS[0]:
            for row, place in enumerate(rng.integers(0, len(self._footages), len(vectors)).tolist()):
                queries = self._footages[place].queries
                number = int(rng.integers(len(queries[kind])))
                moves[row] = queries[kind][number] - queries[KINDS[0]][number % len(queries[KINDS[0]])]
        return unit(vectors + moves)


def questions(stays: GrownStays, number: int, nudges: Nudges, queries: int) -> Vectors:
    """Ask about frames of a grown memory that it was not shown, of each of KINDS in turn: float32 [Q, D].

    Args:
        stays: the memory's exemplars.
        number: how many there are.
        nudges: of real frames.
        queries: Q, at least.
    """
    rng = np.random.default_rng(number)
    of_each = -(-queries // len(KINDS))
    places = np.sort(rng.choice(number, (len(KINDS), of_each), replace=False), axis=1)
    by_kind = [nudges.moved(stays.held_out(some), kind, rng) for kind, some in zip(KINDS, places, strict=True)]
    return np.stack(by_kind, axis=1).reshape(-1, stays.dimension)


def turned(vectors: Vectors, distance: float, rng: np.random.Generator) -> Vectors:
    """Turn vectors in random directions, to a cosine distance: float32 [Q, D], unit length."""
    aside = rng.standard_normal(vectors.shape).astype(np.float32)
    aside = unit(aside - np.einsum("qd,qd->q", aside, vectors)[:, None] * vectors)
    return unit((1 - distance) * vectors + np.float32(np.sqrt(1 - (1 - distance) ** 2)) * aside)


def unit(vectors: Vectors) -> Vectors:
    """Scale vectors to unit length."""
    scaled: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled
