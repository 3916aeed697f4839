"""Policies of keeping: what frames are compared with, what is in force, and which ones are refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from briefs import brief
from memory_store.errors import InvalidPolicy, PolicyChanged
from memory_store.keeping import Budget, Keeping
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Novel, Policy, WithheldReason
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Show = Callable[..., list[object]]

S = 1_000_000
MINUTE, INTERVAL = WithheldReason.MINUTE, WithheldReason.INTERVAL


@pytest.fixture(params=[False, True], ids=["frame by frame", "in one group"])
def in_one(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_what_only_another_stream_has_shown_is_novel_to_a_stream_that_compares_with_its_own(
    memory: Memory, show: Show, *, in_one: bool
) -> None:
    memory.create_stream("door", None, Keeping(own_stream_only=True))
    assert show(memory, [(0, 1)], "hall") == [-1]

    assert show(memory, [(0, 2), (90, 3), (2, 4)], in_one=in_one) == [-2, -3, 2]

    assert show(memory, [(90, 5), (0, 6)], "hall", run="run-2") == [
        3,
        1,
    ]  # it compares with everything; 1 is the oldest
    [first, *_] = memory.reading.verdicts(memory.open_session("door", "run-1", Clock.SOURCE, 0).id, 0, 9)
    assert first.outcome == Novel(2, None)  # there was nothing that it was compared with


def test_what_a_stream_has_shown_counts_as_its_own_though_another_was_the_first(
    memory: Memory, show: Show, open_store: Callable[[], MemoryStore], *, in_one: bool
) -> None:
    assert show(memory, [(0, 1), (90, 2)], "hall") == [-1, -2]
    assert show(memory, [(5, 3), (180, 4)]) == [1, -3]
    memory.set_policy("door", keeping=Keeping(own_stream_only=True))

    again = open_store().get("m")

    assert show(again, [(2, 5), (91, 6)], run="run-2", in_one=in_one) == [1, -4]


def test_two_streams_that_compare_with_their_own_keep_the_same_picture_twice_in_one_group(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    memory.set_policy(None, keeping=Keeping(own_stream_only=True))
    sessions = [memory.open_session(stream, "run-1", Clock.SESSION, 0) for stream in ("door", "hall")]

    verdicts = memory.remember([frame for session in sessions for frame in frames(session, [facing(0), facing(1)])])

    assert [brief(verdict) for verdict in verdicts] == [-1, 1, -2, 2]


def test_what_was_not_seen_within_the_horizon_is_novel_again_and_what_was_is_not(
    memory: Memory, show: Show, *, in_one: bool
) -> None:
    memory.set_policy(None, keeping=Keeping(horizon_us=10 * S))

    assert show(memory, [(0, 0), (90, 1), (0, 10), (90, 11.1), (0, 20)], in_one=in_one) == [-1, -2, 1, -3, 1]


def test_the_current_exemplar_is_novel_again_too_once_it_was_out_of_sight_for_longer_than_the_horizon(
    memory: Memory, show: Show, *, in_one: bool
) -> None:
    memory.set_policy(None, keeping=Keeping(horizon_us=10 * S))

    assert show(memory, [(0, 0), (0, 10), (0, 20), (0, 30.1)], in_one=in_one) == [-1, 1, 1, -2]


def test_within_the_horizon_a_sighting_by_another_stream_counts_unless_only_its_own_do(
    memory: Memory, show: Show, facing: Facing, frames: Frames
) -> None:
    memory.create_stream("door", None, Keeping(horizon_us=10 * S))
    memory.create_stream("gate", None, Keeping(own_stream_only=True, horizon_us=10 * S))
    assert show(memory, [(0, 0)]) == [-1]
    assert show(memory, [(0, 0)], "gate") == [-2]
    hall, door, gate = (memory.open_session(name, "run-2", Clock.SOURCE, 0) for name in ("hall", "door", "gate"))

    verdicts = memory.remember(
        [
            *frames(hall, [facing(1)], capture_us=[8 * S]),
            *frames(door, [facing(2)], capture_us=[15 * S]),
            *frames(gate, [facing(2)], capture_us=[15 * S]),
        ]
    )

    assert [brief(verdict) for verdict in verdicts] == [1, 1, -3]


def test_the_horizon_is_known_again_after_reopening_and_after_forgetting(
    memory: Memory, show: Show, open_store: Callable[[], MemoryStore]
) -> None:
    memory.set_policy(None, keeping=Keeping(horizon_us=10 * S))
    assert show(memory, [(0, 0), (90, 1), (0, 9)]) == [-1, -2, 1]
    memory.forget(Scope(1 * S, 1 * S))
    assert show(memory, [(0, 12), (90, 13)], run="run-2") == [1, -3]

    again = open_store().get("m")

    assert show(again, [(90, 20), (0, 23)], run="run-3") == [3, -4]


@pytest.mark.parametrize("reopened", [False, True])
def test_what_a_stream_has_shown_is_its_own_no_more_once_that_is_forgotten(
    memory: Memory, show: Show, open_store: Callable[[], MemoryStore], *, reopened: bool
) -> None:
    memory.create_stream("door", None)
    assert show(memory, [(0, 1), (90, 2)], "hall") == [-1, -2]
    assert show(memory, [(0, 3), (90, 4)]) == [1, 2]
    memory.set_policy("door", keeping=Keeping(own_stream_only=True))
    assert show(memory, [(180, 5)]) == [-3]  # asks for what it has shown
    memory.forget(Scope(3_000_000, 3_000_000, frozenset({memory.stream_id("door")})))
    one = open_store().get("m") if reopened else memory

    assert show(one, [(90, 6), (0, 7)], run="run-2") == [2, -4]


@pytest.mark.parametrize("reopened", [False, True])
def test_what_a_stream_has_shown_is_its_own_by_the_exemplar_that_stands_for_it_after_merging(
    memory: Memory, show: Show, open_store: Callable[[], MemoryStore], *, reopened: bool
) -> None:
    memory.set_policy(None, keeping=Keeping(own_stream_only=True))
    assert show(memory, [(0, 1)], "hall") == [-1]
    assert show(memory, [(10, 2), (120, 3)]) == [-2, -3]
    assert memory.compact(0.1).merged == 1
    one = open_store().get("m") if reopened else memory

    assert show(one, [(5, 4)], run="run-2") == [1]


def test_a_change_takes_effect_with_the_next_frame_and_its_verdict_names_the_record(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(60 * turn) for turn in range(5)])
    verdicts = memory.remember(sent[:1])
    for keeping, frame in zip(
        (Keeping(max_per_minute=1), Keeping(own_stream_only=True), Keeping(min_interval_us=S), None),
        sent[1:],
        strict=True,
    ):
        memory.set_policy("door", keeping=keeping)
        verdicts += memory.remember([frame])

    assert [brief(verdict) for verdict in verdicts] == [-1, MINUTE, -2, INTERVAL, -3]
    assert [verdict.policy_revision for verdict in verdicts] == [1, 2, 3, 4, 5]
    assert memory.reading.verdicts(session.id, 0, 9) == verdicts


def test_threshold_and_keeping_are_each_inherited_on_their_own(
    memory: Memory, open_store: Callable[[], MemoryStore]
) -> None:
    for stream in ("door", "hall"):
        memory.create_stream(stream, None)
    memory.set_policy("door", threshold=0.3)
    memory.set_policy(None, keeping=Keeping(max_per_minute=9))
    memory.set_policy("hall", keeping=Keeping(horizon_us=S))
    memory.set_policy(None, threshold=0.2)

    for reopened in (False, True):
        one = open_store().get("m") if reopened else memory
        assert (one.policy(), one.keeping()) == (Policy(5, 0.2), Keeping(max_per_minute=9))
        assert (one.policy("door"), one.keeping("door")) == (Policy(3, 0.3), Keeping(max_per_minute=9))
        assert (one.policy("hall"), one.keeping("hall")) == (Policy(5, 0.2), Keeping(horizon_us=S))
        facts = one.stream_facts("hall")
        assert (facts.own_threshold, facts.own_keeping, facts.own_revision) == (None, Keeping(horizon_us=S), 4)


def test_both_are_changed_in_one_record_and_lifted_apart(memory: Memory, open_store: Callable[[], MemoryStore]) -> None:
    memory.create_stream("door", 0.5, Keeping(max_per_minute=1))
    assert (memory.policy("door"), memory.keeping("door")) == (Policy(2, 0.5), Keeping(max_per_minute=1))

    memory.set_policy("door", threshold=None)
    assert (memory.policy("door"), memory.keeping("door")) == (Policy(3, 0.1), Keeping(max_per_minute=1))
    memory.set_policy("door", keeping=None)

    again = open_store().get("m")
    assert (again.policy("door"), again.keeping("door")) == (Policy(4, 0.1), Keeping())
    with pytest.raises(PolicyChanged, match="expected revision 3, found 4"):
        again.set_policy("door", keeping=Keeping(), expected_revision=3)
    again.set_policy(None, keeping=Keeping(own_stream_only=True))
    again.set_policy(None, keeping=None)  # back to the default
    assert (again.keeping("door"), again.policy("door")) == (Keeping(), Policy(6, 0.1))


def test_a_policy_comes_back_from_the_journal_as_it_was(memory: Memory, open_store: Callable[[], MemoryStore]) -> None:
    keeping = Keeping(
        own_stream_only=True,
        horizon_us=7,
        max_per_minute=8,
        min_interval_us=9,
        budget=Budget(bytes_per_day=10.5, min_threshold=0.01, max_threshold=0.5),
    )
    memory.set_policy(None, keeping=keeping)

    assert open_store().get("m").keeping() == keeping


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon_us": 0}, "horizon_us"),
        ({"min_interval_us": -1}, "min_interval_us"),
        ({"min_interval_us": 2**53 + 1}, "min_interval_us"),
        ({"max_per_minute": 0}, "max_per_minute"),
        ({"max_per_minute": 10**6 + 1}, "max_per_minute"),
    ],
)
def test_a_policy_that_nothing_could_follow_is_refused(fields: dict[str, int], named: str) -> None:
    with pytest.raises(InvalidPolicy, match=f"{named}: expected 1 to"):
        replace(Keeping(), **fields)  # type: ignore[arg-type]  # each of them is a number


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"share": 0.1, "bytes_per_day": 1.0},
        {"share": 0.0},
        {"share": 1.01},
        {"share": float("nan")},
        {"exemplars_per_day": -1.0},
        {"exemplars_per_day": float("inf")},
        {"share": 0.1, "min_threshold": 0.0},
        {"share": 0.1, "min_threshold": 0.5, "max_threshold": 0.4},
        {"share": 0.1, "max_threshold": 2.1},
        {"share": 0.1, "min_threshold": float("nan")},
    ],
    ids=repr,
)
def test_a_budget_that_nothing_could_follow_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidPolicy, match="budget: expected"):
        Budget(**fields)
