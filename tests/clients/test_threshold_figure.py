"""The figure of a curve over thresholds: read back from its pixels."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from framekeep import Exemplar, InvalidRequest, NoveltyExample, ThresholdCurve, ThresholdOutcome
from framekeep.log_axis import LogAxis
from framekeep.palette import ACCENT, BRIGHT, NOVEL, REPEAT, WEIGHT, Colour
from framekeep.picture_files import JpegEncoder, Pixels
from framekeep.suggestion import Suggestion
from framekeep.threshold_figure import draw_thresholds, examples_to_show, exemplars_to_show, outcomes_to_show
from framekeep.time_figure import shown_width
from lettered import find

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
STANDARD = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
RED, GREEN = (220, 30, 30), (30, 180, 30)
SUGGESTED = Suggestion(0.2, "it bends")


def picture(colour: Colour) -> bytes:
    return JpegEncoder().encode(np.full((90, 160, 3), colour, np.uint8))


def exemplar(id: int) -> Exemplar:  # noqa: A002 - as in Exemplar
    return Exemplar(id, "door", "", id, START, START, START, timedelta(0), 12, 1, picture(GREEN), None)


def example(novelty: float, exemplar: int = 1, stream: str = "door", *, kept: bool = False) -> NoveltyExample:
    return NoveltyExample(novelty, exemplar, stream, START, picture(RED), kept)


def outcome(
    threshold: float,
    exemplars: float,
    error: float = 0.0,
    *,
    below: Sequence[NoveltyExample] = (),
    above: Sequence[NoveltyExample] = (),
) -> ThresholdOutcome:
    kept = exemplars / 1000
    return ThresholdOutcome(threshold, exemplars, error, kept, None, None, 0.0, 0.0, tuple(above), tuple(below))


def curve(exemplars: Sequence[float], error: float = 0.0) -> ThresholdCurve:
    outcomes = tuple(outcome(threshold, each, error) for threshold, each in zip(STANDARD, exemplars, strict=False))
    return ThresholdCurve(outcomes, 1000, 0, timedelta(seconds=100), 1.0, 1000, 1000)


CURVE = curve([640, 320, 160, 80, 40, 20, 10, 5, 2, 1])


def drawn(
    shown: ThresholdCurve = CURVE, rows: Sequence[ThresholdOutcome] = (), suggestion: Suggestion = SUGGESTED
) -> Pixels:
    exemplars = {number: exemplar(number) for number in exemplars_to_show(rows)}
    return draw_thresholds(shown, rows, exemplars, title="lobby", in_force=0.1, suggestion=suggestion)


def columns_of(figure: Pixels, colour: Colour, least: int) -> list[int]:
    """Columns in which a colour fills at least so many rows."""
    found: list[int] = np.flatnonzero((figure == colour).all(2).sum(0) >= least).tolist()
    return found


def test_both_axes_have_their_labels() -> None:
    figure = drawn()

    below = [find(figure, label, 2) for label in ("0.02", "0.03", "0.05", "0.07", "0.15", "0.3", "0.4", "0.6")]
    assert [len(each) for each in below] == [1] * 8
    lefts = [left for [(_, left)] in below]
    assert len({top for [(top, _)] in below}) == 1
    assert lefts == sorted(lefts)
    assert len(find(figure, "EXEMPLARS", 2)) == len(find(figure, "OF THE FRAMES", 2)) == 1
    assert len(find(figure, "1,000 FRAMES OVER 1:40 MIN   ALL COUNTED", 2)) == 1


def test_equal_factors_are_equal_distances() -> None:
    figure = drawn()

    tops = [find(figure, number, 2)[0][0] for number in ("640", "320", "160", "80")]
    lefts = [find(figure, number, 2)[0][1] for number in ("640", "320", "160", "80")]
    assert np.diff(tops) == pytest.approx(np.diff(tops)[0], abs=1)
    distances = np.diff(np.log(STANDARD[:4]))
    assert np.diff(lefts) / distances == pytest.approx((np.diff(lefts) / distances)[0], abs=4)


def test_the_thresholds_in_force_and_suggested_are_marked() -> None:
    figure = drawn()
    unsure = drawn(suggestion=Suggestion(None, "it does not bend"))

    [force], [suggested] = columns_of(figure, BRIGHT, 200)[1:2], columns_of(figure, ACCENT, 200)[1:2]
    assert find(figure, "IN FORCE 0.1", 2)[0][1] == force + 12
    assert find(figure, "SUGGESTED 0.2", 2)[0][1] == suggested + 12
    assert force < suggested
    assert columns_of(unsure, ACCENT, 20) == []


def test_what_estimates_may_be_off_is_a_band_around_the_curve() -> None:
    exact, estimated = drawn(), drawn(curve([640, 320, 160, 80, 40, 20, 10, 5, 2, 1], error=0.3))

    band = columns_of(estimated, WEIGHT, 10)
    assert columns_of(exact, WEIGHT, 1) == []
    assert len(band) > 1500
    assert len(find(estimated, "BAND: HOW FAR ESTIMATES MAY BE OFF", 2)) == 1


def test_frames_that_were_lost_are_told() -> None:
    figure = drawn(replace(CURVE, missing_frame_count=12))

    assert len(find(figure, "12 MORE ARE LEFT OUT: LOST", 2)) == 1


def test_a_row_shows_repeats_to_the_left_and_novel_frames_to_the_right_beside_their_exemplars() -> None:
    row = outcome(
        0.1,
        40,
        below=[example(0.0996, 7), example(0.0951, 8)],
        above=[example(0.1012, 7), example(0.1133, 9, kept=True)],
    )

    figure = drawn(rows=[row])

    places = [find(figure, novelty, 2) for novelty in ("0.0951", "0.0996", "0.1012", "0.1133")]
    assert [len(each) for each in places] == [1] * 4
    lefts = [left for [(_, left)] in places]
    assert lefts == sorted(lefts)
    assert len(find(figure, "#7", 2)) == 2
    [(top, kept)] = find(figure, "WAS KEPT", 2)
    assert (top, kept > lefts[3]) == (places[3][0][0], True)
    reds, greens = (
        np.flatnonzero((np.abs(figure.astype(int) - colour).max(2) < 12).sum(0) > 60) for colour in (RED, GREEN)
    )
    assert len(reds) == len(greens) == 4 * 232
    assert reds.min() == lefts[0]
    assert greens.min() == lefts[0] + 232 + 4
    [(row_top, _)] = find(figure, "0.1", 3)
    for colour, sides in ((REPEAT, lefts[:2]), (NOVEL, lefts[2:])):
        edges = np.flatnonzero((figure[row_top] == colour).all(1))
        assert len(edges) == 2 * 232
        assert edges.min() == sides[0]
    assert len(find(figure, "JUST BELOW: CALLED REPEATS", 2)) == len(find(figure, "JUST ABOVE: CALLED NOVEL", 2)) == 1


def test_rows_name_their_threshold_and_what_it_keeps() -> None:
    rows = [outcome(0.1, 40, below=[example(0.09)]), outcome(0.2, 10, above=[example(0.21)]), outcome(0.3, 5)]

    figure = drawn(rows=rows)

    assert len(find(figure, "IN FORCE", 2)) == len(find(figure, "SUGGESTED", 2)) == 2
    assert len(find(figure, "0.1", 3)) == len(find(figure, "0.2", 3)) == 1
    assert find(figure, "0.3", 3) == []  # without examples it has no row
    assert len(find(figure, "KEEPS 40", 2)) == len(find(figure, "KEEPS 10", 2)) == 1
    assert len(find(figure, "NONE THAT IS ON RECORD", 2)) == 2


def test_streams_are_named_where_there_are_several() -> None:
    one = drawn(rows=[outcome(0.1, 40, below=[example(0.09)], above=[example(0.11)])])
    two = drawn(rows=[outcome(0.1, 40, below=[example(0.09)], above=[example(0.11, stream="yard")])])

    assert (find(one, "DOOR", 2), len(find(two, "DOOR", 2)), len(find(two, "YARD", 2))) == ([], 1, 1)
    assert len(two) > len(one)


def test_what_is_gone_is_an_empty_field() -> None:
    nameless = replace(example(0.09, 5), thumbnail=None)

    figure = draw_thresholds(
        CURVE, [outcome(0.1, 40, below=[nameless])], {}, title="lobby", in_force=0.1, suggestion=SUGGESTED
    )

    assert len(find(figure, "#5", 2)) == 1


def test_examples_of_several_exemplars_come_before_neighbours_in_one_scene() -> None:
    near, same, other, far = example(0.099), example(0.098), example(0.097, 2), example(0.096, 3)

    assert examples_to_show([near, same, other, far]) == [near, other]
    assert examples_to_show([near, same]) == [near, same]
    assert examples_to_show([]) == []


def test_rows_are_around_the_thresholds_in_force_and_suggested() -> None:
    def shown(in_force: float, suggested: float | None) -> list[float]:
        rows = outcomes_to_show(CURVE, in_force, Suggestion(suggested, ""))
        return [row.novelty_threshold for row in rows]

    assert shown(0.1, 0.1) == [0.05, 0.07, 0.1, 0.15, 0.2]
    assert shown(0.02, 0.6) == [0.02, 0.03, 0.3, 0.4, 0.6]
    assert shown(0.05, None) == [0.02, 0.03, 0.05, 0.07, 0.1]


@pytest.mark.parametrize("error", [0.0, 0.3])
def test_nothing_that_is_kept_is_drawn_at_the_foot_of_the_axis(error: float) -> None:
    figure = drawn(curve([40, 20, 10, 5, 0, 0], error))

    [(share_top, _)] = find(figure, "0.0 %", 2)
    [(one_top, _)] = find(figure, "0.1 %", 2)
    ends = sorted({left for top, left in find(figure, "0", 2) if top == share_top})
    assert share_top > one_top
    assert ends[0] == 24 + 132 - 12 - shown_width("0")


def test_a_curve_that_keeps_nothing_at_all_is_drawn() -> None:
    figure = drawn(curve([0, 0, 0]))

    assert len(find(figure, "0.0 %", 2)) == 1


def test_examples_are_said_to_be_what_they_were_when_they_came() -> None:
    figure = drawn(rows=[outcome(0.1, 40, below=[example(0.09)])])

    told = "EACH FRAME, ITS NOVELTY WHEN IT CAME, AND RIGHT OF IT THE EXEMPLAR IT WAS COMPARED WITH THEN"
    assert len(find(figure, told, 2)) == 1


def test_a_single_threshold_stands_in_the_middle() -> None:
    figure = drawn(curve([100]))

    [(_, left)] = find(figure, "0.02", 2)
    assert left == pytest.approx(figure.shape[1] / 2 - 23, abs=2)


def test_without_frames_there_is_nothing_to_draw() -> None:
    with pytest.raises(InvalidRequest, match="expected frames to draw a curve of"):
        drawn(replace(CURVE, frame_count=0))


def test_a_logarithmic_axis_goes_either_way_and_has_round_ticks() -> None:
    right, up = LogAxis(0.02, 0.6, 100, 500), LogAxis(1, 1000, 400, 100)

    assert (right.pixel(0.02), right.pixel(0.6), right.pixel((0.02 * 0.6) ** 0.5)) == (100, 500, 300)
    assert (up.pixel(1), up.pixel(10), up.pixel(1000)) == (400, 300, 100)
    assert right.ticks() == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5])
    assert up.ticks() == [1, 10, 100, 1000]
    assert LogAxis(3, 40, 0, 1).ticks() == [5, 10, 20]
