"""Questions and answers, between messages of the contract and values of the service."""

import numpy as np

from encoder.reading import LEAST_STAYS, Effort
from framekeep.v1 import video_memory_pb2 as pb
from memory_store.hints import check_label
from service.attention import AttendedBlock, AttendedStay, Attention, ExplainedBlock, Explanation
from service.errors import InvalidField
from service.frame_converters import inverse_temperature_from, reader
from service.names import (
    exemplar_from,
    exemplar_name,
    memory_from,
    range_from,
    stream_name,
    streams_from,
    time_from,
    time_to,
)
from service.query import (
    Answer,
    LikeEmbedding,
    LikeExemplar,
    LikeMoment,
    LikePicture,
    Match,
    Question,
    Subject,
)
from service.resource_converters import sighting_to

DEFAULT_TOP = 5
MAX_TOP = 1000


def question_from(request: pb.QueryRequest, max_pixels: int) -> Question:
    """Read a question; its picture is decoded later."""
    memory = memory_from(request.memory)
    beta = inverse_temperature_from(request)
    if not 0 <= request.top <= MAX_TOP:
        raise InvalidField("top", f"expected 0 to {MAX_TOP}, got {request.top}")
    first_us, end_us = range_from(request.time_range)
    return Question(
        memory,
        subject_from(request, memory, max_pixels),
        first_us,
        end_us,
        time_from(request.as_of, "as_of") if request.HasField("as_of") else None,
        streams_from(memory, request.streams),
        beta,
        request.top or DEFAULT_TOP,
        request.include_thumbnails,
        _effort_from(request),
        request.attention_version,
        request.explain,
        frozenset(map(check_label, request.labels)) or None,
    )


def _effort_from(request: pb.QueryRequest) -> Effort:
    stays = request.max_stays or None
    if stays is not None and stays < LEAST_STAYS:
        raise InvalidField("max_stays", f"expected at least {LEAST_STAYS}, got {stays}")
    error = request.max_reading_error if request.HasField("max_reading_error") else None
    if error is not None and not 0 < error <= 1:
        raise InvalidField("max_reading_error", f"expected a share in (0, 1], got {error}")
    frames = request.max_frames if request.HasField("max_frames") else None
    if frames is not None and frames < 0:
        raise InvalidField("max_frames", f"expected at least 0, got {frames}")
    return Effort(stays, error, request.exact, frames)


def subject_from(request: pb.QueryRequest | pb.SendFeedbackRequest, memory: str, max_pixels: int) -> Subject:
    """Read what is asked about."""
    match request.WhichOneof("subject"):
        case "picture":
            return LikePicture(reader(request.picture, max_pixels))
        case "embedding":
            return LikeEmbedding(np.array(request.embedding.values, np.float32), request.embedding.encoder_version)
        case "exemplar":
            named, exemplar_id = exemplar_from(request.exemplar)
            if named != memory:
                raise InvalidField("exemplar", f"expected an exemplar of memory {memory}, got {request.exemplar!r}")
            return LikeExemplar(exemplar_id)
        case "moment":
            [stream] = streams_from(memory, [request.moment.stream])
            return LikeMoment(stream, time_from(request.moment.time, "moment.time"))
    raise InvalidField("subject", "expected a picture, an embedding, an exemplar or a moment, got none")


def answer_to(answer: Answer) -> pb.QueryResponse:
    """Write an answer."""
    memory = answer.question.memory
    response = pb.QueryResponse(
        seen=answer.seen,
        novelty_threshold=answer.threshold,
        matches=[_match_to(memory, match) for match in answer.matches],
    )
    if answer.attention is not None:
        response.attention.CopyFrom(_attention_to(memory, answer.attention, answer.question.inverse_temperature))
    return response


def _match_to(memory: str, match: Match) -> pb.Match:
    facts = match.facts
    return pb.Match(
        exemplar=exemplar_name(memory, facts.exemplar_id),
        similarity=match.similarity,
        first_time=time_to(facts.first_us),
        last_time=time_to(facts.last_us),
        total_duration_us=facts.duration_us,
        frame_count=facts.frames,
        sighting_count=facts.sightings,
        sightings=[sighting_to(memory, sighting) for sighting in match.sightings],
        thumbnail=match.thumbnail or b"",
    )


def _attention_to(memory: str, attention: Attention, inverse_temperature: float) -> pb.Attention:
    height = len(attention.levels)
    message = pb.Attention(
        context_vector=pb.Embedding(values=attention.context_vector),
        levels=[
            pb.AttentionLevel(
                level=height - depth, block_count=count, blocks=[_block_to(memory, block) for block in blocks]
            )
            for depth, (count, blocks) in enumerate(attention.levels)
        ],
        exemplars=[
            pb.AttendedExemplar(exemplar=exemplar_name(memory, exemplar_id), weight=weight)
            for exemplar_id, weight in attention.exemplars
        ],
        frame_count=attention.frames,
        stay_count=attention.stays,
        effective_stays=attention.effective_stays,
        inverse_temperature=inverse_temperature,
        context_error=pb.ContextError(
            reading=attention.error.reading,
            storing=attention.error.storing,
            confidence=attention.error.confidence,
        ),
        unopened_share=attention.unopened_share,
        opened_stay_count=attention.opened_stays,
        vectors_read=attention.vectors_read,
        attention_version=attention.version,
    )
    if attention.explanation is not None:
        message.explanation.CopyFrom(_explanation_to(memory, attention.explanation))
    return message


def _block_to(memory: str, block: AttendedBlock) -> pb.AttendedBlock:
    return pb.AttendedBlock(
        stream=stream_name(memory, block.stream),
        index=block.index,
        weight=block.weight,
        start_time=time_to(block.first_us),
        end_time=time_to(block.last_us),
        frame_count=block.frames,
    )


def _explanation_to(memory: str, explanation: Explanation) -> pb.Explanation:
    return pb.Explanation(
        blocks=[_explained_to(memory, explained) for explained in explanation.blocks],
        blocks_of_stays=[_block_to(memory, block) for block in explanation.blocks_of_stays],
    )


def _explained_to(memory: str, explained: ExplainedBlock) -> pb.ExplainedBlock:
    return pb.ExplainedBlock(
        level=explained.level,
        block=_block_to(memory, explained.block),
        blocks=[_explained_to(memory, below) for below in explained.blocks],
        stays=[_stay_to(memory, stay) for stay in explained.stays],
    )


def _stay_to(memory: str, stay: AttendedStay) -> pb.AttendedStay:
    return pb.AttendedStay(
        exemplar=exemplar_name(memory, stay.exemplar_id),
        weight=stay.weight,
        similarity=stay.similarity,
        start_time=time_to(stay.first_us),
        end_time=time_to(stay.last_us),
        frame_count=stay.frames,
    )
