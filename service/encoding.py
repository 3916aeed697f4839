"""From received pictures to embeddings: decoding threads, then one micro-batcher for all streams and queries."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from encoder.frame_encoder import Embeddings, FrameEncoder
from encoder.picture import Picture, Pixels
from encoder.preprocess import encoder_input, reduced
from encoder.version import EncoderVersion
from service.batching import Batcher

MAX_BATCH = 16
"""Pictures encoded at a time: enough to keep all cores busy, little enough that nobody waits long for the others."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture, decoded and shrunk."""

    encoder_input: Pixels
    """RGB uint8 [side, side, 3]."""

    reduced: Picture
    """What a thumbnail is made from."""


class Encoding:
    """The path from bytes to an embedding."""

    def __init__(self, encoder: FrameEncoder) -> None:
        """Start the threads; needs a running event loop."""
        self._encoder = encoder
        self._decoding = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self._batcher: Batcher[Pixels, Embeddings] = Batcher(
            "encode", lambda batch: list(encoder.encode(batch)), MAX_BATCH
        )

    @property
    def version(self) -> EncoderVersion:
        """The version of the encoder."""
        return self._encoder.version

    async def prepare(self, read: Callable[[], Picture]) -> Prepared:
        """Decode and shrink a picture.

        Raises:
            Whatever `read` raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._decoding, self._prepare, read)

    def _prepare(self, read: Callable[[], Picture]) -> Prepared:
        picture = read()
        return Prepared(encoder_input(picture, self._encoder.input_side_pixels), reduced(picture))

    async def embed(self, prepared: Prepared) -> Embeddings:
        """Encode a picture: float32 [D], unit length."""
        return await (await self._batcher.put(prepared.encoder_input))

    async def close(self) -> None:
        """Finish what waits, then stop the threads."""
        await self._batcher.close()
        self._decoding.shutdown()
