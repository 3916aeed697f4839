"""Memories that go out and come in over the contract, whatever becomes of the client, the disk and the server."""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import grpc
import pytest

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store import transfer
from memory_store.config import MemoryStoreConfig
from service import transfers
from service.transfers import CHUNK_BYTES
from serving import RunningServer
from talking import Call, frames, ingest, opening, raw, reason, scene

StartServer = Callable[..., RunningServer]
Requests = Iterator[pb.ImportMemoryRequest]


def exported(stub: VideoMemoryServiceStub, memory: str) -> bytes:
    first, *chunks, last = stub.ExportMemory(pb.ExportMemoryRequest(name=memory))
    assert all(0 < len(chunk.chunk) <= CHUNK_BYTES for chunk in chunks)
    data = b"".join(chunk.chunk for chunk in chunks)
    assert first.opened.size_bytes == last.sum.size_bytes == len(data)
    assert last.sum.sha256 == hashlib.sha256(data).digest()
    return data


def messages(memory: str, data: bytes, *, chunk_bytes: int = CHUNK_BYTES, sha256: bytes | None = None) -> Requests:
    yield pb.ImportMemoryRequest(opening=pb.ImportOpening(name=memory))
    for start in range(0, len(data), chunk_bytes):
        yield pb.ImportMemoryRequest(chunk=data[start : start + chunk_bytes])
    total = pb.FileSum(size_bytes=len(data), sha256=sha256 or hashlib.sha256(data).digest())
    yield pb.ImportMemoryRequest(sum=total)


def visits(*scenes: int) -> list[pb.Frame]:
    return frames(raw(scene(number, brightness)) for number in scenes for brightness in range(10))


def drafts(server: RunningServer) -> list[str]:
    """What transfers have in the data folder."""
    return [path.name for path in (server.config.server.data / "memories").iterdir() if path.name.startswith(".")]


@pytest.fixture
def other_stub(start_server: StartServer, tmp_path: Path) -> Iterator[VideoMemoryServiceStub]:
    """The generated client of another server."""
    with grpc.insecure_channel(start_server(tmp_path / "other").address) as channel:
        yield VideoMemoryServiceStub(channel)


