"""Forgetting, retention and compaction over the contract, by the values of what was sent, while streams go on."""

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store.removal import Removal
from memory_store.store import MemoryStore
from service import caretaker
from serving import RunningServer
from talking import Call, Pixels, frames, ingest, opening, raw, reason, scene

START_S = 10**6
SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"

Invalid = grpc.StatusCode.INVALID_ARGUMENT


def shown(*scenes: int) -> list[Pixels]:
    """Ten frames of each scene: a second."""
    return [scene(number, brightness) for number in scenes for brightness in range(10)]


def at(seq: float) -> Timestamp:
    """The capture time of a frame of a session that began at `START_S`."""
    stamp = Timestamp()
    stamp.FromMicroseconds(START_S * 10**6 + round(seq * 100_000))
    return stamp


def time_range(first_seq: float | None, end_seq: float | None) -> pb.TimeRange:
    return pb.TimeRange(
        start_time=None if first_seq is None else at(first_seq), end_time=None if end_seq is None else at(end_seq)
    )


def forget(
    stub: VideoMemoryServiceStub, memory: str, first_seq: float | None, end_seq: float | None, *streams: str
) -> pb.ForgetRangeResponse:
    names = [f"{memory}/streams/{stream}" for stream in streams]
    return stub.ForgetRange(
        pb.ForgetRangeRequest(name=memory, time_range=time_range(first_seq, end_seq), streams=names)
    )


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return reason(error.value)


def contents(stub: VideoMemoryServiceStub, memory: str, stream: str | None = None) -> pb.Contents:
    if stream is None:
        return stub.GetMemory(pb.GetMemoryRequest(name=memory)).contents
    return stub.GetStream(pb.GetStreamRequest(name=f"{memory}/streams/{stream}")).contents


def is_accounted_for(held: pb.Contents) -> bool:
    return (
        held.frames
        == held.novel_frames + held.repeat_frames + held.rejected_frames
        == held.counted_frames + held.rejected_frames + held.forgotten_frames
    )


def timeline(stub: VideoMemoryServiceStub, memory: str, stream: str) -> list[pb.Sighting]:
    return list(stub.GetTimeline(pb.GetTimelineRequest(stream=f"{memory}/streams/{stream}")).sightings)


def farthest(stub: VideoMemoryServiceStub, pictures: list[Pixels], of: pb.Exemplar) -> float:
    """The largest cosine distance of some pictures to an exemplar."""
    answer = stub.Encode(pb.EncodeRequest(pictures=map(raw, pictures)))
    embeddings = np.array([embedding.values for embedding in answer.embeddings], np.float64)
    stands = np.array(of.embedding.values, np.float64)
    lengths = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(stands)
    return float((1 - embeddings @ stands / lengths).max())


def exemplar(stub: VideoMemoryServiceStub, name: str) -> pb.Exemplar:
    return stub.GetExemplar(pb.GetExemplarRequest(name=name, include_thumbnail=True, include_embedding=True))


