"""Live sources that tests start, cut off and start again: pictures over HTTP, a transport stream over TCP, and RTSP."""

import socket
import struct
import threading
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import count
from time import monotonic
from typing import BinaryIO, Self

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from talking import file_of

Pixels = NDArray[np.uint8]

FRAME_S = 0.02
"""Time between two frames of a feed."""


_TRANSPORT_STREAM = 33
"""The RTP payload type of MPEG transport streams."""

_PACKET_BYTES = 7 * 188
"""Whole packets of a transport stream, as many as an Ethernet frame holds."""


class Feed(ABC):
    """Serves one viewer at a time on a port of its own, at 50 frames a second, until it is cut off."""

    scheme: str
    path = "/"

    def __init__(self, picture: Callable[[int], Pixels]) -> None:
        """`picture` makes the frame of a number; numbers go on over interruptions."""
        self.picture = picture
        self._numbers = count()
        self._port = 0
        self.stopped = threading.Event()
        """It was cut off."""
        self.silent = threading.Event()
        """While it is set, the viewer stays connected and gets nothing."""
        self.viewers = 0
        """Viewers so far."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._port}{self.path}"

    def start(self) -> Self:
        """Listen, on the same port as before."""
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=1)
        self._port = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="feed")
        self._thread.start()
        return self

    def cut(self) -> None:
        """End all connections and listen no more."""
        self.stopped.set()
        for connection in [self._listener, *self._connections]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join()

    @property
    def is_running(self) -> bool:
        return not self.stopped.is_set()

    def _serve(self) -> None:
        while self.is_running:
            with suppress(OSError, av.FFmpegError):
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                with connection:
                    self._show(connection)

    def _pictures(self) -> Iterator[Pixels]:
        self.viewers += 1
        while not self.stopped.wait(FRAME_S):
            if not self.silent.is_set():
                yield self.picture(next(self._numbers))

    @abstractmethod
    def _show(self, connection: socket.socket) -> None:
        """Send pictures to a viewer until it goes away or the feed is cut off."""


class MjpegFeed(Feed):
    """JPEG files over HTTP, as cameras serve them to browsers."""

    scheme = "http"
    path = "/lobby.mjpg"

    def _show(self, connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        for picture in self._pictures():
            data = file_of(picture, "JPEG")
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data + b"\r\n")


class TransportStreamFeed(Feed):
    """H.264 in an MPEG transport stream over TCP."""

    scheme = "tcp"
    path = ""

    def _show(self, connection: socket.socket) -> None:
        _send_transport_stream(self._pictures(), connection.sendall)


class RtspFeed(Feed):
    """The same transport stream by RTSP, in RTP packets on the same connection."""

    scheme = "rtsp"
    path = "/lobby"
    password = "pa55word"  # noqa: S105 - the tests' own

    @property
    def url(self) -> str:
        return f"rtsp://admin:{self.password}@127.0.0.1:{self._port}{self.path}"

    def _show(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as requests:
            while self._answer(connection, requests) != "PLAY":
                continue
        numbers = count()

        def send(data: bytes) -> None:
            for start in range(0, len(data), _PACKET_BYTES):
                payload = data[start : start + _PACKET_BYTES]
                time = round(90_000 * monotonic()) % 2**32
                header = struct.pack(">BBHII", 0x80, _TRANSPORT_STREAM, next(numbers) % 2**16, time, 1)
                connection.sendall(struct.pack(">cBH", b"$", 0, 12 + len(payload)) + header + payload)

        _send_transport_stream(self._pictures(), send)

    def _answer(self, connection: socket.socket, requests: BinaryIO) -> str:
        lines: list[str] = []
        while (line := requests.readline()) != b"\r\n":
            if not line:
                raise ConnectionResetError
            lines.append(line.decode().rstrip())
        method = lines[0].split()[0]
        headers = dict(line.split(": ", 1) for line in lines[1:])
        token = b64encode(f"admin:{self.password}".encode()).decode()
        status, extra, body = "200 OK", {"Session": "1"}, ""
        match method:
            case "DESCRIBE" if headers.get("Authorization") != f"Basic {token}":
                status, extra = "401 Unauthorized", {"WWW-Authenticate": 'Basic realm="feed"'}
            case "DESCRIBE":
                body = f"v=0\r\ns=lobby\r\nt=0 0\r\nm=video 0 RTP/AVP {_TRANSPORT_STREAM}\r\na=control:video\r\n"
                extra = {"Content-Type": "application/sdp", "Content-Base": f"{lines[0].split()[1]}/"}
            case "SETUP":
                extra["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
            case "OPTIONS":
                extra = {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"}
        answer = {"CSeq": headers["CSeq"], **extra, "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.items())
        connection.sendall(f"RTSP/1.0 {status}\r\n{head}\r\n{body}".encode())
        return method


class _Sink:
    """A file that sends what is written to it."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    def write(self, data: bytes) -> int:
        self._send(bytes(data))
        return len(data)


def _send_transport_stream(pictures: Iterator[Pixels], send: Callable[[bytes], None]) -> None:
    with av.open(_Sink(send), "w", format="mpegts", options={"flush_packets": "1"}) as container:
        video = container.add_stream("libx264", rate=50, options={"tune": "zerolatency", "g": "5"})
        assert isinstance(video, VideoStream)
        video.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if number == 0:
                video.height, video.width = picture.shape[:2]
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 50)
            container.mux(video.encode(frame))
