"""Streams whose content changes, held to a budget. Part of `benchmarks.tune`.

Each stream shows three games one after the other, a third of its frames each. The kept rate is taken over every window
in which at least 100 exemplars are to be kept, that lies within one game and begins after the first tenth of it. Beside
it, a fixed threshold: the one at which the first game would have kept exactly the target, found by a curve over it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figures
from benchmarks.footage import Footage
from benchmarks.growth import Vectors
from benchmarks.tune_memory import new_memory, show
from memory_store.keeping import Budget, Keeping
from memory_store.scope import Scope

SHARES = (0.02, 0.05)
"""Targets, as shares of the frames."""

REGIMES = 3

_SETTLING = 0.1
"""Of a regime, at its beginning, that does not count."""

_WINDOW = 100
"""Exemplars that are to be kept in a window, at least."""

_GRID = np.geomspace(0.01, 1.0, 60)

_START = 0.1
"""The threshold at the beginning."""


def budget_figures(games: Sequence[Footage]) -> Iterator[Figures]:
    """Show streams of three regimes to memories with a budget, and with a fixed threshold: a row each."""
    for share in SHARES:
        for first in range(len(games)):
            chosen = [games[(first + number) % len(games)] for number in range(REGIMES)]
            length = min(len(footage.frames) for footage in chosen) // REGIMES
            parts = [footage.frames[number * length : (number + 1) * length] for number, footage in enumerate(chosen)]
            frames, names = np.concatenate(parts), " > ".join(footage.name for footage in chosen)
            with new_memory(frames.shape[1], _START, keeping=Keeping(budget=Budget(share=share))) as memory:
                kept = show(memory, frames)
                records = memory.policy("camera").revision
            fixed = _right_for(parts[0], share)
            with new_memory(frames.shape[1], fixed) as memory:
                kept_fixed = show(memory, frames)
            yield {
                "regimes": names,
                "frames_each": length,
                "target": share,
                "off_target": off_target(kept, share, length),
                "kept": [int(part.sum()) for part in np.split(kept, REGIMES)],  # type: ignore[dict-item]  # for JSON
                "thresholds": records,
                "fixed_threshold": round(fixed, 4),
                "fixed_off_target": off_target(kept_fixed, share, length),
            }


def off_target(kept: NDArray[np.bool_], share: float, length: int) -> float | None:
    """Give the largest share by which any window is off the target; None if no window is long enough.

    Args:
        kept: bool [T].
        share: of the frames, to be kept.
        length: frames of a regime.
    """
    shortest, worst = int(np.ceil(_WINDOW / share)), None
    for begin in range(0, len(kept), length):
        sums = np.concatenate([[0], np.cumsum(kept[begin + int(_SETTLING * length) : begin + length])])
        for window in range(shortest, len(sums), max(1, shortest // 20)):
            rates = (sums[window:] - sums[:-window]) / (window * share)
            off = float(np.abs(rates - 1).max())
            worst = off if worst is None else max(worst, off)
    return None if worst is None else round(worst, 4)


def _right_for(frames: Vectors, share: float) -> float:
    """Find the threshold at which a share of some frames is kept."""
    with new_memory(frames.shape[1], _START) as memory:
        show(memory, frames)
        curve = memory.curve(_GRID.tolist(), Scope(), 0)
    wanted = share * len(frames)
    return min(curve.outcomes, key=lambda outcome: abs(outcome.exemplars - wanted)).threshold
