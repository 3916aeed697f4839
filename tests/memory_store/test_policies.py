"""Thresholds: whose is in force, what a change does to the next frame, and what is on record."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from memory_store.errors import InvalidThreshold, PolicyChanged, StreamExists, StreamNotFound
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Clock, Embedding, Encoded, Novel, Policy, Repeat
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]


def test_a_stream_obeys_its_own_threshold_and_after_lifting_it_that_of_the_memory(memory: Memory) -> None:
    memory.create_stream("door", None)
    assert memory.policy("door") == memory.policy() == Policy(1, 0.1)

    memory.set_threshold("door", 0.5)
    assert (memory.policy("door"), memory.policy()) == (Policy(2, 0.5), Policy(1, 0.1))
    memory.set_threshold(None, 0.3)
    assert (memory.policy("door"), memory.policy()) == (Policy(2, 0.5), Policy(3, 0.3))
    memory.set_threshold("door", None)
    assert (memory.policy("door"), memory.policy()) == (Policy(4, 0.3), Policy(3, 0.3))

    facts = memory.stream_facts("door")
    assert (facts.own_threshold, facts.own_revision, facts.policy) == (None, 4, Policy(4, 0.3))


def test_a_stream_can_be_created_with_a_threshold(memory: Memory) -> None:
    memory.create_stream("door", 0.4)

    facts = memory.stream_facts("door")
    assert (facts.own_threshold, facts.own_revision, facts.policy) == (0.4, 2, Policy(2, 0.4))
    with pytest.raises(StreamExists, match="door"):
        memory.create_stream("door", 0.5)
    assert memory.policy("door") == Policy(2, 0.4)


def test_the_next_frame_obeys_a_change_and_tells_its_revision(memory: Memory, facing: Facing, frames: Frames) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(0), facing(20), facing(20), facing(50), facing(60)])
    [first, second] = memory.remember(sent[:2])
    memory.set_threshold("door", 0.01)
    [third] = memory.remember(sent[2:3])
    memory.set_threshold("door", 0.2)
    [fourth] = memory.remember(sent[3:4])
    memory.set_threshold("door", None)
    [fifth] = memory.remember(sent[4:])

    assert [verdict.outcome for verdict in (first, second, third, fourth, fifth)] == [
        Novel(1, None),
        Repeat(1, distance(facing(20), facing(0))),
        Novel(2, distance(facing(20), facing(0))),
        Repeat(2, distance(facing(50), facing(20))),
        Novel(3, distance(facing(60), facing(20))),
    ]
    assert [verdict.policy_revision for verdict in (first, second, third, fourth, fifth)] == [1, 1, 2, 3, 4]


def test_a_change_closes_the_sighting_and_keeps_the_stay(memory: Memory, facing: Facing, frames: Frames) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(0), facing(1)]))
    memory.set_threshold(None, 0.2)
    memory.remember(frames(session, [facing(2), facing(3)], first_seq=2))

    shown = memory.timeline("door", 0, 10**6, None, 9)

    assert [(sighting.threshold, sighting.start_us, sighting.end_us) for sighting in shown] == [
        (0.1, 0, 1000),
        (0.2, 2000, 3000),
    ]
    assert memory.stream_facts("door").contents.stays == 1


def test_a_change_for_another_stream_closes_nothing(memory: Memory, facing: Facing, frames: Frames) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.create_stream("hall", None)
    memory.remember(frames(session, [facing(0)]))
    memory.set_threshold("hall", 0.3)
    memory.remember(frames(session, [facing(1)], first_seq=1))

    assert memory.stream_facts("door").contents.sightings == 1
    assert memory.facts().contents.counted_frames == 2


def test_a_change_on_a_stale_revision_is_refused(memory: Memory) -> None:
    memory.create_stream("door", None)
    memory.set_threshold("door", 0.5, expected_revision=0)
    memory.set_threshold(None, 0.3, expected_revision=1)

    with pytest.raises(PolicyChanged, match="expected revision 0, found 2"):
        memory.set_threshold("door", 0.6, expected_revision=0)
    with pytest.raises(PolicyChanged, match="expected revision 2, found 3"):
        memory.set_threshold(None, 0.6, expected_revision=2)

    assert (memory.policy("door"), memory.policy()) == (Policy(2, 0.5), Policy(3, 0.3))


def test_lifting_counts_as_a_change_of_the_stream(memory: Memory) -> None:
    memory.create_stream("door", 0.5)
    memory.set_threshold("door", None, expected_revision=2)

    with pytest.raises(PolicyChanged, match="expected revision 2, found 3"):
        memory.set_threshold("door", 0.6, expected_revision=2)


def test_the_threshold_of_a_memory_cannot_be_lifted(memory: Memory) -> None:
    with pytest.raises(InvalidThreshold):
        memory.set_threshold(None, None)

    assert memory.policy() == Policy(1, 0.1)


def test_an_unknown_stream_has_no_policy_and_no_facts(memory: Memory) -> None:
    for ask in (memory.policy, memory.stream_facts, memory.stream_id):
        with pytest.raises(StreamNotFound, match="nowhere"):
            ask("nowhere")
    with pytest.raises(StreamNotFound, match="nowhere"):
        memory.set_threshold("nowhere", 0.5)


def test_every_change_is_on_record_and_in_force_after_reopening(
    open_store: Callable[[], MemoryStore], folder: Path
) -> None:
    memory = open_store().create("m", "encoder/1", 8, 0.1)
    memory.create_stream("door", 0.4)
    memory.create_stream("hall", 0.6)
    memory.set_threshold(None, 0.2)
    memory.set_threshold("door", None)

    again = open_store().get("m")
    with sqlite3.connect(folder / "memories" / "m.sqlite") as connection:
        records = connection.execute("SELECT revision, stream_id, threshold FROM policies ORDER BY revision").fetchall()
    connection.close()

    assert records == [(1, None, 0.1), (2, 1, 0.4), (3, 2, 0.6), (4, None, 0.2), (5, 1, None)]
    assert [again.policy(name) for name in (None, "door", "hall")] == [Policy(4, 0.2), Policy(5, 0.2), Policy(3, 0.6)]
    assert again.stream_facts("door").own_revision == 5
    again.set_threshold("hall", 0.7, expected_revision=3)
    assert again.policy("hall") == Policy(6, 0.7)


def test_a_session_is_told_the_policy_in_force_when_it_opens(memory: Memory) -> None:
    first = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.set_threshold("door", 0.5)

    again = memory.open_session("door", "run-1", Clock.SESSION, 0)

    assert again == replace(first, policy=Policy(2, 0.5))
