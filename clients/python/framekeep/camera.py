"""Cameras of this machine, by Video4Linux."""

import os
import re
import sys
from pathlib import Path

from framekeep.containers import STALL_S, open_container
from framekeep.errors import InvalidRequest, SourceError
from framekeep.live_source import LiveSource

_DEVICE = re.compile(r"/dev/video\d+|/dev/v4l/.+")


def device_of(source: int | str) -> str | None:
    """`0` -> `/dev/video0`; a path to a camera is given back, for all else None.

    Raises:
        InvalidRequest: a negative number.
    """
    if isinstance(source, int):
        if source < 0:
            raise InvalidRequest(f"expected a camera number of at least 0, got {source}")
        return f"/dev/video{source}"
    return source if _DEVICE.fullmatch(source) else None


def open_camera(device: str, stall_s: float = STALL_S) -> LiveSource:
    """Open a camera in the size and rate that it is set to; its kernel driver tells when each frame was taken.

    Args:
        device: `/dev/video0`, or a link to it.
        stall_s: after how long without a frame it counts as lost; above 0.

    Raises:
        SourceError: there is none, it may not be used, or it is in use.
    """
    if not stall_s > 0:
        raise InvalidRequest(f"expected stall_s above 0, got {stall_s}")
    if not sys.platform.startswith("linux"):
        raise SourceError(f"{device}: expected Linux, whose cameras are opened by number, got {sys.platform}")
    if not Path(device).exists():
        there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise SourceError(f"{device}: expected a camera, but there is no such device; there are: {there}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"{device}: expected a camera that this user may read; add the user to the group of the device "
            "(mostly `video`), and log in again"
        )
    hint = "; see that it is a camera that gives pictures, and that no other program has it open"
    container = open_container(device, timeout_s=stall_s, container_format="v4l2", options={"ts": "abs"}, hint=hint)
    return LiveSource(device, container, stall_s)
