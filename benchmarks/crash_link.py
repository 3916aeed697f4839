"""How a client reaches a server that may die: the contract, and what the contract has no call for."""

import json

import grpc

from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub

UPKEEP_METHOD = "/crash.Upkeep/Do"

CALL_S = 30.0
"""A call that takes longer hangs."""


class Link:
    """One connection."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = VideoMemoryServiceStub(channel)
        """The contract."""
        self._upkeep: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(UPKEEP_METHOD)

    def upkeep(self, call: str, memory: str) -> None:
        """Have something done to a memory by one of `crash_server.CALLS`.

        Raises:
            grpc.RpcError: the server went away, or could not do it.
        """
        self._upkeep(json.dumps({"call": call, "memory": memory}).encode(), timeout=CALL_S)
