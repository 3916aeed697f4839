"""What an application calls what its frames show: kept with sightings, and a filter for what is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from memory_store.errors import ExemplarNotFound
from memory_store.hints import Hint
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Verified = Callable[[], Memory]

SHOWN: tuple[tuple[float, tuple[str, ...]], ...] = (
    *((0, ("cat",)), (4, ("cat",)), (8, ()), (12, ("cat",))),
    *((90, ("cat", "dog")), (94, ("cat", "dog")), (97, ("dog",))),
    *((2, ("dog",)), (6, ("dog",)), (180, ())),
)
"""Degrees and labels, one frame a millisecond: exemplar 1, exemplar 2, exemplar 1 again, exemplar 3."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame that was sent, and the exemplar that stands for it."""

    exemplar: int
    embedding: Embedding
    labels: frozenset[str]
    capture_us: int


def labelled(*labels: str, first_us: int = -(10**9), last_us: int = 10**9) -> Scope:
    return Scope(first_us, last_us, labels=frozenset(labels))


@pytest.fixture
def sent(memory: Memory, facing: Facing, frames: Frames) -> list[Shown]:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    plain = frames(session, [facing(degrees) for degrees, _ in SHOWN])
    memory.remember([replace(one, hint=Hint(labels=labels)) for one, (_, labels) in zip(plain, SHOWN, strict=True)])
    stands = [1, 1, 1, 1, 2, 2, 2, 1, 1, 3]
    return [
        Shown(exemplar, one.embedding, frozenset(labels), one.pts_us)
        for exemplar, one, (_, labels) in zip(stands, plain, SHOWN, strict=True)
    ]


def _told(memory: Memory, scope: Scope) -> dict[int, tuple[int, NDArray[np.float32]]]:
    """By exemplar, the count and the mean of its only stay."""
    view = memory.view(scope)
    leaves = view.leaves()
    rows = zip(
        leaves.facts.column("exemplar_id").tolist(),
        leaves.facts.column("frames").tolist(),
        np.concatenate(leaves.means),
        strict=True,
    )
    told = {exemplar: (count, mean) for exemplar, count, mean in rows}
    assert view.frame_count == sum(count for count, _ in told.values())
    assert view.stay_count == len(told)
    assert sum(int(nodes.frames.sum()) for nodes in view.levels()[:1]) == view.frame_count
    return told


def _assert_stands_for(told: dict[int, tuple[int, NDArray[np.float32]]], counting: Sequence[Shown]) -> None:
    """What is told are the means of these frames alone."""
    assert told.keys() == {one.exemplar for one in counting}
    for exemplar, (count, mean) in told.items():
        own = [one.embedding for one in counting if one.exemplar == exemplar]
        assert count == len(own)
        np.testing.assert_allclose(mean, np.mean(own, axis=0, dtype=np.float64), atol=1e-6)


def test_a_sighting_ends_where_labels_change_and_a_stay_does_not(memory: Memory, sent: list[Shown]) -> None:
    shown = memory.timeline("door", 0, 10**6, None, 99)

    assert [(one.exemplar_id, one.start_us, one.end_us, one.labels) for one in shown] == [
        (1, 0, 1_000, ("cat",)),
        (1, 2_000, 2_000, ()),
        (1, 3_000, 3_000, ("cat",)),
        (2, 4_000, 5_000, ("cat", "dog")),
        (2, 6_000, 6_000, ("dog",)),
        (1, 7_000, 8_000, ("dog",)),
        (3, 9_000, 9_000, ()),
    ]
    assert memory.facts().contents.stays == 3


@pytest.mark.parametrize("labels", [("cat",), ("dog",), ("cat", "dog"), ("cat", "bird"), ("bird",)])
def test_only_frames_with_one_of_the_labels_count(memory: Memory, sent: list[Shown], labels: tuple[str, ...]) -> None:
    counting = [one for one in sent if one.labels & set(labels)]

    _assert_stands_for(_told(memory, labelled(*labels)), counting)


def test_labels_and_streams_and_times_are_a_filter_together(
    memory: Memory, sent: list[Shown], facing: Facing, frames: Frames
) -> None:
    hall = memory.open_session("hall", "run-1", Clock.SESSION, 0)
    [one] = frames(hall, [facing(91)])
    memory.remember([replace(one, hint=Hint(labels=("cat",)))])
    ids = {name: frozenset({memory.stream_id(name)}) for name in ("door", "hall")}

    assert memory.view(labelled("cat")).frame_count == 6
    assert _told(memory, replace(labelled("cat"), stream_ids=ids["hall"]))[2][0] == 1
    assert _told(memory, replace(labelled("cat"), stream_ids=ids["door"]))[2][0] == 2
    assert _told(memory, replace(labelled("cat"), stream_ids=frozenset())) == {}
    whole = labelled("cat", first_us=3_000, last_us=5_000)
    assert {number: count for number, (count, _) in _told(memory, replace(whole, stream_ids=ids["door"])).items()} == {
        1: 1,
        2: 2,
    }


def test_a_sighting_that_a_range_cuts_stands_by_its_frames_within_it(memory: Memory, sent: list[Shown]) -> None:
    told = _told(memory, labelled("cat", first_us=1_000, last_us=4_000))

    assert {number: count for number, (count, _) in told.items()} == {1: 2, 2: 1}
    rounded = 0.01
    np.testing.assert_allclose(told[2][1], sent[4].embedding, atol=rounded)
    half = (sent[1].embedding.astype(np.float64) + sent[3].embedding) / 2  # one frame of a cut sighting, one whole
    np.testing.assert_allclose(told[1][1], half, atol=rounded)


