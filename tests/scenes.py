"""Embeddings as the encoder gives them: in numbers of float16, and of length 1."""

import numpy as np

from memory_store.records import Embedding

_LENGTH_TOLERANCE = 5e-5
"""Half of what a memory takes: of few numbers, rounding them can move the length by more."""


def drawn(chance: np.random.Generator, dimension: int, around: Embedding | None = None, by: float = 0.0) -> Embedding:
    """Draw a scene, or one that is like another: away from it by about `by` times the root of the dimension."""
    while True:
        vector = chance.normal(size=dimension)
        if around is not None:
            vector = around + by * vector
        embedding: Embedding = (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)
        if abs(np.linalg.norm(embedding.astype(np.float64)) - 1) < _LENGTH_TOLERANCE:
            return embedding


def walk(dimension: int, seed: int, number: int, by: float = 0.06) -> list[Embedding]:
    """Draw scenes that drift, and now and then come back to where they were."""
    chance = np.random.default_rng(seed)
    seen = [drawn(chance, dimension)]
    while len(seen) < number:
        around = seen[int(chance.integers(len(seen)))] if chance.random() < 0.05 else seen[-1]
        seen.append(drawn(chance, dimension, around, by))
    return seen
