"""Looks into the stays that an answer rests on, where their means are too coarse. A step of the query's way.

A mean does not tell the frames of a stay apart. For every stay it is estimated what that may cost; those that may cost
most are looked into, so that what is on record of their frames takes the place of their means, and the answer is
estimated anew, until the rest is worth no look or as many frames as are wanted have been read. What the looks show
tells about the others too: by how much less their frames may scatter along the query, and how far off their masses are.

Shapes: P stays that are looked into, F frames, D width.
"""

from dataclasses import dataclass, replace

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
            thought = np.zeros_like(doubts)
            thought[chosen] = doubts[chosen]
            caution = estimate.caution * max(1.0, moved / estimate.distance_of(thought))
            estimate = replace(looked, caution=caution, known_context=after)
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


@dataclass(frozen=True, slots=True)
class _Known:
    """Stays of which enough is on record, and their frames."""

    places: Numbers
    """Of the stays, among those that were opened: int64 [P]."""

    vectors: Vector
    """Of the frames: float32 [F, D]."""

    frames: Numbers
    """That each stands for: int64 [F]."""

    off: Floats
    """Squared distances to these: [F]."""

    of: Numbers
    """The stay of each, among these: int64 [F], ascending."""

    begins: Numbers
    """The first frame of each stay: int64 [P]."""

    @staticmethod
    def chosen(estimate: Estimate, places: Numbers, inside: Inside) -> "_Known":
        """Choose from what is on record of some stays."""
        known = np.bincount(inside.of, inside.frames, len(places))
        enough = known >= _KNOWN * estimate.masses.frames[places]
        kept = enough[inside.of]
        of = (np.cumsum(enough) - 1)[inside.of[kept]]
        begins = np.flatnonzero(np.diff(of, prepend=-1))
        off = inside.off[kept].astype(np.float64)
        return _Known(places[enough], inside.vectors[kept], inside.frames[kept], off, of, begins)

    def added(self, values: Floats) -> Floats:
        """Add the values of frames up by their stays: [F, ...] to [P, ...]."""
        added: Floats = np.add.reduceat(values, self.begins, axis=0)
        return added


def _looked_into(estimate: Estimate, chosen: Numbers, inside: Inside) -> Estimate | None:
    """Let the frames of some stays take the place of their means, and learn about the others.

    Args:
        estimate: what is known so far.
        chosen: the places of the stays among its rows, ascending. They stand for themselves alone.
        inside: what is on record of their frames.

    Returns:
        None if of none of them enough is known.
    """
    known = _Known.chosen(estimate, chosen, inside)
    if not len(known.places):
        return None
    masses, of = estimate.masses, known.of
    along = products(known.vectors, estimate.query).astype(np.float64)  # [F]
    number = known.added(known.frames.astype(np.float64))  # [P]
    # What is known of a stay stands for all of it.
    logs = along + np.log(known.frames * (masses.frames[known.places] / number)[of])
    largest = np.maximum.reduceat(logs, known.begins)
    parts = np.exp(logs - largest[of])
    sums = known.added(parts)
    parts /= sums[of]  # [F], in their stays

    found = estimate.logs.copy()
    found[known.places] = largest + np.log(sums)
    surprises = found[known.places] - masses.logs[known.places]
    contexts = known.added(parts[:, None] * known.vectors)
    looked = replace(
        estimate,
        logs=found,
        looked=estimate.looked.and_more(LookedInto(known.places, contexts, np.zeros((len(contexts), 2)))),
        surprises=(*estimate.surprises, *surprises.tolist()),
        touched=estimate.touched + len(of),
        known_context=None,
    )
    off = parts * _off(looked, known)
    offs = np.stack([np.sqrt(known.added(off**2)), known.added(off)], axis=1)
    mean = known.added(known.frames * along) / number
    scattered = float((known.frames * (along - mean[of]) ** 2).sum())
    expected = float((number * masses.variances[known.places]).sum())
    return _scattered(looked, scattered, expected, estimate.looked.and_more(LookedInto(known.places, contexts, offs)))


def _off(estimate: Estimate, known: _Known) -> Floats:
    """Estimate how far what frames on record are off by, in any direction, may put off what each adds: [F].

    Args:
        estimate: after the look.
        known: the frames.
    """
    away = known.vectors - estimate.context().astype(np.float32)
    length = float(estimate.query.astype(np.float64) @ estimate.query)
    relative = mass_errors(known.off * length / len(estimate.query)) * np.einsum("fd,fd->f", away, away) + known.off
    distances: Floats = np.sqrt(relative)
    return distances


def _factor(scatter: tuple[float, float]) -> float:
    """Tell how much less the frames of stays scatter than their means make expect.

    More is not taken over: where a query is like what it finds, the nearest scatter most along it.
    """
    found, expected = scatter
    return min(1.0, max(found / expected, _LEAST_SCATTER)) if expected > 0 else 1.0


def _scattered(estimate: Estimate, found: float, expected: float, looked: LookedInto) -> Estimate:
    """Let the frames of stays that stand by their means scatter as much less as those do that were looked into.

    Not of those that were drawn: what they were drawn from is weighed with the scatter that they had.

    Args:
        estimate: after the look.
        found: how the frames that were looked at scatter along the query, a sum of squares.
        expected: the same as the masses of their stays made expect.
        looked: all that were looked into, with what they are off by.
    """
    before = _factor(estimate.scatter)
    scatter = (estimate.scatter[0] + found, estimate.scatter[1] + expected / before)
    by_mean = estimate.by_mean() & (estimate.stands_for == 1)
    less = np.where(by_mean, _factor(scatter) / before, 1.0)
    masses = estimate.masses.scattered(less, estimate.masses.frames)
    logs = np.where(by_mean, masses.logs, estimate.logs)
    return replace(estimate, masses=masses, logs=logs, scatter=scatter, looked=looked, known_context=None)
