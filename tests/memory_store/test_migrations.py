"""A journal of an older schema version is brought to the newest, with all it tells, or is left as it was."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from audit import audit
from briefs import brief
from ledger import Ledger, Sent, cosine_distance
from memory_store import migrations
from memory_store.errors import MemoryUnreadable
from memory_store.hints import Hint, Keep
from memory_store.keeping import Keeping
from memory_store.lesson_rows import Feedback
from memory_store.memory import Memory
from memory_store.migrations import STEPS
from memory_store.records import (
    Clock,
    Embedding,
    Encoded,
    Novel,
    Policy,
    Rejected,
    Repeat,
    Retention,
    Verdict,
    WithheldReason,
)
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from memory_store.verification import verify_folder

DIMENSION = 16
THRESHOLD = 0.1

Frames = Callable[..., list[Encoded]]
Told = Callable[[Memory], list[object]]


@dataclass(slots=True)
class FirstVersion:
    """Writes a journal as version 1 did. Its sessions are 1 and 2, of the streams `door` and `hall`."""

    connection: sqlite3.Connection
    ledger: Ledger
    exemplars: list[Embedding] = field(default_factory=list)
    stays: dict[tuple[int, int], int] = field(default_factory=dict)
    sightings: int = 0
    seqs: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    time_us: int = 0

    def begin(self) -> None:
        self.connection.executescript(f"BEGIN; {STEPS[0]} PRAGMA user_version = 1; COMMIT;")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("INSERT INTO memory VALUES (1, 'encoder/1', ?, 77)", (DIMENSION,))
        self.connection.execute("INSERT INTO policies VALUES (1, NULL, ?, 77)", (THRESHOLD,))
        for number, name in ((1, "door"), (2, "hall")):
            self.connection.execute("INSERT INTO streams VALUES (?, ?, 78)", (number, name))
            self._insert("sessions", number, number, "run-1", 1, 0, 0, None, 0, 0, 0, 0)

    def reject(self, session: int) -> None:
        seq = self._next_seq(session)
        self._insert("frames", session, seq, 3, 0, None, None, None, None)
        self._insert("rejections", session, seq, "BROKEN", "a picture")
        self._count(session, "rejected_frames", 1)
        self.ledger.rejected[session, seq] = Rejected("BROKEN", "a picture")

    def show(self, session: int, exemplar: int, seen: list[Embedding]) -> None:
        """Write a sighting of an exemplar; of a new one, its first frame is the exemplar."""
        first_seq, start_us, self.sightings = self.seqs[session], self.time_us, self.sightings + 1
        mean = np.mean(seen, axis=0, dtype=np.float64).astype(np.float32)
        outcomes = [self._outcome(session, exemplar, embedding) for embedding in seen]
        stay = self.stays.get((session, exemplar), len(self.stays) + 1)
        if (session, exemplar) not in self.stays:
            position = sum(stream == session for stream, _ in self.stays)
            self.stays[session, exemplar] = stay
            self._insert("stays", stay, session, position, exemplar)
        largest = max(one.novelty if isinstance(one, Repeat) else 0.0 for one in outcomes)
        numbers = (self.sightings, stay, session, session, exemplar, 1, THRESHOLD)
        extent = (first_seq, first_seq + len(seen) - 1, start_us, start_us + 1000 * (len(seen) - 1), len(seen))
        self._insert("sightings", *numbers, *extent, largest, mean.tobytes())
        for embedding, outcome in zip(seen, outcomes, strict=True):
            self._frame(session, embedding, outcome)

    def _outcome(self, session: int, exemplar: int, embedding: Embedding) -> Novel | Repeat:
        if exemplar <= len(self.exemplars):
            return Repeat(exemplar, cosine_distance(embedding, self.exemplars[exemplar - 1]))
        nearest = min((cosine_distance(embedding, other) for other in self.exemplars), default=None)
        self.exemplars.append(embedding)
        self._insert("exemplars", exemplar, session, self.seqs[session], self.time_us, embedding.tobytes())
        self._insert("thumbnails", exemplar, b"thumbnail %d" % exemplar)
        return Novel(exemplar, nearest)

    def _frame(self, session: int, embedding: Embedding, outcome: Novel | Repeat) -> None:
        seq, time_us = self._next_seq(session), self.time_us
        kind = 1 if isinstance(outcome, Novel) else 2
        self._insert("frames", session, seq, kind, 0, time_us, time_us, self.sightings, outcome.novelty)
        self._count(session, "novel_frames" if kind == 1 else "repeat_frames", 1)
        self._count(session, "received_bytes", 100)
        self.connection.execute("UPDATE sessions SET last_pts_us = ? WHERE id = ?", (time_us, session))
        self.time_us += 1000
        self.ledger.counted[session, seq] = Sent(
            session, embedding, time_us, Verdict(seq, outcome, 1, time_us, pts_repaired=False)
        )

    def _next_seq(self, session: int) -> int:
        self.seqs[session] += 1
        self._count(session, "next_seq", 1)
        return self.seqs[session] - 1

    def _count(self, session: int, column: str, more: int) -> None:
        self.connection.execute(f"UPDATE sessions SET {column} = {column} + ? WHERE id = ?", (more, session))

    def _insert(self, table: str, *values: object) -> None:
        self.connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def _like(chance: np.random.Generator, scene: Embedding) -> Embedding:
    drawn = scene + 0.05 * chance.normal(size=DIMENSION)
    embedding: Embedding = (drawn / np.linalg.norm(drawn)).astype(np.float32)
    return embedding


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    """A journal of version 1, `m`: 60 sightings of 40 exemplars, all in numbers of float32."""
    (folder / "memories").mkdir(parents=True)
    path = folder / "memories" / "m.sqlite"
    chance = np.random.default_rng(3)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        first = FirstVersion(connection, Ledger(path))
        first.begin()
        connection.execute("BEGIN")
        for number in range(60):
            session = 1 + number % 2
            exemplar = number - number // 3 + 1 if number % 3 < 2 else int(chance.integers(1, len(first.exemplars)))
            fresh = exemplar > len(first.exemplars)
            scene = chance.normal(size=DIMENSION) if fresh else first.exemplars[exemplar - 1]
            scene = (scene / np.linalg.norm(scene)).astype(np.float32)
            count = int(chance.integers(1, 6))
            first.show(session, exemplar, [scene, *(_like(chance, scene) for _ in range(count))][fresh is False :])
            if number % 7 == 6:
                first.reject(session)
        connection.execute("COMMIT")
        assert len(first.exemplars) == 40
    return first.ledger


def _content(path: Path) -> list[object]:
    """All rows of a journal of version 1."""
    tables = ("memory", "streams", "policies", "sessions", "exemplars", "thumbnails", "stays", "sightings", "frames")
    with closing(sqlite3.connect(path)) as connection:
        [(version,)] = connection.execute("PRAGMA user_version")
        return [version, *(connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables)]


def test_all_that_an_older_memory_tells_is_the_same_but_for_the_rounding_of_its_embeddings(
    ledger: Ledger, store: MemoryStore
) -> None:
    before = _content(ledger.path)
    thumbnails = dict(ledger.rows("SELECT * FROM thumbnails"))
    bounds = dict(ledger.rows("SELECT id, largest_novelty FROM sightings"))

    memory = store.get("m")

    audit(memory, ledger)  # every frame of it, and that its distances are restated
    assert before[0] == 1
    assert (memory.identity.encoder_version, memory.identity.dimension, memory.identity.created_us) == (
        "encoder/1",
        DIMENSION,
        77,
    )
    assert len(bytes.fromhex(memory.identity.uuid)) == 16
    assert (memory.policy(), memory.retention) == (Policy(1, THRESHOLD), Retention())
    assert {number: memory.reading.thumbnail(number) for number in thumbnails} == thumbnails
    for one in ledger.sightings():
        assert 0 < one.moved_angle < 1e-3
        assert bounds[one.id] < one.largest < bounds[one.id] + 1e-3
    assert ledger.rows("PRAGMA user_version") == [(len(STEPS),)]
    assert ledger.rows("PRAGMA auto_vacuum") == [(2,)]


def test_an_older_memory_goes_on(
    ledger: Ledger, store: MemoryStore, frames: Frames, told: Told, open_store: Callable[[], MemoryStore]
) -> None:
    memory = store.get("m")
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    assert session.next_seq == ledger.number("SELECT next_seq FROM sessions WHERE id = 1")
    fresh = np.eye(DIMENSION, dtype=np.float32)[:1]
    times = [10**6, 10**6 + 1000]

    [again, new] = ledger.send(memory, frames(session, [memory.embedding(3), fresh[0]], pts_us=times))

    assert again.outcome == Repeat(3, 0.0)
    assert isinstance(new.outcome, Novel)
    assert new.outcome.exemplar_id == 41
    ledger.forget(memory, Scope(20_000, 90_000))
    audit(memory, ledger)
    expected = told(memory)
    memory = open_store().get("m")
    assert told(memory) == expected
    audit(memory, ledger)


@pytest.mark.parametrize("after", [0, 1, 25])
def test_a_step_that_fails_leaves_the_version_before_with_all_its_rows(
    ledger: Ledger, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before, rounded, calls = _content(ledger.path), migrations._rounded, list[bytes]()

    def fail(blob: bytes) -> bytes:
        calls.append(blob)
        if len(calls) > after:
            raise ValueError("injected")
        return rounded(blob)

    with monkeypatch.context() as patched:
        patched.setattr(migrations, "_rounded", fail)
        with pytest.raises(MemoryUnreadable, match=r"m\.sqlite"):
            store.get("m")

    assert len(calls) == after + 1
    assert _content(ledger.path) == before
    audit(store.get("m"), ledger)


def test_a_new_memory_is_of_the_newest_version_and_gives_room_back(store: MemoryStore, folder: Path) -> None:
    store.create("new", "encoder/1", 8, 0.1)
    new = Ledger(folder / "memories" / "new.sqlite")

    assert new.rows("PRAGMA user_version") == [(len(STEPS),)]
    assert new.rows("PRAGMA auto_vacuum") == [(2,)]


@pytest.fixture
def third(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The same journal as version 3 had it: with feedback, and `door` back at the memory's threshold after another."""
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as connection, monkeypatch.context() as patched:
        patched.setattr(migrations, "STEPS", STEPS[:3])
        migrations.migrate(connection)
        connection.execute("INSERT INTO feedback VALUES (1, 500, 3, NULL)")
        connection.execute("INSERT INTO evidence VALUES (1, 1)")
        connection.executemany("INSERT INTO policies VALUES (?, ?, ?, 79)", [(2, 1, 0.2), (3, 1, None), (4, 2, 0.3)])
        for sightings, revision, threshold in (("11 AND 20", 2, 0.2), ("21 AND 99", 1, THRESHOLD)):
            connection.execute(
                "UPDATE sightings SET policy_revision = ?, threshold = ? WHERE stream_id = 1"
                f" AND id BETWEEN {sightings}",
                (revision, threshold),
            )
    return ledger


