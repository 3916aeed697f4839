"""Reads a large memory: what weighs most is opened, of the rest some stays are drawn. A step of the query's way.

Stays come in strata, groups of which a mean and counts are known. The strata nearest to the query are opened first,
as needles are where summaries cannot show them; how their stays scatter around the means of their strata tells how far
the query's similarities scatter in the others, and so what those may weigh. Those that may weigh most are opened too.
From the others stays are drawn, more where more is at stake (Neyman's allocation), and each stands for those that were
not. A stratum from which less than one would be drawn has that chance of giving one, which then corrects its summary
as much more (a difference estimator, its summaries scaled by what was drawn). So next to nothing is over- or
underestimated on average, whatever the summaries say; a bad summary costs accuracy, which the stated error tells.
(W. G. Cochran, Sampling Techniques, 1977, chapters 5, 7, 9A.)

Shapes: R rows, S strata, U strata that are not opened, T draws, D width.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encoder.estimate import Beyond, Estimate, LookedInto
from encoder.memory_view import Floats, MemoryView, Numbers, Strata, Vector
from encoder.reading import first_places
from encoder.stay_masses import StayMasses, products, stay_masses

_NEEDLES_SHARE = 0.45
"""Of the stays to open, for needles, at most."""

_NEAREST_SHARES = {True: 0.1, False: 0.45}
"""And for the strata nearest to the query: few where needles are found without that."""

_HEAVIEST_SHARES = (0.0, 0.2, 0.5, 0.8)
"""And for those that may weigh most; needles want the most, the bulk the least."""

_WORTH_OPENING = 0.5
"""A stratum from which so large a share would be drawn is opened."""

_LEFT_SHARE = 0.3
"""Of the stays to open, what must be left for drawing."""

_LEAST_CHANCE = 0.1
"""Of a stratum to be drawn from: what is drawn with a smaller one would count too much."""

_SUMMARY_MAY_BE_OFF = 4.0
"""Squared error of the mass of a stratum by its summary alone, as a share of it, at most: where few of its stays hold
nearly all of it, the largest is what is estimated, and it may be two or three times as much."""

_FACTORS = {True: 1.1, False: 1.5}
"""Stated error over the estimated standard deviation, so that `encoder.reading.CONFIDENCE` holds: what was drawn shows
too little of what it missed, least where needles are found. Measured by `python -m benchmarks.read`."""

_FEW_DRAWS = 700
"""With so many draws, the variance that they show is taken for half of what it may be."""

_WIDER = 1.08
"""Times the variance of similarities in a stratum that summaries are allowed for when they state an error: the largest
of some hundred similarities are larger than those of a normal distribution."""

LEAST_STATED = 1.5e-4
"""The least error that is stated where not all is read: smaller ones cannot be told from what was drawn."""


def sampled(query: Vector, view: MemoryView, stays: int, rng: np.random.Generator) -> Estimate:
    """Read about so many stays of a view.

    Args:
        query: k, float32 [D].
        view: what to read; more stays than that.
        stays: to open, about.
        rng: chooses what is drawn.
    """
    needles, compared = view.needles(query, int(_NEEDLES_SHARE * stays))
    always = np.sort(np.concatenate([view.loose, needles]))
    always = always[first_places(always)]
    strata = view.strata
    summaries = stay_masses(query, strata.means, strata.frames)  # of strata, as if they were stays
    nearest = _nearest(summaries, strata, int(_NEAREST_SHARES[view.finds_needles] * stays))
    opened, of = _opened(view, nearest, always)
    first = _Rows.read(query, view, np.sort(np.concatenate([always, opened])))
    near = first.masses.chosen(np.searchsorted(first.rows, opened))
    summaries = summaries.scattered(_scatter(summaries, near, of), strata.frames)

    left = max(stays - len(always) - len(opened), int(_LEFT_SHARE * stays))
    draws = _Draws.planned(summaries, strata, nearest, left, rng)
    heavy, _ = _opened(view, draws.opened, always)
    drawn, of_draw = draws.rows(strata, rng)
    # One reading for both, in the order of rows; -1 for what is opened.
    rows, of = np.concatenate([heavy, drawn]), np.concatenate([np.full(len(heavy), -1), of_draw])
    order = np.argsort(rows)
    rows, of = rows[order], of[order]
    # What is read in full already, and what does not count, stands for nothing.
    fresh = (of < 0) | (view.counting(rows) & ~_among(rows, always))
    rest = _Rows.read(query, view, rows[fresh]).drawn(of[fresh], strata, draws)
    return _estimated(query, view, summaries, draws, [first, rest], len(strata.frames) + compared)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Stays that were read."""

    rows: Numbers
    means: Vector
    masses: StayMasses
    stands_for: Floats
    """Of stays like it, its own included: [R]."""
    of: Numbers
    """Which of the strata that were drawn from each belongs to: [R]; -1 for what was not drawn."""

    @staticmethod
    def read(query: Vector, view: MemoryView, rows: Numbers) -> "_Rows":
        """Read stays, rows ascending."""
        means, frames = view.read(rows)
        unused = np.full(len(rows), -1)
        return _Rows(rows, means, stay_masses(query, means, frames), np.ones(len(rows)), unused)

    def drawn(self, of: Numbers, strata: Strata, draws: "_Draws") -> "_Rows":
        """Say what these stays stand for, given that they were drawn: a stay comes as often as it has frames."""
        stands_for = np.ones(len(of))
        was_drawn = np.flatnonzero(of >= 0)
        stratum = of[was_drawn]
        frames = strata.frames[draws.strata[stratum]] / (draws.numbers[stratum] * draws.chances[stratum])
        stands_for[was_drawn] = frames / self.masses.frames[was_drawn]
        return replace(self, stands_for=stands_for, of=of)


