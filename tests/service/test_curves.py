"""EvaluateThresholds over the contract: against what memories at other thresholds keep of the same pictures."""

import io
from collections.abc import Callable, Sequence

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store.what_if import THRESHOLDS
from serving import RunningServer
from talking import frames, ingest, raw, reason, scene

SHOWN = [(number, 6 * step) for number in (1, 2, 3, 1) for step in range(5)]
"""Scenes, and how much brighter: at 10 frames a second."""
START_S = 10**6


def pictures(shown: Sequence[tuple[int, int]]) -> list[pb.Picture]:
    return [raw(scene(number, brightness)) for number, brightness in shown]


def fill(stub: VideoMemoryServiceStub, memory: str, threshold: float) -> pb.Memory:
    """Show all of it to a new memory."""
    stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name=memory, novelty_threshold=threshold)))
    ingest(stub, f"{memory}/streams/door", frames(pictures(SHOWN)), start_s=START_S)
    return stub.GetMemory(pb.GetMemoryRequest(name=memory))


@pytest.fixture
def filled(stub: VideoMemoryServiceStub, memory: str) -> str:
    ingest(stub, f"{memory}/streams/door", frames(pictures(SHOWN)), start_s=START_S)
    return memory


def evaluate(
    stub: VideoMemoryServiceStub, memory: str, *thresholds: float, **more: object
) -> pb.EvaluateThresholdsResponse:
    request = pb.EvaluateThresholdsRequest(memory=memory, novelty_thresholds=thresholds)
    request.MergeFrom(pb.EvaluateThresholdsRequest(**more))  # type: ignore[arg-type]  # named as in the contract
    return stub.EvaluateThresholds(request)


def test_each_outcome_is_what_a_memory_at_that_threshold_keeps(stub: VideoMemoryServiceStub, filled: str) -> None:
    thresholds = [0.3, 0.003, 0.0005, 0.1]
    kept = {
        threshold: fill(stub, f"memories/at-{number}", threshold).contents.exemplars
        for number, threshold in enumerate(thresholds)
    }

    told = evaluate(stub, filled, *thresholds, 0.1)

    assert [outcome.novelty_threshold for outcome in told.outcomes] == sorted(thresholds)
    assert {outcome.novelty_threshold: outcome.exemplars for outcome in told.outcomes} == kept
    assert len(set(kept.values())) > 2
    for outcome in told.outcomes:
        assert outcome.error == 0
        assert outcome.kept_share == outcome.exemplars / 20
        assert outcome.exemplars_per_day == pytest.approx(outcome.exemplars * 86_400 / 1.9)
        assert outcome.bytes_per_day == pytest.approx(outcome.exemplars_per_day * told.bytes_per_exemplar)
        assert 0 <= outcome.mean_dropped_novelty <= outcome.largest_dropped_novelty <= outcome.novelty_threshold
    assert (told.frame_count, told.missing_frame_count, told.held_count, told.held_limit) == (20, 0, 20, 10_240)
    assert told.duration == Duration(seconds=1, nanos=900_000_000)
    assert told.bytes_per_exemplar > 1280 * 2


def test_without_thresholds_the_standard_ones_are_evaluated(stub: VideoMemoryServiceStub, filled: str) -> None:
    told = evaluate(stub, filled)

    assert [outcome.novelty_threshold for outcome in told.outcomes] == list(THRESHOLDS)
    exemplars = [outcome.exemplars for outcome in told.outcomes]
    assert exemplars == sorted(exemplars, reverse=True)
    assert exemplars[THRESHOLDS.index(0.1)] == 3
    assert all(not outcome.just_above and not outcome.just_below for outcome in told.outcomes)


def test_one_stream_or_a_time_can_be_asked_for(stub: VideoMemoryServiceStub, filled: str) -> None:
    ingest(stub, f"{filled}/streams/hall", frames(pictures([(7, 0), (8, 0), (1, 0)])), start_s=2 * START_S)
    span = pb.TimeRange(start_time=Timestamp(seconds=2 * START_S))

    hall = evaluate(stub, filled, 0.1, stream=f"{filled}/streams/hall")
    late = evaluate(stub, filled, 0.1, time_range=span)
    nothing = evaluate(stub, filled, 0.1, time_range=pb.TimeRange(start_time=Timestamp(seconds=3 * START_S)))

    assert (hall.frame_count, hall.outcomes[0].exemplars) == (3, 2)  # what `door` has shown stands for the third
    assert late.outcomes == hall.outcomes
    assert evaluate(stub, filled, 0.1).outcomes[0].exemplars == 5
    [outcome] = nothing.outcomes
    assert (nothing.frame_count, outcome.exemplars, outcome.kept_share) == (0, 0, 0)
    assert not outcome.HasField("exemplars_per_day")
    assert not outcome.HasField("bytes_per_day")


