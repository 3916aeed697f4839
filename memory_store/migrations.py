"""The schema of a journal, as the steps that lead to it. A step and its record are one transaction."""

import sqlite3
import zlib

import numpy as np

from memory_store.coverage import angle_between, moved
from memory_store.errors import MemoryUnreadable
from memory_store.vectors import as_stored, embedding_blob

_FIRST = """
CREATE TABLE memory (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    encoder_version TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_us INTEGER NOT NULL
) STRICT;

-- Every threshold that was ever in force. Without a stream: the memory's; without a threshold: the stream's was lifted.
CREATE TABLE policies (
    revision INTEGER PRIMARY KEY,
    stream_id INTEGER REFERENCES streams,
    threshold REAL,
    since_us INTEGER NOT NULL
) STRICT;

-- The counts follow from `frames`; they stand here so that nobody has to count a year of frames.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams,
    uuid TEXT NOT NULL,
    clock INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    next_seq INTEGER NOT NULL DEFAULT 0,
    last_pts_us INTEGER,
    novel_frames INTEGER NOT NULL DEFAULT 0,
    repeat_frames INTEGER NOT NULL DEFAULT 0,
    rejected_frames INTEGER NOT NULL DEFAULT 0,
    received_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (stream_id, uuid)
) STRICT;

CREATE TABLE exemplars (
    id INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions,
    seq INTEGER NOT NULL,
    capture_us INTEGER NOT NULL,
    embedding BLOB NOT NULL
) STRICT;

CREATE TABLE thumbnails (
    exemplar_id INTEGER PRIMARY KEY REFERENCES exemplars,
    jpeg BLOB NOT NULL
) STRICT;

CREATE TABLE stays (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams,
    position INTEGER NOT NULL,
    exemplar_id INTEGER NOT NULL REFERENCES exemplars,
    UNIQUE (stream_id, position)
) STRICT;
CREATE INDEX stays_by_exemplar ON stays (exemplar_id);

CREATE TABLE sightings (
    id INTEGER PRIMARY KEY,
    stay_id INTEGER NOT NULL REFERENCES stays,
    stream_id INTEGER NOT NULL REFERENCES streams,
    session_id INTEGER NOT NULL REFERENCES sessions,
    exemplar_id INTEGER NOT NULL REFERENCES exemplars,
    policy_revision INTEGER NOT NULL,
    threshold REAL NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    largest_novelty REAL NOT NULL,
    mean BLOB NOT NULL
) STRICT;
CREATE INDEX sightings_by_stay ON sightings (stay_id);
CREATE INDEX sightings_by_exemplar ON sightings (exemplar_id);
CREATE INDEX sightings_by_session ON sightings (session_id);
CREATE INDEX sightings_by_time ON sightings (stream_id, start_us, id);

-- One row for every frame that was acknowledged.
CREATE TABLE frames (
    session_id INTEGER NOT NULL REFERENCES sessions,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    pts_repaired INTEGER NOT NULL,
    pts_us INTEGER,
    capture_us INTEGER,
    sighting_id INTEGER REFERENCES sightings,
    novelty REAL,
    PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE rejections (
    session_id INTEGER NOT NULL REFERENCES sessions,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
"""

