"""Sessions that ask for the context of each frame: what comes back is what a query gave before the frame was stored."""

import uuid

import grpc
import numpy as np
import pytest

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from talking import Call, frames, ingest, opening, raw, reason, scene

STREAM = "memories/m/streams/s"


def _asking(stub: VideoMemoryServiceStub, context: pb.ContextRequest, session_id: str | None = None) -> Call:
    message = opening(STREAM, session_id or str(uuid.uuid4()))
    message.context.CopyFrom(context)
    return Call(stub, message)


def _one_by_one(call: Call, sent: list[pb.Frame]) -> list[pb.Verdict]:
    """Send each frame when the one before has its verdict."""
    call.opened()
    verdicts = []
    answers = call.verdicts()
    for frame in sent:
        call.send(frame)
        verdicts.append(next(answers))
    call.close()
    assert list(answers) == []
    return verdicts


def test_each_verdict_has_what_attention_gives_over_what_was_stored_before(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    shown = [raw(scene(number)) for number in (1, 2, 1, 3)]
    ingest(stub, "memories/m/streams/before", frames([raw(scene(4))]), start_s=900_000)

    verdicts = _one_by_one(_asking(stub, pb.ContextRequest(inverse_temperature=7)), frames(shown))

    for place, verdict in enumerate(verdicts):
        as_of = pb.QueryRequest(memory=memory, picture=shown[place], inverse_temperature=7)
        # Frames are 0.1 s apart: what was stored before this one was captured up to the one before it.
        as_of.as_of.FromMicroseconds(10**12 + 100_000 * (place - 1))
        expected = stub.Query(as_of).attention.context_vector.values
        np.testing.assert_allclose(verdict.context_vector.values, expected, atol=1e-6)


def test_the_first_frame_of_an_empty_memory_has_no_context_and_rejected_frames_have_none(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    sent = frames([raw(scene(1)), pb.Picture(compressed=b"no picture"), raw(scene(2))])

    verdicts = _one_by_one(_asking(stub, pb.ContextRequest()), sent)

    assert [verdict.HasField("context_vector") for verdict in verdicts] == [False, False, True]
    own = stub.Encode(pb.EncodeRequest(pictures=[raw(scene(1))])).embeddings[0].values
    np.testing.assert_allclose(verdicts[2].context_vector.values, own, atol=1e-6)


def test_sessions_that_do_not_ask_get_no_context_and_replayed_frames_neither(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    session_id = str(uuid.uuid4())
    sent = frames([raw(scene(1)), raw(scene(2))])
    ingested = ingest(stub, STREAM, sent, session_id)

    again = _one_by_one(_asking(stub, pb.ContextRequest(), session_id), sent)

    assert not any(verdict.HasField("context_vector") for verdict in [*ingested, *again])


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (pb.ContextRequest(inverse_temperature=-1), (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")),
        (pb.ContextRequest(inverse_temperature=10_001), (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")),
        (pb.ContextRequest(attention_version="no"), (grpc.StatusCode.NOT_FOUND, "ATTENTION_VERSION_NOT_FOUND")),
    ],
)
def test_contexts_that_cannot_be_given_are_refused_when_the_session_is_opened(
    stub: VideoMemoryServiceStub, memory: str, context: pb.ContextRequest, expected: tuple[grpc.StatusCode, str]
) -> None:
    call = _asking(stub, context)

    with pytest.raises(grpc.RpcError) as refused:
        call.opened()

    assert reason(refused.value)[:2] == expected
    call.close()
