"""Letters as pixels, for captions: 5x7 dots each, drawn without a font file."""

import numpy as np
from numpy.typing import NDArray

from framekeep.picture_files import Pixels

_GLYPH_WIDTH, GLYPH_HEIGHT = 5, 7
"""Dots of a letter."""

_ADVANCE = _GLYPH_WIDTH + 1
"""Dots from one letter to the next."""

# Seven rows from top to bottom, two hexadecimal digits each; the lowest five bits are the dots, leftmost first:
# 04 0A 11 is a roof.
_GLYPHS = {
    " ": "00000000000000",
    "0": "0E11131519110E",
    "1": "040C040404040E",
    "2": "0E11010204081F",
    "3": "1F02040201110E",
    "4": "02060A121F0202",
    "5": "1F101E0101110E",
    "6": "0608101E11110E",
    "7": "1F010204080808",
    "8": "0E11110E11110E",
    "9": "0E11110F01020C",
    "A": "0E1111111F1111",
    "B": "1E11111E11111E",
    "C": "0E11101010110E",
    "D": "1C12111111121C",
    "E": "1F10101E10101F",
    "F": "1F10101E101010",
    "G": "0E11101711110F",
    "H": "1111111F111111",
    "I": "0E04040404040E",
    "J": "0702020202120C",
    "K": "11121418141211",
    "L": "1010101010101F",
    "M": "111B1515111111",
    "N": "11111915131111",
    "O": "0E11111111110E",
    "P": "1E11111E101010",
    "Q": "0E11111115120D",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "T": "1F040404040404",
    "U": "1111111111110E",
    "V": "11111111110A04",
    "W": "1111111515150A",
    "X": "11110A040A1111",
    "Y": "1111110A040404",
    "Z": "1F01020408101F",
    ":": "000C0C000C0C00",
    ";": "000C0C000C0408",
    ".": "00000000000C0C",
    ",": "000000000C0408",
    "-": "0000001F000000",
    "_": "0000000000001F",
    "+": "0004041F040400",
    "<": "02040810080402",
    "/": "00010204081000",
    "#": "0A0A1F0A1F0A0A",
    "%": "18190204081303",
    "(": "02040808080402",
    ")": "08040202020408",
}


def text_width(text: str, scale: int) -> int:
    """Pixels from the left edge of the first letter to the right edge of the last."""
    return scale * (_ADVANCE * len(text) - 1) if text else 0


def shortened(text: str, most: int) -> str:
    """At most so many letters: `front-d..cam-17` keeps both ends, since long names tend to differ in either."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}..{text[len(text) - (most - 2 - head) :]}"


def text_mask(text: str, scale: int) -> NDArray[np.bool_]:
    """Where the letters are: bool [7 * scale, width]. Small letters are drawn as capitals, unknown ones as blanks."""
    dots = np.zeros((GLYPH_HEIGHT, _ADVANCE * len(text)), np.bool_)
    for place, letter in enumerate(text.upper()):
        rows = np.frombuffer(bytes.fromhex(_GLYPHS.get(letter, _GLYPHS[" "])), np.uint8)
        glyph = np.unpackbits(rows[:, None], axis=1)[:, -_GLYPH_WIDTH:]  # [7, 5]
        dots[:, _ADVANCE * place : _ADVANCE * place + _GLYPH_WIDTH] = glyph
    return dots[:, :-1].repeat(scale, axis=0).repeat(scale, axis=1)


def draw_text(canvas: Pixels, text: str, *, left: int, top: int, scale: int, colour: tuple[int, int, int]) -> None:
    """Draw into `canvas`, RGB uint8 [H, W, 3]; what goes over its edges is cut off."""
    mask = text_mask(text, scale)
    area = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    area[mask[: area.shape[0], : area.shape[1]]] = colour
