"""A session of a stream, from a source of frames to their verdicts, over as many connections as it takes.

A thread decodes into the window, gRPC's thread of the current call sends from it, and the caller's thread reads the
verdicts. When the connection is lost, the same session is opened again and every unanswered frame is sent again; the
server answers those that it had stored from its journal, so each frame gets exactly one verdict.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Literal, Self

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
from framekeep.names import stream_resource
from framekeep.patience import Patience
from framekeep.picture_files import JpegEncoder
from framekeep.pictures import picture_bytes, raw_picture
from framekeep.sources import Source, SourceFrame
from framekeep.times import timestamp_from
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from framekeep.verdicts import StreamSummary, Verdict, VerdictKind
from framekeep.window import Window

Transport = Literal["raw", "jpeg"]
"""How pictures travel: as raw pixels, exact but large, or as JPEG files, a seventh of it and not quite exact."""

_ENVELOPE_BYTES = 1024
"""More than all of a message but its picture takes."""


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What identifies a session, and how it is run."""

    memory: str
    """The memory it goes into; it exists."""

    stream: str
    """The stream it is a run of."""

    session_id: str
    """A UUID: new for a new session, the same to go on with one."""

    start_time: datetime | None
    """Capture time of presentation time 0, with time zone; None: the server's time of the first opening."""

    transport: Transport
    """How pictures travel."""

    reconnect_s: float
    """How long to go on after the connection was lost, without a verdict; 0: not at all."""

    def __post_init__(self) -> None:
        """Check what can be checked without a server.

        Raises:
            InvalidRequest: a bad name, a time without zone, an unknown transport, or a negative patience.
        """
        stream_resource(self.memory, self.stream)
        if self.start_time is not None:
            timestamp_from(self.start_time)
        if self.transport not in ("raw", "jpeg"):
            raise InvalidRequest(f"expected the transport 'raw' or 'jpeg', got {self.transport!r}")
        if self.reconnect_s < 0:
            raise InvalidRequest(f"expected reconnect_s of at least 0, got {self.reconnect_s}")


