"""Vectors as they are stored: embeddings in float16, means in float32, little-endian, with checksums; their sums."""

import zlib

import numpy as np
from numpy.typing import NDArray

from memory_store.records import Embedding


def as_stored(embedding: Embedding) -> Embedding:
    """Round an embedding to what storing it keeps: float32 [D] with values of float16.

    The encoder gives such values; for those nothing changes.
    """
    rounded: Embedding = embedding.astype(np.float16).astype(np.float32)
    return rounded


def embedding_blob(embedding: Embedding) -> bytes:
    """Write an embedding: float32 [D] with values of float16, lossless."""
    return embedding.astype("<f2").tobytes()


def mean_blob(mean: Embedding) -> bytes:
    """Write a mean: float32 [D]."""
    return mean.astype("<f4", copy=False).tobytes()


def embedding_from(blob: bytes, checksum: int) -> Embedding:
    """Read an embedding.

    Raises:
        ValueError: it is not what was written.
    """
    return np.frombuffer(checked(blob, checksum), "<f2").astype(np.float32)


def mean_from(blob: bytes, checksum: int) -> Embedding:
    """Read a mean.

    Raises:
        ValueError: it is not what was written.
    """
    return np.frombuffer(checked(blob, checksum), "<f4")


def matrix_from(blobs: list[bytes], checksums: list[int], kind: str) -> NDArray[np.float32]:
    """Read K vectors of equal length, `kind` "<f2" or "<f4": float32 [K, D].

    Raises:
        ValueError: they are not what was written.
    """
    if list(map(zlib.crc32, blobs)) != checksums:
        raise ValueError("a stored vector does not have its checksum")
    return np.frombuffer(b"".join(blobs), kind).reshape(len(blobs), -1).astype(np.float32, copy=False)


def checked(blob: bytes, checksum: int) -> bytes:
    """Let stored bytes through.

    Raises:
        ValueError: they are not what was written.
    """
    if zlib.crc32(blob) != checksum:
        raise ValueError(f"expected stored bytes with checksum {checksum}, got {zlib.crc32(blob)}")
    return blob


def add_by(
    sums: NDArray[np.float64], of: NDArray[np.int64], vectors: NDArray[np.float32] | NDArray[np.float64]
) -> None:
    """Add each of K vectors, [K, D], to the one of some sums that it is of: float64 [S, D], in place."""
    order = np.argsort(of, kind="stable")
    begins = np.flatnonzero(np.diff(of[order], prepend=-1))
    if len(begins):
        sums[of[order][begins]] += np.add.reduceat(vectors[order].astype(np.float64), begins, axis=0)
