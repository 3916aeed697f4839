"""The index of a memory that has grown: lists that are made aside, and a copy that only saves making them again."""

import json
import logging
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ledger import Ledger, cosine_distance
from memory_store import index_upkeep, removal, state
from memory_store.index import ExemplarIndex, Ids, Matrix
from memory_store.index_copy import IndexCopy, read_copy, write_copy
from memory_store.index_upkeep import IndexUpkeep
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Novel, Repeat
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]

DIMENSION = 32


@pytest.fixture(autouse=True)
def _lists_early(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (index_upkeep, removal, state):
        monkeypatch.setattr(module, "FIRST_TRAINING", 64)


def _scenes(number: int, seed: int) -> list[Embedding]:
    """Scenes in numbers of float16 and of length 1, some of them like others."""
    chance = np.random.default_rng(seed)
    scenes: list[Embedding] = []
    while len(scenes) < number:
        drawn = chance.normal(size=DIMENSION)
        if len(scenes) % 3 == 2:
            drawn = scenes[-1] + 0.16 * drawn
        scene = (drawn / np.linalg.norm(drawn)).astype(np.float16).astype(np.float32)
        if abs(np.linalg.norm(scene.astype(np.float64)) - 1) < 5e-5:
            scenes.append(scene)
    return scenes


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    return store.create("m", "encoder/1", DIMENSION, 0.1)


@pytest.fixture
def ledger(memory: Memory, folder: Path) -> Ledger:
    return Ledger(folder / "memories" / "m.sqlite")


def _send(memory: Memory, frames: Frames, scenes: list[Embedding], stream: str = "door") -> None:
    session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
    for start in range(0, len(scenes), 40):
        memory.remember(frames(session, scenes[start : start + 40], first_seq=session.next_seq + start))


@pytest.fixture
def grown(memory: Memory, frames: Frames) -> Memory:
    """180 scenes of `door` and 60 of `hall`, in lists."""
    scenes = _scenes(240, 1)
    _send(memory, frames, scenes[:180])
    _send(memory, frames, scenes[180:], "hall")
    memory._state.upkeep.wait()
    memory._state.upkeep._train()  # whatever was there when the thread came to it: with all of them
    memory._state.upkeep.save()
    assert memory.facts().contents.exemplars == 240
    return memory


def _stored(ledger: Ledger) -> dict[int, Embedding]:
    rows = ledger.rows("SELECT id, embedding FROM exemplars")
    return {number: np.frombuffer(blob, "<f2").astype(np.float32) for number, blob in rows}


def _check_index(memory: Memory, ledger: Ledger) -> None:
    """The index holds what the journal does, each exemplar once and bit for bit."""
    stored, index = _stored(ledger), memory._state.upkeep.index
    assert memory._state.upkeep.ids().tolist() == sorted(stored)
    assert len(index) == len(stored)
    for number, embedding in stored.items():
        np.testing.assert_array_equal(memory.embedding(number), embedding)


def test_a_memory_that_grows_has_lists_made_aside_and_saved(memory: Memory, frames: Frames, folder: Path) -> None:
    _send(memory, frames, _scenes(60, 1))
    memory._state.upkeep.wait()
    assert (len(memory._state.upkeep.index.centroids), (folder / "memories" / "m.index").exists()) == (1, False)

    _send(memory, frames, _scenes(100, 1)[60:])
    memory._state.upkeep.wait()

    trained_on = memory._state.upkeep.index.trained_on
    assert 64 <= trained_on <= 100
    assert len(memory._state.upkeep.index.centroids) == index_upkeep.lists_for(trained_on)
    copy = read_copy(folder / "memories" / "m.index", DIMENSION)
    assert copy is not None
    assert (copy.trained_on, copy.memory_uuid) == (trained_on, memory.identity.uuid)


def test_lists_are_made_anew_when_there_are_twice_as_many(memory: Memory, frames: Frames) -> None:
    scenes = _scenes(300, 1)
    for end in (100, 150, 300):
        before = memory._state.upkeep.index
        _send(memory, frames, scenes[memory.facts().contents.counted_frames : end])
        memory._state.upkeep.wait()
        again = memory._state.upkeep.index is not before
        assert again == (end >= 2 * before.trained_on)


def test_every_exemplar_finds_itself_and_every_repeat_is_within_the_threshold(
    grown: Memory, ledger: Ledger, frames: Frames
) -> None:
    for number, embedding in _stored(ledger).items():
        found = grown.look(embedding)
        assert found is not None
        assert found.exemplar_id == number
        assert found.novelty == pytest.approx(0, abs=1e-9)

    again = [*_scenes(240, 1)[::5], *_scenes(60, 3)]
    session = grown.open_session("yard", "run-1", Clock.SESSION, 0)
    verdicts = ledger.send(grown, frames(session, again))  # checks the distances
    assert [type(verdict.outcome) for verdict in verdicts[:48]] == [Repeat] * 48
    assert {type(verdict.outcome) for verdict in verdicts[48:]} <= {Novel, Repeat}
    _check_index(grown, ledger)


@pytest.mark.parametrize("number", [1, 5, 500])
def test_the_most_similar_exemplars_of_a_view_are_found_exactly(grown: Memory, ledger: Ledger, number: int) -> None:
    stored = _stored(ledger)
    scopes = {
        "all": (Scope(), set(stored)),
        "a stream": (Scope(stream_ids=frozenset({2})), set(range(181, 241))),
        "a time": (Scope(20_000, 29_000), {*range(21, 31), *range(201, 211)}),
        "none": (Scope(last_us=-1), set()),
    }
    for query in _scenes(12, 2):
        for scope, among in scopes.values():
            away = {one: cosine_distance(query, stored[one]) for one in among}
            expected = sorted(among, key=away.__getitem__)[:number]

            found = grown.nearest(query, grown.view(scope), number)

            assert [neighbour.exemplar_id for neighbour in found] == expected
            assert [neighbour.novelty for neighbour in found] == pytest.approx([away[one] for one in expected])


@pytest.fixture
def on_the_way(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[Callable[[], object]]], None]:
    """Have something done each time that a training has read some vectors: eight at a time."""
    upkeep = memory._state.upkeep
    monkeypatch.setattr(index_upkeep, "_CHUNK", 8)
    monkeypatch.setattr(index_upkeep, "_CAUGHT_UP", 4)
    read = upkeep._vectors

    def patch(doing: Iterator[Callable[[], object]]) -> None:
        def vectors(ids: Ids) -> Iterator[tuple[Ids, Matrix]]:
            for chunk in read(ids):
                yield chunk
                next(doing, lambda: None)()

        monkeypatch.setattr(upkeep, "_vectors", vectors)

    return patch


