"""Frames that were dropped, with their pictures, as examples of what a threshold lets pass. On the frame's way.

A few are held of each stretch of novelty, so that whoever chooses a threshold sees frames just above and just below it.
They are taken the more seldom the more there have been, and the oldest of a stretch makes room for the next.
"""

import math
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from memory_store.scope import Scope
from memory_store.vectors import checked

HELD = 2
"""Examples of one stretch of novelty."""

_BANDS_EACH = 3
"""Stretches in which novelty doubles."""

_FINEST = 0.005
"""What is nearer is in the first stretch."""

_BANDS = 27
"""The last one begins at a novelty of 2."""

_RARER = 1.2
"""The next example of a stretch is taken when so many times as many frames fell into it."""


@dataclass(frozen=True, slots=True)
class Example:
    """A frame and the exemplar it was compared with."""

    novelty: float
    """Cosine distance of the two."""

    exemplar_id: int
    """The exemplar."""

    stream_id: int
    """The frame's stream."""

    capture_us: int
    """When the frame was captured."""

    jpeg: bytes
    """The frame."""

    kept: bool
    """It became an exemplar."""


@dataclass(frozen=True, slots=True)
class Band:
    """How many frames fell into a stretch of novelty."""

    seen: int = 0
    """So many."""

    next_taken: int = 1
    """The number of the next one that is taken."""

    def after(self) -> "Band":
        """Count a frame."""
        seen = self.seen + 1
        if seen < self.next_taken:
            return Band(seen, self.next_taken)
        return Band(seen, seen + 1 if seen < HELD else math.ceil(seen * _RARER))


def band_of(novelty: float) -> int:
    """Tell which stretch a novelty lies in."""
    if novelty <= _FINEST:
        return 0
    return min(_BANDS - 1, 1 + int(math.log2(novelty / _FINEST) * _BANDS_EACH))


class Bands:
    """Which frames are taken as examples. A group has a copy."""

    def __init__(self, bands: dict[int, Band] | None = None) -> None:
        self._bands = dict(bands or {})
        self.changed: set[int] = set()
        """Those whose counts are others than those it began with."""

    def copy(self) -> "Bands":
        """Copy the counts."""
        return Bands(self._bands)

    def __getitem__(self, number: int) -> Band:
        """Give the counts of one."""
        return self._bands[number]

    def takes(self, novelty: float) -> bool:
        """Count a frame, and tell whether it is to be an example."""
        number = band_of(novelty)
        before = self._bands.get(number, Band())
        self._bands[number] = before.after()
        self.changed.add(number)
        return before.seen + 1 >= before.next_taken


def examples_around(pool: Sequence[Example], threshold: float, number: int) -> tuple[list[Example], list[Example]]:
    """Choose the examples nearest to a threshold: those above it, and those at or below it, nearest first."""
    ordered = sorted(pool, key=lambda example: example.novelty)
    above = [example for example in ordered if example.novelty > threshold]
    below = [example for example in reversed(ordered) if example.novelty <= threshold]
    return above[:number], below[:number]


def bands_of(connection: sqlite3.Connection) -> Bands:
    """Read how many frames fell into each stretch of novelty."""
    rows = connection.execute("SELECT band, seen, next_taken FROM example_bands").fetchall()
    return Bands({number: Band(seen, next_taken) for number, seen, next_taken in rows})


def write_examples(connection: sqlite3.Connection, bands: Bands, examples: Sequence[Example]) -> None:
    """Write what has changed of the counts, and examples; the oldest go where there are too many."""
    connection.executemany(
        "INSERT INTO example_bands VALUES (?, ?, ?) ON CONFLICT (band) DO UPDATE SET seen = excluded.seen,"
        " next_taken = excluded.next_taken",
        [(number, bands[number].seen, bands[number].next_taken) for number in sorted(bands.changed)],
    )
    for example in examples:
        band = band_of(example.novelty)
        connection.execute(
            "INSERT INTO examples (band, novelty, exemplar_id, stream_id, capture_us, jpeg, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(band, example.novelty, example.exemplar_id, example.stream_id, example.capture_us),
                *(example.jpeg, zlib.crc32(example.jpeg)),
            ),
        )
        connection.execute(
            "DELETE FROM examples WHERE id IN"
            " (SELECT id FROM examples WHERE band = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
            (band, HELD),
        )


def forget_examples(connection: sqlite3.Connection, stream_id: int, scope: Scope) -> None:
    """Take out the examples of a stream within the times of a scope."""
    connection.execute(
        "DELETE FROM examples WHERE stream_id = ? AND capture_us BETWEEN ? AND ?",
        (stream_id, scope.first_us, scope.last_us),
    )


def example_from(row: tuple[float, int, int, int, bytes, int, int]) -> Example:
    """Read novelty, exemplar, stream, capture time, picture, checksum, and whether it was kept.

    Raises:
        ValueError: the picture is not what was written.
    """
    novelty, exemplar_id, stream_id, capture_us, jpeg, checksum, kept = row
    return Example(novelty, exemplar_id, stream_id, capture_us, checked(jpeg, checksum), bool(kept))
