"""The settings of the encoder: what it takes, and which weights it runs."""

from dataclasses import dataclass
from pathlib import Path

MAX_PICTURE_SIDE_PIXELS = 16_384
"""Longest side taken. WebP ends one below it, JPEG at 65,535; no camera gets there."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Settings of the encoder. A change of `weights` is another encoder version: memories keep to theirs."""

    weights: Path | None = None
    """State dict of an EfficientNet-Lite0, a `.pth` file; None: the ImageNet weights installed with the server."""

    max_picture_pixels: int = 8192 * 4096
    """Largest width x height taken, in pixels, in [1, 2^26]. The default lets 8K video through."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a setting is out of range; the message names it.
        """
        if not 1 <= self.max_picture_pixels <= 2**26:
            raise ValueError(f"max_picture_pixels: expected 1 to {2**26}, got {self.max_picture_pixels}")
