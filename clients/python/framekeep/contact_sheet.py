"""A contact sheet: what a memory has kept, as one picture to look at."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from framekeep.errors import InvalidRequest
from framekeep.lettering import GLYPH_HEIGHT, draw_text, text_width
from framekeep.memories import Exemplar
from framekeep.palette import ACCENT, BRIGHT, DIM, GROUND
from framekeep.picture_files import Pixels
from framekeep.thumbnails import draw_picture, fitted_thumbnail

MOST_EXEMPLARS = 400
"""Thumbnails on a sheet; more would make it too large for picture viewers."""

PICTURE_WIDTH, MOST_PICTURE_HEIGHT = 256, 192
"""Room for a thumbnail, in pixels: it is fitted in and centred, and the room is as high as the highest needs."""

_MOST_COLUMNS = 8
_MARGIN, _GAP = 24, 16
"""Pixels around the sheet, and between cells."""

_TEXT_SCALE, _TITLE_SCALE = 2, 3
_LINE_HEIGHT = GLYPH_HEIGHT * _TEXT_SCALE + 6
_CAPTION_HEIGHT = 2 * _LINE_HEIGHT + 6
_TITLE_HEIGHT = GLYPH_HEIGHT * _TITLE_SCALE + 2 * _GAP


def draw_sheet(exemplars: Sequence[Exemplar], title: str, *, total: int, origin: datetime | None = None) -> Pixels:
    """Draw the thumbnails in a grid, each with its id, time, frames and sightings beneath.

    Args:
        exemplars: with thumbnails; at most MOST_EXEMPLARS of them are drawn, from the first on.
        title: a line above them.
        total: how many there are to draw from; the title says so where not all are on the sheet.
        origin: show times from here on; None: time of day, UTC.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        InvalidRequest: no exemplars, or one without a thumbnail.
        PictureRefused: a thumbnail that is no JPEG.
    """
    shown = exemplars[:MOST_EXEMPLARS]
    if not shown:
        raise InvalidRequest("expected at least one exemplar for a contact sheet, got none")
    if len(shown) < total:
        title += f"  ({len(shown)} OF {total} SHOWN)"
    pictures = [fitted_thumbnail(exemplar, PICTURE_WIDTH, MOST_PICTURE_HEIGHT) for exemplar in shown]
    columns = min(len(shown), _MOST_COLUMNS, max(4, math.ceil(math.sqrt(len(shown)))))
    cells_width = columns * (PICTURE_WIDTH + _GAP) - _GAP
    picture_height = max(len(picture) for picture in pictures)
    cell_height = picture_height + _CAPTION_HEIGHT + _GAP
    width = 2 * _MARGIN + max(cells_width, text_width(title, _TITLE_SCALE))
    height = 2 * _MARGIN + _TITLE_HEIGHT + math.ceil(len(shown) / columns) * cell_height - _GAP
    sheet = np.full((height, width, 3), GROUND, np.uint8)  # [H, W, 3]
    draw_text(sheet, title, left=_MARGIN, top=_MARGIN, scale=_TITLE_SCALE, colour=BRIGHT)
    for place, (exemplar, picture) in enumerate(zip(shown, pictures, strict=True)):
        row, column = divmod(place, columns)
        top = _MARGIN + _TITLE_HEIGHT + row * cell_height
        left = _MARGIN + column * (PICTURE_WIDTH + _GAP)
        draw_picture(sheet[top : top + picture_height, left : left + PICTURE_WIDTH], picture)
        _draw_caption(sheet, exemplar, left, top + picture_height + 8, origin)
    return sheet


def _draw_caption(sheet: Pixels, exemplar: Exemplar, left: int, top: int, origin: datetime | None) -> None:
    frames = f"{_short(exemplar.frame_count)} FRAME{'' if exemplar.frame_count == 1 else 'S'}"
    times = f"{_short(exemplar.sighting_count)} TIME{'' if exemplar.sighting_count == 1 else 'S'}"
    lines = (
        (f"#{exemplar.id}", ACCENT, _shown_time(exemplar.capture_time, origin), BRIGHT),
        (frames, DIM, times, DIM),
    )
    for number, (text, colour, right_text, right_colour) in enumerate(lines):
        line_top = top + number * _LINE_HEIGHT
        right_left = left + PICTURE_WIDTH - text_width(right_text, _TEXT_SCALE)
        draw_text(sheet, text, left=left, top=line_top, scale=_TEXT_SCALE, colour=colour)
        draw_text(sheet, right_text, left=right_left, top=line_top, scale=_TEXT_SCALE, colour=right_colour)


def _shown_time(time: datetime, origin: datetime | None) -> str:
    """`05:06:07.4`, or `+00:00:07.4` from an origin; tenths are cut off, not rounded."""
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    elapsed = time - (midnight if origin is None else origin)
    sign = "-" if elapsed < timedelta() else "+"
    tenths = abs(elapsed) // timedelta(milliseconds=100)
    minutes, rest = divmod(tenths, 600)
    shown = f"{minutes // 60:02}:{minutes % 60:02}:{rest // 10:02}.{rest % 10}"
    return shown if origin is None else sign + shown


def _short(number: int) -> str:
    """`9999`, `12K`, `3M`: at most five letters, so that captions fit."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if number >= 10 * size:
            return f"{number // size}{letter}"
    return str(number)
