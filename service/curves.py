"""What other thresholds would have kept, between messages of the contract and values of the store."""

from framekeep.v1 import video_memory_pb2 as pb
from memory_store.budget import DAY_US
from memory_store.errors import InvalidThreshold
from memory_store.examples import Example
from memory_store.facts import ThresholdCurve
from memory_store.memory import Memory
from memory_store.scope import EARLIEST_US, LATEST_US, Scope
from memory_store.store import MemoryStore
from memory_store.what_if import THRESHOLDS, Outcome
from service import names
from service.errors import InvalidField

MAX_THRESHOLDS = 64
"""In one call; each that is no standard one is tried out on all that is held."""

MAX_EXAMPLES = 10
"""Frames above and below each threshold; a thumbnail takes about 10 KB."""


class Curves:
    """Evaluates thresholds. Reads only."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def evaluate(self, request: pb.EvaluateThresholdsRequest) -> pb.EvaluateThresholdsResponse:
        """See the contract; slow."""
        name = names.memory_from(request.memory)
        if len(request.novelty_thresholds) > MAX_THRESHOLDS:
            given = len(request.novelty_thresholds)
            raise InvalidField("novelty_thresholds", f"expected at most {MAX_THRESHOLDS}, got {given}")
        if not 0 <= request.examples <= MAX_EXAMPLES:
            raise InvalidField("examples", f"expected 0 to {MAX_EXAMPLES}, got {request.examples}")
        first_us, end_us = names.range_from(request.time_range)
        streams = names.streams_from(name, [request.stream] if request.stream else [])
        memory = self._store.get(name)
        scope = Scope(
            EARLIEST_US if first_us is None else first_us,
            LATEST_US if end_us is None else end_us - 1,
            frozenset(map(memory.stream_id, streams)) if streams else None,
        )
        try:
            curve = memory.curve(list(request.novelty_thresholds) or THRESHOLDS, scope, request.examples)
        except InvalidThreshold as error:
            raise InvalidField("novelty_thresholds", str(error)) from error
        return _curve_to(memory, curve)


def _curve_to(memory: Memory, curve: ThresholdCurve) -> pb.EvaluateThresholdsResponse:
    stream_names = memory.stream_names()
    response = pb.EvaluateThresholdsResponse(
        frame_count=curve.frames,
        missing_frame_count=curve.missing,
        bytes_per_exemplar=curve.bytes_each,
        held_count=curve.held,
        held_limit=curve.held_limit,
    )
    response.duration.FromMicroseconds(curve.active_us)
    for outcome, examples in zip(curve.outcomes, curve.examples, strict=True):
        above, below = (
            [_example_to(memory.name, stream_names, example) for example in side if example.stream_id in stream_names]
            for side in examples
        )
        response.outcomes.append(_outcome_to(outcome, curve, above, below))
    return response


def _outcome_to(
    outcome: Outcome, curve: ThresholdCurve, above: list[pb.NoveltyExample], below: list[pb.NoveltyExample]
) -> pb.ThresholdOutcome:
    message = pb.ThresholdOutcome(
        novelty_threshold=outcome.threshold,
        exemplars=outcome.exemplars,
        error=outcome.error,
        kept_share=outcome.exemplars / curve.frames if curve.frames else 0.0,
        mean_dropped_novelty=outcome.mean_dropped,
        largest_dropped_novelty=outcome.largest_dropped,
        just_above=above,
        just_below=below,
    )
    if curve.active_us:
        message.exemplars_per_day = outcome.exemplars * DAY_US / curve.active_us
        message.bytes_per_day = message.exemplars_per_day * curve.bytes_each
    return message


def _example_to(memory: str, stream_names: dict[int, str], example: Example) -> pb.NoveltyExample:
    return pb.NoveltyExample(
        novelty=example.novelty,
        exemplar=names.exemplar_name(memory, example.exemplar_id),
        stream=names.stream_name(memory, stream_names[example.stream_id]),
        capture_time=names.time_to(example.capture_us),
        thumbnail=example.jpeg,
        kept=example.kept,
    )