class Rounds:
    """The rounds that caretakers have gone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._gone = 0

    def went(self) -> None:
        """One more."""
        with self._changed:
            self._gone += 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait for one that began after this call: the one that is going on may be past what is waited for."""
        with self._changed:
            enough = self._gone + 2
            assert self._changed.wait_for(lambda: self._gone >= enough, timeout=60)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Lets the caretakers of servers that are started from now on go round after round."""
    rounds, go_round = Rounds(), caretaker.Caretaker.go_round

    def watched(self: caretaker.Caretaker) -> None:
        go_round(self)
        rounds.went()

    monkeypatch.setattr(caretaker, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(caretaker.Caretaker, "go_round", watched)
    return rounds


@pytest.fixture
def held_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Holds removals at their next step: an event that says that one is there, and one that lets them go on."""
    there, go_on, step = threading.Event(), threading.Event(), Removal._step

    def held(self: Removal, *given: object) -> object:
        there.set()
        assert go_on.wait(60)
        return step(self, *given)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Removal, "_step", held)
    yield there, go_on
    go_on.set()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a server has closed its store."""
    event, close = threading.Event(), MemoryStore.close

    def watched(self: MemoryStore) -> None:
        close(self)
        event.set()

    monkeypatch.setattr(MemoryStore, "close", watched)
    return event


def test_a_range_is_forgotten_while_another_stream_is_written(stub: VideoMemoryServiceStub, memory: str) -> None:
    pictures = shown(1, 2, 1)
    verdicts = ingest(stub, f"{memory}/streams/door", frames(map(raw, pictures)), SESSION)
    scene_1, scene_2 = verdicts[0].exemplar, verdicts[10].exemplar
    begun, enough, written = threading.Event(), threading.Event(), list[pb.Verdict]()
    call = Call(stub, opening(f"{memory}/streams/yard", str(uuid4())))
    call.opened()

    def write() -> None:
        answers = call.verdicts()
        for seq in count():
            if enough.is_set():
                break
            call.send(*frames([raw(scene(3 + seq % 4, seq % 3))], seq))
            written.append(next(answers))
            begun.set()
        call.close()

    writing = threading.Thread(target=write)
    writing.start()
    assert begun.wait(60)
    answer = forget(stub, memory, 7.5, 12.5, "door")  # frames 8 to 12
    enough.set()
    writing.join()

    assert answer == pb.ForgetRangeResponse(frames=5, recentred_exemplars=1)
    left = timeline(stub, memory, "door")
    assert [(one.exemplar, one.start_time, one.end_time, one.frame_count) for one in left] == [
        (scene_1, at(0), at(7), 8),
        (scene_2, at(13), at(19), 7),
        (scene_1, at(20), at(29), 10),
    ]
    for one, kept in zip(left[::2], (verdicts[1:8], verdicts[20:]), strict=True):
        assert not one.restated
        assert one.largest_novelty == pytest.approx(max(verdict.novelty for verdict in kept), abs=1e-9)
    after = exemplar(stub, scene_2)
    assert left[1].restated
    assert farthest(stub, pictures[13:20], after) <= left[1].largest_novelty + 1e-9
    assert (after.own_frame_forgotten, after.thumbnail, after.frame_count) == (True, b"", 7)
    assert (after.seq, after.capture_time) == (13, at(13))
    assert exemplar(stub, scene_1).thumbnail
    assert not exemplar(stub, scene_1).own_frame_forgotten
    door, yard, whole = (contents(stub, memory, stream) for stream in ("door", "yard", None))
    assert (door.frames, door.forgotten_frames, door.counted_frames) == (30, 5, 25)
    assert (yard.frames, yard.forgotten_frames, yard.counted_frames) == (len(written), 0, len(written))
    assert [verdict.seq for verdict in written] == list(range(len(written)))
    assert (whole.frames, whole.forgotten_frames) == (30 + len(written), 5)
    assert is_accounted_for(whole)


def test_questions_about_a_forgotten_range_find_nothing_of_it(stub: VideoMemoryServiceStub, memory: str) -> None:
    verdicts = ingest(stub, f"{memory}/streams/door", frames(map(raw, shown(1, 2, 1))), SESSION)
    scene_1, scene_2 = verdicts[0].exemplar, verdicts[10].exemplar
    assert stub.Query(pb.QueryRequest(memory=memory, picture=raw(scene(2)))).seen

    answer = forget(stub, memory, 10, 20)

    assert answer == pb.ForgetRangeResponse(frames=10, sightings=1, exemplars=1)
    question = pb.QueryRequest(memory=memory, picture=raw(scene(2)))
    found = stub.Query(question)
    assert not found.seen
    assert [match.exemplar for match in found.matches] == [scene_1]
    assert found.attention.frame_count == 20
    question.time_range.CopyFrom(time_range(10, 20))
    assert not stub.Query(question).matches
    at_15 = pb.QueryRequest(
        memory=memory, moment=pb.Moment(stream=f"{memory}/streams/door", time=at(15)), include_thumbnails=True
    )
    assert stub.Query(at_15).matches[0].exemplar == scene_1  # its last frame at or before it is frame 9
    assert [one.name for one in stub.ListExemplars(pb.ListExemplarsRequest(parent=memory)).exemplars] == [scene_1]
    assert refusal(lambda: exemplar(stub, scene_2))[1] == "EXEMPLAR_NOT_FOUND"
    [again] = ingest(stub, f"{memory}/streams/door", frames([raw(scene(2))]), start_s=START_S + 60)
    assert again.kind == pb.Verdict.KIND_NOVEL
    assert again.exemplar not in {scene_1, scene_2}


def test_everything_is_forgotten_up_to_a_time_that_is_far_away(stub: VideoMemoryServiceStub, memory: str) -> None:
    ingest(stub, f"{memory}/streams/door", frames(map(raw, shown(1, 2))))
    ingest(stub, f"{memory}/streams/yard", frames([*map(raw, shown(3)), pb.Picture(compressed=b"none")]))

    answer = forget(stub, memory, None, 10**9)

    held = contents(stub, memory)
    assert (answer.frames, answer.exemplars) == (30, 3)
    assert (held.frames, held.forgotten_frames, held.rejected_frames, held.counted_frames) == (31, 30, 1, 0)
    assert (held.exemplars, held.stays, held.sightings) == (0, 0, 0)
    assert not held.HasField("first_time")
    assert not stub.Query(pb.QueryRequest(memory=memory, picture=raw(scene(1)))).matches
    assert forget(stub, memory, None, 10**9) == pb.ForgetRangeResponse()


def test_a_range_without_bounds_or_without_length_is_refused(stub: VideoMemoryServiceStub, memory: str) -> None:
    ingest(stub, f"{memory}/streams/door", frames(map(raw, shown(1))))

    field = (Invalid, "INVALID_FIELD", {"field": "time_range"})
    assert refusal(lambda: stub.ForgetRange(pb.ForgetRangeRequest(name=memory))) == field
    assert refusal(lambda: forget(stub, memory, None, None)) == field
    assert refusal(lambda: forget(stub, memory, 3, 3)) == field
    assert refusal(lambda: forget(stub, memory, 4, 3)) == field
    assert refusal(lambda: forget(stub, memory, 0, 9, "nobody"))[1] == "STREAM_NOT_FOUND"
    assert refusal(lambda: forget(stub, "memories/nobody", 0, 9))[1] == "MEMORY_NOT_FOUND"
    elsewhere = pb.ForgetRangeRequest(name=memory, time_range=time_range(0, 9), streams=["memories/x/streams/door"])
    assert refusal(lambda: stub.ForgetRange(elsewhere))[1:] == ("INVALID_FIELD", {"field": "stream"})
    assert contents(stub, memory).forgotten_frames == 0


def test_frames_that_were_forgotten_are_answered_so_when_they_are_sent_again(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    sent = frames([*map(raw, shown(1, 2)), pb.Picture(compressed=b"none")])
    before = ingest(stub, f"{memory}/streams/door", sent, SESSION)
    forget(stub, memory, 5, 15)
    held = contents(stub, memory)
    held.stored_bytes = 0

    again = ingest(stub, f"{memory}/streams/door", [*sent, *frames([raw(scene(1))], 21)], SESSION)

    assert [verdict.seq for verdict in again] == list(range(22))
    for old, new in zip(before, again, strict=False):
        assert not new.HasField("timings")
        if 5 <= old.seq < 15:
            assert new == pb.Verdict(seq=old.seq, kind=pb.Verdict.KIND_FORGOTTEN)
        else:
            assert (new.kind, new.exemplar, new.rejection) == (old.kind, old.exemplar, old.rejection)
            assert new.novelty == pytest.approx(old.novelty, abs=1e-9)
    assert again[21].kind == pb.Verdict.KIND_REPEAT
    after = contents(stub, memory)
    assert (after.frames, after.repeat_frames) == (held.frames + 1, held.repeat_frames + 1)
    assert after.forgotten_frames == held.forgotten_frames == 10
    assert is_accounted_for(after)


def test_a_call_that_is_cancelled_leaves_its_removal_to_go_on(
    stub: VideoMemoryServiceStub, memory: str, held_step: tuple[threading.Event, threading.Event]
) -> None:
    there, go_on = held_step
    ingest(stub, f"{memory}/streams/door", frames(map(raw, shown(1, 2))), SESSION)
    call = stub.ForgetRange.future(pb.ForgetRangeRequest(name=memory, time_range=time_range(0, 10)))
    assert there.wait(60)

    call.cancel()
    go_on.set()

    assert forget(stub, memory, 0, 10) == pb.ForgetRangeResponse()  # it waited for the first one, which left nothing
    assert contents(stub, memory).forgotten_frames == 10


def test_a_removal_that_a_stop_breaks_off_is_finished_when_the_server_is_started_again(
    server: RunningServer,
    stub: VideoMemoryServiceStub,
    memory: str,
    held_step: tuple[threading.Event, threading.Event],
    start_server: Callable[..., RunningServer],
    rounds: Rounds,
    closed: threading.Event,
) -> None:
    there, go_on = held_step
    ingest(stub, f"{memory}/streams/door", frames(map(raw, shown(1, 2))), SESSION)
    call = stub.ForgetRange.future(pb.ForgetRangeRequest(name=memory, time_range=time_range(0, None)))
    assert there.wait(60)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    assert refusal(call.result)[:2] == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert closed.wait(60)
    go_on.set()
    stopping.join()

    again = start_server(server.config.server.data)
    rounds.wait()

    with grpc.insecure_channel(again.address) as channel:
        held = contents(VideoMemoryServiceStub(channel), memory)
    assert (held.frames, held.forgotten_frames, held.counted_frames) == (20, 20, 0)


def test_the_exemplars_beyond_a_limit_are_forgotten_while_a_stream_goes_on(
    start_server: Callable[..., RunningServer], tmp_path: Path, rounds: Rounds
) -> None:
    server = start_server(tmp_path / "data")
    with grpc.insecure_channel(server.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        made = pb.Memory(name="memories/m", retention=pb.Retention(max_exemplars=5))
        assert stub.CreateMemory(pb.CreateMemoryRequest(memory=made)).retention == made.retention
        call = Call(stub, opening("memories/m/streams/door", SESSION, START_S))
        call.opened()
        answers, verdicts = call.verdicts(), list[pb.Verdict]()
        for seq in range(16):
            call.send(*frames([raw(scene(seq))], seq))
            verdicts.append(next(answers))
        rounds.wait()
        held = contents(stub, "memories/m")
        kept = [one.seq for one in stub.ListExemplars(pb.ListExemplarsRequest(parent="memories/m")).exemplars]
        call.send(*frames([raw(scene(15))], 16))
        last = next(answers)
        call.close()

    assert [verdict.kind for verdict in verdicts] == [pb.Verdict.KIND_NOVEL] * 16
    assert 1 <= held.exemplars <= 5
    assert kept == list(range(15, 15 - held.exemplars, -1))  # the latest ones
    assert (held.frames, held.forgotten_frames) == (16, 16 - held.exemplars)
    assert is_accounted_for(held)
    assert (last.kind, last.exemplar) == (pb.Verdict.KIND_REPEAT, verdicts[15].exemplar)


def test_frames_beyond_an_age_are_forgotten_by_the_clock_and_the_time_they_were_captured(
    server: RunningServer, stub: VideoMemoryServiceStub
) -> None:
    made = pb.Memory(name="memories/m", retention=pb.Retention(max_age=Duration(seconds=2)))
    stub.CreateMemory(pb.CreateMemoryRequest(memory=made))
    ingest(stub, "memories/m/streams/door", frames(map(raw, shown(1, 2, 1))), SESSION)

    caretaker.Caretaker(server.store, clock=lambda: START_S * 10**6 + 3_550_000).go_round()  # 1.55 s are too old

    held = contents(stub, "memories/m")
    assert (held.forgotten_frames, held.counted_frames, held.first_time) == (16, 14, at(16))
    assert [one.frame_count for one in timeline(stub, "memories/m", "door")] == [4, 10]


def test_bytes_beyond_a_limit_are_given_back(server: RunningServer, stub: VideoMemoryServiceStub, memory: str) -> None:
    ingest(stub, f"{memory}/streams/door", frames(raw(scene(number)) for number in range(20)), SESSION)
    forget(stub, memory, 0, 0.5)  # which folds the write-ahead log into the file
    limit = contents(stub, memory).stored_bytes - 20_000

    stub.UpdateMemory(
        pb.UpdateMemoryRequest(
            memory=pb.Memory(name=memory, retention=pb.Retention(max_bytes=limit)),
            update_mask=FieldMask(paths=["retention"]),
        )
    )
    caretaker.Caretaker(server.store).go_round()

    held = contents(stub, memory)
    assert held.stored_bytes <= limit
    assert 0 < held.exemplars < 19
    assert is_accounted_for(held)


def update(stub: VideoMemoryServiceStub, memory: pb.Memory, *paths: str) -> pb.Memory:
    return stub.UpdateMemory(pb.UpdateMemoryRequest(memory=memory, update_mask=FieldMask(paths=paths)))


def test_a_retention_is_set_kept_over_a_restart_and_lifted(
    server: RunningServer, stub: VideoMemoryServiceStub, memory: str, start_server: Callable[..., RunningServer]
) -> None:
    limits = pb.Retention(max_age=Duration(seconds=86400, nanos=5000), max_exemplars=100, max_bytes=10**10)
    assert not stub.GetMemory(pb.GetMemoryRequest(name=memory)).HasField("retention")

    assert update(stub, pb.Memory(name=memory, retention=limits), "retention").retention == limits
    server.stop()
    again = start_server(server.config.server.data)

    with grpc.insecure_channel(again.address) as channel:
        other_stub = VideoMemoryServiceStub(channel)
        kept = other_stub.GetMemory(pb.GetMemoryRequest(name=memory))
        assert kept.retention == limits
        assert not update(other_stub, pb.Memory(name=memory), "retention").HasField("retention")
        both = update(
            other_stub,
            pb.Memory(name=memory, novelty_threshold=0.3, retention=pb.Retention(max_bytes=1)),
            "novelty_threshold",
            "retention",
        )
        assert (both.novelty_threshold, both.retention) == (0.3, pb.Retention(max_bytes=1))


def test_the_etag_of_a_memory_changes_with_its_retention_too(stub: VideoMemoryServiceStub, memory: str) -> None:
    first = stub.GetMemory(pb.GetMemoryRequest(name=memory))
    limits = pb.Retention(max_exemplars=100)

    second = update(stub, pb.Memory(name=memory, retention=limits, etag=first.etag), "retention")

    assert second.etag != first.etag
    for path in ("novelty_threshold", "retention"):
        stale = pb.Memory(name=memory, novelty_threshold=0.3, etag=first.etag)
        refused = refusal(lambda stale=stale, path=path: update(stub, stale, path))  # type: ignore[misc]  # bound now
        assert refused[:2] == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    stale_delete = pb.DeleteMemoryRequest(name=memory, etag=first.etag)
    assert refusal(lambda: stub.DeleteMemory(stale_delete))[1] == "ETAG_MISMATCH"
    after = stub.GetMemory(pb.GetMemoryRequest(name=memory))
    assert (after.novelty_threshold, after.retention) == (0.1, limits)
    third = update(stub, pb.Memory(name=memory, novelty_threshold=0.3, etag=second.etag), "novelty_threshold")
    assert third.etag not in {first.etag, second.etag}
    stub.DeleteMemory(pb.DeleteMemoryRequest(name=memory, etag=third.etag))


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (pb.Retention(max_exemplars=0), "retention"),
        (pb.Retention(max_bytes=-1), "retention"),
        (pb.Retention(max_age=Duration()), "retention"),
        (pb.Retention(max_age=Duration(seconds=-1)), "retention"),
        (pb.Retention(max_age=Duration(nanos=999)), "retention"),
        (pb.Retention(max_age=Duration(seconds=1, nanos=-1)), "retention.max_age"),
        (pb.Retention(max_age=Duration(seconds=10**15)), "retention.max_age"),
    ],
)
def test_limits_that_nothing_could_meet_are_refused(
    stub: VideoMemoryServiceStub, memory: str, limits: pb.Retention, field: str
) -> None:
    expected = (Invalid, "INVALID_FIELD", {"field": field})

    assert refusal(lambda: update(stub, pb.Memory(name=memory, retention=limits), "retention")) == expected
    made = pb.CreateMemoryRequest(memory=pb.Memory(name="memories/other", retention=limits))
    assert refusal(lambda: stub.CreateMemory(made)) == expected
    assert not stub.GetMemory(pb.GetMemoryRequest(name=memory)).HasField("retention")
    assert refusal(lambda: stub.GetMemory(pb.GetMemoryRequest(name="memories/other")))[1] == "MEMORY_NOT_FOUND"


@pytest.mark.parametrize("paths", [[], ["etag"], ["retention", "name"], ["retention.max_age"]])
def test_masks_that_name_what_cannot_change_are_refused(
    stub: VideoMemoryServiceStub, memory: str, paths: list[str]
) -> None:
    changed = pb.Memory(name=memory, retention=pb.Retention(max_bytes=1))

    assert refusal(lambda: update(stub, changed, *paths))[1:] == ("INVALID_FIELD", {"field": "update_mask"})


def test_compaction_merges_what_is_near_and_loses_no_frame(stub: VideoMemoryServiceStub) -> None:
    made = pb.Memory(name="memories/m", novelty_threshold=1e-6)
    stub.CreateMemory(pb.CreateMemoryRequest(memory=made))
    pictures = shown(1, 2, 1)
    verdicts = ingest(stub, "memories/m/streams/door", frames(map(raw, pictures)), SESSION)
    before = contents(stub, "memories/m")
    assert before.exemplars == len({verdict.exemplar for verdict in verdicts}) > 10

    answer = stub.CompactMemory(pb.CompactMemoryRequest(name="memories/m", novelty_threshold=0.1))

    after = contents(stub, "memories/m")
    scene_1, scene_2 = verdicts[0].exemplar, verdicts[10].exemplar
    assert answer == pb.CompactMemoryResponse(merged_exemplars=before.exemplars - 2, exemplars=2)
    assert (after.frames, after.counted_frames, after.forgotten_frames) == (30, 30, 0)
    assert (after.novel_frames, after.exemplars) == (before.novel_frames, 2)
    sightings = timeline(stub, "memories/m", "door")
    spans = [(one.exemplar, one.start_time, one.end_time, one.frame_count) for one in sightings]
    assert spans == [(scene_1, at(0), at(9), 10), (scene_2, at(10), at(19), 10), (scene_1, at(20), at(29), 10)]
    for number, one in enumerate(sightings):
        assert one.restated
        away = farthest(stub, pictures[10 * number : 10 * number + 10], exemplar(stub, one.exemplar))
        assert one.novelty_threshold < away <= one.largest_novelty + 1e-9
    assert stub.GetMemory(pb.GetMemoryRequest(name="memories/m")).novelty_threshold == 1e-6
    again = ingest(stub, "memories/m/streams/door", frames(map(raw, pictures)), SESSION)
    assert [verdict.exemplar for verdict in again] == [scene_1] * 10 + [scene_2] * 10 + [scene_1] * 10


@pytest.mark.parametrize("threshold", [0.0, -1.0, 2.1, float("nan")])
def test_compaction_within_no_distance_is_refused(stub: VideoMemoryServiceStub, memory: str, threshold: float) -> None:
    request = pb.CompactMemoryRequest(name=memory, novelty_threshold=threshold)

    assert refusal(lambda: stub.CompactMemory(request)) == (Invalid, "INVALID_FIELD", {"field": "novelty_threshold"})
