"""The index of a memory that has grown: its lists are made aside, while frames come in and are forgotten."""

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ledger import Ledger, cosine_distance
from listed import DIMENSION, check_index, grow, have_lists_early, number_of_lists, send, some_scenes, stored
from memory_store import index_upkeep
from memory_store.code_lists import CodeLists, fitted
from memory_store.embedding_table import EmbeddingTable, Ids, Matrix
from memory_store.index import ExemplarIndex
from memory_store.index_copy import read_copy
from memory_store.index_upkeep import IndexUpkeep
from memory_store.memory import Memory
from memory_store.records import Clock, Encoded, Novel, Repeat
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Frames = Callable[..., list[Encoded]]


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


def test_a_memory_that_grows_has_lists_made_aside_and_saved(memory: Memory, frames: Frames, folder: Path) -> None:
    send(memory, frames, some_scenes(60, 1))
    memory._state.upkeep.wait()
    assert (memory._state.upkeep.index.lists, (folder / "memories" / "m.index").exists()) == (None, False)

    send(memory, frames, some_scenes(100, 1)[60:])
    memory._state.upkeep.wait()

    trained_on = memory._state.upkeep.index.trained_on
    assert 64 <= trained_on <= 100
    assert number_of_lists(memory) == index_upkeep.lists_for(trained_on)
    copy = read_copy(folder / "memories" / "m.index", DIMENSION)
    assert copy is not None
    assert (copy.trained_on, copy.memory_uuid) == (trained_on, memory.identity.uuid)


def test_lists_are_made_anew_when_there_are_twice_as_many(memory: Memory, frames: Frames) -> None:
    scenes = some_scenes(300, 1)
    for end in (100, 150, 300):
        before = memory._state.upkeep.index
        send(memory, frames, scenes[memory.facts().contents.counted_frames : end])
        memory._state.upkeep.wait()
        again = memory._state.upkeep.index is not before
        assert again == (end >= 2 * before.trained_on)


def test_every_exemplar_finds_itself_and_every_repeat_is_within_the_threshold(
    grown: Memory, ledger: Ledger, frames: Frames
) -> None:
    for number, embedding in stored(ledger).items():
        found = grown.look(embedding)
        assert found is not None
        assert found.exemplar_id == number
        assert found.novelty == pytest.approx(0, abs=1e-9)

    again = [*some_scenes(240, 1)[::5], *some_scenes(60, 3)]
    session = grown.open_session("yard", "run-1", Clock.SESSION, 0)
    verdicts = ledger.send(grown, frames(session, again))  # checks the distances
    assert [type(verdict.outcome) for verdict in verdicts[:48]] == [Repeat] * 48
    assert {type(verdict.outcome) for verdict in verdicts[48:]} <= {Novel, Repeat}
    check_index(grown, ledger)


@pytest.mark.parametrize("number", [1, 5, 500])
def test_the_most_similar_exemplars_of_a_view_are_found_exactly(grown: Memory, ledger: Ledger, number: int) -> None:
    kept = stored(ledger)
    scopes = {
        "all": (Scope(), set(kept)),
        "a stream": (Scope(stream_ids=frozenset({2})), set(range(181, 241))),
        "a time": (Scope(20_000, 29_000), {*range(21, 31), *range(201, 211)}),
        "none": (Scope(last_us=-1), set()),
    }
    for query in some_scenes(12, 2):
        for scope, among in scopes.values():
            away = {one: cosine_distance(query, kept[one]) for one in among}
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
    more, before = some_scenes(60, 5), grown._state.upkeep.index
    chance = np.random.default_rng(6)

    def doing() -> Iterator[Callable[[], object]]:
        for number in range(50):
            first_us = 1000 * int(chance.integers(0, 200))
            yield partial(send, grown, frames, more[number : number + 1], "yard")
            yield partial(grown.forget, Scope(first_us, first_us + 1000))
            if number % 10 == 9:
                yield partial(grown.compact, 0.2 + 0.005 * number)

    on_the_way(doing())
    grown._state.upkeep._train()

    assert grown._state.upkeep.index is not before
    assert grown.facts().contents.forgotten_frames > 30
    check_index(grown, ledger)
    expected = stored(ledger)
    check_index(open_store().get("m"), ledger)
    assert stored(ledger).keys() == expected.keys()


def test_everything_may_be_forgotten_while_lists_are_made(
    grown: Memory, ledger: Ledger, frames: Frames, on_the_way: Callable[[Iterator[Callable[[], object]]], None]
) -> None:
    on_the_way(iter([lambda: grown.forget(Scope())]))

    grown._state.upkeep._train()

    check_index(grown, ledger)
    send(grown, frames, some_scenes(90, 7), "yard")
    grown._state.upkeep.wait()
    check_index(grown, ledger)


def test_a_memory_is_closed_while_lists_are_made_and_opens_without_them(
    grown: Memory, ledger: Ledger, open_store: Callable[[], MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep, before = grown._state.upkeep, grown._state.upkeep.index
    reached, stopping = threading.Event(), threading.Event()
    train, stop = upkeep._lists, upkeep.stop

    def trained_once_stopped(ids: Ids) -> CodeLists | None:
        reached.set()
        assert stopping.wait(60)
        return train(ids)

    def stopped() -> None:
        upkeep._stopped = True
        stopping.set()
        stop()

    monkeypatch.setattr(upkeep, "_lists", trained_once_stopped)
    monkeypatch.setattr(upkeep, "stop", stopped)
    monkeypatch.setattr(index_upkeep, "FIRST_TRAINING", 64)
    monkeypatch.setattr(before, "trained_on", 1)
    upkeep.submit(grown._state._workers.aside)
    assert reached.wait(60)

    again = open_store().get("m")

    assert upkeep.index is before
    check_index(again, ledger)


@pytest.mark.logs_errors
def test_a_training_that_fails_leaves_the_index_as_it_is_and_the_memory_goes_on(
    memory: Memory,
    ledger: Ledger,
    frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Ids) -> CodeLists:
        raise MemoryError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(memory._state.upkeep, "_lists", fail)
        send(memory, frames, some_scenes(80, 1))
        with pytest.raises(MemoryError, match="injected"):
            memory._state.upkeep.wait()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * len(caplog.records)
    assert number_of_lists(memory) == 0
    check_index(memory, ledger)

    send(memory, frames, some_scenes(100, 1)[80:])
    memory._state.upkeep.wait()

    assert number_of_lists(memory) > 1
    check_index(memory, ledger)


def test_the_list_that_an_exemplar_leaves_is_recentred_even_if_it_is_not_the_nearest_any_more(tmp_path: Path) -> None:
    """Centroids move when others leave; what stays in a list may be nearer to another then."""
    ids, embeddings = np.arange(1, 5), np.stack(some_scenes(4, 1))
    table, lists = EmbeddingTable(DIMENSION), CodeLists(np.stack(some_scenes(3, 2)), fitted(embeddings))
    table.add(ids, embeddings)
    lists.put(ids, np.array([0, 1, 1, 2]), lists.codes(embeddings))
    index = ExemplarIndex(table, lists)
    upkeep = IndexUpkeep(index, threading.RLock(), tmp_path / "m.index", "uuid")

    upkeep.change(np.array([1, 2]), {4: embeddings[0]})

    np.testing.assert_array_equal(lists.centroids[[0, 2]], np.zeros((2, DIMENSION)))
    np.testing.assert_allclose(lists.centroids[1], embeddings[2], atol=1e-4)
    assert (lists.contents()[0].tolist(), table.ids().tolist()) == ([3, 4], [3, 4])
    np.testing.assert_array_equal(index.embedding(4), embeddings[0])
