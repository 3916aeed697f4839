"""`framekeep tune` and `framekeep memories keep`: what is printed, changed, and told about taking it back."""

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image

from framekeep import Budget, Client, Comparison, KeepingPolicy
from framekeep.cli import main
from framekeep.converters import memory_from
from framekeep.picture_files import JpegEncoder
from framekeep.undo import Undo
from framekeep.v1 import video_memory_pb2 as pb
from lettered import find
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
KEPT = {0.02: 5000, 0.05: 2600, 0.07: 1700, 0.1: 400, 0.15: 390, 0.2: 380}
LOBBY, DOOR, SEVEN = "memories/lobby", "memories/lobby/streams/door", "memories/lobby/exemplars/7"
JPEG = JpegEncoder().encode(np.full((90, 160, 3), (220, 30, 30), np.uint8))
StartAnswering = Callable[..., tuple[str, list[Message]]]


def stamp(seconds: float) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(START + timedelta(seconds=seconds))
    return message


def outcome(threshold: float, exemplars: float, error: float) -> pb.ThresholdOutcome:
    example = pb.NoveltyExample(exemplar=SEVEN, stream=DOOR, capture_time=stamp(0), thumbnail=JPEG)
    below, above = pb.NoveltyExample(), pb.NoveltyExample()
    for each, novelty in ((below, threshold - 0.001), (above, threshold + 0.001)):
        each.CopyFrom(example)
        each.novelty = novelty
    return pb.ThresholdOutcome(
        novelty_threshold=threshold,
        exemplars=exemplars,
        error=error,
        kept_share=exemplars / 10_000,
        exemplars_per_day=exemplars * 2,
        bytes_per_day=exemplars * 40_000,
        mean_dropped_novelty=threshold / 2,
        largest_dropped_novelty=threshold - 0.0001,
        just_above=[above],
        just_below=[below],
    )


def curve() -> pb.EvaluateThresholdsResponse:
    """Of 10,000 frames in half a day; below 0.07 it is estimated."""
    message = pb.EvaluateThresholdsResponse(
        outcomes=[outcome(threshold, kept, 0.05 if threshold < 0.07 else 0.0) for threshold, kept in KEPT.items()],
        frame_count=10_000,
        missing_frame_count=120,
        bytes_per_exemplar=20_000,
        held_count=5000,
        held_limit=5000,
    )
    message.duration.FromTimedelta(timedelta(hours=12))
    return message


MEMORY = pb.Memory(name=LOBBY, novelty_threshold=0.1, etag="m1")
STREAM = pb.Stream(name=DOOR, effective_novelty_threshold=0.1, etag="s1")
EXEMPLAR = pb.Exemplar(name=SEVEN, stream=DOOR, thumbnail=JPEG)


def run(address: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["--server", address, *map(str, arguments)])


def test_the_curve_is_a_table_with_what_is_in_force_and_suggested(start_answering: StartAnswering) -> None:
    address, asked = start_answering(GetMemory=MEMORY, EvaluateThresholds=curve())

    result = run(address, "tune", "lobby", "--from", "2026-01-31T05:06:07", "--to", "2026-01-31T06:00")

    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[:3] == [
        "of      lobby",
        "frames  10,000 over 12:00:00 h; 120 more are left out, since what the server held of them was lost",
        "counts  estimated by 5,000 embeddings that the server holds, of at most 5,000",
    ]
    rows = [line.split() for line in lines[5:11]]
    assert rows[0] == ["0.02", "5,000", "250", "50.0", "%", "10,000", "200.0", "MB", "0.0100", "0.0199"]
    assert rows[3] == [
        *("0.1", "400", "4.0", "%", "800", "16.0", "MB", "0.0500", "0.0999"),
        *("in", "force,", "suggested"),
    ]
    assert [row[0] for row in rows] == ["0.02", "0.05", "0.07", "0.1", "0.15", "0.2"]
    assert lines[-1] == (
        "0.1 is suggested, and in force: beyond it each further step saves less: 0.15 would keep 10 fewer exemplars of "
        "10,000 frames, 0.07 would keep 1,300 more"
    )
    [_, question] = asked
    assert question == pb.EvaluateThresholdsRequest(
        memory=LOBBY, time_range=pb.TimeRange(start_time=stamp(0), end_time=stamp(3233))
    )


