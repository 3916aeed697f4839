"""Holding a stream to what it may keep, by moving its threshold. On the frame's way, after each decision. Pure.

What is kept falls with the threshold as a power of it: on footage with an exponent of 1.5 to 4, so that a threshold is
corrected by a root of how far the count is off. Where fewer or more were kept than the target allows is made up for in
part, and within bounds: what a change of content has cost is not taken from what comes after it.
"""

import math
from dataclasses import dataclass, replace
from enum import IntEnum

from memory_store.keeping import Budget

DAY_US = 86_400_000_000

_LONGEST_STEP_US = 60_000_000
"""More time than this between two frames does not count: nothing was shown then."""

_FRONTS = 8
"""Places in time at which one stream is shown at once, at most; sessions of old footage have their own."""

_WINDOW = 5.0
"""Exemplars that were to be kept, after which the threshold is looked at again."""

_EARLY = 3.0
"""So many more than were to be kept, and it is looked at at once: a change of content keeps every frame."""

_BAND = 1.5
"""Exemplars that a window may be off by without the threshold being moved."""

_EXPONENT_UP, _EXPONENT_DOWN = 2.0, 3.0
"""What is kept goes with the threshold to the power of minus this, about; and more so on the way down, for what was
told apart less finely before is kept anew."""

_MADE_UP = 0.5
"""Share of what was kept too much or too little that the next window makes up for."""

_BOUND = 16.0
"""What was kept too much or too little beyond this is forgotten."""

_LEAST_WANTED = 0.2
"""Of what a window was to keep, what it is asked to keep at least, however much was kept before."""

_LONGEST_STEP = 0.7
"""Of the logarithm of the threshold, in one step: a factor of 2."""

_JUDGED = 100.0
"""Exemplars that were to be kept in the stretch by which the budget is judged."""

_JUDGED_FROM = 20.0

_OFF = 0.2
"""Off by more than this share of the target is off target."""


class Condition(IntEnum):
    """How a budget is kept."""

    STARTING = 1
    HOLDING = 2
    DRIFTING = 3
    AT_LIMIT = 4


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How a stream does against its budget."""

    condition: Condition
    kept_of_target: float | None
    """Exemplars kept as a share of what the target allows, lately; None while starting."""


@dataclass(frozen=True, slots=True)
class Control:
    """Where the control of one stream's threshold stands. Every frame that was encoded makes a new one."""

    budget: Budget
    """What it is held to."""

    wanted: float = 0.0
    """Exemplars to be kept since the threshold was looked at last."""

    kept: int = 0
    """Exemplars kept since then."""

    surplus: float = 0.0
    """Exemplars kept beyond the target, within bounds."""

    fronts_us: tuple[int, ...] = ()
    """Capture times up to which the stream was shown, the one that moved last behind: now, and in what comes late."""

    late_wanted: float = 0.0
    """Exemplars to be kept lately; what is older fades."""

    late_kept: float = 0.0
    """Exemplars kept lately."""

    def after(self, *, kept: bool, capture_us: int, bytes_each: float, threshold: float) -> tuple["Control", float]:
        """Take note of a decision.

        Args:
            kept: whether the frame became an exemplar.
            capture_us: when it was captured.
            bytes_each: what an exemplar takes on disk.
            threshold: that decided.

        Returns:
            Where the control stands now, and the threshold for the next frame: the same one unless it is to be moved.
        """
        elapsed_us, fronts_us = self._moved_to(capture_us)
        allowed = self._allowed(elapsed_us, bytes_each)
        fading = math.exp(-allowed / _JUDGED)
        now = replace(
            self,
            wanted=self.wanted + allowed,
            kept=self.kept + kept,
            surplus=min(_BOUND, max(-_BOUND, self.surplus + kept - allowed)),
            fronts_us=fronts_us,
            late_wanted=self.late_wanted * fading + allowed,
            late_kept=self.late_kept * fading + kept,
        )
        within = min(self.budget.max_threshold, max(self.budget.min_threshold, threshold))
        if now.wanted < _WINDOW and now.kept < now.wanted + _EARLY:
            return now, within
        asked = max(_LEAST_WANTED * now.wanted, now.wanted - _MADE_UP * now.surplus)
        moved = within
        if abs(now.kept - asked) > _BAND:
            step = math.log((now.kept + 0.5) / (asked + 0.5))
            step /= _EXPONENT_UP if step > 0 else _EXPONENT_DOWN
            moved = within * math.exp(min(_LONGEST_STEP, max(-_LONGEST_STEP, step)))
        moved = min(self.budget.max_threshold, max(self.budget.min_threshold, moved))
        return replace(now, wanted=0.0, kept=0), moved

    def _moved_to(self, capture_us: int) -> tuple[int, tuple[int, ...]]:
        """Give the time that was not shown before a frame, and the fronts after it."""
        near_us = min(self.fronts_us, key=lambda front_us: abs(capture_us - front_us), default=None)
        if near_us is None or abs(capture_us - near_us) > _LONGEST_STEP_US:
            return 0, (*self.fronts_us[1 - _FRONTS :], capture_us)
        others = tuple(front_us for front_us in self.fronts_us if front_us != near_us)
        return max(0, capture_us - near_us), (*others, max(near_us, capture_us))

    def _allowed(self, elapsed_us: int, bytes_each: float) -> float:
        """Tell how many exemplars more the target allows with one frame more."""
        budget = self.budget
        if budget.share is not None:
            return budget.share
        a_day = budget.exemplars_per_day
        if a_day is None:
            a_day = (budget.bytes_per_day or 0.0) / bytes_each
        return a_day * (elapsed_us / DAY_US)

    def state(self, threshold: float) -> BudgetState:
        """Tell how the budget is kept at the threshold in force."""
        if self.late_wanted < _JUDGED_FROM:
            return BudgetState(Condition.STARTING, None)
        share = self.late_kept / self.late_wanted
        if abs(share - 1) <= _OFF:
            return BudgetState(Condition.HOLDING, share)
        limit = self.budget.max_threshold if share > 1 else self.budget.min_threshold
        return BudgetState(Condition.AT_LIMIT if threshold == limit else Condition.DRIFTING, share)
