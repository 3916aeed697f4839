import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from framekeep.errors import InvalidRequest, PictureRefused, SourceError
from framekeep.picture_files import JpegEncoder, compressed_format, pixels_from_jpeg, png_from, resized
from framekeep.pictures import batches, picture_bytes, picture_from, raw_picture


def gradient(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]  # [H, W] each
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], 2).astype(np.uint8)


def file_of(pixels: NDArray[np.uint8], kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (1, 1)])
def test_jpeg_files_hold_the_picture(size: tuple[int, int]) -> None:
    pixels = gradient(*size)

    read = np.asarray(Image.open(io.BytesIO(JpegEncoder().encode(pixels))))

    assert read.shape == pixels.shape
    assert np.abs(read.astype(int) - pixels).mean() < 3


def test_gray_pictures_become_jpeg_files_too() -> None:
    gray = gradient(64, 96)[..., 0]

    read = np.asarray(Image.open(io.BytesIO(JpegEncoder().encode(gray))))

    assert np.abs(read.astype(int) - gray[..., None]).mean() < 3


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_jpeg_files_are_read(size: tuple[int, int]) -> None:
    data = file_of(gradient(*size), "JPEG")

    assert np.abs(pixels_from_jpeg(data).astype(int) - np.asarray(Image.open(io.BytesIO(data)))).mean() < 1.5


@pytest.mark.parametrize("data", [b"", b"hello", file_of(gradient(64, 96), "JPEG")[:200]])
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(PictureRefused, match="expected a JPEG"):
        pixels_from_jpeg(data)


def test_png_files_hold_the_picture_exactly() -> None:
    pixels = gradient(65, 97)

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_from(pixels)))), pixels)


def test_shrinking_averages_areas() -> None:
    pixels = gradient(64, 96)

    expected = pixels.reshape(16, 4, 24, 4, 3).mean((1, 3))
    assert np.abs(resized(pixels, 24, 16) - expected).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
def test_files_travel_as_they_are(tmp_path: Path, kind: str) -> None:
    data = file_of(gradient(8, 8), kind)
    path = tmp_path / "picture"
    path.write_bytes(data)

    assert compressed_format(data) == kind
    assert picture_from(data).compressed == picture_from(path).compressed == picture_from(str(path)).compressed == data


def test_files_of_another_kind_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "picture.gif"
    path.write_bytes(file_of(gradient(8, 8), "GIF"))

    with pytest.raises(SourceError, match=r"picture\.gif: expected a JPEG, PNG or WebP picture"):
        picture_from(path)
    with pytest.raises(SourceError, match="none: expected a picture file, but it cannot be read: No such file"):
        picture_from(tmp_path / "none")
    with pytest.raises(PictureRefused, match="expected the bytes of a JPEG"):
        picture_from(path.read_bytes())


def test_pixels_travel_raw() -> None:
    pixels = gradient(5, 7)

    turned, gray = raw_picture(np.rot90(pixels)), raw_picture(pixels[..., 0])

    assert (turned.raw.width, turned.raw.height, turned.raw.format) == (5, 7, 1)
    assert turned.raw.data == np.ascontiguousarray(np.rot90(pixels)).tobytes()
    assert (gray.raw.width, gray.raw.height, gray.raw.format, picture_bytes(gray)) == (7, 5, 3, 35)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        picture_from(pixels)

    assert f"got {pixels.dtype} {list(pixels.shape)}" in caught.value.message


def test_pictures_are_encoded_in_bounded_batches() -> None:
    small, large = raw_picture(np.zeros((2, 2, 3), np.uint8)), raw_picture(np.zeros((2**11, 2**12, 3), np.uint8))

    assert [len(batch) for batch in batches([small] * 130)] == [64, 64, 2]
    assert [len(batch) for batch in batches([large, small, large, large])] == [2, 1, 1]
    assert list(batches([])) == []
