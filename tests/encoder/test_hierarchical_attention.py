"""The whole read, against one softmax over all stays written out in float64; what is asked of attention.

Reads of a part are in `test_sampled_read.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoder.hierarchical_attention import attend
from encoder.memory_view import Numbers, Strata, Vector
from encoder.reading import BLIND_STAYS, DEFAULT_STAYS, LEAST_STAYS, Effort, Reading
from inside import HandMadeInside

TEMPERATURES = [0.0, 1.0, 10.0, 50.0, 100.0]
DIRECTIONS = 32
WHOLE = Effort()


@dataclass(frozen=True, slots=True)
class Stays:
    """A `MemoryView` built by hand, to be read whole: it has nothing else."""

    means: Sequence[Vector]
    """In pieces."""
    frames: Numbers
    rows: Numbers

    @staticmethod
    def of(means: Vector, frames: Numbers, cuts: Sequence[int] = ()) -> "Stays":
        """Rows have gaps, as where stays are out of scope."""
        return Stays(np.split(means, cuts), frames, 3 * np.arange(len(frames)) + 5)

    @property
    def stay_count(self) -> int:
        return len(self.frames)

    @property
    def strata(self) -> Strata:
        raise AssertionError("expected all stays to be read")

    @property
    def loose(self) -> Numbers:
        raise AssertionError("expected all stays to be read")

    counting_share = 1.0

    def counting(self, rows: Numbers) -> NDArray[np.bool_]:
        raise AssertionError(f"expected all stays to be read, got {rows}")

    finds_needles: bool = False

    def needles(self, query: Vector, stays: int) -> tuple[Numbers, int]:
        raise AssertionError(f"expected all stays to be read, got {query}, {stays}")

    def read(self, rows: Numbers) -> tuple[Vector, Numbers]:
        raise AssertionError(f"expected all stays to be read, got {rows}")

    def inside(self, rows: Numbers) -> HandMadeInside:
        assert len(np.unique(rows)) == len(rows)
        return HandMadeInside.nothing(self.means[0].shape[1])

    def whole(self) -> Iterator[tuple[Numbers, Vector, Numbers]]:
        begin = 0
        for means in self.means:
            end = begin + len(means)
            yield self.rows[begin:end], means, self.frames[begin:end]
            begin = end


def _unit(chance: np.random.Generator, number: int, width: int) -> NDArray[np.float64]:
    drawn = chance.normal(size=(number, width))
    unit: NDArray[np.float64] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _stays(seed: int, number: int, width: int, pieces: int, most_frames: int = 10_000) -> Stays:
    """Means of any length up to 1; those of single frames are of length 1."""
    chance = np.random.default_rng(seed)
    frames = chance.integers(1, most_frames + 1, number)
    lengths = np.where(frames > 1, chance.uniform(0.5, 1, number), 1)
    cuts = np.sort(chance.integers(0, number + 1, pieces - 1)).tolist()
    return Stays.of((_unit(chance, number, width) * lengths[:, None]).astype(np.float32), frames, cuts)


def _query(seed: int, width: int, inverse_temperature: float) -> Vector:
    [drawn] = _unit(np.random.default_rng([seed, 1]), 1, width)
    query: Vector = (inverse_temperature * drawn).astype(np.float32)
    return query


def _plainly(query: Vector, view: Stays) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Context vector, weights and log mass by a single softmax over stays, a stay at a time."""
    subject = query.astype(np.float64)
    logs, tilted = [], []
    for mean, frames in zip(np.concatenate(view.means).astype(np.float64), view.frames.tolist(), strict=True):
        length, along, most = float(mean @ mean), float(mean @ subject), log(frames)
        across = subject - along / length * mean
        spread = max(0.0, 1 - length) / DIRECTIONS if frames > 1 else 0.0
        variance = spread * float(across @ across)
        within = variance <= 2 * most
        logs.append(most + along + (variance / 2 if within else sqrt(2 * variance * most) - most))
        tilted.append(mean + across * spread * (1 if within else sqrt(2 * most / variance)))
    masses = np.exp(np.array(logs) - max(logs))
    weights = masses / masses.sum()
    return weights @ np.array(tilted), weights, max(logs) + log(masses.sum())


