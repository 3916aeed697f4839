"""What a stay weighs in attention, from the mean and the number of its frames alone. A part of the query's way.

Frames are of unit length, so the mean mu of a stay's frames tells their spread around it, s = 1 - |mu|^2. Taken to be
spread evenly over `_DIRECTIONS` directions at right angles to mu (they lie on a sphere), k.x over the frames x of the
stay has the variance v = s |k|^2 sin^2(k, mu) / _DIRECTIONS. For many frames the mean of exp(k.x) is then
exp(k.mu + v/2): the second-order term that Jensen's inequality drops. For m frames it cannot be more than their
largest, which for normal draws is sqrt(2 v log m) above the mean, so that beyond v = 2 log m growth is linear (the
freezing of the random energy model: B. Derrida, Phys. Rev. B 24, 1981).

Shapes: N stays, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DIRECTIONS = 32.0
"""Over how many directions the frames of a stay spread, as seen along a query: a property of the encoder, chosen on
four videos. `python -m benchmarks.read` shows what allowing for the spread takes off the error, there and on games."""

_INDEPENDENT = 2
"""Neighbouring frames are alike: however many a stay has, they differ from its mean as so many independent ones do."""

_MASS_MAY_BE_OFF = 4.0
"""Squared error of the mass of a stay, as a share of it, at most: where one frame holds nearly all of it, the largest
of m is what is estimated."""

_LARGEST_EXPONENT = 30.0

_LARGEST_SURPRISE = 20.0
"""Logarithm of a squared error, at most: some tell badly how far the worst may be off."""


@dataclass(frozen=True, slots=True)
class StayMasses:
    """N stays as a query sees them."""

    logs: Floats
    """Logarithms of their masses: [N]."""

    frames: Floats
    """m: [N]."""

    along: Floats
    """k.mu: [N]."""

    lengths: Floats
    """|mu|^2: [N]."""

    variances: Floats
    """v: [N]."""

    @staticmethod
    def joined(parts: Sequence["StayMasses"]) -> "StayMasses":
        """Put several together."""
        return StayMasses(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("logs", "frames", "along", "lengths", "variances")
            )
        )

    def weighted_sum(self, query: NDArray[np.float32], means: NDArray[np.float32], weights: Floats) -> Floats:
        """Sum the frames as attention weighs them, float64 [D]: inside a stay it prefers those towards the query.

        Args:
            query: k, float32 [D].
            means: of the stays, float32 [N, D].
            weights: what each stay weighs: [N].
        """
        tilts = weights * self._tilts()
        ratio = self.along / np.maximum(self.lengths, 1e-12)
        mixed = (weights - tilts * ratio).astype(np.float32) @ means
        total: Floats = mixed.astype(np.float64) + float(tilts.sum()) * query.astype(np.float64)
        return total

    def square_distances(self, context: Floats, along_context: NDArray[np.float32]) -> Floats:
        """Give |mu - c|^2 for a vector c, from mu.c: [N]."""
        squares = self.lengths - 2 * along_context.astype(np.float64) + float(context @ context)
        away: Floats = np.maximum(squares, 0.0)
        return away

    def doubts(
        self, weights: Floats, context: Floats, along_context: NDArray[np.float32], surprises: Floats, more: float
    ) -> Floats:
        """Estimate how far each stay may put a context vector off, as it stands by its mean; an L2 distance: [N].

        Args:
            weights: of each, as shares of the whole: [N].
            context: c, [D].
            along_context: mu.c: [N].
            surprises: logarithms by which the masses of other stays were off.
            more: times as much as their means show may frames scatter along the query, at least 1.
        """
        most = mass_errors(self.variances, surprises)
        if more > 1:
            heavier = growth_of(self.variances * more, self.frames) - growth_of(self.variances, self.frames)
            most = np.maximum(most, np.expm1(np.minimum(heavier, _LARGEST_EXPONENT)) ** 2)
        shares = weights * np.sqrt(most)
        shares /= 1.0 + shares  # a stay cannot weigh more than all
        squares = shares**2 * self.square_distances(context, along_context)
        squares += weights**2 * self.spreads() * (1.0 + np.minimum(most, _MASS_MAY_BE_OFF))
        return np.where(self.frames > 1, np.sqrt(squares / np.minimum(self.frames, _INDEPENDENT)), 0.0)

    def spreads(self) -> Floats:
        """Give s = 1 - |mu|^2: [N]."""
        return np.maximum(0.0, 1.0 - self.lengths)

    def chosen(self, places: NDArray[np.int64] | slice) -> "StayMasses":
        """Take some of them."""
        return StayMasses(
            self.logs[places], self.frames[places], self.along[places], self.lengths[places], self.variances[places]
        )

    def scattered(self, factor: float | Floats, frames: NDArray[np.int64] | Floats) -> "StayMasses":
        """Weigh them again with variances so many times as large."""
        variances = self.variances * factor
        logs = np.log(self.frames) + self.along + growth_of(variances, frames)
        return StayMasses(logs, self.frames, self.along, self.lengths, variances)

    def _tilts(self) -> Floats:
        """By how much of k at right angles to mu the weighted mean of a stay's frames differs from mu: [N]."""
        limit = np.sqrt(2 * np.log(self.frames) / np.maximum(self.variances, 1e-12))
        return self.spreads() / _DIRECTIONS * np.minimum(1.0, limit)


