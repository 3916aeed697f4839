"""Starts servers in milliseconds: a process that has imported all that a server needs, and forks one for each life.

Imports alone take seconds. Nothing that starts threads has run when it forks: neither gRPC nor a network.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from benchmarks.crash_life import Life
from benchmarks.crash_server import live

_PATIENCE_S = 60.0
"""A server that says nothing for so long hangs."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Libraries that would start threads when they are imported."""


class ServerFailed(Exception):
    """A server ended by itself, or did not start; the message holds what it wrote."""


class Zygote:
    """The process, seen from the one that uses it. One server at a time."""

    def __init__(self, recorder: Path, folder: Path) -> None:
        """Start it.

        Args:
            recorder: the library that records disk operations.
            folder: keeps what servers write to standard error.
        """
        self._errors = folder / "errors.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.crash_zygote"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **_ONE_THREAD, "LD_PRELOAD": str(recorder), "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._said = b""
        self._lock = threading.Lock()
        self._server = 0
        self.status: int | None = 0
        """How the last server ended: its exit status, or the number of the signal that ended it, negative."""

    def start(self, life: Life) -> str | None:
        """Start a server.

        Returns:
            Its address; None if it died before it had one.
        """
        self._tell(life.to_json())
        said = self._hear()
        while "server" not in said or not said.keys() & {"address", "status"}:  # on a busy machine in any order
            said |= self._hear()
        with self._lock:
            self._server, self.status = said["server"], None
        if "status" in said:
            self._ended(said["status"])
        return said.get("address")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server, if it has not been waited for. Safe for several threads."""
        with self._lock:
            if self.status is None:
                os.kill(self._server, number)

    def wait(self) -> int:
        """Wait until the server has ended; gives its status.

        Raises:
            ServerFailed: by itself, and not as it should; or it goes on.
        """
        if self.status is None:
            self._ended(self._hear()["status"])
        if self.status not in (0, -signal.SIGKILL):
            raise ServerFailed(f"expected a server to live until it is killed, got {self.status}:\n{self.errors()}")
        return self.status

    def _ended(self, status: int) -> None:
        with self._lock:
            self.status = status
        self._tell("")  # until now its number could not be given to another process

    def kill(self) -> None:
        """End the server, if there is one."""
        self.signal(signal.SIGKILL)
        if self.status is None:
            self._ended(self._hear()["status"])

    def errors(self) -> str:
        """What the servers so far wrote to standard error."""
        return self._errors.read_text(errors="replace")

    def close(self) -> None:
        """End the process, and the server if there is one."""
        self.signal(signal.SIGKILL)
        self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._said:
            ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE_S)
            more = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            if not more:
                raise ServerFailed(f"expected the server to say something:\n{self.errors()}")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told


def _say(**told: object) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


def _fork(life: Life) -> None:
    server = os.fork()
    if server == 0:
        try:
            live(life)
        except BaseException:  # noqa: BLE001  # the end of a process: nothing may go back into the zygote's loop
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _say(server=server)
    ended = os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    _say(status=ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)
    sys.stdin.readline()  # whoever sends it signals knows that it has ended
    os.waitpid(server, 0)


def main() -> None:
    """Fork a server for every life that standard input tells."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"expected one thread before anything is forked, got {threads}")
    while line := sys.stdin.readline():
        _fork(Life.from_json(line))


if __name__ == "__main__":
    main()
