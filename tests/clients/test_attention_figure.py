from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framekeep.attention import AttendedBlock, AttendedStay, ExplainedBlock, Explanation
from framekeep.attention_figure import MOST_EXEMPLARS, draw_attention, exemplars_to_show, spread
from framekeep.errors import InvalidRequest
from framekeep.memories import Exemplar
from framekeep.palette import WEIGHT, Colour, colour_of
from framekeep.picture_files import JpegEncoder, Pixels
from lettered import find

START = datetime(2026, 1, 31, 5, 6, 0, tzinfo=UTC)
RED = (220, 30, 30)
LEFT, ROOM = 232, 1280
"""Where the axis begins, and its pixels."""

BODY = (163, 319)
"""Top and bottom of the row of the only stream."""


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def block(weight: float, start: float, end: float, stream: str = "cam") -> AttendedBlock:
    return AttendedBlock(1, stream, 0, weight, at(start), at(end), 64)


def stay(exemplar: int, weight: float, start: float, end: float) -> AttendedStay:
    return AttendedStay(exemplar, weight, 0.9312, at(start), at(end), 7)


def explanation(*parts: tuple[AttendedBlock, list[AttendedStay]]) -> Explanation:
    return Explanation(
        tuple(ExplainedBlock(block, (), tuple(stays)) for block, stays in parts), tuple(block for block, _ in parts)
    )


def exemplar(id: int) -> Exemplar:  # noqa: A002 - as in Exemplar
    jpeg = JpegEncoder().encode(np.full((90, 160, 3), RED, np.uint8))
    return Exemplar(id, "cam", "", id, START, START, START, timedelta(0), 12, 1, jpeg, None)


def drawn(explained: Explanation, title: str = "attention of lobby to person.jpg") -> Pixels:
    return draw_attention(explained, {number: exemplar(number) for number in exemplars_to_show(explained)}, title)


def heights(figure: Pixels, colour: Colour, top: int, bottom: int) -> NDArray[np.int64]:
    """How many pixels of a colour each column of the axis has between two rows."""
    part = figure[top:bottom, LEFT : LEFT + ROOM]
    return np.asarray((part == colour).all(2).sum(0), np.int64)  # [W]


def row_of(figure: Pixels, label: str) -> int:
    """Where the row of a stream is: the top of its name."""
    [(top, _), *_] = find(figure, label, 2)
    return top


def test_a_block_is_a_bar_as_high_as_its_weight_at_its_time() -> None:
    figure = drawn(explanation((block(0.6, 0, 50), []), (block(0.3, 50, 100), [])))

    bars = heights(figure, WEIGHT, *BODY)
    assert set(bars[:638].tolist()) == {156}
    assert set(bars[642:].tolist()) == {78}
    assert figure.shape == (347, LEFT + ROOM + 24, 3)


def test_the_lightest_and_the_shortest_can_be_seen_too() -> None:
    lightest = heights(drawn(explanation((block(0.99, 0, 50), []), (block(1e-9, 50, 100), []))), WEIGHT, *BODY)
    shortest = heights(drawn(explanation((block(1.0, 0, 0), []))), WEIGHT, *BODY)

    assert set(lightest[642:].tolist()) == {3}
    assert np.flatnonzero(shortest).tolist() == [0, 1, 2, 3]


def test_a_stay_is_a_bar_in_front_of_its_block_to_the_same_scale() -> None:
    figure = drawn(explanation((block(0.8, 0, 100), [stay(7, 0.4, 25, 50), stay(9, 0.001, 75, 75)])))

    seven, nine = (heights(figure, colour_of(place), *BODY) for place in (1, 2))
    assert set(seven[320:640].tolist()) == {78}
    assert np.flatnonzero(seven).tolist() == list(range(320, 640))
    assert set(nine[960:964].tolist()) == {10}
    assert np.flatnonzero(nine).tolist() == list(range(960, 964))


