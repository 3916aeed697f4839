"""Attention over a memory, plain or as it was fitted: joins the read, what was learned, and the store."""

import threading
from dataclasses import dataclass

import numpy as np

from encoder.hierarchical_attention import attend, attend_by_heads
from encoder.learned_attention import HierarchicalAttention
from encoder.reading import Effort, Reading
from memory_store.memory import Memory
from memory_store.records import Embedding
from memory_store.scope import LATEST_US
from memory_store.view import View

LATEST = "latest"
"""Asks for the newest version there is."""

DEFAULT_INVERSE_TEMPERATURE = 20.0
"""At this sharpness an answer about real footage rests on some hundred frames."""

MAX_INVERSE_TEMPERATURE = 10_000.0

_SEED = 0
"""Of what attention draws: the same question of the same past has the same answer."""

_HELD = 8
"""Versions that are held ready."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to attend."""

    inverse_temperature: float
    """Of plain attention; heads have their own."""

    version: str
    """Empty for plain attention."""

    heads: HierarchicalAttention | None
    """What was learned; None for plain attention."""

    def read(self, subject: Embedding, view: View, effort: Effort) -> Reading:
        """Attend to at least one stay."""
        if self.heads is None:
            return attend(subject * np.float32(self.inverse_temperature), view, effort, _SEED)
        return attend_by_heads(self.heads, subject, view, effort, _SEED)


class Attending:
    """Finds out how to attend. Safe for several threads."""

    def __init__(self) -> None:
        """Begin with nothing held."""
        self._lock = threading.Lock()
        self._held: dict[str, HierarchicalAttention] = {}

    def manner(self, memory: Memory, inverse_temperature: float, version: str, as_of_us: int | None = None) -> Manner:
        """Find what a version learned; reads the journal.

        Args:
            memory: the memory.
            inverse_temperature: of plain attention.
            version: empty for plain attention, LATEST for the newest, or its name.
            as_of_us: versions that were fitted to later frames are out of bounds.

        Raises:
            AttentionVersionNotFound: there is no such version.
            HeadsUnreadable: it cannot be read.
        """
        limit_us = LATEST_US if as_of_us is None else as_of_us
        if not version:
            return Manner(inverse_temperature, "", None)
        found = memory.lessons.latest(limit_us) if version == LATEST else memory.lessons.version(version, limit_us)
        if found is None:
            return Manner(inverse_temperature, "", None)
        with self._lock:
            heads = self._held.pop(found.version, None)
        if heads is None:
            heads = HierarchicalAttention.from_bytes(found.parameters)
        with self._lock:
            self._held[found.version] = heads
            while len(self._held) > _HELD:
                del self._held[next(iter(self._held))]
        return Manner(inverse_temperature, found.version, heads)