def test_the_threshold_in_force_is_always_on_the_curve(start_answering: StartAnswering) -> None:
    odd = pb.Stream(name=DOOR, effective_novelty_threshold=0.12)
    address, asked = start_answering(GetStream=odd, EvaluateThresholds=curve())

    result = run(address, "tune", "lobby", "--stream", "door", "--thresholds", "0.2,0.05")

    assert result.stdout.startswith("of      lobby / door")
    _, given, joined = asked
    assert given == pb.EvaluateThresholdsRequest(memory=LOBBY, stream=DOOR, novelty_thresholds=[0.2, 0.05])
    assert isinstance(joined, pb.EvaluateThresholdsRequest)
    assert list(joined.novelty_thresholds) == [*KEPT, 0.12]


def test_a_curve_without_a_bend_suggests_nothing(start_answering: StartAnswering) -> None:
    few = pb.EvaluateThresholdsResponse(outcomes=[outcome(0.1, 1, 0.0)], frame_count=10)
    address, _ = start_answering(GetMemory=MEMORY, EvaluateThresholds=few)

    result = run(address, "tune", "lobby")

    assert result.stdout.splitlines()[-1].startswith(
        "no threshold is suggested: only 0 of the thresholds would keep 3 "
    )


def test_the_figure_shows_the_curve_and_what_it_tells_apart(start_answering: StartAnswering, tmp_path: Path) -> None:
    address, asked = start_answering(GetMemory=MEMORY, EvaluateThresholds=curve(), GetExemplar=EXEMPLAR)
    figure = tmp_path / "curve.png"

    result = run(address, "tune", "lobby", "--figure", figure)

    assert result.exit_code == 0, result.output
    assert result.stderr == f"wrote {figure} with 6 thresholds, and examples around 6\n"
    examples = asked[2]
    assert isinstance(examples, pb.EvaluateThresholdsRequest)
    assert (list(examples.novelty_thresholds), examples.examples) == ([0.05, 0.07, 0.1, 0.15, 0.2], 10)
    with Image.open(figure) as image:
        pixels = np.asarray(image, np.uint8)
    assert len(find(pixels, "WHAT LOBBY WOULD KEEP AT OTHER THRESHOLDS", 3)) == 1
    assert len(find(pixels, "0.1010", 2)) == 1
    assert len(find(pixels, "BAND: HOW FAR ESTIMATES MAY BE OFF   120 MORE ARE LEFT OUT: LOST", 2)) == 1


def test_an_exemplar_that_is_gone_leaves_its_place_empty(server: RunningServer, client: Client, tmp_path: Path) -> None:
    client.stream([scene(1), scene(1, 1), scene(2)], memory="lab", stream="door", frames_per_second=1).run()
    client.compact("lab", 2.0)
    figure = tmp_path / "curve.png"

    result = run(server.address, "tune", "lab", "--figure", figure)

    assert result.exit_code == 0, result.output
    assert figure.exists()


def test_where_nothing_was_shown_there_is_a_table_and_no_figure(
    server: RunningServer, client: Client, tmp_path: Path
) -> None:
    client.create_memory("lab")

    result = run(server.address, "tune", "lab", "--figure", tmp_path / "curve.png")

    assert result.exit_code == 1
    assert "frames  0 over 0.0 s" in result.stdout
    assert result.stderr == "error: expected frames to draw a curve of, but there are none on record\n"