@pytest.fixture
def discarded(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the server has removed what a transfer had on the disk."""
    event, discard = threading.Event(), transfers._discard

    def watched(transfer: transfer.Export | transfer.Import) -> None:
        discard(transfer)
        event.set()

    monkeypatch.setattr(transfers, "_discard", watched)
    return event


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return reason(error.value)


def test_a_memory_answers_on_another_server_as_it_did_here(
    stub: VideoMemoryServiceStub, memory: str, other_stub: VideoMemoryServiceStub, server: RunningServer
) -> None:
    verdicts = ingest(stub, f"{memory}/streams/door", visits(1, 2, 1), "0f8fad5b-d9cb-469f-a165-70867728950e")

    response = other_stub.ImportMemory(messages(memory, exported(stub, memory), chunk_bytes=50_000))

    question = pb.QueryRequest(memory=memory, picture=raw(scene(2)), include_thumbnails=True)
    assert other_stub.Query(question) == stub.Query(question)
    listing = pb.ListExemplarsRequest(parent=memory, include_embeddings=True, include_thumbnails=True)
    assert other_stub.ListExemplars(listing) == stub.ListExemplars(listing)
    here, there = stub.GetMemory(pb.GetMemoryRequest(name=memory)), response.memory
    here.contents.stored_bytes = there.contents.stored_bytes = 0  # which the write-ahead log is part of
    assert there == here
    again = ingest(other_stub, f"{memory}/streams/door", visits(1, 2, 1), "0f8fad5b-d9cb-469f-a165-70867728950e")
    assert [(v.seq, v.kind, v.exemplar, v.novelty) for v in again] == [
        (v.seq, v.kind, v.exemplar, v.novelty) for v in verdicts
    ]
    assert drafts(server) == []


def test_a_memory_that_is_being_written_goes_out_as_a_beginning_of_its_stream(
    stub: VideoMemoryServiceStub, memory: str, other_stub: VideoMemoryServiceStub
) -> None:
    session_id, begun, enough = str(uuid4()), threading.Event(), threading.Event()
    call = Call(stub, opening(f"{memory}/streams/door", session_id))
    call.opened()
    answers = call.verdicts()
    verdicts: list[pb.Verdict] = []

    def send() -> None:
        for seq in count():
            if enough.is_set():
                break
            call.send(*frames([raw(scene(seq % 7, seq % 3))], seq))
            if seq >= 8:
                verdicts.append(next(answers))
            if seq == 40:
                begun.set()
        call.close()

    sending = threading.Thread(target=send)
    sending.start()
    assert begun.wait(60)
    files = [exported(stub, memory) for _ in range(3)]
    enough.set()
    sending.join()
    verdicts += answers

    counts = []
    for number, data in enumerate(files):
        copy = other_stub.ImportMemory(messages(f"memories/copy-{number}", data)).memory
        contents = copy.contents
        assert contents.frames == contents.novel_frames + contents.repeat_frames + contents.rejected_frames
        assert contents.counted_frames == contents.novel_frames + contents.repeat_frames
        again = Call(other_stub, opening(f"{copy.name}/streams/door", session_id))
        assert again.opened().next_seq == contents.frames
        # Resent frames are answered from the journal: those of the copy are the beginning of the stream.
        again.send(*frames(raw(scene(0)) for _ in range(min(contents.frames, 200))))
        again.close()
        kept = list(again.verdicts())
        assert [(v.seq, v.kind, v.novelty) for v in kept] == [(v.seq, v.kind, v.novelty) for v in verdicts[: len(kept)]]
        counts.append(contents.frames)
    assert 30 < counts[0] <= counts[1] <= counts[2]
    assert counts[-1] <= len(verdicts) == stub.GetMemory(pb.GetMemoryRequest(name=memory)).contents.frames


def test_a_memory_of_another_encoder_can_be_looked_at_but_not_added_to(
    stub: VideoMemoryServiceStub, memory: str, server: RunningServer
) -> None:
    ingest(stub, f"{memory}/streams/door", visits(1))
    server.store.create("foreign", "another-encoder/1", 8, None)

    foreign = stub.ImportMemory(messages("memories/copy", exported(stub, "memories/foreign"))).memory

    assert (foreign.encoder_version, foreign.dimension) == ("another-encoder/1", 8)
    query = pb.QueryRequest(memory=foreign.name, embedding=pb.Embedding(values=[1.0] * 8))
    assert not stub.Query(query).seen
    assert refusal(lambda: ingest(stub, f"{foreign.name}/streams/door", []))[1] == "ENCODER_MISMATCH"


def test_what_does_not_exist_or_has_a_bad_name_is_refused(stub: VideoMemoryServiceStub) -> None:
    def export(name: str) -> tuple[grpc.StatusCode, str, dict[str, str]]:
        return refusal(lambda: list(stub.ExportMemory(pb.ExportMemoryRequest(name=name))))

    assert export("memories/nobody")[:2] == (grpc.StatusCode.NOT_FOUND, "MEMORY_NOT_FOUND")
    assert export("nobody")[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME")
    assert refusal(lambda: stub.ImportMemory(messages("memories/.m", b"")))[1] == "INVALID_NAME"


def test_a_name_that_is_taken_is_refused_before_the_bytes_are_sent(stub: VideoMemoryServiceStub, memory: str) -> None:
    waiting: queue.Queue[pb.ImportMemoryRequest | None] = queue.Queue()
    waiting.put(pb.ImportMemoryRequest(opening=pb.ImportOpening(name=memory)))

    refused = refusal(lambda: stub.ImportMemory(iter(waiting.get, None)))

    waiting.put(None)
    assert refused[:2] == (grpc.StatusCode.ALREADY_EXISTS, "MEMORY_EXISTS")


def test_no_more_memories_come_in_than_the_server_takes(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(tmp_path / "small", memory=MemoryStoreConfig(max_memories=1))
    with grpc.insecure_channel(server.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name="memories/m")))
        refused = refusal(lambda: stub.ImportMemory(messages("memories/copy", b"")))

    assert refused[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_MEMORIES")


CHUNK = pb.ImportMemoryRequest(chunk=b"bytes")
OPENING = pb.ImportMemoryRequest(opening=pb.ImportOpening(name="memories/copy"))
LARGE = pb.ImportMemoryRequest(chunk=bytes(CHUNK_BYTES + 1))
BROKEN = {
    "nothing": ([], "PROTOCOL_VIOLATION"),
    "no opening": ([CHUNK], "PROTOCOL_VIOLATION"),
    "two openings": ([OPENING, OPENING], "PROTOCOL_VIOLATION"),
    "an empty message": ([OPENING, pb.ImportMemoryRequest()], "PROTOCOL_VIOLATION"),
    "no sum": ([OPENING, CHUNK], "PROTOCOL_VIOLATION"),
    "a large chunk": ([OPENING, LARGE], "INVALID_FIELD"),
    "no bytes": (list(messages("memories/copy", b"")), "MEMORY_UNREADABLE"),
    "other bytes": (list(messages("memories/copy", b"not a memory" * 99)), "MEMORY_UNREADABLE"),
    "another sum": (list(messages("memories/copy", b"bytes", sha256=bytes(32))), "MEMORY_UNREADABLE"),
    "half a sum": (list(messages("memories/copy", b"bytes", sha256=b"half")), "MEMORY_UNREADABLE"),
}


@pytest.mark.parametrize(("sent", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_memory_is_refused_and_leaves_nothing(
    stub: VideoMemoryServiceStub, server: RunningServer, sent: list[pb.ImportMemoryRequest], why: str
) -> None:
    refused = refusal(lambda: stub.ImportMemory(iter(sent)))

    assert refused[1] == why
    assert drafts(server) == []
    assert not stub.ListMemories(pb.ListMemoriesRequest()).memories


def test_a_file_that_was_cut_off_is_refused(stub: VideoMemoryServiceStub, memory: str, server: RunningServer) -> None:
    ingest(stub, f"{memory}/streams/door", visits(1, 2))
    data = exported(stub, memory)

    refused = refusal(lambda: stub.ImportMemory(messages("memories/copy", data[: 2 * len(data) // 3])))

    assert refused[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "MEMORY_UNREADABLE")
    assert drafts(server) == []
    assert refusal(lambda: stub.GetMemory(pb.GetMemoryRequest(name="memories/copy")))[1] == "MEMORY_NOT_FOUND"


def test_a_full_disk_is_named_and_nothing_is_left(
    stub: VideoMemoryServiceStub, memory: str, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = exported(stub, memory)
    with monkeypatch.context() as patched:
        patched.setattr(transfer, "SPARE_BYTES", 2**62)
        refused = [
            refusal(lambda: list(stub.ExportMemory(pb.ExportMemoryRequest(name=memory)))),
            refusal(lambda: stub.ImportMemory(messages("memories/copy", data))),
        ]

    assert {(code, why) for code, why, _ in refused} == {(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")}
    assert drafts(server) == []
    assert stub.ImportMemory(messages("memories/copy", data)).memory.name == "memories/copy"


def test_a_client_that_leaves_while_a_memory_goes_out_leaves_nothing_behind(
    stub: VideoMemoryServiceStub, memory: str, server: RunningServer, discarded: threading.Event
) -> None:
    ingest(stub, f"{memory}/streams/door", visits(1, 2))
    answers = stub.ExportMemory(pb.ExportMemoryRequest(name=memory))
    assert next(answers).opened.size_bytes > 0

    answers.cancel()

    assert discarded.wait(30)
    assert drafts(server) == []
    assert exported(stub, memory)


class HalfAnImport:
    """A call that has brought the opening and some bytes, which the server has on its disk, and brings no more."""

    def __init__(self, stub: VideoMemoryServiceStub, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self._data, self._written, self._left = data, threading.Event(), threading.Event()
        write = transfer.Import.write

        def watched(arrived: transfer.Import, data: bytes) -> None:
            write(arrived, data)
            self._written.set()

        monkeypatch.setattr(transfer.Import, "write", watched)
        self.call = stub.ImportMemory.future(self._messages())
        assert self._written.wait(30)

    def _messages(self) -> Requests:
        yield pb.ImportMemoryRequest(opening=pb.ImportOpening(name="memories/copy"))
        yield pb.ImportMemoryRequest(chunk=self._data[: len(self._data) // 2])
        self._left.wait(30)

    def leave(self) -> None:
        self.call.cancel()
        self._left.set()


def test_a_client_that_leaves_while_a_memory_comes_in_leaves_nothing_behind(
    stub: VideoMemoryServiceStub,
    memory: str,
    server: RunningServer,
    discarded: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = exported(stub, memory)
    discarded.clear()
    half = HalfAnImport(stub, data, monkeypatch)
    assert len(drafts(server)) == 1

    half.leave()

    assert discarded.wait(30)
    assert drafts(server) == []
    assert [listed.name for listed in stub.ListMemories(pb.ListMemoriesRequest()).memories] == [memory]


def test_a_server_that_stops_breaks_transfers_off_and_leaves_nothing(
    stub: VideoMemoryServiceStub, memory: str, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = HalfAnImport(stub, exported(stub, memory), monkeypatch)

    server.stop()

    error = half.call.exception()
    half.leave()
    assert isinstance(error, grpc.RpcError)
    assert reason(error)[:2] == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert drafts(server) == []
