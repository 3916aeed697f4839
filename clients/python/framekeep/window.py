"""The frames of a session that are not yet answered: the only queue of frames on the client's side.

Threads meet here: some add frames, the current call takes them to send, and one answers them with the verdicts that
come back. A new call starts from the oldest unanswered frame again, so nothing is lost with a connection.
"""

import threading
from collections import deque
from collections.abc import Callable
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

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Begin without frames.

        Args:
            on_change: called, by any thread, when something happened that others may wait for; must not wait itself.
        """
        self._on_change = on_change
        self._changed = threading.Condition()
        self._frames: deque[pb.Frame] = deque()
        self._sent = 0
        self._next_seq = 0
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
        self.complete(error)
        return True

    def complete(self, error: BaseException | None = None) -> None:
        """No more frames come, because of `error` if there is one."""
        with self._changed:
            self._is_complete = True
            self._source_error = error
            self._tell()

    def _tell(self) -> None:
        self._changed.notify_all()
        self._on_change()

    def number_from(self, first_seq: int) -> None:
        """Give this number to the first frame that is added, and one more to each next one."""
        with self._changed:
            self._next_seq = first_seq

    def widen(self, frames: int) -> None:
        """Let this many frames wait unanswered, if it is more than the least."""
        with self._changed:
            self._limit_frames = max(LEAST_WINDOW_FRAMES, frames)
            self._tell()

    def add(self, frame: pb.Frame) -> bool:
        """Number a frame and append it, waiting for room; False once the window is complete or closed."""
        size_bytes = picture_bytes(frame.picture)
        with self._changed:
            self._changed.wait_for(lambda: self._is_complete or self._is_closed or self._has_room(size_bytes))
            return self.offer(frame)

    def offer(self, frame: pb.Frame) -> bool:
        """Number a frame and append it; False if there is no room, or the window is complete or closed."""
        size_bytes = picture_bytes(frame.picture)
        with self._changed:
            if self._is_complete or self._is_closed or not self._has_room(size_bytes):
                return False
            frame.seq = self._next_seq
            self._next_seq += 1
            self._frames.append(frame)
            self._size_bytes += size_bytes
            self._tell()
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

    def expect(self, seq: int) -> None:
        """Check that a verdict on this frame is the next to come.

        Raises:
            ServerError: it is not on the oldest frame, or that was not sent.
        """
        with self._changed:
            if not self._sent or self._frames[0].seq != seq:
                expected = self._frames[0].seq if self._sent else "none"
                raise ServerError(f"expected the verdict on frame {expected} from the server, got one on frame {seq}")

    def answer(self) -> None:
        """The oldest frame has its verdict."""
        with self._changed:
            self._size_bytes -= picture_bytes(self._frames.popleft().picture)
            self._sent -= 1
            self._tell()

    @property
    def next_seq(self) -> int:
        """The number of the next frame that is added."""
        with self._changed:
            return self._next_seq

    def is_answered(self, before_seq: int) -> bool:
        """All frames with numbers below this one were answered."""
        with self._changed:
            return before_seq <= (self._frames[0].seq if self._frames else self._next_seq)

    def wait_for_answers(self, before_seq: int) -> bool:
        """Wait until all frames with numbers below this one were answered; False if the window was closed before."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self.is_answered(before_seq))
            return self.is_answered(before_seq)

    @property
    def is_complete(self) -> bool:
        """No more frames come."""
        with self._changed:
            return self._is_complete

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
            self._tell()
