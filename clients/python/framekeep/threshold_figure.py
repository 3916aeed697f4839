"""A figure of a curve over thresholds: what each would keep, and the frames that it just calls novel or repeats."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from framekeep.curve_plot import LABELS_HEIGHT, LABELS_WIDTH, CurvePlot, Mark
from framekeep.errors import InvalidRequest
from framekeep.lettering import GLYPH_HEIGHT, draw_text, shortened, text_width
from framekeep.memories import Exemplar
from framekeep.palette import ACCENT, BRIGHT, CELL, DIM, GROUND, LINE, NOVEL, REPEAT, Colour
from framekeep.picture_files import Pixels
from framekeep.suggestion import Suggestion
from framekeep.tables import shown_duration, shown_share
from framekeep.threshold_curve import NoveltyExample, ThresholdCurve, ThresholdOutcome, is_same_threshold
from framekeep.thumbnails import draw_picture, fitted_picture, fitted_thumbnail
from framekeep.time_figure import LINE_HEIGHT, MARGIN, counted, shown_width
from framekeep.times import shown_span

MOST_ROWS = 5
"""Thresholds with a row of examples: those in force and suggested, and their neighbours."""

EXAMPLES_A_SIDE = 2
"""Frames on each side of a threshold: more would have to be too small to be told from their exemplars."""

EXAMPLES_ASKED = 10
"""Examples to choose from, so that not all are neighbours in one scene."""

_PICTURE_WIDTH, _MOST_PICTURE_HEIGHT = 232, 174
"""Room for a thumbnail, in pixels; the height is that of the highest."""

_PAIR_GAP, _EXAMPLE_GAP, _SIDE_GAP = 4, 24, 56
"""Pixels between a frame and its exemplar, between examples, and between the sides."""

_PAIR_WIDTH = 2 * _PICTURE_WIDTH + _PAIR_GAP
_SIDE_WIDTH = EXAMPLES_A_SIDE * (_PAIR_WIDTH + _EXAMPLE_GAP) - _EXAMPLE_GAP
_NAME_WIDTH = 172
_WIDTH = 2 * MARGIN + _NAME_WIDTH + 2 * _SIDE_WIDTH + _SIDE_GAP

_PLOT_HEIGHT = 420
_TEXT_SCALE, _TITLE_SCALE = 2, 3
_TITLE_HEIGHT = GLYPH_HEIGHT * _TITLE_SCALE + 12
_EDGE = 5
"""Pixels of the edge above a frame, in the colour of what it is called."""

_HEADINGS_HEIGHT = 2 * LINE_HEIGHT + 36
_ROW_GAP = 26
_TITLE_LETTERS, _STREAM_LETTERS = 100, 38
_NOTHING = "NONE THAT IS ON RECORD"


def outcomes_to_show(curve: ThresholdCurve, in_force: float, suggestion: Suggestion) -> list[ThresholdOutcome]:
    """Those that get a row: of the thresholds in force and suggested, and of what is nearest to them in ratio."""
    centres = [in_force, *([] if suggestion.novelty_threshold is None else [suggestion.novelty_threshold])]

    def distance(outcome: ThresholdOutcome) -> float:
        return float(min(abs(np.log(outcome.novelty_threshold / centre)) for centre in centres))

    nearest = sorted(curve.outcomes, key=distance)[:MOST_ROWS]
    return sorted(nearest, key=lambda outcome: outcome.novelty_threshold)


def examples_to_show(examples: Sequence[NoveltyExample]) -> list[NoveltyExample]:
    """At most EXAMPLES_A_SIDE, the nearest first, each of another exemplar if there are as many."""
    firsts = {example.exemplar: example for example in reversed(examples)}
    others = [example for example in examples if firsts[example.exemplar] is not example]
    chosen = [*(example for example in examples if firsts[example.exemplar] is example), *others][:EXAMPLES_A_SIDE]
    return sorted(chosen, key=examples.index)


def exemplars_to_show(outcomes: Sequence[ThresholdOutcome]) -> list[int]:
    """The ids of the exemplars beside the examples."""
    return sorted({example.exemplar for outcome in outcomes for example in _shown(outcome)})


def _shown(outcome: ThresholdOutcome) -> Iterator[NoveltyExample]:
    yield from examples_to_show(outcome.just_below)
    yield from examples_to_show(outcome.just_above)


def draw_thresholds(
    curve: ThresholdCurve,
    examples: Sequence[ThresholdOutcome],
    exemplars: Mapping[int, Exemplar],
    *,
    title: str,
    in_force: float,
    suggestion: Suggestion,
) -> Pixels:
    """Draw the curve, and beneath it a row for each threshold: frames that it calls repeats, and frames it calls novel.

    In a row, novelty rises from left to right, and the line in the middle is the threshold. Each frame has the exemplar
    that it was compared with beside it. Novelty is what it was when the frame came, against what was kept by then; at
    another threshold, other exemplars would have been there.

    Args:
        curve: with at least one frame.
        examples: outcomes with examples, in ascending order; those without any get no row.
        exemplars: those of `exemplars_to_show`, with thumbnails, by id; of one that is gone, an empty field is drawn.
        title: a line above.
        in_force: the threshold that is.
        suggestion: that of the curve.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        InvalidRequest: no frames, or an exemplar without a thumbnail.
        PictureRefused: a thumbnail that is no JPEG.
    """
    if not curve.frame_count or not curve.outcomes:
        raise InvalidRequest("expected frames to draw a curve of, but there are none on record")
    rows = [outcome for outcome in examples if outcome.just_below or outcome.just_above]
    pictures = {
        example: (_frame_picture(example), _exemplar_picture(exemplars.get(example.exemplar)))
        for outcome in rows
        for example in _shown(outcome)
    }
    height = max((len(picture) for pair in pictures.values() for picture in pair), default=0)
    streams = {example.stream for outcome in rows for example in _shown(outcome)}
    drawing = _Drawing(len(rows), height, names_streams=len(streams) > 1)
    marks = [*_marks(in_force, suggestion)]
    drawing.draw_head(shortened(title, _TITLE_LETTERS), curve)
    drawing.draw_plot(curve, marks)
    drawing.draw_headings(has_rows=bool(rows))
    for place, outcome in enumerate(rows):
        names = [mark for mark in marks if is_same_threshold(outcome.novelty_threshold, mark.novelty_threshold)]
        drawing.draw_row(place, outcome, names, pictures)
    return drawing.pixels


def _marks(in_force: float, suggestion: Suggestion) -> Iterator[Mark]:
    yield Mark(in_force, "IN FORCE", BRIGHT)
    if suggestion.novelty_threshold is not None:
        yield Mark(suggestion.novelty_threshold, "SUGGESTED", ACCENT)


def _frame_picture(example: NoveltyExample) -> Pixels:
    if example.thumbnail is None:
        return _empty_field()
    return fitted_picture(example.thumbnail, _PICTURE_WIDTH, _MOST_PICTURE_HEIGHT)


def _exemplar_picture(exemplar: Exemplar | None) -> Pixels:
    return _empty_field() if exemplar is None else fitted_thumbnail(exemplar, _PICTURE_WIDTH, _MOST_PICTURE_HEIGHT)


def _empty_field() -> Pixels:
    return np.full((1, _PICTURE_WIDTH, 3), CELL, np.uint8)


class _Drawing:
    """The figure in the making."""

    def __init__(self, rows: int, picture_height: int, *, names_streams: bool) -> None:
        self._picture_height = picture_height
        self._names_streams = names_streams
        self._plot_top = MARGIN + _TITLE_HEIGHT + LINE_HEIGHT + 12 + LINE_HEIGHT + 8
        self._rows_top = self._plot_top + _PLOT_HEIGHT + LABELS_HEIGHT + (_HEADINGS_HEIGHT if rows else 0)
        self._row_height = _EDGE + picture_height + 8 + (3 if names_streams else 2) * LINE_HEIGHT + _ROW_GAP
        height = self._rows_top + rows * self._row_height + MARGIN - (_ROW_GAP if rows else 0)
        self.pixels = np.full((height, _WIDTH, 3), GROUND, np.uint8)
        """RGB uint8 [H, W, 3]."""

    def _write(self, text: str, left: int, top: int, colour: Colour, scale: int = _TEXT_SCALE) -> None:
        draw_text(self.pixels, text, left=left, top=top, scale=scale, colour=colour)

    def _write_right(self, text: str, right: int, top: int, colour: Colour) -> None:
        self._write(text, right - shown_width(text), top, colour)

    def draw_head(self, title: str, curve: ThresholdCurve) -> None:
        """The title, and what the curve rests on."""
        self._write(title, MARGIN, MARGIN, BRIGHT, _TITLE_SCALE)
        facts = [f"{counted(curve.frame_count, 'FRAME')} OVER {shown_duration(curve.duration)}"]
        is_estimated = any(outcome.error > 0 for outcome in curve.outcomes)
        facts.append("BAND: HOW FAR ESTIMATES MAY BE OFF" if is_estimated else "ALL COUNTED")
        if curve.missing_frame_count:
            facts.append(f"{curve.missing_frame_count:,} MORE ARE LEFT OUT: LOST")
        self._write("   ".join(facts), MARGIN, MARGIN + _TITLE_HEIGHT, DIM)

    def draw_plot(self, curve: ThresholdCurve, marks: Sequence[Mark]) -> None:
        """The curve, with what its axes are above it."""
        left, right = MARGIN + LABELS_WIDTH, _WIDTH - MARGIN - LABELS_WIDTH
        top = self._plot_top - LINE_HEIGHT - 8
        self._write("EXEMPLARS", MARGIN, top, BRIGHT)
        self._write_right("OF THE FRAMES", _WIDTH - MARGIN, top, DIM)
        CurvePlot(self.pixels, curve, left, self._plot_top, right, self._plot_top + _PLOT_HEIGHT).draw(marks)

    @property
    def _sides(self) -> tuple[int, int]:
        left = MARGIN + _NAME_WIDTH
        return left, left + _SIDE_WIDTH + _SIDE_GAP

    def draw_headings(self, *, has_rows: bool) -> None:
        """What the two sides of the rows are."""
        if has_rows:
            below, above = self._sides
            top = self._rows_top - 2 * LINE_HEIGHT - 8
            self._write_right("JUST BELOW: CALLED REPEATS", below + _SIDE_WIDTH, top, REPEAT)
            self._write("JUST ABOVE: CALLED NOVEL", above, top, NOVEL)
            told = "EACH FRAME, ITS NOVELTY WHEN IT CAME, AND RIGHT OF IT THE EXEMPLAR IT WAS COMPARED WITH THEN"
            self._write(told, below, top + LINE_HEIGHT, DIM)

    def draw_row(
        self,
        place: int,
        outcome: ThresholdOutcome,
        marks: Sequence[Mark],
        pictures: Mapping[NoveltyExample, tuple[Pixels, Pixels]],
    ) -> None:
        """A threshold, and the frames on its two sides; the nearest are next to the line between them."""
        top = self._rows_top + place * self._row_height
        self._draw_name(outcome, marks, top)
        below, above = self._sides
        middle = below + _SIDE_WIDTH + _SIDE_GAP // 2
        colour = marks[0].colour if marks else LINE
        self.pixels[top : top + self._row_height - _ROW_GAP, middle - 2 : middle + 2] = colour
        step = _PAIR_WIDTH + _EXAMPLE_GAP
        for number, example in enumerate(examples_to_show(outcome.just_below)):
            left = below + (EXAMPLES_A_SIDE - 1 - number) * step
            self._draw_example(example, pictures[example], left, top, REPEAT)
        for number, example in enumerate(examples_to_show(outcome.just_above)):
            self._draw_example(example, pictures[example], above + number * step, top, NOVEL)
        if not outcome.just_below:
            self._write_right(_NOTHING, below + _SIDE_WIDTH, top, DIM)
        if not outcome.just_above:
            self._write(_NOTHING, above, top, DIM)

    def _draw_name(self, outcome: ThresholdOutcome, marks: Sequence[Mark], top: int) -> None:
        text = f"{outcome.novelty_threshold:.4g}"
        colour = marks[0].colour if marks else BRIGHT
        scale = _TITLE_SCALE if text_width(text, _TITLE_SCALE) < _NAME_WIDTH else _TEXT_SCALE
        self._write(text, MARGIN, top, colour, scale)
        lines = [(mark.name, mark.colour) for mark in marks]
        lines += [(f"KEEPS {round(outcome.exemplars):,}", BRIGHT), (shown_share(outcome.kept_share), DIM)]
        for number, (line, line_colour) in enumerate(lines):
            self._write(line, MARGIN, top + _TITLE_HEIGHT + number * LINE_HEIGHT, line_colour)

    def _draw_example(
        self, example: NoveltyExample, pictures: tuple[Pixels, Pixels], left: int, top: int, colour: Colour
    ) -> None:
        for picture, start, edge in (
            (pictures[0], left, colour),
            (pictures[1], left + _PICTURE_WIDTH + _PAIR_GAP, LINE),
        ):
            self.pixels[top : top + _EDGE, start : start + _PICTURE_WIDTH] = edge
            room = self.pixels[top + _EDGE : top + _EDGE + self._picture_height, start : start + _PICTURE_WIDTH]
            draw_picture(room, picture)
        self._write_caption(example, left, top + _EDGE + self._picture_height + 8, colour)

    def _write_caption(self, example: NoveltyExample, left: int, top: int, colour: Colour) -> None:
        self._write(f"{example.novelty:.4f}", left, top, colour)
        if example.kept:
            self._write_right("WAS KEPT", left + _PICTURE_WIDTH - 8, top, DIM)
        self._write(f"#{example.exemplar}", left + _PICTURE_WIDTH + _PAIR_GAP, top, BRIGHT)
        self._write(shown_span(example.capture_time, example.capture_time), left, top + LINE_HEIGHT, DIM)
        if self._names_streams:
            self._write(shortened(example.stream, _STREAM_LETTERS), left, top + 2 * LINE_HEIGHT, DIM)