def test_thumbnails_are_in_order_of_time_each_with_what_is_known_of_it() -> None:
    late, early = stay(7, 0.5, 80, 90), stay(38, 0.2, 10, 12.5)
    figure = drawn(explanation((block(1.0, 0, 100), [late, early, stay(7, 0.1, 30, 31)])))

    [seven], [other] = find(figure, "#7", 2), find(figure, "#38", 2)
    red = np.argwhere(np.abs(figure.astype(int) - RED).max(2) < 12)
    assert other[0] == seven[0] > red[:, 0].max()
    assert other[1] < seven[1]
    assert (red[:, 1].min(), red[:, 1].max() - red[:, 1].min() > 168) == (other[1], True)
    for text in ("60.0 %", "20.0 %", "05:07:20.0", "05:06:10.0"):
        assert len(find(figure, text, 2)) == 1
    assert len(find(figure, "SIMILAR", 2)) == len(find(figure, "0.931", 2)) == 2


def test_a_line_leads_from_the_heaviest_stay_to_the_thumbnail() -> None:
    figure = drawn(explanation((block(1.0, 0, 100), [stay(7, 0.1, 20, 20), stay(7, 0.5, 50, 60)])))

    [(caption, left)] = find(figure, "#7", 2)
    line = (figure == colour_of(1)).all(2)  # [H, W]
    bottom = BODY[1] + 4
    first, last = (np.flatnonzero(line[row]).min() for row in (bottom, bottom + 43))
    assert first == pytest.approx(LEFT + 0.55 * ROOM, abs=8)
    assert last == pytest.approx(left + 84, abs=8)
    assert all(line[row].any() for row in range(bottom, caption - 140))


def test_streams_have_rows_the_heaviest_first_and_a_strip_together() -> None:
    figure = drawn(
        explanation(
            (block(0.2, 0, 50, "door"), []),
            (block(0.3, 50, 100, "yard"), [stay(7, 0.3, 60, 70)]),
            (block(0.4, 0, 50, "yard"), []),
        )
    )

    strip, yard, door = (row_of(figure, label) for label in ("ALL", "YARD", "DOOR"))
    assert strip < yard < door
    assert len(find(figure, "70.0 %", 2)) == len(find(figure, "20.0 %", 2)) == 1
    assert len(find(figure, "YARD", 2)) == 2  # beneath the thumbnail too
    bars = heights(figure, WEIGHT, strip - 10, strip + 24)
    assert (bars[100], bars[1000]) == (34, 25)
    assert heights(figure, WEIGHT, door - 29, door + 63)[100] == 46
    assert heights(figure, WEIGHT, door - 29, door + 63)[1000] == 0


def test_of_too_many_streams_the_lighter_are_only_in_the_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.attention_figure.MOST_STREAMS", 2)
    parts: list[tuple[AttendedBlock, list[AttendedStay]]]
    parts = [(block(weight, 0, 50, name), []) for weight, name in ((0.5, "one"), (0.3, "two"), (0.1, "three"))]

    figure = drawn(explanation(*parts, (block(0.05, 80, 90, "four"), [stay(7, 0.04, 80, 90)])))

    assert [len(find(figure, name, 2)) for name in ("ONE", "TWO", "THREE")] == [1, 1, 0]
    assert len(find(figure, "4 BLOCKS OF STAYS WITH 95.0 % OF THE WEIGHT   2 OF 4 STREAMS", 2)) == 1
    assert len(find(figure, "FOUR", 2)) == 1  # the exemplar tells where it is from
    strip = row_of(figure, "ALL")
    assert heights(figure, WEIGHT, strip - 10, strip + 24)[-100] == 3


def test_the_figure_says_how_to_read_it() -> None:
    figure = drawn(explanation((block(0.5, 0, 50), [stay(7, 0.5, 0, 1)]), (block(0.4, 90_000, 90_050), [])))

    assert len(find(figure, "ATTENTION OF LOBBY TO PERSON.JPG", 3)) == 1
    told = "2026-01-31 05:06:00 TO 2026-02-01 06:06:50 UTC   2 BLOCKS OF STAYS WITH 90.0 % OF THE WEIGHT   1 STREAM"
    assert len(find(figure, told, 2)) == 1
    legend = "COLOURED: STAYS OF EXEMPLARS BELOW   HATCHED: NO BLOCK   WITH EDGES: NOT TO SCALE"
    assert len(find(figure, f"HEIGHT: WEIGHT, AT MOST 50.0 %   {legend}", 2)) == 1
    assert len(find(figure, "25 H", 2)) + len(find(figure, "1.0 D", 2)) == 1


