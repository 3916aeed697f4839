"""The past as far as it was read: stays that were opened, and what stands for the rest. A step of the query's way.

Masses are kept as logarithms: at high inverse temperatures a look may find a stay e^1000 times lighter than its mean
made it, and what is left must not have vanished beside it.

Shapes: R stays that were opened, P of them that were looked into, D width.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encoder.memory_view import Floats, Numbers, Vector
from encoder.reading import Reading, first_places
from encoder.stay_masses import StayMasses, products

_ALIKE = 0.1
"""Correlation of what stays are off by: the frames of a stream differ from their means in like ways. Measured by
`python -m benchmarks.read`."""

_NOISE_FACTOR = 1.8
"""Stated error over the standard deviation of what frames on record are off by, so that `encoder.reading.CONFIDENCE`
holds. Measured likewise."""

_NOISE_ALIKE = 0.004
"""Correlation of what frames on record are off by: those that are alike are rounded alike. Measured likewise."""

_MOST = 700.0
"""Exponents that float64 has room for."""

NEGLIGIBLE = 0.001
"""What storing may cost, as a share of the context vector's length, that is not worth a look, and the least that is
stated after one."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """What stands for stays that were not opened. Masses are times exp(`log_unit`)."""

    log_unit: float
    """Logarithm of the unit of all masses here."""

    mass: float
    """Of these stays, as estimated; below 0 where it corrects what others stand for."""

    rest: Floats
    """What they add to the context vector, times its mass: float64 [D]."""

    log_weights: float
    """Sum of their masses, each times its logarithm: for the entropy."""

    distance: float
    """What not opening them may cost, as an L2 distance, times the mass of the whole."""

    @staticmethod
    def nothing(width: int) -> "Beyond":
        """All stays were opened."""
        return Beyond(0.0, 0.0, np.zeros(width), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class LookedInto:
    """Stays of which the frames are known."""

    places: Numbers
    """Among the stays that were opened: int64 [P]."""

    contexts: Floats
    """Means of their frames, weighted by attention: float64 [P, D]."""

    off: Floats
    """What frames on record are off by may put these off, as L2 distances: the root of the sum of the squares, and the
    sum, over the frames: float64 [P, 2]."""

    @staticmethod
    def none(width: int) -> "LookedInto":
        """No stay was looked into."""
        return LookedInto(np.empty(0, np.int64), np.empty((0, width)), np.empty((0, 2)))

    def and_more(self, more: "LookedInto") -> "LookedInto":
        """Put both together."""
        return LookedInto(
            *(np.concatenate([getattr(self, name), getattr(more, name)]) for name in ("places", "contexts", "off"))
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of the past once some stays were opened."""

    query: Vector
    """k, float32 [D]."""

    rows: Numbers
    """Stays that were opened: int64 [R]; one that was drawn twice is there twice."""

    means: tuple[Vector, ...]
    """Of these, in parts: float32 [R, D] together."""

    masses: StayMasses
    """As their means show them: [R]."""

    logs: Floats
    """Logarithm of the mass of each, by its mean or by its frames: [R]."""

    stands_for: Floats
    """Stays like it, its own included: [R]; 1 unless it was drawn."""

    beyond: Beyond
    """What none of them stands for."""

    looked: LookedInto
    """Those that do not stand by their means."""

    touched: int
    """Vectors and summaries that were read."""

    is_whole: bool
    """Every stay was opened."""

    known_context: Floats | None = None
    """The context vector, float64 [D], if it was made already."""

    surprises: tuple[float, ...] = ()
    """Logarithms of what stays that were looked into weigh, over what their means made of it."""

    caution: float = 1.0
    """How many times as far as was thought their means had put the answer off; at least 1."""

    scatter: tuple[float, float] = (0.0, 0.0)
    """How frames scatter along the query inside of these, and how their means made expect: sums of squares."""

    log_mass: float = field(init=False)
    """Logarithm of the mass of the whole."""

    weights: Floats = field(init=False)
    """Share of each stay in the whole: [R]."""

    shares: Floats = field(init=False)
    """Share of the whole that each stands for, its own included: [R]."""

    unit: float = field(init=False)
    """Share of the whole in a unit of `beyond`; 0 if what that corrects is more than there is."""

    def __post_init__(self) -> None:
        """Weigh the stays against each other and what is beyond them."""
        largest, beyond = float(self.logs.max()), self.beyond
        if beyond.mass > 0:
            largest = max(largest, beyond.log_unit + math.log(beyond.mass))
        own = np.exp(self.logs - largest)
        unit = math.exp(min(_MOST, beyond.log_unit - largest))
        shares = own * self.stands_for
        total = float(shares.sum()) + unit * beyond.mass
        if total <= 0:
            total, unit = float(shares.sum()), 0.0
        for name, value in (
            ("log_mass", largest + math.log(total)),
            ("weights", own / total),
            ("shares", shares / total),
            ("unit", unit / total),
        ):
            object.__setattr__(self, name, value)

    def by_mean(self) -> NDArray[np.bool_]:
        """Tell which of them stand by their means: bool [R]."""
        by_mean = np.ones(len(self.rows), np.bool_)
        by_mean[self.looked.places] = False
        return by_mean

    def context(self) -> Floats:
        """Give the context vector: float64 [D]."""
        if self.known_context is not None:
            return self.known_context
        shares = np.where(self.by_mean(), self.shares, 0.0)
        context = self.unit * self.beyond.rest + self.weights[self.looked.places] @ self.looked.contexts
        begin = 0
        for means in self.means:
            of = slice(begin, begin + len(means))
            context += self.masses.chosen(of).weighted_sum(self.query, means, shares[of])
            begin += len(means)
        return context

    def reading_error(self) -> float:
        """Tell what not opening every stay may cost, as a share of the context vector's length."""
        if not self.unit and self.beyond.distance:
            return 1.0
        return self.unit * self.beyond.distance / float(np.linalg.norm(self.context()))

    def doubts(self, context: Floats, more: float = 1.0) -> Floats:
        """Estimate how far each stay that stands by its mean may put the context vector off, as an L2 distance: [R].

        Args:
            context: float64 [D].
            more: times as much as their means show may frames scatter along the query.
        """
        narrow = context.astype(np.float32)
        along = np.concatenate([products(means, narrow) for means in self.means])
        doubts = self.masses.doubts(self.weights, context, along, np.array(self.surprises), more)
        return np.where(self.by_mean(), doubts, 0.0)

    def distance_of(self, doubts: Floats) -> float:
        """Estimate how far stays may put the context vector off together, as an L2 distance.

        Args:
            doubts: of each stay, [R].
        """
        apart = float((self.stands_for * doubts**2).sum())
        together = float((self.stands_for * doubts).sum()) ** 2
        return self.caution * math.sqrt(apart + _ALIKE * together)

    def told(self, least_error: float = 0.0) -> Reading:
        """Give the answer.

        Args:
            least_error: of reading, that is stated.
        """
        context = self.context()
        order = np.argsort(self.rows, kind="stable")
        rows, weights = self.rows[order], self.weights[order]
        # Where queries are like what they find, the nearest scatter most, and others up to about the root of that more.
        found, expected = self.scatter
        more = math.sqrt(max(1.0, found / expected)) if expected > 0 else 1.0
        storing = math.hypot(self.distance_of(self.doubts(context, more)), self._noise()) / float(
            np.linalg.norm(context)
        )
        return Reading(
            context_vector=context.astype(np.float32),
            reading_error=max(self.reading_error(), least_error),
            storing_error=max(storing, NEGLIGIBLE) if len(self.looked.places) else storing,
            rows=rows,
            weights=weights,
            shares=self.shares[order],
            opened_share=1.0 if self.is_whole else min(1.0, float(weights[first_places(rows)].sum())),
            effective_stays=math.exp(max(0.0, self._entropy())),
            log_mass=self.log_mass,
            touched=self.touched,
        )

    def _noise(self) -> float:
        off = self.weights[self.looked.places, None] * self.looked.off
        apart, together = float((off[:, 0] ** 2).sum()), float(off[:, 1].sum()) ** 2
        return _NOISE_FACTOR * math.sqrt(apart + _NOISE_ALIKE * together)

    def _entropy(self) -> float:
        """Give the entropy of the weights of all stays."""
        seen = self.weights > 0
        entropy = -float((self.shares[seen] * np.log(self.weights[seen])).sum())
        if self.unit > 0:
            entropy -= self.unit * (self.beyond.log_weights + self.beyond.mass * math.log(self.unit))
        return entropy
