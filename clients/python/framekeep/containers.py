"""Opening files, URLs and devices by FFmpeg, with errors that hold no secrets."""

from contextlib import suppress

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from framekeep.errors import InvalidRequest, SourceError
from framekeep.redaction import redacted

STALL_S = 10.0
"""How long a live source may give no frame before it counts as lost, unless told otherwise."""

LIVE_SCHEMES = frozenset(("rtsp", "rtsps", "rtp", "rtmp", "rtmps", "srt", "tcp", "udp"))
"""What comes over these has no end that could be known."""

_PROBE_US = "2000000"
"""How much of a stream is read to learn what is in it, if its header does not say: FFmpeg's own 5 s start it late."""


def open_container(
    location: str,
    *,
    timeout_s: float | None = None,
    container_format: str | None = None,
    options: dict[str, str] | None = None,
    hint: str = "",
) -> InputContainer:
    """Open a file, URL or device and read its header.

    Args:
        location: what FFmpeg is to open.
        timeout_s: how long a step of opening may take, and each read later on; None: as long as it takes.
        container_format: what it is, if FFmpeg cannot know.
        options: for FFmpeg.
        hint: what to do about a failure, for the message.

    Raises:
        SourceError: it cannot be opened; the message holds no secrets of a URL.
    """
    try:
        return av.open(location, format=container_format, options=options, timeout=timeout_s)
    except (av.FFmpegError, OSError) as error:
        fault = told(error)
    # Not `from error`: it names the URL with all its secrets.
    raise SourceError(f"{redacted(location)}: expected a video, but it cannot be opened as one: {fault}{hint}")


def first_video(container: InputContainer, shown_location: str) -> VideoStream:
    """The first video of a container that is no cover picture; without one, the container is closed.

    Raises:
        SourceError: there is none.
    """
    for video in container.streams.video:
        if not video.disposition & Disposition.attached_pic and video.codec_context is not None:
            return video
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    container.close()
    raise SourceError(f"{shown_location}: expected a video, got a file with {kinds} only")


def open_url(url: str, stall_s: float = STALL_S) -> InputContainer:
    """Connect to any URL.

    Raises:
        SourceError: no connection; the message holds no secrets of the URL.
        InvalidRequest: a limit that is not above 0.
    """
    if not stall_s > 0:
        raise InvalidRequest(f"expected stall_s above 0, got {stall_s}")
    options = {"analyzeduration": _PROBE_US} if scheme_of(url) in LIVE_SCHEMES else {}
    if scheme_of(url) in ("rtsp", "rtsps"):
        options["rtsp_transport"] = "tcp"  # what UDP loses shows as gray smears, which look new
    return open_container(url, timeout_s=stall_s, options=options)


def is_live(url: str, container: InputContainer) -> bool:
    """What was opened there shows what happens now: by its scheme, or since it has neither length nor size."""
    if scheme_of(url) in LIVE_SCHEMES:
        return True
    if container.duration is not None:
        return False
    with suppress(av.FFmpegError):
        return "hls" in container.format.name or container.size <= 0
    return True


def scheme_of(url: str) -> str:
    """`rtsp` of `rtsp://...`; empty for what is no URL."""
    return url.partition("://")[0].lower() if "://" in url else ""


def told(error: Exception) -> str:
    """What an error of FFmpeg or the system says, without secrets of URLs."""
    return redacted((getattr(error, "strerror", None) or str(error)).rstrip("."))
