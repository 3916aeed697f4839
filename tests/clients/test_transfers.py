"""Memories as files of the client: whole or not at all, whatever server, disk and user do."""

import asyncio
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from breaking import SERVICE
from framekeep import (
    AlreadyExists,
    Client,
    FramekeepError,
    InvalidRequest,
    MemoryNotFound,
    MemoryUnreadable,
    ServerError,
    ServerUnavailable,
    TransferError,
    aio,
)
from framekeep.v1 import video_memory_pb2 as pb
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
COMMAND = Path(sys.executable).with_name("framekeep")


@pytest.fixture
def lobby(client: Client) -> str:
    """A memory in which a door saw scenes 1 to 20."""
    scenes = [scene(number) for number in range(1, 21)]
    client.stream(scenes, memory="lobby", stream="door", frames_per_second=1, start_time=START).run()
    return "lobby"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def test_a_memory_is_written_to_a_file_and_made_again_of_it(client: Client, lobby: str, folder: Path) -> None:
    written = client.export_memory(lobby, folder / "saved.sqlite")

    data = (folder / "saved.sqlite").read_bytes()
    assert (written.memory, written.path) == ("lobby", folder / "saved.sqlite")
    assert (written.size_bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert os.listdir(folder) == ["saved.sqlite"]
    for name, made in (("saved", None), ("again", "again")):
        memory = client.import_memory(str(folder / "saved.sqlite"), made, sha256=written.sha256)
        assert (memory.name, memory.contents.exemplars) == (name, 20)
        assert client.query(name, image=scene(7)).matches == client.query(lobby, image=scene(7)).matches
        assert list(client.timeline(name, "door")) == list(client.timeline(lobby, "door"))


def test_progress_is_told_up_to_the_end(client: Client, lobby: str, folder: Path) -> None:
    out: list[tuple[int, int]] = []
    back: list[tuple[int, int]] = []

    written = client.export_memory(lobby, folder / "m.sqlite", progress=lambda *told: out.append(told))
    client.import_memory(folder / "m.sqlite", progress=lambda *told: back.append(told))

    for told in (out, back):
        assert told == sorted(told)
        assert told[-1] == (written.size_bytes, written.size_bytes)


def test_a_file_that_is_there_is_replaced_only_when_asked(client: Client, lobby: str, folder: Path) -> None:
    file = folder / "m.sqlite"
    file.write_text("precious")

    with pytest.raises(AlreadyExists, match=r"expected no file .*m\.sqlite"):
        client.export_memory(lobby, file)
    assert file.read_text() == "precious"
    with pytest.raises(MemoryNotFound):
        client.export_memory("nobody", file, overwrite=True)
    assert file.read_text() == "precious"
    written = client.export_memory(lobby, file, overwrite=True)

    assert file.stat().st_size == written.size_bytes
    assert os.listdir(folder) == ["m.sqlite"]


def test_a_file_that_comes_meanwhile_is_not_replaced(client: Client, lobby: str, folder: Path) -> None:
    file = folder / "m.sqlite"

    with pytest.raises(AlreadyExists):
        client.export_memory(lobby, file, progress=lambda *_: file.write_text("precious"))

    assert file.read_text() == "precious"
    assert os.listdir(folder) == ["m.sqlite"]


def test_one_export_at_a_time_writes_a_file_and_what_a_killed_one_left_is_reused(
    client: Client, lobby: str, folder: Path
) -> None:
    part = folder / "m.sqlite.part"
    part.write_bytes(b"left" * 10**6)

    with part.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TransferError, match="another process is writing it"):
            client.export_memory(lobby, folder / "m.sqlite")
    assert part.stat().st_size == 4 * 10**6
    written = client.export_memory(lobby, folder / "m.sqlite")

    assert (folder / "m.sqlite").stat().st_size == written.size_bytes
    assert os.listdir(folder) == ["m.sqlite"]


