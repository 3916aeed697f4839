"""A disk that refuses, and copies that cannot follow: what is left, and that it can go on."""

import os
import sqlite3
from collections.abc import Callable

import numpy as np
import pytest

from memory_store.errors import MemoryExists, StoreUnavailable, StreamNotFound
from memory_store.memory import Memory
from memory_store.records import Arrival, Clock, Embedding, Encoded, Rejected, Session, Unusable
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]
Break = Callable[[sqlite3.Connection], None]


def _full(connection: sqlite3.Connection) -> None:
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def _read_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


def _fails_midway(connection: sqlite3.Connection) -> None:
    connection.set_progress_handler(lambda: 1, 150)


def _mended(connection: sqlite3.Connection) -> None:
    connection.set_progress_handler(None, 0)
    connection.execute("PRAGMA query_only = OFF")
    connection.execute("PRAGMA max_page_count = 4294967294")


@pytest.fixture
def group(facing: Facing, frames: Frames) -> Callable[[Session, int], list[Arrival]]:
    """60 frames of a session that turns by 10 degrees each and then stops; the last is rejected."""

    def group(session: Session, first_seq: int) -> list[Arrival]:
        seen = [facing(10 * min(number, 50)) for number in range(59)]
        rejected = Unusable(session.id, first_seq + 59, 5, Rejected("BROKEN", "expected a picture"))
        return [*frames(session, seen, first_seq=first_seq), rejected]

    return group


@pytest.mark.parametrize("fail", [_full, _read_only, _fails_midway])
def test_a_refused_commit_leaves_no_trace_and_the_same_frames_can_be_sent_again(
    store: MemoryStore,
    told: Told,
    group: Callable[[Session, int], list[Arrival]],
    open_store: Callable[[], MemoryStore],
    fail: Break,
) -> None:
    memory, undisturbed = store.create("m", "encoder/1", 8, 0.1), store.create("undisturbed", "encoder/1", 8, 0.1)
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    undisturbed.open_session("door", "run-1", Clock.SESSION, 0)
    verdicts = [undisturbed.remember(group(session, first)) for first in (0, 60)]
    connection = memory._journal._connection
    assert memory.remember(group(session, 0)) == verdicts[0]
    before = told(memory)

    sent = group(session, 60)
    # What is free in the pages of a full file would take the frames alone.
    big = Encoded(session.id, 120, 10**6, None, 1, np.eye(8, dtype=np.float32)[7], lambda: bytes(200_000))
    for _ in range(2):
        fail(connection)
        with pytest.raises(StoreUnavailable, match="refused"):
            memory.remember([*sent, big])
        _mended(connection)
        assert told(memory) == before

    assert memory.remember(sent) == verdicts[1]
    assert told(memory) == told(undisturbed)
    expected = told(memory)
    assert told(open_store().get("m")) == expected


def test_a_commit_that_fails_by_itself_leaves_no_trace(
    memory: Memory, told: Told, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    before = told(memory)

    def refuse(_: object) -> None:
        raise StoreUnavailable("injected")

    with monkeypatch.context() as patched:
        patched.setattr(memory._journal, "commit", refuse)
        with pytest.raises(StoreUnavailable, match="injected"):
            memory.remember(frames(session, [facing(0), facing(90)]))

    assert told(memory) == before
    assert memory.open_session("door", "run-1", Clock.SESSION, 0).next_seq == 0
    assert len(memory.remember(frames(session, [facing(0), facing(90)]))) == 2


def test_a_thumbnail_that_cannot_be_made_leaves_no_trace(
    memory: Memory, told: Told, facing: Facing, frames: Frames
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    before = told(memory)

    def fail() -> bytes:
        raise RuntimeError("injected")

    broken = Encoded(session.id, 1, 1000, None, 1, facing(90), fail)
    with pytest.raises(RuntimeError, match="injected"):
        memory.remember([*frames(session, [facing(0)]), broken])

    assert told(memory) == before
    assert len(memory.remember(frames(session, [facing(0), facing(90)]))) == 2


def test_a_refused_change_of_policy_leaves_the_old_one_in_force(memory: Memory) -> None:
    memory.create_stream("door", None)
    before = memory.policy(), memory.policy("door")
    _read_only(memory._journal._connection)

    for stream in (None, "door"):
        with pytest.raises(StoreUnavailable):
            memory.set_threshold(stream, 0.5)

    assert (memory.policy(), memory.policy("door")) == before
    _mended(memory._journal._connection)
    memory.set_threshold("door", 0.5)
    assert memory.policy("door").revision == 2


def test_a_refused_stream_or_session_is_not_there_and_can_be_opened_again(memory: Memory) -> None:
    _read_only(memory._journal._connection)

    with pytest.raises(StoreUnavailable):
        memory.create_stream("door", None)
    with pytest.raises(StoreUnavailable):
        memory.open_session("door", "run-1", Clock.SESSION, 0)

    with pytest.raises(StreamNotFound):
        memory.stream_facts("door")
    _mended(memory._journal._connection)
    assert memory.open_session("door", "run-1", Clock.SESSION, 0).next_seq == 0


@pytest.mark.logs_errors
@pytest.mark.parametrize("copy", ["upkeep.add", "forest.grow"])
def test_copies_that_cannot_follow_the_journal_refuse_writes_until_the_memory_is_reopened(
    store: MemoryStore,
    open_store: Callable[[], MemoryStore],
    told: Told,
    group: Callable[[Session, int], list[Arrival]],
    monkeypatch: pytest.MonkeyPatch,
    copy: str,
) -> None:
    memory, undisturbed = store.create("m", "encoder/1", 8, 0.1), store.create("undisturbed", "encoder/1", 8, 0.1)
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    undisturbed.open_session("door", "run-1", Clock.SESSION, 0)
    verdicts = [undisturbed.remember(group(session, first)) for first in (0, 60)]
    expected = told(undisturbed)

    def fail(*_: object) -> None:
        raise MemoryError("injected")

    part, method = copy.split(".")
    with monkeypatch.context() as patched:
        patched.setattr(getattr(memory._state, part), method, fail)
        with pytest.raises(StoreUnavailable, match="journal"):
            memory.remember(group(session, 0))

    for refused in (
        lambda: memory.remember(group(session, 60)),
        lambda: memory.open_session("door", "run-1", Clock.SESSION, 0),
        lambda: memory.set_threshold(None, 0.5),
        lambda: memory.create_stream("hall", None),
    ):
        with pytest.raises(StoreUnavailable, match="journal"):
            refused()
    again = open_store().get("m")
    assert again.open_session("door", "run-1", Clock.SESSION, 0).next_seq == 60
    assert again.reading.verdicts(session.id, 0, 59) == verdicts[0]
    assert again.remember(group(session, 60)) == verdicts[1]
    assert told(again) == expected


def test_a_memory_whose_creation_is_refused_is_not_there_and_can_be_created_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StoreUnavailable, match="No space"):
            store.create("m", "encoder/1", 8, 0.1)

    assert store.names() == []
    assert store.create("m", "encoder/1", 8, 0.1).facts().dimension == 8
    with pytest.raises(MemoryExists):
        store.create("m", "encoder/1", 8, 0.1)
