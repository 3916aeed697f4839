"""The context that a session asks for with each of its frames, over as many connections as it takes."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import grpc
import numpy as np
import pytest

from breaking import BreakingServer, plain_pictures
from framekeep import AttentionVersionNotFound, Client, ContextQuery, Verdict, VerdictKind, aio
from framekeep.v1 import video_memory_pb2 as pb
from talking import scene


@dataclass
class AttendingServer(BreakingServer):
    """Gives with the verdict on frame n the context [n, inverse temperature], if the opening asks for one."""

    openings: list[pb.IngestOpening] = field(default_factory=list)

    def ingest(
        self, requests: Iterator[pb.IngestRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.IngestResponse]:
        first = next(requests)
        self.openings.append(first.opening)
        for response in super().ingest(chain([first], requests), context):
            for verdict in response.verdicts.verdicts:
                if first.opening.HasField("context"):
                    asked = first.opening.context.inverse_temperature
                    verdict.context_vector.values.extend([verdict.seq, asked])
            yield response


@pytest.fixture
def attending() -> Iterator[AttendingServer]:
    """It breaks its first two calls off."""
    breaking = AttendingServer([(3, 0), (2, 0)], grpc.StatusCode.UNAVAILABLE)
    serving = breaking.serve()
    yield breaking
    serving.stop(None).wait()


def contexts(verdicts: list[Verdict]) -> list[list[float] | None]:
    return [None if each.context_vector is None else each.context_vector.tolist() for each in verdicts]


def test_a_session_that_is_opened_again_asks_again(attending: AttendingServer) -> None:
    context = ContextQuery(12.5, "latest")
    with Client(attending.address) as fk:
        run = fk.stream(
            plain_pictures(8), memory="m", stream="s", frames_per_second=5, create_memory=False, context=context
        )
        verdicts = list(run)

    assert contexts(verdicts) == [[number, 12.5] for number in range(8)]
    assert [opening.context for opening in attending.openings] == [
        pb.ContextRequest(inverse_temperature=12.5, attention_version="latest")
    ] * 3
    assert run.summary.reconnections == 2


def test_a_session_that_does_not_ask_gets_none(attending: AttendingServer) -> None:
    with Client(attending.address) as fk:
        run = fk.stream(plain_pictures(8), memory="m", stream="s", frames_per_second=5, create_memory=False)
        verdicts = list(run)

    assert contexts(verdicts) == [None] * 8
    assert [opening.HasField("context") for opening in attending.openings] == [False] * 3


def test_a_session_into_which_frames_are_sent_asks_too(attending: AttendingServer) -> None:
    attending.breaks.clear()
    pushed: list[Verdict] = []
    context = ContextQuery(1.0)
    with (
        Client(attending.address) as fk,
        fk.open_stream("arm", memory="m", create_memory=False, context=context, on_verdict=pushed.append) as session,
    ):
        for picture in plain_pictures(3):
            session.send(picture)

    assert contexts(pushed) == [[number, 1.0] for number in range(3)]


def test_a_file_that_is_streamed_for_ever_asks_too(attending: AttendingServer, make_video: Callable[..., Path]) -> None:
    attending.breaks.clear()
    with Client(attending.address) as fk:
        run = fk.stream_forever(
            make_video("a.mp4"), memory="m", stream="s", create_memory=False, context=ContextQuery(2.0)
        )
        assert contexts(list(run)) == [[number, 2.0] for number in range(60)]


def test_tasks_get_contexts_too(attending: AttendingServer) -> None:
    attending.breaks.clear()

    pushed: list[Verdict] = []

    async def ask() -> list[Verdict]:
        async with aio.Client(attending.address) as fk:
            run = fk.stream(
                plain_pictures(3),
                memory="m",
                stream="s",
                frames_per_second=5,
                create_memory=False,
                context=ContextQuery(3.0),
            )
            streamed = [verdict async for verdict in run]
            attending.journal.clear()
            async with fk.open_stream(
                "arm", memory="m", create_memory=False, context=ContextQuery(4.0), on_verdict=pushed.append
            ) as session:
                await session.send(plain)
        return streamed

    [plain] = plain_pictures(1)
    streamed = asyncio.run(ask())

    assert contexts(streamed) == [[number, 3.0] for number in range(3)]
    assert contexts(pushed) == [[0, 4.0]]


def test_every_frame_gets_the_context_of_what_was_seen_before_it(client: Client) -> None:
    frames = [scene(1), scene(1, 1), scene(2)]

    with client.open_stream("door", memory="lab", context=ContextQuery(0.0)) as session:
        verdicts = session.verdicts()
        told = []
        for picture in frames:
            session.send(picture)
            told.append(next(verdicts))

    first, second, third = told
    rows = client.encode(frames)
    assert [verdict.kind for verdict in told] == [VerdictKind.NOVEL, VerdictKind.REPEAT, VerdictKind.NOVEL]
    assert first.context_vector is None
    assert second.context_vector is not None
    assert np.allclose(second.context_vector, rows[0], atol=1e-3)
    assert third.context_vector is not None
    assert np.allclose(third.context_vector, (rows[0] + rows[1]) / 2, atol=1e-3)


def test_a_session_names_a_version_that_does_not_exist(client: Client) -> None:
    with pytest.raises(AttentionVersionNotFound):
        client.open_stream("door", memory="lab", context=ContextQuery(attention_version="nonsense"))
