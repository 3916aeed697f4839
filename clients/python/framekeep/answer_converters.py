"""The contract's answers about the past into the values of this package."""

from framekeep.answers import Answer, Match
from framekeep.attention import (
    AttendedBlock,
    AttendedExemplar,
    AttendedStay,
    Attention,
    AttentionLevel,
    ContextError,
    ExplainedBlock,
    Explanation,
    FittedAttention,
)
from framekeep.converters import embedding_from, sighting_from
from framekeep.names import exemplar_id, stream_name
from framekeep.times import duration_from, time_from
from framekeep.v1 import video_memory_pb2 as pb

_LEVEL_OF_STAYS = 1
"""The level whose blocks hold stays."""


def answer_from(message: pb.QueryResponse) -> Answer:
    """The answer to a query."""
    return Answer(
        seen=message.seen,
        novelty_threshold=message.novelty_threshold,
        matches=tuple(_match_from(match) for match in message.matches),
        attention=_attention_from(message.attention) if message.HasField("attention") else None,
    )


def _match_from(message: pb.Match) -> Match:
    return Match(
        exemplar=exemplar_id(message.exemplar),
        similarity=message.similarity,
        first_time=time_from(message.first_time),
        last_time=time_from(message.last_time),
        total_duration=duration_from(message.total_duration_us),
        frame_count=message.frame_count,
        sighting_count=message.sighting_count,
        sightings=tuple(sighting_from(sighting) for sighting in message.sightings),
        thumbnail=message.thumbnail or None,
    )


def _attention_from(message: pb.Attention) -> Attention:
    return Attention(
        context_vector=embedding_from(message.context_vector),
        levels=tuple(_level_from(level) for level in message.levels),
        exemplars=tuple(
            AttendedExemplar(exemplar=exemplar_id(attended.exemplar), weight=attended.weight)
            for attended in message.exemplars
        ),
        frame_count=message.frame_count,
        stay_count=message.stay_count,
        effective_stays=message.effective_stays,
        inverse_temperature=message.inverse_temperature,
        context_error=_error_from(message.context_error) if message.HasField("context_error") else None,
        unopened_share=message.unopened_share,
        opened_stay_count=message.opened_stay_count,
        vectors_read=message.vectors_read,
        attention_version=message.attention_version or None,
        explanation=_explanation_from(message.explanation) if message.HasField("explanation") else None,
    )


def _level_from(message: pb.AttentionLevel) -> AttentionLevel:
    return AttentionLevel(
        level=message.level,
        blocks=tuple(_block_from(block, message.level) for block in message.blocks),
        block_count=message.block_count,
    )


def _block_from(message: pb.AttendedBlock, level: int) -> AttendedBlock:
    return AttendedBlock(
        level=level,
        stream=stream_name(message.stream),
        index=message.index,
        weight=message.weight,
        start_time=time_from(message.start_time),
        end_time=time_from(message.end_time),
        frame_count=message.frame_count,
    )


def _error_from(message: pb.ContextError) -> ContextError:
    return ContextError(reading=message.reading, storing=message.storing, confidence=message.confidence)


def _explanation_from(message: pb.Explanation) -> Explanation:
    return Explanation(
        blocks=tuple(_explained_from(block) for block in message.blocks),
        blocks_of_stays=tuple(_block_from(block, _LEVEL_OF_STAYS) for block in message.blocks_of_stays),
    )


def _explained_from(message: pb.ExplainedBlock) -> ExplainedBlock:
    return ExplainedBlock(
        block=_block_from(message.block, message.level),
        blocks=tuple(_explained_from(block) for block in message.blocks),
        stays=tuple(_stay_from(stay) for stay in message.stays),
    )


def _stay_from(message: pb.AttendedStay) -> AttendedStay:
    return AttendedStay(
        exemplar=exemplar_id(message.exemplar),
        weight=message.weight,
        similarity=message.similarity,
        start_time=time_from(message.start_time),
        end_time=time_from(message.end_time),
        frame_count=message.frame_count,
    )


def fitted_from(message: pb.FitAttentionResponse) -> FittedAttention:
    """What fitting came to."""
    return FittedAttention(
        version=message.attention_version or None,
        held_out_queries=message.held_out_queries,
        plain_top5_share=message.plain_top5_share,
        fitted_top5_share=message.fitted_top5_share,
        fitted_through=time_from(message.fitted_through) if message.HasField("fitted_through") else None,
    )
