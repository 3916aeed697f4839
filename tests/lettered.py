"""Reading what is written on drawn pictures."""

import numpy as np

from framekeep.lettering import text_mask
from framekeep.picture_files import Pixels


def find(picture: Pixels, text: str, scale: int) -> list[tuple[int, int]]:
    """Where a text stands, as (top, left): wherever its dots are brighter than all that is between them."""
    light = picture.max(2) > 100
    mask = text_mask(text, scale)
    found = []
    for top in range(len(light) - len(mask) + 1):
        windows = np.lib.stride_tricks.sliding_window_view(light[top : top + len(mask)], mask.shape)[0]
        lefts = np.flatnonzero((windows[:, 0] == mask[0]).all(1)).tolist()  # of few places does the first row agree
        found += [(top, left) for left in lefts if (windows[left] == mask).all()]
    return found