def test_what_was_known_as_of_a_time_stays_while_more_is_labelled(
    memory: Memory, sent: list[Shown], facing: Facing, frames: Frames
) -> None:
    before = _told(memory, labelled("dog", last_us=7_500))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember([replace(one, hint=Hint(labels=("dog",))) for one in frames(session, [facing(90), facing(1)])])

    after = _told(memory, labelled("dog", last_us=7_500))

    assert {number: count for number, (count, _) in after.items()} == {1: 1, 2: 3}
    for number, (count, mean) in before.items():
        assert after[number][0] == count
        np.testing.assert_array_equal(after[number][1], mean)
    assert {number: count for number, (count, _) in _told(memory, labelled("dog")).items()} == {1: 3, 2: 4}


def test_only_exemplars_seen_under_a_label_are_found_nearest(memory: Memory, sent: list[Shown], facing: Facing) -> None:
    found = {
        label: [neighbour.exemplar_id for neighbour in memory.nearest(facing(179), memory.view(labelled(label)), 5)]
        for label in ("cat", "dog", "bird")
    }

    assert found == {"cat": [2, 1], "dog": [2, 1], "bird": []}
    early = memory.view(labelled("dog", last_us=6_000))
    assert [neighbour.exemplar_id for neighbour in memory.nearest(facing(0), early, 5)] == [2]


def test_sightings_of_an_exemplar_are_told_by_label_and_cut_to_the_range(memory: Memory, sent: list[Shown]) -> None:
    facts, shown = memory.sightings(1, labelled("cat", first_us=1_000))

    assert [(one.start_us, one.end_us, one.frames) for one in shown] == [(3_000, 3_000, 1), (1_000, 1_000, 1)]
    assert (facts.frames, facts.sightings, facts.first_us, facts.last_us) == (2, 2, 1_000, 3_000)
    with pytest.raises(ExemplarNotFound):
        memory.sightings(3, labelled("cat", "dog"))


def test_exemplars_list_the_labels_of_their_sightings_in_order_and_once(memory: Memory, sent: list[Shown]) -> None:
    listing = memory.reading.exemplars(after=None, limit=9, newest_first=False, thumbnails=False, embeddings=False)

    assert [one.labels for one in listing] == [("cat", "dog"), ("cat", "dog"), ()]
    assert [(one.facts.frames, one.facts.sightings) for one in listing] == [(6, 4), (3, 2), (1, 1)]
    assert memory.reading.exemplar(2, thumbnail=False, embedding=False).labels == ("cat", "dog")


def test_labels_go_with_the_sightings_that_are_forgotten_and_stay_with_what_is_cut(
    memory: Memory, sent: list[Shown], verified: Verified
) -> None:
    memory.forget(Scope(1_000, 4_000))

    again = verified()
    assert [one.labels for one in again.timeline("door", 0, 10**6, None, 99)] == [
        *(("cat",), ("cat", "dog"), ("dog",), ("dog",), ()),
    ]
    assert {number: count for number, (count, _) in _told(again, labelled("cat")).items()} == {1: 1, 2: 1}
    again.forget(Scope(5_000, 5_000))
    assert {number: count for number, (count, _) in _told(verified(), labelled("cat", "dog")).items()} == {1: 3, 2: 1}


def test_a_sighting_that_is_cut_in_two_keeps_its_labels_on_both_sides(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember([replace(one, hint=Hint(labels=("cat",))) for one in frames(session, [facing(0)] * 3)])
    memory.forget(Scope(1_000, 1_000))

    again = verified()

    assert [(one.start_us, one.labels) for one in again.timeline("door", 0, 10**6, None, 9)] == [
        (0, ("cat",)),
        (2_000, ("cat",)),
    ]
    assert again.view(labelled("cat")).frame_count == 2


def test_merging_joins_sightings_of_the_same_labels_only(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    labels: list[tuple[str, ...]] = [("cat",), ("cat",), ("dog",), ()]
    sent = frames(session, [facing(degrees) for degrees in (0, 30, 0, 30)])
    memory.remember([replace(one, hint=Hint(labels=own)) for one, own in zip(sent, labels, strict=True)])

    assert memory.compact(0.2).merged == 1

    again = verified()
    shown = again.timeline("door", 0, 10**6, None, 9)
    assert [(one.frames, one.labels) for one in shown] == [(2, ("cat",)), (1, ("dog",)), (1, ())]
    assert again.view(labelled("cat")).frame_count == 2
    assert again.view(labelled("dog")).frame_count == 1


def test_a_session_opened_again_goes_on_with_the_sighting_of_the_same_labels(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified
) -> None:
    for number, own in enumerate([("cat",), ("cat",), ("dog",)]):
        one = verified() if number else memory
        session = one.open_session("door", "run-1", Clock.SESSION, 0)
        [frame] = frames(session, [facing(number)])
        one.remember([replace(frame, hint=Hint(labels=own))])

    shown = verified().timeline("door", 0, 10**6, None, 9)
    assert [(one.frames, one.labels) for one in shown] == [(2, ("cat",)), (1, ("dog",))]


def test_very_many_labels_can_be_asked_for_at_once(memory: Memory, sent: list[Shown]) -> None:
    scope = labelled("cat", *(f"no {number}" for number in range(300_000)))

    assert memory.view(scope).frame_count == 5
