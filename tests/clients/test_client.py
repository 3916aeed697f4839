import importlib.metadata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.config import MAX_PICTURE_SIDE_PIXELS
from framekeep import (
    AlreadyExists,
    Client,
    Clock,
    Conflict,
    ExemplarNotFound,
    InvalidRequest,
    Limits,
    MemoryNotFound,
    MomentNotFound,
    PictureRefused,
    SourceFrame,
    StreamNotFound,
    TooManyMemories,
    TooManyStreams,
    VerdictKind,
)
from framekeep.picture_files import png_from
from memory_store.config import MemoryStoreConfig
from service.app import MESSAGE_OVERHEAD_BYTES
from service.ingest import FRAMES_IN_FLIGHT
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, 250_000, tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def visits(*scenes: int) -> Iterator[NDArray[np.uint8]]:
    """Each scene for a second, at 10 frames a second."""
    for number in scenes:
        yield from (scene(number, brightness) for brightness in range(10))


@pytest.fixture
def lobby(client: Client) -> str:
    """A memory in which a door saw scenes 1, 2 and 1 again, from START on."""
    client.stream(visits(1, 2, 1), memory="lobby", stream="door", frames_per_second=10, start_time=START).run()
    return "lobby"


def test_the_server_says_what_it_is_and_takes(client: Client) -> None:
    info = client.server_info()

    created = client.create_memory("m")
    assert info.version == importlib.metadata.version("framekeep-server")
    assert (info.encoder_version, info.dimension) == (created.encoder_version, created.dimension)
    assert info.default_novelty_threshold == created.novelty_threshold == 0.1
    assert info.limits == Limits(
        picture_pixels=2**24,
        picture_side_pixels=MAX_PICTURE_SIDE_PIXELS,
        message_bytes=3 * 2**24 + MESSAGE_OVERHEAD_BYTES,
        frames_in_flight=FRAMES_IN_FLIGHT,
        sessions=8,
        memories=MemoryStoreConfig().max_memories,
        streams=MemoryStoreConfig().max_streams,
    )


