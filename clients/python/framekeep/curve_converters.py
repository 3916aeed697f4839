"""The contract's curves over thresholds into the values of this package."""

from framekeep.names import exemplar_id, stream_name
from framekeep.threshold_curve import NoveltyExample, ThresholdCurve, ThresholdOutcome
from framekeep.times import duration_from, time_from
from framekeep.v1 import video_memory_pb2 as pb


def curve_from(message: pb.EvaluateThresholdsResponse) -> ThresholdCurve:
    """A curve."""
    return ThresholdCurve(
        outcomes=tuple(_outcome_from(outcome) for outcome in message.outcomes),
        frame_count=message.frame_count,
        missing_frame_count=message.missing_frame_count,
        duration=duration_from(message.duration.ToMicroseconds()),
        bytes_per_exemplar=message.bytes_per_exemplar,
        held_count=message.held_count,
        held_limit=message.held_limit,
    )


def _outcome_from(message: pb.ThresholdOutcome) -> ThresholdOutcome:
    return ThresholdOutcome(
        novelty_threshold=message.novelty_threshold,
        exemplars=message.exemplars,
        error=message.error,
        kept_share=message.kept_share,
        exemplars_per_day=message.exemplars_per_day if message.HasField("exemplars_per_day") else None,
        bytes_per_day=message.bytes_per_day if message.HasField("bytes_per_day") else None,
        mean_dropped_novelty=message.mean_dropped_novelty,
        largest_dropped_novelty=message.largest_dropped_novelty,
        just_above=tuple(_example_from(example) for example in message.just_above),
        just_below=tuple(_example_from(example) for example in message.just_below),
    )


def _example_from(message: pb.NoveltyExample) -> NoveltyExample:
    return NoveltyExample(
        novelty=message.novelty,
        exemplar=exemplar_id(message.exemplar),
        stream=stream_name(message.stream),
        capture_time=time_from(message.capture_time),
        thumbnail=message.thumbnail or None,
        kept=message.kept,
    )
