"""The novelty decision, against distances worked out by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store.novelty import Decision, Neighbour, decide, distance, nearest
from memory_store.records import Embedding

NEAR, FAR = Neighbour(1, 0.05), Neighbour(2, 0.5)


def _not_looked() -> Neighbour | None:
    raise AssertionError("nothing was to be looked up")


def test_the_current_exemplar_is_kept_while_it_is_within_the_threshold_without_a_look() -> None:
    current = Neighbour(7, 0.09)

    assert decide(current, _not_looked, 0.1) == Decision(current, current)


def test_a_frame_beyond_the_current_exemplar_goes_to_the_nearest() -> None:
    assert decide(FAR, lambda: NEAR, 0.1) == Decision(NEAR, NEAR)


def test_a_frame_beyond_every_exemplar_is_novel_and_told_the_distance_to_the_nearest() -> None:
    assert decide(FAR, lambda: Neighbour(3, 0.11), 0.1) == Decision(None, Neighbour(3, 0.11))


def test_the_first_frame_of_a_memory_is_novel_and_nothing_is_near() -> None:
    assert decide(None, lambda: None, 0.1) == Decision(None, None)


@pytest.mark.parametrize("threshold", [0.1, 0.25, 1.0, 2.0])
def test_a_frame_exactly_at_the_threshold_is_a_repeat_and_one_bit_beyond_it_is_novel(threshold: float) -> None:
    at, beyond = Neighbour(1, threshold), Neighbour(1, float(np.nextafter(threshold, 3)))

    assert decide(at, _not_looked, threshold).stands_for_it == at
    assert decide(None, lambda: at, threshold).stands_for_it == at
    assert decide(beyond, lambda: beyond, threshold).stands_for_it is None


@pytest.mark.parametrize("length", [1, 0.9999])
@pytest.mark.parametrize("degrees", [0, 1, 25, 90, 179, 180])
def test_turning_by_an_angle_costs_one_minus_its_cosine_however_long_a_vector_is(degrees: float, length: float) -> None:
    angles = np.deg2rad([10, 10 + degrees])
    before, after = (np.stack([np.cos(angles), np.sin(angles)], axis=1) * length).astype(np.float32)

    assert distance(before, after) == pytest.approx(1 - np.cos(np.deg2rad(degrees)), abs=1e-7)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_distance_is_symmetric_and_within_0_and_2_however_lengths_are_rounded(seed: int) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, 1280)).astype(np.float32)
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)

    assert distance(first, second) == distance(second, first)
    lengths = np.sqrt(np.sum(first.astype(float) ** 2) * np.sum(second.astype(float) ** 2))
    assert distance(first, second) == pytest.approx(1 - np.dot(first.astype(float), second) / lengths, abs=1e-12)
    assert 0 <= distance(first, first) < 1e-6
    assert 2 - 1e-6 < distance(first, -first) <= 2


def test_the_nearest_is_the_one_of_the_smallest_distance(facing: Callable[[float], Embedding]) -> None:
    candidates = np.stack([facing(40), facing(-20), facing(25)])

    assert nearest(facing(0), np.array([5, 3, 9]), candidates) == Neighbour(3, distance(facing(0), facing(-20)))
    assert nearest(facing(0), np.empty(0, np.int64), candidates[:0]) is None


def test_of_equally_near_exemplars_the_oldest_is_taken_in_whatever_order_they_are_proposed() -> None:
    above, below, frame = np.eye(3, dtype=np.float32)
    ids, candidates = np.array([1, 2]), np.stack([above, below])

    forward, backward = nearest(frame, ids, candidates), nearest(frame, ids[::-1], candidates[::-1])

    assert forward == backward == Neighbour(1, 1.0)
