"""Shrinking, against plain means of blocks of pixels; and thumbnails."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from encoder.picture import Picture, PixelFormat, Pixels, read_compressed, read_raw
from encoder.preprocess import THUMBNAIL_SIDE_PIXELS, encoder_input, reduced, thumbnail


def _noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _block_means(pixels: Pixels, height: int, width: int) -> NDArray[np.float64]:
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    means: NDArray[np.float64] = pixels.reshape(height, rows, width, columns, 3).mean((1, 3))
    return means


@given(down=st.integers(1, 6), across=st.integers(1, 6), side=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_squashing_by_whole_factors_is_the_mean_of_each_block(down: int, across: int, side: int, seed: int) -> None:
    pixels = _noise(down * side, across * side, seed)

    squashed = encoder_input(Picture(pixels), side)

    assert squashed.shape == (side, side, 3)
    assert squashed.dtype == np.uint8
    assert np.abs(squashed - _block_means(pixels, side, side)).max() <= 0.51  # rounded


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    pixels = _noise(224, 224)

    np.testing.assert_array_equal(encoder_input(Picture(pixels), 224), pixels)


@pytest.mark.parametrize("factor", [2, 5, 20])
@pytest.mark.parametrize("other_side", [1, 100, 223])
def test_one_side_is_averaged_even_if_the_other_has_to_grow(factor: int, other_side: int) -> None:
    line = _noise(1, 224 * factor)
    expected = _block_means(line, 1, 224)
    wide = np.repeat(line, other_side, axis=0)

    across, down = encoder_input(Picture(wide), 224), encoder_input(Picture(wide.transpose(1, 0, 2).copy()), 224)

    assert np.abs(across - expected).max() <= 1
    assert np.abs(down.transpose(1, 0, 2) - expected).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (3, 224), (224, 3), (500, 2)])
def test_plain_pictures_of_any_shape_stay_plain(height: int, width: int) -> None:
    plain = np.broadcast_to(np.array([200, 100, 7], np.uint8), (height, width, 3))

    squashed = encoder_input(Picture(plain), 224)

    np.testing.assert_array_equal(squashed, np.broadcast_to(plain[0, 0], (224, 224, 3)))


def test_raw_rows_with_padding_are_squashed_like_any_other() -> None:
    pixels = _noise(100, 300)
    padded = np.pad(pixels.reshape(100, 900), ((0, 0), (0, 60)))

    picture = read_raw(padded.tobytes(), 300, 100, 960, PixelFormat.RGB24, 10**6)

    np.testing.assert_array_equal(encoder_input(picture, 50), encoder_input(Picture(pixels), 50))
    assert thumbnail(reduced(picture)) == thumbnail(reduced(Picture(pixels)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1280, 720), (320, 180)),
        ((720, 1280), (180, 320)),
        ((640, 640), (320, 320)),
        ((1000, 10), (320, 3)),
        ((320, 200), (320, 200)),
        ((321, 200), (320, 199)),
        ((640, 1), (320, 1)),
        ((5000, 1), (320, 1)),
        ((1, 5000), (1, 320)),
        ((33, 12), (33, 12)),
        ((1, 1), (1, 1)),
        ((7680, 4320), (320, 180)),
    ],
)
def test_the_longer_side_of_a_thumbnail_is_320_and_small_pictures_are_not_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    picture = Picture(np.full((size[1], size[0], 3), 90, np.uint8))

    for source in (picture, reduced(picture)):
        with Image.open(io.BytesIO(thumbnail(source))) as jpeg:
            assert (jpeg.format, jpeg.mode, jpeg.size) == ("JPEG", "RGB", expected)


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_waits_for_its_thumbnail_is_small_and_ends_at_the_same_size(height: int, width: int) -> None:
    picture = Picture(np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3)))

    waiting = reduced(picture)

    longer = max(waiting.pixels.shape)
    assert min(max(height, width), THUMBNAIL_SIDE_PIXELS) <= longer <= max(3, 2 * THUMBNAIL_SIDE_PIXELS - 1)
    direct, by_way = read_compressed(thumbnail(picture), 10**6), read_compressed(thumbnail(waiting), 10**6)
    differences = np.subtract(direct.pixels.shape, by_way.pixels.shape)
    assert np.abs(differences).max() <= 1  # the shorter side is rounded twice


def test_a_thumbnail_shows_the_picture_in_its_colours() -> None:
    blocks = np.array([[[220, 30, 30], [30, 200, 40]], [[20, 40, 210], [240, 240, 30]]], np.uint8)
    pixels = np.repeat(np.repeat(blocks, 500, axis=0), 500, axis=1)

    shown = read_compressed(thumbnail(reduced(Picture(pixels))), 10**6).pixels

    assert shown.shape == (320, 320, 3)
    centres = shown[80::160, 80::160].astype(int)
    assert np.abs(centres - blocks).max() <= 6


def test_reducing_by_a_whole_factor_is_the_mean_of_each_block() -> None:
    pixels = _noise(720, 1280)

    waiting = reduced(Picture(pixels))

    assert waiting.pixels.shape == (180, 320, 3)
    assert np.abs(waiting.pixels - _block_means(pixels, 180, 320)).max() <= 0.51


def test_the_picture_itself_is_left_as_it_was() -> None:
    pixels = _noise(300, 400)
    before = pixels.copy()
    picture = Picture(pixels)

    encoder_input(picture, 224)
    thumbnail(reduced(picture))

    np.testing.assert_array_equal(picture.pixels, before)
