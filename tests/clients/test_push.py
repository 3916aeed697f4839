"""Frames that are sent one by one: every one gets its verdict, and what goes wrong reaches whoever sends."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from breaking import BreakingServer, CuttableProxy, plain_pictures
from framekeep import (
    Client,
    Clock,
    InvalidRequest,
    MemoryNotFound,
    PictureRefused,
    PushSession,
    ServerError,
    ServerUnavailable,
    SessionClosed,
    Verdict,
    VerdictKind,
    WindowFull,
)
from framekeep.inbox import WAITING_VERDICTS, Inbox, VerdictReader
from framekeep.window import LEAST_WINDOW_FRAMES
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, 250_000, tzinfo=UTC)
StartBreaking = Callable[..., BreakingServer]


def moment(number: int) -> datetime:
    return START + timedelta(milliseconds=100 * number)


@pytest.fixture
def session(client: Client) -> Iterator[PushSession]:
    with client.open_stream("robot", memory="lab") as session:
        yield session


def test_frames_are_kept_under_their_capture_times(client: Client) -> None:
    verdicts: list[Verdict] = []

    with client.open_stream("robot", memory="lab", on_verdict=verdicts.append) as session:
        for number, shown in enumerate([1, 1, 2, 1]):
            session.send(scene(shown), capture_time=moment(number))

    novel, repeat = VerdictKind.NOVEL, VerdictKind.REPEAT
    assert [(verdict.seq, verdict.kind, verdict.exemplar) for verdict in verdicts] == [
        (0, novel, 1),
        (1, repeat, 1),
        (2, novel, 2),
        (3, repeat, 1),
    ]
    assert [verdict.capture_time for verdict in verdicts] == [moment(number) for number in range(4)]
    assert not any(verdict.pts_repaired for verdict in verdicts)
    sightings = list(client.timeline("lab", "robot"))
    assert [(sighting.exemplar, sighting.frame_count) for sighting in sightings] == [(1, 2), (2, 1), (1, 1)]
    assert {(sighting.clock, sighting.session_id) for sighting in sightings} == {(Clock.SOURCE, session.session_id)}
    assert (session.summary.frames, session.summary.novel_frames) == (4, 2)


def test_a_frame_without_a_capture_time_is_taken_now(session: PushSession) -> None:
    verdicts = session.verdicts()
    before = datetime.now(UTC)

    session.send(scene(1))

    time = next(verdicts).capture_time
    assert time is not None
    assert before <= time <= datetime.now(UTC)


def test_flush_returns_when_the_callback_has_seen_every_verdict(client: Client) -> None:
    seqs: list[int] = []
    with client.open_stream("robot", memory="lab", on_verdict=lambda verdict: seqs.append(verdict.seq)) as session:
        for picture in plain_pictures(50):
            session.send(picture)

        session.flush()

        assert seqs == list(range(50))
        assert client.memory("lab").contents.frames == 50
        session.flush()


def test_many_threads_may_send(client: Client) -> None:
    verdicts: list[Verdict] = []
    with (
        client.open_stream("robot", memory="lab", on_verdict=verdicts.append) as session,
        ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(session.send, plain_pictures(200)))

    assert [verdict.seq for verdict in verdicts] == list(range(200))
    assert client.memory("lab").contents.counted_frames == 200


def test_verdicts_can_be_iterated_over(session: PushSession) -> None:
    verdicts = session.verdicts()
    for picture in plain_pictures(10):
        session.send(picture)

    session.close()

    assert [verdict.seq for verdict in verdicts] == list(range(10))
    assert list(session.verdicts()) == []


def test_pictures_may_be_changed_once_they_are_sent(client: Client) -> None:
    picture = scene(1).copy()
    with client.open_stream("robot", memory="lab") as session:
        session.send(picture)
        picture[:] = 0

    [exemplar] = client.exemplars("lab", embeddings=True)
    assert exemplar.embedding is not None
    assert exemplar.embedding @ client.encode([scene(1)])[0] == pytest.approx(1, abs=1e-4)


def test_a_full_window_refuses_or_waits(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([], is_held=True)
    picture = next(plain_pictures(1))
    with Client(breaking.address) as client:
        session = client.open_stream("robot", memory="lab", create_memory=False)
        for _ in range(LEAST_WINDOW_FRAMES):
            session.send(picture, wait=False)
        with pytest.raises(WindowFull, match="expected room for one more frame"):
            session.send(picture, wait=False)
        waiting = threading.Thread(target=session.send, args=[picture])
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()

        breaking.released.set()

        waiting.join()
        session.close()

    assert breaking.stored.total() == LEAST_WINDOW_FRAMES + 1


def test_lost_connections_and_lost_verdicts_cost_no_frame(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([(5, 0), (7, 9), (0, 3), (40, 1)])
    verdicts: list[Verdict] = []
    with (
        Client(breaking.address) as client,
        client.open_stream("robot", memory="lab", create_memory=False, on_verdict=verdicts.append) as session,
    ):
        for picture in plain_pictures(100):
            session.send(picture)

    assert [verdict.seq for verdict in verdicts] == list(range(100))
    assert breaking.journal == [picture.tobytes() for picture in plain_pictures(100)]
    assert set(breaking.stored.values()) == {1}
    assert session.summary.reconnections == 4


def test_a_cut_connection_to_a_real_server_costs_no_frame(server: RunningServer) -> None:
    with closing(CuttableProxy(server.address)) as proxy, Client(proxy.address) as client:
        with client.open_stream("robot", memory="lab") as session:
            for number, picture in enumerate(plain_pictures(90)):
                session.send(picture)
                if number in (20, 60):
                    session.flush()
                    proxy.cut()
        contents = client.memory("lab").contents

    assert contents.frames == contents.counted_frames == 90
    assert session.summary.reconnections >= 1


def test_what_ends_the_session_reaches_all_who_use_it(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([(3, 0), *[(0, 0)] * 1_000])
    picture = next(plain_pictures(1))
    with Client(breaking.address) as client:
        session = client.open_stream("robot", memory="lab", create_memory=False, reconnect_s=0.3)
        verdicts = session.verdicts()
        for _ in range(5):
            session.send(picture)

        with pytest.raises(ServerUnavailable, match="broken off"):
            session.flush()
        with pytest.raises(ServerUnavailable, match="broken off"):
            session.send(picture)
        with pytest.raises(ServerUnavailable, match="broken off"):
            session.send(picture, wait=False)
        assert [next(verdicts).seq for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ServerUnavailable, match="broken off"):
            next(verdicts)
        with pytest.raises(ServerUnavailable, match="broken off"):
            session.close()

    assert session.summary.frames == 3


def test_a_callback_that_raises_ends_the_session(client: Client) -> None:
    def fall(verdict: Verdict) -> None:
        raise RuntimeError(f"fell over frame {verdict.seq}")

    session = client.open_stream("robot", memory="lab", on_verdict=fall)
    session.send(scene(1))

    for method in (session.flush, session.close):
        with pytest.raises(RuntimeError, match="fell over frame 0"):
            method()


def test_the_callback_may_send_but_not_wait(client: Client) -> None:
    told: list[str] = []

    def call_back(verdict: Verdict) -> None:
        if verdict.seq == 0:
            opened.send(scene(2))
            for method in (opened.flush, opened.close):
                with pytest.raises(InvalidRequest) as caught:
                    method()
                told.append(caught.value.message)

    with client.open_stream("robot", memory="lab", on_verdict=call_back) as opened:
        opened.send(scene(1))
        opened.flush()

    assert client.memory("lab").contents.frames == 2
    assert told == [
        f"expected {method} from another thread than the one that calls on_verdict" for method in ("flush", "close")
    ]


def test_a_closed_session_takes_no_frames(session: PushSession) -> None:
    session.send(scene(1))
    assert session.is_open

    session.close()

    assert not session.is_open
    with pytest.raises(SessionClosed):
        session.send(scene(1))
    with pytest.raises(SessionClosed):
        session.send(scene(1), wait=False)
    session.flush()
    session.close()


def test_an_error_in_the_block_loses_no_frame_that_was_sent(client: Client) -> None:
    def fail() -> None:
        with client.open_stream("robot", memory="lab") as session:
            for picture in plain_pictures(20):
                session.send(picture)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert client.memory("lab").contents.frames == 20


def test_an_interruption_does_not_wait(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([], is_held=True)
    with Client(breaking.address) as client:
        session = client.open_stream("robot", memory="lab", create_memory=False)

        def be_interrupted() -> None:
            with session:
                session.send(next(plain_pictures(1)))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            be_interrupted()

        with pytest.raises(SessionClosed):
            session.flush()


def test_closing_the_client_lets_all_go(start_breaking: StartBreaking) -> None:
    breaking = start_breaking([], is_held=True)
    client = Client(breaking.address)
    session = client.open_stream("robot", memory="lab", create_memory=False)
    verdicts = session.verdicts()
    session.send(next(plain_pictures(1)))

    client.close()

    assert list(verdicts) == []
    with pytest.raises(SessionClosed):
        session.flush()
    assert [thread.name for thread in threading.enumerate() if thread.name == "framekeep-session"] == []


def test_what_cannot_be_opened_is_told_at_once(client: Client, start_breaking: StartBreaking) -> None:
    with pytest.raises(MemoryNotFound):
        client.open_stream("robot", memory="lab", create_memory=False)
    with pytest.raises(InvalidRequest, match="expected a stream name"):
        client.open_stream("../robot", memory="lab")
    broken = start_breaking([(0, 0)], opens=False)
    with Client(broken.address) as other, pytest.raises(ServerError, match="expected the server to open the session"):
        other.open_stream("robot", memory="lab", create_memory=False)


def test_what_is_no_frame_is_refused_and_the_session_goes_on(client: Client, session: PushSession) -> None:
    with pytest.raises(InvalidRequest, match="with a time zone"):
        session.send(scene(1), capture_time=datetime(2026, 1, 1))
    with pytest.raises(InvalidRequest, match="expected a picture as RGB uint8"):
        session.send(scene(1).astype(np.float32))
    with pytest.raises(PictureRefused, match="the transport 'jpeg' makes pictures smaller"):
        session.send(np.zeros((6_000, 8_000, 3), np.uint8))

    session.send(scene(1))
    session.flush()

    assert client.memory("lab").contents.frames == 1


def test_jpeg_is_a_transport_too(client: Client) -> None:
    with (
        client.open_stream("robot", memory="lab", transport="jpeg") as session,
        ThreadPoolExecutor(4) as threads,
    ):
        list(threads.map(session.send, [scene(1)] * 20))

    assert session.summary.novel_frames == 1
    assert session.summary.sent_bytes < 20 * scene(1).nbytes / 2


def verdict(seq: int) -> Verdict:
    return Verdict(seq, VerdictKind.REPEAT, 0.0, 1, 1, START, False, None, None)  # noqa: FBT003


def test_a_reader_that_leaves_lets_the_writer_go() -> None:
    inbox = Inbox(lambda: None)
    reader = VerdictReader(inbox)
    for seq in range(WAITING_VERDICTS):
        inbox.put(verdict(seq))
    writer = threading.Thread(target=inbox.put, args=[verdict(WAITING_VERDICTS)])
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    assert next(reader).seq == 0

    del reader

    writer.join()
    assert inbox.is_closed