def test_examples_lie_on_either_side_of_a_threshold_nearest_first(stub: VideoMemoryServiceStub, filled: str) -> None:
    threshold = 0.1

    [outcome] = evaluate(stub, filled, threshold, examples=3).outcomes

    above, below = outcome.just_above, outcome.just_below
    assert [example.novelty for example in above] == sorted(example.novelty for example in above)
    assert [example.novelty for example in below] == sorted((one.novelty for one in below), reverse=True)
    assert all(example.novelty > threshold and example.kept for example in above)
    assert all(example.novelty <= threshold and not example.kept for example in below)
    assert (len(above), len(below)) == (2, 3)  # of three exemplars, the first was compared with nothing
    assert {example.exemplar for example in above} <= {f"{filled}/exemplars/{number}" for number in (1, 2)}
    encoded = stub.Encode(pb.EncodeRequest(pictures=pictures(SHOWN))).embeddings
    for example in (*above, *below):
        assert example.stream == f"{filled}/streams/door"
        number = round((example.capture_time.ToMicroseconds() - START_S * 10**6) / 100_000)
        assert Image.open(io.BytesIO(example.thumbnail)).size == (96, 72)
        exemplar = stub.GetExemplar(pb.GetExemplarRequest(name=example.exemplar, include_embedding=True))
        product = sum(a * b for a, b in zip(encoded[number].values, exemplar.embedding.values, strict=True))
        assert example.novelty == pytest.approx(1 - product, abs=1e-3)


def test_what_is_held_lasts_over_a_restart(
    start_server: Callable[..., RunningServer], stub: VideoMemoryServiceStub, server: RunningServer, filled: str
) -> None:
    before = evaluate(stub, filled, 0.03, 0.1, examples=2)
    server.stop()

    with grpc.insecure_channel(start_server(server.config.server.data).address) as channel:
        after = evaluate(VideoMemoryServiceStub(channel), filled, 0.03, 0.1, examples=2)

    assert after == before


def test_what_was_forgotten_does_not_count(stub: VideoMemoryServiceStub, filled: str) -> None:
    everything = pb.TimeRange(start_time=Timestamp(seconds=START_S))
    assert stub.ForgetRange(pb.ForgetRangeRequest(name=filled, time_range=everything)).frames == 20

    told = evaluate(stub, filled, 0.1, examples=10)

    assert (told.frame_count, told.missing_frame_count, told.held_count) == (0, 0, 0)
    assert not told.outcomes[0].just_above
    assert not told.outcomes[0].just_below


REFUSED: dict[str, tuple[pb.EvaluateThresholdsRequest, tuple[str, dict[str, str]]]] = {
    "a threshold of nothing": (
        pb.EvaluateThresholdsRequest(memory="memories/m", novelty_thresholds=[0.1, 0.0]),
        ("INVALID_FIELD", {"field": "novelty_thresholds"}),
    ),
    "a threshold that is no number": (
        pb.EvaluateThresholdsRequest(memory="memories/m", novelty_thresholds=[float("nan")]),
        ("INVALID_FIELD", {"field": "novelty_thresholds"}),
    ),
    "too many thresholds": (
        pb.EvaluateThresholdsRequest(memory="memories/m", novelty_thresholds=[0.1] * 65),
        ("INVALID_FIELD", {"field": "novelty_thresholds"}),
    ),
    "too many examples": (
        pb.EvaluateThresholdsRequest(memory="memories/m", examples=11),
        ("INVALID_FIELD", {"field": "examples"}),
    ),
    "fewer than no examples": (
        pb.EvaluateThresholdsRequest(memory="memories/m", examples=-1),
        ("INVALID_FIELD", {"field": "examples"}),
    ),
    "a range upside down": (
        pb.EvaluateThresholdsRequest(
            memory="memories/m", time_range=pb.TimeRange(start_time=Timestamp(seconds=2), end_time=Timestamp(seconds=1))
        ),
        ("INVALID_FIELD", {"field": "time_range"}),
    ),
    "an unknown memory": (pb.EvaluateThresholdsRequest(memory="memories/nobody"), ("MEMORY_NOT_FOUND", {})),
    "an unknown stream": (
        pb.EvaluateThresholdsRequest(memory="memories/m", stream="memories/m/streams/nobody"),
        ("STREAM_NOT_FOUND", {}),
    ),
    "a stream of another memory": (
        pb.EvaluateThresholdsRequest(memory="memories/m", stream="memories/other/streams/door"),
        ("INVALID_FIELD", {"field": "stream"}),
    ),
    "a name of another form": (pb.EvaluateThresholdsRequest(memory="m"), ("INVALID_NAME", {})),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_evaluated_is_refused_by_name(stub: VideoMemoryServiceStub, filled: str, fault: str) -> None:
    request, expected = REFUSED[fault]

    with pytest.raises(grpc.RpcError) as error:
        stub.EvaluateThresholds(request)

    code, *told = reason(error.value)
    assert tuple(told) == expected
    not_found = expected[0].endswith("NOT_FOUND")
    assert code is (grpc.StatusCode.NOT_FOUND if not_found else grpc.StatusCode.INVALID_ARGUMENT)
