"""What attention is taught by and what it learned, of one memory. Beside the query's way."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from memory_store.errors import AttentionVersionNotFound, ExemplarNotFound
from memory_store.facts import Served
from memory_store.journal import Journal, now_us, reading_errors
from memory_store.lesson_rows import (
    AttentionVersion,
    Feedback,
    SeenSightings,
    add_feedback,
    add_served,
    add_version,
    feedback_of,
    latest_name,
    seen_sightings,
    version_of,
)
from memory_store.scope import LATEST_US

_MOST_WAITING = 1024
"""Exemplars of answers that wait to be put on record."""


class Lessons:
    """Feedback, and versions of learned attention. Safe for several threads."""

    def __init__(self, path: Path, journal: Journal, lock: threading.RLock, check_usable: Callable[[], None]) -> None:
        """Take over what the journal holds.

        Args:
            path: of the journal.
            journal: the journal.
            lock: the memory's.
            check_usable: raises if nothing may be done; called under the lock.
        """
        self._path = path
        self._journal = journal
        self._lock = lock
        self._check_usable = check_usable
        self._served: dict[int, Served] = {}
        """What part exemplars had in answers that is not on record yet."""

    def note_served(self, weights: Sequence[tuple[int, float]], time_us: int) -> bool:
        """Take note of the exemplars of an answer, with their shares of the attention.

        Returns:
            Whether so much waits to be put on record that it should be done now.
        """
        with self._lock:
            for exemplar_id, weight in weights:
                before = self._served.get(exemplar_id, Served(0, 0.0, time_us))
                self._served[exemplar_id] = Served(
                    before.answers + 1, before.weight + weight, max(before.last_us, time_us)
                )
            return len(self._served) >= _MOST_WAITING

    def record_served(self) -> None:
        """Put on record what was taken note of; when this returns, it is on disk.

        Raises:
            StoreUnavailable: the disk refused; it will be tried again.
        """
        with self._lock:
            self._check_usable()
            if self._served:
                with self._journal.writing() as connection:
                    add_served(connection, self._served)
                self._served = {}

    def sightings(self) -> SeenSightings:
        """Read the latest sightings; a connection of its own, so that ingest goes on.

        Raises:
            MemoryUnreadable, StoreUnavailable: as they say.
        """
        with self._lock:
            self._check_usable()
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        with reading_errors(self._path), closing(sqlite3.connect(uri, uri=True)) as connection:
            return seen_sightings(connection, self._journal.identity.dimension)

    def feedback(self) -> list[Feedback]:
        """Read all feedback, oldest first."""
        with self._lock, reading_errors(self._path):
            self._check_usable()
            return feedback_of(self._journal.connection)

    def give_feedback(self, feedback: Feedback) -> None:
        """Put on record which exemplars were the answer; when this returns, it is on disk.

        Raises:
            ExemplarNotFound: one of them is not there; nothing was written.
            StoreUnavailable: the disk refused; nothing was written.
        """
        named = {*feedback.evidence, *([feedback.subject] if isinstance(feedback.subject, int) else [])}
        with self._lock:
            self._check_usable()
            with self._journal.writing() as connection:
                for exemplar_id in sorted(named):
                    if connection.execute("SELECT 1 FROM exemplars WHERE id = ?", (exemplar_id,)).fetchone() is None:
                        raise ExemplarNotFound(f"the memory has no exemplar {exemplar_id}")
                add_feedback(connection, feedback)

    def keep(self, version: AttentionVersion) -> None:
        """Keep a version; when this returns, it is on disk.

        Raises:
            StoreUnavailable: the disk refused; nothing was written.
        """
        with self._lock:
            self._check_usable()
            with self._journal.writing() as connection:
                add_version(connection, version, now_us())

    def version(self, name: str, as_of_us: int = LATEST_US) -> AttentionVersion:
        """Give a version by its name.

        Raises:
            AttentionVersionNotFound: there is none, or it was fitted to what came after `as_of_us`.
        """
        with self._lock, reading_errors(self._path):
            self._check_usable()
            found = version_of(self._journal.connection, name, as_of_us)
        if found is None:
            raise AttentionVersionNotFound(f"there is no attention version {name!r} that was fitted by then")
        return found

    def latest(self, as_of_us: int = LATEST_US) -> AttentionVersion | None:
        """Give the newest version that was fitted to nothing later than a time; None if there is none."""
        with self._lock, reading_errors(self._path):
            self._check_usable()
            return version_of(self._journal.connection, None, as_of_us)

    def latest_name(self) -> str:
        """Name the newest version; empty if there is none."""
        with self._lock, reading_errors(self._path):
            self._check_usable()
            return latest_name(self._journal.connection)
