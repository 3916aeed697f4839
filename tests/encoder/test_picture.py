"""What becomes of the files and raw pixels that come from outside: the right colours, or a refusal that says why."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoder.errors import EncoderError, PictureUnreadable
from encoder.picture import Pixels, read_compressed

MANY = 10**6

COLOURS = np.array([[[250, 10, 10], [10, 250, 10], [10, 10, 250]], [[250, 250, 10], [10, 250, 250], [90, 90, 90]]])
LARGE = np.kron(COLOURS, np.ones((16, 16, 1))).astype(np.uint8)
"""32 x 48 pixels: six plain squares of 16 x 16, so that a JPEG's blocks hold one colour each."""


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _noise(height: int, width: int, channels: int) -> Pixels:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _squares(pixels: Pixels) -> Pixels:
    """The colour in the middle of each square of 16 x 16."""
    return pixels[8::16, 8::16]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_files_are_read_to_the_last_bit(kind: str, options: dict[str, object]) -> None:
    pixels = _noise(37, 53, 3)

    picture = read_compressed(_file(Image.fromarray(pixels), kind, **options), MANY)

    np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("JPEG", {"progressive": True}), ("WEBP", {})]
)
def test_lossy_files_are_read_in_their_colours(kind: str, options: dict[str, object]) -> None:
    picture = read_compressed(_file(Image.fromarray(LARGE), kind, **options), MANY)

    assert np.abs(_squares(picture.pixels).astype(int) - COLOURS).max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # By the EXIF standard: where row 0 and column 0 of the file belong in the picture.
    upright = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.transpose(1, 0, 2),
        6: COLOURS[::-1].transpose(1, 0, 2),
        7: COLOURS[::-1, ::-1].transpose(1, 0, 2),
        8: COLOURS[:, ::-1].transpose(1, 0, 2),
    }[orientation]

    picture = read_compressed(_file(Image.fromarray(LARGE), kind, exif=exif.tobytes()), MANY)

    assert np.abs(_squares(picture.pixels).astype(int) - upright).max() <= 30


