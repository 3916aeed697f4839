"""What becomes of frames: verdicts, stays, sightings, times and counts."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from memory_store import group
from memory_store.errors import EmbeddingError, SequenceGap, SessionMismatch
from memory_store.examples import HELD
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Clock, Embedding, Encoded, Novel, Rejected, Repeat, Session, Unusable, Verdict
from memory_store.scope import Scope

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]

BROKEN = Rejected("PICTURE_UNREADABLE", "expected a picture, got 3 bytes")


@pytest.fixture
def session(memory: Memory) -> Session:
    return memory.open_session("door", "run-1", Clock.SESSION, 1_000_000)


def _whole(memory: Memory, stream: str) -> list[tuple[int, int, int, int]]:
    """Sightings of a stream: exemplar, start, end, frames."""
    shown = memory.timeline(stream, -(2**62), 2**62, None, 1000)
    return [(sighting.exemplar_id, sighting.start_us, sighting.end_us, sighting.frames) for sighting in shown]


def test_a_scene_seen_again_has_a_new_sighting_and_its_old_stay(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    a_b_a = [facing(0), facing(5), facing(90), facing(10)]

    verdicts = memory.remember(frames(session, a_b_a))

    assert [verdict.outcome for verdict in verdicts] == [
        Novel(1, None),
        Repeat(1, distance(facing(5), facing(0))),
        Novel(2, distance(facing(90), facing(0))),
        Repeat(1, distance(facing(10), facing(0))),
    ]
    assert _whole(memory, "door") == [
        (1, 1_000_000, 1_001_000, 2),
        (2, 1_002_000, 1_002_000, 1),
        (1, 1_003_000, 1_003_000, 1),
    ]
    view = memory.view(Scope())
    assert view.leaves().facts.column("exemplar_id").tolist() == [1, 2]
    assert view.leaves().facts.column("frames").tolist() == [3, 1]
    mean = (facing(0) + facing(5) + facing(10)) / 3
    np.testing.assert_allclose(np.concatenate(view.leaves().means)[0], mean, atol=1e-7)


def test_a_frame_stays_with_its_current_exemplar_even_if_another_is_nearer(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    memory.remember(frames(session, [facing(0), facing(30)]))
    back = frames(replace(session, next_seq=2), [facing(0), facing(20)])

    verdicts = memory.remember(back)

    assert verdicts[1].outcome == Repeat(1, distance(facing(20), facing(0)))
    assert distance(facing(20), facing(30)) < distance(facing(20), facing(0))


def test_a_frame_beyond_its_current_exemplar_goes_to_the_nearest_of_the_whole_memory(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    [*_, last] = memory.remember(frames(session, [facing(0), facing(30), facing(90), facing(18)]))

    assert last.outcome == Repeat(2, distance(facing(18), facing(30)))


def test_the_largest_distance_in_a_sighting_is_kept_with_it(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    memory.remember(frames(session, [facing(0), facing(-20), facing(7)]))

    [shown] = memory.timeline("door", 0, 2**62, None, 9)

    assert shown.largest_novelty == distance(facing(-20), facing(0))
    assert shown.threshold == 0.1


def test_one_picture_shown_by_two_streams_in_one_group_is_stored_once(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    door = memory.open_session("door", "run-1", Clock.SESSION, 0)
    hall = memory.open_session("hall", "run-1", Clock.SESSION, 0)

    verdicts = memory.remember([*frames(door, [facing(0)]), *frames(hall, [facing(1), facing(0)])])

    assert [verdict.outcome for verdict in verdicts] == [
        Novel(1, None),
        Repeat(1, distance(facing(1), facing(0))),
        Repeat(1, distance(facing(0), facing(0))),
    ]
    assert memory.facts().contents.exemplars == 1
    assert memory.stream_facts("hall").contents.exemplars == 0
    assert sorted(memory.view(Scope()).leaves().facts.column("frames").tolist()) == [1, 2]
    facts, shown = memory.sightings(1, Scope())
    assert (facts.frames, facts.sightings, {sighting.stream for sighting in shown}) == (3, 2, {"door", "hall"})


def test_of_two_equally_near_exemplars_the_same_is_taken_whether_or_not_they_are_in_the_group(
    memory: Memory, frames: Frames
) -> None:
    axes = list(np.eye(8, dtype=np.float32))
    between = np.array([0.5**0.5, 0.5**0.5, 0, 0, 0, 0, 0, 0], np.float32)
    sequence = [*axes[:3], between]
    memory.set_threshold(None, 0.5)
    first = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(first, sequence[:1]))
    memory.remember(frames(replace(first, next_seq=1), sequence[1:3]))

    [apart] = memory.remember(frames(replace(first, next_seq=3), sequence[3:]))

    assert isinstance(apart.outcome, Repeat)
    assert apart.outcome.exemplar_id == 1  # as in one group, where the first that is nearest is taken


def test_rejected_frames_are_counted_and_change_nothing_else(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    first, last = frames(session, [facing(0)]), frames(replace(session, next_seq=2), [facing(1)])

    verdicts = memory.remember([*first, Unusable(session.id, 1, 3, BROKEN), *last])

    assert verdicts[1] == Verdict(1, BROKEN, policy_revision=0, capture_us=None, pts_repaired=False)
    contents = memory.facts().contents
    assert (contents.novel_frames, contents.repeat_frames, contents.rejected_frames) == (1, 1, 1)
    assert (contents.counted_frames, contents.received_bytes) == (2, 203)
    assert _whole(memory, "door") == [(1, 1_000_000, 1_002_000, 2)]


def test_a_stream_of_rejected_frames_only_has_counts_and_no_times(memory: Memory, session: Session) -> None:
    memory.remember([Unusable(session.id, seq, 3, BROKEN) for seq in range(5)])

    contents = memory.stream_facts("door").contents

    assert (contents.rejected_frames, contents.counted_frames, contents.stays) == (5, 0, 0)
    assert (contents.first_us, contents.last_us) == (None, None)
    assert len(memory.view(Scope()).leaves().facts.column("frames")) == 0


def test_no_frames_change_nothing(memory: Memory) -> None:
    assert memory.remember([]) == []
    assert memory.facts().contents.counted_frames == 0


def test_presentation_times_that_do_not_increase_are_repaired_by_a_microsecond_and_flagged(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    times = [0, 40, 40, 39, 43, 43]

    verdicts = memory.remember(frames(session, [facing(0)] * 6, pts_us=times))

    start = session.start_us
    assert [verdict.capture_us for verdict in verdicts] == [start + pts for pts in (0, 40, 41, 42, 43, 44)]
    assert [verdict.pts_repaired for verdict in verdicts] == [False, False, True, True, False, True]


def test_a_repair_reaches_over_groups_and_rejected_frames(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    memory.remember([*frames(session, [facing(0)], pts_us=[50]), Unusable(session.id, 1, 3, BROKEN)])

    [verdict] = memory.remember(frames(replace(session, next_seq=2), [facing(0)], pts_us=[10]))

    assert (verdict.capture_us, verdict.pts_repaired) == (session.start_us + 51, True)


def test_capture_times_of_the_source_are_taken_as_they_are_late_and_negative_ones_too(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    session = memory.open_session("archive", "run-1", Clock.SOURCE, None)
    captures = [5_000, -7_000, 4_000, 9_000]

    verdicts = memory.remember(frames(session, [facing(0)] * 4, pts_us=[0, 1, 2, 2], capture_us=captures))

    assert [verdict.capture_us for verdict in verdicts] == captures
    assert [verdict.pts_repaired for verdict in verdicts] == [False, False, False, True]
    assert _whole(memory, "archive") == [(1, -7_000, 9_000, 4)]
    contents = memory.stream_facts("archive").contents
    assert (contents.first_us, contents.last_us) == (-7_000, 9_000)


@pytest.mark.parametrize(
    ("clock", "expected"),
    [(Clock.SOURCE, [(0, 60_000_000), (120_000_001, 120_000_001), (1, 1)]), (Clock.SESSION, [(0, 180_000_003)])],
)
def test_a_sighting_does_not_span_a_minute_without_a_captured_frame(
    memory: Memory, frames: Frames, facing: Facing, clock: Clock, expected: list[tuple[int, int]]
) -> None:
    session = memory.open_session("door", "run-2", clock, 0)
    times = [0, 60_000_000, 120_000_001, 1]
    presented = [0, 60_000_000, 120_000_001, 180_000_003]
    captured = times if clock is Clock.SOURCE else None

    verdicts = memory.remember(frames(session, [facing(0)] * 4, pts_us=presented, capture_us=captured))

    assert {verdict.outcome.exemplar_id for verdict in verdicts if isinstance(verdict.outcome, Novel | Repeat)} == {1}
    _, shown = memory.sightings(1, Scope())
    assert sorted((sighting.start_us, sighting.end_us) for sighting in shown) == sorted(expected)


def test_a_sighting_that_has_grown_long_is_followed_by_another_of_the_same_stay(
    memory: Memory, session: Session, facing: Facing, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "LONGEST_SIGHTING_FRAMES", 3)

    memory.remember(frames(session, [facing(degrees) for degrees in range(8)]))

    start = session.start_us
    assert _whole(memory, "door") == [
        (1, start, start + 2_000, 3),
        (1, start + 3_000, start + 5_000, 3),
        (1, start + 6_000, start + 7_000, 2),
    ]
    assert memory.view(Scope()).leaves().facts.column("frames").tolist() == [8]


def test_two_sessions_of_one_stream_keep_their_own_sightings_and_share_stays(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    one = memory.open_session("door", "run-1", Clock.SESSION, 0)
    two = memory.open_session("door", "run-2", Clock.SESSION, 500)
    first, second = frames(one, [facing(0), facing(1), facing(2)]), frames(two, [facing(3), facing(90), facing(4)])

    memory.remember([frame for pair in zip(first, second, strict=True) for frame in pair])

    assert _whole(memory, "door") == [(1, 0, 2_000, 3), (1, 500, 500, 1), (2, 1_500, 1_500, 1), (1, 2_500, 2_500, 1)]
    view = memory.view(Scope())
    assert (view.leaves().facts.column("exemplar_id").tolist(), view.leaves().facts.column("frames").tolist()) == (
        [1, 2],
        [5, 1],
    )


def test_frames_out_of_sequence_are_refused_and_nothing_of_their_group_is_kept(
    memory: Memory, session: Session, facing: Facing, frames: Frames, told: Callable[[Memory], list[object]]
) -> None:
    memory.remember(frames(session, [facing(0)]))
    before = told(memory)

    for wrong in (0, 3):
        group = [*frames(session, [facing(90)], first_seq=1), *frames(session, [facing(0)], first_seq=wrong)]
        with pytest.raises(SequenceGap) as caught:
            memory.remember(group)
        assert (caught.value.expected, caught.value.actual) == (2, wrong)

    assert told(memory) == before
    [verdict] = memory.remember(frames(session, [facing(90)], first_seq=1))
    assert verdict.outcome == Novel(2, distance(facing(90), facing(0)))


@pytest.mark.parametrize(
    "embedding",
    [
        np.zeros(8, np.float32),
        np.full(8, 0.36, np.float32),
        np.full(8, np.nan, np.float32),
        np.full(8, np.inf, np.float32),
        np.eye(1, 7, dtype=np.float32)[0],
        np.eye(1, 8, dtype=np.float64)[0],
        np.eye(1, 8, dtype=np.float32),
    ],
    ids=["zero", "long", "not-a-number", "infinite", "narrow", "float64", "two-dimensional"],
)
def test_an_embedding_of_the_wrong_shape_type_or_length_is_refused_with_its_group(
    memory: Memory, session: Session, facing: Facing, frames: Frames, embedding: Embedding
) -> None:
    with pytest.raises(EmbeddingError, match="expected"):
        memory.remember(frames(session, [facing(0), embedding]))

    assert memory.facts().contents.counted_frames == 0
    assert memory.open_session("door", "run-1", Clock.SESSION, None).next_seq == 0


def test_a_thumbnail_is_made_for_novel_frames_and_kept_as_it_is_and_for_few_others(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    made: list[int] = []

    def thumbnail(seq: int) -> bytes:
        made.append(seq)
        return b"%d" % seq

    sent = frames(session, [facing(0), facing(90), *[facing(89)] * 1000])
    memory.remember([replace(frame, thumbnail=partial(thumbnail, frame.seq)) for frame in sent])

    assert made[:2] == [0, 1]
    assert len(made) < 2 + 50
    assert [memory.reading.thumbnail(exemplar_id) for exemplar_id in (1, 2)] == [b"0", b"1"]
    assert len(memory.reading.dropped_examples(Scope())) == HELD


def test_a_session_opened_again_stands_where_it_stood(
    memory: Memory, session: Session, facing: Facing, frames: Frames
) -> None:
    memory.remember(frames(session, [facing(0), facing(1)]))
    memory.close_session(session.id)

    again = memory.open_session("door", "run-1", Clock.SESSION, 77)

    assert again == replace(session, next_seq=2)
    memory.remember(frames(again, [facing(2)]))
    assert _whole(memory, "door") == [(1, 1_000_000, 1_002_000, 3)]


def test_a_session_opened_again_with_another_clock_is_refused(memory: Memory, session: Session) -> None:
    with pytest.raises(SessionMismatch, match="SOURCE"):
        memory.open_session("door", "run-1", Clock.SOURCE, None)

    assert memory.open_session("door", "run-1", Clock.SESSION, None).id == session.id


def test_a_session_id_belongs_to_its_stream_alone(memory: Memory, session: Session) -> None:
    other = memory.open_session("hall", "run-1", Clock.SOURCE, 0)

    assert other.id != session.id
    assert other.next_seq == 0


def test_streams_that_write_at_once_from_several_threads_are_all_accounted_for(
    memory: Memory, facing: Facing, frames: Frames
) -> None:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            session = memory.open_session(f"cam-{number}", "run-1", Clock.SESSION, 0)
            for seq in range(0, 60, 3):
                memory.remember(frames(session, [facing(7 * seq), facing(7 * seq + 60), facing(0)], first_seq=seq))
                memory.view(Scope())
        except BaseException as error:  # noqa: BLE001  # a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    contents = memory.facts().contents
    assert contents.counted_frames == contents.novel_frames + contents.repeat_frames == 240
    assert [memory.stream_facts(f"cam-{number}").contents.counted_frames for number in range(4)] == [60] * 4
    for number in range(4):
        session = memory.open_session(f"cam-{number}", "run-1", Clock.SESSION, 0)
        for verdict in memory.reading.verdicts(session.id, 0, 99):
            assert isinstance(verdict.outcome, Novel | Repeat)
            seen = facing([7 * verdict.seq, 7 * verdict.seq + 53, 0][verdict.seq % 3])
            assert distance(memory.embedding(verdict.outcome.exemplar_id), seen) <= 0.1