# Embeddings in float16, with what that rounding moved put on record; checksums; forgetting, which needs ids that are
# never used again, and sightings that can be cut: a frame belongs to the sighting of its session that spans its seq.
_SECOND = """
ALTER TABLE memory ADD COLUMN uuid TEXT NOT NULL DEFAULT '';
ALTER TABLE memory ADD COLUMN next_exemplar INTEGER NOT NULL DEFAULT 1;
ALTER TABLE memory ADD COLUMN next_stay INTEGER NOT NULL DEFAULT 1;
ALTER TABLE memory ADD COLUMN next_sighting INTEGER NOT NULL DEFAULT 1;
ALTER TABLE memory ADD COLUMN retain_us INTEGER;
ALTER TABLE memory ADD COLUMN retain_exemplars INTEGER;
ALTER TABLE memory ADD COLUMN retain_bytes INTEGER;
UPDATE memory SET uuid = lower(hex(randomblob(16))),
    next_exemplar = (SELECT coalesce(max(id), 0) + 1 FROM exemplars),
    next_stay = (SELECT coalesce(max(id), 0) + 1 FROM stays),
    next_sighting = (SELECT coalesce(max(id), 0) + 1 FROM sightings);

ALTER TABLE streams ADD COLUMN next_position INTEGER NOT NULL DEFAULT 0;
UPDATE streams SET next_position = (SELECT count(*) FROM stays WHERE stream_id = streams.id);

-- lost_exemplars: those it was the first to show that were forgotten or merged into others.
ALTER TABLE sessions ADD COLUMN forgotten_frames INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN lost_exemplars INTEGER NOT NULL DEFAULT 0;

-- Of a recentred exemplar the own frame was forgotten: its embedding is a mean, session_id, seq and capture_us are
-- those of the first frame left, and there is no thumbnail.
ALTER TABLE exemplars ADD COLUMN recentred INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exemplars ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE thumbnails ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;

-- moved_angle: radians by which the embedding of the exemplar was moved since the frames were measured against it.
-- cut: a part of its frames was forgotten, and with them its mean: it stands by the exemplar's embedding.
ALTER TABLE sightings ADD COLUMN moved_angle REAL NOT NULL DEFAULT 0;
ALTER TABLE sightings ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sightings ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE sightings SET checksum = crc32(mean),
    moved_angle = (SELECT rounding_angle(embedding) FROM exemplars e WHERE e.id = exemplar_id);
UPDATE sightings SET largest_novelty = moved(largest_novelty, moved_angle);
UPDATE exemplars SET embedding = rounded(embedding);
UPDATE exemplars SET checksum = crc32(embedding);
UPDATE thumbnails SET checksum = crc32(jpeg);

DROP INDEX sightings_by_stay;
DROP INDEX sightings_by_exemplar;
DROP INDEX sightings_by_session;
DROP INDEX stays_by_exemplar;
CREATE INDEX sightings_by_exemplar ON sightings (exemplar_id, stay_id);
CREATE INDEX sightings_by_session ON sightings (session_id, first_seq);
CREATE INDEX sightings_by_end ON sightings (stream_id, end_us, id);

CREATE TABLE frames_of_sightings (
    session_id INTEGER NOT NULL REFERENCES sessions,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    pts_repaired INTEGER NOT NULL,
    pts_us INTEGER,
    capture_us INTEGER,
    novelty REAL,
    PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO frames_of_sightings SELECT session_id, seq, kind, pts_repaired, pts_us, capture_us, novelty FROM frames;
DROP TABLE frames;
ALTER TABLE frames_of_sightings RENAME TO frames;

-- Ranges whose removal has begun and is not finished; stream_ids: numbers with commas, empty for all.
CREATE TABLE forgetting (
    id INTEGER PRIMARY KEY,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    stream_ids TEXT NOT NULL
) STRICT;
"""

_THIRD = """
-- What attention learned: each version that was better than plain attention, with the capture times it was fitted to.
CREATE TABLE attention (
    id INTEGER PRIMARY KEY,
    version TEXT NOT NULL UNIQUE,
    created_us INTEGER NOT NULL,
    fitted_from_us INTEGER NOT NULL,
    fitted_through_us INTEGER NOT NULL,
    parameters BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

-- What was asked, by an exemplar or by an embedding, and which exemplars were the answer.
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY,
    asked_us INTEGER NOT NULL,
    exemplar_id INTEGER,
    embedding BLOB
) STRICT;

CREATE TABLE evidence (
    exemplar_id INTEGER NOT NULL,
    feedback_id INTEGER NOT NULL REFERENCES feedback ON DELETE CASCADE,
    PRIMARY KEY (exemplar_id, feedback_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX evidence_by_feedback ON evidence (feedback_id);
"""

