"""How far frames are from the exemplar that stands for them, restated where the exemplar was moved. Pure.

Angles on the sphere obey the triangle inequality, cosine distances do not: after the embedding of an exemplar has
moved by an angle, a frame is at most that much farther from it, by angle.
"""

import math

import numpy as np

from memory_store.records import Embedding


def angle_of(novelty: float) -> float:
    """Give the angle, in radians, of a cosine distance in [0, 2]."""
    return math.acos(min(1.0, max(-1.0, 1 - novelty)))


def moved(novelty: float, angle: float) -> float:
    """Bound the cosine distance of a frame to an exemplar that has moved by an angle in radians."""
    return novelty if angle == 0 else 1 - math.cos(min(math.pi, angle_of(novelty) + angle))


def angle_between(first: Embedding, second: Embedding) -> float:
    """Give the angle between two vectors, in radians; exact for small angles too.

    By 2 atan2(|a - b|, |a + b|) for vectors of unit length (Kahan): arccos loses half the digits near 0.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(2 * math.atan2(float(np.linalg.norm(a - b)), float(np.linalg.norm(a + b))))
