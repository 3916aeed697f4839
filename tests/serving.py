"""A real server inside the process of the tests."""

import asyncio
import threading
from dataclasses import dataclass, field

from encoder.frame_encoder import FrameEncoder
from memory_store.store import MemoryStore
from service.app import App
from service.config import ServiceConfig


@dataclass
class RunningServer:
    """A server in a thread of its own, in this process."""

    encoder: FrameEncoder
    config: ServiceConfig
    store: MemoryStore = field(init=False)
    address: str = field(init=False)

    def start(self) -> None:
        """Serve until `stop`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._app, self.address = asyncio.run_coroutine_threadsafe(self._started(), self._loop).result()

    async def _started(self) -> tuple[App, str]:
        self.store = MemoryStore(self.config.server.data, self.config.memory)
        app = App(self.config, self.encoder, self.store)
        return app, await app.start()

    @property
    def is_running(self) -> bool:
        """It was not stopped yet."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        asyncio.run_coroutine_threadsafe(self._app.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
