"""Taking frames out of a journal for good, in steps, each one transaction.

What is exact afterwards: counts, times, numbers and novelties of the frames left; means of sightings that lie wholly
outside the scope; sums of stays and blocks over what is left. What is not: a sighting that the scope cuts loses its
mean, for the mean of all its frames would let the forgotten ones show through; what is left of it stands by the
exemplar's embedding, to within the threshold.

An exemplar whose own frame is forgotten, but not all it stands for, becomes the mean of its sightings that have no
frame within the scope. If there are none, that of those which are cut, from which as many times the old embedding is
taken as they lose frames: the one place where a trace of forgotten frames is left, and less than half. Either way its
thumbnail goes, and the angle by which it moved is added to what its sightings promise. Where even that is missing,
because all that is left was cut before and has no mean any more, the rest is forgotten too: nothing could stand for it.
"""

import sqlite3
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memory_store.change import Change, move_exemplar, remove_exemplar, settle_stays, sightings_where, unit
from memory_store.coverage import angle_between
from memory_store.examples import forget_examples
from memory_store.frame_embeddings import forget_frame_embeddings, forget_frame_embeddings_between
from memory_store.group import LONGEST_SIGHTING_FRAMES
from memory_store.reading import earliest_start
from memory_store.records import Embedding, ForgottenCounts, FrameKind, Sighting
from memory_store.rows import next_ids_of, write_next_ids, write_sightings
from memory_store.scope import EARLIEST_US, Scope
from memory_store.session_state import StreamState
from memory_store.vectors import as_stored, embedding_from

_SIGHTINGS = 128
"""Sightings looked at in a step: some ten milliseconds."""

_WITHHELD = 4096
"""Frames that are in no sighting, forgotten in a step."""

Total = NDArray[np.float64]
"""Sum of embeddings: float64 [D]."""