def test_there_are_so_many_memories_and_streams_and_no_more(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start_server(tmp_path / "small", memory=MemoryStoreConfig(max_memories=1, max_streams=1))
    with Client(server.address) as client:
        client.create_memory("a")
        client.create_stream("a", "s")

        with pytest.raises(TooManyMemories):
            client.create_memory("b")
        with pytest.raises(TooManyStreams):
            client.create_stream("a", "t")
        with pytest.raises(TooManyStreams):
            client.open_stream("t", memory="a")


def test_memories_are_created_listed_and_deleted(client: Client) -> None:
    created = [client.create_memory(name, novelty_threshold=0.25) for name in ("b", "a")]

    assert [memory.name for memory in client.memories()] == ["a", "b"]
    assert client.memory("b") == created[0] == client.create_memory("b", exist_ok=True)
    assert created[0].novelty_threshold == 0.25
    assert client.unreadable_memories() == []
    with pytest.raises(AlreadyExists):
        client.create_memory("a")
    client.delete_memory("a")
    with pytest.raises(MemoryNotFound):
        client.memory("a")


def test_lists_come_page_by_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.calls._PAGE_SIZE", 2)
    for number in range(5):
        client.create_memory(f"m{number}")
        client.create_stream("m0", f"s{number}")
    client.stream(visits(*range(5)), memory="m0", stream="s0", frames_per_second=10).run()

    assert [memory.name for memory in client.memories()] == [f"m{number}" for number in range(5)]
    assert [stream.name for stream in client.streams("m0")] == [f"s{number}" for number in range(5)]
    assert [exemplar.id for exemplar in client.exemplars("m0")] == [5, 4, 3, 2, 1]
    assert [exemplar.id for exemplar in client.exemplars("m0", newest_first=False)] == [1, 2, 3, 4, 5]
    assert [sighting.exemplar for sighting in client.timeline("m0", "s0")] == [1, 2, 3, 4, 5]


def test_a_stream_may_have_a_threshold_of_its_own(client: Client) -> None:
    client.create_memory("m", novelty_threshold=0.2)
    stream = client.create_stream("m", "s", novelty_threshold=0.4)

    changed = client.set_threshold("m", 0.3)
    inheriting = client.set_threshold("m", None, stream="s", etag=stream.etag)

    assert (stream.novelty_threshold, stream.effective_novelty_threshold) == (0.4, 0.4)
    assert changed.novelty_threshold == 0.3
    assert (inheriting.novelty_threshold, inheriting.effective_novelty_threshold) == (None, 0.3)
    with pytest.raises(Conflict):
        client.set_threshold("m", 0.5, stream="s", etag=stream.etag)
    with pytest.raises(InvalidRequest) as caught:
        client.set_threshold("m", 3.0)
    assert caught.value.metadata["field"] == "novelty_threshold"


def test_verdicts_say_what_became_of_each_frame(client: Client) -> None:
    run = client.stream(visits(1, 2, 1), memory="m", stream="s", frames_per_second=10, start_time=START)

    verdicts = list(run)

    kinds = [VerdictKind.NOVEL, *[VerdictKind.REPEAT] * 9] * 2 + [VerdictKind.REPEAT] * 10
    assert [verdict.kind for verdict in verdicts] == kinds
    assert [verdict.exemplar for verdict in verdicts] == [1] * 10 + [2] * 10 + [1] * 10
    assert [verdict.capture_time for verdict in verdicts] == [START + seconds(n / 10) for n in range(30)]
    assert verdicts[0].novelty is None
    assert verdicts[20].novelty == pytest.approx(0, abs=1e-5)
    assert not any(verdict.pts_repaired for verdict in verdicts)
    assert all(verdict.timings is not None and verdict.timings.encode_us > 0 for verdict in verdicts)
    assert (run.summary.novel_frames, run.summary.repeat_frames, run.summary.kept_share) == (2, 28, 2 / 30)
    assert run.summary.sent_bytes == 30 * scene(1).nbytes


def test_jpeg_is_a_transport_too(client: Client) -> None:
    run = client.stream(visits(1, 2), memory="m", stream="s", frames_per_second=10, transport="jpeg")

    verdicts = list(run)

    assert [verdict.exemplar for verdict in verdicts] == [1] * 10 + [2] * 10
    assert run.summary.sent_bytes < 20 * scene(1).nbytes / 2


def test_frames_may_bring_their_capture_times(client: Client) -> None:
    times = [START + seconds(n * n) for n in range(4)]
    frames = [SourceFrame(number * 1_000, time, scene(1)) for number, time in enumerate(times)]

    verdicts = list(client.stream(frames, memory="m", stream="s"))

    assert [verdict.capture_time for verdict in verdicts] == times
    [sighting] = client.timeline("m", "s")
    assert (sighting.clock, sighting.start_time, sighting.end_time) == (Clock.SOURCE, times[0], times[-1])


def test_frames_with_and_without_capture_time_do_not_mix(client: Client) -> None:
    frames = [SourceFrame(0, START, scene(1)), SourceFrame(1_000, None, scene(1))]

    with pytest.raises(InvalidRequest, match="frame 1: expected a capture time on every frame or on none"):
        client.stream(frames, memory="m", stream="s").run()


def test_times_that_do_not_increase_are_repaired_and_flagged(client: Client) -> None:
    frames = [SourceFrame(pts_us, None, scene(1)) for pts_us in (0, 50, 50)]

    verdicts = list(client.stream(frames, memory="m", stream="s", start_time=START))

    assert [verdict.pts_repaired for verdict in verdicts] == [False, False, True]
    assert verdicts[2].capture_time == START + timedelta(microseconds=51)


def test_a_picture_too_large_for_a_message_is_refused_here(client: Client) -> None:
    huge = np.zeros((6_000, 6_000, 3), np.uint8)

    with pytest.raises(PictureRefused, match=r"frame 1: expected at most .* the transport 'jpeg' makes"):
        client.stream([scene(1), huge], memory="m", stream="s", frames_per_second=1).run()

    assert client.memory("m").contents.frames == 1


def test_what_cannot_be_streamed_is_refused_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="expected a stream name, since the source has none"):
        client.stream([scene(1)], memory="m", frames_per_second=1)
    with pytest.raises(InvalidRequest, match="expected a UUID"):
        client.stream([scene(1)], memory="m", stream="s", frames_per_second=1, session_id="today")
    with pytest.raises(InvalidRequest, match="expected the transport"):
        client.stream([scene(1)], memory="m", stream="s", frames_per_second=1, transport="fax")  # type: ignore[arg-type]

    assert client.memories() == []


def test_a_run_is_iterated_once(client: Client) -> None:
    run = client.stream([scene(1)], memory="m", stream="s", frames_per_second=1)
    run.run()

    with pytest.raises(InvalidRequest, match="iterated once"):
        run.run()


def test_a_memory_that_must_exist_is_not_created(client: Client) -> None:
    run = client.stream([scene(1)], memory="m", stream="s", frames_per_second=1, create_memory=False)

    with pytest.raises(MemoryNotFound):
        run.run()


def test_what_was_seen_is_found_by_picture_embedding_exemplar_and_moment(client: Client, lobby: str) -> None:
    [embedding] = client.encode([scene(2)])

    answers = [
        client.query(lobby, image=scene(2)),
        client.query(lobby, image=png_from(scene(2))),
        client.query(lobby, embedding=2 * embedding),
        client.query(lobby, exemplar=2),
        client.query(lobby, moment=("door", START + seconds(1.05))),
    ]

    for answer in answers:
        best = answer.matches[0]
        assert answer.seen
        assert (best.exemplar, best.frame_count, best.sighting_count) == (2, 10, 1)
        assert best.novelty == pytest.approx(0, abs=1e-5)
        assert (best.first_time, best.last_time) == (START + seconds(1), START + seconds(1.9))
        assert best.total_duration == seconds(0.9)
        assert [sighting.session_id for sighting in best.sightings] == [best.sightings[0].session_id]


