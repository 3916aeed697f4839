"""Lost connections, lost verdicts and servers that break off: each frame gets exactly one verdict, in order."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from framekeep import (
    Client,
    SequenceGap,
    ServerError,
    ServerUnavailable,
    SessionTakenOver,
    SourceError,
    VerdictKind,
)
from framekeep.v1 import video_memory_pb2 as pb
from serving import RunningServer

SERVICE = "framekeep.v1.VideoMemoryService"


def pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    for number in range(count):
        yield np.full((24, 32, 3), number % 256, np.uint8)


@dataclass
class BreakingServer:
    """Answers Ingest as the contract says, but breaks calls off.

    Each entry of `breaks` is for one call: after how many verdicts it ends, and how many more frames it has stored by
    then whose verdicts are lost. The calls after them run to their end.
    """

    breaks: list[tuple[int, int]]
    status: grpc.StatusCode
    forgets: bool
    journal: list[bytes] = field(default_factory=list)
    stored: Counter[int] = field(default_factory=Counter)
    sessions: list[str] = field(default_factory=list)
    address: str = ""

    def serve(self) -> grpc.Server:
        server = grpc.server(futures.ThreadPoolExecutor(4))
        handler = grpc.stream_stream_rpc_method_handler(
            self.ingest, pb.IngestRequest.FromString, pb.IngestResponse.SerializeToString
        )
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Ingest": handler})])
        self.address = f"localhost:{server.add_insecure_port('localhost:0')}"
        server.start()
        return server

    def ingest(
        self, requests: Iterator[pb.IngestRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.IngestResponse]:
        self.sessions.append(next(requests).opening.session_id)
        verdicts_left, lost_left = self.breaks.pop(0) if self.breaks else (10**9, 0)
        if self.forgets and len(self.sessions) > 1:
            self.journal.clear()
        yield pb.IngestResponse(opened=pb.IngestOpened(next_seq=len(self.journal)))
        for frame in (frame for request in requests for frame in request.frames.frames):
            if verdicts_left == 0 and lost_left == 0:
                context.abort(self.status, "broken off")
            assert frame.seq <= len(self.journal)
            if frame.seq == len(self.journal):
                self.journal.append(frame.picture.raw.data)
                self.stored[frame.seq] += 1
            assert self.journal[frame.seq] == frame.picture.raw.data
            if verdicts_left:
                verdicts_left -= 1
                verdict = pb.Verdict(seq=frame.seq, kind=pb.Verdict.KIND_REPEAT, exemplar="memories/m/exemplars/1")
                yield pb.IngestResponse(verdicts=pb.IngestVerdicts(verdicts=[verdict]))
            else:
                lost_left -= 1
        if verdicts_left == 0:
            context.abort(self.status, "broken off")


@pytest.fixture
def start_breaking() -> Iterator[Callable[..., BreakingServer]]:
    servers = []

    def start(
        breaks: list[tuple[int, int]],
        status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        forgets: bool = False,  # noqa: FBT001, FBT002 - named by its callers
    ) -> BreakingServer:
        breaking = BreakingServer(breaks, status, forgets)
        servers.append(breaking.serve())
        return breaking

    yield start
    for server in servers:
        server.stop(None).wait()


def test_lost_connections_and_lost_verdicts_cost_no_frame(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(5, 0), (7, 9), (0, 3), (40, 1)])

    with (
        Client(breaking.address) as client,
        client.stream(pictures(100), memory="m", stream="s", frames_per_second=25, create_memory=False) as run,
    ):
        seqs = [verdict.seq for verdict in run]

    assert seqs == list(range(100))
    assert breaking.journal == [picture.tobytes() for picture in pictures(100)]
    assert breaking.stored == Counter(range(100))
    assert len(breaking.sessions) == 5
    assert set(breaking.sessions) == {run.summary.session_id}
    assert run.summary.reconnections == 4
    assert run.summary.sent_bytes > 100 * 24 * 32 * 3


def test_a_connection_lost_after_the_last_verdict_does_not_matter(
    start_breaking: Callable[..., BreakingServer],
) -> None:
    breaking = start_breaking([(10, 0)])

    with Client(breaking.address) as client:
        run = client.stream(pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)
        summary = run.run()

    assert (summary.frames, summary.reconnections) == (10, 0)


def test_patience_ends(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(3, 0), *[(0, 0)] * 1_000])

    with Client(breaking.address) as client:
        run = client.stream(
            pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False, reconnect_s=0.5
        )
        seqs: list[int] = []
        with pytest.raises(ServerUnavailable, match="broken off"):
            seqs.extend(verdict.seq for verdict in run)

    assert run.summary.frames == 3
    assert len(breaking.sessions) > 2


def test_other_statuses_are_not_tried_again(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(3, 0)], status=grpc.StatusCode.INTERNAL)

    with Client(breaking.address) as client:
        run = client.stream(pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)
        with pytest.raises(ServerError, match="broken off"):
            run.run()

    assert len(breaking.sessions) == 1


def test_a_server_that_forgot_acknowledged_frames_is_noticed(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(3, 0)], forgets=True)

    with Client(breaking.address) as client:
        run = client.stream(pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)
        with pytest.raises(SequenceGap) as caught:
            run.run()

    assert dict(caught.value.metadata) == {"expected_seq": "0"}


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with closing(socket.create_server(("localhost", 0))) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
    with Client(address) as client:
        run = client.stream(pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)

        with pytest.raises(ServerUnavailable, match="the server cannot be reached"):
            run.run()


class CuttableProxy:
    """Passes bytes between clients and a server, until it cuts all connections."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._server)
            with self._lock:
                self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pass, args=[source, sink]))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(2**16):
                sink.sendall(data)
        except OSError:
            return

    def cut(self) -> None:
        with self._lock:
            for connection in self._sockets:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has ended by itself
                    continue
                finally:
                    connection.close()
            self._sockets.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads[:1]:
            thread.join()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()


