"""From the packets of a video to upright pictures: what files and live sources have in common."""

from fractions import Fraction

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from framekeep.picture_files import Pixels


class VideoDecoder:
    """Decodes the packets of one video, in order, leaving out what is broken."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self.last_packet_is_corrupt = False
        """The packet that came last was broken."""
        self.damaged_frames = 0
        """Broken packets and pictures left out so far."""

    def frames(self, packet: "Packet[VideoStream]") -> list[VideoFrame]:
        """The whole pictures that a packet completes."""
        if packet.size:
            self.last_packet_is_corrupt = packet.is_corrupt
        elif packet.dts is not None:  # AVI fills gaps with empty packets, which the decoder would take for the end
            return []
        if packet.is_corrupt:  # its end is missing; decoders fill it up with gray, which would look new
            self.damaged_frames += 1
            return []
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.damaged_frames += 1
            return []
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.damaged_frames += len(frames) - len(whole)
        return whole

    def upright(self, frame: VideoFrame) -> Pixels:
        """RGB uint8 [H, W, 3], turned as the video says."""
        rgb = self._reformatter.reformat(frame, format="rgb24")
        pixels = np.asarray(rgb.to_ndarray(), np.uint8)  # [H, W, 3]
        quarter_turns, rest = divmod(frame.rotation, 90)
        return np.rot90(pixels, quarter_turns) if quarter_turns % 4 and rest == 0 else pixels


def seconds_of(frame: VideoFrame) -> Fraction | None:
    """The presentation time of a frame, or else its decoding time, from the origin that the source has."""
    ticks = frame.pts if frame.pts is not None else frame.dts
    return None if ticks is None or frame.time_base is None else ticks * frame.time_base
