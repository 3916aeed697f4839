"""JPEG and PNG bytes from pixels, and pixels from JPEG bytes, by the codecs that PyAV brings along."""

from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.codec import CodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from framekeep.errors import InvalidRequest, PictureRefused

Pixels = NDArray[np.uint8]
"""RGB uint8 [H, W, 3]."""

_JPEG_FORMAT, _JPEG_QUANTIZER = "yuvj444p", "1"
"""Full colour at the finest scale: camera footage shrinks to a seventh, and its novelty moves by less than 0.01. At
half the bytes, with halved colour and scale 2, it moves by 0.06 in pictures of 176x144 pixels."""

_ANY_RATE = Fraction(1, 25)
"""Encoders want a time base; still pictures have none."""

_COMPRESSED_STARTS = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"RIFF", "WebP"))


def compressed_format(data: bytes) -> str | None:
    """`JPEG`, `PNG` or `WebP`, by the first bytes of a file; None for anything else."""
    for start, name in _COMPRESSED_STARTS:
        if data.startswith(start) and (name != "WebP" or data[8:12] == b"WEBP"):
            return name
    return None


def checked_pixels(pixels: Pixels) -> Pixels:
    """Give back `pixels` if they are RGB uint8 [H, W, 3] or gray uint8 [H, W], with H and W at least 1.

    Raises:
        InvalidRequest: another shape or type.
    """
    shape = pixels.shape
    has_shape = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if pixels.dtype != np.uint8 or not has_shape or 0 in shape:
        raise InvalidRequest(
            f"expected a picture as RGB uint8 [H, W, 3] or gray uint8 [H, W], got {pixels.dtype} {list(shape)}",
            reason="PIXELS_MISMATCH",
        )
    return pixels


def rgb_from(pixels: Pixels) -> Pixels:
    """RGB uint8 [H, W, 3] from RGB, or from gray [H, W] by repeating it."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


class JpegEncoder:
    """Pictures into JPEG files, at one fixed quality. Not shared between threads."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def encode(self, pixels: Pixels) -> bytes:
        """A JPEG file.

        Args:
            pixels: RGB uint8 [H, W, 3] or gray uint8 [H, W].
        """
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb_from(pixels)), format="rgb24")
        planar = self._reformatter.reformat(frame, format=_JPEG_FORMAT, interpolation=Interpolation.AREA)
        return _encoded(planar, "mjpeg", {"qmin": _JPEG_QUANTIZER, "qmax": _JPEG_QUANTIZER})


def png_from(pixels: Pixels) -> bytes:
    """A PNG file.

    Args:
        pixels: RGB uint8 [H, W, 3].
    """
    return _encoded(VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"), "png", {})


def _encoded(frame: VideoFrame, codec: Literal["mjpeg", "png"], options: dict[str, str]) -> bytes:
    context = CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.time_base = _ANY_RATE
    context.thread_count = 1  # several threads would hold frames back
    context.options = options
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def pixels_from_jpeg(data: bytes) -> Pixels:
    """RGB uint8 [H, W, 3] from a JPEG file.

    Raises:
        PictureRefused: no JPEG, or a broken one.
    """
    context = CodecContext.create("mjpeg", "r")
    context.thread_count = 1
    try:
        frames = context.decode(av.Packet(data)) or context.decode(None)
    except av.FFmpegError as error:
        raise PictureRefused(
            f"expected a JPEG, got {len(data)} bytes that are none: {error}", reason="PICTURE_UNREADABLE"
        ) from error
    if not frames:
        raise PictureRefused(f"expected a JPEG, got {len(data)} bytes without a picture", reason="PICTURE_UNREADABLE")
    return np.asarray(frames[0].to_ndarray(format="rgb24"), np.uint8)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """RGB uint8 [height, width, 3] from RGB uint8 [H, W, 3], by averaging areas."""
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    scaled = frame.reformat(width=width, height=height, interpolation=Interpolation.AREA)
    return np.asarray(scaled.to_ndarray(), np.uint8)
