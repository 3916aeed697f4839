"""Checks of the promises from the journal alone, for a memory that no server has open.

Nothing here is taken from the code that writes: sums are made again by SQL and by plain loops, and compared with what
is on record and with the copies that opening the memory would make. Nothing is changed.
"""

import math
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memory_store.coverage import angle_of
from memory_store.errors import MemoryNotFound, MemoryStoreError, StoreUnavailable
from memory_store.forest import BLOCK_SIZE
from memory_store.frame_embeddings import SEQS
from memory_store.inspection import reading_alone
from memory_store.journal import reading_errors
from memory_store.migrations import STEPS
from memory_store.records import FrameKind
from memory_store.store import take
from memory_store.vectors import checked, embedding_from, mean_from
from memory_store.verification_copies import copies_equal_the_journal

_TOLERANCE = 1e-6
"""Rounding of float64 angles and of float32 means, well below any difference in what is kept."""

_TOLD = 5
"""Failures told for each check; their number is told in full."""

_COUNTED = f"kind IN ({FrameKind.NOVEL:d}, {FrameKind.REPEAT:d})"


@dataclass(frozen=True, slots=True)
class Check:
    """What came of one check."""

    name: str
    """What was checked."""

    failures: int
    """Places where it does not hold."""

    told: tuple[str, ...]
    """The first of them."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of all checks of one memory."""

    memory: str
    """Its name."""

    checks: tuple[Check, ...]
    """The checks."""

    frames: int
    """Frames on record that are counted in stays."""

    exemplars: int
    """Exemplars kept."""

    largest_novelty: float
    """Largest cosine distance of a counted frame to its exemplar, as it stands in its sighting."""

    percentile_99_novelty: float
    """99 % of the counted frames were measured at this cosine distance or nearer."""

    @property
    def passed(self) -> bool:
        """Every check holds."""
        return all(not check.failures for check in self.checks)


def verify_folder(folder: Path, names: Sequence[str]) -> list[Verified]:
    """Check the memories of a data folder; without names, all of them.

    Raises:
        DataFolderInUse: a server has it open.
        MemoryNotFound: there is no memory of one of the names.
        StoreUnavailable: there is no such folder, or it cannot be read at present.
    """
    if not (folder / "memories").is_dir():
        raise StoreUnavailable(f"expected a data folder in {folder}, found none")
    lock = take(folder)
    try:
        paths = {path.stem: path for path in sorted((folder / "memories").glob("*.sqlite"))}
        for name in names:
            if name not in paths:
                raise MemoryNotFound(f"there is no memory {name}")
        return [verify(paths[name]) for name in names or paths]
    finally:
        lock.close()


def verify(path: Path) -> Verified:
    """Check one memory's journal and the copies beside it; only while no server has the data folder.

    Raises:
        StoreUnavailable: the file cannot be read at present.
    """
    name = path.stem
    try:
        with reading_errors(path), reading_alone(path) as connection:
            return _verify(name, path, connection)
    except MemoryStoreError as error:
        return Verified(name, (_check("the file can be read", iter([str(error)])),), 0, 0, math.nan, math.nan)


def _verify(name: str, path: Path, connection: sqlite3.Connection) -> Verified:
    [(version,)] = connection.execute("PRAGMA user_version")
    if version != len(STEPS):
        told = f"expected schema version {len(STEPS)}, got {version}: a server of this version brings older ones up"
        return Verified(name, (_check("the schema is known", iter([told])),), 0, 0, math.nan, math.nan)
    checks = [_check(name, failures(connection)) for name, failures in _CHECKS.items()]
    if not any(check.failures for check in checks):
        checks += [_check(name, failures) for name, failures in copies_equal_the_journal(path, connection).items()]
    [(frames,)] = connection.execute(f"SELECT count(*) FROM frames WHERE {_COUNTED}")
    [(exemplars,)] = connection.execute("SELECT count(*) FROM exemplars")
    [(largest,)] = connection.execute("SELECT coalesce(max(largest_novelty), 0) FROM sightings")
    own = f"CASE kind WHEN {FrameKind.REPEAT:d} THEN novelty ELSE 0 END"
    percentile = connection.execute(
        f"SELECT {own} AS own FROM frames WHERE {_COUNTED} ORDER BY own LIMIT 1 OFFSET ?",
        (max(0, math.ceil(frames * 0.99) - 1),),
    ).fetchone()
    return Verified(name, tuple(checks), frames, exemplars, largest, percentile[0] if percentile else 0.0)