def _check(reading: Reading, query: Vector, view: Stays) -> None:
    context, weights, log_mass = _plainly(query, view)
    np.testing.assert_allclose(reading.context_vector, context, atol=1e-5)
    np.testing.assert_allclose(reading.weights, weights, atol=1e-5)
    assert reading.context_vector.dtype == np.float32
    assert reading.weights.sum() == pytest.approx(1, abs=1e-9)
    assert reading.log_mass == pytest.approx(log_mass, abs=1e-4)
    positive = weights[weights > 0]
    assert reading.effective_stays == pytest.approx(np.exp(-(positive * np.log(positive)).sum()), rel=1e-3)
    np.testing.assert_array_equal(reading.shares, reading.weights)
    np.testing.assert_array_equal(reading.rows, view.rows)
    assert (reading.reading_error, reading.opened_share, reading.touched) == (0, 1, view.stay_count)


@pytest.mark.parametrize("inverse_temperature", TEMPERATURES)
@pytest.mark.parametrize("number", [1, 7, 2500])
def test_the_whole_read_is_one_softmax_over_all_stays(number: int, inverse_temperature: float) -> None:
    view, query = _stays(number, number, 32, pieces=2), _query(3, 32, inverse_temperature)

    _check(attend(query, view, WHOLE, 0), query, view)


