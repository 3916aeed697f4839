"""Whether a data folder holds what the client was promised, once each: asked of the store, and of SQLite alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.crash_ledger import Ledger, SessionLedger, agree
from benchmarks.crash_scenes import DIMENSION
from memory_store.config import MemoryStoreConfig
from memory_store.errors import MemoryStoreError
from memory_store.index_copy import read_copy
from memory_store.journal import now_us
from memory_store.memory import Memory
from memory_store.store import MemoryStore
from memory_store.verification import verify
from service.frame_converters import verdict_to
from service.ingest import TimedVerdict

# Columns that tell the moment or the place of writing, which no two runs have in common.
_INCIDENTAL = {"created_us", "since_us"}
_INCIDENTAL_OF = {"memory": {"uuid"}}

_REJECTED = 3

Rows = list[dict[str, object]]


@dataclass(slots=True)
class Findings:
    """What is wrong with a data folder; empty where nothing is."""

    lost: list[str] = field(default_factory=list)
    """Acknowledged, and not there as acknowledged."""

    twice: list[str] = field(default_factory=list)
    """Counted in one place and not, or otherwise, in another."""

    verify_failed: list[str] = field(default_factory=list)
    """Checks of `memory_store.verification` that do not hold."""

    not_erased: list[str] = field(default_factory=list)
    """Forgotten, and still in a file."""

    left_behind: list[str] = field(default_factory=list)
    """Files that belong to no memory."""

    def all(self) -> list[str]:
        """Everything that is wrong."""
        return [*self.lost, *self.twice, *self.verify_failed, *self.not_erased, *self.left_behind]


def check(data: Path, ledger: Ledger) -> Findings:
    """Open a copy of a data folder as a restart would, and compare it with what the client knows. Changes the copy."""
    findings = Findings(not_erased=list(_not_erased(data, ledger)))
    ledger.unfinished = {path.stem: _unfinished(path) for path in (data / "memories").glob("*.sqlite")}
    store = MemoryStore(data, MemoryStoreConfig())
    try:
        existing = set(store.names())
        for name, exists in ledger.memories.items():
            if exists is not None and exists != (name in existing):
                findings.lost.append(f"expected memory {name} {'to be there' if exists else 'to be gone'}")
        for name in sorted(existing):
            try:
                if ledger.unfinished.get(name):
                    store.get(name).tidy(now_us())  # as the server does when it starts
                _check_memory(name, store.get(name), data, ledger, findings)
            except (MemoryStoreError, sqlite3.Error) as error:
                findings.lost.append(f"memory {name} cannot be used: {error}")
    finally:
        store.close()
    findings.left_behind += left_behind(data)
    for name in sorted(existing):
        verified = verify(data / f"memories/{name}.sqlite")
        findings.verify_failed += [f"{name}: {one.name}: {one.told}" for one in verified.checks if one.failures]
    return findings


def left_behind(data: Path) -> list[str]:
    """Name the files beside the memories that belong to none."""
    folder = data / "memories"
    names = [path.stem for path in folder.glob("*.sqlite")]
    theirs = {f"{name}.{end}" for name in names for end in ("sqlite", "sqlite-wal", "sqlite-shm", "index", "whatif")}
    return sorted(path.name for path in folder.iterdir() if path.name not in theirs) if folder.exists() else []


def _not_erased(data: Path, ledger: Ledger) -> Iterator[str]:
    """Look for what was forgotten in all files, as they are."""
    contents = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} if ledger.erasures else {}
    for name, erasure in ledger.erasures.items():
        for path, content in contents.items():
            if ".whatif" in path.name and erasure.keeps_frames:
                continue  # the frames that a merged exemplar stood for are still there, and held for curves
            found = sum(piece in content for piece in erasure.erased)
            if found:
                yield f"{path.name} holds {found} pieces of {len(erasure.erased)} that are gone since {name}"
        copy = read_copy(data / f"memories/{erasure.memory}.index", DIMENSION)
        if copy is not None and erasure.gone & set(copy.ids.tolist()):
            yield f"the copy of the index of {erasure.memory} names exemplars that are gone since {name}"


def _unfinished(path: Path) -> int:
    """Count the removals that a journal has as begun; none if it cannot be read, or is older than removals are."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            return len(rows(connection, "SELECT id FROM forgetting"))
        except sqlite3.Error:
            return 0


def _check_memory(name: str, memory: Memory, data: Path, ledger: Ledger, findings: Findings) -> None:
    thresholds = ledger.thresholds.get(name)
    if thresholds is not None and memory.policy().threshold not in thresholds:
        findings.lost.append(f"memory {name}: expected a threshold in {thresholds}, got {memory.policy().threshold}")
    with closing(sqlite3.connect(data / f"memories/{name}.sqlite")) as connection:
        if name in ledger.imported:
            [held] = rows(connection, "SELECT count(*) AS frames FROM frames")
            if int(str(held["frames"])) < ledger.imported[name]:
                findings.lost.append(f"memory {name}: expected {ledger.imported[name]} frames or more, got {held}")
        sessions = rows(connection, "SELECT * FROM sessions")
        for promised in ledger.sessions.values():
            if promised.memory == name:
                [*found] = [session for session in sessions if session["uuid"] == promised.session_id]
                may_change = ledger.may_change(name)
                findings.lost += _broken_promises(promised, found, memory, may_change=may_change)
        findings.twice += [f"memory {name}: {what}" for what in _miscounts(connection, sessions, ledger)]


