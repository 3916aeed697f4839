"""What forgetting leaves, in cases small enough to be read."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from audit import audit
from ledger import Ledger
from memory_store import forgetting
from memory_store.errors import ExemplarNotFound, MomentNotFound
from memory_store.facts import Contents
from memory_store.memory import Memory
from memory_store.records import (
    Clock,
    Embedding,
    Encoded,
    Forgotten,
    ForgottenCounts,
    Novel,
    Rejected,
    Repeat,
    Session,
    Unusable,
)
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]

MS = 1_000
"""Frames come one a millisecond."""


def _shown(memory: Memory, stream: str = "door") -> list[tuple[int, int, int, int]]:
    """Sightings of a stream: exemplar, start and end in milliseconds, frames."""
    shown = memory.timeline(stream, -(2**62), 2**62, None, 999)
    return [(one.exemplar_id, one.start_us // MS, one.end_us // MS, one.frames) for one in shown]


def test_nothing_within_the_range_is_seen_any_more_and_the_rest_is_as_it_was(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 2, 90, 92, 180, 182)]))

    counts = memory.forget(Scope(2 * MS, 3 * MS))

    assert counts == ForgottenCounts(frames=2, sightings=1, exemplars=1, recentred=0)
    assert _shown(memory) == [(1, 0, 1, 2), (3, 4, 5, 2)]
    assert [memory.exemplar_at("door", time * MS) for time in (0, 1, 2, 3, 4)] == [1, 1, 1, 1, 3]
    assert memory.view(Scope(2 * MS, 3 * MS)).leaves().facts.column("frames").tolist() == []
    assert [found.exemplar_id for found in memory.nearest(facing(90), memory.view(Scope()), 9)] == [1, 3]
    with pytest.raises(ExemplarNotFound):
        memory.sightings(2, Scope())
    with pytest.raises(ExemplarNotFound):
        memory.embedding(2)
    outcomes = [verdict.outcome for verdict in memory.reading.verdicts(door.id, 0, 9)]
    assert outcomes[2:4] == [Forgotten(), Forgotten()]
    assert [outcomes[0], outcomes[4]] == [Novel(1, None), ledger.counted[door.id, 4].verdict.outcome]
    assert [type(outcome) for outcome in outcomes] == [Novel, Repeat, Forgotten, Forgotten, Novel, Repeat]
    ledger.take_note(memory)
    audit(memory, ledger)
    contents = memory.facts().contents
    assert (contents.novel_frames, contents.repeat_frames, contents.forgotten_frames) == (3, 3, 2)


def test_both_ends_of_the_range_are_forgotten_and_what_a_sighting_has_beyond_them_stands_by_its_exemplar(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 2, 4, 15, 6, 20, 8)]))

    beyond = ledger.forget(memory, Scope(3 * MS, 4 * MS))

    assert beyond == set()
    assert _shown(memory) == [(1, 0, 2, 3), (1, 5, 6, 2)]
    _, [second, first] = memory.sightings(1, Scope())
    away = [ledger.counted[door.id, seq].verdict.outcome for seq in (2, 5)]
    assert [first.largest_novelty, second.largest_novelty] == [outcome.novelty for outcome in away]  # type: ignore[union-attr]
    assert (first.restated, second.restated) == (False, False)
    view = memory.view(Scope())
    assert view.leaves().facts.column("frames").tolist() == [5]
    np.testing.assert_allclose(np.concatenate(view.leaves().means)[0], facing(0), atol=1e-7)
    audit(memory, ledger)


def test_only_the_streams_of_the_scope_are_forgotten(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    hall = memory.open_session("hall", "run-1", Clock.SESSION, 0)
    ledger.send(memory, [*frames(door, [facing(0), facing(90)]), *frames(hall, [facing(2), facing(180)])])

    counts = memory.forget(Scope(stream_ids=frozenset({memory.stream_id("hall")})))

    assert counts == ForgottenCounts(frames=2, sightings=2, exemplars=1, recentred=0)
    assert (_shown(memory, "hall"), _shown(memory)) == ([], [(1, 0, 0, 1), (2, 1, 1, 1)])
    assert memory.stream_facts("hall").contents == Contents(1, 1, 0, forgotten_frames=2, received_bytes=200)
    ledger.take_note(memory)
    audit(memory, ledger)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(2 * MS + 1, 3 * MS - 1),
        Scope(last_us=-1),
        Scope(first_us=7 * MS),
        Scope(5 * MS, 2 * MS),
        Scope(stream_ids=frozenset()),
        Scope(stream_ids=frozenset({99})),
    ],
)
def test_a_scope_without_frames_forgets_nothing(
    memory: Memory, door: Session, facing: Facing, frames: Frames, told: Told, scope: Scope
) -> None:
    memory.remember(frames(door, [facing(30 * number) for number in range(7)]))
    before = told(memory)

    assert memory.forget(scope) == ForgottenCounts()

    assert told(memory) == before


def test_an_exemplar_whose_own_frame_is_forgotten_becomes_the_mean_of_the_sightings_that_are_left_whole(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    seen = [0, 10, 90, 20, 22, 90, 12, 14]
    ledger.send(memory, frames(door, [facing(degrees) for degrees in seen]))

    ledger.forget(memory, Scope(0, 0))

    kept = memory.reading.exemplar(1, thumbnail=True, embedding=True)
    assert (kept.recentred, kept.thumbnail, memory.reading.thumbnail(1)) == (True, None, None)
    assert (kept.session_uuid, kept.seq, kept.capture_us) == ("run-1", 1, 1 * MS)
    mean = np.mean([facing(degrees) for degrees in (20, 22, 12, 14)], axis=0)
    np.testing.assert_allclose(memory.embedding(1), mean / np.linalg.norm(mean), atol=3e-4)
    _, shown = memory.sightings(1, Scope())
    assert [one.restated for one in shown] == [True, True, True]
    moved = np.deg2rad(17)  # from 0 to the mean
    assert shown[-1].largest_novelty == pytest.approx(1 - np.cos(np.deg2rad(10) + moved), abs=2e-3)
    assert memory.reading.exemplar(2, thumbnail=True, embedding=False).thumbnail == b"thumbnail 2"
    audit(memory, ledger)


def test_an_exemplar_with_nothing_but_a_cut_sighting_is_estimated_from_its_mean(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 10, 10, 10, 10, 10)]))

    ledger.forget(memory, Scope(0, 0))

    np.testing.assert_allclose(memory.embedding(1), facing(10), atol=1e-3)
    audit(memory, ledger)


def test_what_was_cut_before_goes_with_the_frame_that_stood_for_it(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    """What is left of a cut sighting has no mean: without the exemplar's own frame nothing could stand for it."""
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 2, 4, 6, 90)]))
    ledger.forget(memory, Scope(2 * MS, 2 * MS))

    beyond = ledger.forget(memory, Scope(0, 0))

    assert beyond == {(door.id, 1), (door.id, 3)}
    assert _shown(memory) == [(2, 4, 4, 1)]
    audit(memory, ledger)