def test_as_json_it_is_one_document(start_answering: StartAnswering) -> None:
    address, _ = start_answering(
        GetMemory=MEMORY, EvaluateThresholds=curve(), ListStreams=pb.ListStreamsResponse(), UpdateMemory=MEMORY
    )

    plain = json.loads(run(address, "tune", "lobby", "--json").stdout)
    applied = json.loads(run(address, "tune", "lobby", "--apply", 0.15, "--json").stdout)

    assert (plain["memory"], plain["stream"], plain["novelty_threshold"]) == ("lobby", None, 0.1)
    assert [each["exemplars"] for each in plain["curve"]["outcomes"]] == list(KEPT.values())
    assert plain["suggestion"]["novelty_threshold"] == 0.1
    assert (plain["expectation"], plain["retuned"]) == (None, None)
    assert applied["retuned"]["before"]["novelty_threshold"] == 0.1
    assert applied["retuned"]["undo"] == [f"framekeep --server {address} memories threshold lobby 0.1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--apply", "0.1", "--target", "2%"],
        ["--apply", "0"],
        ["--apply", "3"],
        ["--target", "2"],
        ["--thresholds", "low"],
        ["--from", "yesterday"],
    ],
)
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    assert run("localhost:1", "tune", "lobby", *arguments).exit_code == 2


