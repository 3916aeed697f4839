"""Memories as files, on their way out of a server that may die in the middle of it, and into it."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from benchmarks.crash_first_schema import OldMemory
from benchmarks.crash_ledger import Ledger
from benchmarks.crash_link import CALL_S, Link
from framekeep.v1 import video_memory_pb2 as pb

_CHUNK_BYTES = 2**16
"""Of a file that is sent: small enough for several writes."""


@dataclass(frozen=True, slots=True)
class ExportMemory:
    """Have a memory given out as a file, and keep it; or break off once the first bytes have come."""

    memory: str
    breaks_off: bool = False

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        call = link.stub.ExportMemory(pb.ExportMemoryRequest(name=f"memories/{self.memory}"), timeout=CALL_S)
        content = b""
        for response in call:
            content += response.chunk
            if self.breaks_off and content:
                call.cancel()
                return
        if (response.sum.size_bytes, response.sum.sha256) != (len(content), hashlib.sha256(content).digest()):
            ledger.broken.append(f"the file of memory {self.memory} came whole, and not as its sum says")
        ledger.files[self.memory] = content


@dataclass(frozen=True, slots=True)
class ImportMemory:
    """Have a memory made of a file that was given out; or break off before the last message."""

    memory: str
    source: str
    """The memory that was given out."""

    frames: int
    """Frames it had."""

    breaks_off: bool = False

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        content = ledger.files[self.source]
        ledger.memories[self.memory] = False if self.breaks_off else None
        ledger.imported[self.memory] = self.frames
        try:
            link.stub.ImportMemory(self._requests(content), timeout=CALL_S)
        except grpc.RpcError as error:
            is_refused = self.breaks_off and error.code() is grpc.StatusCode.INVALID_ARGUMENT
            if not is_refused and error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
        ledger.memories[self.memory] = not self.breaks_off

    def _requests(self, content: bytes) -> Iterator[pb.ImportMemoryRequest]:
        yield pb.ImportMemoryRequest(opening=pb.ImportOpening(name=f"memories/{self.memory}"))
        for start in range(0, len(content), _CHUNK_BYTES):
            yield pb.ImportMemoryRequest(chunk=content[start : start + _CHUNK_BYTES])
        if not self.breaks_off:
            sha256 = hashlib.sha256(content).digest()
            yield pb.ImportMemoryRequest(sum=pb.FileSum(size_bytes=len(content), sha256=sha256))


@dataclass(frozen=True, slots=True)
class FileOfFirstSchema:
    """Have a file at hand that a server of the first schema version would have left."""

    name: str
    old: OldMemory

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.sqlite"
            self.old.write(path)
            ledger.files[self.name] = path.read_bytes()
