"""Sources of frames: what stands at the start of a frame's way, before anything is sent."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import chain, islice

import numpy as np

from framekeep.answers import Clock
from framekeep.errors import InvalidRequest
from framekeep.hints import Keep, checked_labels, checked_priority
from framekeep.picture_files import Pixels, checked_pixels
from framekeep.times import microseconds


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A picture and when it was taken."""

    pts_us: int
    """Presentation time in microseconds from the start of the source; increasing."""

    capture_time: datetime | None
    """When it was captured, with time zone; None where only presentation times are known."""

    picture: Pixels = field(repr=False, compare=False)
    """RGB uint8 [H, W, 3] or gray uint8 [H, W]."""

    keep: Keep = Keep.AUTO
    """Whether the application wants it kept."""

    priority: int = 0
    """How much it matters, in [0, 100]: a policy holds it back only for the sake of exemplars of this or more."""

    labels: tuple[str, ...] = ()
    """What the application calls what it shows; at most 16, each of 1 to 63 characters."""

    def __post_init__(self) -> None:
        """Check the picture and what is said of it.

        Raises:
            InvalidRequest: another shape or type, a priority out of range, or labels of another form.
        """
        checked_pixels(self.picture)
        checked_priority(self.priority)
        checked_labels(self.labels)


@dataclass(frozen=True, slots=True)
class CompressedFrame:
    """A picture file and when it was taken. It is sent as it is; the server finds out whether it can be read."""

    pts_us: int
    """As for `SourceFrame`."""

    capture_time: datetime | None
    """As for `SourceFrame`."""

    data: bytes = field(repr=False, compare=False)
    """A JPEG, PNG or WebP file; whatever else it is, the server rejects."""


class Source(ABC):
    """Frames in order of time. Used by one thread at a time, once, then closed."""

    stream_name: str | None = None
    """A name for the stream, if the source suggests one."""

    start_time: datetime | None = None
    """Capture time of presentation time 0, if the source knows it."""

    clock: Clock = Clock.SESSION
    """SOURCE if every frame carries its capture time, SESSION if none does."""

    expected_frames: int | None = None
    """About how many frames there are, if the source knows; for showing progress only."""

    is_live: bool = False
    """It shows what happens now and waits for nobody; reading it again does not give the same frames."""

    @property
    def damaged_frames(self) -> int:
        """Broken packets and pictures left out so far."""
        return 0

    @property
    def dropped_frames(self) -> int:
        """Frames of a live source that came while nobody could take them."""
        return 0

    @abstractmethod
    def frames(self) -> Iterator[SourceFrame | CompressedFrame]:
        """The frames, in order.

        Raises:
            SourceError: the source broke off, after all frames before the fault were given.
        """

    def interrupt(self) -> None:  # noqa: B027 - most sources wait for nothing
        """End a `frames` that waits for something to happen; called by another thread than the one that iterates."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections. May be called twice."""


class PictureSequence(Source):
    """Pictures that the caller has or makes."""

    def __init__(self, pictures: Iterable[Pixels] | Iterable[SourceFrame], frames_per_second: float | None) -> None:
        """Take the first picture to see of which kind they are.

        Args:
            pictures: pixels, which `frames_per_second` spaces evenly, or frames that carry their times.
            frames_per_second: above 0 for pixels, None for frames.

        Raises:
            InvalidRequest: a rate where none is needed, or none where one is.
        """
        if frames_per_second is not None and not frames_per_second > 0:
            raise InvalidRequest(f"expected frames_per_second above 0, got {frames_per_second}")
        self._rate = None if frames_per_second is None else Fraction(frames_per_second).limit_denominator(1_000_000)
        rest: Iterator[Pixels | SourceFrame] = iter(pictures)
        first = list(islice(rest, 1))
        self._items = chain(first, rest)
        for item in first:
            self._check(item)
            if isinstance(item, SourceFrame) and item.capture_time is not None:
                self.clock = Clock.SOURCE

    def frames(self) -> Iterator[SourceFrame]:
        """The pictures, each with its time.

        Raises:
            InvalidRequest: a picture of another kind than the first, or of a wrong shape or type.
        """
        for number, item in enumerate(self._items):
            self._check(item)
            if isinstance(item, SourceFrame):
                yield item
            elif self._rate is not None:
                yield SourceFrame(microseconds(number / self._rate), None, item)

    def _check(self, item: Pixels | SourceFrame) -> None:
        expected = SourceFrame if self._rate is None else np.ndarray
        if not isinstance(item, expected):
            told = "SourceFrames, or arrays and frames_per_second" if self._rate is None else "arrays"
            raise InvalidRequest(f"expected {told}, got {type(item).__name__}", reason="INVALID_FIELD")

    def close(self) -> None:
        """Nothing to let go of: the pictures are the caller's."""
