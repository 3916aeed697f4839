"""The client of a framekeep server: its calls, and its streams."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4
from weakref import WeakSet

from framekeep import names
from framekeep.answers import Clock
from framekeep.connection import Connection, channel_to
from framekeep.containers import STALL_S
from framekeep.errors import InvalidRequest
from framekeep.forever import ForeverRun
from framekeep.hints import checked_labels
from framekeep.ingest import StreamRun
from framekeep.locations import Location, Pictures, may_be_live, source_from, stream_name_of
from framekeep.push import PushSession
from framekeep.questions import ContextQuery
from framekeep.session import SessionTerms, Transport
from framekeep.upkeep import Upkeep
from framekeep.verdicts import Verdict

DEFAULT_ADDRESS = "localhost:50051"
"""Where a server listens unless told otherwise."""

TIMEOUT_S = 60.0
"""How long a call may take: a query over a million stays takes a fraction of it."""

RECONNECT_S = 60.0
"""How long a stream tries to reconnect: a server that is started again is back by then."""


class Streams(Upkeep):
    """The calls of a client, and its streams. Safe for several threads."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._runs: WeakSet[StreamRun | ForeverRun] = WeakSet()
        self._sessions: WeakSet[PushSession] = WeakSet()

    def stream(
        self,
        source: Location | Pictures,
        *,
        memory: str,
        stream: str | None = None,
        session_id: str | UUID | None = None,
        start_time: datetime | None = None,
        frames_per_second: float | None = None,
        file_times: bool = False,
        stall_s: float = STALL_S,
        create_memory: bool = True,
        novelty_threshold: float | None = None,
        labels: Sequence[str] = (),
        context: ContextQuery | None = None,
        transport: Transport = "raw",
        reconnect_s: float = RECONNECT_S,
    ) -> StreamRun:
        """Open a source and prepare to stream it; iterating over what is returned does so.

        Args:
            source: a video file, a folder of JPEG, PNG or WebP files, a URL, the number or device of a camera, or
                pictures: arrays RGB uint8 [H, W, 3] or gray uint8 [H, W], evenly spaced by `frames_per_second`, or
                `SourceFrame`s, which carry their times.
            memory: where the frames go.
            stream: the lasting source they come from, created if new; None: named after the source.
            session_id: a UUID; that of an earlier run goes on with it, skipping what was acknowledged. None: a new one.
            start_time: capture time of the first frame; None: the file's `creation_time`, else the server's time now.
            frames_per_second: for arrays; for folders too, None: 1.
            file_times: for folders: the time a file was last changed is its capture time.
            stall_s: for live URLs and cameras: after how long without a frame they count as lost.
            create_memory: create the memory if it does not exist.
            novelty_threshold: of the memory if it is created now, in (0, 2]; None: the default of the server.
            labels: what every frame carries, for queries about some of them; at most 16, each of 1 to 63 characters.
            context: what to ask attention with each frame, for `Verdict.context_vector`; None: nothing.
            transport: `raw` pixels, or `jpeg` for slow networks.
            reconnect_s: how long to try to reconnect without a verdict; 0: not at all.

        Raises:
            SourceError: the source cannot be opened.

        Example:
            >>> with fk.stream("lobby.mp4", memory="lobby") as run:
            ...     for verdict in run:
            ...         if verdict.kind is VerdictKind.NOVEL:
            ...             print(verdict.seq, verdict.exemplar)
            0 1
            10 2
            20 3
        """
        labels = checked_labels(labels)  # before anything is opened
        with ExitStack() as undo:
            opened = source_from(source, frames_per_second=frames_per_second, file_times=file_times, stall_s=stall_s)
            undo.callback(opened.close)
            name = opened.stream_name if stream is None else stream
            if name is None:
                raise InvalidRequest("expected a stream name, since the source has none", reason="INVALID_FIELD")
            terms = SessionTerms(
                memory=memory,
                stream=name,
                session_id=names.checked_session_id(session_id or uuid4()),
                clock=opened.clock,
                start_time=start_time or opened.start_time,
                context=context,
                transport=transport,
                reconnect_s=reconnect_s,
                labels=labels,
            )
            if create_memory:
                self.create_memory(memory, novelty_threshold=novelty_threshold, exist_ok=True)
            undo.pop_all()
        run = StreamRun(self._stub, opened, terms)
        self._runs.add(run)
        return run

    def stream_forever(
        self,
        source: Location,
        *,
        memory: str,
        stream: str | None = None,
        session_id: str | UUID | None = None,
        start_time: datetime | None = None,
        frames_per_second: float | None = None,
        file_times: bool = False,
        stall_s: float = STALL_S,
        create_memory: bool = True,
        novelty_threshold: float | None = None,
        labels: Sequence[str] = (),
        context: ContextQuery | None = None,
        transport: Transport = "raw",
    ) -> ForeverRun:
        """Prepare to stream a source for ever; iterating over what is returned does so.

        A camera or live URL that is lost or was never there is connected again and again, with growing pauses, each
        time as a new session; what else there is is streamed once. The server is waited for without limit.

        Args:
            source: a video file, a folder of JPEG, PNG or WebP files, a URL, or the number or device of a camera.
            memory: as for `stream`, like all that follow.
            stream: as there.
            session_id: as there, but not for cameras and URLs.
            start_time: as there.
            frames_per_second: as there.
            file_times: as there.
            stall_s: as there.
            create_memory: as there.
            novelty_threshold: as there.
            labels: as there.
            context: as there.
            transport: as there.
        """
        may_come_back = may_be_live(source)
        if may_come_back and session_id is not None:
            raise InvalidRequest("expected no session id with a live source, since each connection is a new session")
        fixed_id = None if may_come_back else names.checked_session_id(session_id or uuid4())

        def begin() -> StreamRun:
            if create_memory:  # before the source is opened, whose frames would wait for the server
                self.create_memory(memory, novelty_threshold=novelty_threshold, exist_ok=True)
            return self.stream(
                source,
                memory=memory,
                stream=stream,
                session_id=fixed_id,
                start_time=start_time,
                frames_per_second=frames_per_second,
                file_times=file_times,
                stall_s=stall_s,
                create_memory=False,
                labels=labels,
                context=context,
                transport=transport,
                reconnect_s=math.inf,
            )

        run = ForeverRun(begin, memory, stream or stream_name_of(source) or "", may_come_back=may_come_back)
        self._runs.add(run)
        return run

    def open_stream(
        self,
        stream: str,
        *,
        memory: str,
        on_verdict: Callable[[Verdict], object] | None = None,
        create_memory: bool = True,
        novelty_threshold: float | None = None,
        context: ContextQuery | None = None,
        transport: Transport = "raw",
        reconnect_s: float = RECONNECT_S,
    ) -> PushSession:
        """Open a session into which frames are sent one by one, for instance from a callback.

        Args:
            stream: the lasting source that they come from, created if new.
            memory: where the frames go.
            on_verdict: called with each verdict, in order, by a thread of the session; while it runs, no others come.
                What it raises ends the session.
            create_memory: create the memory if it does not exist.
            novelty_threshold: of the memory if it is created now, in (0, 2]; None: the default of the server.
            context: what to ask attention with each frame, for `Verdict.context_vector`; None: nothing.
            transport: `raw` pixels, or `jpeg` for slow networks.
            reconnect_s: how long to try to reconnect without a verdict; 0: not at all.

        Returns:
            The session, which the server has opened.

        Example:
            >>> verdicts = []
            >>> with fk.open_stream("arm", memory="lab", on_verdict=verdicts.append) as session:
            ...     for _ in range(3):
            ...         session.send(picture, capture_time=datetime.now(UTC))
            >>> [verdict.kind.name for verdict in verdicts]
            ['NOVEL', 'REPEAT', 'REPEAT']
        """
        terms = SessionTerms(
            memory=memory,
            stream=stream,
            session_id=str(uuid4()),
            clock=Clock.SOURCE,
            start_time=None,
            context=context,
            transport=transport,
            reconnect_s=reconnect_s,
        )
        if create_memory:
            self.create_memory(memory, novelty_threshold=novelty_threshold, exist_ok=True)
        session = PushSession(self._stub, terms, on_verdict)
        self._sessions.add(session)
        session.open()
        return session

    def begin_end(self) -> None:
        """Tell all runs and sessions to end as they are, without waiting; frames without a verdict may get none."""
        for run in list(self._runs):
            run.end()
        for session in list(self._sessions):
            session.begin_close(flush=False)

    def end_streams(self) -> None:
        """End all runs and sessions as they are; frames without a verdict may not have been stored."""
        for run in list(self._runs):
            run.close()
        for session in list(self._sessions):
            session.close(flush=False)


class Client(Streams):
    """A connection to a server, made by the first call. Safe for several threads.

    All methods raise a `FramekeepError`: `InvalidRequest` for an argument of the wrong form, `NotFound` for what does
    not exist, `ServerUnavailable` if the server cannot be reached. What else they raise is said at each.

    Example:
        >>> with Client("localhost:50051") as fk:
        ...     summary = fk.stream("lobby.mp4", memory="lobby").run()
        ...     answer = fk.query("lobby", image="person.jpg")
        >>> summary.frames, answer.seen
        (30, True)
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout_s: float = TIMEOUT_S) -> None:
        """Name a server.

        Args:
            address: `host:port`.
            timeout_s: how long a call may take; what goes on as long as it takes, such as a stream, has no limit.
        """
        super().__init__(Connection(channel_to(address), timeout_s))

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End all streams and sessions, as they are, and the connection. May be called twice."""
        self.end_streams()
        self._connection.close()
