"""A memory against the same rules written down plainly: loops over all frames, in float64, nothing incremental.

Random walks of several sessions over two streams, cut into groups at random, with rejected frames between.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Arrival, Clock, Embedding, Encoded, Novel, Outcome, Rejected, Repeat, Unusable
from memory_store.scope import Scope
from memory_store.store import MemoryStore

THRESHOLD = 0.1
DIMENSION = 4
BLOCK_SIZE = 100

SESSIONS = (("door", "run-1", Clock.SESSION), ("hall", "run-1", Clock.SOURCE), ("door", "run-2", Clock.SESSION))
"""Their numbers in the memory are 1, 2, 3; the streams are 1, 2, 1."""

STREAMS = ("door", "hall")
"""Their numbers are 1 and 2."""

a_few = settings(max_examples=8, deadline=None, derandomize=True)
"""Each example is a memory on disk."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame of a random walk."""

    session: int
    embedding: Embedding | None
    capture_us: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Where a frame went by the plain rules."""

    shot: Shot
    stream: int
    exemplar: int
    position: int
    sighting: int


def _walk(seed: int, frames: int, *, late: bool) -> list[Shot]:
    """Sessions that turn to and fro and sometimes jump back to where one of them has been before."""
    random = np.random.default_rng(seed)
    at = random.normal(size=(len(SESSIONS), DIMENSION))
    places = [at[0]]
    shots = []
    for number in range(frames):
        session = int(random.integers(len(SESSIONS)))
        if random.random() < 0.15:
            at[session] = places[random.integers(len(places))]
        elif random.random() < 0.15:
            at[session] = random.normal(size=DIMENSION)
            places.append(at[session].copy())
        at[session] += random.normal(size=DIMENSION) * 0.1 * np.linalg.norm(at[session])
        embedding = (at[session] / np.linalg.norm(at[session])).astype(np.float32)
        capture = 10 * number
        if late and session == 1:
            capture += int(random.integers(-40, 40)) * 10 + 5
        shots.append(Shot(session, None if random.random() < 0.05 else embedding, capture))
    return shots


def _arrivals(shots: Sequence[Shot]) -> list[Arrival]:
    seqs = [0] * len(SESSIONS)
    arrivals: list[Arrival] = []
    for shot in shots:
        seq, number = seqs[shot.session], shot.session + 1
        seqs[shot.session] += 1
        if shot.embedding is None:
            arrivals.append(Unusable(number, seq, 1, Rejected("BROKEN", "expected a picture")))
        else:
            capture = shot.capture_us if SESSIONS[shot.session][2] is Clock.SOURCE else None
            arrivals.append(Encoded(number, seq, shot.capture_us, capture, 1, shot.embedding, lambda: b"jpeg"))
    return arrivals


@contextmanager
def _memory() -> Iterator[Memory]:
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore(Path(folder), MemoryStoreConfig())
        memory = store.create("m", "encoder/1", DIMENSION, THRESHOLD)
        for stream, uuid, clock in SESSIONS:
            memory.open_session(stream, uuid, clock, 0)
        try:
            yield memory
        finally:
            store.close()


def _send(memory: Memory, shots: Sequence[Shot], group_sizes: Iterator[int]) -> list[Outcome]:
    arrivals = _arrivals(shots)
    outcomes: list[Outcome] = []
    while arrivals:
        size = next(group_sizes)
        outcomes += [verdict.outcome for verdict in memory.remember(arrivals[:size])]
        arrivals = arrivals[size:]
    return outcomes


def _sizes(seed: int) -> Iterator[int]:
    random = np.random.default_rng(seed)
    largest = int(random.choice([8, 30, 1000]))
    while True:
        yield int(random.integers(1, largest + 1))


def _replayed(shots: Sequence[Shot], block_size: int) -> tuple[list[Outcome], list[Counted]]:
    exemplars: list[Embedding] = []
    current: dict[int, Counted] = {}
    positions: dict[int, list[int]] = {1: [], 2: []}  # by stream, the exemplar of each stay
    outcomes: list[Outcome] = []
    counted: list[Counted] = []
    sightings = 0
    for shot in shots:
        if shot.embedding is None:
            outcomes.append(Rejected("BROKEN", "expected a picture"))
            continue
        distances = [distance(shot.embedding, other) for other in exemplars]
        last = current.get(shot.session)
        if last is not None and distances[last.exemplar - 1] <= THRESHOLD:
            exemplar = last.exemplar
            outcomes.append(Repeat(exemplar, distances[exemplar - 1]))
        elif distances and min(distances) <= THRESHOLD:
            exemplar = distances.index(min(distances)) + 1
            outcomes.append(Repeat(exemplar, distances[exemplar - 1]))
        else:
            exemplars.append(_rounded(shot.embedding))
            exemplar = len(exemplars)
            outcomes.append(Novel(exemplar, min(distances, default=None)))
        stream = 1 if SESSIONS[shot.session][0] == "door" else 2
        stays = positions[stream]
        opened = max(0, len(stays) - 1) // block_size * block_size
        if exemplar in stays[opened:]:
            position = stays.index(exemplar, opened)
        else:
            position = len(stays)
            stays.append(exemplar)
        if last is None or (last.exemplar, last.position) != (exemplar, position):
            sightings += 1
            sighting = sightings
        else:
            sighting = last.sighting
        current[shot.session] = Counted(shot, stream, exemplar, position, sighting)
        counted.append(current[shot.session])
    return outcomes, counted


def _rounded(embedding: Embedding) -> Embedding:
    """An exemplar is kept in numbers of float16; frames are measured against it as it is kept."""
    rounded: Embedding = embedding.astype(np.float16).astype(np.float32)
    return rounded


def _within(counted: Sequence[Counted], scope: Scope) -> dict[tuple[int, int], list[Counted]]:
    """Frames within a scope by stream and position."""
    stays: dict[tuple[int, int], list[Counted]] = {}
    for frame in counted:
        in_time = scope.first_us <= frame.shot.capture_us <= scope.last_us
        if in_time and (scope.stream_ids is None or frame.stream in scope.stream_ids):
            stays.setdefault((frame.stream, frame.position), []).append(frame)
    return stays


def _check_mean(mean: Embedding, frames: Sequence[Counted], everything: Sequence[Counted]) -> None:
    """Whole sightings count as they are, cut ones by what is on record of their frames, which is rounded."""
    whole = {sighting: sum(frame.sighting == sighting for frame in everything) for sighting in _sightings(frames)}
    is_cut = any(whole[sighting] != sum(f.sighting == sighting for f in frames) for sighting in whole)
    shown = [frame.shot.embedding for frame in frames if frame.shot.embedding is not None]
    assert len(shown) == len(frames)
    expected = np.mean(shown, axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean, expected, atol=0.01 if is_cut else 1e-6)


def _sightings(frames: Sequence[Counted]) -> set[int]:
    return {frame.sighting for frame in frames}


def _rows(memory: Memory, scope: Scope) -> dict[tuple[int, int], tuple[tuple[int, ...], Embedding]]:
    """A view by stream and position: exemplar, frames, first and last time, and the mean."""
    view = memory.view(scope)
    means = np.concatenate(view.leaves().means)
    table = view.leaves().facts.table.tolist()
    return {(row[1], row[2]): (tuple(row[3:]), mean) for row, mean in zip(table, means, strict=True)}


def _check_view(memory: Memory, counted: Sequence[Counted], scope: Scope) -> None:
    expected, found = _within(counted, scope), _rows(memory, scope)
    assert found.keys() == expected.keys()
    for place, frames in expected.items():
        times = [frame.shot.capture_us for frame in frames]
        facts, mean = found[place]
        assert facts == (frames[0].exemplar, len(frames), min(times), max(times))
        _check_mean(mean, frames, counted)


@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 150))
@a_few
def test_verdicts_stays_and_means_are_those_of_the_plain_rules(seed: int, frames: int) -> None:
    shots = _walk(seed, frames, late=True)
    expected, counted = _replayed(shots, BLOCK_SIZE)
    with _memory() as memory:
        assert _send(memory, shots, _sizes(seed)) == expected

        _check_view(memory, counted, Scope())
        contents = memory.facts().contents
        assert contents.sightings == max((frame.sighting for frame in counted), default=0)
        assert contents.counted_frames == contents.novel_frames + contents.repeat_frames == len(counted)
        assert contents.rejected_frames == frames - len(counted)
        for number, (stream, _, _) in enumerate(SESSIONS[:2], 1):
            of_stream = memory.stream_facts(stream).contents
            assert of_stream.counted_frames == sum(frame.stream == number for frame in counted)
            assert of_stream.novel_frames + of_stream.repeat_frames == of_stream.counted_frames
            sent = sum(SESSIONS[shot.session][0] == stream for shot in shots)
            assert of_stream.counted_frames + of_stream.rejected_frames == of_stream.received_bytes == sent


@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 150))
@a_few
def test_how_frames_are_grouped_changes_nothing_to_the_last_bit(
    told: Callable[[Memory], list[object]], seed: int, frames: int
) -> None:
    shots = _walk(seed, frames, late=True)
    results = []
    for sizes in (iter([frames]), iter([1] * frames), _sizes(seed)):
        with _memory() as memory:
            outcomes = _send(memory, shots, sizes)
            results.append((outcomes, told(memory)))

    assert results[0] == results[1]
    assert results[0] == results[2]


@given(seed=st.integers(0, 2**32 - 1))
@a_few
def test_every_repeat_is_within_the_threshold_of_its_exemplar_as_stored(seed: int) -> None:
    shots = _walk(seed, 200, late=False)
    with _memory() as memory:
        outcomes = _send(memory, shots, _sizes(seed))

        listing = memory.reading.exemplars(after=None, limit=999, newest_first=False, thumbnails=False, embeddings=True)
        stored = {kept.facts.exemplar_id: kept.embedding for kept in listing}
        for shot, outcome in zip(shots, outcomes, strict=True):
            if isinstance(outcome, Repeat):
                embedding = stored[outcome.exemplar_id]
                assert embedding is not None
                assert shot.embedding is not None
                one, other = embedding.astype(np.float64), shot.embedding.astype(np.float64)
                exact = 1 - float(np.dot(one, other)) / float(np.linalg.norm(one) * np.linalg.norm(other))
                assert exact <= THRESHOLD
                assert outcome.novelty == pytest.approx(exact, abs=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1), first=st.integers(-60, 260), length=st.integers(0, 300), streams=st.integers(0, 3)
)
@a_few
def test_a_scope_counts_exactly_the_frames_within_it(seed: int, first: int, length: int, streams: int) -> None:
    shots = _walk(seed, 200, late=True)
    _, counted = _replayed(shots, BLOCK_SIZE)
    chosen = [frozenset({1}), frozenset({2}), frozenset({1, 2}), None][streams]
    with _memory() as memory:
        _send(memory, shots, _sizes(seed))

        for scope in (
            Scope(10 * first, 10 * (first + length), chosen),
            Scope(last_us=10 * first, stream_ids=chosen),
            Scope(first_us=10 * first, stream_ids=chosen),
        ):
            _check_view(memory, counted, scope)


@given(seed=st.integers(0, 2**32 - 1), first=st.integers(-60, 260), length=st.integers(0, 300))
@a_few
def test_the_sightings_of_an_exemplar_are_cut_to_the_scope(seed: int, first: int, length: int) -> None:
    shots = _walk(seed, 200, late=True)
    _, counted = _replayed(shots, BLOCK_SIZE)
    scope = Scope(10 * first, 10 * (first + length), frozenset({1}))
    expected: dict[int, dict[int, list[int]]] = {}
    for frame in [frame for frames in _within(counted, scope).values() for frame in frames]:
        expected.setdefault(frame.exemplar, {}).setdefault(frame.sighting, []).append(frame.shot.capture_us)
    with _memory() as memory:
        _send(memory, shots, _sizes(seed))

        for exemplar, sightings in expected.items():
            facts, shown = memory.sightings(exemplar, scope)
            assert {each.id: (each.start_us, each.end_us, each.frames) for each in shown} == {
                sighting: (min(times), max(times), len(times)) for sighting, times in sightings.items()
            }
            times = [time for each in sightings.values() for time in each]
            assert (facts.first_us, facts.last_us, facts.frames) == (min(times), max(times), len(times))
            assert facts.duration_us == sum(max(each) - min(each) for each in sightings.values())


@given(seed=st.integers(0, 2**32 - 1), time=st.integers(0, 99))
@a_few
def test_what_a_past_time_shows_does_not_change_when_later_frames_come(seed: int, time: int) -> None:
    shots = _walk(seed, 300, late=False)  # 100 to 200 frames came since: what sightings grew over that time, did so
    with _memory() as memory:
        _send(memory, shots[:200], _sizes(seed))
        before = _rows(memory, Scope(last_us=10 * time))
        memory.remember(_arrivals(shots)[200:])

        after = _rows(memory, Scope(last_us=10 * time))

    assert {place: (facts, mean.tobytes()) for place, (facts, mean) in after.items()} == {
        place: (facts, mean.tobytes()) for place, (facts, mean) in before.items()
    }


@given(seed=st.integers(0, 2**32 - 1))
@a_few
def test_any_time_names_the_exemplar_of_the_last_frame_before_it(seed: int) -> None:
    shots = [shot for shot in _walk(seed, 200, late=False) if shot.session != 2]  # one session a stream
    _, counted = _replayed(shots, BLOCK_SIZE)
    with _memory() as memory:
        _send(memory, shots, _sizes(seed))

        _check_moments(memory, counted)


@given(seed=st.integers(0, 2**32 - 1))
@a_few
def test_any_time_names_the_exemplar_of_the_last_frame_before_it_when_sessions_overlap_and_frames_are_late(
    seed: int,
) -> None:
    shots = _walk(seed, 200, late=True)
    _, counted = _replayed(shots, BLOCK_SIZE)
    with _memory() as memory:
        _send(memory, shots, _sizes(seed))

        _check_moments(memory, counted)


def _check_moments(memory: Memory, counted: Sequence[Counted]) -> None:
    for stream in {frame.stream for frame in counted}:
        of_stream = [frame for frame in counted if frame.stream == stream]
        by_time: dict[int, set[int]] = {}
        for frame in of_stream:
            by_time.setdefault(frame.shot.capture_us, set()).add(frame.exemplar)
        for time in range(min(by_time), 2010, 31):
            last = max(capture for capture in by_time if capture <= time)
            assert memory.exemplar_at(STREAMS[stream - 1], time) in by_time[last]
