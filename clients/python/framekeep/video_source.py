"""Video files and URLs as sources of frames: demuxed, decoded and timed by PyAV."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from framekeep.errors import SourceError
from framekeep.names import stream_name_for
from framekeep.picture_files import Pixels
from framekeep.sources import Source, SourceFrame
from framekeep.times import microseconds

_OPEN_S, _READ_S = 20.0, 20.0
"""How long a URL may take to open, and to bring the next packet."""

_UNSET_YEARS = (1904, 1970)
"""Years in which clocks start that were never set: QuickTime's and Unix's."""

_SHORT_S = Fraction(1, 2)
"""A video that ends this much before its header says, and by two frames, has broken off; less is rounding."""


class VideoSource(Source):
    """The first video of a file or URL."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Open it and read its header.

        Raises:
            SourceError: missing, unreadable, or without a video.
        """
        self._location = os.fspath(location)
        self.shown_location = re.sub(r"://[^/@]*@", "://", self._location)
        """The location without a password that a URL may hold."""
        self._container = self._open()
        self._video = self._first_video()
        self._video.thread_type = "AUTO"
        self._reformatter = VideoReformatter()
        self._frame_s = 1 / Fraction(self._video.average_rate or self._video.guessed_rate or 25)
        self._expected_s = _length_by_header(self._container, self._video)
        self._clock = _PresentationClock(self._frame_s)
        self._last_packet_is_corrupt = False
        self.stream_name = stream_name_for(self._location)
        self.start_time = _creation_time({**self._video.metadata, **self._container.metadata})
        if self._expected_s is not None:
            self.expected_frames = max(1, round(self._expected_s / self._frame_s))

    def _open(self) -> InputContainer:
        is_url = "://" in self._location
        if not is_url and not Path(self._location).is_file():
            state = "is no file" if Path(self._location).exists() else "does not exist"
            raise SourceError(f"{self.shown_location}: expected a video file or URL, but it {state}")
        try:
            return av.open(self._location, timeout=(_OPEN_S, _READ_S) if is_url else None)
        except (av.FFmpegError, OSError) as error:
            hint = "" if is_url else " (an MP4 that was cut off before its index was written cannot be opened at all)"
            raise SourceError(
                f"{self.shown_location}: expected a video, but it cannot be opened as one: {_told(error)}{hint}"
            ) from error

    def _first_video(self) -> VideoStream:
        for video in self._container.streams.video:
            if not video.disposition & Disposition.attached_pic and video.codec_context is not None:
                return video
        kinds = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
        self._container.close()
        raise SourceError(f"{self.shown_location}: expected a video, got a file with {kinds} only")

    def frames(self) -> Iterator[SourceFrame]:
        """Each decoded picture, turned upright; presentation times count from the first one.

        Broken packets are left out and counted in `damaged_frames`.

        Raises:
            SourceError: the video broke off, or held no picture that could be decoded.
        """
        count = 0
        try:
            for packet in self._container.demux(self._video):
                for frame in self._decoded(packet):
                    count += 1
                    yield SourceFrame(self._clock.time_us(frame), None, self._upright(frame))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(self._told_end(count, _told(error))) from error
        if count == 0:
            raise SourceError(f"{self.shown_location}: expected a video, but no picture in it could be decoded")
        if self._last_packet_is_corrupt or self._is_short():
            raise SourceError(self._told_end(count, "it is cut off or damaged there"))

    def _decoded(self, packet: "Packet[VideoStream]") -> list[VideoFrame]:
        if packet.size:
            self._last_packet_is_corrupt = packet.is_corrupt
        elif packet.dts is not None:  # AVI fills gaps with empty packets, which the decoder would take for the end
            return []
        if packet.is_corrupt:  # its end is missing; decoders fill it up with gray, which would look new
            self.damaged_frames += 1
            return []
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.damaged_frames += 1
            return []
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.damaged_frames += len(frames) - len(whole)
        return whole

    def _upright(self, frame: VideoFrame) -> Pixels:
        rgb = self._reformatter.reformat(frame, format="rgb24")
        pixels = np.asarray(rgb.to_ndarray(), np.uint8)  # [H, W, 3]
        quarter_turns, rest = divmod(frame.rotation, 90)
        return np.rot90(pixels, quarter_turns) if quarter_turns % 4 and rest == 0 else pixels

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
        ticks = frame.pts if frame.pts is not None else frame.dts
        seconds, own_s = self._last + self._frame_s, self._frame_s
        if frame.time_base is not None:
            if ticks is not None:
                absolute = ticks * frame.time_base
                if self._first is None:
                    self._first = absolute - seconds
                seconds = absolute - self._first
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


def _told(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")
