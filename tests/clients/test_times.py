from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framekeep import times
from framekeep.errors import InvalidRequest

INSTANTS = st.datetimes(timezones=st.just(UTC))


@given(INSTANTS)
def test_instants_come_back_to_the_microsecond(time: datetime) -> None:
    assert times.time_from(times.timestamp_from(time)) == time
    assert times.read_time(times.shown_time(time)) == time


def test_another_zone_is_the_same_instant() -> None:
    time = datetime(2026, 1, 31, 5, 6, 7, 250_000, tzinfo=timezone(timedelta(hours=1)))

    stamp = times.timestamp_from(time)

    assert (stamp.ToJsonString(), times.time_from(stamp)) == ("2026-01-31T04:06:07.250Z", time)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="expected a datetime with a time zone"):
        times.timestamp_from(datetime(2026, 1, 31))


def test_a_range_is_open_where_nothing_is_said() -> None:
    start, end = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

    since, until = times.range_from(start, None), times.range_from(None, end)

    assert times.range_from(None, None) is None
    assert since is not None
    assert until is not None
    assert (since.HasField("start_time"), since.HasField("end_time")) == (True, False)
    assert (until.HasField("start_time"), until.HasField("end_time")) == (False, True)
    with pytest.raises(InvalidRequest, match="ends after its start"):
        times.range_from(end, start)


def test_microseconds_are_rounded_once() -> None:
    assert times.microseconds(Fraction(1_001, 30_000)) == 33_367
    assert times.microseconds(Fraction(10**15 + 1, 3)) == 333_333_333_333_333_666_667


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-31T05:06:07.5", "2026-01-31T05:06:07.5Z"),
        ("2026-01-31T05:06:07+01:00", "2026-01-31T04:06:07Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
    ],
)
def test_times_are_read_as_utc_unless_a_zone_is_named(text: str, shown: str) -> None:
    assert times.shown_time(times.read_time(text)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "2026-01-31 23:59:07.4"),
        (0.01, "2026-01-31 23:59:07.4 to 23:59:07.5"),
        (1.5, "2026-01-31 23:59:07.4 to 23:59:08.9"),
        (52.51, "2026-01-31 23:59:07.4 to 2026-02-01 00:00:00.0"),
        (60, "2026-01-31 23:59:07 to 2026-02-01 00:00:07"),
        (86_400 * 365, "2026-01-31 23:59:07 to 2027-01-31 23:59:07"),
    ],
)
def test_a_span_is_shown_as_short_as_it_can_be_read(seconds: float, shown: str) -> None:
    start = datetime(2026, 1, 31, 23, 59, 7, 490_000, tzinfo=UTC)

    assert times.shown_span(start, start + timedelta(seconds=seconds)) == shown
    assert times.shown_span(start.astimezone(timezone(timedelta(hours=5))), start + timedelta(seconds=seconds)) == shown
