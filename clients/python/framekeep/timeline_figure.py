"""A figure of a timeline: which exemplar was on screen when, as one picture to look at."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from framekeep.answers import Sighting
from framekeep.errors import InvalidRequest
from framekeep.lettering import GLYPH_HEIGHT, draw_text, text_width
from framekeep.memories import Exemplar
from framekeep.palette import BRIGHT, CELL, DIM, GROUND, LINE, Colour, colour_of
from framekeep.picture_files import Pixels
from framekeep.tables import shown_duration
from framekeep.thumbnails import draw_picture, fitted_thumbnail
from framekeep.time_axis import Gap, Span, TimeAxis

MOST_ROWS = 50
"""Exemplars with a row of their own; those longest on screen. More would make the figure too high to look at."""

_MARGIN = 24
_ROOM = 1280
"""Pixels for time."""

_TITLE_SCALE, _TEXT_SCALE = 3, 2
_LINE_HEIGHT = GLYPH_HEIGHT * _TEXT_SCALE + 6
_HEAD_HEIGHT = GLYPH_HEIGHT * _TITLE_SCALE + 12 + _LINE_HEIGHT + 12
_AXIS_HEIGHT = 2 * _LINE_HEIGHT + 10
_TICK_ROOM = 148
"""Pixels from one label to the next: `05:06:07.489` and a little."""

_STRIP_HEIGHT = 34
"""Of the row of all exemplars together."""

_ROW_HEIGHTS = ((8, 92), (20, 68), (MOST_ROWS, 50))
"""A number of rows, and the height of each up to it: few exemplars get larger thumbnails."""

_ROW_GAP = 4
_TEXT_WIDTH = 132
"""Beside a thumbnail, for the number and the time on screen."""

_LEAST_BAR = 4
"""Pixels of the shortest bar: a single frame is to be seen too."""

_SHORTEST_TOLD = timedelta(milliseconds=50)
"""Time on screen that is told as such; frames are counted where it is less."""

_HATCH_PERIOD, _HATCH_WIDTH = 10, 3


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are, in pixels."""

    row_height: int
    rows_top: int
    width: int
    height: int
    left: int

    @property
    def strip_top(self) -> int:
        """Top of the row of all exemplars together."""
        return self.rows_top - _STRIP_HEIGHT - _ROW_GAP

    @property
    def bottom(self) -> int:
        """Beneath the last row."""
        return self.height - _MARGIN - _AXIS_HEIGHT


def within(sightings: Iterable[Sighting], since: datetime | None, until: datetime | None) -> list[Sighting]:
    """The parts of sightings from `since` on and before `until`."""
    parts = (
        replace(
            sighting,
            start_time=sighting.start_time if since is None else max(since, sighting.start_time),
            end_time=sighting.end_time if until is None else min(until, sighting.end_time),
        )
        for sighting in sightings
    )
    return [part for part in parts if part.start_time <= part.end_time]


def exemplars_to_show(sightings: Iterable[Sighting]) -> list[int]:
    """The exemplars that get a row: those longest on screen, at most MOST_ROWS, in order of their first sighting."""
    durations = _durations(sightings)
    longest = sorted(durations, key=lambda exemplar: durations[exemplar], reverse=True)[:MOST_ROWS]
    shown = set(longest)
    return [exemplar for exemplar in durations if exemplar in shown]


def _durations(sightings: Iterable[Sighting]) -> dict[int, tuple[timedelta, int]]:
    """Time on screen and frames of each exemplar, in order of their first sighting."""
    sums: dict[int, tuple[timedelta, int]] = {}
    for sighting in sorted(sightings, key=lambda sighting: sighting.start_time):
        duration, frames = sums.get(sighting.exemplar, (timedelta(), 0))
        length = sighting.end_time - sighting.start_time
        sums[sighting.exemplar] = duration + length, frames + sighting.frame_count
    return sums


