import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from encoder.backbone import DIMENSION
from framekeep import Client
from framekeep.cli import main
from framekeep.picture_files import png_from
from serving import RunningServer
from talking import scene

MakeVideo = Callable[..., Path]
Run = Callable[..., Result]


@pytest.fixture
def run(server: RunningServer) -> Run:
    """Run a command against the server."""
    return lambda *arguments, **settings: CliRunner().invoke(
        main, ["--server", server.address, *map(str, arguments)], **settings
    )


@pytest.fixture
def lobby(run: Run, make_video: MakeVideo) -> str:
    """A memory into which `door.mp4` was streamed: scenes 1, 2 and 1 again, half a second each."""
    pictures = [np.kron(scene(number), np.ones((2, 2, 1), np.uint8)) for number in [1] * 13 + [2] * 13 + [1] * 13]
    path = make_video("door.mp4", pictures=pictures, pts_ms=range(0, 39 * 40, 40))
    result = run("stream", path, "--memory", "lobby", "--start", "2026-01-31T05:06:07", "--threshold", "0.2")
    assert result.exit_code == 0, result.output
    return "lobby"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file that shows scene 2."""
    path = tmp_path / "picture.png"
    path.write_bytes(png_from(scene(2)))
    return path


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(names), command
    if isinstance(command, click.Group):
        for name, member in command.commands.items():
            yield from commands(member, *names, name)


def test_every_command_and_option_has_its_help() -> None:
    for name, command in commands(main, "framekeep"):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)


def test_every_command_is_in_the_readme_of_the_client() -> None:
    readme = (Path(__file__).parents[2] / "clients/python/README.md").read_text()

    told = [name for name, command in commands(main, "framekeep") if not isinstance(command, click.Group)]
    assert [name for name in told if name not in readme and not name.startswith("framekeep memories")] == []
    assert "framekeep memories keep" in readme


def test_streaming_prints_a_summary(run: Run, make_video: MakeVideo) -> None:
    result = run("stream", make_video("a.mp4"), "--memory", "m", "--jpeg")

    lines = {line.split("  ")[0].strip(): line for line in result.stdout.splitlines()}
    assert result.exit_code == 0
    assert lines["frames"].split()[-1] == "60"
    assert "m / a" in lines["memory / stream"]
    assert "damaged" not in lines


def test_streaming_prints_json_lines_for_machines(run: Run, make_video: MakeVideo, client: Client) -> None:
    session = "0f8fad5b-d9cb-469f-a165-70867728950e"

    result = run("stream", make_video("a.mp4"), "--memory", "m", "--stream", "s", "--session", session, "--json")

    *verdicts, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [verdict["verdict"]["seq"] for verdict in verdicts] == list(range(60))
    assert (last["summary"]["session_id"], last["summary"]["stream"]) == (session, "s")
    assert last["summary"]["novel_frames"] == client.memory("m").contents.exemplars


def test_a_truncated_video_prints_its_summary_and_then_the_error(run: Run, make_video: MakeVideo) -> None:
    path = make_video("a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])

    result = run("stream", path, "--memory", "m", "--json")

    summary = json.loads(result.stdout.splitlines()[-1])["summary"]
    assert result.exit_code == 1
    frames = summary["repeat_frames"] + summary["novel_frames"]
    assert result.stderr.startswith(f"error: {path}: broke off after {frames} frames")
    assert len(result.stderr.splitlines()) == 1


def test_a_query_says_when_something_was_last_seen(run: Run, lobby: str) -> None:
    result = run("query", lobby, "--exemplar", 1)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "last seen 2026-01-31T05:06:08.52Z, 2 times, total 1.0 s"
    assert "Matches, most similar first" in result.stdout
    assert "Attention over 39 frames in 2 stays" in result.stdout
    [leaders] = [line for line in result.stdout.splitlines() if line.startswith("Largest weights: exemplars 1 (")]
    weights = [float(weight) for weight in re.findall(r"\(<?(\S+) %\)", leaders)]
    assert weights[0] > weights[1]
    assert sum(weights) == pytest.approx(100, abs=0.11)


def test_a_query_says_when_something_was_never_seen(run: Run, lobby: str, tmp_path: Path) -> None:
    path = tmp_path / "other.png"
    path.write_bytes(png_from(scene(9)))

    result = run("query", lobby, "--image", path)
    nothing = run("query", lobby, "--image", path, "--since", "2027-01-01")

    assert result.stdout.startswith("never seen (nearest exemplar ")
    assert ", threshold 0.2)" in result.stdout.splitlines()[0]
    assert nothing.stdout == "never seen (nothing within the filter)\n"


def test_a_query_prints_json_for_machines(run: Run, lobby: str) -> None:
    result = run("query", lobby, "--at", "door", "2026-01-31T05:06:07.6", "--stream", "door", "--top", 1, "--json")

    answer: dict[str, Any] = json.loads(result.stdout)
    assert (answer["seen"], answer["matches"][0]["exemplar"]) == (True, 2)
    assert answer["matches"][0]["first_time"] == "2026-01-31T05:06:07.52Z"
    assert len(answer["attention"]["context_vector"]) == DIMENSION


def test_exemplars_are_listed_and_drawn(run: Run, lobby: str, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"

    newest = run("exemplars", lobby, "--limit", 1)
    oldest = run("exemplars", lobby, "--oldest-first", "--json")
    drawn = run("exemplars", lobby, "--sheet", sheet, "--elapsed")

    assert newest.stdout.splitlines()[1].split()[:2] == ["2", "door"]
    assert newest.stderr == "1 of 2 exemplars; --limit shows more\n"
    assert [(exemplar["id"], exemplar["frame_count"]) for exemplar in json.loads(oldest.stdout)] == [(1, 26), (2, 13)]
    assert (drawn.exit_code, drawn.stdout, drawn.stderr) == (0, "", f"wrote {sheet} with 2 of 2 exemplars\n")
    with Image.open(sheet) as image:
        assert image.format == "PNG"


def test_the_timeline_is_printed(run: Run, lobby: str) -> None:
    table = run("timeline", lobby, "door")
    later = run("timeline", lobby, "door", "--since", "2026-01-31T05:06:08.3", "--json")

    assert [line.split()[4] for line in table.stdout.splitlines()[1:]] == ["1", "2", "1"]
    assert [sighting["exemplar"] for sighting in json.loads(later.stdout)] == [1]


def test_the_timeline_is_drawn(run: Run, lobby: str, tmp_path: Path) -> None:
    figure, part = tmp_path / "figure.png", tmp_path / "part.png"

    drawn = run("timeline", lobby, "door", "--figure", figure)
    later = run("timeline", lobby, "door", "--since", "2026-01-31T05:06:08.3", "--figure", part, "--json")
    nothing = run("timeline", lobby, "door", "--since", "2027-01-01", "--figure", tmp_path / "none.png")

    assert (drawn.exit_code, drawn.stdout) == (0, "")
    assert drawn.stderr == f"wrote {figure} with 3 sightings, and 2 of 2 exemplars\n"
    assert later.stderr == f"wrote {part} with 1 sightings, and 1 of 1 exemplars\n"
    assert len(json.loads(later.stdout)) == 1
    with Image.open(figure) as whole, Image.open(part) as rest:
        assert (whole.format, whole.height - rest.height) == ("PNG", 92)
    assert (nothing.exit_code, nothing.stderr) == (1, "error: expected at least one sighting for a figure, got none\n")


def test_pictures_are_encoded(run: Run, picture: Path, tmp_path: Path, client: Client) -> None:
    output = tmp_path / "embeddings.npy"

    table = run("encode", picture, picture)
    document = json.loads(run("encode", picture, "--json").stdout)
    written = run("encode", picture, "--output", output)

    [expected] = client.encode([picture])
    assert [line.split()[-1] for line in table.stdout.splitlines()[1:]] == ["0.0000", "0.0000"]
    assert document[0]["image"] == str(picture)
    assert np.allclose(document[0]["embedding"], expected, atol=1e-6)
    assert written.exit_code == 0
    assert np.allclose(np.load(output), [expected], atol=1e-6)


def test_memories_are_created_changed_and_shown(run: Run) -> None:
    run("memories", "create", "m", "--threshold", 0.25)
    changed = run("memories", "threshold", "m", 0.5)
    listed = json.loads(run("memories", "list", "--json").stdout)
    shown = run("memories", "show", "m")

    assert changed.stdout == "m: threshold 0.5\n"
    assert [(memory["name"], memory["novelty_threshold"]) for memory in listed["memories"]] == [("m", 0.5)]
    assert listed["unreadable"] == []
    assert "0.5 (policy revision 2)" in shown.stdout
    assert "m " in run("memories", "list").stdout


def test_the_threshold_of_a_stream_is_its_own_until_it_inherits(run: Run, client: Client) -> None:
    client.create_memory("m", novelty_threshold=0.25)
    client.create_stream("m", "s")

    own = run("memories", "threshold", "m", 0.5, "--stream", "s")
    inherited = run("memories", "threshold", "m", "--stream", "s", "--inherit")

    assert own.stdout == "m / s: threshold 0.5 (its own)\n"
    assert inherited.stdout == "m / s: threshold 0.25 (that of the memory)\n"
    for wrong in (["m"], ["m", 0.5, "--inherit"], ["m", "--inherit"]):
        assert run("memories", "threshold", *wrong).exit_code == 2


def test_deleting_asks_unless_told_not_to(run: Run, client: Client) -> None:
    client.create_memory("m")

    refused = run("memories", "delete", "m", input="n\n")
    kept = [memory.name for memory in client.memories()]
    deleted = run("memories", "delete", "m", "--yes")

    assert (refused.exit_code, kept) == (1, ["m"])
    assert "Delete m with 0 exemplars of 0 frames, for good?" in refused.stderr
    assert (deleted.exit_code, client.memories()) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memories", "show", "none"], "error: there is no memory none\n"),
        (
            ["stream", "none.mp4", "--memory", "m"],
            "error: none.mp4: expected a video file or URL, but it does not exist\n",
        ),
        (
            ["encode", "none.png"],
            "error: none.png: expected a picture file, but it cannot be read: No such file or directory\n",
        ),
    ],
)
def test_known_errors_are_one_line(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "m"],
        ["query", "m", "--exemplar", "1", "--image", "a.png"],
        ["query", "m", "--exemplar", "1", "--since", "yesterday"],
        ["stream", "a.mp4"],
        ["encode"],
        ["dance"],
    ],
)
def test_wrong_usage_is_told_apart(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(run: Run, picture: Path, tmp_path: Path) -> None:
    output = tmp_path / "none" / "a.npy"

    result = run("encode", picture, "--output", output)

    assert (result.exit_code, result.stderr) == (1, f"error: {output}: No such file or directory\n")


def test_the_server_can_be_named_by_the_environment(server: RunningServer) -> None:
    result = CliRunner().invoke(main, ["memories", "list"], env={"FRAMEKEEP_SERVER": server.address})

    assert result.exit_code == 0


def test_a_server_that_is_not_there_is_one_line() -> None:
    result = CliRunner().invoke(main, ["--server", "localhost:1", "memories", "list"])

    assert result.exit_code == 1
    assert result.stderr.startswith("error: the server cannot be reached")
    assert len(result.stderr.splitlines()) == 1


def test_ctrl_c_ends_with_the_summary_so_far(server: RunningServer, make_video: MakeVideo) -> None:
    path = make_video("long.mp4", pts_ms=range(0, 40 * 3_000, 40), pictures=[scene(1)] * 3_000)
    script = "from framekeep.cli import main; main()"
    command = [sys.executable, "-c", script, "--server", server.address, "stream", str(path), "--memory", "m", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # or whatever went wrong would be waited for, and not told

    *_, last = output.splitlines()
    summary = json.loads(last)["summary"]
    assert json.loads(first)["verdict"]["seq"] == 0, errors
    assert process.returncode == 130
    assert 1 <= summary["novel_frames"] + summary["repeat_frames"] < 3_000
    assert "Traceback" not in errors
