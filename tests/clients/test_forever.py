"""Sources and servers that are lost and come back: each connection to a source is a session, and nothing is lost."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest
from click.testing import CliRunner

from breaking import BreakingServer, CuttableProxy
from feeds import Feed, MjpegFeed, RtspFeed, TransportStreamFeed
from framekeep import Client, InvalidRequest, SourceError, Verdict
from framekeep.cli import main
from serving import RunningServer
from talking import Pixels, scene

FEEDS = [MjpegFeed, TransportStreamFeed, RtspFeed]


def shown(number: int) -> Pixels:
    return scene(number // 25 % 4)


@pytest.fixture
def start_feed() -> Iterator[Callable[[type[Feed]], Feed]]:
    feeds: list[Feed] = []

    def start(kind: type[Feed]) -> Feed:
        feeds.append(kind(shown).start())
        return feeds[-1]

    yield start
    for feed in feeds:
        if feed.is_running:
            feed.cut()


@pytest.mark.parametrize("kind", FEEDS)
def test_a_source_that_comes_back_is_a_new_session_after_a_gap(
    start_server: Callable[..., RunningServer],
    tmp_path: Path,
    start_feed: Callable[[type[Feed]], Feed],
    kind: type[Feed],
) -> None:
    server = start_server(tmp_path / "data")
    feed = start_feed(kind)
    verdicts: list[Verdict] = []
    with (
        Client(server.address) as client,
        client.stream_forever(feed.url, memory="m", stream="lobby") as run,
    ):
        for verdict in run:
            verdicts.append(verdict)
            if len(verdicts) == 60:
                feed.cut()
                feed.start()
            if feed.viewers == 2 and verdict.seq == 40:
                break

    starts = [place for place, verdict in enumerate(verdicts) if verdict.seq == 0]
    assert len(starts) == 2
    assert [verdict.seq for verdict in verdicts] == [*range(starts[1]), *range(len(verdicts) - starts[1])]
    server.stop()  # so that all it has taken is on disk
    with Client(start_server(tmp_path / "data").address) as client:
        sightings = list(client.timeline("m", "lobby"))
        contents = client.stream_facts("m", "lobby").contents
    ids = [session for session, _ in groupby(sighting.session_id for sighting in sightings)]
    assert len(ids) == 2
    assert ids[1] == run.summary.session_id
    ends = [sighting.end_time for sighting in sightings if sighting.session_id == ids[0]]
    begins = [sighting.start_time for sighting in sightings if sighting.session_id == ids[1]]
    assert max(ends) == verdicts[starts[1] - 1].capture_time
    assert min(begins) - max(ends) > timedelta(milliseconds=40)
    assert contents.frames >= len(verdicts)
    assert contents.frames == contents.counted_frames + contents.rejected_frames
    assert sum(sighting.frame_count for sighting in sightings) == contents.counted_frames
    assert run.summary.frames == len(verdicts)
    assert run.summary.sessions == 2


def test_a_source_that_is_not_there_yet_is_waited_for(
    client: Client, start_feed: Callable[[type[Feed]], Feed], caplog: pytest.LogCaptureFixture
) -> None:
    feed = start_feed(RtspFeed)
    feed.cut()
    caplog.set_level("WARNING", "framekeep")

    class Starting:
        """Starts the feed when the log tells of the second attempt that failed."""

        failures = 0

        def filter(self, _: object) -> bool:
            self.failures += 1
            if self.failures == 2:
                feed.start()
            return True

    caplog.handler.addFilter(starting := Starting())
    with client.stream_forever(feed.url, memory="m") as run:
        verdict = next(iter(run))
    caplog.handler.removeFilter(starting)

    assert verdict.seq == 0
    assert run.summary.stream == "lobby"
    assert "Connection refused; trying again in " in caplog.text
    assert RtspFeed.password not in caplog.text


def test_without_forever_a_source_that_ends_is_an_error_after_its_frames(
    client: Client, start_feed: Callable[[type[Feed]], Feed]
) -> None:
    feed = start_feed(MjpegFeed)
    run = client.stream(feed.url, memory="m")
    taken: list[int] = []

    def take() -> None:
        for verdict in run:
            taken.append(verdict.seq)
            if verdict.seq == 20:
                feed.cut()

    with pytest.raises(SourceError, match="expected a live source to go on") as caught:
        take()

    assert f"after {len(taken)} frames" in caught.value.message
    assert client.memory("m").contents.frames == len(taken) == run.summary.frames
    assert run.summary.dropped_frames == 0


def test_frames_that_a_slow_server_cannot_take_are_dropped_and_counted(
    start_breaking: Callable[..., BreakingServer],
    start_feed: Callable[[type[Feed]], Feed],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("framekeep.backlog.BACKLOG_FRAMES", 5)
    breaking = start_breaking([], is_held=True)
    feed = start_feed(TransportStreamFeed)
    with Client(breaking.address) as client:
        run = client.stream(feed.url, memory="m", stream="s", create_memory=False)

        def release() -> None:
            while run.summary.dropped_frames < 10:
                assert not feed.stopped.wait(0.01)
            feed.cut()
            breaking.released.set()

        releasing = threading.Thread(target=release)
        releasing.start()
        seqs: list[int] = []
        with pytest.raises(SourceError, match="after ") as caught:
            seqs.extend(verdict.seq for verdict in run)
        releasing.join()

    captured = int(caught.value.message.split("after ")[1].split()[0])
    assert seqs == list(range(len(seqs)))
    assert len(seqs) + run.summary.dropped_frames == captured


def test_a_file_is_streamed_once(client: Client, make_video: Callable[..., Path], tmp_path: Path) -> None:
    run = client.stream_forever(make_video("a.mp4"), memory="m")

    assert [verdict.seq for verdict in run] == list(range(60))
    assert (run.summary.sessions, run.summary.frames) == (1, 60)
    missing = client.stream_forever(tmp_path / "none.mp4", memory="m")
    with pytest.raises(SourceError, match="does not exist"):
        missing.run()


def test_a_server_that_is_away_is_waited_for(
    server: RunningServer, make_video: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(CuttableProxy(server.address)) as proxy, Client(proxy.address) as client:
        run = client.stream_forever(make_video("a.mp4"), memory="m")
        seqs = []
        for verdict in run:
            seqs.append(verdict.seq)
            if verdict.seq in (3, 30):
                proxy.cut()

    assert seqs == list(range(60))
    assert (run.summary.sessions, run.summary.frames) == (1, 60)


def test_a_server_that_is_not_there_yet_is_waited_for(
    make_video: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.create_server(("localhost", 0))) as taken:
        address = f"localhost:{taken.getsockname()[1]}"

    class Ending:
        """Ends the run when the log tells of the second attempt that failed."""

        def filter(self, _: object) -> bool:
            if caplog.records:
                run.end()
            return True

    with Client(address) as client:
        run = client.stream_forever(make_video("a.mp4"), memory="m")
        caplog.handler.addFilter(ending := Ending())
        summary = run.run()
        caplog.handler.removeFilter(ending)

    assert (summary.frames, summary.sessions) == (0, 0)
    assert [record.getMessage()[:28] for record in caplog.records] == ["the server cannot be reached"] * 2


def test_a_session_id_does_not_go_with_a_live_source(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="expected no session id with a live source"):
        client.stream_forever("rtsp://cam/live", memory="m", session_id="0f8fad5b-d9cb-469f-a165-70867728950e")


def command(server: RunningServer, *arguments: str) -> subprocess.Popen[str]:
    script = "from framekeep.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", script, "--server", server.address, "stream", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("is_silent", [False, True])
def test_a_signal_ends_a_command_that_runs_forever_with_its_summary(
    server: RunningServer,
    client: Client,
    start_feed: Callable[[type[Feed]], Feed],
    ending: signal.Signals,
    is_silent: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    feed = start_feed(RtspFeed)
    with command(server, feed.url, "--memory", "m", "--forever", "--json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        if is_silent:
            feed.silent.set()
        process.send_signal(ending)
        output, errors = process.communicate()

    summary = json.loads(output.splitlines()[-1])["summary"]
    told = 1 + output.count('{"verdict"')
    assert (process.returncode, errors) == (0, "")
    assert first["verdict"]["seq"] == 0
    received = summary["novel_frames"] + summary["repeat_frames"]
    assert told <= received <= told + 1  # the signal may come between receiving a verdict and printing it
    assert client.memory("m").contents.frames >= received
    assert RtspFeed.password not in output


def test_sigterm_ends_a_command_with_its_summary_and_143(
    server: RunningServer, start_feed: Callable[[type[Feed]], Feed]
) -> None:
    with command(server, start_feed(MjpegFeed).url, "--memory", "m") as process:
        with Client(server.address) as client:
            memory_is_used = False
            while not memory_is_used:
                memory_is_used = any(memory.contents.frames for memory in client.memories())
        process.terminate()
        output, errors = process.communicate()

    assert (process.returncode, errors) == (143, "")
    assert "m / lobby" in output


def test_a_live_source_that_stalls_ends_the_command_with_one_line(
    server: RunningServer, start_feed: Callable[[type[Feed]], Feed]
) -> None:
    feed = start_feed(MjpegFeed)

    def silence(number: int) -> Pixels:
        if number == 30:
            feed.silent.set()
        return shown(number)

    feed.picture = silence
    result = CliRunner().invoke(
        main, ["--server", server.address, "stream", feed.url, "--memory", "m", "--stall", "0.5", "--json"]
    )

    *verdicts, last = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 1
    assert len(verdicts) == last["summary"]["novel_frames"] + last["summary"]["repeat_frames"] > 20
    assert result.stderr.startswith(f"error: {feed.url}: expected a frame every 0.5 s at least")
    assert len(result.stderr.splitlines()) == 1
