"""What a user would pick instead, filled with the same vectors: `python -m benchmarks.peers fill|reopen PEER ...`.

A part of `benchmarks.store`, which starts it, a process for each, and reads the JSON that it prints. Peers only store
and search: nothing decides what to keep, counts frames, or keeps a thumbnail, so their inserts do less. They are
used as their own first pages show; the packages are those of the extra `peers`, and each process imports but one.
"""

import importlib
import importlib.util
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import click
import numpy as np

from benchmarks.figures import Figures, folder_bytes, own_memory_bytes, quantile_ms, share_of
from benchmarks.growth import Rows, Vectors

BATCH = 64
"""Vectors an insert, where inserts are measured: the groups of the memory."""

MEASURED = 12_800
"""Vectors inserted so, at most: the last ones. Those before come in bulk, which is quicker."""

CHECKING_S = 20.0
"""Longest time of checks: where one takes long, there are fewer."""

_BULK = 16_384

_TRIALS = 10
"""Searches that decide with how many threads FAISS is quicker."""


class Peer(Protocol):
    """A store of vectors, in a folder of its own."""

    def insert(self, first_id: int, vectors: Vectors) -> None:
        """Insert vectors, float32 [K, D], with consecutive ids, at once; on disk afterwards where it keeps them so."""
        ...

    def finish(self) -> None:
        """Do what a user does when all vectors are there."""
        ...

    def novelty(self, query: Vectors) -> float:
        """Give the cosine distance to the nearest vector found, 2 if none was."""
        ...


class Faiss:
    """FAISS flat: exhaustive search in memory; on disk only once it is written as a whole."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._faiss = importlib.import_module("faiss")
        self._path = folder / "vectors.faiss"
        written = self._path.exists()
        self._index = self._faiss.read_index(str(self._path)) if written else self._faiss.IndexFlatIP(dimension)

    def insert(self, first_id: int, vectors: Vectors) -> None:  # noqa: ARG002  # its ids are the places
        """See `Peer`."""
        self._index.add(vectors)

    def finish(self) -> None:
        """Write the index, and search with one thread or with all, whichever is quicker on this machine."""
        self._faiss.write_index(self._index, str(self._path))
        query = self._index.reconstruct(0)
        taken = {}
        for threads in (1, self._faiss.omp_get_max_threads()):
            self._faiss.omp_set_num_threads(threads)
            begun = time.perf_counter()
            for _ in range(_TRIALS):
                self.novelty(query)
            taken[threads] = time.perf_counter() - begun
        self._faiss.omp_set_num_threads(min(taken, key=taken.__getitem__))

    def novelty(self, query: Vectors) -> float:
        """See `Peer`."""
        similarities, _ = self._index.search(query[None], 1)
        return 1 - float(similarities[0, 0])


class LanceFlat:
    """LanceDB without an index: exhaustive search in files; an insert is a new version, not synced to the disk."""

    def __init__(self, folder: Path, dimension: int) -> None:
        lancedb, self._arrow = importlib.import_module("lancedb"), importlib.import_module("pyarrow")
        self._dimension = dimension
        database = lancedb.connect(str(folder))
        vector = self._arrow.list_(self._arrow.float32(), dimension)
        self._schema = self._arrow.schema([("id", self._arrow.int64()), ("vector", vector)])
        self.table: Any = database.create_table("vectors", schema=self._schema, exist_ok=True)

    def insert(self, first_id: int, vectors: Vectors) -> None:
        """See `Peer`."""
        ids = np.arange(first_id, first_id + len(vectors))
        flat = self._arrow.array(vectors.reshape(-1))
        column = self._arrow.FixedSizeListArray.from_arrays(flat, self._dimension)
        self.table.add(self._arrow.table({"id": ids, "vector": column}, schema=self._schema))

    def finish(self) -> None:
        """Put the pieces that inserts left together, and remove what is left of them."""
        self.table.optimize(cleanup_older_than=timedelta(milliseconds=1))  # of 0 it warns that others may be reading

    def novelty(self, query: Vectors) -> float:
        """See `Peer`."""
        return _nearest_in(self._search(query))

    def _search(self, query: Vectors) -> Any:
        search = self.table.search(query, vector_column_name="vector")
        return search.distance_type("cosine").limit(1).select(["id", "_distance"])


class LanceIndexed(LanceFlat):
    """LanceDB with the index of its own choice, IVF_PQ with its defaults; ten candidates compared exactly."""

    def finish(self) -> None:
        """Put the pieces together, and train the index."""
        super().finish()
        config = importlib.import_module("lancedb.index").IvfPq(distance_type="cosine")
        self.table.create_index("vector", config=config)

    def novelty(self, query: Vectors) -> float:
        """See `Peer`."""
        return _nearest_in(self._search(query).refine_factor(10))


def _nearest_in(search: Any) -> float:
    found = search.to_list()
    return float(found[0]["_distance"]) if found else 2.0


class SqliteVec:
    """sqlite-vec: exhaustive search in an SQLite file, a transaction an insert, synced as the memory's journal is."""

    def __init__(self, folder: Path, dimension: int) -> None:
        # Python's own sqlite3 is often built without extensions; apsw brings an SQLite that loads them.
        self._connection: Any = importlib.import_module("apsw").Connection(str(folder / "vectors.sqlite"))
        self._connection.enable_load_extension(True)  # noqa: FBT003  # takes no name
        self._connection.load_extension(importlib.import_module("sqlite_vec").loadable_path())
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS vectors"
            f" USING vec0(id INTEGER PRIMARY KEY, embedding float[{dimension}] distance_metric=cosine)"
        )

    def insert(self, first_id: int, vectors: Vectors) -> None:
        """See `Peer`."""
        rows = [(first_id + place, vector.tobytes()) for place, vector in enumerate(vectors)]
        with self._connection:
            self._connection.executemany("INSERT INTO vectors VALUES (?, ?)", rows)

    def finish(self) -> None:
        """See `Peer`: there is nothing to do."""

    def novelty(self, query: Vectors) -> float:
        """See `Peer`."""
        found = self._connection.execute(
            "SELECT distance FROM vectors WHERE embedding MATCH ? AND k = 1", (query.tobytes(),)
        ).fetchall()
        return float(found[0][0]) if found else 2.0


