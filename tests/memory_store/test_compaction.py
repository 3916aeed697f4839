"""Merging exemplars: what is exact afterwards, what is restated, and what cannot be told from the rest any more."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import audit
from ledger import Ledger, cosine_distance
from memory_store import removal
from memory_store.change import Change
from memory_store.code_lists import CodeLists, fitted
from memory_store.compaction import Merge, MergePlan
from memory_store.embedding_table import EmbeddingTable
from memory_store.errors import InvalidThreshold, MemoryNotFound
from memory_store.index import ExemplarIndex
from memory_store.memory import Memory
from memory_store.records import Clock, CompactedCounts, Embedding, Encoded, Novel, Rejected, Repeat, Unusable
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]

MS = 1_000


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    """An empty memory that was given too low a threshold: everything but the same picture is novel."""
    return store.create("m", "encoder/1", 8, 0.0005)


def _shown(memory: Memory, stream: str = "door") -> list[tuple[int, int, int, int]]:
    """Sightings of a stream: exemplar, start and end in milliseconds, frames."""
    shown = memory.timeline(stream, -(2**62), 2**62, None, 999)
    return [(one.exemplar_id, one.start_us // MS, one.end_us // MS, one.frames) for one in shown]


def test_an_exemplar_stands_for_those_that_are_within_the_threshold_and_younger(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 10, 10, 90, 20, 0, 30)]))
    assert memory.facts().contents.exemplars == 5

    counts = memory.compact(0.1)  # 25.8 degrees

    assert counts == CompactedCounts(merged=2, exemplars=3)
    # 10 and 20 degrees went to 0 degrees, which is older; 30 degrees is beyond it, and 20 degrees is there no more.
    assert _shown(memory) == [(1, 0, 2, 3), (3, 3, 3, 1), (1, 4, 5, 2), (5, 6, 6, 1)]
    outcomes = [verdict.outcome for verdict in memory.reading.verdicts(door.id, 0, 9)]
    told = [(type(one), one.exemplar_id) for one in outcomes if isinstance(one, Novel | Repeat)]
    assert told == [(Novel, 1), (Novel, 1), (Repeat, 1), (Novel, 3), (Novel, 1), (Repeat, 1), (Novel, 5)]
    audit(memory, ledger)


def test_counts_times_and_means_of_both_are_put_together_exactly_and_distances_are_restated(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    seen = [0, 0, 10, 10, 10, 0]
    ledger.send(memory, frames(door, [facing(degrees) for degrees in seen]))

    memory.compact(0.1)

    facts, [shown] = memory.sightings(1, Scope())
    assert (facts.frames, facts.sightings, facts.first_us, facts.last_us, facts.duration_us) == (
        6,
        1,
        0,
        5 * MS,
        5 * MS,
    )
    assert (shown.frames, shown.start_us, shown.end_us, shown.restated) == (6, 0, 5 * MS, True)
    assert shown.largest_novelty == pytest.approx(cosine_distance(facing(10), facing(0)), abs=1e-9)
    view = memory.view(Scope())
    assert (view.leaves().facts.column("exemplar_id").tolist(), view.leaves().facts.column("frames").tolist()) == (
        [1],
        [6],
    )
    mean = np.mean([facing(degrees) for degrees in seen], axis=0)
    np.testing.assert_allclose(np.concatenate(view.leaves().means)[0], mean, atol=1e-7)
    np.testing.assert_array_equal(memory.embedding(1), facing(0))
    audit(memory, ledger)


def test_what_was_merged_is_there_no_more(memory: Memory, ledger: Ledger, facing: Facing, frames: Frames) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(0), facing(10)]))
    assert memory.reading.thumbnail(2) == b"thumbnail 1"

    memory.compact(0.1)

    assert (memory.reading.thumbnail(1), memory.reading.thumbnail(2)) == (b"thumbnail 0", None)
    assert [found.exemplar_id for found in memory.nearest(facing(10), memory.view(Scope()), 9)] == [1]
    assert ledger.rows("SELECT id FROM exemplars") == [(1,)]
    assert ledger.rows("SELECT exemplar_id FROM thumbnails") == [(1,)]


def test_sightings_are_joined_only_where_nothing_lies_between_them(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SOURCE, 0)
    minute = 60_000_000
    captures = [0, MS, 2 * MS, 3 * MS + minute, 4 * MS + minute, 5 * MS + minute]
    sent = frames(door, [facing(degrees) for degrees in (0, 10, 90, 0, 10, 0)], capture_us=captures)
    broken = Unusable(door.id, 6, 1, Rejected("BROKEN", "expected a picture"))
    more = frames(door, [facing(10)], first_seq=7, capture_us=[6 * MS + minute])
    ledger.send(memory, [*sent, broken, *more])
    ledger.forget(memory, Scope(4 * MS + minute, 4 * MS + minute))  # all of a sighting

    memory.compact(0.1)

    assert _shown(memory) == [(1, 0, 1, 2), (3, 2, 2, 1), (1, 60_003, 60_003, 1), (1, 60_005, 60_006, 2)]
    audit(memory, ledger)


def test_sightings_are_not_joined_over_what_was_forgotten_between_them(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 90, 10)]))
    ledger.forget(memory, Scope(1 * MS, 1 * MS))

    memory.compact(0.1)

    assert _shown(memory) == [(1, 0, 0, 1), (1, 2, 2, 1)]
    audit(memory, ledger)


def test_what_is_left_of_a_cut_sighting_is_joined_to_no_other(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 0, 0, 10, 10, 10, 0)]))
    ledger.forget(memory, Scope(1 * MS, 1 * MS))
    ledger.forget(memory, Scope(4 * MS, 4 * MS))

    memory.compact(0.1)

    assert _shown(memory) == [(1, time, time, 1) for time in (0, 2, 3, 5, 6)]
    view = memory.view(Scope())
    np.testing.assert_allclose(np.concatenate(view.leaves().means)[0], facing(0), atol=1e-7)
    audit(memory, ledger)


def test_sightings_under_different_thresholds_stay_apart(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(0), facing(10)]))
    memory.set_threshold("door", 0.0004)
    ledger.send(memory, frames(door, [facing(20), facing(0)], first_seq=2))

    memory.compact(0.1)

    _, shown = memory.sightings(1, Scope())
    assert [(one.threshold, one.frames) for one in shown] == [(0.0004, 2), (0.0005, 2)]
    audit(memory, ledger)


def test_a_joined_sighting_is_found_by_any_time_in_it(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(number % 2 * 10) for number in range(40)]))

    memory.compact(0.1)

    for time in (0, 20, 39):
        [found] = memory.timeline("door", time * MS, time * MS, None, 9)
        assert (found.start_us, found.end_us) == (0, 39 * MS)
        assert memory.exemplar_at("door", time * MS) == 1
    ledger.forget(memory, Scope(30 * MS, 31 * MS))
    audit(memory, ledger)


def test_exemplars_of_several_streams_and_blocks_are_merged(
    store: MemoryStore, folder: Path, facing: Facing, frames: Frames, told: Told, open_store: Callable[[], MemoryStore]
) -> None:
    """Closed blocks too; two stays of one block become one where both exemplars had one there."""
    memory = store.create("blocks", "encoder/1", 8, 0.0005)
    ledger = Ledger(folder / "memories" / "blocks.sqlite")
    for name, start in (("door", 0), ("hall", 90)):
        session = memory.open_session(name, "run-1", Clock.SESSION, 0)
        turns = [start + 2.2 * number for number in range(120)] + [start, start + 3, start + 40]
        ledger.send(memory, frames(session, [facing(degrees) for degrees in turns]))
    before = memory.facts().contents

    counts = memory.compact(0.02)

    after = memory.facts().contents
    assert after.exemplars == counts.exemplars == before.exemplars - counts.merged
    assert (before.exemplars > 150, after.exemplars < 40) == (True, True)
    assert (after.counted_frames, after.forgotten_frames) == (246, 0)
    assert (before.stays > 240, after.stays < 80) == (True, True)
    audit(memory, ledger)
    expected = told(memory)
    memory = open_store().get("blocks")
    assert told(memory) == expected
    audit(memory, ledger)


@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_no_two_exemplars_that_are_left_are_within_the_threshold_and_each_that_went_was_within_it(
    seed: int, threshold: float
) -> None:
    """Greedy, oldest first: one goes if it is within the threshold of an older one that stays."""
    drawn = np.random.default_rng(seed).normal(size=(150, 6))
    drawn[1::2] = drawn[::2] + 0.3 * drawn[1::2]
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
    embeddings = (drawn / lengths).astype(np.float16).astype(np.float32)
    ids = np.arange(7, 157)
    plan = MergePlan(ExemplarIndex(EmbeddingTable(6)), threshold)

    merges = [pair for part in (slice(0, 40), slice(40, 150)) for pair in plan.look(ids[part], embeddings[part])]

    kept: dict[int, Embedding] = {}
    expected = []
    for number, embedding in zip(ids.tolist(), embeddings, strict=True):
        away = {other: cosine_distance(embedding, at) for other, at in kept.items()}
        nearest = min(away, key=away.__getitem__, default=None)
        if nearest is not None and away[nearest] <= threshold:
            expected.append(Merge(nearest, number))
        else:
            kept[number] = embedding
    assert merges == expected


def test_ingest_goes_on_between_the_steps(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_MERGES", 1)
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(3 * (number % 9)) for number in range(30)]))
    follow = memory._removal._follow

    def going_on(change: Change) -> None:
        follow(change)
        seq = len(ledger.counted)
        ledger.send(memory, frames(door, [facing(3 * (seq % 12))], first_seq=seq))

    with monkeypatch.context() as patched:
        patched.setattr(memory._removal, "_follow", going_on)
        counts = memory.compact(0.1)

    assert counts.merged == 8
    assert len(ledger.counted) >= 38
    audit(memory, ledger)
    assert memory.compact(0.1).merged > 0  # what came meanwhile
    audit(memory, ledger)
    assert memory.compact(0.1).merged == 0


def test_what_was_forgotten_meanwhile_is_passed_over(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal waits for the one before; what it takes out was perhaps planned to be merged."""
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(10 * number) for number in range(9)]))
    removing = memory._removal
    planned = removing._planned(0.05)

    waiting = list(planned)
    ledger.forget(memory, Scope(1 * MS, 3 * MS))
    merged = removing._merge(waiting, 0.05)

    assert 0 < merged < len(waiting)
    audit(memory, ledger)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 2.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(memory: Memory, threshold: float) -> None:
    with pytest.raises(InvalidThreshold):
        memory.compact(threshold)


def test_a_deleted_memory_is_not_compacted(store: MemoryStore, memory: Memory) -> None:
    store.delete("m")

    with pytest.raises(MemoryNotFound):
        memory.compact(0.1)


def test_with_lists_nearly_all_are_merged_that_a_comparison_with_all_finds() -> None:
    drawn = np.random.default_rng(5).normal(size=(400, 24))
    drawn[1::2] = drawn[::2] + 0.2 * drawn[1::2]
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
    embeddings, ids = (drawn / lengths).astype(np.float16).astype(np.float32), np.arange(1, 401)
    table, lists = EmbeddingTable(24), CodeLists(embeddings[:20].copy(), fitted(embeddings))
    table.add(ids, embeddings)
    lists.add(ids, embeddings)
    expected = set(MergePlan(ExemplarIndex(table), 0.1).look(ids, embeddings))

    merges = set(MergePlan(ExemplarIndex(table, lists), 0.1).look(ids, embeddings))

    assert len(merges & expected) >= 0.95 * len(expected) > 150
    for merge in merges:
        assert cosine_distance(embeddings[merge.kept - 1], embeddings[merge.merged - 1]) <= 0.1