def _rows_of_the_third(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """All that version 3 knew: its columns of its tables."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for number in range(3):
            for name in ("crc32", "rounding_angle", "rounded"):
                connection.create_function(name, 1, lambda _: b"")
            connection.create_function("moved", 2, lambda *_: 0.0)
            connection.executescript(STEPS[number])
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        columns = {
            table: ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})")) for (table,) in tables
        }
    return {table: ledger.rows(f"SELECT {named} FROM {table} ORDER BY 1, 2") for table, named in columns.items()}


def test_a_memory_of_the_third_version_has_all_it_had_and_no_policy_of_keeping(
    third: Ledger, store: MemoryStore
) -> None:
    before = _rows_of_the_third(third)

    memory = store.get("m")

    assert _rows_of_the_third(third) == before
    assert [memory.keeping(name) for name in (None, "door", "hall")] == [Keeping()] * 3
    assert [memory.policy(name) for name in (None, "door", "hall")] == [
        *(Policy(1, THRESHOLD), Policy(3, THRESHOLD), Policy(4, 0.3)),
    ]
    assert memory.lessons.feedback() == [Feedback(500, 3, (1,))]
    contents = memory.facts().contents
    assert (contents.withheld_frames, contents.rejected_frames) == (0, len(third.rejected))
    listing = memory.reading.exemplars(after=None, limit=99, newest_first=False, thumbnails=True, embeddings=False)
    assert {(one.labels, one.served) for one in listing} == {((), None)}
    curve = memory.curve([THRESHOLD], Scope(), 3)  # over the frames that became exemplars, which are still known
    assert (curve.frames, curve.missing) == (contents.exemplars, len(third.counted) - contents.exemplars)
    assert curve.outcomes[0].error == curve.missing / len(third.counted)


def test_a_memory_of_the_third_version_passes_and_goes_on_with_policies_hints_and_labels(
    third: Ledger, store: MemoryStore, frames: Frames, folder: Path
) -> None:
    memory = store.get("m")
    memory.set_policy("door", keeping=Keeping(max_per_minute=1))
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    fresh = np.eye(DIMENSION, dtype=np.float32)
    sent = frames(session, [fresh[0], fresh[1], fresh[2], memory.embedding(3)], pts_us=[10**9 + n for n in range(4)])
    sent[0] = replace(sent[0], hint=Hint(Keep.ALWAYS, labels=("cat",)))

    verdicts = memory.remember(sent)

    assert [brief(verdict) for verdict in verdicts] == [-41, WithheldReason.MINUTE, WithheldReason.MINUTE, 3]
    assert memory.view(Scope(labels=frozenset({"cat"}))).frame_count == 1
    store.close()
    [verified] = verify_folder(folder, [])
    assert verified.passed, verified.checks


def test_a_fourth_step_that_fails_leaves_the_third_version_with_all_its_rows(
    third: Ledger, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _rows_of_the_third(third)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "STEPS", (*STEPS[:3], STEPS[3] + "SELECT injected();"))
        with pytest.raises(MemoryUnreadable, match="injected"):
            store.get("m")

    assert third.rows("PRAGMA user_version") == [(3,)]
    assert third.rows("SELECT name FROM sqlite_schema WHERE name IN ('withheld', 'examples', 'served')") == []
    assert _rows_of_the_third(third) == before
    assert store.get("m").facts().contents.counted_frames == len(third.counted)
