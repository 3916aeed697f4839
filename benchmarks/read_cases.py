"""The inverse temperatures at which `benchmarks.read` asks: given ones, and those that spread attention so far.

How far attention spreads is its effective size, exp(entropy) of the weights of all frames. The larger it is, the
nearer is every answer to the mean of all frames, and the easier it is to give.

Shapes: Q queries.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """At which inverse temperature a query is asked: one of the two is given."""

    name: str
    """What tables call it."""

    inverse_temperature: float | None
    """The same for every query."""

    effective_size: int | None
    """In frames: each query gets the inverse temperature at which the exact answer has it."""


CASES = (
    Case("beta 10", 10.0, None),
    Case("beta 50", 50.0, None),
    Case("size 1000", None, 1000),
    Case("size 100", None, 100),
    Case("size 10", None, 10),
)

_LEAST, _MOST = 0.5, 4000.0
"""Inverse temperatures that are looked at: beyond them, attention is on everything, or on copies of one frame."""

_STEPS = 18
"""Halvings of that range: to 0.01 %."""

_OFF = 0.1
"""An effective size that is missed by more is not there, as where copies of a frame are more than it."""


def inverse_temperatures(case: Case, effective_sizes: Callable[[Floats], Floats], queries: int) -> Floats:
    """Find the inverse temperature of each query: float64 [Q]; not a number where none has the effective size.

    Args:
        case: which are looked for.
        effective_sizes: of the exact answers to all queries, each at its own inverse temperature: [Q] to [Q].
        queries: Q.
    """
    if case.effective_size is None:
        return np.full(queries, case.inverse_temperature, np.float64)
    low, high = np.full(queries, np.log(_LEAST)), np.full(queries, np.log(_MOST))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        wide = effective_sizes(np.exp(middle)) > case.effective_size
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    found = np.exp((low + high) / 2)
    off = np.abs(effective_sizes(found) / case.effective_size - 1)
    return np.where(off <= _OFF, found, np.nan)


def percentile(values: Floats, percent: float, digits: int = 5) -> float | None:
    """Give a percentile of figures, those that are none left out; None if none is left."""
    there = values[np.isfinite(values)]
    return round(float(np.percentile(there, percent)), digits) if len(there) else None
