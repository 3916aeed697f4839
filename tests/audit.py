"""What must hold of a memory whatever was done to it, in plain loops over every frame of its ledger, in float64."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from ledger import Key, Ledger, Row, cosine_distance, exemplar_of, verdict_of
from memory_store.errors import MomentNotFound
from memory_store.memory import Memory
from memory_store.records import Forgotten, Novel, Repeat
from memory_store.scope import Scope

BLOCK_SIZE = 100


def audit(memory: Memory, ledger: Ledger, block_size: int = BLOCK_SIZE) -> None:
    """Check everything that does not depend on what is asked.

    Raises:
        AssertionError: something does not hold.
    """
    sightings = ledger.sightings()
    _check_verdicts(memory, ledger, sightings)
    for one in sightings:
        _check_sighting(memory, ledger, one)
    _check_exemplars(memory, ledger, sightings)
    _check_stays(memory, ledger, sightings, block_size)
    _check_counts(memory, ledger, sightings)
    _check_frame_embeddings(ledger, sightings)
    _check_file(ledger)


def audit_times(memory: Memory, ledger: Ledger, times: Sequence[int]) -> None:
    """Check what is told of some times, and of the ranges between each and the next.

    Raises:
        AssertionError: something does not hold.
    """
    left = {key: (sent, exemplar_of(verdict_of(memory, key))) for key, sent in ledger.left().items()}
    for stream, name in memory.stream_names().items():
        frames = [(sent.capture_us, exemplar) for sent, exemplar in left.values() if sent.stream == stream]
        for time in times:
            before = [frame for frame in frames if frame[0] <= time]
            if before:
                last_us = max(before)[0]
                shown = {exemplar for capture_us, exemplar in before if capture_us == last_us}
                assert memory.exemplar_at(name, time) in shown
            else:
                with pytest.raises(MomentNotFound):
                    memory.exemplar_at(name, time)
        for first_us, last_us in pairwise(times):
            _check_range(memory, ledger, name, frames, Scope(first_us, last_us, frozenset({stream})))


def _check_range(memory: Memory, ledger: Ledger, stream: str, frames: list[tuple[int, int]], scope: Scope) -> None:
    number = memory.stream_id(stream)
    overlapping = {
        one.id
        for one in ledger.sightings()
        if one.stream == number and one.start_us <= scope.last_us and one.end_us >= scope.first_us
    }
    shown = memory.timeline(stream, scope.first_us, scope.last_us, None, 10**6)
    assert {sighting.id for sighting in shown} == overlapping
    expected: dict[int, int] = {}
    for capture_us, exemplar in frames:
        if scope.first_us <= capture_us <= scope.last_us:
            expected[exemplar] = expected.get(exemplar, 0) + 1
    facts = memory.view(scope).leaves().facts
    found: dict[int, int] = {}
    for exemplar, count in zip(facts.column("exemplar_id").tolist(), facts.column("frames").tolist(), strict=True):
        found[exemplar] = found.get(exemplar, 0) + count
    assert found == expected


def _check_verdicts(memory: Memory, ledger: Ledger, sightings: Sequence[Row]) -> None:
    """Each frame that is left is told as it was, and belongs to one sighting; the others are forgotten."""
    stands: dict[int, set[int]] = {}
    for key, sent in ledger.counted.items():
        verdict = verdict_of(memory, key)
        of = [one for one in sightings if one.has(key)]
        if key in ledger.forgotten:
            assert (verdict.outcome, verdict.capture_us, verdict.policy_revision) == (Forgotten(), None, 0)
            assert of == []
            continue
        [one] = of
        before, now = sent.verdict.outcome, verdict.outcome
        assert isinstance(before, Novel | Repeat)
        assert isinstance(now, Novel | Repeat)
        assert (type(now), now.novelty, verdict.capture_us) == (type(before), before.novelty, sent.capture_us)
        assert verdict.policy_revision == sent.verdict.policy_revision
        assert verdict.pts_repaired == sent.verdict.pts_repaired
        assert now.exemplar_id == one.exemplar <= before.exemplar_id
        stands.setdefault(before.exemplar_id, set()).add(now.exemplar_id)
    assert all(len(now) == 1 for now in stands.values())
    for key, rejection in ledger.rejected.items():
        assert verdict_of(memory, key).outcome == rejection


def _check_sighting(memory: Memory, ledger: Ledger, one: Row) -> None:
    keys = sorted(key for key in ledger.left() if one.has(key))
    frames = [ledger.counted[key] for key in keys]
    times = [frame.capture_us for frame in frames]
    assert (one.frames, one.start_us, one.end_us) == (len(frames), min(times), max(times))
    assert (one.first_seq, one.last_seq) == (keys[0][1], keys[-1][1])
    assert {frame.stream for frame in frames} == {one.stream}
    exemplar, mean = memory.embedding(one.exemplar), np.frombuffer(one.mean, "<f4")
    if one.cut:
        np.testing.assert_array_equal(mean, exemplar)
    else:
        expected = np.mean([frame.embedding for frame in frames], axis=0, dtype=np.float64)
        np.testing.assert_allclose(mean, expected, atol=3e-7)
    farthest = max(cosine_distance(frame.embedding, exemplar) for frame in frames)
    if one.moved_angle:
        assert farthest <= one.largest + 1e-9
    else:
        assert one.largest == pytest.approx(farthest, abs=1e-9)
    assert _angle(one.largest) - one.moved_angle <= _angle(one.threshold) + 1e-7


def _angle(novelty: float) -> float:
    return math.acos(min(1.0, max(-1.0, 1 - novelty)))


def _check_exemplars(memory: Memory, ledger: Ledger, sightings: Sequence[Row]) -> None:
    """An exemplar is the embedding of its own frame, or was recentred; either way its own frame is one of its own."""
    listing = memory.reading.exemplars(after=None, limit=10**6, newest_first=False, thumbnails=True, embeddings=True)
    assert [kept.facts.exemplar_id for kept in listing] == sorted({one.exemplar for one in sightings})
    rows = {row[0]: row[1:] for row in ledger.rows("SELECT id, session_id, seq FROM exemplars")}
    assert rows.keys() == {kept.facts.exemplar_id for kept in listing}
    for kept in listing:
        key: Key = rows[kept.facts.exemplar_id]
        own = ledger.counted[key]
        assert exemplar_of(verdict_of(memory, key)) == kept.facts.exemplar_id
        assert (kept.seq, kept.capture_us) == (key[1], own.capture_us)
        assert kept.embedding is not None
        np.testing.assert_array_equal(memory.embedding(kept.facts.exemplar_id), kept.embedding)
        assert kept.facts.frames == sum(one.frames for one in sightings if one.exemplar == kept.facts.exemplar_id)
        assert (kept.thumbnail is None) == kept.recentred
        if not kept.recentred:
            assert isinstance(own.verdict.outcome, Novel)
            np.testing.assert_array_equal(kept.embedding, own.embedding.astype(np.float16))


def _check_stays(memory: Memory, ledger: Ledger, sightings: Sequence[Row], block_size: int) -> None:
    """Stays, and the blocks above them, are the sums of their sightings."""
    rows = ledger.rows("SELECT id, stream_id, position, exemplar_id FROM stays")
    assert {row[0] for row in rows} == {one.stay for one in sightings}
    view = memory.view(Scope())
    leaves = view.leaves()
    table, means = leaves.facts.table.tolist(), np.concatenate(leaves.means)
    shown = {row[0]: (tuple(row[1:]), mean) for row, mean in zip(table, means, strict=True)}
    assert shown.keys() == {row[0] for row in rows}
    for stay, stream, position, exemplar in rows:
        of = [one for one in sightings if one.stay == stay]
        assert {(one.stream, one.exemplar) for one in of} == {(stream, exemplar)}
        facts, mean = shown[stay]
        frames = sum(one.frames for one in of)
        times = min(one.start_us for one in of), max(one.end_us for one in of)
        assert facts == (stream, position, exemplar, frames, *times)
        np.testing.assert_allclose(mean, np.sum([one.total() for one in of], axis=0) / frames, atol=1e-6)
    places = [(stream, position // block_size, exemplar) for _, stream, position, exemplar in rows]
    assert len(places) == len(set(places))
    frames_of = {row[0]: sum(one.frames for one in sightings if one.stay == row[0]) for row in rows}
    expected = {(stream, position): frames_of[stay] for stay, stream, position, _ in rows}
    for nodes in view.levels():
        above: dict[tuple[int, int], int] = {}
        for (stream, place), frames in expected.items():
            above[stream, place // block_size] = above.get((stream, place // block_size), 0) + frames
        expected = above
        named = zip(nodes.stream_ids.tolist(), nodes.indices.tolist(), nodes.frames.tolist(), strict=True)
        assert {(stream, place): frames for stream, place, frames in named} == expected


def _check_counts(memory: Memory, ledger: Ledger, sightings: Sequence[Row]) -> None:
    """Acknowledged = counted + rejected + forgotten: of the memory, of each stream, of each session."""
    sessions = dict(ledger.rows("SELECT id, stream_id FROM sessions"))
    exemplars = [sessions[session] for (session,) in ledger.rows("SELECT session_id FROM exemplars")]
    stays = [stream for (stream,) in ledger.rows("SELECT stream_id FROM stays")]
    parts = [(set(sessions.values()), memory.facts().contents)]
    parts += [({stream}, memory.stream_facts(name).contents) for stream, name in memory.stream_names().items()]
    for streams, contents in parts:
        counted = {key for key in ledger.counted if sessions[key[0]] in streams}
        times = [ledger.counted[key].capture_us for key in counted - ledger.forgotten]
        assert contents.novel_frames + contents.repeat_frames == len(counted)
        assert contents.rejected_frames == sum(sessions[key[0]] in streams for key in ledger.rejected)
        assert contents.forgotten_frames == len(counted & ledger.forgotten)
        assert contents.counted_frames == len(times)
        assert (contents.first_us, contents.last_us) == (min(times, default=None), max(times, default=None))
        assert contents.exemplars == sum(stream in streams for stream in exemplars)
        assert contents.stays == sum(stream in streams for stream in stays)
        assert contents.sightings == sum(one.stream in streams for one in sightings)
    for session, next_seq, forgotten in ledger.rows("SELECT id, next_seq, forgotten_frames FROM sessions"):
        counted = {key for key in ledger.counted if key[0] == session}
        left = ledger.number("SELECT coalesce(sum(frames), 0) FROM sightings WHERE session_id = ?", session)
        assert next_seq == left + sum(key[0] == session for key in ledger.rejected) + forgotten
        assert forgotten == len(counted & ledger.forgotten)


def _check_frame_embeddings(ledger: Ledger, sightings: Sequence[Row]) -> None:
    """What is on record of frames is that of frames that are left, as they were sent, and of their copies."""
    on_record = {}
    for number, blob in ledger.rows("SELECT id, embedding FROM frame_embeddings"):
        key = divmod(number, 2**36)
        values, [step] = np.frombuffer(blob[:-4], np.int8), np.frombuffer(blob[-4:], "<f4")
        on_record[key] = step * values.astype(np.float64)
        assert np.abs(on_record[key] - ledger.left()[key].embedding).max() <= 0.5001 * step
    for one in sightings:
        last = None
        for key in sorted(key for key in ledger.left() if one.has(key)):
            last = on_record.get(key, last)
            if last is not None:
                assert cosine_distance(ledger.left()[key].embedding, last) <= 3e-4 + 2 / 127**2


def _check_file(ledger: Ledger) -> None:
    """The rows fit each other, and no number can be used again."""
    assert ledger.rows("PRAGMA integrity_check") == [("ok",)]
    assert ledger.rows("PRAGMA foreign_key_check") == []
    assert ledger.rows("SELECT * FROM forgetting") == []
    assert set(ledger.rows("SELECT session_id, seq FROM frames")) == ledger.left().keys() | ledger.rejected.keys()
    [next_ids] = ledger.rows("SELECT next_exemplar, next_stay, next_sighting FROM memory")
    tables = ("exemplars", "stays", "sightings")
    largest = [ledger.number(f"SELECT coalesce(max(id), 0) FROM {table}") for table in tables]
    assert all(following > last for following, last in zip(next_ids, largest, strict=True))