def _tiff(*entries: tuple[int, int, int, bytes]) -> bytes:
    body = b"".join(struct.pack(">HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + body + bytes(4)


ODD_TAGS = {
    "a resolution that is text": (0x011A, 2, 2, b"72\0\0"),
    "a resolution of bytes": (0x011A, 7, 2, b"72\0\0"),
    "a width that is text": (0x0100, 2, 2, b"7\0\0\0"),
    "a unit that is text": (0x0128, 2, 2, b"2\0\0\0"),
    "a maker that is a number": (0x010F, 3, 1, b"\0\x07\0\0"),
}


@pytest.mark.parametrize("tag", ODD_TAGS.values(), ids=ODD_TAGS.keys())
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_tags_do_not_keep_a_picture_from_being_read_upright(
    tag: tuple[int, int, int, bytes], kind: str
) -> None:
    exif = _tiff(tag, (0x0112, 3, 1, b"\0\x06\0\0"))

    picture = read_compressed(_file(Image.fromarray(LARGE), kind, exif=exif), MANY)

    assert picture.pixels.shape == (48, 32, 3)


@pytest.mark.parametrize("options", [{}, {"transparency": 0}, {"transparency": 2}])
def test_palettes_are_resolved_and_their_transparency_is_dropped(options: dict[str, object]) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([200, 1, 2, 3, 200, 4, 5, 6, 200])
    image.putdata([2, 0, 1])

    picture = read_compressed(_file(image, "PNG", **options), MANY)

    assert picture.pixels.tolist() == [[[5, 6, 200], [200, 1, 2], [3, 200, 4]]]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
def test_a_palette_with_degrees_of_transparency_is_resolved_too() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([200, 1, 2, 3, 200, 4, 5, 6, 200])
    image.putdata([2, 0, 1])

    picture = read_compressed(_file(image, "PNG", transparency=b"\x00\x80\xff"), MANY)

    assert picture.pixels.tolist() == [[[5, 6, 200], [200, 1, 2], [3, 200, 4]]]


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_transparency_is_dropped_and_colours_stay(kind: str, options: dict[str, object]) -> None:
    pixels = _noise(20, 30, 4)

    picture = read_compressed(_file(Image.fromarray(pixels), kind, **options), MANY)

    np.testing.assert_array_equal(picture.pixels, pixels[:, :, :3])


def test_gray_with_and_without_transparency_becomes_three_equal_channels() -> None:
    gray = _noise(20, 30, 1)
    transparent = _noise(20, 30, 2)

    for image, expected in (
        (Image.fromarray(gray[:, :, 0]), gray[:, :, 0]),
        (Image.fromarray(transparent, "LA"), transparent[:, :, 0]),
    ):
        picture = read_compressed(_file(image, "PNG"), MANY)
        np.testing.assert_array_equal(picture.pixels, np.repeat(expected[:, :, None], 3, axis=2))


def test_black_and_white_is_read() -> None:
    picture = read_compressed(_file(Image.fromarray(np.eye(9) > 0), "PNG"), MANY)

    np.testing.assert_array_equal(picture.pixels[:, :, 1], np.eye(9, dtype=np.uint8) * 255)


def test_16_bit_gray_keeps_its_upper_eight_bits() -> None:
    deep = np.arange(0, 65536, 61, dtype=np.uint16)[:1024].reshape(32, 32)

    picture = read_compressed(_file(Image.fromarray(deep), "PNG"), MANY)

    np.testing.assert_array_equal(picture.pixels, np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_other_16_bit_pngs_keep_their_upper_eight_bits(colour: int, channels: int) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)

    picture = read_compressed(_png(7, 5, 16, colour, rows), MANY)

    expected = deep[:, :, :3] if channels > 2 else np.repeat(deep[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(picture.pixels, expected >> 8)


def test_cmyk_is_read_in_its_colours() -> None:
    picture = read_compressed(_file(Image.fromarray(LARGE).convert("CMYK"), "JPEG", quality=95), MANY)

    assert np.abs(_squares(picture.pixels).astype(int) - COLOURS).max() <= 40


def test_of_an_animation_the_first_picture_is_read() -> None:
    first, second = Image.fromarray(_noise(20, 30, 3)), Image.fromarray(255 - _noise(20, 30, 3))

    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        data = _file(first, kind, save_all=True, append_images=[second], **options)
        np.testing.assert_array_equal(read_compressed(data, MANY).pixels, np.asarray(first))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO", "PDF"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(PictureUnreadable, match="expected a JPEG, PNG or WebP picture, got"):
        read_compressed(_file(Image.fromarray(LARGE), kind), MANY)


@pytest.mark.parametrize("data", [b"", b"\x00", b"a picture, honestly", b"\xff\xd8\xff", b"RIFF\x00\x00\x00\x00WEBP"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PictureUnreadable, match=f"got {len(data)} (other )?bytes"):
        read_compressed(data, MANY)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    whole = _file(Image.fromarray(_noise(64, 64, 3)), kind)

    with pytest.raises(PictureUnreadable):
        read_compressed(whole[: int(len(whole) * share)], MANY)


def test_a_png_without_its_palette_is_refused() -> None:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0))
    body = _chunk(b"tRNS", b"\x00") + _chunk(b"IDAT", zlib.compress(bytes(6))) + _chunk(b"IEND", b"")

    with pytest.raises(PictureUnreadable):
        read_compressed(b"\x89PNG\r\n\x1a\n" + header + body, MANY)


SAMPLES = {
    "jpeg": _file(Image.fromarray(_noise(24, 32, 3)), "JPEG", exif=_tiff((0x0112, 3, 1, b"\0\x06\0\0"))),
    "progressive": _file(Image.fromarray(_noise(24, 32, 3)), "JPEG", progressive=True, comment=b"hello"),
    "cmyk": _file(Image.fromarray(_noise(24, 32, 3)).convert("CMYK"), "JPEG"),
    "png": _file(Image.fromarray(_noise(24, 32, 3)), "PNG", exif=_tiff((0x0112, 3, 1, b"\0\x03\0\0"))),
    "palette": _file(Image.fromarray(_noise(24, 32, 3)).convert("P"), "PNG", transparency=3),
    "webp": _file(Image.fromarray(_noise(24, 32, 3)), "WEBP", exif=_tiff((0x0112, 3, 1, b"\0\x08\0\0"))[6:]),
    "lossless webp": _file(Image.fromarray(_noise(24, 32, 3)), "WEBP", lossless=True),
}


def _read_or_refuse(data: bytes) -> None:
    try:
        picture = read_compressed(data, MANY)
    except EncoderError:
        return
    height, width, channels = picture.pixels.shape
    assert channels == 3
    assert 1 <= height * width <= MANY


# Pillow warns of damaged EXIF data and reads on.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
@given(
    places=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
    near_the_start=st.booleans(),
    fix_checksums=st.booleans(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_corrupted_files_are_read_or_refused_and_nothing_else(
    *,
    sample: bytes,
    places: list[tuple[float, int]],
    near_the_start: bool,
    fix_checksums: bool,
) -> None:
    damaged = bytearray(sample)
    for place, value in places:
        damaged[int(place * (min(len(sample), 200) if near_the_start else len(sample)))] = value

    _read_or_refuse(_with_checksums(bytes(damaged)) if fix_checksums else bytes(damaged))


def _with_checksums(data: bytes) -> bytes:
    """A PNG again with the checksums of its chunks; other files as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    chunks, place = data[:8], 8
    while place + 12 <= len(data):
        [length] = struct.unpack(">I", data[place : place + 4])
        if place + 12 + length > len(data):
            break
        chunks += _chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length])
        place += 12 + length
    return chunks + data[place:]
