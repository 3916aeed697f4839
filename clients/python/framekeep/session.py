"""A session of a stream on the client's side, over as many connections as it takes.

Frames come into the window, gRPC's thread of the current call sends from it, and whoever iterates over the verdicts
reads them. When the connection is lost, the same session is opened again and every unanswered frame is sent again; the
server answers those that it had stored from its journal, so each frame gets exactly one verdict.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import grpc

from framekeep.answers import Clock
from framekeep.connection import MESSAGE_BYTES
from framekeep.converters import verdict_from
from framekeep.errors import (
    InvalidRequest,
    PictureRefused,
    SequenceGap,
    ServerError,
    ServerUnavailable,
    error_from_call,
)
from framekeep.hints import Keep, checked_labels
from framekeep.names import stream_resource
from framekeep.patience import Patience
from framekeep.picture_files import JpegEncoder
from framekeep.pictures import picture_bytes, raw_picture
from framekeep.questions import ContextQuery
from framekeep.sources import CompressedFrame, SourceFrame
from framekeep.times import timestamp_from
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from framekeep.verdicts import StreamSummary, Verdict, VerdictKind, WithheldFrames, WithheldReason
from framekeep.window import Window

Transport = Literal["raw", "jpeg"]
"""How pictures travel: as raw pixels, exact but large, or as JPEG files, a seventh of it and not quite exact."""

_KEEP = {Keep.AUTO: pb.KEEP_UNSPECIFIED, Keep.ALWAYS: pb.KEEP_ALWAYS, Keep.NEVER: pb.KEEP_NEVER}

_ENVELOPE_BYTES = 8 * 1024
"""More than all of a message but its picture takes; 16 labels of 63 characters are up to 4 kB."""


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What identifies a session, and how it is run."""

    memory: str
    """The memory it goes into; it exists."""

    stream: str
    """The stream it is a run of."""

    session_id: str
    """A UUID: new for a new session, the same to go on with one."""

    clock: Clock
    """SOURCE if every frame carries its capture time, SESSION if none does."""

    start_time: datetime | None
    """For the clock SESSION: capture time of presentation time 0, with time zone; None: the server's time of the first
    opening."""

    context: ContextQuery | None
    """What attention is asked with each frame; None: nothing."""

    transport: Transport
    """How pictures travel."""

    reconnect_s: float
    """How long to go on after the connection was lost, without a verdict; 0: not at all."""

    labels: tuple[str, ...] = ()
    """What every frame carries, before labels of its own."""

    def __post_init__(self) -> None:
        """Check what can be checked without a server.

        Raises:
            InvalidRequest: a bad name, a time without zone, an unknown transport, a negative patience, or a bad label.
        """
        stream_resource(self.memory, self.stream)
        if self.start_time is not None:
            timestamp_from(self.start_time)
        if self.transport not in ("raw", "jpeg"):
            raise InvalidRequest(f"expected the transport 'raw' or 'jpeg', got {self.transport!r}")
        if self.reconnect_s < 0:
            raise InvalidRequest(f"expected reconnect_s of at least 0, got {self.reconnect_s}")
        checked_labels(self.labels)

    def opening(self) -> pb.IngestOpening:
        """The message that opens the session, or opens it again."""
        is_session_clock = self.clock is Clock.SESSION
        start_time = self.start_time if is_session_clock else None
        return pb.IngestOpening(
            stream=stream_resource(self.memory, self.stream),
            session_id=self.session_id,
            clock=pb.CAPTURE_CLOCK_SESSION if is_session_clock else pb.CAPTURE_CLOCK_SOURCE,
            start_time=None if start_time is None else timestamp_from(start_time),
            context=None if self.context is None else self.context.message(),
        )


