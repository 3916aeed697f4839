"""What a scope lets through, in cases small enough to be read."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import EARLIEST_US, LATEST_US, Scope

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]

DEGREES = [0, 10, 90, 95, 5, 7, 9]
"""One frame a millisecond: exemplar 1 until 1,000 us, exemplar 2 until 3,000 us, exemplar 1 again until 6,000 us."""


@pytest.fixture
def a_b_a(memory: Memory, facing: Facing, frames: Frames) -> Memory:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(degrees) for degrees in DEGREES]))
    return memory


def _told(memory: Memory, scope: Scope) -> dict[int, tuple[int, list[float]]]:
    """By exemplar, the count and the mean of its only stay."""
    leaves = memory.view(scope).leaves()
    rows = zip(
        leaves.facts.column("exemplar_id").tolist(),
        leaves.facts.column("frames").tolist(),
        np.concatenate(leaves.means),
        strict=True,
    )
    return {exemplar: (count, mean.tolist()) for exemplar, count, mean in rows}


def _mean(facing: Facing, *degrees: float, within: float = 1e-7) -> object:
    return pytest.approx(np.mean([facing(each) for each in degrees], axis=0).tolist(), abs=within)


ROUNDED = 0.01
"""By how much a number may be off of what is on record of a frame, or of the one that it counts as a copy of."""


def test_without_a_scope_everything_counts_with_its_means(a_b_a: Memory, facing: Facing) -> None:
    assert Scope().is_everything
    assert _told(a_b_a, Scope()) == {1: (5, _mean(facing, 0, 10, 5, 7, 9)), 2: (2, _mean(facing, 90, 95))}


def test_a_stay_whose_later_sighting_is_cut_off_stands_by_the_earlier_ones(a_b_a: Memory, facing: Facing) -> None:
    assert _told(a_b_a, Scope(last_us=3_000)) == {1: (2, _mean(facing, 0, 10)), 2: (2, _mean(facing, 90, 95))}


def test_a_cut_sighting_stands_by_its_frames_so_that_later_ones_do_not_show_through(
    a_b_a: Memory, facing: Facing
) -> None:
    first = _mean(facing, 0, 10, 5, 7, within=ROUNDED)
    assert _told(a_b_a, Scope(last_us=5_000)) == {1: (4, first), 2: (2, _mean(facing, 90, 95))}
    assert _told(a_b_a, Scope(last_us=0)) == {1: (1, _mean(facing, 0, within=ROUNDED))}


def test_a_cut_sighting_of_which_nothing_is_on_record_stands_by_its_exemplar(
    a_b_a: Memory, folder: Path, facing: Facing
) -> None:
    with closing(sqlite3.connect(folder / "memories" / "m.sqlite", isolation_level=None)) as other:
        other.execute("DELETE FROM frame_embeddings")

    assert _told(a_b_a, Scope(last_us=5_000)) == {1: (4, _mean(facing, 0, 10, 0, 0)), 2: (2, _mean(facing, 90, 95))}
    assert _told(a_b_a, Scope(last_us=0)) == {1: (1, _mean(facing, 0))}


def test_both_ends_of_a_range_are_included(a_b_a: Memory, facing: Facing) -> None:
    one, other = (_mean(facing, degrees, within=ROUNDED) for degrees in (5, 95))
    assert _told(a_b_a, Scope(3_000, 4_000)) == {1: (1, one), 2: (1, other)}
    assert _told(a_b_a, Scope(2_000, 3_000)) == {2: (2, _mean(facing, 90, 95))}


def test_a_range_between_frames_or_before_them_or_upside_down_is_empty(a_b_a: Memory) -> None:
    for scope in (Scope(1_001, 1_999), Scope(last_us=-1), Scope(first_us=6_001), Scope(4_000, 2_000)):
        view = a_b_a.view(scope)
        assert (len(view.leaves().facts.column("frames")), len(np.concatenate(view.leaves().means))) == (0, 0)
        assert a_b_a.nearest(a_b_a.embedding(1), view, 5) == []


def test_the_ends_of_time_can_be_asked_for(a_b_a: Memory) -> None:
    assert sum(count for count, _ in _told(a_b_a, Scope(EARLIEST_US, LATEST_US)).values()) == 7
    assert a_b_a.view(Scope(LATEST_US, LATEST_US)).leaves().facts.column("frames").tolist() == []


def test_streams_are_told_apart(a_b_a: Memory, facing: Facing, frames: Frames) -> None:
    hall = a_b_a.open_session("hall", "run-1", Clock.SESSION, 0)
    a_b_a.remember(frames(hall, [facing(91)]))

    door_id, hall_id = a_b_a.stream_id("door"), a_b_a.stream_id("hall")

    assert _told(a_b_a, Scope(stream_ids=frozenset({hall_id}))) == {2: (1, _mean(facing, 91))}
    assert _told(a_b_a, Scope(2_000, 3_000, frozenset({door_id}))) == {2: (2, _mean(facing, 90, 95))}
    assert a_b_a.view(Scope(stream_ids=frozenset())).leaves().facts.column("frames").tolist() == []
    assert sorted(
        a_b_a.view(Scope(stream_ids=frozenset({door_id, hall_id}))).leaves().facts.column("frames").tolist()
    ) == [1, 2, 5]


def test_only_exemplars_within_the_scope_are_found_nearest(a_b_a: Memory, facing: Facing) -> None:
    [found] = a_b_a.nearest(facing(0), a_b_a.view(Scope(2_000, 3_000)), 5)

    assert found.exemplar_id == 2
    assert found.novelty == pytest.approx(1, abs=1e-4)


def test_the_nearest_exemplars_come_in_the_order_of_their_exact_distance(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(degrees) for degrees in range(0, 360, 30)]))

    found = memory.nearest(facing(67), memory.view(Scope()), 5)

    assert [neighbour.exemplar_id for neighbour in found] == [3, 4, 2, 5, 1]
    distances = [neighbour.novelty for neighbour in found]
    assert distances == pytest.approx([1 - np.cos(np.deg2rad(turn)) for turn in (7, 23, 37, 53, 67)], abs=1e-4)


def test_counts_as_of_a_time_stay_while_the_sighting_then_on_screen_goes_on(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(0), facing(10)]))
    before = memory.view(Scope(last_us=1_000)).leaves().facts.column("frames").tolist()

    memory.remember(frames(session, [facing(20)], first_seq=2))

    assert memory.view(Scope(last_us=1_000)).leaves().facts.column("frames").tolist() == before == [2]


def test_an_old_file_that_arrives_late_is_cut_by_its_own_times(memory: Memory, facing: Facing, frames: Frames) -> None:
    live = memory.open_session("door", "live", Clock.SESSION, 1_000_000)
    memory.remember(frames(live, [facing(0), facing(90)]))
    old = memory.open_session("door", "old", Clock.SOURCE, None)
    memory.remember(frames(old, [facing(1), facing(91)], capture_us=[10, 20]))

    assert _told(memory, Scope(last_us=15)) == {1: (1, _mean(facing, 1))}
    assert _told(memory, Scope(first_us=1_000_000)) == {1: (1, _mean(facing, 0)), 2: (1, _mean(facing, 90))}


def test_sightings_that_a_scope_cuts_are_told_newest_first_by_what_is_left_of_them(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    one = memory.open_session("door", "run-1", Clock.SESSION, 0)
    two = memory.open_session("hall", "run-1", Clock.SESSION, 0)
    memory.remember(frames(one, [facing(0)] * 2, pts_us=[0, 900]))
    memory.remember(frames(two, [facing(0)] * 2, pts_us=[100, 700]))

    _, shown = memory.sightings(1, Scope(first_us=500))

    assert [(sighting.stream, sighting.start_us) for sighting in shown] == [("door", 900), ("hall", 700)]
