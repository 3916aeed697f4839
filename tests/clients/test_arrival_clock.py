from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framekeep.arrival_clock import ArrivalClock

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)


def times(arrivals_and_pts: Sequence[tuple[float, float | None]], *, wall: datetime = START) -> list[float]:
    """Capture times in seconds after `wall`, of frames that arrive so many seconds after it."""
    now = 0.0
    clock = ArrivalClock(wall_s=wall.timestamp, monotonic_s=lambda: now)
    captured = []
    for arrival, pts in arrivals_and_pts:
        now = arrival
        _, time = clock.time(None if pts is None else Fraction(pts).limit_denominator(10**6))
        captured.append(round((time - wall) / timedelta(microseconds=1)) / 1e6)
    return captured


def test_without_presentation_times_arrival_holds() -> None:
    assert times([(0, None), (0.05, None), (0.4, None)]) == [0, 0.05, 0.4]


def test_what_a_network_delays_is_timed_as_it_was_filmed() -> None:
    frames = [(0.1, 7.0), (0.14, 7.04), (0.9, 7.08), (0.9, 7.12), (0.9, 7.16)]

    assert times(frames) == pytest.approx([0.1, 0.14, 0.18, 0.22, 0.26], abs=1e-3)


def test_no_frame_is_later_than_its_arrival() -> None:
    assert times([(0.5, 7.0), (0.51, 7.04), (0.52, 7.08), (0.56, 7.12)]) == [0.5, 0.51, 0.52, 0.56]


@pytest.mark.parametrize("jump", [-3_600.0, -0.02, 0.0, 3_600.0, None])
def test_presentation_times_that_jump_are_left_and_then_followed_again(jump: float | None) -> None:
    pts = None if jump is None else 7.04 + jump
    after = None if pts is None else pts + 0.04

    captured = times([(0, 7.0), (0.04, 7.04), (0.1, pts), (0.2, after)])

    assert captured[:3] == [0, 0.04, 0.1]
    assert captured[3] == pytest.approx(0.2 if after is None else 0.14, abs=1e-3)


def test_a_pause_that_presentation_times_do_not_show_is_noticed() -> None:
    assert times([(0, 7.0), (5, 7.04), (5.04, 7.08)]) == [0, 5, 5.04]


def test_a_camera_that_counts_from_1970_says_itself_when_its_first_frame_was_taken() -> None:
    first = START.timestamp()

    assert times([(0.25, first + 0.2), (0.30, first + 0.24)]) == pytest.approx([0.2, 0.24], abs=1e-3)


def test_a_clock_that_runs_slow_is_caught_up_with() -> None:
    captured = times([(number * 0.04, number * 0.04 * 0.9995) for number in range(20_000)])

    assert max(number * 0.04 - time for number, time in enumerate(captured)) < 0.01


def test_a_clock_that_was_set_does_not_disorder_frames() -> None:
    now, wall = 0.0, START.timestamp()
    clock = ArrivalClock(wall_s=lambda: wall, monotonic_s=lambda: now)
    _, before = clock.time(None)

    now, wall = 0.04, wall - 3_600
    _, after = clock.time(None)

    assert after - before == timedelta(seconds=0.04)


@given(st.lists(st.tuples(st.floats(0, 5), st.none() | st.floats(-1e6, 1e6)), min_size=1))
def test_times_increase_and_lie_at_most_two_seconds_before_arrival(steps: list[tuple[float, float | None]]) -> None:
    now = 0.0
    clock = ArrivalClock(wall_s=START.timestamp, monotonic_s=lambda: now)
    last_us = -1
    for step, pts in steps:
        now += step
        pts_us, time = clock.time(None if pts is None else Fraction(pts))
        assert pts_us > last_us
        last_us = pts_us
        lag = START + timedelta(seconds=now) - time
        assert -len(steps) * timedelta(microseconds=1) <= lag <= timedelta(seconds=2, microseconds=2)
