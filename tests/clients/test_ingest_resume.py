"""Lost connections, lost verdicts and servers that break off: each frame gets exactly one verdict, in order."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from breaking import BreakingServer, CuttableProxy, plain_pictures
from framekeep import (
    Client,
    SequenceGap,
    ServerError,
    ServerUnavailable,
    SessionTakenOver,
    SourceError,
    VerdictKind,
)
from serving import RunningServer


def test_lost_connections_and_lost_verdicts_cost_no_frame(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(5, 0), (7, 9), (0, 3), (40, 1)])

    with (
        Client(breaking.address) as client,
        client.stream(plain_pictures(100), memory="m", stream="s", frames_per_second=25, create_memory=False) as run,
    ):
        seqs = [verdict.seq for verdict in run]

    assert seqs == list(range(100))
    assert breaking.journal == [picture.tobytes() for picture in plain_pictures(100)]
    assert breaking.stored == Counter(range(100))
    assert len(breaking.sessions) == 5
    assert set(breaking.sessions) == {run.summary.session_id}
    assert run.summary.reconnections == 4
    assert run.summary.sent_bytes > 100 * 24 * 32 * 3


def test_a_connection_lost_after_the_last_verdict_does_not_matter(
    start_breaking: Callable[..., BreakingServer],
) -> None:
    breaking = start_breaking([(10, 0)])

    with Client(breaking.address) as client:
        run = client.stream(plain_pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)
        summary = run.run()

    assert (summary.frames, summary.reconnections) == (10, 0)


def test_patience_ends(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(3, 0), *[(0, 0)] * 1_000])

    with Client(breaking.address) as client:
        run = client.stream(
            plain_pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False, reconnect_s=0.5
        )
        seqs: list[int] = []
        with pytest.raises(ServerUnavailable, match="broken off"):
            seqs.extend(verdict.seq for verdict in run)

    assert run.summary.frames == 3
    assert len(breaking.sessions) > 2


def test_other_statuses_are_not_tried_again(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(3, 0)], status=grpc.StatusCode.INTERNAL)

    with Client(breaking.address) as client:
        run = client.stream(plain_pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)
        with pytest.raises(ServerError, match="broken off"):
            run.run()

    assert len(breaking.sessions) == 1


def test_a_server_that_forgot_acknowledged_frames_is_noticed(start_breaking: Callable[..., BreakingServer]) -> None:
    breaking = start_breaking([(3, 0)], forgets=True)

    with Client(breaking.address) as client:
        run = client.stream(plain_pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)
        with pytest.raises(SequenceGap) as caught:
            run.run()

    assert dict(caught.value.metadata) == {"expected_seq": "0"}


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with closing(socket.create_server(("localhost", 0))) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
    with Client(address) as client:
        run = client.stream(plain_pictures(10), memory="m", stream="s", frames_per_second=25, create_memory=False)

        with pytest.raises(ServerUnavailable, match="the server cannot be reached"):
            run.run()


def test_a_cut_connection_to_a_real_server_costs_no_frame(server: RunningServer) -> None:
    seqs = []
    with closing(CuttableProxy(server.address)) as proxy, Client(proxy.address) as client:
        with client.stream(plain_pictures(120), memory="m", stream="s", frames_per_second=25) as run:
            for verdict in run:
                seqs.append(verdict.seq)
                if verdict.seq in (4, 100):
                    proxy.cut()
        contents = client.stream_facts("m", "s").contents

    assert seqs == list(range(120))
    assert run.summary.reconnections >= 1
    assert contents.frames == contents.counted_frames == 120


def test_a_session_goes_on_where_an_earlier_run_of_it_ended(client: Client) -> None:
    session_id = uuid4()
    first = client.stream(plain_pictures(10), memory="m", stream="s", frames_per_second=25, session_id=session_id)
    first.run()

    second = client.stream(plain_pictures(25), memory="m", stream="s", frames_per_second=25, session_id=session_id)
    seqs = [verdict.seq for verdict in second]

    assert seqs == list(range(10, 25))
    assert (second.summary.skipped_frames, second.summary.frames) == (10, 15)
    assert client.memory("m").contents.frames == 25


def test_leaving_the_loop_ends_the_call_and_its_thread(client: Client) -> None:
    for verdict in client.stream(plain_pictures(10_000), memory="m", stream="s", frames_per_second=25):
        if verdict.seq == 5:
            break

    assert [thread.name for thread in threading.enumerate() if thread.name == "framekeep-source"] == []
    assert client.memory("m").contents.frames < 10_000


def test_closing_the_client_ends_its_streams(server: RunningServer) -> None:
    client = Client(server.address)
    run = client.stream(plain_pictures(10_000), memory="m", stream="s", frames_per_second=25)
    verdicts = iter(run)
    next(verdicts)

    client.close()

    assert sum(1 for _ in verdicts) < 9_999


def test_an_error_of_the_source_comes_after_the_verdicts_before_it(client: Client) -> None:
    def failing() -> Iterator[NDArray[np.uint8]]:
        yield from plain_pictures(7)
        raise RuntimeError("the camera fell down")

    run = client.stream(failing(), memory="m", stream="s", frames_per_second=25)
    seqs: list[int] = []
    with pytest.raises(RuntimeError, match="the camera fell down"):
        seqs.extend(verdict.seq for verdict in run)

    assert seqs == list(range(7))


def test_a_truncated_file_is_streamed_as_far_as_it_goes(client: Client, make_video: Callable[..., Path]) -> None:
    path = make_video("a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    run = client.stream(path, memory="m")

    with pytest.raises(SourceError, match="broke off after"):
        run.run()

    contents = client.stream_facts("m", "a").contents
    assert contents.frames == run.summary.frames
    assert 25 <= contents.frames <= 48
    assert run.summary.damaged_frames == 1


def test_a_second_call_takes_the_session_over(client: Client) -> None:
    session_id = uuid4()
    first = iter(
        client.stream(plain_pictures(10_000), memory="m", stream="s", frames_per_second=25, session_id=session_id)
    )
    next(first)

    second = iter(
        client.stream(plain_pictures(10_000), memory="m", stream="s", frames_per_second=25, session_id=session_id)
    )
    next(second)

    with pytest.raises(SessionTakenOver):
        for _ in first:
            pass


def test_a_rejected_frame_is_a_verdict_like_others(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    sizes = [(24, 32), (4_100, 4_100), (24, 32)]
    with Client(server.address) as client:
        run = client.stream([np.zeros(size, np.uint8) for size in sizes], memory="m", stream="s", frames_per_second=1)
        verdicts = list(run)

    assert [verdict.kind for verdict in verdicts] == [VerdictKind.NOVEL, VerdictKind.REJECTED, VerdictKind.REPEAT]
    assert verdicts[1].rejection is not None
    assert verdicts[1].rejection.reason == "PICTURE_TOO_LARGE"
    assert verdicts[2].exemplar == verdicts[0].exemplar
