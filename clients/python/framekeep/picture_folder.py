"""Folders of picture files as sources of frames. The files travel as they are: it is the server that decodes them."""

import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from stat import S_ISLNK, S_ISREG

from framekeep.answers import Clock
from framekeep.containers import told
from framekeep.errors import InvalidRequest, SourceError
from framekeep.names import stream_name_for
from framekeep.sources import CompressedFrame, Source
from framekeep.times import microseconds

_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))

_DEFAULT_RATE = 1.0
"""Frames a second."""

_MICROSECOND = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


class PictureFolder(Source):
    """The JPEG, PNG and WebP files of a folder, one frame each, in the order of their names: `2.png` before `10.png`.

    A file that cannot be read becomes a frame without content, and so REJECTED: all others keep their numbers.
    """

    def __init__(
        self, folder: str | os.PathLike[str], frames_per_second: float | None = None, *, file_times: bool = False
    ) -> None:
        """List the files.

        Args:
            folder: where they are; folders in it are left out, and so are hidden files.
            frames_per_second: above 0; None: one.
            file_times: take the time a file was last changed as its capture time, and as the order.

        Raises:
            SourceError: there are none, or the folder cannot be read.
            InvalidRequest: a rate that is not above 0, or beside file times.
        """
        if file_times and frames_per_second is not None:
            raise InvalidRequest("expected frames_per_second or file_times, got both")
        rate = _DEFAULT_RATE if frames_per_second is None else frames_per_second
        if not rate > 0:
            raise InvalidRequest(f"expected frames_per_second above 0, got {frames_per_second}")
        self._rate = Fraction(rate).limit_denominator(1_000_000)
        files = _picture_files(Path(folder))
        if file_times:
            self.clock = Clock.SOURCE
            files.sort(key=lambda file: file[1])  # stable: names decide where times are the same
        self._files = files
        self.stream_name = stream_name_for(str(Path(folder).resolve()))
        self.expected_frames = len(files)

    def frames(self) -> Iterator[CompressedFrame]:
        """The files, read one by one."""
        first_us, last_us = self._files[0][1], -1
        for number, (path, changed_us) in enumerate(self._files):
            data = _bytes_of(path)
            if self.clock is Clock.SESSION:
                yield CompressedFrame(microseconds(number / self._rate), None, data)
                continue
            last_us = max(changed_us - first_us, last_us + 1)
            yield CompressedFrame(last_us, datetime.fromtimestamp(0, UTC) + changed_us * _MICROSECOND, data)

    def close(self) -> None:
        """Nothing to let go of: files are open only while they are read."""


def _picture_files(folder: Path) -> list[tuple[Path, int]]:
    """The picture files by name, each with the time it was last changed, in microseconds since 1970."""
    try:
        with os.scandir(folder) as entries:
            found = [
                (Path(entry.path), changed_ns // 1000)
                for entry in entries
                if Path(entry.name).suffix.lower() in _SUFFIXES and not entry.name.startswith(".")
                if (changed_ns := _changed_ns(entry)) is not None
            ]
    except OSError as error:
        raise SourceError(f"{folder}: expected a folder of pictures, but it cannot be read: {told(error)}") from error
    if not found:
        raise SourceError(f"{folder}: expected a folder with JPEG, PNG or WebP files, got one without")
    return sorted(found, key=lambda file: _natural(file[0].name))


def _changed_ns(entry: "os.DirEntry[str]") -> int | None:
    """When a file, or a link that leads nowhere, was last changed; None for what is no file."""
    try:
        status = entry.stat()
    except OSError:
        status = entry.stat(follow_symlinks=False)
    return status.st_mtime_ns if S_ISREG(status.st_mode) or S_ISLNK(status.st_mode) else None


def _natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """`b10.png` -> b, 10, .png: numbers are compared as numbers; the name itself where that is the same."""
    parts = re.findall(r"(\D*)(\d*)", name.casefold())
    return [(text, int(digits or -1)) for text, digits in parts], name


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _log.warning("%s: expected a picture file, but it cannot be read: %s; sent as empty", path, error.strerror)
        return b""
