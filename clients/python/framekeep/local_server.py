"""A server of one's own: the program `framekeep-server` on a folder and a free port, as long as it is needed."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from framekeep.client import TIMEOUT_S, Client
from framekeep.errors import ServerNotInstalled, ServerNotStarted

_PROGRAM = "framekeep-server"

_STOP_S = 60.0
"""How long the server may take to stop before it is killed; it cuts off calls after half of it by itself."""


class LocalServer:
    """`framekeep-server` in a process of its own, reachable from this machine only."""

    def __init__(self, data: str | PathLike[str], *, options: Sequence[str] = ()) -> None:
        """Start the program; `wait_until_ready` tells when it answers.

        Args:
            data: its data folder, created if it does not exist.
            options: further ones of the program.

        Raises:
            ServerNotInstalled: there is no such program.
        """
        self.address = ""
        """`host:port`, once it is ready."""
        self._log: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by `stop`
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the program of this project, found by its own name
                [_program(), "--data", fspath(data), "--listen", "127.0.0.1:0", *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log,
                encoding="utf-8",
                process_group=0,  # Ctrl-C is for this process, which stops the server when it has come to its end
            )
        except BaseException:
            self._log.close()
            raise

    def wait_until_ready(self) -> None:
        """Wait until it answers calls.

        Raises:
            ServerNotStarted: it ended instead; the message is the last line that it wrote.
        """
        announced = self._process.stdout.readline() if self._process.stdout else ""
        if not announced:
            self._process.wait()
            self._log.seek(0)
            lines = self._log.read().split("\n")
            told = next((line for line in reversed(lines) if line.strip()), f"exit status {self._process.returncode}")
            raise ServerNotStarted(f"{_PROGRAM} did not start: {told.removeprefix('Error: ')}")
        self.address = announced.split()[-1]

    def __enter__(self) -> Self:
        """Wait until it is ready; it is stopped if it does not get there."""
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def terminate(self) -> None:
        """Tell it to stop."""
        self._process.terminate()

    def stop(self) -> None:
        """Stop it, and wait until it has ended: what it took is committed. May be called twice."""
        self.terminate()
        try:
            self._process.wait(_STOP_S)
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


def _program() -> str:
    beside = Path(sys.executable).with_name(_PROGRAM)
    found = str(beside) if beside.is_file() else shutil.which(_PROGRAM)
    if found is None:
        raise ServerNotInstalled(
            f"expected the program {_PROGRAM} beside {sys.executable} or on PATH; `pip install {_PROGRAM}` installs it"
        )
    return found


@contextmanager
def local(data: str | PathLike[str], *, timeout_s: float = TIMEOUT_S) -> Iterator[Client]:
    """Run a server of one's own as long as the `with` block lasts, and give a client of it.

    Args:
        data: its data folder, created if it does not exist; what was kept there before is there again.
        timeout_s: how long a call may take.

    Raises:
        ServerNotInstalled: the program `framekeep-server` is not installed.
        ServerNotStarted: another server uses the folder, or it cannot be written; the message says which.

    Example:
        >>> with framekeep.local("memories") as fk:
        ...     fk.create_memory("lobby").name
        'lobby'
    """
    with LocalServer(data) as server, Client(server.address, timeout_s=timeout_s) as client:
        yield client
