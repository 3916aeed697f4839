"""A server of one's own, in a process that ends with the block."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import framekeep
from framekeep import Client, InvalidRequest, ServerNotInstalled, ServerNotStarted, ServerUnavailable
from framekeep.local_server import LocalServer
from talking import scene


def is_listening(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


def test_what_was_kept_is_there_again_and_the_server_is_gone(tmp_path: Path) -> None:
    with framekeep.local(tmp_path / "data") as fk:
        fk.stream([scene(1), scene(2)], memory="m", stream="s", frames_per_second=1).run()

    with pytest.raises(InvalidRequest, match="was closed"):
        fk.memory("m")
    with framekeep.local(tmp_path / "data") as fk:
        assert fk.memory("m").contents.frames == 2


def test_the_server_ends_when_the_body_raises(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "data")

    def fail() -> None:
        with server, Client(server.address) as fk:
            fk.create_memory("m")
            assert is_listening(server.address)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert not is_listening(server.address)
    with Client(server.address) as fk, pytest.raises(ServerUnavailable):
        fk.memory("m")
    server.stop()


def test_a_folder_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    def begin_another() -> None:
        with framekeep.local(tmp_path / "data"):
            pass

    with framekeep.local(tmp_path / "data") as fk:
        with pytest.raises(ServerNotStarted) as caught:
            begin_another()
        fk.create_memory("m")

    told = f"the data folder {tmp_path / 'data'} is used by another process"
    assert caught.value.message == f"framekeep-server did not start: {told}"


def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(ServerNotStarted, match=r"^framekeep-server did not start: .*file") as caught:
        LocalServer(file).__enter__()

    assert "\n" not in caught.value.message


def test_a_missing_program_is_told_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(ServerNotInstalled, match="`pip install framekeep-server` installs it"):
        LocalServer(tmp_path / "data")

    program = tmp_path / "framekeep-server"
    program.write_text("#!/bin/sh\necho Error: found on PATH >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ServerNotStarted, match="did not start: found on PATH"):
        LocalServer(tmp_path / "data").__enter__()


def test_a_server_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "framekeep-server"
    program.write_text("#!/bin/sh\ntrap '' TERM\necho is listening on 127.0.0.1:1\nexec tail -f /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("framekeep.local_server._STOP_S", 0.2)
    server = LocalServer(tmp_path / "data")
    server.wait_until_ready()

    server.stop()

    assert server.address == "127.0.0.1:1"


def test_an_interruption_from_the_keyboard_is_not_for_the_server(tmp_path: Path) -> None:
    # The body of a program in a terminal gets SIGINT as a whole group; the server must still answer it afterwards.
    script = """
import os, signal, sys, framekeep
with framekeep.local(sys.argv[1]) as fk:
    try:
        os.killpg(0, signal.SIGINT)
        signal.sigtimedwait([], 10)
    except KeyboardInterrupt:
        print(fk.create_memory("m").name)
"""

    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "data"],
        process_group=0,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "m\n"
