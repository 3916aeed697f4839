"""What attention gives for a question, how far it may be off, what it rests on, and how it learns."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from framekeep import (
    AttentionVersionNotFound,
    Client,
    ContextError,
    ExemplarNotFound,
    FittedAttention,
    InvalidRequest,
    MemoryNotFound,
    aio,
)
from framekeep.asking import Asking
from framekeep.connection import Connection, channel_to
from framekeep.v1 import video_memory_pb2 as pb
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
StartAnswering = Callable[..., tuple[str, list[Message]]]


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def lobby(client: Client) -> str:
    """A memory in which a door saw scene 1, scene 2 and scene 1 again, ten frames each, a frame a second."""
    scenes = [scene(number, brightness) for number in (1, 2, 1) for brightness in range(10)]
    client.stream(scenes, memory="lobby", stream="door", frames_per_second=1, start_time=START).run()
    return "lobby"


def test_a_query_asks_for_what_it_is_told_to(start_answering: StartAnswering) -> None:
    error = pb.ContextError(reading=0.006, storing=0.041, confidence=0.95)
    address, asked = start_answering(Query=pb.QueryResponse(attention=pb.Attention(context_error=error)))

    with Client(address) as fk:
        answer = fk.query(
            "lobby", exemplar=7, max_reading_error=0.01, max_stays=5_000, attention_version="latest", explain=True
        )

    [question] = asked
    assert question == pb.QueryRequest(
        memory="memories/lobby",
        exemplar="memories/lobby/exemplars/7",
        top=5,
        max_reading_error=0.01,
        max_stays=5_000,
        attention_version="latest",
        explain=True,
    )
    assert answer.context_error == ContextError(0.006, 0.041, 0.95)


def test_fitting_and_feedback_ask_for_what_they_are_told_to(start_answering: StartAnswering) -> None:
    address, asked = start_answering(
        FitAttention=pb.FitAttentionResponse(attention_version="7b", held_out_queries=40, fitted_top5_share=0.75),
        SendFeedback=pb.SendFeedbackResponse(),
    )

    with Client(address) as fk:
        fk.send_feedback("lobby", exemplar=7, evidence=[8, 9], as_of=START)
        fitted = fk.fit("lobby")

    feedback, fit = asked
    assert isinstance(feedback, pb.SendFeedbackRequest)
    assert (feedback.exemplar, list(feedback.evidence)) == (
        "memories/lobby/exemplars/7",
        ["memories/lobby/exemplars/8", "memories/lobby/exemplars/9"],
    )
    assert feedback.as_of.ToDatetime(UTC) == START
    assert fit == pb.FitAttentionRequest(name="memories/lobby")
    assert fitted == FittedAttention("7b", 40, 0.0, 0.75, None)


def test_tasks_ask_the_same(start_answering: StartAnswering) -> None:
    address, asked = start_answering(
        Query=pb.QueryResponse(),
        FitAttention=pb.FitAttentionResponse(attention_version="7b"),
        SendFeedback=pb.SendFeedbackResponse(),
    )

    async def ask() -> FittedAttention:
        async with aio.Client(address) as fk:
            await fk.query("lobby", exemplar=7, exact=True, max_reading_error=0.5, max_stays=2_000, explain=True)
            await fk.send_feedback("lobby", embedding=[1.0, 0.0], evidence=[8], as_of=START)
            return await fk.fit("lobby")

    fitted = asyncio.run(ask())

    with Client(address) as fk:
        fk.query("lobby", exemplar=7, exact=True, max_reading_error=0.5, max_stays=2_000, explain=True)
        fk.send_feedback("lobby", embedding=[1.0, 0.0], evidence=[8], as_of=START)
        assert fk.fit("lobby") == fitted
    assert asked[:3] == asked[3:]


class RecordingConnection(Connection):
    """Answers by itself, and keeps which calls may last."""

    def __init__(self) -> None:
        super().__init__(channel_to("localhost:1"), timeout_s=5)
        self.lasting: list[bool] = []

    def call(self, method: Any, request: Any, *, lasting: bool = False) -> Any:  # noqa: ARG002 - as in Connection
        self.lasting.append(lasting)
        return pb.QueryResponse()


def test_a_query_that_reads_as_long_as_it_takes_has_no_time_limit() -> None:
    with closing(RecordingConnection()) as connection:
        calls = Asking(connection)
        calls.query("lobby", exemplar=7, max_stays=10**9)
        calls.query("lobby", exemplar=7, exact=True)
        calls.query("lobby", exemplar=7, max_reading_error=0.01)

    assert connection.lasting == [False, True, True]


def test_a_small_memory_is_read_whole(client: Client, lobby: str) -> None:
    answer = client.query(lobby, image=scene(1))

    assert answer.attention is not None
    assert answer.context_error is not None
    assert answer.context_error.reading == 0
    assert 0 < answer.context_error.storing < 0.5
    assert 0.5 < answer.context_error.confidence <= 1
    assert answer.attention.unopened_share == 0
    assert answer.attention.opened_stay_count == answer.attention.stay_count == 2
    assert (answer.attention.attention_version, answer.attention.explanation) == (None, None)


def test_reading_exactly_changes_nothing_where_all_is_read(client: Client, lobby: str) -> None:
    answers = [
        client.query(lobby, image=scene(1)),
        client.query(lobby, image=scene(1), exact=True),
        client.query(lobby, image=scene(1), max_reading_error=0.001),
        client.query(lobby, image=scene(1), max_stays=1_000),
    ]

    first, *others = [answer.context_vector for answer in answers]
    assert first is not None
    for other in others:
        assert other is not None
        assert np.allclose(other, first, atol=1e-6)


def test_an_explanation_leads_down_to_the_stays(client: Client, lobby: str) -> None:
    client.stream([scene(3)], memory=lobby, stream="yard", frames_per_second=1, start_time=after(100)).run()

    answer = client.query(lobby, image=scene(1), explain=True, inverse_temperature=0)

    assert answer.attention is not None
    explanation = answer.attention.explanation
    assert explanation is not None
    door, yard = explanation.blocks
    assert (door.block.stream, yard.block.stream) == ("door", "yard")
    assert [door.block.weight, yard.block.weight] == pytest.approx([30 / 31, 1 / 31])
    assert (door.block.start_time, door.block.end_time) == (START, after(29))
    assert {stay.exemplar: stay.frame_count for stay in door.stays} == {1: 20, 2: 10}
    assert [stay.exemplar for stay in door.stays] == [1, 2]
    assert [stay.weight for stay in door.stays] == pytest.approx([20 / 31, 10 / 31])
    assert door.stays[0].similarity == pytest.approx(1, abs=0.01)
    [only] = yard.stays
    assert (only.start_time, only.end_time, only.exemplar) == (after(100), after(100), 3)
    assert [(block.stream, block.level) for block in explanation.blocks_of_stays] == [("door", 1), ("yard", 1)]


def test_how_well_a_question_is_to_be_answered_has_its_limits(client: Client, lobby: str) -> None:
    for error in (0.0, -1.0, 1.5):
        with pytest.raises(InvalidRequest) as caught:
            client.query(lobby, exemplar=1, max_reading_error=error)
        assert caught.value.metadata["field"] == "max_reading_error"
    with pytest.raises(InvalidRequest) as caught:
        client.query(lobby, exemplar=1, max_stays=999)
    assert caught.value.metadata["field"] == "max_stays"


def test_a_version_that_was_never_fitted_is_told_apart(client: Client, lobby: str) -> None:
    with pytest.raises(AttentionVersionNotFound) as caught:
        client.query(lobby, exemplar=1, attention_version="nonsense")

    latest = client.query(lobby, exemplar=1, attention_version="latest")
    assert caught.value.reason == "ATTENTION_VERSION_NOT_FOUND"
    assert latest.attention is not None
    assert latest.attention.attention_version is None


def test_fitting_keeps_what_is_better_and_says_so(client: Client, lobby: str) -> None:
    client.send_feedback(lobby, image=scene(1), evidence=[2], as_of=after(30))

    fitted = client.fit(lobby)

    assert client.memory(lobby).attention_version == fitted.version
    assert fitted.version is None or fitted.fitted_top5_share > fitted.plain_top5_share
    answer = client.query(lobby, exemplar=1, attention_version=fitted.version)
    assert answer.attention is not None
    assert answer.attention.attention_version == fitted.version


def test_feedback_on_what_does_not_exist_is_refused(client: Client, lobby: str) -> None:
    with pytest.raises(ExemplarNotFound):
        client.send_feedback(lobby, exemplar=1, evidence=[99])
    with pytest.raises(ExemplarNotFound):
        client.send_feedback(lobby, exemplar=99, evidence=[1])
    with pytest.raises(MemoryNotFound):
        client.send_feedback("nobody", exemplar=1, evidence=[1])
    with pytest.raises(MemoryNotFound):
        client.fit("nobody")


def test_tasks_fit_and_feed_back_on_a_real_server(server: RunningServer, lobby: str) -> None:
    async def ask() -> tuple[FittedAttention, str | None]:
        async with aio.Client(server.address) as fk:
            await fk.send_feedback(lobby, exemplar=1, evidence=[2], as_of=after(30))
            return await fk.fit(lobby), (await fk.memory(lobby)).attention_version

    fitted, version = asyncio.run(ask())

    assert fitted.version == version
