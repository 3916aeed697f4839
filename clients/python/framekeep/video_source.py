"""Video files and URLs as sources of frames: demuxed, decoded and timed by PyAV."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framekeep.containers import first_video, open_container, open_url, told
from framekeep.errors import SourceError
from framekeep.names import stream_name_for
from framekeep.redaction import redacted
from framekeep.sources import Source, SourceFrame
from framekeep.times import microseconds
from framekeep.video_decoder import VideoDecoder, seconds_of

_UNFINISHED = " (an MP4 that was cut off before its index was written cannot be opened at all)"

_UNSET_YEARS = (1904, 1970)
"""Years in which clocks start that were never set: QuickTime's and Unix's."""

_SHORT_S = Fraction(1, 2)
"""A video that ends this much before its header says, and by two frames, has broken off; less is rounding."""


class VideoSource(Source):
    """The first video of a file, or of a URL that has an end."""

    def __init__(self, location: str | os.PathLike[str], container: InputContainer | None = None) -> None:
        """Open it and read its header.

        Args:
            location: path or URL.
            container: what was opened there already; None: open it.

        Raises:
            SourceError: missing, unreadable, or without a video.
        """
        self._location = os.fspath(location)
        self.shown_location = redacted(self._location)
        """The location without the secrets that a URL may hold."""
        self._container = container or self._open()
        self._video = first_video(self._container, self.shown_location)
        self._video.thread_type = "AUTO"
        self._decoder = VideoDecoder()
        self._frame_s = 1 / Fraction(self._video.average_rate or self._video.guessed_rate or 25)
        self._expected_s = _length_by_header(self._container, self._video)
        self._clock = _PresentationClock(self._frame_s)
        self.stream_name = stream_name_for(self._location)
        self.start_time = _creation_time({**self._video.metadata, **self._container.metadata})
        if self._expected_s is not None:
            self.expected_frames = max(1, round(self._expected_s / self._frame_s))

    def _open(self) -> InputContainer:
        if "://" in self._location:
            return open_url(self._location)
        if not Path(self._location).is_file():
            state = "is no file" if Path(self._location).exists() else "does not exist"
            raise SourceError(f"{self.shown_location}: expected a video file or URL, but it {state}")
        return open_container(self._location, hint=_UNFINISHED)

    def frames(self) -> Iterator[SourceFrame]:
        """Each decoded picture, turned upright; presentation times count from the first one.

        Broken packets are left out and counted in `damaged_frames`.

        Raises:
            SourceError: the video broke off, or held no picture that could be decoded.
        """
        count = 0
        try:
            for packet in self._container.demux(self._video):
                for frame in self._decoder.frames(packet):
                    count += 1
                    yield SourceFrame(self._clock.time_us(frame), None, self._decoder.upright(frame))
        except (av.FFmpegError, OSError) as error:  # not `from error`, which names a URL with all its secrets
            raise SourceError(self._told_end(count, told(error))) from None
        if count == 0:
            raise SourceError(f"{self.shown_location}: expected a video, but no picture in it could be decoded")
        if self._decoder.last_packet_is_corrupt or self._is_short():
            raise SourceError(self._told_end(count, "it is cut off or damaged there"))

    @property
    def damaged_frames(self) -> int:
        """Broken packets and pictures left out so far."""
        return self._decoder.damaged_frames

    def _is_short(self) -> bool:
        if self._expected_s is None:
            return False
        missing = self._expected_s - self._clock.end_s
        return missing > _SHORT_S and missing > 2 * self._frame_s

    def _told_end(self, count: int, fault: str) -> str:
        expected = "" if self._expected_s is None else f" of {float(self._expected_s):.2f} s"
        end = f"{float(self._clock.end_s):.2f} s{expected}"
        return f"{self.shown_location}: broke off after {count} frames, at {end}: {fault}; these frames were taken"

    def close(self) -> None:
        """Close the file or connection."""
        self._container.close()


class _PresentationClock:
    """Exact presentation times, from the first frame on."""

    def __init__(self, frame_s: Fraction) -> None:
        self._frame_s = frame_s
        self._first: Fraction | None = None
        self._last = -frame_s
        self.end_s = Fraction(0)
        """From the start of the first frame to the end of the last."""

    def time_us(self, frame: VideoFrame) -> int:
        """Presentation time of the next frame; by its decoding time, or one average frame on, where it has none."""
        absolute = seconds_of(frame)
        seconds, own_s = self._last + self._frame_s, self._frame_s
        if absolute is not None:
            if self._first is None:
                self._first = absolute - seconds
            seconds = absolute - self._first
        if frame.time_base is not None:
            own_s = frame.duration * frame.time_base or own_s
        self._last = seconds
        self.end_s = max(self.end_s, seconds + own_s)
        return microseconds(seconds)


def _length_by_header(container: InputContainer, video: VideoStream) -> Fraction | None:
    """Seconds that the video lasts, as far as its header can be trusted.

    An AVI whose index is cut off gets a length guessed from its size; its header still counts the frames. Elsewhere
    the shorter length holds: a file is longer than its video if the sound goes on, and shorter if it was trimmed.
    """
    if "avi" in container.format.name.split(",") and video.frames and video.average_rate:
        return video.frames / Fraction(video.average_rate)
    lengths = []
    if video.duration is not None and video.time_base is not None:
        lengths.append(video.duration * video.time_base)
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", video.metadata.get("DURATION", ""))  # Matroska
    if tag:
        lengths.append(int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3]))
    if container.duration is not None and (lengths or len(container.streams) == 1):
        lengths.append(Fraction(container.duration, av.time_base))
    return min(lengths, default=None)


def _creation_time(metadata: dict[str, str]) -> datetime | None:
    try:
        time = datetime.fromisoformat(metadata.get("creation_time", ""))
    except ValueError:
        return None
    time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    return None if time.year in _UNSET_YEARS else time
