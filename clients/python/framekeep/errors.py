"""What can go wrong, by name: gRPC statuses and their reasons become exceptions here, and nowhere else."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

_DOMAIN = "framekeep"
_DETAILS_KEY = "grpc-status-details-bin"


class FramekeepError(Exception):
    """Base of all errors of this package."""

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What was expected and what came."""
        self.reason = reason
        """Name of an ErrorReason of the contract without its prefix; empty if the server did not give one."""
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        """What the server added, such as `field` or `expected_seq`."""


class InvalidRequest(FramekeepError):
    """An argument of the wrong form or range. Nothing was changed; the same call fails again."""


class PictureRefused(InvalidRequest):
    """A picture that cannot be read, is too large, or whose size and bytes do not agree."""


class NotFound(FramekeepError):
    """Something that was named does not exist."""


class MemoryNotFound(NotFound):
    """There is no memory of this name."""


class StreamNotFound(NotFound):
    """The memory has no stream of this name."""


class ExemplarNotFound(NotFound):
    """The memory has no exemplar of this id."""


class MomentNotFound(NotFound):
    """The stream showed nothing at or before that time."""


class AttentionVersionNotFound(NotFound):
    """The memory has no such version of attention, or it was fitted to what came after `as_of`."""


class AlreadyExists(FramekeepError):
    """The name is taken; nothing was changed."""


class EncoderMismatch(FramekeepError):
    """The memory belongs to another encoder version than this server runs."""


class SessionMismatch(FramekeepError):
    """The session was first opened with another clock."""


class MemoryUnreadable(FramekeepError):
    """The server cannot read the file of a memory: it is damaged, not whole or none, or a newer framekeep wrote it."""


class SequenceGap(FramekeepError):
    """Frames are missing before the ones that were sent; metadata `expected_seq` says from where to send."""


class SessionTakenOver(FramekeepError):
    """Another call opened the same session; what was acknowledged until then stays."""


class Conflict(FramekeepError):
    """The resource changed since its etag was read, and was left as it is: get it again."""


class TooManySessions(FramekeepError):
    """As many sessions are connected as the server takes; try again later."""


class TooManyMemories(FramekeepError):
    """There are as many memories as the server takes; nothing was created. Delete one, or raise its limit."""


class TooManyStreams(FramekeepError):
    """The memory has as many streams as the server takes; nothing was created."""


class ServerUnavailable(FramekeepError):
    """The server cannot be reached, is stopping, or its disk refuses. The call may be made again."""


class ServerTimeout(ServerUnavailable):
    """No answer in time. Whether a change was made is not known."""


class ServerError(FramekeepError):
    """A fault of the server, or an answer that breaks the contract."""


class ServerNotStarted(FramekeepError):
    """A server of one's own did not start; the message is the one that it left."""


class ServerNotInstalled(ServerNotStarted):
    """There is no program `framekeep-server` on this machine, or not where it is looked for."""


class WindowFull(FramekeepError):
    """As many frames wait for their verdicts as may; the frame was not taken. Send it again, or leave it out."""


class SessionClosed(FramekeepError):
    """The session was closed, so the frame was not taken, or its verdict will not come."""


class SourceError(FramekeepError):
    """A file or other source of pictures cannot be read, or broke off. Frames before the fault were sent."""


class TransferError(FramekeepError):
    """A memory could not be written to a file or read from one. Nothing is left under the name it was to have."""


_BY_REASON: Mapping[str, type[FramekeepError]] = MappingProxyType(
    {
        "INVALID_NAME": InvalidRequest,
        "INVALID_FIELD": InvalidRequest,
        "PICTURE_UNREADABLE": PictureRefused,
        "PICTURE_TOO_LARGE": PictureRefused,
        "PIXELS_MISMATCH": PictureRefused,
        "EMBEDDING_INVALID": InvalidRequest,
        "PROTOCOL_VIOLATION": InvalidRequest,
        "MEMORY_NOT_FOUND": MemoryNotFound,
        "STREAM_NOT_FOUND": StreamNotFound,
        "EXEMPLAR_NOT_FOUND": ExemplarNotFound,
        "MOMENT_NOT_FOUND": MomentNotFound,
        "MEMORY_EXISTS": AlreadyExists,
        "STREAM_EXISTS": AlreadyExists,
        "ENCODER_MISMATCH": EncoderMismatch,
        "SESSION_MISMATCH": SessionMismatch,
        "MEMORY_UNREADABLE": MemoryUnreadable,
        "SEQUENCE_GAP": SequenceGap,
        "SESSION_TAKEN_OVER": SessionTakenOver,
        "ETAG_MISMATCH": Conflict,
        "STORE_UNAVAILABLE": ServerUnavailable,
        "SHUTTING_DOWN": ServerUnavailable,
        "TOO_MANY_SESSIONS": TooManySessions,
        "INTERNAL": ServerError,
        "TOO_MANY_MEMORIES": TooManyMemories,
        "TOO_MANY_STREAMS": TooManyStreams,
        "ATTENTION_VERSION_NOT_FOUND": AttentionVersionNotFound,
    }
)

_BY_STATUS: Mapping[grpc.StatusCode, type[FramekeepError]] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
        grpc.StatusCode.NOT_FOUND: NotFound,
        grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
        grpc.StatusCode.OUT_OF_RANGE: SequenceGap,
        grpc.StatusCode.UNAVAILABLE: ServerUnavailable,
        grpc.StatusCode.DEADLINE_EXCEEDED: ServerTimeout,
    }
)
"""For answers without a reason: from gRPC itself, a proxy, or a server of another kind. Others are ServerError."""


def reasons() -> frozenset[str]:
    """All reasons that become an exception of their own."""
    return frozenset(_BY_REASON)


def error_info(status: status_pb2.Status) -> tuple[str, dict[str, str]]:
    """The reason and the metadata in the details of a status; empty if there are none from framekeep."""
    for detail in status.details:
        info = _unpacked(detail)
        if info is not None and info.domain == _DOMAIN:
            return info.reason, dict(info.metadata)
    return "", {}


def _unpacked(detail: Any) -> error_details_pb2.ErrorInfo | None:
    info = error_details_pb2.ErrorInfo()
    try:
        return info if detail.Unpack(info) else None
    except DecodeError:  # broken details must not hide the status they came with
        return None


def error_from_status(status: status_pb2.Status) -> FramekeepError:
    """The exception for a status inside an answer, such as the rejection of a frame."""
    reason, metadata = error_info(status)
    codes = {code.value[0]: code for code in grpc.StatusCode}
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(codes.get(status.code, grpc.StatusCode.UNKNOWN), ServerError)
    return kind(status.message, reason=reason, metadata=metadata)


def error_from_call(error: grpc.RpcError) -> FramekeepError:
    """The exception for a call that failed.

    The error is a `grpc.Call` too whenever it comes from a call; the status details are in its trailing metadata.
    """
    if not isinstance(error, grpc.Call):
        return ServerError(str(error))
    code = error.code()
    message = error.details() or code.name
    reason, metadata = error_info(_status_details(error.trailing_metadata()))
    if code is grpc.StatusCode.UNAVAILABLE and not reason:
        message = f"the server cannot be reached: {message}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"the server did not answer in time: {message}"
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(code, ServerError)
    return kind(message, reason=reason, metadata=metadata)


def _status_details(trailers: Iterable[tuple[str, str | bytes]] | None) -> status_pb2.Status:
    for key, value in trailers or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:  # as above
                break
    return status_pb2.Status(code=code_pb2.UNKNOWN)
