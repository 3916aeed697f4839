"""A memory that was closed and opened again tells the same and goes on as if nothing had happened."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.records import Arrival, Clock, Embedding, Encoded, Rejected, Session, Unusable, Verdict
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]


@pytest.fixture
def walk(facing: Facing, frames: Frames) -> Callable[[Session, Session], list[Arrival]]:
    """180 frames of two sessions that turn in steps of up to 20 degrees, with a rejected frame here and there."""

    def walk(one: Session, two: Session) -> list[Arrival]:
        random = np.random.default_rng(11)
        arrivals: list[Arrival] = []
        degrees = {one.id: 0.0, two.id: 180.0}
        seqs = {one.id: 0, two.id: 0}
        for _ in range(180):
            session = (one, two)[random.integers(2)]
            degrees[session.id] += random.normal() * 8
            seq = seqs[session.id]
            seqs[session.id] += 1
            if random.random() < 0.1:
                arrivals.append(Unusable(session.id, seq, 7, Rejected("BROKEN", f"expected {seq}")))
            else:
                capture = int(random.integers(-1000, 1000)) if session.clock is Clock.SOURCE else None
                pts = [int(random.integers(0, 200))]
                arrivals += frames(
                    session, [facing(degrees[session.id])], first_seq=seq, pts_us=pts, capture_us=[capture]
                )
        return arrivals

    return walk


def _sessions(memory: Memory) -> tuple[Session, Session]:
    one = memory.open_session("door", "run-1", Clock.SESSION, 5)
    return one, memory.open_session("hall", "run-1", Clock.SOURCE, 0)


def test_everything_told_is_the_same_after_reopening(
    open_store: Callable[[], MemoryStore], told: Told, walk: Callable[[Session, Session], list[Arrival]]
) -> None:
    memory = open_store().create("m", "encoder/1", 8, 0.1)
    memory.remember(walk(*_sessions(memory)))
    memory.set_threshold("hall", 0.3)
    memory.create_stream("empty", 0.5)
    before, facts, sessions = told(memory), memory.facts(), _sessions(memory)

    again = open_store().get("m")

    assert told(again) == before
    assert replace(again.facts(), contents=facts.contents) == facts
    assert _sessions(again) == sessions


@pytest.mark.parametrize("cuts", [[90], [1, 2, 3, 50], [60, 120, 179]])
def test_going_on_after_reopening_ends_with_the_bits_of_an_undisturbed_run(
    open_store: Callable[[], MemoryStore],
    told: Told,
    walk: Callable[[Session, Session], list[Arrival]],
    cuts: list[int],
) -> None:
    store = open_store()
    undisturbed = store.create("undisturbed", "encoder/1", 8, 0.1)
    arrivals = walk(*_sessions(undisturbed))
    expected_verdicts, expected = undisturbed.remember(arrivals), told(undisturbed)
    store.create("m", "encoder/1", 8, 0.1)

    verdicts: list[Verdict] = []
    for start, end in zip([0, *cuts], [*cuts, len(arrivals)], strict=True):
        memory = open_store().get("m")
        _sessions(memory)
        verdicts += memory.remember(arrivals[start:end])

    assert verdicts == expected_verdicts
    assert told(memory) == expected
    assert told(open_store().get("m")) == expected


def test_what_a_killed_process_has_left_on_disk_is_read_like_a_closed_memory(
    store: MemoryStore, folder: Path, tmp_path: Path, told: Told, walk: Callable[[Session, Session], list[Arrival]]
) -> None:
    memory = store.create("m", "encoder/1", 8, 0.1)
    memory.remember(walk(*_sessions(memory)))
    left = tmp_path / "left" / "memories"
    left.mkdir(parents=True)
    for file in ("m.sqlite", "m.sqlite-wal"):
        shutil.copy(folder / "memories" / file, left / file)

    with closing(MemoryStore(tmp_path / "left", MemoryStoreConfig())) as after:
        assert told(after.get("m")) == told(memory)


def test_an_open_block_of_exactly_a_hundred_stays_is_closed_by_the_next_one_after_reopening(
    open_store: Callable[[], MemoryStore], frames: Frames
) -> None:
    random = np.random.default_rng(3).normal(size=(101, 64)).astype(np.float32)
    scenes = list(random / np.linalg.norm(random, axis=1, keepdims=True))
    memory = open_store().create("m", "encoder/1", 64, 0.1)
    memory.remember(frames(memory.open_session("door", "run-1", Clock.SESSION, 0), scenes[:100]))

    memory = open_store().get("m")
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [scenes[0], scenes[100], scenes[1]]))

    facts = memory.view(Scope()).leaves().facts
    stays = zip(
        facts.column("position").tolist(),
        facts.column("exemplar_id").tolist(),
        facts.column("frames").tolist(),
        strict=True,
    )
    assert sorted(stays) == [(0, 1, 2), *((n, n + 1, 1) for n in range(1, 100)), (100, 101, 1), (101, 2, 1)]


def test_memories_of_a_folder_are_found_again(open_store: Callable[[], MemoryStore]) -> None:
    store = open_store()
    for name in ("b", "a.1", "A", "c-2_x"):
        store.create(name, f"encoder/{name}", 8, None)

    store = open_store()

    assert store.names() == ["A", "a.1", "b", "c-2_x"]
    assert [store.get(name).facts().encoder_version for name in store.names()] == [
        "encoder/A",
        "encoder/a.1",
        "encoder/b",
        "encoder/c-2_x",
    ]
