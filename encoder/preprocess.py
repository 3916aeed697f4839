"""From a picture to what is computed from it: the encoder's input, and the thumbnail that is kept.

The only place where pixels are resized. Every path squashes by area averaging: other filters move novelty by up to
0.07, and cropping changes what is kept.
"""

import cv2
import numpy as np

from encoder.picture import Picture, Pixels

THUMBNAIL_SIDE_PIXELS = 320
"""Longer side of a thumbnail: enough to recognise a scene, about 10 KB."""

THUMBNAIL_JPEG_QUALITY = 85


def encoder_input(picture: Picture, side_pixels: int) -> Pixels:
    """Squash a picture to the square that the network takes.

    Returns:
        RGB uint8 [side_pixels, side_pixels, 3].
    """
    return _resized(picture, side_pixels, side_pixels).pixels


def reduced(picture: Picture) -> Picture:
    """Shrink a picture to what its thumbnail is made from: by a whole factor, which is quick, to 320 to 640 pixels.

    It waits in memory until the frame is decided on, and only novel frames get a thumbnail.
    """
    height, width = picture.pixels.shape[:2]
    factor = max(1, max(height, width) // THUMBNAIL_SIDE_PIXELS)
    return _resized(picture, max(1, width // factor), max(1, height // factor))


def thumbnail(picture: Picture) -> bytes:
    """Make the JPEG that is kept with an exemplar: its longer side is at most THUMBNAIL_SIDE_PIXELS."""
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, THUMBNAIL_SIDE_PIXELS / max(height, width))
    shrunk = _resized(picture, max(1, round(width * scale)), max(1, round(height * scale)))
    _, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(shrunk.pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_JPEG_QUALITY]
    )
    return jpeg.tobytes()


def _resized(picture: Picture, width: int, height: int) -> Picture:
    rows, columns = picture.pixels.shape[:2]
    # OpenCV averages areas only where neither side grows; where one does, it would skip pixels of the other.
    smaller = (min(width, columns), min(height, rows))
    shrunk = cv2.resize(picture.pixels, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        shrunk = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_AREA)
    return Picture(np.asarray(shrunk, dtype=np.uint8))
