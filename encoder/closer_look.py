"""Looks into the stays that an answer rests on, where their means are too coarse. A step of the query's way.

A mean does not tell the frames of a stay apart. For every stay it is estimated what that may cost; those that may cost
most are looked into, so that what is on record of their frames takes the place of their means, and the answer is
estimated anew, until the rest is worth no look or as many frames as are wanted have been read. What the looks show
tells about the others too: by how much less their frames may scatter along the query, and how far off their masses are.

Shapes: P stays that are looked into, F frames, D width.
"""

from dataclasses import replace

import numpy as np

from encoder.estimate import NEGLIGIBLE, Estimate, LookedInto
from encoder.memory_view import Floats, Inside, MemoryView, Numbers, Vector
from encoder.stay_masses import mass_errors, products

_AT_FIRST = 512
"""Frames looked at before the answer is estimated anew, and which stays weigh is seen better; each time twice as many
as the time before."""

_AT_ONCE = 32_768
"""Frames looked at together, at most: 32 MB at D = 256."""

_LARGEST_STAY = 131_072
"""Frames of a stay that is looked into, at most, since a stay is looked into at once. What one exemplar stood for so
long differs little from its mean, or else a lower threshold is wanted."""

_WORTH_A_LOOK = 0.005
"""What means may cost that is worth a look, as a share of the context vector's length, unless all that matters is
looked at."""

_KNOWN = 0.9
"""Share of the frames of a stay that must be on record, or else its mean tells more of it."""

_LEAST_SCATTER = 0.01
"""Of what is expected: in few frames there may be no scatter at all."""


def looked_closer(view: MemoryView, estimate: Estimate, frames: int | None) -> Estimate:
    """Look into the stays that may cost most.

    Args:
        view: what was read.
        estimate: what is known so far.
        frames: to look at, at most; None for as many as matter.
    """
    worth = NEGLIGIBLE if frames is None else _WORTH_A_LOOK
    of_each = estimate.masses.frames
    # What was drawn stands for more than itself, and what a look shows does not.
    left_alone = (of_each == 1) | (estimate.stands_for != 1)
    left, at_once = frames, _AT_FIRST
    while left is None or left > 0:
        most = _LARGEST_STAY if left is None else min(_LARGEST_STAY, left)
        context = estimate.context()
        doubts = np.where(left_alone | (of_each > most), 0.0, estimate.doubts(context))
        if estimate.distance_of(doubts) <= worth * float(np.linalg.norm(context)):
            break
        chosen = _chosen(doubts, of_each, min(at_once, most))
        left_alone[chosen] = True
        at_once = min(2 * at_once, _AT_ONCE)
        if left is not None:
            left -= int(of_each[chosen].sum())
        looked = _looked_into(estimate, chosen, view.inside(estimate.rows[chosen]))
        if looked is not None:
            after = looked.context()
            moved = float(np.linalg.norm(after - context))
            thought = estimate.distance_of(np.where(np.isin(np.arange(len(doubts)), chosen), doubts, 0.0))
            estimate = replace(looked, caution=estimate.caution * max(1.0, moved / thought), known_context=after)
    return estimate


def _chosen(doubts: Floats, frames: Floats, wanted: int) -> Numbers:
    """Choose the stays that cost most for what looking takes, at least one, ascending.

    Args:
        doubts: what each may cost, [R]; some may cost something.
        frames: of each, [R].
        wanted: frames of all of them, about.
    """
    worth = np.flatnonzero(doubts > 0)
    order = worth[np.argsort(-doubts[worth] / np.sqrt(frames[worth]), kind="stable")]
    number = int(np.searchsorted(np.cumsum(frames[order]), wanted, side="right"))
    return np.sort(order[: max(1, number)])


