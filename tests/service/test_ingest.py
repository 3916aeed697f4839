"""The Ingest call against a real server: what becomes of good frames, bad ones, and broken rules."""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from encoder.backbone import DIMENSION
from encoder.frame_encoder import Embeddings, OpenVinoEncoder
from encoder.version import EncoderVersion
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store.errors import SequenceGap, StoreUnavailable
from memory_store.records import Clock, Encoded, Verdict
from service.committer import Writer, committed
from serving import RunningServer
from talking import Call, Pixels, file_of, frames, ingest, opening, raw, reason, scene

NOVEL, REPEAT, REJECTED = pb.Verdict.KIND_NOVEL, pb.Verdict.KIND_REPEAT, pb.Verdict.KIND_REJECTED
RGB = pb.PIXEL_FORMAT_RGB24
STREAM = "memories/m/streams/s"


def settled(verdicts: list[pb.Verdict]) -> list[pb.Verdict]:
    """Verdicts without what differs from run to run."""
    for verdict in verdicts:
        verdict.ClearField("timings")
    return verdicts


def contents(stub: VideoMemoryServiceStub, memory: str) -> pb.Contents:
    return stub.GetMemory(pb.GetMemoryRequest(name=memory)).contents


def test_every_frame_gets_its_verdict_in_order(stub: VideoMemoryServiceStub, memory: str) -> None:
    shown = [1, 1, 2, 2, 1, 3]

    verdicts = ingest(stub, STREAM, frames(raw(scene(number)) for number in shown))

    assert [verdict.seq for verdict in verdicts] == [0, 1, 2, 3, 4, 5]
    assert [verdict.kind for verdict in verdicts] == [NOVEL, REPEAT, NOVEL, REPEAT, REPEAT, NOVEL]
    assert [verdict.exemplar[-1] for verdict in verdicts] == ["1", "1", "2", "2", "1", "3"]
    assert not verdicts[0].HasField("novelty")
    assert verdicts[1].novelty < 1e-6
    assert verdicts[2].novelty > 0.1
    assert [verdict.capture_time.ToMicroseconds() for verdict in verdicts[:2]] == [10**12, 10**12 + 100_000]
    held = contents(stub, memory)
    assert (held.frames, held.novel_frames, held.repeat_frames, held.counted_frames) == (6, 3, 3, 6)
    assert held.received_bytes == 6 * 96 * 72 * 3


def test_the_same_pixels_sent_in_any_form_are_the_same_frame(stub: VideoMemoryServiceStub, memory: str) -> None:
    pixels = scene(1)
    padded = np.concatenate([pixels, np.zeros((72, 5, 3), np.uint8)], axis=1)
    strided = pb.RawPixels(width=96, height=72, stride_bytes=303, format=RGB, data=padded.tobytes())
    swapped = pb.RawPixels(width=96, height=72, format=pb.PIXEL_FORMAT_BGR24, data=pixels[:, :, ::-1].tobytes())
    forms = [
        raw(pixels),
        pb.Picture(raw=strided),
        pb.Picture(raw=swapped),
        pb.Picture(compressed=file_of(pixels, "PNG")),
        pb.Picture(compressed=file_of(pixels, "WEBP")),
    ]

    verdicts = ingest(stub, STREAM, frames(forms))

    assert [verdict.kind for verdict in verdicts] == [NOVEL, REPEAT, REPEAT, REPEAT, REPEAT]
    assert [verdict.novelty for verdict in verdicts[1:]] == [pytest.approx(0, abs=1e-6)] * 4


BROKEN_JPEG = file_of(scene(1), "JPEG")[:900]
BAD_PICTURES = {
    "a truncated JPEG": (pb.Picture(compressed=BROKEN_JPEG), "PICTURE_UNREADABLE"),
    "no picture": (pb.Picture(compressed=b"hello"), "PICTURE_UNREADABLE"),
    "empty bytes": (pb.Picture(compressed=b""), "PICTURE_UNREADABLE"),
    "no content": (pb.Picture(), "INVALID_FIELD"),
    "no format": (pb.Picture(raw=pb.RawPixels(width=1, height=1, data=b"abc")), "INVALID_FIELD"),
    "too few bytes": (pb.Picture(raw=pb.RawPixels(width=2, height=2, format=RGB, data=b"abc")), "PIXELS_MISMATCH"),
    "a zero side": (pb.Picture(raw=pb.RawPixels(width=0, height=2, format=RGB)), "PIXELS_MISMATCH"),
    "a negative side": (pb.Picture(raw=pb.RawPixels(width=-1, height=2, format=RGB)), "PIXELS_MISMATCH"),
    "too many pixels": (pb.Picture(raw=pb.RawPixels(width=16000, height=16000, format=RGB)), "PICTURE_TOO_LARGE"),
}


