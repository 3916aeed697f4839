"""All memories of a server as a folder of files, and back."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from framekeep import Client
from framekeep.cli import main
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
Run = Callable[..., Result]


def runner(address: str) -> Run:
    return lambda *arguments: CliRunner().invoke(main, ["--server", address, *map(str, arguments)])


@pytest.fixture
def run(server: RunningServer) -> Run:
    """Run a command against the server."""
    return runner(server.address)


@pytest.fixture
def two(client: Client) -> list[str]:
    """Two memories, of 3 and of 5 scenes."""
    for name, scenes in (("lobby", range(3)), ("yard", range(10, 15))):
        pictures = [scene(number) for number in scenes]
        client.stream(pictures, memory=name, stream="cam", frames_per_second=1, start_time=START).run()
    return ["lobby", "yard"]


@pytest.fixture
def saved(run: Run, two: list[str], tmp_path: Path) -> Path:
    """A backup of both."""
    folder = tmp_path / "backups" / "today"
    result = run("backup", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def other_server(start_server: Callable[..., RunningServer], tmp_path: Path) -> RunningServer:
    """A server without memories."""
    return start_server(tmp_path / "other")


@pytest.fixture
def other(other_server: RunningServer) -> Iterator[Client]:
    """Its client."""
    with Client(other_server.address) as client:
        yield client


@pytest.fixture
def run_other(other_server: RunningServer) -> Run:
    """Run a command against it."""
    return runner(other_server.address)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def test_a_backup_has_a_file_for_every_memory_and_a_manifest(saved: Path, client: Client, two: list[str]) -> None:
    told = manifest(saved)["backup"]

    assert sorted(os.listdir(saved)) == ["lobby.sqlite", "manifest.json", "yard.sqlite"]
    info = client.server_info()
    assert (told["server_version"], told["encoder_version"]) == (info.version, info.encoder_version)
    assert datetime.now(UTC) - datetime.fromisoformat(told["create_time"]) < timedelta(minutes=5)
    assert told["unreadable"] == []
    for entry, name in zip(told["memories"], two, strict=True):
        assert (entry["memory"], entry["file"]) == (name, f"{name}.sqlite")
        assert entry["size_bytes"] == (saved / entry["file"]).stat().st_size
        assert entry["encoder_version"] == info.encoder_version


def test_a_backup_is_restored_into_an_empty_server(saved: Path, client: Client, other: Client, run_other: Run) -> None:
    result = run_other("restore", saved)

    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if line] == ["restored lobby", "restored yard"]
    assert [row.split()[0] for row in result.stdout.splitlines()] == ["memory", "lobby", "yard"]
    for name, number in (("lobby", 2), ("yard", 12)):
        assert list(other.exemplars(name)) == list(client.exemplars(name))
        assert other.query(name, image=scene(number)).matches == client.query(name, image=scene(number)).matches
        assert other.memory(name).create_time == client.memory(name).create_time


def test_memories_are_restored_one_by_one_and_told_in_json(saved: Path, other: Client, run_other: Run) -> None:
    result = run_other("restore", saved, "--memory", "yard", "--json")

    assert [memory["name"] for memory in json.loads(result.stdout)] == ["yard"]
    assert [memory.name for memory in other.memories()] == ["yard"]
    refused = run_other("restore", saved, "--memory", "lobby", "--memory", "attic")
    assert (refused.exit_code, "got attic" in refused.stderr) == (1, True)
    assert [memory.name for memory in other.memories()] == ["yard"]


def test_no_name_that_is_taken_is_restored_and_nothing_beside_it(saved: Path, other: Client, run_other: Run) -> None:
    other.create_memory("yard")

    result = run_other("restore", saved)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: the server has yard already; nothing was restored\n"
    assert [memory.contents.frames for memory in other.memories()] == [0]


def test_what_was_restored_is_told_when_a_later_one_cannot_be(saved: Path, other: Client, run_other: Run) -> None:
    told = manifest(saved)
    (saved / "yard.sqlite").write_bytes(b"no memory")
    told["backup"]["memories"][1] |= {"size_bytes": 9, "sha256": digest(b"no memory")}
    (saved / "manifest.json").write_text(json.dumps(told))

    result = run_other("restore", saved, "--json")

    assert result.exit_code == 1
    assert [memory["name"] for memory in json.loads(result.stdout)] == ["lobby"]
    assert "a file of another kind" in result.stderr
    assert [memory.name for memory in other.memories()] == ["lobby"]


def flipped(folder: Path, _: Any) -> None:
    data = bytearray((folder / "lobby.sqlite").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "lobby.sqlite").write_bytes(data)


def without_file(folder: Path, _: Any) -> None:
    (folder / "yard.sqlite").unlink()


def without_manifest(folder: Path, _: Any) -> None:
    (folder / "manifest.json").unlink()


def rewritten(change: Callable[[Any], object]) -> Callable[[Path, Any], None]:
    def rewrite(folder: Path, told: Any) -> None:
        change(told)
        (folder / "manifest.json").write_text(json.dumps(told))

    return rewrite


BROKEN: dict[str, tuple[Callable[[Path, Any], None], str]] = {
    "a flipped bit": (flipped, "lobby.sqlite to have"),
    "no file": (without_file, "yard.sqlite: No such file"),
    "no manifest": (without_manifest, "manifest.json: No such file"),
    "a newer manifest": (rewritten(lambda told: told.update(format=2)), "format 1"),
    "an empty manifest": (rewritten(lambda told: told.clear()), "expected the manifest of a backup"),
    "another field": (rewritten(lambda told: told["backup"].update(more=1)), "expected the manifest of a backup"),
    "a path": (
        rewritten(lambda told: told["backup"]["memories"][0].update(file="../today/lobby.sqlite")),
        "expected the name of a file",
    ),
}


@pytest.mark.parametrize(("spoil", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_backup_that_is_not_as_it_was_written_restores_nothing(
    saved: Path, other: Client, run_other: Run, spoil: Callable[[Path, Any], None], why: str
) -> None:
    spoil(saved, manifest(saved))

    result = run_other("restore", saved)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert why in result.stderr
    assert other.memories() == []


def test_a_folder_that_holds_something_is_not_backed_up_into(run: Run, saved: Path) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    result = run("backup", saved)

    assert (result.exit_code, "holds something" in result.stderr) == (1, True)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_memory_that_cannot_be_read_is_named_and_the_others_are_saved(
    run: Run, client: Client, server: RunningServer, two: list[str], tmp_path: Path
) -> None:
    (server.config.server.data / "memories" / "attic.sqlite").write_bytes(b"damaged" * 99)

    result = run("backup", tmp_path / "b", "--json")

    assert result.exit_code == 1
    assert "does not have: attic" in result.stderr
    told = json.loads(result.stdout)
    assert ([memory["memory"] for memory in told["memories"]], told["unreadable"]) == (two, ["attic"])
    assert told == manifest(tmp_path / "b")["backup"]


def test_a_backup_that_breaks_off_has_no_manifest_and_is_none(
    run: Run, server: RunningServer, two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory_store.transfer.SPARE_BYTES", 2**62)

    result = run("backup", tmp_path / "b")

    assert (result.exit_code, "room for" in result.stderr) == (1, True)
    assert os.listdir(tmp_path / "b") == []
    assert "manifest.json: No such file" in run("restore", tmp_path / "b").stderr


def test_one_memory_goes_out_and_in_by_commands(run: Run, client: Client, two: list[str], tmp_path: Path) -> None:
    file = tmp_path / "lobby.sqlite"

    written = run("export", "lobby", file, "--json")
    document = json.loads(written.stdout)
    assert (document["memory"], document["path"]) == ("lobby", str(file))
    assert document["size_bytes"] == file.stat().st_size
    refused = run("export", "lobby", file)
    assert (refused.exit_code, "expected no file" in refused.stderr) == (1, True)
    shown = run("export", "yard", file, "--overwrite")
    assert shown.exit_code == 0
    rows = dict(line.strip().split(maxsplit=1) for line in shown.stdout.splitlines())
    assert (rows["memory"], rows["SHA-256"]) == ("yard", digest(file.read_bytes()))

    made = run("import", file, "--as", "copy", "--sha256", rows["SHA-256"], "--json")
    assert (json.loads(made.stdout)["name"], json.loads(made.stdout)["contents"]["exemplars"]) == ("copy", 5)
    taken = run("import", file)
    assert (taken.exit_code, "lobby already" in taken.stderr) == (1, True)
    assert run("import", file, "--as", "shown").stdout.splitlines()[0].split() == ["memory", "shown"]
    assert [memory.name for memory in client.memories()] == ["copy", "lobby", "shown", "yard"]
