"""What is asked of attention, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoder.memory_view import Floats, Numbers, Vector

DEFAULT_STAYS = 4000
"""Stays that are opened if nothing else is asked for: half a per cent of a million, some milliseconds."""

BLIND_STAYS = 13_500
"""Likewise where no codes name the needles: summaries of blocks of time hide them."""

LEAST_STAYS = 1000
"""With fewer there is little to tell the error from."""

DEFAULT_FRAMES = 1024
"""Frames that are looked at inside of stays, at most, if nothing else is asked for: some milliseconds."""

CONFIDENCE = 0.9
"""Share of queries in which the stated errors hold, in the worst of the cases of `python -m benchmarks.read`."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to read."""

    stays: int | None = None
    """Stays to open, about; None for DEFAULT_STAYS, or BLIND_STAYS where no codes name needles. A view that has no more
    than twice as many is read whole. At least LEAST_STAYS."""

    reading_error: float | None = None
    """Read on until the stated error of reading is at most this; None: leave it at that."""

    exact: bool = False
    """Open every stay."""

    frames: int | None = None
    """Frames to look at, at most, where the means of their stays are too coarse, at least 0; None for DEFAULT_FRAMES,
    or, if every stay is opened, for as many as matter."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: too few stays or frames, or an error that is none.
        """
        if self.stays is not None and self.stays < LEAST_STAYS:
            raise ValueError(f"expected at least {LEAST_STAYS} stays, got {self.stays}")
        if self.frames is not None and self.frames < 0:
            raise ValueError(f"expected at least 0 frames, got {self.frames}")
        if self.reading_error is not None and not 0 < self.reading_error <= 1:
            raise ValueError(f"expected an error in (0, 1], got {self.reading_error}")


@dataclass(frozen=True, slots=True)
class Reading:
    """What attention returns. Shapes: R stays that were read, D width."""

    context_vector: Vector
    """The mean over all frames, weighted by attention: float32 [D]."""

    reading_error: float
    """What not opening every stay may cost: L2 distance, as a share of the context vector's length. An estimate that
    holds in CONFIDENCE of queries; 0 if all were opened."""

    storing_error: float
    """What means of stays may cost where their frames were not looked at, and rounding where they were, likewise."""

    rows: Numbers
    """Stays that were read, ascending: int64 [R]. One that was drawn twice is there twice."""

    weights: Floats
    """Share of each of these stays in the whole: float64 [R]."""

    shares: Floats
    """Share of the whole that each stands for, its own included: float64 [R]. Summaries stand for the rest."""

    opened_share: float
    """Share of the whole in stays that were read, each counted once."""

    effective_stays: float
    """exp(entropy) of the weights of all stays, as estimated; of several heads, the geometric mean."""

    log_mass: float
    """Logarithm of the mass of the whole, as estimated; of several heads, the mean."""

    touched: int
    """Vectors and summaries that were read, and frames that were looked at."""

    @property
    def once(self) -> Numbers:
        """The places in `rows` of all stays that were read, each once."""
        return first_places(self.rows)


def first_places(rows: Numbers) -> Numbers:
    """Give the first place of each of some ascending rows."""
    return np.flatnonzero(np.diff(rows, prepend=-1))


def combined(readings: Sequence[Reading], mixture: Floats, context: Vector) -> Reading:
    """Put together what several heads read.

    Errors add up at most as the heads are mixed (the triangle inequality); what an output map does to them is left out.
    A stay that only some heads opened counts with what it weighs for these.

    Args:
        readings: of each of H heads.
        mixture: the share of each in the answer, [H].
        context: the answer's context vector, float32 [D].
    """
    rows, place = np.unique(np.concatenate([reading.rows for reading in readings]), return_inverse=True)
    weights, shares = np.zeros(len(rows)), np.zeros(len(rows))
    begin = 0
    for reading, part in zip(readings, mixture.tolist(), strict=True):
        of = place[begin : begin + len(reading.rows)]
        begin += len(reading.rows)
        np.add.at(shares, of, part * reading.shares)
        weights_of_head = np.zeros(len(rows))
        weights_of_head[of] = reading.weights  # once, where it was drawn twice
        weights += part * weights_of_head
    lengths = np.array([np.linalg.norm(reading.context_vector) for reading in readings])  # [H]
    scale = mixture * lengths / max(float(np.linalg.norm(context)), 1e-12)
    named = ("reading_error", "storing_error", "opened_share", "log_mass")
    of_heads = {name: np.array([getattr(reading, name) for reading in readings]) for name in named}
    return Reading(
        context_vector=context,
        reading_error=float(scale @ of_heads["reading_error"]),
        storing_error=float(scale @ of_heads["storing_error"]),
        rows=rows,
        weights=weights,
        shares=shares,
        opened_share=float(mixture @ of_heads["opened_share"]),
        effective_stays=float(np.exp(mixture @ np.log([reading.effective_stays for reading in readings]))),
        log_mass=float(mixture @ of_heads["log_mass"]),
        touched=sum(reading.touched for reading in readings),
    )