def test_attention_is_a_share_of_the_past(client: Client, lobby: str) -> None:
    answer = client.query(lobby, exemplar=1, inverse_temperature=0)

    assert answer.attention is not None
    assert answer.context_vector is not None
    assert answer.context_vector.shape == (client.memory(lobby).dimension,)
    assert answer.attention.inverse_temperature == 0
    assert {share.exemplar: share.weight for share in answer.attention.exemplars} == pytest.approx({1: 2 / 3, 2: 1 / 3})
    assert sum(block.weight for block in answer.blocks if block.level == 1) == pytest.approx(1)
    assert (answer.blocks[0].stream, answer.attention.frame_count) == ("door", 30)


def test_a_filter_narrows_what_counts(client: Client, lobby: str) -> None:
    in_time = client.query(lobby, exemplar=1, since=START + seconds(1), until=START + seconds(2.5))
    as_of = client.query(lobby, exemplar=2, as_of=START + seconds(0.5))
    nothing = client.query(lobby, exemplar=1, since=START + seconds(100), streams=["door"])

    assert in_time.matches[0].frame_count == 5
    assert (as_of.seen, [match.exemplar for match in as_of.matches]) == (False, [1])
    assert (nothing.seen, nothing.matches, nothing.attention, nothing.blocks) == (False, (), None, ())
    assert nothing.context_vector is None


def test_questions_that_make_no_sense_are_refused(client: Client, lobby: str) -> None:
    with pytest.raises(InvalidRequest, match="expected one of image, embedding, exemplar and moment"):
        client.query(lobby)
    with pytest.raises(InvalidRequest, match="expected one of"):
        client.query(lobby, exemplar=1, image=scene(1))
    with pytest.raises(InvalidRequest, match="expected a sequence of stream names"):
        client.query(lobby, exemplar=1, streams="door")
    with pytest.raises(InvalidRequest, match=r"expected an embedding \[D\] of finite numbers, got \[1, 3\]"):
        client.query(lobby, embedding=[[1.0, 0.0, 0.0]])
    with pytest.raises(InvalidRequest) as caught:
        client.query(lobby, embedding=[1.0, 0.0, 0.0])
    assert caught.value.reason == "EMBEDDING_INVALID"


def test_what_does_not_exist_is_told_apart(client: Client, lobby: str) -> None:
    with pytest.raises(ExemplarNotFound):
        client.query(lobby, exemplar=99)
    with pytest.raises(StreamNotFound):
        client.query(lobby, exemplar=1, streams=["window"])
    with pytest.raises(MomentNotFound):
        client.query(lobby, moment=("door", START - seconds(1)))
    with pytest.raises(ExemplarNotFound):
        client.exemplar(lobby, 3)


def test_exemplars_bring_what_was_asked_for(client: Client, lobby: str) -> None:
    [plain, _] = client.exemplars(lobby, newest_first=False)
    full = client.exemplar(lobby, 1, thumbnail=True, embedding=True)
    [embedding] = client.encode([scene(1)])

    assert (plain.thumbnail, plain.embedding) == (None, None)
    assert (plain.stream, plain.seq, plain.capture_time, plain.frame_count, plain.sighting_count) == (
        "door",
        0,
        START,
        20,
        2,
    )
    assert (plain.first_time, plain.last_time) == (START, START + seconds(2.9))
    assert plain.total_duration == seconds(1.8)
    assert full.thumbnail is not None
    assert full.thumbnail.startswith(b"\xff\xd8\xff")
    assert full.embedding is not None
    assert np.allclose(full.embedding, embedding, atol=1e-5)


def test_a_timeline_names_what_was_on_screen(client: Client, lobby: str) -> None:
    shown = [
        (sighting.exemplar, sighting.start_time - START, sighting.end_time - START, sighting.frame_count)
        for sighting in client.timeline(lobby, "door")
    ]

    assert shown == [
        (1, seconds(0), seconds(0.9), 10),
        (2, seconds(1), seconds(1.9), 10),
        (1, seconds(2), seconds(2.9), 10),
    ]
    assert [
        s.exemplar for s in client.timeline(lobby, "door", since=START + seconds(1.5), until=START + seconds(2))
    ] == [2]


def test_embeddings_are_rows_of_unit_length_in_order(client: Client) -> None:
    rows = client.encode([scene(1), png_from(scene(2)), scene(1)[..., 0]])

    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(3), abs=2e-4)  # float16
    assert np.allclose(rows[1], client.encode([scene(2)])[0], atol=1e-5)
    with pytest.raises(InvalidRequest, match="at least one picture"):
        client.encode([])
    with pytest.raises(PictureRefused):
        client.encode([b"\xff\xd8\xff broken"])


def test_session_ids_can_be_chosen(client: Client) -> None:
    session_id = uuid4()

    run = client.stream([scene(1)], memory="m", stream="s", frames_per_second=1, session_id=session_id)
    run.run()

    assert run.summary.session_id == str(session_id)
    assert [sighting.session_id for sighting in client.timeline("m", "s")] == [str(session_id)]