def draw_timeline(sightings: Sequence[Sighting], exemplars: Mapping[int, Exemplar], title: str) -> Pixels:
    """Draw a row for each exemplar, with a bar for each of its sightings, and above them a strip of all together.

    Time runs from left to right. Where no session was, it is hatched; long gaps are cut out, and show how long they
    are where there is room.

    Args:
        sightings: at least one.
        exemplars: those of `exemplars_to_show`, with thumbnails, by id; others are gray, and only in the strip.
        title: a line above.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        InvalidRequest: no sightings, or an exemplar without a thumbnail.
        PictureRefused: a thumbnail that is no JPEG.
    """
    if not sightings:
        raise InvalidRequest("expected at least one sighting for a figure, got none")
    durations = _durations(sightings)
    rows = {exemplar: place for place, exemplar in enumerate(exemplars_to_show(sightings))}
    if len(rows) < len(durations):
        title += f"  ({len(rows)} OF {len(durations)} EXEMPLARS SHOWN, LONGEST ON SCREEN; OTHERS GRAY)"
    layout = _layout(len(rows), title)
    axis = TimeAxis(_session_spans(sightings), layout.left, _ROOM)
    figure = np.full((layout.height, layout.width, 3), GROUND, np.uint8)  # [H, W, 3]
    draw_text(figure, title, left=_MARGIN, top=_MARGIN, scale=_TITLE_SCALE, colour=BRIGHT)
    _text(figure, _told(sightings, axis.gaps), _MARGIN, _MARGIN + GLYPH_HEIGHT * _TITLE_SCALE + 12, DIM)
    for top, height in _bands(layout, len(rows)):
        figure[top : top + height, layout.left : layout.left + _ROOM] = CELL
    _draw_ticks(figure, axis, layout)
    for gap in axis.gaps:
        _draw_gap(figure, gap, layout)
    _draw_bars(figure, sightings, rows, axis, layout)
    _text(figure, "ALL", _MARGIN, layout.strip_top + (_STRIP_HEIGHT - GLYPH_HEIGHT * _TEXT_SCALE) // 2, BRIGHT)
    times = Counter(sighting.exemplar for sighting in sightings)
    for exemplar, place in rows.items():
        lines = _shown_length(*durations[exemplar]), _counted(times[exemplar], "TIME")
        _draw_label(figure, exemplars[exemplar], lines, layout.rows_top + place * layout.row_height, layout)
    return figure


def _layout(count: int, title: str) -> _Layout:
    row_height = next(height for most, height in _ROW_HEIGHTS if count <= most)
    left = _MARGIN + _picture_width(row_height) + 10 + _TEXT_WIDTH
    rows_top = _MARGIN + _HEAD_HEIGHT + _AXIS_HEIGHT + _STRIP_HEIGHT + 2 * _ROW_GAP
    return _Layout(
        row_height=row_height,
        rows_top=rows_top,
        width=max(left + _ROOM, _MARGIN + text_width(title, _TITLE_SCALE)) + _MARGIN,
        height=rows_top + count * row_height + _AXIS_HEIGHT + _MARGIN,
        left=left,
    )


def _picture_width(row_height: int) -> int:
    return (row_height - _ROW_GAP) * 16 // 9


def _bands(layout: _Layout, count: int) -> list[tuple[int, int]]:
    """Top and height of the strip and of the rows."""
    tops = [layout.rows_top + place * layout.row_height for place in range(count)]
    return [(layout.strip_top, _STRIP_HEIGHT), *((top, layout.row_height - _ROW_GAP) for top in tops)]


def _session_spans(sightings: Iterable[Sighting]) -> list[Span]:
    spans: dict[str, Span] = {}
    for sighting in sightings:
        start, end = spans.get(sighting.session_id, (sighting.start_time, sighting.end_time))
        spans[sighting.session_id] = min(start, sighting.start_time), max(end, sighting.end_time)
    return list(spans.values())


def _told(sightings: Sequence[Sighting], gaps: Sequence[Gap]) -> str:
    start = min(sighting.start_time for sighting in sightings)
    end = max(sighting.end_time for sighting in sightings)
    sessions = len({sighting.session_id for sighting in sightings})
    until = f"{end:%H:%M:%S}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}"
    told = [f"{start:%Y-%m-%d %H:%M:%S} TO {until} UTC", _counted(len(sightings), "SIGHTING")]
    told.append(_counted(sessions, "SESSION"))
    if gaps:
        told.append("HATCHED: NO SESSION")
    if any(gap.is_cut_out for gap in gaps):
        told.append("WITH EDGES: NOT TO SCALE")
    return "   ".join(told)


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 'S'}"


def _shown_length(duration: timedelta, frames: int) -> str:
    """`1.2 s`, or `3 FRAMES` where that would be 0.0 s."""
    return shown_duration(duration) if duration >= _SHORTEST_TOLD else _counted(frames, "FRAME")


def _text(figure: Pixels, text: str, left: int, top: int, colour: Colour) -> None:
    draw_text(figure, text, left=left, top=top, scale=_TEXT_SCALE, colour=colour)


