"""The connection to a server: its calls, page by page where there are pages, with failures by name."""

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, TypeVar

import grpc

from framekeep.errors import FramekeepError, InvalidRequest, error_from_call
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub

MESSAGE_BYTES = 128 * 2**20
"""The largest message in either direction: a raw picture of 40 million pixels fits."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # gRPC's own 120 s would outlast the time in which a session may reconnect.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A half-open connection is noticed within 40 s, not when TCP gives up after a quarter of an hour.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class _PagedRequest(Protocol):
    page_token: str


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")
_Paged = TypeVar("_Paged", bound=_PagedRequest)
_Pages = TypeVar("_Pages", bound=_Page)
_Call = TypeVar("_Call", bound=_Cancellable)


def channel_to(address: str) -> grpc.Channel:
    """A channel to `host:port`, connected by the first call."""
    return grpc.insecure_channel(address, options=_OPTIONS)


class Connection:
    """A connection to one server, made by the first call. Safe for several threads."""

    def __init__(self, channel: grpc.Channel, timeout_s: float) -> None:
        self.channel = channel
        """What it is made of."""
        self.timeout_s = timeout_s
        """How long a call may take."""
        self._is_closed = False
        self.stub = VideoMemoryServiceStub(channel)
        """The contract's calls, with failures as gRPC has them."""

    # The quotes are needed: these classes take their parameters in the type stubs only.
    def call(
        self, method: "grpc.UnaryUnaryMultiCallable[_Request, _Answer]", request: _Request, *, lasting: bool = False
    ) -> _Answer:
        """One call; a lasting one may take as long as it takes.

        Raises:
            FramekeepError: it failed.
        """
        self.refuse_if_closed()
        try:
            return method(request, timeout=None if lasting else self.timeout_s)
        except grpc.RpcError as error:
            raise error_from_call(error) from error

    def pages(self, method: "grpc.UnaryUnaryMultiCallable[_Paged, _Pages]", request: _Paged) -> Iterator[_Pages]:
        """One page after the other, each fetched when it is asked for; `request` is changed on the way.

        Raises:
            FramekeepError: a call failed.
        """
        while True:
            page = self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def answers(
        self, method: "grpc.UnaryStreamMultiCallable[_Request, _Answer]", request: _Request
    ) -> Generator[_Answer, None, None]:
        """The answers of one call as they come, however long that takes; leaving the iteration ends the call.

        Raises:
            FramekeepError: it failed.
        """
        self.refuse_if_closed()
        yield from _answers(method(request))

    def upload(
        self, method: "grpc.StreamUnaryMultiCallable[_Request, _Answer]", requests: Iterator[_Request]
    ) -> _Answer:
        """One call with many requests, which another thread takes from the iterator; however long that takes.

        Raises:
            FramekeepError: it failed.
        """
        self.refuse_if_closed()
        return _uploaded(method.future(requests))

    def close(self) -> None:
        """End all calls. May be called twice."""
        self._is_closed = True
        self.channel.close()

    def refuse_if_closed(self) -> None:
        """Do nothing while calls can be made.

        Raises:
            InvalidRequest: it was closed.
        """
        if self._is_closed:
            raise InvalidRequest("expected a client that is open, but it was closed")


def _answers(call: Any) -> Generator[Any, None, None]:
    try:
        yield from call
    except grpc.RpcError as error:
        raise error_from_call(error) from error
    finally:
        call.cancel()


def _uploaded(call: "grpc.Future[_Answer]") -> _Answer:
    try:
        return call.result()
    except grpc.RpcError as error:
        raise error_from_call(error) from error
    finally:
        call.cancel()  # what is interrupted here must not go on behind the caller's back


class CallerLeft(Exception):
    """The caller of a `LeavableConnection` left before the answer came."""


class LeavableConnection(Connection):
    """The calls of one caller on a connection that others share; the caller may leave in the middle of a call."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.channel, connection.timeout_s)
        self._shared = connection
        self._lock = threading.Lock()
        self._current: _Cancellable | None = None
        self._has_left = False

    def call(
        self, method: "grpc.UnaryUnaryMultiCallable[_Request, _Answer]", request: _Request, *, lasting: bool = False
    ) -> _Answer:
        """One call; a lasting one may take as long as it takes.

        Raises:
            CallerLeft: `leave` was called.
            FramekeepError: it failed.
        """
        timeout_s = None if lasting else self.timeout_s
        current = self._begun(lambda: method.future(request, timeout=timeout_s))
        try:
            return current.result()
        except grpc.FutureCancelledError as error:
            raise CallerLeft from error
        except grpc.RpcError as error:
            raise error_from_call(error) from error

    def answers(
        self, method: "grpc.UnaryStreamMultiCallable[_Request, _Answer]", request: _Request
    ) -> Generator[_Answer, None, None]:
        """The answers of one call as they come, however long that takes; leaving the iteration ends the call.

        Raises:
            CallerLeft: `leave` was called.
            FramekeepError: it failed.
        """
        current = self._begun(lambda: method(request))
        try:
            yield from _answers(current)
        except FramekeepError as error:
            if self._has_left:
                raise CallerLeft from error
            raise

    def upload(
        self, method: "grpc.StreamUnaryMultiCallable[_Request, _Answer]", requests: Iterator[_Request]
    ) -> _Answer:
        """One call with many requests, which another thread takes from the iterator; however long that takes.

        Raises:
            CallerLeft: `leave` was called.
            FramekeepError: it failed.
        """
        current = self._begun(lambda: method.future(requests))
        try:
            return _uploaded(current)
        except grpc.FutureCancelledError as error:
            raise CallerLeft from error

    def _begun(self, begin: Callable[[], _Call]) -> _Call:
        self._shared.refuse_if_closed()
        with self._lock:
            if self._has_left:
                raise CallerLeft
            self._current = call = begin()
        return call

    def leave(self) -> None:
        """Cancel the call that is in progress; no other begins."""
        with self._lock:
            self._has_left = True
            if self._current is not None:
                self._current.cancel()
