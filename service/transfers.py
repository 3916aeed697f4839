"""Memories as one file, on their way out of the service and into it.

Copying and checking take as long as the memory is large, so they have threads of their own; a call holds one chunk at a
time. However a call ends, what it had on the disk is removed.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from framekeep.v1 import video_memory_pb2 as pb
from memory_store.errors import StoreUnavailable
from memory_store.store import MemoryStore
from memory_store.transfer import Export, Import
from service import names, resource_converters
from service.errors import InvalidField, ProtocolViolation, ShuttingDown

_LOG = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
"""Bytes of a file in one message: few messages, and little enough to hold for each call."""

THREADS = 4
"""Transfers that are copied, checked, read or written at a time; further ones take turns."""

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Transfers:
    """Gives memories out as files, and takes them in."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="transfer")
        self._going: set[Export | Import] = set()
        self._receiving: set[asyncio.Task[pb.ImportMemoryResponse]] = set()
        self._stopping = False

    async def give_out(self, request: pb.ExportMemoryRequest) -> AsyncGenerator[pb.ExportMemoryResponse, None]:
        """See the contract."""
        export = await self._run(self._store.export, names.memory_from(request.name))
        async with self._held(export):
            size_bytes = await self._run(export.take)
            yield pb.ExportMemoryResponse(opened=pb.ExportOpened(size_bytes=size_bytes))
            while chunk := await self._run(export.read, CHUNK_BYTES):
                yield pb.ExportMemoryResponse(chunk=chunk)
            total = pb.FileSum(size_bytes=size_bytes, sha256=export.sha256())
            yield pb.ExportMemoryResponse(sum=total)

    async def take_in(self, requests: AsyncIterator[pb.ImportMemoryRequest]) -> pb.ImportMemoryResponse:
        """See the contract."""
        receiving = asyncio.create_task(self._received(requests))
        self._receiving.add(receiving)
        try:
            return await receiving
        except asyncio.CancelledError:
            if self._stopping:
                raise ShuttingDown("the server is stopping") from None
            raise
        finally:
            self._receiving.discard(receiving)

    async def _received(self, requests: AsyncIterator[pb.ImportMemoryRequest]) -> pb.ImportMemoryResponse:
        first = await anext(requests, pb.ImportMemoryRequest())
        if first.WhichOneof("request") != "opening":
            raise ProtocolViolation("expected an opening in the first message")
        name = names.memory_from(first.opening.name)
        arrived = await self._run(self._store.receive, name)
        async with self._held(arrived):
            async for request in requests:
                match request.WhichOneof("request"):
                    case "chunk":
                        _check_chunk(request.chunk)
                        await self._run(arrived.write, request.chunk)
                    case "sum":
                        return await self._run(self._adopt, arrived, name, request.sum)
                    case other:
                        raise ProtocolViolation(f"expected a chunk or the sum after the opening, got {other}")
            raise ProtocolViolation("expected the sum of the file in the last message, got none")

    def _adopt(self, arrived: Import, name: str, total: pb.FileSum) -> pb.ImportMemoryResponse:
        memory = self._store.adopt(arrived, name, total.size_bytes, total.sha256)
        return pb.ImportMemoryResponse(memory=resource_converters.memory_to(memory.facts()))

    async def _run(self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        """Do what may take long in a thread. If the call is cancelled, the thread goes on until it is stopped."""
        if self._stopping:
            raise ShuttingDown("the server is stopping")
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, partial(work, *given, **named))
        except StoreUnavailable as error:
            if self._stopping:
                raise ShuttingDown("the server is stopping") from error
            raise

    @asynccontextmanager
    async def _held(self, transfer: Export | Import) -> AsyncIterator[None]:
        """While this lasts, a transfer goes on; then nothing is left of it."""
        self._going.add(transfer)
        try:
            yield
        finally:
            if transfer in self._going:
                self._going.discard(transfer)
                transfer.stop()
                # Not awaited itself: a call that is cancelled once more must not take the cleaning up along.
                await asyncio.wait([asyncio.wrap_future(self._threads.submit(_discard, transfer))])

    def stop(self) -> None:
        """Break all transfers off: their calls end with ShuttingDown."""
        self._stopping = True
        for transfer in self._going:
            transfer.stop()
        for receiving in self._receiving:  # which may wait for a client that sends nothing
            receiving.cancel()

    async def close(self) -> None:
        """Remove what is left of transfers that are still going on, then stop the threads."""
        while self._going:
            self._threads.submit(_discard, self._going.pop())
        await asyncio.to_thread(self._threads.shutdown)


def _check_chunk(chunk: bytes) -> None:
    if len(chunk) > CHUNK_BYTES:
        raise InvalidField("chunk", f"expected at most {CHUNK_BYTES} bytes, got {len(chunk)}")


def _discard(transfer: Export | Import) -> None:
    try:
        transfer.discard()
    except StoreUnavailable:
        _LOG.exception("what a transfer left on the disk is removed when the server starts again")
