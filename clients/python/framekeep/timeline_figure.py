"""A figure of a timeline: which exemplar was on screen when, as one picture to look at."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from framekeep.answers import Sighting
from framekeep.errors import InvalidRequest
from framekeep.memories import Exemplar
from framekeep.palette import BRIGHT, DIM, colour_of
from framekeep.picture_files import Pixels
from framekeep.tables import shown_duration
from framekeep.thumbnails import draw_picture, fitted_thumbnail
from framekeep.time_axis import Gap, Span
from framekeep.time_figure import BAND_GAP, LETTERS_HEIGHT, LINE_HEIGHT, MARGIN, ROOM, TimeFigure, counted
from framekeep.times import shown_span

MOST_ROWS = 50
"""Exemplars with a row of their own; those longest on screen. More would make the figure too high to look at."""

_STRIP_HEIGHT = 34
"""Of the row of all exemplars together."""

_ROW_HEIGHTS = ((8, 92), (20, 68), (MOST_ROWS, 50))
"""A number of rows, and the height of each up to it: few exemplars get larger thumbnails."""

_TEXT_WIDTH = 132
"""Beside a thumbnail, for the number and the time on screen."""

_LEAST_BAR = 4
"""Pixels of the shortest bar: a single frame is to be seen too."""

_SHORTEST_TOLD = timedelta(milliseconds=50)
"""Time on screen that is told as such; frames are counted where it is less."""


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
    row_height = next(height for most, height in _ROW_HEIGHTS if len(rows) <= most)
    figure = TimeFigure(
        _session_spans(sightings),
        title,
        left=MARGIN + _picture_width(row_height) + 10 + _TEXT_WIDTH,
        body_height=_STRIP_HEIGHT + BAND_GAP + len(rows) * row_height,
    )
    figure.write_facts([_told(sightings, figure.axis.gaps)])
    rows_top = figure.top + _STRIP_HEIGHT + BAND_GAP
    tops = {exemplar: rows_top + place * row_height for exemplar, place in rows.items()}
    figure.draw_axis([(figure.top, _STRIP_HEIGHT), *((top, row_height - BAND_GAP) for top in tops.values())])
    _draw_bars(figure, sightings, tops, row_height)
    figure.write("ALL", MARGIN, figure.top + (_STRIP_HEIGHT - LETTERS_HEIGHT) // 2, BRIGHT)
    times = Counter(sighting.exemplar for sighting in sightings)
    for exemplar, top in tops.items():
        lines = _shown_length(*durations[exemplar]), counted(times[exemplar], "TIME")
        _draw_label(figure, exemplars[exemplar], lines, top, row_height)
    return figure.pixels


def _picture_width(row_height: int) -> int:
    return (row_height - BAND_GAP) * 16 // 9


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
    told = [f"{shown_span(start, end)} UTC", counted(len(sightings), "SIGHTING"), counted(sessions, "SESSION")]
    if gaps:
        told.append("HATCHED: NO SESSION")
    if any(gap.is_cut_out for gap in gaps):
        told.append("WITH EDGES: NOT TO SCALE")
    return "   ".join(told)


def _shown_length(duration: timedelta, frames: int) -> str:
    """`1.2 s`, or `3 FRAMES` where that would be 0.0 s."""
    return shown_duration(duration) if duration >= _SHORTEST_TOLD else counted(frames, "FRAME")


def _draw_bars(figure: TimeFigure, sightings: Iterable[Sighting], tops: Mapping[int, int], row_height: int) -> None:
    strip = figure.pixels[figure.top : figure.top + _STRIP_HEIGHT]
    inset = row_height // 8
    for sighting in sightings:
        left, right = figure.axis.x(sighting.start_time), figure.axis.x(sighting.end_time)
        top = tops.get(sighting.exemplar)
        colour = DIM if top is None else colour_of(sighting.exemplar)
        strip[:, left : max(right, left + 1)] = colour
        if top is not None:
            left = min(left, figure.left + ROOM - _LEAST_BAR)
            bottom = top + row_height - BAND_GAP - inset
            figure.pixels[top + inset : bottom, left : max(right, left + _LEAST_BAR)] = colour


def _draw_label(figure: TimeFigure, exemplar: Exemplar, lines: Sequence[str], top: int, row_height: int) -> None:
    """Thumbnail and number of an exemplar, and as many lines as there is room for."""
    height, width = row_height - BAND_GAP, _picture_width(row_height)
    room = figure.pixels[top : top + height, MARGIN : MARGIN + width]
    draw_picture(room, fitted_thumbnail(exemplar, width, height))
    shown = ((f"#{exemplar.id}", colour_of(exemplar.id)), *((line, DIM) for line in lines))
    fitting = min(len(shown), (height + 6) // LINE_HEIGHT)
    first = top + (height - fitting * LINE_HEIGHT + 6) // 2
    for number, (text, colour) in enumerate(shown[:fitting]):
        figure.write(text, MARGIN + width + 10, first + number * LINE_HEIGHT, colour)
