"""What a memory would have kept at other thresholds, as the server tells it."""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class NoveltyExample:
    """A frame, and the exemplar it was compared with when it came, of those that were kept by then."""

    novelty: float
    """The novelty it had when it came, in [0, 2]: its cosine distance to the exemplar as that was then."""

    exemplar: int
    """The id of the exemplar."""

    stream: str
    """The stream that showed the frame."""

    capture_time: datetime
    """Capture time of the frame, UTC."""

    thumbnail: bytes | None = field(repr=False)
    """A JPEG of the frame whose longer side is at most 320 pixels; None if there is none."""

    kept: bool
    """The frame was kept, when it came."""


@dataclass(frozen=True, slots=True)
class ThresholdOutcome:
    """What would have been kept at a threshold."""

    novelty_threshold: float
    """The threshold, in (0, 2]."""

    exemplars: float
    """Exemplars that would have been kept; an estimate unless `error` is 0. Limits of the policy in force and hints are
    left out of account; what it compares with is not."""

    error: float
    """How far `exemplars` may be off, as a share of it, about; 0: it was counted."""

    kept_share: float
    """Exemplars as a share of the frames, in [0, 1]."""

    exemplars_per_day: float | None
    """Exemplars a day of capture time of one stream, the mean of the streams that were counted; None if the frames span
    no time."""

    bytes_per_day: float | None
    """Bytes on disk a day of capture time of one stream, likewise."""

    mean_dropped_novelty: float
    """Mean cosine distance of the frames not kept to what would stand for them."""

    largest_dropped_novelty: float
    """The largest such distance."""

    just_above: tuple[NoveltyExample, ...]
    """Frames whose novelty, when they came, was just above the threshold, nearest first: it would have called them
    novel."""

    just_below: tuple[NoveltyExample, ...]
    """Frames whose novelty, when they came, was just at or below it, nearest first: it would have called them
    repeats."""


def is_same_threshold(one: float, other: float | None) -> bool:
    """Two thresholds are the same, however they were rounded on their way; None is none."""
    return other is not None and math.isclose(one, other, rel_tol=1e-6)


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """What would have been kept, had another threshold been in force from the start."""

    outcomes: tuple[ThresholdOutcome, ...]
    """One for each threshold, in ascending order."""

    frame_count: int
    """Frames that the curve rests on."""

    missing_frame_count: int
    """Frames of that stream and range that are left out of account, since what the server held of them was lost."""

    duration: timedelta
    """Time of capture that these frames span, the sum over their streams; stretches of more than a minute without a
    frame do not count."""

    bytes_per_exemplar: float
    """Bytes on disk that an exemplar costs with its thumbnail and sightings, by the memory's latest."""

    held_count: int
    """Embeddings that the server holds for curves."""

    held_limit: int
    """The most that it holds; once `held_count` has reached it, curves may be estimates."""
