"""Memories, streams, exemplars and timelines over the contract."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from encoder.backbone import DIMENSION
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store.config import MemoryStoreConfig
from serving import RunningServer
from talking import frames, ingest, raw, reason, scene

THRESHOLD = FieldMask(paths=["novelty_threshold"])


def create(stub: VideoMemoryServiceStub, name: str, threshold: float | None = None) -> pb.Memory:
    return stub.CreateMemory(
        pb.CreateMemoryRequest(memory=pb.Memory(name=f"memories/{name}", novelty_threshold=threshold))
    )


def test_a_memory_is_created_listed_and_deleted(stub: VideoMemoryServiceStub) -> None:
    made = [create(stub, name) for name in ("b", "a.1", "C-2")]

    listed = stub.ListMemories(pb.ListMemoriesRequest()).memories
    assert [memory.name for memory in listed] == ["memories/C-2", "memories/a.1", "memories/b"]
    assert stub.GetMemory(pb.GetMemoryRequest(name="memories/b")).etag == made[0].etag
    assert made[0].dimension == DIMENSION
    assert "efficientnet-lite0" in made[0].encoder_version

    stub.DeleteMemory(pb.DeleteMemoryRequest(name="memories/b"))

    assert len(stub.ListMemories(pb.ListMemoriesRequest()).memories) == 2
    with pytest.raises(grpc.RpcError) as error:
        stub.GetMemory(pb.GetMemoryRequest(name="memories/b"))
    assert reason(error.value)[:2] == (grpc.StatusCode.NOT_FOUND, "MEMORY_NOT_FOUND")
    assert create(stub, "b").contents.frames == 0


def test_memories_are_listed_in_pages(stub: VideoMemoryServiceStub) -> None:
    for name in "abcde":
        create(stub, name)
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        page = stub.ListMemories(pb.ListMemoriesRequest(page_size=2, page_token=token))
        pages.append([memory.name[-1] for memory in page.memories])
        token = page.next_page_token

    assert pages == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 2.1, float("nan"), float("inf")])
def test_thresholds_that_no_distance_has_are_refused(stub: VideoMemoryServiceStub, threshold: float) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(stub, "m", threshold)

    assert reason(error.value)[1:] == ("INVALID_FIELD", {"field": "novelty_threshold"})


@pytest.mark.parametrize(
    "name", ["", "memories/", "memories/a/b", "memories/.a", "memories/a b", "memories/" + "a" * 64]
)
def test_names_of_another_form_are_refused(stub: VideoMemoryServiceStub, name: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name=name)))

    assert reason(error.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME")


def test_a_name_that_is_taken_is_refused(stub: VideoMemoryServiceStub, memory: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        create(stub, "m")

    assert reason(error.value)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "MEMORY_EXISTS")


def test_a_change_on_an_old_etag_is_refused(stub: VideoMemoryServiceStub, memory: str) -> None:
    old = stub.GetMemory(pb.GetMemoryRequest(name=memory))
    change = pb.Memory(name=memory, novelty_threshold=0.2, etag=old.etag)
    new = stub.UpdateMemory(pb.UpdateMemoryRequest(memory=change, update_mask=THRESHOLD))
    assert (new.novelty_threshold, new.etag != old.etag) == (0.2, True)

    with pytest.raises(grpc.RpcError) as error:
        stub.UpdateMemory(pb.UpdateMemoryRequest(memory=change, update_mask=THRESHOLD))

    assert reason(error.value)[:2] == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    with pytest.raises(grpc.RpcError) as error:
        stub.DeleteMemory(pb.DeleteMemoryRequest(name=memory, etag=old.etag))
    assert reason(error.value)[1] == "ETAG_MISMATCH"


@pytest.mark.parametrize("paths", [[], ["name"], ["novelty_threshold", "etag"]])
def test_only_the_threshold_can_be_changed(stub: VideoMemoryServiceStub, memory: str, paths: list[str]) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.UpdateMemory(
            pb.UpdateMemoryRequest(
                memory=pb.Memory(name=memory, novelty_threshold=0.3), update_mask=FieldMask(paths=paths)
            )
        )

    assert reason(error.value)[1:] == ("INVALID_FIELD", {"field": "update_mask"})


def test_a_stream_has_a_threshold_of_its_own_until_it_is_lifted(stub: VideoMemoryServiceStub, memory: str) -> None:
    name = f"{memory}/streams/s"
    made = stub.CreateStream(pb.CreateStreamRequest(stream=pb.Stream(name=name, novelty_threshold=0.5)))
    assert (made.novelty_threshold, made.effective_novelty_threshold) == (0.5, 0.5)
    with pytest.raises(grpc.RpcError) as error:
        stub.CreateStream(pb.CreateStreamRequest(stream=pb.Stream(name=name)))
    assert reason(error.value)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "STREAM_EXISTS")

    lifted = stub.UpdateStream(pb.UpdateStreamRequest(stream=pb.Stream(name=name), update_mask=THRESHOLD))

    assert not lifted.HasField("novelty_threshold")
    assert lifted.effective_novelty_threshold == 0.1
    assert lifted.etag != made.etag


def test_what_each_stream_has_shown_adds_up_to_the_memory(stub: VideoMemoryServiceStub, memory: str) -> None:
    ingest(stub, f"{memory}/streams/a", frames(raw(scene(n)) for n in (1, 2, 1)))
    ingest(stub, f"{memory}/streams/b", frames([raw(scene(2)), pb.Picture(), raw(scene(3))]))

    streams = stub.ListStreams(pb.ListStreamsRequest(parent=memory)).streams
    held = [stream.contents for stream in streams]
    whole = stub.GetMemory(pb.GetMemoryRequest(name=memory)).contents

    assert [stream.name[-1] for stream in streams] == ["a", "b"]
    for field in ("frames", "novel_frames", "repeat_frames", "rejected_frames", "counted_frames", "exemplars",
                  "stays", "sightings", "received_bytes"):  # fmt: skip
        assert sum(getattr(part, field) for part in held) == getattr(whole, field), field
    assert [(part.frames, part.novel_frames, part.repeat_frames, part.rejected_frames) for part in held] == [
        (3, 2, 1, 0),
        (3, 1, 1, 1),
    ]
    assert whole.counted_frames == whole.frames - whole.rejected_frames
    assert whole.stored_bytes > 3 * 5120


def test_exemplars_are_listed_newest_first_in_pages_that_do_not_shift(
    stub: VideoMemoryServiceStub, memory: str
) -> None:
    stream = f"{memory}/streams/s"
    ingest(stub, stream, frames(raw(scene(n)) for n in range(5)))
    first = stub.ListExemplars(pb.ListExemplarsRequest(parent=memory, page_size=2, include_thumbnails=True))
    ingest(stub, stream, frames(raw(scene(n)) for n in range(5, 8)))

    second = stub.ListExemplars(
        pb.ListExemplarsRequest(parent=memory, page_size=9, page_token=first.next_page_token, include_embeddings=True)
    )

    assert [exemplar.name[-1] for exemplar in first.exemplars] == ["5", "4"]
    assert [exemplar.name[-1] for exemplar in second.exemplars] == ["3", "2", "1"]
    assert second.next_page_token == ""
    assert first.exemplars[0].thumbnail.startswith(b"\xff\xd8")
    assert not first.exemplars[0].HasField("embedding")
    assert len(second.exemplars[0].embedding.values) == DIMENSION
    assert second.exemplars[0].thumbnail == b""
    oldest = stub.ListExemplars(pb.ListExemplarsRequest(parent=memory, order_by="id asc")).exemplars
    assert [exemplar.name[-1] for exemplar in oldest] == list("12345678")


@pytest.mark.parametrize("token", ["x", "bm8=", "WyJhIl0=", "W251bGwsIG51bGxd"])
def test_page_tokens_from_elsewhere_are_refused(stub: VideoMemoryServiceStub, memory: str, token: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.ListExemplars(pb.ListExemplarsRequest(parent=memory, page_token=token))

    assert reason(error.value)[1:] == ("INVALID_FIELD", {"field": "page_token"})


def test_a_page_token_is_good_for_its_own_listing_only(stub: VideoMemoryServiceStub, memory: str) -> None:
    ingest(stub, f"{memory}/streams/s", frames(raw(scene(n)) for n in range(3)))
    token = stub.ListExemplars(pb.ListExemplarsRequest(parent=memory, page_size=1)).next_page_token

    with pytest.raises(grpc.RpcError) as error:
        stub.ListExemplars(pb.ListExemplarsRequest(parent=memory, page_token=token, order_by="id asc"))

    assert reason(error.value)[1:] == ("INVALID_FIELD", {"field": "page_token"})


def test_an_exemplar_tells_where_it_came_from(stub: VideoMemoryServiceStub, memory: str) -> None:
    session = "0a0a0a0a-0000-0000-0000-000000000001"
    ingest(stub, f"{memory}/streams/s", frames(raw(scene(n)) for n in (1, 2, 2, 1)), session)

    exemplar = stub.GetExemplar(pb.GetExemplarRequest(name=f"{memory}/exemplars/2"))

    assert (exemplar.stream, exemplar.session_id, exemplar.seq) == (f"{memory}/streams/s", session, 1)
    assert (exemplar.frame_count, exemplar.sighting_count, exemplar.total_duration_us) == (2, 1, 100_000)
    assert exemplar.capture_time == exemplar.first_time
    with pytest.raises(grpc.RpcError) as error:
        stub.GetExemplar(pb.GetExemplarRequest(name=f"{memory}/exemplars/3"))
    assert reason(error.value)[:2] == (grpc.StatusCode.NOT_FOUND, "EXEMPLAR_NOT_FOUND")


def test_a_timeline_is_read_in_pages_and_cut_to_a_range(stub: VideoMemoryServiceStub, memory: str) -> None:
    stream = f"{memory}/streams/s"
    ingest(stub, stream, frames(raw(scene(n)) for n in (1, 1, 2, 2, 1, 3)))
    shown: list[str] = []
    token = ""
    while not shown or token:
        page = stub.GetTimeline(pb.GetTimelineRequest(stream=stream, page_size=3, page_token=token))
        shown += [sighting.exemplar[-1] for sighting in page.sightings]
        token = page.next_page_token
    assert shown == ["1", "2", "1", "3"]

    request = pb.GetTimelineRequest(stream=stream)
    request.time_range.start_time.FromMilliseconds(10**9 + 300)
    request.time_range.end_time.FromMilliseconds(10**9 + 401)

    assert [sighting.exemplar[-1] for sighting in stub.GetTimeline(request).sightings] == ["2", "1"]


def test_more_memories_and_streams_than_the_server_takes_are_refused(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start_server(tmp_path, memory=MemoryStoreConfig(max_memories=1, max_streams=1))
    with grpc.insecure_channel(server.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        create(stub, "m")
        stub.CreateStream(pb.CreateStreamRequest(stream=pb.Stream(name="memories/m/streams/a")))

        with pytest.raises(grpc.RpcError) as error:
            create(stub, "n")
        assert reason(error.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_MEMORIES")
        with pytest.raises(grpc.RpcError) as error:
            ingest(stub, "memories/m/streams/b", [])
        assert reason(error.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        assert ingest(stub, "memories/m/streams/a", frames([raw(scene(1))]))[0].seq == 0
