from collections.abc import Sequence
from datetime import timedelta

import pytest

from framekeep import Budget, InvalidRequest, ThresholdCurve, ThresholdOutcome
from framekeep.expectation import Expectation, expectation_of
from framekeep.threshold_curve import is_same_threshold

STANDARD = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)


def curve(exemplars: Sequence[float], thresholds: Sequence[float]) -> ThresholdCurve:
    """Of 10,000 frames in a day; an exemplar takes a byte."""
    outcomes = tuple(
        ThresholdOutcome(threshold, kept, 0.0, kept / 10_000, kept, kept, 0.0, 0.0, (), ())
        for threshold, kept in zip(thresholds, exemplars, strict=True)
    )
    return ThresholdCurve(outcomes, 10_000, 0, timedelta(days=1), 1.0, 10_000, 10_000)


def power() -> ThresholdCurve:
    """Keeps 10 / threshold."""
    return curve([10 / threshold for threshold in STANDARD], STANDARD)


@pytest.mark.parametrize("threshold", [0.02, 0.0345, 0.06, 0.25, 0.6])
def test_between_thresholds_a_power_law_is_met_where_it_is(threshold: float) -> None:
    kept = 10 / threshold

    for budget in (Budget(share=kept / 10_000), Budget(exemplars_per_day=kept), Budget(bytes_per_day=kept)):
        expected = expectation_of(power(), budget)
        assert expected.is_within
        assert expected.novelty_threshold == pytest.approx(threshold, rel=2e-3)


def test_a_target_beyond_what_was_tried_begins_at_the_nearest() -> None:
    assert expectation_of(power(), Budget(exemplars_per_day=5000)) == Expectation(0.02, is_within=False)
    assert expectation_of(power(), Budget(exemplars_per_day=1)) == Expectation(0.6, is_within=False)


def test_a_budget_begins_within_its_thresholds() -> None:
    low = Budget(exemplars_per_day=100, max_threshold=0.08)
    high = Budget(exemplars_per_day=100, min_threshold=0.2)

    assert expectation_of(power(), low) == Expectation(0.08, is_within=False)
    assert expectation_of(power(), high) == Expectation(0.2, is_within=False)


def test_a_plateau_is_met_at_its_lowest_threshold() -> None:
    plateau = curve([100, 50, 50, 50, 20], (0.02, 0.05, 0.1, 0.2, 0.4))

    assert expectation_of(plateau, Budget(exemplars_per_day=50)) == Expectation(0.05, is_within=True)


def test_estimates_that_rise_are_met_where_they_first_fall_to_it() -> None:
    wavy = curve([100, 60, 65, 30], (0.1, 0.2, 0.3, 0.6))

    assert 0.1 < expectation_of(wavy, Budget(exemplars_per_day=62)).novelty_threshold < 0.2


def test_where_a_threshold_keeps_nothing_the_curve_ends_at_half_an_exemplar() -> None:
    falling = curve([8, 2, 0, 0], (0.1, 0.2, 0.4, 0.6))

    for kept, threshold in ((4, 0.1 * 2**0.5), (1, 0.2 * 2**0.5), (0.3, 0.4)):
        for budget in (Budget(share=kept / 10_000), Budget(exemplars_per_day=kept), Budget(bytes_per_day=kept)):
            expected = expectation_of(falling, budget)
            assert expected.is_within
            assert expected.novelty_threshold == pytest.approx(threshold, rel=5e-3)


def test_where_no_threshold_keeps_anything_a_target_is_beyond_them() -> None:
    assert expectation_of(curve([0, 0], (0.1, 0.2)), Budget(share=0.1)) == Expectation(0.1, is_within=False)


def test_without_frames_or_time_there_is_nothing_to_judge_by() -> None:
    nothing = ThresholdCurve((), 0, 0, power().duration, 0.0, 0, 100)
    moment = ThresholdOutcome(0.1, 1.0, 0.0, 1.0, None, None, 0.0, 0.0, (), ())
    timeless = ThresholdCurve((moment,), 1, 0, power().duration, 1.0, 1, 100)

    with pytest.raises(InvalidRequest, match="none on record"):
        expectation_of(nothing, Budget(share=0.1))
    with pytest.raises(InvalidRequest, match="frames that span some time"):
        expectation_of(timeless, Budget(exemplars_per_day=5))
    assert expectation_of(timeless, Budget(share=1.0)) == Expectation(0.1, is_within=True)


def test_thresholds_are_the_same_however_they_were_rounded() -> None:
    assert is_same_threshold(0.1, 0.1 + 1e-9)
    assert not is_same_threshold(0.1, 0.1001)
    assert not is_same_threshold(0.1, None)