PEERS: dict[str, Callable[[Path, int], Peer]] = {
    "faiss": Faiss,
    "lancedb": LanceFlat,
    "lancedb-ivf": LanceIndexed,
    "sqlite-vec": SqliteVec,
}

_MODULES = {
    "faiss": ("faiss",),
    "lancedb": ("lancedb", "pyarrow"),
    "lancedb-ivf": ("lancedb", "pyarrow", "lancedb.index"),
    "sqlite-vec": ("sqlite_vec", "apsw"),
}


def check_installed(peers: list[str]) -> None:
    """Refuse peers that are unknown or not installed, before anything is measured."""
    for peer in peers:
        if peer not in PEERS:
            raise click.UsageError(f"expected peers among {', '.join(PEERS)}, or none; got {peer}")
        missing = [name for name in _MODULES[peer] if "." not in name and importlib.util.find_spec(name) is None]
        if missing:
            raise click.UsageError(
                f"{peer} needs {' and '.join(missing)}: pip install --editable '.[peers]', or leave it out with --peers"
            )


def _load(peer: str) -> None:
    """Import what a peer needs, so that no time that is measured includes it."""
    for name in _MODULES[peer]:
        importlib.import_module(name)


@click.group()
def main() -> None:
    """Fill a peer, or open it again; prints a line of JSON."""


@main.command()
@click.argument("peer", type=click.Choice(list(PEERS)))
@click.argument("ours", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("dimension", type=int)
@click.argument("threshold", type=float)
def fill(peer: str, ours: Path, folder: Path, dimension: int, threshold: float) -> None:
    """Fill PEER in FOLDER with the exemplars of the memory in OURS, and search it for the same frames."""
    folder.mkdir()
    _load(peer)
    opened = PEERS[peer](folder, dimension)
    exemplars = Rows(ours / "exemplars.f16", dimension)
    measured = min(MEASURED, len(exemplars) // 2)
    for begin in range(0, len(exemplars) - measured, _BULK):
        opened.insert(begin, exemplars.read(begin, min(begin + _BULK, len(exemplars) - measured)))
    begun = time.perf_counter()
    for begin in range(len(exemplars) - measured, len(exemplars), BATCH):
        opened.insert(begin, exemplars.read(begin, begin + BATCH))
    inserted = time.perf_counter()
    opened.finish()
    figures: Figures = {
        "peer": peer,
        "n": len(exemplars),
        "inserts_per_s": round(measured / (inserted - begun), 1),
        "build_s": round(time.perf_counter() - inserted, 2),
    }
    figures |= _checks(opened, np.load(ours / "queries.npy"), np.load(ours / "truth.npy"), threshold)
    rss, peak = own_memory_bytes("VmRSS"), own_memory_bytes("VmHWM")
    figures |= {"rss_bytes_per_exemplar": round(rss / len(exemplars)), "rss_bytes": rss, "peak_rss_bytes": peak}
    click.echo(json.dumps(figures | {"disk_bytes_per_exemplar": round(folder_bytes(folder) / len(exemplars))}))


def _checks(peer: Peer, queries: Vectors, truth: Vectors, threshold: float) -> Figures:
    """Search for as many of Q queries as there is time for, one at a time."""
    seconds: list[float] = []
    recognised = repeats = 0
    for query, novelty in zip(queries, truth.tolist(), strict=True):
        begun = time.perf_counter()
        found = peer.novelty(query)
        seconds.append(time.perf_counter() - begun)
        repeats += novelty <= threshold
        recognised += novelty <= threshold and found <= threshold
        if sum(seconds) > CHECKING_S:
            break
    return {
        "checks": len(seconds),
        "check_p50_ms": quantile_ms(seconds, 0.5),
        "check_p99_ms": quantile_ms(seconds, 0.99),
        "repeats_recognised": share_of(recognised, repeats),
    }


@main.command()
@click.argument("peer", type=click.Choice(list(PEERS)))
@click.argument("ours", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("dimension", type=int)
def reopen(peer: str, ours: Path, folder: Path, dimension: int) -> None:
    """Open PEER again, until it has answered one search; the files are still in the page cache."""
    query = np.load(ours / "queries.npy")[0]
    _load(peer)
    begun = time.perf_counter()
    opened = PEERS[peer](folder, dimension)
    opened.novelty(query)
    taken = round(time.perf_counter() - begun, 3)
    click.echo(json.dumps({"reopen_s": taken, "rss_bytes_reopened": own_memory_bytes("VmRSS")}))


if __name__ == "__main__":
    main()
