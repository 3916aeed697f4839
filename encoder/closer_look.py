"""Looks into the stays that an answer rests on, where their means are too coarse. A step of the query's way.

A mean does not tell the frames of a stay apart. For every stay it is estimated what that may cost; those that may cost
most are looked into, so that what is on record of their frames takes the place of their means, and the answer is
estimated anew, until the rest is worth no look or as many frames as are wanted have been read. What the looks show
tells about the others too: by how much less their frames may scatter along the query, and how far off their masses are.

Shapes: P stays that are looked into, F frames, D width.
"""

from dataclasses import replace

import numpy as np

from encoder.estimate import NEGLIGIBLE, Estimate
from encoder.memory_view import Floats, Inside, MemoryView, Numbers
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
    # What was drawn stands for more than itself, and what a look shows does not.
    tried = (estimate.masses.frames == 1) | (estimate.weights != estimate.shares)
    left, at_once = frames, _AT_FIRST
    while left is None or left > 0:
        context = estimate.context()
        doubts = np.where(tried, 0.0, estimate.doubts(context))
        if estimate.distance_of(doubts) <= worth * float(np.linalg.norm(context)):
            break
        most = _LARGEST_STAY if left is None else min(_LARGEST_STAY, left)
        chosen = _chosen(doubts, estimate.masses.frames, min(at_once, most), most)
        if not len(chosen):
            break
        tried[chosen] = True
        at_once = min(2 * at_once, _AT_ONCE)
        if left is not None:
            left -= int(estimate.masses.frames[chosen].sum())
        inside = view.inside(estimate.rows[chosen])
        if len(inside.of):
            looked = _looked_into(estimate, chosen, inside)
            after = looked.context()
            moved = float(np.linalg.norm(after - context))
            thought = estimate.distance_of(np.where(np.isin(np.arange(len(doubts)), chosen), doubts, 0.0))
            estimate = replace(looked, caution=estimate.caution * max(1.0, moved / thought), known_context=after)
    return estimate


def _chosen(doubts: Floats, frames: Floats, wanted: int, most: int) -> Numbers:
    """Choose the stays that cost most for what looking takes, ascending.

    Args:
        doubts: what each may cost, [R].
        frames: of each, [R].
        wanted: frames of all of them, about.
        most: a stay with more frames is not chosen.
    """
    worth = np.flatnonzero((doubts > 0) & (frames <= most))
    order = worth[np.argsort(-doubts[worth] / np.sqrt(frames[worth]), kind="stable")]
    number = int(np.searchsorted(np.cumsum(frames[order]), wanted, side="right"))
    return np.sort(order[: max(1, number)])


def _looked_into(estimate: Estimate, chosen: Numbers, inside: Inside) -> Estimate:
    """Let the frames of some stays take the place of their means, and learn about the others.

    Args:
        estimate: what is known so far.
        chosen: the places of the stays among its rows, ascending. They stand for themselves alone.
        inside: what is on record of their frames.
    """
    query, masses = estimate.query, estimate.masses
    some, of = np.unique(inside.of, return_inverse=True)
    chosen = chosen[some]  # [P], those of which something is known
    begins = np.flatnonzero(np.diff(of, prepend=-1))  # [P]
    along = products(inside.vectors, query).astype(np.float64)  # [F]
    known = np.add.reduceat(inside.frames, begins)  # [P]; what is known of a stay stands for all of it
    logs = along + np.log(inside.frames * (masses.frames[chosen] / known)[of])
    largest = np.maximum.reduceat(logs, begins)
    parts = np.exp(logs - largest[of])
    sums = np.add.reduceat(parts, begins)
    surprises = largest + np.log(sums) - masses.logs[chosen]

    weights, shares, by_mean = estimate.weights.copy(), estimate.shares.copy(), estimate.by_mean.copy()
    weights[chosen] = shares[chosen] = weights[chosen] * np.exp(surprises)
    by_mean[chosen] = False
    of_frames = (weights[chosen] / sums)[of] * parts  # [F], their weights
    looked = replace(
        estimate,
        rest=estimate.rest + of_frames @ inside.vectors.astype(np.float64),
        by_mean=by_mean,
        surprises=(*estimate.surprises, *surprises.tolist()),
        touched=estimate.touched + len(of),
    ).renewed(weights, shares)
    off = _off(looked, inside, (looked.weights[chosen] / sums)[of] * parts)
    looked = replace(looked, noise=(looked.noise[0] + float(off @ off), looked.noise[1] + float(off.sum())))

    mean = np.add.reduceat(inside.frames * along, begins) / known
    found = float((inside.frames * (along - mean[of]) ** 2).sum())
    before = _factor(estimate.scatter)
    expected = float((known * masses.variances[chosen]).sum()) / before
    looked = replace(looked, scatter=(estimate.scatter[0] + found, estimate.scatter[1] + expected))
    return _scattered(looked, _factor(looked.scatter) / before)


def _off(estimate: Estimate, inside: Inside, weights: Floats) -> Floats:
    """Estimate what may come of what each frame on record is off by, in any direction, as an L2 distance: [F].

    Args:
        estimate: after the look.
        inside: the frames.
        weights: of each, [F].
    """
    off = inside.off.astype(np.float64)
    away = inside.vectors - estimate.context().astype(np.float32)
    length = float(estimate.query.astype(np.float64) @ estimate.query)
    relative = mass_errors(off * length / len(estimate.query)) * np.einsum("fd,fd->f", away, away) + off
    distances: Floats = weights * np.sqrt(relative)
    return distances


def _factor(scatter: tuple[float, float]) -> float:
    """Tell how much less the frames of stays scatter than their means make expect.

    More is not taken over: where a query is like what it finds, the nearest scatter most along it.
    """
    found, expected = scatter
    return min(1.0, max(found / expected, _LEAST_SCATTER)) if expected > 0 else 1.0


def _scattered(estimate: Estimate, factor: float) -> Estimate:
    """Let the frames of stays that stand by their means scatter so many times as much."""
    masses = estimate.masses.scattered(factor, estimate.masses.frames)
    grown = np.where(estimate.by_mean, np.exp(masses.logs - estimate.masses.logs), 1.0)
    return replace(estimate, masses=masses).renewed(estimate.weights * grown, estimate.shares * grown)
