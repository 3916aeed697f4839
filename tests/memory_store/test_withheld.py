"""Frames that are kept out: accounted for like any other, and nothing stands for them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from briefs import brief
from memory_store.errors import MomentNotFound
from memory_store.facts import Contents
from memory_store.hints import Hint, Keep
from memory_store.keeping import Keeping
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import (
    Clock,
    CompactedCounts,
    Embedding,
    Encoded,
    ForgottenCounts,
    Rejected,
    Retention,
    Unusable,
    Withheld,
    WithheldReason,
)
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]
Show = Callable[..., list[object]]
Verified = Callable[[], Memory]

MINUTE, HINT = WithheldReason.MINUTE, WithheldReason.HINT
SHOWN = [0, 5, 90, 91, 6, 180, 7, 8]
"""Degrees, one frame a millisecond: at one exemplar a minute, those at 2, 3 and 5 ms are kept out."""


@pytest.fixture
def limited(memory: Memory, facing: Facing, frames: Frames) -> Memory:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    verdicts = memory.remember(frames(session, [facing(degrees) for degrees in SHOWN]))
    assert [brief(verdict) for verdict in verdicts] == [-1, 1, MINUTE, MINUTE, 1, MINUTE, 1, 1]
    return memory


def _shown(memory: Memory) -> list[tuple[int, int, int, int]]:
    return [(s.exemplar_id, s.start_us, s.end_us, s.frames) for s in memory.timeline("door", 0, 10**9, None, 99)]


def _assert_accounted_for(contents: Contents, frames: int, withheld: int, *, left: int) -> None:
    seen = contents.novel_frames + contents.repeat_frames
    assert contents.withheld_frames == withheld
    assert seen + contents.withheld_frames + contents.rejected_frames == frames
    assert contents.counted_frames == left == seen - contents.forgotten_frames


def test_every_frame_is_counted_once(limited: Memory, verified: Verified) -> None:
    session = limited.open_session("door", "run-1", Clock.SESSION, 0)
    limited.remember([Unusable(session.id, 8, 1, Rejected("BROKEN", "a picture"))])

    before = limited.facts().contents, limited.stream_facts("door").contents
    memory = verified()

    for contents in (*before, memory.facts().contents, memory.stream_facts("door").contents):
        _assert_accounted_for(contents, 9, 3, left=5)
        assert (contents.exemplars, contents.rejected_frames, contents.received_bytes) == (1, 1, 801)


def test_verdicts_told_again_are_those_that_were_told_before_and_after_reopening(
    memory: Memory, facing: Facing, frames: Frames, open_store: Callable[[], MemoryStore]
) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    verdicts = memory.remember(frames(session, [facing(degrees) for degrees in SHOWN], pts_us=[0, 0, *range(2, 8)]))

    assert verdicts[2].outcome == Withheld(MINUTE, distance(facing(90), facing(0)))
    assert (verdicts[2].policy_revision, verdicts[2].capture_us, verdicts[1].pts_repaired) == (2, 2, True)
    assert memory.reading.verdicts(session.id, 0, 99) == verdicts
    assert open_store().get("m").reading.verdicts(session.id, 0, 99) == verdicts


def test_a_frame_that_is_kept_out_ends_the_sighting_and_stands_in_none(limited: Memory) -> None:
    assert _shown(limited) == [(1, 0, 1000, 2), (1, 4000, 4000, 1), (1, 6000, 7000, 2)]
    assert limited.view(Scope()).frame_count == 5
    assert limited.view(Scope(2_000, 3_000)).frame_count == 0
    assert limited.stream_facts("door").contents.stays == 1
    assert limited.extent() == (0, 7_000)


def test_what_was_on_screen_is_what_was_counted_last(limited: Memory, facing: Facing, frames: Frames) -> None:
    assert [limited.exemplar_at("door", 1_000 * at) for at in range(9)] == [1] * 9
    hall = limited.open_session("hall", "run-1", Clock.SESSION, 0)
    [sent] = frames(hall, [facing(90)])
    [verdict] = limited.remember([replace(sent, hint=Hint(Keep.NEVER))])

    assert verdict.outcome == Withheld(HINT, distance(facing(90), facing(0)), by_hint=True)
    with pytest.raises(MomentNotFound):
        limited.exemplar_at("hall", 10**6)


@pytest.mark.parametrize("opened_again_before", [2, 3, 4, 6])
def test_a_memory_that_is_opened_again_in_the_middle_goes_on_as_if_it_had_not_been(
    open_store: Callable[[], MemoryStore], facing: Facing, frames: Frames, told: Told, opened_again_before: int
) -> None:
    told_by = []
    for name, opened_again in (("m", True), ("other", False)):
        memory = open_store().create(name, "encoder/1", 8, 0.1, keeping=Keeping(max_per_minute=1))
        session = memory.open_session("door", "run-1", Clock.SESSION, 0)
        sent = frames(session, [facing(degrees) for degrees in SHOWN])
        memory.remember(sent[:opened_again_before])
        if opened_again:
            memory = open_store().get(name)
            session = memory.open_session("door", "run-1", Clock.SESSION, 0)
            assert session.next_seq == opened_again_before
        memory.remember(sent[opened_again_before:])
        told_by.append((told(memory), _shown(memory)))

    assert told_by[0] == told_by[1]


def test_forgetting_takes_them_too_and_they_are_told_as_forgotten(
    limited: Memory, verified: Verified, told: Told
) -> None:
    counts = limited.forget(Scope(1_000, 3_000))

    assert counts == ForgottenCounts(frames=3, sightings=0)
    contents = limited.facts().contents
    _assert_accounted_for(contents, 8, 3, left=4)
    assert contents.forgotten_frames == 1
    expected = told(limited)
    again = verified()
    assert told(again) == expected
    kinds = [type(verdict.outcome).__name__ for verdict in again.reading.verdicts(1, 0, 99)]
    assert kinds == ["Novel", "Forgotten", "Forgotten", "Forgotten", "Repeat", "Withheld", "Repeat", "Repeat"]
    assert again.reading.withheld_within(Scope()) == 1


def test_a_range_in_which_everything_was_kept_out_can_be_forgotten(limited: Memory, verified: Verified) -> None:
    assert limited.forget(Scope(2_000, 3_000)) == ForgottenCounts(frames=2)
    assert limited.forget(Scope(2_000, 3_000)) == ForgottenCounts()

    _assert_accounted_for(limited.facts().contents, 8, 3, left=5)
    again = verified()
    assert [type(verdict.outcome).__name__ for verdict in again.reading.verdicts(1, 1, 4)] == [
        *("Repeat", "Forgotten", "Forgotten", "Repeat")
    ]


def test_only_those_of_the_streams_of_a_scope_are_forgotten(limited: Memory, show: Show, verified: Verified) -> None:
    assert show(limited, [(180, 0), (270, 0.001)], "hall") == [-2, MINUTE]

    counts = limited.forget(Scope(stream_ids=frozenset({limited.stream_id("hall")})))

    assert counts == ForgottenCounts(frames=2, sightings=1, exemplars=1)
    assert limited.stream_facts("hall").contents == Contents(1, 0, 0, 1, 1, received_bytes=200)
    _assert_accounted_for(limited.stream_facts("door").contents, 8, 3, left=5)
    assert verified().reading.withheld_within(Scope()) == 3


@pytest.mark.parametrize("reopened", [False, True])
def test_a_session_goes_on_after_its_last_frame_was_kept_out_and_forgotten(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified, *, reopened: bool
) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(0), facing(90)]))
    memory.forget(Scope(1_000, 1_000))
    one = verified() if reopened else memory
    session = one.open_session("door", "run-1", Clock.SESSION, 0)

    one.remember(frames(session, [facing(1), facing(91)]))

    assert _shown(one) == [(1, 0, 0, 1), (1, 2_000, 2_000, 1)]
    _assert_accounted_for(verified().facts().contents, 4, 2, left=2)


def test_a_memory_of_nothing_else_can_be_told_forgotten_and_gone_on_with(
    memory: Memory, show: Show, verified: Verified
) -> None:
    assert show(memory, [(0, 1), (0, 2)], hint=Hint(Keep.NEVER)) == [HINT, HINT]
    [first, _] = memory.reading.verdicts(1, 0, 9)
    assert first.outcome == Withheld(HINT, None, by_hint=True)
    assert memory.facts().contents.first_us is None
    assert memory.extent() == (1_000_000, 2_000_000)

    assert memory.forget(Scope(last_us=1_000_000)).frames == 1

    again = verified()
    assert again.extent() == (2_000_000, 2_000_000)
    assert show(again, [(0, 3)]) == [-1]
    assert again.forget(Scope()).frames == 2
    assert again.extent() is None
    _assert_accounted_for(verified().facts().contents, 3, 2, left=0)


def test_what_is_too_old_is_forgotten_even_where_all_of_it_was_kept_out(
    memory: Memory, show: Show, verified: Verified
) -> None:
    assert show(memory, [(0, 1), (0, 2), (0, 3)], hint=Hint(Keep.NEVER)) == [HINT] * 3
    memory.set_retention(Retention(max_age_us=10_000_000))
    assert memory.tidy(12_500_000).frames == 2
    assert show(memory, [(0, 9)], run="run-2") == [-1]

    assert memory.tidy(13_500_000).frames == 1

    again = verified()
    assert again.tidy(13_500_000) == ForgottenCounts()
    assert again.reading.withheld_within(Scope()) == 0
    assert again.facts().contents.counted_frames == 1


def test_a_memory_of_nothing_but_them_is_left_alone_by_a_limit_of_exemplars_and_not_by_one_of_bytes(
    memory: Memory, show: Show
) -> None:
    assert show(memory, [(0, 1)], hint=Hint(Keep.NEVER)) == [HINT]
    memory.set_retention(Retention(max_exemplars=1))
    assert memory.tidy(10**9) == ForgottenCounts()

    memory.set_retention(Retention(max_bytes=1))

    assert memory.tidy(10**9) == ForgottenCounts(frames=1)


def test_compaction_does_not_make_one_sighting_across_them(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(degrees) for degrees in (0, 30, 120, 0, 30)])
    sent[2] = replace(sent[2], hint=Hint(Keep.NEVER))
    assert [brief(verdict) for verdict in memory.remember(sent)] == [-1, -2, HINT, 1, 2]

    assert memory.compact(0.2) == CompactedCounts(merged=1, exemplars=1)

    assert _shown(memory) == [(1, 0, 1_000, 2), (1, 3_000, 4_000, 2)]
    assert brief(verified().reading.verdicts(session.id, 2, 2)[0]) is HINT
