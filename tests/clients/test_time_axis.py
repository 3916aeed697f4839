from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framekeep.time_axis import MOST_CUTS, Span, Tick, TimeAxis

START = datetime(2026, 1, 31, 5, 6, 7, 490_000, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def spans(*ends: tuple[float, float]) -> list[Span]:
    return [(at(start), at(end)) for start, end in ends]


def test_without_gaps_time_is_to_scale() -> None:
    axis = TimeAxis(spans((0, 60), (60, 100), (20, 30)), left=50, width=1000)

    assert [axis.x(at(seconds)) for seconds in (-1, 0, 25, 60.04, 100, 101)] == [50, 50, 300, 650, 1050, 1050]
    assert axis.gaps == ()


def test_a_short_gap_is_to_scale() -> None:
    axis = TimeAxis(spans((0, 60), (62, 100)), left=0, width=1000)

    [gap] = axis.gaps
    assert (gap.left, gap.right, gap.duration, gap.is_cut_out) == (600, 620, timedelta(seconds=2), False)


def test_a_long_gap_is_cut_out_and_both_sides_have_the_same_scale() -> None:
    axis = TimeAxis(spans((0, 10), (86_400, 86_430)), left=0, width=1096)

    [gap] = axis.gaps
    assert (gap.left, gap.right, gap.is_cut_out) == (250, 346, True)
    assert gap.duration == timedelta(seconds=86_390)
    assert [axis.x(at(seconds)) for seconds in (5, 10, 40_000, 86_400, 86_415)] == [125, 250, 250, 346, 721]


def test_a_piece_next_to_long_ones_is_still_to_be_seen() -> None:
    axis = TimeAxis(spans((0, 0), (1_000_000, 2_000_000)), left=0, width=1144)

    first, second = axis.pieces
    assert (first.left, first.right, second.left, second.right) == (0, 48, 144, 1144)


def test_of_many_gaps_the_longest_are_cut_out() -> None:
    starts = [float(1000 * number + 10 * number * number) for number in range(40)]

    axis = TimeAxis(spans(*((start, start + 100) for start in starts)), left=0, width=1280)

    assert [gap.is_cut_out for gap in axis.gaps] == [False] * (39 - MOST_CUTS) + [True] * MOST_CUTS
    assert {gap.right - gap.left for gap in axis.gaps[-MOST_CUTS:]} == {28}
    assert (axis.pieces[0].left, axis.pieces[-1].right) == (0, 1280)


@pytest.mark.parametrize(
    ("length_s", "expected"),
    [
        (0.02, ["05:06:07.490", "05:06:07.495", "05:06:07.500", "05:06:07.505", "05:06:07.510"]),
        (0.9, ["05:06:07.6", "05:06:07.8", "05:06:08.0", "05:06:08.2"]),
        (10, ["05:06:08", "05:06:10", "05:06:12", "05:06:14", "05:06:16"]),
        (900, ["05:08", "05:10", "05:12", "05:14", "05:16", "05:18", "05:20"]),
        (0, ["05:06:07"]),
    ],
)
def test_ticks_are_at_round_times(length_s: float, expected: list[str]) -> None:
    axis = TimeAxis(spans((0, length_s)), left=0, width=1280)

    ticks = list(axis.ticks(148))

    assert [tick.label for tick in ticks] == expected
    assert {tick.date for tick in ticks} == {"2026-01-31"}


def test_ticks_days_apart_are_dates() -> None:
    axis = TimeAxis(spans((0, 4 * 86_400)), left=0, width=400)

    midnight = timedelta(hours=18, minutes=53, seconds=52.51) / timedelta(days=4)
    first, *rest = axis.ticks(100)
    assert first == Tick(round(400 * midnight), "2026-02-01", "")
    assert [tick.label for tick in rest] == ["2026-02-02", "2026-02-03", "2026-02-04"]


def test_a_piece_without_a_round_time_has_its_start() -> None:
    axis = TimeAxis(spans((0, 100), (500.2, 500.3)), left=0, width=400)

    assert [tick.label for tick in axis.ticks(148)][-1] == "05:14:27"


lengths = st.floats(0, 1e7, allow_nan=False).map(lambda seconds: round(seconds, 6))


@given(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=40))
def test_an_axis_is_in_order_and_within_its_room(parts: list[tuple[float, float]]) -> None:
    covered, end = [], 0.0
    for pause, length in parts:
        covered.append((end + pause, end + pause + length))
        end += pause + length
    axis = TimeAxis(spans(*covered), left=7, width=1280)

    ends = [axis.x(at(time)) for span in covered for time in span]
    assert ends == sorted(ends)
    assert (axis.pieces[0].left, axis.pieces[-1].right) == (7, 1287)
    assert all(piece.left < piece.right for piece in axis.pieces)
    ticks = list(axis.ticks(148))
    assert [tick.x for tick in ticks] == sorted(tick.x for tick in ticks)
    assert all(any(piece.left <= tick.x <= piece.right for piece in axis.pieces) for tick in ticks)
    assert len(ticks) <= 1280 // 148 + 2 * len(axis.pieces)
