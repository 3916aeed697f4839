"""A source of frames into a session: a thread decodes into the window, the caller's thread reads the verdicts."""

import threading
from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Self

from framekeep.errors import InvalidRequest
from framekeep.session import Session, SessionTerms
from framekeep.sources import Source
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from framekeep.verdicts import StreamSummary, Verdict
from framekeep.window import Window


class StreamRun:
    """One run of a stream into a memory: iterate over it for the verdicts, or `run` it.

    Leaving the loop or the `with` block ends the call; frames that were acknowledged stay. One run is iterated once,
    by one thread. Closing waits until the source has given its current frame.
    """

    def __init__(self, stub: VideoMemoryServiceStub, source: Source, terms: SessionTerms) -> None:
        self._source = source
        self._window = Window()
        self._session = Session(stub, terms, self._window, self._start_reading)
        self._reader = threading.Thread(target=self._read_source, name="framekeep-source", daemon=True)
        self._first_seq = 0
        self._skipped_frames = 0

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
        if self._session.is_started:
            raise InvalidRequest("a run can be iterated once; open the stream again with its session id to go on")
        try:
            yield from self._session.verdicts()
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
    def is_live(self) -> bool:
        """The source shows what happens now, and may come back after it was lost."""
        return self._source.is_live

    @property
    def summary(self) -> StreamSummary:
        """The sum of the run so far."""
        return self._session.summary(
            skipped_frames=self._skipped_frames,
            damaged_frames=self._source.damaged_frames,
            dropped_frames=self._source.dropped_frames,
        )

    def end(self) -> None:
        """End the call, without waiting for anything; `close` follows."""
        self._session.close()

    def close(self) -> None:
        """End the call, the thread and the source. May be called twice."""
        self.end()
        self._source.interrupt()
        if self._reader.ident is None:
            self._source.close()
        else:
            self._reader.join()

    def _start_reading(self, first_seq: int) -> None:
        self._first_seq = first_seq
        self._reader.start()

    def _read_source(self) -> None:
        with self._window as window, closing(self._source) as source:
            for seq, frame in enumerate(source.frames()):
                if self._session.is_closing:
                    return
                if seq < self._first_seq and not source.is_live:
                    self._skipped_frames += 1
                elif not window.add(self._session.message_from(frame, f"frame {seq}")):
                    return
