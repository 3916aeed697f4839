"""Resource names and times of the contract, read and written; both are checked when read."""

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from framekeep.v1 import video_memory_pb2 as pb
from memory_store.errors import InvalidName
from memory_store.store import check_name
from service.errors import InvalidField

MAX_PTS_US = 10**15
"""31 years; a session's capture times stay within what a Timestamp can say."""


def _parts(name: str, *kinds: str) -> list[str]:
    parts = name.split("/")
    if len(parts) != 2 * len(kinds) or parts[::2] != list(kinds):
        raise InvalidName(f"expected a name of the form {'/'.join(f'{kind}/...' for kind in kinds)}, got {name!r}")
    return parts[1::2]


def memory_from(name: str) -> str:
    """Read `memories/{memory}`."""
    [memory] = _parts(name, "memories")
    return check_name(memory)


def stream_from(name: str) -> tuple[str, str]:
    """Read `memories/{memory}/streams/{stream}`."""
    memory, stream = _parts(name, "memories", "streams")
    return check_name(memory), check_name(stream)


def streams_from(memory: str, given: Iterable[str]) -> tuple[str, ...]:
    """Read names of streams, all of one memory.

    Raises:
        InvalidField: one is of another memory.
    """
    streams = []
    for name in given:
        named, stream = stream_from(name)
        if named != memory:
            raise InvalidField("stream", f"expected a stream of memory {memory}, got {name!r}")
        streams.append(stream)
    return tuple(streams)


def exemplar_from(name: str) -> tuple[str, int]:
    """Read `memories/{memory}/exemplars/{id}`."""
    memory, number = _parts(name, "memories", "exemplars")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise InvalidName(f"expected a decimal number as the id of an exemplar, got {number!r}")
    return check_name(memory), int(number)


def stream_name(memory: str, stream: str) -> str:
    """Write `memories/{memory}/streams/{stream}`."""
    return f"memories/{memory}/streams/{stream}"


def exemplar_name(memory: str, exemplar_id: int) -> str:
    """Write `memories/{memory}/exemplars/{id}`."""
    return f"memories/{memory}/exemplars/{exemplar_id}"


def time_from(stamp: Timestamp, field: str) -> int:
    """Read a Timestamp as microseconds since 1970; what is finer is cut off."""
    if not (-62_135_596_800 <= stamp.seconds < 253_402_300_800 - MAX_PTS_US // 10**6 and 0 <= stamp.nanos < 10**9):
        raise InvalidField(field, f"expected a time in the years 1 to 9968, got {stamp.seconds} s {stamp.nanos} ns")
    return stamp.seconds * 10**6 + stamp.nanos // 1000


def time_to(time_us: int) -> Timestamp:
    """Write microseconds since 1970 as a Timestamp."""
    return Timestamp(seconds=time_us // 10**6, nanos=time_us % 10**6 * 1000)


def range_from(time_range: pb.TimeRange) -> tuple[int | None, int | None]:
    """Read a range: its first microsecond, and the first after it; None where it is open."""
    first = time_from(time_range.start_time, "time_range.start_time") if time_range.HasField("start_time") else None
    end = time_from(time_range.end_time, "time_range.end_time") if time_range.HasField("end_time") else None
    if first is not None and end is not None and end < first:
        raise InvalidField("time_range", "expected an end that is not before the start")
    return first, end