def _check(name: str, failures: Iterator[str]) -> Check:
    told: list[str] = []
    number = 0
    try:
        for failure in failures:
            number += 1
            if len(told) < _TOLD:
                told.append(failure)
    except (ValueError, LookupError, TypeError, sqlite3.DatabaseError) as error:
        number += 1
        told.append(f"cannot be checked: {error}")
    return Check(name, number, tuple(told))


def _whole_file(connection: sqlite3.Connection) -> Iterator[str]:
    yield from (told for (told,) in connection.execute("PRAGMA integrity_check") if told != "ok")
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a row of {parent} that is not there"


def _whole_vectors(connection: sqlite3.Connection) -> Iterator[str]:
    [(dimension,)] = connection.execute("SELECT dimension FROM memory")
    for exemplar_id, blob, checksum in connection.execute("SELECT id, embedding, checksum FROM exemplars"):
        try:
            embedding = embedding_from(blob, checksum)
        except ValueError as error:
            yield f"embedding of exemplar {exemplar_id}: {error}"
            continue
        length = float(np.linalg.norm(embedding.astype(np.float64)))
        if len(embedding) != dimension or abs(length - 1) > 1e-3:
            yield f"embedding of exemplar {exemplar_id}: expected {dimension} numbers of length 1, got {length}"
    for kind, number, blob, checksum in connection.execute(
        "SELECT 'mean of sighting', id, mean, checksum FROM sightings"
        " UNION ALL SELECT 'embedding of frame', id, embedding, checksum FROM frame_embeddings"
        " UNION ALL SELECT 'thumbnail of exemplar', exemplar_id, jpeg, checksum FROM thumbnails"
        " UNION ALL SELECT 'picture of example', id, jpeg, checksum FROM examples"
    ):
        try:
            checked(blob, checksum)
        except ValueError as error:
            yield f"{kind} {number}: {error}"


def _accounted_for(connection: sqlite3.Connection) -> Iterator[str]:
    """Every acknowledged frame is counted once: in a sighting, as withheld, as rejected, or as forgotten."""
    of_kind = "(SELECT count(*) FROM frames f WHERE f.session_id = s.id AND kind = {:d})"
    for session, withheld, forgotten_withheld, kept_out, told in connection.execute(
        f"SELECT id, withheld_frames, forgotten_withheld, {of_kind.format(FrameKind.WITHHELD)},"
        " (SELECT count(*) FROM withheld w JOIN frames f ON f.session_id = w.session_id AND f.seq = w.seq"
        f" AND f.kind = {FrameKind.WITHHELD:d} AND f.capture_us = w.capture_us"
        " WHERE w.session_id = s.id AND w.stream_id = s.stream_id)"
        " FROM sessions s"
    ):
        if not kept_out == told == withheld - forgotten_withheld:
            yield (
                f"session {session}: {withheld} frames withheld, {forgotten_withheld} of them forgotten,"
                f" {kept_out} on record, {told} reasons"
            )
    rows = connection.execute(
        "SELECT id, next_seq - withheld_frames, novel_frames, repeat_frames, rejected_frames, forgotten_frames,"
        f" (SELECT count(*) FROM frames f WHERE f.session_id = s.id AND {_COUNTED}),"
        f" {of_kind.format(FrameKind.REJECTED)},"
        " (SELECT count(*) FROM rejections r WHERE r.session_id = s.id),"
        " (SELECT coalesce(sum(frames), 0) FROM sightings g WHERE g.session_id = s.id),"
        " (SELECT coalesce(max(seq) + 1 - withheld_frames, 0) FROM frames f WHERE f.session_id = s.id) FROM sessions s"
    )
    for session, next_seq, novel, repeat, rejected, forgotten, counted, turned_down, told, summed, beyond in rows:
        if novel + repeat + rejected != next_seq:
            yield f"session {session}: {novel} + {repeat} + {rejected} verdicts for {next_seq} frames"
        if counted + forgotten != novel + repeat:
            yield f"session {session}: {counted} frames on record and {forgotten} forgotten of {novel + repeat}"
        if not turned_down == told == rejected:
            yield f"session {session}: {rejected} frames rejected, {turned_down} on record, {told} reasons"
        if summed != counted:
            yield f"session {session}: its sightings have {summed} frames, on record are {counted}"
        if beyond > next_seq:
            yield f"session {session}: a frame on record beyond those acknowledged"
    for stream, counted, lost, kept in connection.execute(
        "SELECT s.stream_id, sum(novel_frames), sum(lost_exemplars), (SELECT count(*) FROM exemplars e JOIN sessions n"
        " ON n.id = e.session_id WHERE n.stream_id = s.stream_id) FROM sessions s GROUP BY s.stream_id"
    ):
        if counted - lost != kept:
            yield f"stream {stream}: {counted} novel frames, {lost} exemplars lost, {kept} kept"