@pytest.mark.parametrize("fault", BAD_PICTURES)
def test_a_bad_picture_is_rejected_and_the_stream_lives(stub: VideoMemoryServiceStub, memory: str, fault: str) -> None:
    picture, expected = BAD_PICTURES[fault]

    verdicts = ingest(stub, STREAM, frames([raw(scene(1)), picture, raw(scene(1))]))

    assert [verdict.kind for verdict in verdicts] == [NOVEL, REJECTED, REPEAT]
    rejection = verdicts[1].rejection
    assert rejection.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "expected" in rejection.message
    assert expected.encode() in rejection.details[0].value
    held = contents(stub, memory)
    assert (held.frames, held.counted_frames, held.rejected_frames) == (3, 2, 1)


def test_frames_with_impossible_times_are_rejected(stub: VideoMemoryServiceStub, memory: str) -> None:
    [before, late, timed, after] = frames([raw(scene(1))] * 4)
    late.pts_us = 2 * 10**15
    timed.capture_time.FromSeconds(5)

    verdicts = ingest(stub, STREAM, [before, late, timed, after])

    assert [verdict.kind for verdict in verdicts] == [NOVEL, REJECTED, REJECTED, REPEAT]
    assert "pts_us" in verdicts[1].rejection.message
    assert "capture_time" in verdicts[2].rejection.message


