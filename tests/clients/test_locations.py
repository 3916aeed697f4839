from pathlib import Path

import pytest

from framekeep.camera import device_of, open_camera
from framekeep.errors import InvalidRequest, SourceError
from framekeep.locations import Location, may_be_live, source_from, stream_name_of


@pytest.mark.parametrize(
    ("source", "device"),
    [
        (0, "/dev/video0"),
        (12, "/dev/video12"),
        ("/dev/video3", "/dev/video3"),
        ("/dev/v4l/by-id/usb-cam-index0", "/dev/v4l/by-id/usb-cam-index0"),
        ("0", None),
        ("/videos/video0", None),
    ],
)
def test_cameras_are_named_by_number_or_device(source: int | str, device: str | None) -> None:
    assert device_of(source) == device


def test_a_camera_number_is_not_negative() -> None:
    with pytest.raises(InvalidRequest, match="expected a camera number of at least 0, got -1"):
        source_from(-1)


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(SourceError, match=r"^/dev/video99: expected a camera, but there is no such device; there are:"):
        source_from(99)


def test_a_device_that_is_no_camera_says_what_to_look_at() -> None:
    with pytest.raises(SourceError, match=r"^/dev/null: expected a video, .*; see that it is a camera that gives pic"):
        open_camera("/dev/null")


@pytest.mark.parametrize(
    ("source", "is_live", "name"),
    [
        (0, True, "video0"),
        ("/dev/video1", True, "video1"),
        ("rtsp://user:pw@cam/live", True, "live"),
        ("http://cam/a.mp4", True, "a"),
        ("a.mp4", False, "a"),
        (Path("folder"), False, "folder"),
    ],
)
def test_what_may_come_back_and_what_it_is_called(source: Location, is_live: bool, name: str) -> None:  # noqa: FBT001 - a parameter of the test
    assert (may_be_live(source), stream_name_of(source)) == (is_live, name)


def test_arguments_that_do_not_go_with_a_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="a video has its own times"):
        source_from("a.mp4", frames_per_second=25)
    with pytest.raises(InvalidRequest, match="a video has its own times"):
        source_from(0, file_times=True)
    with pytest.raises(InvalidRequest, match="file_times for a folder of pictures only"):
        source_from([], file_times=True)
    with pytest.raises(InvalidRequest, match="expected stall_s above 0, got 0"):
        source_from("rtsp://cam/live", stall_s=0)
    with pytest.raises(InvalidRequest, match="expected stall_s above 0, got 0"):
        source_from(0, stall_s=0)
