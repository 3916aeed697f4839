from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from framekeep import (
    Answer,
    AttendedBlock,
    AttendedStay,
    ContextError,
    ExplainedBlock,
    Explanation,
    FittedAttention,
    ServerError,
)
from framekeep.answer_converters import answer_from, fitted_from
from framekeep.converters import memory_from, verdict_from
from framekeep.v1 import video_memory_pb2 as pb

START = datetime(2026, 1, 31, 5, 6, 7, 250_000, tzinfo=UTC)
DOOR, SEVEN = "memories/lobby/streams/door", "memories/lobby/exemplars/7"


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def stamp(seconds: float) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(after(seconds))
    return message


def block(weight: float, start: float, end: float, index: int = 0) -> pb.AttendedBlock:
    return pb.AttendedBlock(
        stream=DOOR, index=index, weight=weight, start_time=stamp(start), end_time=stamp(end), frame_count=3
    )


def explanation() -> pb.Explanation:
    stay = pb.AttendedStay(
        exemplar=SEVEN, weight=0.5, similarity=0.875, start_time=stamp(1), end_time=stamp(2), frame_count=2
    )
    below = pb.ExplainedBlock(level=1, block=block(0.6, 0, 5, index=4), stays=[stay])
    return pb.Explanation(
        blocks=[pb.ExplainedBlock(level=2, block=block(0.9, 0, 9), blocks=[below])],
        blocks_of_stays=[block(0.6, 0, 5, index=4), block(0.3, 5, 9, index=5)],
    )


def attention(**fields: object) -> pb.QueryResponse:
    return pb.QueryResponse(seen=True, attention=pb.Attention(**fields))  # type: ignore[arg-type]


def test_an_answer_says_how_far_its_context_vector_may_be_off_and_what_was_read() -> None:
    answer = answer_from(
        attention(
            context_vector=pb.Embedding(values=[0.5, -0.25]),
            context_error=pb.ContextError(reading=0.006, storing=0.041, confidence=0.95),
            unopened_share=0.03,
            stay_count=20_000,
            opened_stay_count=1_200,
            vectors_read=5_000,
            attention_version="7b",
        )
    )

    assert answer.attention is not None
    assert answer.context_error == answer.attention.context_error == ContextError(0.006, 0.041, 0.95)
    assert answer.context_vector is not None
    assert answer.context_vector.tolist() == [0.5, -0.25]
    assert (answer.attention.unopened_share, answer.attention.attention_version) == (0.03, "7b")
    counts = answer.attention.stay_count, answer.attention.opened_stay_count, answer.attention.vectors_read
    assert counts == (20_000, 1_200, 5_000)
    assert answer.attention.explanation is None


def test_what_an_answer_does_not_say_is_none_and_not_zero() -> None:
    answer = answer_from(attention())
    nothing = answer_from(pb.QueryResponse())

    assert answer.attention is not None
    assert (answer.attention.context_error, answer.attention.attention_version) == (None, None)
    assert nothing == Answer(seen=False, novelty_threshold=0.0, matches=(), attention=None)
    assert (nothing.context_error, nothing.context_vector) == (None, None)


def test_an_explanation_is_the_way_from_the_top_down_to_the_stays() -> None:
    answer = answer_from(attention(explanation=explanation()))

    assert answer.attention is not None
    low = AttendedBlock(1, "door", 4, 0.6, START, after(5), 3)
    stay = AttendedStay(7, 0.5, 0.875, after(1), after(2), 2)
    top = AttendedBlock(2, "door", 0, 0.9, START, after(9), 3)
    assert answer.attention.explanation == Explanation(
        blocks=(ExplainedBlock(top, (ExplainedBlock(low, (), (stay,)),), ()),),
        blocks_of_stays=(low, AttendedBlock(1, "door", 5, 0.3, after(5), after(9), 3)),
    )


def test_a_stay_of_no_exemplar_breaks_the_contract() -> None:
    broken = explanation()
    broken.blocks[0].blocks[0].stays[0].exemplar = DOOR

    with pytest.raises(ServerError, match="expected the resource name of a exemplar"):
        answer_from(attention(explanation=broken))


def test_fitting_keeps_a_version_or_none() -> None:
    kept = fitted_from(
        pb.FitAttentionResponse(
            attention_version="7b",
            held_out_queries=400,
            plain_top5_share=0.5,
            fitted_top5_share=0.75,
            fitted_through=stamp(60),
        )
    )
    plain = fitted_from(pb.FitAttentionResponse())

    assert kept == FittedAttention("7b", 400, 0.5, 0.75, after(60))
    assert plain == FittedAttention(None, 0, 0.0, 0.0, None)


def test_a_verdict_brings_the_context_that_was_asked_for() -> None:
    message = pb.Verdict(kind=pb.Verdict.KIND_NOVEL, exemplar=SEVEN, context_vector=pb.Embedding(values=[2.0, 0.5]))
    plain = verdict_from(pb.Verdict(kind=pb.Verdict.KIND_NOVEL, exemplar=SEVEN))

    verdict = verdict_from(message)

    assert verdict.context_vector is not None
    assert (verdict.context_vector.dtype, verdict.context_vector.tolist()) == (np.dtype(np.float32), [2.0, 0.5])
    assert plain.context_vector is None
    assert verdict == plain  # vectors are left out of comparisons, which NumPy would refuse


def test_a_memory_names_the_version_that_was_fitted_to_it() -> None:
    fitted = memory_from(pb.Memory(name="memories/lobby", attention_version="7b"))
    plain = memory_from(pb.Memory(name="memories/lobby"))

    assert (fitted.attention_version, plain.attention_version) == ("7b", None)
