"""After forgetting, none of the bytes of what was forgotten is left in any file of the data folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from audit import audit
from ledger import Ledger, cosine_distance
from listed import centroids_of, have_lists_early, stored
from memory_store.code_lists import CodeLists
from memory_store.embedding_table import Ids
from memory_store.errors import StoreUnavailable
from memory_store.index_copy import read_copy
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from scenes import drawn

DIMENSION = 64
VISITS = 130

WINDOW = 24
"""Bytes that do not repeat by chance."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A memory of scenes that come back, and what was shown."""

    memory: Memory
    ledger: Ledger
    folder: Path

    def blobs(self) -> dict[tuple[str, int], bytes]:
        """All vectors and thumbnails that the journal holds."""
        tables = (
            ("embedding", "exemplars", "id, embedding"),
            ("mean", "sightings", "id, mean"),
            ("jpeg", "thumbnails", "exemplar_id, jpeg"),
            ("frame", "frame_embeddings", "id, embedding"),
        )
        return {
            (kind, number): blob
            for kind, table, columns in tables
            for number, blob in self.ledger.rows(f"SELECT {columns} FROM {table}")
        }


def _jpeg(chance: np.random.Generator) -> bytes:
    """Bytes that take pages of their own."""
    return b"\xff\xd8\xff\xe0" + chance.bytes(int(chance.integers(5_000, 20_000))) + b"\xff\xd9"


@pytest.fixture
def filled(store: MemoryStore, folder: Path) -> Filled:
    """Two streams that show some hundred scenes in turn for one to three frames; one frame a millisecond."""
    memory = store.create("m", "encoder/1", DIMENSION, 0.1)
    ledger = Ledger(folder / "memories" / "m.sqlite")
    sessions = [memory.open_session(name, "run-1", Clock.SOURCE, 0) for name in ("door", "hall")]
    chance = np.random.default_rng(9)
    scenes: list[Embedding] = []
    arrivals: list[Encoded] = []
    seqs = [0, 0]
    for number in range(VISITS):
        if number % 5 != 4:
            scenes.append(drawn(chance, DIMENSION))
        scene = scenes[-1] if number % 5 != 4 else scenes[int(chance.integers(len(scenes)))]
        of = int(chance.integers(2))
        for _ in range(int(chance.integers(1, 4))):
            time_us, seen = 1000 * len(arrivals), drawn(chance, DIMENSION, scene, by=0.02)
            arrivals.append(
                Encoded(sessions[of].id, seqs[of], time_us, time_us, 1, seen, partial(bytes, _jpeg(chance)))
            )
            seqs[of] += 1
    for start in range(0, len(arrivals), 50):
        ledger.send(memory, arrivals[start : start + 50])
    running = memory._tuning._running
    assert running is not None
    running.result()  # it writes a file aside
    return Filled(memory, ledger, folder)


