"""What the client's tests share: small videos, made on the spot."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import grpc
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from numpy.typing import NDArray

from breaking import SERVICE, BreakingServer
from framekeep import Client
from framekeep.v1 import video_memory_pb2 as pb
from serving import RunningServer

MILLISECOND = Fraction(1, 1000)


def noise(number: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A picture that does not compress, so that bytes of a file spread evenly over its frames."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write videos; their pictures are noise unless given, and their times 40 ms apart."""

    def make(
        name: str,
        *,
        pictures: Sequence[NDArray[np.uint8]] | None = None,
        pts_ms: Sequence[int] = range(0, 2400, 40),
        codec: str = "libx264",
        metadata: Mapping[str, str] | None = None,
        rotation: int = 0,
    ) -> Path:
        path = tmp_path / name
        shown = pictures or [noise(number) for number in range(len(pts_ms))]
        options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
        with av.open(path, "w", options=options) as container:
            container.metadata.update(metadata or {})
            video = container.add_stream(codec, rate=25)
            assert isinstance(video, VideoStream)
            video.height, video.width = shown[0].shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = MILLISECOND
            if rotation:
                video.set_display_rotation(rotation)
            for picture, pts in zip(shown, pts_ms, strict=True):
                frame = VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = pts, MILLISECOND
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        return path

    return make


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def start_breaking() -> Iterator[Callable[..., BreakingServer]]:
    """Start servers that break calls off; they are stopped at the end."""
    servers = []

    def start(
        breaks: list[tuple[int, int]],
        status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        *,
        forgets: bool = False,
        is_held: bool = False,
        opens: bool = True,
    ) -> BreakingServer:
        breaking = BreakingServer(breaks, status, forgets, is_held, opens)
        servers.append(breaking.serve())
        return breaking

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def start_silent() -> Iterator[Callable[[], str]]:
    """Listen where connections are accepted and nothing is answered; gives the address."""
    with ExitStack() as stack:

        def start() -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield start


@pytest.fixture
def start_answering() -> Iterator[Callable[..., tuple[str, list[Message]]]]:
    """Start servers that answer each call, by its name, with a message; gives the address and what was asked."""
    servers = []
    calls = pb.DESCRIPTOR.services_by_name["VideoMemoryService"].methods_by_name

    def start(**answers: Message) -> tuple[str, list[Message]]:
        asked: list[Message] = []

        def handler(name: str, answer: Message) -> "grpc.RpcMethodHandler[Message, Message]":
            def call(request: Message, _context: grpc.ServicerContext) -> Message:
                asked.append(request)
                return answer

            request = GetMessageClass(calls[name].input_type)
            return grpc.unary_unary_rpc_method_handler(call, request.FromString, type(answer).SerializeToString)

        server = grpc.server(futures.ThreadPoolExecutor(2))
        handlers = {name: handler(name, answer) for name, answer in answers.items()}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        port = server.add_insecure_port("localhost:0")
        server.start()
        servers.append(server)
        return f"localhost:{port}", asked

    yield start
    for server in servers:
        server.stop(None).wait()
