"""The client for asyncio: the same methods, and nothing is left behind by a task that is cancelled."""

import asyncio
import gc
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray

import framekeep
from breaking import BreakingServer, plain_pictures
from framekeep import (
    InvalidRequest,
    MemoryNotFound,
    ServerUnavailable,
    SourceError,
    Verdict,
    VerdictKind,
    WindowFull,
    aio,
)
from framekeep.window import LEAST_WINDOW_FRAMES
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
StartBreaking = Callable[..., BreakingServer]
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's tasks, and see that no thread or task outlives them."""
    before = set(threading.enumerate())

    async def watched() -> T:
        result = await work
        # A loop that was left is closed by a task of asyncio's own, which may still be at it.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, unfinished = await asyncio.wait(others, timeout=10)
            assert unfinished == set()
        return result

    result = asyncio.run(watched())
    gc.collect()
    left = {thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("framekeep")}
    assert left == set()
    return result


def public(kind: type) -> dict[str, Any]:
    return {
        name: member
        for name in dir(kind)
        if not name.startswith("_")
        for member in [inspect.getattr_static(kind, name)]
        if inspect.isfunction(member) or isinstance(member, property)
    }


PAIRS = [
    (framekeep.Client, aio.Client, {"begin_end", "end_streams"}),
    (framekeep.StreamRun, aio.StreamRun, {"end", "is_live"}),
    (framekeep.ForeverRun, aio.StreamRun, {"end"}),
    (
        framekeep.PushSession,
        aio.PushSession,
        {"begin_close", "frame_from", "inbox", "is_flushed", "listen", "offer", "open"},
    ),
]


@pytest.mark.parametrize(("waiting", "awaiting", "inner"), PAIRS)
def test_both_clients_have_the_same_methods(waiting: type, awaiting: type, inner: set[str]) -> None:
    ones, others = public(waiting), public(awaiting)

    assert ones.keys() - inner == others.keys()
    for name, other in others.items():
        one = ones[name]
        assert isinstance(one, property) == isinstance(other, property), name
        if not isinstance(one, property):
            assert parameters(one) == parameters(other), name


def parameters(method: Callable[..., Any]) -> list[tuple[object, ...]]:
    hints = get_type_hints(method)
    return [
        (each.name, each.kind, each.default, None if each.name == "self" else hints[each.name])
        for each in inspect.signature(method).parameters.values()
    ]


def test_local_takes_the_same_too() -> None:
    assert parameters(framekeep.local) == parameters(aio.local)


def test_calls_answer_as_those_of_the_other_client(server: RunningServer) -> None:
    async def ask() -> None:
        async with aio.Client(server.address) as fk:
            created = await fk.create_memory("lab", novelty_threshold=0.2)
            assert await fk.memory("lab") == created == await fk.create_memory("lab", exist_ok=True)
            assert [memory.name for memory in await fk.memories()] == ["lab"]
            assert await fk.unreadable_memories() == []
            assert (await fk.set_threshold("lab", 0.3)).novelty_threshold == 0.3
            own = await fk.create_stream("lab", "robot", novelty_threshold=0.4)
            assert (await fk.set_threshold("lab", None, stream="robot", etag=own.etag)).novelty_threshold is None
            assert [stream.name for stream in await fk.streams("lab")] == ["robot"]
            assert (await fk.stream_facts("lab", "robot")).effective_novelty_threshold == 0.3
            rows = await fk.encode([scene(1), scene(2)])
            assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(2), abs=2e-4)  # float16
            assert (await fk.server_info()).dimension == rows.shape[1]
            await fk.delete_memory("lab")
            with pytest.raises(MemoryNotFound):
                await fk.memory("lab")

    run(ask())


