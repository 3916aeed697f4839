"""A server for one life: the whole service, with a small encoder, in a process that was forked for it."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from benchmarks.crash_life import Life
from benchmarks.crash_link import UPKEEP_METHOD
from benchmarks.crash_scenes import SmallEncoder
from benchmarks.crash_steps import prepare
from memory_store.journal import now_us
from memory_store.store import MemoryStore
from service.app import App
from service.config import ServerConfig, ServiceConfig


def live(life: Life) -> None:
    """Serve until SIGTERM, or until the death that was arranged; tell the address on standard output."""
    logging.basicConfig(level=logging.WARNING)
    prepare(life)
    asyncio.run(_serve(ServiceConfig(ServerConfig(data=Path(life.data), listen="127.0.0.1:0"))))


async def _serve(config: ServiceConfig) -> None:
    store = MemoryStore(config.server.data, config.memory)
    app = App(config, SmallEncoder(), store)
    app._server.add_generic_rpc_handlers((_Upkeep(store),))  # the contract has no call for these
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    address = await app.start()
    os.write(1, json.dumps({"address": address}).encode() + b"\n")
    await stopping.wait()
    await app.stop()


def _die(store: MemoryStore, memory: str) -> None:  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGKILL)


def _tidy(store: MemoryStore, memory: str) -> None:
    store.get(memory).tidy(now_us())


CALLS: dict[str, Callable[[MemoryStore, str], None]] = {"tidy": _tidy, "die": _die}
"""What a client may have done to a memory beside the contract: what the caretaker does, at a chosen time; and dying."""


class _Upkeep(grpc.GenericRpcHandler):
    """Answers `crash_link.Link.upkeep`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """See `grpc.GenericRpcHandler.service`."""
        if handler_call_details.method == UPKEEP_METHOD:
            return grpc.unary_unary_rpc_method_handler(self._answer)
        return None

    async def _answer(self, request: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:  # noqa: ARG002
        return await asyncio.to_thread(self._do, **json.loads(request))

    def _do(self, call: str, memory: str) -> bytes:
        CALLS[call](self._store, memory)
        return b""
