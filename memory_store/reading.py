"""Questions about frames, sightings and exemplars that are answered from the journal.

A read-only connection of its own: a long listing does not hold up ingest.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from memory_store.errors import ExemplarNotFound, MemoryStoreError, MomentNotFound
from memory_store.examples import Example, example_from
from memory_store.facts import Exemplar, ExemplarFacts, Served, ShownSighting
from memory_store.frame_embeddings import FramesInside, frames_inside, frames_of_stay
from memory_store.journal import reading_errors
from memory_store.records import (
    Clock,
    Embedding,
    Forgotten,
    FrameKind,
    Novel,
    Outcome,
    Rejected,
    Repeat,
    Sighting,
    Verdict,
    Withheld,
    WithheldReason,
)
from memory_store.rows import SIGHTING_COLUMNS, Row, labels_from, sighting_from
from memory_store.scope import EARLIEST_US, LATEST_US, Scope
from memory_store.seen_frames import SeenFrame
from memory_store.session_state import StreamState
from memory_store.vectors import checked, embedding_from

_SHOWN = """
    SELECT g.id, s.name, g.exemplar_id, n.uuid, n.clock, g.threshold, g.start_us, g.end_us, g.frames,
           g.largest_novelty, g.labels, g.moved_angle, g.session_id, g.first_seq, g.last_seq
    FROM sightings g JOIN streams s ON s.id = g.stream_id JOIN sessions n ON n.id = g.session_id
