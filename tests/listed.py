"""Memories whose index has lists, after some dozens of exemplars instead of thousands."""

from collections.abc import Callable

import numpy as np
import pytest

from ledger import Ledger
from memory_store import embedding_table, index_upkeep, state
from memory_store.embedding_table import Matrix
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from scenes import drawn

DIMENSION = 32


def have_lists_early(monkeypatch: pytest.MonkeyPatch, exemplars: int) -> None:
    """Let an index have lists from so many exemplars on, and its table several pieces."""
    for module in (index_upkeep, state):
        monkeypatch.setattr(module, "FIRST_TRAINING", exemplars)
    monkeypatch.setattr(embedding_table, "_PIECE", 50)


def some_scenes(number: int, seed: int) -> list[Embedding]:
    """Draw scenes of which every third is like the one before."""
    chance = np.random.default_rng(seed)
    scenes: list[Embedding] = []
    for place in range(number):
        scenes.append(drawn(chance, DIMENSION, scenes[-1] if place % 3 == 2 else None, by=0.16))
    return scenes


def send(memory: Memory, frames: Callable[..., list[Encoded]], scenes: list[Embedding], stream: str = "door") -> None:
    """Let a stream show scenes, in groups."""
    session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
    for start in range(0, len(scenes), 40):
        memory.remember(frames(session, scenes[start : start + 40], first_seq=session.next_seq + start))


def grow(memory: Memory, frames: Callable[..., list[Encoded]]) -> None:
    """Let it keep 180 scenes of `door` and 60 of `hall`, all of them in lists, with a copy on disk."""
    scenes = some_scenes(240, 1)
    send(memory, frames, scenes[:180])
    send(memory, frames, scenes[180:], "hall")
    upkeep = memory._state.upkeep
    upkeep.wait()
    upkeep._train()  # aside it was done with what was there when the thread came to it
    upkeep.save()
    assert (memory.facts().contents.exemplars, upkeep.index.trained_on) == (240, 240)


def number_of_lists(memory: Memory) -> int:
    """Count the lists of its index; 0 if it has none."""
    lists = memory._state.upkeep.index.lists
    return 0 if lists is None else len(lists.centroids)


def centroids_of(memory: Memory) -> Matrix:
    """Copy the centroids of its index, which must have lists."""
    lists = memory._state.upkeep.index.lists
    assert lists is not None
    return lists.centroids.copy()


def stored(ledger: Ledger) -> dict[int, Embedding]:
    """Give the embeddings that the journal holds."""
    rows = ledger.rows("SELECT id, embedding FROM exemplars")
    return {number: np.frombuffer(blob, "<f2").astype(np.float32) for number, blob in rows}


def check_index(memory: Memory, ledger: Ledger) -> None:
    """The index holds what the journal does, each exemplar once and bit for bit."""
    expected = stored(ledger)
    assert memory._state.upkeep.ids().tolist() == sorted(expected)
    assert len(memory._state.upkeep.index) == len(expected)
    lists = memory._state.upkeep.index.lists
    assert lists is None or lists.contents()[0].tolist() == sorted(expected)
    for number, embedding in expected.items():
        np.testing.assert_array_equal(memory.embedding(number), embedding)
