"""The identity of an encoder: embeddings may be compared only if every part of it is the same."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncoderVersion:
    """All that decides which vector a picture becomes, up to rounding."""

    network: str
    """Name of the architecture and of the layer that is read."""

    weights_sha256: str
    """Hex digest of the weights file."""

    resize: str
    """How a picture becomes the network's input."""

    projection: str
    """What is done to the network's output before it is scaled to unit length; `none` if nothing is."""

    precision: str
    """Numeric precision of the computation and, after `-to-`, of what its results are rounded to."""

    dimension: int
    """D, the length of an embedding."""

    def __str__(self) -> str:
        """One line that names every part; this is what a memory is bound to."""
        return (
            f"{self.network}/weights-{self.weights_sha256[:12]}/{self.resize}/projection-{self.projection}"
            f"/d{self.dimension}/{self.precision}"
        )
