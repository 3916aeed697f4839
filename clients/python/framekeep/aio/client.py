"""The client of a framekeep server for asyncio: `framekeep.Client`, its waiting done in threads.

Requests, conversions and streams are those of the other client; here is only how tasks wait for them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self
from uuid import UUID
from weakref import WeakSet

from framekeep.aio.calls import Calls
from framekeep.aio.push import OnVerdict, PushSession
from framekeep.aio.runs import Run, StreamRun
from framekeep.client import DEFAULT_ADDRESS, RECONNECT_S, TIMEOUT_S, Streams
from framekeep.connection import Connection, LeavableConnection, channel_to
from framekeep.containers import STALL_S
from framekeep.locations import Location, Pictures
from framekeep.questions import ContextQuery
from framekeep.session import Transport


class Client(Calls):
    """A connection to a server, made by the first call, for the tasks of one event loop.

    The methods are those of `framekeep.Client`, which says what they take, return and raise. A task that is cancelled
    takes its call along; whether the server has changed something by then is not known.

    Example:
        >>> async def main():
        ...     async with Client("localhost:50051") as fk:
        ...         async for verdict in fk.stream("lobby.mp4", memory="lobby"):
        ...             if verdict.kind is VerdictKind.NOVEL:
        ...                 print(verdict.seq, verdict.exemplar)
        ...         answer = await fk.query("lobby", image="person.jpg")
        ...         print(answer.seen)
        >>> asyncio.run(main())
        0 1
        10 2
        20 3
        True
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout_s: float = TIMEOUT_S) -> None:
        """Name a server.

        Args:
            address: `host:port`.
            timeout_s: how long a call may take; what goes on as long as it takes, such as a stream, has no limit.
        """
        super().__init__(Connection(channel_to(address), timeout_s))
        self._runs: WeakSet[StreamRun] = WeakSet()
        self._sessions: WeakSet[PushSession] = WeakSet()

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """End all streams and sessions, as they are, and the connection. May be called twice."""
        for run in list(self._runs):
            await run.close()
        for session in list(self._sessions):
            await session.close(flush=False)
        self._connection.close()
        await self._workers.close()

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
        """Prepare to stream a source; iterating over what is returned opens it and does so."""
        return self._prepared(
            lambda streams: streams.stream(
                source,
                memory=memory,
                stream=stream,
                session_id=session_id,
                start_time=start_time,
                frames_per_second=frames_per_second,
                file_times=file_times,
                stall_s=stall_s,
                create_memory=create_memory,
                novelty_threshold=novelty_threshold,
                labels=labels,
                context=context,
                transport=transport,
                reconnect_s=reconnect_s,
            )
        )

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
    ) -> StreamRun:
        """Prepare to stream a source until it is closed, whatever is lost meanwhile."""
        return self._prepared(
            lambda streams: streams.stream_forever(
                source,
                memory=memory,
                stream=stream,
                session_id=session_id,
                start_time=start_time,
                frames_per_second=frames_per_second,
                file_times=file_times,
                stall_s=stall_s,
                create_memory=create_memory,
                novelty_threshold=novelty_threshold,
                labels=labels,
                context=context,
                transport=transport,
            )
        )

    def _prepared(self, begin: Callable[[Streams], Run]) -> StreamRun:
        connection = LeavableConnection(self._connection)
        streams = Streams(connection)
        run = StreamRun(partial(begin, streams), partial(_leave, connection, streams))
        self._runs.add(run)
        return run

    def open_stream(
        self,
        stream: str,
        *,
        memory: str,
        on_verdict: OnVerdict | None = None,
        create_memory: bool = True,
        novelty_threshold: float | None = None,
        context: ContextQuery | None = None,
        transport: Transport = "raw",
        reconnect_s: float = RECONNECT_S,
    ) -> PushSession:
        """Prepare a session into which frames are sent one by one; `async with` opens it.

        `on_verdict` is called by the event loop, and awaited if it is a coroutine function.
        """
        connection = LeavableConnection(self._connection)
        streams = Streams(connection)
        begin = partial(
            streams.open_stream,
            stream,
            memory=memory,
            create_memory=create_memory,
            novelty_threshold=novelty_threshold,
            context=context,
            transport=transport,
            reconnect_s=reconnect_s,
        )
        session = PushSession(lambda called: begin(on_verdict=called), partial(_leave, connection, streams), on_verdict)
        self._sessions.add(session)
        return session


def _leave(connection: LeavableConnection, streams: Streams) -> None:
    connection.leave()
    streams.begin_end()
