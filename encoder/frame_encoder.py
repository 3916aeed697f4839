"""The encoder as the rest sees it, and the default one: the backbone run by OpenVINO.

OpenVINO encodes two to three times as many frames a second on a CPU as torch does. Each picture is an inference of
its own, as many at a time as there are cores: on CPUs that is as fast as batches are, and an embedding depends on
its picture alone, to the last bit, never on what it was batched with.

Embeddings are handed out as float32, with values that float16 holds exactly: they can be stored in half the bytes
and come back to the last bit. Rounding moves each component by at most 2^-11 of itself, and the length by no more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from encoder.backbone import INPUT_SIDE_PIXELS, version_of, weights_file
from encoder.config import EncoderConfig
from encoder.conversion import converted
from encoder.openvino_runtime import openvino
from encoder.picture import Pixels
from encoder.version import EncoderVersion

Embeddings = NDArray[np.float32]


class FrameEncoder(Protocol):
    """What the service asks of an encoder."""

    @property
    def version(self) -> EncoderVersion:
        """What its embeddings depend on."""
        ...

    @property
    def input_side_pixels(self) -> int:
        """Side of the square that `encode` takes."""
        ...

    def encode(self, inputs: Sequence[Pixels]) -> Embeddings:
        """Encode B pictures, each RGB uint8 [side, side, 3]; one thread at a time.

        Returns:
            float32 [B, D], unit length, and float16 holds every value exactly.
        """
        ...


class OpenVinoEncoder:
    """EfficientNet-Lite0 in float32 on the CPU, its embeddings rounded to float16."""

    input_side_pixels = INPUT_SIDE_PIXELS

    def __init__(self, config: EncoderConfig, folder: Path) -> None:
        """Load and compile the network; some seconds the first time, a fraction of one afterwards.

        Args:
            config: the settings.
            folder: keeps the network in OpenVINO's format; see `encoder.conversion`.

        Raises:
            WeightsUnreadable: the file is missing, or is not one of the network's.
        """
        weights = weights_file(config.weights)
        self.version = version_of(weights)
        model = converted(weights, self.version.weights_sha256, folder)
        compiled = openvino.Core().compile_model(
            model,
            "CPU",
            # On CPUs that have bf16 the default precision is bf16, which moves embeddings by up to 0.005.
            {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"},
        )
        self._requests = openvino.AsyncInferQueue(compiled)
        self._requests.set_callback(_keep_output)

    def encode(self, inputs: Sequence[Pixels]) -> Embeddings:
        """See `FrameEncoder.encode`."""
        outputs = np.empty((len(inputs), self.version.dimension), np.float32)  # [B, D]
        for row, picture in enumerate(inputs):
            self._requests.start_async({0: picture[None]}, (outputs, row))
        self._requests.wait_all()
        return outputs


def _keep_output(request: openvino.InferRequest, target: tuple[Embeddings, int]) -> None:
    outputs, row = target
    outputs[row] = request.get_output_tensor(0).data[0].astype(np.float16)  # and back to float32