def test_a_recentred_exemplar_refers_to_the_earliest_frame_left_even_if_it_came_late(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    late = memory.open_session("door", "run-1", Clock.SOURCE, 0)
    captures = [9 * MS, 5 * MS, 3 * MS, 4 * MS]
    ledger.send(memory, frames(late, [facing(degrees) for degrees in (0, 2, 4, 6)], capture_us=captures))

    ledger.forget(memory, Scope(9 * MS, 9 * MS))

    kept = memory.reading.exemplar(1, thumbnail=False, embedding=False)
    assert (kept.seq, kept.capture_us) == (2, 3 * MS)
    audit(memory, ledger)


def test_an_exemplar_that_keeps_its_own_frame_keeps_referring_to_it_whatever_was_captured_before(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    late = memory.open_session("door", "run-1", Clock.SOURCE, 0)
    captures = [9 * MS, 5 * MS, 3 * MS, 4 * MS]
    ledger.send(memory, frames(late, [facing(degrees) for degrees in (0, 2, 4, 6)], capture_us=captures))

    ledger.forget(memory, Scope(5 * MS, 5 * MS))

    kept = memory.reading.exemplar(1, thumbnail=True, embedding=False)
    assert (kept.seq, kept.capture_us, kept.recentred, kept.thumbnail) == (0, 9 * MS, False, b"thumbnail 0")
    audit(memory, ledger)


def test_an_exemplar_counts_for_the_stream_of_the_first_frame_it_has_left(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    hall = memory.open_session("hall", "run-1", Clock.SESSION, 0)
    ledger.send(memory, [*frames(door, [facing(0)]), *frames(hall, [facing(2), facing(4)])])

    ledger.forget(memory, Scope(stream_ids=frozenset({memory.stream_id("door")})))

    contents = [memory.stream_facts(name).contents.exemplars for name in ("door", "hall")]
    assert (contents, memory.facts().contents.exemplars) == ([0, 1], 1)
    assert memory.reading.exemplar(1, thumbnail=False, embedding=False).stream == "hall"
    audit(memory, ledger)


@pytest.mark.parametrize("step", [1, 128])
def test_a_forgotten_frame_does_not_stay_the_exemplar_of_what_another_stream_still_has(
    memory: Memory,
    ledger: Ledger,
    facing: Facing,
    frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """The other stream's sighting begins before the range, and is cut in a later step than the frame it stands by."""
    monkeypatch.setattr(forgetting, "_SIGHTINGS", step)
    hall = memory.open_session("hall", "run-1", Clock.SOURCE, 0)
    door = memory.open_session("door", "run-1", Clock.SOURCE, 0)
    ledger.send(memory, frames(door, [facing(0)], capture_us=[5 * MS]))
    ledger.send(memory, frames(hall, [facing(10)] * 5, capture_us=[number * MS for number in (3, 4, 5, 6, 7)]))

    ledger.forget(memory, Scope(5 * MS, 6 * MS))

    left = 5 * facing(10) - 2 * facing(0)  # what it lost is taken to be like the exemplar
    np.testing.assert_allclose(memory.embedding(1), left / np.linalg.norm(left), atol=3e-4)
    assert memory.reading.thumbnail(1) is None
    audit(memory, ledger)


def test_forgetting_everything_leaves_an_empty_memory_that_answers(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames, open_store: Callable[[], MemoryStore]
) -> None:
    hall = memory.open_session("hall", "run-1", Clock.SESSION, 0)
    ledger.send(memory, frames(door, [facing(7 * number) for number in range(60)]))
    ledger.send(memory, [Unusable(hall.id, 0, 5, Rejected("BROKEN", "expected a picture"))])
    ledger.send(memory, frames(hall, [facing(0), facing(200)], first_seq=1))

    counts = memory.forget(Scope())
    ledger.take_note(memory)

    for _ in range(2):
        assert memory.facts().contents == replace(
            Contents(counts.exemplars, 62 - counts.exemplars, 1, forgotten_frames=62, received_bytes=6205),
            stored_bytes=memory.facts().contents.stored_bytes,
        )
        assert counts.frames == 62
        view = memory.view(Scope())
        assert memory.nearest(facing(0), view, 5) == []
        assert memory.look(facing(0)) is None
        assert [memory.timeline(name, 0, 10**9, None, 9) for name in ("door", "hall")] == [[], []]
        with pytest.raises(MomentNotFound):
            memory.exemplar_at("door", 10**9)
        assert memory.reading.exemplars(after=None, limit=9, newest_first=True, thumbnails=True, embeddings=True) == []
        assert memory.forget(Scope()) == ForgottenCounts()
        audit(memory, ledger)
        memory = open_store().get("m")
