"""A server of one's own for asyncio: started and stopped in threads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike

from framekeep.aio.client import Client
from framekeep.aio.workers import Workers
from framekeep.client import TIMEOUT_S
from framekeep.local_server import LocalServer


@asynccontextmanager
async def local(data: str | PathLike[str], *, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Client]:
    """Run a server of one's own as long as the `async with` block lasts, and give a client of it.

    Args:
        data: its data folder, created if it does not exist; what was kept there before is there again.
        timeout_s: how long a call may take.

    Raises:
        ServerNotInstalled: the program `framekeep-server` is not installed.
        ServerNotStarted: another server uses the folder, or it cannot be written; the message says which.
    """
    workers = Workers("server", threads=2)  # one waits for the server while the other stops it
    try:
        server = await workers.run(partial(LocalServer, data), undo=LocalServer.stop)
        try:
            await workers.run(server.wait_until_ready, cancel=server.terminate)
            async with Client(server.address, timeout_s=timeout_s) as client:
                yield client
        finally:
            await workers.run(server.stop)
    finally:
        await workers.close()
