"""The past as far as it was read: stays that were opened, and what stands for the rest. A step of the query's way.

All weights are shares of the whole, as estimated so far.

Shapes: R stays that were opened, D width.
"""

import math
from dataclasses import dataclass, replace

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

NEGLIGIBLE = 0.001
"""What storing may cost, as a share of the context vector's length, that is not worth a look, and the least that is
stated after one."""


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

    weights: Floats
    """Share of each in the whole: [R]."""

    shares: Floats
    """Share of the whole that each stands for, its own included: [R]."""

    by_mean: NDArray[np.bool_]
    """Which of them stand by their means, as nobody has looked into them, or nothing is known of their frames: [R]."""

    beyond: float
    """Share of the whole that none of them stands for."""

    rest: Floats
    """What that share, and the stays that do not stand by their means, add to the context vector: float64 [D]."""

    entropy: float
    """What that share adds to the entropy of the weights of all stays."""

    log_mass: float
    """Logarithm of the mass of the whole."""

    distance: float
    """What not opening every stay may cost, as an L2 distance."""

    touched: int
    """Vectors and summaries that were read."""

    known_context: Floats | None = None
    """The context vector, float64 [D], if it was made already."""

    noise: tuple[float, float] = (0.0, 0.0)
    """L2 distances that come of what frames on record are off by: the sum of their squares, and their sum."""

    surprises: tuple[float, ...] = ()
    """Logarithms of what stays that were looked into weigh, over what their means made of it."""

    caution: float = 1.0
    """How many times as far as was thought their means had put the answer off; at least 1."""

    scatter: tuple[float, float] = (0.0, 0.0)
    """How frames scatter along the query inside of these, and how their means made expect: sums of squares."""

    def context(self) -> Floats:
        """Give the context vector: float64 [D]."""
        if self.known_context is not None:
            return self.known_context
        context = self.rest.copy()
        shares = np.where(self.by_mean, self.shares, 0.0)
        begin = 0
        for means in self.means:
            of = slice(begin, begin + len(means))
            context += self.masses.chosen(of).weighted_sum(self.query, means, shares[of])
            begin += len(means)
        return context

    def doubts(self, context: Floats) -> Floats:
        """Estimate how far each stay that stands by its mean may put the context vector off, as an L2 distance: [R].

        Args:
            context: float64 [D].
        """
        narrow = context.astype(np.float32)
        along = np.concatenate([products(means, narrow) for means in self.means])
        doubts = self.masses.doubts(self.weights, context, along, np.array(self.surprises))
        return np.where(self.by_mean, doubts, 0.0)

    def distance_of(self, doubts: Floats) -> float:
        """Estimate how far stays may put the context vector off together, as an L2 distance.

        Args:
            doubts: of each stay, [R].
        """
        alike = self.shares / np.maximum(self.weights, 1e-300)  # how many stays each stands for
        apart = float((alike * doubts**2).sum())
        together = float((alike * doubts).sum()) ** 2
        return self.caution * math.sqrt(apart + _ALIKE * together)

    def renewed(self, weights: Floats, shares: Floats) -> "Estimate":
        """Weigh stays anew.

        Args:
            weights: as shares of the whole before, [R].
            shares: likewise.
        """
        total = float(shares.sum()) + self.beyond
        return replace(
            self,
            known_context=None,
            weights=weights / total,
            shares=shares / total,
            beyond=self.beyond / total,
            rest=self.rest / total,
            entropy=(self.entropy + self.beyond * math.log(total)) / total,
            log_mass=self.log_mass + math.log(total),
            distance=self.distance / total,
            noise=(self.noise[0] / total / total, self.noise[1] / total),
        )

    def told(self, least_error: float = 0.0) -> Reading:
        """Give the answer.

        Args:
            least_error: of reading, that is stated.
        """
        context = self.context()
        length = float(np.linalg.norm(context))
        order = np.argsort(self.rows, kind="stable")
        rows, weights, shares = self.rows[order], self.weights[order], self.shares[order]
        noise = _NOISE_FACTOR * math.sqrt(self.noise[0] + _NOISE_ALIKE * self.noise[1] ** 2)
        storing = math.hypot(self.distance_of(self.doubts(context)), noise) / length
        seen = weights > 0
        entropy = self.entropy - float((shares[seen] * np.log(weights[seen])).sum())
        return Reading(
            context_vector=context.astype(np.float32),
            reading_error=max(self.distance / length, least_error),
            storing_error=max(storing, NEGLIGIBLE) if self.surprises else storing,
            rows=rows,
            weights=weights,
            shares=shares,
            opened_share=min(1.0, float(weights[first_places(rows)].sum())) if self.distance else 1.0,
            effective_stays=math.exp(max(0.0, entropy)),
            log_mass=self.log_mass,
            touched=self.touched,
        )
