"""When exemplars were seen last, for policies that compare only with what was seen lately, or by one stream.

Made from the stays when a policy first asks for it, and kept up as frames come in.
"""

from collections.abc import Set

import numpy as np
from numpy.typing import NDArray

from memory_store.forest import StayFacts


def ids_below(exemplar_id: int) -> NDArray[np.uint8]:
    """Choose all exemplars that were kept before one: a bit for each id, the lowest first."""
    return np.packbits(np.ones(exemplar_id, np.bool_), bitorder="little")


def last_times(facts: StayFacts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the exemplars of some stays, ascending, and when each was seen last: int64 [K] twice."""
    ids, of_stay = np.unique(facts.column("exemplar_id"), return_inverse=True)
    times_us = np.full(len(ids), np.iinfo(np.int64).min)
    np.maximum.at(times_us, of_stay.reshape(-1), facts.column("last_us"))
    return ids, times_us


class LastSeen:
    """When exemplars were seen last, by one stream or by any."""

    def __init__(self, facts: StayFacts) -> None:
        """Take it from stays."""
        ids, times_us = last_times(facts)
        self._number = len(ids)
        self._ids = ids  # ascending, and room behind them; most streams have shown few of all exemplars
        self._times_us = times_us

    def note(self, exemplar_id: int, time_us: int) -> None:
        """Take note of a sighting."""
        number = self._number
        place = int(np.searchsorted(self._ids[:number], exemplar_id))
        if place < number and self._ids[place] == exemplar_id:
            self._times_us[place] = max(int(self._times_us[place]), time_us)
            return
        if number == len(self._ids):
            self._ids, self._times_us = (np.resize(array, 2 * number + 16) for array in (self._ids, self._times_us))
        for array, value in ((self._ids, exemplar_id), (self._times_us, time_us)):
            array[place + 1 : number + 1] = array[
                place:number
            ]  # nothing, unless another stream was the first to show it
            array[place] = value
        self._number += 1

    def since(self, time_us: int, also: Set[int]) -> NDArray[np.uint8]:
        """Choose the exemplars seen at a time or later, and some more: a bit for each id, the lowest first."""
        ids = self._ids[: self._number][self._times_us[: self._number] >= time_us]
        chosen = np.zeros(max(int(ids[-1]) if len(ids) else 0, max(also, default=0)) + 1, np.bool_)
        chosen[ids] = True
        chosen[list(also)] = True
        return np.packbits(chosen, bitorder="little")
