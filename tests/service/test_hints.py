"""Hints over the contract: keep, priority and labels of frames, what they make of verdicts, and what labels find."""

import uuid
from itertools import pairwise

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from service.caretaker import Caretaker
from service.query import EVIDENCE_SHARE
from serving import RunningServer
from talking import frames, ingest, raw, reason, scene

NOVEL, REPEAT, WITHHELD = pb.Verdict.KIND_NOVEL, pb.Verdict.KIND_REPEAT, pb.Verdict.KIND_WITHHELD
REJECTED = pb.Verdict.KIND_REJECTED
STREAM = "memories/m/streams/s"
START_S = 10**6


def keep_one_a_minute(stub: VideoMemoryServiceStub) -> None:
    memory = pb.Memory(name="memories/m", keeping=pb.KeepingPolicy(max_exemplars_per_minute=1))
    stub.UpdateMemory(pb.UpdateMemoryRequest(memory=memory, update_mask=FieldMask(paths=["keeping"])))


def test_wishes_outrank_gate_and_policy_and_are_told_where_they_did(stub: VideoMemoryServiceStub, memory: str) -> None:
    keep_one_a_minute(stub)
    sent = frames(raw(scene(number)) for number in (1, 1, 2, 3, 1, 4, 4))
    wishes = (pb.KEEP_ALWAYS, pb.KEEP_ALWAYS, pb.KEEP_ALWAYS, pb.KEEP_NEVER, pb.KEEP_NEVER)
    for frame, wish in zip(sent, wishes, strict=False):
        frame.keep = wish
    sent[-1].priority = 1
    session_id = str(uuid.uuid4())

    verdicts = ingest(stub, STREAM, sent, session_id)

    assert [(verdict.kind, verdict.by_hint) for verdict in verdicts] == [
        (NOVEL, False),  # the first is novel anyway
        (NOVEL, True),
        (NOVEL, True),
        (WITHHELD, False),  # the limit would have kept it out
        (REPEAT, False),
        (WITHHELD, False),
        (NOVEL, False),
    ]
    reasons = [verdict.withheld for verdict in verdicts if verdict.kind == WITHHELD]
    assert reasons == [pb.WITHHELD_REASON_HINT, pb.WITHHELD_REASON_MINUTE]
    for verdict in verdicts:
        verdict.ClearField("timings")
    assert ingest(stub, STREAM, sent, session_id) == verdicts


def test_never_keeps_out_what_would_have_been_kept_by_hint(stub: VideoMemoryServiceStub, memory: str) -> None:
    sent = frames([raw(scene(1)), raw(scene(1))])
    sent[0].keep = pb.KEEP_NEVER

    first, second = ingest(stub, STREAM, sent)

    assert (first.kind, first.withheld, first.by_hint) == (WITHHELD, pb.WITHHELD_REASON_HINT, True)
    assert not first.HasField("novelty")
    assert (second.kind, second.exemplar) == (NOVEL, f"{memory}/exemplars/1")


