"""Looks into journals that are not opened for them, and leaves nothing beside them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def reading_alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a journal that nobody has open, and that nobody opens meanwhile.

    A reader of a journal in WAL mode makes files beside it and leaves them there, since it must not write.

    Raises:
        sqlite3.Error: it cannot be opened.
        OSError: what was made beside it cannot be removed.
    """
    log, shared = path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
    has_log, has_shared = log.exists() and log.stat().st_size > 0, shared.exists()
    # Without a log there is nothing but the file, which does not change; if it has gone, it must not be made again.
    way = "mode=ro" if has_log else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True)) as connection:
        yield connection
    if has_log and not has_shared:
        shared.unlink(missing_ok=True)


def has_tidying(path: Path, *, is_open: bool) -> bool:
    """Tell whether a memory has a retention, or something that was to be forgotten and is not yet.

    Of a file that cannot be read, or that no version with either has written, this is false; opening it says why.

    Args:
        path: its journal.
        is_open: this process has it open; if not, nobody opens it meanwhile.
    """
    try:
        with _reading_beside(path) if is_open else reading_alone(path) as connection:
            [(found,)] = connection.execute(
                "SELECT coalesce(retain_us, retain_exemplars, retain_bytes) IS NOT NULL"
                " OR EXISTS (SELECT 1 FROM forgetting) FROM memory"
            )
    except (sqlite3.Error, OSError, ValueError):
        return False
    return bool(found)


def _reading_beside(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True))
