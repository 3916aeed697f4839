"""The copy of the index beside a journal: it only saves making the lists again, and never changes an answer."""

import json
import logging
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ledger import Ledger, cosine_distance
from listed import DIMENSION, centroids_of, check_index, grow, have_lists_early, send, some_scenes, stored
from memory_store import index_upkeep
from memory_store.errors import StoreUnavailable
from memory_store.index_copy import IndexCopy, read_copy, write_copy
from memory_store.memory import Memory
from memory_store.records import Embedding, Encoded
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]


@pytest.fixture(autouse=True)
def _lists_early(monkeypatch: pytest.MonkeyPatch) -> None:
    have_lists_early(monkeypatch, 64)


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    return store.create("m", "encoder/1", DIMENSION, 0.1)


@pytest.fixture
def grown(memory: Memory, frames: Frames) -> Memory:
    grow(memory, frames)
    return memory


def _lists(memory: Memory) -> dict[int, int]:
    upkeep = memory._state.upkeep
    assert upkeep.index.lists is not None
    ids, lists = upkeep.index.lists.contents()
    return dict(zip(ids.tolist(), lists.tolist(), strict=True))


def test_the_copy_saves_assigning_the_lists_and_what_came_after_it_is_assigned(
    grown: Memory,
    ledger: Ledger,
    frames: Frames,
    told: Told,
    open_store: Callable[[], MemoryStore],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = _lists(grown)
    send(grown, frames, some_scenes(30, 9), "yard")
    grown._state.upkeep.wait()
    expected, lists, centroids = told(grown), _lists(grown), centroids_of(grown)

    again = open_store().get("m")

    np.testing.assert_array_equal(centroids_of(again), centroids)
    assert _lists(again) == lists
    assert before.items() < lists.items()
    assert told(again) == expected
    assert caplog.records == []
    check_index(again, ledger)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _of_another_width(file: Path) -> None:
    copy = read_copy(file, DIMENSION)
    assert copy is not None
    narrow = np.ascontiguousarray(copy.centroids[:, :-1])
    write_copy(file, IndexCopy(copy.memory_uuid, copy.trained_on, narrow, copy.ids, copy.lists))


def _of_another_memory(file: Path) -> None:
    copy = read_copy(file, DIMENSION)
    assert copy is not None
    write_copy(file, IndexCopy("0" * 32, copy.trained_on, copy.centroids, copy.ids[::2], copy.lists[::2] * 0))


def _of_another_format(file: Path) -> None:
    line, _, body = file.read_bytes()[:-4].partition(b"\n")
    content = json.dumps({**json.loads(line), "format": "framekeep index 99"}).encode() + b"\n" + body
    file.write_bytes(content + zlib.crc32(content).to_bytes(4, "little"))


def _a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (Path.unlink, "m.sqlite has no copy of its index"),
    "cut": (_cut, "expected a copy of an index in .*m.index: got other bytes"),
    "empty": (_empty, "expected a copy of an index in .*m.index: got other bytes"),
    "flipped": (_flipped, "expected a copy of an index in .*m.index: got other bytes"),
    "of another width": (_of_another_width, "expected 'framekeep index 1' of width 32 in .*m.index"),
    "of another memory": (_of_another_memory, "m.index belongs to another memory"),
    "of another format": (_of_another_format, "expected 'framekeep index 1' of width 32 in .*m.index"),
    "unreadable": (_a_folder, "Is a directory"),
}


@pytest.mark.parametrize(("damage", "warning"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_copy_that_is_not_what_was_written_is_told_made_again_and_never_changes_an_answer(
    grown: Memory,
    ledger: Ledger,
    told: Told,
    folder: Path,
    open_store: Callable[[], MemoryStore],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], object],
    warning: str,
) -> None:
    queries = some_scenes(10, 4)
    expected = told(grown), [grown.nearest(query, grown.view(Scope()), 5) for query in queries]
    grown._state.upkeep.stop()
    file = folder / "memories" / "m.index"
    damage(file)

    again = open_store().get("m")

    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(re.search(warning, message) for message in messages), messages
    assert (told(again), [again.nearest(query, again.view(Scope()), 5) for query in queries]) == expected
    check_index(again, ledger)
    again._state.upkeep.wait()
    check_index(again, ledger)
    assert len(centroids_of(again)) > 1
    assert [again.nearest(query, again.view(Scope()), 5) for query in queries] == expected[1]
    if file.is_file():
        copy = read_copy(file, DIMENSION)
        assert copy is not None
        assert (copy.memory_uuid, len(copy.ids)) == (again.identity.uuid, 240)


