"""The data folder: names, one process at a time, creating and deleting."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memory_store.config import MemoryStoreConfig
from memory_store.errors import (
    DataFolderInUse,
    InvalidName,
    InvalidThreshold,
    MemoryExists,
    MemoryNotFound,
    PolicyChanged,
    StoreUnavailable,
    TooManyMemories,
    TooManyStreams,
)
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]

OPEN = """
import sys
from pathlib import Path
from memory_store.config import MemoryStoreConfig
from memory_store.errors import DataFolderInUse
from memory_store.store import MemoryStore
try:
    store = MemoryStore(Path(sys.argv[1]), MemoryStoreConfig())
except DataFolderInUse:
    sys.exit(3)
print(*store.names(), flush=True)
sys.stdin.read()
"""


def _program(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_data_folder_in_use_is_refused_to_another_process_and_free_after_closing(
    store: MemoryStore, folder: Path
) -> None:
    store.create("m", "encoder/1", 8, None)

    with _program(folder) as refused:
        refused.communicate()
    store.close()
    with _program(folder) as taking:
        names, _ = taking.communicate("")

    assert (refused.returncode, taking.returncode) == (3, 0)
    assert names == "m\n"


def test_a_killed_process_lets_go_of_its_data_folder(folder: Path) -> None:
    with _program(folder) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DataFolderInUse, match="another process"):
            MemoryStore(folder, MemoryStoreConfig())
        holder.kill()
        holder.wait()

    MemoryStore(folder, MemoryStoreConfig()).close()


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(StoreUnavailable, match="data folder"):
        MemoryStore(tmp_path / "data", MemoryStoreConfig())


BAD_NAMES = [
    *("", ".", "..", ".hidden", "-dash", "_under", "a b", "a\n", "\na", "a\x00b", "ä", "a" * 64),
    *("../m", "a/b", "a\\b", "/etc/passwd", "~", "m?mode=memory", "%2e%2e", "m\u202e"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_of_another_form_are_refused_before_anything_is_touched(
    store: MemoryStore, folder: Path, name: str
) -> None:
    before = sorted(folder.parent.rglob("*"))

    with pytest.raises(InvalidName, match="expected a name"):
        store.create(name, "encoder/1", 8, None)
    with pytest.raises(InvalidName):
        store.get(name)
    with pytest.raises(InvalidName):
        store.delete(name)

    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["a", "0", "Lobby-cam_2.mp4", "a" * 63, "a..b", "m.sqlite", "m.sqlite-wal", "m.draft"])
def test_names_of_the_right_form_are_taken_beside_each_other(store: MemoryStore, name: str) -> None:
    store.create("m", "encoder/m", 8, None)
    store.create(name, "encoder/other", 4, None)

    assert store.names() == sorted(["m", name])
    assert [store.get(each).identity.encoder_version for each in ("m", name)] == ["encoder/m", "encoder/other"]


def test_a_memory_is_created_once(store: MemoryStore) -> None:
    memory = store.create("m", "encoder/1", 8, 0.2)

    with pytest.raises(MemoryExists, match="m already"):
        store.create("m", "encoder/2", 4, 0.3)

    assert store.get("m") is memory
    assert (memory.facts().encoder_version, memory.policy().threshold) == ("encoder/1", 0.2)


def test_a_memory_created_without_a_threshold_has_the_configured_one(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path, MemoryStoreConfig(novelty_threshold=0.25))

    assert store.create("m", "encoder/1", 8, None).policy().threshold == 0.25
    store.close()


@pytest.mark.parametrize("threshold", [0.0, -0.1, 2.0001, float("nan"), float("inf")])
def test_thresholds_outside_their_range_are_refused_everywhere(store: MemoryStore, threshold: float) -> None:
    memory = store.create("m", "encoder/1", 8, 2.0)

    with pytest.raises(InvalidThreshold, match=str(threshold)):
        store.create("n", "encoder/1", 8, threshold)
    with pytest.raises(InvalidThreshold):
        memory.set_threshold(None, threshold)
    with pytest.raises(InvalidThreshold):
        memory.create_stream("door", threshold)
    with pytest.raises(ValueError, match="novelty_threshold"):
        MemoryStoreConfig(novelty_threshold=threshold)

    assert store.names() == ["m"]
    assert memory.policy().threshold == 2.0
    assert memory.stream_names() == {}


def test_a_folder_takes_only_so_many_memories_and_a_memory_so_many_streams(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path, MemoryStoreConfig(max_memories=2, max_streams=2))
    memory = store.create("a", "encoder/1", 8, None)
    store.create("b", "encoder/1", 8, None)
    memory.create_stream("door", None)
    memory.open_session("hall", "run-1", Clock.SESSION, 0)

    with pytest.raises(TooManyMemories, match="at most 2"):
        store.create("c", "encoder/1", 8, None)
    with pytest.raises(TooManyStreams, match="at most 2"):
        memory.create_stream("yard", None)
    with pytest.raises(TooManyStreams, match="at most 2"):
        memory.open_session("yard", "run-1", Clock.SESSION, 0)

    assert store.names() == ["a", "b"]
    assert sorted(memory.stream_names().values()) == ["door", "hall"]
    assert memory.open_session("hall", "run-2", Clock.SESSION, 0).next_seq == 0
    store.delete("b")
    store.create("c", "encoder/1", 8, None)
    store.close()


@pytest.mark.parametrize("number", [0, -1, 100_001])
@pytest.mark.parametrize("setting", ["max_memories", "max_streams"])
def test_limits_outside_their_range_are_refused_by_name(setting: str, number: int) -> None:
    limits: dict[str, Any] = {setting: number}
    with pytest.raises(ValueError, match=f"{setting}: expected .* got {number}"):
        MemoryStoreConfig(**limits)


def test_an_unknown_memory_is_not_found(store: MemoryStore) -> None:
    with pytest.raises(MemoryNotFound, match="nobody"):
        store.get("nobody")
    with pytest.raises(MemoryNotFound, match="nobody"):
        store.delete("nobody")


def test_a_deleted_memory_is_gone_with_its_files_and_its_name_is_free(
    store: MemoryStore, folder: Path, facing: Facing, frames: Frames
) -> None:
    old = store.create("m", "encoder/1", 8, 0.1)
    session = old.open_session("door", "run-1", Clock.SESSION, 0)
    old.remember(frames(session, [facing(0)]))

    store.delete("m")

    assert store.names() == []
    assert list((folder / "memories").iterdir()) == []
    with pytest.raises(MemoryNotFound, match="deleted"):
        old.remember(frames(session, [facing(0)], first_seq=1))
    new = store.create("m", "encoder/2", 4, 0.1)
    assert (new.facts().contents.counted_frames, new.facts().encoder_version) == (0, "encoder/2")


READERS: dict[str, Callable[[Memory], object]] = {
    "facts": lambda memory: memory.facts(),
    "stream facts": lambda memory: memory.stream_facts("door"),
    "a view that is cut": lambda memory: memory.view(Scope(last_us=0)),
    "verdicts": lambda memory: memory.reading.verdicts(1, 0, 9),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_whoever_still_reads_a_deleted_memory_is_told_that_it_is_gone(
    store: MemoryStore, facing: Facing, frames: Frames, read: Callable[[Memory], object]
) -> None:
    memory = store.create("m", "encoder/1", 8, 0.1)
    memory.remember(frames(memory.open_session("door", "run-1", Clock.SESSION, 0), [facing(0), facing(1)]))
    store.delete("m")

    with pytest.raises(MemoryNotFound, match="deleted"):
        read(memory)


def test_a_memory_is_deleted_only_at_the_expected_revision(store: MemoryStore) -> None:
    memory = store.create("m", "encoder/1", 8, 0.1)
    memory.set_threshold(None, 0.2)

    with pytest.raises(PolicyChanged, match="expected revision 1, found 2"):
        store.delete("m", expected_revision=1)

    assert store.get("m") is memory
    store.delete("m", expected_revision=2)
    assert store.names() == []


def test_a_closed_store_refuses(store: MemoryStore, facing: Facing, frames: Frames) -> None:
    memory = store.create("m", "encoder/1", 8, 0.1)
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        store.get("m")
    with pytest.raises(StoreUnavailable, match="stopping"):
        memory.remember(frames(session, [facing(0)]))


def test_a_closed_store_touches_its_former_folder_no_more(store: MemoryStore, folder: Path) -> None:
    store.create("m", "encoder/1", 8, 0.1)
    store.close()
    with closing(MemoryStore(folder, MemoryStoreConfig())) as successor:
        with pytest.raises(StoreUnavailable, match="closed"):
            store.create("n", "encoder/1", 8, 0.1)
        with pytest.raises(StoreUnavailable, match="closed"):
            store.delete("m")

        assert successor.names() == ["m"]


def test_what_a_killed_creation_has_left_is_cleared_away(store: MemoryStore, folder: Path) -> None:
    for leftover in ("m.draft", "m.draft-wal", "m.sqlite-wal", "m.sqlite-shm"):
        (folder / "memories" / leftover).write_bytes(b"half a file")

    assert store.names() == []
    memory = store.create("m", "encoder/1", 8, 0.1)

    assert memory.facts().contents.counted_frames == 0
    assert not (folder / "memories" / "m.draft").exists()