class Forgetting:
    """The removal of one scope. Not safe for several threads; the memory's lock sees to that."""

    def __init__(self, scope: Scope, streams: list[StreamState]) -> None:
        """Begin, or begin again after a restart.

        Args:
            scope: what is to be forgotten.
            streams: those it is about, as they are now.
        """
        self._scope = scope
        self._streams = list(streams)
        self._stream_ids = frozenset(stream.id for stream in streams)
        self._cursor = (EARLIEST_US, 0)
        self._settled: set[int] = set()
        """Exemplars that were recentred, on what the scope leaves in the end."""

    def step(self, connection: sqlite3.Connection) -> Change | None:
        """Forget some more, inside a transaction; None once nothing is left to forget.

        Raises:
            sqlite3.Error: the disk refused; the transaction must be undone, and the removal begun again.
        """
        while self._streams:
            stream = self._streams[-1]
            found = sightings_where(
                connection,
                "stream_id = ? AND start_us BETWEEN ? AND ? AND end_us >= ? AND (start_us, id) > (?, ?)"
                " ORDER BY start_us, id LIMIT ?",
                (
                    stream.id,
                    earliest_start(stream, self._scope.first_us),
                    self._scope.last_us,
                    self._scope.first_us,
                    *self._cursor,
                    _SIGHTINGS,
                ),
            )
            if found:
                return self._forget(connection, _up_to(found, LONGEST_SIGHTING_FRAMES))
            frames = self._forget_withheld(connection, stream)
            if frames:
                return Change(counts=ForgottenCounts(frames=frames))
            self._streams.pop()
            self._cursor = (EARLIEST_US, 0)
        return None

    def _forget_withheld(self, connection: sqlite3.Connection, stream: StreamState) -> int:
        """Forget some of the frames of a stream that are in no sighting; their number, 0 if none is left."""
        found = connection.execute(
            "SELECT session_id, seq FROM withheld WHERE stream_id = ? AND capture_us BETWEEN ? AND ? LIMIT ?",
            (stream.id, self._scope.first_us, self._scope.last_us, _WITHHELD),
        ).fetchall()
        forget_examples(connection, stream.id, self._scope)
        for table in ("withheld", "frames"):
            connection.executemany(f"DELETE FROM {table} WHERE session_id = ? AND seq = ?", found)
        connection.executemany(
            "UPDATE sessions SET forgotten_withheld = forgotten_withheld + 1 WHERE id = ?",
            [(session_id,) for session_id, _ in found],
        )
        return len(found)

    def _forget(self, connection: sqlite3.Connection, sightings: list[Sighting]) -> Change:
        change = Change()
        settled = set(self._settled)
        touched = sorted({sighting.exemplar_id for sighting in sightings})
        stays = {sighting.stay_id for sighting in sightings}
        # Before anything is cut, and with what later steps will cut: how it is cut into steps must not show.
        losing = [found for found in touched if found not in settled and self._loses(connection, found)]
        totals = {exemplar_id: self._total_left(connection, exemplar_id) for exemplar_id in losing}
        for sighting in sightings:
            self._cut(connection, sighting, change)
        self._cursor = (sightings[-1].start_us, sightings[-1].id)
        for exemplar_id, total in totals.items():
            stays |= self._settle(connection, exemplar_id, total, settled, change)
        settle_stays(connection, stays, change)
        for exemplar_id in touched:
            if not _any_sighting(connection, exemplar_id):
                remove_exemplar(connection, exemplar_id, change)
            elif _exemplar(connection, exemplar_id)[0]:
                _refer_to_first_frame(connection, exemplar_id)
        change.moved = {key: value for key, value in change.moved.items() if key not in set(change.removed)}
        counts = ForgottenCounts(exemplars=len(change.removed), recentred=len(settled - self._settled))
        change.counts += counts
        self._settled = settled
        return change

    def _cut(self, connection: sqlite3.Connection, sighting: Sighting, change: Change) -> None:
        """Take the frames within the scope out of a sighting."""
        span = (sighting.session_id, sighting.first_seq, sighting.last_seq)
        inside = connection.execute(
            "SELECT seq FROM frames WHERE session_id = ? AND seq BETWEEN ? AND ? AND capture_us BETWEEN ? AND ?"
            " ORDER BY seq",
            (*span, self._scope.first_us, self._scope.last_us),
        )
        seqs = [int(seq) for (seq,) in inside]
        if not seqs:
            return
        connection.executemany(
            "DELETE FROM frames WHERE session_id = ? AND seq = ?", [(sighting.session_id, seq) for seq in seqs]
        )
        forget_frame_embeddings(connection, sighting.session_id, seqs)
        connection.execute(
            "UPDATE sessions SET forgotten_frames = forgotten_frames + ? WHERE id = ?",
            (len(seqs), sighting.session_id),
        )
        edges = [sighting.first_seq - 1, *seqs, sighting.last_seq + 1]
        runs = [(before + 1, after - 1) for before, after in pairwise(edges) if after - before > 1]
        parts = [part for part in (_part(connection, sighting, run) for run in runs) if part is not None]
        if not parts:
            connection.execute("DELETE FROM sightings WHERE id = ?", (sighting.id,))
        ids = next_ids_of(connection)
        for number, part in enumerate(parts[1:], start=1):
            parts[number] = replace(part, id=ids.sighting)
            ids.sighting += 1
        write_next_ids(connection, ids)
        write_sightings(connection, parts)
        change.sighted(sighting, len(parts) - 1)
        change.counts += ForgottenCounts(frames=len(seqs), sightings=not parts)

    def _loses(self, connection: sqlite3.Connection, exemplar_id: int) -> bool:
        """Tell whether an exemplar loses its own frame, or has lost it before."""
        recentred, capture_us, stream_id = connection.execute(
            "SELECT e.recentred, e.capture_us, n.stream_id FROM exemplars e JOIN sessions n ON n.id = e.session_id"
            " WHERE e.id = ?",
            (exemplar_id,),
        ).fetchone()
        within = stream_id in self._stream_ids and self._scope.first_us <= capture_us <= self._scope.last_us
        return bool(recentred) or within

    def _lost(self, connection: sqlite3.Connection, sighting: Sighting) -> int:
        """Count the frames of a sighting that lie within the scope."""
        first_us, last_us = self._scope.first_us, self._scope.last_us
        if sighting.stream_id not in self._stream_ids or sighting.end_us < first_us or sighting.start_us > last_us:
            return 0
        if first_us <= sighting.start_us and sighting.end_us <= last_us:
            return sighting.frames
        [(lost,)] = connection.execute(
            "SELECT count(*) FROM frames WHERE session_id = ? AND seq BETWEEN ? AND ? AND capture_us BETWEEN ? AND ?",
            (sighting.session_id, sighting.first_seq, sighting.last_seq, first_us, last_us),
        )
        return int(lost)

    def _total_left(self, connection: sqlite3.Connection, exemplar_id: int) -> Total | None:
        """Add up what can stand for the frames of an exemplar that are left in the end; None if there is nothing."""
        _, old = _exemplar(connection, exemplar_id)
        lasting, cut = np.zeros(len(old)), np.zeros(len(old))  # [D], float64
        for sighting in sightings_where(connection, "exemplar_id = ? AND NOT cut ORDER BY id", (exemplar_id,)):
            lost = self._lost(connection, sighting)
            if not lost:
                lasting += sighting.mean.astype(np.float64) * sighting.frames
            elif lost < sighting.frames:
                cut += _without(sighting, lost, old)
        return next((total for total in (lasting, cut) if total.any()), None)

    def _settle(
        self, connection: sqlite3.Connection, exemplar_id: int, total: Total | None, settled: set[int], change: Change
    ) -> set[int]:
        """Let an exemplar that has lost its own frame follow what is left of it; the stays that change with it."""
        recentred, old = _exemplar(connection, exemplar_id)
        left = sightings_where(connection, "exemplar_id = ?", (exemplar_id,))
        change.sessions |= {sighting.session_id for sighting in left}
        if total is not None:
            embedding = as_stored(unit(total))
            move_exemplar(connection, exemplar_id, embedding, angle_between(old, embedding))
            change.moved[exemplar_id] = embedding
            settled.add(exemplar_id)
            return {sighting.stay_id for sighting in left if sighting.cut}
        # What is left and will be was cut before; it stays with the mean of an exemplar that was recentred before.
        rest = [] if recentred else [one for one in left if self._lost(connection, one) < one.frames]
        for sighting in rest:
            self._drop(connection, sighting, change)
        return {sighting.stay_id for sighting in rest}

    def _drop(self, connection: sqlite3.Connection, sighting: Sighting, change: Change) -> None:
        """Forget the rest of a sighting too."""
        connection.execute(
            "DELETE FROM frames WHERE session_id = ? AND seq BETWEEN ? AND ? AND kind != ?",
            (sighting.session_id, sighting.first_seq, sighting.last_seq, FrameKind.REJECTED),
        )
        forget_frame_embeddings_between(connection, sighting.session_id, sighting.first_seq, sighting.last_seq)
        connection.execute(
            "UPDATE sessions SET forgotten_frames = forgotten_frames + ? WHERE id = ?",
            (sighting.frames, sighting.session_id),
        )
        connection.execute("DELETE FROM sightings WHERE id = ?", (sighting.id,))
        change.sighted(sighting, -1)
        change.counts += ForgottenCounts(frames=sighting.frames, sightings=1)


