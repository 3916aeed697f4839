"""The client for asyncio: the same methods, arguments and answers as `framekeep.Client`, to be awaited."""

from framekeep.aio.client import Client
from framekeep.aio.local_server import local
from framekeep.aio.push import PushSession, VerdictReader
from framekeep.aio.runs import StreamRun

__all__ = ["Client", "PushSession", "StreamRun", "VerdictReader", "local"]
