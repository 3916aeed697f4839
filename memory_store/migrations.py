"""The schema of a journal, as the steps that lead to it. A step and its record are one transaction."""

import sqlite3

from memory_store.errors import MemoryUnreadable

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

STEPS: tuple[str, ...] = (_FIRST,)
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
    for number in range(version, len(STEPS)):
        connection.executescript(f"BEGIN IMMEDIATE; {STEPS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