def products(means: NDArray[np.float32], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply means [N, D] by a vector [D]: [N].

    The server keeps BLAS on the core that calls: its threads wait by spinning, and while the encoder has the cores that
    makes reads many times slower.
    """
    found: NDArray[np.float32] = means @ vector
    return found


def stay_masses(query: NDArray[np.float32], means: NDArray[np.float32], frames: NDArray[np.int64]) -> StayMasses:
    """Weigh stays.

    Args:
        query: k, float32 [D]: a subject times the inverse temperature.
        means: of the frames beneath, float32 [N, D], no longer than 1.
        frames: beneath each, int64 [N], at least 1.
    """
    along = products(means, query).astype(np.float64)
    lengths = np.einsum("nd,nd->n", means, means).astype(np.float64)
    variances = np.where(frames > 1, variance_along(query, along, lengths), 0.0)
    number = frames.astype(np.float64)
    return StayMasses(np.log(number) + along + growth_of(variances, frames), number, along, lengths, variances)


def variance_along(query: NDArray[np.float32], along: Floats, lengths: Floats) -> Floats:
    """Estimate the variance of k.x over frames x of unit length with a known mean: [N].

    Args:
        query: k, float32 [D].
        along: k.mu: [N].
        lengths: |mu|^2: [N].
    """
    across = np.maximum(0.0, float(query.astype(np.float64) @ query) - along**2 / np.maximum(lengths, 1e-12))
    return np.maximum(0.0, 1.0 - lengths) * across / _DIRECTIONS


def mass_errors(variances: Floats, surprises: Floats | None = None) -> Floats:
    """Give the squared error of masses, as a share of each, that are off by exp of something with a variance.

    Args:
        variances: v, [N].
        surprises: logarithms by which other masses were off: if by more than is thought possible, so may these be, as
            normal logarithms have it.
    """
    most = _MASS_MAY_BE_OFF
    if surprises is not None and len(surprises):
        exponent = 2.0 * (float(surprises.mean()) + float(surprises.var()))
        most = max(most, float(np.expm1(min(exponent, _LARGEST_SURPRISE))))
    errors: Floats = np.minimum(np.expm1(np.minimum(variances, _LARGEST_EXPONENT)), most)
    return errors


def growth_of(variances: Floats, frames: NDArray[np.int64] | Floats) -> Floats:
    """Give log of the mean of exp over m draws with a variance v around 0: v/2, at most what m draws can hold: [N]."""
    most = np.log(frames)
    return np.where(variances <= 2 * most, variances / 2, np.sqrt(2 * variances * most) - most)
