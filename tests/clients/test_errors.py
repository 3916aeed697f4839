import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from framekeep import errors
from framekeep.v1.video_memory_pb2 import ErrorReason

REASONS = [name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()[1:]]


def status(code: grpc.StatusCode, reason: str, domain: str = "framekeep") -> status_pb2.Status:
    detail = Any()
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"field": "name"})
    detail.Pack(info)
    return status_pb2.Status(code=code.value[0], message="expected this, got that", details=[detail])


def test_every_reason_of_the_contract_has_an_exception() -> None:
    assert errors.reasons() == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_reason_message_and_metadata_are_carried_over(reason: str) -> None:
    error = errors.error_from_status(status(grpc.StatusCode.UNKNOWN, reason))

    assert isinstance(error, errors.FramekeepError)
    assert (error.reason, error.message, dict(error.metadata)) == (reason, "expected this, got that", {"field": "name"})
    assert str(error) == error.message


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.ServerUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.ServerTimeout),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
        (grpc.StatusCode.UNIMPLEMENTED, errors.ServerError),
    ],
)
def test_the_status_decides_where_no_reason_is_known(code: grpc.StatusCode, kind: type[errors.FramekeepError]) -> None:
    assert type(errors.error_from_status(status_pb2.Status(code=code.value[0]))) is kind
    assert type(errors.error_from_status(status(code, "NEW_ONE"))) is kind
    assert type(errors.error_from_status(status(code, "MEMORY_NOT_FOUND", domain="another"))) is kind


def test_broken_details_do_not_hide_the_status() -> None:
    broken = Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")

    error = errors.error_from_status(status_pb2.Status(code=5, message="gone", details=[broken]))

    assert (type(error), error.message, error.reason) == (errors.NotFound, "gone", "")
