"""What virtual gates decided, batch by batch and stream by stream: curves of any stream and time are added up from it.

Shapes: R rows, B frames of a batch, G thresholds.
"""

from dataclasses import dataclass

import numpy as np

from memory_store.group import LONGEST_GAP_US
from memory_store.scope import Scope
from memory_store.seen_frames import Flags, Frames, Ids, within
from memory_store.virtual_gates import Decisions, Figures

MOST_ROWS = 8192
"""Beyond it, rows of the same stream are added up in pairs, the smallest first, until half as many are left."""

_COLUMNS = ("stream_id", "first_us", "last_us", "active_us", "frames")
_SUMS = ("kept", "correction", "dropped_novelty")


@dataclass(frozen=True, slots=True)
class Rows:
    """R rows; those of one stream are in the order in which its frames came."""

    table: Ids
    """int64 [R, 5]: stream, earliest and latest capture time, time of capture that the frames span without longer gaps,
    frames."""

    sums: Figures
    """At each threshold, of these frames: those kept, what to take from them, and the novelty of the others added up.
    float64 [R, 3, G]."""

    largest: Figures
    """The largest novelty of the others, 0 if there are none: float64 [R, G]."""

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.table)

    def column(self, name: str) -> Ids:
        """One fact of every row: int64 [R]."""
        return self.table[:, _COLUMNS.index(name)]

    def total(self, name: str) -> Figures:
        """Add up one of the sums: float64 [G]."""
        total: Figures = self.sums[:, _SUMS.index(name)].sum(axis=0)
        return total

    def chosen(self, which: Flags | Ids) -> "Rows":
        """Give some of the rows."""
        return Rows(self.table[which], self.sums[which], self.largest[which])

    def followed_by(self, others: "Rows") -> "Rows":
        """Put others behind, and add rows up in pairs if there are too many."""
        rows = Rows(
            np.concatenate([self.table, others.table]),
            np.concatenate([self.sums, others.sums]),
            np.concatenate([self.largest, others.largest]),
        )
        return rows if len(rows) <= MOST_ROWS else rows._in_pairs()

    def counting(self, scope: Scope) -> Flags:
        """Tell which rows count towards a scope: those whose middle lies in it. bool [R]."""
        first_us, last_us = self.column("first_us"), self.column("last_us")
        return within(scope, self.column("stream_id"), first_us + (last_us - first_us) // 2)

    def wholly_within(self, scope: Scope) -> Flags:
        """Tell which rows are of frames of a scope only: bool [R]."""
        stream_ids = self.column("stream_id")
        begin_within = within(scope, stream_ids, self.column("first_us"))
        return begin_within & within(scope, stream_ids, self.column("last_us"))

    def frames_of(self, which: Flags, stream_ids: Ids) -> Flags:
        """Tell which frames some of the rows were made of.

        Args:
            which: bool [R].
            stream_ids: of the frames that all rows were made of, in the order in which they came: int64 [N].
        """
        of_rows = np.argsort(self.column("stream_id"), kind="stable")
        of_frames = np.argsort(stream_ids, kind="stable")
        found = np.empty(len(stream_ids), bool)
        found[of_frames] = np.repeat(which[of_rows], self.column("frames")[of_rows])
        return found

    def _in_pairs(self) -> "Rows":
        """Add up neighbours of the same stream, those with the fewest frames first, until half of the rows are left."""
        order = np.argsort(self.column("stream_id"), kind="stable")
        rows = self.chosen(order)
        streams, frames = rows.column("stream_id"), rows.column("frames")
        joined = np.zeros(len(rows), bool)  # with the row before
        ends = np.zeros(len(rows), bool)  # it is in a pair
        left = len(rows) - MOST_ROWS // 2
        for place in np.argsort(frames[:-1] + frames[1:], kind="stable").tolist():
            if left and streams[place] == streams[place + 1] and not (ends[place] or ends[place + 1]):
                joined[place + 1] = ends[place] = ends[place + 1] = True
                left -= 1
        begins = np.flatnonzero(~joined)
        table = np.add.reduceat(rows.table, begins, axis=0)
        table[:, 0] = streams[begins]
        table[:, 1] = np.minimum.reduceat(rows.column("first_us"), begins)
        table[:, 2] = np.maximum.reduceat(rows.column("last_us"), begins)
        return Rows(
            table, np.add.reduceat(rows.sums, begins, axis=0), np.maximum.reduceat(rows.largest, begins, axis=0)
        )


def no_rows(gates: int) -> Rows:
    """Begin with no rows of G thresholds."""
    return Rows(np.zeros((0, len(_COLUMNS)), np.int64), np.zeros((0, len(_SUMS), gates)), np.zeros((0, gates)))


def rows_of(batch: Frames, decisions: Decisions, last_captures: dict[int, int]) -> Rows:
    """Sum up a batch: a row for each stream in it.

    Args:
        batch: of B frames.
        decisions: on them.
        last_captures: the capture time of the last frame before them, by stream.
    """
    table, sums, largest = [], [], []
    dropped = np.where(decisions.kept, 0.0, decisions.novelty)  # [B, G]
    for stream_id in np.unique(batch.stream_ids).tolist():
        own = np.flatnonzero(batch.stream_ids == stream_id)
        captures_us = batch.capture_us[own]
        gaps_us = np.diff(captures_us, prepend=last_captures.get(stream_id, captures_us[0]))
        active_us = gaps_us[(gaps_us > 0) & (gaps_us <= LONGEST_GAP_US)].sum()
        table.append((stream_id, captures_us.min(), captures_us.max(), active_us, len(own)))
        sums.append([part[own].sum(axis=0) for part in (decisions.kept, decisions.correction, dropped)])
        largest.append(dropped[own].max(axis=0))
    return Rows(np.array(table, np.int64), np.array(sums, np.float64), np.array(largest))
