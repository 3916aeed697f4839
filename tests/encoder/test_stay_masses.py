"""What stays weigh: against loops in float64, and against frames that were really drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoder.stay_masses import StayMasses, growth_of, stay_masses

DIRECTIONS = 32
"""Over which the frames of a stay are taken to spread."""

some = settings(max_examples=50, deadline=None, derandomize=True)


def _growth(variance: float, frames: int) -> float:
    [found] = growth_of(np.array([variance]), np.array([frames]))
    return float(found)


@given(share=st.floats(0, 1), frames=st.integers(1, 10**9))
@some
def test_growth_is_half_the_variance_below_what_the_frames_can_hold(share: float, frames: int) -> None:
    variance = share * 2 * log(frames)

    assert _growth(variance, frames) == pytest.approx(variance / 2, abs=1e-12)


@given(times=st.floats(1, 100), frames=st.integers(2, 10**9))
@some
def test_beyond_it_growth_is_linear_in_the_inverse_temperature(times: float, frames: int) -> None:
    largest = sqrt(2 * log(frames))  # of so many normal draws, in standard deviations
    deviation = times * largest

    assert _growth(deviation**2, frames) == pytest.approx(deviation * largest - log(frames))
    assert _growth(deviation**2, frames) <= deviation**2 / 2 * (1 + 1e-12)


@pytest.mark.parametrize("frames", [2, 10, 1000, 10**6])
def test_growth_has_no_step_and_no_edge_where_it_becomes_linear(frames: int) -> None:
    edge, away = 2 * log(frames), 1e-6
    below, at, above = (_growth(edge + by, frames) for by in (-away, 0, away))

    assert below == pytest.approx(at, abs=1e-6)
    assert above == pytest.approx(at, abs=1e-6)
    assert (at - below) / away == pytest.approx(0.5, abs=1e-3)
    assert (above - at) / away == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("variance", [0.0, 1e-9, 1.0, 1e6])
def test_a_single_frame_does_not_grow(variance: float) -> None:
    assert _growth(variance, 1) == 0


def test_growth_is_what_normal_draws_hold() -> None:
    """The mean logarithm of the mean of exp over m draws; where few of them matter, it is a bound from above."""
    chance, frames = np.random.default_rng(1), 1000
    draws = chance.normal(size=(400, frames))
    for deviation in (0.3, 1.0, 2.0):
        held = np.log(np.exp(deviation * draws).mean(1)).mean()
        assert _growth(deviation**2, frames) == pytest.approx(held, abs=0.1)
    for deviation in (3.0, 5.0, 8.0):
        held = np.log(np.exp(deviation * draws).mean(1)).mean()
        assert held <= _growth(deviation**2, frames) <= held + 0.5 * deviation


def _unit(chance: np.random.Generator, number: int, width: int) -> NDArray[np.float64]:
    drawn = chance.normal(size=(number, width))
    unit: NDArray[np.float64] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def test_a_single_frame_weighs_what_it_weighs_whatever_rounding_made_of_its_length() -> None:
    chance = np.random.default_rng(2)
    means = _unit(chance, 200, 48).astype(np.float16).astype(np.float32)  # lengths to within 2^-11
    query = (50 * _unit(chance, 1, 48)[0]).astype(np.float32)

    masses = stay_masses(query, means, np.ones(200, np.int64))

    np.testing.assert_array_equal(masses.logs, masses.along)
    np.testing.assert_allclose(masses.logs, means.astype(np.float64) @ query.astype(np.float64), atol=2e-5)
    weights = chance.random(200)
    np.testing.assert_allclose(masses.weighted_sum(query, means, weights), weights @ means, atol=1e-5)
    doubts = masses.doubts(weights, np.ones(48), means.sum(1), np.array([3.0]), 2.0)
    np.testing.assert_array_equal(doubts, np.zeros(200))


@dataclass(frozen=True, slots=True)
class Stays:
    """Stays drawn at random, and a query."""

    query: NDArray[np.float32]
    means: NDArray[np.float32]
    frames: NDArray[np.int64]

    @staticmethod
    def drawn(seed: int, number: int, beta: float) -> "Stays":
        """Means of any length up to 1, some stays of one frame."""
        chance = np.random.default_rng(seed)
        frames = chance.integers(1, [4, 10_000][seed % 2], number)
        lengths = np.where(frames > 1, chance.uniform(0.5, 1, number), 1)
        means = (_unit(chance, number, 12) * lengths[:, None]).astype(np.float32)
        return Stays((beta * _unit(chance, 1, 12)[0]).astype(np.float32), means, frames)

    def plainly(self) -> Iterator[tuple[float, NDArray[np.float64], float]]:
        """Of each stay the logarithm of its mass, the mean of its frames as attention weighs them, and v."""
        query = self.query.astype(np.float64)
        for mean, frames in zip(self.means.astype(np.float64), self.frames.tolist(), strict=True):
            length, along = float(mean @ mean), float(query @ mean)
            if frames == 1:
                yield along, mean, 0.0
                continue
            spread = max(0.0, 1 - length)
            across = query - along / length * mean
            variance = spread * float(across @ across) / DIRECTIONS
            most = log(frames)
            if variance <= 2 * most:
                yield most + along + variance / 2, mean + spread / DIRECTIONS * across, variance
            else:
                tilt = sqrt(2 * most / variance)
                grown = sqrt(2 * variance * most) - most
                yield most + along + grown, mean + tilt * spread / DIRECTIONS * across, variance


@given(seed=st.integers(0, 2**32 - 1), number=st.integers(1, 40), beta=st.floats(0, 100))
@some
def test_masses_and_weighted_sums_are_those_of_a_loop(seed: int, number: int, beta: float) -> None:
    stays = Stays.drawn(seed, number, beta)
    weights = np.random.default_rng([seed, 1]).random(number)
    logs, tilted, variances = zip(*stays.plainly(), strict=True)

    masses = stay_masses(stays.query, stays.means, stays.frames)
    total = masses.weighted_sum(stays.query, stays.means, weights)

    np.testing.assert_allclose(masses.logs, logs, atol=1e-4)
    np.testing.assert_allclose(masses.variances, variances, atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(total, weights @ np.array(tilted), atol=1e-4)


@given(seed=st.integers(0, 2**32 - 1))
@some
def test_masses_can_be_put_together_and_taken_apart(seed: int) -> None:
    stays = Stays.drawn(seed, 30, 20)
    whole = stay_masses(stays.query, stays.means, stays.frames)
    cut = int(np.random.default_rng(seed).integers(0, 31))
    parts = [slice(None, cut), slice(cut, None)]

    joined = StayMasses.joined([stay_masses(stays.query, stays.means[p], stays.frames[p]) for p in parts])
    chosen = whole.chosen(np.array([7, 3, 3]))

    for name in ("logs", "frames", "along", "lengths", "variances"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), atol=1e-5)
        np.testing.assert_array_equal(getattr(chosen, name), getattr(whole, name)[[7, 3, 3]])


def test_other_variances_weigh_stays_again() -> None:
    stays = Stays.drawn(3, 30, 20)
    masses = stay_masses(stays.query, stays.means, stays.frames)

    again = masses.scattered(2.5, stays.frames)

    pairs = zip(masses.variances.tolist(), stays.frames.tolist(), strict=True)
    growth = [_growth(2.5 * variance, frames) for variance, frames in pairs]
    np.testing.assert_allclose(again.logs, np.log(stays.frames) + masses.along + growth, atol=1e-9)
    np.testing.assert_allclose(masses.scattered(1, stays.frames).logs, masses.logs, atol=1e-9)


def test_distances_to_a_vector_come_from_lengths_and_products() -> None:
    stays = Stays.drawn(4, 30, 20)
    context = np.random.default_rng(5).normal(size=12)
    masses = stay_masses(stays.query, stays.means, stays.frames)

    found = masses.square_distances(context, (stays.means @ context).astype(np.float32))

    np.testing.assert_allclose(found, ((stays.means - context) ** 2).sum(1), atol=1e-5)


def _frames_of_a_stay(chance: np.random.Generator, number: int, spread: float) -> NDArray[np.float64]:
    """Frames spread evenly over 32 directions around one: float64 [M, 33], unit length."""
    [centre] = _unit(chance, 1, DIRECTIONS + 1)
    away = chance.normal(size=(number, DIRECTIONS + 1))
    away -= np.outer(away @ centre, centre)
    frames = centre + away * sqrt(spread / (1 - spread) / DIRECTIONS)
    unit: NDArray[np.float64] = frames / np.linalg.norm(frames, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize(
    ("frames", "spread", "beta", "of_mass", "of_sum"),
    [
        # Frames and their spread; then what is left of the error without the spread term, at most.
        (500, 0.05, 10, 0.1, 0.4),
        (500, 0.20, 20, 0.1, 0.4),
        (50, 0.20, 10, 0.3, 0.8),
        (50, 0.05, 40, 0.3, 0.8),
        (50, 0.20, 80, 0.4, 0.95),  # beyond what 50 frames hold
        (5, 0.20, 20, 0.7, 1.0),
    ],
)
def test_the_spread_of_frames_is_allowed_for(
    frames: int, spread: float, beta: float, of_mass: float, of_sum: float
) -> None:
    """Against the sum over each of the frames; a query points half towards the stay, half elsewhere."""
    chance = np.random.default_rng(frames)
    with_term, without = np.zeros(2), np.zeros(2)
    for _ in range(60):
        seen = _frames_of_a_stay(chance, frames, spread)
        mean = seen.mean(0, keepdims=True).astype(np.float32)
        query = (beta * _unit(chance, 1, DIRECTIONS + 1)[0] + beta * seen.mean(0)).astype(np.float32) / np.float32(1.4)
        masses = np.exp(seen @ query.astype(np.float64))
        truth, context = np.log(masses.sum()), masses @ seen / masses.sum()

        found = stay_masses(query, mean, np.array([frames]))

        weighted = found.weighted_sum(query, mean, np.ones(1))
        with_term += [abs(found.logs[0] - truth), np.linalg.norm(weighted - context)]
        without += [abs(np.log(frames) + found.along[0] - truth), np.linalg.norm(mean[0] - context)]

    assert with_term[0] < of_mass * without[0]
    assert with_term[1] < of_sum * without[1]
