"""A few bytes that claim gigabytes: refused before memory for them is taken, in a process of its own to measure it."""

import io
import json
import math
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from encoder.config import EncoderConfig
from encoder.errors import PictureTooLarge, PictureUnreadable
from encoder.picture import read_compressed

LARGEST_LIMIT = 2**26
"""67 million pixels: Pillow warns of files with more than 89 million, and refuses twice as many."""

MEASURE = """
import json, resource, sys, warnings
from encoder.errors import EncoderError
from encoder.picture import read_compressed

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) * 1024

read_compressed(bytes.fromhex(sys.argv[1]), 100)  # what reading needs anyway is taken now
resident, addresses = status("VmHWM"), status("VmPeak")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        read_compressed(bytes.fromhex(sys.argv[2]), 8192 * 4096)
        result = "read"
    except EncoderError as error:
        result = type(error).__name__
print(json.dumps({"result": result, "resident": status("VmHWM") - resident, "addresses": status("VmPeak") - addresses}))
"""


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def _small(kind: str, **options: object) -> bytearray:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, **options)
    return bytearray(file.getvalue())


def _jpeg(width: int, height: int) -> bytes:
    data = _small("JPEG")
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _webp(width: int, height: int) -> bytes:
    data = _small("WEBP")
    start = data.index(b"\x9d\x01\x2a")
    data[start + 3 : start + 7] = struct.pack("<HH", width, height)
    return bytes(data)


def _lossless_webp(width: int, height: int) -> bytes:
    data = _small("WEBP", lossless=True)
    start = data.index(b"VP8L") + 9
    data[start : start + 4] = struct.pack("<I", (width - 1) | ((height - 1) << 14))
    return bytes(data)


def _extended_webp(width: int, height: int) -> bytes:
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + _webp(width, height)[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


FORMATS: dict[str, Callable[[int, int], bytes]] = {
    "png": _png,
    "jpeg": _jpeg,
    "webp": _webp,
    "lossless webp": _lossless_webp,
    "extended webp": _extended_webp,
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("side", [16_383, 13_000, 6_000])
def test_claims_beyond_the_limit_are_refused_before_memory_is_taken(kind: str, side: int) -> None:
    small, claiming = FORMATS[kind](8, 8), FORMATS[kind](side, side)

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small.hex(), claiming.hex()],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    told = json.loads(done.stdout)
    assert told["result"] == "PictureTooLarge"
    assert told["resident"] < 8 * 2**20
    assert told["addresses"] < 64 * 2**20


@pytest.mark.parametrize("kind", ["png", "webp", "extended webp"])
def test_claims_within_the_limit_are_refused_for_the_pixels_that_are_missing(kind: str) -> None:
    claiming = FORMATS[kind](1200, 1200)

    with pytest.raises(PictureUnreadable):
        read_compressed(claiming, 1200 * 1200)
    with pytest.raises(PictureTooLarge, match=r"1200x1200 = 1440000 pixels"):
        read_compressed(claiming, 1200 * 1200 - 1)


def test_a_picture_as_large_as_can_be_configured_is_not_called_too_large() -> None:
    largest = EncoderConfig(max_picture_pixels=LARGEST_LIMIT).max_picture_pixels
    side = math.isqrt(largest)

    with pytest.raises(PictureUnreadable):  # of its pixels, all but a few are missing
        read_compressed(_png(side, side), largest)


def test_no_limit_beyond_the_largest_can_be_configured() -> None:
    with pytest.raises(ValueError, match=f"max_picture_pixels: expected .* got {LARGEST_LIMIT + 1}"):
        EncoderConfig(max_picture_pixels=LARGEST_LIMIT + 1)