def test_presentation_times_that_do_not_increase_are_repaired_and_flagged(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    sent = frames([raw(scene(1))] * 3)
    sent[1].pts_us = sent[2].pts_us = 0

    verdicts = ingest(stub, STREAM, sent)

    assert [verdict.pts_repaired for verdict in verdicts] == [False, True, True]
    assert [verdict.capture_time.ToMicroseconds() - 10**12 for verdict in verdicts] == [0, 1, 2]


def test_a_source_with_a_clock_of_its_own_dates_its_frames(stub: VideoMemoryServiceStub, memory: str) -> None:
    sent = frames([raw(scene(1))] * 3)
    for frame, second in zip(sent, (50, 40, 0), strict=True):
        if second:
            frame.capture_time.FromSeconds(second)
    call = Call(stub, pb.IngestOpening(stream=STREAM, session_id=str(uuid.uuid4()), clock=pb.CAPTURE_CLOCK_SOURCE))

    assert call.opened().clock == pb.CAPTURE_CLOCK_SOURCE
    call.send(*sent)
    call.close()
    verdicts = list(call.verdicts())

    assert [verdict.kind for verdict in verdicts] == [NOVEL, REPEAT, REJECTED]
    assert [verdict.capture_time.ToSeconds() for verdict in verdicts[:2]] == [50, 40]


def test_a_gap_ends_the_call_after_the_frames_before_it_were_answered(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    sent = frames(raw(scene(number)) for number in (1, 2, 3, 4))
    call = Call(stub, opening(STREAM, str(uuid.uuid4())))
    call.opened()
    call.send(sent[0], sent[1], sent[3])

    answered: list[int] = []
    with pytest.raises(grpc.RpcError) as error:
        answered.extend(verdict.seq for verdict in call.verdicts())

    assert reason(error.value) == (grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_GAP", {"expected_seq": "2"})
    assert contents(stub, memory).frames == 2


def test_frames_sent_again_get_the_same_verdicts_and_change_nothing(stub: VideoMemoryServiceStub, memory: str) -> None:
    sent = frames([raw(scene(1)), raw(scene(2)), pb.Picture(compressed=b"?"), raw(scene(1))])
    session_id = str(uuid.uuid4())
    first = settled(ingest(stub, STREAM, sent, session_id))
    before = contents(stub, memory)

    call = Call(stub, opening(STREAM, session_id))
    assert call.opened().next_seq == 4
    call.send(sent[1], sent[2])
    call.send(*sent, *frames([raw(scene(3))], 4))
    call.close()
    again = list(call.verdicts())

    assert again[:2] == first[1:3]
    assert again[2:6] == first
    assert (again[6].seq, again[6].kind) == (4, NOVEL)
    after = contents(stub, memory)
    assert (after.frames, after.received_bytes - before.received_bytes) == (5, 96 * 72 * 3)


def test_a_frame_sent_again_while_it_is_in_flight_is_counted_once(stub: VideoMemoryServiceStub, memory: str) -> None:
    sent = frames(raw(scene(number)) for number in (1, 2))

    verdicts = settled(ingest(stub, STREAM, [*sent, *sent, *sent]))

    assert [verdict.seq for verdict in verdicts] == [0, 1, 0, 1, 0, 1]
    assert verdicts[2:4] == verdicts[4:6] == verdicts[:2]
    assert contents(stub, memory).frames == 2


def test_opening_a_connected_session_takes_it_over(stub: VideoMemoryServiceStub, memory: str) -> None:
    session_id = str(uuid.uuid4())
    sent = frames(raw(scene(number)) for number in (1, 2, 3))
    older = Call(stub, opening(STREAM, session_id))
    older.opened()
    older.send(sent[0])
    assert next(older.verdicts()).kind == NOVEL

    newer = Call(stub, opening(STREAM, session_id))

    assert newer.opened().next_seq == 1
    with pytest.raises(grpc.RpcError) as error:
        list(older.verdicts())
    assert reason(error.value)[:2] == (grpc.StatusCode.ABORTED, "SESSION_TAKEN_OVER")
    newer.send(sent[1], sent[2])
    newer.close()
    assert [verdict.kind for verdict in newer.verdicts()] == [NOVEL, NOVEL]
    assert contents(stub, memory).frames == 3


BAD_OPENINGS = {
    "frames first": (None, grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION"),
    "an unknown memory": (("memories/x/streams/s", str(uuid.uuid4())), grpc.StatusCode.NOT_FOUND, "MEMORY_NOT_FOUND"),
    "a bad name": (("memories/m/streams/a b", str(uuid.uuid4())), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME"),
    "no stream": (("memories/m", str(uuid.uuid4())), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME"),
    "no UUID": ((STREAM, "one"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
}


@pytest.mark.parametrize("fault", BAD_OPENINGS)
def test_a_bad_opening_ends_the_call_with_its_reason(stub: VideoMemoryServiceStub, memory: str, fault: str) -> None:
    arguments, code, expected = BAD_OPENINGS[fault]
    call = Call(stub, None if arguments is None else opening(*arguments))
    if arguments is None:
        call.send(*frames([raw(scene(1))]))

    with pytest.raises(grpc.RpcError) as error:
        list(call.verdicts())

    assert reason(error.value)[:2] == (code, expected)


def test_a_second_opening_is_a_violation(stub: VideoMemoryServiceStub, memory: str) -> None:
    call = Call(stub, opening(STREAM, str(uuid.uuid4())))
    call.opened()
    call._requests.put(pb.IngestRequest(opening=opening(STREAM, str(uuid.uuid4()))))

    with pytest.raises(grpc.RpcError) as error:
        list(call.verdicts())

    assert reason(error.value)[1] == "PROTOCOL_VIOLATION"


def test_a_session_keeps_the_clock_it_was_opened_with(stub: VideoMemoryServiceStub, memory: str) -> None:
    session_id = str(uuid.uuid4())
    ingest(stub, STREAM, frames([raw(scene(1))]), session_id)
    call = Call(stub, pb.IngestOpening(stream=STREAM, session_id=session_id, clock=pb.CAPTURE_CLOCK_SOURCE))

    with pytest.raises(grpc.RpcError) as error:
        call.opened()

    assert reason(error.value)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_MISMATCH")


def test_more_sessions_than_the_server_takes_are_refused(stub: VideoMemoryServiceStub, memory: str) -> None:
    calls = [Call(stub, opening(STREAM, str(uuid.uuid4()))) for _ in range(8)]
    assert [call.opened().next_seq for call in calls] == [0] * 8

    with pytest.raises(grpc.RpcError) as error:
        Call(stub, opening(STREAM, str(uuid.uuid4()))).opened()

    assert reason(error.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SESSIONS")
    calls[0].close()
    assert list(calls[0].verdicts()) == []
    last = Call(stub, opening(STREAM, str(uuid.uuid4())))
    assert last.opened().next_seq == 0
    for call in [*calls[1:], last]:
        call.close()


def test_what_two_streams_show_at_once_is_kept_once(stub: VideoMemoryServiceStub, memory: str) -> None:
    calls = [Call(stub, opening(f"memories/m/streams/{name}", str(uuid.uuid4()))) for name in "ab"]
    for call in calls:
        call.opened()
    for call in calls:
        call.send(*frames(raw(scene(number)) for number in range(12)))
        call.close()

    kinds = [verdict.kind for call in calls for verdict in call.verdicts()]

    assert sorted(kinds) == [NOVEL] * 12 + [REPEAT] * 12
    assert contents(stub, memory).exemplars == 12


def test_a_disk_that_refuses_ends_the_call_and_the_frames_can_be_sent_again(
    server: RunningServer, stub: VideoMemoryServiceStub, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = str(uuid.uuid4())
    sent = frames(raw(scene(number)) for number in (1, 2, 3))
    ingest(stub, STREAM, sent[:1], session_id)
    journal = server.store.get("m")._journal

    def refuse(group: object) -> None:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(journal, "commit", refuse)
        call = Call(stub, opening(STREAM, session_id))
        call.opened()
        call.send(*sent[1:])
        with pytest.raises(grpc.RpcError) as error:
            list(call.verdicts())

    assert reason(error.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert contents(stub, memory).frames == 1
    assert [verdict.kind for verdict in ingest(stub, STREAM, sent[1:], session_id)] == [NOVEL, NOVEL]


class FaultyEncoder:
    """The default encoder, which fails while `fails` is set, or claims to be of another version."""

    def __init__(self, encoder: OpenVinoEncoder, version: EncoderVersion) -> None:
        self._encoder = encoder
        self.version = version
        self.input_side_pixels = encoder.input_side_pixels
        self.fails = False

    def encode(self, inputs: Sequence[Pixels]) -> Embeddings:
        if self.fails:
            raise RuntimeError("out of luck")
        return self._encoder.encode(inputs)


@pytest.mark.logs_errors
def test_an_encoder_that_fails_fails_every_waiter_and_the_sessions_can_go_on(
    start_server: Callable[..., RunningServer], encoder: OpenVinoEncoder, tmp_path: Path
) -> None:
    faulty = FaultyEncoder(encoder, encoder.version)
    server = start_server(tmp_path, other_encoder=faulty)
    with grpc.insecure_channel(server.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name="memories/m")))
        sessions = {f"memories/m/streams/{name}": str(uuid.uuid4()) for name in "ab"}
        calls = [Call(stub, opening(*session)) for session in sessions.items()]
        for call in calls:
            call.opened()
        faulty.fails = True
        for call in calls:
            call.send(*frames([raw(scene(1)), raw(scene(2))]))
        for call in calls:
            with pytest.raises(grpc.RpcError) as error:
                list(call.verdicts())
            assert reason(error.value)[:2] == (grpc.StatusCode.INTERNAL, "INTERNAL")
        faulty.fails = False

        for stream, session_id in sessions.items():
            sent = frames([raw(scene(1)), raw(scene(2))])
            assert len(ingest(stub, stream, sent, session_id)) == 2
        assert contents(stub, "memories/m").frames == 4


def test_a_memory_of_another_encoder_is_refused_but_can_be_read(
    start_server: Callable[..., RunningServer], encoder: OpenVinoEncoder, tmp_path: Path
) -> None:
    first = start_server(tmp_path)
    with grpc.insecure_channel(first.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name="memories/m")))
        ingest(stub, STREAM, frames([raw(scene(1))]))
    first.stop()
    other = EncoderVersion("other", "0" * 64, "squash-224-area", "none", "f32", DIMENSION)

    second = start_server(tmp_path, other_encoder=FaultyEncoder(encoder, other))

    with grpc.insecure_channel(second.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            Call(stub, opening(STREAM, str(uuid.uuid4()))).opened()
        assert reason(error.value)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "ENCODER_MISMATCH")
        assert "other" in str(error.value.details())
        with pytest.raises(grpc.RpcError) as error:
            stub.Query(pb.QueryRequest(memory="memories/m", picture=raw(scene(1))))
        assert reason(error.value)[1] == "ENCODER_MISMATCH"
        assert stub.Query(pb.QueryRequest(memory="memories/m", exemplar="memories/m/exemplars/1")).seen


def test_a_stopping_server_answers_what_it_took_and_says_so(
    server: RunningServer, stub: VideoMemoryServiceStub, memory: str
) -> None:
    call = Call(stub, opening(STREAM, str(uuid.uuid4())))
    call.opened()
    call.send(*frames(raw(scene(number)) for number in range(20)))
    verdicts = call.verdicts()
    answered = [next(verdicts).seq]

    server.stop()
    with pytest.raises(grpc.RpcError) as error:
        answered.extend(verdict.seq for verdict in verdicts)

    assert reason(error.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert answered == list(range(len(answered)))


def test_sessions_of_a_deleted_memory_end_with_not_found(stub: VideoMemoryServiceStub, memory: str) -> None:
    call = Call(stub, opening(STREAM, str(uuid.uuid4())))
    call.opened()
    call.send(*frames([raw(scene(1))]))
    assert next(call.verdicts()).kind == NOVEL

    stub.DeleteMemory(pb.DeleteMemoryRequest(name=memory))
    call.send(*frames([raw(scene(2))], 1))

    with pytest.raises(grpc.RpcError) as error:
        list(call.verdicts())
    assert reason(error.value)[:2] == (grpc.StatusCode.NOT_FOUND, "MEMORY_NOT_FOUND")


def test_a_client_that_goes_away_leaves_its_session_open_for_another_call(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    session_id = str(uuid.uuid4())
    call = Call(stub, opening(STREAM, session_id))
    call.opened()
    call.send(*frames([raw(scene(1))]))
    assert next(call.verdicts()).seq == 0

    call._responses.cancel()
    resumed = Call(stub, opening(STREAM, session_id))

    assert resumed.opened().next_seq == 1
    resumed.close()


def test_a_new_threshold_is_obeyed_by_the_next_frame_of_a_running_session(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    call = Call(stub, opening(STREAM, str(uuid.uuid4())))
    assert call.opened().novelty_threshold == 0.1
    verdicts = call.verdicts()
    call.send(*frames([raw(scene(1)), raw(scene(1, brightness=20))]))
    first, nudged = next(verdicts), next(verdicts)
    assert (first.kind, nudged.kind) == (NOVEL, REPEAT)

    changed = pb.UpdateMemoryRequest(memory=pb.Memory(name=memory, novelty_threshold=nudged.novelty / 2))
    changed.update_mask.paths.append("novelty_threshold")
    revision = stub.UpdateMemory(changed).policy_revision
    call.send(*frames([raw(scene(1, brightness=20)), raw(scene(1))], 2))
    call.close()

    [strict, back] = list(verdicts)
    assert (strict.kind, back.kind) == (NOVEL, REPEAT)
    assert [verdict.policy_revision for verdict in (first, strict)] == [1, revision]
    sightings = stub.GetTimeline(pb.GetTimelineRequest(stream=STREAM)).sightings
    assert [sighting.novelty_threshold for sighting in sightings] == [0.1, nudged.novelty / 2, nudged.novelty / 2]


def test_clients_that_go_away_harm_no_other_session(stub: VideoMemoryServiceStub, memory: str) -> None:
    honest = Call(stub, opening(STREAM, str(uuid.uuid4())))
    honest.opened()
    verdicts = honest.verdicts()
    for place in range(30):
        leaving = Call(stub, opening("memories/m/streams/other", str(uuid.uuid4())))
        leaving.opened()
        leaving.send(*frames(raw(scene(number)) for number in range(1 + place % 5)))
        honest.send(*frames([raw(scene(place % 7))], place))
        if place % 2:
            next(leaving.verdicts())
        leaving._responses.cancel()
        assert next(verdicts).seq == place
    honest.close()

    assert list(verdicts) == []
    held = contents(stub, memory)
    assert held.frames == held.counted_frames


def test_a_session_whose_frames_do_not_fit_fails_alone(
    server: RunningServer, stub: VideoMemoryServiceStub, memory: str
) -> None:
    """What a fault of one session's arrivals would do, which the service does not let through."""
    [broken, sound] = [
        server.store.get("m").open_session(name, str(uuid.uuid4()), Clock.SESSION, 0) for name in ("broken", "sound")
    ]
    unit = np.eye(DIMENSION, dtype=np.float32)
    items = [
        (writer, Encoded(session.id, seq, seq, None, 1, unit[seq], lambda: b""))
        for (writer, session, seqs) in (
            (Writer(server.store.get("m")), broken, (0, 5)),
            (Writer(server.store.get("m")), sound, (0, 1)),
        )
        for seq in seqs
    ]

    results = committed([items[0], items[2], items[1], items[3]])

    assert [type(result) for result in results] == [SequenceGap, Verdict, SequenceGap, Verdict]


def test_more_frames_in_a_message_than_are_taken_end_the_call(stub: VideoMemoryServiceStub, memory: str) -> None:
    call = Call(stub, opening(STREAM, str(uuid.uuid4())))
    most = call.opened().limits.frames_per_message
    call.send(*[pb.Frame(seq=seq) for seq in range(most + 1)])

    with pytest.raises(grpc.RpcError) as error:
        list(call.verdicts())

    assert reason(error.value)[1:] == ("INVALID_FIELD", {"field": "frames"})
