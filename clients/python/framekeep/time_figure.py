"""A figure along a time axis: a title, a line or more of facts, and the axis around what is drawn in its body."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np

from framekeep.lettering import GLYPH_HEIGHT, draw_text, text_width
from framekeep.palette import BRIGHT, CELL, DIM, GROUND, LINE, Colour
from framekeep.time_axis import Gap, Span, TimeAxis

MARGIN = 24
"""Pixels around the figure."""

ROOM = 1280
"""Pixels for time."""

BAND_GAP = 4
"""Pixels beneath a band."""

_TITLE_SCALE, _TEXT_SCALE = 3, 2
_TITLE_HEIGHT = GLYPH_HEIGHT * _TITLE_SCALE + 12

LETTERS_HEIGHT = GLYPH_HEIGHT * _TEXT_SCALE
"""Pixels from top to bottom of a letter."""

LINE_HEIGHT = LETTERS_HEIGHT + 6
"""Pixels from one line of text to the next."""

_AXIS_HEIGHT = 2 * LINE_HEIGHT + 10
_TICK_ROOM = 148
"""Pixels from one label to the next: `05:06:07.489` and a little."""

_HATCH_PERIOD, _HATCH_WIDTH = 10, 3

Band = tuple[int, int]
"""Top and height of a part of the body that has the whole axis to itself."""


class TimeFigure:
    """A picture in the making."""

    def __init__(
        self,
        spans: Sequence[Span],
        title: str,
        *,
        facts_lines: int = 1,
        left: int,
        body_height: int,
        foot_height: int | None = None,
    ) -> None:
        """Lay it out, and write the title.

        Args:
            spans: what the axis must show; at least one.
            title: as long as it must be: it makes the figure wider.
            facts_lines: lines beneath the title.
            left: pixel at which the axis begins.
            body_height: pixels of what is drawn along the axis.
            foot_height: pixels beneath the body for what has no time; None: the axis is labelled there too.
        """
        self.axis = TimeAxis(spans, left, ROOM)
        """Where times are."""
        self.left = left
        """First pixel of the axis."""
        self.top = MARGIN + _TITLE_HEIGHT + facts_lines * LINE_HEIGHT + 12 + _AXIS_HEIGHT + BAND_GAP
        """Of the body."""
        self.bottom = self.top + body_height
        """Of the body."""
        self.width = max(left + ROOM, MARGIN + text_width(title, _TITLE_SCALE)) + MARGIN
        """Of the figure."""
        beneath = _AXIS_HEIGHT if foot_height is None else foot_height
        self._is_labelled_below = foot_height is None
        self.pixels = np.full((self.bottom + beneath + MARGIN, self.width, 3), GROUND, np.uint8)
        """RGB uint8 [H, W, 3]."""
        draw_text(self.pixels, title, left=MARGIN, top=MARGIN, scale=_TITLE_SCALE, colour=BRIGHT)

    def write(self, text: str, left: int, top: int, colour: Colour) -> None:
        """Write a text."""
        draw_text(self.pixels, text, left=left, top=top, scale=_TEXT_SCALE, colour=colour)

    def write_facts(self, lines: Iterable[str]) -> None:
        """Write the lines beneath the title."""
        for number, line in enumerate(lines):
            self.write(line, MARGIN, MARGIN + _TITLE_HEIGHT + number * LINE_HEIGHT, DIM)

    def draw_axis(self, bands: Sequence[Band]) -> None:
        """Draw the bands, the ticks with their labels, and the gaps, which show how long they are in the first band."""
        for top, height in bands:
            self.pixels[top : top + height, self.left : self.left + ROOM] = CELL
        self._draw_ticks()
        for gap in self.axis.gaps:
            self._draw_gap(gap, bands[0])

    def _draw_ticks(self) -> None:
        """Labels, with a line beneath; a date where it is the first, or another than before."""
        tops = [self.top - _AXIS_HEIGHT, *([self.bottom + 6] if self._is_labelled_below else [])]
        for top in tops:
            self.write("TIME, UTC", MARGIN, top, DIM)
        free_from = date_free_from = 0
        date = ""
        for tick in self.axis.ticks(_TICK_ROOM):
            self.pixels[self.top - 6 : self.bottom, tick.x : tick.x + 2] = LINE
            left = self._centred(tick.label, tick.x)
            if left >= free_from:
                for top in tops:
                    self.write(tick.label, left, top, BRIGHT)
                free_from = left + shown_width(tick.label) + 16
            date_left = self._centred(tick.date, tick.x)
            if tick.date != date and date_left >= date_free_from:
                for top in tops:
                    self.write(tick.date, date_left, top + LINE_HEIGHT, DIM)
                date, date_free_from = tick.date, date_left + shown_width(tick.date) + 16

    def _centred(self, text: str, x: int) -> int:
        width = shown_width(text)
        return min(max(x - width // 2, self.left - 8), self.width - MARGIN // 2 - width)

    def _draw_gap(self, gap: Gap, band: Band) -> None:
        area = self.pixels[self.top : self.bottom, gap.left + 1 : gap.right]
        diagonals = np.arange(area.shape[0])[:, None] + np.arange(area.shape[1])  # [H, W]
        area[:] = GROUND
        area[diagonals % _HATCH_PERIOD < _HATCH_WIDTH] = LINE
        if gap.is_cut_out:
            area[:, [0, 1, -2, -1]] = DIM
        label = _rough(gap.duration)
        width = shown_width(label)
        if width + 8 <= area.shape[1]:
            top = band[0] + (band[1] - LETTERS_HEIGHT) // 2
            left = (gap.left + gap.right - width) // 2
            self.pixels[top - 4 : top + LETTERS_HEIGHT + 4, left - 4 : left + width + 4] = GROUND
            self.write(label, left, top, BRIGHT)


def shown_width(text: str) -> int:
    """Pixels that a text takes which is written into a figure."""
    return text_width(text, _TEXT_SCALE)


def counted(count: int, word: str) -> str:
    """`1 SIGHTING`, `2 SIGHTINGS`."""
    return f"{count:,} {word}{'' if count == 1 else 'S'}"


def _rough(duration: timedelta) -> str:
    """`2.4 S`, `47 MIN`, `3.5 H`, `12 D`: at most six letters."""
    seconds = duration.total_seconds()
    for length, unit in ((86_400, "D"), (3_600, "H"), (60, "MIN"), (1, "S")):
        if seconds >= length:
            number = seconds / length
            return f"{number:.1f} {unit}" if number < 10 and unit != "MIN" else f"{number:.0f} {unit}"
    return f"{1000 * seconds:.0f} MS"
