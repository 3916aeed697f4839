"""Compares the copies that opening a memory makes, index and forest, with plain sums over the journal."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from memory_store import loading
from memory_store.embedding_table import EmbeddingTable
from memory_store.forest import Forest
from memory_store.index_copy import IndexCopyDamaged, copy_path, read_copy
from memory_store.vectors import embedding_from, mean_from

_TOLERANCE = 1e-5
"""Of means in float32, which are summed in another order here."""


def copies_equal_the_journal(path: Path, connection: sqlite3.Connection) -> dict[str, Iterator[str]]:
    """Check index and forest of a journal that can be read; failures by the name of the check."""
    return {
        "the index equals the journal": _index(path, connection),
        "the trees equal recomputed ones": _trees(connection),
    }


def _index(path: Path, connection: sqlite3.Connection) -> Iterator[str]:
    [(dimension, uuid)] = connection.execute("SELECT dimension, uuid FROM memory")
    try:
        copy = read_copy(copy_path(path), dimension)
    except IndexCopyDamaged as error:
        yield f"{error}: remove it, and it comes back"
        return
    if copy is not None and copy.memory_uuid != uuid:
        yield f"{copy_path(path).name} belongs to another memory: remove it, and it comes back"
    table = EmbeddingTable(dimension)
    for ids, embeddings in loading.exemplars_of(connection):
        table.add(ids, embeddings)
    [(number,)] = connection.execute("SELECT count(*) FROM exemplars")
    if len(table) != number:
        yield f"the index has {len(table)} exemplars, the journal {number}"
    for exemplar_id, blob, checksum in connection.execute("SELECT id, embedding, checksum FROM exemplars"):
        if exemplar_id not in table:
            yield f"exemplar {exemplar_id} is not in the index"
        elif not np.array_equal(table.embedding(exemplar_id), embedding_from(blob, checksum)):
            yield f"exemplar {exemplar_id} is another vector in the index"


def _trees(connection: sqlite3.Connection) -> Iterator[str]:
    [(dimension,)] = connection.execute("SELECT dimension FROM memory")
    begins = {row[0]: loading.open_from(row[1]) for row in connection.execute("SELECT id, next_position FROM streams")}
    forest = Forest(dimension)
    for block in loading.stay_blocks_of(connection):
        forest.load(block.table, block.totals, begins[int(block.table[0, 1])])
    leaves = forest.snapshot().leaves()
    means = np.concatenate(leaves.means)  # [N, D]
    place_of = {stay: place for place, stay in enumerate(leaves.facts.column("stay_id").tolist())}
    frames = np.zeros(len(means), np.int64)
    totals = np.zeros(means.shape)  # [N, D], float64
    for stay, number, mean, checksum in connection.execute("SELECT stay_id, frames, mean, checksum FROM sightings"):
        if stay not in place_of:
            yield f"stay {stay} is not in the trees"
            continue
        frames[place_of[stay]] += number
        totals[place_of[stay]] += mean_from(mean, checksum).astype(np.float64) * number
    if (frames != leaves.facts.column("frames")).any():
        wrong = leaves.facts.column("stay_id")[frames != leaves.facts.column("frames")]
        yield from (f"stay {stay}: frames in the trees are not those of its sightings" for stay in wrong.tolist())
    far = np.abs(totals / np.maximum(frames, 1)[:, None] - means).max(axis=1, initial=0) > _TOLERANCE
    yield from (
        f"stay {stay}: its mean in the trees is not that of its sightings"
        for stay in leaves.facts.column("stay_id")[far].tolist()
    )
