import wave
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from framekeep.errors import SourceError
from framekeep.sources import SourceFrame
from framekeep.video_source import VideoSource

MakeVideo = Callable[..., Path]


def read(path: Path) -> tuple[list[SourceFrame], VideoSource, SourceError | None]:
    """All frames, and the error that ended them."""
    source = VideoSource(path)
    frames = []
    try:
        for frame in source.frames():
            frames.append(frame)  # noqa: PERF402 - what came before an error is wanted too
    except SourceError as error:
        return frames, source, error
    finally:
        source.close()
    return frames, source, None


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264")]
)
def test_every_frame_comes_once_with_its_time(make_video: MakeVideo, name: str, codec: str) -> None:
    frames, source, error = read(make_video(name, codec=codec))

    assert error is None
    assert [frame.pts_us for frame in frames] == list(range(0, 2_400_000, 40_000))
    assert {frame.picture.shape for frame in frames} == {(64, 96, 3)}
    assert source.damaged_frames == 0


def test_variable_frame_rates_keep_their_times(make_video: MakeVideo) -> None:
    times_ms = [0, 40, 100, 1_100, 1_133]

    frames, _, error = read(make_video("a.mp4", pts_ms=times_ms))

    assert error is None
    assert [frame.pts_us for frame in frames] == [1_000 * time for time in times_ms]


def test_times_count_from_the_first_frame(make_video: MakeVideo) -> None:
    frames, _, _ = read(make_video("a.mkv", pts_ms=[5_000, 5_040, 5_120]))

    assert [frame.pts_us for frame in frames] == [0, 40_000, 120_000]


def test_times_are_exact_where_the_rate_is_a_fraction(videos: dict[str, Path]) -> None:
    frames, _, _ = read(videos["carphone_pristine"])

    expected = [round(Fraction(number * 1_001, 30_000) * 1_000_000) for number in range(120)]
    assert [frame.pts_us for frame in frames] == expected


def test_pictures_are_rgb(make_video: MakeVideo) -> None:
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 0] = 200

    [frame], _, _ = read(make_video("a.mp4", pictures=[red], pts_ms=[0]))

    assert np.abs(frame.picture.astype(int).mean((0, 1)) - (200, 0, 0)).max() < 4


@pytest.mark.parametrize(("rotation", "bright"), [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (-90, (0, 1))])
def test_pictures_are_turned_upright(make_video: MakeVideo, rotation: int, bright: tuple[int, int]) -> None:
    corner = np.zeros((64, 96, 3), np.uint8)
    corner[:32, :48] = 255

    [frame], _, _ = read(make_video("a.mp4", pictures=[corner], pts_ms=[0], rotation=rotation))

    height, width = frame.picture.shape[:2]
    quarters = frame.picture.reshape(2, height // 2, 2, width // 2, 3).mean((1, 3, 4))
    assert (height > width) == (rotation % 180 != 0)
    assert np.unravel_index(quarters.argmax(), (2, 2)) == bright


@pytest.mark.parametrize(
    ("creation_time", "expected"),
    [
        ("2021-03-04T05:06:07.250000Z", datetime(2021, 3, 4, 5, 6, 7, 250_000, tzinfo=UTC)),
        ("1970-01-01T00:00:00.000000Z", None),
        ("1904-01-01T00:00:00.000000Z", None),
        ("yesterday", None),
    ],
)
def test_the_creation_time_is_the_start_unless_it_was_never_set(
    make_video: MakeVideo, creation_time: str, expected: datetime | None
) -> None:
    source = VideoSource(make_video("a.mkv", metadata={"creation_time": creation_time}))
    source.close()

    assert source.start_time == expected


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_a_truncated_file_gives_what_it_holds_and_then_says_so(make_video: MakeVideo, name: str, codec: str) -> None:
    whole = make_video(name, codec=codec)
    frames_of_whole, _, _ = read(whole)
    cut = whole.with_stem("cut")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])

    frames, _, error = read(cut)

    assert 25 <= len(frames) <= 48
    assert [frame.pts_us for frame in frames] == [frame.pts_us for frame in frames_of_whole[: len(frames)]]
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(frames, frames_of_whole, strict=False))
    assert error is not None
    assert f"broke off after {len(frames)} frames, at 1." in error.message
    assert " of 2.40 s" in error.message


def test_a_broken_packet_in_the_middle_is_left_out_and_counted(make_video: MakeVideo) -> None:
    path = make_video("a.mp4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2_500] = np.random.default_rng(0).bytes(2_500)
    path.write_bytes(data)

    frames, source, error = read(path)

    assert error is None
    assert 1 <= source.damaged_frames <= 3
    assert len(frames) + source.damaged_frames == 60
    assert frames[-1].pts_us == 2_360_000


def test_a_file_without_its_end_that_cannot_be_opened_says_so(videos: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(videos["bikes"].read_bytes()[:300_000])

    with pytest.raises(SourceError, match=r"cut\.mp4: expected a video, .*cut off before its index"):
        VideoSource(path)


@pytest.mark.parametrize("content", [b"", b"hello world\n" * 20], ids=["empty", "text"])
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=r"a\.mp4: expected a video"):
        VideoSource(path)


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8_000, 800, "NONE", ""))
        file.writeframes(bytes(1_600))

    with pytest.raises(SourceError, match=r"a\.wav: expected a video, got a file with audio only"):
        VideoSource(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.mp4: expected a video file or URL, but it does not exist"):
        VideoSource(tmp_path / "none.mp4")
    with pytest.raises(SourceError, match="but it is no file"):
        VideoSource(tmp_path)


def test_the_password_of_a_url_is_not_shown() -> None:
    with pytest.raises(SourceError) as caught:
        VideoSource("http://user:secret@localhost:1/a.mp4")

    assert caught.value.message.startswith("http://localhost:1/a.mp4: expected a video")
    assert "secret" not in caught.value.message
