"""The level-by-level read, against one softmax over all stays written out in numpy and float64."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoder.hierarchical_attention import Reading, attend

TEMPERATURES = [0.0, 1.0, 10.0, 50.0, 100.0]


@dataclass(frozen=True, slots=True)
class Stays:
    """A `MemoryView` built by hand."""

    means: Sequence[NDArray[np.float32]]
    counts: NDArray[np.int64]
    parents: Sequence[NDArray[np.int64]]


def _stays(seed: int, streams: Sequence[int], fan_out: int, width: int, pieces: int) -> Stays:
    """Streams of so many stays each; blocks of `fan_out`, up to a single one a stream; means of any length up to 1."""
    random = np.random.default_rng(seed)
    number = sum(streams)
    means = random.normal(size=(number, width))
    means *= random.uniform(0.5, 1, (number, 1)) / np.linalg.norm(means, axis=1, keepdims=True)
    cuts = np.sort(random.integers(0, number + 1, pieces - 1))
    parents: list[NDArray[np.int64]] = []
    sizes = list(streams)
    while not parents or max(sizes) > 1:
        blocks = [-(-size // fan_out) for size in sizes]
        starts = np.cumsum([0, *blocks])
        places = [start + np.arange(size) // fan_out for start, size in zip(starts, sizes, strict=False)]
        parents.append(np.concatenate(places).astype(np.int64))
        sizes = blocks
    # Nothing says that the stays of a block stand together.
    order = random.permutation(number)
    return Stays(
        np.split(means.astype(np.float32)[order], cuts),
        random.integers(1, 10_000, number)[order],
        [parents[0][order], *parents[1:]],
    )


def _query(seed: int, width: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng([seed, 1]).normal(size=width)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def _flat(query: NDArray[np.float32], view: Stays, inverse_temperature: float) -> tuple[NDArray[np.float64], ...]:
    """Context vector and weights by a single softmax."""
    means = np.concatenate(view.means).astype(np.float64)
    logs = np.log(view.counts) + inverse_temperature * (means @ query.astype(np.float64))
    masses = np.exp(logs - logs.max())
    weights = masses / masses.sum()
    return weights @ means, weights


def _check(reading: Reading, query: NDArray[np.float32], view: Stays, inverse_temperature: float) -> None:
    context, weights = _flat(query, view, inverse_temperature)
    np.testing.assert_allclose(reading.context_vector, context, atol=1e-5)
    np.testing.assert_allclose(reading.stay_weights, weights, atol=1e-5)
    assert reading.context_vector.dtype == np.float32
    assert reading.stay_weights.sum() == pytest.approx(1, abs=1e-9)
    beneath = reading.stay_weights
    assert len(reading.block_weights) == len(view.parents)
    for parents, blocks in zip(view.parents, reading.block_weights, strict=True):
        np.testing.assert_allclose(blocks, np.bincount(parents, beneath), atol=1e-9)
        assert blocks.sum() == pytest.approx(1, abs=1e-9)
        beneath = blocks


@pytest.mark.parametrize("inverse_temperature", TEMPERATURES)
@pytest.mark.parametrize("streams", [[1], [7], [100], [101], [20_500], [1, 250, 10_001]])
def test_reading_level_by_level_is_one_softmax_over_all_stays(streams: list[int], inverse_temperature: float) -> None:
    view, query = _stays(len(streams), streams, 100, 32, pieces=2), _query(3, 32)

    _check(attend(query, view, inverse_temperature), query, view, inverse_temperature)


@given(
    seed=st.integers(0, 2**32 - 1),
    streams=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    fan_out=st.integers(2, 5),
    pieces=st.integers(1, 5),
    inverse_temperature=st.floats(0, 100),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_reading_is_one_softmax_whatever_the_forest_and_however_the_means_are_cut_into_pieces(
    seed: int, streams: list[int], fan_out: int, pieces: int, inverse_temperature: float
) -> None:
    view, query = _stays(seed, streams, fan_out, 8, pieces), _query(seed, 8)

    _check(attend(query, view, inverse_temperature), query, view, inverse_temperature)


def test_a_stay_of_many_frames_weighs_as_much_as_as_many_stays_of_one() -> None:
    query = _query(5, 8)
    one, other = _query(6, 8), _query(7, 8)
    apart = Stays([np.array([one, one, one, other])], np.array([1, 1, 1, 1]), [np.zeros(4, np.int64)])
    together = Stays([np.array([one, other])], np.array([3, 1]), [np.zeros(2, np.int64)])

    first, second = attend(query, apart, 7.0), attend(query, together, 7.0)

    np.testing.assert_allclose(first.context_vector, second.context_vector, atol=1e-6)
    assert first.stay_weights[:3].sum() == pytest.approx(second.stay_weights[0], abs=1e-7)


def test_at_inverse_temperature_0_every_frame_weighs_the_same() -> None:
    view = _stays(9, [30, 5], 4, 8, pieces=3)

    reading = attend(_query(9, 8), view, 0.0)

    np.testing.assert_allclose(reading.stay_weights, view.counts / view.counts.sum(), rtol=1e-12)


@pytest.mark.parametrize("inverse_temperature", [1e3, 1e6, 1e30])
def test_at_large_inverse_temperatures_the_most_similar_stay_takes_all_without_overflow(
    inverse_temperature: float,
) -> None:
    view, query = _stays(4, [300, 20], 10, 16, pieces=2), _query(4, 16)
    means = np.concatenate(view.means)

    for signed in (query, -query):
        reading = attend(signed, view, inverse_temperature)

        best = int(np.argmax(means @ signed))
        assert reading.stay_weights[best] == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(reading.context_vector, means[best], atol=2e-3)
        assert all(np.isfinite(blocks).all() for blocks in reading.block_weights)
