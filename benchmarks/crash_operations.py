"""What clients do to a server that may die in the middle of it. Each can be done again, to go on where it was."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask

from benchmarks.crash_ledger import Ledger, SessionLedger
from benchmarks.crash_link import CALL_S, Link
from benchmarks.crash_scenes import START_S, Footage
from framekeep.v1 import video_memory_pb2 as pb

_PACES = (1, 4, 16, 10**6)
"""Frames without a verdict before the client waits: from a commit a frame to all that the server takes at a time."""


class Operation(Protocol):
    """Something that a client does."""

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:
        """Do it, or what is left of it.

        Raises:
            grpc.RpcError: the server went away; do it again.
        """
        ...


@dataclass(frozen=True, slots=True)
class CreateMemory:
    """Create a memory."""

    memory: str

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        ledger.memories[self.memory] = None
        try:
            request = pb.CreateMemoryRequest(memory=pb.Memory(name=f"memories/{self.memory}"))
            link.stub.CreateMemory(request, timeout=CALL_S)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
        ledger.memories[self.memory] = True


@dataclass(frozen=True, slots=True)
class DeleteMemory:
    """Delete a memory."""

    memory: str

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        ledger.deleting(self.memory)
        try:
            link.stub.DeleteMemory(pb.DeleteMemoryRequest(name=f"memories/{self.memory}"), timeout=CALL_S)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        ledger.memories[self.memory] = False


@dataclass(frozen=True, slots=True)
class SetThreshold:
    """Change the threshold of a memory to another one than it has."""

    memory: str
    threshold: float

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        found = link.stub.GetMemory(pb.GetMemoryRequest(name=f"memories/{self.memory}"), timeout=CALL_S)
        if found.novelty_threshold != self.threshold:
            ledger.thresholds[self.memory] = {found.novelty_threshold, self.threshold}
            wanted = pb.Memory(name=found.name, novelty_threshold=self.threshold, etag=found.etag)
            mask = FieldMask(paths=["novelty_threshold"])
            link.stub.UpdateMemory(pb.UpdateMemoryRequest(memory=wanted, update_mask=mask), timeout=CALL_S)
        ledger.thresholds[self.memory] = {self.threshold}


@dataclass(frozen=True, slots=True)
class StreamFrames:
    """Stream frames of a session until all below a number have their verdicts."""

    memory: str
    session_id: str
    footage: Footage
    until: int
    pace: int | None = None
    """Frames without a verdict before the client waits; None: drawn for each call."""

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:
        """See `Operation.do`."""
        session = ledger.session(self.memory, "cam", self.session_id)
        pace = self.pace or ledger.pace or int(chance.choice(_PACES))
        call = _Call(self, session, pace, again=int(chance.choice([0, 0, 5, 40])))
        responses = link.stub.Ingest(call.requests(), timeout=CALL_S)
        try:
            call.open(next(responses).opened.next_seq)
            for response in responses:
                for verdict in response.verdicts.verdicts:
                    wrong = session.tell(verdict, may_change=ledger.may_change(self.memory))
                    ledger.broken += filter(None, [wrong])
                    call.answered(verdict.seq)
        finally:
            call.end()
            responses.cancel()


class _Call:
    """The sending side of a call: gRPC's thread sends, the caller's reads."""

    def __init__(self, what: StreamFrames, session: SessionLedger, pace: int, again: int) -> None:
        self._what = what
        self._session = session
        self._pace = pace
        self._again = again
        self._changed = threading.Condition()
        self._first: int | None = None
        self._answered = 0
        self._ended = False

    def open(self, next_seq: int) -> None:
        """The server told from where on it has no verdicts; some before may be sent again."""
        untold = next(seq for seq in range(next_seq + 1) if seq not in self._session.told)
        with self._changed:
            self._first = self._answered = max(0, min(untold, next_seq) - self._again) if self._again else next_seq
            self._session.acknowledged = max(self._session.acknowledged, next_seq)
            self._changed.notify_all()

    def answered(self, seq: int) -> None:
        """A verdict arrived."""
        with self._changed:
            self._answered = seq + 1
            self._changed.notify_all()

    def end(self) -> None:
        """Send no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def requests(self) -> Iterator[pb.IngestRequest]:
        """The messages of the call."""
        stream = f"memories/{self._what.memory}/streams/{self._session.stream}"
        opening = pb.IngestOpening(stream=stream, session_id=self._session.session_id)
        opening.start_time.FromSeconds(START_S)
        yield pb.IngestRequest(opening=opening)
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._first is not None)
            place = self._first or 0
        while place < self._what.until and self._may_send(place):
            end = min(place + min(self._pace, 16), self._what.until)
            self._session.sent = max(self._session.sent, end)
            frames = [self._what.footage.frame(seq) for seq in range(place, end)]
            yield pb.IngestRequest(frames=pb.IngestFrames(frames=frames))
            place = end

    def _may_send(self, place: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or place < self._answered + self._pace)
            return not self._ended