def _draw_ticks(figure: Pixels, axis: TimeAxis, layout: _Layout) -> None:
    """Labels above and below, with a line between; a date where it is the first, or another than before."""
    above, below = layout.strip_top - _AXIS_HEIGHT, layout.bottom + 6
    for top in (above, below):
        _text(figure, "TIME, UTC", _MARGIN, top, DIM)
    free_from = date_free_from = 0
    date = ""
    for tick in axis.ticks(_TICK_ROOM):
        figure[layout.strip_top - 6 : layout.bottom, tick.x : tick.x + 2] = LINE
        left = _centred(tick.label, tick.x, layout)
        if left >= free_from:
            for top in (above, below):
                _text(figure, tick.label, left, top, BRIGHT)
            free_from = left + text_width(tick.label, _TEXT_SCALE) + 16
        date_left = _centred(tick.date, tick.x, layout)
        if tick.date != date and date_left >= date_free_from:
            for top in (above, below):
                _text(figure, tick.date, date_left, top + _LINE_HEIGHT, DIM)
            date, date_free_from = tick.date, date_left + text_width(tick.date, _TEXT_SCALE) + 16


def _centred(text: str, x: int, layout: _Layout) -> int:
    width = text_width(text, _TEXT_SCALE)
    return min(max(x - width // 2, layout.left - 8), layout.width - _MARGIN // 2 - width)


def _draw_gap(figure: Pixels, gap: Gap, layout: _Layout) -> None:
    area = figure[layout.strip_top : layout.bottom, gap.left + 1 : gap.right]
    diagonals = np.arange(area.shape[0])[:, None] + np.arange(area.shape[1])  # [H, W]
    area[:] = GROUND
    area[diagonals % _HATCH_PERIOD < _HATCH_WIDTH] = LINE
    if gap.is_cut_out:
        area[:, [0, 1, -2, -1]] = DIM
    label = _rough(gap.duration)
    width = text_width(label, _TEXT_SCALE)
    if width + 8 <= area.shape[1]:
        top = layout.strip_top + (_STRIP_HEIGHT - GLYPH_HEIGHT * _TEXT_SCALE) // 2
        left = (gap.left + gap.right - width) // 2
        figure[top - 4 : top + GLYPH_HEIGHT * _TEXT_SCALE + 4, left - 4 : left + width + 4] = GROUND
        _text(figure, label, left, top, BRIGHT)


def _rough(duration: timedelta) -> str:
    """`2.4 S`, `47 MIN`, `3.5 H`, `12 D`: at most six letters."""
    seconds = duration.total_seconds()
    for length, unit in ((86_400, "D"), (3_600, "H"), (60, "MIN"), (1, "S")):
        if seconds >= length:
            number = seconds / length
            return f"{number:.1f} {unit}" if number < 10 and unit != "MIN" else f"{number:.0f} {unit}"
    return f"{1000 * seconds:.0f} MS"


def _draw_bars(
    figure: Pixels, sightings: Iterable[Sighting], rows: Mapping[int, int], axis: TimeAxis, layout: _Layout
) -> None:
    strip = figure[layout.strip_top : layout.strip_top + _STRIP_HEIGHT]
    inset = layout.row_height // 8
    for sighting in sightings:
        left, right = axis.x(sighting.start_time), axis.x(sighting.end_time)
        place = rows.get(sighting.exemplar)
        colour = DIM if place is None else colour_of(sighting.exemplar)
        strip[:, left : max(right, left + 1)] = colour
        if place is not None:
            left = min(left, layout.left + _ROOM - _LEAST_BAR)
            top = layout.rows_top + place * layout.row_height + inset
            bottom = top + layout.row_height - _ROW_GAP - 2 * inset
            figure[top:bottom, left : max(right, left + _LEAST_BAR)] = colour


def _draw_label(figure: Pixels, exemplar: Exemplar, lines: Sequence[str], top: int, layout: _Layout) -> None:
    """Thumbnail and number of an exemplar, and as many lines as there is room for."""
    height, width = layout.row_height - _ROW_GAP, _picture_width(layout.row_height)
    draw_picture(figure[top : top + height, _MARGIN : _MARGIN + width], fitted_thumbnail(exemplar, width, height))
    shown = ((f"#{exemplar.id}", colour_of(exemplar.id)), *((line, DIM) for line in lines))
    room = min(len(shown), (height + 6) // _LINE_HEIGHT)
    first = top + (height - room * _LINE_HEIGHT + 6) // 2
    for number, (text, colour) in enumerate(shown[:room]):
        _text(figure, text, _MARGIN + width + 10, first + number * _LINE_HEIGHT, colour)
