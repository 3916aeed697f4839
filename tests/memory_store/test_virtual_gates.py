"""Virtual gates: of two entries that are as near, the one that came first stands for a frame, however frames come."""

import numpy as np
import pytest

from memory_store.scope import EARLIEST_US
from memory_store.seen_frames import Frames
from memory_store.virtual_gates import Decisions, VirtualGates

DIMENSION = 6
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.4)
PICTURES = 14
NUMBER = 240


def _frames(seed: int, *, horizon: bool, own_stream_only: bool) -> Frames:
    """A few pictures, which come again bit for bit, in two streams; some are compared with less than there is."""
    chance = np.random.default_rng(seed)
    pictures = chance.normal(size=(PICTURES, DIMENSION))
    pictures[1::2] = pictures[::2] + 0.2 * pictures[1::2]
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    capture_us = 1000 * np.arange(NUMBER)
    back_us = chance.choice([8_000, 60_000, 10**12], NUMBER)
    return Frames(
        pictures.astype(np.float16)[chance.integers(0, PICTURES, NUMBER)],
        chance.integers(1, 3, NUMBER),
        capture_us,
        (chance.random(NUMBER) < 0.3) & own_stream_only,
        capture_us - back_us if horizon else np.full(NUMBER, EARLIEST_US),
    )


def _decided(frames: Frames, batch: int) -> tuple[VirtualGates, Decisions]:
    gates = VirtualGates(DIMENSION, THRESHOLDS, None)
    parts = [gates.gate(frames.chosen(slice(first, first + batch))) for first in range(0, NUMBER, batch)]
    together = (np.concatenate([getattr(part, name) for part in parts]) for name in ("kept", "novelty", "correction"))
    return gates, Decisions(*together)


@pytest.mark.parametrize("horizon", [False, True])
@pytest.mark.parametrize("own_stream_only", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_how_frames_are_divided_makes_no_difference_where_pictures_come_again_bit_for_bit(
    seed: int, *, horizon: bool, own_stream_only: bool
) -> None:
    frames = _frames(seed, horizon=horizon, own_stream_only=own_stream_only)

    (gates, one), (others, other) = (_decided(frames, batch) for batch in (7, 80))

    np.testing.assert_array_equal(one.kept, other.kept)
    np.testing.assert_allclose(one.novelty, other.novelty, atol=1e-6)
    np.testing.assert_array_equal(gates.state.entries.flags, others.state.entries.flags)
    np.testing.assert_array_equal(gates.state.entries.used, others.state.entries.used)
    np.testing.assert_array_equal(gates.state.entries.seen_us, others.state.entries.seen_us)
