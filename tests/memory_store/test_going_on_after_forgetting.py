"""What comes in, and what is asked, while something is forgotten and afterwards."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from audit import audit, audit_times
from ledger import Ledger, cosine_distance
from memory_store import forgetting
from memory_store.change import Change
from memory_store.memory import Memory
from memory_store.records import (
    Clock,
    Embedding,
    Encoded,
    Novel,
    Rejected,
    Repeat,
    Session,
    Unusable,
    Verdict,
)
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]

MS = 1_000
"""Frames come one a millisecond."""


def _shown(memory: Memory, stream: str = "door") -> list[tuple[int, int, int, int]]:
    """Sightings of a stream: exemplar, start and end in milliseconds, frames."""
    shown = memory.timeline(stream, -(2**62), 2**62, None, 999)
    return [(one.exemplar_id, one.start_us // MS, one.end_us // MS, one.frames) for one in shown]


def test_a_session_goes_on_after_its_sighting_was_cut(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 2, 4, 6)]))
    ledger.forget(memory, Scope(1 * MS, 2 * MS))

    [verdict] = ledger.send(memory, frames(door, [facing(8)], first_seq=4))

    assert isinstance(verdict.outcome, Repeat)
    assert _shown(memory) == [(1, 0, 0, 1), (1, 3, 3, 1), (1, 4, 4, 1)]
    audit(memory, ledger)


def test_frames_that_come_after_an_exemplar_has_moved_are_measured_against_it_as_it_is(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 90, 10)]))
    ledger.forget(memory, Scope(0, 0))

    ledger.send(memory, frames(door, [facing(30)], first_seq=3))

    _, [later, earlier] = memory.sightings(1, Scope())
    assert (earlier.restated, earlier.frames, later.restated, later.frames) == (True, 1, False, 1)
    assert later.largest_novelty == pytest.approx(cosine_distance(facing(30), facing(10)), abs=1e-9)
    audit(memory, ledger)


def test_a_session_goes_on_after_all_it_showed_was_forgotten(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(0), facing(2)]))
    ledger.forget(memory, Scope())

    verdicts = ledger.send(memory, frames(door, [facing(4), facing(0)], first_seq=2))

    assert [verdict.outcome for verdict in verdicts] == [Novel(2, None), ledger.counted[door.id, 3].verdict.outcome]
    assert _shown(memory) == [(2, 2, 3, 2)]
    audit(memory, ledger)


def test_a_sighting_does_not_go_on_over_what_was_forgotten_after_it(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames, open_store: Callable[[], MemoryStore]
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 2, 90, 92)]))
    ledger.forget(memory, Scope(2 * MS, 3 * MS))

    ledger.send(memory, frames(door, [facing(4)], first_seq=4))
    memory.close_session(door.id)
    memory.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(memory, [Unusable(door.id, 5, 1, Rejected("BROKEN", "expected a picture"))])
    ledger.send(memory, frames(door, [facing(6)], first_seq=6))

    assert _shown(memory) == [(1, 0, 1, 2), (1, 4, 6, 2)]
    audit(memory, ledger)


def test_numbers_are_never_used_again_after_the_newest_were_forgotten_and_the_memory_reopened(
    memory: Memory,
    ledger: Ledger,
    door: Session,
    facing: Facing,
    frames: Frames,
    open_store: Callable[[], MemoryStore],
) -> None:
    ledger.send(memory, frames(door, [facing(60 * number) for number in range(5)]))
    ledger.forget(memory, Scope(first_us=2 * MS))

    memory = open_store().get("m")
    again = memory.open_session("door", "run-1", Clock.SESSION, 0)
    verdicts = ledger.send(memory, frames(again, [facing(270)]))

    assert [verdict.outcome for verdict in verdicts] == [Novel(6, verdicts[0].outcome.novelty)]  # type: ignore[union-attr]
    assert [row[0] for row in ledger.rows("SELECT id FROM exemplars ORDER BY id")] == [1, 2, 6]
    assert ledger.rows("SELECT id, position FROM stays ORDER BY id") == [(1, 0), (2, 1), (6, 5)]
    assert ledger.sightings()[-1].id == 6
    audit(memory, ledger)


def test_a_view_is_taken_again_if_what_it_reads_is_forgotten_meanwhile(
    memory: Memory, door: Session, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.remember(frames(door, [facing(0), facing(2), facing(90), facing(92)]))
    read = memory.reading.extent_within

    def forgotten_after(session_id: int, seqs: tuple[int, int], scope: Scope) -> tuple[int, int, int]:
        found = read(session_id, seqs, scope)
        memory.forget(Scope(last_us=1 * MS))
        return found

    monkeypatch.setattr(memory.reading, "extent_within", forgotten_after)

    view = memory.view(Scope(1 * MS, 2 * MS))

    assert (view.leaves().facts.column("exemplar_id").tolist(), view.leaves().facts.column("frames").tolist()) == (
        [2],
        [1],
    )


def test_everything_at_once_from_several_threads_ends_with_every_frame_accounted_for(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_SIGHTINGS", 2)
    sessions = [memory.open_session(name, "run-1", Clock.SESSION, 0) for name in ("door", "hall")]
    sent: list[tuple[list[Encoded], list[Verdict]]] = []
    done = threading.Event()

    def ingest(session: Session) -> None:
        for seq in range(0, 240, 4):
            group = frames(session, [facing(11 * number % 300) for number in range(seq, seq + 4)], first_seq=seq)
            sent.append((group, memory.remember(group)))

    def remove() -> None:
        for number in range(1, 12):
            memory.forget(Scope(9 * number * MS, (9 * number + 6) * MS))
            memory.compact(0.002 * number)
        memory.tidy(0)

    def ask() -> None:
        while not done.is_set():
            view = memory.view(Scope(20 * MS, 90 * MS))
            memory.nearest(facing(30), view, 5)
            memory.timeline("door", 0, 10**9, None, 99)
            memory.facts()

    with ThreadPoolExecutor(4) as threads:
        asking = threads.submit(ask)
        try:
            for working in [threads.submit(remove), *(threads.submit(ingest, session) for session in sessions)]:
                working.result(timeout=120)
        finally:
            done.set()
        asking.result(timeout=120)

    for group, verdicts in sent:
        ledger.record(group, verdicts)
    ledger.take_note(memory)
    audit(memory, ledger)
    audit_times(memory, ledger, range(-MS, 250 * MS, 13 * MS))


def test_frames_that_come_while_a_range_is_forgotten_are_kept(
    memory: Memory,
    ledger: Ledger,
    door: Session,
    facing: Facing,
    frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even those of a range without an end: what is forgotten is what was there when it was asked for."""
    monkeypatch.setattr(forgetting, "_SIGHTINGS", 1)
    ledger.send(memory, frames(door, [facing(40 * number) for number in range(9)]))
    follow = memory._removal._follow

    def going_on(change: Change) -> None:
        follow(change)
        seq = len(ledger.counted)
        if seq < 14:
            ledger.send(memory, frames(door, [facing(40 * seq + 3)], first_seq=seq))

    monkeypatch.setattr(memory._removal, "_follow", going_on)

    counts = memory.forget(Scope())

    assert counts.frames == 9
    assert ledger.take_note(memory) == {(door.id, seq) for seq in range(9)}
    assert sum(frames for *_, frames in _shown(memory)) == 5
    audit(memory, ledger)
    audit_times(memory, ledger, range(-MS, 15 * MS, MS // 2))
