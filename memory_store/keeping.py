"""What there is to deciding beside the threshold: what frames are compared with, and what keeps novel frames out."""

import json
from dataclasses import asdict, dataclass

from memory_store.errors import InvalidPolicy

MIN_THRESHOLD = 0.005
"""A budget's threshold goes no lower unless told otherwise: pictures that look the same are farther apart."""

MAX_THRESHOLD = 1.0
"""A budget's threshold goes no higher unless told otherwise: pictures that have nothing in common are nearer."""

_LONGEST_US = 2**53
"""About 285 years."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a stream may keep; exactly one of the first three is set."""

    share: float | None = None
    """Exemplars as a share of the frames that were encoded, in (0, 1]."""

    exemplars_per_day: float | None = None
    """Exemplars a day of capture time, above 0."""

    bytes_per_day: float | None = None
    """Bytes on disk a day of capture time, above 0."""

    min_threshold: float = MIN_THRESHOLD
    """The threshold does not go below this; in (0, 2]."""

    max_threshold: float = MAX_THRESHOLD
    """The threshold does not go above this; in (0, 2]."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InvalidPolicy: there is not exactly one target, or something is out of range.
        """
        targets = [self.share, self.exemplars_per_day, self.bytes_per_day]
        given = [target for target in targets if target is not None]
        if len(given) != 1 or not 0 < given[0] < float("inf"):
            raise InvalidPolicy(f"budget: expected exactly one target above 0, got {given}")
        if self.share is not None and self.share > 1:
            raise InvalidPolicy(f"budget: expected a share of at most 1, got {self.share}")
        if not 0 < self.min_threshold <= self.max_threshold <= 2:
            raise InvalidPolicy(
                "budget: expected thresholds with 0 < min_threshold <= max_threshold <= 2, got"
                f" {self.min_threshold} and {self.max_threshold}"
            )


@dataclass(frozen=True, slots=True)
class Keeping:
    """A policy of keeping; the default compares with the whole memory and keeps nothing out."""

    own_stream_only: bool = False
    """Compare only with what the frame's own stream has shown."""

    horizon_us: int | None = None
    """Compare only with what was seen within this time before the frame; None: without limit."""

    max_per_minute: int | None = None
    """Exemplars kept of a stream in any minute of capture time, at most; None: no limit."""

    min_interval_us: int | None = None
    """Capture time between two exemplars of a stream, at least; None: no limit."""

    budget: Budget | None = None
    """What a stream may keep; None: the threshold stays where it is."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InvalidPolicy: something is out of range.
        """
        for name, most in (("horizon_us", _LONGEST_US), ("min_interval_us", _LONGEST_US), ("max_per_minute", 10**6)):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise InvalidPolicy(f"{name}: expected 1 to {most}, got {value}")

    @property
    def is_restricted(self) -> bool:
        """Frames are not compared with all that there is."""
        return self.own_stream_only or self.horizon_us is not None

    @property
    def is_limited(self) -> bool:
        """Novel frames can be withheld."""
        return self.max_per_minute is not None or self.min_interval_us is not None

    def to_json(self) -> str:
        """Write it as it stands in the journal."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Keeping":
        """Read it as it stands in the journal.

        Raises:
            ValueError: it is not what was written.
        """
        try:
            fields = dict(json.loads(text))
            budget = fields.pop("budget")
            return Keeping(**fields, budget=None if budget is None else Budget(**budget))
        except (LookupError, TypeError, RecursionError, InvalidPolicy) as error:
            raise ValueError(f"expected a policy of keeping, got {text[:100]!r}: {error}") from error
