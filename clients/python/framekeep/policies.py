"""What there is to keeping beside the threshold: what frames are compared with, limits, and budgets."""

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from framekeep.errors import InvalidRequest

_LEAST_TIME, _LONGEST_TIME = timedelta(microseconds=1), timedelta(microseconds=2**53)
"""The longest is about 285 years."""

MOST_PER_MINUTE = 1_000_000
"""Exemplars; what the server takes."""

_LARGEST_THRESHOLD = 2

MIN_THRESHOLD, MAX_THRESHOLD = 0.005, 1.0
"""Between these a budget moves the threshold unless told otherwise, as the contract has it."""


_TARGETS = ("share", "exemplars_per_day", "bytes_per_day")


class Unchanged(Enum):
    """Says of a threshold or a policy that it stays as it is; None says that it is lifted."""

    UNCHANGED = 0


UNCHANGED = Unchanged.UNCHANGED


class Comparison(Enum):
    """What frames can be compared with."""

    MEMORY = "memory"
    """All that the memory has kept."""

    STREAM = "stream"
    """What this stream has shown. What another stream has shown is novel here, and kept again."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a stream may keep: exactly one of `share`, `exemplars_per_day` and `bytes_per_day`.

    The server moves the stream's own threshold so that it keeps about that much, and puts every threshold on record.
    """

    share: float | None = None
    """Exemplars as a share of the frames that were encoded, in (0, 1]."""

    exemplars_per_day: float | None = None
    """Exemplars a day of capture time, above 0. Stretches of more than a minute without a frame do not count."""

    bytes_per_day: float | None = None
    """Bytes on disk a day of capture time, above 0; counted as exemplars of the mean size of the memory's latest."""

    min_threshold: float = MIN_THRESHOLD
    """The threshold does not go below this, in (0, 2]."""

    max_threshold: float = MAX_THRESHOLD
    """The threshold does not go above this, in (0, 2] and at least `min_threshold`."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InvalidRequest: no target or several, or a number out of its range.
        """
        given = [name for name in _TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidRequest(
                f"expected exactly one of {', '.join(_TARGETS)}, got {' and '.join(given) or 'none'}",
                reason="INVALID_FIELD",
            )
        for name, number, most in (
            ("share", self.share, 1.0),
            ("exemplars_per_day", self.exemplars_per_day, math.inf),
            ("bytes_per_day", self.bytes_per_day, math.inf),
            ("min_threshold", self.min_threshold, _LARGEST_THRESHOLD),
            ("max_threshold", self.max_threshold, _LARGEST_THRESHOLD),
        ):
            if number is not None and not (0 < number <= most and math.isfinite(number)):
                limits = "above 0" if most == math.inf else f"in (0, {most:g}]"
                raise InvalidRequest(f"expected {name} {limits}, got {number}", reason="INVALID_FIELD")
        if self.min_threshold > self.max_threshold:
            raise InvalidRequest(
                f"expected max_threshold of at least min_threshold, {self.min_threshold:g}, got {self.max_threshold:g}",
                reason="INVALID_FIELD",
            )


class BudgetCondition(Enum):
    """How a budget is kept."""

    STARTING = "starting"
    """Not enough was seen yet since the budget was set or the server started."""

    HOLDING = "holding"
    """Within 20 % of the target."""

    DRIFTING = "drifting"
    """Off by more: what is shown has changed, and the threshold is on its way."""

    AT_LIMIT = "at_limit"
    """Off by more, and the threshold is at `min_threshold` or `max_threshold`: the target cannot be held."""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How a stream does against its budget."""

    condition: BudgetCondition
    """How the budget is kept."""

    kept_of_target: float | None
    """Exemplars kept lately, as a share of what the target allows; 1: on target. None while STARTING."""


@dataclass(frozen=True, slots=True)
class KeepingPolicy:
    """What frames are compared with, and what keeps novel frames out."""

    comparison: Comparison = Comparison.MEMORY
    """What frames are compared with."""

    horizon: timedelta | None = None
    """Compare only with what was seen within this time before the frame, by capture time: what was not seen for longer
    is novel again. From a microsecond to 2**53 of them, about 285 years; None: without limit."""

    max_exemplars_per_minute: int | None = None
    """Of each stream, keep at most so many in any minute of capture time; novel frames beyond it are WITHHELD. From 1
    to 1,000,000; None: no limit. Only exemplars of the frame's priority or a higher one count."""

    min_interval: timedelta | None = None
    """Of each stream, keep none within this time after another, by capture time; novel frames within it are WITHHELD.
    As `horizon`; None: no limit. Only exemplars of the frame's priority or a higher one count."""

    budget: Budget | None = None
    """Hold each stream to a target by moving its threshold; None: thresholds stay where they are."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InvalidRequest: a limit out of its range.
        """
        for name, length in (("horizon", self.horizon), ("min_interval", self.min_interval)):
            if length is not None and length < _LEAST_TIME:
                raise InvalidRequest(
                    f"expected {name} of at least a microsecond, got {length.total_seconds():g} s",
                    reason="INVALID_FIELD",
                )
            if length is not None and length > _LONGEST_TIME:
                raise InvalidRequest(
                    f"expected {name} of at most 2**53 microseconds, about 285 years, got {length}",
                    reason="INVALID_FIELD",
                )
        most = self.max_exemplars_per_minute
        if most is not None and not 1 <= most <= MOST_PER_MINUTE:
            raise InvalidRequest(
                f"expected max_exemplars_per_minute from 1 to {MOST_PER_MINUTE:,}, got {most:,}", reason="INVALID_FIELD"
            )
