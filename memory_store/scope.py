"""The part of the past that a query asks about."""

from dataclasses import dataclass

EARLIEST_US = -(2**63) + 1
LATEST_US = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Scope:
    """A filter over frames: by capture time, both ends included, by stream, and by label."""

    first_us: int = EARLIEST_US
    """Earliest capture time that counts."""

    last_us: int = LATEST_US
    """Latest capture time that counts."""

    stream_ids: frozenset[int] | None = None
    """Streams that count; None for all."""

    labels: frozenset[str] | None = None
    """Only sightings with one of these labels count; None for all. For what is asked, not for what is forgotten."""

    @property
    def is_everything(self) -> bool:
        """Nothing is filtered out."""
        return self == Scope()
