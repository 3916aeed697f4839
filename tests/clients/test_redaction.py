import traceback

import pytest

from framekeep.containers import open_url
from framekeep.errors import SourceError
from framekeep.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:pw@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:p@ss@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:p/w@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:p?w@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:p#w@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:p%40w@[::1]:554/live", "rtsp://[::1]:554/live"),
        ("https://cam/live?token=abc&channel=1", "https://cam/live?token=***&channel=***"),
        ("https://cam/live?abc", "https://cam/live?***"),
        ("https://cam/live.m3u8?a=b=c#key=abc", "https://cam/live.m3u8?a=***"),
        ("https://cam/@lobby/live", "https://cam/@lobby/live"),
        ("https://cam:80/@lobby/live", "https://cam:80/@lobby/live"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        (
            "[tcp @ 0x5] Connection to 'rtsp://a:b@cam/?k=v' failed",
            "[tcp @ 0x5] Connection to 'rtsp://cam/?k=***' failed",
        ),
        ("from http://a:b@cam/x to http://c:d@cam/y", "from http://cam/x to http://cam/y"),
        ("C:\\videos\\a@b.mp4: what? nothing", "C:\\videos\\a@b.mp4: what? nothing"),
        ("/videos/a?b=c.mp4", "/videos/a?b=c.mp4"),
    ],
)
def test_urls_lose_their_secrets_and_nothing_else(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "tcp", "udp", "rtmp", "none"])
def test_errors_of_ffmpeg_hold_no_secrets_and_neither_does_what_caused_them(scheme: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_url(f"{scheme}://user:s3cret@localhost:1/live?token=s4cret", stall_s=0.5)

    told = "".join(traceback.format_exception(caught.value))
    assert f"{scheme}://localhost:1/live?token=***: expected a video" in told
    for secret in ("user", "s3cret", "s4cret"):
        assert secret not in caught.value.message
    assert "s3cret" not in told.replace('"{scheme}://user:s3cret@', "")
    assert "s4cret" not in told.replace("token=s4cret", "")
