"""Colours of the drawn pictures, RGB: light text on a dark ground, and a colour of its own for each exemplar."""

import colorsys

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""

GROUND, CELL, LINE = (18, 20, 24), (30, 33, 39), (52, 57, 67)
"""The picture, the room behind what stands in it, and lines."""

BRIGHT, DIM, ACCENT = (236, 238, 242), (150, 156, 168), (255, 190, 92)
"""Text: what matters, what goes with it, and names."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Steps of this length around the circle of hues keep neighbours apart, however many there are."""


def colour_of(exemplar: int) -> Colour:
    """The colour of an exemplar: the same wherever it is drawn."""
    hue = exemplar * _GOLDEN_RATIO % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.62, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
