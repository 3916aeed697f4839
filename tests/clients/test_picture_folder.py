import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from framekeep import Client, Clock, VerdictKind
from framekeep.errors import InvalidRequest, SourceError
from framekeep.picture_folder import PictureFolder
from talking import file_of, scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures as JPEG, PNG and WebP files, of two scenes, and files that are none."""
    folder = tmp_path / "door cam"
    (folder / "more.png").mkdir(parents=True)
    for number in range(1, 11):
        kind, suffix = (("JPEG", "jpg"), ("PNG", "PNG"), ("WEBP", "webp"))[number % 3]
        (folder / f"Frame{number}.{suffix}").write_bytes(file_of(scene(number // 6), kind))
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (folder / name).write_bytes(b"no picture")
    return folder


def contents(folder: Path) -> list[bytes]:
    """The bytes of the files Frame1 to Frame10."""
    files = {int(path.stem[5:]): path.read_bytes() for path in folder.glob("Frame*")}
    return [files[number] for number in sorted(files)]


def test_files_come_as_they_are_in_natural_order_one_a_second(folder: Path) -> None:
    source = PictureFolder(folder)

    frames = list(source.frames())

    assert [frame.data for frame in frames] == contents(folder)
    assert [frame.pts_us for frame in frames] == list(range(0, 10_000_000, 1_000_000))
    assert (source.stream_name, source.expected_frames, source.clock) == ("door-cam", 10, Clock.SESSION)


def test_their_rate_can_be_chosen(folder: Path) -> None:
    assert [frame.pts_us for frame in PictureFolder(folder, 4).frames()][:3] == [0, 250_000, 500_000]


def test_their_times_can_be_those_of_the_files(folder: Path) -> None:
    taken = {}
    for number, path in enumerate(sorted(folder.glob("Frame*"))):
        taken[path.read_bytes(), number] = 1_700_000_000 - 10 * (number // 2)
        os.utime(path, (0, 1_700_000_000 - 10 * (number // 2)))

    source = PictureFolder(folder, file_times=True)
    frames = list(source.frames())

    captured = [frame.capture_time for frame in frames]
    earliest = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC) - timedelta(seconds=40)
    assert captured == [earliest + timedelta(seconds=10 * (number // 2)) for number in range(10)]
    assert [frame.pts_us for frame in frames[:4]] == [0, 1, 10_000_000, 10_000_001]
    assert source.clock is Clock.SOURCE


def test_a_folder_is_streamed_and_a_broken_file_is_rejected(folder: Path, client: Client) -> None:
    (folder / "Frame3.jpg").write_bytes((folder / "Frame3.jpg").read_bytes()[:200])
    (folder / "Frame4.PNG").write_bytes(b"")
    (folder / "Frame5.webp").unlink()
    (folder / "Frame5.webp").symlink_to(folder / "Frame5.webp")
    (folder / "Frame6.jpg").write_bytes(b"GIF89a")

    run = client.stream(folder, memory="m", start_time=datetime(2026, 1, 31, tzinfo=UTC))
    verdicts = list(run)

    rejected = [verdict.seq for verdict in verdicts if verdict.kind is VerdictKind.REJECTED]
    assert rejected == [2, 3, 4, 5]
    assert verdicts[-1].capture_time == datetime(2026, 1, 31, 0, 0, 9, tzinfo=UTC)
    found = client.memory("m").contents
    assert (found.frames, found.rejected_frames, found.counted_frames) == (10, 4, 6)


def test_a_file_that_cannot_be_read_is_named_and_keeps_its_number(
    folder: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    run = client.stream(folder, memory="m")
    (folder / "Frame3.jpg").unlink()
    with caplog.at_level(logging.WARNING, "framekeep"):
        verdicts = list(run)

    assert [verdict.seq for verdict in verdicts if verdict.kind is VerdictKind.REJECTED] == [2]
    assert "Frame3.jpg: expected a picture file, but it cannot be read: No such file or directory" in caplog.text


def test_what_is_no_folder_of_pictures_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(SourceError, match="expected a folder with JPEG, PNG or WebP files, got one without"):
        PictureFolder(tmp_path / "empty")
    with pytest.raises(SourceError, match="expected a folder of pictures, but it cannot be read: No such file"):
        PictureFolder(tmp_path / "none")
    with pytest.raises(InvalidRequest, match="expected frames_per_second above 0, got 0"):
        PictureFolder(folder, 0)
    with pytest.raises(InvalidRequest, match="expected frames_per_second or file_times, got both"):
        PictureFolder(folder, 1, file_times=True)
