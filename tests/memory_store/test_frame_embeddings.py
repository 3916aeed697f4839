"""What is on record of frames inside stays: what is kept, what counts as a copy, and what a scope lets through."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audit import audit
from ledger import Ledger
from memory_store.config import MemoryStoreConfig
from memory_store.errors import MemoryUnreadable
from memory_store.frame_embeddings import COPY_NOVELTY, rounded_blob, rounded_from
from memory_store.hints import Hint
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Rejected, Session, Unusable
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]

MS = 1_000
"""Frames come one a millisecond."""


def _on_record(ledger: Ledger, session: int = 1) -> list[int]:
    """Numbers of the frames of a session whose embeddings are on record."""
    ids = [number for (number,) in ledger.rows("SELECT id FROM frame_embeddings ORDER BY id")]
    return [number % 2**36 for number in ids if number // 2**36 == session]


def _inside(memory: Memory, scope: Scope, exemplar: int = 1) -> tuple[list[int], list[float]]:
    """Of the only stay of an exemplar: frames that each one on record stands for, and degrees it faces."""
    view = memory.view(scope)
    rows = np.sort(np.concatenate([view.blocks.rows(), view.others]))
    of = np.flatnonzero(view.facts(rows).column("exemplar_id") == exemplar)
    inside = view.inside(rows)
    chosen = inside.of == of[0]
    halves = inside.vectors[chosen].reshape(-1, 2, 4).sum(2)
    degrees = np.rad2deg(np.arctan2(halves[:, 1], halves[:, 0]))
    return inside.frames[chosen].tolist(), degrees.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32), width=st.sampled_from([1, 2, 24, 256, 1280]), spike=st.sampled_from([0.0, 1.0, 100.0])
)
def test_rounding_is_off_by_half_a_step_in_each_number(seed: int, width: int, spike: float) -> None:
    vectors = np.random.default_rng(seed).normal(size=(3, width))
    vectors[:, 0] += spike
    embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    blobs = [rounded_blob(embedding) for embedding in embeddings]

    rounded, steps = rounded_from(blobs)

    assert {len(blob) for blob in blobs} == {width + 4}
    np.testing.assert_allclose(steps, np.abs(embeddings).max(1) / 127, rtol=1e-6)
    assert (np.abs(rounded - embeddings) <= 0.5001 * steps[:, None]).all()


def test_every_counted_frame_is_on_record_or_a_copy_of_the_one_before_in_its_sighting(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    still = 0.3  # degrees: a novelty of 1.4e-5
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 0, still, 5, 5, 5 - still, 0, 90, 90, 0)]))

    assert _on_record(ledger) == [0, 3, 6, 7, 9]
    counts, degrees = _inside(memory, Scope())
    assert counts == [3, 3, 1, 1]
    assert degrees == pytest.approx([0, 5, 0, 0], abs=0.5)
    assert _inside(memory, Scope(), exemplar=2)[0] == [2]
    audit(memory, ledger)


def test_what_drifts_slowly_is_no_copy_for_ever(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    drift = [0.1 * step for step in range(200)]
    ledger.send(memory, frames(door, [facing(degrees) for degrees in drift]))

    on_record = _on_record(ledger)

    apart = np.rad2deg(np.arccos(1 - COPY_NOVELTY))
    assert 200 * 0.1 / (apart + 0.5) <= len(on_record) <= 200 * 0.1 / (apart - 0.5) + 1
    assert sum(_inside(memory, Scope())[0]) == 200
    audit(memory, ledger)


def test_a_session_that_goes_on_after_a_restart_keeps_what_it_would_have_kept(
    memory: Memory, ledger: Ledger, open_store: Callable[[], MemoryStore], facing: Facing, frames: Frames, door: Session
) -> None:
    sent = frames(door, [facing(degrees) for degrees in (0, 0.3, 0.2, 4, 4.2, 0.1, 0.2)])
    memory.remember(sent[:2])
    again = open_store().get("m")
    session = again.open_session("door", "run-1", Clock.SESSION, 0)
    again.remember([replace(frame, session_id=session.id) for frame in sent[2:5]])
    last = open_store().get("m")
    session = last.open_session("door", "run-1", Clock.SESSION, 0)
    last.remember([replace(frame, session_id=session.id) for frame in sent[5:]])

    assert _on_record(ledger) == [0, 3, 5]


def test_frames_that_could_not_be_used_or_were_withheld_are_not_on_record(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    first, second, third = frames(door, [facing(0), facing(0), facing(0)])
    broken = Unusable(door.id, 1, 10, Rejected("BROKEN", "a picture"))
    ledger.send(memory, [first, broken, replace(second, seq=2), replace(third, seq=3)])

    assert _on_record(ledger) == [0]
    assert _inside(memory, Scope())[0] == [3]


def test_nothing_goes_on_record_if_that_is_not_wanted(
    memory: Memory, ledger: Ledger, open_store: Callable[[], MemoryStore], folder: Path, facing: Facing, frames: Frames
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(degrees) for degrees in (0, 5, 5, 9)])
    memory.remember(sent[:1])
    open_store().close()
    without = MemoryStore(folder, MemoryStoreConfig(record_frames=False))
    other = without.get("m")
    again = other.open_session("door", "run-1", Clock.SESSION, 0)
    other.remember([replace(frame, session_id=again.id) for frame in sent[1:3]])

    assert _on_record(ledger) == [0]
    assert _inside(other, Scope())[0] == [1], "what is not on record counts as a copy of what is"

    without.close()
    third = open_store().get("m")
    session = third.open_session("door", "run-1", Clock.SESSION, 0)
    third.remember([replace(frame, session_id=session.id) for frame in sent[3:]])
    assert _on_record(ledger) == [0, 3]
    assert _inside(third, Scope())[0] == [1, 1]


def test_only_frames_within_the_scope_count(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 0, 5, 5, 5, 10)]))

    assert _inside(memory, Scope(last_us=3 * MS))[0] == [2, 2]
    assert _inside(memory, Scope(first_us=1 * MS, last_us=4 * MS))[0] == [1, 3]
    counts, degrees = _inside(memory, Scope(first_us=4 * MS))
    assert counts == [1, 1]
    assert degrees == pytest.approx([5, 10], abs=0.5)


def test_what_was_not_known_at_a_time_stands_for_nothing_as_of_then(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    """Capture times may go back: the frame on record was captured after its copy."""
    session = memory.open_session("door", "run-1", Clock.SOURCE, 0)
    ledger.send(memory, frames(session, [facing(0), facing(0), facing(5)], capture_us=[5 * MS, 1 * MS, 2 * MS]))

    counts, degrees = _inside(memory, Scope(last_us=2 * MS))

    assert counts == [1]
    assert degrees == pytest.approx([5], abs=0.5)


def test_labels_let_only_their_sightings_through(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    plain = frames(door, [facing(degrees) for degrees in (0, 5, 10, 12)])
    labels = [("cat",), ("cat",), (), ("cat",)]
    ledger.send(memory, [replace(one, hint=Hint(labels=of)) for one, of in zip(plain, labels, strict=True)])

    counts, degrees = _inside(memory, Scope(labels=frozenset({"cat"})))

    assert counts == [1, 1, 1]
    assert degrees == pytest.approx([0, 5, 12], abs=0.5)


def test_of_copies_of_a_forgotten_frame_nothing_is_known(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 4, 8, 8, 8, 12, 12)]))

    ledger.forget(memory, Scope(2 * MS, 2 * MS))

    assert _on_record(ledger) == [0, 1, 5]
    counts, degrees = _inside(memory, Scope())
    assert counts == [1, 1, 2]
    assert degrees == pytest.approx([0, 4, 12], abs=0.5)
    audit(memory, ledger)


def test_nothing_of_forgotten_frames_is_left(
    memory: Memory, ledger: Ledger, folder: Path, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 4, 8, 90, 94)]))
    gone = [rounded_blob(facing(degrees))[:8] for degrees in (4, 8, 90, 94)]

    ledger.forget(memory, Scope(first_us=1 * MS))

    held = b"".join(path.read_bytes() for path in (folder / "memories").glob("m.sqlite*"))
    assert rounded_blob(facing(0))[:8] in held
    assert [blob in held for blob in gone] == [False] * 4


def test_what_is_merged_or_moved_stays_on_record(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    ledger.send(memory, frames(door, [facing(degrees) for degrees in (0, 10, 30, 40, 0)]))

    memory.compact(0.2)

    assert _on_record(ledger) == [0, 1, 2, 3, 4]
    assert sum(_inside(memory, Scope())[0]) == 5

    memory.forget(Scope(0, 0))  # the exemplar's own frame

    counts, degrees = _inside(memory, Scope())
    assert counts == [1, 1, 1, 1]
    assert degrees == pytest.approx([10, 30, 40, 0], abs=0.5)


def test_frames_that_are_not_on_record_do_not_become_copies_by_a_merge(
    memory: Memory, ledger: Ledger, open_store: Callable[[], MemoryStore], folder: Path, facing: Facing, frames: Frames
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(degrees) for degrees in (0, 30, 31)])
    memory.remember(sent[:2])
    open_store().close()
    without = MemoryStore(folder, MemoryStoreConfig(record_frames=False))
    other = without.get("m")
    again = other.open_session("door", "run-1", Clock.SESSION, 0)
    other.remember([replace(sent[2], session_id=again.id)])

    other.compact(0.2)

    counts, degrees = _inside(other, Scope())
    assert counts == [1, 1]
    assert degrees == pytest.approx([0, 30], abs=0.5)
    without.close()


def test_the_part_of_a_sighting_within_a_scope_stands_by_its_own_frames(
    memory: Memory, ledger: Ledger, door: Session, facing: Facing, frames: Frames
) -> None:
    shown = [facing(degrees) for degrees in (0, 5, 10, 10, 20)]
    ledger.send(memory, frames(door, shown))

    [mean] = np.concatenate(memory.view(Scope(1 * MS, 3 * MS)).leaves().means)

    np.testing.assert_allclose(mean, np.mean(shown[1:4], axis=0), atol=0.005)

    ledger.forget(memory, Scope(2 * MS, 2 * MS))  # the next one was a copy of it, of which nothing is known now
    [mean] = np.concatenate(memory.view(Scope(3 * MS, 3 * MS)).leaves().means)

    np.testing.assert_array_equal(mean, memory.embedding(1))


def test_a_damaged_frame_is_not_read(
    memory: Memory, folder: Path, door: Session, facing: Facing, frames: Frames
) -> None:
    memory.remember(frames(door, [facing(0), facing(5)]))
    with closing(sqlite3.connect(folder / "memories" / "m.sqlite", isolation_level=None)) as other:
        other.execute("UPDATE frame_embeddings SET embedding = zeroblob(length(embedding))")

    with pytest.raises(MemoryUnreadable, match="checksum"):
        _inside(memory, Scope())


def test_frames_of_a_journal_that_has_none_on_record_stand_by_their_means(
    memory: Memory, folder: Path, door: Session, facing: Facing, frames: Frames
) -> None:
    memory.remember(frames(door, [facing(0), facing(5)]))
    with closing(sqlite3.connect(folder / "memories" / "m.sqlite", isolation_level=None)) as other:
        other.execute("DELETE FROM frame_embeddings")

    inside = memory.view(Scope()).inside(np.array([0], np.int64))

    expected: NDArray[np.float32] = np.empty((0, 8), np.float32)
    np.testing.assert_array_equal(inside.vectors, expected)
    assert (len(inside.of), len(inside.frames), len(inside.off)) == (0, 0, 0)
