"""Curves over thresholds of a memory: equal to what memories at these thresholds keep."""

from collections.abc import Callable

import numpy as np
import pytest

from briefs import exemplars_told
from memory_store.errors import InvalidThreshold
from memory_store.keeping import Keeping
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from scenes import walk

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Show = Callable[..., list[object]]
Verified = Callable[[], Memory]

DIMENSION = 32


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    return store.create("m", "encoder/1", DIMENSION, 0.1)


Send = Callable[..., None]


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.13, 0.3])
@pytest.mark.parametrize("keeping", [Keeping(), Keeping(own_stream_only=True)], ids=["memory", "stream"])
def test_a_curve_tells_what_a_memory_at_that_threshold_has_kept(
    store: MemoryStore, send: Send, threshold: float, keeping: Keeping
) -> None:
    seen = {"door": walk(DIMENSION, 1, 300), "hall": [*walk(DIMENSION, 1, 150), *walk(DIMENSION, 2, 150)]}
    told = []
    for name, own in (("m", threshold), ("other", 0.07)):
        memory = store.create(name, "encoder/1", DIMENSION, own, keeping=keeping)
        for stream, of_stream in seen.items():
            send(memory, of_stream, stream)
        told.append((memory.curve([threshold], Scope(), 0), memory.facts().contents.exemplars))

    [(curve, kept), (other_curve, other_kept)] = told
    assert exemplars_told(curve) == exemplars_told(other_curve) == [kept]
    assert other_kept != kept
    assert (curve.frames, curve.missing, curve.held, curve.held_limit) == (600, 0, 600, 10_240)


def test_dropped_frames_are_told_by_their_distance_to_what_stands_for_them(memory: Memory, send: Send) -> None:
    seen = walk(DIMENSION, 3, 200)
    send(memory, seen)
    kept, dropped = [seen[0]], []
    for embedding in seen[1:]:
        nearest = min(distance(embedding, other) for other in kept)
        if nearest > 0.15:
            kept.append(embedding)
        else:
            dropped.append(nearest)

    [outcome] = memory.curve([0.15], Scope(), 0).outcomes

    assert outcome.exemplars == len(kept)
    assert outcome.mean_dropped == pytest.approx(np.mean(dropped), abs=1e-4)
    assert outcome.largest_dropped == pytest.approx(max(dropped), abs=1e-4)


def test_the_horizon_in_force_counts(store: MemoryStore, show: Show) -> None:
    memory = store.create("small", "encoder/1", 8, 0.1, keeping=Keeping(horizon_us=10_000_000))
    assert show(memory, [(0, 0), (90, 1), (0, 9), (90, 12), (0, 30)]) == [-1, -2, 1, -3, -4]

    assert exemplars_told(memory.curve([0.1, 0.2], Scope(), 0)) == [4, 4]


def test_frames_that_were_withheld_are_frames_that_another_policy_could_have_kept(
    store: MemoryStore, show: Show
) -> None:
    memory = store.create("small", "encoder/1", 8, 0.1, keeping=Keeping(max_per_minute=1))
    show(memory, [(0, 0), (60, 1), (120, 2), (3, 3)])

    curve = memory.curve([0.1], Scope(), 0)

    assert (exemplars_told(curve), curve.frames, curve.missing, curve.active_us) == ([3], 4, 0, 3_000_000)


def test_streams_and_times_are_told_apart(memory: Memory, send: Send) -> None:
    send(memory, walk(DIMENSION, 4, 250))
    send(memory, walk(DIMENSION, 5, 120), "hall")
    send(memory, walk(DIMENSION, 6, 80, by=0.0), "yard")
    ids = {name: frozenset({number}) for number, name in memory.stream_names().items()}

    assert memory.curve([0.1], Scope(stream_ids=ids["yard"]), 0).outcomes[0].exemplars == 1
    of_door = memory.curve([0.1], Scope(stream_ids=ids["door"]), 0)
    assert (of_door.frames, of_door.outcomes[0].exemplars) == (250, memory.stream_facts("door").contents.exemplars)
    assert memory.curve([0.1], Scope(), 0).frames == 450
    assert memory.curve([0.1], Scope(last_us=60_000), 0).missing == 0  # batches count whole, but none of it was lost
    late = memory.curve([0.1], Scope(first_us=10**9), 3)
    assert (late.frames, late.missing, exemplars_told(late), late.examples) == (0, 0, [0], (([], []),))


@pytest.mark.parametrize("threshold", [0.0, -1.0, 2.01, float("nan")])
def test_thresholds_that_no_distance_has_are_refused(memory: Memory, threshold: float) -> None:
    with pytest.raises(InvalidThreshold):
        memory.curve([0.1, threshold], Scope(), 0)


def test_examples_lie_on_either_side_and_name_what_they_were_compared_with(
    store: MemoryStore, facing: Facing, frames: Frames
) -> None:
    memory = store.create("small", "encoder/1", 8, 0.1)
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(degrees) for degrees in (0, 10, 20, 60, 68, 150)]))

    curve = memory.curve([0.1, 0.6], Scope(), 2)

    [(above, below), (far_above, far_below)] = curve.examples
    assert [(one.kept, one.exemplar_id, one.capture_us, one.jpeg) for one in above] == [
        (True, 1, 3_000, b"thumbnail 3"),  # exemplar 2 by its distance to exemplar 1
        (True, 2, 5_000, b"thumbnail 5"),
    ]
    assert [(one.kept, one.exemplar_id, one.capture_us) for one in below] == [(False, 1, 2_000), (False, 1, 1_000)]
    assert [one.novelty for one in above] == pytest.approx([0.5, 1.0], abs=1e-3)
    assert [one.novelty for one in below] == pytest.approx([1 - np.cos(np.deg2rad(d)) for d in (20, 10)], abs=1e-3)
    assert [one.capture_us for one in far_above] == [5_000]
    assert [one.capture_us for one in far_below] == [3_000, 2_000]
