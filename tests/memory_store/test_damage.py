"""Files that are damaged, are no journals, or come from the future: named as such, and the other memories serve on."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from memory_store.config import MemoryStoreConfig
from memory_store.errors import MemoryStoreError, MemoryUnreadable
from memory_store.hints import Hint, Keep
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]

PAGE_BYTES = 4096


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "memories" / "m.sqlite"


@pytest.fixture
def closed(open_store: Callable[[], MemoryStore], facing: Facing, frames: Frames, file: Path) -> bytes:
    """The bytes of a memory of some hundred exemplars, with a second one, `other`, beside it."""
    store = open_store()
    for name in ("m", "other"):
        memory = store.create(name, "encoder/1", 8, 0.0001)
        session = memory.open_session("door", "run-1", Clock.SESSION, 0)
        memory.remember(frames(session, [facing(1.5 * n) for n in range(200)]))
    store.close()
    return file.read_bytes()


def _use(memory: Memory, facing: Facing, frames: Frames) -> None:
    """Do everything that a memory is for."""
    memory.facts()
    memory.stream_facts("door")
    memory.view(Scope(last_us=100))
    memory.sightings(1, Scope())
    memory.reading.verdicts(1, 0, 999)
    memory.timeline("door", 0, 10**9, None, 999)
    memory.reading.exemplars(after=None, limit=999, newest_first=False, thumbnails=True, embeddings=True)
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(-10)]))
    memory.open_session("hall", "run-1", Clock.SESSION, 0)
    memory.tidy(0)


def _assert_the_other_serves_on(store: MemoryStore, facing: Facing, frames: Frames) -> None:
    _use(store.get("other"), facing, frames)
    assert store.get("other").facts().contents.counted_frames == 201


def _root_page(file: Path, table: str) -> int:
    connection = sqlite3.connect(file)
    [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.close()
    return int(page)


TABLES = [
    *("memory", "streams", "policies", "sessions", "exemplars", "thumbnails", "stays", "sightings", "frames"),
    *("sqlite_autoindex_sessions_1", "sqlite_autoindex_stays_1", "sqlite_autoindex_streams_1", "sqlite_schema"),
    *("sightings_by_exemplar", "sightings_by_session", "sightings_by_time", "sightings_by_end", "forgetting"),
]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("damage", [b"\x00", b"\xff"], ids=["zeros", "ones"])
def test_a_damaged_page_is_reported_as_an_unreadable_memory(
    open_store: Callable[[], MemoryStore],
    closed: bytes,
    file: Path,
    facing: Facing,
    frames: Frames,
    table: str,
    damage: bytes,
) -> None:
    page = 1 if table == "sqlite_schema" else _root_page(file, table)
    start = PAGE_BYTES * (page - 1)
    file.write_bytes(closed[:start] + damage * PAGE_BYTES + closed[start + PAGE_BYTES :])
    store = open_store()

    with pytest.raises(MemoryStoreError) as caught:
        _use(store.get("m"), facing, frames)

    assert str(file.name) in str(caught.value)
    _assert_the_other_serves_on(store, facing, frames)


@pytest.mark.parametrize("kept", [1, 99, 100, 512, 4095, 4096, 3 * 4096, 3 * 4096 + 1, -4096, -4095, -1])
def test_a_truncated_file_is_reported_as_an_unreadable_memory(
    open_store: Callable[[], MemoryStore], closed: bytes, file: Path, facing: Facing, frames: Frames, kept: int
) -> None:
    file.write_bytes(closed[:kept])
    store = open_store()

    with pytest.raises(MemoryUnreadable, match=file.name):
        _use(store.get("m"), facing, frames)

    _assert_the_other_serves_on(store, facing, frames)


@pytest.mark.parametrize(
    ("table", "column"), [("exemplars", "embedding"), ("sightings", "mean"), ("thumbnails", "jpeg")]
)
def test_a_bit_of_a_vector_or_picture_that_has_changed_is_reported_as_an_unreadable_memory(
    open_store: Callable[[], MemoryStore],
    closed: bytes,
    file: Path,
    facing: Facing,
    frames: Frames,
    table: str,
    column: str,
) -> None:
    """SQLite itself does not see it."""
    connection = sqlite3.connect(file)
    [(blob,)] = connection.execute(f"SELECT {column} FROM {table} WHERE rowid = 150")
    connection.close()
    [start] = [place for place in range(len(closed)) if closed.startswith(blob, place)]
    file.write_bytes(closed[:start] + bytes([closed[start] ^ 4]) + closed[start + 1 :])
    store = open_store()

    with pytest.raises(MemoryUnreadable, match=r"m\.sqlite.* with checksum|m\.sqlite.* its checksum"):
        _use(store.get("m"), facing, frames)

    _assert_the_other_serves_on(store, facing, frames)


def test_a_file_that_is_longer_than_it_says_or_has_a_log_beside_it_is_opened(
    store: MemoryStore, folder: Path, tmp_path: Path, facing: Facing, frames: Frames
) -> None:
    """What a killed process has left: pages may be in the log alone."""
    memory = store.create("m", "encoder/1", 8, 0.1)
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(1.5 * n) for n in range(100)]))
    left = tmp_path / "left" / "memories"
    left.mkdir(parents=True)
    for name in ("m.sqlite", "m.sqlite-wal"):
        shutil.copy(folder / "memories" / name, left / name)
    assert (left / "m.sqlite-wal").stat().st_size > 0

    with closing(MemoryStore(tmp_path / "left", MemoryStoreConfig())) as again:
        assert again.get("m").facts().contents.counted_frames == 100
    with (left / "m.sqlite").open("ab") as longer:
        longer.write(bytes(PAGE_BYTES))
    with closing(MemoryStore(tmp_path / "left", MemoryStoreConfig())) as again:
        assert again.get("m").facts().contents.counted_frames == 100


def _another_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE pets (name TEXT)")
    connection.close()


def _newer_schema(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


STRANGERS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a memory, honestly\n" * 1000),
    "random": lambda path: path.write_bytes(bytes(range(1, 256)) * 100),
    "another database": _another_database,
    "newer schema": _newer_schema,
}


@pytest.mark.parametrize("make", STRANGERS.values(), ids=STRANGERS.keys())
@pytest.mark.usefixtures("closed")
def test_a_file_that_is_no_journal_is_refused_unchanged_and_can_be_deleted(
    open_store: Callable[[], MemoryStore], file: Path, facing: Facing, frames: Frames, make: Callable[[Path], object]
) -> None:
    make(file)
    before = file.read_bytes()
    store = open_store()

    for _ in range(2):
        with pytest.raises(MemoryUnreadable, match="expected"):
            store.get("m")

    assert file.read_bytes() == before
    assert store.names() == ["m", "other"]
    _assert_the_other_serves_on(store, facing, frames)
    store.delete("m")
    assert store.names() == ["other"]
    assert [path.name for path in file.parent.iterdir() if path.name.startswith("m.")] == []
    assert store.create("m", "encoder/1", 8, 0.1).facts().contents.counted_frames == 0


@pytest.mark.usefixtures("closed")
def test_a_newer_schema_is_named(open_store: Callable[[], MemoryStore], file: Path) -> None:
    _newer_schema(file)

    with pytest.raises(MemoryUnreadable, match="at most 5, got 99: written by a newer framekeep"):
        open_store().get("m")


def test_a_memory_is_whole_again_once_its_file_is_restored(
    open_store: Callable[[], MemoryStore], closed: bytes, file: Path, facing: Facing, frames: Frames
) -> None:
    file.write_bytes(b"not a journal")
    store = open_store()
    with pytest.raises(MemoryUnreadable):
        store.get("m")

    file.write_bytes(closed)

    _use(store.get("m"), facing, frames)
    assert store.get("m").facts().contents.counted_frames == 201


KEEPINGS = {
    "no JSON": "{",
    "no object": "[1]",
    "nothing": "null",
    "a number": "7",
    "a field too many": '{"own_stream_only": false, "budget": null, "mood": 3}',
    "no budget": '{"own_stream_only": false}',
    "a horizon of nothing": '{"horizon_us": 0, "budget": null}',
    "a horizon in words": '{"horizon_us": "soon", "budget": null}',
    "a budget beyond all": '{"budget": {"share": 2.0}}',
    "a budget of none": '{"budget": 7}',
    "a deep hole": "[" * 100_000,
}


@pytest.mark.parametrize("keeping", KEEPINGS.values(), ids=KEEPINGS.keys())
@pytest.mark.usefixtures("closed")
def test_a_policy_that_is_none_is_reported_as_an_unreadable_memory(
    open_store: Callable[[], MemoryStore], file: Path, facing: Facing, frames: Frames, keeping: str
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE policies SET keeping = ?", (keeping,))
    store = open_store()

    with pytest.raises(MemoryUnreadable, match=file.name):
        store.get("m")

    _assert_the_other_serves_on(store, facing, frames)


@pytest.mark.parametrize(
    "damage", ["DELETE FROM withheld", "UPDATE withheld SET reason = 77", "UPDATE frames SET kind = 9"]
)
def test_a_withheld_frame_without_a_reason_is_reported_as_an_unreadable_memory(
    memory: Memory, facing: Facing, frames: Frames, file: Path, damage: str
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember([replace(frame, hint=Hint(Keep.NEVER)) for frame in frames(session, [facing(0)])])
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(damage)

    with pytest.raises(MemoryUnreadable, match=file.name):
        memory.reading.verdicts(session.id, 0, 9)
