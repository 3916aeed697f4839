"""Curves over thresholds against the gate written out as a plain loop."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from memory_store import what_if_rows
from memory_store.errors import InvalidThreshold
from memory_store.records import Embedding
from memory_store.scope import Scope
from memory_store.seen_frames import SeenFrame
from memory_store.what_if import BATCH, MOST_WAITING, THRESHOLDS, Curve, WhatIf

DIMENSION = 24
OTHERS = (0.008, 0.025, 0.04, 0.085, 0.12, 0.25, 0.5, 0.9, 2.0)
EVERYTHING = Scope()
SECOND_US = 1_000_000


def walk(
    seed: int, steps: int, *, step: float = 0.04, drawn_home: float = 0.0, returns: float = 0.01
) -> list[Embedding]:
    """Walk about the sphere at random; now and then, start again from where the walk has been before.

    Being drawn home by a share of the way keeps it in a region, of which it sees the same places again and again.
    """
    chance = np.random.default_rng(seed)
    home = chance.normal(size=DIMENSION)
    home /= np.linalg.norm(home)
    place = home
    shown: list[Embedding] = []
    for _ in range(steps):
        if shown and chance.random() < returns:
            place = shown[chance.integers(len(shown))].astype(np.float64)
        place = place + drawn_home * (home - place) + chance.normal(size=DIMENSION) * step
        place /= np.linalg.norm(place)
        shown.append(place.astype(np.float32))
    return shown


def seen(
    embeddings: Sequence[Embedding],
    *,
    stream_ids: Sequence[int] | int = 1,
    every_us: int = SECOND_US,
    from_us: int = 0,
    own_stream_only: bool = False,
    horizon_us: int | None = None,
) -> list[SeenFrame]:
    """Frames that show these, one after the other."""
    streams = [stream_ids] * len(embeddings) if isinstance(stream_ids, int) else stream_ids
    return [
        SeenFrame(stream_id, from_us + every_us * number, embedding, own_stream_only, horizon_us)
        for number, (stream_id, embedding) in enumerate(zip(streams, embeddings, strict=True))
    ]


def facing(degrees: float) -> Embedding:
    """What a camera on a turntable sees: turning it by a degrees costs a novelty of 1 - cos a."""
    picture = np.zeros(DIMENSION, np.float32)
    picture[:2] = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return picture


def plain(frames: Sequence[SeenFrame], threshold: float) -> tuple[list[bool], list[float]]:
    """Which frames are kept, and the novelty of each; 2 if there was nothing to compare it with."""
    kept, streams, seen_us = np.empty((len(frames), DIMENSION)), np.empty(len(frames)), np.empty(len(frames))
    verdicts: list[bool] = []
    novelties: list[float] = []
    number = 0
    for frame in frames:
        picture = frame.embedding.astype(np.float16).astype(np.float64)
        picture /= np.linalg.norm(picture)
        distances = 1 - kept[:number] @ picture
        if frame.own_stream_only:
            distances[streams[:number] != frame.stream_id] = 2
        if frame.horizon_us is not None:
            distances[seen_us[:number] < frame.capture_us - frame.horizon_us] = 2
        novelties.append(distances.min(initial=2.0))
        verdicts.append(novelties[-1] > threshold or novelties[-1] == 2)
        if verdicts[-1]:
            kept[number], streams[number], seen_us[number] = picture, frame.stream_id, frame.capture_us
            number += 1
        else:
            nearest = distances.argmin()
            seen_us[nearest] = max(seen_us[nearest], frame.capture_us)
    return verdicts, novelties


def shown(frames: Sequence[SeenFrame], limit: int = 100_000, batch: int = BATCH) -> WhatIf:
    """What remains of frames that came so many at a time."""
    what_if = WhatIf(DIMENSION, limit)
    for first in range(0, len(frames), batch):
        what_if.add(frames[first : first + batch])
        what_if.work(everything=batch != BATCH)
    return what_if


def exemplars(what_if: WhatIf, thresholds: Sequence[float] = THRESHOLDS, scope: Scope = EVERYTHING) -> list[float]:
    return [outcome.exemplars for outcome in what_if.curve(thresholds, scope).outcomes]


def errors(curve: Curve) -> list[float]:
    return [outcome.error for outcome in curve.outcomes]


def counts(frames: Sequence[SeenFrame], thresholds: Sequence[float] = THRESHOLDS) -> list[int]:
    return [sum(plain(frames, threshold)[0]) for threshold in thresholds]


def two_cameras(seed: int, number: int) -> list[SeenFrame]:
    """Two streams in turns of random length that show the same, and at times something of their own."""
    chance = np.random.default_rng(seed)
    common, own = walk(seed, number), walk(seed + 1, number)
    streams = np.repeat(chance.integers(1, 3, number), chance.integers(1, 9, number))[:number].tolist()
    pictures = [own[n] if streams[n] == 2 and n % 90 < 30 else common[n] for n in range(number)]
    return seen(pictures, stream_ids=streams)


def mixed(seed: int, number: int) -> list[SeenFrame]:
    """The second camera is compared with itself only, and the first from the middle on with the last 40 seconds."""
    frames = two_cameras(seed, number)
    later = [replace(frame, horizon_us=40 * SECOND_US if frame.stream_id == 1 else None) for frame in frames]
    halves = frames[: number // 2] + later[number // 2 :]
    return [replace(frame, own_stream_only=frame.stream_id == 2) for frame in halves]


def lasting(seed: int, number: int) -> list[SeenFrame]:
    """A walk that is compared with the last 30 seconds, with footage among it that comes two minutes late."""
    frames = seen(walk(seed, number, returns=0.1), horizon_us=30 * SECOND_US)
    late = range(200, 300)
    return [
        replace(frame, capture_us=frame.capture_us - 120 * SECOND_US) if n in late else frame
        for n, frame in enumerate(frames)
    ]


FOOTAGE: dict[str, Callable[[int, int], list[SeenFrame]]] = {
    "a walk": lambda seed, number: seen(walk(seed, number)),
    "two cameras": two_cameras,
    "each stream on its own": lambda seed, number: [
        replace(frame, own_stream_only=True) for frame in two_cameras(seed, number)
    ],
    "a horizon": lasting,
    "all of it": mixed,
}


@pytest.mark.parametrize("footage", FOOTAGE.values(), ids=FOOTAGE.keys())
def test_while_all_frames_are_held_a_curve_is_what_the_gate_would_have_done(
    footage: Callable[[int, int], list[SeenFrame]],
) -> None:
    frames = footage(1, 1500)
    thresholds = sorted((*THRESHOLDS, *OTHERS))

    curve = shown(frames).curve(thresholds, EVERYTHING)

    assert [outcome.threshold for outcome in curve.outcomes] == thresholds
    assert [outcome.exemplars for outcome in curve.outcomes] == counts(frames, thresholds)
    assert errors(curve) == [0.0] * len(thresholds)
    assert (curve.frames, curve.held) == (1500, 1500)
    for outcome in curve.outcomes:
        kept, novelty = plain(frames, outcome.threshold)
        dropped = np.array(novelty)[~np.array(kept)]
        assert outcome.mean_dropped == pytest.approx(dropped.mean() if len(dropped) else 0.0, abs=1e-6)
        assert outcome.largest_dropped == pytest.approx(dropped.max(initial=0.0), abs=1e-6)


@pytest.mark.parametrize("footage", FOOTAGE.values(), ids=FOOTAGE.keys())
@pytest.mark.parametrize("batch", [1, 7, 50])
def test_how_frames_are_divided_into_batches_makes_no_difference(
    footage: Callable[[int, int], list[SeenFrame]], batch: int
) -> None:
    frames = footage(2, 400)
    thresholds = (*THRESHOLDS, *OTHERS)

    divided, whole = (shown(frames, batch=number).curve(thresholds, EVERYTHING) for number in (batch, BATCH))

    assert (divided.frames, divided.active_us, divided.held) == (whole.frames, whole.active_us, whole.held)
    for one, other in zip(divided.outcomes, whole.outcomes, strict=True):
        assert (one.threshold, one.exemplars, one.error) == (other.threshold, other.exemplars, other.error)
        assert one.mean_dropped == pytest.approx(other.mean_dropped, abs=1e-6)
        assert one.largest_dropped == pytest.approx(other.largest_dropped, abs=1e-6)


def test_a_stream_counts_only_what_was_kept_of_its_own_frames() -> None:
    frames = two_cameras(3, 1500)
    what_if = shown(frames)

    for stream_id in (1, 2):
        curve = what_if.curve((*THRESHOLDS, *OTHERS), Scope(stream_ids=frozenset({stream_id})))

        own = [frame.stream_id == stream_id for frame in frames]
        assert curve.frames == sum(own)
        for outcome in curve.outcomes:
            kept, _ = plain(frames, outcome.threshold)
            assert outcome.exemplars == sum(np.array(kept) & own), outcome.threshold


def test_streams_that_are_compared_with_themselves_keep_what_others_have_shown() -> None:
    pictures = walk(4, 500)
    first, second = seen(pictures), seen(pictures, stream_ids=2)

    assert exemplars(shown(first + second)) == exemplars(shown(first))
    assert exemplars(shown([*first, *(replace(frame, own_stream_only=True) for frame in second)])) == [
        2 * number for number in exemplars(shown(first))
    ]


def test_what_was_not_seen_within_the_horizon_is_novel_again_and_what_was_is_not() -> None:
    def at(*seconds: int) -> list[float]:
        frames = [
            SeenFrame(1, second * SECOND_US, facing(0), own_stream_only=False, horizon_us=60 * SECOND_US)
            for second in seconds
        ]
        return exemplars(shown(frames), (0.1, 0.11))

    assert at(0, 60) == [1, 1]
    assert at(0, 61) == [2, 2]
    assert at(0, 40, 80, 120) == [1, 1]
    assert at(0, 40, 80, 120, 181) == [2, 2]
    assert at(*range(1000)) == [1, 1]
    assert at(1000, 0, 500) == [1, 1]


def test_to_be_seen_at_a_coarse_threshold_is_not_to_be_seen_at_a_fine_one() -> None:
    looks = [(0, 0.0), (40, 30.0), (80, 0.0)]  # at 30 degrees the novelty is 0.134
    frames = [
        SeenFrame(1, second * SECOND_US, facing(degrees), own_stream_only=False, horizon_us=60 * SECOND_US)
        for second, degrees in looks
    ]

    assert exemplars(shown(frames), (0.1, 0.11, 0.15, 0.16)) == [3, 3, 1, 1]


@pytest.fixture(scope="module")
def revisiting() -> list[SeenFrame]:
    """A walk that comes by the same places again and again."""
    return seen(walk(5, 6000, step=0.03, drawn_home=0.04, returns=0.02))


@pytest.fixture(scope="module")
def truth(revisiting: list[SeenFrame]) -> list[int]:
    return counts(revisiting)


def test_beyond_the_limit_curves_are_estimates_that_state_an_error_and_coarse_thresholds_are_counted(
    revisiting: list[SeenFrame], truth: list[int]
) -> None:
    what_if = WhatIf(DIMENSION, 400)
    for first in range(0, len(revisiting), BATCH):
        what_if.add(revisiting[first : first + BATCH])
        what_if.work()
        assert what_if.curve((), EVERYTHING).held <= 400

    curve = what_if.curve(THRESHOLDS, EVERYTHING)

    assert truth[0] > 5 * 400
    assert [outcome.exemplars for outcome in curve.outcomes] == pytest.approx(truth, rel=0.1)
    estimated = [error > 0 for error in errors(curve)]
    assert estimated == sorted(estimated, reverse=True)
    assert 3 <= sum(estimated) <= 7
    corrections = what_if.copy().rows.total("correction")
    for outcome, correction in zip(curve.outcomes, corrections, strict=True):
        assert outcome.error in (0, pytest.approx(0.06 + 0.5 * correction / outcome.exemplars))
    assert max(errors(curve)) > 0.04
    counted = [
        (outcome.exemplars, true) for outcome, true in zip(curve.outcomes, truth, strict=True) if not outcome.error
    ]
    assert all(told == true for told, true in counted)


def test_the_correction_takes_off_most_of_what_is_kept_only_because_its_like_was_let_go(
    revisiting: list[SeenFrame], truth: list[int]
) -> None:
    what_if = shown(revisiting, limit=400)

    estimates = np.array(exemplars(what_if))

    raw = what_if.copy().rows.total("kept")
    assert (raw >= estimates).all()
    assert np.abs(np.log(estimates / truth)).sum() < 0.5 * np.abs(np.log(raw / truth)).sum()


def test_estimates_for_streams_and_times_add_up_to_the_estimate_for_all(revisiting: list[SeenFrame]) -> None:
    frames = [replace(frame, stream_id=1 + n // 5 % 2) for n, frame in enumerate(revisiting)]
    what_if = shown(frames, limit=400)
    scopes = [Scope(stream_ids=frozenset({stream_id})) for stream_id in (1, 2)]
    halves = [Scope(last_us=2_999_999_999), Scope(first_us=3_000_000_000)]

    whole = np.array(exemplars(what_if))

    estimated = whole != np.rint(whole)
    assert estimated.sum() >= 3
    for parts in (scopes, halves):
        shares = np.array([exemplars(what_if, scope=scope) for scope in parts])
        assert shares.sum(axis=0)[estimated] == pytest.approx(whole[estimated])
        assert (shares[:, estimated] > 0.2 * whole[estimated]).all()


def test_frames_that_no_threshold_keeps_are_let_go_first() -> None:
    frames = seen([facing(n % 10 / 100 + n // 50 * 20) for n in range(500)])
    what_if = shown(frames, limit=30)

    curve = what_if.curve((*THRESHOLDS, 0.12), EVERYTHING)

    told = {outcome.threshold: outcome for outcome in curve.outcomes}
    assert [told[threshold].exemplars for threshold in THRESHOLDS] == counts(frames)
    assert [told[threshold].error for threshold in THRESHOLDS] == [0.0] * 10
    assert (told[0.12].error, curve.held, curve.frames) == (told[0.15].exemplars ** -0.5, 30, 500)


def test_beyond_the_limit_other_thresholds_are_read_off_between_and_beyond_the_standard_ones() -> None:
    what_if = shown(seen(walk(6, 3000)), limit=300)
    standard = {outcome.threshold: outcome for outcome in what_if.curve(THRESHOLDS, EVERYTHING).outcomes}
    [finest, below, between, above, coarsest] = what_if.curve((0.0001, 0.015, 0.12, 0.7, 2.0), EVERYTHING).outcomes

    left, right = standard[0.1], standard[0.15]
    share = np.log(0.12 / 0.1) / np.log(0.15 / 0.1)
    assert np.log(between.exemplars) == pytest.approx(
        (1 - share) * np.log(left.exemplars) + share * np.log(right.exemplars)
    )
    assert between.error == max(0.03, left.error, right.error)
    assert between.mean_dropped == pytest.approx(0.6 * left.mean_dropped + 0.4 * right.mean_dropped)
    assert between.largest_dropped == pytest.approx(0.6 * left.largest_dropped + 0.4 * right.largest_dropped)
    power = np.log(standard[0.03].exemplars / standard[0.02].exemplars) / np.log(0.03 / 0.02)
    assert below.exemplars == pytest.approx(standard[0.02].exemplars * (0.015 / 0.02) ** power)
    assert below.mean_dropped == pytest.approx(0.75 * standard[0.02].mean_dropped)
    assert finest.exemplars == 3000
    power = np.log(standard[0.6].exemplars / standard[0.4].exemplars) / np.log(0.6 / 0.4)
    assert above.exemplars == pytest.approx(max(1, standard[0.6].exemplars * (0.7 / 0.6) ** power))
    assert coarsest.exemplars >= 1
    assert [outcome.error for outcome in (finest, below, above, coarsest)] == [0.3] * 4


def test_a_range_counts_the_batches_whose_middle_lies_in_it() -> None:
    frames = seen(walk(7, 5 * BATCH))
    what_if = shown(frames)

    def within(first: float, last: float) -> Curve:
        scope = Scope(int(first * BATCH * SECOND_US), int(last * BATCH * SECOND_US) - 1)
        return what_if.curve((*THRESHOLDS, *OTHERS), scope)

    for curve in (within(1, 3), within(0.9, 3.1), within(1.4, 2.6)):
        assert curve.frames == 2 * BATCH
        for outcome in curve.outcomes:
            kept, _ = plain(frames, outcome.threshold)
            assert outcome.exemplars == sum(kept[BATCH : 3 * BATCH])
    assert within(1.6, 2.4).frames == 0
    assert [outcome.exemplars for outcome in within(1.6, 2.4).outcomes] == [0.0] * 19
    assert within(-9, 0).frames == 0


def test_time_counts_between_frames_of_a_stream_that_are_at_most_a_minute_apart() -> None:
    seconds = {1: [0, 10, 70, 131, 130, 140], 2: [5, 6, 1000, 1001]}
    frames = [
        SeenFrame(stream, second * SECOND_US, facing(0), own_stream_only=False, horizon_us=None)
        for stream in (1, 2)
        for second in seconds[stream]
    ]
    frames.sort(key=lambda frame: frame.capture_us // (100 * SECOND_US))

    for batch in (1, 3, BATCH):
        what_if = shown(frames, batch=batch)
        spans = [what_if.curve((), Scope(stream_ids=frozenset({stream}))).active_us for stream in (1, 2)]
        assert spans == [(10 + 60 + 10) * SECOND_US, 2 * SECOND_US]
        assert what_if.curve((), EVERYTHING).active_us == sum(spans)


def test_rows_beyond_a_number_are_added_up_in_pairs_and_lose_nothing_but_where_they_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = two_cameras(8, 1000)
    thresholds = (*THRESHOLDS, *OTHERS)
    scopes = [Scope(), Scope(stream_ids=frozenset({1})), Scope(stream_ids=frozenset({2}))]
    expected = [shown(frames, batch=10).curve(thresholds, scope) for scope in scopes]
    monkeypatch.setattr(what_if_rows, "MOST_ROWS", 120)

    what_if = shown(frames, batch=10)

    assert len(what_if.copy().rows) <= 120
    for scope, before in zip(scopes, expected, strict=True):
        curve = what_if.curve(thresholds, scope)
        assert (curve.frames, curve.active_us) == (before.frames, before.active_us)
        assert [outcome.exemplars for outcome in curve.outcomes] == [outcome.exemplars for outcome in before.outcomes]
        for one, other in zip(curve.outcomes, before.outcomes, strict=True):
            assert one.mean_dropped == pytest.approx(other.mean_dropped)
            assert one.largest_dropped == other.largest_dropped
    halves = [what_if.curve((), Scope(0, 499_999_999)).frames, what_if.curve((), Scope(500_000_000)).frames]
    assert sum(halves) == 1000
    assert halves[0] == pytest.approx(500, abs=20)


def test_frames_wait_until_a_batch_is_full_or_a_curve_is_asked_for() -> None:
    frames = seen(walk(9, BATCH + 10))
    what_if = WhatIf(DIMENSION, 1000)

    assert not what_if.add(frames[: BATCH - 1])
    what_if.work()
    assert len(what_if.copy().waiting) == BATCH - 1
    assert what_if.add(frames[BATCH - 1 :])
    what_if.work()
    assert len(what_if.copy().waiting) == 10
    assert what_if.curve((), EVERYTHING).frames == BATCH + 10
    assert len(what_if.copy().waiting) == 0


def test_of_too_many_frames_that_wait_the_oldest_are_let_go() -> None:
    frames = seen([facing(n / 100) for n in range(MOST_WAITING + 300)])
    what_if = WhatIf(DIMENSION, 10_000)

    what_if.add(frames[:MOST_WAITING])
    assert len(what_if.copy().waiting) == MOST_WAITING
    what_if.add(frames[MOST_WAITING:])

    assert exemplars(what_if) == counts(frames[300:])
    assert what_if.curve((), EVERYTHING).frames == MOST_WAITING


def test_taking_note_does_not_wait_for_the_gates() -> None:
    what_if = WhatIf(DIMENSION, 100)

    with what_if._deciding:
        assert what_if.add(seen(walk(10, BATCH)))
    assert len(what_if.copy().waiting) == BATCH


def test_several_threads_may_take_note_decide_ask_and_copy_at_once() -> None:
    what_if = WhatIf(DIMENSION, 200)
    pictures = walk(11, 1000)

    def show(stream_id: int) -> None:
        frames = seen(pictures, stream_ids=stream_id)
        for first in range(0, len(frames), 10):
            if what_if.add(frames[first : first + 10]):
                what_if.work()

    def ask(_: int) -> int:
        return max(what_if.curve((0.1, 0.11), EVERYTHING).held for _ in range(50))

    with ThreadPoolExecutor(6) as threads:
        asking = threads.map(ask, range(2))
        assert list(threads.map(show, range(1, 5))) == [None] * 4
        assert max(asking) <= 200
    assert what_if.curve((), EVERYTHING).frames == 4000
    for stream_id in range(1, 5):
        assert what_if.curve((), Scope(stream_ids=frozenset({stream_id}))).frames == 1000


def held_embeddings(what_if: WhatIf) -> set[bytes]:
    state = what_if.copy()
    return {vector.tobytes() for part in (state.gates.entries.frames, state.waiting) for vector in part.vectors}


def as_held(frames: Sequence[SeenFrame]) -> set[bytes]:
    return {frame.embedding.astype(np.float16).tobytes() for frame in frames}


def test_forgetting_lets_go_of_embeddings_rows_and_frames_that_wait() -> None:
    frames = seen(walk(12, 5 * BATCH + 50))
    what_if = shown(frames)
    assert held_embeddings(what_if) == as_held(frames)

    what_if.forget(Scope(BATCH * SECOND_US, (3 * BATCH + 20) * SECOND_US - 1))
    what_if.forget(Scope((5 * BATCH + 20) * SECOND_US))

    left = frames[:BATCH] + frames[3 * BATCH + 20 : 5 * BATCH + 20]
    assert held_embeddings(what_if) == as_held(left)
    assert len(what_if.copy().waiting) == 20
    curve = what_if.curve(THRESHOLDS, EVERYTHING)
    assert curve.frames == 3 * BATCH + 20
    assert 3 * BATCH - 20 < curve.held < 3 * BATCH  # of the last 20, those that were kept at some threshold
    for outcome in curve.outcomes:
        kept, _ = plain(frames[: 5 * BATCH], outcome.threshold)
        whole = sum(kept[:BATCH]) + sum(kept[3 * BATCH :])
        assert whole <= outcome.exemplars <= whole + 20
        assert outcome.error == 0


def test_what_is_left_goes_on_standing_for_frames_and_what_was_forgotten_does_not() -> None:
    frames = seen([facing(0), facing(90)])
    what_if = shown(frames)
    what_if.curve((), EVERYTHING)

    what_if.forget(Scope(0, 0))
    what_if.add(seen([facing(0), facing(90)], from_us=10 * SECOND_US))

    # two rows are left: of the frames at 0 and 1 s, since it is cut, and of the frames at 10 and 11 s
    [outcome] = what_if.curve((0.1,), EVERYTHING).outcomes
    assert outcome.exemplars == 3


def test_forgetting_a_stream_leaves_the_others_as_they_are() -> None:
    frames = two_cameras(13, 1000)
    what_if = shown(frames)
    first = what_if.curve(THRESHOLDS, Scope(stream_ids=frozenset({1})))

    what_if.forget(Scope(stream_ids=frozenset({2})))

    assert held_embeddings(what_if) == as_held([frame for frame in frames if frame.stream_id == 1])
    assert what_if.curve((), Scope(stream_ids=frozenset({2}))).frames == 0
    again = what_if.curve(THRESHOLDS, EVERYTHING)
    assert replace(first, held=0) == replace(again, held=0)
    assert 2 not in what_if.copy().last_captures


def test_after_forgetting_other_thresholds_are_estimates_until_everything_is_forgotten() -> None:
    frames = seen(walk(14, 600))
    what_if = shown(frames, limit=300)

    what_if.forget(Scope(0, 100 * SECOND_US))
    assert what_if.curve((0.12,), EVERYTHING).outcomes[0].error >= 0.03
    what_if.forget(Scope())

    empty = what_if.curve((0.12,), EVERYTHING)
    assert (empty.frames, empty.held, empty.active_us, empty.outcomes[0].exemplars) == (0, 0, 0, 0)
    what_if.add(frames[:250])
    assert exemplars(what_if, (*THRESHOLDS, *OTHERS)) == [
        count
        for _, count in sorted(zip((*THRESHOLDS, *OTHERS), counts(frames[:250], (*THRESHOLDS, *OTHERS)), strict=True))
    ]


def test_forgetting_from_the_oldest_end_again_and_again_keeps_estimates_near_the_truth() -> None:
    frames = seen(walk(15, 6000, step=0.03, returns=0.0))
    what_if = WhatIf(DIMENSION, 500)
    for first in range(0, len(frames), BATCH):
        what_if.add(frames[first : first + BATCH])
        what_if.work()
        what_if.forget(Scope(last_us=(first - 2000) * SECOND_US))

    curve = what_if.curve(THRESHOLDS, EVERYTHING)

    expected = [sum(plain(frames, threshold)[0][-curve.frames :]) for threshold in THRESHOLDS]
    assert 2000 <= curve.frames <= 2000 + 2 * BATCH
    assert [outcome.exemplars for outcome in curve.outcomes] == pytest.approx(expected, rel=0.12, abs=3)


def test_what_was_forgotten_does_not_weigh_in_the_estimates_of_what_comes(revisiting: list[SeenFrame]) -> None:
    what_if = shown(revisiting[: 30 * BATCH], limit=400)

    what_if.forget(Scope(last_us=20 * BATCH * SECOND_US))

    state = what_if.copy()
    assert len(state.rows) == 10
    assert state.gates.over[0]
    np.testing.assert_allclose(state.gates.exemplars, state.rows.total("kept") - state.rows.total("correction"))


def test_an_empty_memory_has_a_curve_of_nothing() -> None:
    curve = WhatIf(DIMENSION, 100).curve((0.1, 0.12), EVERYTHING)

    assert (curve.frames, curve.active_us, curve.held) == (0, 0, 0)
    assert [outcome.threshold for outcome in curve.outcomes] == [0.1, 0.12]
    assert [outcome.exemplars for outcome in curve.outcomes] == [0, 0]


@pytest.mark.parametrize("threshold", [0.0, -0.1, 2.1, float("nan")])
def test_a_threshold_that_no_gate_has_is_refused(threshold: float) -> None:
    with pytest.raises(InvalidThreshold, match="expected a threshold in"):
        WhatIf(DIMENSION, 100).curve((0.1, threshold), EVERYTHING)
