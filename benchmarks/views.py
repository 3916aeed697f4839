"""Real video seen through moving windows: the encodings and thumbnails that the store's benchmark is grown from.

A window pans and zooms over a video's pictures as a camera would over a scene, so that a few short videos give many
sequences of really different pictures, each continuous in time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from encoder.config import EncoderConfig
from encoder.frame_encoder import OpenVinoEncoder
from encoder.picture import Picture, Pixels
from encoder.preprocess import encoder_input, reduced, thumbnail

WINDOWS = 8
"""Windows a video: the whole picture, and moving ones."""

BATCH = 32
"""Pictures that wait for the encoder at a time."""

THUMBNAIL_EVERY = 17
"""One picture in so many gives a thumbnail: prime to WINDOWS, so that all windows give some."""


@dataclass(frozen=True, slots=True)
class Views:
    """What the windows of some videos showed."""

    sequences: list[NDArray[np.float32]]
    """One for each window of each video, in the order of time: float32 [T, D], unit length."""

    thumbnails: list[bytes]
    """JPEG files as the server makes them."""

    encoder_version: str
    """What the encodings depend on."""


def encoded_views(videos: list[Path], folder: Path) -> Views:
    """Encode every frame of some videos through every window.

    Args:
        videos: video files.
        folder: keeps the converted network.
    """
    encoder = OpenVinoEncoder(EncoderConfig(), folder)
    sequences: list[NDArray[np.float32]] = []
    thumbnails: list[bytes] = []
    for number, video in enumerate(videos):
        rows: list[NDArray[np.float32]] = []
        inputs: list[Pixels] = []
        for place, picture in enumerate(_seen(video, np.random.default_rng(number))):
            inputs.append(encoder_input(picture, encoder.input_side_pixels))
            if place % THUMBNAIL_EVERY == 0:
                thumbnails.append(thumbnail(reduced(picture)))
            if len(inputs) == BATCH:
                rows.append(encoder.encode(inputs))
                inputs = []
        rows.append(encoder.encode(inputs))
        encodings = np.concatenate(rows)  # [T * WINDOWS, D], the windows of a frame beside each other
        sequences += [encodings[window::WINDOWS] for window in range(WINDOWS)]
    return Views(sequences, thumbnails, str(encoder.version))


def _seen(video: Path, rng: np.random.Generator) -> Iterator[Picture]:
    """Give what the windows show of each frame, the whole picture first."""
    # Of each moving window: how often it goes to and fro in 250 frames, across, down and in size, and where it begins.
    pace, begin = rng.uniform(0.3, 1.5, (WINDOWS, 3)), rng.uniform(0, 2 * np.pi, (WINDOWS, 3))
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            yield Picture(pixels)
            for window in range(1, WINDOWS):
                yield Picture(_window(pixels, np.sin(begin[window] + 2 * np.pi * pace[window] * number / 250)))


def _window(pixels: Pixels, at: NDArray[np.float64]) -> Pixels:
    """Cut a window of 0.3 to 0.7 of each side from a picture; `at` gives x, y and size, each in [-1, 1]."""
    share = 0.5 + 0.2 * at[2]
    height, width = (round(side * share) for side in pixels.shape[:2])
    left = round((pixels.shape[1] - width) * (at[0] + 1) / 2)
    top = round((pixels.shape[0] - height) * (at[1] + 1) / 2)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])
