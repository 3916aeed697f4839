"""Whether what was seen once among very many is found again, by a copy that is a little different.

Part of `benchmarks.read`. Shapes: Q queries, D width.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.figures import Figures, share_of
from benchmarks.footage import KINDS
from benchmarks.growth import Vectors
from benchmarks.read_cases import percentile
from benchmarks.read_growth import GrownMemory
from benchmarks.read_questions import Nudges, turned
from memory_store.index import CORES, PROPOSALS, ExemplarIndex
from memory_store.novelty import Neighbour, distance
from memory_store.records import Embedding

NEEDLES = 500

TURNED_BY = 0.05
"""Cosine distance of copies that are turned in random directions: half the threshold."""


def needle_figures(memory: GrownMemory, nudges: Nudges) -> Iterator[Figures]:
    """Ask for exemplars that were seen once: a row for each way of nudging them."""
    index, rng = memory.upkeep.index, np.random.default_rng(0)
    ids = np.sort(rng.choice(np.flatnonzero(memory.frames == 1) + 1, NEEDLES, replace=False))
    exemplars = index.embeddings(ids)
    ways = {
        **{kind: nudges.moved(exemplars, kind, rng) for kind in reversed(KINDS[1:])},
        f"turned by {TURNED_BY}": turned(exemplars, TURNED_BY, rng),
    }
    for way, queries in ways.items():
        with ThreadPoolExecutor(CORES) as threads:
            found = list(threads.map(lambda query: _nearest(index, query), queries))
        looked = [row[0] if len(row) else 0 for row, _ in index.propose(queries)]
        distances = np.array([distance(query, other) for query, other in zip(queries, exemplars, strict=True)])
        first = np.array([neighbour.exemplar_id for neighbour in found]) == ids
        yield {
            "n": len(memory.frames),
            "nudge": way,
            "queries": len(ids),
            "distance_p50": percentile(distances, 50, 4),
            "distance_p95": percentile(distances, 95, 4),
            "first": share_of(int(first.sum()), len(ids)),
            "first_by_a_look": share_of(int((np.array(looked) == ids).sum()), len(ids)),
            "others_nearer_by_p50": percentile(
                distances[~first] - np.array([neighbour.novelty for neighbour in found])[~first], 50, 4
            ),
        }


def _nearest(index: ExemplarIndex, query: Vectors) -> Neighbour:
    """Find the most similar of all exemplars as `Memory.nearest` does."""
    found: dict[int, Embedding] = {}
    for part in index.slices():
        found.update(index.search(query, 1 + PROPOSALS, part, None))
    neighbours = [Neighbour(exemplar, distance(query, other)) for exemplar, other in found.items()]
    return min(neighbours, key=lambda neighbour: (neighbour.novelty, neighbour.exemplar_id))
