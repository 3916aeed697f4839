"""Frames that an evaluation holds out: encoded before it, kept from the memory, and asked for afterwards."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framekeep.errors import SourceError
from framekeep.memories import Embedding
from framekeep.picture_files import Pixels
from framekeep.video_source import VideoSource

MOST_HELD_OUT = 200
"""Frames held out of a video however long it is: enough for shares to half a percent, and soon asked for."""

Encode = Callable[[list[Pixels]], NDArray[np.float32]]
"""Embeddings float32 [B, D] of B pictures."""

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how many frames of it are done, and how many there are, if that is known."""


@dataclass(frozen=True, slots=True)
class HeldOutFrame:
    """A frame that the memory never gets."""

    pts_us: int
    """Presentation time in microseconds from the start of the video."""

    embedding: Embedding = field(repr=False, compare=False)
    """float32 [D], unit length."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a first reading of a video gave."""

    frames: int
    """Frames in it."""

    stride: int
    """The last of every so many frames is held out."""

    held_out: tuple[HeldOutFrame, ...]
    """The frames held out, evenly spread, at most MOST_HELD_OUT."""

    fault: str | None
    """Why the video broke off after these frames; None if it did not."""

    def holds_out(self, number: int) -> bool:
        """Whether the frame of this number, from 0, is held out."""
        return _is_last_of_stride(number, self.stride)


def _is_last_of_stride(number: int, stride: int) -> bool:
    return number % stride == stride - 1


def survey(video: Path, stride: int, encode: Encode, progress: Progress) -> Survey:
    """Read a video, and encode the frames to hold out.

    The stride doubles whenever there would be too many, and every second one of those held out is given up: of frames
    10, 20, 30, 40 the frames 20 and 40 stay.

    Args:
        video: a file.
        stride: hold out every so many frames; at least 2, so that the first frame is not held out.
        encode: makes the embeddings.
        progress: told of every frame.

    Raises:
        SourceError: it cannot be opened, or holds no picture.
    """
    held_out: list[HeldOutFrame] = []
    count, fault = 0, None
    with closing(VideoSource(video)) as source:
        try:
            for number, frame in enumerate(source.frames()):
                if _is_last_of_stride(number, stride) and len(held_out) == MOST_HELD_OUT:
                    held_out, stride = held_out[1::2], 2 * stride
                if _is_last_of_stride(number, stride):
                    held_out.append(HeldOutFrame(frame.pts_us, encode([frame.picture])[0]))
                count = number + 1
                progress("reading", count, source.expected_frames)
        except SourceError as error:
            if count == 0:
                raise
            fault = error.message
    return Survey(count, stride, tuple(held_out), fault)