def _up_to(sightings: list[Sighting], frames: int) -> list[Sighting]:
    """Take the first of some sightings, at least one, that have so many frames together."""
    sums = np.cumsum([sighting.frames for sighting in sightings])
    return sightings[: max(1, int(np.searchsorted(sums, frames, side="right")))]


def _part(connection: sqlite3.Connection, sighting: Sighting, run: tuple[int, int]) -> Sighting | None:
    """Describe what a run of numbers holds of a sighting that was cut; None if that is nothing."""
    frames, first_seq, last_seq, start_us, end_us, largest = connection.execute(
        "SELECT count(*), min(seq), max(seq), min(capture_us), max(capture_us),"
        " max(CASE kind WHEN ? THEN novelty ELSE 0 END) FROM frames"
        " WHERE session_id = ? AND seq BETWEEN ? AND ? AND capture_us IS NOT NULL",
        (FrameKind.REPEAT, sighting.session_id, *run),
    ).fetchone()
    if not frames:
        return None
    _, embedding = _exemplar(connection, sighting.exemplar_id)
    return replace(
        sighting,
        first_seq=first_seq,
        last_seq=last_seq,
        start_us=start_us,
        end_us=end_us,
        frames=frames,
        # Where the exemplar was moved, the novelties on record are older than that, and the bound holds for all.
        largest_novelty=sighting.largest_novelty if sighting.moved_angle else largest,
        mean=embedding,
        cut=True,
    )


def _without(sighting: Sighting, lost: int, exemplar: Embedding) -> Total:
    """Estimate the sum of what is left of a sighting that lost some of its frames, float64 [D].

    The lost ones are taken to be like the exemplar; where most are lost, that would leave little but its error.
    """
    total = sighting.mean.astype(np.float64) * sighting.frames
    if 2 * lost <= sighting.frames:
        return total - lost * exemplar.astype(np.float64)
    return total * ((sighting.frames - lost) / sighting.frames)


def _exemplar(connection: sqlite3.Connection, exemplar_id: int) -> tuple[bool, Embedding]:
    recentred, blob, checksum = connection.execute(
        "SELECT recentred, embedding, checksum FROM exemplars WHERE id = ?", (exemplar_id,)
    ).fetchone()
    return bool(recentred), embedding_from(blob, checksum)


def _any_sighting(connection: sqlite3.Connection, exemplar_id: int) -> bool:
    return (
        connection.execute("SELECT 1 FROM sightings WHERE exemplar_id = ? LIMIT 1", (exemplar_id,)).fetchone()
        is not None
    )


def _refer_to_first_frame(connection: sqlite3.Connection, exemplar_id: int) -> None:
    """Let an exemplar without its own frame refer to the first one left; it counts for that one's stream then."""
    first = connection.execute(
        "SELECT f.session_id, f.seq, f.capture_us FROM (SELECT session_id, first_seq, last_seq, start_us FROM sightings"
        " WHERE exemplar_id = ? ORDER BY start_us, id LIMIT 1) g JOIN frames f ON f.session_id = g.session_id"
        " AND f.seq BETWEEN g.first_seq AND g.last_seq AND f.capture_us = g.start_us ORDER BY f.seq LIMIT 1",
        (exemplar_id,),
    ).fetchone()
    [(before,)] = connection.execute("SELECT session_id FROM exemplars WHERE id = ?", (exemplar_id,))
    connection.executemany(
        "UPDATE sessions SET lost_exemplars = lost_exemplars + ? WHERE id = ?", [(1, before), (-1, first[0])]
    )
    connection.execute(
        "UPDATE exemplars SET session_id = ?, seq = ?, capture_us = ? WHERE id = ?", (*first, exemplar_id)
    )
