"""Connections that break: a server that breaks calls off, and a proxy that cuts connections."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
import numpy as np
from numpy.typing import NDArray

from framekeep.v1 import video_memory_pb2 as pb

SERVICE = "framekeep.v1.VideoMemoryService"


def plain_pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures of one shade each."""
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
    forgets: bool = False
    is_held: bool = False
    """It takes frames, and answers none of them before `released` is set."""
    opens: bool = True
    """It opens sessions, as the contract says."""
    released: threading.Event = field(default_factory=threading.Event)
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
        if not self.opens:
            return
        yield pb.IngestResponse(opened=pb.IngestOpened(next_seq=len(self.journal)))
        for frame in (frame for request in requests for frame in request.frames.frames):
            if verdicts_left == 0 and lost_left == 0:
                context.abort(self.status, "broken off")
            if self.forgets and frame.seq > len(self.journal):
                return  # sent before the client has heard how much is missing
            assert frame.seq <= len(self.journal)
            while self.is_held and not self.released.wait(0.01):
                if not context.is_active():
                    return
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
