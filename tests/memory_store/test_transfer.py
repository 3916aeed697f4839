"""Memories as one file: what goes out is the memory of one moment, and what comes in is a whole memory or nothing."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from memory_store import transfer
from memory_store.config import MemoryStoreConfig
from memory_store.errors import (
    InvalidName,
    MemoryExists,
    MemoryNotFound,
    MemoryStoreError,
    MemoryUnreadable,
    StoreUnavailable,
    TooManyMemories,
)
from memory_store.hints import Hint, Keep
from memory_store.keeping import Budget, Keeping
from memory_store.memory import Memory
from memory_store.migrations import STEPS
from memory_store.records import Arrival, Clock, Embedding, Encoded, Rejected, Session, Unusable
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from memory_store.transfer import Export
from memory_store.wholeness import check_integrity

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]


def write(memory: Memory, session: Session, frames: Frames, facing: Facing, first_seq: int, count: int) -> None:
    """Turn by a degree a frame, and reject every tenth."""
    arrivals: list[Arrival] = []
    for seq in range(first_seq, first_seq + count):
        if seq % 10 == 9:
            arrivals.append(Unusable(session.id, seq, 5, Rejected("BROKEN", "expected a picture")))
        else:
            arrivals += frames(session, [facing(seq)], first_seq=seq)
    for start in range(0, count, 50):
        memory.remember(arrivals[start : start + 50])


@pytest.fixture
def session(memory: Memory, frames: Frames, facing: Facing) -> Session:
    """A session that has brought 200 frames into `m`."""
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    write(memory, session, frames, facing, 0, 200)
    return session


def exported(store: MemoryStore, name: str) -> bytes:
    export = store.export(name)
    try:
        size_bytes = export.take()
        data = b"".join(iter(lambda: export.read(4096), b""))
        assert (len(data), hashlib.sha256(data).digest()) == (size_bytes, export.sha256())
        return data
    finally:
        export.discard()


def adopted(store: MemoryStore, name: str, data: bytes, sha256: bytes | None = None) -> Memory:
    arrived = store.receive(name)
    try:
        for start in range(0, len(data), 5000):
            arrived.write(data[start : start + 5000])
        return store.adopt(arrived, name, len(data), sha256 or hashlib.sha256(data).digest())
    finally:
        arrived.discard()


def listing(folder: Path) -> list[str]:
    """The files of the folder, but those that SQLite keeps beside an open journal."""
    return sorted(path.name for path in (folder / "memories").iterdir() if not path.name.endswith(("-wal", "-shm")))


def test_a_memory_goes_out_and_comes_in_as_it_was(
    store: MemoryStore, memory: Memory, session: Session, told: Told, frames: Frames, facing: Facing
) -> None:
    data = exported(store, "m")

    copy = adopted(store, "copy", data)

    assert told(copy) == told(memory)
    assert copy.identity == memory.identity
    assert copy.open_session("door", "run-1", Clock.SESSION, 0).next_seq == 200
    write(copy, session, frames, facing, 200, 20)
    write(memory, session, frames, facing, 200, 20)
    assert told(copy) == told(memory)


def test_policies_hints_and_frames_that_were_kept_out_go_along(
    store: MemoryStore, memory: Memory, facing: Facing, frames: Frames, told: Told
) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1, budget=Budget(share=0.5)))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(degrees) for degrees in (0, 90, 5, 180)])
    sent[2:] = [replace(sent[2], hint=Hint(labels=("cat",))), replace(sent[3], hint=Hint(Keep.ALWAYS, 7, ("dog",)))]
    memory.remember(sent)

    copy = adopted(store, "copy", exported(store, "m"))

    assert told(copy) == told(memory)
    assert (copy.keeping(), copy.policy("door")) == (memory.keeping(), memory.policy("door"))
    assert copy.view(Scope(labels=frozenset({"cat"}))).frame_count == 1
    assert copy.curve([0.1], Scope(), 0).missing == 2  # what is held for curves stays behind, but for exemplars


def test_the_file_needs_no_others_beside_it(store: MemoryStore, session: Session, folder: Path, tmp_path: Path) -> None:
    before = listing(folder)
    alone = tmp_path / "alone.sqlite"
    alone.write_bytes(exported(store, "m"))

    assert alone.read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log
    with closing(sqlite3.connect(f"{alone.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM frames").fetchone() == (200,)
    assert listing(folder) == before


class DoingOnTheWay:
    """Stands for the event that says whether a transfer was stopped, and does something at the n-th look."""

    def __init__(self, export: Export, at_look: int, do: Callable[[], object]) -> None:
        self._event, self._at_look, self._do = export._stopped, at_look, do
        self.looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        if self.looks == self._at_look:
            self._do()
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()


@pytest.mark.parametrize("at_look", [2, 5, 9])
def test_what_is_written_while_a_memory_goes_out_is_not_held_up_and_stays_out(
    store: MemoryStore,
    memory: Memory,
    session: Session,
    told: Told,
    frames: Frames,
    facing: Facing,
    monkeypatch: pytest.MonkeyPatch,
    at_look: int,
) -> None:
    monkeypatch.setattr(transfer, "_PAGES_AT_A_TIME", 1)
    before = told(memory)
    export = store.export("m")
    # In the middle of the copy, by the same thread: if either waited for the other, this would not end.
    looking = DoingOnTheWay(export, at_look, lambda: write(memory, session, frames, facing, 200, 100))
    monkeypatch.setattr(export, "_stopped", looking)

    export.take()
    data = b"".join(iter(lambda: export.read(10**6), b""))
    export.discard()

    assert looking.looks > at_look
    assert memory.facts().contents.novel_frames > 0
    copy = adopted(store, "copy", data)
    assert told(copy) == before
    contents = copy.facts().contents
    assert contents.novel_frames + contents.repeat_frames + contents.rejected_frames == 200
    assert contents.counted_frames == contents.novel_frames + contents.repeat_frames
    assert copy.reading.verdicts(session.id, 0, 999) == memory.reading.verdicts(session.id, 0, 199)
    assert len(memory.reading.verdicts(session.id, 0, 999)) == 300


def test_a_memory_that_is_not_there_cannot_go_out(store: MemoryStore) -> None:
    with pytest.raises(MemoryNotFound, match="nobody"):
        store.export("nobody")


def test_a_damaged_memory_does_not_go_out(store: MemoryStore, session: Session, folder: Path) -> None:
    store.close()
    path = folder / "memories" / "m.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'rejections'")
        [(page_bytes,)] = connection.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * page_bytes + page_bytes // 2)
        file.write(b"\xff" * (page_bytes // 2))

    with closing(MemoryStore(folder, MemoryStoreConfig())) as again:
        export = again.export("m")
        with pytest.raises(MemoryUnreadable, match="expected a whole memory"):
            export.take()
        export.discard()
    assert listing(folder) == ["m.sqlite", "m.whatif"]


def edited(data: bytes, folder: Path, *statements: str) -> bytes:
    path = folder / "edited.sqlite"
    path.write_bytes(data)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path.read_bytes()


SPOILED: dict[str, tuple[Callable[[bytes, Path], bytes], str]] = {
    "empty": (lambda _data, _folder: b"", "an empty file"),
    "cut off": (lambda data, _folder: data[: len(data) // 2], "expected a whole memory"),
    "another kind": (lambda data, _folder: b"\x89PNG" + data[4:], "a file of another kind"),
    "another database": (lambda _data, folder: edited(b"", folder, "CREATE TABLE t (a)"), "schema version 1 to"),
    "a newer version": (lambda data, folder: edited(data, folder, "PRAGMA user_version = 99"), "got version 99"),
    "a trigger": (
        lambda data, folder: edited(data, folder, "CREATE TRIGGER t INSERT ON frames BEGIN DELETE FROM frames; END"),
        "views or triggers",
    ),
    "another table": (lambda data, folder: edited(data, folder, "CREATE TABLE t (a)"), "the tables of a memory"),
    "another column": (
        lambda data, folder: edited(data, folder, "ALTER TABLE streams ADD COLUMN more TEXT"),
        "the tables of a memory",
    ),
    "a missing index": (
        lambda data, folder: edited(data, folder, "DROP INDEX sightings_by_session"),
        "the tables of a memory",
    ),
    "a missing table": (lambda data, folder: edited(data, folder, "DROP TABLE rejections"), "the tables of a memory"),
    "no identity": (lambda data, folder: edited(data, folder, "DELETE FROM memory"), "one memory, got 0"),
    "no dimension": (lambda data, folder: edited(data, folder, "UPDATE memory SET dimension = 0"), "and 0"),
    "missing rows": (lambda data, folder: edited(data, folder, "DELETE FROM sessions"), "rows that are missing"),
    "vectors of another length": (
        lambda data, folder: edited(data, folder, "UPDATE exemplars SET embedding = x'00' WHERE id = 2"),
        "m.sqlite|copy.sqlite",
    ),
}


@pytest.mark.parametrize(("spoil", "told_why"), SPOILED.values(), ids=SPOILED.keys())
def test_what_is_no_whole_memory_is_refused_and_leaves_nothing(
    store: MemoryStore,
    session: Session,
    folder: Path,
    tmp_path: Path,
    spoil: Callable[[bytes, Path], bytes],
    told_why: str,
) -> None:
    data = spoil(exported(store, "m"), tmp_path)
    before = listing(folder)

    with pytest.raises(MemoryUnreadable, match=told_why):
        adopted(store, "copy", data)

    assert listing(folder) == before
    assert store.names() == ["m"]
    assert store.create("copy", "encoder/1", 8, 0.1).facts().contents.counted_frames == 0


def test_a_file_with_another_digest_or_length_is_refused_and_says_what_came(
    store: MemoryStore, session: Session, folder: Path
) -> None:
    data = exported(store, "m")
    before = listing(folder)
    arrived = store.receive("copy")
    arrived.write(data[:-1])

    with pytest.raises(MemoryUnreadable, match=f"expected {len(data)} bytes with SHA-256 .*, got {len(data) - 1} with"):
        store.adopt(arrived, "copy", len(data), hashlib.sha256(data).digest())
    arrived.discard()
    with pytest.raises(MemoryUnreadable, match=f"SHA-256 {'00' * 32}, got {len(data)} with"):
        adopted(store, "copy", data, bytes(32))

    assert listing(folder) == before


def test_an_older_memory_is_brought_to_the_newest_schema(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(STEPS[0])
        connection.execute("INSERT INTO memory (id, encoder_version, dimension, created_us) VALUES (1, 'old/1', 4, 7)")
        connection.execute("INSERT INTO policies VALUES (1, NULL, 0.3, 7)")
        connection.execute("PRAGMA user_version = 1")

    memory = adopted(store, "old", path.read_bytes())

    assert (memory.identity.encoder_version, memory.identity.dimension, memory.identity.created_us) == ("old/1", 4, 7)
    assert memory.policy().threshold == 0.3
    assert memory.open_session("door", "run-1", Clock.SESSION, 0).next_seq == 0


def test_a_name_that_is_taken_is_refused_before_and_after_the_bytes(
    store: MemoryStore, memory: Memory, session: Session, told: Told, folder: Path
) -> None:
    data, before = exported(store, "m"), told(memory)
    arrived = store.receive("copy")
    arrived.write(data)
    rival = store.create("copy", "encoder/2", 4, 0.5)

    with pytest.raises(MemoryExists, match="m already"):
        store.receive("m")
    with pytest.raises(MemoryExists, match="copy already"):
        store.adopt(arrived, "copy", len(data), hashlib.sha256(data).digest())
    arrived.discard()

    assert (store.get("m"), store.get("copy")) == (memory, rival)
    assert told(memory) == before
    assert rival.facts().encoder_version == "encoder/2"
    assert not [name for name in listing(folder) if name.startswith(".")]


def test_limits_and_names_hold_for_what_comes_in_too(tmp_path: Path) -> None:
    with closing(MemoryStore(tmp_path, MemoryStoreConfig(max_memories=1))) as store:
        store.create("m", "encoder/1", 8, 0.1)
        with pytest.raises(TooManyMemories, match="at most 1"):
            store.receive("copy")
        with pytest.raises(InvalidName):
            store.receive("../copy")


def _no_room(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(transfer, "SPARE_BYTES", 2**62)


def _full(patched: pytest.MonkeyPatch) -> None:
    make = transfer._draft

    def full(folder: Path, prefix: str) -> Path:
        path = make(folder, prefix)
        path.unlink()
        path.symlink_to("/dev/full")
        return path

    patched.setattr(transfer, "_draft", full)


def _unsynced(patched: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    patched.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("fill", [_no_room, _full, _unsynced])
def test_a_disk_that_is_full_takes_nothing_in_and_keeps_nothing(
    store: MemoryStore, session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[..., None]
) -> None:
    data, before = exported(store, "m"), listing(folder)

    with monkeypatch.context() as patched:
        fill(patched)
        with pytest.raises(StoreUnavailable, match=r"room for|No space"):
            adopted(store, "copy", data)

    assert listing(folder) == before
    assert adopted(store, "copy", data).facts().contents.rejected_frames == 20


def test_a_folder_that_cannot_be_synced_shows_no_memory(
    store: MemoryStore, session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, before, sync = exported(store, "m"), listing(folder), transfer._sync

    def refuse(path: Path) -> None:
        if path.is_dir():
            raise OSError(5, "Input/output error")
        sync(path)

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "_sync", refuse)
        with pytest.raises(StoreUnavailable, match="Input/output"):
            adopted(store, "copy", data)

    assert listing(folder) == before
    assert store.names() == ["m"]


def test_a_disk_without_room_for_a_copy_gives_nothing_out_and_keeps_nothing(
    store: MemoryStore, session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(folder)

    with monkeypatch.context() as patched:
        _no_room(patched)
        export = store.export("m")
        with pytest.raises(StoreUnavailable, match=r"room for \d+ bytes on the disk, found \d+"):
            export.take()
        export.discard()

    assert listing(folder) == before


def test_a_transfer_that_is_stopped_ends_and_leaves_nothing(
    store: MemoryStore, session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, before = exported(store, "m"), listing(folder)
    monkeypatch.setattr(transfer, "_PAGES_AT_A_TIME", 1)
    export = store.export("m")
    monkeypatch.setattr(export, "_stopped", DoingOnTheWay(export, 4, export._stopped.set))
    with pytest.raises(StoreUnavailable, match="stopped"):
        export.take()
    export.discard()

    arrived = store.receive("copy")
    arrived.write(data)
    monkeypatch.setattr(transfer, "check_memory", lambda _path, stopped: stopped.set())
    with pytest.raises(StoreUnavailable, match="stopped"):
        store.adopt(arrived, "copy", len(data), hashlib.sha256(data).digest())
    arrived.discard()
    for ended in (lambda: export.read(1), lambda: arrived.write(b"more")):
        with pytest.raises(StoreUnavailable, match="stopped"):
            ended()

    assert listing(folder) == before


def test_checking_ends_soon_when_it_is_stopped(store: MemoryStore, session: Session, tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    path.write_bytes(exported(store, "m"))
    export = store.export("m")
    export.stop()

    with pytest.raises(MemoryStoreError) as error, transfer._failures(export._stopped):
        pass
    with closing(transfer._reader(path, export._stopped)) as connection:
        connection.set_progress_handler(export._stopped.is_set, 1)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            check_integrity(connection)

    assert type(error.value) is StoreUnavailable


KILLED = """
import hashlib, os, signal, sys
from pathlib import Path
from memory_store import transfer, wholeness
from memory_store.config import MemoryStoreConfig
from memory_store.store import MemoryStore