def _windows(blob: bytes) -> Iterator[bytes]:
    for start in range(0, len(blob) - WINDOW + 1, max(WINDOW, len(blob) // 8)):
        yield blob[start : start + WINDOW]


def _found(folder: Path, blobs: dict[tuple[str, int], bytes], but: str = "") -> set[tuple[str, int]]:
    """Name what shows anywhere in the files, or in all but those of a name."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != but]
    files = b"".join(path.read_bytes() for path in paths)
    return {name for name, blob in blobs.items() if any(window in files for window in _windows(blob))}


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*"))


SCOPES = {
    "a while": Scope(60_000, 150_000),
    "the beginning": Scope(last_us=100_000),
    "the end": Scope(first_us=100_000),
    "one stream": Scope(stream_ids=frozenset({1})),
    "one frame": Scope(0, 0),
    "everything": Scope(),
}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
def test_no_bytes_of_what_was_forgotten_are_left_and_those_of_the_rest_are(filled: Filled, scope: Scope) -> None:
    before = filled.blobs()
    assert _found(filled.folder, before) == before.keys()

    filled.ledger.forget(filled.memory, scope)

    after = filled.blobs()
    gone = {name: blob for name, blob in before.items() if blob not in set(after.values())}
    assert {kind for kind, _ in gone} == {"embedding", "mean", "jpeg", "frame"}
    assert _found(filled.folder, gone) == set()
    assert _found(filled.folder, after) == after.keys()
    audit(filled.memory, filled.ledger)


def test_range_after_range_leaves_no_bytes_either(filled: Filled) -> None:
    before = filled.blobs()
    chance = np.random.default_rng(4)

    for _ in range(12):
        first, length = int(chance.integers(0, 240)), int(chance.choice([0, 2, 10]))
        filled.ledger.forget(filled.memory, Scope(1000 * first, 1000 * (first + length)))
        before.update(filled.blobs())

    after = filled.blobs()
    gone = {name: blob for name, blob in before.items() if blob not in set(after.values())}
    assert len(gone) > 50
    assert _found(filled.folder, gone) == set()
    assert _found(filled.folder, after) == after.keys()


def test_the_files_shrink_by_what_was_forgotten(filled: Filled) -> None:
    filled.memory.forget(Scope(5_000, 5_000))  # folds the log into the file
    before = _size_bytes(filled.folder)

    filled.memory.forget(Scope(first_us=100_000))

    contents = filled.memory.facts().contents
    assert contents.stored_bytes < 0.6 * before
    assert filled.ledger.rows("PRAGMA freelist_count") == [(0,)]


def test_merged_exemplars_leave_no_bytes(filled: Filled) -> None:
    """Their frames are not forgotten: what is held of these for curves stays."""
    before = filled.blobs()

    filled.memory.compact(1.0)

    after = filled.blobs()
    gone = {name: blob for name, blob in before.items() if name[0] != "mean" and blob not in set(after.values())}
    assert {kind for kind, _ in gone} == {"embedding", "jpeg"}
    assert _found(filled.folder, gone, but="m.whatif") == set()
    assert _found(filled.folder, after) == after.keys()


@pytest.fixture
def _lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the index have lists early; many of them hold a single exemplar, which is their centroid then."""
    have_lists_early(monkeypatch, 40)


def _traces(filled: Filled, gone: list[Embedding]) -> list[float]:
    """Of each forgotten embedding, how far the nearest centroid is, in the index and in its copy."""
    filled.memory._state.upkeep.wait()
    copy = read_copy(filled.folder / "memories" / "m.index", DIMENSION)
    assert copy is not None
    centroids = np.concatenate([copy.centroids, centroids_of(filled.memory)])
    used = centroids[np.linalg.norm(centroids, axis=1) > 0]
    return [min(cosine_distance(embedding, centroid) for centroid in used) for embedding in gone]


@pytest.mark.usefixtures("_lists")
def test_what_was_forgotten_does_not_show_in_the_lists_of_the_index(filled: Filled) -> None:
    upkeep = filled.memory._state.upkeep
    upkeep.wait()
    upkeep.save()
    before = stored(filled.ledger)
    assert len(centroids_of(filled.memory)) > 30
    assert min(_traces(filled, list(before.values()))) == pytest.approx(0, abs=1e-6)

    for first in (60, 20, 150):
        filled.ledger.forget(filled.memory, Scope(1000 * first, 1000 * (first + 30)))

    after = stored(filled.ledger)
    gone = [embedding for number, embedding in before.items() if number not in after]
    assert len(gone) > 20
    assert min(_traces(filled, gone)) > 0.2
    audit(filled.memory, filled.ledger)


@pytest.mark.usefixtures("_lists")
def test_what_a_killed_process_leaves_in_the_copy_of_the_index_goes_when_the_removal_is_finished(
    filled: Filled, open_store: Callable[[], MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(filled.ledger)
    filled.memory._state.upkeep.wait()
    filled.memory._state.upkeep.save()

    def killed() -> None:
        raise StoreUnavailable("injected")

    monkeypatch.setattr(filled.memory._removal, "_erase", killed)
    with pytest.raises(StoreUnavailable, match="injected"):
        filled.memory.forget(Scope(60_000, 120_000))
    again = replace(filled, memory=open_store().get("m"))

    again.memory.tidy(0)

    after = stored(again.ledger)
    gone = [embedding for number, embedding in before.items() if number not in after]
    assert len(gone) > 10
    assert min(_traces(again, gone)) > 0.2


@pytest.mark.usefixtures("_lists")
def test_what_is_forgotten_while_lists_are_made_does_not_show_in_them(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep, before = filled.memory._state.upkeep, stored(filled.ledger)
    upkeep.wait()
    train, take_over = upkeep._lists, upkeep._take_over

    def forgetting_after_training(ids: Ids) -> CodeLists | None:
        lists = train(ids)
        filled.ledger.forget(filled.memory, Scope(20_000, 50_000))
        return lists

    def forgetting_at_the_last_moment(successor: CodeLists, missing: Ids, trained_on: int) -> None:
        filled.ledger.forget(filled.memory, Scope(90_000, 120_000))
        take_over(successor, missing, trained_on)

    monkeypatch.setattr(upkeep, "_lists", forgetting_after_training)
    monkeypatch.setattr(upkeep, "_take_over", forgetting_at_the_last_moment)

    upkeep._train()
    upkeep.save()

    after = stored(filled.ledger)
    gone = [embedding for number, embedding in before.items() if number not in after]
    assert len(gone) > 10
    assert min(_traces(filled, gone)) > 0.2
    assert upkeep.ids().tolist() == sorted(after)
    for number, embedding in after.items():
        np.testing.assert_array_equal(filled.memory.embedding(number), embedding)
    audit(filled.memory, filled.ledger)
