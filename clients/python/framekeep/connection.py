"""The connection to a server: its calls, page by page where there are pages, with failures by name."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

import grpc

from framekeep.errors import error_from_call
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


_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")
_Paged = TypeVar("_Paged", bound=_PagedRequest)
_Pages = TypeVar("_Pages", bound=_Page)


class Connection:
    """A connection to one server, made by the first call. Safe for several threads."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._timeout_s = timeout_s
        self.stub = VideoMemoryServiceStub(self._channel)
        """The contract's calls, with failures as gRPC has them."""

    # The quotes are needed: these classes take their parameters in the type stubs only.
    def call(self, method: "grpc.UnaryUnaryMultiCallable[_Request, _Answer]", request: _Request) -> _Answer:
        """One call.

        Raises:
            FramekeepError: it failed.
        """
        try:
            return method(request, timeout=self._timeout_s)
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

    def close(self) -> None:
        """End all calls. May be called twice."""
        self._channel.close()