def _looked_into(estimate: Estimate, chosen: Numbers, inside: Inside) -> Estimate | None:
    """Let the frames of some stays take the place of their means, and learn about the others.

    Args:
        estimate: what is known so far.
        chosen: the places of the stays among its rows, ascending. They stand for themselves alone.
        inside: what is on record of their frames.

    Returns:
        None if of none of them enough is known.
    """
    query, masses = estimate.query, estimate.masses
    known = np.bincount(inside.of, inside.frames, len(chosen))
    enough = known >= _KNOWN * masses.frames[chosen]
    if not enough.any():
        return None
    of_known = enough[inside.of]
    vectors, frames = inside.vectors[of_known], inside.frames[of_known]  # [F, D], [F]
    chosen, known = chosen[enough], known[enough]  # [P]
    of = (np.cumsum(enough) - 1)[inside.of[of_known]]  # [F]
    begins = np.flatnonzero(np.diff(of, prepend=-1))  # [P]
    along = products(vectors, query).astype(np.float64)  # [F]
    # What is known of a stay stands for all of it.
    logs = along + np.log(frames * (masses.frames[chosen] / known)[of])
    largest = np.maximum.reduceat(logs, begins)
    parts = np.exp(logs - largest[of])
    sums = np.add.reduceat(parts, begins)
    parts /= sums[of]  # [F], in their stays

    found = estimate.logs.copy()
    found[chosen] = largest + np.log(sums)
    surprises = found[chosen] - masses.logs[chosen]
    contexts = np.add.reduceat(parts[:, None] * vectors, begins, axis=0)
    nothing = np.zeros((len(chosen), 2))
    looked = replace(
        estimate,
        logs=found,
        looked=estimate.looked.and_more(LookedInto(chosen, contexts, nothing)),
        surprises=(*estimate.surprises, *surprises.tolist()),
        touched=estimate.touched + len(of),
        known_context=None,
    )
    off = parts * _off(looked, vectors, inside.off[of_known].astype(np.float64))
    offs = np.stack([np.sqrt(np.add.reduceat(off**2, begins)), np.add.reduceat(off, begins)], axis=1)
    looked = replace(looked, looked=estimate.looked.and_more(LookedInto(chosen, contexts, offs)))

    mean = np.add.reduceat(frames * along, begins) / known
    scattered = float((frames * (along - mean[of]) ** 2).sum())
    before = _factor(estimate.scatter)
    expected = float((known * masses.variances[chosen]).sum()) / before
    looked = replace(looked, scatter=(estimate.scatter[0] + scattered, estimate.scatter[1] + expected))
    return _scattered(looked, _factor(looked.scatter) / before)


def _off(estimate: Estimate, vectors: Vector, off: Floats) -> Floats:
    """Estimate how far what frames on record are off by, in any direction, may put off what each adds: [F].

    Args:
        estimate: after the look.
        vectors: of the frames, float32 [F, D].
        off: squared distances to what they stand for: [F].
    """
    away = vectors - estimate.context().astype(np.float32)
    length = float(estimate.query.astype(np.float64) @ estimate.query)
    relative = mass_errors(off * length / len(estimate.query)) * np.einsum("fd,fd->f", away, away) + off
    distances: Floats = np.sqrt(relative)
    return distances


def _factor(scatter: tuple[float, float]) -> float:
    """Tell how much less the frames of stays scatter than their means make expect.

    More is not taken over: where a query is like what it finds, the nearest scatter most along it.
    """
    found, expected = scatter
    return min(1.0, max(found / expected, _LEAST_SCATTER)) if expected > 0 else 1.0


def _scattered(estimate: Estimate, factor: float) -> Estimate:
    """Let the frames of stays that stand by their means scatter so many times as much.

    Not of those that were drawn: what they were drawn from is weighed with the scatter that they had.
    """
    by_mean = estimate.by_mean() & (estimate.stands_for == 1)
    masses = estimate.masses.scattered(np.where(by_mean, factor, 1.0), estimate.masses.frames)
    logs = np.where(by_mean, masses.logs, estimate.logs)
    return replace(estimate, masses=masses, logs=logs, known_context=None)