BAD: dict[str, tuple[pb.Frame, str]] = {
    "an unknown wish": (pb.Frame(keep=9), "keep: expected a known wish, got 9"),  # type: ignore[arg-type]
    "a priority below 0": (pb.Frame(priority=-1), "priority: expected 0 to 100, got -1"),
    "a priority above 100": (pb.Frame(priority=101), "priority: expected 0 to 100, got 101"),
    "an empty label": (pb.Frame(labels=["cat", ""]), "labels: expected 1 to 63 characters"),
    "a long label": (pb.Frame(labels=["a" * 64]), "labels: expected 1 to 63 characters"),
    "a label of two lines": (pb.Frame(labels=["a\nb"]), "without control characters, got 'a\\nb'"),
    "too many labels": (pb.Frame(labels=[str(n) for n in range(17)]), "labels: expected at most 16, got 17"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_hint_rejects_its_frame_by_its_field_and_the_stream_lives(
    stub: VideoMemoryServiceStub, memory: str, fault: str
) -> None:
    hint, told = BAD[fault]
    sent = frames([raw(scene(1))] * 3)
    sent[1].MergeFrom(hint)

    verdicts = ingest(stub, STREAM, sent)

    assert [verdict.kind for verdict in verdicts] == [NOVEL, REJECTED, REPEAT]
    rejection = verdicts[1].rejection
    assert rejection.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert told in rejection.message
    assert b"INVALID_FIELD" in rejection.details[0].value


@pytest.fixture
def labelled(stub: VideoMemoryServiceStub, memory: str) -> str:
    """Scene 1 as `cat`, scene 2 as `cat` and `dog`, scene 1 as `dog`, scene 3 without a label: two frames each."""
    sent = frames(raw(scene(number)) for number in (1, 1, 2, 2, 1, 1, 3, 3))
    labels: tuple[list[str], ...] = (["cat"], ["cat"], ["dog", "cat", "dog"], ["cat", "dog"], ["dog"], ["dog"], [], [])
    for frame, own in zip(sent, labels, strict=True):
        frame.labels.extend(own)
    verdicts = ingest(stub, STREAM, sent, start_s=START_S)
    assert [verdict.exemplar[-1] for verdict in verdicts] == list("11221133")
    return memory


def at(seq: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(START_S * 10**6 + seq * 100_000)
    return stamp


def query(stub: VideoMemoryServiceStub, *labels: str, **more: object) -> pb.QueryResponse:
    request = pb.QueryRequest(memory="memories/m", picture=raw(scene(1)), top=9, inverse_temperature=5, labels=labels)
    request.MergeFrom(pb.QueryRequest(**more))  # type: ignore[arg-type]  # named as in the contract
    return stub.Query(request)


def test_a_query_with_labels_is_about_frames_with_one_of_them(stub: VideoMemoryServiceStub, labelled: str) -> None:
    everything, cat, dog, both = (query(stub, *labels) for labels in ((), ("cat",), ("dog",), ("dog", "cat")))

    counted = [answer.attention.frame_count for answer in (everything, cat, dog, both)]
    assert counted == [8, 4, 4, 6]
    found = [[match.exemplar[-1] for match in answer.matches] for answer in (everything, cat, dog, both)]
    assert sorted(found[0]) == list("123")
    assert found[1:] == [["1", "2"]] * 3
    assert [sighting.labels for sighting in dog.matches[0].sightings] == [["dog"]]
    assert [sighting.labels for sighting in both.matches[0].sightings] == [["dog"], ["cat"]]
    assert cat.matches[0].last_time == at(1)


def test_labels_hold_within_a_range_and_as_of_a_time(stub: VideoMemoryServiceStub, labelled: str) -> None:
    early = query(stub, "dog", as_of=at(4))
    cut = query(stub, "cat", time_range=pb.TimeRange(start_time=at(1), end_time=at(3)))

    assert (early.attention.frame_count, [match.exemplar[-1] for match in early.matches]) == (3, ["1", "2"])
    assert (cut.attention.frame_count, [match.exemplar[-1] for match in cut.matches]) == (2, ["1", "2"])


def test_nothing_was_seen_under_a_label_that_nothing_carries(stub: VideoMemoryServiceStub, labelled: str) -> None:
    answer = query(stub, "bird")

    assert (answer.seen, list(answer.matches), answer.attention.frame_count) == (False, [], 0)


@pytest.mark.parametrize("label", ["", "a" * 64, "a\x00b"])
def test_a_label_that_no_frame_could_carry_is_refused(stub: VideoMemoryServiceStub, labelled: str, label: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        query(stub, "cat", label)

    assert reason(error.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", {"field": "labels"})


def test_exemplars_and_sightings_tell_their_labels(stub: VideoMemoryServiceStub, labelled: str) -> None:
    listed = stub.ListExemplars(pb.ListExemplarsRequest(parent=labelled, order_by="id asc")).exemplars
    timeline = stub.GetTimeline(pb.GetTimelineRequest(stream=STREAM)).sightings

    assert [exemplar.labels for exemplar in listed] == [["cat", "dog"], ["cat", "dog"], []]
    assert stub.GetExemplar(pb.GetExemplarRequest(name=f"{labelled}/exemplars/2")).labels == ["cat", "dog"]
    assert [sighting.labels for sighting in timeline] == [["cat"], ["cat", "dog"], ["dog"], []]
    assert all(one.end_time.ToMicroseconds() < other.start_time.ToMicroseconds() for one, other in pairwise(timeline))


def test_exemplars_that_answers_rest_on_tell_that_once_it_is_on_record(
    stub: VideoMemoryServiceStub, server: RunningServer, labelled: str
) -> None:
    answers = [query(stub, "cat"), query(stub, "cat"), query(stub)]
    shares: dict[str, list[float]] = {}
    for answer in answers:
        for exemplar in answer.attention.exemplars:
            if exemplar.weight >= EVIDENCE_SHARE:
                shares.setdefault(exemplar.exemplar, []).append(exemplar.weight)
    listed = stub.ListExemplars(pb.ListExemplarsRequest(parent=labelled)).exemplars
    assert not any(exemplar.HasField("evidence") for exemplar in listed)

    Caretaker(server.store).go_round()

    for number in (1, 2, 3):
        told = stub.GetExemplar(pb.GetExemplarRequest(name=f"{labelled}/exemplars/{number}"))
        expected = shares.get(told.name, [])
        assert told.HasField("evidence") == bool(expected)
        assert told.evidence.answer_count == len(expected)
        assert told.evidence.total_weight == pytest.approx(sum(expected))
    assert {len(of_exemplar) for of_exemplar in shares.values()} == {1, 3}
