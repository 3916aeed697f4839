"""What the tests of the store share: small memories, and a camera on a turntable.

The camera faces so many degrees; turning it by a degrees costs a novelty of 1 - cos a, to within 2e-4. At the
threshold of these tests, 0.1, that is 25.8 degrees.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from briefs import brief
from ledger import Ledger
from memory_store.config import MemoryStoreConfig
from memory_store.hints import Hint
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Session
from memory_store.scope import LATEST_US, Scope
from memory_store.store import MemoryStore
from memory_store.verification import verify_folder

DIMENSION = 8


@pytest.fixture(scope="session")
def facing() -> Callable[[float], Embedding]:
    """What the camera sees when it faces so many degrees: as from the encoder, in numbers of float16.

    Four of them stand for the cosine and four for the sine; what rounding takes from one goes to the next, so that
    the length stays 1 to within 1e-4.
    """

    def facing(degrees: float) -> Embedding:
        numbers: list[float] = []
        for part in (np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))):
            carried = 0.0
            for _ in range(DIMENSION // 2):
                numbers.append(float(np.float16(part / 2 + carried)))
                carried += part / 2 - numbers[-1]
        return np.array(numbers, np.float32)

    return facing


@pytest.fixture(scope="session")
def drawn_embeddings() -> Callable[[int, int], NDArray[np.float32]]:
    """Embeddings of width 24 in numbers of float16, some near each other, by number and seed: float32 [K, 24]."""

    def drawn(number: int, seed: int) -> NDArray[np.float32]:
        chance = np.random.default_rng(seed)
        vectors = chance.normal(size=(number, 24))
        vectors[1::3] = vectors[: len(vectors[1::3])] + 0.1 * vectors[1::3]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rounded: NDArray[np.float32] = vectors.astype(np.float16).astype(np.float32)
        return rounded

    return drawn


@pytest.fixture(scope="session")
def frames() -> Callable[..., list[Encoded]]:
    """The next frames of a session, one a millisecond from 0 on if nothing else is said."""

    def frames(
        session: Session,
        embeddings: Sequence[Embedding],
        *,
        first_seq: int | None = None,
        pts_us: Sequence[int] | None = None,
        capture_us: Sequence[int | None] | None = None,
    ) -> list[Encoded]:
        first = session.next_seq if first_seq is None else first_seq
        seqs = range(first, first + len(embeddings))
        times = [1000 * seq for seq in seqs] if pts_us is None else pts_us
        captures = [None] * len(embeddings) if capture_us is None else capture_us
        return [
            Encoded(session.id, seq, pts, capture, 100, embedding, partial(b"thumbnail %d".__mod__, seq))
            for seq, pts, capture, embedding in zip(seqs, times, captures, embeddings, strict=True)
        ]

    return frames


@pytest.fixture(scope="session")
def send(frames: Callable[..., list[Encoded]]) -> Callable[..., None]:
    """Let a stream show pictures, in groups of 50."""

    def send(memory: Memory, seen: Sequence[Embedding], stream: str = "door") -> None:
        session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
        sent = frames(session, seen)
        for start in range(0, len(sent), 50):
            memory.remember(sent[start : start + 50])

    return send


@pytest.fixture(scope="session")
def show(facing: Callable[[float], Embedding], frames: Callable[..., list[Encoded]]) -> Callable[..., list[object]]:
    """Let a stream show directions at seconds of capture time, each in a group of its own or all in one."""

    def show(
        memory: Memory,
        shown: Sequence[tuple[float, float]],
        stream: str = "door",
        *,
        run: str = "run-1",
        hint: Hint | None = None,
        in_one: bool = False,
    ) -> list[object]:
        session = memory.open_session(stream, run, Clock.SOURCE, 0)
        times = [round(second * 1_000_000) for _, second in shown]
        sent = frames(session, [facing(degrees) for degrees, _ in shown], capture_us=times)
        sent = [replace(frame, hint=hint or Hint()) for frame in sent]
        groups = [sent] if in_one else [[frame] for frame in sent]
        return [brief(verdict) for group in groups for verdict in memory.remember(group)]

    return show


@pytest.fixture(scope="session")
def told() -> Callable[[Memory], list[object]]:
    """All that a memory tells, in a form that can be compared; vectors by their bits."""

    def told(memory: Memory) -> list[object]:
        view = memory.view(Scope())
        leaves = view.leaves()
        means = np.concatenate(leaves.means)
        stays = sorted((row, mean.tobytes()) for row, mean in zip(leaves.facts.table.tolist(), means, strict=True))
        facts = memory.facts()
        names = memory.stream_names()
        listing = memory.reading.exemplars(
            after=None, limit=10**6, newest_first=False, thumbnails=True, embeddings=True
        )
        return [
            stays,
            [sorted(nodes.frames.tolist()) for nodes in view.levels()],
            (facts.contents.novel_frames, facts.contents.repeat_frames, facts.contents.rejected_frames),
            (facts.contents.counted_frames, facts.contents.stays, facts.contents.sightings, facts.contents.exemplars),
            (facts.contents.first_us, facts.contents.last_us, facts.contents.received_bytes, facts.policy),
            (facts.contents.forgotten_frames, facts.retention),
            [replace(memory.stream_facts(name), created_us=0) for name in names.values()],
            [memory.timeline(name, -LATEST_US, LATEST_US, None, 10**6) for name in names.values()],
            [
                (kept.facts, kept.stream, kept.session_uuid, kept.seq, kept.capture_us, kept.recentred, kept.thumbnail)
                for kept in listing
            ],
            [None if kept.embedding is None else kept.embedding.tobytes() for kept in listing],
            [memory.reading.verdicts(session, 0, 10**6) for session in range(1, 9)],
        ]

    return told


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder of `store`."""
    return tmp_path / "data"


@pytest.fixture
def open_store(folder: Path) -> Iterator[Callable[[], MemoryStore]]:
    """Open the data folder anew; what was open before is closed first, and in the end."""
    opened: list[MemoryStore] = []

    def open_store() -> MemoryStore:
        for store in opened:
            store.close()
        opened[:] = [MemoryStore(folder, MemoryStoreConfig())]
        return opened[0]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def verified(open_store: Callable[[], MemoryStore], folder: Path) -> Callable[[], Memory]:
    """Close the data folder, see that all that is promised holds for the only memory in it, and open that again."""

    def verified() -> Memory:
        open_store().close()
        [result] = verify_folder(folder, [])
        assert result.passed, result.checks
        return open_store().get(result.memory)

    return verified


@pytest.fixture
def store(open_store: Callable[[], MemoryStore]) -> MemoryStore:
    """A store on an empty data folder."""
    return open_store()


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    """An empty memory, `m`."""
    return store.create("m", "encoder/1", DIMENSION, 0.1)


@pytest.fixture
def ledger(memory: Memory, folder: Path) -> Ledger:
    """Of the frames that are sent to `memory`; empty."""
    return Ledger(folder / "memories" / "m.sqlite")


@pytest.fixture
def door(memory: Memory) -> Session:
    """A session of the stream `door` of `memory`, from time 0 on."""
    return memory.open_session("door", "run-1", Clock.SESSION, 0)