_FOURTH = """
-- keeping: what there is to deciding beside the threshold, as JSON; NULL as with the threshold; '=': as in the record
-- before of the same stream.
ALTER TABLE policies ADD COLUMN keeping TEXT;
CREATE INDEX policies_by_stream ON policies (stream_id, revision);
CREATE INDEX sightings_by_policy ON sightings (policy_revision);

ALTER TABLE sessions ADD COLUMN withheld_frames INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN forgotten_withheld INTEGER NOT NULL DEFAULT 0;

-- by_hint: a hint of the application outranked gate and policy.
ALTER TABLE frames ADD COLUMN by_hint INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exemplars ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

-- Frames that were novel and are in no sighting, since policy or a hint kept them out.
CREATE TABLE withheld (
    session_id INTEGER NOT NULL REFERENCES sessions,
    seq INTEGER NOT NULL,
    stream_id INTEGER NOT NULL REFERENCES streams,
    capture_us INTEGER NOT NULL,
    policy_revision INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX withheld_by_time ON withheld (stream_id, capture_us);
CREATE INDEX withheld_by_policy ON withheld (policy_revision);

-- labels: in order, a line each. The table finds the sightings of a label.
ALTER TABLE sightings ADD COLUMN labels TEXT NOT NULL DEFAULT '';
CREATE TABLE sighting_labels (
    label TEXT NOT NULL,
    sighting_id INTEGER NOT NULL REFERENCES sightings ON DELETE CASCADE,
    PRIMARY KEY (label, sighting_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_sighting ON sighting_labels (sighting_id);

-- Some frames that were dropped, with their pictures; see memory_store.examples.
CREATE TABLE examples (
    id INTEGER PRIMARY KEY,
    band INTEGER NOT NULL,
    novelty REAL NOT NULL,
    exemplar_id INTEGER NOT NULL REFERENCES exemplars,
    stream_id INTEGER NOT NULL REFERENCES streams,
    capture_us INTEGER NOT NULL,
    jpeg BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE example_bands (
    band INTEGER PRIMARY KEY,
    seen INTEGER NOT NULL,
    next_taken INTEGER NOT NULL
) STRICT;

-- What part exemplars had in answers.
CREATE TABLE served (
    exemplar_id INTEGER PRIMARY KEY REFERENCES exemplars,
    answers INTEGER NOT NULL,
    weight REAL NOT NULL,
    last_us INTEGER NOT NULL
) STRICT;
"""

_FIFTH = """
-- What counted frames looked like; see memory_store.frame_embeddings. id: session and number in one.
CREATE TABLE frame_embeddings (
    id INTEGER PRIMARY KEY,
    embedding BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
"""

_INCREMENTAL = 2

STEPS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH)
"""Step i leads from schema version i to i + 1."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a journal to the newest schema.

    Raises:
        MemoryUnreadable: it was written by a newer version; nothing was changed.
        sqlite3.Error: the disk refused; the steps before are done, this one is not.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(STEPS):
        raise MemoryUnreadable(
            f"expected a schema version of at most {len(STEPS)}, got {version}: written by a newer framekeep"
        )
    if version == len(STEPS):
        return
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
        # The first version had no way to give room back; rewriting the file is one step that happens or does not.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
    connection.create_function("rounded", 1, _rounded, deterministic=True)
    connection.create_function("rounding_angle", 1, _rounding_angle, deterministic=True)
    connection.create_function("moved", 2, moved, deterministic=True)
    for number in range(version, len(STEPS)):
        connection.executescript(f"BEGIN IMMEDIATE; {STEPS[number]} PRAGMA user_version = {number + 1}; COMMIT;")


def _rounded(blob: bytes) -> bytes:
    return embedding_blob(as_stored(np.frombuffer(blob, "<f4")))


def _rounding_angle(blob: bytes) -> float:
    embedding = np.frombuffer(blob, "<f4")
    return angle_between(embedding, as_stored(embedding))
