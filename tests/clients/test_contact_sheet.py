from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from framekeep.contact_sheet import draw_sheet
from framekeep.errors import InvalidRequest
from framekeep.lettering import draw_text, shortened, text_mask, text_width
from framekeep.memories import Exemplar
from framekeep.picture_files import JpegEncoder
from lettered import find

TIME = datetime(2026, 1, 31, 5, 6, 7, 490_000, tzinfo=UTC)
RED, BLUE = (220, 30, 30), (30, 30, 220)

T = ["#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."]
ONE = ["..#..", ".##..", "..#..", "..#..", "..#..", "..#..", ".###."]


def exemplar(id: int, colour: tuple[int, int, int], height: int = 90, width: int = 160) -> Exemplar:  # noqa: A002 - as in Exemplar
    return Exemplar(
        id=id,
        stream="door",
        session_id="",
        seq=id,
        capture_time=TIME,
        first_time=TIME,
        last_time=TIME,
        total_duration=timedelta(0),
        frame_count=12,
        sighting_count=1,
        thumbnail=JpegEncoder().encode(np.full((height, width, 3), colour, np.uint8)),
        embedding=None,
    )


def dots(rows: list[str]) -> list[list[bool]]:
    return [[dot == "#" for dot in row] for row in rows]


def test_letters_have_their_dots() -> None:
    assert text_mask("t1", 1)[:, :5].tolist() == dots(T)
    assert text_mask("t1", 1)[:, 6:].tolist() == dots(ONE)
    assert text_mask("T", 2).tolist() == np.kron(dots(T), np.ones((2, 2), bool)).tolist()


@pytest.mark.parametrize("text", ["", "a", "12:34"])
def test_the_width_of_a_text_is_that_of_its_dots(text: str) -> None:
    assert text_width(text, 3) == text_mask(text, 3).shape[1]


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [("door", 4, "door"), ("front-door-camera-17", 12, "front..ra-17"), ("abcdef", 5, "ab..f"), ("", 4, "")],
)
def test_a_long_name_keeps_both_its_ends(text: str, most: int, shown: str) -> None:
    assert shortened(text, most) == shown
    assert len(shown) <= most


def test_text_is_cut_off_at_the_edge() -> None:
    canvas = np.zeros((10, 8, 3), np.uint8)

    draw_text(canvas, "TT", left=6, top=1, scale=1, colour=(1, 2, 3))

    assert canvas[1, 6:].tolist() == [[1, 2, 3]] * 2
    assert canvas[2:].max() == 0


def test_pictures_stand_in_a_grid_with_captions() -> None:
    sheet = draw_sheet([exemplar(1, RED), exemplar(27, BLUE)], "lobby", total=2)

    red = np.argwhere(np.abs(sheet.astype(int) - RED).max(2) < 12)
    blue = np.argwhere(np.abs(sheet.astype(int) - BLUE).max(2) < 12)
    assert (red.max(0) - red.min(0) + 1).tolist() == (blue.max(0) - blue.min(0) + 1).tolist() == [144, 256]
    assert red[:, 0].min() == blue[:, 0].min()
    assert red[:, 1].max() < blue[:, 1].min()
    [title], [caption], times = find(sheet, "LOBBY", 3), find(sheet, "#27", 2), find(sheet, "05:06:07.4", 2)
    assert title[0] < red[:, 0].min()
    assert caption[0] > blue[:, 0].max()
    assert caption[1] == blue[:, 1].min()
    assert len(times) == len(find(sheet, "12 FRAMES", 2)) == len(find(sheet, "1 TIME", 2)) == 2


def test_pictures_of_another_shape_are_fitted_in_and_centred() -> None:
    sheet = draw_sheet([exemplar(1, RED, 300, 100), exemplar(2, BLUE)], "lobby", total=2)

    red = np.argwhere(np.abs(sheet.astype(int) - RED).max(2) < 12)
    blue = np.argwhere(np.abs(sheet.astype(int) - BLUE).max(2) < 12)
    assert (red.max(0) - red.min(0) + 1).tolist() == [192, 64]
    assert (blue.max(0) - blue.min(0) + 1).tolist() == [144, 256]
    assert blue[:, 0].min() - red[:, 0].min() == red[:, 0].max() - blue[:, 0].max() == 24


def test_times_can_count_from_an_origin() -> None:
    origin = TIME - timedelta(hours=1, seconds=2.25)

    sheet = draw_sheet([exemplar(1, RED)], "lobby", total=1, origin=origin)

    assert len(find(sheet, "+01:00:02.2", 2)) == 1


def test_the_title_says_when_not_all_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.contact_sheet.MOST_EXEMPLARS", 3)

    sheet = draw_sheet([exemplar(1, RED)] * 5, "lobby", total=1234)

    assert len(find(sheet, "(3 OF 1234 SHOWN)", 3)) == 1
    assert len(find(sheet, "#1", 2)) == 3


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one exemplar"):
        draw_sheet([], "lobby", total=0)
