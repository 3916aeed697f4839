"""A server that is killed in mid-stream and started again: nothing is lost, nothing is counted twice."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from framekeep import Client, Verdict

COMMAND = Path(sys.executable).with_name("framekeep-server")
SESSION = "5e550000-0000-4000-8000-000000000001"
# Everything but bookkeeping that names the moment of writing.
TABLES = {
    "exemplars": "SELECT * FROM exemplars ORDER BY id",
    "thumbnails": "SELECT * FROM thumbnails ORDER BY exemplar_id",
    "stays": "SELECT * FROM stays ORDER BY id",
    "sightings": "SELECT * FROM sightings ORDER BY id",
    "frames": "SELECT * FROM frames ORDER BY session_id, seq",
    "frame_embeddings": "SELECT * FROM frame_embeddings ORDER BY id",
    "sessions": "SELECT * FROM sessions ORDER BY id",
}


class Program:
    """`framekeep-server` in a process of its own."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.address = "127.0.0.1:0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [COMMAND, "--data", self._data, "--listen", self.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]

    def end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.communicate(timeout=60)


@contextmanager
def running(data: Path) -> Iterator[Program]:
    program = Program(data)
    program.start()
    try:
        yield program
    finally:
        program.end(signal.SIGTERM)


def rows(data: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(data / "memories/m.sqlite")
    try:
        return {table: connection.execute(query).fetchall() for table, query in TABLES.items()}
    finally:
        connection.close()


def streamed(program: Program, video: Path, kill_at: set[int]) -> list[Verdict]:
    """Stream a video; when one of the frames has its verdict, kill the server and start it again."""
    told: list[Verdict] = []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with Client(program.address) as client:
        run = client.stream(video, memory="m", stream="cam", session_id=SESSION, start_time=start)
        for verdict in run:
            told.append(replace(verdict, timings=None))  # which differ from run to run
            if verdict.seq in kill_at:
                program.end(signal.SIGKILL)
                program.start()
    return told


def test_a_killed_and_resumed_run_ends_like_an_undisturbed_one(tmp_path: Path, videos: dict[str, Path]) -> None:
    ends = {}
    for name, kill_at in (("undisturbed", set[int]()), ("killed", {37, 151})):
        with running(tmp_path / name) as program:
            told = streamed(program, videos["bikes"], kill_at)
        ends[name] = (told, rows(tmp_path / name))

    told, kept = ends["undisturbed"]
    assert [verdict.seq for verdict in told] == list(range(250))
    assert len(kept["frames"]) == 250
    assert ends["killed"][0] == told
    for table, expected in kept.items():
        assert ends["killed"][1][table] == expected, table
