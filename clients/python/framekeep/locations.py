"""What a caller names as a source, and the source behind it."""

import os
from collections.abc import Iterable
from pathlib import Path

from framekeep.camera import device_of, open_camera
from framekeep.containers import STALL_S, is_live, open_url, scheme_of
from framekeep.errors import InvalidRequest
from framekeep.live_source import LiveSource
from framekeep.names import stream_name_for
from framekeep.picture_files import Pixels
from framekeep.picture_folder import PictureFolder
from framekeep.sources import PictureSequence, Source, SourceFrame
from framekeep.video_source import VideoSource

Location = str | os.PathLike[str] | int
"""A path, a URL, or the number of a camera."""

Pictures = Iterable[Pixels] | Iterable[SourceFrame]
"""Arrays RGB uint8 [H, W, 3] or gray uint8 [H, W], or frames that carry their times."""


def source_from(
    source: Location | Pictures,
    *,
    frames_per_second: float | None = None,
    file_times: bool = False,
    stall_s: float = STALL_S,
) -> Source:
    """Open a source.

    Args:
        source: a video file, a folder of pictures, a URL, a camera, or pictures.
        frames_per_second: for arrays and folders.
        file_times: for folders: the time of each file is its capture time.
        stall_s: for URLs and cameras: after how long without a frame they count as lost.

    Raises:
        SourceError: it cannot be opened.
        InvalidRequest: an argument that does not go with this kind of source.
    """
    if not isinstance(source, str | os.PathLike | int):
        if file_times:
            raise InvalidRequest("expected file_times for a folder of pictures only")
        return PictureSequence(source, frames_per_second)
    if not isinstance(source, int) and Path(source).is_dir():
        return PictureFolder(source, frames_per_second, file_times=file_times)
    if frames_per_second is not None or file_times:
        raise InvalidRequest(
            "expected frames_per_second for arrays and folders, and file_times for folders only; "
            "a video has its own times"
        )
    location = source if isinstance(source, int) else os.fspath(source)
    device = device_of(location)
    if device is not None:
        return open_camera(device, stall_s)
    return _video_from(str(location), stall_s)


def _video_from(location: str, stall_s: float) -> Source:
    if not scheme_of(location):
        return VideoSource(location)
    container = open_url(location, stall_s)
    if is_live(location, container):
        return LiveSource(location, container, stall_s)
    return VideoSource(location, container)


def may_be_live(source: Location) -> bool:
    """It is a camera or URL: something that may come back after it was lost."""
    location = source if isinstance(source, int) else os.fspath(source)
    return device_of(location) is not None or bool(scheme_of(str(location)))


def stream_name_of(source: Location) -> str | None:
    """What the stream from there is called if nobody says; None if there is no name in it."""
    location = source if isinstance(source, int) else os.fspath(source)
    return stream_name_for(device_of(location) or str(location))