def test_what_is_added_removed_and_moved_while_lists_are_made_is_made_up_for(
    grown: Memory,
    ledger: Ledger,
    frames: Frames,
    on_the_way: Callable[[Iterator[Callable[[], object]]], None],
    open_store: Callable[[], MemoryStore],
) -> None:
    more, before = _scenes(60, 5), grown._state.upkeep.index
    chance = np.random.default_rng(6)

    def doing() -> Iterator[Callable[[], object]]:
        for number in range(50):
            first_us = 1000 * int(chance.integers(0, 200))
            yield partial(_send, grown, frames, more[number : number + 1], "yard")
            yield partial(grown.forget, Scope(first_us, first_us + 1000))
            if number % 10 == 9:
                yield partial(grown.compact, 0.2 + 0.005 * number)

    on_the_way(doing())
    grown._state.upkeep._train()

    assert grown._state.upkeep.index is not before
    assert grown.facts().contents.forgotten_frames > 30
    _check_index(grown, ledger)
    expected = _stored(ledger)
    _check_index(open_store().get("m"), ledger)
    assert _stored(ledger).keys() == expected.keys()


def test_everything_may_be_forgotten_while_lists_are_made(
    grown: Memory, ledger: Ledger, frames: Frames, on_the_way: Callable[[Iterator[Callable[[], object]]], None]
) -> None:
    on_the_way(iter([lambda: grown.forget(Scope())]))

    grown._state.upkeep._train()

    _check_index(grown, ledger)
    _send(grown, frames, _scenes(90, 7), "yard")
    grown._state.upkeep.wait()
    _check_index(grown, ledger)


