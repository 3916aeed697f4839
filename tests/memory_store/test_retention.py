"""How long a memory keeps what it saw: after tidying its limits hold, and the newest is what is kept."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from audit import audit
from ledger import Ledger
from memory_store.errors import InvalidRetention, StoreUnavailable
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, ForgottenCounts, Retention
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from scenes import drawn

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]

SECOND = 1_000_000


@pytest.fixture
def hour(memory: Memory, ledger: Ledger, facing: Facing, frames: Frames) -> Memory:
    """A frame a minute for an hour; another scene every three minutes, none comes back."""
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    seen = [facing(17 * (number // 3)) for number in range(60)]
    memory.set_threshold(None, 0.02)
    ledger.send(memory, frames(session, seen, pts_us=[60 * SECOND * number for number in range(60)]))
    assert memory.facts().contents.exemplars == 20
    return memory


def test_a_memory_without_limits_keeps_everything(hour: Memory, told: Told) -> None:
    before = told(hour)

    assert hour.retention == Retention()
    assert hour.tidy(10**18) == ForgottenCounts()

    assert told(hour) == before


def test_frames_beyond_an_age_are_forgotten(hour: Memory, ledger: Ledger) -> None:
    hour.set_retention(Retention(max_age_us=600 * SECOND))
    now_us = 3600 * SECOND

    counts = hour.tidy(now_us)

    contents = hour.facts().contents
    assert (contents.first_us, contents.last_us) == (3000 * SECOND, 3540 * SECOND)
    assert (counts.frames, contents.counted_frames) == (50, 10)
    assert hour.tidy(now_us) == ForgottenCounts()
    assert hour.tidy(now_us + 1).frames == 1
    ledger.take_note(hour)
    audit(hour, ledger)


def test_a_camera_that_always_shows_the_same_is_held_to_an_age_too(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    """Tidied again and again while frames come in: the exemplar stands on, as the mean of what is left."""
    memory.set_retention(Retention(max_age_us=20 * SECOND))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    for number in range(100):
        sent = frames(session, [facing(number / 20)], first_seq=number, pts_us=[SECOND * number])
        ledger.send(memory, sent)
        if number % 10 == 9:
            memory.tidy(SECOND * number)
            ledger.take_note(memory)
            audit(memory, ledger)

    contents = memory.facts().contents
    assert (contents.exemplars, contents.first_us, contents.counted_frames) == (1, 79 * SECOND, 21)
    assert memory.reading.exemplar(1, thumbnail=False, embedding=False).recentred


@pytest.mark.parametrize("limit", [1, 2, 19])
def test_beyond_a_number_of_exemplars_those_seen_longest_ago_are_forgotten(
    hour: Memory, ledger: Ledger, limit: int
) -> None:
    hour.set_retention(Retention(max_exemplars=limit))

    hour.tidy(0)

    kept = [row[0] for row in ledger.rows("SELECT id FROM exemplars ORDER BY id")]
    assert 0 < len(kept) <= limit or limit == 1
    assert len(kept) >= limit - 2  # some room, so that the next exemplar is not beyond it again
    assert kept == list(range(21 - len(kept), 21))
    assert hour.tidy(0) == ForgottenCounts()
    ledger.take_note(hour)
    audit(hour, ledger)


def test_an_exemplar_that_came_back_is_kept_as_long_as_it_was_seen(
    hour: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    session = hour.open_session("door", "run-1", Clock.SESSION, 0)
    ledger.send(hour, frames(session, [facing(0)], pts_us=[3600 * SECOND]))
    hour.set_retention(Retention(max_exemplars=10))

    hour.tidy(0)

    kept = [row[0] for row in ledger.rows("SELECT id FROM exemplars ORDER BY id")]
    assert kept == [1, 13, 14, 15, 16, 17, 18, 19, 20]
    ledger.take_note(hour)
    audit(hour, ledger)


@pytest.fixture
def heavy(memory: Memory, ledger: Ledger, frames: Frames) -> Memory:
    """200 scenes with thumbnails of 10 kB, one a second."""
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    chance = np.random.default_rng(1)
    memory.set_threshold(None, 1e-4)
    seen = [drawn(chance, 8) for _ in range(200)]
    sent = frames(session, seen, pts_us=[SECOND * number for number in range(200)])
    jpegs = [chance.bytes(10_000) for _ in sent]
    arrivals = [
        Encoded(one.session_id, one.seq, one.pts_us, None, 1, one.embedding, partial(bytes, jpeg))
        for one, jpeg in zip(sent, jpegs, strict=True)
    ]
    for start in range(0, 200, 20):
        ledger.send(memory, arrivals[start : start + 20])
    return memory


def test_beyond_a_number_of_bytes_the_oldest_is_forgotten_and_not_much_more(heavy: Memory, ledger: Ledger) -> None:
    heavy.forget(Scope(first_us=10**15))  # folds the log into the file
    used = heavy.facts().contents.stored_bytes
    limit = used * 6 // 10
    heavy.set_retention(Retention(max_bytes=limit))

    heavy.tidy(0)

    contents = heavy.facts().contents
    assert 0.75 * limit < contents.stored_bytes <= limit
    assert contents.last_us == 199 * SECOND
    assert contents.first_us == (200 - contents.counted_frames) * SECOND
    assert heavy.tidy(0) == ForgottenCounts()
    ledger.take_note(heavy)
    audit(heavy, ledger)


def test_what_the_write_ahead_log_has_twice_does_not_count(heavy: Memory) -> None:
    heavy.forget(Scope(first_us=10**15))
    limit = heavy.facts().contents.stored_bytes + 500_000
    for number in range(200):  # writes the same page again and again
        heavy.set_retention(Retention(max_exemplars=1000 + number, max_bytes=limit))
    assert heavy.facts().contents.stored_bytes > limit

    assert heavy.tidy(0) == ForgottenCounts()

    assert heavy.facts().contents.stored_bytes < limit


def test_a_few_scenes_shown_for_long_lose_their_past_and_not_their_present(
    memory: Memory, ledger: Ledger, facing: Facing, frames: Frames
) -> None:
    """What grows here is the number of frames; all exemplars were seen a moment ago."""
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    seen = [facing(120 * (number // 20 % 3)) for number in range(6000)]
    memory.remember(frames(session, seen, pts_us=[SECOND * number for number in range(6000)]))
    memory.forget(Scope(first_us=10**15))
    used = memory.facts().contents.stored_bytes
    memory.set_retention(Retention(max_bytes=used * 8 // 10))

    memory.tidy(0)

    contents = memory.facts().contents
    assert contents.stored_bytes <= used * 8 // 10
    assert (contents.exemplars, contents.last_us) == (3, 5999 * SECOND)
    assert contents.counted_frames > 3000


def test_a_limit_that_nothing_meets_leaves_an_empty_memory(hour: Memory, ledger: Ledger) -> None:
    hour.set_retention(Retention(max_bytes=1))

    counts = hour.tidy(0)

    assert counts.frames == 60
    ledger.take_note(hour)
    audit(hour, ledger)


def test_the_strictest_of_several_limits_decides(hour: Memory) -> None:
    hour.set_retention(Retention(max_age_us=1800 * SECOND, max_exemplars=5))
    hour.tidy(3600 * SECOND)
    assert hour.facts().contents.exemplars <= 5

    hour.set_retention(Retention(max_age_us=120 * SECOND, max_exemplars=5))
    hour.tidy(3600 * SECOND)
    assert hour.facts().contents.first_us == 3480 * SECOND


@pytest.mark.parametrize("limit", [0, -1, 2**63])
@pytest.mark.parametrize("name", ["max_age_us", "max_exemplars", "max_bytes"])
def test_limits_that_nothing_could_meet_are_refused_by_name(name: str, limit: int) -> None:
    with pytest.raises(InvalidRetention, match=f"{name}: expected at least 1, got {limit}"):
        Retention(**{name: limit})


def test_limits_are_in_force_after_reopening_and_are_changed_as_a_whole(
    open_store: Callable[[], MemoryStore], told: Told
) -> None:
    store = open_store()
    memory = store.create("m", "encoder/1", 8, 0.1)
    assert store.names_to_tidy() == []
    memory.set_retention(Retention(max_age_us=5, max_exemplars=6))
    memory.set_retention(Retention(max_age_us=7, max_bytes=8))

    store = open_store()

    assert store.names_to_tidy() == ["m"]
    assert store.get("m").retention == store.get("m").facts().retention == Retention(max_age_us=7, max_bytes=8)
    store.get("m").set_retention(Retention())
    assert store.names_to_tidy() == []


def test_limits_that_the_disk_refuses_are_not_in_force(memory: Memory) -> None:
    memory.set_retention(Retention(max_exemplars=6))
    memory._journal.connection.execute("PRAGMA query_only = ON")

    with pytest.raises(StoreUnavailable, match="refused"):
        memory.set_retention(Retention(max_exemplars=5))

    memory._journal.connection.execute("PRAGMA query_only = OFF")
    assert memory.retention == Retention(max_exemplars=6)
