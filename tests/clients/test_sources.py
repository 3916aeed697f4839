from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from framekeep.answers import Clock
from framekeep.errors import InvalidRequest
from framekeep.sources import PictureSequence, SourceFrame

PICTURE = np.zeros((4, 6, 3), np.uint8)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_arrays_are_spaced_by_the_rate() -> None:
    source = PictureSequence([PICTURE] * 4, frames_per_second=29.97)

    assert [frame.pts_us for frame in source.frames()] == [0, 33_367, 66_733, 100_100]
    assert source.clock is Clock.SESSION


def test_frames_keep_their_times() -> None:
    frames = [SourceFrame(0, NOON, PICTURE), SourceFrame(70_000, NOON, PICTURE)]

    source = PictureSequence(frames, frames_per_second=None)

    assert list(source.frames()) == frames
    assert source.clock is Clock.SOURCE


def test_pictures_are_taken_one_at_a_time() -> None:
    taken = []

    def pictures() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        for number in range(3):
            taken.append(number)
            yield PICTURE

    frames = PictureSequence(pictures(), frames_per_second=1).frames()

    assert taken == [0]
    next(frames)
    next(frames)
    assert taken == [0, 1]


def test_no_pictures_are_no_frames() -> None:
    assert list(PictureSequence([], frames_per_second=25).frames()) == []


@pytest.mark.parametrize("picture", [np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3)), np.zeros((0, 6), np.uint8)])
def test_other_arrays_are_refused(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    with pytest.raises(InvalidRequest, match=r"expected a picture as RGB uint8 \[H, W, 3\] or gray"):
        list(PictureSequence([picture], frames_per_second=25).frames())


def test_a_rate_goes_with_arrays_and_only_with_them() -> None:
    with pytest.raises(InvalidRequest, match="or arrays and frames_per_second"):
        PictureSequence([PICTURE], frames_per_second=None)
    with pytest.raises(InvalidRequest, match="expected arrays, got SourceFrame"):
        PictureSequence([SourceFrame(0, None, PICTURE)], frames_per_second=25)
    with pytest.raises(InvalidRequest, match="expected arrays, got int"):
        PictureSequence(b"abc", frames_per_second=25)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="above 0"):
        PictureSequence([PICTURE], frames_per_second=0)
