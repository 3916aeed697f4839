"""A curve over thresholds on logarithmic axes: how many exemplars would be kept, and how far that may be off."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from framekeep.expectation import FEWEST
from framekeep.lettering import draw_text
from framekeep.log_axis import LogAxis
from framekeep.palette import BRIGHT, CELL, DIM, LINE, WEIGHT, Colour
from framekeep.picture_files import Pixels
from framekeep.tables import shown_share
from framekeep.threshold_curve import ThresholdCurve, ThresholdOutcome
from framekeep.time_figure import LETTERS_HEIGHT, LINE_HEIGHT, shown_width

LABELS_WIDTH = 132
"""Pixels to the left and to the right of a plot, for what is kept."""

LABELS_HEIGHT = 2 * LINE_HEIGHT + 8
"""Pixels beneath a plot, for the thresholds."""

_TEXT_SCALE = 2
_PADDING = 1.8
"""What is left free above and below the curve, as a factor."""

_INSET = 28
"""Pixels between the edges and the first and last threshold."""

_GAP = 14
"""Pixels between labels at least."""

_LINE_WIDTH, _DOT = 4, 12
"""Pixels of the curve, and of its dots."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A threshold that is marked."""

    novelty_threshold: float
    """The threshold."""

    name: str
    """What it is."""

    colour: Colour
    """Of its line and name."""


class CurvePlot:
    """A plot in the making, in a part of a picture."""

    def __init__(self, canvas: Pixels, curve: ThresholdCurve, left: int, top: int, right: int, bottom: int) -> None:
        """Lay it out.

        Args:
            canvas: RGB uint8 [H, W, 3], with room around the plot for its labels.
            curve: with at least one outcome; none that are kept are drawn as half an exemplar.
            left: first column of the plot.
            top: first row.
            right: the column after the last.
            bottom: the row after the last.
        """
        self._canvas = canvas
        self._outcomes = curve.outcomes
        self._frames = curve.frame_count
        self._left, self._top, self._right, self._bottom = left, top, right, bottom
        thresholds = [outcome.novelty_threshold for outcome in curve.outcomes]
        # A single threshold stands in the middle.
        wide = 1.0 if len(thresholds) > 1 else 2.0
        self._x = LogAxis(thresholds[0] / wide, thresholds[-1] * wide * (1 + 1e-9), left + _INSET, right - _INSET)
        low, high = (min(map(_least, curve.outcomes)), max(map(_most, curve.outcomes)))
        self._y = LogAxis(low / _PADDING, high * _PADDING, bottom, top)

    def draw(self, marks: Sequence[Mark]) -> None:
        """Draw all of it; each mark has its name at the top, one below the other."""
        self._canvas[self._top : self._bottom, self._left : self._right] = CELL
        self._draw_heights()
        self._draw_band()
        for place, mark in enumerate(marks):
            self._draw_mark(mark, self._top + 8 + place * LINE_HEIGHT)
        self._draw_line()
        self._draw_dots()

    def _write(self, text: str, left: int, top: int, colour: Colour) -> None:
        draw_text(self._canvas, text, left=left, top=top, scale=_TEXT_SCALE, colour=colour)

    def _draw_heights(self) -> None:
        """Lines at round numbers of exemplars: the numbers are to the left, their shares of the frames to the right."""
        has_none = any(outcome.exemplars < FEWEST for outcome in self._outcomes)
        for number in (*([0.0] if has_none else []), *(tick for tick in self._y.ticks() if tick >= 1)):
            row = self._y.pixel(_drawn(number))
            self._canvas[row : row + 1, self._left : self._right] = LINE
            top = min(max(row - LETTERS_HEIGHT // 2, self._top), self._bottom - LETTERS_HEIGHT)
            label = f"{number:,.0f}"
            self._write(label, self._left - 12 - shown_width(label), top, BRIGHT)
            self._write(shown_share(number / self._frames), self._right + 12, top, DIM)

    def _columns(self, numbers: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """All columns from the first threshold to the last, and the rows of a line through numbers of exemplars."""
        xs = self._x.pixels([outcome.novelty_threshold for outcome in self._outcomes])
        columns = np.arange(round(float(xs[0])), round(float(xs[-1])) + 1)  # [W]
        return columns, np.interp(columns, xs, self._y.pixels(numbers))

    def _draw_band(self) -> None:
        columns, lows = self._columns([_least(outcome) for outcome in self._outcomes])
        _, highs = self._columns([_most(outcome) for outcome in self._outcomes])
        for column, low, high in zip(columns.tolist(), lows.tolist(), highs.tolist(), strict=True):
            if low - high >= 1:
                self._canvas[round(high) : round(low), column] = WEIGHT

    def _draw_line(self) -> None:
        columns, rows = self._columns([_drawn(outcome.exemplars) for outcome in self._outcomes])
        half = _LINE_WIDTH // 2
        for column, (one, other) in zip(columns.tolist(), pairwise([rows[0], *rows.tolist()]), strict=True):
            top, bottom = round(min(one, other)) - half, round(max(one, other)) + half
            self._canvas[top:bottom, column] = BRIGHT

    def _draw_mark(self, mark: Mark, top: int) -> None:
        column = self._x.pixel(mark.novelty_threshold)
        if self._left <= column < self._right:
            self._canvas[top : self._bottom, column - 1 : column + 2] = mark.colour
            name = f"{mark.name} {mark.novelty_threshold:.4g}"
            width = shown_width(name)
            is_left = column + 12 + width > self._right
            self._write(name, column - 12 - width if is_left else column + 12, top, mark.colour)

    def _draw_dots(self) -> None:
        """A dot at each outcome; where there is room, its threshold beneath the plot and its exemplars above it."""
        threshold_free_from = number_free_from = 0
        for outcome in self._outcomes:
            column, row = self._x.pixel(outcome.novelty_threshold), self._y.pixel(_drawn(outcome.exemplars))
            half = _DOT // 2
            self._canvas[row - half : row + half, column - half : column + half] = BRIGHT
            self._canvas[self._bottom : self._bottom + 6, column - 1 : column + 1] = LINE
            threshold, number = f"{outcome.novelty_threshold:.4g}", f"{round(outcome.exemplars):,}"
            left = column - shown_width(threshold) // 2
            threshold_free_from = self._label(threshold, left, self._bottom + 10, threshold_free_from)
            left = min(column + half, self._right - 4 - shown_width(number))
            number_free_from = self._label(number, left, row - half - LINE_HEIGHT, number_free_from)
        name = "THRESHOLD"
        self._write(name, self._right - shown_width(name), self._bottom + 10 + LINE_HEIGHT, DIM)

    def _label(self, text: str, left: int, top: int, free_from: int) -> int:
        """Write a label if there is room; gives from where on there is room for the next."""
        if left < free_from:
            return free_from
        self._write(text, left, top, BRIGHT)
        return left + shown_width(text) + _GAP


def _drawn(exemplars: float) -> float:
    """Where a number of exemplars is drawn, since nothing has no place on a logarithmic axis."""
    return max(exemplars, FEWEST)


def _least(outcome: ThresholdOutcome) -> float:
    return _drawn(outcome.exemplars * max(0.1, 1.0 - outcome.error))


def _most(outcome: ThresholdOutcome) -> float:
    return _drawn(outcome.exemplars * (1.0 + outcome.error))
