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
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from encoder.past import Feedback, Past

HORIZON = 20
"""Sightings of its stream in which an exemplar must come back to be evidence: later, chance decides which comes."""

_Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Example:
    """One example; exemplars and rows by number."""

    query: NDArray[np.float32]
    moment: int
    on_screen: int
    evidence: list[int]
    settled: int
    told: bool


class Examples:
    """The rows of a past, and its examples in the order of their moments."""

    means: Tensor
    """Means of the frames of the stay that each row is: float32 [S, D]."""

    counts: Tensor
    """Frames of it: int64 [S]."""

    superseded: Tensor
    """The row that takes its place: int64 [S], S where none does."""

    stay_ids: Tensor
    """The stay that it is: int64 [S]."""

    stream_ids: Tensor
    """The stream of it: int64 [S]."""

    exemplars: Tensor
    """Number of its exemplar: int64 [S], in [0, E)."""

    queries: Tensor
    """float32 [M, D], unit length."""

    moments: Tensor
    """When each is asked: the rows before this one are known, int64 [M], never decreasing."""

    on_screen: Tensor
    """The exemplar that is on screen then: int64 [M], E for none."""

    evidence: Tensor
    """Numbers of the exemplars to be found: int64 [M, K], E where there are no more."""

    sought: Tensor
    """What they looked like when they were last seen, the mean over them: float32 [M, D]."""

    settled: Tensor
    """The row by which the evidence was known to be it: int64 [M]."""

    told: Tensor
    """Whether a user told it: bool [M]."""

    def __init__(self, past: Past) -> None:
        """Make the examples of a past of at least one sighting."""
        order = np.lexsort((past.starts_us, past.ends_us))  # [S]
        self._ends_us = past.ends_us[order]
        self._ids, exemplars = np.unique(past.exemplar_ids[order], return_inverse=True)
        means, counts, superseded = _growing(past.means[order], past.frames[order], past.stay_ids[order])
        self.means, self.counts = torch.from_numpy(means), torch.from_numpy(counts)
        self.superseded, self.stay_ids = torch.from_numpy(superseded), torch.from_numpy(past.stay_ids[order])
        self.stream_ids = torch.from_numpy(past.stream_ids[order])
        self.exemplars = torch.from_numpy(exemplars.astype(np.int64))
        by_exemplar = np.argsort(exemplars, kind="stable")
        self._rows_of = np.split(by_exemplar, np.flatnonzero(np.diff(exemplars[by_exemplar])) + 1)  # E lists
        self._first_rows = np.array([rows[0] for rows in self._rows_of])  # [E]

        made = list(self._of_sightings(past.means[order], exemplars, past.stream_ids[order]))
        made += [example for said in past.feedback if (example := self._of_feedback(said)) is not None]
        made.sort(key=lambda example: example.moment)
        shape = (len(made), means.shape[1])
        self.queries = torch.from_numpy(np.array([example.query for example in made], np.float32).reshape(shape))
        self.moments = torch.tensor([example.moment for example in made], dtype=torch.long)
        self.on_screen = torch.tensor([example.on_screen for example in made], dtype=torch.long)
        evidence = [torch.tensor(example.evidence) for example in made] or [torch.zeros(0, dtype=torch.long)]
        self.evidence = pad_sequence(evidence, batch_first=True, padding_value=self.exemplar_count)
        self.sought = torch.from_numpy(np.array([self._last_look(example) for example in made]).reshape(shape))
        self.settled = torch.tensor([example.settled for example in made], dtype=torch.long)
        self.told = torch.tensor([example.told for example in made], dtype=torch.bool)

    def __len__(self) -> int:
        """M."""
        return len(self.queries)

    @property
    def exemplar_count(self) -> int:
        """E; as the number of an exemplar it means none."""
        return len(self._ids)

    def known(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Give the rows that some of C examples of neighbouring moments see: int64 [N]; and which each sees: [C, N]."""
        first, last = self.moments[chosen].aminmax()
        rows = torch.nonzero(self.superseded[:last] >= first).squeeze(1)  # [N]
        moments = self.moments[chosen][:, None]
        return rows, (rows < moments) & (self.superseded[rows] >= moments)

    def divided(self, chosen: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Divide examples, given by their numbers in order, by time: the last such share of them, and those before.

        Examples that come before, but whose evidence was not known by then, are in neither part.

        Returns:
            The numbers of the earlier and of the later ones.
        """
        begin = len(chosen) - int(len(chosen) * share)
        earlier, later = chosen[:begin], chosen[begin:]
        return (earlier[self.settled[earlier] < self.moments[later[0]]] if len(later) else earlier), later

    def _of_sightings(self, means: NDArray[np.float32], exemplars: _Numbers, streams: _Numbers) -> Iterator[_Example]:
        """Give each sighting that something comes back after."""
        queries = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
        for stream in np.unique(streams):
            rows = np.flatnonzero(streams == stream)
            for place, row in enumerate(rows.tolist()):
                later = rows[place + 1 : place + 1 + HORIZON]
                back = later[(self._first_rows[exemplars[later]] < row) & (exemplars[later] != exemplars[row])]
                if len(back):
                    evidence = [int(exemplars[back[0]])]
                    yield _Example(queries[row], row, int(exemplars[row]), evidence, int(back[0]), told=False)

    def _of_feedback(self, said: Feedback) -> _Example | None:
        """Give what a user said, as far as it had been seen by then; None if nothing had."""
        moment = int(np.searchsorted(self._ends_us, said.time_us, "right"))
        named = np.flatnonzero(np.isin(self._ids, list(said.exemplar_ids)))
        seen = named[self._first_rows[named] < moment].tolist()
        return _Example(said.query, moment, self.exemplar_count, seen, moment, told=True) if seen else None

    def _last_look(self, example: _Example) -> NDArray[np.float32]:
        """Give the mean of the evidence as it was at the example's moment: float32 [D]."""
        rows = [self._rows_of[exemplar] for exemplar in example.evidence]
        latest = [of_one[np.searchsorted(of_one, example.moment) - 1] for of_one in rows]
        mean: NDArray[np.float32] = self.means.numpy()[latest].mean(0)
        return mean


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
