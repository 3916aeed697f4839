"""At which threshold a curve expects a budget to be met."""

import math
from dataclasses import dataclass
from itertools import pairwise

from framekeep.errors import InvalidRequest
from framekeep.policies import Budget
from framekeep.threshold_curve import ThresholdCurve, ThresholdOutcome

_DIGITS = 3
"""Of a threshold: a thousandth of it moves what is kept by less than any estimate is off."""

FEWEST = 0.5
"""Exemplars, where none would be kept: less than one, and more than the logarithm of nothing."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Where a budget begins."""

    novelty_threshold: float
    """The threshold at which the target is expected to be met, or the nearest one that was tried and is allowed."""

    is_within: bool
    """It is expected to be met there; else it lies beyond the thresholds that were tried, or that the budget allows."""


def expectation_of(curve: ThresholdCurve, budget: Budget) -> Expectation:
    """The threshold at which the curve meets the target, between two outcomes on a straight line of logarithms.

    Where an outcome keeps nothing, the line ends at half an exemplar.

    Raises:
        InvalidRequest: there are no frames to judge by, or they span no time and the target is one a day.
    """
    if not curve.frame_count or not curve.outcomes:
        raise InvalidRequest("expected frames to judge the target by, but there are none on record")
    kept = [(outcome.novelty_threshold, _kept(outcome, budget)) for outcome in curve.outcomes]
    wanted = _wanted(budget)
    is_met = kept[0][1] >= wanted >= kept[-1][1]
    if is_met:
        fewest = FEWEST * kept[0][1] / curve.outcomes[0].exemplars  # in the unit of the target
        threshold = next(
            _between(low, high, more, max(wanted, fewest), max(fewer, fewest))
            for (low, more), (high, fewer) in pairwise([kept[0], *kept])
            if more >= wanted >= fewer
        )
    else:
        threshold, _ = kept[0] if wanted > kept[0][1] else kept[-1]
    lowest, highest = budget.min_threshold, budget.max_threshold
    allowed = min(max(float(f"{threshold:.{_DIGITS}g}"), lowest), highest)
    return Expectation(allowed, is_met and lowest <= threshold <= highest)


def _between(low: float, high: float, more: float, wanted: float, fewer: float) -> float:
    """The threshold from `low`, where `more` is kept, to `high`, where `fewer` is, at which it would be `wanted`."""
    way = math.log(more / wanted) / math.log(more / fewer) if more > fewer else 0.0
    return low * math.exp(way * math.log(high / low))


def _wanted(budget: Budget) -> float:
    targets = (budget.share, budget.exemplars_per_day, budget.bytes_per_day)
    return next(target for target in targets if target is not None)


def _kept(outcome: ThresholdOutcome, budget: Budget) -> float:
    """What an outcome keeps, in the unit of the target."""
    kept: float | None
    if budget.share is not None:
        kept = outcome.kept_share
    elif budget.exemplars_per_day is not None:
        kept = outcome.exemplars_per_day
    else:
        kept = outcome.bytes_per_day
    if kept is None:
        raise InvalidRequest("expected frames that span some time to judge a target a day by, got a moment")
    return kept