@given(
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(1, 60),
    pieces=st.integers(1, 5),
    most_frames=st.sampled_from([1, 3, 10_000]),
    inverse_temperature=st.floats(0, 100),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_it_is_one_softmax_however_the_stays_are_cut_into_pieces(
    seed: int, number: int, pieces: int, most_frames: int, inverse_temperature: float
) -> None:
    view, query = _stays(seed, number, 8, pieces, most_frames), _query(seed, 8, inverse_temperature)

    _check(attend(query, view, WHOLE, 0), query, view)


@pytest.mark.parametrize("inverse_temperature", TEMPERATURES)
def test_where_every_stay_is_a_frame_it_is_the_softmax_over_all_frames(inverse_temperature: float) -> None:
    view = _stays(8, 500, 32, pieces=3, most_frames=1)
    query = _query(8, 32, inverse_temperature)
    frames = np.concatenate(view.means).astype(np.float64)
    masses = np.exp(frames @ query.astype(np.float64))

    reading = attend(query, view, WHOLE, 0)

    np.testing.assert_allclose(reading.context_vector, masses @ frames / masses.sum(), atol=2e-6)
    assert reading.log_mass == pytest.approx(np.log(masses.sum()), abs=1e-5)
    assert reading.storing_error == 0


def test_a_stay_of_many_equal_frames_weighs_as_much_as_as_many_stays_of_one() -> None:
    query = _query(5, 8, 7.0)
    one, other = _unit(np.random.default_rng(6), 2, 8).astype(np.float32)
    apart = Stays.of(np.array([one, one, one, other]), np.array([1, 1, 1, 1]))
    together = Stays.of(np.array([one, other]), np.array([3, 1]))

    first, second = (attend(query, view, WHOLE, 0) for view in (apart, together))

    np.testing.assert_allclose(first.context_vector, second.context_vector, atol=1e-6)
    assert first.weights[:3].sum() == pytest.approx(second.weights[0], abs=1e-7)


def test_at_inverse_temperature_0_every_frame_weighs_the_same() -> None:
    view = _stays(9, 35, 8, pieces=3)

    reading = attend(_query(9, 8, 0.0), view, WHOLE, 0)

    np.testing.assert_allclose(reading.weights, view.frames / view.frames.sum(), rtol=1e-12)
    mean = view.frames @ np.concatenate(view.means) / view.frames.sum()
    np.testing.assert_allclose(reading.context_vector, mean, atol=1e-6)


@pytest.mark.parametrize("inverse_temperature", [1e4, 1e6])
def test_at_large_inverse_temperatures_the_most_similar_frame_takes_all_without_overflow(
    inverse_temperature: float,
) -> None:
    view = _stays(4, 320, 16, pieces=2, most_frames=1)
    means = np.concatenate(view.means)

    for query in (_query(4, 16, inverse_temperature), -_query(4, 16, inverse_temperature)):
        reading = attend(query, view, WHOLE, 0)

        best = int(np.argmax(means @ query))
        assert reading.weights[best] == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(reading.context_vector, means[best], atol=2e-3)


@given(seed=st.integers(0, 2**32 - 1), inverse_temperature=st.floats(100, 1e6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_the_context_vector_is_never_longer_than_a_frame(seed: int, inverse_temperature: float) -> None:
    reading = attend(_query(seed, 8, inverse_temperature), _stays(seed, 50, 8, pieces=1), WHOLE, 0)

    assert np.linalg.norm(reading.context_vector) <= 1 + 1e-3
    assert np.isfinite([reading.storing_error, reading.log_mass, reading.effective_stays]).all()


def _drifting(chance: np.random.Generator, scene: NDArray[np.float64]) -> NDArray[np.float64]:
    """Up to 60 frames of a scene, each like the next, that drift over 32 of the 48 directions: [M, 48], unit length."""
    knots = chance.normal(size=(3, 48)) * np.r_[np.ones(DIRECTIONS + 1), np.zeros(47 - DIRECTIONS)]
    at = np.linspace(0, 2, int(chance.integers(1, 60)))[:, None]
    away = np.where(at < 1, (1 - at) * knots[0] + at * knots[1], (2 - at) * knots[1] + (at - 1) * knots[2])
    away -= np.outer(away @ scene, scene)
    frames = scene + away * sqrt(chance.uniform(0.01, 0.1) / DIRECTIONS)
    unit: NDArray[np.float64] = frames / np.linalg.norm(frames, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize(("inverse_temperature", "times_too_large"), [(5.0, 40), (20.0, 15), (50.0, 6), (100.0, 6)])
def test_the_true_error_of_storing_means_is_within_the_stated_one(
    inverse_temperature: float, times_too_large: float
) -> None:
    """Against a softmax over every frame."""
    chance = np.random.default_rng(11)
    scenes = _unit(chance, 40, 48)
    stays = [_drifting(chance, scene) for scene in scenes[chance.integers(0, 40, 300)]]
    every = np.concatenate(stays)
    means = np.array([frames.mean(0) for frames in stays], np.float32)
    view = Stays.of(means, np.array([len(frames) for frames in stays]))
    held, times = [], []
    for scene in scenes:
        [towards] = _unit(chance, 1, 48) * 0.5 + scene
        query = (inverse_temperature * towards / np.linalg.norm(towards)).astype(np.float32)
        masses = np.exp(every @ query.astype(np.float64))
        context = masses @ every / masses.sum()

        reading = attend(query, view, WHOLE, 0)

        true = np.linalg.norm(reading.context_vector - context) / np.linalg.norm(context)
        held.append(true <= reading.storing_error)
        times.append(reading.storing_error / true)
    assert np.mean(held) >= 0.95
    assert np.median(times) <= times_too_large


def test_a_view_of_up_to_twice_the_stays_to_open_is_read_whole() -> None:
    view, query = _stays(12, 2 * LEAST_STAYS, 8, pieces=1), _query(12, 8, 10.0)

    for effort in (Effort(stays=LEAST_STAYS), Effort(stays=LEAST_STAYS, reading_error=1e-9)):
        _check(attend(query, view, effort, 0), query, view)

    larger = _stays(12, 2 * LEAST_STAYS + 1, 8, pieces=1)
    with pytest.raises(AssertionError, match="expected all stays to be read"):
        attend(query, larger, Effort(stays=LEAST_STAYS), 0)
    _check(attend(query, larger, Effort(stays=LEAST_STAYS, exact=True), 0), query, larger)


@pytest.mark.parametrize(("finds_needles", "opened"), [(True, DEFAULT_STAYS), (False, BLIND_STAYS)])
def test_more_is_opened_where_nothing_names_the_needles(opened: int, *, finds_needles: bool) -> None:
    view, larger = (replace(_stays(12, 2 * opened + more, 8, pieces=1), finds_needles=finds_needles) for more in (0, 1))
    query = _query(12, 8, 10.0)

    _check(attend(query, view, WHOLE, 0), query, view)
    with pytest.raises(AssertionError, match="expected all stays to be read"):
        attend(query, larger, WHOLE, 0)


def test_what_is_asked_for_must_make_sense() -> None:
    assert Effort() == Effort(stays=None, reading_error=None, exact=False, frames=None)
    assert Effort(LEAST_STAYS, 1.0).reading_error == 1
    with pytest.raises(ValueError, match="expected at least 1000 stays, got 999"):
        Effort(stays=999)
    with pytest.raises(ValueError, match="expected at least 0 frames, got -1"):
        Effort(frames=-1)
    for error in (0.0, -0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"expected an error in \(0, 1\], got"):
            Effort(reading_error=error)
