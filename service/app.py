"""Builds the service, starts it, stops it: the only place where its parts meet."""

import asyncio
import importlib.metadata
import logging
import resource
import signal
from collections.abc import Callable

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from threadpoolctl import threadpool_limits

from encoder.config import MAX_PICTURE_SIDE_PIXELS
from encoder.frame_encoder import FrameEncoder, OpenVinoEncoder
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1 import video_memory_pb2_grpc as pb_grpc
from memory_store.store import MemoryStore
from service.attending import Attending
from service.caretaker import Caretaker
from service.config import ServiceConfig
from service.curves import Curves
from service.encoding import Encoding
from service.frame_converters import MAX_FRAMES_PER_MESSAGE
from service.ingest import FRAMES_IN_FLIGHT, Ingest
from service.learning import Learning
from service.metrics import Metrics
from service.query import Queries
from service.resources import Resources
from service.servicer import Servicer
from service.transfers import Transfers
from service.upkeep import Upkeep

_LOG = logging.getLogger(__name__)

STOP_SECONDS = 30.0
"""Calls that have not ended so long after the stop began are cut off; nothing acknowledged depends on them."""

MESSAGE_OVERHEAD_BYTES = 2**20
"""Room in a message for everything but the picture."""

KEEPALIVE_MS = 20_000
"""Pings on idle connections, so that half-open ones are noticed."""


OTHER_CALLS = 64
"""Calls at a time beside the sessions; further ones are refused with RESOURCE_EXHAUSTED."""


class ListenError(Exception):
    """The address cannot be listened on."""


class App:
    """A running server."""

    def __init__(self, config: ServiceConfig, encoder: FrameEncoder, store: MemoryStore) -> None:
        """Build the parts; needs a running event loop. `store` is closed by `stop`."""
        self._config = config
        self._store = store
        self._encoding = Encoding(encoder)
        attending = Attending()
        self._ingest = Ingest(store, self._encoding, attending, config.server.max_sessions)
        self._transfers = Transfers(store)
        self._upkeep = Upkeep(store)
        self._caretaker = Caretaker(store)
        self._metrics = Metrics(store)
        message_bytes = 3 * config.encoder.max_picture_pixels + MESSAGE_OVERHEAD_BYTES
        queries = Queries(store, self._encoding, attending)
        servicer = Servicer(
            Resources(store, encoder.version),
            self._transfers,
            self._upkeep,
            self._ingest,
            queries,
            Learning(store, queries, self._upkeep),
            Curves(store),
            _info(config, encoder, message_bytes),
        )
        self._health = health.aio.HealthServicer()
        self._server = aio.server(
            maximum_concurrent_rpcs=config.server.max_sessions + OTHER_CALLS,
            options=[
                ("grpc.max_receive_message_length", message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", KEEPALIVE_MS),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
            ],
        )
        pb_grpc.add_VideoMemoryServiceServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        name = pb.DESCRIPTOR.services_by_name["VideoMemoryService"].full_name
        self._names = ("", name)
        reflection.enable_server_reflection((name, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self) -> str:
        """Listen and serve.

        Returns:
            The address listened on, HOST:PORT with the real port.

        Raises:
            ListenError: the port is in use, or the address is not one of this machine.
        """
        host, _, wanted = self._config.server.listen.rpartition(":")
        try:
            port = self._server.add_insecure_port(f"{host}:{wanted}")
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {host}:{wanted}: is it in use?") from error
        if self._config.server.metrics:
            try:
                metrics = self._metrics.start(self._config.server.metrics)
            except OSError as error:
                raise ListenError(f"cannot listen on {self._config.server.metrics}: {error}") from error
            _LOG.info("metrics on http://%s/metrics", metrics)
        await self._server.start()
        self._caretaker.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return f"{host}:{port}"

    async def stop(self) -> None:
        """Stop: refuse new calls, break off what can go on later, commit and answer frames in flight, close everything.

        Removals that go on are broken off by closing the store, between two of their steps.
        """
        await self._health.enter_graceful_shutdown()
        self._caretaker.stop()
        self._upkeep.stop()
        self._transfers.stop()
        await asyncio.to_thread(self._metrics.stop)
        await self._ingest.stop()
        await self._server.stop(STOP_SECONDS)
        await self._ingest.finish()
        await self._transfers.close()
        await self._encoding.close()
        await asyncio.to_thread(self._store.close)
        await self._caretaker.close()
        await self._upkeep.close()


def _info(config: ServiceConfig, encoder: FrameEncoder, message_bytes: int) -> pb.ServerInfo:
    return pb.ServerInfo(
        version=importlib.metadata.version("framekeep-server"),
        encoder_version=str(encoder.version),
        dimension=encoder.version.dimension,
        default_novelty_threshold=config.memory.novelty_threshold,
        limits=pb.Limits(
            picture_pixels=config.encoder.max_picture_pixels,
            picture_side_pixels=MAX_PICTURE_SIDE_PIXELS,
            message_bytes=message_bytes,
            frames_in_flight=FRAMES_IN_FLIGHT,
            frames_per_message=MAX_FRAMES_PER_MESSAGE,
            sessions=config.server.max_sessions,
            memories=config.memory.max_memories,
            streams=config.memory.max_streams,
        ),
    )


async def serve(config: ServiceConfig, announce: Callable[[str], None]) -> None:
    """Run a server until SIGINT or SIGTERM.

    Args:
        config: the settings.
        announce: told the address once calls are answered.

    Raises:
        DataFolderInUse, StoreUnavailable, WeightsUnreadable, ListenError: the server did not start.
    """
    # BLAS waits for its threads by spinning, which costs the encoder more than a second core gains here.
    threadpool_limits(1, user_api="blas")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the usual 1,024 would do for 200 memories only
    store = MemoryStore(config.server.data, config.memory)
    try:
        encoder = await asyncio.to_thread(OpenVinoEncoder, config.encoder, config.server.data / "encoder")
    except BaseException:
        store.close()
        raise
    app = App(config, encoder, store)
    try:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        address = await app.start()
        _LOG.info("listening on %s, encoder %s", address, encoder.version)
        announce(address)
        await stopping.wait()
        _LOG.info("stopping")
    finally:
        await app.stop()


def configure_logging() -> None:
    """Write log lines to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
