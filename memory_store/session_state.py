"""Where sessions and streams stand, between two groups of frames."""

from dataclasses import dataclass, field

from memory_store.budget import Control
from memory_store.kept_times import KeptTimes
from memory_store.records import Clock, Sighting


@dataclass(slots=True)
class SessionState:
    """Where a session stands."""

    id: int
    stream_id: int
    clock: Clock
    start_us: int
    next_seq: int
    last_pts_us: int | None
    sighting: Sighting | None
    """Its latest, if any is left and no frame was withheld since; its exemplar is the current one."""
    on_record: bytes | None = None
    """The last frame of that sighting whose embedding is on record, as it is there."""


@dataclass(slots=True)
class StreamState:
    """Where a stream's tree grows."""

    id: int
    name: str
    created_us: int
    next_position: int = 0
    """The place of the next stay."""
    open_stays: dict[int, int] = field(default_factory=dict)
    """Stays of the open block: exemplar to stay."""
    sightings: int = 0
    """Sightings it has."""
    longest_us: int = 0
    """No sighting of it is longer; those around a time are found by it."""
    kept: tuple[KeptTimes, ...] = ()
    """When exemplars of it were captured, in the stretches that limits asked about lately."""
    control: Control | None = None
    """Holds it to its budget; None if it has none."""


@dataclass(slots=True)
class NextIds:
    """The next free number of each kind."""

    exemplar: int = 1
    stay: int = 1
    sighting: int = 1
