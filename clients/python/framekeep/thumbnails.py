"""Thumbnails of exemplars as pixels, fitted into the room that a drawing has for them."""

import numpy as np

from framekeep.errors import InvalidRequest
from framekeep.memories import Exemplar
from framekeep.palette import CELL
from framekeep.picture_files import Pixels, pixels_from_jpeg, resized


def fitted_thumbnail(exemplar: Exemplar, width: int, height: int) -> Pixels:
    """The thumbnail of an exemplar, as large as fits into this many pixels; an empty field if it was forgotten.

    Returns:
        RGB uint8 [H, W, 3]: W is `width`, or H is `height`, or both.

    Raises:
        InvalidRequest: the exemplar came without a thumbnail.
        PictureRefused: a thumbnail that is no JPEG.
    """
    if exemplar.thumbnail is None and exemplar.own_frame_forgotten:
        return np.full((min(height, max(1, width * 9 // 16)), width, 3), CELL, np.uint8)
    if exemplar.thumbnail is None:
        raise InvalidRequest(f"expected exemplar {exemplar.id} with its thumbnail, got it without")
    return fitted_picture(exemplar.thumbnail, width, height)


def fitted_picture(jpeg: bytes, width: int, height: int) -> Pixels:
    """A JPEG as large as fits into this many pixels.

    Returns:
        RGB uint8 [H, W, 3]: W is `width`, or H is `height`, or both.

    Raises:
        PictureRefused: no JPEG, or a broken one.
    """
    pixels = pixels_from_jpeg(jpeg)
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    return resized(pixels, max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))


def draw_picture(room: Pixels, picture: Pixels) -> None:
    """Draw a picture into the middle of a room, RGB uint8 [H, W, 3] both; the room must not be smaller."""
    height, width = picture.shape[:2]
    top, left = (room.shape[0] - height) // 2, (room.shape[1] - width) // 2
    room[:] = CELL
    room[top : top + height, left : left + width] = picture
