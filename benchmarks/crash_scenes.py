"""What the crashing server is shown: small synthetic pictures with revisits, and an encoder that is quick and exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from encoder.frame_encoder import Embeddings
from encoder.picture import Pixels
from encoder.version import EncoderVersion
from framekeep.v1 import video_memory_pb2 as pb

DIMENSION = 256
SIDE_PIXELS = 16

START_S = 1_700_000_000
"""Sessions begin at this time, whenever they are run."""

FRAME_US = 40_000
"""Time between two frames."""

_WIDTH, _HEIGHT = 20, 16

_BROKEN_EVERY = 37
"""So many frames lie between two that no server can read."""


class SmallEncoder:
    """Area-averaged colours, projected at random. Whole numbers up to the last step, so equal on every machine."""

    version = EncoderVersion(
        network="area-averages",
        weights_sha256="0" * 64,
        resize=f"squash{SIDE_PIXELS}",
        projection="signs",
        precision="float16",
        dimension=DIMENSION,
    )
    input_side_pixels = SIDE_PIXELS

    def __init__(self) -> None:
        signs = np.random.default_rng(0).choice([-1, 1], (3 * SIDE_PIXELS**2, DIMENSION))
        self._signs = signs.astype(np.int64)

    def encode(self, inputs: Sequence[Pixels]) -> Embeddings:
        """See `FrameEncoder.encode`."""
        return np.stack([self.exact(pixels).astype(np.float16).astype(np.float32) for pixels in inputs])

    def exact(self, pixels: Pixels) -> NDArray[np.float32]:
        """Encode without rounding to float16, as was done before the second schema."""
        colours = 2 * pixels.astype(np.int64).ravel() - 255  # odd, so never all zero
        projected = (colours @ self._signs).astype(np.float64)
        return np.asarray(projected / np.sqrt((projected**2).sum()), np.float32)


@dataclass(frozen=True)
class Footage:
    """The frames of one session: scenes of a few frames, some seen before; now and then a frame that cannot be read."""

    seed: int
    """The same seed gives the same frames."""

    length: int
    """How many."""

    @cached_property
    def _shown(self) -> list[tuple[int, float]]:
        """Scene and strength of the noise, by frame."""
        chance = np.random.default_rng(self.seed)
        shown: list[tuple[int, float]] = []
        scenes = 0
        while len(shown) < self.length:
            if scenes and chance.random() < 0.25:
                scene = int(chance.integers(scenes))
            else:
                scene, scenes = scenes, scenes + 1
            # A strong noise is beyond a threshold of 0.03, and within one of 0.10.
            shown += [(scene, float(chance.choice([8, 28]))) for _ in range(chance.integers(1, 4))]
        return shown[: self.length]

    def frame(self, seq: int) -> pb.Frame:
        """The frame of a number."""
        data = self.pixels(seq).tobytes()
        if seq % _BROKEN_EVERY == _BROKEN_EVERY - 1:
            data = data[:-1]
        raw = pb.RawPixels(width=_WIDTH, height=_HEIGHT, format=pb.PIXEL_FORMAT_RGB24, data=data)
        return pb.Frame(seq=seq, pts_us=seq * FRAME_US, picture=pb.Picture(raw=raw))

    def pixels(self, seq: int) -> Pixels:
        """What the frame of a number shows: uint8 [16, 20, 3]."""
        scene, strength = self._shown[seq]
        base = np.random.default_rng([self.seed, 1, scene]).integers(30, 226, (_HEIGHT, _WIDTH, 3))
        noise = np.random.default_rng([self.seed, 2, seq]).uniform(-strength, strength, base.shape)
        return (base + noise).astype(np.uint8)
