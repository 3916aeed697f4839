"""Forgetting, retention and compaction by the client and its commands."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from breaking import BreakingServer, plain_pictures
from framekeep import (
    Client,
    Compacted,
    Conflict,
    Forgotten,
    InvalidRequest,
    MemoryNotFound,
    Retention,
    StreamNotFound,
    VerdictKind,
    aio,
)
from framekeep.cli import main
from framekeep.palette import CELL
from framekeep.thumbnails import fitted_thumbnail
from framekeep.v1 import video_memory_pb2 as pb
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
COMMAND = Path(sys.executable).with_name("framekeep")
Run = Callable[..., Result]


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def lobby(client: Client) -> str:
    """A memory in which a door saw scene 1, scene 2 and scene 1 again, ten frames each, a frame a second."""
    scenes = [scene(number, brightness) for number in (1, 2, 1) for brightness in range(10)]
    client.stream(scenes, memory="lobby", stream="door", frames_per_second=1, start_time=START).run()
    return "lobby"


@pytest.fixture
def run(server: RunningServer) -> Run:
    """Run a command against the server."""
    return lambda *arguments, **settings: CliRunner().invoke(
        main, ["--server", server.address, *map(str, arguments)], **settings
    )


def test_a_range_is_forgotten_and_told(client: Client, lobby: str) -> None:
    client.stream([scene(3)], memory=lobby, stream="yard", frames_per_second=1, start_time=after(12)).run()

    forgotten = client.forget(lobby, since=after(8), until=after(13), streams=["door"])

    assert forgotten == Forgotten(frames=5, sightings=0, exemplars=0, recentred_exemplars=1)
    sightings = list(client.timeline(lobby, "door"))
    assert [(one.exemplar, one.frame_count, one.restated) for one in sightings] == [
        (1, 8, False),
        (2, 7, True),
        (1, 10, False),
    ]
    assert (sightings[0].end_time, sightings[1].start_time) == (after(7), after(13))
    recentred = client.exemplar(lobby, 2, thumbnail=True)
    assert (recentred.own_frame_forgotten, recentred.thumbnail, recentred.seq) == (True, None, 13)
    assert client.exemplar(lobby, 1, thumbnail=True).thumbnail is not None
    held = client.memory(lobby).contents
    assert (held.frames, held.forgotten_frames, held.counted_frames) == (31, 5, 26)
    assert client.stream_facts(lobby, "yard").contents.forgotten_frames == 0
    assert client.query(lobby, image=scene(2)).seen


def test_what_cannot_be_forgotten_is_refused(client: Client, lobby: str) -> None:
    with pytest.raises(InvalidRequest, match="since, until or both"):
        client.forget(lobby)
    with pytest.raises(InvalidRequest, match="ends after its start"):
        client.forget(lobby, since=after(2), until=after(1))
    with pytest.raises(InvalidRequest, match="sequence of stream names"):
        client.forget(lobby, since=START, streams="door")
    with pytest.raises(StreamNotFound):
        client.forget(lobby, since=START, streams=["nobody"])
    with pytest.raises(MemoryNotFound):
        client.forget("nobody", since=START)
    assert client.memory(lobby).contents.forgotten_frames == 0


def test_near_exemplars_are_merged(client: Client) -> None:
    client.create_memory("lobby", novelty_threshold=1e-6)
    scenes = [scene(number, brightness) for number in (1, 2) for brightness in range(10)]
    kept = client.stream(scenes, memory="lobby", stream="door", frames_per_second=1).run().novel_frames
    assert kept > 2

    assert client.compact("lobby", 0.1) == Compacted(merged_exemplars=kept - 2, exemplars=2)

    held = client.memory("lobby").contents
    assert (held.exemplars, held.novel_frames, held.counted_frames) == (2, kept, 20)
    with pytest.raises(InvalidRequest):
        client.compact("lobby", 0)


def test_a_retention_is_given_changed_and_lifted(client: Client) -> None:
    limits = Retention(max_age=timedelta(days=30), max_bytes=10**10)
    made = client.create_memory("lobby", retention=limits)
    assert made.retention == client.memory("lobby").retention == limits

    changed = client.set_retention("lobby", Retention(max_exemplars=1000), etag=made.etag)

    assert changed.retention == Retention(max_exemplars=1000)
    with pytest.raises(Conflict):
        client.set_retention("lobby", Retention(), etag=made.etag)
    assert client.set_retention("lobby", Retention(), etag=changed.etag).retention == Retention()
    for limit in (Retention(max_age=timedelta(0)), Retention(max_exemplars=0), Retention(max_bytes=-1)):
        with pytest.raises(InvalidRequest, match="expected at least"):
            client.set_retention("lobby", limit)


def test_tasks_forget_and_compact_too(server: RunningServer, lobby: str) -> None:
    async def work() -> tuple[Retention, Forgotten, Compacted]:
        async with aio.Client(server.address) as client:
            await client.create_memory("other", retention=Retention(max_exemplars=5))
            limited = await client.set_retention("other", Retention(max_exemplars=6))
            forgotten = await client.forget(lobby, until=after(10))
            return limited.retention, forgotten, await client.compact(lobby, 2.0)

    limits, forgotten, compacted = asyncio.run(work())

    assert limits == Retention(max_exemplars=6)
    assert forgotten == Forgotten(frames=10, sightings=1, exemplars=0, recentred_exemplars=1)
    assert compacted == Compacted(merged_exemplars=1, exemplars=1)


class ForgettingServer(BreakingServer):
    """Has forgotten the first five frames when the session is opened again."""

    def ingest(
        self, requests: Iterator[pb.IngestRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.IngestResponse]:
        for response in super().ingest(requests, context):
            for verdict in response.verdicts.verdicts:
                if len(self.sessions) > 1 and verdict.seq < 5:
                    verdict.CopyFrom(pb.Verdict(seq=verdict.seq, kind=pb.Verdict.KIND_FORGOTTEN))
            yield response


def test_frames_that_were_forgotten_while_the_connection_was_lost_are_told_and_summed() -> None:
    breaking = ForgettingServer([(2, 3)], grpc.StatusCode.UNAVAILABLE)
    serving = breaking.serve()
    with Client(breaking.address) as fk:
        run = fk.stream(plain_pictures(8), memory="m", stream="s", frames_per_second=5, create_memory=False)
        verdicts = list(run)
        summary = run.summary
    serving.stop(None).wait()

    forgotten = [verdict.seq for verdict in verdicts if verdict.kind is VerdictKind.FORGOTTEN]
    assert forgotten == [2, 3, 4]
    assert (summary.frames, summary.repeat_frames, summary.forgotten_frames) == (8, 5, 3)
    assert (verdicts[2].exemplar, verdicts[2].capture_time, verdicts[2].rejection) == (None, None, None)


def test_the_command_forgets_what_it_is_told_to(run: Run, client: Client, lobby: str) -> None:
    result = run("forget", lobby, "--from", "2026-01-31T05:06:15", "--to", "2026-01-31T05:06:20", "--yes")
    told = json.loads(run("forget", lobby, "--to", "2026-01-31T05:06:08", "--stream", "door", "--yes", "--json").stdout)

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split() == ["frames", "5", "forgotten"]
    assert told == {"frames": 1, "sightings": 0, "exemplars": 0, "recentred_exemplars": 1}
    assert client.memory(lobby).contents.forgotten_frames == 6
    listed = run("timeline", lobby, "door").stdout.splitlines()[1:]
    assert ["<=" in line for line in listed] == [one.restated for one in client.timeline(lobby, "door")]
    assert "<=" in "".join(listed)
    shown = run("memories", "show", lobby).stdout.splitlines()
    assert ["forgotten", "6"] in [line.split() for line in shown]
    assert [line.split()[:4] for line in run("memories", "list").stdout.splitlines()][1] == ["lobby", "0.1", "30", "6"]


def test_the_command_does_nothing_without_bounds_or_a_yes(run: Run, client: Client, lobby: str) -> None:
    unbounded = run("forget", lobby, "--yes")
    unasked = run("forget", lobby, "--from", "2026-01-01")

    assert (unbounded.exit_code, unasked.exit_code) == (2, 2)
    assert "expected --from, --to or both" in unbounded.output
    assert "expected --yes" in unasked.output
    assert client.memory(lobby).contents.forgotten_frames == 0


@pytest.mark.parametrize(("answer", "forgotten_frames"), [("y", 30), ("n", 0)])
def test_the_command_asks_on_a_terminal(
    server: RunningServer, client: Client, lobby: str, answer: str, forgotten_frames: int
) -> None:
    terminal, end = pty.openpty()
    command = [str(COMMAND), "--server", server.address, "forget", lobby, "--from", "2026-01-01", "--stream", "door"]
    with subprocess.Popen(command, stdin=end, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.write(terminal, f"{answer}\n".encode())
        _, told = process.communicate(timeout=60)
    os.close(terminal)
    os.close(end)

    assert "Forget what lobby saw from 2026-01-01T00:00:00Z by door, for good?" in told
    assert process.returncode == (0 if forgotten_frames else 1)
    assert client.memory(lobby).contents.forgotten_frames == forgotten_frames


def test_the_command_compacts(run: Run, lobby: str) -> None:
    result = run("compact", lobby, "--threshold", "2")
    told = json.loads(run("compact", lobby, "--threshold", "2", "--json").stdout)

    assert result.stdout == "1 exemplars merged, 1 left\n"
    assert told == {"merged_exemplars": 0, "exemplars": 1}
    assert run("compact", lobby).exit_code == 2


def test_the_commands_show_and_change_a_retention(run: Run) -> None:
    made = json.loads(run("memories", "create", "lobby", "--max-age", "36h", "--max-bytes", "1.5GB", "--json").stdout)
    assert made["retention"] == {"max_age_s": 129600.0, "max_exemplars": None, "max_bytes": 1_500_000_000}

    changed = run("memories", "retention", "lobby", "--max-age", "30d", "--max-exemplars", "1000")

    assert changed.stdout == "lobby: keeps what it saw at most 30 d, 1,000 exemplars\n"
    [row] = [line for line in run("memories", "show", "lobby").stdout.splitlines() if line.startswith("retention")]
    assert row.split(maxsplit=1)[1].strip() == "at most 30 d, 1,000 exemplars"
    assert "at most 30 d, 1,000 exemplars" in run("memories", "list").stdout
    assert "without limit" in run("memories", "retention", "lobby", "--none").stdout
    lifted = json.loads(run("memories", "show", "lobby", "--json").stdout)["memory"]["retention"]
    assert lifted == {"max_age_s": None, "max_exemplars": None, "max_bytes": None}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--none", "--max-exemplars", "5"],
        ["--max-age", "30"],
        ["--max-age", "soon"],
        ["--max-age", "9" * 400 + "d"],
        ["--max-exemplars", "0"],
        ["--max-bytes", "-1"],
        ["--max-bytes", "10 gigs"],
    ],
)
def test_limits_of_another_form_are_wrong_usage(run: Run, lobby: str, arguments: list[str]) -> None:
    assert run("memories", "retention", lobby, *arguments).exit_code == 2


def test_exemplars_whose_own_frame_was_forgotten_are_drawn_as_an_empty_field(
    run: Run, client: Client, lobby: str, tmp_path: Path
) -> None:
    client.forget(lobby, until=after(1))

    sheet = run("exemplars", lobby, "--oldest-first", "--sheet", tmp_path / "sheet.png")
    figure = run("timeline", lobby, "door", "--figure", tmp_path / "figure.png")

    assert (sheet.exit_code, figure.exit_code) == (0, 0), sheet.output + figure.output
    field = fitted_thumbnail(client.exemplar(lobby, 1, thumbnail=True), 160, 200)
    assert field.shape == (90, 160, 3)
    assert (field == CELL).all()
