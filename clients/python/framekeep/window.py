"""The frames of a session that are decoded and not yet answered: the only queue on the client's side.

Three threads meet here: one adds decoded frames, the current call takes them to send, and the caller answers them with
the verdicts that come back. A new call starts from the oldest unanswered frame again, so nothing is lost with a
connection.
"""

import threading
from collections import deque
from types import TracebackType

from framekeep.errors import ServerError
from framekeep.pictures import picture_bytes
from framekeep.v1 import video_memory_pb2 as pb

LEAST_WINDOW_FRAMES = 32
"""Unanswered frames where the server would take in fewer: two full messages, one ready while one travels."""

WINDOW_BYTES = 256 * 2**20
"""Bytes of pictures that may wait unanswered; a single frame is let in whatever its size."""

MESSAGE_FRAMES = 16
"""Frames a message; beyond it, the cost of a message no longer matters."""

MESSAGE_BYTES = 2**20
"""Bytes of pictures after which a message is full."""


class Window:
    """Unanswered frames, oldest first: those that the current call has sent, then those that it has not."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[pb.Frame] = deque()
        self._sent = 0
        self._size_bytes = 0
        self._limit_frames = LEAST_WINDOW_FRAMES
        self._call = 0
        self._is_complete = False
        self._is_closed = False
        self._source_error: BaseException | None = None
        self.sent_bytes = 0
        """Bytes of pictures taken to be sent; what is sent again counts again."""

    def __enter__(self) -> "Window":
        """Begin to add frames."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """No more frames come. An error that ended them is kept for whoever waits for the verdicts."""
        with self._changed:
            self._is_complete = True
            self._source_error = error
            self._changed.notify_all()
        return True

    def widen(self, frames: int) -> None:
        """Let this many frames wait unanswered, if it is more than the least."""
        with self._changed:
            self._limit_frames = max(LEAST_WINDOW_FRAMES, frames)
            self._changed.notify_all()

    def add(self, frame: pb.Frame) -> bool:
        """Append a frame, waiting for room; False once the window is closed."""
        size_bytes = picture_bytes(frame.picture)
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._has_room(size_bytes))
            if self._is_closed:
                return False
            self._frames.append(frame)
            self._size_bytes += size_bytes
            self._changed.notify_all()
            return True

    def _has_room(self, size_bytes: int) -> bool:
        fits = len(self._frames) < self._limit_frames and self._size_bytes + size_bytes <= WINDOW_BYTES
        return fits or not self._frames

    def begin_call(self) -> int:
        """The number of a new call, which starts with the oldest unanswered frame; earlier calls get no more."""
        with self._changed:
            self._call += 1
            self._sent = 0
            self._changed.notify_all()
            return self._call

    def take(self, call: int) -> list[pb.Frame]:
        """The next frames of a message: all that are ready, up to a full message, waiting for the first one only.

        Empty when this call has nothing more to send.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(call) or self._sent < len(self._frames) or self._is_complete)
            if self._is_over(call):
                return []
            message: list[pb.Frame] = []
            size_bytes = 0
            while self._sent < len(self._frames) and len(message) < MESSAGE_FRAMES:
                frame = self._frames[self._sent]
                size_bytes += picture_bytes(frame.picture)
                if message and size_bytes > MESSAGE_BYTES:
                    break
                message.append(frame)
                self._sent += 1
                self.sent_bytes += picture_bytes(frame.picture)
            return message

    def _is_over(self, call: int) -> bool:
        return self._is_closed or call != self._call

    def answer(self, seq: int) -> None:
        """The oldest frame has its verdict.

        Raises:
            ServerError: it is not the oldest one, or was not sent.
        """
        with self._changed:
            if not self._sent or self._frames[0].seq != seq:
                expected = self._frames[0].seq if self._sent else "none"
                raise ServerError(f"expected the verdict on frame {expected} from the server, got one on frame {seq}")
            self._size_bytes -= picture_bytes(self._frames.popleft().picture)
            self._sent -= 1
            self._changed.notify_all()

    @property
    def is_done(self) -> bool:
        """No more frames come, and all were answered."""
        with self._changed:
            return self._is_complete and not self._frames

    @property
    def is_empty(self) -> bool:
        """All frames so far were answered."""
        with self._changed:
            return not self._frames

    def raise_source_error(self) -> None:
        """Raise what ended the frames, if it was an error."""
        if self._source_error is not None:
            raise self._source_error

    def close(self) -> None:
        """Let all go who wait here; frames that are not answered are dropped."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