def test_a_memory_is_closed_while_lists_are_made_and_opens_without_them(
    grown: Memory, ledger: Ledger, open_store: Callable[[], MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep, before = grown._state.upkeep, grown._state.upkeep.index
    reached, stopping = threading.Event(), threading.Event()
    train, stop = upkeep._centroids, upkeep.stop

    def trained_once_stopped(ids: Ids) -> Matrix | None:
        reached.set()
        assert stopping.wait(60)
        return train(ids)

    def stopped() -> None:
        upkeep._stopped = True
        stopping.set()
        stop()

    monkeypatch.setattr(upkeep, "_centroids", trained_once_stopped)
    monkeypatch.setattr(upkeep, "stop", stopped)
    monkeypatch.setattr(index_upkeep, "FIRST_TRAINING", 64)
    monkeypatch.setattr(before, "trained_on", 1)
    upkeep.submit(grown._state._workers.aside)
    assert reached.wait(60)

    again = open_store().get("m")

    assert upkeep.index is before
    _check_index(again, ledger)


@pytest.mark.logs_errors
def test_a_training_that_fails_leaves_the_index_as_it_is_and_the_memory_goes_on(
    memory: Memory,
    ledger: Ledger,
    frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Ids) -> Matrix:
        raise MemoryError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(memory._state.upkeep, "_centroids", fail)
        _send(memory, frames, _scenes(80, 1))
        with pytest.raises(MemoryError, match="injected"):
            memory._state.upkeep.wait()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * len(caplog.records)
    assert len(memory._state.upkeep.index.centroids) == 1
    _check_index(memory, ledger)

    _send(memory, frames, _scenes(100, 1)[80:])
    memory._state.upkeep.wait()

    assert len(memory._state.upkeep.index.centroids) > 1
    _check_index(memory, ledger)


def test_the_list_that_an_exemplar_leaves_is_recentred_even_if_it_is_not_the_nearest_any_more(tmp_path: Path) -> None:
    """Centroids move when others leave; what stays in a list may be nearer to another then."""
    ids, embeddings = np.arange(1, 5), np.stack(_scenes(4, 1))
    index = ExemplarIndex(DIMENSION, np.stack(_scenes(3, 2)))
    index.add(ids, embeddings, np.array([0, 1, 1, 2]))
    upkeep = IndexUpkeep(index, threading.RLock(), tmp_path / "m.index", "uuid")

    upkeep.change(np.array([1, 2]), {4: embeddings[0]})

    np.testing.assert_array_equal(index.centroids[[0, 2]], np.zeros((2, DIMENSION)))
    np.testing.assert_allclose(index.centroids[1], embeddings[2], atol=1e-4)
    assert sorted(index.contents(np.arange(3))[0].tolist()) == [3, 4]
    np.testing.assert_array_equal(index.embedding(4), embeddings[0])


# The copy on disk


def _lists(memory: Memory) -> dict[int, int]:
    upkeep = memory._state.upkeep
    ids, lists = upkeep.index.contents(np.arange(len(upkeep.index.centroids)))
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
    _send(grown, frames, _scenes(30, 9), "yard")
    grown._state.upkeep.wait()
    expected, lists, centroids = told(grown), _lists(grown), grown._state.upkeep.index.centroids.copy()

    again = open_store().get("m")

    np.testing.assert_array_equal(again._state.upkeep.index.centroids, centroids)
    assert _lists(again) == lists
    assert before.items() < lists.items()
    assert told(again) == expected
    assert caplog.records == []
    _check_index(again, ledger)


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
    "cut": (_cut, "expected a copy of an index in .*m.index, got other bytes"),
    "empty": (_empty, "expected a copy of an index in .*m.index, got other bytes"),
    "flipped": (_flipped, "expected a copy of an index in .*m.index, got other bytes"),
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
    queries = _scenes(10, 4)
    expected = told(grown), [grown.nearest(query, grown.view(Scope()), 5) for query in queries]
    grown._state.upkeep.stop()
    file = folder / "memories" / "m.index"
    damage(file)

    again = open_store().get("m")

    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(re.search(warning, message) for message in messages), messages
    assert (told(again), [again.nearest(query, again.view(Scope()), 5) for query in queries]) == expected
    _check_index(again, ledger)
    again._state.upkeep.wait()
    _check_index(again, ledger)
    assert len(again._state.upkeep.index.centroids) > 1
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

    _send(memory, frames, _scenes(90, 1))
    memory._state.upkeep.wait()

    assert "which only makes the next start slower" in caplog.text
    assert len(memory._state.upkeep.index.centroids) > 1
    _check_index(memory, ledger)


def test_a_memory_that_has_become_small_has_no_copy_any_more(grown: Memory, folder: Path) -> None:
    assert (folder / "memories" / "m.index").exists()

    grown.forget(Scope(first_us=20_000))

    assert grown.facts().contents.exemplars < 64
    assert not (folder / "memories" / "m.index").exists()