def test_a_copy_that_cannot_be_written_costs_a_warning_and_nothing_else(
    memory: Memory,
    ledger: Ledger,
    frames: Frames,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (folder / "memories" / "m.index").mkdir()
    (folder / "memories" / "m.index" / "something").touch()

    send(memory, frames, some_scenes(90, 1))
    memory._state.upkeep.wait()

    assert "which only makes the next start slower" in caplog.text
    assert len(centroids_of(memory)) > 1
    check_index(memory, ledger)


def test_a_memory_that_has_become_small_has_no_copy_any_more(grown: Memory, folder: Path) -> None:
    assert (folder / "memories" / "m.index").exists()

    grown.forget(Scope(first_us=20_000))

    assert grown.facts().contents.exemplars < 64
    assert not (folder / "memories" / "m.index").exists()


def _nearest_centroid(folder: Path, gone: list[Embedding]) -> tuple[float, IndexCopy]:
    """How near the nearest centroid on disk is to any of some embeddings, and the copy."""
    copy = read_copy(folder / "memories" / "m.index", DIMENSION)
    assert copy is not None
    used = copy.centroids[np.linalg.norm(copy.centroids, axis=1) > 0]
    return min(cosine_distance(embedding, centroid) for embedding in gone for centroid in used), copy


def test_what_is_forgotten_while_a_memory_is_closed_leaves_its_copy_when_it_is_opened_again(
    grown: Memory,
    ledger: Ledger,
    folder: Path,
    open_store: Callable[[], MemoryStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, erase = stored(ledger), grown._journal.give_room_back

    def while_closing(pages: int) -> bool:
        grown._state.stop()  # what closing does first
        return erase(pages)

    monkeypatch.setattr(grown._journal, "give_room_back", while_closing)
    with pytest.raises(StoreUnavailable, match="is finished when it is opened again"):
        grown.forget(Scope(20_000, 60_000))

    again = open_store().get("m")
    again.tidy(0)
    again._state.upkeep.wait()

    left = stored(ledger)
    gone = [embedding for number, embedding in before.items() if number not in left]
    away, copy = _nearest_centroid(folder, gone)
    assert len(gone) > 30
    assert away > 0.05
    assert copy.ids.tolist() == sorted(left)


def test_what_was_merged_before_a_kill_shows_in_no_list_when_its_frames_are_forgotten(
    grown: Memory,
    ledger: Ledger,
    folder: Path,
    open_store: Callable[[], MemoryStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = stored(ledger)

    def killed() -> None:
        raise StoreUnavailable("killed")

    monkeypatch.setattr(grown._removal, "_erase", killed)
    with pytest.raises(StoreUnavailable, match="killed"):
        grown.compact(0.9)
    merged = [number for number in before if number not in stored(ledger)]
    monkeypatch.setattr(index_upkeep, "FIRST_TRAINING", 16)  # which are left

    again = open_store().get("m")
    again.forget(Scope(0, 120_000))

    lists = again._state.upkeep.index.lists
    assert lists is not None
    gone = [before[number] for number in merged if number <= 100]
    used = lists.centroids[np.linalg.norm(lists.centroids, axis=1) > 0]
    assert len(gone) > 30
    assert min(cosine_distance(embedding, centroid) for embedding in gone for centroid in used) > 0.05


def test_what_the_copy_does_not_know_counts_as_not_saved(
    grown: Memory, frames: Frames, folder: Path, open_store: Callable[[], MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(grown, frames, some_scenes(60, 20), "late")
    assert grown.facts().contents.exemplars > 260

    again = open_store().get("m")

    upkeep = again._state.upkeep
    copy = read_copy(folder / "memories" / "m.index", DIMENSION)
    assert copy is not None
    assert upkeep._saved == len(copy.ids) == 240
    monkeypatch.setattr(index_upkeep, "_CHUNK", 8)  # of which there are several then
    with ThreadPoolExecutor(2) as threads:
        lists = index_upkeep.lists_from(copy, upkeep.index.table, threads)
    assert upkeep.index.lists is not None
    for found in (lists, upkeep.index.lists):
        ids, numbers = found.contents()
        assert ids.tolist() == upkeep.ids().tolist()
        assert numbers[:240].tolist() == copy.lists.tolist()


@pytest.mark.parametrize(
    ("ids", "lists", "message"),
    [([1, 3, 3], [0, 1, 0], "expected ascending exemplars"), ([1, 2, 3], [0, 2, 0], "expected lists from 0 to 1")],
)
def test_a_copy_that_makes_no_sense_is_refused(ids: list[int], lists: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IndexCopy("0" * 32, 3, np.zeros((2, 4), np.float32), np.array(ids), np.array(lists))
