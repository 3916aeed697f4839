"""A figure of an explanation: when, and in which streams, what drew the attention was seen, and what it looks like."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from framekeep.attention import AttendedBlock, AttendedStay, ExplainedBlock, Explanation
from framekeep.errors import InvalidRequest
from framekeep.lettering import shortened
from framekeep.memories import Exemplar
from framekeep.palette import BRIGHT, DIM, WEIGHT, Colour, colour_of
from framekeep.picture_files import Pixels
from framekeep.tables import shown_share
from framekeep.thumbnails import draw_picture, fitted_thumbnail
from framekeep.time_figure import (
    BAND_GAP,
    LETTERS_HEIGHT,
    LINE_HEIGHT,
    MARGIN,
    ROOM,
    Band,
    TimeFigure,
    counted,
    shown_width,
)
from framekeep.times import shown_span

MOST_STREAMS = 12
"""Streams with a row of their own, the heaviest; the others are only in the strip above."""

MOST_EXEMPLARS = 7
"""Exemplars with a thumbnail, the heaviest: as many as stand side by side."""

_STRIP_HEIGHT = 34
"""Of the row of all streams together."""

_ROW_HEIGHTS = ((1, 160), (4, 96), (MOST_STREAMS, 60))
"""A number of rows, and the height of each up to it."""

_NAME_LETTERS, _TITLE_LETTERS, _CAPTION_LETTERS = 16, 82, 14
"""Letters at most: of the name of a stream, of the title, and of a line beneath a thumbnail."""

_NAME_WIDTH = 208

_LEAST_WIDTH, _LEAST_BLOCK, _LEAST_STAY = 4, 3, 10
"""Pixels of the narrowest bar, and of the lowest of a block and of a stay: all are to be seen."""

_LEADER_HEIGHT = 44
"""Pixels that the lines to the thumbnails go down, beneath the rows."""

_PICTURE_WIDTH, _MOST_PICTURE_HEIGHT, _PICTURE_PITCH = 168, 126, 185
"""Pixels of a thumbnail, and from one to the next."""

_CAPTION_LINES = 5
"""Beneath a thumbnail: its exemplar, time, date, similarity and stream."""

_EDGE = 4
"""Pixels of the edge above a thumbnail, in the colour of its exemplar."""


@dataclass(frozen=True, slots=True)
class _Attended:
    """An exemplar, and the stays in which it drew the attention."""

    exemplar: int
    """Its id."""

    stays: tuple[tuple[str, AttendedStay], ...]
    """Those that are known, with their streams, heaviest first."""

    @property
    def weight(self) -> float:
        """The sum of their shares."""
        return sum(stay.weight for _, stay in self.stays)

    @property
    def time(self) -> datetime:
        """The middle of the heaviest."""
        _, stay = self.stays[0]
        return stay.start_time + (stay.end_time - stay.start_time) / 2


def exemplars_to_show(explanation: Explanation) -> list[int]:
    """The exemplars that get a thumbnail: the heaviest, at most MOST_EXEMPLARS, in order of their time."""
    return [attended.exemplar for attended in _attended(explanation)]


def _attended(explanation: Explanation) -> list[_Attended]:
    stays: dict[int, list[tuple[str, AttendedStay]]] = {}
    for stream, stay in sorted(_stays(explanation.blocks), key=lambda each: each[1].weight, reverse=True):
        stays.setdefault(stay.exemplar, []).append((stream, stay))
    found = [_Attended(exemplar, tuple(its)) for exemplar, its in stays.items()]
    heaviest = sorted(found, key=lambda attended: attended.weight, reverse=True)[:MOST_EXEMPLARS]
    return sorted(heaviest, key=lambda attended: attended.time)


def _stays(blocks: Iterable[ExplainedBlock]) -> Iterator[tuple[str, AttendedStay]]:
    for explained in blocks:
        yield from ((explained.block.stream, stay) for stay in explained.stays)
        yield from _stays(explained.blocks)


def draw_attention(explanation: Explanation, exemplars: Mapping[int, Exemplar], title: str) -> Pixels:
    """Draw a row for each stream, with a bar as high as its weight for each block of stays, and thumbnails beneath.

    Time runs from left to right. The thumbnails are in its order, and a line leads from each to where it was when it
    drew the most attention. Its stays are bars too, in its colour, in front of those of the blocks and to the same
    scale. Of several streams, a strip above shows all together.

    Args:
        explanation: with at least one block of stays.
        exemplars: those of `exemplars_to_show`, with thumbnails, by id.
        title: a line above.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        InvalidRequest: no blocks, or an exemplar without a thumbnail.
        PictureRefused: a thumbnail that is no JPEG.
    """
    if not explanation.blocks_of_stays:
        raise InvalidRequest("expected at least one block of stays for a figure, got none")
    attended = _attended(explanation)
    pictures = [fitted_thumbnail(exemplars[each.exemplar], _PICTURE_WIDTH, _MOST_PICTURE_HEIGHT) for each in attended]
    drawing = _Drawing(explanation.blocks_of_stays, attended, max(map(len, pictures), default=0), title)
    drawing.draw_leaders()
    drawing.draw_bars()
    drawing.draw_names()
    drawing.draw_thumbnails(pictures)
    return drawing.figure.pixels


class _Drawing:
    """The figure in the making: where its rows are, and what is drawn into them, from the back to the front."""

    def __init__(
        self, blocks: Sequence[AttendedBlock], attended: Sequence[_Attended], picture_height: int, title: str
    ) -> None:
        self._blocks = blocks
        self._attended = attended
        # By place and not by id as elsewhere: so few can all be far apart.
        self._colours = [colour_of(place) for place in range(1, len(attended) + 1)]
        self._picture_height = picture_height
        self._weights = _weights(blocks)
        self._tallest = max(block.weight for block in blocks) or 1.0
        rows = sorted(self._weights, key=lambda stream: self._weights[stream], reverse=True)[:MOST_STREAMS]
        row_height = next(height for most, height in _ROW_HEIGHTS if len(rows) <= most)
        strip_height = _STRIP_HEIGHT + BAND_GAP if self._has_strip else 0
        self.figure = TimeFigure(
            [(block.start_time, block.end_time) for block in blocks],
            shortened(title, _TITLE_LETTERS),
            facts_lines=2,
            left=MARGIN + _NAME_WIDTH,
            body_height=strip_height + len(rows) * row_height,
            foot_height=self._foot_height(),
        )
        rows_top = self.figure.top + strip_height
        self._bands = {
            stream: (rows_top + place * row_height, row_height - BAND_GAP) for place, stream in enumerate(rows)
        }
        self._strip = [(self.figure.top, _STRIP_HEIGHT)] if self._has_strip else []
        self.figure.write_facts(self._facts())
        self.figure.draw_axis([*self._strip, *self._bands.values()])

    @property
    def _has_strip(self) -> bool:
        return len(self._weights) > 1

    def _foot_height(self) -> int:
        lines = _CAPTION_LINES if self._has_strip else _CAPTION_LINES - 1  # one stream need not be named
        return _LEADER_HEIGHT + _EDGE + self._picture_height + 8 + lines * LINE_HEIGHT if self._attended else 0

    def _facts(self) -> Iterator[str]:
        start = min(block.start_time for block in self._blocks)
        end = max(block.end_time for block in self._blocks)
        share = shown_share(sum(self._weights.values()))
        of_all = f"{len(self._bands)} OF " if len(self._bands) < len(self._weights) else ""
        yield "   ".join(
            (
                f"{shown_span(start, end)} UTC",
                f"{counted(len(self._blocks), 'BLOCK')} OF STAYS WITH {share} OF THE WEIGHT",
                f"{of_all}{counted(len(self._weights), 'STREAM')}",
            )
        )
        legend = [f"HEIGHT: WEIGHT, AT MOST {shown_share(self._tallest)}"]
        legend += ["COLOURED: STAYS OF EXEMPLARS BELOW"] if self._attended else []
        legend += ["HATCHED: NO BLOCK"] if self.figure.axis.gaps else []
        legend += ["WITH EDGES: NOT TO SCALE"] if any(gap.is_cut_out for gap in self.figure.axis.gaps) else []
        yield "   ".join(legend)

    def draw_leaders(self) -> None:
        """Lines from where the exemplars were down to their thumbnails."""
        for each, colour, centre in zip(self._attended, self._colours, self._centres(), strict=True):
            stream, _ = each.stays[0]
            top, height = self._bands.get(stream, (self.figure.top, 0))
            x = self.figure.axis.x(each.time)
            self.figure.pixels[top + height : self.figure.bottom, x : x + 2] = colour
            xs = np.linspace(x, centre, _LEADER_HEIGHT + 1).round().astype(int)
            for row, (one, other) in enumerate(pairwise(xs.tolist())):
                self.figure.pixels[self.figure.bottom + row, min(one, other) : max(one, other) + 2] = colour

    def draw_bars(self) -> None:
        """The blocks, and in front of them the stays."""
        for block in self._blocks:
            bands = [*self._strip, *([self._bands[block.stream]] if block.stream in self._bands else [])]
            for band in bands:
                self._draw_bar(band, block, WEIGHT, _LEAST_BLOCK)
        coloured = zip(self._attended, self._colours, strict=True)
        stays = [(stay, stream, colour) for each, colour in coloured for stream, stay in each.stays]
        for stay, stream, colour in sorted(stays, key=lambda each: each[0].weight, reverse=True):
            if stream in self._bands:
                self._draw_bar(self._bands[stream], stay, colour, _LEAST_STAY)

    def _draw_bar(self, band: Band, part: AttendedBlock | AttendedStay, colour: Colour, least: int) -> None:
        top, height = band
        bar = max(least, round(height * part.weight / self._tallest))
        left = min(self.figure.axis.x(part.start_time), self.figure.left + ROOM - _LEAST_WIDTH)
        right = max(self.figure.axis.x(part.end_time), left + _LEAST_WIDTH)
        self.figure.pixels[top + height - min(bar, height) : top + height, left:right] = colour

    def draw_names(self) -> None:
        """What is to the left of the rows."""
        for band in self._strip:
            self.figure.write("ALL", MARGIN, _middle(band), BRIGHT)
        for stream, band in self._bands.items():
            top = _middle(band) - LINE_HEIGHT // 2
            self.figure.write(shortened(stream, _NAME_LETTERS), MARGIN, top, BRIGHT)
            self.figure.write(shown_share(self._weights[stream]), MARGIN, top + LINE_HEIGHT, DIM)

    def _centres(self) -> list[int]:
        """The middle of each thumbnail: as near to its time as the others let it."""
        first = self.figure.left + _PICTURE_WIDTH // 2
        last = self.figure.left + ROOM - _PICTURE_WIDTH // 2
        wanted = [self.figure.axis.x(each.time) for each in self._attended]
        return spread(wanted, _PICTURE_PITCH, first, last)

    def draw_thumbnails(self, pictures: Sequence[Pixels]) -> None:
        """The thumbnails, and what is known of their exemplars."""
        top = self.figure.bottom + _LEADER_HEIGHT
        columns = zip(self._attended, self._colours, pictures, self._centres(), strict=True)
        for each, colour, picture, centre in columns:
            left = centre - _PICTURE_WIDTH // 2
            self.figure.pixels[top : top + _EDGE, left : left + _PICTURE_WIDTH] = colour
            room = self.figure.pixels[top + _EDGE : top + _EDGE + self._picture_height, left : left + _PICTURE_WIDTH]
            draw_picture(room, picture)
            self._write_caption(each, colour, left, top + _EDGE + self._picture_height + 8)

    def _write_caption(self, each: _Attended, colour: Colour, left: int, top: int) -> None:
        stream, stay = each.stays[0]
        date, time = shown_span(stay.start_time, stay.start_time).split(" ")
        self.figure.write(f"#{each.exemplar}", left, top, colour)
        self._write_right(shown_share(each.weight), left, top, BRIGHT)
        lines = [time, date, "SIMILAR", *([shortened(stream, _CAPTION_LETTERS)] if self._has_strip else [])]
        for number, line in enumerate(lines, 1):
            self.figure.write(line, left, top + number * LINE_HEIGHT, DIM)
        self._write_right(f"{stay.similarity:.3f}", left, top + 3 * LINE_HEIGHT, DIM)

    def _write_right(self, text: str, left: int, top: int, colour: Colour) -> None:
        self.figure.write(text, left + _PICTURE_WIDTH - shown_width(text), top, colour)


def _weights(blocks: Iterable[AttendedBlock]) -> dict[str, float]:
    """The shares of the streams."""
    weights: dict[str, float] = {}
    for block in blocks:
        weights[block.stream] = weights.get(block.stream, 0.0) + block.weight
    return weights


def _middle(band: Band) -> int:
    """Top of a line of text in the middle of a band."""
    top, height = band
    return top + (height - LETTERS_HEIGHT) // 2


def spread(wanted: Sequence[int], pitch: int, first: int, last: int) -> list[int]:
    """Places near to those that are wanted, in their order, at least `pitch` apart, from `first` to `last`.

    The sum of the squared distances is the least: those that would overlap stand side by side around their mean. As
    many as fit must be wanted at most.

    Args:
        wanted: in rising order.
        pitch: from one to the next.
        first: the lowest place.
        last: the highest place.
    """
    groups: list[tuple[float, int]] = []  # mean and number of those that stand side by side, each moved by its pitches
    for place, each in enumerate(wanted):
        mean, count = float(each - place * pitch), 1
        while groups and groups[-1][0] >= mean:
            before, more = groups.pop()
            mean, count = (mean * count + before * more) / (count + more), count + more
        groups.append((mean, count))
    means = [mean for mean, count in groups for _ in range(count)]
    highest = last - (len(wanted) - 1) * pitch
    return [round(min(max(mean, first), highest)) + place * pitch for place, mean in enumerate(means)]
