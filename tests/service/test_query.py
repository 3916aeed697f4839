"""Questions to a real server, against plain numpy over what the contract itself tells."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from encoder.backbone import DIMENSION
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store.records import Clock, Encoded
from serving import RunningServer
from talking import frames, ingest, raw, reason, scene

# What stream `a` shows, at 10 frames a second from second 1,000,000 on, and stream `b` from 2,000,000 on.
SHOWN = {"a": [1, 1, 1, 2, 2, 3, 1, 1, 4], "b": [5, 5, 3, 5]}
START_S = {"a": 1_000_000, "b": 2_000_000}


@pytest.fixture
def filled(stub: VideoMemoryServiceStub, memory: str) -> str:
    for stream, shown in SHOWN.items():
        pictures = [raw(scene(number, brightness=place)) for place, number in enumerate(shown)]
        ingest(stub, f"{memory}/streams/{stream}", frames(pictures), start_s=START_S[stream])
    return memory


def embeddings(stub: VideoMemoryServiceStub, pictures: list[pb.Picture]) -> np.ndarray:
    return np.array([e.values for e in stub.Encode(pb.EncodeRequest(pictures=pictures)).embeddings])


def at(stream: str, frame: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(START_S[stream] * 10**6 + frame * 100_000)
    return stamp


def plain_attention(
    stub: VideoMemoryServiceStub, counted: dict[str, range], query: np.ndarray, beta: float
) -> tuple[np.ndarray, dict[str, float]]:
    """Softmax over stays as the contract has it, from the pictures that were sent; stays are whole within `counted`.

    Taken to be spread evenly over 32 directions, the frames of a stay have the variance v along the query. Those that
    attention prefers lie towards it.
    """
    tilted, logs, streams = [], [], []
    for stream, places in counted.items():
        encoded = embeddings(stub, [raw(scene(SHOWN[stream][place], brightness=place)) for place in places])
        for number in sorted({SHOWN[stream][place] for place in places}):
            frames = encoded[[row for row, place in enumerate(places) if SHOWN[stream][place] == number]]
            mean = frames.mean(0)
            across = beta * (query - (query @ mean) / (mean @ mean) * mean)
            spread = max(0.0, 1 - float(mean @ mean)) / 32 if len(frames) > 1 else 0.0
            variance = spread * float(across @ across)
            assert variance <= 2 * np.log(len(frames))  # else it would be more than they can hold
            logs.append(np.log(len(frames)) + beta * float(query @ mean) + variance / 2)
            tilted.append(mean + spread * across)
            streams.append(stream)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    by_stream = {stream: float(weights[[s == stream for s in streams]].sum()) for stream in counted}
    return weights @ np.array(tilted), by_stream


@pytest.mark.parametrize("beta", [0.0, 1.0, 10.0, 50.0, 100.0])
def test_attention_is_softmax_over_stays_that_allows_for_the_spread_of_their_frames(
    stub: VideoMemoryServiceStub, filled: str, beta: float
) -> None:
    picture = raw(scene(2, brightness=3))
    [query] = embeddings(stub, [picture])
    expected, by_stream = plain_attention(stub, {name: range(len(shown)) for name, shown in SHOWN.items()}, query, beta)

    question = pb.QueryRequest(memory=filled, picture=picture, inverse_temperature=beta, max_frames=0)
    answer = stub.Query(question).attention

    assert np.abs(np.array(answer.context_vector.values) - expected).max() < 1e-5
    [level] = answer.levels
    assert {block.stream[-1]: block.weight for block in level.blocks} == pytest.approx(by_stream, abs=1e-5)
    assert (answer.frame_count, answer.stay_count, answer.inverse_temperature) == (13, 6, beta)
    assert sum(exemplar.weight for exemplar in answer.exemplars) == pytest.approx(1)


@pytest.mark.parametrize(("how", "at_most", "read"), [({"max_frames": 0}, 0.1, 6), ({"exact": True}, 0.01, 12)])
@pytest.mark.parametrize("beta", [1.0, 20.0, 100.0])
def test_an_answer_tells_how_far_it_may_be_from_attention_over_every_frame(
    stub: VideoMemoryServiceStub, filled: str, beta: float, how: dict[str, int], at_most: float, read: int
) -> None:
    picture = raw(scene(1, brightness=4))
    [query] = embeddings(stub, [picture])
    shown = [scene(number, brightness=place) for name in SHOWN for place, number in enumerate(SHOWN[name])]
    frames_seen = embeddings(stub, [raw(pixels) for pixels in shown]).astype(np.float64)
    masses = np.exp(beta * (frames_seen @ query))
    expected = masses @ frames_seen / masses.sum()

    question = pb.QueryRequest(memory=filled, picture=picture, inverse_temperature=beta, **how)  # type: ignore[arg-type]
    answer = stub.Query(question).attention

    away = np.linalg.norm(np.array(answer.context_vector.values) - expected) / np.linalg.norm(expected)
    error = answer.context_error
    assert (error.reading, error.confidence) == (0, 0.9)  # all six stays were opened
    assert away <= error.storing + 1e-6  # rounding
    assert 0 < error.storing < at_most
    assert (answer.opened_stay_count, answer.unopened_share) == (6, 0)
    assert 6 <= answer.vectors_read <= read


def test_how_much_to_read_makes_no_difference_where_there_is_little(stub: VideoMemoryServiceStub, filled: str) -> None:
    asked = {
        "nothing": pb.QueryRequest(memory=filled, picture=raw(scene(1))),
        "exact": pb.QueryRequest(memory=filled, picture=raw(scene(1)), exact=True),
        "few stays": pb.QueryRequest(memory=filled, picture=raw(scene(1)), max_stays=1000),
        "a small error": pb.QueryRequest(memory=filled, picture=raw(scene(1)), max_reading_error=1e-9),
        "any error": pb.QueryRequest(memory=filled, picture=raw(scene(1)), max_reading_error=1),
    }

    answers = {name: stub.Query(request).SerializeToString(deterministic=True) for name, request in asked.items()}

    assert answers == dict.fromkeys(asked, answers["nothing"])


def test_a_large_memory_is_read_in_part_unless_everything_is_asked_for(
    server: RunningServer, stub: VideoMemoryServiceStub, memory: str
) -> None:
    """Some 2,500 stays, sent to the store itself: encoding so many pictures would take long."""
    drawn = np.random.default_rng(1).normal(size=(300, DIMENSION))
    scenes = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    kept = server.store.get("m")
    session = kept.open_session("a", "00000000-0000-0000-0000-000000000001", Clock.SESSION, 10**12)
    for start in range(0, 2500, 500):
        shown = [(seq, scenes[seq % 300]) for seq in range(start, start + 500)]
        kept.remember([Encoded(session.id, seq, 1000 * seq, None, 1, seen, lambda: b"jpeg") for seq, seen in shown])
    subject = pb.Embedding(values=scenes[7] + scenes[8])

    def ask(**how: object) -> pb.Attention:
        request = pb.QueryRequest(memory=memory, embedding=subject, inverse_temperature=10, **how)  # type: ignore[arg-type]
        return stub.Query(request).attention

    in_part, again, exact, precise = (
        ask(max_stays=1000),
        ask(max_stays=1000),
        ask(exact=True, max_stays=1000),
        ask(max_stays=1000, max_reading_error=1e-6),
    )

    assert in_part.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert in_part.stay_count == exact.stay_count == exact.opened_stay_count == precise.opened_stay_count == 2500
    assert 500 < in_part.opened_stay_count <= in_part.vectors_read < 1500
    assert (exact.context_error.reading, precise.context_error.reading) == (0, 0)
    assert exact.context_vector == precise.context_vector
    contexts = [np.array(answer.context_vector.values) for answer in (in_part, exact)]
    away = np.linalg.norm(contexts[0] - contexts[1]) / np.linalg.norm(contexts[1])
    assert 0 < away <= in_part.context_error.reading
    assert in_part.effective_stays == pytest.approx(exact.effective_stays, rel=0.5)
    assert 0 < in_part.unopened_share < 1
    assert [level.block_count for level in in_part.levels] == [1, 25]


def test_the_way_down_to_the_exemplars_is_told_if_it_is_asked_for(stub: VideoMemoryServiceStub, filled: str) -> None:
    request = pb.QueryRequest(memory=filled, picture=raw(scene(3)), inverse_temperature=5, explain=True, top=9)

    answer = stub.Query(request).attention

    [level] = answer.levels
    explanation = answer.explanation
    assert [explained.block for explained in explanation.blocks] == list(level.blocks)
    # Stream `b` was filmed later.
    assert [block.stream for block in explanation.blocks_of_stays] == [f"{filled}/streams/{name}" for name in "ab"]
    assert sorted(explanation.blocks_of_stays, key=lambda block: -block.weight) == list(level.blocks)
    [query] = embeddings(stub, [raw(scene(3))])
    weights: dict[str, float] = {}
    for explained in explanation.blocks:
        assert (explained.level, len(explained.blocks)) == (1, 0)
        stream = explained.block.stream[-1]
        assert [stay.weight for stay in explained.stays] == sorted((s.weight for s in explained.stays), reverse=True)
        assert 0 < sum(stay.weight for stay in explained.stays) <= explained.block.weight + 1e-9
        for stay in explained.stays:
            number = int(stay.exemplar.rpartition("/")[2])
            places = [place for place, shown in enumerate(SHOWN[stream]) if shown == number]
            seen = embeddings(stub, [raw(scene(number, brightness=place)) for place in places]).mean(0)
            assert stay.similarity == pytest.approx(float(seen @ query / np.linalg.norm(seen)), abs=1e-4)
            assert (stay.start_time, stay.end_time) == (at(stream, places[0]), at(stream, places[-1]))
            assert stay.frame_count == len(places)
            weights[stay.exemplar] = weights.get(stay.exemplar, 0) + stay.weight
    assert {exemplar.exemplar for exemplar in answer.exemplars} >= weights.keys()
    by_exemplar = {exemplar.exemplar: exemplar.weight for exemplar in answer.exemplars}
    assert all(weight <= by_exemplar[exemplar] + 1e-9 for exemplar, weight in weights.items())
    request.explain = False
    assert not stub.Query(request).attention.HasField("explanation")


def test_a_match_tells_when_and_how_often_it_was_seen(stub: VideoMemoryServiceStub, filled: str) -> None:
    answer = stub.Query(pb.QueryRequest(memory=filled, picture=raw(scene(1)), top=2, include_thumbnails=True))

    assert answer.seen
    match = answer.matches[0]
    assert match.exemplar == "memories/m/exemplars/1"
    assert match.similarity == pytest.approx(1, abs=1e-6)
    assert (match.first_time, match.last_time) == (at("a", 0), at("a", 7))
    assert (match.frame_count, match.sighting_count, match.total_duration_us) == (5, 2, 300_000)
    assert [(s.start_time, s.end_time, s.frame_count) for s in match.sightings] == [
        (at("a", 6), at("a", 7), 2),
        (at("a", 0), at("a", 2), 3),
    ]
    assert match.thumbnail.startswith(b"\xff\xd8")
    assert answer.matches[1].similarity < 0.9


def test_what_was_never_seen_is_said_to_be_so(stub: VideoMemoryServiceStub, filled: str) -> None:
    answer = stub.Query(pb.QueryRequest(memory=filled, picture=raw(scene(9))))

    assert not answer.seen
    assert answer.matches[0].similarity < 1 - answer.novelty_threshold


def test_an_empty_memory_is_no_error(stub: VideoMemoryServiceStub, memory: str) -> None:
    answer = stub.Query(pb.QueryRequest(memory=memory, picture=raw(scene(1)), explain=True, exact=True))

    assert (answer.seen, len(answer.matches), answer.HasField("attention")) == (False, 0, False)
    assert answer.novelty_threshold == 0.1


def test_where_nothing_passes_the_filter_nothing_is_attended_to(stub: VideoMemoryServiceStub, filled: str) -> None:
    answer = stub.Query(pb.QueryRequest(memory=filled, picture=raw(scene(1)), as_of=at("a", -1), explain=True))

    assert (answer.seen, len(answer.matches), answer.HasField("attention")) == (False, 0, False)


def test_a_stream_filter_counts_only_what_it_showed(stub: VideoMemoryServiceStub, filled: str) -> None:
    [query] = embeddings(stub, [raw(scene(3))])
    expected, _ = plain_attention(stub, {"b": range(4)}, query, 20)

    answer = stub.Query(pb.QueryRequest(memory=filled, picture=raw(scene(3)), streams=["memories/m/streams/b"], top=9))

    assert np.abs(np.array(answer.attention.context_vector.values) - expected).max() < 1e-5
    assert [match.exemplar[-1] for match in answer.matches] == ["3", "5"]
    assert (answer.matches[0].frame_count, answer.matches[0].first_time) == (1, at("b", 2))


def test_a_time_range_counts_only_the_frames_in_it(stub: VideoMemoryServiceStub, filled: str) -> None:
    # Frames 3 to 5 of stream `a`: whole stays of scenes 2 and 3.
    request = pb.QueryRequest(memory=filled, picture=raw(scene(1)), top=9)
    request.time_range.start_time.CopyFrom(at("a", 3))
    request.time_range.end_time.CopyFrom(at("a", 6))
    [query] = embeddings(stub, [raw(scene(1))])
    expected, _ = plain_attention(stub, {"a": range(3, 6)}, query, 20)

    answer = stub.Query(request)

    assert not answer.seen
    assert sorted(match.exemplar[-1] for match in answer.matches) == ["2", "3"]
    assert np.abs(np.array(answer.attention.context_vector.values) - expected).max() < 1e-5


def test_an_answer_as_of_a_time_is_the_one_that_was_given_then(stub: VideoMemoryServiceStub, memory: str) -> None:
    stream = f"{memory}/streams/a"
    pictures = [raw(scene(number, brightness=place)) for place, number in enumerate([1, 1, 2, 2, 3, 3, 1, 2])]
    session = "00000000-0000-0000-0000-000000000001"
    sent = frames(pictures)
    then = {}
    # Each part ends where a sighting ends, so that nothing is cut and the answers must be equal, not only alike.
    for end, part in ((2, sent[:2]), (4, sent[2:4]), (6, sent[4:6]), (8, sent[6:])):
        ingest(stub, stream, part, session)
        then[end] = stub.Query(pb.QueryRequest(memory=memory, picture=raw(scene(2)), top=9))

    for end, answer in then.items():
        again = stub.Query(pb.QueryRequest(memory=memory, picture=raw(scene(2)), top=9, as_of=at("a", end - 1)))
        assert (
            np.abs(
                np.array(again.attention.context_vector.values) - np.array(answer.attention.context_vector.values)
            ).max()
            < 1e-6
        )
        assert list(again.matches) == list(answer.matches)


def test_as_of_counts_the_frames_of_a_cut_sighting_exactly(stub: VideoMemoryServiceStub, filled: str) -> None:
    answer = stub.Query(pb.QueryRequest(memory=filled, picture=raw(scene(1)), as_of=at("a", 1), top=9))

    assert [match.exemplar[-1] for match in answer.matches] == ["1"]
    assert (answer.matches[0].frame_count, answer.matches[0].last_time) == (2, at("a", 1))
    assert (answer.attention.frame_count, answer.attention.stay_count) == (2, 1)
    shown = embeddings(stub, [raw(scene(1, brightness=place)) for place in (0, 1)])
    assert np.allclose(answer.attention.context_vector.values, shown.mean(0), atol=0.003)


def test_the_same_question_can_be_asked_in_four_ways(stub: VideoMemoryServiceStub, filled: str) -> None:
    exemplar = stub.GetExemplar(pb.GetExemplarRequest(name="memories/m/exemplars/2", include_embedding=True))
    scaled = pb.Embedding(values=[3 * value for value in exemplar.embedding.values])
    # Scene 2 was shown from frame 3 to frame 4; between two frames the earlier one is on screen.
    moment = pb.Moment(stream="memories/m/streams/a", time=at("a", 4))
    moment.time.nanos += 1_000_000
    questions = [
        pb.QueryRequest(memory=filled, picture=raw(scene(2, brightness=3))),
        pb.QueryRequest(memory=filled, embedding=exemplar.embedding),
        pb.QueryRequest(memory=filled, embedding=scaled),
        pb.QueryRequest(memory=filled, exemplar=exemplar.name),
        pb.QueryRequest(memory=filled, moment=moment),
    ]

    answers = [stub.Query(question) for question in questions]

    assert all(answer.matches[0].exemplar == exemplar.name for answer in answers)
    vectors = np.array([answer.attention.context_vector.values for answer in answers])
    assert np.abs(vectors - vectors[0]).max() < 1e-6


BAD_QUESTIONS: dict[str, tuple[pb.QueryRequest, str]] = {
    "an unknown memory": (pb.QueryRequest(memory="memories/x", picture=raw(scene(1))), "MEMORY_NOT_FOUND"),
    "no memory": (pb.QueryRequest(picture=raw(scene(1))), "INVALID_NAME"),
    "a path as a name": (pb.QueryRequest(memory="memories/../m", picture=raw(scene(1))), "INVALID_NAME"),
    "nothing to look for": (pb.QueryRequest(memory="memories/m"), "INVALID_FIELD"),
    "a picture that is none": (
        pb.QueryRequest(memory="memories/m", picture=pb.Picture(compressed=b"%PDF-1.7")),
        "PICTURE_UNREADABLE",
    ),
    "a short embedding": (
        pb.QueryRequest(memory="memories/m", embedding=pb.Embedding(values=[1.0])),
        "EMBEDDING_INVALID",
    ),
    "an embedding without direction": (
        pb.QueryRequest(memory="memories/m", embedding=pb.Embedding(values=[0.0] * DIMENSION)),
        "INVALID_FIELD",
    ),
    "an embedding of another encoder": (
        pb.QueryRequest(memory="memories/m", embedding=pb.Embedding(values=[1.0] * DIMENSION, encoder_version="other")),
        "ENCODER_MISMATCH",
    ),
    "an unknown exemplar": (
        pb.QueryRequest(memory="memories/m", exemplar="memories/m/exemplars/99"),
        "EXEMPLAR_NOT_FOUND",
    ),
    "an exemplar of another memory": (
        pb.QueryRequest(memory="memories/m", exemplar="memories/n/exemplars/1"),
        "INVALID_FIELD",
    ),
    "an unknown stream in the filter": (
        pb.QueryRequest(memory="memories/m", picture=raw(scene(1)), streams=["memories/m/streams/x"]),
        "STREAM_NOT_FOUND",
    ),
    "a moment before the first frame": (
        pb.QueryRequest(
            memory="memories/m", moment=pb.Moment(stream="memories/m/streams/a", time=Timestamp(seconds=5))
        ),
        "MOMENT_NOT_FOUND",
    ),
    "a negative top": (pb.QueryRequest(memory="memories/m", picture=raw(scene(1)), top=-1), "INVALID_FIELD"),
    "a temperature that is no number": (
        pb.QueryRequest(memory="memories/m", picture=raw(scene(1)), inverse_temperature=float("nan")),
        "INVALID_FIELD",
    ),
    "a range that ends before it starts": (
        pb.QueryRequest(
            memory="memories/m",
            picture=raw(scene(1)),
            time_range=pb.TimeRange(start_time=Timestamp(seconds=2), end_time=Timestamp(seconds=1)),
        ),
        "INVALID_FIELD",
    ),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_stays", 999),
        ("max_stays", 1),
        ("max_stays", -1),
        ("max_frames", -1),
        ("max_reading_error", 0.0),
        ("max_reading_error", -0.1),
        ("max_reading_error", 1.001),
        ("max_reading_error", float("nan")),
    ],
)
def test_how_much_to_read_must_make_sense(stub: VideoMemoryServiceStub, filled: str, field: str, value: float) -> None:
    question = pb.QueryRequest(memory=filled, picture=raw(scene(1)), exact=True)
    setattr(question, field, value)

    with pytest.raises(grpc.RpcError) as error:
        stub.Query(question)

    assert reason(error.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", {"field": field})


@pytest.mark.parametrize("fault", BAD_QUESTIONS)
def test_a_bad_question_gets_its_reason(stub: VideoMemoryServiceStub, filled: str, fault: str) -> None:
    question, expected = BAD_QUESTIONS[fault]

    with pytest.raises(grpc.RpcError) as error:
        stub.Query(question)

    assert reason(error.value)[1] == expected


def test_the_same_question_after_a_restart_gets_the_same_answer(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    answers = []
    for run in range(2):
        server = start_server(tmp_path)
        with grpc.insecure_channel(server.address) as channel:
            stub = VideoMemoryServiceStub(channel)
            if run == 0:
                stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name="memories/m")))
                ingest(stub, "memories/m/streams/a", frames(raw(scene(number)) for number in [1, 2, 1, 3]))
            answers.append(stub.Query(pb.QueryRequest(memory="memories/m", picture=raw(scene(2)))))
        server.stop()

    first, second = answers
    assert list(first.matches) == list(second.matches)
    assert np.allclose(first.attention.context_vector.values, second.attention.context_vector.values, atol=1e-7)
    first.attention.ClearField("context_vector")
    second.attention.ClearField("context_vector")
    assert str(first.attention.levels) == str(second.attention.levels)


def test_encode_stores_nothing(stub: VideoMemoryServiceStub, memory: str) -> None:
    vectors = embeddings(stub, [raw(scene(1)), raw(scene(2)), raw(scene(1))])

    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=2**-11)
    assert np.array_equal(vectors[0], vectors[2])
    assert stub.GetMemory(pb.GetMemoryRequest(name=memory)).contents.frames == 0
    with pytest.raises(grpc.RpcError) as error:
        stub.Encode(pb.EncodeRequest())
    assert reason(error.value)[1:] == ("INVALID_FIELD", {"field": "pictures"})


def test_the_timeline_names_what_was_on_screen(stub: VideoMemoryServiceStub, filled: str) -> None:
    sightings = stub.GetTimeline(pb.GetTimelineRequest(stream="memories/m/streams/a")).sightings

    runs = [(number, len(list(run))) for number, run in groupby(SHOWN["a"])]
    assert [(int(s.exemplar[-1]), s.frame_count) for s in sightings] == runs
    assert all(s.largest_novelty <= s.novelty_threshold for s in sightings)
