"""Raw pixels: every layout and stride, and what does not agree."""

import numpy as np
import pytest

from encoder.errors import PictureTooLarge, PixelsMismatch
from encoder.picture import Picture, PixelFormat, Pixels, check_size, read_raw

MANY = 10**6


@pytest.mark.parametrize(
    ("layout", "order"),
    [(PixelFormat.RGB24, [0, 1, 2]), (PixelFormat.BGR24, [2, 1, 0]), (PixelFormat.GRAY8, [0, 0, 0])],
)
@pytest.mark.parametrize("padding", [0, 1, 5, 64])
@pytest.mark.parametrize("last_row_padded", [True, False])
def test_raw_pixels_are_read_in_every_layout_and_stride(
    *,
    layout: PixelFormat,
    order: list[int],
    padding: int,
    last_row_padded: bool,
) -> None:
    sent = np.random.default_rng(7).integers(0, 256, (7, 11, layout.pixel_bytes), dtype=np.uint8)
    rows = np.pad(sent.reshape(7, -1), ((0, 0), (0, padding)), constant_values=99).tobytes()
    data = rows if last_row_padded else rows[: len(rows) - padding]
    stride = 11 * layout.pixel_bytes + padding

    picture = read_raw(data, 11, 7, stride if padding else 0, layout, MANY)

    np.testing.assert_array_equal(picture.pixels, sent[:, :, order])


@pytest.mark.parametrize(
    ("size", "stride", "number"),
    [
        ((4, 3), 0, 35),
        ((4, 3), 0, 37),
        ((4, 3), 0, 0),
        ((4, 3), 16, 43),
        ((4, 3), 16, 49),
        ((4, 3), 11, 36),
        ((4, 3), -12, 36),
        ((4, 3), 2**40, 36),
        ((4, 1), 16, 11),
        ((4, 1), 16, 17),
    ],
)
def test_raw_pixels_whose_size_stride_and_bytes_disagree_are_refused(
    size: tuple[int, int], stride: int, number: int
) -> None:
    with pytest.raises(PixelsMismatch, match="expected"):
        read_raw(bytes(number), *size, stride, PixelFormat.RGB24, MANY)


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (-1, 3), (3, -1)])
def test_pictures_without_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PixelsMismatch, match=f"got {size[0]}x{size[1]}"):
        read_raw(b"", *size, 0, PixelFormat.GRAY8, MANY)


def test_the_limits_on_sizes_are_inclusive() -> None:
    check_size(100, 100, 10_000)
    check_size(16_384, 1, MANY)
    for width, height in ((100, 101), (101, 100), (16_385, 1), (1, 16_385)):
        with pytest.raises(PictureTooLarge, match=f"got {width}x{height} = {width * height} pixels"):
            check_size(width, height, 10_000)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 2, 3), np.float32),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((2, 0, 3), np.uint8),
    ],
)
def test_a_picture_is_rgb_in_8_bits_and_has_pixels(pixels: Pixels) -> None:
    with pytest.raises(PixelsMismatch, match=r"expected uint8 \[H, W, 3\]"):
        Picture(pixels)
