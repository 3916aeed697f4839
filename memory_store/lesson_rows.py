"""What attention is taught by, and what it learned, as it stands in the journal. Beside the query's way.

Versions that were fitted to what is forgotten on request go with it, and feedback goes with the exemplars it names.
"""

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.facts import Served
from memory_store.records import Embedding
from memory_store.scope import Scope
from memory_store.vectors import embedding_blob, matrix_from

_ADDED = (
    "answers = answers + excluded.answers, weight = weight + excluded.weight, last_us = max(last_us, excluded.last_us)"
)

MOST_SIGHTINGS = 32_768
"""The latest sightings are enough to learn from; more would take minutes."""


@dataclass(frozen=True, slots=True)
class AttentionVersion:
    """A version of learned attention."""

    version: str
    """Its name."""

    fitted_from_us: int
    """Capture time of the earliest frame it was fitted to."""

    fitted_through_us: int
    """Capture time of the latest frame it was fitted to, or judged by."""

    parameters: bytes
    """What was learned."""


@dataclass(frozen=True, slots=True)
class SeenSightings:
    """Sightings in the order of their start, S of them."""

    means: NDArray[np.float32]
    """Means of their frames' embeddings: float32 [S, D]."""

    table: NDArray[np.int64]
    """Stay, exemplar, stream, start, end, frames: int64 [S, 6]."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was asked, and which exemplars were the answer."""

    asked_us: int
    """When, in capture time; `memory_store.scope.LATEST_US`: after all that the memory holds."""

    subject: Embedding | int
    """The embedding that was asked about, or an exemplar."""

    evidence: tuple[int, ...]
    """Exemplars, at least one."""


def add_version(connection: sqlite3.Connection, version: AttentionVersion, created_us: int) -> None:
    """Write a version; one that is there is there already."""
    connection.execute(
        "INSERT OR IGNORE INTO attention"
        " (version, created_us, fitted_from_us, fitted_through_us, parameters, checksum) VALUES (?, ?, ?, ?, ?, ?)",
        (
            version.version,
            created_us,
            version.fitted_from_us,
            version.fitted_through_us,
            version.parameters,
            zlib.crc32(version.parameters),
        ),
    )


def version_of(connection: sqlite3.Connection, name: str | None, as_of_us: int) -> AttentionVersion | None:
    """Find a version that was fitted to nothing later than a time; the newest if no name is given.

    Raises:
        ValueError: it is not what was written.
    """
    row = connection.execute(
        "SELECT version, fitted_from_us, fitted_through_us, parameters, checksum FROM attention"
        " WHERE fitted_through_us <= :as_of AND (:name IS NULL OR version = :name) ORDER BY id DESC LIMIT 1",
        {"as_of": as_of_us, "name": name},
    ).fetchone()
    if row is None:
        return None
    *fields, checksum = row
    version = AttentionVersion(*fields)
    if zlib.crc32(version.parameters) != checksum:
        raise ValueError(f"attention version {version.version} is not what was written")
    return version


def latest_name(connection: sqlite3.Connection) -> str:
    """Name the newest version; empty if there is none."""
    row = connection.execute("SELECT version FROM attention ORDER BY id DESC LIMIT 1").fetchone()
    return "" if row is None else str(row[0])


def add_feedback(connection: sqlite3.Connection, feedback: Feedback) -> None:
    """Write what was the answer."""
    subject = feedback.subject
    values = (subject, None) if isinstance(subject, int) else (None, embedding_blob(subject))
    added = connection.execute(
        "INSERT INTO feedback (asked_us, exemplar_id, embedding) VALUES (?, ?, ?)", (feedback.asked_us, *values)
    )
    connection.executemany(
        "INSERT OR IGNORE INTO evidence (exemplar_id, feedback_id) VALUES (?, ?)",
        [(exemplar_id, added.lastrowid) for exemplar_id in feedback.evidence],
    )


def feedback_of(connection: sqlite3.Connection) -> list[Feedback]:
    """Read all feedback, oldest first."""
    rows = connection.execute(
        "SELECT f.asked_us, f.exemplar_id, f.embedding, group_concat(e.exemplar_id)"
        " FROM feedback f JOIN evidence e ON e.feedback_id = f.id GROUP BY f.id ORDER BY f.asked_us, f.id"
    )
    return [
        Feedback(
            asked_us,
            np.frombuffer(blob, "<f2").astype(np.float32) if exemplar_id is None else exemplar_id,
            tuple(map(int, evidence.split(","))),
        )
        for asked_us, exemplar_id, blob, evidence in rows
    ]


def seen_sightings(connection: sqlite3.Connection, dimension: int) -> SeenSightings:
    """Read the latest sightings in the order of their start.

    Raises:
        ValueError: a mean is not what was written.
    """
    rows = connection.execute(
        "SELECT stay_id, exemplar_id, stream_id, start_us, end_us, frames, mean, checksum FROM sightings"
        " ORDER BY start_us DESC, id DESC LIMIT ?",
        (MOST_SIGHTINGS,),
    ).fetchall()
    rows.reverse()
    if not rows:
        return SeenSightings(np.empty((0, dimension), np.float32), np.empty((0, 6), np.int64))
    means = matrix_from([row[6] for row in rows], [row[7] for row in rows], "<f4")
    return SeenSightings(means, np.array([row[:6] for row in rows], np.int64))


def add_served(connection: sqlite3.Connection, served: dict[int, Served]) -> None:
    """Add to what part exemplars had in answers; those that are not there any more are passed over."""
    connection.executemany(
        "INSERT INTO served SELECT id, ?, ?, ? FROM exemplars WHERE id = ?"
        f" ON CONFLICT (exemplar_id) DO UPDATE SET {_ADDED}",
        [(part.answers, part.weight, part.last_us, exemplar_id) for exemplar_id, part in served.items()],
    )


def unlearn(connection: sqlite3.Connection, scope: Scope) -> None:
    """Take out the versions that were fitted to a time range; a step of forgetting it on request."""
    connection.execute(
        "DELETE FROM attention WHERE fitted_from_us <= ? AND fitted_through_us >= ?", (scope.last_us, scope.first_us)
    )


def let_go(connection: sqlite3.Connection, exemplar_id: int) -> None:
    """Take out what refers to an exemplar that is removed: feedback, what part it had in answers, examples."""
    connection.execute("DELETE FROM served WHERE exemplar_id = ?", (exemplar_id,))
    connection.execute("DELETE FROM examples WHERE exemplar_id = ?", (exemplar_id,))
    connection.execute("DELETE FROM feedback WHERE exemplar_id = ?", (exemplar_id,))
    named: Sequence[tuple[int]] = connection.execute(
        "DELETE FROM evidence WHERE exemplar_id = ? RETURNING feedback_id", (exemplar_id,)
    ).fetchall()
    connection.executemany(
        "DELETE FROM feedback WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM evidence WHERE feedback_id = ?1)", named
    )


def hand_over(connection: sqlite3.Connection, merged: int, kept: int) -> None:
    """Let what is known of answers by an exemplar be known of the one that stands for it now."""
    connection.execute(
        "INSERT INTO served SELECT ?, answers, weight, last_us FROM served WHERE exemplar_id = ?"
        f" ON CONFLICT (exemplar_id) DO UPDATE SET {_ADDED}",
        (kept, merged),
    )
    connection.execute("UPDATE feedback SET exemplar_id = ? WHERE exemplar_id = ?", (kept, merged))
    connection.execute("UPDATE OR IGNORE evidence SET exemplar_id = ? WHERE exemplar_id = ?", (kept, merged))
