"""Budgets of a memory and of its streams: what is kept, what is on record of it, and how they go on after reopening."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from memory_store.budget import BudgetState, Condition
from memory_store.keeping import Budget, Keeping
from memory_store.loading import policies_of
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Novel, Policy, Repeat, Verdict
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Verified = Callable[[], Memory]

DIMENSION = 32
SHARE = 0.04


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a policy as it stands in the journal."""

    stream_id: int | None
    threshold: float | None
    keeping: Keeping | None


@pytest.fixture
def records(folder: Path) -> Callable[[], dict[int, Record]]:
    """All records of the memory `m`, by their revision."""

    def records() -> dict[int, Record]:
        with closing(sqlite3.connect(folder / "memories" / "m.sqlite")) as connection:
            return {
                record.revision: Record(record.stream_id, record.threshold, record.keeping)
                for record in policies_of(connection)
            }

    return records


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    return store.create("m", "encoder/1", DIMENSION, 0.1)


class Walk:
    """A camera that drifts by a step a frame."""

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        self._at = self._chance.normal(size=DIMENSION)

    def go(self, steps: int, step: float) -> list[Embedding]:
        seen = []
        for _ in range(steps):
            self._at = self._at / np.linalg.norm(self._at)
            self._at = self._at + step * self._chance.normal(size=DIMENSION) / np.sqrt(DIMENSION)
            seen.append((self._at / np.linalg.norm(self._at)).astype(np.float32))
        return seen


@pytest.fixture
def send(frames: Frames) -> Callable[..., list[Verdict]]:
    """Let a stream show pictures in groups, at 10 frames a second."""

    def send(memory: Memory, seen: Sequence[Embedding], stream: str = "door") -> list[Verdict]:
        session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
        times = [100_000 * (session.next_seq + place) for place in range(len(seen))]
        sent = frames(session, seen, pts_us=times)
        return [verdict for at in range(0, len(sent), 50) for verdict in memory.remember(sent[at : at + 50])]

    return send


Send = Callable[..., list[Verdict]]
Records = Callable[[], dict[int, Record]]


def _refuse(_: object) -> None:
    raise OSError("injected")


def _share(verdicts: Sequence[Verdict]) -> float:
    return float(np.mean([isinstance(verdict.outcome, Novel) for verdict in verdicts]))


def _assert_obeyed(verdicts: Sequence[Verdict], records: dict[int, Record], stream_id: int) -> None:
    """Each verdict is what the threshold on record under its revision says, and the record is of its stream."""
    of_memory = {revision: record.threshold for revision, record in records.items() if record.stream_id is None}
    for verdict in verdicts:
        record = records[verdict.policy_revision]
        assert record.stream_id in {None, stream_id}
        latest = max(revision for revision in of_memory if revision <= verdict.policy_revision)
        threshold = of_memory[latest] if record.threshold is None else record.threshold
        assert threshold is not None
        match verdict.outcome:
            case Novel(_, novelty):
                assert novelty is None or novelty > threshold
            case Repeat(_, novelty):
                assert novelty <= threshold
            case other:
                pytest.fail(f"unexpected {other}")


def test_what_a_stream_keeps_stays_near_its_budget_while_what_it_shows_changes(
    memory: Memory, send: Send, records: Records, verified: Verified
) -> None:
    memory.create_stream("door", None, Keeping(budget=Budget(share=SHARE)))
    walk, verdicts = Walk(1), list[Verdict]()

    for step in (0.1, 0.4, 0.05):
        shown = send(memory, walk.go(3_000, step))
        assert _share(shown[1_000:]) == pytest.approx(SHARE, rel=0.25)
        verdicts += shown

    _assert_obeyed(verdicts, records(), memory.stream_id("door"))
    used = sorted({verdict.policy_revision for verdict in verdicts})
    assert used == list(range(2, 2 + len(used)))
    assert {record.keeping for record in list(records().values())[1:]} == {Keeping(budget=Budget(share=SHARE))}
    assert [records()[revision].threshold for revision in used[1:]] != [records()[used[0]].threshold] * (len(used) - 1)
    facts = memory.stream_facts("door")
    assert facts.budget is not None
    assert facts.budget.kept_of_target == pytest.approx(1, abs=0.35)
    assert facts.own_revision == facts.policy.revision == max(records())
    assert verified().reading.verdicts(1, 0, 10**5) == verdicts


def test_a_move_in_the_middle_of_a_group_is_obeyed_by_the_next_frame(
    memory: Memory, frames: Frames, facing: Facing, records: Records
) -> None:
    memory.create_stream("door", 0.001, Keeping(budget=Budget(share=0.001)))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    seen = Walk(2).go(40, 0.1)

    verdicts = memory.remember(frames(session, seen))

    revisions = [verdict.policy_revision for verdict in verdicts]
    assert revisions == sorted(revisions)
    assert len(set(revisions)) > 2
    _assert_obeyed(verdicts, records(), memory.stream_id("door"))
    shown = memory.timeline("door", 0, 10**9, None, 99)
    kept = {verdict.capture_us: records()[verdict.policy_revision].threshold for verdict in verdicts}
    assert [sighting.threshold for sighting in shown] == [kept[sighting.start_us] for sighting in shown]