@pytest.fixture
def lobby(client: Client) -> str:
    """A memory in which a door saw 19 scenes, ten times each in little changes, ten frames a second."""
    scenes = [scene(1 + number % 19, number // 19) for number in range(190)]
    client.create_memory("lobby", novelty_threshold=0.1)
    client.stream(scenes, memory="lobby", stream="door", frames_per_second=10, start_time=START).run()
    return "lobby"


def undo(result: Result, address: str) -> None:
    """Do what a command says takes it back."""
    told = result.stdout.split("to undo it:\n")[1].splitlines()
    for command in told:
        program, *arguments = shlex.split(command)
        assert program == "framekeep"
        assert run(address, *arguments).exit_code == 0, command


def test_applying_sets_the_threshold_and_undoing_it_sets_it_back(
    server: RunningServer, client: Client, lobby: str
) -> None:
    client.create_stream(lobby, "yard", novelty_threshold=0.3)

    result = run(server.address, "tune", lobby, "--apply", 0.15)

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-4:] == [
        "lobby: threshold 0.15",
        "note: yard has a threshold of its own, 0.3, and keeps it",
        "to undo it:",
        f"  framekeep --server {server.address} memories threshold lobby 0.1",
    ]
    assert client.memory(lobby).novelty_threshold == 0.15
    undo(result, server.address)
    assert client.memory(lobby).novelty_threshold == 0.1


def test_applying_to_a_stream_leaves_the_memory_as_it_is(server: RunningServer, client: Client, lobby: str) -> None:
    first = run(server.address, "tune", lobby, "--stream", "door", "--apply", 0.15)
    second = run(server.address, "tune", lobby, "--stream", "door", "--apply", 0.2)

    assert client.memory(lobby).novelty_threshold == 0.1
    assert client.stream_facts(lobby, "door").novelty_threshold == 0.2
    undo(second, server.address)
    assert client.stream_facts(lobby, "door").novelty_threshold == 0.15
    undo(first, server.address)
    assert client.stream_facts(lobby, "door").novelty_threshold is None


def test_a_target_puts_a_stream_on_a_budget_that_begins_where_it_is_expected(
    server: RunningServer, client: Client, lobby: str
) -> None:
    result = run(server.address, "tune", lobby, "--stream", "door", "--target", "10%")

    assert result.exit_code == 0, result.output
    stream = client.stream_facts(lobby, "door")
    assert stream.keeping == KeepingPolicy(budget=Budget(share=0.1))
    assert stream.novelty_threshold is not None
    [expected] = client.evaluate_thresholds(lobby, [stream.novelty_threshold], stream="door").outcomes
    assert expected.kept_share == pytest.approx(0.1, abs=0.05)
    told = (
        f"the curve expects 10 % of the frames at a threshold of about {stream.novelty_threshold:g}, where the budget"
    )
    assert told in result.stdout
    assert "lobby / door: compares with the memory; budget of 10 % of the frames (its own)\n" in result.stdout
    undo(result, server.address)
    after = client.stream_facts(lobby, "door")
    assert (after.keeping, after.novelty_threshold) == (None, None)


def test_a_target_for_a_memory_reaches_the_streams_that_follow_it(
    server: RunningServer, client: Client, lobby: str
) -> None:
    policy = KeepingPolicy(Comparison.STREAM, budget=Budget(share=0.5, min_threshold=0.03, max_threshold=0.4))
    client.set_keeping(lobby, policy)
    client.create_stream(lobby, "yard", novelty_threshold=0.3)
    client.create_stream(lobby, "roof", keeping=KeepingPolicy())

    result = run(server.address, "tune", lobby, "--target", "500/day")

    assert result.exit_code == 0, result.output
    held = client.memory(lobby)
    assert held.keeping == KeepingPolicy(Comparison.STREAM, budget=Budget(None, 500, None, 0.03, 0.4))
    assert held.novelty_threshold == 0.4
    assert (
        "beyond the thresholds that were tried or are allowed; the budget begins at 0.4, the nearest" in result.stdout
    )
    assert "note: roof has a policy of its own, and is not held to the budget\n" in result.stdout
    assert "note: yard begins at a threshold of its own, 0.3\n" in result.stdout
    undo(result, server.address)
    after = client.memory(lobby)
    assert (after.keeping, after.novelty_threshold) == (policy, 0.1)
    assert client.stream_facts(lobby, "yard").novelty_threshold == 0.3


def test_a_budget_in_force_is_mentioned_where_it_moves_what_was_applied(
    server: RunningServer, client: Client, lobby: str
) -> None:
    client.set_keeping(lobby, KeepingPolicy(budget=Budget(share=0.5)), stream="door")

    result = run(server.address, "tune", lobby, "--stream", "door", "--apply", 0.2)

    assert "note: a budget is in force, and moves thresholds on from there\n" in result.stdout


def test_a_policy_is_set_shown_and_cleared(server: RunningServer, client: Client, lobby: str) -> None:
    limits = ["--compare", "stream", "--horizon", "1h", "--per-minute", 5, "--min-interval", "2s"]
    budget = ["--budget", "1GB/day", "--min-threshold", 0.05]

    whole = run(server.address, "memories", "keep", lobby, *budget)
    own = run(server.address, "memories", "keep", lobby, "--stream", "door", *limits)
    shown = [line.split(maxsplit=1) for line in run(server.address, "memories", "show", lobby).stdout.splitlines()]

    told = "budget of 1.0 GB a day at thresholds from 0.05 to 1"
    assert whole.stdout == (
        f"lobby: compares with the memory; {told}\n"
        "in place of: compares with the memory\n"
        "to undo it:\n"
        f"  framekeep --server {server.address} memories keep lobby --clear\n"
        f"  framekeep --server {server.address} memories threshold lobby 0.1\n"
        f"  framekeep --server {server.address} memories threshold lobby --stream door --inherit\n"
    )
    words = "compares with the stream alone, 1 h back; at most 5 exemplars a minute; at least 2 s between exemplars"
    assert own.stdout == (
        f"lobby / door: {words} (its own)\n"
        f"in place of: compares with the memory; {told}\n"
        "to undo it:\n"
        f"  framekeep --server {server.address} memories keep lobby --stream door --clear\n"
    )
    assert ["keeping", f"compares with the memory; {told}"] in [[cell.strip() for cell in line] for line in shown]
    assert any(line[0] == "door" and f"{words} (its own)" in line[1] for line in shown if line)
    assert client.memory(lobby).keeping == KeepingPolicy(budget=Budget(bytes_per_day=1e9, min_threshold=0.05))
    back = run(server.address, "memories", "keep", lobby, "--stream", "door", "--clear")
    assert back.stdout.splitlines()[:2] == [
        f"lobby / door: compares with the memory; {told} (that of the memory)",
        f"in place of: {words}",
    ]
    shown_again = run(server.address, "memories", "show", lobby).stdout.splitlines()
    assert [line.split()[-1] for line in shown_again if line.startswith("door")][-1] == "starting"
    cleared = json.loads(run(server.address, "memories", "keep", lobby, "--clear", "--json").stdout)
    assert cleared["keeping"]["budget"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--clear", "--horizon", "1h"],
        ["--min-threshold", "0.1"],
        ["--clear", "--max-threshold", "0.1"],
        ["--compare", "others"],
        ["--per-minute", "0"],
        ["--per-minute", "99999999999"],
        ["--budget", "2"],
        ["--horizon", "soon"],
    ],
)
def test_policies_of_another_form_are_wrong_usage(arguments: list[str]) -> None:
    assert run("localhost:1", "memories", "keep", "lobby", *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("length", "told"),
    [
        ("0s", "expected horizon of at least a microsecond, got 0 s"),
        ("200000d", "expected horizon of at most 2**53 microseconds, about 285 years, got 200000 days, 0:00:00"),
    ],
)
def test_limits_out_of_their_range_are_one_line(length: str, told: str) -> None:
    result = run("localhost:1", "memories", "keep", "lobby", "--horizon", length)

    assert (result.exit_code, result.stderr) == (1, f"error: {told}\n")