folder, file, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store = MemoryStore(folder, MemoryStoreConfig())
data = file.read_bytes()
if moment == "copying":
    transfer.check_integrity = die
    store.export("m").take()
arrived = store.receive("copy")
arrived.write(data[:9999])
if moment == "receiving":
    die()
arrived.write(data[9999:])
if moment == "checking":
    wholeness.check_integrity = die
if moment == "placing":
    Path.rename = die
store.adopt(arrived, "copy", len(data), hashlib.sha256(data).digest())
"""


@pytest.mark.parametrize("moment", ["copying", "receiving", "checking", "placing"])
def test_what_a_killed_process_leaves_is_no_memory_and_gone_after_the_next_start(
    store: MemoryStore, session: Session, folder: Path, tmp_path: Path, moment: str
) -> None:
    file = tmp_path / "m.sqlite"
    file.write_bytes(exported(store, "m"))
    store.close()
    before = listing(folder)

    done = subprocess.run([sys.executable, "-c", KILLED, folder, file, moment], check=False, timeout=60)

    assert done.returncode == -signal.SIGKILL
    assert len(listing(folder)) == len(before) + 1
    with closing(MemoryStore(folder, MemoryStoreConfig())) as again:
        assert listing(folder) == before
        assert again.names() == ["m"]
        assert adopted(again, "copy", file.read_bytes()).facts().contents.rejected_frames == 20


def test_what_lay_beside_a_former_memory_is_not_taken_for_that_of_the_new_one(
    store: MemoryStore, memory: Memory, session: Session, told: Told, folder: Path
) -> None:
    data = exported(store, "m")
    memory.set_threshold(None, 0.7)
    log = (folder / "memories" / "m.sqlite-wal").read_bytes()
    for ending, stale in ((".sqlite-wal", log), (".sqlite-shm", b"stale"), (".index", b"stale")):
        (folder / "memories" / f"copy{ending}").write_bytes(stale)

    copy = adopted(store, "copy", data)

    index = folder / "memories" / "copy.index"
    assert not index.exists() or index.read_bytes() != b"stale"
    assert copy.policy().threshold == 0.1
    assert told(copy)[0] == told(memory)[0]


def test_what_came_in_is_on_the_disk_before_it_gets_its_name_and_its_name_is_before_it_is_told(
    store: MemoryStore, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, done = exported(store, "m"), list[str]()
    sync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        sync(descriptor)
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name[:8])

    def renamed(path: Path, target: Path) -> Path:
        done.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    adopted(store, "copy", data)

    assert done[:3] == [".import-", "copy.sqlite", "memories"]


def test_the_copy_of_the_index_goes_with_its_memory(store: MemoryStore, memory: Memory, folder: Path) -> None:
    (folder / "memories" / "m.index").write_bytes(b"a copy of the index")

    store.delete("m")

    assert listing(folder) == []


def test_a_deleted_memory_is_given_out_to_its_end(store: MemoryStore, session: Session) -> None:
    export = store.export("m")
    export.take()
    store.delete("m")

    data = b"".join(iter(lambda: export.read(10**6), b""))
    export.discard()

    assert adopted(store, "m", data).facts().contents.rejected_frames == 20