@dataclass(frozen=True, slots=True)
class _Draws:
    """What to do with the strata."""

    opened: Numbers
    """Strata to be opened, besides the nearest."""

    closed: Numbers
    """Those that are not opened: [U]."""

    wanted: Floats
    """How many stays were to be drawn from each of these, on average: [U]."""

    strata: Numbers
    """Those that are drawn from: [S'], a part of `closed`."""

    numbers: Numbers
    """Stays to be drawn from each of these, at least 1: [S']."""

    chances: Floats
    """With which chance each came to be drawn from: [S']."""

    @staticmethod
    def planned(
        summaries: StayMasses, strata: Strata, nearest: Numbers, stays: int, rng: np.random.Generator
    ) -> "_Draws":
        """Open what may weigh most, as much as the risk asks for, and share the draws out by mass times spread."""
        wider = summaries.scattered(_WIDER, strata.frames)
        beyond = np.ones(len(strata.stays), np.bool_)
        beyond[nearest] = False
        # As shares of the largest there is to decide about: at high inverse temperatures the nearest dwarf all others.
        logs = np.where(beyond, wider.logs, -np.inf)
        masses = np.exp(logs - logs.max()) if beyond.any() else np.zeros(len(logs))
        relative = np.expm1(np.minimum(wider.variances, 30.0))
        stakes = masses * np.sqrt(np.minimum(relative, strata.stays) * 0.5 + wider.spreads())
        order = np.argsort(-logs)[: int(beyond.sum())]
        ends = np.cumsum(strata.stays[order])
        best, least = (beyond, np.zeros(len(stakes))), np.inf
        for share in _HEAVIEST_SHARES:
            closed = beyond.copy()
            closed[order[ends <= share * stays]] = False
            closed, wanted = _shared_out(closed, beyond, stakes, strata.stays, stays)
            off = np.minimum(relative / wanted, _SUMMARY_MAY_BE_OFF) * 0.5 + wider.spreads() / wanted
            risk = float((masses**2 * off)[closed].sum())
            if risk < least:
                best, least = (closed, wanted), risk
        closed, wanted = best
        places = np.flatnonzero(closed)
        hoped = wanted[places]
        numbers = np.minimum(np.floor(hoped + rng.random(len(hoped))), strata.stays[places]).astype(np.int64)
        chosen = numbers > 0
        return _Draws(
            np.flatnonzero(~closed & beyond),
            places,
            hoped,
            places[chosen],
            numbers[chosen],
            np.minimum(hoped[chosen], 1.0),
        )

    def rows(self, strata: Strata, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Draw: the rows, and the place in `strata` of the stratum of each, int64 [T] twice."""
        of = np.repeat(np.arange(len(self.strata)), self.numbers)
        nth = np.arange(len(of)) - np.repeat(np.cumsum(self.numbers) - self.numbers, self.numbers)
        at = (nth + rng.random(len(of))) / self.numbers[of]  # one in each equal part of the frames
        return strata.draw(self.strata[of], at), of


def _shared_out(
    closed: NDArray[np.bool_], beyond: NDArray[np.bool_], stakes: Floats, sizes: Numbers, stays: int
) -> tuple[NDArray[np.bool_], Floats]:
    """Share draws out by stakes, and open strata from which most would be drawn: what is closed then, and draws: [S].

    Args:
        closed: strata that are not opened yet, bool [S].
        beyond: strata besides the nearest, bool [S].
        stakes: what there is to lose in each, [S].
        sizes: stays of each, [S].
        stays: to open or to draw in all.
    """
    while True:
        left = max(0, stays - int(sizes[~closed & beyond].sum()))
        at_stake = np.where(closed, stakes, 0.0)
        total = float(at_stake.sum())
        wanted = np.maximum(at_stake / (total if total > 0 else 1.0) * left, _LEAST_CHANCE)
        more = np.flatnonzero(closed & (wanted >= _WORTH_OPENING * sizes))
        more = more[np.cumsum(sizes[more]) <= left - _LEFT_SHARE * stays]
        if not len(more):
            return closed, wanted
        closed[more] = False


def _nearest(summaries: StayMasses, strata: Strata, stays: int) -> Numbers:
    """Choose the strata whose means point most towards the query, of about so many stays."""
    order = np.argsort(-summaries.along / np.sqrt(np.maximum(summaries.lengths, 1e-12)))
    nearest: Numbers = order[np.cumsum(strata.stays[order]) <= stays]
    return nearest


def _opened(view: MemoryView, chosen: Numbers, always: Numbers) -> tuple[Numbers, Numbers]:
    """Give the stays of strata that count and are not read already: rows ascending, and the stratum of each."""
    rows = view.strata.rows(chosen)
    of = np.repeat(chosen, view.strata.stays[chosen])
    order = np.argsort(rows)
    rows, of = rows[order], of[order]
    counting = view.counting(rows) & ~_among(rows, always)
    return rows[counting], of[counting]


def _among(rows: Numbers, some: Numbers) -> NDArray[np.bool_]:
    """Tell which rows are among some, which are ascending."""
    if not len(some):
        return np.zeros(len(rows), np.bool_)
    among: NDArray[np.bool_] = some[np.minimum(np.searchsorted(some, rows), len(some) - 1)] == rows
    return among


def _scatter(summaries: StayMasses, near: StayMasses, of: Numbers) -> float:
    """Compare how stays scatter along the query around the means of their strata with what spreads make expect."""
    expected = float((near.frames * summaries.variances[of]).sum())
    found = float((near.frames * (near.along - summaries.along[of]) ** 2).sum())
    return found / expected if expected > 0 else 1.0


def _estimated(
    query: Vector,
    view: MemoryView,
    summaries: StayMasses,
    draws: _Draws,
    parts: list[_Rows],
    compared: int,
) -> Estimate:
    strata = view.strata
    masses = StayMasses.joined([part.masses for part in parts])
    of = np.concatenate([part.of for part in parts])
    drawn = np.flatnonzero(of >= 0)
    expected_logs = summaries.logs[draws.closed] + np.log(view.counting_share)
    heaviest = float(max(masses.logs.max(), expected_logs.max(initial=-np.inf)))
    # All masses are times exp(heaviest).
    stands_for = np.concatenate([part.stands_for for part in parts])
    shares = np.exp(masses.logs - heaviest) * stands_for  # [R]
    expected = np.exp(expected_logs - heaviest)  # [U]
    counts = np.ones(len(expected))  # [U]: what was drawn takes the place of the summary
    place = np.searchsorted(draws.closed, draws.strata)
    counts[place] -= 1.0 / draws.chances
    # Summaries that promise more, or less, than what was drawn holds are scaled to it (the ratio estimator).
    promised = float((expected[place] / draws.chances).sum())
    expected *= float(shares[drawn].sum()) / promised if promised > 0 else 1.0
    if float(shares.sum() + (expected * counts).sum()) <= 0:  # what was drawn seldom corrects more than there is
        counts = np.maximum(counts, 0.0)
    closed = summaries.chosen(draws.closed)
    # All of them, of which the others weigh nothing: copying those that are closed takes longer.
    by_summary = np.zeros(len(strata.frames))
    by_summary[draws.closed] = expected * counts
    log_weights = np.log(np.maximum(expected / strata.stays[draws.closed], 1e-300))
    beyond = Beyond(
        log_unit=heaviest,
        mass=float((expected * counts).sum()),
        rest=summaries.weighted_sum(query, strata.means, by_summary),
        log_weights=float((expected * counts * log_weights).sum()),
        distance=0.0,
    )
    estimate = Estimate(
        query=query,
        rows=np.concatenate([part.rows for part in parts]),
        means=tuple(part.means for part in parts),
        masses=masses,
        logs=masses.logs,
        stands_for=stands_for,
        beyond=beyond,
        looked=LookedInto.none(len(query)),
        touched=len(shares) + compared,
        is_whole=False,
    )
    context = estimate.context()
    # Only so many of the draws tell something, and of few the variance is told badly.
    factor = _FACTORS[view.finds_needles]
    factor *= math.sqrt((1 + _FEW_DRAWS / max(1, len(drawn))) / view.counting_share)
    variance = _variance(
        draws,
        strata,
        closed,
        expected,
        closed.square_distances(context, products(strata.means, context.astype(np.float32))[draws.closed]),
        shares[drawn],
        masses.lengths[drawn],
        of[drawn],
        place,
        finds_needles=view.finds_needles,
    )
    return replace(estimate, beyond=replace(beyond, distance=factor * math.sqrt(variance)), known_context=context)


def _variance(
    draws: _Draws,
    strata: Strata,
    closed: StayMasses,
    expected: Floats,
    away: Floats,
    shares: Floats,
    lengths: Floats,
    of: Numbers,
    place: Numbers,
    *,
    finds_needles: bool,
) -> float:
    """Estimate the squared error, summed over D, times the squared mass of the whole.

    From how what was drawn differs, and from what summaries allow for.

    Args:
        draws: what was drawn from.
        strata: all of them.
        closed: those that are not opened, [U].
        expected: their masses by their summaries, in any unit: [U].
        away: squared distance of their means to the context vector: [U].
        shares: the masses that what was drawn stands for, in the same unit: [T].
        lengths: squared, of the means of what was drawn: [T].
        of: which of the strata that were drawn from each belongs to: [T].
        place: of the strata that were drawn from, among those that are not opened: [S'].
        finds_needles: whether needles were found in whatever stratum they are.
    """
    wider = closed.scattered(_WIDER, strata.frames[draws.closed])
    relative = np.minimum(np.expm1(np.minimum(wider.variances, 30.0)) / draws.wanted, _SUMMARY_MAY_BE_OFF)
    left = 1.0 - np.minimum(draws.wanted / strata.stays[draws.closed], 1.0)
    at_most = expected * np.exp(wider.logs - closed.logs)
    by_summaries = at_most**2 * left * (relative * away + closed.spreads() / draws.wanted)  # [U]

    number = len(draws.strata)
    sums = np.bincount(of, shares, number)
    squares = np.bincount(of, shares**2, number)
    numbers, chances = draws.numbers, draws.chances
    several = numbers > 1
    between = np.where(
        several,
        (squares - sums**2 / numbers) * numbers / np.maximum(numbers - 1, 1),
        (sums - expected[place] / chances) ** 2,
    )
    inside = shares**2 * np.maximum(lengths - closed.lengths[place][of], 0.0)
    by_draws = left[place] * (np.maximum(between, 0.0) * away[place] + np.bincount(of, inside, number))  # [S']
    summed, drawn = float(by_summaries.sum()), float(by_draws.sum())
    # Summaries allow for needles; where these are found they allow for too much, and draws show too little.
    return (summed + drawn) / 2 if finds_needles else max(summed, drawn)
