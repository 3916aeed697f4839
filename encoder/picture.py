"""A picture: where bytes from outside become pixels, on the frame's way and on the query's.

Sizes are read from headers and checked before anything is decoded, so that a few bytes cannot claim gigabytes.
"""

import io
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from encoder.config import MAX_PICTURE_SIDE_PIXELS
from encoder.errors import EncoderError, PictureTooLarge, PictureUnreadable, PixelsMismatch

Pixels = NDArray[np.uint8]

READABLE_FORMATS = ("JPEG", "PNG", "WEBP")

# What turns a picture upright, by its EXIF orientation (1 is upright).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture."""

    pixels: Pixels
    """RGB uint8 [H, W, 3], H and W at least 1."""

    def __post_init__(self) -> None:
        """Check the shape.

        Raises:
            PixelsMismatch: not uint8 [H, W, 3].
        """
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise PixelsMismatch(f"expected uint8 [H, W, 3], got {self.pixels.dtype} {list(shape)}")


class PixelFormat(Enum):
    """Layout of raw pixels; the value is the number of bytes a pixel."""

    RGB24 = (3, "rgb")
    BGR24 = (3, "bgr")
    GRAY8 = (1, "gray")

    @property
    def pixel_bytes(self) -> int:
        """Bytes a pixel."""
        return self.value[0]


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse pictures without pixels and pictures with too many.

    Raises:
        PixelsMismatch: a side below 1.
        PictureTooLarge: a side above MAX_PICTURE_SIDE_PIXELS, or more than `max_pixels` in all.
    """
    if width < 1 or height < 1:
        raise PixelsMismatch(f"expected a picture of at least 1x1 pixels, got {width}x{height}")
    if max(width, height) > MAX_PICTURE_SIDE_PIXELS or width * height > max_pixels:
        raise PictureTooLarge(
            f"expected at most {max_pixels} pixels and sides of at most {MAX_PICTURE_SIDE_PIXELS}, "
            f"got {width}x{height} = {width * height} pixels"
        )


def read_compressed(data: bytes, max_pixels: int) -> Picture:
    """Decode a JPEG, PNG or WebP file; its EXIF orientation is applied, its transparency dropped.

    Raises:
        PictureUnreadable: another format, or a broken or truncated file.
        PictureTooLarge: too many pixels; nothing was decoded.
    """
    _check_webp_canvas(data, max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=READABLE_FORMATS) as image:
            check_size(image.width, image.height, max_pixels)
            return Picture(_rgb(_upright(image)))
    except EncoderError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureTooLarge(f"expected at most {max_pixels} pixels: {error}") from error
    except UnidentifiedImageError as error:  # its own message names an object of Python's
        raise PictureUnreadable(f"expected a JPEG, PNG or WebP picture, got {len(data)} other bytes") from error
    except Exception as error:  # Pillow lets through whatever damage leads to, struct.error and all
        raise PictureUnreadable(f"expected a JPEG, PNG or WebP picture, got {len(data)} bytes: {error}") from error


def _check_webp_canvas(data: bytes, max_pixels: int) -> None:
    """Check the size that a WebP file claims: Pillow takes memory for its canvas, twice, by opening it.

    The layout of the header is that of the WebP container specification ("RIFF container").
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return
    match data[12:16]:
        case b"VP8 ":
            width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        case _:
            return
    check_size(max(1, width), max(1, height), max_pixels)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says; EXIF that cannot be read turns nothing."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  # as for pictures; the picture itself may be fine
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit gray; Pillow's own conversion would clip it at 255
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"))


def read_raw(data: bytes, width: int, height: int, stride_bytes: int, layout: PixelFormat, max_pixels: int) -> Picture:
    """Take raw pixels, 8 bits a channel.

    Args:
        data: rows from top to bottom; the last one may end without its padding.
        width: pixels a row.
        height: rows.
        stride_bytes: from the start of one row to the next; 0 for rows without padding.
        layout: order of the channels.
        max_pixels: largest width x height.

    Raises:
        PixelsMismatch: size, stride and number of bytes do not agree.
        PictureTooLarge: too many pixels.
    """
    check_size(width, height, max_pixels)
    row_bytes = width * layout.pixel_bytes
    stride = stride_bytes or row_bytes
    if stride < row_bytes:
        raise PixelsMismatch(f"expected a stride of at least {row_bytes} bytes for {width} pixels, got {stride}")
    least = stride * (height - 1) + row_bytes
    if not least <= len(data) <= stride * height:
        raise PixelsMismatch(
            f"expected {least} to {stride * height} bytes for {width}x{height} {layout.name} with stride {stride}, "
            f"got {len(data)}"
        )
    rows = np.lib.stride_tricks.as_strided(
        np.frombuffer(data, np.uint8), shape=(height, row_bytes), strides=(stride, 1), writeable=False
    )
    match layout:
        case PixelFormat.RGB24:
            return Picture(rows.reshape(height, width, 3))
        case PixelFormat.BGR24:
            return Picture(np.ascontiguousarray(rows.reshape(height, width, 3)[:, :, ::-1]))
        case PixelFormat.GRAY8:
            return Picture(np.repeat(rows[:, :, None], 3, axis=2))