class Session:
    """One session: frames go into its window, by any thread, and one thread iterates over its verdicts."""

    def __init__(
        self, stub: VideoMemoryServiceStub, terms: SessionTerms, window: Window, on_opened: Callable[[int], None]
    ) -> None:
        """Prepare it; `verdicts` connects.

        Args:
            stub: the contract's calls.
            terms: what it is.
            window: where its frames wait.
            on_opened: told the number of the first frame to send, when the server has opened the session.
        """
        self.terms = terms
        self._stub = stub
        self._window = window
        self._on_opened = on_opened
        self._patience = Patience(terms.reconnect_s)
        self._call: grpc.Call | None = None
        self._is_closing = threading.Event()
        self._limit_bytes = MESSAGE_BYTES
        self._next_seq = 0
        self._openings = 0
        self._counts = dict.fromkeys(VerdictKind, 0)
        self._withheld = dict.fromkeys(WithheldReason, 0)
        self._started_at: float | None = None
        self._last_at = 0.0
        self._jpeg = JpegEncoder() if terms.transport == "jpeg" else None
        self._encoding = threading.Lock()

    @property
    def is_started(self) -> bool:
        """It was asked for its verdicts, which can be done once."""
        return self._started_at is not None

    @property
    def is_closing(self) -> bool:
        """It was closed."""
        return self._is_closing.is_set()

    def verdicts(self) -> Iterator[Verdict]:
        """Connect; give the verdicts in order of `seq`, until all frames of a completed window have theirs.

        A frame leaves the window when the next verdict is asked for.

        Raises:
            FramekeepError: what the server refused, or no connection for too long.
            Exception: what the window was completed with.
        """
        self._started_at = self._last_at = time.monotonic()
        while not self._is_closing.is_set():
            try:
                yield from self._verdicts_of_call()
            except grpc.RpcError as error:
                if not self._is_closing.is_set():
                    self._wait_to_reconnect(error)
            if self._window.is_done:
                self._window.raise_source_error()
                return

    def _verdicts_of_call(self) -> Iterator[Verdict]:
        number = self._window.begin_call()
        self._call = call = self._stub.Ingest(self._requests(number))
        if self._is_closing.is_set():  # it was closed before it could see this call
            call.cancel()
        opened = next(call, None)
        if opened is None or not opened.HasField("opened"):
            raise ServerError("expected the server to open the session, got something else")
        self._accept(opened.opened)
        for response in call:
            for message in response.verdicts.verdicts:
                self._window.expect(message.seq)
                self._next_seq = message.seq + 1
                self._patience.renew()
                verdict = verdict_from(message)
                self._counts[verdict.kind] += 1
                if verdict.withheld is not None:
                    self._withheld[verdict.withheld] += 1
                self._last_at = time.monotonic()
                yield verdict
                self._window.answer()
        if not self._window.is_done and not self._is_closing.is_set():
            raise ServerError("expected a verdict on every frame, but the server ended the call before")

    def _accept(self, opened: pb.IngestOpened) -> None:
        self._openings += 1
        self._window.widen(opened.limits.frames_in_flight)
        if self._openings == 1:
            self._limit_bytes = min(MESSAGE_BYTES, opened.limits.message_bytes or MESSAGE_BYTES)
            self._next_seq = opened.next_seq
            self._window.number_from(opened.next_seq)
            self._on_opened(opened.next_seq)
        elif opened.next_seq < self._next_seq:
            raise SequenceGap(
                f"expected the server to hold all {self._next_seq} frames that it acknowledged, got {opened.next_seq}",
                reason="SEQUENCE_GAP",
                metadata={"expected_seq": str(opened.next_seq)},
            )
        if self._window.is_empty:  # nothing to wait for, so being connected is all there is to achieve
            self._patience.renew()

    def _wait_to_reconnect(self, error: grpc.RpcError) -> None:
        failure = error_from_call(error)
        if self._window.is_done and isinstance(failure, ServerUnavailable):
            return
        pause_s = self._patience.next_pause_s()
        if not isinstance(failure, ServerUnavailable) or self._openings == 0 or pause_s is None:
            raise failure from error
        self._is_closing.wait(pause_s)

    def _requests(self, number: int) -> Iterator[pb.IngestRequest]:
        yield pb.IngestRequest(opening=self.terms.opening())
        while frames := self._window.take(number):
            yield pb.IngestRequest(frames=pb.IngestFrames(frames=frames))

    def message_from(self, frame: SourceFrame | CompressedFrame, name: str) -> pb.Frame:
        """A frame as it travels, but for its number, which the window gives it. Safe for several threads.

        Args:
            frame: the frame; its pixels are copied.
            name: what to call it in messages.

        Raises:
            PictureRefused: it is too large for a message.
            InvalidRequest: it has a capture time and the clock is SESSION, or none and the clock is SOURCE; or its
                labels and those of the session are too many.
        """
        picture = self._picture_from(frame)
        size_bytes = picture_bytes(picture)
        if size_bytes + _ENVELOPE_BYTES > self._limit_bytes:
            raise PictureRefused(
                f"{name}: expected at most {self._limit_bytes} bytes a message, got {size_bytes}; "
                "the transport 'jpeg' makes pictures smaller",
                reason="PICTURE_TOO_LARGE",
            )
        if (self.terms.clock is Clock.SOURCE) != (frame.capture_time is not None):
            raise InvalidRequest(f"{name}: expected a capture time on every frame or on none")
        message = pb.Frame(
            pts_us=frame.pts_us,
            capture_time=None if frame.capture_time is None else timestamp_from(frame.capture_time),
            picture=picture,
        )
        labels = self.terms.labels
        if isinstance(frame, SourceFrame):
            message.keep, message.priority = _KEEP[frame.keep], frame.priority
            labels = checked_labels((*labels, *frame.labels))
        message.labels.extend(labels)
        return message

    def _picture_from(self, frame: SourceFrame | CompressedFrame) -> pb.Picture:
        if isinstance(frame, CompressedFrame):
            return pb.Picture(compressed=frame.data)
        if self._jpeg is None:
            return raw_picture(frame.picture)
        with self._encoding:
            return pb.Picture(compressed=self._jpeg.encode(frame.picture))

    def summary(self, *, skipped_frames: int = 0, damaged_frames: int = 0, dropped_frames: int = 0) -> StreamSummary:
        """The sum of the session so far, with what only its source can count."""
        return StreamSummary(
            memory=self.terms.memory,
            stream=self.terms.stream,
            session_id=self.terms.session_id,
            novel_frames=self._counts[VerdictKind.NOVEL],
            repeat_frames=self._counts[VerdictKind.REPEAT],
            rejected_frames=self._counts[VerdictKind.REJECTED],
            forgotten_frames=self._counts[VerdictKind.FORGOTTEN],
            skipped_frames=skipped_frames,
            damaged_frames=damaged_frames,
            dropped_frames=dropped_frames,
            reconnections=max(0, self._openings - 1),
            sent_bytes=self._window.sent_bytes,
            elapsed_s=self._last_at - (self._started_at or self._last_at),
            withheld=WithheldFrames(
                minute=self._withheld[WithheldReason.MINUTE],
                interval=self._withheld[WithheldReason.INTERVAL],
                hint=self._withheld[WithheldReason.HINT],
            ),
        )

    def close(self) -> None:
        """End the call, and let all go who wait. May be called twice."""
        self._is_closing.set()
        if self._call is not None:
            self._call.cancel()
        self._window.close()
