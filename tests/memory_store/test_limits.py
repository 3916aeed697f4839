"""Limits of a policy of keeping, in cases small enough to be read: which novel frames they keep out."""

import sqlite3
from collections.abc import Callable

import pytest

from briefs import brief
from memory_store import loading
from memory_store.errors import MemoryUnreadable
from memory_store.hints import Hint
from memory_store.keeping import Keeping
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Clock, Embedding, Encoded, Withheld, WithheldReason
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


def test_no_minute_has_more_exemplars_than_the_limit_says(memory: Memory, show: Show, *, in_one: bool) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=2))
    seconds = [0, 30, 59, 60, 89, 90]

    told = show(memory, [(60 * turn, second) for turn, second in enumerate(seconds)], in_one=in_one)

    assert told == [-1, -2, MINUTE, -3, MINUTE, -4]


def test_exemplars_are_at_least_the_interval_apart(memory: Memory, show: Show, *, in_one: bool) -> None:
    memory.set_policy(None, keeping=Keeping(min_interval_us=10 * S))

    told = show(memory, [(0, 0), (90, 9.9), (91, 9.95), (180, 10), (0, 11), (90, 20)], in_one=in_one)

    assert told == [-1, INTERVAL, INTERVAL, -2, 1, -3]


def test_limits_are_of_each_stream_and_shared_by_its_sessions(memory: Memory, show: Show) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))

    assert show(memory, [(0, 0)]) == [-1]
    assert show(memory, [(90, 1)], "hall") == [-2]
    assert show(memory, [(180, 2)], run="run-2") == [MINUTE]


@pytest.mark.parametrize("keeping", [Keeping(max_per_minute=1), Keeping(min_interval_us=60 * S)], ids=repr)
def test_footage_that_comes_late_is_limited_by_what_was_kept_around_it_before_and_after(
    memory: Memory, show: Show, keeping: Keeping, open_store: Callable[[], MemoryStore]
) -> None:
    memory.set_policy(None, keeping=keeping)
    assert show(memory, [(0, 1000), (60, 5000)]) == [-1, -2]
    [reason] = show(memory, [(120, 941)], run="old-1")
    assert show(memory, [(120, 940)], run="old-2") == [-3]
    assert show(memory, [(180, 5001)], run="run-2") == [reason]

    again = open_store().get("m")

    assert reason in {MINUTE, INTERVAL}
    assert show(again, [(180, 5059)], run="run-3") == [reason]
    assert show(again, [(180, 999), (180, 881), (180, 880)], run="old-3") == [reason, reason, -4]
    assert show(again, [(240, 5060)], run="run-4") == [-5]


def test_old_and_live_footage_of_one_stream_in_one_group_are_limited_alike(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    memory.set_policy(None, keeping=Keeping(min_interval_us=10 * S))
    old, live = (memory.open_session("door", run, Clock.SOURCE, 0) for run in ("old", "live"))
    memory.remember(frames(old, [facing(0)], capture_us=[100 * S]))

    verdicts = memory.remember(
        [
            *frames(old, [facing(60)], first_seq=1, capture_us=[105 * S]),
            *frames(live, [facing(120)], capture_us=[10**6 * S]),
            *frames(old, [facing(180), facing(240)], first_seq=2, capture_us=[109 * S, 110 * S]),
        ]
    )

    assert [brief(verdict) for verdict in verdicts] == [INTERVAL, -2, INTERVAL, -3]


def test_limits_hold_a_frame_back_only_for_the_sake_of_what_matters_as_much(memory: Memory, show: Show) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1, min_interval_us=5 * S))

    assert show(memory, [(0, 0), (60, 1)], hint=Hint(priority=3)) == [-1, INTERVAL]
    assert show(memory, [(60, 2), (120, 3), (120, 7)], run="run-2", hint=Hint(priority=4)) == [-2, INTERVAL, MINUTE]
    assert show(memory, [(120, 8), (180, 61.9)], run="run-3", hint=Hint(priority=3)) == [MINUTE, MINUTE]
    assert show(memory, [(180, 62)], run="run-4") == [-3]


def test_limits_that_come_after_frames_know_what_was_kept_before(memory: Memory, show: Show) -> None:
    assert show(memory, [(0, 0), (60, 1)]) == [-1, -2]
    memory.set_policy("door", keeping=Keeping(min_interval_us=5 * S))
    assert show(memory, [(120, 5), (120, 6)], run="run-2") == [INTERVAL, -3]
    memory.set_policy("door", keeping=None)
    assert show(memory, [(180, 6.1)], run="run-3") == [-4]
    memory.set_policy("door", keeping=Keeping(min_interval_us=5 * S))
    assert show(memory, [(240, 11), (240, 11.1)], run="run-4") == [INTERVAL, -5]


@pytest.mark.parametrize("reopened", [False, True])
def test_an_exemplar_that_was_forgotten_holds_nothing_back_any_more(
    memory: Memory, show: Show, open_store: Callable[[], MemoryStore], *, reopened: bool
) -> None:
    memory.set_policy(None, keeping=Keeping(min_interval_us=10 * S))
    assert show(memory, [(0, 0)]) == [-1]
    assert show(memory, [(0, 5)], "hall") == [1]
    memory.forget(Scope(stream_ids=frozenset({memory.stream_id("door")})))
    one = open_store().get("m") if reopened else memory

    assert show(one, [(90, 6), (180, 7)], run="run-2") == [-2, INTERVAL]
    assert show(one, [(180, 8)], "hall", run="run-2") == [-3]  # it kept none: exemplar 1 came to it by a repeat


def test_a_journal_that_cannot_be_read_is_told_by_name_and_nothing_is_written(
    memory: Memory, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(0), facing(60)])
    with monkeypatch.context() as broken:
        broken.setattr(loading, "kept_of", _refuse)
        with pytest.raises(MemoryUnreadable, match=r"m\.sqlite.*injected"):
            memory.remember(sent)

    assert [brief(verdict) for verdict in memory.remember(sent)] == [-1, MINUTE]


def _refuse(*_: object) -> None:
    raise sqlite3.DatabaseError("injected")


def test_frames_that_are_kept_out_are_told_how_far_they_were_from_what_they_were_compared_with(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)

    [_, verdict] = memory.remember(frames(session, [facing(0), facing(60)]))

    assert verdict.outcome == Withheld(MINUTE, distance(facing(60), facing(0)), by_hint=False)
