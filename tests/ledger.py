"""A ledger of every frame that was sent to a memory, and of those that it was to forget. `audit` checks it by that."""

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from memory_store.memory import Memory
from memory_store.records import Arrival, Embedding, Encoded, Forgotten, Novel, Rejected, Repeat, Verdict
from memory_store.scope import Scope

Key = tuple[int, int]
"""Session and number of a frame."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that was counted when it was sent."""

    stream: int
    embedding: Embedding
    capture_us: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Row:
    """A sighting as the journal has it."""

    id: int
    stay: int
    stream: int
    session: int
    exemplar: int
    threshold: float
    first_seq: int
    last_seq: int
    start_us: int
    end_us: int
    frames: int
    largest: float
    moved_angle: float
    cut: int
    mean: bytes

    def total(self) -> NDArray[np.float64]:
        """Sum of the embeddings, as far as is known."""
        return np.frombuffer(self.mean, "<f4").astype(np.float64) * self.frames

    def has(self, key: Key) -> bool:
        """Tell whether a frame lies between its first and its last."""
        return key[0] == self.session and self.first_seq <= key[1] <= self.last_seq


def cosine_distance(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return 1 - float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def verdict_of(memory: Memory, key: Key) -> Verdict:
    """Ask a memory what became of a frame."""
    [verdict] = memory.reading.verdicts(key[0], key[1], key[1])
    return verdict


def exemplar_of(verdict: Verdict) -> int:
    """Give the exemplar that a frame counts towards."""
    assert isinstance(verdict.outcome, Novel | Repeat)
    return verdict.outcome.exemplar_id


@dataclass(slots=True)
class Ledger:
    """All frames that were sent to one memory."""

    path: Path
    """Of its journal."""

    counted: dict[Key, Sent] = field(default_factory=dict)
    """Frames that were counted when they were sent."""

    rejected: dict[Key, Rejected] = field(default_factory=dict)
    """Frames that were not."""

    forgotten: set[Key] = field(default_factory=set)
    """Counted frames that were forgotten since."""

    def send(self, memory: Memory, arrivals: Sequence[Arrival]) -> list[Verdict]:
        """Let the memory decide on frames; a repeat must be within the threshold of its exemplar as it is then."""
        verdicts = memory.remember(arrivals)
        self.record(arrivals, verdicts)
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            if isinstance(arrival, Encoded):
                away = cosine_distance(arrival.embedding, memory.embedding(exemplar_of(verdict)))
                assert away <= memory.policy().threshold + 1e-9
                if isinstance(verdict.outcome, Repeat):
                    assert verdict.outcome.novelty == pytest.approx(away, abs=1e-9)
        return verdicts

    def record(self, arrivals: Sequence[Arrival], verdicts: Sequence[Verdict]) -> None:
        """Take note of what a memory decided."""
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            key = (arrival.session_id, arrival.seq)
            if isinstance(verdict.outcome, Rejected):
                self.rejected[key] = verdict.outcome
                continue
            assert isinstance(arrival, Encoded)
            assert verdict.capture_us is not None
            stream = self.number("SELECT stream_id FROM sessions WHERE id = ?", arrival.session_id)
            self.counted[key] = Sent(stream, arrival.embedding, verdict.capture_us, verdict)

    def left(self) -> dict[Key, Sent]:
        """Counted frames that were not forgotten."""
        return {key: sent for key, sent in self.counted.items() if key not in self.forgotten}

    def within(self, scope: Scope) -> set[Key]:
        """Those of them that lie within a scope."""
        return {
            key
            for key, sent in self.left().items()
            if scope.first_us <= sent.capture_us <= scope.last_us
            and (scope.stream_ids is None or sent.stream in scope.stream_ids)
        }

    def forget(self, memory: Memory, scope: Scope) -> set[Key]:
        """Let the memory forget a scope, and check what it did; the frames that it forgot beyond the scope.

        Beyond it only what nothing could stand for any more: of an exemplar that lost its own frame, and all of whose
        frames that are left were cut before.
        """
        expected, before = self.within(scope), self.sightings()
        own = {row[0]: (row[1], row[2]) for row in self.rows("SELECT id, session_id, seq FROM exemplars")}
        losing = {exemplar for exemplar, key in own.items() if key in expected}
        counts = memory.forget(scope)
        beyond = self.take_note(memory) - expected
        assert expected <= self.forgotten
        assert counts.frames == len(expected | beyond)
        after = self.sightings()
        exemplars = {one.exemplar for one in after}
        assert counts.exemplars == len({one.exemplar for one in before} - exemplars)
        for key in beyond:
            [of] = [one for one in before if one.has(key)]
            assert of.cut
            assert of.exemplar in losing - exemplars
        for exemplar in losing & exemplars:
            self._check_recentred(memory, exemplar, [one for one in after if one.exemplar == exemplar])
        return beyond

    def take_note(self, memory: Memory) -> set[Key]:
        """Take note of the frames of which a memory says that it forgot them; those that were not known for it."""
        told = {key for key in self.counted if isinstance(verdict_of(memory, key).outcome, Forgotten)}
        assert told >= self.forgotten
        known, self.forgotten = self.forgotten, told
        return told - known

    def _check_recentred(self, memory: Memory, exemplar: int, sightings: Sequence[Row]) -> None:
        """An exemplar that lost its own frame is the mean of its sightings that lost nothing, where there are any."""
        assert self.number("SELECT recentred FROM exemplars WHERE id = ?", exemplar) == 1
        whole = [one for one in sightings if not one.cut]
        embeddings = [sent.embedding for key, sent in self.counted.items() if any(one.has(key) for one in whole)]
        if embeddings:
            mean = np.mean(embeddings, axis=0, dtype=np.float64)
            expected = (mean / np.linalg.norm(mean)).astype(np.float16)
            np.testing.assert_allclose(memory.embedding(exemplar), expected, rtol=2**-10, atol=2**-24)

    def sightings(self) -> list[Row]:
        """Read all sightings of the journal."""
        columns = "id, stay_id, stream_id, session_id, exemplar_id, threshold, first_seq, last_seq, start_us, end_us"
        rows = self.rows(f"SELECT {columns}, frames, largest_novelty, moved_angle, cut, mean FROM sightings")
        return [Row(*row) for row in rows]

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the journal, over a connection of its own."""
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()

    def number(self, sql: str, *values: object) -> int:
        """Ask the journal for a number."""
        [(value,)] = self.rows(sql, *values)
        return int(value)
