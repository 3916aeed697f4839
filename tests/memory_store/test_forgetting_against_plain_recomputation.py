"""Lives of memories: frames come, ranges are forgotten, exemplars merged, memories reopened, in any order.

After each step everything must hold that `tests/audit.py` recomputes plainly from the frames that were sent.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import audit, audit_times
from ledger import Ledger
from memory_store import compaction, forest, forgetting, group, loading, removal, view
from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.records import Arrival, Clock, Embedding, Encoded, Rejected, Unusable
from memory_store.scope import EARLIEST_US, LATEST_US, Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Told = Callable[[Memory], list[object]]

SESSIONS = (
    ("door", "run-1", Clock.SESSION),
    ("hall", "run-1", Clock.SOURCE),
    ("door", "run-2", Clock.SOURCE),
    ("yard", "run-1", Clock.SOURCE),
)
"""Their numbers in the memory are 1 to 4; the streams are 1, 2, 1, 3."""

many = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""Each example is a memory on disk that is read many times over."""


@dataclass(frozen=True, slots=True)
class Send:
    """Frames: session, degrees that the camera faces (None: no picture), and how much earlier they were captured."""

    frames: list[tuple[int, int | None, int]]


@dataclass(frozen=True, slots=True)
class Forget:
    """A range, in frames, and the streams."""

    first: int | None
    last: int | None
    streams: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Compact:
    """A threshold."""

    threshold: float


@dataclass(frozen=True, slots=True)
class Reopen:
    """Close the memory and open it."""


Step = Send | Forget | Compact | Reopen

degrees = st.one_of(st.none(), st.sampled_from([0, 8, 16, 24, 90, 98, 106, 180, 200]))
frames = st.tuples(st.integers(0, len(SESSIONS) - 1), degrees, st.sampled_from([0, 0, 0, 1, 3, -7, 40]))
sends = st.builds(Send, st.lists(frames, min_size=1, max_size=25))
ends = st.one_of(st.none(), st.integers(-45, 60))
forgets = st.builds(Forget, ends, ends, st.one_of(st.none(), st.frozensets(st.integers(1, 4), max_size=3)))
steps = st.one_of(
    sends, sends, forgets, forgets, st.builds(Compact, st.sampled_from([0.02, 0.1, 0.3])), st.just(Reopen())
)


@dataclass(slots=True)
class Life:
    """A memory and what was done to it."""

    folder: Path
    facing: Facing
    store: MemoryStore = field(init=False)
    memory: Memory = field(init=False)
    ledger: Ledger = field(init=False)
    seqs: list[int] = field(default_factory=lambda: [0] * len(SESSIONS))
    frames: int = 0

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.folder, MemoryStoreConfig())
        self.memory = self.store.create("m", "encoder/1", 8, 0.1)
        self.ledger = Ledger(self.folder / "memories" / "m.sqlite")
        self._open_sessions()

    def _open_sessions(self) -> None:
        for (stream, uuid, clock), seq in zip(SESSIONS, self.seqs, strict=True):
            assert self.memory.open_session(stream, uuid, clock, 0).next_seq == seq

    def send(self, shown: Sequence[tuple[int, int | None, int]]) -> None:
        arrivals: list[Arrival] = []
        for session, degrees, earlier in shown:
            seq, time_us = self.seqs[session], 10 * self.frames
            if degrees is None:
                arrivals.append(Unusable(session + 1, seq, 1, Rejected("BROKEN", "expected a picture")))
            else:
                captured_us = time_us - 10 * earlier if SESSIONS[session][2] is Clock.SOURCE else None
                seen = self.facing(degrees)
                arrivals.append(Encoded(session + 1, seq, time_us, captured_us, 1, seen, lambda: b"jpeg"))
            self.seqs[session] += 1
            self.frames += 1
        self.ledger.send(self.memory, arrivals)

    def forget(self, scope: Scope) -> None:
        self.ledger.forget(self.memory, scope)
        assert self.memory.view(scope).leaves().facts.column("frames").sum() == 0

    def compact(self, threshold: float) -> None:
        before = self.memory.facts().contents.exemplars
        counts = self.memory.compact(threshold)
        assert (counts.exemplars, self.memory.facts().contents.exemplars) == (before - counts.merged,) * 2

    def reopen(self) -> None:
        self.store.close()
        self.store = MemoryStore(self.folder, MemoryStoreConfig())
        self.memory = self.store.get("m")
        self._open_sessions()

    def live(self, step: Step) -> None:
        match step:
            case Send(frames):
                self.send(frames)
            case Forget(first, last, streams):
                first_us = EARLIEST_US if first is None else 10 * first
                self.forget(Scope(first_us, LATEST_US if last is None else 10 * last, streams))
            case Compact(threshold):
                self.compact(threshold)
            case Reopen():
                self.reopen()


@contextmanager
def _small(block_size: int, sightings: int, merges: int, longest: int) -> Iterator[None]:
    """Let what takes thousands of frames to show take few."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (forest, group, loading, compaction, view):
            patched.setattr(module, "BLOCK_SIZE", block_size)
        for sized in (group, forgetting, compaction):
            patched.setattr(sized, "LONGEST_SIGHTING_FRAMES", longest)
        patched.setattr(forgetting, "_SIGHTINGS", sightings)
        patched.setattr(removal, "_MERGES", merges)
        yield


@given(
    lived=st.lists(steps, min_size=2, max_size=9),
    block_size=st.sampled_from([3, 100]),
    sightings=st.sampled_from([1, 3, 128]),
    merges=st.sampled_from([1, 16]),
    longest=st.sampled_from([4, 32_768]),
)
@many
def test_whatever_is_done_every_frame_is_accounted_for_and_told_as_it_was(
    facing: Facing, told: Told, lived: list[Step], block_size: int, sightings: int, merges: int, longest: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, _small(block_size, sightings, merges, longest):
        life = Life(Path(folder), facing)
        try:
            for step in lived:
                life.live(step)
                audit(life.memory, life.ledger, block_size)
            audit_times(life.memory, life.ledger, range(-410, 10 * life.frames + 10, 90))
            before, kept = told(life.memory), _index(life.memory)
            life.reopen()
            assert told(life.memory) == before
            assert _index(life.memory) == kept
        finally:
            life.store.close()


@given(
    lived=st.lists(steps, min_size=1, max_size=6),
    scope=st.tuples(st.integers(-45, 60), st.integers(0, 60)),
    sightings=st.sampled_from([1, 3]),
)
@many
def test_into_how_many_steps_forgetting_is_cut_does_not_show(
    facing: Facing, told: Told, lived: list[Step], scope: tuple[int, int], sightings: int
) -> None:
    results = []
    for number in (sightings, 128):
        with tempfile.TemporaryDirectory() as folder, _small(3, number, 16, 32_768):
            life = Life(Path(folder), facing)
            try:
                for step in lived:
                    life.live(step)
                counts = life.memory.forget(Scope(10 * scope[0], 10 * (scope[0] + scope[1])))
                results.append((counts, told(life.memory), _index(life.memory)))
            finally:
                life.store.close()

    assert results[0] == results[1]


def _index(memory: Memory) -> list[tuple[int, bytes]]:
    return [(found, memory.embedding(found).tobytes()) for found in memory._state.upkeep.ids().tolist()]
