"""Verdicts in brief, so that what became of many frames can be read in one line."""

from memory_store.facts import ThresholdCurve
from memory_store.records import Novel, Repeat, Verdict, Withheld


def brief(verdict: Verdict) -> object:
    """Give the exemplar of a repeat, minus that of a novel frame, why a frame was withheld, or whatever else it was."""
    match verdict.outcome:
        case Novel(exemplar_id):
            return -exemplar_id
        case Repeat(exemplar_id):
            return exemplar_id
        case Withheld(reason):
            return reason
        case other:
            return other


def exemplars_told(curve: ThresholdCurve) -> list[float]:
    """What a curve counts, all of it exactly."""
    assert [outcome.error for outcome in curve.outcomes] == [0.0] * len(curve.outcomes)
    return [outcome.exemplars for outcome in curve.outcomes]
