"""The file beside a journal of what is held for curves over thresholds: saved, lost, damaged, and forgotten from."""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from briefs import exemplars_told
from memory_store import tuning
from memory_store.config import MemoryStoreConfig
from memory_store.errors import StoreUnavailable
from memory_store.memory import Memory
from memory_store.records import Embedding, Encoded
from memory_store.scope import Scope
from memory_store.seen_frames import SeenFrame
from memory_store.store import MemoryStore
from memory_store.what_if import THRESHOLDS
from memory_store.what_if_copy import read_copy
from scenes import walk

Frames = Callable[..., list[Encoded]]
Verified = Callable[[], Memory]

DIMENSION = 32


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    return store.create("m", "encoder/1", DIMENSION, 0.1)


Send = Callable[..., None]


def test_what_is_held_is_saved_on_closing_and_goes_on_from_there(
    memory: Memory, send: Send, open_store: Callable[[], MemoryStore], verified: Verified
) -> None:
    seen = walk(DIMENSION, 7, 500)
    send(memory, seen[:300])
    before = memory.curve(THRESHOLDS, Scope(), 0)

    again = verified()
    assert replace(again.curve(THRESHOLDS, Scope(), 0), bytes_each=before.bytes_each) == before
    send(again, seen[300:])

    other = open_store().create("other", "encoder/1", DIMENSION, 0.1)
    send(other, seen)
    whole = open_store().get("m").curve(THRESHOLDS, Scope(), 0)
    assert (whole.frames, whole.missing) == (500, 0)
    assert exemplars_told(whole) == exemplars_told(open_store().get("other").curve(THRESHOLDS, Scope(), 0))


@pytest.mark.parametrize("saved", [0, 200])
def test_what_a_killed_server_had_not_saved_is_told_as_missing(
    memory: Memory,
    send: Send,
    folder: Path,
    tmp_path: Path,
    open_store: Callable[[], MemoryStore],
    monkeypatch: pytest.MonkeyPatch,
    saved: int,
) -> None:
    monkeypatch.setattr(tuning, "_SAVED_AFTER", 10**6)
    seen = walk(DIMENSION, 8, 500)
    send(memory, seen[:saved])
    one = open_store().get("m") if saved else memory
    send(one, seen[saved:])
    killed = Path(shutil.copytree(folder, tmp_path / "killed"))
    assert (killed / "memories" / "m.whatif").exists() == bool(saved)

    with closing(MemoryStore(killed, MemoryStoreConfig())) as again:
        curve = again.get("m").curve([0.1], Scope(), 0)
        kept = sum(
            again.get("m").reading.exemplar(1 + number, thumbnail=False, embedding=False).seq >= saved
            for number in range(again.get("m").facts().contents.exemplars)
        )
        assert (curve.frames, curve.missing) == (saved + kept, 500 - saved - kept)
        assert curve.outcomes[0].error == curve.missing / 500
        assert again.get("m").facts().contents.counted_frames == 500
    with closing(MemoryStore(killed, MemoryStoreConfig())) as again:  # what was made up for once is not lost again
        assert again.get("m").curve([0.1], Scope(), 0) == curve


def test_exemplars_that_are_kept_while_lost_ones_are_made_up_for_are_not_taken_for_saved(tmp_path: Path) -> None:
    lost = [
        SeenFrame(1, number, frame, own_stream_only=False, horizon_us=None)
        for number, frame in enumerate(walk(DIMENSION, 17, 6))
    ]
    released = threading.Event()
    with ThreadPoolExecutor(1) as aside:
        aside.submit(released.wait)
        told = tuning.Tuning(tmp_path / "m.sqlite", "0" * 32, DIMENSION, 2000, aside)
        told.make_up(lost[:4], 5)
        told.add(lost[4:], 7)
        told.save()
        saved = read_copy(tmp_path / "m.whatif", DIMENSION)
        assert saved is not None
        assert (told.next_exemplar, saved.next_exemplar) == (1, 1)

        released.set()

        assert told.curve([0.1], Scope()).frames == 6
        assert told.next_exemplar == 5
        told.add(lost[:1], 8)
        assert told.next_exemplar == 8


