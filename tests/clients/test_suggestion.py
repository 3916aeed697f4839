"""Which threshold curves of several shapes suggest."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framekeep import ThresholdCurve, ThresholdOutcome
from framekeep.suggestion import bends_of, suggestion_of

STANDARD = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)


def outcome(threshold: float, exemplars: float, frames: int = 10_000) -> ThresholdOutcome:
    return ThresholdOutcome(threshold, exemplars, 0.0, exemplars / frames, exemplars, exemplars, 0.0, 0.0, (), ())


def curve(exemplars: Sequence[float], thresholds: Sequence[float] = STANDARD) -> ThresholdCurve:
    outcomes = tuple(outcome(threshold, each) for threshold, each in zip(thresholds, exemplars, strict=True))
    return ThresholdCurve(outcomes, 10_000, 0, timedelta(days=1), 1.0, 10_000, 10_000)


def falling(shape: Callable[[float], float]) -> ThresholdCurve:
    return curve([shape(threshold) for threshold in STANDARD])


def test_a_corner_is_suggested() -> None:
    suggestion = suggestion_of(curve([5000, 4000, 2600, 1700, 400, 390, 380, 370, 360, 350]))

    assert suggestion.novelty_threshold == 0.1
    assert suggestion.reason == (
        "beyond it each further step saves less: 0.15 would keep 10 fewer exemplars of 10,000 frames, 0.07 would keep "
        "1,300 more"
    )


@pytest.mark.parametrize(("exponent", "threshold"), [(1.0, 0.07), (2.0, 0.05), (3.0, 0.05)])
def test_a_power_of_the_threshold_bends_where_the_slope_of_the_chord_is(exponent: float, threshold: float) -> None:
    suggestion = suggestion_of(falling(lambda each: 100 * each**-exponent))

    assert suggestion.novelty_threshold == threshold


def test_only_outcomes_with_three_exemplars_count() -> None:
    falls_early = [5000, 900, 800, 700, 2, 2, 1, 1, 1, 1]

    assert suggestion_of(curve(falls_early)).novelty_threshold == 0.03
    few = suggestion_of(curve([*falls_early[:3], 2, *falls_early[4:]]))
    assert few.novelty_threshold is None
    assert few.reason.startswith("only 3 of the thresholds would keep 3 exemplars or more")


def test_a_flat_curve_suggests_nothing() -> None:
    suggestion = suggestion_of(curve([105, 104, 103, 102, 101, 100, 100, 100, 100, 100]))

    assert suggestion.novelty_threshold is None
    assert suggestion.reason == "all thresholds would keep about the same, 100 to 105 exemplars"


def test_a_straight_curve_and_one_that_bends_the_other_way_suggest_nothing() -> None:
    thresholds = [0.01 * 2**step for step in range(7)]
    straight = curve([700, 600, 500, 400, 300, 200, 100], thresholds)
    outwards = curve([700, 690, 670, 640, 560, 400, 100], thresholds)

    for each in (straight, outwards):
        suggestion = suggestion_of(each)
        assert suggestion.novelty_threshold is None
        assert (
            suggestion.reason == "the curve falls evenly, without a bend beyond which a higher threshold saves little"
        )


def test_nothing_on_record_suggests_nothing() -> None:
    assert suggestion_of(curve([0.0] * 10)).novelty_threshold is None
    assert suggestion_of(curve([], [])).novelty_threshold is None


def test_the_bend_is_the_distance_from_the_chord_of_the_scaled_curve() -> None:
    outcomes = [outcome(threshold, kept) for threshold, kept in ((0.01, 110), (0.1, 20), (1.0, 10))]

    assert bends_of(outcomes) == pytest.approx([0.0, 1 - 0.5 - 0.1, 0.0])


@given(
    st.lists(st.floats(3, 1e6), min_size=4, max_size=10).map(lambda kept: sorted(kept, reverse=True)),
    st.floats(0.1, 1000),
)
def test_a_suggestion_does_not_depend_on_how_much_there_is(kept: list[float], factor: float) -> None:
    thresholds = STANDARD[: len(kept)]
    larger = [each * max(1.0, factor) for each in kept]

    one, other = suggestion_of(curve(kept, thresholds)), suggestion_of(curve(larger, thresholds))

    ends = thresholds[0], thresholds[-1]
    assert one.novelty_threshold == other.novelty_threshold
    assert one.novelty_threshold is None or ends[0] < one.novelty_threshold < ends[1]
