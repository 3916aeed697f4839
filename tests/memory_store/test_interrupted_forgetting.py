"""Forgetting that is interrupted, by the disk or by the end of the process, is finished later, with the same end."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from ledger import Ledger
from listed import have_lists_early
from memory_store import forgetting
from memory_store.change import Change
from memory_store.config import MemoryStoreConfig
from memory_store.errors import StoreUnavailable
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, ForgottenCounts
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]

SCOPE = Scope(30_000, 80_000)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "_SIGHTINGS", 1)


@pytest.fixture
def fill(facing: Facing, frames: Frames) -> Callable[[MemoryStore, str], Memory]:
    """Make a memory of two streams that turn to and fro, 60 frames each, one a millisecond."""

    def fill(store: MemoryStore, name: str) -> Memory:
        memory = store.create(name, "encoder/1", 8, 0.1)
        chance = np.random.default_rng(2)
        sessions = [memory.open_session(stream, "run-1", Clock.SOURCE, 0) for stream in ("door", "hall")]
        degrees = [0.0, 90.0]
        for number in range(120):
            of = number % 2
            degrees[of] = (degrees[of] + chance.choice([1, 3, 40, 170])) % 300
            sent = frames(sessions[of], [facing(degrees[of])], first_seq=number // 2, capture_us=[1000 * number])
            memory.remember(sent)
        return memory

    return fill


def _index(memory: Memory) -> list[tuple[int, bytes]]:
    return [(found, memory.embedding(found).tobytes()) for found in memory._state.upkeep.ids().tolist()]


def _unfinished(folder: Path, name: str) -> int:
    return Ledger(folder / "memories" / f"{name}.sqlite").number("SELECT count(*) FROM forgetting")


def test_what_was_begun_before_the_process_ended_is_finished_by_tidying(
    store: MemoryStore,
    fill: Callable[[MemoryStore, str], Memory],
    folder: Path,
    tmp_path: Path,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The files as they are after each step are what a killed process would leave."""
    memory = fill(store, "m")
    follow, left = memory._removal._follow, list[Path]()

    def follow_and_copy(change: Change) -> None:
        follow(change)
        left.append(tmp_path / f"left-{len(left)}")
        shutil.copytree(folder / "memories", left[-1] / "memories")

    monkeypatch.setattr(memory._removal, "_follow", follow_and_copy)
    counts = memory.forget(SCOPE)
    expected = told(memory), _index(memory)

    assert counts.recentred > 0
    assert len(left) > 10
    for killed in left:
        with closing(MemoryStore(killed, MemoryStoreConfig())) as again:
            assert again.names_to_tidy() == ["m"]
            told_frames = again.get("m").facts().contents.forgotten_frames
            rest = again.get("m").tidy(0)
            assert told_frames + rest.frames == counts.frames
            assert (told(again.get("m")), _index(again.get("m"))) == expected
            assert again.names_to_tidy() == []
            assert again.get("m").tidy(0) == ForgottenCounts()


@contextmanager
def _failing_disk(memory: Memory) -> Iterator[None]:
    connection = memory._journal.connection
    connection.set_progress_handler(lambda: 1, 20)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


@pytest.mark.parametrize("after", [1, 2, 5, 9])
def test_a_step_that_the_disk_refuses_is_undone_and_the_rest_is_finished_by_tidying(
    store: MemoryStore,
    fill: Callable[[MemoryStore, str], Memory],
    folder: Path,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    undisturbed, memory = fill(store, "undisturbed"), fill(store, "m")
    ledger = Ledger(folder / "memories" / "m.sqlite")
    counts = undisturbed.forget(SCOPE)
    step, steps = forgetting.Forgetting.step, []

    def failing(self: forgetting.Forgetting, connection: sqlite3.Connection) -> Change | None:
        steps.append(self)
        if len(steps) > after:
            with _failing_disk(memory):
                return step(self, connection)
        return step(self, connection)

    with monkeypatch.context() as patched:
        patched.setattr(forgetting.Forgetting, "step", failing)
        with pytest.raises(StoreUnavailable, match="refused"):
            memory.forget(SCOPE)

    assert ledger.rows("PRAGMA integrity_check") == [("ok",)]
    partly = memory.facts().contents.forgotten_frames
    assert partly + memory.facts().contents.counted_frames == 120
    assert 0 < partly < counts.frames
    assert partly + memory.tidy(0).frames == counts.frames
    assert told(memory) == told(undisturbed)
    assert _index(memory) == _index(undisturbed)
    assert _unfinished(folder, "m") == 0


def test_a_removal_that_cannot_be_put_on_record_forgets_nothing(
    store: MemoryStore, fill: Callable[[MemoryStore, str], Memory], folder: Path, told: Told
) -> None:
    memory = fill(store, "m")
    before = told(memory)

    memory._journal.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="refused"):
        memory.forget(SCOPE)
    memory._journal.connection.execute("PRAGMA query_only = OFF")

    assert told(memory) == before
    assert memory.tidy(0) == ForgottenCounts()
    assert told(memory) == before