def test_the_heaviest_exemplars_are_shown_once_each() -> None:
    stays = [stay(number, number / 100, 100 - number, 100 - number) for number in range(1, 10)]
    again = [stay(1, 0.2, 3, 4), stay(1, 0.19, 70, 71)]

    ids = exemplars_to_show(explanation((block(0.6, 0, 50), stays), (block(0.3, 50, 100), again)))

    assert ids == [1, 9, 8, 7, 6, 5, 4]
    assert len(ids) == MOST_EXEMPLARS


def test_stays_are_found_however_deep_they_lie() -> None:
    low = ExplainedBlock(block(0.5, 0, 50), (), (stay(7, 0.5, 0, 1),))
    middle = ExplainedBlock(replace(block(0.5, 0, 50), level=2), (low,), ())
    top = ExplainedBlock(replace(block(0.5, 0, 50), level=3), (middle,), ())

    assert exemplars_to_show(Explanation((top,), (low.block,))) == [7]


YEAR_S = 365 * 86_400


@pytest.mark.parametrize(
    ("blocks", "height"),
    [
        ([block(1.0, 0, 0)], 577),
        ([block(0.0, 0, 0)], 577),
        ([block(0.1, 0, 100)] * 10, 577),
        ([block(0.001, number * YEAR_S / 50, number * YEAR_S / 50 + 60) for number in range(1000)], 577),
        ([block(0.002, number, number + 1, f"{number:03}{'n' * 60}") for number in range(300)], 1195),
    ],
    ids=["one instant", "no weight", "the same time", "twenty years", "many streams"],
)
def test_the_figure_stays_of_a_size_that_can_be_looked_at(blocks: list[AttendedBlock], height: int) -> None:
    first = blocks[0]
    stays = [AttendedStay(number, 0.01, 0.5, first.start_time, first.end_time, 1) for number in range(1, 20)]

    figure = drawn(
        explanation((first, stays), *((block, []) for block in blocks[1:])), f"attention of {'m' * 63} to {'f' * 200}"
    )

    assert figure.shape == (height, 1536, 3)


@pytest.mark.parametrize(
    ("wanted", "placed"),
    [
        ([], []),
        ([50], [50]),
        ([0, 1000], [10, 990]),
        ([100, 200, 300], [100, 200, 300]),
        ([500, 500, 500], [400, 500, 600]),
        ([20, 30], [10, 110]),
        ([980, 980], [890, 990]),
        ([300, 350, 800], [275, 375, 800]),
    ],
)
def test_thumbnails_stand_side_by_side_as_near_to_their_times_as_they_can(wanted: list[int], placed: list[int]) -> None:
    assert spread(wanted, 100, 10, 990) == placed


@given(st.lists(st.integers(0, 2000), max_size=7).map(sorted))
def test_places_are_in_order_apart_and_within_their_room(wanted: list[int]) -> None:
    placed = spread(wanted, 185, 316, 1428)

    assert len(placed) == len(wanted)
    assert all(other - one >= 185 for one, other in pairwise(placed))
    assert all(316 <= place <= 1428 for place in placed)


def test_an_exemplar_whose_own_frame_was_forgotten_is_an_empty_field() -> None:
    explained = explanation((block(1.0, 0, 10), [stay(7, 0.5, 0, 1)]))
    forgotten = replace(exemplar(7), thumbnail=None, own_frame_forgotten=True)

    figure = draw_attention(explained, {7: forgotten}, "lobby")

    assert len(find(figure, "#7", 2)) == 1


def test_what_cannot_be_drawn_is_refused() -> None:
    explained = explanation((block(1.0, 0, 10), [stay(7, 0.5, 0, 1)]))

    with pytest.raises(InvalidRequest, match="expected at least one block of stays for a figure, got none"):
        draw_attention(Explanation((), ()), {}, "lobby")
    with pytest.raises(InvalidRequest, match="expected exemplar 7 with its thumbnail, got it without"):
        draw_attention(explained, {7: replace(exemplar(7), thumbnail=None)}, "lobby")