def test_a_policy_that_was_replaced_comes_back_by_what_is_told(
    server: RunningServer, client: Client, lobby: str
) -> None:
    policy = KeepingPolicy(Comparison.STREAM, timedelta(hours=1), budget=Budget(share=0.5))
    client.set_keeping(lobby, policy)

    result = run(server.address, "memories", "keep", lobby, "--per-minute", 5)
    same = run(server.address, "memories", "keep", lobby, "--per-minute", 5)

    assert "in place of: compares with the stream alone, 1 h back; budget of 50 % of the frames\n" in result.stdout
    assert same.stdout == "lobby: compares with the memory; at most 5 exemplars a minute\n"
    undo(result, server.address)
    assert client.memory(lobby).keeping == policy


def test_commands_for_the_default_server_do_not_name_it() -> None:
    memory = memory_from(pb.Memory(name=LOBBY, novelty_threshold=0.1))

    assert Undo("localhost:50051").of_threshold(memory) == "framekeep memories threshold lobby 0.1"
    assert Undo("[::1]:5").of_keeping(memory) == "framekeep --server '[::1]:5' memories keep lobby --clear"


def test_a_server_named_by_the_environment_is_named_by_what_takes_a_change_back(
    server: RunningServer, lobby: str
) -> None:
    result = CliRunner(env={"FRAMEKEEP_SERVER": server.address}).invoke(main, ["tune", lobby, "--apply", "0.15"])

    assert result.stdout.endswith(f"  framekeep --server {server.address} memories threshold lobby 0.1\n")


def test_a_target_is_set_in_one_step(start_answering: StartAnswering) -> None:
    address, asked = start_answering(
        GetMemory=MEMORY, EvaluateThresholds=curve(), ListStreams=pb.ListStreamsResponse(), UpdateMemory=MEMORY
    )

    result = run(address, "tune", "lobby", "--target", "4%")

    assert result.exit_code == 0, result.output
    [update] = [each for each in asked if isinstance(each, pb.UpdateMemoryRequest)]
    assert list(update.update_mask.paths) == ["novelty_threshold", "keeping"]
    assert (update.memory.novelty_threshold, update.memory.keeping.budget.share) == (0.1, 0.04)
    assert update.memory.etag == "m1"


def test_a_day_is_one_of_a_stream_where_several_may_be_counted(start_answering: StartAnswering) -> None:
    address, _ = start_answering(GetMemory=MEMORY, GetStream=STREAM, EvaluateThresholds=curve())

    whole, one = run(address, "tune", "lobby"), run(address, "tune", "lobby", "--stream", "door")

    assert "  a day of a stream  bytes a day of a stream  " in whole.stdout.splitlines()[4]
    assert "  a day  bytes a day  " in one.stdout.splitlines()[4]


def test_a_second_stream_of_what_the_first_has_shown_is_tuned_and_drawn(
    server: RunningServer, client: Client, lobby: str, tmp_path: Path
) -> None:
    again = [scene(1 + number % 19, number // 19) for number in range(190)]
    client.stream(again, memory=lobby, stream="yard", frames_per_second=10, start_time=START + timedelta(hours=1)).run()
    figure = tmp_path / "yard.png"

    result = run(server.address, "tune", lobby, "--stream", "yard", "--target", "0.5%", "--figure", figure)

    assert result.exit_code == 0, result.output
    assert figure.exists()
    assert min(each.exemplars for each in client.evaluate_thresholds(lobby, stream="yard").outcomes) == 0