def test_a_disk_that_refuses_leaves_no_file(
    client: Client, lobby: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(TransferError, match=r"m\.sqlite.*No space"):
            client.export_memory(lobby, folder / "m.sqlite")
    with pytest.raises(TransferError, match="No such file"):
        client.export_memory(lobby, folder / "nowhere" / "m.sqlite")

    assert os.listdir(folder) == []


def test_files_that_cannot_be_taken_are_refused_by_name(client: Client, lobby: str, folder: Path) -> None:
    file = folder / "m.sqlite"
    client.export_memory(lobby, file)
    (folder / "text.txt").write_text("no memory")

    for arguments, kind, why in (
        ((folder / "none.sqlite",), TransferError, "No such file"),
        ((folder,), TransferError, "Is a directory"),
        ((folder / "text.txt",), MemoryUnreadable, "a file of another kind"),
        ((file, "lobby"), AlreadyExists, "lobby already"),
        ((file, ".bad"), InvalidRequest, "memory name"),
    ):
        with pytest.raises(kind, match=why):
            client.import_memory(*arguments)
    with pytest.raises(MemoryUnreadable, match="00" * 32):
        client.import_memory(file, sha256="00" * 32)
    with pytest.raises(InvalidRequest, match="SHA-256"):
        client.import_memory(file, sha256="nonsense")

    assert [memory.name for memory in client.memories()] == ["lobby"]


def test_what_goes_wrong_while_sending_is_raised_and_the_server_takes_nothing(
    client: Client, lobby: str, folder: Path
) -> None:
    def fail(*_: int) -> None:
        raise RuntimeError("injected")

    client.export_memory(lobby, folder / "m.sqlite")

    with pytest.raises(RuntimeError, match="injected"):
        client.import_memory(folder / "m.sqlite", progress=fail)

    assert [memory.name for memory in client.memories()] == ["lobby"]


def chunk(data: bytes) -> pb.ExportMemoryResponse:
    return pb.ExportMemoryResponse(chunk=data)


OPENED = pb.ExportMemoryResponse(opened=pb.ExportOpened(size_bytes=10))
WRONG = pb.ExportMemoryResponse(sum=pb.FileSum(size_bytes=10, sha256=bytes(32)))
SHORT = pb.ExportMemoryResponse(sum=pb.FileSum(size_bytes=11, sha256=hashlib.sha256(b"0123456789").digest()))


@contextmanager
def exporting(*responses: pb.ExportMemoryResponse, then: Callable[[grpc.ServicerContext], None]) -> Iterator[str]:
    """A server that answers ExportMemory so, then does something; gives its address."""

    def export(_: pb.ExportMemoryRequest, context: grpc.ServicerContext) -> Iterator[pb.ExportMemoryResponse]:
        yield from responses
        then(context)

    handler = grpc.unary_stream_rpc_method_handler(
        export, pb.ExportMemoryRequest.FromString, pb.ExportMemoryResponse.SerializeToString
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"ExportMemory": handler})])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield address
    server.stop(None).wait()


def nothing(_: grpc.ServicerContext) -> None:
    """Let the call end."""


def broken_off(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")


@pytest.mark.parametrize(
    ("responses", "then", "kind"),
    [
        ([OPENED, chunk(b"0123456789"), WRONG], nothing, TransferError),
        ([OPENED, chunk(b"0123456789"), SHORT], nothing, TransferError),
        ([OPENED, chunk(b"0123456789")], nothing, ServerError),
        ([OPENED, chunk(b"01234")], broken_off, ServerUnavailable),
        ([], broken_off, ServerUnavailable),
    ],
    ids=["another digest", "another size", "no sum", "broken off", "nothing"],
)
def test_what_does_not_arrive_whole_gets_no_name(
    folder: Path,
    responses: list[pb.ExportMemoryResponse],
    then: Callable[[grpc.ServicerContext], None],
    kind: type[FramekeepError],
) -> None:
    with exporting(*responses, then=then) as address, Client(address) as client, pytest.raises(kind):
        client.export_memory("m", folder / "m.sqlite")

    assert os.listdir(folder) == []


@contextmanager
def hanging() -> Iterator[tuple[str, threading.Event]]:
    """A server that sends half a file and then nothing: its address, and whether it has come so far."""
    reached, ended = threading.Event(), threading.Event()

    def hang(context: grpc.ServicerContext) -> None:
        context.add_callback(ended.set)
        reached.set()
        ended.wait(30)

    with exporting(OPENED, chunk(b"01234"), then=hang) as address:
        yield address, reached
        ended.set()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_ended_leaves_no_part_of_a_file(folder: Path, number: signal.Signals, code: int) -> None:
    with hanging() as (address, reached):
        command = [str(COMMAND), "--server", address, "export", "m", str(folder / "m.sqlite")]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            assert reached.wait(60)
            assert os.listdir(folder) == ["m.sqlite.part"]
            process.send_signal(number)
            process.communicate(timeout=60)

    assert process.returncode == code
    assert os.listdir(folder) == []


def test_asynchronous_tasks_do_the_same_and_leave_nothing_when_they_are_cancelled(
    server: RunningServer, lobby: str, folder: Path
) -> None:
    async def transfer() -> None:
        async with aio.Client(server.address) as fk:
            written = await fk.export_memory(lobby, folder / "m.sqlite")
            assert written.size_bytes == (folder / "m.sqlite").stat().st_size
            assert (await fk.import_memory(written.path, "copy", sha256=written.sha256)).contents.exemplars == 20

    async def leave(address: str) -> None:
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with aio.Client(address) as fk:
            waiting = asyncio.create_task(
                fk.export_memory(
                    "m", folder / "half.sqlite", progress=lambda *_: loop.call_soon_threadsafe(arrived.set)
                )
            )
            await arrived.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(transfer())
    with hanging() as (address, _):
        asyncio.run(leave(address))

    assert os.listdir(folder) == ["m.sqlite"]
