"""When exemplars were seen last, for policies that compare only with what was seen lately, or by one stream.

Made from the stays when a policy first asks for it, and kept up as frames come in.
"""

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memory_store.forest import StayFacts

_NEVER = np.iinfo(np.int64).min


def ids_below(exemplar_id: int) -> NDArray[np.uint8]:
    """Choose all exemplars that were kept before one: a bit for each id, the lowest first."""
    return np.packbits(np.ones(exemplar_id, np.bool_), bitorder="little")


@dataclass(slots=True)
class LastSeen:
    """When each exemplar was seen last, by one stream or by any."""

    times_us: NDArray[np.int64] = field(default_factory=lambda: np.full(1024, _NEVER))
    """Latest capture time by exemplar id, the smallest number where it was not seen: int64, longer than the last id."""

    @staticmethod
    def of(facts: StayFacts, stream_id: int | None) -> "LastSeen":
        """Take it from the stays of a stream, or of all."""
        ids, last_us = facts.column("exemplar_id"), facts.column("last_us")
        if stream_id is not None:
            of_stream = facts.column("stream_id") == stream_id
            ids, last_us = ids[of_stream], last_us[of_stream]
        seen = LastSeen()
        if len(ids):
            seen._reach(int(ids.max()))
            np.maximum.at(seen.times_us, ids, last_us)
        return seen

    def note(self, exemplar_id: int, time_us: int) -> None:
        """Take note of a sighting."""
        self._reach(exemplar_id)
        self.times_us[exemplar_id] = max(int(self.times_us[exemplar_id]), time_us)

    def since(self, time_us: int, also: Set[int]) -> NDArray[np.uint8]:
        """Choose the exemplars seen at a time or later, and some more: a bit for each id, the lowest first."""
        chosen = np.zeros(max(len(self.times_us), max(also, default=0) + 1), np.bool_)
        chosen[: len(self.times_us)] = self.times_us >= time_us
        chosen[list(also)] = True
        return np.packbits(chosen, bitorder="little")

    def _reach(self, exemplar_id: int) -> None:
        while exemplar_id >= len(self.times_us):
            self.times_us = np.concatenate([self.times_us, np.full(len(self.times_us), _NEVER)])