def test_a_stream_is_an_async_iterator_of_verdicts(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.calls._PAGE_SIZE", 2)
    monkeypatch.setattr("framekeep.aio.calls._LISTED", 3)
    scenes = [scene(number) for number in range(5)]

    async def ask() -> None:
        async with aio.Client(server.address) as fk:
            streamed = fk.stream(scenes, memory="m", stream="s", frames_per_second=1, start_time=START)
            verdicts = [verdict async for verdict in streamed]
            assert [(verdict.seq, verdict.kind) for verdict in verdicts] == [(n, VerdictKind.NOVEL) for n in range(5)]
            assert (streamed.summary.novel_frames, streamed.summary.stream) == (5, "s")
            assert [exemplar.id async for exemplar in fk.exemplars("m")] == [5, 4, 3, 2, 1]
            assert [sighting.exemplar async for sighting in fk.timeline("m", "s")] == [1, 2, 3, 4, 5]
            assert (await fk.exemplar("m", 2)).capture_time == START + timedelta(seconds=1)
            answer = await fk.query("m", image=scene(3))
            assert (answer.seen, answer.matches[0].exemplar) == (True, 4)
            with pytest.raises(InvalidRequest, match="iterated once"):
                await streamed.run()

    run(ask())


def test_a_run_that_was_not_begun_has_nothing_to_tell(server: RunningServer) -> None:
    async def ask() -> None:
        async with aio.Client(server.address) as fk:
            async with fk.stream([scene(1)], memory="m", stream="s", frames_per_second=1) as unused:
                assert unused.expected_frames is None
                with pytest.raises(InvalidRequest, match="that was begun"):
                    _ = unused.summary
            with pytest.raises(SourceError, match="does not exist"):
                await fk.stream("nowhere.mp4", memory="m").run()
            assert await fk.memories() == []

    run(ask())


def test_many_streams_run_side_by_side(server: RunningServer) -> None:
    async def ask() -> None:
        async with aio.Client(server.address) as fk:
            runs = [
                fk.stream(plain_pictures(20), memory="m", stream=f"s{number}", frames_per_second=25).run()
                for number in range(6)
            ]
            assert [summary.frames for summary in await asyncio.gather(*runs)] == [20] * 6
            assert (await fk.memory("m")).contents.frames == 120

    run(ask())


def endless() -> Iterator[NDArray[np.uint8]]:
    while True:
        yield scene(1)


async def cancelled(work: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancelled_stream_ends(server: RunningServer) -> None:
    async def ask() -> None:
        async with aio.Client(server.address) as fk:
            begun = asyncio.Event()

            async def follow() -> None:
                async for _ in fk.stream(endless(), memory="m", stream="s", frames_per_second=25):
                    begun.set()

            task = asyncio.create_task(follow())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert "framekeep-source" not in {thread.name for thread in threading.enumerate()}

    run(ask())


def test_leaving_the_block_ends_the_stream(server: RunningServer) -> None:
    async def ask() -> None:
        async with aio.Client(server.address) as fk:
            async with fk.stream(endless(), memory="m", stream="s", frames_per_second=25) as streamed:
                async for verdict in streamed:
                    if verdict.seq == 3:
                        break
            assert streamed.summary.frames >= 4

    run(ask())


def test_closing_the_client_ends_its_streams_and_sessions(server: RunningServer) -> None:
    async def ask() -> None:
        fk = aio.Client(server.address)
        verdicts = aiter(fk.stream(endless(), memory="m", stream="s", frames_per_second=25))
        await anext(verdicts)
        session = await fk.open_stream("robot", memory="m").__aenter__()
        following = session.verdicts()

        await fk.close()

        assert [verdict async for verdict in verdicts] == []
        assert [verdict async for verdict in following] == []
        with pytest.raises(InvalidRequest, match="was closed"):
            await session.send(scene(1))

    run(ask())


def test_a_cancelled_call_is_taken_back(start_silent: Callable[[], str]) -> None:
    async def ask() -> None:
        async with aio.Client(start_silent()) as fk:
            await cancelled(fk.memory("m"))
            await cancelled(anext(fk.exemplars("m")))
            await cancelled(fk.stream([scene(1)], memory="m", stream="s", frames_per_second=1).run())
            await cancelled(fk.open_stream("s", memory="m").__aenter__())

    run(ask())


def test_a_closed_client_says_so(server: RunningServer) -> None:
    async def ask() -> None:
        fk = aio.Client(server.address)
        await fk.close()
        await fk.close()
        with pytest.raises(InvalidRequest, match="was closed"):
            await fk.memory("m")

    run(ask())


def test_frames_are_sent_one_by_one(server: RunningServer) -> None:
    seen: list[int] = []

    async def call_back(verdict: Verdict) -> None:
        await asyncio.sleep(0)
        seen.append(verdict.seq)

    async def ask() -> None:
        async with aio.Client(server.address) as fk:
            async with fk.open_stream("robot", memory="lab", on_verdict=call_back) as session:
                verdicts = session.verdicts()
                for number, shown in enumerate([1, 1, 2]):
                    await session.send(scene(shown), capture_time=START + timedelta(seconds=number))
                await session.flush()
                assert (seen, session.next_seq, session.is_open) == ([0, 1, 2], 3, True)
            assert [verdict.exemplar async for verdict in verdicts] == [1, 1, 2]
            assert (session.summary.frames, session.is_open) == (3, False)
            spans = [(sighting.exemplar, sighting.start_time) async for sighting in fk.timeline("lab", "robot")]
            assert spans == [(1, START), (2, START + timedelta(seconds=2))]

    run(ask())


def test_the_end_of_the_block_waits_for_the_verdicts_on_all_that_was_sent(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([], is_held=True)
    seen: list[int] = []

    async def ask() -> None:
        async with (
            aio.Client(breaking.address) as fk,
            fk.open_stream(
                "robot", memory="lab", create_memory=False, on_verdict=lambda verdict: seen.append(verdict.seq)
            ) as session,
        ):
            for picture in plain_pictures(3):
                await session.send(picture)
            closing = asyncio.create_task(session.close())
            while session.is_open:
                await asyncio.sleep(0)
            breaking.released.set()
            await closing

    run(ask())

    assert seen == [0, 1, 2]
    assert len(breaking.journal) == 3


def test_tasks_may_send_side_by_side_with_those_that_read(server: RunningServer) -> None:
    async def ask() -> None:
        async with aio.Client(server.address) as fk, fk.open_stream("robot", memory="lab") as session:
            verdicts = session.verdicts()

            async def read(count: int) -> list[int]:
                return [(await anext(verdicts)).seq for _ in range(count)]

            reading = asyncio.create_task(read(120))
            await asyncio.gather(*(session.send(picture) for picture in plain_pictures(120)))
            assert await reading == list(range(120))

    run(ask())


def test_a_full_window_refuses_or_waits(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([], is_held=True)
    picture = next(plain_pictures(1))

    async def ask() -> None:
        async with (
            aio.Client(breaking.address) as fk,
            fk.open_stream("robot", memory="lab", create_memory=False) as session,
        ):
            for _ in range(LEAST_WINDOW_FRAMES):
                await session.send(picture, wait=False)
            with pytest.raises(WindowFull):
                await session.send(picture, wait=False)
            for waiting in (session.send(picture), session.flush(), anext(session.verdicts())):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(waiting, 0.05)
            sending = asyncio.create_task(session.send(picture))
            breaking.released.set()
            await sending
            await session.flush()
            assert session.next_seq == LEAST_WINDOW_FRAMES + 1

    run(ask())
    assert breaking.stored.total() == LEAST_WINDOW_FRAMES + 1


def test_a_cancelled_block_does_not_wait_for_verdicts(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([], is_held=True)

    async def ask() -> None:
        async with aio.Client(breaking.address) as fk:
            sent = asyncio.Event()

            async def push() -> None:
                async with fk.open_stream("robot", memory="lab", create_memory=False) as session:
                    await session.send(next(plain_pictures(1)))
                    sent.set()
                # the end of the block waits for a verdict that does not come

            task = asyncio.create_task(push())
            await sent.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(ask())


def test_what_ends_a_session_reaches_all_who_use_it(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([(0, 0)] * 1_000)

    async def ask() -> None:
        async with aio.Client(breaking.address) as fk:
            session = fk.open_stream("robot", memory="lab", create_memory=False, reconnect_s=0.2)
            with pytest.raises(InvalidRequest, match="open it with `async with`"):
                await session.send(scene(1))
            await session.__aenter__()
            verdicts = session.verdicts()
            await session.send(scene(1))
            for waiting in (session.flush(), session.send(scene(1)), anext(verdicts), session.close()):
                with pytest.raises(ServerUnavailable, match="broken off"):
                    await waiting

    run(ask())


def test_a_callback_that_raises_ends_the_session(server: RunningServer) -> None:
    def fall(verdict: Verdict) -> None:
        raise RuntimeError(f"fell over frame {verdict.seq}")

    async def ask() -> None:
        async with aio.Client(server.address) as fk, fk.open_stream("robot", memory="lab", on_verdict=fall) as session:
            await session.send(scene(1))
            await session.flush()

    with pytest.raises(RuntimeError, match="fell over frame 0"):
        run(ask())


def test_a_server_of_ones_own(tmp_path: Path) -> None:
    async def ask() -> None:
        async with aio.local(tmp_path / "data") as fk:
            await fk.stream([scene(1)], memory="m", stream="s", frames_per_second=1).run()
            with pytest.raises(framekeep.ServerNotStarted, match="is used by another process"):
                async with aio.local(tmp_path / "data"):
                    pass
            await cancelled(aio.local(tmp_path / "other").__aenter__())
            assert (await fk.memory("m")).contents.frames == 1

    run(ask())
