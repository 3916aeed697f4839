"""From errors to gRPC statuses: the only place where a status is chosen."""

from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from encoder import errors as encoder_errors
from framekeep.v1.video_memory_pb2 import ErrorReason
from memory_store import errors as store_errors
from service import errors as service_errors

DOMAIN = "framekeep"

TABLE: dict[type[Exception], tuple[StatusCode, "ErrorReason.ValueType"]] = {
    store_errors.InvalidName: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_INVALID_NAME),
    store_errors.InvalidThreshold: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_INVALID_FIELD),
    store_errors.InvalidRetention: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_INVALID_FIELD),
    store_errors.InvalidPolicy: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_INVALID_FIELD),
    store_errors.InvalidHint: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_INVALID_FIELD),
    service_errors.InvalidField: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_INVALID_FIELD),
    encoder_errors.PictureUnreadable: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_PICTURE_UNREADABLE),
    encoder_errors.PictureTooLarge: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_PICTURE_TOO_LARGE),
    encoder_errors.PixelsMismatch: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_PIXELS_MISMATCH),
    store_errors.EmbeddingError: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_EMBEDDING_INVALID),
    service_errors.ProtocolViolation: (StatusCode.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_PROTOCOL_VIOLATION),
    store_errors.MemoryNotFound: (StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_MEMORY_NOT_FOUND),
    store_errors.StreamNotFound: (StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_STREAM_NOT_FOUND),
    store_errors.ExemplarNotFound: (StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_EXEMPLAR_NOT_FOUND),
    store_errors.AttentionVersionNotFound: (
        StatusCode.NOT_FOUND,
        ErrorReason.ERROR_REASON_ATTENTION_VERSION_NOT_FOUND,
    ),
    store_errors.MomentNotFound: (StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_MOMENT_NOT_FOUND),
    store_errors.MemoryExists: (StatusCode.ALREADY_EXISTS, ErrorReason.ERROR_REASON_MEMORY_EXISTS),
    store_errors.StreamExists: (StatusCode.ALREADY_EXISTS, ErrorReason.ERROR_REASON_STREAM_EXISTS),
    service_errors.EncoderMismatch: (StatusCode.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_ENCODER_MISMATCH),
    store_errors.SessionMismatch: (StatusCode.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_SESSION_MISMATCH),
    store_errors.MemoryUnreadable: (StatusCode.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_MEMORY_UNREADABLE),
    store_errors.SequenceGap: (StatusCode.OUT_OF_RANGE, ErrorReason.ERROR_REASON_SEQUENCE_GAP),
    service_errors.SessionTakenOver: (StatusCode.ABORTED, ErrorReason.ERROR_REASON_SESSION_TAKEN_OVER),
    service_errors.EtagMismatch: (StatusCode.ABORTED, ErrorReason.ERROR_REASON_ETAG_MISMATCH),
    store_errors.PolicyChanged: (StatusCode.ABORTED, ErrorReason.ERROR_REASON_ETAG_MISMATCH),
    store_errors.StoreUnavailable: (StatusCode.UNAVAILABLE, ErrorReason.ERROR_REASON_STORE_UNAVAILABLE),
    service_errors.ShuttingDown: (StatusCode.UNAVAILABLE, ErrorReason.ERROR_REASON_SHUTTING_DOWN),
    store_errors.TooManyMemories: (StatusCode.RESOURCE_EXHAUSTED, ErrorReason.ERROR_REASON_TOO_MANY_MEMORIES),
    store_errors.TooManyStreams: (StatusCode.RESOURCE_EXHAUSTED, ErrorReason.ERROR_REASON_TOO_MANY_STREAMS),
    service_errors.TooManySessions: (StatusCode.RESOURCE_EXHAUSTED, ErrorReason.ERROR_REASON_TOO_MANY_SESSIONS),
}
"""Every error that can reach a caller, by its exact class."""

KNOWN_ERRORS = (encoder_errors.EncoderError, store_errors.MemoryStoreError, service_errors.ServiceError)
"""The bases of the errors in the table; anything else is a fault of the server."""

_CODES = {code.value[0]: code for code in StatusCode}


def reason_name(reason: "ErrorReason.ValueType") -> str:
    """Give the name of a reason without its prefix, as it stands in ErrorInfo."""
    return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def status_of(error: Exception) -> Status:
    """Choose the status of an error, with its ErrorInfo."""
    code, reason = TABLE.get(type(error), (StatusCode.INTERNAL, ErrorReason.ERROR_REASON_INTERNAL))
    if code is StatusCode.INTERNAL:
        return _status(code, reason_name(reason), "a fault of the server; its log has the details", {})
    metadata = {}
    match error:
        case store_errors.SequenceGap():
            metadata = {"expected_seq": str(error.expected)}
        case service_errors.InvalidField():
            metadata = {"field": error.field}
        case store_errors.InvalidThreshold():
            metadata = {"field": "novelty_threshold"}
        case store_errors.InvalidRetention():
            metadata = {"field": "retention"}
        case store_errors.InvalidPolicy():
            metadata = {"field": "keeping"}
        case store_errors.InvalidHint():
            metadata = {"field": "labels"}
    return _status(code, reason_name(reason), str(error), metadata)


def status_of_rejection(reason: str, message: str) -> Status:
    """Choose the status of a rejected frame from what is on record about it."""
    codes = {reason_name(known): code for code, known in TABLE.values()}
    return _status(codes.get(reason, StatusCode.UNKNOWN), reason, message, {})


def code_of(status: Status) -> StatusCode:
    """Give the gRPC code of a status."""
    return _CODES[status.code]


def _status(code: StatusCode, reason: str, message: str, metadata: dict[str, str]) -> Status:
    detail = Any()
    detail.Pack(ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata))
    return Status(code=code.value[0], message=message, details=[detail])