def _broken_promises(promised: SessionLedger, found: Rows, memory: Memory, *, may_change: bool) -> list[str]:
    if not promised.acknowledged:
        return []
    next_seq, session_id = (int(str(found[0][key])) for key in ("next_seq", "id")) if found else (0, 0)
    held = {verdict.seq: verdict for verdict in memory.reading.verdicts(session_id, 0, promised.acknowledged - 1)}
    if next_seq < promised.acknowledged or len(held) < promised.acknowledged:
        return [f"{promised.acknowledged} frames were acknowledged, {next_seq} are counted, {len(held)} are there"]
    answers = {seq: verdict_to(promised.memory, TimedVerdict(verdict, None, None)) for seq, verdict in held.items()}
    return [
        f"{told} was told, {answers[seq]} is there"
        for seq, told in promised.told.items()
        if not agree(told, answers[seq], may_change=may_change)
    ]


def _miscounts(connection: sqlite3.Connection, sessions: Rows, ledger: Ledger) -> list[str]:
    """Count again, by other ways than the store counts."""
    damage = [str(row["integrity_check"]) for row in rows(connection, "PRAGMA integrity_check")]
    wrong = [f"damaged: {what}" for what in damage if what != "ok"]
    wrong += [f"{row} refers to nothing" for row in rows(connection, "PRAGMA foreign_key_check")]
    for session in sessions:
        wrong += [f"session {session['uuid']}: {what}" for what in _miscounts_of(connection, session, ledger)]
    between = "f.session_id = g.session_id AND f.seq BETWEEN g.first_seq AND g.last_seq"
    wrong += [
        f"sighting {row['id']} counts {row['frames']} frames, {row['found']} are there"
        for row in rows(
            connection,
            f"SELECT g.id, g.frames, (SELECT count(*) FROM frames f WHERE {between} AND f.kind <> {_REJECTED}) AS found"
            " FROM sightings g WHERE found <> g.frames",
        )
    ]
    wrong += [f"stay {row['id']} is empty" for row in rows(connection, _EMPTY_STAYS)]
    return wrong


_EMPTY_STAYS = "SELECT id FROM stays WHERE id NOT IN (SELECT stay_id FROM sightings)"


def _miscounts_of(connection: sqlite3.Connection, session: dict[str, object], ledger: Ledger) -> list[str]:
    [counted] = rows(
        connection,
        f"SELECT count(*) AS rows, coalesce(sum(kind = {_REJECTED}), 0) AS rejected_frames,"
        " (SELECT coalesce(sum(frames), 0) FROM sightings WHERE session_id = :id) AS frames"
        " FROM frames WHERE session_id = :id",
        {"id": session["id"]},
    )
    forgotten = int(str(session.get("forgotten_frames", 0)))
    wrong = []
    if int(str(counted["rows"])) + forgotten != session["next_seq"]:
        wrong.append(f"expected {session['next_seq']} frames, got {counted['rows']} and {forgotten} forgotten")
    told = [int(str(session[f"{kind}_frames"])) for kind in ("novel", "repeat", "rejected")]
    if (sum(told[:2]) - forgotten, told[2]) != (counted["frames"], counted["rejected_frames"]):
        wrong.append(f"expected (novel, repeat, rejected) {told} and {forgotten} forgotten to agree with {counted}")
    promised = ledger.sessions.get(str(session["uuid"]))
    if promised is not None and int(str(session["next_seq"])) > promised.sent:
        wrong.append(f"expected no more than the {promised.sent} frames that were sent, got {session['next_seq']}")
    return wrong


def rows(connection: sqlite3.Connection, query: str, values: dict[str, object] | None = None) -> Rows:
    """Give the rows of a query by the names of their columns."""
    cursor = connection.execute(query, values or {})
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


EndState = dict[str, dict[str, Rows]]
"""By memory and table: the rows, in the order of their keys."""


def end_state(data: Path) -> EndState:
    """Read all tables of all memories of a data folder on which no server runs, but for what is incidental."""
    state = {}
    for path in sorted((data / "memories").glob("*.sqlite")):
        with closing(sqlite3.connect(path)) as connection:
            names = [
                str(row["name"]) for row in rows(connection, "SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            state[path.stem] = {table: _table(connection, table) for table in names}
    return state


def _table(connection: sqlite3.Connection, table: str) -> Rows:
    incidental = _INCIDENTAL | _INCIDENTAL_OF.get(table, set())
    columns = [row for row in rows(connection, f"PRAGMA table_info({table})") if row["name"] not in incidental]
    chosen = ", ".join(str(column["name"]) for column in columns)
    return rows(connection, f"SELECT {chosen} FROM {table} ORDER BY {chosen}")


def differences(expected: EndState, found: EndState) -> list[str]:
    """Tell where two end states differ, table by table."""
    if expected.keys() != found.keys():
        return [f"expected the memories {sorted(expected)}, got {sorted(found)}"]
    different = []
    for memory, tables in expected.items():
        for table in tables.keys() | found[memory].keys():
            pair = tables.get(table, []), found[memory].get(table, [])
            if pair[0] != pair[1]:
                first = next((one for one in zip(*pair, strict=False) if one[0] != one[1]), "one is longer")
                different.append(f"{memory}.{table}: {len(pair[0])} and {len(pair[1])} rows, first difference {first}")
    return different
