"""Blocks: what a view tells of thousands of stays, against what the rows of the journal add up to."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Repeat
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from memory_store.view import View

DIMENSION = 16
SCENES = 150

Frames = Callable[..., list[Encoded]]


@pytest.fixture(scope="module")
def scenes() -> NDArray[np.float32]:
    """[150, 16], far from each other."""
    drawn = np.random.default_rng(5).normal(size=(4000, DIMENSION)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    chosen: list[Embedding] = []
    for candidate in drawn:
        if all(candidate @ other < 0.8 for other in chosen):
            chosen.append(candidate)
    return np.array(chosen[:SCENES])


@pytest.fixture(scope="module")
def folder_with_many_stays(
    tmp_path_factory: pytest.TempPathFactory, frames: Frames, scenes: NDArray[np.float32]
) -> Path:
    """Stream `loop`: 10,120 stays; stream `brief`: 101; stream `full`: 100. Each stay has one or two frames."""
    folder = tmp_path_factory.mktemp("many")
    store = MemoryStore(folder, MemoryStoreConfig())
    memory = store.create("m", "encoder/1", DIMENSION, 0.1)
    for stream, stays in (("loop", 10_120), ("brief", 101), ("full", 100)):
        session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
        shown = [scenes[stay % SCENES] for stay in range(stays) for _ in range(2 if stay % 9 == 0 else 1)]
        for start in range(0, len(shown), 2000):
            memory.remember(frames(session, shown[start : start + 2000], first_seq=start))
    store.close()
    return folder


@pytest.fixture(scope="module")
def many(folder_with_many_stays: Path) -> Iterator[Memory]:
    store = MemoryStore(folder_with_many_stays, MemoryStoreConfig())
    yield store.get("m")
    store.close()


@pytest.fixture(scope="module")
def rows(folder_with_many_stays: Path) -> list[tuple[int, int, int, int, int, int, bytes]]:
    """Stays as the journal has them: stream, position, exemplar, frames, first, last, mean of the only sighting."""
    connection = sqlite3.connect(folder_with_many_stays / "memories" / "m.sqlite")
    found = connection.execute(
        "SELECT t.stream_id, t.position, t.exemplar_id, sum(g.frames), min(g.start_us), max(g.end_us), g.mean"
        " FROM stays t JOIN sightings g ON g.stay_id = t.id GROUP BY t.id"
    ).fetchall()
    connection.close()
    return found


def _leaves(view: View) -> list[tuple[int, ...]]:
    return [tuple(row[1:]) for row in view.leaves().facts.table.tolist()]


def test_the_leaves_are_the_stays_of_the_journal(
    many: Memory, rows: list[tuple[int, int, int, int, int, int, bytes]]
) -> None:
    view = many.view(Scope())

    means = np.concatenate(view.leaves().means)
    found = {leaf[:2]: (leaf[2:], mean.tobytes()) for leaf, mean in zip(_leaves(view), means, strict=True)}
    assert len(found) == len(rows) == 10_321
    assert found == {tuple(row[:2]): (tuple(row[2:6]), row[6]) for row in rows}


def test_each_level_holds_a_hundredth_and_adds_up_to_what_lies_beneath(many: Memory) -> None:
    view = many.view(Scope())

    assert [len(nodes.frames) for nodes in view.levels()] == [102 + 2 + 1, 2 + 1 + 1, 3]
    below = [(stream, position, frames, first, last) for stream, position, _, frames, first, last in _leaves(view)]
    for nodes in view.levels():
        expected: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for stream, index, *facts in below:
            expected.setdefault((stream, index // 100), []).append((facts[0], facts[1], facts[2]))
        above = list(
            zip(
                *(nodes.stream_ids.tolist(), nodes.indices.tolist(), nodes.frames.tolist()),
                *(nodes.first_us.tolist(), nodes.last_us.tolist()),
                strict=True,
            )
        )
        assert {(stream, index): tuple(facts) for stream, index, *facts in above} == {
            place: (sum(f for f, _, _ in facts), min(s for _, s, _ in facts), max(e for _, _, e in facts))
            for place, facts in expected.items()
        }
        below = above
    assert {index for _, index, *_ in below} == {0}


def test_a_scope_leaves_whole_blocks_out_and_keeps_the_names_of_the_others(many: Memory) -> None:
    loop = many.stream_id("loop")
    [late] = [leaf for leaf in _leaves(many.view(Scope())) if leaf[:2] == (loop, 10_050)]

    view = many.view(Scope(first_us=late[4], stream_ids=frozenset({loop})))

    assert sorted(leaf[1] for leaf in _leaves(view)) == list(range(10_050, 10_120))
    assert [nodes.indices.tolist() for nodes in view.levels()] == [[100, 101], [1], [0]]


def test_a_stream_of_up_to_a_hundred_stays_is_one_block_and_the_next_stay_begins_another(many: Memory) -> None:
    full, brief = (many.view(Scope(stream_ids=frozenset({many.stream_id(name)}))) for name in ("full", "brief"))

    assert [nodes.indices.tolist() for nodes in full.levels()] == [[0]]
    assert [nodes.indices.tolist() for nodes in brief.levels()] == [[0, 1], [0]]


def test_an_empty_memory_has_no_stays_and_no_blocks(memory: Memory) -> None:
    view = memory.view(Scope())

    assert len(view.leaves().facts.column("frames")) == len(view.exemplar_ids()) == 0
    assert [len(nodes.frames) for nodes in view.levels()] == [0]


@pytest.mark.parametrize("group", [1, 90, 1000])
def test_closed_blocks_do_not_change_and_what_comes_back_opens_a_new_stay(
    store: MemoryStore, frames: Frames, scenes: NDArray[np.float32], group: int
) -> None:
    memory = store.create("blocks", "encoder/1", DIMENSION, 0.1)
    session = memory.open_session("loop", "run-1", Clock.SESSION, 0)
    first, then = scenes[:100], [*scenes[99:130], *scenes[:60]]
    memory.remember(frames(session, list(first)))
    before = memory.view(Scope())
    rows_before, means_before = before.leaves().facts.table, np.concatenate(before.leaves().means)

    outcomes = []
    for start in range(0, len(then), group):
        sent = frames(session, then[start : start + group], first_seq=100 + start)
        outcomes += [verdict.outcome for verdict in memory.remember(sent)]

    # The current scene, 99, still stands in the open block. Scene 100 closes that block.
    after = memory.view(Scope(last_us=99_000))
    assert [after.leaves().facts.column("frames").tolist()[position] for position in (0, 99)] == [1, 1]
    leaves = sorted(_leaves(memory.view(Scope())))
    assert [leaf[3] for leaf in leaves[:100]] == [1] * 99 + [2]
    assert [leaf[2] for leaf in leaves] == [*range(1, 101), *range(101, 131), *range(1, 61)]
    assert sum(isinstance(outcome, Repeat) for outcome in outcomes) == 61
    # What a reader was given does not change under it.
    np.testing.assert_array_equal(before.leaves().facts.table, rows_before)
    np.testing.assert_array_equal(np.concatenate(before.leaves().means), means_before)