def _sightings_say_what_frames_say(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT g.id, g.frames, g.start_us, g.end_us, g.largest_novelty, g.moved_angle, g.last_seq,"
        " count(f.seq), min(f.capture_us), max(f.capture_us),"
        f" max(CASE f.kind WHEN {FrameKind.REPEAT:d} THEN f.novelty ELSE 0 END),"
        " (SELECT min(h.first_seq) FROM sightings h WHERE h.session_id = g.session_id AND h.first_seq > g.first_seq)"
        f" FROM sightings g LEFT JOIN frames f ON f.session_id = g.session_id AND {_COUNTED}"
        " AND f.seq BETWEEN g.first_seq AND g.last_seq GROUP BY g.id"
    )
    for sighting, frames, start, end, largest, moved, last_seq, counted, first, last, measured, following in rows:
        if (frames, start, end) != (counted, first, last):
            yield f"sighting {sighting}: says {frames} frames in {start} to {end}, has {counted} in {first} to {last}"
        if following is not None and following <= last_seq:
            yield f"sighting {sighting}: goes on to frame {last_seq}, the next one begins at {following}"
        if moved == 0 and abs(largest - measured) > _TOLERANCE:
            yield f"sighting {sighting}: says a largest novelty of {largest}, its frames say {measured}"


