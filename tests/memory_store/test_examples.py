"""Examples of frames that were dropped: a few of each stretch of novelty, and gone with what they show."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store.examples import HELD, Bands, Example, band_of, examples_around
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Verified = Callable[[], Memory]


def _dropped(memory: Memory, scope: Scope | None = None) -> list[Example]:
    return sorted(memory.reading.dropped_examples(scope or Scope()), key=lambda example: example.capture_us)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_stretches_are_in_order_and_novelty_doubles_in_three_of_them(first: float, second: float) -> None:
    low, high = sorted((first, second))

    assert 0 <= band_of(low) <= band_of(high) <= 26
    if low > 0.005 and high <= 1.0:
        assert abs(band_of(high) - band_of(low) - 3 * np.log2(high / low)) <= 1


def test_the_more_frames_there_were_the_fewer_are_taken() -> None:
    bands = Bands()
    taken = [number for number in range(1, 100_001) if bands.takes(0.04)]

    assert taken[:4] == [1, 2, 3, 4]
    assert len(taken) < 70
    assert all(later <= 1.2 * earlier + 1 for earlier, later in pairwise(taken))
    assert bands.takes(0.4)  # each stretch is counted for itself
    assert not bands.copy().takes(0.04)


def test_the_nearest_above_and_at_or_below_a_threshold_are_chosen_nearest_first() -> None:
    pool = [Example(novelty, 1, 1, 0, b"", kept=False) for novelty in (0.3, 0.1, 0.2, 0.05, 0.4)]

    above, below = examples_around(pool, 0.2, 2)

    assert [example.novelty for example in above] == [0.3, 0.4]
    assert [example.novelty for example in below] == [0.2, 0.1]
    assert examples_around(pool, 0.2, 0) == ([], [])
    assert examples_around([], 0.2, 3) == ([], [])


def test_the_latest_taken_of_a_stretch_are_held_with_what_they_were_compared_with(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    seen = [facing(degrees) for degrees in (0, 10, 10, 10, 20, 90, 100)]
    memory.remember(frames(session, seen))

    dropped = _dropped(verified())

    assert [(one.exemplar_id, one.capture_us, one.jpeg) for one in dropped] == [
        (1, 3_000, b"thumbnail 3"),
        (1, 4_000, b"thumbnail 4"),
        (2, 6_000, b"thumbnail 6"),
    ]
    expected = [distance(seen[at], seen[of]) for at, of in ((3, 0), (4, 0), (6, 5))]
    assert [one.novelty for one in dropped] == pytest.approx(expected, abs=1e-9)
    assert not any(one.kept for one in dropped)


def test_many_frames_leave_few_examples(memory: Memory, facing: Facing, frames: Frames) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    made: list[int] = []

    def picture(seq: int) -> bytes:
        made.append(seq)
        return b"%d" % seq

    chance = np.random.default_rng(3)
    sent = frames(session, [facing(degrees) for degrees in [0, *(25 * chance.random(3_000))]])
    for start in range(0, len(sent), 64):
        group = sent[start : start + 64]
        memory.remember([replace(frame, thumbnail=partial(picture, frame.seq)) for frame in group])

    bands = {band_of(example.novelty) for example in _dropped(memory)}
    assert len(_dropped(memory)) <= HELD * len(bands)
    assert len(bands) > 8
    assert len(made) < 45 * len(bands)


def test_examples_are_told_by_stream_and_time(memory: Memory, facing: Facing, frames: Frames) -> None:
    for stream in ("door", "hall"):
        session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
        memory.remember(frames(session, [facing(degrees) for degrees in (0, 4, 8, 16)]))
    hall = frozenset({memory.stream_id("hall")})

    times = [one.capture_us for one in _dropped(memory, Scope(2_000, 3_000, hall))]

    assert times == [2_000, 3_000]
    assert _dropped(memory, Scope(stream_ids=frozenset())) == []


def test_they_go_with_the_range_that_is_forgotten_and_leave_no_bytes(
    memory: Memory, facing: Facing, frames: Frames, folder: Path, verified: Verified
) -> None:
    for stream in ("door", "hall"):
        session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
        sent = frames(session, [facing(degrees) for degrees in (0, 7, 11, 16)])
        memory.remember(
            [replace(one, thumbnail=partial(bytes, f"{stream} picture {one.seq}".encode())) for one in sent]
        )
    pictures = [f"{stream} picture {number}".encode() for stream in ("door", "hall") for number in range(1, 4)]

    def left() -> list[bytes]:
        files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        return [picture for picture in pictures if picture in files]

    assert left() == pictures
    memory.forget(Scope(2_000, 9_000, frozenset({memory.stream_id("door")})))

    assert left() == [picture for picture in pictures if picture not in {b"door picture 2", b"door picture 3"}]
    assert {(one.stream_id, one.capture_us) for one in _dropped(verified())} == {
        *((1, 1_000), (2, 0), (2, 1_000), (2, 2_000), (2, 3_000)),
    }


def test_they_go_with_their_exemplar_when_it_is_recentred_or_gone(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(degrees) for degrees in (0, 4, 90, 98, 0, 16)]))
    assert len(_dropped(memory)) == 4

    memory.forget(Scope(0, 0))  # the own frame of exemplar 1

    assert [(one.exemplar_id, one.capture_us) for one in _dropped(memory)] == [(2, 3_000)]
    memory.forget(Scope(2_000, 2_000))
    assert _dropped(verified()) == []


def test_they_go_with_an_exemplar_that_is_merged_into_another(
    memory: Memory, facing: Facing, frames: Frames, verified: Verified
) -> None:
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(degrees) for degrees in (0, 4, 30, 46)]))

    assert memory.compact(0.2).merged == 1

    assert [(one.exemplar_id, one.capture_us) for one in _dropped(verified())] == [(1, 1_000)]
