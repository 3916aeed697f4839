"""Where the frames of a live source wait to be sent: it never holds the source up, and never outgrows its bounds."""

import threading
from collections import deque
from collections.abc import Iterator

from framekeep.sources import SourceFrame

BACKLOG_FRAMES = 256
"""Ten seconds at 25 frames a second."""

BACKLOG_BYTES = 256 * 2**20
"""Bytes of pixels that may wait; a single frame is let in whatever its size."""


class Backlog:
    """Frames between the thread that captures and the one that sends. Where there is no room, the oldest goes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[SourceFrame] = deque()
        self._size_bytes = 0
        self._has_ended = False
        self._error: BaseException | None = None
        self.dropped_frames = 0
        """Frames that were not taken out: the oldest, where there was no room, and those that an interruption left."""

    def put(self, frame: SourceFrame) -> bool:
        """Append a frame, at once; False after the end."""
        with self._changed:
            if self._has_ended:
                return False
            self._frames.append(frame)
            self._size_bytes += frame.picture.nbytes
            while len(self._frames) > BACKLOG_FRAMES or (self._size_bytes > BACKLOG_BYTES and len(self._frames) > 1):
                self._take_oldest()
                self.dropped_frames += 1
            self._changed.notify_all()
            return True

    def _take_oldest(self) -> SourceFrame:
        frame = self._frames.popleft()
        self._size_bytes -= frame.picture.nbytes
        return frame

    def end(self, error: BaseException | None = None) -> None:
        """No more frames come, because of `error` if there is one; those that wait are still given."""
        with self._changed:
            if not self._has_ended:
                self._has_ended, self._error = True, error
                self._changed.notify_all()

    def interrupt(self) -> None:
        """No more frames come, and those that wait are dropped."""
        with self._changed:
            self.dropped_frames += len(self._frames)
            self._frames.clear()
            self._size_bytes = 0
            self.end()

    def frames(self) -> Iterator[SourceFrame]:
        """The frames, each as soon as it is there, until the end; then the error that ended them is raised."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._has_ended)
                if not self._frames:
                    if self._error is not None:
                        raise self._error
                    return
                frame = self._take_oldest()
            yield frame