def test_what_is_held_is_saved_now_and_then(
    memory: Memory, send: Send, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_SAVED_AFTER", 200)
    send(memory, walk(DIMENSION, 9, 600))
    running = memory._tuning._running
    assert running is not None
    running.result()

    assert (folder / "memories" / "m.whatif").stat().st_size > 200 * DIMENSION * 2


def _embeddings_in(path: Path, seen: Sequence[Embedding]) -> list[int]:
    content = path.read_bytes() if path.exists() else b""
    return [number for number, embedding in enumerate(seen) if embedding.astype("<f2").tobytes() in content]


@pytest.mark.parametrize("reopened", [False, True])
def test_what_is_forgotten_leaves_no_bytes_in_what_is_held(
    memory: Memory, send: Send, folder: Path, verified: Verified, *, reopened: bool
) -> None:
    seen = walk(DIMENSION, 10, 200)
    send(memory, seen)
    one = verified() if reopened else memory
    path = folder / "memories" / "m.whatif"
    assert not reopened or _embeddings_in(path, seen) == list(range(200))

    one.forget(Scope(50_000, 149_000))

    left = [*range(50), *range(150, 200)]
    assert _embeddings_in(path, seen) == []  # it is written again when that is due
    assert one.curve([0.1], Scope(), 0).held == 100
    verified()
    assert _embeddings_in(path, seen) == left


def test_forgetting_goes_on_after_a_restart_until_nothing_is_held(
    memory: Memory, send: Send, verified: Verified, folder: Path
) -> None:
    seen = walk(DIMENSION, 11, 100)
    send(memory, seen)
    memory.forget(Scope(last_us=39_000))

    again = verified()

    assert again.curve([0.1], Scope(), 0).held == 60
    again.forget(Scope())
    curve = again.curve([0.1], Scope(), 0)
    assert (curve.held, curve.frames, curve.missing) == (0, 0, 0)
    assert _embeddings_in(folder / "memories" / "m.whatif", seen) == []


@pytest.mark.parametrize("damage", ["bytes", "another memory's"])
def test_a_file_that_is_not_its_own_is_passed_over_with_a_warning(
    store: MemoryStore,
    memory: Memory,
    send: Send,
    folder: Path,
    open_store: Callable[[], MemoryStore],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    send(memory, walk(DIMENSION, 12, 150))
    send(store.create("other", "encoder/1", DIMENSION, 0.1), walk(DIMENSION, 13, 50))
    store.close()
    path = folder / "memories" / "m.whatif"
    content = path.read_bytes() if damage == "bytes" else path.with_name("other.whatif").read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:] if damage == "bytes" else content)

    with caplog.at_level(logging.WARNING):
        again = open_store().get("m")

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "m.whatif" in caplog.text
    curve = again.curve([0.1], Scope(), 0)
    kept = again.facts().contents.exemplars
    assert (curve.frames, curve.missing) == (kept, 150 - kept)


def test_a_disk_that_refuses_the_file_costs_only_that(
    memory: Memory,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    open_store: Callable[[], MemoryStore],
) -> None:
    send(memory, walk(DIMENSION, 14, 100))
    with monkeypatch.context() as broken:
        broken.setattr(tuning, "write_copy", _refuse)
        memory._tuning.save()
    assert "which only makes curves less complete: injected" in caplog.text

    again = open_store().get("m")

    assert again.curve([0.1], Scope(), 0).missing == 0


def test_a_range_whose_frames_the_disk_does_not_let_go_of_is_forgotten_again_later(
    memory: Memory, send: Send, verified: Verified, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    seen = walk(DIMENSION, 15, 100)
    send(memory, seen)
    memory = verified()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", _refuse)
        with pytest.raises(StoreUnavailable, match="what is held for curves"):
            memory.forget(Scope(0, 49_000))
    assert _embeddings_in(folder / "memories" / "m.whatif", seen) == list(range(100))

    memory.tidy(10**9)

    assert _embeddings_in(folder / "memories" / "m.whatif", seen) == []
    verified()
    assert _embeddings_in(folder / "memories" / "m.whatif", seen) == list(range(50, 100))


def test_the_file_goes_with_its_memory(memory: Memory, send: Send, store: MemoryStore, folder: Path) -> None:
    send(memory, walk(DIMENSION, 16, 100))
    memory._tuning.save()
    assert (folder / "memories" / "m.whatif").exists()

    store.delete("m")

    assert list((folder / "memories").iterdir()) == []
    assert store.create("m", "encoder/1", DIMENSION, 0.1).curve([0.1], Scope(), 0).frames == 0


def _refuse(*_: object, **__: object) -> None:
    raise OSError("injected")