"""


class Reading:
    """The reading side of a memory's file. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._refusal: MemoryStoreError | None = None
        self._path = path
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)

    def close(self, refusal: MemoryStoreError) -> None:
        """Close the connection after the question that is being answered; `refusal` is what is raised from then on."""
        with self._lock:
            self._refusal = refusal
            self._connection.close()

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, for one caller at a time."""
        with self._lock, reading_errors(self._path):
            if self._refusal is not None:
                raise self._refusal
            yield self._connection

    def _rows(self, sql: str, values: Sequence[object] | dict[str, object] = ()) -> list[Row]:
        with self._asking() as connection:
            return connection.execute(sql, values).fetchall()

    def verdicts(self, session_id: int, first_seq: int, last_seq: int) -> list[Verdict]:
        """Give the verdicts of frames that were acknowledged again, in order."""
        # Before the rows: what is taken meanwhile is told of if its row is found, and is not taken for forgotten.
        [(next_seq,)] = self._rows("SELECT coalesce(max(next_seq), 0) FROM sessions WHERE id = ?", (session_id,))
        rows = self._rows(
            "SELECT f.seq, f.kind, f.pts_repaired, f.capture_us, f.novelty, f.by_hint, g.exemplar_id,"
            " g.policy_revision, w.policy_revision, w.reason, r.reason, r.message FROM frames f"
            " LEFT JOIN sightings g ON g.id = (SELECT id FROM sightings"
            " WHERE session_id = f.session_id AND first_seq <= f.seq ORDER BY first_seq DESC LIMIT 1)"
            " LEFT JOIN rejections r ON r.session_id = f.session_id AND r.seq = f.seq"
            " LEFT JOIN withheld w ON w.session_id = f.session_id AND w.seq = f.seq"
            " WHERE f.session_id = ? AND f.seq BETWEEN ? AND ? ORDER BY f.seq",
            (session_id, first_seq, last_seq),
        )
        with reading_errors(self._path):
            known = {row[0]: _verdict(row) for row in rows}
        acknowledged = range(first_seq, min(last_seq + 1, next_seq))
        return [known.get(seq) or _forgotten(seq) for seq in acknowledged]

    def sightings_of_stay(self, stay_id: int, exemplar_id: int) -> list[Sighting]:
        """Read the sightings of a stay, oldest first."""
        rows = self._rows(
            f"SELECT {SIGHTING_COLUMNS} FROM sightings WHERE exemplar_id = ? AND stay_id = ? ORDER BY id",
            (exemplar_id, stay_id),
        )
        with reading_errors(self._path):
            return [sighting_from(row) for row in rows]

    def frames_of_stays(self, stays: Sequence[tuple[int, int]], dimension: int, scope: Scope) -> FramesInside:
        """Read what is on record of the frames of some stays that lie within a scope.

        Args:
            stays: exemplar and stay of each.
            dimension: of embeddings.
            scope: its streams are those of the stays.
        """
        where, values = ("TRUE", ()) if scope.labels is None else _labelled(scope)
        sql = frames_of_stay(where)
        with self._asking() as connection:
            connection.execute("BEGIN")  # as they are at one moment
            try:
                [(any_on_record,)] = connection.execute("SELECT EXISTS (SELECT 1 FROM frame_embeddings)")
                asked = stays if any_on_record else ()
                found = [connection.execute(sql, (*stay, *values)).fetchall() for stay in asked]
            finally:
                connection.execute("COMMIT")
            return frames_inside(found, dimension, scope)

    def mean_within(self, sighting: Sighting, scope: Scope, frames: int) -> Embedding | None:
        """Give the mean of the frames of a sighting that lie within a scope's times: float32 [D].

        Args:
            sighting: one that the scope cuts.
            scope: what counts.
            frames: how many these are.

        Returns:
            None if of some of them it is not on record what they looked like.
        """
        values = (sighting.exemplar_id, sighting.stay_id, sighting.id)
        rows = self._rows(frames_of_stay("g.id = ?"), values)
        with reading_errors(self._path):
            inside = frames_inside([rows], len(sighting.mean), scope)
        if inside.frames.sum() != frames:
            return None
        mean: Embedding = (inside.frames @ inside.vectors / frames).astype(np.float32)
        return mean

    def labelled_stays(self, scope: Scope) -> list[tuple[int, ...]]:
        """Add up the sightings that carry one of a scope's labels and overlap it, by their stays.

        Returns:
            Stay, stream, position, exemplar, frames, first and last capture time of each, and the frames of all
            sightings of the stay.
        """
        where, values = _labelled(scope)
        return self._rows(
            "SELECT g.stay_id, g.stream_id, t.position, g.exemplar_id, sum(g.frames), min(g.start_us), max(g.end_us),"
            " (SELECT sum(o.frames) FROM sightings o WHERE o.exemplar_id = g.exemplar_id AND o.stay_id = g.stay_id)"
            f" FROM sightings g JOIN stays t ON t.id = g.stay_id WHERE {where} GROUP BY g.stay_id ORDER BY g.stay_id",
            values,
        )

    def labelled_sightings(self, scope: Scope, stay_ids: Sequence[int]) -> list[Sighting]:
        """Read the sightings of some stays that carry one of a scope's labels and overlap it, stay by stay."""
        columns = ", ".join(f"g.{column.strip()}" for column in SIGHTING_COLUMNS.split(","))
        where, values = _labelled(scope)
        rows = self._rows(
            f"SELECT {columns} FROM sightings g WHERE {where} AND g.stay_id IN (SELECT value FROM json_each(?))"
            " ORDER BY g.stay_id, g.id",
            (*values, json.dumps(list(stay_ids))),
        )
        with reading_errors(self._path):
            return [sighting_from(row) for row in rows]

    def frames_of_exemplars(self, first: int, most: int) -> list[SeenFrame]:
        """Read the own frames of the latest exemplars, from a number on, in order; those forgotten are left out."""
        rows = self._rows(
            "SELECT n.stream_id, e.capture_us, e.embedding, e.checksum FROM exemplars e"
            " JOIN sessions n ON n.id = e.session_id WHERE e.id >= ? AND NOT e.recentred ORDER BY e.id DESC LIMIT ?",
            (first, most),
        )
        with reading_errors(self._path):
            return [
                SeenFrame(stream_id, capture_us, embedding_from(blob, checksum), own_stream_only=False, horizon_us=None)
                for stream_id, capture_us, blob, checksum in reversed(rows)
            ]

    def withheld_within(self, scope: Scope) -> int:
        """Count the withheld frames within a scope."""
        streams, values = _of_streams("stream_id", scope)
        [(frames,)] = self._rows(
            f"SELECT count(*) FROM withheld WHERE {streams} AND capture_us BETWEEN ? AND ?",
            (*values, scope.first_us, scope.last_us),
        )
        return int(frames)

    def dropped_examples(self, scope: Scope) -> list[Example]:
        """Read the examples of frames within a scope that were dropped."""
        streams, values = _of_streams("stream_id", scope)
        rows = self._rows(
            "SELECT novelty, exemplar_id, stream_id, capture_us, jpeg, checksum, 0 FROM examples"
            f" WHERE {streams} AND capture_us BETWEEN ? AND ?",
            (*values, scope.first_us, scope.last_us),
        )
        with reading_errors(self._path):
            return [example_from(row) for row in rows]

    def kept_examples(self, scope: Scope, number: int) -> list[Example]:
        """Read the latest frames within a scope that became exemplars, those without a thumbnail left out.

        `exemplar_id` is what they became, and the novelty is what they had to the nearest before them.
        """
        streams, values = _of_streams("n.stream_id", scope)
        rows = self._rows(
            "SELECT f.novelty, e.id, n.stream_id, e.capture_us, t.jpeg, t.checksum, 1 FROM exemplars e"
            " JOIN sessions n ON n.id = e.session_id JOIN frames f ON f.session_id = e.session_id AND f.seq = e.seq"
            f" JOIN thumbnails t ON t.exemplar_id = e.id WHERE {streams} AND e.capture_us BETWEEN ? AND ?"
            " AND f.novelty IS NOT NULL ORDER BY e.id DESC LIMIT ?",
            (*values, scope.first_us, scope.last_us, number),
        )
        with reading_errors(self._path):
            return [example_from(row) for row in rows]

    def extent_within(self, session_id: int, seqs: tuple[int, int], scope: Scope) -> tuple[int, int, int]:
        """Count the frames of a sighting, given by its session and its numbers, that lie within a scope's times.

        Returns:
            Their number, and their earliest and latest capture time (0 where there are none).
        """
        [(frames, first_us, last_us)] = self._rows(
            "SELECT count(*), coalesce(min(capture_us), 0), coalesce(max(capture_us), 0) FROM frames"
            " WHERE session_id = ? AND seq BETWEEN ? AND ? AND capture_us BETWEEN ? AND ?",
            (session_id, *seqs, scope.first_us, scope.last_us),
        )
        return frames, first_us, last_us

    def sightings_of_exemplar(self, exemplar_id: int, scope: Scope) -> list[ShownSighting]:
        """Read the sightings of an exemplar, cut to a scope, newest first."""
        rows = self._rows(
            f"{_SHOWN} WHERE g.exemplar_id = ? AND g.start_us <= ? AND g.end_us >= ?"
            " ORDER BY g.start_us DESC, g.id DESC",
            (exemplar_id, scope.last_us, scope.first_us),
        )
        streams = None if scope.stream_ids is None else {name for (name,) in self._stream_names(scope.stream_ids)}
        shown = [
            self._shown(row, scope)
            for row in rows
            if (streams is None or row[1] in streams)
            and (scope.labels is None or not scope.labels.isdisjoint(labels_from(row[10])))
        ]
        within = [sighting for sighting in shown if sighting.frames]
        return sorted(within, key=lambda sighting: (sighting.start_us, sighting.id), reverse=True)

    def _stream_names(self, stream_ids: frozenset[int]) -> list[Row]:
        marks = ", ".join("?" * len(stream_ids))
        return self._rows(f"SELECT name FROM streams WHERE id IN ({marks})", tuple(stream_ids))

    def _shown(self, row: Row, scope: Scope) -> ShownSighting:
        *told, labels, moved_angle, session_id, first_seq, last_seq = row
        sighting_id, stream, exemplar_id, uuid, clock, threshold, start_us, end_us, frames, largest = told
        if start_us < scope.first_us or end_us > scope.last_us:
            frames, start_us, end_us = self.extent_within(session_id, (first_seq, last_seq), scope)
        restated = moved_angle > 0
        return ShownSighting(
            sighting_id,
            stream,
            exemplar_id,
            uuid,
            Clock(clock),
            threshold,
            start_us,
            end_us,
            frames,
            largest,
            restated,
            labels_from(labels),
        )

    def timeline(
        self, stream: StreamState, first_us: int, last_us: int, after: tuple[int, int] | None, limit: int
    ) -> list[ShownSighting]:
        """Read the sightings of a stream that overlap a range, whole, in order of start and id.

        Args:
            stream: the stream.
            first_us: start of the range, included.
            last_us: end of the range, included.
            after: start and id of the last one already read.
            limit: how many at most.
        """
        rows = self._rows(
            f"{_SHOWN} WHERE g.stream_id = ? AND g.start_us <= ? AND g.end_us >= ? AND (g.start_us, g.id) > (?, ?)"
            " ORDER BY g.start_us, g.id LIMIT ?",
            (stream.id, last_us, first_us, *(after or (earliest_start(stream, first_us), 0)), limit),
        )
        return [self._shown(row, Scope()) for row in rows]

    def exemplar_at(self, stream: StreamState, time_us: int) -> int:
        """Find what a stream showed at a time: the exemplar of its last frame at or before it.

        Raises:
            MomentNotFound: there is no such frame.
        """
        # The last frame of a sighting that had ended by then is its end; of one that went on, it must be looked up.
        ended = self._rows(
            "SELECT end_us, id, exemplar_id FROM sightings WHERE stream_id = ? AND end_us <= ?"
            " ORDER BY end_us DESC, id DESC LIMIT 1",
            (stream.id, time_us),
        )
        going_on = self._rows(
            "SELECT session_id, first_seq, last_seq, id, exemplar_id FROM sightings"
            " WHERE stream_id = ? AND start_us BETWEEN ? AND ? AND end_us > ?",
            (stream.id, earliest_start(stream, time_us), time_us, time_us),
        )
        until = Scope(last_us=time_us)
        shown = [(end_us, sighting_id, exemplar_id) for end_us, sighting_id, exemplar_id in ended]
        for session_id, first_seq, last_seq, sighting_id, exemplar_id in going_on:
            _, _, last_us = self.extent_within(session_id, (first_seq, last_seq), until)
            shown.append((last_us, sighting_id, exemplar_id))
        if not shown:
            raise MomentNotFound(f"the stream has no frame at or before {_told_time(time_us)}")
        return int(max(shown)[2])

    def exemplars(
        self, *, after: int | None, limit: int, newest_first: bool, thumbnails: bool, embeddings: bool
    ) -> list[Exemplar]:
        """Read exemplars in the order of their ids.

        Args:
            after: the last id already read, None from the start.
            limit: how many at most.
            newest_first: from the largest id down.
            thumbnails: read thumbnails too.
            embeddings: read embeddings too.
        """
        order, beyond = ("DESC", "<") if newest_first else ("ASC", ">")
        edge = after if after is not None else (LATEST_US if newest_first else 0)
        return self._exemplars(
            f"e.id {beyond} ? ORDER BY e.id {order} LIMIT ?",
            (edge, limit),
            thumbnails=thumbnails,
            embeddings=embeddings,
        )

    def exemplar(self, exemplar_id: int, *, thumbnail: bool, embedding: bool) -> Exemplar:
        """Read one exemplar.

        Raises:
            ExemplarNotFound: there is none of this id.
        """
        found = self._exemplars("e.id = ?", (exemplar_id,), thumbnails=thumbnail, embeddings=embedding)
        if not found:
            raise ExemplarNotFound(f"there is no exemplar {exemplar_id}")
        return found[0]

    def _exemplars(
        self,
        where: str,
        values: Sequence[object],
        *,
        thumbnails: bool,
        embeddings: bool,
    ) -> list[Exemplar]:
        rows = self._rows(
            "WITH e AS MATERIALIZED (SELECT e.id, e.session_id, e.seq, e.capture_us, e.recentred, e.checksum,"
            f" {'e.embedding' if embeddings else 'NULL AS embedding'},"
            f" {'t.jpeg' if thumbnails else 'NULL'} AS jpeg, {'t.checksum' if thumbnails else 'NULL'} AS jpeg_checksum"
            f" FROM exemplars e {'LEFT JOIN thumbnails t ON t.exemplar_id = e.id' if thumbnails else ''}"
            f" WHERE {where})"
            " SELECT e.id, min(g.start_us), max(g.end_us), sum(g.end_us - g.start_us), sum(g.frames), count(*),"
            " s.name, n.uuid, e.seq, e.capture_us, e.recentred, e.jpeg, e.jpeg_checksum, e.embedding, e.checksum,"
            " (SELECT group_concat(label, char(10)) FROM sightings o JOIN sighting_labels l ON l.sighting_id = o.id"
            " WHERE o.exemplar_id = e.id), v.answers, v.weight, v.last_us"
            " FROM e LEFT JOIN served v ON v.exemplar_id = e.id JOIN sightings g ON g.exemplar_id = e.id"
            " JOIN sessions n ON n.id = e.session_id JOIN streams s ON s.id = n.stream_id GROUP BY e.id",
            values,
        )
        with reading_errors(self._path):
            found = {row[0]: _exemplar(row) for row in rows}
        order = -1 if "DESC" in where else 1
        return [found[exemplar_id] for exemplar_id in sorted(found)[::order]]

    def thumbnail(self, exemplar_id: int) -> bytes | None:
        """Read a thumbnail; None if the exemplar has none any more."""
        rows = self._rows("SELECT jpeg, checksum FROM thumbnails WHERE exemplar_id = ?", (exemplar_id,))
        with reading_errors(self._path):
            return checked(*rows[0]) if rows else None


