"""Examples to learn attention from: what was on screen at a moment, and what of the past was seen again next.

An example is a query, the moment it is asked, and its evidence: the exemplars that should come first. The past makes
them by itself: whatever a stream showed is a query, asked when that sighting ended, and its evidence is the next
exemplar that comes back in this stream, one seen before that moment and not the one on screen. Feedback adds others.

Sightings are put in the order in which they ended, for only then are they known. A stay is known as far as it had
grown: there is a row for every sighting, the stay up to and with it, which the next sighting of the stay supersedes. So
a query sees the rows that ended before its moment and were not superseded by then: the stays of that moment, to the
frame.

Shapes: S sightings and rows, M examples, E exemplars, K evidence of an example at most, D width.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.past import Feedback, Past

HORIZON = 20
"""Sightings of its stream in which an exemplar must come back to be evidence: later, chance decides which comes."""

_Numbers = NDArray[np.int64]


_Example = tuple[NDArray[np.float32], int, int, list[int], bool]
"""Query, moment, exemplar on screen, evidence, and whether a user told it."""


class Examples:
    """The rows of a past, and its examples in the order of their moments. Holds nothing later than its own past."""

    def __init__(self, past: Past) -> None:
        """Make the examples of a past."""
        order = np.lexsort((past.starts_us, past.ends_us))  # [S]
        self._ends_us = past.ends_us[order]
        self._ids, exemplars = np.unique(past.exemplar_ids[order], return_inverse=True)
        means, counts, superseded = _growing(past.means[order], past.frames[order], past.stay_ids[order])
        self.means = torch.from_numpy(means)  # [S, D]
        self.counts = torch.from_numpy(counts)  # [S]
        self.superseded = torch.from_numpy(superseded)  # [S]: the row that takes a row's place; S where none does
        self.exemplars = torch.from_numpy(exemplars.astype(np.int64))  # [S], in [0, E)
        by_exemplar = np.argsort(exemplars, kind="stable")
        self._rows_of = np.split(by_exemplar, np.flatnonzero(np.diff(exemplars[by_exemplar])) + 1)  # E lists
        self._first_rows = np.array([rows[0] for rows in self._rows_of])  # [E]

        asked = list(self._of_sightings(past.means[order], exemplars, past.stream_ids[order]))
        asked += [example for said in past.feedback if (example := self._of_feedback(said)) is not None]
        asked.sort(key=lambda example: example[1])
        self.queries = torch.from_numpy(
            np.array([query for query, *_ in asked], np.float32).reshape(-1, means.shape[1])
        )
        self.moments = torch.tensor([moment for _, moment, _, _, _ in asked], dtype=torch.long)  # [M]: rows before it
        self.on_screen = torch.tensor([current for _, _, current, _, _ in asked], dtype=torch.long)  # [M]; E: none
        most = max((len(evidence) for *_, evidence, _ in asked), default=0)
        padded = [evidence + [self.number] * (most - len(evidence)) for *_, evidence, _ in asked]
        self.evidence = torch.tensor(padded, dtype=torch.long).reshape(
            len(asked), most
        )  # [M, K], E where there is no more
        sought = [self._sought(evidence, moment) for _, moment, _, evidence, _ in asked]
        self.sought = torch.from_numpy(np.array(sought, np.float32).reshape(-1, means.shape[1]))  # [M, D]
        self.told = torch.tensor([told for *_, told in asked], dtype=torch.bool)  # [M]: by a user

    def __len__(self) -> int:
        """M."""
        return len(self.queries)

    @property
    def number(self) -> int:
        """E, exemplars; as a number of an exemplar it means none."""
        return len(self._ids)

    def known(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Give the rows that some of C examples of neighbouring moments see: int64 [N], and which each sees: [C, N]."""
        first, last = self.moments[chosen].aminmax()
        rows = torch.nonzero(self.superseded[:last] >= first).squeeze(1)  # [N]
        moments = self.moments[chosen][:, None]
        return rows, (rows < moments) & (self.superseded[rows] >= moments)

    def _sought(self, evidence: list[int], moment: int) -> NDArray[np.float32]:
        """Give what the evidence looked like when it was last seen: the mean over exemplars, float32 [D]."""
        latest = [
            self._rows_of[exemplar][np.searchsorted(self._rows_of[exemplar], moment) - 1] for exemplar in evidence
        ]
        mean: NDArray[np.float32] = self.means.numpy()[latest].mean(0)
        return mean

    def _of_sightings(self, means: NDArray[np.float32], exemplars: _Numbers, streams: _Numbers) -> Iterator[_Example]:
        """Give each sighting that something comes back after."""
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        queries = means / np.maximum(lengths, 1e-6)
        for stream in np.unique(streams):
            rows = np.flatnonzero(streams == stream)
            for place, row in enumerate(rows.tolist()):
                later = exemplars[rows[place + 1 : place + 1 + HORIZON]]
                back = later[(self._first_rows[later] < row) & (later != exemplars[row])]
                if len(back):
                    yield queries[row], row, int(exemplars[row]), [int(back[0])], False

    def _of_feedback(self, said: Feedback) -> _Example | None:
        """Give what a user said, as far as it had been seen by then; None if nothing had."""
        moment = int(np.searchsorted(self._ends_us, said.time_us, "right"))
        places = np.flatnonzero(np.isin(self._ids, list(said.exemplar_ids)))
        seen = places[self._first_rows[places] < moment].tolist()
        return (said.query, moment, self.number, seen, True) if seen else None


def _growing(
    means: NDArray[np.float32], frames: _Numbers, stay_ids: _Numbers
) -> tuple[NDArray[np.float32], _Numbers, _Numbers]:
    """Give each sighting's stay up to and with it: means [S, D] and counts [S]; and the row that supersedes it [S]."""
    order = np.argsort(stay_ids, kind="stable")  # [S], the rows of each stay beside each other
    opens = np.diff(stay_ids[order], prepend=stay_ids[order][:1] - 1) != 0  # [S]
    starts = np.flatnonzero(opens)[np.cumsum(opens) - 1]  # [S], where each one's stay begins in that order
    sums = np.cumsum(means[order].astype(np.float64) * frames[order, None], 0)  # float64 keeps differences exact enough
    counts = np.cumsum(frames[order])
    before = np.concatenate([np.zeros((1, means.shape[1])), sums])[starts]
    own = counts - np.concatenate([[0], counts])[starts]
    grown, total, superseded = np.empty_like(means), np.empty_like(frames), np.full(len(means), len(means))
    grown[order], total[order] = (sums - before) / own[:, None], own
    follows = ~opens[1:]
    superseded[order[:-1][follows]] = order[1:][follows]
    return grown, total, superseded
