"""A session into which frames are sent one by one, from callbacks and by any thread."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import NoReturn, Self

from framekeep.errors import InvalidRequest, SessionClosed, WindowFull
from framekeep.hints import Keep, checked_labels
from framekeep.inbox import Inbox, VerdictReader
from framekeep.picture_files import Pixels
from framekeep.session import Session, SessionTerms
from framekeep.sources import SourceFrame
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from framekeep.verdicts import StreamSummary, Verdict
from framekeep.window import Window


class PushSession:
    """An open session: `send` frames into it. Safe for several threads.

    A thread of the session reads the verdicts. What ends the session early, such as a server that stays away or a
    callback that raises, is raised by every `send` and `flush` that waits or comes later, and by `close`.

    Example:
        >>> with fk.open_stream("arm", memory="lab") as session:
        ...     verdicts = session.verdicts()
        ...     session.send(picture)
        ...     print(next(verdicts).kind.name)
        ...     try:
        ...         session.send(picture, wait=False)  # where a frame had rather be left out than late
        ...     except WindowFull:
        ...         print("left out")
        ...     session.flush()
        ...     print(session.summary.frames)
        NOVEL
        2
    """

    def __init__(
        self,
        stub: VideoMemoryServiceStub,
        terms: SessionTerms,
        on_verdict: Callable[[Verdict], object] | None,
    ) -> None:
        """Prepare it; `open` connects.

        Args:
            stub: the contract's calls.
            terms: what it is; its clock is SOURCE.
            on_verdict: called with each verdict, by the thread of the session.
        """
        self._on_verdict = on_verdict
        self._listeners: list[Callable[[], None]] = []
        self._window = Window(self._tell)
        self._session = Session(stub, terms, self._window, lambda _: self._opened.set())
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._read_verdicts, name="framekeep-session", daemon=True)
        self._state = threading.Lock()
        self._inboxes: list[Inbox] = []
        self._has_ended = False
        self._failure: BaseException | None = None
        self._first_time: datetime | None = None

    def listen(self, on_change: Callable[[], None]) -> None:
        """Have `on_change` called, by any thread, when something happened that others may wait for.

        It must neither wait itself nor raise.
        """
        self._listeners.append(on_change)

    def _tell(self) -> None:
        for on_change in self._listeners:
            on_change()

    def open(self) -> None:
        """Connect, and wait until the server has opened the session.

        Raises:
            FramekeepError: it did not.
        """
        self._thread.start()
        self._opened.wait()
        self._raise_failure()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, without waiting for verdicts if the program is being interrupted."""
        try:
            self.close(flush=error is None or isinstance(error, Exception))
        except BaseException as failure:
            if failure is not error:
                raise

    def send(
        self,
        picture: Pixels,
        *,
        capture_time: datetime | None = None,
        keep: Keep = Keep.AUTO,
        priority: int = 0,
        labels: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        """Send a frame; its verdict comes later. Waits while as many frames as may are without a verdict.

        Args:
            picture: RGB uint8 [H, W, 3] or gray uint8 [H, W]; copied, so it may be changed afterwards.
            capture_time: when it was captured, with time zone; None: now, by the clock of this machine.
            keep: ALWAYS keeps it and NEVER keeps it out, whatever gate and policy say.
            priority: how much it matters, in [0, 100]: a policy holds it back only for exemplars of this or more.
            labels: what it shows, for queries about some of them; at most 16, each of 1 to 63 characters.
            wait: wait for room.

        Raises:
            WindowFull: there is no room, and `wait` is false or this is the thread of the session. The frame was not
                taken.
            PictureRefused: the picture is too large for a message.
            SessionClosed: the session was closed.
            FramekeepError: the session ended early; frames without a verdict may not have been stored.
        """
        frame = self.frame_from(picture, capture_time, keep, priority, labels)
        if wait and not self._is_own_thread:
            if self._window.add(frame):
                return
            self._raise_end()
        if not self.offer(frame):
            raise WindowFull("expected room for one more frame, but as many as may wait are without a verdict")

    def frame_from(
        self, picture: Pixels, capture_time: datetime | None, keep: Keep, priority: int, labels: Sequence[str]
    ) -> pb.Frame:
        """A frame as `offer` takes it.

        Raises:
            InvalidRequest: no picture, a time without zone, or a priority or label that no frame may have.
            PictureRefused: the picture is too large for a message.
        """
        time = capture_time or datetime.now(UTC)
        if time.tzinfo is None:
            raise InvalidRequest(f"expected a capture time with a time zone, got {time!r}", reason="INVALID_FIELD")
        with self._state:
            first_time = self._first_time = self._first_time or time
        pts_us = (time - first_time) // timedelta(microseconds=1)
        frame = SourceFrame(pts_us, time, picture, keep, priority, checked_labels(labels))
        return self._session.message_from(frame, "the frame")

    def offer(self, frame: pb.Frame) -> bool:
        """Send a frame if there is room.

        Raises:
            SessionClosed, FramekeepError: as for `send`.
        """
        if self._window.offer(frame):
            return True
        if not self.is_open:
            self._raise_end()
        return False

    def flush(self) -> None:
        """Wait until all that was sent has its verdict, and the callback has seen it.

        Raises:
            SessionClosed: the session was closed before.
            FramekeepError: the session ended early; frames without a verdict may not have been stored.
        """
        self._refuse_own_thread("flush")
        if not self._window.wait_for_answers(self.next_seq):
            self._raise_end()

    @property
    def next_seq(self) -> int:
        """The number of the next frame."""
        return self._window.next_seq

    def is_flushed(self, before_seq: int) -> bool:
        """All frames with numbers below this one have their verdicts.

        Raises:
            SessionClosed, FramekeepError: as for `flush`.
        """
        if self._window.is_answered(before_seq):
            return True
        if self._has_ended:
            self._raise_end()
        return False

    def verdicts(self) -> Iterator[Verdict]:
        """The verdicts from now on, in order; ends when the session is closed, and raises what ended it early.

        Read them in another thread than the one that sends: 1,024 that wait to be read make the session wait.
        """
        return VerdictReader(self.inbox())

    def inbox(self) -> Inbox:
        """An inbox that gets every verdict from now on."""
        inbox = Inbox(self._tell)
        with self._state:
            self._inboxes = [*(other for other in self._inboxes if not other.is_closed), inbox]
            if self._has_ended:
                inbox.end(self._failure)
        return inbox

    @property
    def is_open(self) -> bool:
        """Frames can be sent."""
        return not self._has_ended and not self._window.is_complete and not self._session.is_closing

    @property
    def session_id(self) -> str:
        """The UUID of the session."""
        return self._session.terms.session_id

    @property
    def summary(self) -> StreamSummary:
        """The sum of the session so far."""
        return self._session.summary()

    def close(self, *, flush: bool = True) -> None:
        """Take no more frames, wait for the verdicts on those that were sent, and end the session. May be called twice.

        Args:
            flush: wait for the verdicts; else frames without one may not have been stored.

        Raises:
            FramekeepError: the session ended early, and frames without a verdict may not have been stored.
        """
        self._refuse_own_thread("close")
        self.begin_close(flush=flush)
        if self._thread.ident is not None:
            self._thread.join()
        if flush:
            self._raise_failure()

    def begin_close(self, *, flush: bool) -> None:
        """As `close`, without waiting for the end."""
        self._window.complete()
        if not flush:
            self._session.close()
            for inbox in self._inboxes:  # the thread may wait for their readers
                inbox.close()

    def _refuse_own_thread(self, method: str) -> None:
        if self._is_own_thread:
            raise InvalidRequest(f"expected {method} from another thread than the one that calls on_verdict")

    @property
    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _raise_end(self) -> NoReturn:
        """Raise why the session takes no frames."""
        self._raise_failure()
        raise SessionClosed(f"session {self.session_id} was closed")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _read_verdicts(self) -> None:
        failure: BaseException | None = None
        try:
            for verdict in self._session.verdicts():
                if self._on_verdict is not None:
                    self._on_verdict(verdict)
                with self._state:
                    inboxes = list(self._inboxes)
                for inbox in inboxes:
                    inbox.put(verdict)
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever uses the session
            failure = error
        with self._state:
            self._failure = failure
            self._has_ended = True
            for inbox in self._inboxes:
                inbox.end(failure)
        self._session.close()
        self._opened.set()
