import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from framekeep import ContextQuery, InvalidRequest, SourceError
from framekeep.questions import feedback_from, question_from
from framekeep.v1 import video_memory_pb2 as pb

TIME = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)


def test_a_question_leaves_to_the_server_what_it_does_not_say() -> None:
    question = question_from("lobby", exemplar=7)

    assert question == pb.QueryRequest(memory="memories/lobby", exemplar="memories/lobby/exemplars/7", top=5)
    assert not question.HasField("max_reading_error")


def test_a_question_says_how_well_it_is_to_be_answered() -> None:
    question = question_from(
        "lobby",
        exemplar=7,
        exact=True,
        max_reading_error=0.01,
        max_stays=50_000,
        max_frames=0,
        attention_version="latest",
        explain=True,
    )

    assert question.exact
    assert (question.max_reading_error, question.max_stays) == (0.01, 50_000)
    assert (question.HasField("max_frames"), question.max_frames) == (True, 0)
    assert not question_from("lobby", exemplar=7).HasField("max_frames")
    assert (question.attention_version, question.explain) == ("latest", True)


def test_a_question_may_be_about_some_labels_only() -> None:
    assert list(question_from("lobby", exemplar=7, labels=["door", "night"]).labels) == ["door", "night"]
    with pytest.raises(InvalidRequest, match="expected a sequence of labels, got the string 'door'"):
        question_from("lobby", exemplar=7, labels="door")
    many = [str(number) for number in range(40)]
    assert list(question_from("lobby", exemplar=7, labels=many).labels) == many
    for label in ("", "x" * 64, "a\nb", "\udcff"):
        with pytest.raises(InvalidRequest, match="expected a label of 1 to 63 characters in UTF-8 without control"):
            question_from("lobby", exemplar=7, labels=[label])


@pytest.mark.parametrize(("name", "number"), [("top", 0), ("max_stays", 0), ("max_stays", -1)])
def test_a_number_that_would_mean_the_default_is_refused(name: str, number: int) -> None:
    ask: Callable[..., pb.QueryRequest] = question_from

    with pytest.raises(InvalidRequest, match=f"expected {name} of at least 1, got {number}"):
        ask("lobby", exemplar=7, **{name: number})


def test_feedback_names_its_question_and_its_evidence() -> None:
    feedback = feedback_from("lobby", [7, 9], moment=("door", TIME), as_of=TIME)

    assert feedback.memory == "memories/lobby"
    assert list(feedback.evidence) == ["memories/lobby/exemplars/7", "memories/lobby/exemplars/9"]
    assert feedback.moment.stream == "memories/lobby/streams/door"
    assert feedback.moment.time == feedback.as_of
    assert feedback.as_of.ToDatetime(UTC) == TIME


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ({"image": np.zeros((4, 4, 3), np.uint8)}, "picture"),
        ({"embedding": [1.0, 0.0]}, "embedding"),
        ({"exemplar": 7}, "exemplar"),
        ({"moment": ("door", TIME)}, "moment"),
    ],
)
def test_questions_and_feedback_take_the_same_subjects(subject: dict[str, object], name: str) -> None:
    ask: Callable[..., pb.QueryRequest] = question_from
    tell: Callable[..., pb.SendFeedbackRequest] = feedback_from

    question, feedback = ask("lobby", **subject), tell("lobby", [1], **subject)

    assert question.WhichOneof("subject") == feedback.WhichOneof("subject") == name
    assert getattr(question, name) == getattr(feedback, name)


def test_feedback_that_makes_no_sense_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidRequest, match="expected 1 to 100 exemplars as evidence, got 0"):
        feedback_from("lobby", [], exemplar=7)
    with pytest.raises(InvalidRequest, match="expected 1 to 100 exemplars as evidence, got 101"):
        feedback_from("lobby", range(1, 102), exemplar=7)
    with pytest.raises(InvalidRequest, match="expected an exemplar id of at least 1, got 0"):
        feedback_from("lobby", [0], exemplar=7)
    with pytest.raises(InvalidRequest, match="expected one of image, embedding, exemplar and moment"):
        feedback_from("lobby", [7])
    with pytest.raises(InvalidRequest, match="expected one of image, embedding, exemplar and moment"):
        feedback_from("lobby", [7], exemplar=7, moment=("door", TIME))
    with pytest.raises(InvalidRequest, match="expected a datetime with a time zone"):
        feedback_from("lobby", [7], exemplar=7, as_of=TIME.replace(tzinfo=None))
    with pytest.raises(SourceError, match="it cannot be read"):
        feedback_from("lobby", [7], image="nowhere.png")


def test_a_context_is_asked_for_as_attention_is() -> None:
    assert ContextQuery().message() == pb.ContextRequest()
    assert ContextQuery(0.0, "latest").message() == pb.ContextRequest(
        inverse_temperature=0.0, attention_version="latest"
    )
    assert not ContextQuery().message().HasField("inverse_temperature")


@pytest.mark.parametrize("inverse_temperature", [-1.0, 10_001.0, math.nan])
def test_an_inverse_temperature_out_of_range_is_refused_at_once(inverse_temperature: float) -> None:
    with pytest.raises(InvalidRequest, match=r"expected an inverse temperature in \[0, 10000\], got"):
        ContextQuery(inverse_temperature)
