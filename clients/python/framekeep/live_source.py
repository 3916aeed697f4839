"""Live sources: cameras and URLs that show what happens now, wait for nobody, and may fall silent or break off."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from framekeep.answers import Clock
from framekeep.arrival_clock import ArrivalClock
from framekeep.backlog import Backlog
from framekeep.containers import STALL_S, first_video, told
from framekeep.errors import SourceError
from framekeep.names import stream_name_for
from framekeep.redaction import redacted
from framekeep.sources import Source, SourceFrame
from framekeep.video_decoder import VideoDecoder, seconds_of

_NO_TIMES = 128
"""FFmpeg's AVFMT_NOTIMESTAMPS: pictures one after the other, such as multipart MJPEG, whose times it makes up."""

_CLOSING_S = 1.0
"""How long closing waits for a source that gives no packet. One that has fallen silent ends by itself after `stall_s`,
and closes its connection then."""


class LiveSource(Source):
    """The first video of a camera or live URL; a thread of its own keeps up with it from `frames` on."""

    clock = Clock.SOURCE
    is_live = True

    def __init__(self, location: str, container: InputContainer, stall_s: float = STALL_S) -> None:
        """Take over what was opened.

        Args:
            location: where.
            container: opened there with `stall_s` as its timeout.
            stall_s: after how long without a frame the source counts as lost; above 0.

        Raises:
            SourceError: there is no video in it.
        """
        self.shown_location = redacted(location)
        """The location without the secrets that a URL may hold."""
        self.stream_name = stream_name_for(location)
        self._container = container
        self._stall_s = stall_s
        self._video = first_video(container, self.shown_location)
        self._video.thread_type = "SLICE"  # threads that work on frames side by side would hold each back
        self._decoder = VideoDecoder()
        self._clock = ArrivalClock()
        self._has_times = not container.format.flags & _NO_TIMES
        self._backlog = Backlog()
        self._captured_frames = 0
        self._capture = threading.Thread(target=self._capture_frames, name="framekeep-capture", daemon=True)

    @property
    def damaged_frames(self) -> int:
        """Broken packets and pictures left out so far."""
        return self._decoder.damaged_frames

    @property
    def dropped_frames(self) -> int:
        """Frames that came while nobody could take them, and were dropped."""
        return self._backlog.dropped_frames

    def frames(self) -> Iterator[SourceFrame]:
        """Each picture as it comes, turned upright.

        Raises:
            SourceError: the source ended, broke off, or gave no frame for too long; only `interrupt` ends it without.
        """
        self._capture.start()
        yield from self._backlog.frames()

    def _capture_frames(self) -> None:
        try:
            self._read_packets()
        except (av.FFmpegError, OSError) as error:
            is_silent = isinstance(error, av.ExitError)
            self._backlog.end(self._silence() if is_silent else self._end(f"broke off: {told(error)}"))
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits for the frames
            self._backlog.end(error)
        else:
            self._backlog.end(self._end("ended"))
        finally:
            self._container.close()

    def _read_packets(self) -> None:
        last_frame_s = time.monotonic()
        for packet in self._container.demux():  # all streams, so that sound does not hide that the picture stands
            for frame in self._decoded(packet):
                last_frame_s = time.monotonic()
                self._captured_frames += 1
                if not self._backlog.put(self._timed(frame)):
                    return
            if time.monotonic() - last_frame_s > self._stall_s:
                raise self._silence()

    def _decoded(self, packet: "Packet[Any]") -> list[VideoFrame]:
        return self._decoder.frames(packet) if packet.stream_index == self._video.index else []

    def _timed(self, frame: VideoFrame) -> SourceFrame:
        pts_us, capture_time = self._clock.time(seconds_of(frame) if self._has_times else None)
        return SourceFrame(pts_us, capture_time, self._decoder.upright(frame))

    def _silence(self) -> SourceError:
        return SourceError(
            f"{self.shown_location}: expected a frame every {self._stall_s:g} s at least, but the source fell silent "
            f"after {self._captured_frames} frames; see whether it still runs and can be reached, or stream it forever"
        )

    def _end(self, what: str) -> SourceError:
        return SourceError(
            f"{self.shown_location}: expected a live source to go on, but after {self._captured_frames} frames it "
            f"{what}; stream it forever to connect again"
        )

    def interrupt(self) -> None:
        """End `frames`, from any thread; frames that nobody has taken are dropped."""
        self._backlog.interrupt()

    def close(self) -> None:
        """Let go of the connection: at once, or if the source is silent, when it has been so for long enough."""
        self.interrupt()
        if self._capture.ident is None:
            self._container.close()
        elif self._capture is not threading.current_thread():
            self._capture.join(_CLOSING_S)
