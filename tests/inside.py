"""What hand-made views have on record of the frames inside their stays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoder.memory_view import Numbers, Vector


@dataclass(frozen=True, slots=True)
class HandMadeInside:
    """What `encoder.memory_view.Inside` asks for."""

    vectors: Vector
    of: Numbers
    frames: Numbers
    off: Vector

    @staticmethod
    def nothing(width: int) -> "HandMadeInside":
        return HandMadeInside.of_stays([np.empty((0, width), np.float32)])

    @staticmethod
    def of_stays(stays: Sequence[Vector], frames: Numbers | None = None) -> "HandMadeInside":
        """Take the frames of some stays, each standing for itself, or for as many as said, and on record as it is."""
        vectors = np.concatenate(stays)
        of = np.repeat(np.arange(len(stays)), [len(stay) for stay in stays])
        return HandMadeInside(
            vectors, of, np.ones(len(of), np.int64) if frames is None else frames, np.zeros(len(of), np.float32)
        )