def _labels_find_sightings(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT g.id, g.labels, (SELECT group_concat(label, char(10)) FROM"
        " (SELECT label FROM sighting_labels l WHERE l.sighting_id = g.id ORDER BY label)) FROM sightings g"
    )
    for sighting, labels, found_by in rows:
        if labels.split("\n") != sorted((found_by or "").split("\n")):
            yield f"sighting {sighting}: has the labels {labels!r}, is found by {found_by!r}"


def _covered(connection: sqlite3.Connection) -> Iterator[str]:
    """Every frame was within the threshold in force of its exemplar, as it was when it was measured."""
    rows = connection.execute(
        "SELECT g.id, g.stream_id, g.policy_revision, g.threshold, g.largest_novelty, g.moved_angle, g.frames, g.cut,"
        " g.mean, g.checksum, e.embedding, e.checksum FROM sightings g JOIN exemplars e ON e.id = g.exemplar_id"
    )
    in_force = _thresholds_in_force(connection)
    for row in rows:
        sighting, stream, revision, threshold, largest, moved, frames, cut, mean_blob, checksum, *of = row
        blob, embedding_sum = of
        if threshold not in in_force(stream, revision):
            yield f"sighting {sighting}: threshold {threshold} was not in force by the policy it names"
        if angle_of(largest) - moved > angle_of(threshold) + _TOLERANCE:
            yield f"sighting {sighting}: largest novelty {largest}, moved by {moved}, is beyond threshold {threshold}"
        embedding = embedding_from(blob, embedding_sum).astype(np.float64)
        mean = mean_from(mean_blob, checksum).astype(np.float64)
        # the mean of distances is the distance of the mean: it cannot be larger than the largest
        average = 1 - float(mean @ embedding) / float(np.linalg.norm(embedding))
        if not cut and average > largest + 1e-4:
            yield f"sighting {sighting}: its {frames} frames are {average} away on average, at most {largest} is said"


def _frames_are_like_their_exemplars(connection: sqlite3.Connection) -> Iterator[str]:
    """What is on record of each frame is as near to its exemplar as its sighting says, but for rounding."""
    rows = connection.execute(
        "SELECT e.id, e.embedding, f.kind, g.id, g.largest_novelty, x.embedding FROM frame_embeddings e"
        f" LEFT JOIN frames f ON f.session_id = e.id / {SEQS} AND f.seq = e.id % {SEQS} AND f.{_COUNTED}"
        " LEFT JOIN sightings g ON g.id = (SELECT id FROM sightings WHERE session_id = f.session_id"
        " AND first_seq <= f.seq ORDER BY first_seq DESC LIMIT 1)"
        " LEFT JOIN exemplars x ON x.id = g.exemplar_id"
    )
    for number, blob, kind, sighting, largest, exemplar_blob in rows:
        session, seq = divmod(number, SEQS)
        if kind is None or exemplar_blob is None:
            yield f"frame {seq} of session {session}: is on record, and not counted"
            continue
        exemplar = np.frombuffer(exemplar_blob, "<f2").astype(np.float64)
        values, step = np.frombuffer(blob[:-4], np.int8), float(np.frombuffer(blob[-4:], "<f4")[0])
        if len(values) != len(exemplar):
            yield f"frame {seq} of session {session}: expected {len(exemplar)} numbers, got {len(values)}"
            continue
        frame = step * values.astype(np.float64)
        rounding = math.asin(min(1.0, step / 2 * math.sqrt(len(values)) / max(float(np.linalg.norm(frame)), 1e-9)))
        novelty = 1 - float(frame @ exemplar) / max(float(np.linalg.norm(frame) * np.linalg.norm(exemplar)), 1e-9)
        if angle_of(max(0.0, novelty)) > angle_of(largest) + rounding + _TOLERANCE:
            yield f"frame {seq} of session {session}: {novelty} from its exemplar, sighting {sighting} says {largest}"


def _thresholds_in_force(connection: sqlite3.Connection) -> Callable[[int, int], set[float | None]]:
    """Tell the threshold in force for a stream by the record of a revision; none if there is no such record."""
    records: dict[int | None, list[tuple[int, float | None]]] = {}
    for revision, stream, threshold in connection.execute(
        "SELECT revision, stream_id, threshold FROM policies ORDER BY revision"
    ):
        records.setdefault(stream, []).append((revision, threshold))
    lifts = _last_lifts(connection)

    def latest(stream: int | None, revision: int) -> tuple[int, float | None]:
        of_stream = records.get(stream, [])
        place = bisect_right(of_stream, revision, key=lambda record: record[0])
        return of_stream[place - 1] if place else (0, None)

    def in_force(stream: int, revision: int) -> set[float | None]:
        own, memory = latest(stream, revision), latest(None, revision)
        found = {memory[1] if own[1] is None else own[1]} if revision in {own[0], memory[0]} else set()
        return found | ({memory[1]} if revision == memory[0] and lifts.get(stream, 0) > revision else set())

    return in_force


def _last_lifts(connection: sqlite3.Connection) -> dict[int, int]:
    """Give the last record by which each stream returned to the threshold of the memory.

    Before schema version 4, what was decided after it named the record of the memory, an earlier one.
    """
    return dict(
        connection.execute(
            "SELECT stream_id, max(revision) FROM policies WHERE stream_id IS NOT NULL AND threshold IS NULL GROUP BY 1"
        )
    )


def _policies_close_sightings(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT session_id, id, stream_id, policy_revision FROM sightings ORDER BY session_id, first_seq"
    )
    lifts = _last_lifts(connection)
    latest: dict[int, int] = {}
    for session, sighting, stream, revision in rows:
        before = latest.get(session, 0)
        if revision < before and lifts.get(stream, 0) < before:
            yield f"sighting {sighting}: by policy {revision}, after one by {before}"
        latest[session] = revision


def _exemplars_stand_for_frames(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT e.id, e.recentred, f.kind, t.exemplar_id IS NOT NULL,"
        " EXISTS (SELECT 1 FROM sightings g WHERE g.exemplar_id = e.id) FROM exemplars e"
        " LEFT JOIN frames f ON f.session_id = e.session_id AND f.seq = e.seq"
        " LEFT JOIN thumbnails t ON t.exemplar_id = e.id"
    )
    # An exemplar whose own frame is gone is settled at the latest when the removal ends.
    [(unfinished,)] = connection.execute("SELECT count(*) FROM forgetting")
    for exemplar, recentred, kind, has_thumbnail, is_seen in rows:
        if not is_seen:
            yield f"exemplar {exemplar}: stands for no frame"
        if (kind is None or (not recentred and kind != FrameKind.NOVEL)) and not unfinished:
            yield f"exemplar {exemplar}: its own frame is not on record as novel"
        if has_thumbnail == bool(recentred):
            yield f"exemplar {exemplar}: {'a' if has_thumbnail else 'no'} thumbnail, own frame forgotten: {recentred}"
    for table, column in (("exemplars", "next_exemplar"), ("stays", "next_stay"), ("sightings", "next_sighting")):
        for (number,) in connection.execute(f"SELECT id FROM {table} WHERE id >= (SELECT {column} FROM memory)"):
            yield f"row {number} of {table}: numbers are given out beyond it"


def _blocks_are_in_order(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT t.stream_id, t.position / ?, count(*), count(DISTINCT t.exemplar_id), max(t.position), s.next_position"
        " FROM stays t JOIN streams s ON s.id = t.stream_id GROUP BY 1, 2",
        (BLOCK_SIZE,),
    )
    for stream, block, stays, exemplars, last, following in rows:
        if stays > BLOCK_SIZE or stays != exemplars or last >= following:
            yield (
                f"block {block} of stream {stream}: {stays} stays of {exemplars} exemplars up to position {last},"
                f" the next being {following}"
            )
    for (stay,) in connection.execute(
        "SELECT id FROM stays t WHERE NOT EXISTS"
        " (SELECT 1 FROM sightings g WHERE g.stay_id = t.id AND g.exemplar_id = t.exemplar_id)"
    ):
        yield f"stay {stay}: has no sighting"
    for (sighting,) in connection.execute(
        "SELECT g.id FROM sightings g JOIN stays t ON t.id = g.stay_id"
        " WHERE (t.exemplar_id, t.stream_id) != (g.exemplar_id, g.stream_id)"
    ):
        yield f"sighting {sighting}: its stay is of another exemplar or stream"


_CHECKS: dict[str, Callable[[sqlite3.Connection], Iterator[str]]] = {
    "the file is whole": _whole_file,
    "vectors and thumbnails are what was written": _whole_vectors,
    "every frame is accounted for": _accounted_for,
    "sightings say what their frames say": _sightings_say_what_frames_say,
    "labels find their sightings": _labels_find_sightings,
    "every frame is covered": _covered,
    "frames on record are like their exemplars": _frames_are_like_their_exemplars,
    "sightings close when the policy changes": _policies_close_sightings,
    "exemplars stand for frames": _exemplars_stand_for_frames,
    "blocks are in order": _blocks_are_in_order,
}
