"""The commands about attention: what a query tells of it, `fit`, `feedback`, and the context of each frame."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image

from framekeep import Client
from framekeep.cli import main
from framekeep.commands.parameters import share
from framekeep.picture_files import JpegEncoder
from framekeep.v1 import video_memory_pb2 as pb
from lettered import find
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
COMMAND = Path(sys.executable).with_name("framekeep")
StartAnswering = Callable[..., tuple[str, list[Message]]]


def stamp(seconds: float) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(START + timedelta(seconds=seconds))
    return message


def block(weight: float, start: float, end: float) -> pb.AttendedBlock:
    stream = "memories/lobby/streams/door"
    return pb.AttendedBlock(stream=stream, weight=weight, start_time=stamp(start), end_time=stamp(end), frame_count=64)


def answer(*, explained: bool) -> pb.QueryResponse:
    """An answer in which exemplar 7 drew a fifth of the attention."""
    stay = pb.AttendedStay(exemplar="memories/lobby/exemplars/7", weight=0.2, similarity=0.9312, frame_count=14)
    stay.start_time.CopyFrom(stamp(10))
    stay.end_time.CopyFrom(stamp(12.5))
    low = pb.ExplainedBlock(level=1, block=block(0.7, 0, 60), stays=[stay])
    explanation = pb.Explanation(
        blocks=[pb.ExplainedBlock(level=2, block=block(0.9, 0, 120), blocks=[low])],
        blocks_of_stays=[block(0.7, 0, 60), block(0.2, 60, 120)],
    )
    attention = pb.Attention(
        context_error=pb.ContextError(reading=0.006, storing=0.041, confidence=0.95),
        unopened_share=0.032,
        stay_count=20_000,
        opened_stay_count=1_234,
        explanation=explanation if explained else None,
    )
    return pb.QueryResponse(seen=False, attention=attention)


EXEMPLAR = pb.Exemplar(
    name="memories/lobby/exemplars/7",
    stream="memories/lobby/streams/door",
    thumbnail=JpegEncoder().encode(np.full((90, 160, 3), (220, 30, 30), np.uint8)),
)


def run(address: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["--server", address, *map(str, arguments)])


def test_a_query_tells_how_far_it_may_be_off(start_answering: StartAnswering) -> None:
    address, asked = start_answering(Query=answer(explained=False))

    result = run(address, "query", "lobby", "--exemplar", 7, "--max-error", "1%", "--attention", "latest")

    assert result.exit_code == 0, result.output
    assert (
        "Error of the context vector: reading at most 0.6 %, storing at most 4.1 % "
        "(estimates that hold for 95 % of queries)\n"
    ) in result.stdout
    assert "Opened 1,234 of the stays; the others have about 3.2 % of the weight\n" in result.stdout
    [question] = asked
    assert question == pb.QueryRequest(
        memory="memories/lobby",
        exemplar="memories/lobby/exemplars/7",
        top=5,
        max_reading_error=0.01,
        attention_version="latest",
    )


def test_a_query_can_be_exact(start_answering: StartAnswering) -> None:
    address, asked = start_answering(Query=answer(explained=False))

    run(address, "query", "lobby", "--exemplar", 7, "--exact", "--explain")

    [question] = asked
    assert isinstance(question, pb.QueryRequest)
    assert (question.exact, question.explain) == (True, True)


def test_a_query_explains_itself_as_a_tree_and_as_a_figure(start_answering: StartAnswering, tmp_path: Path) -> None:
    address, asked = start_answering(Query=answer(explained=True), GetExemplar=EXEMPLAR)
    figure = tmp_path / "figure.png"

    result = run(address, "query", "lobby", "--exemplar", 7, "--explain", "--figure", figure)

    assert result.exit_code == 0, result.output
    assert [line.rstrip() for line in result.stdout.splitlines()[-6:]] == [
        " 90.0 %  door: level 2, block 0  2026-01-31 05:06:07 to 05:08:07, 64 frames",
        "├──  70.0 %  level 1, block 0  2026-01-31 05:06:07 to 05:07:07, 64 frames",
        "│   ├──  20.0 %  exemplar 7, similarity 0.9312  2026-01-31 05:06:17.0 to 05:06:19.5, 14 frames",
        "│   └──  50.0 %  others",
        "└──  20.0 %  others",
        " 10.0 %  others",
    ]
    assert result.stderr == f"wrote {figure} with 2 blocks of stays, and 1 exemplars\n"
    with Image.open(figure) as image:
        pixels = np.asarray(image, np.uint8)
    assert len(find(pixels, "ATTENTION OF LOBBY TO EXEMPLAR 7", 3)) == 1
    assert len(find(pixels, "05:06:17.0", 2)) == 1
    assert [type(request) for request in asked] == [pb.QueryRequest, pb.GetExemplarRequest]


def test_a_figure_alone_leaves_the_answer_as_it_is(start_answering: StartAnswering, tmp_path: Path) -> None:
    address, asked = start_answering(Query=answer(explained=True), GetExemplar=EXEMPLAR)
    figure, picture = tmp_path / "figure.png", tmp_path / "person.jpg"
    picture.write_bytes(EXEMPLAR.thumbnail)

    result = run(address, "query", "lobby", "--image", picture, "--figure", figure)
    document = json.loads(run(address, "query", "lobby", "--image", picture, "--figure", figure, "--json").stdout)

    assert "The way from the top down" not in result.stdout
    assert "Error of the context vector" in result.stdout
    assert document["attention"]["explanation"]["blocks"][0]["block"]["weight"] == 0.9
    assert isinstance(asked[0], pb.QueryRequest)
    assert asked[0].explain
    with Image.open(figure) as image:
        assert len(find(np.asarray(image, np.uint8), "ATTENTION OF LOBBY TO PERSON.JPG", 3)) == 1


def test_where_there_is_nothing_to_draw_the_answer_is_told_all_the_same(
    start_answering: StartAnswering, tmp_path: Path
) -> None:
    address, _ = start_answering(Query=pb.QueryResponse())
    figure = tmp_path / "figure.png"

    result = run(address, "query", "lobby", "--at", "door", "2026-01-31T05:06:07", "--figure", figure)

    assert result.stdout == "never seen (nothing within the filter)\n"
    assert (result.exit_code, result.stderr) == (
        1,
        "error: expected attention to draw, but nothing is within the filter\n",
    )
    assert not figure.exists()


@pytest.mark.parametrize(("text", "value"), [("0.01", 0.01), ("1%", 0.01), ("0.5 %", 0.005), ("1", 1.0), ("100%", 1.0)])
def test_a_share_is_a_number_or_per_cent(text: str, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "0%", "5", "101%", "-0.1", "nan", "", "few"])
def test_other_shares_are_wrong_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"expected a share above 0 and at most 1, such as 0\.01 or 1%, got"):
        share(text)


def test_fitting_is_told_in_plain_words_or_as_json(start_answering: StartAnswering) -> None:
    fitted = pb.FitAttentionResponse(
        attention_version="7b",
        held_out_queries=412,
        plain_top5_share=0.58,
        fitted_top5_share=0.714,
        fitted_through=stamp(60),
    )
    address, asked = start_answering(FitAttention=fitted)

    told = run(address, "fit", "lobby")
    document = json.loads(run(address, "fit", "lobby", "--json").stdout)

    assert told.stdout.startswith("fitted attention is kept as version 7b: of 412 held-out queries, ")
    assert told.stderr == ""
    assert document == {
        "version": "7b",
        "held_out_queries": 412,
        "plain_top5_share": 0.58,
        "fitted_top5_share": 0.714,
        "fitted_through": "2026-01-31T05:07:07Z",
    }
    assert asked == [pb.FitAttentionRequest(name="memories/lobby")] * 2


def test_on_a_terminal_fitting_says_that_it_is_at_it(start_answering: StartAnswering) -> None:
    address, _ = start_answering(FitAttention=pb.FitAttentionResponse())
    terminal, end = pty.openpty()

    command = [str(COMMAND), "--server", address, "fit", "lobby"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True, check=True)
    os.close(end)
    shown = os.read(terminal, 4096).decode()
    os.close(terminal)

    assert "Fitting attention to lobby; this may take minutes" in shown
    assert result.stdout == "plain attention stays: there is too little to judge another by yet\n"


def test_feedback_names_its_question_and_its_evidence(start_answering: StartAnswering) -> None:
    address, asked = start_answering(SendFeedback=pb.SendFeedbackResponse())
    evidence = ["--evidence", 8, "--evidence", 9]

    result = run(address, "feedback", "lobby", "--exemplar", 7, *evidence, "--as-of", "2026-01-31T05:06:07")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "recorded; `framekeep fit lobby` learns from it\n"
    [feedback] = asked
    names = [f"memories/lobby/exemplars/{number}" for number in (7, 8, 9)]
    assert feedback == pb.SendFeedbackRequest(
        memory="memories/lobby", exemplar=names[0], evidence=names[1:], as_of=stamp(0)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["feedback", "lobby", "--evidence", "8"],
        ["feedback", "lobby", "--exemplar", "7"],
        ["feedback", "lobby", "--exemplar", "7", "--at", "door", "2026-01-31", "--evidence", "8"],
        ["feedback", "lobby", "--exemplar", "7", "--evidence", "0"],
        ["query", "lobby", "--exemplar", "7", "--max-error", "5"],
        ["stream", "a.mp4", "--memory", "lobby", "--context"],
    ],
)
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    assert run("localhost:1", *arguments).exit_code == 2


def test_a_memory_shows_the_attention_that_was_fitted_to_it(start_answering: StartAnswering) -> None:
    streams = pb.ListStreamsResponse()
    fitted, _ = start_answering(GetMemory=pb.Memory(name="memories/lobby", attention_version="7b"), ListStreams=streams)
    plain, _ = start_answering(GetMemory=pb.Memory(name="memories/lobby"), ListStreams=streams)

    shown = [run(address, "memories", "show", "lobby").stdout for address in (fitted, plain)]

    rows = [line.split(maxsplit=1) for text in shown for line in text.splitlines() if line.startswith("attention")]
    assert [value.strip() for _, value in rows] == ["fitted, version 7b", "plain"]


@pytest.fixture
def lobby(client: Client) -> str:
    """A memory in which a door saw scene 1, scene 2 and scene 1 again, ten frames each, a frame a second."""
    scenes = [scene(number, brightness) for number in (1, 2, 1) for brightness in range(10)]
    client.stream(scenes, memory="lobby", stream="door", frames_per_second=1, start_time=START).run()
    return "lobby"


def test_a_real_answer_is_explained_and_drawn(server: RunningServer, lobby: str, tmp_path: Path) -> None:
    figure = tmp_path / "figure.png"

    result = run(
        server.address, *("query", lobby, "--exemplar", 1, "--inverse-temperature", 0, "--explain", "--figure", figure)
    )

    assert result.exit_code == 0, result.output
    assert "Error of the context vector: reading none, storing at most " in result.stdout
    assert "door: level 1, block 0  2026-01-31 05:06:07.0 to 05:06:36.0, 30 frames" in result.stdout
    assert "exemplar 1, similarity " in result.stdout
    assert result.stderr == f"wrote {figure} with 1 blocks of stays, and 2 exemplars\n"
    with Image.open(figure) as image:
        pixels = np.asarray(image, np.uint8)
    assert len(find(pixels, "#1", 2)) == len(find(pixels, "#2", 2)) == 1


def test_a_real_memory_is_fitted(server: RunningServer, client: Client, lobby: str) -> None:
    recorded = run(server.address, "feedback", lobby, "--exemplar", 1, "--evidence", 2, "--as-of", "2026-01-31T05:07")
    fitted = run(server.address, "fit", lobby)

    assert recorded.exit_code == fitted.exit_code == 0, recorded.output + fitted.output
    version = client.memory(lobby).attention_version
    assert fitted.stdout.startswith("plain attention stays" if version is None else "fitted attention is kept as ")


def test_a_version_that_does_not_exist_is_one_line(server: RunningServer, lobby: str) -> None:
    result = run(server.address, "query", lobby, "--exemplar", 1, "--attention", "nonsense")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert "nonsense" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_streaming_prints_the_context_of_each_frame(
    server: RunningServer, client: Client, make_video: Callable[..., Path]
) -> None:
    path = make_video("a.mp4", pts_ms=range(0, 200, 40))

    result = run(server.address, "stream", path, "--memory", "m", "--json", "--context")
    plain = run(server.address, "stream", path, "--memory", "n", "--json")

    assert result.exit_code == 0, result.output
    contexts = [json.loads(line)["verdict"]["context_vector"] for line in result.stdout.splitlines()[:-1]]
    assert contexts[0] is None
    assert [len(context) for context in contexts[-1:]] == [client.server_info().dimension]
    assert {json.loads(line)["verdict"]["context_vector"] for line in plain.stdout.splitlines()[:-1]} == {None}
