from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from framekeep.answers import Clock, Sighting
from framekeep.errors import InvalidRequest
from framekeep.memories import Exemplar
from framekeep.palette import DIM, Colour, colour_of
from framekeep.picture_files import JpegEncoder, Pixels
from framekeep.timeline_figure import draw_timeline, exemplars_to_show, within
from lettered import find

START = datetime(2026, 1, 31, 5, 6, 0, tzinfo=UTC)
RED = (220, 30, 30)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def sighting(exemplar: int, start: float, end: float, session: str = "one") -> Sighting:
    return Sighting("door", exemplar, at(start), at(end), 10, session, Clock.SESSION, 0.1, 0.05)


def exemplar(id: int, colour: Colour = RED) -> Exemplar:  # noqa: A002 - as in Exemplar
    picture = np.full((90, 160, 3), colour, np.uint8)
    jpeg = JpegEncoder().encode(picture)
    return Exemplar(id, "door", "", id, START, START, START, timedelta(0), 12, 1, jpeg, None)


def drawn(sightings: list[Sighting]) -> Pixels:
    exemplars = {number: exemplar(number) for number in exemplars_to_show(sightings)}
    return draw_timeline(sightings, exemplars, "lobby / door")


def bars(figure: Pixels, colour: Colour, minimum_height: int = 20) -> list[tuple[int, int, int, int]]:
    """Left, right, top and bottom of what is filled with a colour, from left to right; letters are too small."""
    filled: NDArray[np.bool_] = (figure == colour).all(2)
    found = []
    left = None
    columns = [tuple(_run(filled[:, x], minimum_height)) for x in range(figure.shape[1])] + [()]
    for x, column in enumerate(columns):
        if left is not None and column != columns[left]:
            found += [(left, x, top, bottom) for top, bottom in columns[left]]
            left = None
        if left is None and column:
            left = x
    return found


def _run(column: NDArray[np.bool_], minimum_height: int) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], column, [False]]).astype(np.int8))).reshape(-1, 2)
    return [(int(top), int(bottom)) for top, bottom in edges if bottom - top >= minimum_height]


def test_each_exemplar_has_a_row_with_its_bars_and_a_place_in_the_strip() -> None:
    figure = drawn([sighting(1, 0, 40), sighting(2, 40, 60), sighting(1, 60, 100)])

    one, two = bars(figure, colour_of(1)), bars(figure, colour_of(2))
    (strip_two, row_two) = two
    strip_one, row_one = [bar for bar in one if bar[0] == one[0][0]]
    assert [bar[:2] for bar in one] == [one[0][:2]] * 2 + [one[-1][:2]] * 2
    assert row_one[1] - row_one[0] == pytest.approx(512, abs=1)  # 40 of 100 s on 1280 pixels
    assert row_two[1] - row_two[0] == pytest.approx(256, abs=1)
    assert row_two[0] == row_one[1]
    assert strip_one[2:] == strip_two[2:]
    assert strip_one[3] < row_one[2] < row_one[3] < row_two[2]


def test_rows_are_labelled_with_thumbnail_number_time_and_count() -> None:
    figure = drawn([sighting(7, 0, 40), sighting(12, 40.02, 40.04), sighting(7, 60, 100)])

    red = np.argwhere(np.abs(figure.astype(int) - RED).max(2) < 12)
    [seven], [twelve] = find(figure, "#7", 2), find(figure, "#12", 2)
    row_seven, row_twelve = (bars(figure, colour_of(number), minimum_height=40)[0] for number in (7, 12))
    assert red[:, 1].max() < seven[1] == twelve[1] < row_seven[0]
    assert row_seven[2] < seven[0] < row_seven[3]
    assert row_twelve[2] < twelve[0] < row_twelve[3]
    assert [len(find(figure, text, 2)) for text in ("1:20 MIN", "2 TIMES", "10 FRAMES", "1 TIME")] == [1, 1, 1, 1]


def test_a_single_frame_can_be_seen_also_at_the_end() -> None:
    figure = drawn([sighting(1, 0, 50), sighting(2, 50, 50), sighting(1, 51, 100), sighting(3, 100, 100)])

    for number in (2, 3):
        [row] = bars(figure, colour_of(number), minimum_height=40)
        assert row[1] - row[0] == 4


def test_times_are_on_the_axis_and_the_zone_is_said() -> None:
    figure = drawn([sighting(1, 0, 100)])

    assert len(find(figure, "LOBBY / DOOR", 3)) == 1
    assert len(find(figure, "2026-01-31 05:06:00 TO 05:07:40 UTC   1 SIGHTING   1 SESSION", 2)) == 1
    above, below = find(figure, "TIME, UTC", 2)
    for label in ("05:06:30", "05:07:00", "05:07:30", "2026-01-31"):
        tops = [top for top, _ in find(figure, label, 2)]
        assert len(tops) >= 2
        assert above[0] <= tops[-2] < below[0] <= tops[-1]


def test_gaps_between_sessions_are_hatched_and_show_their_length() -> None:
    figure = drawn([sighting(1, 0, 50, "one"), sighting(1, 7250, 7300, "two")])

    first, *_, last = bars(figure, colour_of(1), minimum_height=40)
    [label] = find(figure, "2.0 H", 2)
    edges = bars(figure, DIM, minimum_height=100)
    between = figure[first[2], first[1] + 4 : last[0] - 4]
    assert first[1] - first[0] == pytest.approx(last[1] - last[0], abs=1)
    assert last[0] - first[1] == 96
    assert first[1] < label[1] < last[0]
    assert [edge[1] - edge[0] for edge in edges] == [2, 2]
    assert len(np.unique(between, axis=0)) == 2
    assert len(find(figure, "2 SESSIONS   HATCHED: NO SESSION   WITH EDGES: NOT TO SCALE", 2)) == 1


def test_of_too_many_exemplars_those_longest_on_screen_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.timeline_figure.MOST_ROWS", 3)
    sightings = [sighting(1, 0, 10), sighting(2, 10, 12), sighting(3, 12, 20), sighting(4, 20, 29)]

    figure = drawn(sightings)

    assert exemplars_to_show(sightings) == [1, 3, 4]
    assert len(find(figure, "(3 OF 4 EXEMPLARS SHOWN, LONGEST ON SCREEN; OTHERS GRAY)", 3)) == 1
    assert bars(figure, colour_of(2)) == []
    [gray] = bars(figure, DIM)
    assert gray[1] - gray[0] == pytest.approx(1280 * 2 / 29, abs=1)


@pytest.mark.parametrize(("count", "height"), [(1, 92), (8, 92), (9, 68), (50, 50), (500, 50)])
def test_the_figure_stays_of_a_size_that_can_be_looked_at(count: int, height: int) -> None:
    figure = drawn([sighting(number, number, number + 1) for number in range(1, count + 1)])

    assert figure.shape[0] == 255 + min(count, 50) * height
    assert figure.shape[1] < 1700


def test_sightings_are_cut_at_the_ends_of_the_range() -> None:
    sightings = [sighting(1, 0, 10), sighting(2, 10, 20), sighting(3, 20, 30)]

    cut = within(sightings, at(5), at(15))

    assert cut == [sighting(1, 5, 10), sighting(2, 10, 15)]
    assert within(sightings, None, None) == sightings


def test_an_exemplar_has_the_same_colour_everywhere_and_neighbours_differ() -> None:
    colours = [colour_of(number) for number in range(1, 300)]

    assert len(set(colours)) > 290
    for one, other in pairwise(colours):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 60


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one sighting"):
        draw_timeline([], {}, "lobby / door")
