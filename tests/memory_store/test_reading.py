"""What is read back: verdicts, the timeline, moments, and the list of exemplars."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from memory_store.errors import ExemplarNotFound, MomentNotFound
from memory_store.facts import Exemplar, ExemplarFacts
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Rejected, Unusable
from memory_store.scope import EARLIEST_US, LATEST_US, Scope

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]


@pytest.fixture
def turning(memory: Memory, facing: Facing, frames: Frames) -> Memory:
    """Exemplars 1 to 6, seen from 0 to 5 times 10 s on; each for 4 s, then nothing until the next."""
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    for number in range(6):
        seen = [facing(60 * number)] * 3
        times = [10_000 * number + offset for offset in (0, 2_000, 4_000)]
        memory.remember(frames(session, seen, first_seq=3 * number, pts_us=times))
    return memory


def test_verdicts_are_given_again_as_they_were(memory: Memory, facing: Facing, frames: Frames) -> None:
    one = memory.open_session("door", "run-1", Clock.SESSION, 0)
    two = memory.open_session("door", "run-2", Clock.SOURCE, 0)
    given = memory.remember(frames(one, [facing(0), facing(3), facing(90)], pts_us=[5, 5, 3]))
    given += memory.remember([Unusable(one.id, 3, 9, Rejected("BROKEN", "expected a picture"))])
    memory.set_threshold("door", 0.2)
    given += memory.remember(frames(one, [facing(30)], first_seq=4))
    other = memory.remember(frames(two, [facing(180)], capture_us=[-5]))

    assert memory.reading.verdicts(one.id, 0, 4) == given
    assert memory.reading.verdicts(one.id, 1, 3) == given[1:4]
    assert memory.reading.verdicts(two.id, 0, 99) == other
    assert memory.reading.verdicts(one.id, 5, 9) == []
    assert memory.reading.verdicts(99, 0, 9) == []


def test_frames_that_are_taken_while_verdicts_are_read_are_not_taken_for_forgotten(
    memory: Memory, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    given = memory.remember(frames(session, [facing(0), facing(90)]))
    read = memory.reading._rows

    def taking_more_after(sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        rows = read(sql, values)
        given.extend(memory.remember(frames(session, [facing(50 * len(given))], first_seq=len(given))))
        return rows

    monkeypatch.setattr(memory.reading, "_rows", taking_more_after)

    told = memory.reading.verdicts(session.id, 0, 99)

    assert len(told) >= 2
    assert told == given[: len(told)]


def _starts(memory: Memory, first_us: int, last_us: int) -> list[int]:
    shown = memory.timeline("door", first_us, last_us, None, 99)
    return [sighting.start_us for sighting in shown]


def test_the_timeline_has_whole_sightings_that_overlap_a_range_ends_included(turning: Memory) -> None:
    assert _starts(turning, EARLIEST_US, LATEST_US) == [0, 10_000, 20_000, 30_000, 40_000, 50_000]
    assert _starts(turning, 14_000, 30_000) == [10_000, 20_000, 30_000]
    assert _starts(turning, 14_001, 29_999) == [20_000]
    assert _starts(turning, 21_000, 21_001) == [20_000]
    assert _starts(turning, 14_001, 19_999) == []
    [shown] = turning.timeline("door", 21_000, 21_001, None, 99)
    assert (shown.start_us, shown.end_us, shown.frames, shown.exemplar_id) == (20_000, 24_000, 3, 3)


@pytest.mark.parametrize("limit", [1, 2, 4, 99])
def test_pages_of_the_timeline_add_up_even_where_sightings_start_together(
    memory: Memory, facing: Facing, frames: Frames, limit: int
) -> None:
    session = memory.open_session("door", "run-1", Clock.SOURCE, 0)
    captures = [50, 10, 10, -20, 10, 70, 50]
    memory.remember(frames(session, [facing(90 * n) for n in range(7)], capture_us=captures))

    pages = []
    after = None
    while page := memory.timeline("door", EARLIEST_US, LATEST_US, after, limit):
        assert len(page) <= limit
        pages += page
        after = (page[-1].start_us, page[-1].id)

    assert [(sighting.start_us, sighting.id) for sighting in pages] == [
        (-20, 4),
        (10, 2),
        (10, 3),
        (10, 5),
        (50, 1),
        (50, 7),
        (70, 6),
    ]


def test_a_moment_shows_the_last_frame_at_or_before_it(turning: Memory) -> None:
    shown = {time: turning.exemplar_at("door", time) for time in (0, 3_999, 4_000, 9_999, 10_000, 54_000)}

    assert shown == {0: 1, 3_999: 1, 4_000: 1, 9_999: 1, 10_000: 2, 54_000: 6}
    assert turning.exemplar_at("door", LATEST_US) == 6


def test_there_is_no_moment_before_the_first_frame_or_in_a_stream_without_any(turning: Memory) -> None:
    turning.create_stream("hall", None)

    with pytest.raises(MomentNotFound, match=r"before 1969-12-31T23:59:59\.999999"):
        turning.exemplar_at("door", -1)
    with pytest.raises(MomentNotFound):
        turning.exemplar_at("hall", LATEST_US)


def test_a_moment_inside_a_sighting_shows_a_later_frame_of_another_session(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    one = memory.open_session("door", "run-1", Clock.SESSION, 0)
    two = memory.open_session("door", "run-2", Clock.SESSION, 0)
    memory.remember(frames(one, [facing(0), facing(0)], pts_us=[0, 1_000]))
    memory.remember(frames(two, [facing(90)], pts_us=[500]))

    # The frames of the stream are at 0 (exemplar 1), 500 (exemplar 2) and 1,000 (exemplar 1).
    assert [memory.exemplar_at("door", time) for time in (499, 600, 1_000)] == [1, 2, 1]


def test_exemplars_tell_where_they_come_from_and_what_they_stand_for(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    hall = memory.open_session("hall", "run-2", Clock.SESSION, 100_000)
    memory.remember(frames(door, [facing(180), facing(0), facing(1)]))
    memory.remember(frames(hall, [facing(2), facing(180), facing(3), facing(4)]))

    kept = memory.reading.exemplar(2, thumbnail=True, embedding=True)

    assert kept.embedding is not None
    np.testing.assert_array_equal(kept.embedding, facing(0))
    assert replace(kept, embedding=None) == Exemplar(
        ExemplarFacts(2, first_us=1_000, last_us=103_000, duration_us=2_000, frames=5, sightings=3),
        stream="door",
        session_uuid="run-1",
        seq=1,
        capture_us=1_000,
        recentred=False,
        thumbnail=b"thumbnail 1",
        embedding=None,
        labels=(),
        served=None,
    )
    assert memory.sightings(2, Scope())[0] == kept.facts
    assert memory.reading.thumbnail(2) == b"thumbnail 1"
    np.testing.assert_array_equal(memory.embedding(2), facing(0))
    bare = memory.reading.exemplar(2, thumbnail=False, embedding=False)
    assert bare == replace(kept, thumbnail=None, embedding=None)


@pytest.mark.parametrize("exemplar_id", [0, -1, 7, 2**62])
def test_an_unknown_exemplar_is_not_found(turning: Memory, exemplar_id: int) -> None:
    asks: list[Callable[[], object]] = [
        lambda: turning.reading.exemplar(exemplar_id, thumbnail=True, embedding=True),
        lambda: turning.embedding(exemplar_id),
    ]
    for ask in asks:
        with pytest.raises(ExemplarNotFound, match=str(exemplar_id)):
            ask()
    assert turning.reading.thumbnail(exemplar_id) is None


def _page(memory: Memory, after: int | None, limit: int, *, newest_first: bool) -> list[int]:
    page = memory.reading.exemplars(
        after=after, limit=limit, newest_first=newest_first, thumbnails=False, embeddings=False
    )
    return [kept.facts.exemplar_id for kept in page]


def test_exemplars_are_listed_in_both_orders_with_what_was_asked_for(turning: Memory) -> None:
    assert _page(turning, None, 99, newest_first=False) == [1, 2, 3, 4, 5, 6]
    assert _page(turning, None, 99, newest_first=True) == [6, 5, 4, 3, 2, 1]
    [kept] = turning.reading.exemplars(after=2, limit=1, newest_first=False, thumbnails=True, embeddings=False)
    assert (kept.thumbnail, kept.embedding) == (b"thumbnail 6", None)
    [kept] = turning.reading.exemplars(after=2, limit=1, newest_first=True, thumbnails=False, embeddings=True)
    assert kept.thumbnail is None
    np.testing.assert_array_equal(kept.embedding, turning.embedding(1))


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_of_exemplars_are_stable_while_new_ones_come(
    memory: Memory, facing: Facing, frames: Frames, *, newest_first: bool
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(40 * n) for n in range(5)]))

    first = _page(memory, None, 2, newest_first=newest_first)
    memory.remember(frames(session, [facing(40 * n) for n in range(5, 8)], first_seq=5))
    second = _page(memory, first[-1], 2, newest_first=newest_first)
    third = _page(memory, second[-1], 9, newest_first=newest_first)

    assert [first, second, third] == ([[5, 4], [3, 2], [1]] if newest_first else [[1, 2], [3, 4], [5, 6, 7, 8]])


def test_an_exemplar_without_a_sighting_in_a_scope_is_not_found_there(turning: Memory) -> None:
    with pytest.raises(ExemplarNotFound):
        turning.sightings(1, Scope(first_us=20_000))
    with pytest.raises(ExemplarNotFound):
        turning.sightings(99, Scope())
