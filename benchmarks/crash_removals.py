"""What takes frames and exemplars out of a memory on a server that may die in the middle of it."""

from dataclasses import dataclass

import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask

from benchmarks.crash_ledger import Erasure, Ledger
from benchmarks.crash_link import CALL_S, Link
from benchmarks.crash_scenes import FRAME_US, START_S
from framekeep.v1 import video_memory_pb2 as pb
from memory_store.frame_embeddings import rounded_blob

_SOME_BYTES = 48
"""Bytes of what was removed that are looked for: fewer than a sector has, and more than agree by chance."""

_IN_EXEMPLARS = 2
"""Traces that stand with the exemplar; the others are means of sightings, which a merge keeps."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget the frames of a range of numbers; that of a killed server is left to `tidy`, if it was put on record."""

    memory: str
    first_seq: int
    last_seq: int

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        erasure = _begin(link, ledger, self.memory, str(self))
        recorded = ledger.unfinished.get(self.memory, 0)
        link.upkeep("tidy", self.memory)
        ledger.unfinished[self.memory] = 0
        if not recorded:
            request = pb.ForgetRangeRequest(name=f"memories/{self.memory}")
            request.time_range.start_time.FromMicroseconds(START_S * 10**6 + self.first_seq * FRAME_US)
            request.time_range.end_time.FromMicroseconds(START_S * 10**6 + self.last_seq * FRAME_US + 1)
            link.stub.ForgetRange(request, timeout=CALL_S)
        _end(link, erasure)


@dataclass(frozen=True, slots=True)
class Retain:
    """Set how many exemplars are kept, have the memory hold to it, and lift the limit: at one point of the stream.

    Else a server that is started again would look at other times than one that goes on.
    """

    memory: str
    max_exemplars: int

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        erasure = _begin(link, ledger, self.memory, str(self))
        self._limit(link, pb.Retention(max_exemplars=self.max_exemplars))
        link.upkeep("tidy", self.memory)
        self._limit(link, pb.Retention())
        _end(link, erasure)

    def _limit(self, link: Link, retention: pb.Retention) -> None:
        memory = pb.Memory(name=f"memories/{self.memory}", retention=retention)
        request = pb.UpdateMemoryRequest(memory=memory, update_mask=FieldMask(paths=["retention"]))
        link.stub.UpdateMemory(request, timeout=CALL_S)


@dataclass(frozen=True, slots=True)
class Compact:
    """Merge exemplars that are within a threshold."""

    memory: str
    threshold: float

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        erasure = _begin(link, ledger, self.memory, str(self), keeps_frames=True)
        request = pb.CompactMemoryRequest(name=f"memories/{self.memory}", novelty_threshold=self.threshold)
        link.stub.CompactMemory(request, timeout=CALL_S)
        _end(link, erasure, _IN_EXEMPLARS)


@dataclass(frozen=True, slots=True)
class Crash:
    """Let the server die at this place, always; what comes next finds what it left."""

    memory: str
    name: str

    def do(self, link: Link, ledger: Ledger, chance: np.random.Generator) -> None:  # noqa: ARG002
        """See `Operation.do`."""
        if self.name not in ledger.crashed:
            ledger.crashed.add(self.name)
            link.upkeep("die", self.memory)


def _begin(link: Link, ledger: Ledger, memory: str, name: str, *, keeps_frames: bool = False) -> Erasure:
    """Note what there is before a removal first begins."""
    if name not in ledger.erasures:
        before = _traces(link, memory)
        ledger.erasures[name] = Erasure(memory, before, keeps_frames)
    return ledger.erasures[name]


def _end(link: Link, erasure: Erasure, traces_of_each: int | None = None) -> None:
    """Note what is gone now that a removal is done."""
    after = _traces(link, erasure.memory)
    kept = {trace for traces in after.values() for trace in traces}
    erasure.gone = erasure.before.keys() - after.keys()
    pieces = {
        trace[start : start + _SOME_BYTES]
        for traces in erasure.before.values()
        for trace in traces[:traces_of_each]
        if trace and trace not in kept
        for start in (len(trace) // 2, len(trace) - _SOME_BYTES)
    }
    erasure.erased = [piece for piece in pieces if not any(piece in trace for trace in kept)]


def _traces(link: Link, memory: str) -> dict[int, tuple[bytes, ...]]:
    """By exemplar: its embedding and its thumbnail as they stand in a journal, its embedding as in a mean, rounded."""
    traces: dict[int, tuple[bytes, ...]] = {}
    request = pb.ListExemplarsRequest(
        parent=f"memories/{memory}", page_size=1000, include_thumbnails=True, include_embeddings=True
    )
    for exemplar in link.stub.ListExemplars(request, timeout=CALL_S).exemplars:
        embedding = np.array(exemplar.embedding.values, np.float32)
        number = int(exemplar.name.rpartition("/")[2])
        stored, as_mean = embedding.astype("<f2").tobytes(), embedding.astype("<f4").tobytes()
        traces[number] = (stored, exemplar.thumbnail, as_mean, rounded_blob(embedding))
    if len(traces) >= 1000:
        raise ValueError(f"expected fewer than 1000 exemplars in {memory}: the rest is on another page")
    return traces
