"""The calls that decide what is kept: thresholds, policies, and what another threshold would have kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import overload

from google.protobuf.field_mask_pb2 import FieldMask

from framekeep import converters, names
from framekeep.calls import Calls
from framekeep.curve_converters import curve_from
from framekeep.errors import InvalidRequest
from framekeep.memories import Memory, Stream
from framekeep.policies import UNCHANGED, KeepingPolicy, Unchanged
from framekeep.policy_converters import policy_to
from framekeep.threshold_curve import ThresholdCurve
from framekeep.times import range_from
from framekeep.v1 import video_memory_pb2 as pb

_MOST_EXAMPLES = 10
"""On each side of a threshold, as the contract has it."""


class Tuning(Calls):
    """The calls of a client, with those that decide what is kept. Safe for several threads."""

    @overload
    def set_threshold(self, memory: str, threshold: float, *, etag: str = "") -> Memory: ...

    @overload
    def set_threshold(self, memory: str, threshold: float | None, *, stream: str, etag: str = "") -> Stream: ...

    @overload  # for callers that pass both on
    def set_threshold(
        self, memory: str, threshold: float | None, *, stream: str | None, etag: str = ""
    ) -> Memory | Stream: ...

    def set_threshold(
        self, memory: str, threshold: float | None, *, stream: str | None = None, etag: str = ""
    ) -> Memory | Stream:
        """Change what counts as novel; the first frame decided afterwards obeys it.

        Args:
            memory: the memory, whose streams follow unless they have a threshold of their own.
            threshold: in (0, 2]. None, for a stream only: the threshold of the memory holds again.
            stream: change this stream alone.
            etag: change nothing if the etag of the memory or stream is another by now.

        Raises:
            Conflict: the etag is not the current one.

        Example:
            >>> memory = fk.create_memory("lobby", novelty_threshold=0.2)
            >>> fk.set_threshold("lobby", 0.3, etag=memory.etag).novelty_threshold
            0.3
        """
        return self.set_policy(memory, threshold=threshold, stream=stream, etag=etag)

    @overload
    def set_keeping(self, memory: str, keeping: KeepingPolicy | None, *, etag: str = "") -> Memory: ...

    @overload
    def set_keeping(self, memory: str, keeping: KeepingPolicy | None, *, stream: str, etag: str = "") -> Stream: ...

    @overload  # for callers that pass it on
    def set_keeping(
        self, memory: str, keeping: KeepingPolicy | None, *, stream: str | None, etag: str = ""
    ) -> Memory | Stream: ...

    def set_keeping(
        self, memory: str, keeping: KeepingPolicy | None, *, stream: str | None = None, etag: str = ""
    ) -> Memory | Stream:
        """Change what frames are compared with, and what holds novel ones back; the first frame decided next obeys it.

        Args:
            memory: the memory, whose streams follow unless they have a policy of their own.
            keeping: the policy, in place of the one in force. None: for a stream, that of the memory holds again; for a
                memory, frames are compared with all of it, and nothing is held back.
            stream: change this stream alone.
            etag: change nothing if the etag of the memory or stream is another by now.

        Raises:
            Conflict: the etag is not the current one.

        Example:
            >>> memory = fk.create_memory("lobby")
            >>> budget = framekeep.Budget(share=0.02)
            >>> changed = fk.set_keeping("lobby", framekeep.KeepingPolicy(budget=budget), etag=memory.etag)
            >>> changed.keeping.budget.share
            0.02
        """
        return self.set_policy(memory, keeping=keeping, stream=stream, etag=etag)

    @overload
    def set_policy(
        self,
        memory: str,
        *,
        threshold: float | Unchanged = UNCHANGED,
        keeping: KeepingPolicy | Unchanged | None = UNCHANGED,
        etag: str = "",
    ) -> Memory: ...

    @overload
    def set_policy(
        self,
        memory: str,
        *,
        threshold: float | Unchanged | None = UNCHANGED,
        keeping: KeepingPolicy | Unchanged | None = UNCHANGED,
        stream: str,
        etag: str = "",
    ) -> Stream: ...

    @overload  # for callers that pass all on
    def set_policy(
        self,
        memory: str,
        *,
        threshold: float | Unchanged | None = UNCHANGED,
        keeping: KeepingPolicy | Unchanged | None = UNCHANGED,
        stream: str | None,
        etag: str = "",
    ) -> Memory | Stream: ...

    def set_policy(
        self,
        memory: str,
        *,
        threshold: float | Unchanged | None = UNCHANGED,
        keeping: KeepingPolicy | Unchanged | None = UNCHANGED,
        stream: str | None = None,
        etag: str = "",
    ) -> Memory | Stream:
        """Change the threshold, the policy of keeping, or both in one step; the first frame decided next obeys both.

        Args:
            memory: the memory, whose streams follow unless they have a threshold or policy of their own.
            threshold: as in `set_threshold`; it stays as it is where it is left out.
            keeping: as in `set_keeping`; likewise.
            stream: change this stream alone.
            etag: change nothing if the etag of the memory or stream is another by now.

        Raises:
            Conflict: the etag is not the current one. Nothing was changed.
            InvalidRequest: neither is given, or one that is out of its range. Nothing was changed.

        Example:
            >>> memory = fk.create_memory("lobby")
            >>> policy = framekeep.KeepingPolicy(budget=framekeep.Budget(share=0.02))
            >>> changed = fk.set_policy("lobby", threshold=0.2, keeping=policy, etag=memory.etag)
            >>> changed.novelty_threshold, changed.keeping == policy
            (0.2, True)
        """
        given = {"novelty_threshold": threshold, "keeping": keeping}
        mask = FieldMask(paths=[path for path, value in given.items() if value is not UNCHANGED])
        if not mask.paths:
            raise InvalidRequest("expected a threshold, a policy or both, got neither", reason="INVALID_FIELD")
        novelty_threshold = None if threshold is UNCHANGED else threshold
        message = None if keeping is UNCHANGED or keeping is None else policy_to(keeping)
        if stream is not None:
            name = names.stream_resource(memory, stream)
            changed = pb.Stream(name=name, novelty_threshold=novelty_threshold, keeping=message, etag=etag)
            update = pb.UpdateStreamRequest(stream=changed, update_mask=mask)
            return converters.stream_from(self._connection.call(self._stub.UpdateStream, update))
        if threshold is None:
            raise InvalidRequest("expected a threshold for the memory, got None", reason="INVALID_FIELD")
        name = names.memory_resource(memory)
        memory_message = pb.Memory(name=name, novelty_threshold=novelty_threshold, keeping=message, etag=etag)
        request = pb.UpdateMemoryRequest(memory=memory_message, update_mask=mask)
        return converters.memory_from(self._connection.call(self._stub.UpdateMemory, request))

    def evaluate_thresholds(
        self,
        memory: str,
        thresholds: Sequence[float] = (),
        *,
        stream: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        examples: int = 0,
    ) -> ThresholdCurve:
        """What would have been kept of what a memory was shown, had another threshold been in force from the start.

        Nothing is encoded again: the curve rests on a bounded number of embeddings, of kept and dropped frames alike,
        which the server holds beside the memory. Each outcome says how far it may be off.

        Args:
            memory: the memory.
            thresholds: each in (0, 2], at most 64; empty: the standard ones, 0.02 to 0.6.
            stream: count the frames of this stream only; the threshold is taken to be in force for all streams.
            start_time: count only frames captured from then on, to about 256 frames.
            end_time: count only frames captured before then, likewise.
            examples: return up to so many frames just above, and as many just below each threshold; 0 to 10.

        Raises:
            MemoryNotFound, StreamNotFound: there is none.
            InvalidRequest: a threshold or a number out of its range.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().novel_frames
            3
            >>> curve = fk.evaluate_thresholds("lobby", [0.1, 2.0])
            >>> [(outcome.novelty_threshold, outcome.exemplars) for outcome in curve.outcomes]
            [(0.1, 3.0), (2.0, 1.0)]
        """
        if not 0 <= examples <= _MOST_EXAMPLES:
            raise InvalidRequest(
                f"expected examples from 0 to {_MOST_EXAMPLES}, got {examples}", reason="INVALID_FIELD"
            )
        request = pb.EvaluateThresholdsRequest(
            memory=names.memory_resource(memory),
            stream="" if stream is None else names.stream_resource(memory, stream),
            time_range=range_from(start_time, end_time),
            novelty_thresholds=thresholds,
            examples=examples,
        )
        return curve_from(self._connection.call(self._stub.EvaluateThresholds, request))
