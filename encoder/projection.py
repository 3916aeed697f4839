"""The projection between the global average and the embedding: 1280 channels to D components that keep distances.

The mean of all channels is kept exactly: channels are never negative, so a quarter to a third of the squared length of
real pictures lies along it, and what is kept exactly cannot be distorted. The rest goes onto rows of a Hadamard matrix
of order 1280, which are orthogonal to each other and to the mean. That is made by Paley's first construction (R. Paley,
On orthogonal matrices, 1933), from the squares modulo the prime 1279; a hash of a label chooses the rows.

Last, a reflection spreads the mean evenly over all components: as one large component it would cost most of the
precision that rounding to float16 leaves to the length.

Which numbers come out is part of the encoder's version. They are whole numbers put together by single additions,
multiplications, divisions and square roots, which round alike everywhere: no random number generator and no linear
algebra library has a part in them. `benchmarks/projection.py` measures what the projection costs.
"""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

CHANNELS = 1280
PROJECTION = "mean-and-hadamard"
"""Its name in the encoder's version, and the label that chooses the rows."""

_PRIME = CHANNELS - 1


def hadamard() -> NDArray[np.int8]:
    """Make the matrix of order 1280: entries 1 and -1, the first row all 1, rows orthogonal: int8 [1280, 1280]."""
    character = np.full(_PRIME, -1, np.int8)  # of a difference: 1 for a square modulo the prime, else -1
    character[[number * number % _PRIME for number in range(_PRIME)]] = 1  # 0 too, which makes the diagonal 1
    numbers = np.arange(_PRIME)
    matrix = np.ones((CHANNELS, CHANNELS), np.int8)
    matrix[1:, 0] = -1
    matrix[1:, 1:] = character[(numbers[:, None] - numbers) % _PRIME]
    return matrix


def projection(dimension: int, label: str = PROJECTION) -> NDArray[np.float32]:
    """Make the projection to D components.

    Args:
        dimension: D, in [2, 1280].
        label: chooses the rows of the Hadamard matrix.

    Returns:
        float32 [D, 1280]. Squared lengths keep their size on average over labels.
    """
    draws = np.frombuffer(hashlib.shake_256(label.encode()).digest(8 * _PRIME), "<u8")  # [1279]
    chosen = 1 + np.argsort(draws, kind="stable")[: dimension - 1]
    signs = hadamard()[chosen]  # [D - 1, 1280]
    total = signs.sum(0, dtype=np.int64)  # [1280]
    scale = math.sqrt(_PRIME / (dimension - 1))  # the part beside the mean has shrunk by this, on average
    root = math.sqrt(dimension)
    matrix = np.empty((dimension, CHANNELS))
    # The reflection that takes (1, 0, ..., 0) to (1, ..., 1) / root, applied to the mean and the scaled signs.
    matrix[0] = (1 + scale * total) / root
    matrix[1:] = 1 / root + scale * (signs - total / (dimension - root))
    return (matrix / math.sqrt(CHANNELS)).astype(np.float32)
