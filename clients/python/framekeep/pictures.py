"""Pictures on their way out: what a caller calls a picture becomes the contract's Picture."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framekeep.errors import PictureRefused, SourceError
from framekeep.picture_files import checked_pixels, compressed_format
from framekeep.v1 import video_memory_pb2 as pb

Image = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""A path, the bytes of a JPEG, PNG or WebP file, or pixels: RGB uint8 [H, W, 3] or gray uint8 [H, W]."""

_CALL_PICTURES = 64
"""As many as the contract allows in a call of Encode."""

_CALL_BYTES = 32 * 2**20
"""Bytes of pictures after which a call is full; far below what a message may have, so that an answer comes in time."""


def picture_from(image: Image) -> pb.Picture:
    """The contract's form of a picture: files travel as they are, pixels raw.

    Raises:
        SourceError: a file that is missing, cannot be read, or is no JPEG, PNG or WebP.
        PictureRefused: bytes that are no JPEG, PNG or WebP.
        InvalidRequest: pixels of another shape or type.
    """
    if isinstance(image, np.ndarray):
        return raw_picture(image)
    if isinstance(image, bytes):
        if compressed_format(image) is None:
            raise PictureRefused(
                f"expected the bytes of a JPEG, PNG or WebP file, got {len(image)} others", reason="PICTURE_UNREADABLE"
            )
        return pb.Picture(compressed=image)
    return pb.Picture(compressed=_picture_file(Path(image)))


def raw_picture(pixels: NDArray[np.uint8]) -> pb.Picture:
    """Raw pixels, rows without padding.

    Args:
        pixels: RGB uint8 [H, W, 3] or gray uint8 [H, W].

    Raises:
        InvalidRequest: another shape or type.
    """
    height, width = checked_pixels(pixels).shape[:2]
    layout = pb.PIXEL_FORMAT_GRAY8 if pixels.ndim == 2 else pb.PIXEL_FORMAT_RGB24
    return pb.Picture(raw=pb.RawPixels(width=width, height=height, format=layout, data=pixels.tobytes()))


def batches(pictures: Iterable[pb.Picture]) -> Iterator[list[pb.Picture]]:
    """The pictures, as many to a call of Encode as it takes and a message should hold."""
    batch: list[pb.Picture] = []
    size_bytes = 0
    for picture in pictures:
        if batch and (len(batch) == _CALL_PICTURES or size_bytes + picture_bytes(picture) > _CALL_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(picture)
        size_bytes += picture_bytes(picture)
    if batch:
        yield batch


def picture_bytes(picture: pb.Picture) -> int:
    """How many bytes of picture travel."""
    return len(picture.compressed) or len(picture.raw.data)


def _picture_file(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: expected a picture file, but it cannot be read: {error.strerror}") from error
    if compressed_format(data) is None:
        raise SourceError(f"{path}: expected a JPEG, PNG or WebP picture, got {len(data)} bytes of another kind")
    return data
