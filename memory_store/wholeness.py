"""What a file must be to become a memory: undamaged, with the tables of a memory, and of no newer version."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from memory_store.errors import MemoryUnreadable
from memory_store.migrations import STEPS, migrate

LOOK_STEPS = 100_000
"""Steps of SQLite's machine between two looks whether a transfer was stopped: some milliseconds."""

_MOST_FLOATS = 2**16
"""Floats of an embedding beyond which a file is not believed."""


def check_integrity(connection: sqlite3.Connection) -> None:
    """See that the pages, the rows and the indexes of a file fit each other.

    Raises:
        MemoryUnreadable: they do not.
    """
    [first] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if first != "ok":
        raise MemoryUnreadable(f"expected a whole memory, found damage: {first}")


def check_memory(path: Path, stopped: threading.Event) -> None:
    """See that a file is a memory, bring it to the newest schema, and see that it is whole.

    Raises:
        MemoryUnreadable: it is no memory, is damaged, or was written by a newer version.
    """
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise MemoryUnreadable("expected a memory as one file, got a file of another kind")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_progress_handler(stopped.is_set, LOOK_STEPS)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_mode = DELETE")
        [(version,)] = connection.execute("PRAGMA user_version")
        if not 1 <= version <= len(STEPS):
            raise MemoryUnreadable(f"expected a memory of schema version 1 to {len(STEPS)}, got version {version}")
        [(kinds,)] = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')")
        if kinds:
            raise MemoryUnreadable("expected a memory, got a database with views or triggers")
        migrate(connection)
        if _schema(connection) != _newest_schema():
            raise MemoryUnreadable("expected the tables of a memory, got others")
        check_integrity(connection)
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise MemoryUnreadable("expected a whole memory, found rows that refer to rows that are missing")
        _check_identity(connection)


def _check_identity(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT encoder_version, dimension FROM memory").fetchall()
    if len(rows) != 1:
        raise MemoryUnreadable(f"expected a file of one memory, got {len(rows)}")
    [(encoder_version, dimension)] = rows
    if not encoder_version or not 1 <= dimension <= _MOST_FLOATS:
        raise MemoryUnreadable(
            f"expected an encoder version and 1 to {_MOST_FLOATS} floats an embedding, "
            f"got {encoder_version!r} and {dimension}"
        )


def _schema(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Give the columns of all tables and indexes; not their SQL, which versions of SQLite may put differently."""
    return connection.execute(
        "SELECT s.name, c.cid, c.name, c.type, c.'notnull', c.pk, c.hidden"
        " FROM sqlite_schema s, pragma_table_xinfo(s.name) c WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite!_%'"
        " ESCAPE '!' UNION ALL SELECT s.name, c.seqno, c.name, s.tbl_name, c.'desc', c.key, 0"
        " FROM sqlite_schema s, pragma_index_xinfo(s.name) c WHERE s.type = 'index' ORDER BY 1, 2"
    ).fetchall()


def _newest_schema() -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        return _schema(connection)