class StreamRun:
    """One run of a stream into a memory: iterate over it for the verdicts, or `run` it.

    Leaving the loop or the `with` block ends the call; frames that were acknowledged stay. One run is iterated once,
    by one thread. Closing waits until the source has given its current frame.
    """

    def __init__(self, stub: VideoMemoryServiceStub, source: Source, terms: SessionTerms) -> None:
        self._stub = stub
        self._source = source
        self._terms = terms
        self._window = Window()
        self._patience = Patience(terms.reconnect_s)
        self._reader = threading.Thread(target=self._read_source, name="framekeep-source", daemon=True)
        self._call: grpc.Call | None = None
        self._is_closing = threading.Event()
        self._limit_bytes = MESSAGE_BYTES
        self._first_seq = 0
        self._next_seq = 0
        self._skipped_frames = 0
        self._openings = 0
        self._counts = dict.fromkeys(VerdictKind, 0)
        self._started_at: float | None = None
        self._last_at = 0.0

    def __enter__(self) -> Self:
        """The run itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> Iterator[Verdict]:
        """The verdicts, one a frame, in order of `seq`; each is on the server's disk.

        Raises:
            SourceError: the source broke off; all frames before the fault have been answered.
            SessionTakenOver: another call opened this session.
            ServerUnavailable: no connection for too long. Go on later with the same session id and source.
            FramekeepError: otherwise what the server refused. What the source raises comes through as it is, after
                the verdicts on all frames before.
        """
        if self._started_at is not None:
            raise InvalidRequest("a run can be iterated once; open the stream again with its session id to go on")
        self._started_at = self._last_at = time.monotonic()
        try:
            for verdict in self._verdicts():
                self._counts[verdict.kind] += 1
                self._last_at = time.monotonic()
                yield verdict
        finally:
            self.close()

    def run(self) -> StreamSummary:
        """Stream to the end where single verdicts do not matter.

        Raises:
            FramekeepError: as for iterating; `summary` tells how far it came.
        """
        for _ in self:
            pass
        return self.summary

    @property
    def expected_frames(self) -> int | None:
        """About how many frames the source has, if it knows; for showing progress only."""
        return self._source.expected_frames

    @property
    def summary(self) -> StreamSummary:
        """The sum of the run so far."""
        return StreamSummary(
            memory=self._terms.memory,
            stream=self._terms.stream,
            session_id=self._terms.session_id,
            novel_frames=self._counts[VerdictKind.NOVEL],
            repeat_frames=self._counts[VerdictKind.REPEAT],
            rejected_frames=self._counts[VerdictKind.REJECTED],
            skipped_frames=self._skipped_frames,
            damaged_frames=self._source.damaged_frames,
            reconnections=max(0, self._openings - 1),
            sent_bytes=self._window.sent_bytes,
            elapsed_s=self._last_at - (self._started_at or self._last_at),
        )

    def close(self) -> None:
        """End the call, the thread and the source. May be called twice."""
        self._is_closing.set()
        if self._call is not None:
            self._call.cancel()
        self._window.close()
        if self._reader.ident is None:
            self._source.close()
        else:
            self._reader.join()

    def _verdicts(self) -> Iterator[Verdict]:
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
                self._window.answer(message.seq)
                self._next_seq = message.seq + 1
                self._patience.renew()
                yield verdict_from(message)
        if not self._window.is_done and not self._is_closing.is_set():
            raise ServerError("expected a verdict on every frame, but the server ended the call before")

    def _accept(self, opened: pb.IngestOpened) -> None:
        self._openings += 1
        self._window.widen(opened.limits.frames_in_flight)
        if self._openings == 1:
            self._limit_bytes = min(MESSAGE_BYTES, opened.limits.message_bytes or MESSAGE_BYTES)
            self._first_seq = self._next_seq = opened.next_seq
            self._reader.start()
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
        yield pb.IngestRequest(opening=self._opening())
        while frames := self._window.take(number):
            yield pb.IngestRequest(frames=pb.IngestFrames(frames=frames))

    def _opening(self) -> pb.IngestOpening:
        terms = self._terms
        is_session_clock = self._source.clock is Clock.SESSION
        start_time = terms.start_time if is_session_clock else None
        return pb.IngestOpening(
            stream=stream_resource(terms.memory, terms.stream),
            session_id=terms.session_id,
            clock=pb.CAPTURE_CLOCK_SESSION if is_session_clock else pb.CAPTURE_CLOCK_SOURCE,
            start_time=None if start_time is None else timestamp_from(start_time),
        )

    def _read_source(self) -> None:
        with self._window as window, closing(self._source) as source:
            jpeg = JpegEncoder() if self._terms.transport == "jpeg" else None
            for seq, frame in enumerate(source.frames()):
                if self._is_closing.is_set():
                    return
                if seq < self._first_seq:
                    self._skipped_frames += 1
                elif not window.add(self._frame(seq, frame, jpeg)):
                    return

    def _frame(self, seq: int, frame: SourceFrame, jpeg: JpegEncoder | None) -> pb.Frame:
        picture = raw_picture(frame.picture) if jpeg is None else pb.Picture(compressed=jpeg.encode(frame.picture))
        size_bytes = picture_bytes(picture)
        if size_bytes + _ENVELOPE_BYTES > self._limit_bytes:
            raise PictureRefused(
                f"frame {seq}: expected at most {self._limit_bytes} bytes a message, got {size_bytes}; "
                "the transport 'jpeg' makes pictures smaller",
                reason="PICTURE_TOO_LARGE",
            )
        is_source_clock = self._source.clock is Clock.SOURCE
        if is_source_clock != (frame.capture_time is not None):
            raise InvalidRequest(f"frame {seq}: expected a capture time on every frame or on none")
        return pb.Frame(
            seq=seq,
            pts_us=frame.pts_us,
            capture_time=None if frame.capture_time is None else timestamp_from(frame.capture_time),
            picture=picture,
        )
