"""Times: UTC datetimes here, Timestamps in the contract, both to the microsecond."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from google.protobuf.timestamp_pb2 import Timestamp

from framekeep.errors import InvalidRequest
from framekeep.v1 import video_memory_pb2 as pb

_MICROSECOND, _MINUTE = timedelta(microseconds=1), timedelta(minutes=1)


def timestamp_from(time: datetime) -> Timestamp:
    """The same instant in the contract's form.

    Raises:
        InvalidRequest: a datetime without a time zone, which names no instant.
    """
    if time.tzinfo is None:
        raise InvalidRequest(f"expected a datetime with a time zone, got {time!r}", reason="INVALID_FIELD")
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC))
    return stamp


def time_from(stamp: Timestamp) -> datetime:
    """The same instant as an aware datetime in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def range_from(since: datetime | None, until: datetime | None) -> pb.TimeRange | None:
    """From `since` on and before `until`; None where both are open.

    Raises:
        InvalidRequest: a datetime without a time zone, or a range that ends before it starts.
    """
    if since is None and until is None:
        return None
    time_range = pb.TimeRange(
        start_time=None if since is None else timestamp_from(since),
        end_time=None if until is None else timestamp_from(until),
    )
    if since is not None and until is not None and until < since:
        raise InvalidRequest(
            f"expected a time range that ends after its start, got {since} to {until}", reason="INVALID_FIELD"
        )
    return time_range


def microseconds(seconds: Fraction) -> int:
    """An exact number of seconds as the nearest whole number of microseconds."""
    return round(seconds * 1_000_000)


def duration_from(length_us: int) -> timedelta:
    """The same length as a timedelta."""
    return length_us * _MICROSECOND


def read_time(text: str) -> datetime:
    """An instant from ISO 8601; UTC where it names no zone.

    Raises:
        ValueError: not ISO 8601.
    """
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def shown_time(time: datetime) -> str:
    """`2026-01-31T05:06:07.5Z`: ISO 8601 in UTC, to the microsecond, without trailing zeros."""
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".") + "Z"


def shown_span(start: datetime, end: datetime) -> str:
    """`2026-01-31 05:06:07 to 05:07:40`: UTC, to be read and not parsed; the date again only where it is another.

    Within a minute to tenths of a second, which are cut off, not rounded; once only where both ends are the same.
    """
    length = len("2026-01-31 05:06:07.5" if end - start < _MINUTE else "2026-01-31 05:06:07")
    times = (time.astimezone(UTC).replace(tzinfo=None) for time in (start, end))
    first, last = (time.isoformat(" ", timespec="microseconds")[:length] for time in times)
    if first == last:
        return first
    return f"{first} to {last[11:] if first[:10] == last[:10] else last}"