def test_a_cut_connection_to_a_real_server_costs_no_frame(server: RunningServer) -> None:
    seqs = []
    with closing(CuttableProxy(server.address)) as proxy, Client(proxy.address) as client:
        with client.stream(pictures(120), memory="m", stream="s", frames_per_second=25) as run:
            for verdict in run:
                seqs.append(verdict.seq)
                if verdict.seq in (4, 100):
                    proxy.cut()
        contents = client.stream_facts("m", "s").contents

    assert seqs == list(range(120))
    assert run.summary.reconnections >= 1
    assert contents.frames == contents.counted_frames == 120


def test_a_session_goes_on_where_an_earlier_run_of_it_ended(client: Client) -> None:
    session_id = uuid4()
    first = client.stream(pictures(10), memory="m", stream="s", frames_per_second=25, session_id=session_id)
    first.run()

    second = client.stream(pictures(25), memory="m", stream="s", frames_per_second=25, session_id=session_id)
    seqs = [verdict.seq for verdict in second]

    assert seqs == list(range(10, 25))
    assert (second.summary.skipped_frames, second.summary.frames) == (10, 15)
    assert client.memory("m").contents.frames == 25


def test_leaving_the_loop_ends_the_call_and_its_thread(client: Client) -> None:
    for verdict in client.stream(pictures(10_000), memory="m", stream="s", frames_per_second=25):
        if verdict.seq == 5:
            break

    assert [thread.name for thread in threading.enumerate() if thread.name == "framekeep-source"] == []
    assert client.memory("m").contents.frames < 10_000


def test_closing_the_client_ends_its_streams(server: RunningServer) -> None:
    client = Client(server.address)
    run = client.stream(pictures(10_000), memory="m", stream="s", frames_per_second=25)
    verdicts = iter(run)
    next(verdicts)

    client.close()

    assert sum(1 for _ in verdicts) < 9_999


def test_an_error_of_the_source_comes_after_the_verdicts_before_it(client: Client) -> None:
    def failing() -> Iterator[NDArray[np.uint8]]:
        yield from pictures(7)
        raise RuntimeError("the camera fell down")

    run = client.stream(failing(), memory="m", stream="s", frames_per_second=25)
    seqs: list[int] = []
    with pytest.raises(RuntimeError, match="the camera fell down"):
        seqs.extend(verdict.seq for verdict in run)

    assert seqs == list(range(7))


def test_a_truncated_file_is_streamed_as_far_as_it_goes(client: Client, make_video: Callable[..., Path]) -> None:
    path = make_video("a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    run = client.stream(path, memory="m")

    with pytest.raises(SourceError, match="broke off after"):
        run.run()

    contents = client.stream_facts("m", "a").contents
    assert contents.frames == run.summary.frames
    assert 25 <= contents.frames <= 48
    assert run.summary.damaged_frames == 1


def test_a_second_call_takes_the_session_over(client: Client) -> None:
    session_id = uuid4()
    first = iter(client.stream(pictures(10_000), memory="m", stream="s", frames_per_second=25, session_id=session_id))
    next(first)

    second = iter(client.stream(pictures(10_000), memory="m", stream="s", frames_per_second=25, session_id=session_id))
    next(second)

    with pytest.raises(SessionTakenOver):
        for _ in first:
            pass


def test_a_rejected_frame_is_a_verdict_like_others(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", max_picture_pixels=10_000)
    sizes = [(24, 32), (200, 300), (24, 32)]
    with Client(server.address) as client:
        run = client.stream(
            [np.zeros((*size, 3), np.uint8) for size in sizes], memory="m", stream="s", frames_per_second=1
        )
        verdicts = list(run)

    assert [verdict.kind for verdict in verdicts] == [VerdictKind.NOVEL, VerdictKind.REJECTED, VerdictKind.REPEAT]
    assert verdicts[1].rejection is not None
    assert verdicts[1].rejection.reason == "PICTURE_TOO_LARGE"
    assert verdicts[2].exemplar == verdicts[0].exemplar
