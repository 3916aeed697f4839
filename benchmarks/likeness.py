"""How the grown stream compares with the real encodings it was grown from; and what is truly near, by exact search."""

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figures, share_of
from benchmarks.growth import STRIDE_FRAMES, GrownStream, Rows, Stretch, Vectors
from memory_store.novelty import distance

LAGS_FRAMES = (1, 5, STRIDE_FRAMES)

_STRETCHES = 4
"""Stretches that are looked at: some ten thousand rows."""

_CHUNK = 65_536
"""Exemplars in memory at a time."""

_SAMPLE = 1000
"""Exemplars whose nearest other is looked for."""

_PROPOSALS = 8
"""Of a search in float32; the exact distance decides among them."""

Novelties = NDArray[np.float64]


def exact_novelties(queries: Vectors, exemplars: Rows, rank: int = 0) -> Novelties:
    """Give the novelty of each of Q queries to the nearest of all exemplars, by exhaustive search: float64 [Q].

    Args:
        queries: float32 [Q, D].
        exemplars: all of them.
        rank: 1 for the second nearest, where the queries are exemplars themselves.
    """
    near = np.full((len(queries), _PROPOSALS), 2.0)
    for begin in range(0, len(exemplars), _CHUNK):
        chunk = exemplars.read(begin, begin + _CHUNK)
        number = min(_PROPOSALS, len(chunk))
        _, places = faiss.knn(queries, chunk, number, metric=faiss.METRIC_INNER_PRODUCT)
        found = [[distance(query, chunk[place]) for place in row] for query, row in zip(queries, places, strict=True)]
        near = np.sort(np.concatenate([near, np.array(found)], axis=1), axis=1)[:, :_PROPOSALS]
    nearest: Novelties = near[:, rank]
    return nearest


def likeness_of_streams(sequences: Sequence[Vectors], stream: GrownStream, threshold: float) -> list[Figures]:
    """Compare the real sequences and what is grown from them: one row each."""
    stretches = [stream.stretch(number) for number in range(_STRETCHES)]
    real = np.concatenate(sequences)
    kept = _kept(real, threshold)
    similarities = kept @ kept.T
    np.fill_diagonal(similarities, -1)
    nearest = {"number": len(kept)} | _nearest_other(1 - similarities.max(1))
    own = _described("real", real, {lag: _lagged_real(sequences, lag) for lag in LAGS_FRAMES})
    own |= {f"exemplar_{name}": figure for name, figure in nearest.items()}
    grown = np.concatenate([stretch.frames for stretch in stretches])
    return [own, _described("grown", grown, {lag: _lagged_grown(stretches, lag) for lag in LAGS_FRAMES})]


def _described(name: str, vectors: Vectors, lagged: dict[int, NDArray[np.floating]]) -> Figures:
    """Tell how vectors move from frame to frame, and how they spread."""
    row: Figures = {"vectors": name, "number": len(vectors)}
    for lag, novelties in lagged.items():
        row |= {f"novelty_after_{lag}_frames_p{percent}": _percentile(novelties, percent) for percent in (10, 50, 90)}
    variances = np.linalg.eigvalsh(np.cov(vectors.T, dtype=np.float64))[::-1]
    explained = np.cumsum(variances) / variances.sum()
    row["mean_length"] = round(float(np.linalg.norm(vectors.mean(0))), 4)
    row["effective_dimension"] = round(float(variances.sum() ** 2 / np.square(variances).sum()), 1)
    for percent in (50, 90, 99):
        row[f"dimensions_of_{percent}_percent"] = int(np.searchsorted(explained, percent / 100)) + 1
    return row


def likeness_of_exemplars(exemplars: Rows, threshold: float) -> Figures:
    """Tell how near each other the exemplars of a grown memory lie, by a sample of them.

    Those within the threshold of another were kept because a look missed the other.
    """
    places = np.sort(np.random.default_rng(0).choice(len(exemplars), min(_SAMPLE, len(exemplars)), replace=False))
    sample = np.concatenate([exemplars.read(place, place + 1) for place in places.tolist()])
    novelties = exact_novelties(sample, exemplars, rank=1)
    missed = share_of(int((novelties <= threshold).sum()), len(novelties))
    return {"number": len(exemplars), "within_threshold": missed} | _nearest_other(novelties)


def _nearest_other(novelties: NDArray[np.floating]) -> Figures:
    return {f"nearest_other_p{percent}": _percentile(novelties, percent) for percent in (1, 10, 50, 90, 99)}


def _percentile(novelties: NDArray[np.floating], percent: int) -> float:
    return round(float(np.percentile(novelties, percent)), 4)


def _lagged_real(sequences: Sequence[Vectors], lag: int) -> NDArray[np.floating]:
    pairs = [(sequence[lag:], sequence[:-lag]) for sequence in sequences if len(sequence) > lag]
    return np.concatenate([1 - (later * earlier).sum(1) for later, earlier in pairs])


def _lagged_grown(stretches: Sequence[Stretch], lag: int) -> NDArray[np.floating]:
    novelties = []
    for stretch in stretches:
        if lag < STRIDE_FRAMES:
            novelties.append((1 - (stretch.frames * stretch.held_out).sum(1))[stretch.lags == lag])
        else:
            same_place = stretch.places[1:] == stretch.places[:-1]
            novelties.append((1 - (stretch.frames[1:] * stretch.frames[:-1]).sum(1))[same_place])
    return np.concatenate(novelties)


def _kept(vectors: Vectors, threshold: float) -> Vectors:
    """Keep what is novel, one after the other: float32 [K, D]."""
    kept = np.empty_like(vectors)
    number = 0
    for vector in vectors:
        if not number or 1 - float((kept[:number] @ vector).max()) > threshold:
            kept[number] = vector
            number += 1
    return kept[:number]
