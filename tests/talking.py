"""Speaking the contract by hand: pictures, frames and Ingest calls."""

import io
import queue
import uuid
from collections.abc import Iterable, Iterator

import grpc
import numpy as np
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from numpy.typing import NDArray
from PIL import Image

from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub

Pixels = NDArray[np.uint8]


def scene(number: int, brightness: int = 0) -> Pixels:
    """A picture of coloured stripes, 96x72; numbers below 20 are novel to each other, brightness is a small change."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:72, :96] / 24  # [H, W] each
    pixels = np.empty((72, 96, 3))
    for channel in range(3):
        angle, frequency = random.uniform(0, np.pi), 2 ** random.uniform(-1, 3.5)
        wave = np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y) + random.uniform(0, 6))
        pixels[..., channel] = random.uniform(60, 190) + 60 * np.sign(wave)
    return np.clip(pixels + brightness, 0, 255).astype(np.uint8)


def raw(pixels: Pixels) -> pb.Picture:
    """A picture as raw pixels."""
    height, width = pixels.shape[:2]
    return pb.Picture(raw=pb.RawPixels(width=width, height=height, format=pb.PIXEL_FORMAT_RGB24, data=pixels.tobytes()))


def file_of(pixels: Pixels, kind: str) -> bytes:
    """A picture as a file of a kind: JPEG, PNG or WEBP; all but JPEG without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({} if kind == "JPEG" else {"lossless": True}))
    return file.getvalue()


def frames(pictures: Iterable[pb.Picture], first_seq: int = 0) -> list[pb.Frame]:
    """Frames at 10 a second."""
    return [pb.Frame(seq=seq, pts_us=seq * 100_000, picture=picture) for seq, picture in enumerate(pictures, first_seq)]


def opening(stream: str, session_id: str, start_s: int = 1_000_000) -> pb.IngestOpening:
    """An opening with the session's clock."""
    message = pb.IngestOpening(stream=stream, session_id=session_id)
    message.start_time.FromSeconds(start_s)
    return message


class Call:
    """An Ingest call, one message at a time."""

    def __init__(self, stub: VideoMemoryServiceStub, message: pb.IngestOpening | None) -> None:
        self._requests: queue.Queue[pb.IngestRequest | None] = queue.Queue()
        if message is not None:
            self._requests.put(pb.IngestRequest(opening=message))
        self._responses = stub.Ingest(iter(self._requests.get, None))

    def opened(self) -> pb.IngestOpened:
        """Read the first response."""
        return next(iter(self._responses)).opened

    def send(self, *sent: pb.Frame) -> None:
        """Send frames in one message."""
        self._requests.put(pb.IngestRequest(frames=pb.IngestFrames(frames=sent)))

    def close(self) -> None:
        """Send no more."""
        self._requests.put(None)

    def verdicts(self) -> Iterator[pb.Verdict]:
        """Read verdicts until the call ends."""
        for response in self._responses:
            yield from response.verdicts.verdicts


def ingest(
    stub: VideoMemoryServiceStub,
    stream: str,
    sent: Iterable[pb.Frame],
    session_id: str | None = None,
    start_s: int = 10**6,
) -> list[pb.Verdict]:
    """Run a whole session."""
    call = Call(stub, opening(stream, session_id or str(uuid.uuid4()), start_s))
    call.opened()
    for frame in sent:
        call.send(frame)
    call.close()
    return list(call.verdicts())


def reason(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """What an error says: code, reason, metadata."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    info = ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.domain == "framekeep"
    return error.code(), info.reason, dict(info.metadata)
