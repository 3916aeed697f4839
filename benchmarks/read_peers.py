"""Other ways to read a large memory with as many vectors as attention touched. Part of `benchmarks.read`.

Each is given what stays weigh, as the exact read has it, and none is charged for what it looks at to choose what it
reads, except where summaries are read: so they stand here better than they would in use. Where a stay is chosen by
chance it counts the more, the smaller the chance was (Horvitz and Thompson); numerator and denominator alike.

Shapes: N stays, B blocks, R stays that are read, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.growth import Vectors
from benchmarks.read_cases import Floats
from encoder.stay_masses import stay_masses
from memory_store.blocks import Blocks
from memory_store.forest import BLOCK_SIZE

Numbers = NDArray[np.int64]

_NEAREST = 1024
"""Stays that the design's lead reads exactly."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query of a memory, and what all of its stays weigh."""

    query: Vectors
    """k, times the inverse temperature: float32 [D]."""

    means: Vectors
    """Of the stays: float32 [N, D]."""

    frames: Numbers
    """Of the stays: [N]."""

    blocks: Blocks
    """The closed blocks of the stays: each of BLOCK_SIZE of them, one after the other."""

    along: Vectors
    """Similarities of the means to the query, not times the inverse temperature: float32 [N]."""

    logs: Floats
    """Logarithms of what the stays weigh: [N]."""

    touched: int
    """Vectors and summaries that may be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer made of it."""

    context_vector: Floats
    """[D]."""

    log_mass: float
    """Logarithm of the mass of all stays, as it has it."""


def most_similar(question: Question, _rng: np.random.Generator) -> Answer:
    """Read the stays whose means are most similar to the query; whatever finds them is free."""
    rows = _largest(question.along, question.touched)
    return _read(question, rows, np.zeros(len(rows)))


def blocks_by_mean(question: Question, _rng: np.random.Generator) -> Answer:
    """HCAM (arXiv 2105.14039): read all summaries, then all of the blocks whose means are most similar to the query."""
    number = len(question.blocks)
    opened = _largest(question.blocks.means @ question.query, max(1, (question.touched - number) // BLOCK_SIZE))
    rows = (opened[:, None] * BLOCK_SIZE + np.arange(BLOCK_SIZE)).ravel()
    return _read(question, rows, np.zeros(len(rows)))


def by_priority(question: Question, rng: np.random.Generator) -> Answer:
    """SoftmaxLift (arXiv 2610.10135): priority sampling by one exact search, which is free.

    Each stay has the priority w / u, w what it weighs and u from (0, 1]; the largest are read, and each counts as
    max(w, the largest priority that is left out) (Duffield, Lund and Thorup, 2007). What the paper lifts keys for, so
    that an index finds the largest, is done by looking at all of them.
    """
    priorities = question.logs - np.log(1 - rng.random(len(question.logs)))
    rows = _largest(priorities, question.touched + 1)
    rows = rows[np.argsort(-priorities[rows])]
    if len(rows) <= question.touched:
        return _read(question, rows, np.zeros(len(rows)))
    rows, left_out = rows[:-1], priorities[rows[-1]]
    return _read(question, rows, np.maximum(left_out - question.logs[rows], 0))


def evenly(question: Question, rng: np.random.Generator) -> Answer:
    """Read stays at random, all with the same chance."""
    number = min(question.touched, len(question.frames))
    rows = rng.choice(len(question.frames), number, replace=False, shuffle=False)
    return _read(question, rows, np.full(number, np.log(len(question.frames) / number)))


def by_block_masses(question: Question, rng: np.random.Generator) -> Answer:
    """The design's lead: the nearest stays exactly, and of the rest some, in proportion to what their blocks weigh."""
    blocks = question.blocks
    draws = question.touched - _NEAREST - len(blocks)
    nearest = _largest(question.along, _NEAREST)
    if draws <= 0:
        return _read(question, nearest, np.zeros(len(nearest)))
    in_blocks = len(blocks) * BLOCK_SIZE
    late = np.setdiff1d(np.arange(in_blocks, len(question.frames)), nearest)  # of the block that is not closed yet
    logs = stay_masses(question.query, blocks.means, blocks.column("frames")).logs
    chances = np.exp(logs - logs.max())
    chances /= chances.sum()
    at = (np.arange(draws) + rng.random(draws)) / draws
    block = np.minimum(np.searchsorted(np.cumsum(chances), at, side="right"), len(blocks) - 1)
    ends = np.cumsum(question.frames[:in_blocks])
    beneath = blocks.column("frames")[block]
    last = ends[(block + 1) * BLOCK_SIZE - 1]
    drawn = np.searchsorted(ends, last - beneath + (rng.random(draws) * beneath).astype(np.int64), side="right")
    stand_for = np.log(beneath / question.frames[drawn]) - np.log(draws * chances[block])
    stand_for[np.isin(drawn, nearest)] = -np.inf  # read already
    rows = np.concatenate([nearest, late, drawn])
    return _read(question, rows, np.concatenate([np.zeros(len(nearest) + len(late)), stand_for]))


PEERS: dict[str, Callable[[Question, np.random.Generator], Answer]] = {
    "exact top-k": most_similar,
    "HCAM": blocks_by_mean,
    "SoftmaxLift": by_priority,
    "uniform": evenly,
    "design's lead": by_block_masses,
}


def _largest(values: Floats | Vectors, number: int) -> Numbers:
    """Give the places of the largest, in no order."""
    if number >= len(values):
        return np.arange(len(values))
    largest: Numbers = np.argpartition(values, len(values) - number)[len(values) - number :]
    return largest


def _read(question: Question, rows: Numbers, stand_for: Floats) -> Answer:
    """Put together stays that were read.

    Args:
        question: the question.
        rows: of the stays, [R].
        stand_for: logarithm of how many stays like it each stands for: [R].
    """
    order = np.argsort(rows)
    rows, stand_for = rows[order], stand_for[order]
    means = question.means[rows]
    masses = stay_masses(question.query, means, question.frames[rows])
    logs = masses.logs + stand_for
    weights = np.exp(logs - logs.max())
    total = float(weights.sum())
    context = masses.weighted_sum(question.query, means, weights / total)
    return Answer(context, float(logs.max()) + float(np.log(total)))