def test_a_budget_goes_on_from_the_last_threshold_after_reopening(
    memory: Memory, send: Send, open_store: Callable[[], MemoryStore]
) -> None:
    memory.create_stream("door", None, Keeping(budget=Budget(share=SHARE)))
    walk = Walk(3)
    send(memory, walk.go(2_000, 0.3))
    before = memory.stream_facts("door")

    again = open_store().get("m")

    facts = again.stream_facts("door")
    assert (facts.policy, facts.own_threshold, facts.keeping) == (before.policy, before.own_threshold, before.keeping)
    assert facts.policy.threshold > 0.12
    assert facts.budget == BudgetState(Condition.STARTING, None)
    [first, *_] = later = send(again, walk.go(1_000, 0.3))
    assert first.policy_revision == before.policy.revision
    assert _share(later) == pytest.approx(SHARE, rel=0.4)


def test_a_budget_of_the_memory_holds_each_stream_on_its_own(
    memory: Memory, send: Send, records: Records, verified: Verified
) -> None:
    memory.set_policy(None, keeping=Keeping(budget=Budget(share=SHARE)))
    memory.create_stream("gate", 0.3, Keeping())
    walks = {"door": (Walk(4), 0.4), "hall": (Walk(5), 0.08), "gate": (Walk(6), 0.4)}
    shown: dict[str, list[Verdict]] = {stream: [] for stream in walks}
    for _ in range(12):
        for stream, (walk, step) in walks.items():
            shown[stream] += send(memory, walk.go(250, step), stream)

    for stream in ("door", "hall"):
        assert _share(shown[stream][1_000:]) == pytest.approx(SHARE, rel=0.25)
        _assert_obeyed(shown[stream], records(), memory.stream_id(stream))
        facts = memory.stream_facts(stream)
        assert (facts.own_keeping, facts.keeping) == (None, Keeping(budget=Budget(share=SHARE)))
        assert facts.own_threshold == facts.policy.threshold
        assert facts.budget is not None
    assert memory.policy("door").threshold > 2 * memory.policy("hall").threshold
    assert (memory.policy(), memory.stream_facts("gate").budget) == (Policy(2, 0.1), None)
    assert {verdict.policy_revision for verdict in shown["gate"]} == {3}
    assert memory.budget_states().keys() == {"door", "hall"}
    verified()


def test_the_threshold_stays_where_it_was_when_a_budget_is_lifted_and_goes_on_from_there_under_the_next(
    memory: Memory, send: Send
) -> None:
    memory.create_stream("door", None, Keeping(budget=Budget(share=SHARE)))
    walk = Walk(7)
    send(memory, walk.go(1_500, 0.1))
    threshold = memory.policy("door").threshold

    memory.set_policy("door", keeping=None)
    revision = memory.policy("door").revision
    send(memory, walk.go(500, 0.1))
    assert (memory.policy("door"), memory.stream_facts("door").budget) == (Policy(revision, threshold), None)
    memory.set_policy("door", keeping=Keeping(budget=Budget(share=0.5 * SHARE, min_threshold=2 * threshold)))

    assert memory.stream_facts("door").budget == BudgetState(Condition.STARTING, None)
    send(memory, walk.go(200, 0.1))
    assert memory.policy("door").threshold >= 2 * threshold


def test_a_target_of_bytes_goes_by_what_an_exemplar_takes_on_disk(memory: Memory, send: Send) -> None:
    walk = Walk(8)
    send(memory, walk.go(400, 0.3))  # thumbnails of a dozen bytes are the latest now
    a_day = 0.05 * 864_000
    bytes_each = memory.curve([0.1], Scope(), 0).bytes_each
    memory.set_policy(None, keeping=Keeping(budget=Budget(bytes_per_day=a_day * bytes_each)))

    assert _share(send(memory, walk.go(3_000, 0.3))[1_000:]) == pytest.approx(0.05, rel=0.25)


def test_frames_that_are_refused_by_the_disk_move_no_threshold(
    memory: Memory, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.create_stream("door", 0.001, Keeping(budget=Budget(share=0.001)))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, Walk(9).go(40, 0.1))
    before, state = memory.stream_facts("door"), memory.budget_states()
    with monkeypatch.context() as broken:
        broken.setattr(memory._journal, "commit", _refuse)
        with pytest.raises(OSError, match="injected"):
            memory.remember(sent)

    assert (memory.stream_facts("door"), memory.budget_states()) == (before, state)
    assert memory.remember(sent)[0].policy_revision == 2


def test_records_that_nothing_left_was_decided_by_go_when_frames_are_forgotten(
    memory: Memory, send: Send, records: Records, verified: Verified
) -> None:
    memory.set_policy(None, keeping=Keeping(budget=Budget(share=SHARE)))
    walk = Walk(5)
    for step in (0.05, 0.2, 0.05, 0.2):
        send(memory, walk.go(500, step))
    moved = records()
    assert len(moved) > 10

    memory.forget(Scope(last_us=149_999_999))

    left = records()
    first = min(revision for revision, record in left.items() if record.stream_id is not None)
    assert left == {revision: record for revision, record in moved.items() if revision >= first or revision == 2}
    assert 2 < len(left) < len(moved)
    again = verified()
    assert (again.policy("door"), again.keeping("door")) == (memory.policy("door"), Keeping(budget=Budget(share=SHARE)))
