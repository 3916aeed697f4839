"""Which threshold a curve suggests: the one at its knee, beyond which a higher one saves little."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from framekeep.threshold_curve import ThresholdCurve, ThresholdOutcome

_LEAST_EXEMPLARS = 3
"""Where fewer are kept, nearly everything is one: what happens there says nothing of the bend before."""

_LEAST_OUTCOMES = 4
"""Two ends, and two between them that can be told apart."""

_LEAST_DROP = 0.1
"""A curve that falls by a smaller share of its height is flat: any of its thresholds does as well."""

_LEAST_BEND = 0.1
"""A curve that comes no further below its chord, of a height and width of 1, is straight: estimates are off by half of
that."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A threshold, and why."""

    novelty_threshold: float | None
    """One of those of the curve; None: it does not suggest any."""

    reason: str
    """Why, as the end of a sentence."""


def suggestion_of(curve: ThresholdCurve) -> Suggestion:
    """The threshold at the knee of exemplars over the logarithm of the threshold.

    The knee is where the curve, scaled to a height and width of 1, is furthest below the chord between its ends, as in
    V. Satopaa, J. Albrecht, D. Irwin and B. Raghavan, "Finding a 'Kneedle' in a Haystack", ICDCSW 2011. Outcomes with
    fewer than 3 exemplars are left out.
    """
    outcomes = [outcome for outcome in curve.outcomes if outcome.exemplars >= _LEAST_EXEMPLARS]
    if len(outcomes) < _LEAST_OUTCOMES:
        return Suggestion(
            None,
            f"only {len(outcomes)} of the thresholds would keep {_LEAST_EXEMPLARS} exemplars or more, too few to see "
            "where the curve bends",
        )
    most, least = outcomes[0].exemplars, outcomes[-1].exemplars
    if most - least < _LEAST_DROP * most:
        return Suggestion(
            None, f"all thresholds would keep about the same, {_shown(least)} to {_shown(most)} exemplars"
        )
    bends = bends_of(outcomes)
    knee = max(range(len(bends)), key=bends.__getitem__)
    if bends[knee] < _LEAST_BEND:
        return Suggestion(None, "the curve falls evenly, without a bend beyond which a higher threshold saves little")
    before, at, after = outcomes[knee - 1 : knee + 2]
    return Suggestion(
        at.novelty_threshold,
        f"beyond it each further step saves less: {after.novelty_threshold:g} would keep "
        f"{_shown(max(0.0, at.exemplars - after.exemplars))} fewer exemplars of {curve.frame_count:,} frames, "
        f"{before.novelty_threshold:g} would keep {_shown(max(0.0, before.exemplars - at.exemplars))} more",
    )


def bends_of(outcomes: Sequence[ThresholdOutcome]) -> list[float]:
    """How far each outcome is below the chord between the first and the last, if height and width are scaled to 1.

    Args:
        outcomes: at least two, in ascending order; the last keeps fewer than the first.
    """
    first, last = outcomes[0], outcomes[-1]
    width = math.log(last.novelty_threshold / first.novelty_threshold)
    height = first.exemplars - last.exemplars
    return [
        1.0
        - math.log(outcome.novelty_threshold / first.novelty_threshold) / width
        - (outcome.exemplars - last.exemplars) / height
        for outcome in outcomes
    ]


def _shown(exemplars: float) -> str:
    return f"{round(exemplars):,}"
