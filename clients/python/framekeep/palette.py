"""Colours of the drawn pictures, RGB: light text on a dark ground, and a colour of its own for each exemplar."""

import colorsys

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""

GROUND, CELL, LINE = (18, 20, 24), (30, 33, 39), (52, 57, 67)
"""The picture, the room behind what stands in it, and lines."""

BRIGHT, DIM, ACCENT = (236, 238, 242), (150, 156, 168), (255, 190, 92)
"""Text: what matters, what goes with it, and names."""

NOVEL, REPEAT = (255, 138, 96), (104, 178, 255)
"""Frames that a threshold calls novel, and those that it calls repeats."""

WEIGHT = (92, 104, 126)
"""Shares of attention, where no exemplar has them to itself."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Steps of this length around the circle of hues keep neighbours apart, however many there are."""


def colour_of(number: int) -> Colour:
    """The colour of a number, such as the id of an exemplar; those of neighbours are far apart."""
    hue = number * _GOLDEN_RATIO % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.62, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