def _labelled(scope: Scope) -> tuple[str, tuple[object, ...]]:
    """Write the condition on sightings g to carry one of a scope's labels and to overlap it, and its values."""
    streams, values = _of_streams("g.stream_id", scope)
    where = (
        f"{streams} AND g.start_us <= ? AND g.end_us >= ?"
        " AND g.id IN (SELECT sighting_id FROM sighting_labels WHERE label IN (SELECT value FROM json_each(?)))"
    )
    return where, (*values, scope.last_us, scope.first_us, json.dumps(sorted(scope.labels or ())))


def _of_streams(column: str, scope: Scope) -> tuple[str, list[int]]:
    """Write a condition on streams, and its values."""
    if scope.stream_ids is None:
        return "TRUE", []
    return f"{column} IN ({', '.join('?' * len(scope.stream_ids))})", sorted(scope.stream_ids)


def earliest_start(stream: StreamState, time_us: int) -> int:
    """Give a time before which no sighting of a stream began that was there at `time_us`."""
    return max(EARLIEST_US, time_us - stream.longest_us)


def _told_time(time_us: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()
    except OverflowError:  # beyond the calendar
        return f"{time_us} us"


def _verdict(row: Row) -> Verdict:
    seq, kind, repaired, capture_us, novelty, by_hint, exemplar_id, revision, *withheld, reason, message = row
    outcome: Outcome
    match FrameKind(kind):
        case FrameKind.NOVEL:
            outcome = Novel(exemplar_id, novelty, bool(by_hint))
        case FrameKind.REPEAT:
            outcome = Repeat(exemplar_id, novelty)
        case FrameKind.REJECTED:
            outcome = Rejected(reason, message)
            revision = 0
        case FrameKind.WITHHELD:
            revision = withheld[0]
            outcome = Withheld(WithheldReason(withheld[1]), novelty, bool(by_hint))
    return Verdict(seq, outcome, revision or 0, capture_us, bool(repaired))


def _forgotten(seq: int) -> Verdict:
    return Verdict(seq, Forgotten(), policy_revision=0, capture_us=None, pts_repaired=False)


def _exemplar(row: Row) -> Exemplar:
    told, labels, served = row[:-4], row[-4], row[-3:]
    *facts, stream, uuid, seq, capture_us, recentred, jpeg, jpeg_checksum, embedding, checksum = told
    return Exemplar(
        ExemplarFacts(*facts),
        stream,
        uuid,
        seq,
        capture_us,
        bool(recentred),
        None if jpeg is None else checked(jpeg, jpeg_checksum),
        None if embedding is None else embedding_from(embedding, checksum),
        tuple(sorted(set(labels_from(labels or "")))),
        None if served[0] is None else Served(*served),
    )