def test_no_stream_is_no_stream_after_a_restart_too(
    open_store: Callable[[], MemoryStore], fill: Callable[[MemoryStore, str], Memory], told: Told
) -> None:
    memory = fill(open_store(), "m")
    before = told(memory)
    with closing(_reader(memory)) as reader:  # in the way of the end of any removal
        memory._journal.connection.execute("PRAGMA busy_timeout = 0")
        memory.forget(Scope(stream_ids=frozenset()))
        reader.rollback()

    memory = open_store().get("m")
    memory.tidy(0)

    assert told(memory) == before


def _reader(memory: Memory) -> sqlite3.Connection:
    connection = sqlite3.connect(memory._path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM frames").fetchone()
    return connection


def test_a_long_reading_keeps_what_was_removed_in_the_log_and_tidying_ends_that(
    store: MemoryStore, fill: Callable[[MemoryStore, str], Memory], folder: Path, told: Told
) -> None:
    memory = fill(store, "m")
    memory._journal.connection.execute("PRAGMA busy_timeout = 0")
    embedding = memory.embedding(1).astype("<f2").tobytes()
    log = folder / "memories" / "m.sqlite-wal"
    with closing(_reader(memory)):
        with pytest.raises(StoreUnavailable, match="a reading keeps the write-ahead log"):
            memory.forget(Scope())
        assert embedding in log.read_bytes()
        assert memory.facts().contents.counted_frames == 0
        assert _unfinished(folder, "m") == 1

    assert memory.tidy(0) == ForgottenCounts()

    assert embedding not in log.read_bytes() + (folder / "memories" / "m.sqlite").read_bytes()
    assert _unfinished(folder, "m") == 0


def test_a_copy_of_the_index_that_cannot_be_written_leaves_the_removal_unfinished(
    store: MemoryStore,
    fill: Callable[[MemoryStore, str], Memory],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have_lists_early(monkeypatch, 4)
    memory = fill(store, "m")
    memory._state.upkeep.wait()

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StoreUnavailable, match=r"copy of the index anew: .* No space"):
            memory.forget(SCOPE)
    assert _unfinished(folder, "m") == 1

    assert memory.tidy(0) == ForgottenCounts()
    assert _unfinished(folder, "m") == 0


def test_frames_that_came_after_an_interrupted_removal_are_kept_when_it_is_finished(
    open_store: Callable[[], MemoryStore],
    fill: Callable[[MemoryStore, str], Memory],
    facing: Facing,
    frames: Frames,
    folder: Path,
) -> None:
    memory = fill(open_store(), "m")
    memory._journal.connection.execute("PRAGMA busy_timeout = 0")
    with closing(_reader(memory)), pytest.raises(StoreUnavailable):
        memory.forget(Scope(first_us=30_000))
    memory = open_store().get("m")
    ledger = Ledger(folder / "memories" / "m.sqlite")
    session = memory.open_session("yard", "run-1", Clock.SOURCE, 0)
    ledger.send(memory, frames(session, [facing(0), facing(2)], capture_us=[130_000, 131_000]))

    assert memory.tidy(0) == ForgottenCounts()

    assert memory.stream_facts("yard").contents.counted_frames == 2
    assert memory.facts().contents.counted_frames == 32
    assert ledger.rows("SELECT * FROM forgetting") == []
