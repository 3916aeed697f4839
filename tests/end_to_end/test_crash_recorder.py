"""The recorder of disk operations, and the disk that loses power: what POSIX promises of a file, and no more."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.power_loss import Disk, TraceIncomplete, read_tree
from benchmarks.power_loss_trace import DiskOperation, DiskStep, NoCompiler, build, read_trace

BEGIN = """
import ctypes, mmap, os, sys
library = ctypes.CDLL(None)
assert library.disk_trace_begin(sys.argv[1].encode(), sys.argv[2].encode()) == 0
os.chdir(sys.argv[1])
def write(name, content, *syncs, flags=os.O_CREAT | os.O_WRONLY):
    file = os.open(name, flags)
    os.write(file, content)
    for sync in syncs:
        sync(file)
    os.close(file)
def sync_folder():
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
"""
DURABLE = BEGIN + "write('a', b'first', os.fsync)\nsync_folder()\n"


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("recorder"))
    except NoCompiler as error:
        pytest.skip(str(error))


class Machine:
    """Runs programs on a folder, under the recorder."""

    def __init__(self, recorder: Path, folder: Path) -> None:
        self._recorder = recorder
        self._log = folder / "log"
        self.disk_folder = folder / "disk"
        self.disk_folder.mkdir()
        self.disk = Disk(self.disk_folder)

    def run(self, program: str) -> list[DiskOperation]:
        """Run a program to its end, or until it kills itself."""
        command = [sys.executable, "-c", program, str(self.disk_folder), str(self._log)]
        ended = subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(self._recorder)}, check=False)
        assert ended.returncode in {0, -signal.SIGKILL}
        operations = read_trace(self._log)
        self._log.unlink()
        return operations


@pytest.fixture
def machine(recorder: Path, tmp_path: Path) -> Machine:
    return Machine(recorder, tmp_path)


@pytest.mark.parametrize(
    ("then", "left"),
    [
        ("write('a', b'second')", {"a": b"first"}),
        ("write('a', b'second', os.fdatasync)", {"a": b"second"}),
        ("write('a', b'se'); write('a', b'second', os.fsync)", {"a": b"second"}),
        ("write('b', b'new', os.fsync)", {"a": b"first"}),
        ("write('b', b'new'); sync_folder()", {"a": b"first", "b": b""}),
        ("write('b', b'new', os.fsync); sync_folder()", {"a": b"first", "b": b"new"}),
        ("write('a', b'', flags=os.O_TRUNC | os.O_WRONLY)", {"a": b"first"}),
        ("os.truncate('a', 2); write('a', b'x', os.fsync)", {"a": b"xi"}),
        ("write('a', b'!', os.fsync, flags=os.O_APPEND | os.O_WRONLY)", {"a": b"first!"}),
        ("os.rename('a', 'b')", {"a": b"first"}),
        ("write('b', b'new', os.fsync); os.rename('b', 'a')", {"a": b"first"}),
        ("write('b', b'new', os.fsync); os.rename('b', 'a'); sync_folder()", {"a": b"new"}),
        ("write('b', b'new'); os.rename('b', 'a'); sync_folder()", {"a": b""}),
        ("os.remove('a')", {"a": b"first"}),
        ("os.remove('a'); sync_folder()", {}),
        ("os.mkdir('f'); write('f/c', b'c', os.fsync); sync_folder()", {"a": b"first", "f": None}),
        ("with open('a', 'r+b') as file: file.write(b'stream'); file.flush(); os.fsync(file)", {"a": b"stream"}),
    ],
)
def test_only_what_was_synced_is_left_after_a_loss_of_power(
    machine: Machine, then: str, left: dict[str, bytes | None]
) -> None:
    machine.disk.settle(machine.run(DURABLE + then))

    machine.disk.lose_power(None)

    assert read_tree(machine.disk_folder) == left


def test_any_part_of_what_was_not_synced_may_be_left(machine: Machine) -> None:
    program = DURABLE + "write('a', b'1' * 512 + b'2' * 512)\nos.rename('a', 'b')\n"
    machine.disk.settle(machine.run(program))

    found = {tuple(machine.disk.left(np.random.default_rng(seed)).items()) for seed in range(60)}

    old, one, two = b"first", b"1" * 512, b"2" * 512
    expected = {old, one, old + bytes(507) + two, one + two}
    assert found == {((name, content),) for name in "ab" for content in expected}


def test_what_one_process_left_unsynced_is_lost_with_the_life_of_the_next(machine: Machine) -> None:
    machine.disk.settle(machine.run(DURABLE + "write('a', b'second')"))
    machine.disk.settle(machine.run(BEGIN + "write('b', b'new', os.fsync)"))

    machine.disk.lose_power(None)

    assert read_tree(machine.disk_folder) == {"a": b"first"}


@pytest.mark.parametrize(("after", "left"), [(0, {"a": b"first"}), (1, {"a": b"second"})])
def test_a_process_dies_before_or_after_the_operation_that_was_chosen(
    machine: Machine, after: int, left: dict[str, bytes]
) -> None:
    program = DURABLE + f"library.disk_trace_die_at(1, {after})\nwrite('a', b'second')\nwrite('c', b'never')"

    operations = machine.run(program)

    assert operations[-1].step is DiskStep.WRITE
    assert (operations[-1].ended_ns is not None) == bool(after)
    machine.disk.settle(operations)
    assert read_tree(machine.disk_folder) == left


def test_what_was_written_past_the_recorder_does_not_go_unnoticed(machine: Machine) -> None:
    program = DURABLE + "file = open('a', 'r+b')\nmmap.mmap(file.fileno(), 5)[:] = b'other'"

    with pytest.raises(TraceIncomplete, match=r"\['a'\]"):
        machine.disk.settle(machine.run(program))
